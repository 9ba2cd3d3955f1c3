package broker

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tillstream/tillstream/internal/sim/sched"
	"github.com/tillstream/tillstream/pipeline/clock"
	"github.com/tillstream/tillstream/pipeline/kafka"
)

// The contract is one story on kafka.Log, told by the model and by the real client on kfake. Both must give the same
// lines. What kfake or a quiet network cannot show (late markers, lost answers, compaction) has tests of its own.

// teller runs the story.
type teller struct {
	t     *testing.T
	clock clock.Clock
	log   kafka.Log
	lines []string
}

func (c *teller) say(format string, args ...any) {
	c.lines = append(c.lines, fmt.Sprintf(format, args...))
}

// until polls cond, for 20 s at most.
func (c *teller) until(what string, cond func() bool) {
	for range 2000 {
		if cond() {
			return
		}
		_ = c.clock.Sleep(context.Background(), 10*time.Millisecond)
	}
	c.t.Errorf("%s did not happen; so far:\n%s", what, strings.Join(c.lines, "\n"))
}

// holder is a member that notes what it holds.
type holder struct {
	kafka.Session
	mu      sync.Mutex
	holds   map[int32]bool
	fetched map[int32]int64
}

func (h *holder) has() []int32 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Sorted(maps.Keys(h.holds))
}

func (c *teller) join(id string) *holder {
	h := &holder{holds: map[int32]bool{}, fetched: map[int32]int64{}}
	s, err := c.log.Join(kafka.Member{
		Group: "g", TransactionalID: id, Topics: []string{"in"}, CoPartition: true,
		SessionTimeout: 10 * time.Second, HeartbeatInterval: 100 * time.Millisecond, RebalanceTimeout: 10 * time.Second, TransactionTimeout: 10 * time.Second,
		Assigned: func(_ kafka.Session, m map[string][]int32) {
			h.mu.Lock()
			defer h.mu.Unlock()
			for _, n := range m["in"] {
				h.holds[n] = true
			}
		},
		Revoked: func(_ kafka.Session, m map[string][]int32) {
			h.mu.Lock()
			defer h.mu.Unlock()
			for _, n := range m["in"] {
				delete(h.holds, n)
			}
		},
		Fetched: func(offsets []kafka.Offset) error {
			h.mu.Lock()
			defer h.mu.Unlock()
			for _, o := range offsets {
				h.fetched[o.Partition] = o.At
			}
			return nil
		},
		Log: zerolog.Nop(),
	})
	if err != nil {
		c.t.Fatal(err)
	}
	h.Session = s
	return h
}

func (c *teller) append(partition int32, values ...string) {
	for _, v := range values {
		done := make(chan error, 1)
		c.log.Append(context.Background(), &kgo.Record{Topic: "in", Partition: partition, Value: []byte(v)}, func(_ *kgo.Record, err error) { done <- err })
		c.until("append", func() bool { return len(done) == 1 })
		if err := <-done; err != nil {
			c.t.Error(err)
		}
	}
}

// read polls until n records came.
func (c *teller) read(s kafka.Session, n int) string {
	var got []string
	c.until("read", func() bool {
		ctx, cancel := c.clock.WithTimeout(context.Background(), 50*time.Millisecond)
		defer cancel()
		s.Poll(ctx, 10, true).EachRecord(func(r *kgo.Record) { got = append(got, fmt.Sprintf("%d@%d=%s", r.Partition, r.Offset, r.Value)) })
		return len(got) >= n
	})
	slices.Sort(got)
	return strings.Join(got, " ")
}

func (c *teller) transact(s kafka.Session, value string, commit bool, at int64) string {
	ctx := context.Background()
	if err := s.Begin(); err != nil {
		return "no begin"
	}
	var mu sync.Mutex
	written := "?"
	s.Produce(ctx, &kgo.Record{Topic: "out", Value: []byte(value)}, func(r *kgo.Record, err error) {
		mu.Lock()
		defer mu.Unlock()
		if written = fmt.Sprint("written at ", r.Offset); err != nil {
			written = "refused"
		}
	})
	if err := s.Flush(ctx); err != nil {
		return "flush failed"
	}
	mu.Lock()
	defer mu.Unlock()
	if !commit || written == "refused" {
		if err := s.Abort(ctx); err != nil {
			return written + ", abort failed"
		}
		return written + ", aborted"
	}
	ok, err := s.Commit(ctx, []kafka.Offset{{Topic: "in", Partition: s.(*holder).has()[0], At: at}})
	return fmt.Sprintf("%s, committed %v %v", written, ok, err)
}

func (c *teller) group() string {
	offsets, err := c.log.Offsets(context.Background(), "g", []string{"in"}, []int32{0, 1})
	if err != nil {
		return err.Error()
	}
	return fmt.Sprintf("%d (named %v) and %d", offsets[0].At, offsets[0].Metadata != "", offsets[1].At)
}

func (c *teller) out(from int64) string {
	ctx := context.Background()
	start, end, err := c.log.Bounds(ctx, "out", 0)
	if err != nil {
		return err.Error()
	}
	var got []string
	last := from
	err = c.log.Read(ctx, kafka.Range{Topic: "out", From: from, To: end, Patience: 10 * time.Second}, func(records []*kgo.Record, next int64) error {
		for _, r := range records {
			got = append(got, string(r.Value))
		}
		last = next
		return nil
	})
	return fmt.Sprintf("%d to %d, %v, read to %d, %v", start, end, got, last, err)
}

// story is the same for every kafka.Log.
func (c *teller) story() {
	ctx := context.Background()
	if info, err := c.log.Describe(ctx, "in"); err != nil || info.Count != 2 || info.ID == [16]byte{} {
		c.t.Errorf("describe: %+v, %v", info, err)
	}
	if _, err := c.log.Describe(ctx, "nowhere"); err != nil {
		c.say("an unknown topic: %v", kafka.Classify(err))
	}
	a := c.join("a")
	c.until("a has both", func() bool { return len(a.has()) == 2 && len(a.fetched) == 2 })
	c.say("nothing is committed: %v, group %s", a.fetched, c.group())
	c.append(0, "x", "y")
	c.say("read %s", c.read(a, 2))
	c.say("first: %s", c.transact(a, "A", true, 2))
	c.say("group %s", c.group())
	c.say("out %s", c.out(0))
	c.say("second: %s", c.transact(a, "B", false, 0))
	c.say("out %s", c.out(2))
	c.append(0, "z")
	c.say("read %s", c.read(a, 1))
	c.say("third: %s", c.transact(a, "C", false, 0))
	c.say("after an abort again %s", c.read(a, 1))
	a.Pause(map[string][]int32{"in": {0}})
	c.append(0, "w")
	c.append(1, "v")
	c.say("paused: %s", c.read(a, 1))
	a.Resume(map[string][]int32{"in": {0}})
	c.say("resumed: %s", c.read(a, 1))
	a.SetOffsets([]kafka.Offset{{Topic: "in", Partition: 0, At: 1}})
	c.say("from 1: %s", c.read(a, 3))

	b := c.join("b")
	c.until("both have one", func() bool {
		a.Poll(ctx, 1, false)
		return len(a.has()) == 1 && len(b.has()) == 1
	})
	c.say("shared: %v", len(a.has())+len(b.has()))
	c.say("after a revocation: %s", strings.SplitN(c.transact(a, "D", true, 4), ", ", 2)[1])
	c.say("then: %s", strings.SplitN(c.transact(a, "E", true, 4), ", ", 2)[1])
	ctx5, cancel := c.clock.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if err := b.Leave(ctx5); err != nil {
		c.t.Error(err)
	}
	b.Close()
	c.until("a has both again", func() bool {
		a.Poll(ctx, 1, false)
		return len(a.has()) == 2
	})
	heir := c.join("a") // a later life of the transactional id
	if err := heir.InitProducer(ctx5); err != nil {
		c.t.Error(err)
	}
	got := c.transact(a, "zombie", true, 9)
	c.say("a zombie: committed %v", strings.Contains(got, "committed true"))
	heir.Close()
	a.Close()
}

var contract = []string{
	"an unknown topic: fatal",
	"nothing is committed: map[0:-1 1:-1], group -1 (named false) and -1",
	"read 0@0=x 0@1=y",
	"first: written at 0, committed true <nil>",
	"group 2 (named true) and -1",
	"out 0 to 2, [A], read to 2, <nil>",
	"second: written at 2, aborted",
	"out 0 to 4, [], read to 4, <nil>",
	"read 0@2=z",
	"third: written at 4, aborted",
	"after an abort again 0@2=z",
	"paused: 1@0=v",
	"resumed: 0@3=w",
	"from 1: 0@1=y 0@2=z 0@3=w",
	"shared: 2",
	"after a revocation: committed false <nil>",
	"then: committed true <nil>",
	"a zombie: committed false",
}

func TestContractOfTheModel(t *testing.T) {
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 1))
		s := sched.New(r, start)
		b := New(Options{Sched: s, Random: r, Nemesis: &script{fates: map[string]Fate{}}})
		b.Create("in", 2, false)
		b.Create("out", 1, false)
		p, done := s.NewProc("p", 0), false
		c := &teller{t: t, clock: p, log: b.Client(p)}
		p.Go(func() {
			c.story()
			done = true
		})
		if err := s.Run(1_000_000, func() bool { return done }); err != nil {
			t.Fatal(err)
		}
		s.End(p)
		if diff := cmp.Diff(contract, c.lines); diff != "" {
			t.Fatalf("seed %d (-want +got):\n%s", seed, diff)
		}
	}
}

func TestContractOfTheRealClient(t *testing.T) {
	fake, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(2, "in"), kfake.SeedTopics(1, "out"),
		kfake.BrokerConfigs(map[string]string{"group.initial.rebalance.delay.ms": "0"}))
	if err != nil {
		t.Fatal(err)
	}
	defer fake.Close()
	log, err := kafka.NewCluster(kafka.Options{Brokers: fake.ListenAddrs()}, clock.System(), zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	c := &teller{t: t, clock: clock.System(), log: log}
	c.story()
	if diff := cmp.Diff(contract, c.lines); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
