package scenario

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tillstream/tillstream/processors"
	"github.com/tillstream/tillstream/processors/automation"
	"github.com/tillstream/tillstream/processors/orders"
	"github.com/tillstream/tillstream/processors/trial"
	"github.com/tillstream/tillstream/schemas"
)

// run is one scenario in one mode.
type run struct {
	world World
	mode  Mode
	line  *trial.Line // nil: time has not begun

	begin      time.Time
	base       string // name of the configuration
	files      map[string]string
	connection string
	version    string
	strict     map[class]bool

	at        int // line of the statement at hand
	text      string
	number    int // of events
	events    []*sent
	questions []*schemas.Command
	open      []*schemas.RunStep // waits
	seen      []*seen
	block     int // index in seen of what came since the last expectation
	last      int // index in seen of what came since the last statement that did something
	expecting bool
	again     bool // what is delivered at hand is a repetition of the Doubled mode
	failures  []Failure
	reached   map[string]bool
	broken    bool // nothing more can be run
}

// sent is an event that was delivered.
type sent struct {
	topic string
	e     *schemas.OrderEvent
}

const (
	failuresMax = 20
	nearMax     = 6 // candidates shown
)

func newRun(w World, m Mode) *run {
	return &run{world: w, mode: m, begin: start, files: map[string]string{}, connection: "paypal-eu", strict: strictly(), reached: map[string]bool{}}
}

func (r *run) fail(format string, args ...any) {
	if len(r.failures) < failuresMax {
		r.failures = append(r.failures, Failure{Line: r.at, Statement: r.text, Message: fmt.Sprintf(format, args...), Mode: r.mode})
	}
}

// all runs the statements, and looks for what nobody expected.
func (r *run) all(preamble []Statement, s *Scenario) {
	for _, list := range [][]Statement{preamble, s.Statements} {
		for _, st := range list {
			if r.broken {
				return
			}
			r.at, r.text = st.Line, st.Text
			r.statement(st.do)
		}
	}
	if !r.broken {
		r.settle()
	}
}

func (r *run) statement(do any) {
	if x, ok := do.(doExpect); ok {
		r.expecting = true
		if r.started() {
			r.expect(&x.x)
		}
		return
	}
	if r.expecting {
		r.settle()
	}
	r.last = len(r.seen)
	var err error
	switch do := do.(type) {
	case doConfig:
		if r.line != nil {
			r.fail("the configuration is named before the first event; write apply %s to change it from here on", do.name)
		}
		r.base = do.name
	case doFile:
		r.files[do.path] = do.text
	case doConnection:
		r.connection = do.name
	case doIgnore:
		r.strict[do.class] = do.strict
	case doAt:
		if r.line == nil {
			r.begin = do.to
		} else if now := r.line.Now(); do.to.Before(now) {
			r.fail("time never goes back: it is %s already", stamp(now))
		} else {
			err = r.line.Advance(do.to)
		}
	default:
		if r.started() {
			err = r.act(do)
		}
	}
	r.check(err)
}

// check ends the scenario at an error of the trial, which is a bug of a stage.
func (r *run) check(err error) {
	if err != nil {
		r.fail("%v", err)
		r.broken = true
	}
}

// started begins time with the first statement that needs it.
func (r *run) started() bool {
	if r.line != nil || r.broken {
		return !r.broken
	}
	if r.version, r.broken = r.configure(""); r.broken {
		return false
	}
	o := trial.Options{Check: r.mode == Checked}
	r.line = trial.NewLine(r, r.begin,
		trial.Part{Lane: trial.NewLane[orders.State](r.world.Orders(), o, r), Topics: []string{schemas.TopicPayPalEvents, schemas.TopicStoreOrders, schemas.TopicOrdersInbox}},
		trial.Part{Lane: trial.NewLane[automation.State](r.world.Automation(), o, r), Topics: []string{schemas.TopicAutomationInbox}})
	r.check(r.put(schemas.TopicAutomationInbox, "", &schemas.ConfigActivation{Version: r.version, At: r.begin}))
	return !r.broken
}

func (r *run) configure(name string) (version string, broken bool) {
	if name != "" {
		r.base = name
	}
	version, err := r.world.Configure(r.base, r.files)
	if err != nil {
		r.fail("%v", err)
	}
	return version, err != nil
}

func (r *run) put(topic, key string, rec schemas.Record) error {
	return r.line.Put(processors.Input{At: r.line.Now(), Topic: topic, Key: key, Record: rec})
}

// deliver puts something from outside on its topic, twice in the Doubled mode.
func (r *run) deliver(topic, key string, rec schemas.Record) error {
	if err := r.put(topic, key, rec); err != nil || r.mode != Doubled {
		return err
	}
	r.again = true
	err := r.put(topic, key, rec)
	r.again = false
	return err
}

func (r *run) act(do any) error {
	switch do := do.(type) {
	case doAfter:
		return r.line.Advance(r.line.Now().Add(do.d))
	case doEvent:
		return r.event(&do.e)
	case doAgain:
		return r.repeat(do)
	case doApply:
		if r.version, r.broken = r.configure(do.name); r.broken {
			return nil
		}
		return r.put(schemas.TopicAutomationInbox, "", &schemas.ConfigActivation{Version: r.version, At: r.line.Now()})
	case doAnswer:
		return r.answer(do)
	case doDecide:
		return r.decide(do)
	case doTouch:
		c, _ := r.world.Connection(r.connection)
		key := schemas.ContactKey(c.Environment, &schemas.Payer{Email: do.email})
		return r.deliver(schemas.TopicAutomationInbox, key, &schemas.ContactTouch{ContactKey: key, Why: "a scenario", At: r.line.Now()})
	case doReceivers:
		if !do.up {
			r.line.Hold()
			return nil
		}
		return r.line.Release()
	}
	return fmt.Errorf("a statement that nobody runs: %T", do)
}

func (r *run) event(e *event) error {
	name := cmp.Or(e.connection, r.connection)
	c, ok := r.world.Connection(name)
	if !ok {
		r.fail("there is no connection %q in the configuration", name)
		return nil
	}
	r.number++
	rec := e.record(c, r.line.Now(), r.number)
	r.events = append(r.events, &sent{c.Topic, rec})
	return r.deliver(c.Topic, rec.Key(), rec)
}

func (r *run) repeat(do doAgain) error {
	for i := len(r.events) - 1; i >= 0; i-- {
		s := r.events[i]
		if do.id != "" && s.e.EventID != do.id {
			continue
		}
		e := *s.e
		r.number++
		e.DeliveryIDs = []string{fmt.Sprintf("delivery-%d", r.number)}
		e.ReceivedAt = r.line.Now()
		if do.origin != "" {
			e.Origin = do.origin
		}
		return r.deliver(s.topic, e.Key(), &e)
	}
	r.fail("there is no event %q to deliver again", do.id)
	return nil
}

func (r *run) answer(do doAnswer) error {
	for i, q := range r.questions {
		if do.list != "" && q.Effect.Name != do.list || do.destination != "" && q.Destination != do.destination {
			continue
		}
		r.questions = slices.Delete(r.questions, i, i+1)
		now := r.line.Now()
		return r.deliver(schemas.TopicAutomationInbox, q.ContactKey, &schemas.ListAnswer{
			CommandID: q.CommandID, ContactKey: q.ContactKey, Destination: q.Destination, List: q.Effect.Name,
			Standing: do.standing, Error: do.why, AsOf: now, At: now,
		})
	}
	r.fail("no question about %s is open; open are: %s", cmp.Or(do.list, "any list"), r.openQuestions())
	return nil
}

func (r *run) openQuestions() string {
	var names []string
	for _, q := range r.questions {
		names = append(names, q.Effect.Name+" at "+q.Destination)
	}
	return cmp.Or(strings.Join(names, ", "), "none")
}

func (r *run) decide(do doDecide) error {
	for i := len(r.open) - 1; i >= 0; i-- {
		s := r.open[i]
		if do.workflow == "" || s.Workflow == do.workflow {
			return r.deliver(schemas.TopicAutomationInbox, s.ContactKey, &schemas.WaitDecision{
				WaitID: s.WaitID, ContactKey: s.ContactKey, Met: do.met, By: "scenario", At: r.line.Now(),
			})
		}
	}
	r.fail("no wait of %s is open", cmp.Or(do.workflow, "any workflow"))
	return nil
}

// Output implements trial.Sink.
func (r *run) Output(at time.Time, o processors.Output) error {
	switch rec := o.Record.(type) {
	case *schemas.Command:
		if rec.Kind == schemas.CommandQuestion && rec.Effect != nil {
			r.questions = append(r.questions, rec)
		}
	case *schemas.RunStep:
		r.reached[rec.Workflow+"#"+rec.Step+" "+string(rec.Kind)] = true
		switch rec.Kind {
		case schemas.StepWaitOpened:
			r.open = append(r.open, rec)
		case schemas.StepWaitMet, schemas.StepWaitNotMet:
			r.open = slices.DeleteFunc(r.open, func(s *schemas.RunStep) bool { return s.WaitID == rec.WaitID })
		}
	}
	s, ok := observe(o.Record, o.Topic)
	if !ok || r.mode == Doubled && s.facts[factDisposition] == string(schemas.Duplicate) {
		return nil
	}
	s.line, s.text, s.at = r.at, r.text, at
	r.seen = append(r.seen, &s)
	return nil
}

// DeadLetter implements trial.Sink.
func (r *run) DeadLetter(d schemas.DeadLetter) error {
	if r.again { // what is refused once is refused twice
		return nil
	}
	s := observeLetter(&d)
	s.line, s.text = r.at, r.text
	r.seen = append(r.seen, &s)
	return nil
}

func (r *run) reachedSteps() []string {
	list := make([]string, 0, len(r.reached))
	for s := range r.reached {
		list = append(list, s)
	}
	slices.Sort(list)
	return list
}

// settle ends a block: what came in it and must be expected, was.
func (r *run) settle() {
	var unexpected []string
	at, text := r.at, r.text
	for _, o := range r.seen[r.block:] {
		if o.claimed == 0 && r.strict[o.class] {
			if len(unexpected) == 0 {
				r.at, r.text = o.line, o.text
			}
			unexpected = append(unexpected, o.sentence())
		}
	}
	r.block, r.last, r.expecting = len(r.seen), len(r.seen), false
	if len(unexpected) > 0 {
		r.fail("nobody expected:\n  %s", strings.Join(unexpected, "\n  "))
	}
	r.at, r.text = at, text
}

// expect holds one expectation against what came.
func (r *run) expect(x *expectation) {
	if r.mode == Doubled && slices.ContainsFunc(x.wants, func(m want) bool { return m.fact == factDisposition && m.value == string(schemas.Duplicate) }) {
		return // repetitions are not told apart in this mode
	}
	if x.state {
		r.state(x)
		return
	}
	from := r.block
	if x.not { // not at the statement above; what came before that had its own expectations
		from = r.last
	}
	var came []*seen
	for _, o := range r.seen[from:] {
		if o.class == x.class {
			came = append(came, o)
		}
	}
	for _, o := range came {
		if len(x.differences(o)) > 0 {
			continue
		}
		if x.not {
			r.fail("it came at %s:\n  %s", stamp(o.at), o.sentence())
			return
		}
		if o.claimed == 0 {
			o.claimed = r.at
			return
		}
	}
	if x.not {
		return
	}
	r.fail("%s", r.missed(x, came))
}

// state holds an expectation against the newest word about a contact or an order.
func (r *run) state(x *expectation) {
	subject := expectation{class: x.class}
	for _, m := range x.wants {
		if m.fact == factEmail || m.fact == factAt || m.fact == factRoot {
			subject.wants = append(subject.wants, m)
		}
	}
	var last *seen
	for i, o := range r.seen {
		if o.class != x.class || len(subject.differences(o)) > 0 {
			continue
		}
		last = o
		if i >= r.block && o.claimed == 0 {
			o.claimed = r.at
		}
	}
	switch {
	case last == nil:
		r.fail("%s", r.missed(x, r.ofClass(x.class)))
	case len(x.differences(last)) > 0:
		r.fail("it is\n  %s\ndifferent: %s", last.sentence(), strings.Join(x.differences(last), "\n           "))
	}
}

func (r *run) ofClass(c class) (list []*seen) {
	for _, o := range r.seen {
		if o.class == c {
			list = append(list, o)
		}
	}
	return list
}

// missed says what came in place of x, the nearest first.
func (r *run) missed(x *expectation, came []*seen) string {
	if len(came) == 0 {
		for _, o := range r.ofClass(x.class) {
			if len(x.differences(o)) == 0 {
				return fmt.Sprintf("it did not come here; it came after line %d, at %s", o.line, stamp(o.at))
			}
		}
		return fmt.Sprintf("it did not come; no %s came at all by %s", x.class, stamp(r.line.Now()))
	}
	slices.SortStableFunc(came, func(a, b *seen) int { return len(x.differences(a)) - len(x.differences(b)) })
	var b strings.Builder
	b.WriteString("it did not come; what came:")
	for i, o := range came {
		if i == nearMax {
			fmt.Fprintf(&b, "\n  ... %d more", len(came)-i)
			break
		}
		b.WriteString("\n  " + o.sentence())
		switch diffs := x.differences(o); {
		case len(diffs) == 0:
			fmt.Fprintf(&b, "\n    (line %d expected it already)", o.claimed)
		case i == 0 || len(diffs) == 1:
			b.WriteString("\n    different: " + strings.Join(diffs, "; "))
		}
	}
	return b.String()
}
