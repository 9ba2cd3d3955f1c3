// Package intake takes in what an operator brings by hand: events as JSON, or history as the rows of a table. Each passes
// the same Normalize as a webhook and goes the same way into Kafka.
//
// Event ids come of the content, so that bringing the same again doubles nothing: that is how an intake that was cut short
// is taken up.
package intake

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/tillstream/tillstream/connectors"
	"github.com/tillstream/tillstream/pipeline/ingest"
	"github.com/tillstream/tillstream/pipeline/kafka"
	"github.com/tillstream/tillstream/schemas"
)

// BodyBytesMax bounds one record: what a webhook may bring by default.
const BodyBytesMax = 1 << 20

const (
	parallelDefault = 64
	patienceDefault = time.Minute
	retryWaitMin    = 100 * time.Millisecond
	retryWaitMax    = 5 * time.Second
)

// Item is one record of the input.
type Item struct {
	Line int // where it begins, from 1
	// Raw is the record as it stood in the input; Cells, where that is a table.
	Raw   []byte
	Cells []string
	// Body and Headers are what Normalize is given.
	Body    []byte
	Headers map[string]string
	// Err says why the record cannot even be read.
	Err error
}

// A Reader reads an input record by record. Its error is io.EOF after the last, or that reading cannot go on.
type Reader interface{ Read() (Item, error) }

// Outcome is what became of one record.
type Outcome int

// The outcomes.
const (
	Good     Outcome = iota + 1 // it is understood; nothing was to be sent
	Kept                        // every replica has it
	Rejected                    // it is not understood, or was set aside, and has no effect
	Unsure                      // no answer in time: it may have been kept; bringing it again doubles nothing
	Unsent                      // it was not kept, or not tried any more
)

// Result is one record with what became of it. Err is the reason where that is not Good or Kept.
type Result struct {
	Item
	Events  []schemas.OrderEvent
	Outcome Outcome
	Err     error
}

// Totals count records by outcome.
type Totals struct{ Read, Good, Kept, Rejected, Unsure, Unsent int }

func (t *Totals) add(o Outcome) {
	t.Read++
	switch o {
	case Good:
		t.Good++
	case Kept:
		t.Kept++
	case Rejected:
		t.Rejected++
	case Unsure:
		t.Unsure++
	case Unsent:
		t.Unsent++
	}
}

// Options say for which connection records are taken in.
type Options struct {
	Connector   connectors.Connector // bound to the connection's configuration
	Connection  string
	Environment schemas.Environment
	Origin      schemas.Origin
	Now         func() time.Time
	// Keep appends a delivery, as ingest.Keeper does; nil: records are only read and judged.
	Keep func(context.Context, connectors.Connector, connectors.Delivery) ([]schemas.OrderEvent, error)
	// Parallel is how many appends are under way; zero: 64. Events of one order keep their order.
	Parallel int
	// Patience is how long an append that fails is tried again; zero: 1 minute.
	Patience time.Duration
}

// flight is one record on its way.
type flight struct {
	result   Result
	delivery connectors.Delivery
	done     chan struct{}
}

// Run takes in all of r and reports each record in the order of the input. After a record that could not be kept no
// further one is sent: those that were on their way are reported, then Run returns the reason as its error. An error of
// report stops it, too.
func Run(ctx context.Context, r Reader, o Options, report func(Result) error) (Totals, error) {
	if o.Parallel <= 0 {
		o.Parallel = parallelDefault
	}
	if o.Patience <= 0 {
		o.Patience = patienceDefault
	}
	halt, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	ordered, lanes := make(chan *flight, o.Parallel), make([]chan *flight, o.Parallel)
	var workers sync.WaitGroup
	for i := range lanes {
		lanes[i] = make(chan *flight, 1)
		workers.Go(func() {
			for f := range lanes[i] {
				if o.keep(ctx, halt, f); f.result.Outcome == Unsure || f.result.Outcome == Unsent {
					stop(f.result.Err)
				}
				close(f.done)
			}
		})
	}
	var readErr error
	workers.Go(func() {
		readErr = o.feed(halt, r, ordered, lanes)
		for _, lane := range lanes {
			close(lane)
		}
		close(ordered)
	})
	var totals Totals
	var failed error
	for f := range ordered {
		<-f.done
		totals.add(f.result.Outcome)
		if failed == nil {
			if failed = report(f.result); failed != nil {
				stop(failed)
			}
		}
	}
	workers.Wait()
	switch {
	case failed != nil:
		return totals, failed
	case readErr != nil:
		return totals, readErr
	case halt.Err() != nil:
		return totals, context.Cause(halt)
	}
	return totals, nil
}

// feed reads records until the end of the input or of halt.
func (o Options) feed(halt context.Context, r Reader, ordered chan<- *flight, lanes []chan *flight) error {
	for halt.Err() == nil {
		item, err := r.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		f := &flight{done: make(chan struct{})}
		f.delivery, f.result = o.judge(item)
		if f.result.Outcome != 0 {
			close(f.done)
			ordered <- f
			continue
		}
		ordered <- f
		lanes[laneOf(f.result.Events[0].Key(), len(lanes))] <- f
	}
	return nil
}

// laneOf keeps the events of one order behind one another.
func laneOf(key string, lanes int) int {
	h := fnv.New32a()
	_, _ = h.Write([]byte(key)) // a hash takes everything
	return int(h.Sum32() % uint32(lanes))
}

// judge works out what a record says. The outcome is left open where it is to be sent.
func (o Options) judge(item Item) (connectors.Delivery, Result) {
	result := Result{Item: item, Outcome: Rejected, Err: item.Err}
	if item.Err != nil {
		return connectors.Delivery{}, result
	}
	if len(item.Body) > BodyBytesMax {
		result.Err = fmt.Errorf("longer than %d bytes", BodyBytesMax)
		return connectors.Delivery{}, result
	}
	d := connectors.Delivery{
		Connection: o.Connection, Environment: o.Environment, Body: item.Body, Headers: item.Headers,
		ReceivedAt: o.Now().UTC().Truncate(time.Millisecond), Origin: o.Origin,
	}
	result.Events = ingest.Events(o.Connector, d, nil)
	for i := range result.Events {
		if p := result.Events[i].Problem; p != "" {
			result.Events, result.Err = nil, errors.New(p)
			return d, result
		}
	}
	result.Outcome = Good
	if o.Keep != nil {
		result.Outcome = 0
	}
	return d, result
}

// keep appends one record, patiently: what the brokers did not answer in time is sent again. Once halt has ended nothing
// is tried any more; what is under way gets its answer.
func (o Options) keep(ctx, halt context.Context, f *flight) {
	if halt.Err() != nil {
		f.result.Outcome, f.result.Err = Unsent, context.Cause(halt)
		return
	}
	b := backoff.NewExponentialBackOff()
	b.InitialInterval, b.MaxInterval = retryWaitMin, retryWaitMax
	unsure := false
	events, err := backoff.Retry(ctx, func() ([]schemas.OrderEvent, error) {
		events, err := o.Keep(ctx, o.Connector, f.delivery)
		unsure = unsure || errors.Is(err, ingest.ErrUnknownResult)
		if err != nil && (halt.Err() != nil || kafka.Classify(err) == kafka.Fatal) {
			return nil, backoff.Permanent(err)
		}
		return events, err
	}, backoff.WithBackOff(b), backoff.WithMaxElapsedTime(o.Patience))
	switch {
	case err == nil:
		f.result.Outcome, f.result.Events = Kept, events
		for i := range events {
			if p := events[i].Problem; p != "" { // the keeper itself set it aside
				f.result.Outcome, f.result.Events, f.result.Err = Rejected, nil, errors.New(p)
			}
		}
	case unsure:
		f.result.Outcome, f.result.Err = Unsure, err
	default:
		f.result.Outcome, f.result.Err = Unsent, err
	}
}
