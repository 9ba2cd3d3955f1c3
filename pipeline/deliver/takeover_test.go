package deliver

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tillstream/tillstream/schemas"
)

// An earlier owner may have sent any state that is in the log when the partition is taken over. So the next one reads
// all of them before it sends one: what it sends is then never older.
func TestNewOwnerSendsNoStateBeforeItHasReadAll(t *testing.T) {
	r, c := newRig(t), newCRM(t)
	all := []schemas.Command{r.contact("a@x.example", 1), r.effect("a@x.example")}
	for i := range 3 * pollMax { // a poll brings the first of them only
		all = append(all, r.contact(fmt.Sprintf("c%d@x.example", i%50), int64(1+i/50)))
	}
	all = append(all, r.contact("a@x.example", 2))
	r.produce(all...)
	r.start(r.options("one", c))
	r.ended(all...)
	if diff := cmp.Diff(c.sent["live/a@x.example"], []int64{2}); diff != "" {
		t.Errorf("versions sent, got - want:\n%s", diff)
	}
	for i := range 50 {
		who := fmt.Sprintf("live/c%d@x.example", i)
		if diff := cmp.Diff(c.sent[who], []int64{3 * pollMax / 50}); diff != "" {
			t.Errorf("versions of %s sent, got - want:\n%s", who, diff)
		}
	}
}

// transaction begins one with a command at the end of partition 0, and returns what ends it.
func (r *rig) transaction(cmd schemas.Command) (end func(kgo.TransactionEndTry)) {
	r.t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(r.brokers...), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.TransactionalID("engine"), kgo.Dialer(r.dial))
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(cl.Close)
	if err := cl.BeginTransaction(); err != nil {
		r.t.Fatal(err)
	}
	value, err := r.codec.Encode(&cmd)
	if err != nil {
		r.t.Fatal(err)
	}
	rec := &kgo.Record{Topic: schemas.TopicCommands, Key: []byte(cmd.ContactKey), Value: value}
	if err := cl.ProduceSync(r.t.Context(), rec).FirstErr(); err != nil {
		r.t.Fatal(err)
	}
	return func(try kgo.TransactionEndTry) {
		if err := cl.EndTransaction(r.t.Context(), try); err != nil {
			r.t.Error(err)
		}
	}
}

// What is undecided at the takeover is waited for; effects are not held, for each is sent once only. The marker of a
// transaction at the end of the log is read too: an aborted one leaves no more than that.
func TestNewOwnerWaitsForWhatIsUndecided(t *testing.T) {
	for name, try := range map[string]kgo.TransactionEndTry{"commit": kgo.TryCommit, "abort": kgo.TryAbort} {
		t.Run(name, func(t *testing.T) {
			r, c := newRig(t), newCRM(t)
			state, effect, newer := r.contact("a@x.example", 1), r.effect("b@x.example"), r.contact("a@x.example", 2)
			r.produce(state, effect)
			end := r.transaction(newer)
			run := r.start(r.options("one", c))
			r.ended(effect)
			if s := run.window(0); c.triesOf(state) > 0 || s.State != stateCatchingUp {
				t.Errorf("the state was sent %d times; got %+v", c.triesOf(state), s)
			}
			end(try)
			want := []int64{1}
			if try == kgo.TryCommit {
				want[0] = 2
				r.ended(state, newer)
			} else {
				r.ended(state)
			}
			if diff := cmp.Diff(c.sent["live/a@x.example"], want); diff != "" {
				t.Errorf("versions sent, got - want:\n%s", diff)
			}
			eventually(t, "running", func() bool { return run.window(0).State == "running" })
		})
	}
}

// A transaction that nobody ends does not hold the states before it for ever: nobody has read what comes after.
func TestNewOwnerDoesNotWaitForEver(t *testing.T) {
	r, c := newRig(t), newCRM(t)
	state := r.contact("a@x.example", 1)
	r.produce(state)
	r.transaction(r.contact("a@x.example", 2))
	o := r.options("one", c)
	o.catchUp = 300 * time.Millisecond
	r.start(o)
	r.ended(state)
}

// Commands that wait for the registry are read, but not known: a newer state may be among them.
func TestNewOwnerWaitsForTheRegistry(t *testing.T) {
	r, c := newRig(t), newCRM(t)
	dc := &down{Codec: r.codec}
	older, newer, effect := r.contact("a@x.example", 1), r.contact("a@x.example", 2), r.effect("b@x.example")
	value, err := r.codec.Encode(&newer)
	if err != nil {
		t.Fatal(err)
	}
	value[1] = foreignID
	r.produce(older)
	if err := r.client.ProduceSync(t.Context(), &kgo.Record{Topic: schemas.TopicCommands, Value: value}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	r.produce(effect)
	o := r.options("one", c)
	o.Codec = dc
	run := r.start(o)
	r.ended(effect)
	eventually(t, "it is asked again", func() bool { return dc.asked.Load() >= 2 })
	if n := c.triesOf(older); n > 0 || run.window(0).State != stateCatchingUp {
		t.Errorf("the state was sent %d times; got %+v", n, run.window(0))
	}
	dc.up.Store(true)
	r.ended(older, newer)
	if diff := cmp.Diff(c.sent["live/a@x.example"], []int64{2}); diff != "" {
		t.Errorf("versions sent, got - want:\n%s", diff)
	}
}

// A marker is no command: it takes no place in the progress, and what an earlier owner said of it is passed over.
func TestMarkersCostNothing(t *testing.T) {
	w := newWindow(t.Context(), schemas.TopicCommands, 0, 1, 10, progress{marks: marksOf(run{open, 2}, run{finished, 3}, run{open, 1})})
	w.admit(10)
	w.pass(11)
	w.pass(11)
	w.admit(12)
	w.pass(13)
	w.pass(14)
	e := w.admit(15)
	w.pass(16)
	low, p, ok := w.progress()
	if !ok || low != 10 || e == nil || w.next != 17 {
		t.Fatalf("got low %d, next %d, entry %v", low, w.next, e)
	}
	// Offset 12 is finished, as the earlier owner said; what holds no command counts as what is before it.
	if got, want := slices.Collect(p.marks.runs), []run{{open, 2}, {finished, 3}, {open, 2}}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	for _, e := range w.inOrder() {
		w.finish(e)
	}
	if low, p, _ := w.progress(); low != 17 || len(p.marks.segs) > 0 {
		t.Errorf("got low %d and %v, want 17 and nothing beyond", low, p.marks)
	}
	first := newWindow(t.Context(), schemas.TopicCommands, 0, 1, -1, progress{})
	first.pass(0)
	if low, _, ok := first.progress(); !ok || low != 1 {
		t.Errorf("got low %d, %v, want 1", low, ok)
	}
}
