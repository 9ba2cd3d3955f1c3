// Package backtest runs a configuration over the recorded log under virtual time, and compares what it would have done
// with what another one does, and with what really happened. It sends nothing.
//
// Both configurations see the same history, from the begin of the log: up to Since both follow the current one, and from
// there on the new one is followed by its own run. So the difference between the two runs is the new configuration's
// alone. What really happened may differ from the current configuration's run for other reasons (it was edited meanwhile,
// the log does not reach back far enough, a question was answered later): that difference is told apart.
package backtest

import (
	"context"
	"maps"
	"reflect"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tillstream/tillstream/processors"
	"github.com/tillstream/tillstream/processors/automation"
	"github.com/tillstream/tillstream/processors/orders"
	"github.com/tillstream/tillstream/processors/trial"
	"github.com/tillstream/tillstream/processors/workflows"
	"github.com/tillstream/tillstream/schemas"
)

// Item is one record of the log.
type Item struct {
	At    int64 // the broker's stamp, Unix milliseconds
	Topic string
	Key   string
	Rec   schemas.Record
}

// Source gives the records of the log in the order of their time; false at the end.
type Source interface {
	Next(ctx context.Context) (Item, bool, error)
}

// Rules are one configuration's.
type Rules struct {
	Version string
	Orders  orders.Options
	Rules   automation.Rules
}

// Options of a backtest.
type Options struct {
	Current, New Rules
	Since, Until time.Time
	// Answers holds the ids of questions whose answer is in the source; the others are answered by what was last known of
	// the contact and the list, if anything was.
	Answers map[string]bool
	// Progress is called now and then with how many events were read and the time that they have come to. It may be nil.
	Progress func(events int, at time.Time)
}

// batchItems is how many records go from one stage to the next at once, and batchesMax how many such may wait.
const (
	batchItems = 512
	batchesMax = 8
)

// Run reads src to its end.
func Run(ctx context.Context, o Options, src Source) (*Report, error) {
	real := newCollector(o)
	current, next := newWorld(o, o.Current, false), newWorld(o, o.New, true)
	worlds := []*world{current, next}
	var chains []*chain
	if reflect.DeepEqual(o.Current.Orders, o.New.Orders) { // up to Since both are the same
		current.twin = next
		chains = []*chain{newChain(o.Current.Orders, worlds...)}
	} else {
		chains = []*chain{newChain(o.Current.Orders, current), newChain(o.New.Orders, next)}
		close(next.ready)
	}
	group, ctx := errgroup.WithContext(ctx)
	for _, c := range chains {
		group.Go(func() error { return c.run(ctx, o) })
	}
	for _, w := range worlds {
		group.Go(func() error { return w.run(ctx, o) })
	}
	events := 0
	group.Go(func() error {
		defer func() {
			for _, c := range chains {
				close(c.in)
			}
		}()
		var err error
		events, err = feed(ctx, o, src, chains, real)
		return err
	})
	if err := group.Wait(); err != nil {
		return nil, err
	}
	return report(o, events, real, current, next), nil
}

// feed hands the records to the chains, in batches.
func feed(ctx context.Context, o Options, src Source, chains []*chain, real *collector) (events int, err error) {
	batch := make([]Item, 0, batchItems)
	flush := func() error {
		for _, c := range chains {
			select {
			case c.in <- batch:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		batch = make([]Item, 0, batchItems)
		return nil
	}
	until := o.Until.UnixMilli()
	for {
		it, ok, err := src.Next(ctx)
		if err != nil {
			return events, err
		}
		if !ok || it.At >= until {
			break
		}
		switch rec := it.Rec.(type) {
		case *schemas.Command:
			real.command(it.At, rec)
			continue
		case *schemas.OrderEvent:
			if events++; o.Progress != nil && events%batchItems == 0 {
				o.Progress(events, time.UnixMilli(it.At))
			}
		}
		if batch = append(batch, it); len(batch) == batchItems {
			if err := flush(); err != nil {
				return events, err
			}
		}
	}
	return events, flush()
}

// chain is an orders stage and the worlds that follow it.
type chain struct {
	in     chan []Item
	lane   *trial.Lane[orders.State]
	worlds []*world
	out    []Item
	inbox  []processors.Input
	money  *ledger
}

func newChain(o orders.Options, worlds ...*world) *chain {
	c := &chain{in: make(chan []Item, batchesMax), worlds: worlds, money: newLedger()}
	c.lane = trial.NewLane[orders.State](orders.New(o), trial.Options{}, c)
	for _, w := range worlds {
		w.money = c.money
	}
	return c
}

// run is the orders stage's goroutine.
func (c *chain) run(ctx context.Context, o Options) error {
	defer func() {
		for _, w := range c.worlds {
			close(w.in)
		}
	}()
	for batch := range c.in {
		for _, it := range batch {
			if err := c.item(it); err != nil {
				return err
			}
		}
		if err := c.flush(ctx); err != nil {
			return err
		}
	}
	if err := c.lane.Advance(o.Until); err != nil {
		return err
	}
	if err := c.drain(); err != nil {
		return err
	}
	return c.flush(ctx)
}

func (c *chain) item(it Item) error {
	e, ok := it.Rec.(*schemas.OrderEvent)
	if !ok {
		// Timers of the orders stage go first: what they write is older than it.
		if err := c.lane.Advance(time.UnixMilli(it.At)); err != nil {
			return err
		}
		c.out = append(c.out, it)
		return nil
	}
	if err := c.lane.Step(processors.Input{At: time.UnixMilli(it.At).UTC(), Topic: it.Topic, Key: it.Key, Record: e}); err != nil {
		return err
	}
	return c.drain()
}

// drain applies what the stage wrote to itself.
func (c *chain) drain() error {
	for i := 0; i < len(c.inbox); i++ {
		in := c.inbox[i]
		in.At = c.lane.Now()
		if err := c.lane.Step(in); err != nil {
			return err
		}
	}
	clear(c.inbox)
	c.inbox = c.inbox[:0]
	return nil
}

func (c *chain) flush(ctx context.Context) error {
	if len(c.out) == 0 {
		return nil
	}
	for _, w := range c.worlds {
		out := c.out
		if c.shared() && w == c.worlds[1] { // it begins where the first one is at Since
			for len(out) > 0 && out[0].At < w.since {
				out = out[1:]
			}
		}
		if len(out) == 0 {
			continue
		}
		select {
		case w.in <- out:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	c.out = make([]Item, 0, 2*batchItems)
	return nil
}

// shared reports that both worlds follow this chain.
func (c *chain) shared() bool { return len(c.worlds) > 1 }

// Output implements trial.Sink.
func (c *chain) Output(at time.Time, out processors.Output) error {
	switch out.Topic {
	case schemas.TopicOrdersInbox:
		c.inbox = append(c.inbox, processors.Input{Topic: out.Topic, Key: out.Key, Record: out.Record})
	case schemas.TopicAutomationInbox:
		c.out = append(c.out, Item{at.UnixMilli(), out.Topic, out.Key, out.Record})
	case schemas.TopicTransitions:
		if t, ok := out.Record.(*schemas.Transition); ok {
			c.money.note(t)
		}
	}
	return nil
}

// DeadLetter implements trial.Sink: the orders stage refuses the same events under every configuration.
func (c *chain) DeadLetter(schemas.DeadLetter) error { return nil }

// world is the automation stage under one configuration.
type world struct {
	in   chan []Item
	lane *trial.Lane[automation.State]
	line *trial.Line
	// twin begins as a copy of this world at Since; ready is closed once that is made. Nil: every world plays all itself.
	twin     *world
	ready    chan struct{}
	got      *collector
	money    *ledger
	rules    Rules
	switches bool // to the rules at Since; else it follows them from the begin
	began    bool
	known    map[standingKey]schemas.Standing
	asked    []*schemas.Command
	answers  map[string]bool
	// Unanswered counts the questions that nobody could answer.
	unanswered int
	dead       int
	since      int64
}

type standingKey struct{ contact, destination, list string }

func newWorld(o Options, r Rules, switches bool) *world {
	w := &world{
		in: make(chan []Item, batchesMax), got: newCollector(o), rules: r, switches: switches,
		known: map[standingKey]schemas.Standing{}, answers: o.Answers, since: o.Since.UnixMilli(), ready: make(chan struct{}),
	}
	stage := automation.NewFollowing(pair{&o.Current.Rules, &o.New.Rules, o.New.Version})
	w.play(trial.NewLane[automation.State](stage, trial.Options{}, nil))
	return w
}

func (w *world) play(lane *trial.Lane[automation.State]) {
	w.lane = lane
	w.line = trial.NewLine(w, lane.Now(), trial.Part{Lane: lane, Topics: []string{schemas.TopicAutomationInbox}})
}

// split makes the twin, at Since.
func (w *world) split() error {
	if err := w.line.Advance(time.UnixMilli(w.since)); err != nil {
		return err
	}
	t := w.twin
	w.twin = nil
	t.play(w.lane.Clone())
	t.known, t.got.contacts = maps.Clone(w.known), make(map[contactAt]*contact, len(w.got.contacts))
	for key, c := range w.got.contacts {
		same := *c
		t.got.contacts[key] = &same
	}
	close(t.ready)
	return nil
}

// pair are the two configurations.
type pair struct {
	current, next *automation.Rules
	version       string
}

// Rules implements automation.Book.
func (p pair) Rules(version string) *automation.Rules {
	if version == p.version {
		return p.next
	}
	return p.current
}

// Program implements automation.Book.
func (p pair) Program(workflow, version string) *workflows.Program {
	for _, r := range []*automation.Rules{p.next, p.current} {
		if f := r.Workflow(workflow); f != nil && f.Version == version {
			return f
		}
	}
	return nil
}

// run is the automation stage's goroutine.
func (w *world) run(ctx context.Context, o Options) error {
	if w.switches {
		select {
		case <-w.ready:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if w.line.Now().UnixMilli() == 0 { // it is no copy
		if err := w.follow(0, o.Current.Version); err != nil {
			return err
		}
	}
	for batch := range w.in {
		for _, it := range batch {
			if err := w.item(it); err != nil {
				return err
			}
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	if err := w.begin(); err != nil {
		return err
	}
	return w.line.Advance(o.Until)
}

// begin is called once Since has come: it makes the twin, or lets the new rules be followed.
func (w *world) begin() error {
	if w.twin != nil {
		return w.split()
	}
	if w.began || !w.switches {
		return nil
	}
	w.began = true
	return w.follow(w.since, w.rules.Version)
}

func (w *world) follow(at int64, version string) error {
	return w.put(Item{At: at, Topic: schemas.TopicAutomationInbox, Rec: &schemas.ConfigActivation{Version: version, At: time.UnixMilli(at).UTC()}})
}

func (w *world) item(it Item) error {
	if it.At >= w.since {
		if err := w.begin(); err != nil {
			return err
		}
	}
	if a, ok := it.Rec.(*schemas.ListAnswer); ok {
		w.known[standingKey{a.ContactKey, a.Destination, a.List}] = a.Standing
	}
	if err := w.put(it); err != nil {
		return err
	}
	for len(w.asked) > 0 {
		q := w.asked[0]
		w.asked = w.asked[1:]
		standing, ok := w.known[standingKey{q.ContactKey, q.Destination, q.Effect.Name}]
		if !ok {
			w.unanswered++
			continue
		}
		err := w.put(Item{At: it.At, Topic: schemas.TopicAutomationInbox, Key: q.ContactKey, Rec: &schemas.ListAnswer{
			CommandID: q.CommandID, ContactKey: q.ContactKey, Destination: q.Destination, List: q.Effect.Name, Standing: standing, At: time.UnixMilli(it.At).UTC(),
		}})
		if err != nil {
			return err
		}
	}
	return nil
}

func (w *world) put(it Item) error {
	return w.line.Put(processors.Input{At: time.UnixMilli(it.At).UTC(), Topic: it.Topic, Key: it.Key, Record: it.Rec})
}

// Output implements trial.Sink.
func (w *world) Output(at time.Time, o processors.Output) error {
	switch r := o.Record.(type) {
	case *schemas.Command:
		if r.Kind == schemas.CommandQuestion && !w.answers[r.CommandID] {
			w.asked = append(w.asked, r)
		}
		w.got.command(at.UnixMilli(), r)
	case *schemas.RunStep:
		w.got.step(at.UnixMilli(), r)
	}
	return nil
}

// DeadLetter implements trial.Sink.
func (w *world) DeadLetter(d schemas.DeadLetter) error {
	if d.At.UnixMilli() >= w.since {
		w.dead++
	}
	return nil
}
