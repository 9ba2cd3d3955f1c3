package deliver

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tillstream/tillstream/pipeline/kafka"
	"github.com/tillstream/tillstream/schemas"
)

// errUnsettled ends a session whose transaction left the broker in a state that is neither before nor after it.
var errUnsettled = errors.New("the outcome of a transaction could not be settled")

// commit writes the outbox and the progress of every partition in one transaction.
func (d *Deliverer) commit(ctx context.Context, s kafka.Session) error {
	d.mu.Lock()
	batch, plan, err := d.plan()
	d.mu.Unlock()
	if err != nil || len(batch) == 0 {
		return err
	}
	if err := s.Begin(); err != nil {
		return fmt.Errorf("begin transaction: %w", err)
	}
	// The end of a transaction is not cut short by the end of the process: its outcome would be unknown.
	endCtx, cancel := d.clock.WithTimeout(context.WithoutCancel(ctx), endTimeout)
	defer cancel()
	produceErr := d.produce(endCtx, s, batch, plan)
	committed := false
	if produceErr == nil {
		committed, err = s.Commit(endCtx, plan.offsets())
	} else {
		err = s.Abort(endCtx)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("end transaction: %w", err), produceErr)
	}
	if !committed {
		d.mu.Lock()
		d.misplaced = true
		d.mu.Unlock()
		if committed, err = d.settle(endCtx, plan); err != nil {
			return errors.Join(err, produceErr)
		}
		d.metrics.aborts.Inc()
	}
	d.lock()
	defer d.mu.Unlock()
	if committed {
		d.trouble = nil
		d.applied(batch, plan)
		return nil
	}
	// Nothing was written: the same goes into the next transaction.
	d.outbox = append(batch, d.outbox...)
	for _, e := range plan.ended {
		e.win.ended = append(e.win.ended, e)
	}
	d.forget()
	return produceErr
}

// produce writes records in the transaction and waits for their fate.
func (d *Deliverer) produce(ctx context.Context, s kafka.Session, batch []output, plan *plan) error {
	var mu sync.Mutex
	var first error
	promise := func(_ *kgo.Record, err error) {
		mu.Lock()
		defer mu.Unlock()
		if first == nil && err != nil {
			first = err
		}
	}
	for _, o := range batch {
		r := *o.record
		r.Partition = kafka.Partition(r.Key, d.counts[r.Topic])
		s.Produce(ctx, &r, promise)
	}
	for _, row := range plan.rows {
		if row.record != nil {
			s.Produce(ctx, row.record, promise)
		}
	}
	err := s.Flush(ctx)
	mu.Lock()
	defer mu.Unlock()
	if first != nil {
		return first
	}
	if err != nil {
		return err
	}
	return plan.recorded()
}

// settle asks the broker what became of a transaction that the client does not vouch for.
func (d *Deliverer) settle(ctx context.Context, plan *plan) (committed bool, err error) {
	rows := d.kept(plan)
	if len(rows) == 0 {
		return false, nil
	}
	var parts []int32
	for _, row := range rows {
		parts = append(parts, row.win.partition)
	}
	offsets, err := d.cluster.Offsets(ctx, d.opts.Group, []string{schemas.TopicCommands}, parts)
	if err != nil {
		return false, fmt.Errorf("%w: %w", errUnsettled, err)
	}
	before, after := 0, 0
	for i, row := range rows {
		d.mu.Lock()
		gone := row.win.dropped
		d.mu.Unlock()
		if gone {
			continue
		}
		switch stampOf(offsets[i]) {
		case row.stamp():
			after++
		case row.win.before:
			before++
		default:
			return false, fmt.Errorf("%w: partition %d was committed by another owner", errUnsettled, row.win.partition)
		}
	}
	if before > 0 && after > 0 {
		return false, errUnsettled
	}
	return after > 0, nil
}

// kept are the rows of partitions that are still ours.
func (d *Deliverer) kept(plan *plan) (rows []planRow) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, row := range plan.rows {
		if !row.win.dropped {
			rows = append(rows, row)
		}
	}
	return rows
}
