// Package automation decides what a status transition means for the customer's contact: which fields and tags it should
// have at which CRM, which events are to be tracked there, and how far the contact is in which workflow.
//
// It keeps a contact's desired state per destination, and emits it as a whole whenever it changes. What no mapping and
// no workflow mentions is not part of it, so that it is left alone at the CRM. A run of a workflow lives in the same
// state until its last step: waits, their deadlines and what was asked of the outside survive with it.
package automation

import (
	"slices"
	"time"

	"github.com/tillstream/tillstream/processors"
	"github.com/tillstream/tillstream/processors/workflows"
	"github.com/tillstream/tillstream/schemas"
)

// Stage is the automation stage: automation.inbox in, crm.commands and automation.runs out. It holds no state of its
// own and may be shared.
type Stage struct{ book Book }

var _ processors.Stage[State] = (*Stage)(nil)

// Book holds the rules of every version of the configuration. What it gives for a version never changes.
type Book interface {
	// Rules are the rules of a version of the configuration; those of the newest where it does not know the version.
	Rules(version string) *Rules
	// Program is a version of a workflow, which open runs go by; nil where it is not known.
	Program(workflow, version string) *workflows.Program
}

// New returns the stage that follows these rules, whatever version a partition is at.
func New(r Rules) *Stage { return &Stage{&single{r}} }

// NewFollowing returns the stage that follows, at each record, the version that its partition is at.
func NewFollowing(b Book) *Stage { return &Stage{b} }

// single is a book of one version.
type single struct{ rules Rules }

func (b *single) Rules(string) *Rules { return &b.rules }

func (b *single) Program(workflow, version string) *workflows.Program {
	if p := b.rules.Workflow(workflow); p != nil && p.Version == version {
		return p
	}
	return nil
}

// Name implements processors.Stage.
func (*Stage) Name() string { return "automation" }

// Version implements processors.Stage.
func (*Stage) Version() processors.StageVersion { return 2 }

// Key is the contact's key; ticks concern no state.
func (*Stage) Key(in processors.Input) (string, bool) {
	var key string
	switch r := in.Record.(type) {
	case *schemas.Transition:
		key = r.ContactKey
		if key == "" {
			key = r.RootKey
		}
	case *schemas.ListAnswer:
		key = r.ContactKey
	case *schemas.WaitDecision:
		key = r.ContactKey
	case *schemas.ContactTouch:
		key = r.ContactKey
	case *schemas.IdentityLink:
		key = r.AliasKey
	default:
		return "", false
	}
	if in.Key != "" {
		key = in.Key
	}
	return key, key != ""
}

// Apply implements processors.Stage. Its errors are *processors.Poison.
func (st *Stage) Apply(s State, in processors.Input) (State, []processors.Output, error) {
	rules := st.book.Rules(in.Config)
	w := &work{book: st.book, rules: rules, old: s, s: s.clone(), key: in.Key, at: in.At.UTC().Truncate(time.Millisecond)}
	if key, ok := st.Key(in); ok {
		w.key = key
	}
	if err := w.apply(in); err != nil {
		return s, nil, err
	}
	return w.s, w.out, nil
}

// work is one Apply.
type work struct {
	book   Book
	rules  *Rules
	old, s State
	key    string
	at     time.Time
	t      *schemas.Transition // nil: no transition is the cause
	before string              // the provider's status that t's root had before t
	// cause is what commands and steps name as theirs.
	cause    cause
	created  bool // t is the first event that says that its subscription exists
	out      []processors.Output
	issues   []issue
	notes    []string // values that the action at hand could not make
	reasons  []reason
	effects  []*schemas.Command // follow the desired states
	tagged   []tagged           // tags that are new on the contact, which workflows may start on
	acting   *run               // whose step is at work; nil: a mapping
	room     []schemas.RunStep  // for traces to come
	watched  watched
	executed int                   // steps of workflows
	again    *schemas.ContactTouch // the input, where it is one
}

// cause is what something is done for.
type cause struct {
	root, event string
	origin      schemas.Origin
	test        bool
}

// issue is a value that a mapping or a workflow could not make, told with the contact's next command.
type issue struct{ destination, text string }

// reason is why a tag came or went.
type reason struct{ destination, text string }

func (w *work) apply(in processors.Input) error {
	switch {
	case in.Timer != nil:
		w.fire(in.Timer)
	default:
		switch r := in.Record.(type) {
		case *schemas.Transition:
			return w.transition(r)
		case *schemas.ListAnswer:
			w.answer(r)
		case *schemas.WaitDecision:
			w.decide(r)
		case *schemas.ContactTouch:
			w.touch(r)
		case *schemas.IdentityLink:
			w.link(r)
		default:
			return nil
		}
	}
	return w.finish(nil)
}

func (w *work) transition(t *schemas.Transition) error {
	w.t = t
	w.cause = cause{t.RootKey, t.Event.EventID, t.Event.Origin, t.Event.Test}
	if w.forward() {
		return nil
	}
	w.s.OnlyTests = t.Event.Test && (w.s.OnlyTests || len(w.s.Destinations) == 0)
	w.before = w.s.statusBefore(t.RootKey)
	moved := t.Disposition == schemas.Changed || t.Disposition == schemas.Recorded
	if moved {
		w.count() // first, so that mappings and workflows see one number
	}
	reached, err := w.mappings(moved)
	if err != nil {
		return err
	}
	if moved {
		w.migrate()
		w.progress()
		w.start()
		w.remember()
	}
	if !moved || past(t.Event.Origin) {
		reached = nil
	}
	return w.finish(reached)
}

// past reports whether events of this origin were loaded from the past.
func past(o schemas.Origin) bool { return o == schemas.OriginBackfill || o == schemas.OriginReplay }

// finish lets workflows start on the tags that came, and emits: desired states first, so that what an effect sets off
// at the CRM finds the contact as it should be.
func (w *work) finish(reached []*Mapping) error {
	w.startTagged()
	w.schedule()
	if err := w.bounds(); err != nil {
		return err
	}
	w.contacts()
	for _, m := range reached {
		w.track(m)
	}
	for _, c := range w.effects {
		if d := w.s.find(c.Destination); d != nil {
			c.Version = d.Version
		}
		w.emit(c)
	}
	return nil
}

// bounds refuses what would make one contact's state grow without end.
func (w *work) bounds() error {
	for i := range w.s.Destinations {
		d := &w.s.Destinations[i]
		if len(d.Tags)+len(d.NoTags) > tagsMax || len(d.Fields) > fieldsMax {
			return &processors.Poison{
				Cause:  schemas.CauseStageFailed,
				Reason: "the contact would have more tags or fields at " + d.Name + " than are kept of one contact",
				Remedy: "look for a mapping or workflow whose tags or fields differ with every event",
			}
		}
	}
	return nil
}

// contacts emits the desired states that changed, by destination.
func (w *work) contacts() {
	for i := range w.s.Destinations {
		d := &w.s.Destinations[i]
		before := w.old.find(d.Name)
		same := before != nil && before.equal(d)
		if same && !w.resends(d) {
			continue
		}
		d.Version++
		c := w.command(schemas.CommandContact, d)
		if same {
			c.Origin, c.Test = schemas.OriginReplay, w.s.OnlyTests
		}
		c.CommandID = id(d.Name, w.key, number(d.Version))
		c.Contact = d.contact(w.filled(d, before))
		for _, i := range w.issues {
			if i.destination == d.Name {
				c.Issues = append(c.Issues, i.text)
			}
		}
		for _, r := range w.reasons {
			if r.destination == d.Name {
				c.Reasons = append(c.Reasons, r.text)
			}
		}
		w.emit(c)
	}
}

func (w *work) command(kind schemas.CommandKind, d *desired) *schemas.Command {
	return &schemas.Command{
		Kind: kind, Destination: d.Name, ContactKey: w.key, Version: d.Version, ConfigVersion: w.rules.ConfigVersion,
		RootKey: w.cause.root, EventID: w.cause.event, Origin: w.cause.origin, Test: w.cause.test, At: w.at,
	}
}

func (w *work) emit(c *schemas.Command) {
	w.put(processors.Output{Topic: schemas.TopicCommands, Key: c.ContactKey, PartitionKey: c.Destination, Record: c})
}

func (w *work) put(o processors.Output) {
	if w.out == nil {
		w.out = make([]processors.Output, 0, 6) // a contact, an event, and some steps
	}
	w.out = append(w.out, o)
}

// tag changes a contact's tags, and notes which rule did it.
func (w *work) tag(d *desired, rule string, add, remove []string) {
	before := *d
	d.tag(add, remove)
	for _, t := range add {
		if !slices.Contains(before.Tags, t) {
			w.reasons = append(w.reasons, reason{d.Name, "+" + t + " by " + rule})
			w.tagged = append(w.tagged, tagged{d.Name, t, w.acting})
		}
	}
	for _, t := range remove {
		if !slices.Contains(before.NoTags, t) {
			w.reasons = append(w.reasons, reason{d.Name, "-" + t + " by " + rule})
		}
	}
}
