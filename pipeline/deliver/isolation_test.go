//go:build synctests

package deliver

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/sinks"
)

var neighborsFull = flag.Bool("neighbors-full", false, "TestNeighborsHour with 40,000 commands for a destination that is down, and a share of the usual size")

// hourDrain is how long the other destination may need for its commands afterwards.
const hourDrain = 12 * time.Hour

// trouble is what a destination has, and how much it misses meanwhile.
type trouble struct {
	name   string // "down", "paused", "unknown" to the configuration, "slow"; empty: there is no such destination
	length time.Duration
	first  int // its commands that are there at the start
	each   int // that come with each second
	window int
}

// A destination that is down, paused, not configured or slow, with more commands than its share holds, has no other on its
// partition wait a moment longer than it would alone. Afterwards all that it missed is sent, once.
func TestNeighborsHour(t *testing.T) {
	var alone spread
	synctest.Test(t, func(t *testing.T) { alone = newHour(t, trouble{length: time.Hour}).run() })
	t.Logf("alone: %v", alone)
	down := trouble{"down", time.Hour, 2000, 1, 2500}
	if *neighborsFull {
		down = trouble{"down", time.Hour, 20_000, 6, DefaultWindowMax}
	}
	for _, trouble := range []trouble{
		down,
		{"paused", 10 * time.Minute, 2000, 2, 1500},
		{"unknown", 10 * time.Minute, 2000, 2, 1500},
		{"slow", 10 * time.Minute, 2000, 2, 1500},
	} {
		t.Run(trouble.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				beside := newHour(t, trouble).run()
				t.Logf("beside one that is %s: %v", trouble.name, beside)
				if beside.p95 > alone.p95*105/100 || beside.most > alone.most*105/100 {
					t.Errorf("beside one that is %s: %v, want what it is alone, %v", trouble.name, beside, alone)
				}
			})
		})
	}
}

// spread is how long commands took from the log to their destination.
type spread struct{ p95, most time.Duration }

func (s spread) String() string { return fmt.Sprintf("p95 %v, max %v", s.p95, s.most) }

// hour is two destinations on one partition.
type hour struct {
	t        *testing.T
	r        *rig
	trouble  trouble // of the neighbor
	mine     *timed
	neighbor *timed
	pauses   *pauses
	all      []schemas.Command
	theirs   int
}

func newHour(t *testing.T, trouble trouble) *hour {
	return &hour{
		t: t, r: virtualRig(t), trouble: trouble, pauses: &pauses{},
		mine: newTimed(), neighbor: newTimed(),
	}
}

func (h *hour) options(instance string) Options {
	o := h.r.options(instance, h.mine)
	o.Settle, o.RetryBase, o.RetryMax = DefaultSettle, time.Second, 10*time.Minute
	o.session, o.inspect, o.WindowMax, o.Pauses = time.Minute, time.Minute, h.trouble.window, h.pauses
	o.Kafka.Extra = append(o.Kafka.Extra, kgo.DisableClientMetrics())
	return o
}

func (h *hour) run() spread {
	o := h.options("a")
	switch h.trouble.name {
	case "down", "slow":
		h.neighbor.mood.Store(h.trouble.name)
		o.Writers["neighbor"] = h.neighbor
	case "paused":
		h.pauses.set(schemas.PauseDestination, "neighbor", true)
		o.Writers["neighbor"] = h.neighbor
	}
	if h.trouble.name != "" {
		h.load(h.trouble.first)
	}
	p := h.r.start(o)
	for p.Ready() != nil {
		time.Sleep(time.Second)
	}
	h.mine.sent = map[string]time.Time{}
	for began, i := time.Now(), 0; time.Since(began) < h.trouble.length; i++ {
		if h.trouble.name != "" {
			h.load(h.trouble.each)
		}
		who := fmt.Sprintf("m%d@x.example", i%500)
		c := h.r.contact(who, int64(i+1))
		if i%4 == 3 {
			c = h.r.effect(who)
		}
		h.mine.expect(c)
		h.r.produce(c)
		h.all = append(h.all, c)
		time.Sleep(time.Second)
	}
	time.Sleep(time.Minute)
	out := h.mine.spread(h.t)
	if h.trouble.name != "" {
		h.drain(p)
	}
	for id, word := range h.r.ended(h.all...) {
		if word != schemas.OutcomeDelivered {
			h.t.Errorf("command %s is %s", id, word)
		}
	}
	return out
}

// load appends commands for the neighbor, each of a contact of its own.
func (h *hour) load(n int) {
	cmds := make([]schemas.Command, n)
	for i := range cmds {
		who := fmt.Sprintf("n%d@x.example", h.theirs)
		if cmds[i] = h.r.contact(who, 1); h.theirs%50 == 49 {
			cmds[i] = h.r.effect(who)
		}
		cmds[i].Destination = "neighbor"
		h.theirs++
	}
	h.r.produce(cmds...)
	h.all = append(h.all, cmds...)
}

// drain ends the trouble, and waits until the neighbor has everything.
func (h *hour) drain(p *running) {
	before := h.neighbor.applied()
	if h.trouble.name == "slow" && before == 0 || h.trouble.name != "slow" && before > 0 {
		h.t.Errorf("%d commands of the neighbor arrived while it was %s", before, h.trouble.name)
	}
	h.neighbor.mood.Store("quick")
	switch h.trouble.name {
	case "paused":
		h.pauses.set(schemas.PauseDestination, "neighbor", false)
	case "unknown":
		p.stop()
		o := h.options("b")
		o.Writers["neighbor"] = h.neighbor
		p = h.r.start(o)
	}
	began := time.Now()
	for h.neighbor.applied() < h.theirs {
		if time.Since(began) > hourDrain {
			h.t.Fatalf("%d of %d commands arrived within %v", h.neighbor.applied(), h.theirs, hourDrain)
		}
		time.Sleep(time.Minute)
	}
	h.t.Logf("its %d commands arrived within %v", h.theirs, time.Since(began))
	h.neighbor.mu.Lock()
	defer h.neighbor.mu.Unlock()
	for id, n := range h.neighbor.count {
		if n != 1 {
			h.t.Errorf("the neighbor got command %s %d times", id, n)
		}
	}
}

// timed is a destination that notes when it got what.
type timed struct {
	mood atomic.Value // of string: "down", "slow", "quick"; empty: it answers within half a second

	mu    sync.Mutex
	sent  map[string]time.Time
	took  []time.Duration
	count map[string]int
}

func newTimed() *timed {
	d := &timed{count: map[string]int{}}
	d.mood.Store("")
	return d
}

// expect notes that c goes to the log now.
func (d *timed) expect(c schemas.Command) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.sent[c.CommandID] = time.Now()
}

func (d *timed) applied() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.count)
}

func (d *timed) spread(t *testing.T) spread {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.took) != len(d.sent) {
		t.Fatalf("%d of %d commands arrived", len(d.took), len(d.sent))
	}
	slices.Sort(d.took)
	return spread{d.took[len(d.took)*95/100], d.took[len(d.took)-1]}
}

func (d *timed) Write(ctx context.Context, batch []schemas.Command) (out []sinks.Outcome) {
	for _, c := range batch {
		out = append(out, d.one(ctx, c))
	}
	return out
}

func (d *timed) one(ctx context.Context, c schemas.Command) sinks.Outcome {
	takes := 100 * time.Millisecond
	for _, b := range []byte(c.ContactKey) {
		takes += time.Duration(b%5) * 10 * time.Millisecond
	}
	mood := d.mood.Load()
	switch mood {
	case "down":
		takes = 10 * time.Second
	case "slow":
		takes = 20 * time.Second
	case "quick":
		takes = 0
	}
	if !sleep(ctx, takes) {
		return sinks.Outcome{Kind: sinks.Unknown, Err: ctx.Err()}
	}
	if mood == "down" {
		return sinks.Outcome{Kind: sinks.Retryable, Err: errors.New("no connection"), Remedy: "wait"}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.count[c.CommandID]++
	if at, ok := d.sent[c.CommandID]; ok {
		d.took = append(d.took, time.Since(at))
	}
	return sinks.Outcome{Kind: sinks.Delivered}
}

func (d *timed) Reconcile(_ context.Context, c schemas.Command) sinks.Outcome {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.count[c.CommandID] > 0 {
		return sinks.Outcome{Kind: sinks.Delivered}
	}
	return sinks.Outcome{Kind: sinks.NotHappened}
}

func (d *timed) Check(context.Context) []sinks.Finding { return nil }
func (d *timed) Close() error                          { return nil }
