package deliver

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tillstream/tillstream/pipeline/kafka"
	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/sinks"
)

// A destination that is away, with more commands than its share, keeps nobody waiting who shares its partition; nor does
// one that is not configured.
func TestOneDestinationAwaySlowsNoOther(t *testing.T) {
	for _, name := range []string{"away", "unknown"} {
		t.Run(name, func(t *testing.T) {
			r, c := newRig(t), newCRM(t)
			o := r.options("one", c)
			o.WindowMax = 50
			if name == "away" {
				o.Writers["away"] = gone{}
			}
			run := r.start(o)
			var mine, theirs []schemas.Command
			for i := range 600 {
				cmd := r.contact(fmt.Sprintf("a%d@x.example", i), 1)
				cmd.Destination = name
				theirs = append(theirs, cmd)
				if i%10 == 9 {
					mine = append(mine, r.contact(fmt.Sprintf("c%d@x.example", i), 1), r.effect(fmt.Sprintf("c%d@x.example", i)))
					r.produce(theirs[i-9:]...)
					r.produce(mine[len(mine)-2:]...)
				}
			}
			r.ended(mine...)
			eventually(t, "the rest is deferred", func() bool {
				for _, s := range run.Status().Destinations {
					if s.Name == name {
						return s.Unfinished == 600 && s.Deferred == 550
					}
				}
				return false
			})
		})
	}
}

// gone is a destination that is down.
type gone struct{}

func (gone) Write(_ context.Context, batch []schemas.Command) (out []sinks.Outcome) {
	for range batch {
		out = append(out, sinks.Outcome{Kind: sinks.Retryable, Err: errors.New("connection refused"), Remedy: "wait"})
	}
	return out
}

func (gone) Reconcile(context.Context, schemas.Command) sinks.Outcome {
	return sinks.Outcome{Kind: sinks.Retryable, Err: errors.New("connection refused")}
}
func (gone) Check(context.Context) []sinks.Finding { return nil }
func (gone) Close() error                          { return nil }

// Through restarts and kills at any moment, with shares so small that most is deferred and progress so scattered that it
// is a record: each effect happens once, no state goes back, and the newest of each contact is there in the end.
func TestRestartsWithDeferredCommands(t *testing.T) {
	r, c := newRig(t), newCRM(t)
	dice := rand.New(rand.NewPCG(11, 4))
	c.answer = func(cmd schemas.Command, try int) (sinks.Outcome, bool) {
		if len(cmd.CommandID) > 0 && cmd.CommandID[len(cmd.CommandID)-1] == '7' && try == 1 {
			return retryable(), false
		}
		return sinks.Outcome{}, true
	}
	var all []schemas.Command
	for i := range 11_000 {
		who := fmt.Sprintf("c%d@x.example", dice.IntN(300))
		if dice.IntN(5) == 0 {
			all = append(all, r.effect(who))
			continue
		}
		cmd := r.contact(who, int64(i+1))
		if dice.IntN(2) == 0 { // marks in pieces: this destination is never done with anything
			cmd.Destination = "unknown"
		}
		all = append(all, cmd)
	}
	newest := map[string]int64{}
	var mine []schemas.Command
	for _, cmd := range all {
		if cmd.Destination == "crm" {
			mine = append(mine, cmd)
			if cmd.Kind == schemas.CommandContact {
				newest[cmd.ContactKey] = cmd.Version
			}
		}
	}
	r.produce(all...)
	o := r.options("one", c)
	o.WindowMax = 100
	for i := range 5 {
		o.Instance = fmt.Sprint("p", i)
		run := r.start(o)
		before := c.total()
		eventually(t, "some requests", func() bool { return c.total() > before+100+i*50 })
		if i%2 == 0 {
			run.stop()
		} else {
			run.kill()
		}
	}
	o.Instance = "last"
	r.start(o)
	r.ended(mine...)
	c.mu.Lock()
	defer c.mu.Unlock()
	for key, want := range newest {
		if got := c.versions[key]; got != want {
			t.Errorf("%s is at version %d, want %d", key, got, want)
		}
	}
	for key, sent := range c.sent {
		for i := 1; i < len(sent); i++ {
			if sent[i] < sent[i-1] {
				t.Fatalf("%s: versions %v went back", key, sent)
			}
		}
	}
	for id, n := range c.effects {
		if n > 1 {
			t.Errorf("effect %s happened %d times", id, n)
		}
	}
	asking, err := New(r.options("asking", newCRM(t)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(asking.cluster.Close)
	if start, end, err := asking.cluster.Bounds(t.Context(), schemas.TopicProgress, 0); err != nil || end <= start {
		t.Errorf("crm.progress holds %d to %d (%v), want records", start, end, err)
	}
}

// A record of progress that is gone stalls the partition: nothing is guessed.
func TestProgressRecordThatIsGoneStalls(t *testing.T) {
	r, c := newRig(t), newCRM(t)
	cmd := r.contact("a@x.example", 1)
	r.produce(cmd)
	text := r.progress(progress{topicID: r.topicID(), owner: 1, seq: 1, recorded: true, record: 40})
	r.commit(0, text)
	run := r.start(r.options("one", c))
	eventually(t, "stalled", func() bool {
		w := run.window(0)
		return w.State == "stalled" && w.Reason == ReasonProgressUnreadable
	})
	if n := c.triesOf(cmd); n > 0 {
		t.Errorf("sent %d times", n)
	}
}

// pauses are set by a test.
type pauses struct {
	mu      sync.Mutex
	held    map[pauseKey]schemas.Pause
	changed chan struct{}
}

func (p *pauses) set(subject schemas.PauseSubject, name string, held bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.held == nil {
		p.held = map[pauseKey]schemas.Pause{}
	}
	if held {
		p.held[pauseKey{subject, name}] = schemas.Pause{Subject: subject, Name: name, Paused: true, By: "ann", Why: "import", At: time.Unix(1_700_000_000, 0)}
	} else {
		delete(p.held, pauseKey{subject, name})
	}
	if p.changed != nil {
		close(p.changed)
	}
	p.changed = make(chan struct{})
}

func (p *pauses) Paused(subject schemas.PauseSubject, name string) (schemas.Pause, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	v, ok := p.held[pauseKey{subject, name}]
	return v, ok
}

func (p *pauses) Changed() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.changed
}

// A paused destination gets nothing, and a paused connection causes nothing; others go on; all is sent after.
func TestPausesHoldBack(t *testing.T) {
	r, c, other := newRig(t), newCRM(t), newCRM(t)
	p := &pauses{}
	p.set(schemas.PauseDestination, "crm", true)
	p.set(schemas.PauseConnection, "shop", true)
	o := r.options("one", c)
	o.Pauses, o.Writers["other"] = p, other
	run := r.start(o)
	mine, shop, free := r.contact("a@x.example", 1), r.effect("a@x.example"), r.effect("a@x.example")
	shop.Destination, shop.RootKey = "other", schemas.RootKey("live", "shop", "1")
	free.Destination, free.RootKey = "other", schemas.RootKey("live", "paypal", "2")
	r.produce(mine, shop, free)
	r.ended(free)
	s := run.Status()
	if h := s.Destinations[0].HeldBack; h == nil || h.By != "ann" || h.Why != "import" || s.Destinations[0].Unfinished != 1 {
		t.Errorf("destination crm: got %+v", s.Destinations[0])
	}
	if len(s.Connections) != 1 || s.Connections[0].Name != "shop" || s.Connections[0].Waiting != 1 {
		t.Errorf("connections: got %+v, want one command of shop waiting", s.Connections)
	}
	if c.triesOf(mine) > 0 || other.triesOf(shop) > 0 {
		t.Error("something was sent in spite of a pause")
	}
	p.set(schemas.PauseDestination, "crm", false)
	r.ended(mine)
	p.set(schemas.PauseConnection, "shop", false)
	r.ended(shop)
}

// An effect that is on the log twice happens twice: a person asked for it.
func TestEffectOnTheLogAgainIsSentAgain(t *testing.T) {
	r, c := newRig(t), newCRM(t)
	r.start(r.options("one", c))
	e := r.effect("a@x.example")
	r.produce(e)
	r.ended(e)
	r.produce(e)
	eventually(t, "it happens again", func() bool { c.mu.Lock(); defer c.mu.Unlock(); return c.effects[e.CommandID] == 2 })
}

// many is a destination to which many at once cost one request.
type many struct {
	*crm
	calls, most atomic.Int64
}

func (m *many) BulkMax() int                { return 40 }
func (m *many) Bulk(c schemas.Command) bool { return c.Contact.Email != "single@x.example" }
func (m *many) Write(ctx context.Context, batch []schemas.Command) []sinks.Outcome {
	m.calls.Add(1)
	m.most.Store(max(m.most.Load(), int64(len(batch))))
	return m.crm.Write(ctx, batch)
}

func TestBacklogIsWrittenInBulk(t *testing.T) {
	r := newRig(t)
	m := &many{crm: newCRM(t)}
	m.answer = func(cmd schemas.Command, try int) (sinks.Outcome, bool) {
		if cmd.Contact.Email == "c7@x.example" {
			return sinks.Outcome{Kind: sinks.Rejected, Err: errors.New("422"), Remedy: "correct it"}, false
		}
		return sinks.Outcome{}, true
	}
	all := []schemas.Command{r.contact("single@x.example", 1)}
	for i := range 400 {
		all = append(all, r.contact(fmt.Sprintf("c%d@x.example", i), 1))
	}
	r.produce(all...)
	o := r.options("one", m.crm)
	o.Writers["crm"] = m
	r.start(o)
	got := r.ended(all...)
	for _, cmd := range all {
		want := schemas.OutcomeDelivered
		if cmd.Contact.Email == "c7@x.example" {
			want = schemas.OutcomeRejected
		}
		if got[cmd.CommandID] != want {
			t.Errorf("%s: got %s, want %s", cmd.Contact.Email, got[cmd.CommandID], want)
		}
	}
	if n := m.calls.Load(); n > 60 || m.most.Load() > 40 {
		t.Errorf("%d calls of up to %d for 401 contacts, want a few of up to 40", n, m.most.Load())
	}
}

// heapMax is what a million commands that wait may take, whatever else the tests hold.
const heapMax = 96 << 20

// A backlog of a million commands is held in bounded memory.
func TestMemoryOfAMillionCommands(t *testing.T) {
	r := newRig(t)
	o := r.options("one", gone{})
	o.WindowMax = DefaultWindowMax
	d, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.cluster.Close)
	d.notAsked = map[string]time.Time{}
	d.counts = map[string]int32{schemas.TopicProgress: 2}
	d.assign(t.Context(), []kafka.Offset{{Topic: schemas.TopicCommands, At: 0}})
	w := d.windows[0]
	w.held, w.proven = false, true
	heap := func() int64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	before := heap()
	const n, batch = 1_000_000, 500
	again := make([][]byte, batch)
	for at := int64(0); at < n; at += batch {
		var recs []*kgo.Record
		for i := at; i < at+batch; i++ {
			cmd := schemas.Command{
				CommandID: fmt.Sprintf("%012x", i), Kind: schemas.CommandContact, Destination: "crm", ContactKey: fmt.Sprintf("live/c%d@x.example", i), Version: 1,
				RootKey: "live/shop/1", Contact: schemas.Contact{Email: fmt.Sprintf("c%d@x.example", i), Fields: map[string]string{"A": "some text", "B": "another one"}},
			}
			value := again[int(i)%batch] // who is deferred does not matter
			if i < 2*DefaultWindowMax {
				if value, err = r.codec.Encode(&cmd); err != nil {
					t.Fatal(err)
				}
				again[int(i)%batch] = value
			}
			recs = append(recs, &kgo.Record{Topic: schemas.TopicCommands, Offset: i, Key: []byte(cmd.ContactKey), Value: value})
		}
		d.lock()
		d.admit(fetched(kgo.FetchPartition{Records: recs}))
		d.mu.Unlock()
		d.decodeWaiting()
	}
	if w.next != n || w.unfinished() != n || len(w.entries) != DefaultWindowMax {
		t.Fatalf("read up to %d, %d unfinished, %d of them in memory", w.next, w.unfinished(), len(w.entries))
	}
	if got := heap() - before; got > heapMax {
		t.Errorf("%d MiB, want %d at most", got>>20, heapMax>>20)
	} else {
		t.Logf("%d MiB for %d commands, %d of them in memory", got>>20, n, len(w.entries))
	}
	runtime.KeepAlive(d)
}
