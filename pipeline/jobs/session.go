package jobs

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tillstream/tillstream/pipeline/kafka"
	"github.com/tillstream/tillstream/schemas"
)

// session is one membership in the group, from joining to leaving.
func (r *Runner) session(ctx context.Context) error {
	r.mu.Lock()
	r.assigned, r.next = false, -1
	r.era++
	r.mu.Unlock()
	r.drop()
	client, abandon := context.WithCancel(context.WithoutCancel(ctx))
	defer abandon()
	s, err := r.cluster.Join(kafka.Member{
		Group: r.o.Group, Topics: []string{schemas.TopicJobRequests}, TransactionalID: "tillstream-jobs-" + r.o.Instance,
		HoldRebalance: true, TransactionTimeout: transactionTimeout, SessionTimeout: r.o.session, HeartbeatInterval: r.o.session / 5,
		Revoked: func(kafka.Session, map[string][]int32) { r.lost() },
		Fetched: r.fetched,
		Life:    client, Log: r.o.Log,
	})
	if err != nil {
		return fmt.Errorf("jobs: %w", err)
	}
	defer r.close(s, client, abandon)
	// A new epoch ends what an earlier session of this instance left open.
	init, cancel := r.clock.WithTimeout(client, endTimeout)
	defer cancel()
	if err := s.InitProducer(init); err != nil {
		return fmt.Errorf("end what an earlier session left open: %w", err)
	}
	r.say(nil) // who has no work stands by, and has no trouble either
	var requests []*kgo.Record
	for ctx.Err() == nil {
		if requests, err = r.turn(ctx, s, requests); err != nil {
			return err
		}
	}
	return nil
}

// close leaves the group. The client waits for an answer to its farewell for as long as its life lasts.
func (r *Runner) close(s kafka.Session, client context.Context, abandon func()) {
	closing, closed := context.WithCancel(client)
	watch := r.clock.NewGroup()
	watch.Go(func() {
		if r.clock.Sleep(closing, closeTimeout) == nil {
			abandon()
		}
	})
	s.Close()
	closed()
	watch.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.assigned = false
}

// lost is called when the partition goes.
func (r *Runner) lost() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.assigned, r.next = false, -1
	r.era++
}

// fetched is called when the partition comes.
func (r *Runner) fetched(offsets []kafka.Offset) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, o := range offsets {
		if o.Topic == schemas.TopicJobRequests && o.Partition == 0 {
			r.assigned, r.next = true, o.At
			r.era++
		}
	}
	return nil
}

// drop forgets all that is known of jobs: it is read anew.
func (r *Runner) drop() {
	r.jobs, r.known, r.ledger, r.counts, r.loaded = map[string]*running{}, map[string]bool{}, nil, map[string]int32{}, 0
	r.show()
}

// turn is one round: take what was asked, go on with one job. It returns the requests that were read and not taken.
func (r *Runner) turn(ctx context.Context, s kafka.Session, requests []*kgo.Record) ([]*kgo.Record, error) {
	pollCtx, stop := r.clock.WithTimeout(ctx, r.untilDue(len(requests) > 0))
	fetches := s.Poll(pollCtx, requestsPollMax, true)
	stop()
	r.mu.Lock()
	assigned, era := r.assigned, r.era
	r.mu.Unlock()
	if r.loaded != era {
		requests = nil
	}
	fetches.EachRecord(func(rec *kgo.Record) { requests = append(requests, rec) })
	s.AllowRebalance()
	if fetches.IsClientClosed() {
		return nil, kgo.ErrClientClosed
	}
	for _, e := range fetches.Errors() {
		if !errors.Is(e.Err, context.DeadlineExceeded) && !errors.Is(e.Err, context.Canceled) {
			return nil, fmt.Errorf("read %s: %w", e.Topic, e.Err)
		}
	}
	if !assigned || ctx.Err() != nil {
		return requests, nil
	}
	if r.loaded != era {
		if err := r.load(ctx, era); err != nil {
			return nil, err
		}
	}
	if len(requests) > 0 {
		return nil, r.take(ctx, s, requests)
	}
	return nil, r.step(ctx, s)
}

// untilDue is how long to wait for requests: until a job is due.
func (r *Runner) untilDue(waiting bool) time.Duration {
	wait := pollWaitMax
	now := r.clock.Now()
	for _, j := range r.jobs {
		wait = min(wait, j.due.Sub(now))
	}
	if waiting {
		wait = 0
	}
	return max(wait, time.Millisecond)
}

// said is an item's word on its way into the log.
type said struct {
	item   string
	result schemas.ItemResult
	record *kgo.Record
	about  time.Time // of the record that the item is about
}

// commit writes records and how far the requests are taken, all or nothing. After an error the state is not known here any
// more and the session ends.
func (r *Runner) commit(ctx context.Context, s kafka.Session, records []*kgo.Record, next int64) error {
	if err := r.crash("before commit"); err != nil {
		return err
	}
	if err := r.place(ctx, records); err != nil {
		return err
	}
	if err := s.Begin(); err != nil {
		return fmt.Errorf("begin transaction: %w", err)
	}
	// The end of a transaction is not cut short by the end of the process: its outcome would be unknown.
	end, cancel := r.clock.WithTimeout(context.WithoutCancel(ctx), endTimeout)
	defer cancel()
	err := r.produce(end, s, records)
	r.mu.Lock()
	gone := r.era != r.loaded || !r.assigned
	r.mu.Unlock()
	if err == nil && gone {
		err = errRenew
	}
	if err == nil {
		err = r.crash("before end")
	}
	if err != nil {
		return errors.Join(err, s.Abort(end))
	}
	committed, err := s.Commit(end, []kafka.Offset{{Topic: schemas.TopicJobRequests, At: next}})
	if crashed := r.crash("after commit"); crashed != nil {
		return crashed
	}
	if err != nil || !committed {
		return fmt.Errorf("%w: the outcome of a transaction is not known: %w", errRenew, errors.Join(err))
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.era == r.loaded {
		r.next = next
	}
	r.trouble = nil
	return nil
}

// place chooses the partitions of records that go by key.
func (r *Runner) place(ctx context.Context, records []*kgo.Record) error {
	for _, rec := range records {
		if rec.Partition >= 0 {
			continue
		}
		n, err := r.partitions(ctx, rec.Topic)
		if err != nil {
			return err
		}
		rec.Partition = kafka.Partition(rec.Key, n)
	}
	return nil
}

// partitions is how many a topic has, which never changes; it is asked once in a session.
func (r *Runner) partitions(ctx context.Context, topic string) (n int32, err error) {
	if n = r.counts[topic]; n == 0 {
		if n, err = (reading{r.cluster}).Partitions(ctx, topic); err == nil {
			r.counts[topic] = n
		}
	}
	return n, err
}

// produce writes records in the transaction and waits for their fate.
func (r *Runner) produce(ctx context.Context, s kafka.Session, records []*kgo.Record) error {
	var mu sync.Mutex
	var first error
	for _, rec := range records {
		s.Produce(ctx, rec, func(_ *kgo.Record, err error) {
			mu.Lock()
			defer mu.Unlock()
			if first == nil && err != nil {
				first = err
			}
		})
	}
	err := s.Flush(ctx)
	mu.Lock()
	defer mu.Unlock()
	return errors.Join(first, err)
}

// record encodes rec for a topic, by its key.
func (r *Runner) record(topic, key string, rec schemas.Record) (*kgo.Record, error) {
	value, err := r.o.Codec.Encode(rec)
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", rec.RecordName(), err)
	}
	return &kgo.Record{Topic: topic, Partition: -1, Key: []byte(key), Value: value}, nil
}
