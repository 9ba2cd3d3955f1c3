package broker

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tillstream/tillstream/internal/sim/sched"
	"github.com/tillstream/tillstream/pipeline/kafka"
)

var start = time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)

// script is a nemesis that does what a test says.
type script struct {
	marker time.Duration
	fates  map[string]Fate // for the next call of that name
}

func (n *script) Fate(_ *sched.Proc, call string) Fate {
	f := n.fates[call]
	delete(n.fates, call)
	return f
}
func (n *script) Effect(*sched.Proc, string) {}
func (n *script) Marker() time.Duration      { return n.marker }

type rig struct {
	t *testing.T
	s *sched.Sched
	b *Broker
	n *script
}

func newRig(t *testing.T) *rig {
	r := rand.New(rand.NewPCG(1, 1))
	s := sched.New(r, start)
	n := &script{fates: map[string]Fate{}}
	b := New(Options{Sched: s, Random: r, Nemesis: n, TombstoneRetention: time.Hour})
	b.Create("in", 2, false)
	b.Create("out", 2, false)
	return &rig{t, s, b, n}
}

// run runs f on a process until it ends.
func (r *rig) run(f func(p *sched.Proc, c *Client)) {
	r.t.Helper()
	p, done := r.s.NewProc("p", 0), false
	p.Go(func() {
		f(p, r.b.Client(p))
		done = true
	})
	if err := r.s.Run(100_000, func() bool { return done }); err != nil {
		r.t.Fatal(err)
	}
	r.s.End(p)
}

func (r *rig) member(c *Client, id string) *Session {
	s, err := c.Join(kafka.Member{
		Group: "g", TransactionalID: id, Topics: []string{"in"}, CoPartition: true,
		SessionTimeout: 15 * time.Second, RebalanceTimeout: 30 * time.Second, TransactionTimeout: 10 * time.Second,
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return s.(*Session)
}

func record(topic, value string) *kgo.Record { return &kgo.Record{Topic: topic, Value: []byte(value)} }

// produce writes one record in a transaction and commits offset at of in/0.
func produce(r *rig, s *Session, value string, at int64) (committed bool, err error) {
	ctx := context.Background()
	if err := s.Begin(); err != nil {
		return false, err
	}
	var promised error
	s.Produce(ctx, record("out", value), func(_ *kgo.Record, err error) { promised = err })
	if err := errors.Join(s.Flush(ctx), promised); err != nil {
		return false, errors.Join(err, s.Abort(ctx))
	}
	return s.Commit(ctx, []kafka.Offset{{Topic: "in", At: at}})
}

func joined(p *sched.Proc, s *Session, n int) {
	for len(s.owned["in"]) != n {
		_ = p.Sleep(context.Background(), 100*time.Millisecond)
	}
}

func TestCommitIsSeenMarkerByMarker(t *testing.T) {
	r := newRig(t)
	r.n.marker = 5 * time.Second
	r.run(func(p *sched.Proc, c *Client) {
		s := r.member(c, "t")
		joined(p, s, 2)
		if ok, err := produce(r, s, "a", 7); !ok || err != nil {
			t.Fatalf("commit: %v, %v", ok, err)
		}
		out := r.b.part("out", 0)
		if got, _ := out.read(0, 10, false); len(got) != 0 || out.Stable() != 0 || out.End() != 1 {
			t.Errorf("before the marker: %d records, stable %d, end %d; want 0, 0, 1", len(got), out.Stable(), out.End())
		}
		if o, err := r.b.group("g").fetch([]kafka.TopicPartition{{Topic: "in"}}); !errors.Is(err, kerr.UnstableOffsetCommit) {
			t.Errorf("offsets %v, %v: want UNSTABLE_OFFSET_COMMIT", o, err)
		}
		offsets, err := c.Offsets(context.Background(), "g", []string{"in"}, []int32{0, 1})
		if err != nil || offsets[0].At != 7 || offsets[1].At != -1 {
			t.Errorf("stable offsets %+v, %v", offsets, err)
		}
		if got, next := out.read(0, 10, false); len(got) != 1 || next != 2 {
			t.Errorf("after the marker: %d records, next %d; want 1, 2", len(got), next)
		}
	})
}

func TestNewEpochFencesAndAborts(t *testing.T) {
	r := newRig(t)
	r.run(func(p *sched.Proc, c *Client) {
		a := r.member(c, "t")
		joined(p, a, 2)
		ctx := context.Background()
		_ = a.Begin()
		a.Produce(ctx, record("out", "lost"), func(*kgo.Record, error) {})
		if err := a.Flush(ctx); err != nil {
			t.Fatal(err)
		}
		b := r.member(c, "t")
		if err := b.InitProducer(ctx); err != nil {
			t.Fatal(err)
		}
		if ok, _ := a.Commit(ctx, []kafka.Offset{{Topic: "in", At: 1}}); ok {
			t.Error("a fenced producer committed")
		}
		if err := a.Begin(); err == nil {
			_, err = produce(r, a, "zombie", 2)
			if err == nil {
				t.Error("a fenced producer wrote")
			}
		}
		if got := r.b.part("out", 0).Committed(); len(got) != 0 {
			t.Errorf("%d records are committed, want none", len(got))
		}
	})
}

func TestTransactionTimesOut(t *testing.T) {
	r := newRig(t)
	r.run(func(p *sched.Proc, c *Client) {
		s := r.member(c, "t")
		joined(p, s, 2)
		ctx := context.Background()
		_ = s.Begin()
		s.Produce(ctx, record("out", "slow"), func(*kgo.Record, error) {})
		_ = s.Flush(ctx)
		_ = p.Sleep(ctx, 11*time.Second)
		if ok, err := s.Commit(ctx, []kafka.Offset{{Topic: "in", At: 1}}); ok || err == nil && s.reload {
			t.Errorf("commit after the timeout: %v, %v", ok, err)
		}
		if ok, err := produce(r, s, "next", 1); !ok || err != nil {
			t.Errorf("the next transaction: %v, %v", ok, err)
		}
		if got := r.b.part("out", 0).Committed(); len(got) != 1 || string(got[0].Value) != "next" {
			t.Errorf("committed: %v", got)
		}
	})
}

func TestUnknownOutcomes(t *testing.T) {
	for _, c := range []struct {
		name      string
		fate      Fate
		ok, fails bool
		committed int
	}{
		{"answer lost, asked again", Fate{LoseAnswer: true}, true, false, 1},
		{"request lost, asked again", Fate{LoseRequest: true}, true, false, 1},
		{"answer lost for good", Fate{LoseAnswer: true, Final: true}, false, true, 1},
		{"request lost for good", Fate{LoseRequest: true, Final: true}, false, true, 0},
		{"refused, and done", Fate{Refuse: true, LoseAnswer: true}, false, false, 1},
		{"refused, and not done", Fate{Refuse: true}, false, false, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t)
			r.run(func(p *sched.Proc, cl *Client) {
				s := r.member(cl, "t")
				joined(p, s, 2)
				r.n.fates["end-commit"] = c.fate
				ok, err := produce(r, s, "a", 1)
				if ok != c.ok || (err != nil) != c.fails {
					t.Errorf("commit: %v, %v; want %v, error %v", ok, err, c.ok, c.fails)
				}
				if ok, err := produce(r, s, "b", 2); !ok || err != nil {
					t.Errorf("the next one: %v, %v", ok, err)
				}
				if got := len(r.b.part("out", 0).Committed()); got != c.committed+1 {
					t.Errorf("%d records committed, want %d", got, c.committed+1)
				}
			})
		})
	}
}

// TestRebalance: a second member takes its share, generation by generation, and a silent one loses everything.
func TestRebalance(t *testing.T) {
	r := newRig(t)
	r.run(func(p *sched.Proc, c *Client) {
		told := []string{}
		m := kafka.Member{
			Group: "g", TransactionalID: "a", Topics: []string{"in"}, CoPartition: true, SessionTimeout: 15 * time.Second, RebalanceTimeout: 30 * time.Second,
			Assigned: func(_ kafka.Session, m map[string][]int32) { told = append(told, fmt.Sprint("+", m)) },
			Revoked:  func(_ kafka.Session, m map[string][]int32) { told = append(told, fmt.Sprint("-", m)) },
		}
		joining, err := c.Join(m)
		if err != nil {
			t.Fatal(err)
		}
		a := joining.(*Session)
		joined(p, a, 2)
		other := r.s.NewProc("q", 0)
		var b *Session
		other.Go(func() { b = r.member(r.b.Client(other), "b") })
		joined(p, a, 1)
		for len(b.owned["in"]) != 1 {
			_ = p.Sleep(context.Background(), time.Second)
		}
		gen := a.gen
		if ok, err := produce(r, a, "abort", 1); ok || err != nil {
			t.Errorf("a commit after a revocation: %v, %v; want no commit and no error", ok, err)
		}
		if ok, err := produce(r, a, "fine", 1); !ok || err != nil {
			t.Errorf("the one after it: %v, %v", ok, err)
		}
		other.Pause(time.Minute)
		joined(p, a, 2)
		if a.gen <= gen {
			t.Errorf("generation %d after %d", a.gen, gen)
		}
		if took := r.s.Elapsed(); took > 40*time.Second {
			t.Errorf("the silent member lost its share after %v", took)
		}
		t.Log(told)
		r.s.End(other)
	})
}

func TestCompaction(t *testing.T) {
	r := newRig(t)
	b := r.b
	b.Create("c", 1, true)
	for i, kv := range []struct {
		k string
		v []byte
	}{{"a", []byte("1")}, {"b", []byte("1")}, {"a", nil}, {"b", []byte("2")}} {
		b.Put("c", 0, &kgo.Record{Key: []byte(kv.k), Value: kv.v})
		_ = i
	}
	p := b.part("c", 0)
	p.Compact()
	if got := len(p.Log()); got != 2 {
		t.Errorf("%d records after the first pass, want 2", got)
	}
	r.s.Skip(2 * time.Hour)
	p.Compact()
	if got := p.Log(); len(got) != 1 || string(got[0].Value) != "2" || p.End() != 4 {
		t.Errorf("after the second pass: %v, end %d", got, p.End())
	}
	if got := len(p.Committed()); got != 4 {
		t.Errorf("the history holds %d records, want 4", got)
	}
}
