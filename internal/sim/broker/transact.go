package broker

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tillstream/tillstream/pipeline/kafka"
)

// Begin implements kafka.Session.
func (s *Session) Begin() error {
	s.p.Check()
	switch {
	case s.fatal != nil:
		return s.fatal
	case s.inTxn:
		return errors.New("a transaction is open")
	}
	s.inTxn, s.touched = true, false
	return nil
}

// Produce implements kafka.Session: records leave with Flush.
func (s *Session) Produce(_ context.Context, rec *kgo.Record, promise func(*kgo.Record, error)) {
	s.p.Check()
	s.buffer = append(s.buffer, produced{rec, promise})
}

// Flush implements kafka.Session. All partitions are written side by side; each in order.
func (s *Session) Flush(ctx context.Context) error {
	both := s.both(ctx)
	batch := s.buffer
	s.buffer = nil
	if len(batch) == 0 {
		return nil
	}
	settle := func(err error) {
		for _, p := range batch {
			p.promise(p.rec, err)
		}
	}
	if err := s.ensureEpoch(both); err != nil {
		settle(err)
		return ctx.Err()
	}
	var keys []kafka.TopicPartition
	parts := map[kafka.TopicPartition][]produced{}
	for _, p := range batch {
		k := kafka.TopicPartition{Topic: p.rec.Topic, Partition: p.rec.Partition}
		if parts[k] == nil {
			keys = append(keys, k)
		}
		parts[k] = append(parts[k], p)
	}
	left, back := len(keys), s.b.s.NewCond()
	for _, k := range keys {
		s.p.Go(func() {
			s.send(both, k, parts[k])
			left--
			back.Broadcast()
		})
	}
	for left > 0 {
		_ = back.Wait(context.Background(), s.p) // each of them ends with ctx
	}
	return ctx.Err()
}

// send writes the records of one partition.
func (s *Session) send(ctx context.Context, k kafka.TopicPartition, batch []produced) {
	epoch, wrote, again := s.epoch, false, false
	records := make([]*kgo.Record, len(batch))
	for i, p := range batch {
		copied := *p.rec
		records[i] = &copied
	}
	var err error
	for {
		asked := s.b.ask(ctx, s.p, "produce", func() {
			if again = wrote; wrote {
				return // the broker knows the sequence numbers
			}
			if err = s.b.produce(s, epoch, k.Topic, k.Partition, records); err == nil {
				wrote = true
			}
		})
		s.touched = true
		if errors.Is(err, kerr.ConcurrentTransactions) && asked == nil {
			if asked = s.p.Sleep(ctx, pause/5); asked == nil {
				err = nil
				continue
			}
		}
		if err = errors.Join(asked, err); asked != nil {
			s.reload = true
		}
		break
	}
	if errors.Is(err, kerr.InvalidProducerEpoch) {
		s.reload = true
	}
	lostOffset := again && s.b.r.IntN(8) == 0
	for i, p := range batch {
		if err == nil {
			p.rec.Offset, p.rec.Timestamp = records[i].Offset, records[i].Timestamp
			if lostOffset {
				p.rec.Offset = -1
			}
		}
		p.promise(p.rec, err)
	}
}

// InitProducer implements kafka.Session.
func (s *Session) InitProducer(ctx context.Context) error { return s.ensureEpoch(s.both(ctx)) }

func (s *Session) ensureEpoch(ctx context.Context) error {
	if s.fatal != nil {
		return s.fatal
	}
	if !s.fresh && !s.reload {
		return nil
	}
	for {
		var epoch int
		var err error
		asked := s.b.ask(ctx, s.p, "init-producer", func() { epoch, err = s.b.init(s, s.fresh) })
		switch {
		case asked != nil:
			return fmt.Errorf("init the producer id: %w", asked)
		case err == nil:
			s.epoch, s.fresh, s.reload = epoch, false, false
			return nil
		case errors.Is(err, kerr.ProducerFenced):
			s.fatal = err
			return err
		}
		if err := s.p.Sleep(ctx, pause/5); err != nil {
			return fmt.Errorf("init the producer id: %w", err)
		}
	}
}

// Abort implements kafka.Session.
func (s *Session) Abort(ctx context.Context) error {
	for _, p := range s.buffer {
		p.promise(p.rec, kgo.ErrAborting)
	}
	s.buffer = nil
	s.fail.take()
	defer s.ended()
	return s.abort(s.both(ctx))
}

// ended ends what Abort and Commit do under the lock.
func (s *Session) ended() {
	s.revoked, s.lost = false, false
	s.fail.give()
}

// abort ends the transaction at the broker, and goes back to what was committed.
func (s *Session) abort(ctx context.Context) error {
	defer s.goBack()
	s.inTxn = false
	if !s.touched {
		return nil
	}
	if s.reload {
		return s.ensureEpoch(ctx)
	}
	_, err := s.finish(ctx, false)
	return err
}

func (s *Session) goBack() {
	for _, c := range s.cursors {
		c.at = c.committed
	}
}

// finish sends EndTxn until it is answered. known says that the broker answered what was asked for.
func (s *Session) finish(ctx context.Context, commit bool) (known bool, err error) {
	name := "end-abort"
	if commit {
		name = "end-commit"
	}
	for try := 0; ; try++ {
		var epoch int
		f, asked := s.b.call(ctx, s.p, name, func() { epoch, err = s.b.end(s, s.epoch, commit) })
		switch {
		case f.Refuse && asked == nil:
			// UNKNOWN_SERVER_ERROR: the session asks for a new epoch, which aborts what is still open, and then says "not
			// committed" without an error, whatever happened.
			s.reload = true
			if err := s.ensureEpoch(ctx); err != nil {
				return false, err
			}
			return false, nil
		case errors.Is(asked, errLost) && !f.Final && try < 20:
			if err := s.p.Sleep(ctx, 2*pause); err != nil {
				s.reload = true
				return false, err
			}
			continue
		case asked != nil:
			s.reload = true
			return false, fmt.Errorf("end the transaction: %w", asked)
		case errors.Is(err, kerr.ConcurrentTransactions):
			if err := s.p.Sleep(ctx, pause/5); err != nil {
				s.reload = true
				return false, err
			}
			continue
		case err != nil:
			s.reload = true
			return false, err
		}
		s.epoch = epoch
		return true, nil
	}
}

// Commit implements kafka.Session.
func (s *Session) Commit(ctx context.Context, offsets []kafka.Offset) (bool, error) {
	both := s.both(ctx)
	if err := s.Flush(ctx); err != nil {
		return false, err
	}
	committed, err := s.addOffsets(both, offsets)
	s.fail.take()
	defer s.ended()
	if !committed || s.revoked || s.lost {
		if aborted := s.abort(both); err == nil {
			err = aborted
		}
		return false, err
	}
	s.inTxn = false
	known, err := s.finish(both, true)
	if !known || err != nil {
		s.goBack()
		return false, err
	}
	for _, c := range s.cursors {
		c.committed = c.at
	}
	return true, nil
}

// addOffsets puts the offsets into the transaction, and makes sure that the group still counts on this member.
func (s *Session) addOffsets(ctx context.Context, offsets []kafka.Offset) (ok bool, err error) {
	if s.revoked || s.lost {
		return false, nil
	}
	if len(offsets) == 0 {
		return true, nil
	}
	if s.gen <= 0 || s.member == "" {
		return false, kafka.ErrNoGeneration
	}
	if err := s.ensureEpoch(ctx); err != nil {
		return false, err
	}
	named := slices.Clone(offsets)
	for i := range named {
		if named[i].Metadata == "" {
			named[i].Metadata = s.member
		}
	}
	member, gen, epoch := s.member, s.gen, s.epoch
	added := false
	asked := s.b.ask(ctx, s.p, "txn-offset-commit", func() {
		if !added {
			err = s.b.addOffsets(s, epoch, named, member, gen)
			added = err == nil
		}
	})
	s.touched = true
	switch {
	case asked != nil:
		return false, asked
	case errors.Is(err, kerr.IllegalGeneration), errors.Is(err, kerr.UnknownMemberID), errors.Is(err, kerr.RebalanceInProgress), errors.Is(err, kerr.ConcurrentTransactions):
		return false, nil
	case err != nil:
		s.reload = errors.Is(err, kerr.InvalidProducerEpoch)
		return false, err
	}
	if s.b.o.Loose.Generation {
		return true, nil
	}
	asked = s.b.ask(ctx, s.p, "heartbeat", func() { err = s.b.group(s.m.Group).heartbeat(member, gen) })
	return asked == nil && (err == nil || errors.Is(err, kerr.RebalanceInProgress)), nil
}

// CommitOffsets implements kafka.Session.
func (s *Session) CommitOffsets(ctx context.Context, offsets []kafka.Offset) map[kafka.TopicPartition]error {
	failed := map[kafka.TopicPartition]error{}
	member, gen := s.member, s.gen
	var err error
	if gen <= 0 || member == "" {
		err = kafka.ErrNoGeneration
	} else if asked := s.b.ask(s.both(ctx), s.p, "offset-commit", func() {
		g := s.b.group(s.m.Group)
		by := g.asker(s, member, gen)
		if err = g.check(member, gen); err == nil {
			g.set(offsets, by)
		}
	}); asked != nil {
		err = asked
	}
	for _, o := range offsets {
		if err != nil {
			failed[kafka.TopicPartition{Topic: o.Topic, Partition: o.Partition}] = err
		}
	}
	return failed
}
