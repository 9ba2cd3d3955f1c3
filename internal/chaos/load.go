package main

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tillstream/tillstream/connectors"
	"github.com/tillstream/tillstream/connectors/paypal"
	"github.com/tillstream/tillstream/pipeline/ingest"
	"github.com/tillstream/tillstream/pipeline/kafka"
	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/simulators/story"
)

const (
	ordersPerRecord = 0.225 // of a story with its duplicates, about
	duplicateShare  = 0.10  // of the events come again
	duplicateFar    = 400   // places later, at most
	disorderShare   = 0.25  // of the events are late
	disorderFar     = 60    // places, at most
	pacePause       = 50 * time.Millisecond
	loadBurst       = 2000 // records sent at once at the most
)

// storyStart lets every story end in the past: a time in the future would be taken for a clock that runs ahead.
var storyStart = time.Date(2023, 1, 1, 0, 0, 0, 0, time.UTC)

var accounts = []string{"paypal-eu", "paypal-us"}

// load appends a story's events to the input, doubled and out of order, and knows exactly what it appended.
type load struct {
	w      *world
	client *kgo.Client
	sends  []send
	rate   atomic.Int64 // records a second
	sent   atomic.Int64
	failed atomic.Pointer[error]
	done   chan struct{}
	cancel context.CancelFunc
	wg     sync.WaitGroup
	book   map[string]int // every sending, by sendKey; read it after finish
}

// send is one record to append.
type send struct {
	event story.Event
	copy  int // 0: the first sending
}

// newLoad makes up the story. Nothing is sent yet.
func newLoad(w *world) (*load, error) {
	client, err := kafka.Options{Brokers: w.cluster.direct(), ClientID: "chaos-load"}.Client()
	if err != nil {
		return nil, err
	}
	l := &load{w: w, client: client, done: make(chan struct{}), cancel: func() {}, book: map[string]int{}}
	l.sends = schedule(w.o.Seed, w.o.Records)
	return l, nil
}

// schedule is the order in which about n records are sent: the story's order, with some late and some twice.
func schedule(seed uint64, n int) []send {
	events := story.New(story.Options{
		Seed: int64(seed), Orders: max(1, int(float64(n)*ordersPerRecord)), Accounts: accounts, Start: storyStart,
	}).Events()
	random := rand.New(rand.NewPCG(seed, 0x10ad))
	type placed struct {
		send
		at float64
	}
	var list []placed
	for i, e := range events {
		at := float64(i)
		if random.Float64() < disorderShare {
			at += random.Float64() * disorderFar
		}
		list = append(list, placed{send{event: e}, at})
		for n := 1; random.Float64() < duplicateShare; n++ {
			list = append(list, placed{send{e, n}, at + random.Float64()*duplicateFar})
		}
	}
	slices.SortStableFunc(list, func(a, b placed) int { return cmp.Compare(a.at, b.at) })
	sends := make([]send, 0, len(list))
	for _, p := range list {
		sends = append(sends, p.send)
	}
	return sends
}

// start sends at a rate that setRate changes, until everything is sent.
func (l *load) start(ctx context.Context) {
	ctx, l.cancel = context.WithCancel(ctx)
	l.wg.Go(func() {
		defer close(l.done)
		for next, owed := 0, 0.0; next < len(l.sends); {
			if pause(ctx, pacePause) != nil {
				return
			}
			owed += float64(l.rate.Load()) * pacePause.Seconds()
			for n := min(int(owed), loadBurst); n > 0 && next < len(l.sends); n-- {
				if !l.append(ctx, l.sends[next]) {
					return
				}
				next++
				owed--
			}
		}
		if err := l.client.Flush(ctx); err != nil {
			l.fail(err)
		}
	})
}

func (l *load) setRate(perSecond int) { l.rate.Store(int64(max(1, perSecond))) }

func (l *load) fail(err error) {
	err = fmt.Errorf("the load could not append: %w", err)
	l.failed.CompareAndSwap(nil, &err)
}

// append sends one record, as the receiver would.
func (l *load) append(ctx context.Context, s send) bool {
	d := connectors.Delivery{
		Connection: s.event.Account, Environment: schemas.Sandbox, ID: fmt.Sprintf("%s-%d", s.event.ID, s.copy/2),
		Body: s.event.Body, ReceivedAt: time.Now().UTC().Truncate(time.Millisecond), Origin: schemas.OriginWebhook,
	}
	for _, e := range ingest.Events(paypal.Connector, d, nil) {
		l.book[sendKey(&e)]++
		value, err := l.w.codec.Encode(&e)
		if err != nil {
			l.fail(err)
			return false
		}
		l.client.Produce(ctx, &kgo.Record{Topic: schemas.TopicPayPalEvents, Key: []byte(e.Key()), Value: value}, func(_ *kgo.Record, err error) {
			if err != nil {
				l.fail(err)
				return
			}
			l.sent.Add(1)
		})
	}
	return l.failed.Load() == nil
}

// finish waits until everything is appended.
func (l *load) finish(ctx context.Context) error {
	select {
	case <-l.done:
	case <-ctx.Done():
		return ctx.Err()
	}
	if err := l.failed.Load(); err != nil {
		return *err
	}
	if got := int(l.sent.Load()); got != len(l.sends) {
		return fmt.Errorf("the load appended %d records of %d", got, len(l.sends))
	}
	return nil
}

func (l *load) close() {
	l.cancel()
	l.wg.Wait()
	l.client.Close()
}
