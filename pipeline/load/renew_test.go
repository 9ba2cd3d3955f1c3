package load

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tillstream/tillstream/pipeline/kafka"
)

// script is a Log of one partition with three records, whose sessions answer commits as told.
type script struct {
	answers
	commit  func(call int, offsets []kafka.Offset) error
	joins   int
	commits []string
	closed  int
}

func (s *script) Join(m kafka.Member) (kafka.Session, error) {
	s.joins++
	one := &scripted{s: s}
	m.Assigned(one, map[string][]int32{topic: {0}})
	return one, m.Fetched([]kafka.Offset{{Topic: topic, At: 0, Metadata: metadata{}.String()}})
}

type scripted struct {
	silent
	s    *script
	read bool
}

func (s *scripted) AllowRebalance() {}
func (s *scripted) Close()          { s.s.closed++ }

func (s *scripted) Poll(ctx context.Context, _ int, _ bool) kgo.Fetches {
	if len(s.set) > 0 && !s.read {
		s.read = true
		return kgo.Fetches{{Topics: []kgo.FetchTopic{{Topic: topic, Partitions: []kgo.FetchPartition{{
			HighWatermark: 3, LastStableOffset: 3, Records: []*kgo.Record{{Offset: 0}, {Offset: 1}, {Offset: 2}},
		}}}}}}
	}
	<-ctx.Done()
	return kgo.NewErrFetch(ctx.Err())
}

func (s *scripted) CommitOffsets(_ context.Context, offsets []kafka.Offset) map[kafka.TopicPartition]error {
	for _, o := range offsets {
		m, _ := parseMetadata(o.Metadata)
		s.s.commits = append(s.s.commits, fmt.Sprintf("%d: %d-%d", s.s.joins, o.At, m.To))
	}
	if err := s.s.commit(len(s.s.commits), offsets); err != nil {
		return map[kafka.TopicPartition]error{{Topic: topic}: err}
	}
	return nil
}

// A commit without an answer may be carried out after the next ones, and set the group back to a plan of old, or to an
// offset without the plan that was inserted since. Only a new membership keeps it out. An answer, even a bad one, says
// that it is over.
func TestACommitWhoseFateIsUnknownRenewsTheMembership(t *testing.T) {
	lost := errors.New("connection reset by peer")
	for _, c := range []struct {
		name  string
		call  int // the first is the plan's, the second the one after the insert
		err   error
		joins int
	}{
		{"plan, no answer", 1, lost, 2},
		{"plan, time-out", 1, context.DeadlineExceeded, 2},
		{"plan, refused", 1, kerr.RebalanceInProgress, 1},
		{"plan, not sent", 1, kafka.ErrNoGeneration, 1},
		{"done, no answer", 2, lost, 2},
		{"done, refused", 2, kerr.CoordinatorLoadInProgress, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := &bench{t: t, writer: newWriter(), codec: &textCodec{}}
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			done := 0
			log := &script{answers: answers{id: 1, end: 3}}
			log.commit = func(call int, offsets []kafka.Offset) error {
				if call == c.call {
					return c.err
				}
				if n := b.writer.count(); c.call == 1 && call == 2 && n != 0 {
					t.Errorf("%d rows were stored although their plan was not committed", n)
				}
				if offsets[0].At == 3 {
					done++
					cancel()
				}
				return nil
			}
			l := b.loader(func(o *Options) { o.Cluster, o.FlushInterval = log, time.Millisecond })
			if err := l.Run(ctx); err != nil {
				t.Fatal(err)
			}
			if log.joins != c.joins || log.closed != c.joins || done != 1 {
				t.Errorf("got %d memberships, %d left, %d ends, want %d, %d, 1; commits %q", log.joins, log.closed, done, c.joins, c.joins, log.commits)
			}
			b.writer.check(t)
			if n := b.writer.count(); n != 3 {
				t.Errorf("got %d rows stored, want 3", n)
			}
		})
	}
}

// Rows that came by the topic's name between two comparisons may be of another topic: no token of the old one for them.
func TestNoRowIsInsertedUnderTheIdOfAnotherTopic(t *testing.T) {
	b := &bench{t: t, writer: newWriter(), codec: &textCodec{}}
	log := &answers{id: 1, end: 10}
	l := b.loader(func(o *Options) { o.Cluster = log })
	s := &silent{} // panics at a commit
	l.adopt(kafka.Offset{Topic: topic, At: 4, Metadata: metadata{}.String()})
	l.inspect(t.Context(), s)
	p := l.partitions[key{topic, 0}]
	p.add(&kgo.Record{Offset: 4}, time.Now())
	log.err = errors.New("no broker")
	if err := l.pass(t.Context(), s, true); err != nil || p.tries != 1 {
		t.Errorf("pass: %v after %d tries, want the partition postponed while its topic is not known", err, p.tries)
	}
	log.err, log.id = nil, 2
	if err := l.pass(t.Context(), s, true); err != nil || p.stalled == nil || p.stalled.reason != ReasonInputRecreated {
		t.Errorf("pass: %v, stalled by %v, want %s", err, p.stalled, ReasonInputRecreated)
	}
	if n := b.writer.count(); n != 0 {
		t.Errorf("%d rows were stored", n)
	}
}
