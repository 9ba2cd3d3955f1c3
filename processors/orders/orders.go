// Package orders turns provider events into status transitions. It works out which event is a repetition, which one
// is late, to which order or subscription a payment belongs, and who the customer is.
//
// The status of a root and its money are derived from facts that are joined per entity by (provider time, sequence,
// rank, event id). A join gives the same result in every order, so that the order of arrival never shows in it.
package orders

import (
	"time"

	"github.com/tillstream/tillstream/processors"
	"github.com/tillstream/tillstream/schemas"
)

// Defaults of Options.
const (
	DefaultOrphanAfter = time.Hour
	DefaultForgetAfter = 400 * 24 * time.Hour
	DefaultParkedMax   = 100
	DefaultSeenMax     = 64
	DefaultClockSkew   = 5 * time.Minute
)

// Bounds of one state that are no matter of configuration.
const (
	seenKeep       = 35 * 24 * time.Hour // PayPal retries for 3 days; a resend by hand comes weeks later
	parkedBytesMax = 512 << 10           // bodies parked under one key; keeps the after-image below Kafka's record limit
	waitingMax     = 100                 // transitions that wait for one root's contact
	paymentsMax    = 200                 // payments of one root kept apart; older ones are summed up
	linkedMax      = 400                 // payments whose link is known to have been written
)

// Timer ids.
const (
	timerOrphan = "orphan"
	timerForget = "forget"
)

// Options set the patience of the stage. The zero value means the defaults.
type Options struct {
	// OrphanAfter is how long an event waits for its order, and a transition for its contact. Default 1 h.
	OrphanAfter time.Duration
	// ForgetAfter is how long a root is kept after its last event. A subscription that has not ended is kept for ever.
	// Default 400 days.
	ForgetAfter time.Duration
	// ParkedMax bounds the events that wait for one link; the next one becomes a dead letter. Default 100.
	ParkedMax int
	// ClockSkew is how far a provider's clock may run ahead of ours before its time is clamped to the receipt: one time in
	// the far future would make every later event late. Default 5 minutes.
	ClockSkew time.Duration
	// SeenMax is the number of remembered events above which those older than 35 days are dropped. Younger ones are
	// always kept. Default 64.
	SeenMax int
	// AliasDomains are domains, with the parts below them, whose addresses are made up for a payment: such an address
	// counts as none. Nil: DefaultAliasDomains; empty: no domain.
	AliasDomains []string
	// CustomIDIsCustomer says that the merchant puts his own id of the customer into a payment's custom id: where there is
	// no e-mail, it is who the contact is.
	CustomIDIsCustomer bool
}

// Stage is the orders stage: paypal.events, store.orders and orders.inbox in, order.transitions, automation.inbox and
// orders.inbox out. It holds no state of its own and may be shared.
type Stage struct{ opt Options }

var _ processors.Stage[State] = (*Stage)(nil)

// New returns the stage with its options, zero values replaced by the defaults.
func New(o Options) *Stage {
	if o.OrphanAfter <= 0 {
		o.OrphanAfter = DefaultOrphanAfter
	}
	if o.ForgetAfter <= 0 {
		o.ForgetAfter = DefaultForgetAfter
	}
	if o.ParkedMax <= 0 {
		o.ParkedMax = DefaultParkedMax
	}
	if o.ClockSkew <= 0 {
		o.ClockSkew = DefaultClockSkew
	}
	if o.SeenMax <= 0 {
		o.SeenMax = DefaultSeenMax
	}
	o.AliasDomains = aliasDomains(o.AliasDomains)
	return &Stage{o}
}

// Name implements processors.Stage.
func (*Stage) Name() string { return "orders" }

// Version implements processors.Stage.
func (*Stage) Version() processors.StageVersion { return 1 }

// Key is the record's Kafka key, for events and links; ticks concern no state.
func (*Stage) Key(in processors.Input) (string, bool) {
	switch r := in.Record.(type) {
	case *schemas.OrderEvent:
		if in.Key != "" {
			return in.Key, true
		}
		return r.Key(), true
	case *schemas.OrderLink:
		if in.Key != "" {
			return in.Key, true
		}
		return r.From, true
	}
	return "", false
}

// Apply implements processors.Stage. Its errors are *processors.Poison.
func (st *Stage) Apply(s State, in processors.Input) (State, []processors.Output, error) {
	w := &work{st: st, s: s, at: in.At.UTC().Truncate(time.Millisecond)}
	var err error
	switch r := in.Record.(type) {
	case *schemas.OrderEvent:
		e := *r
		e.ProviderTime, e.ReceivedAt = timeOf(toMillis(r.ProviderTime)), timeOf(toMillis(r.ReceivedAt))
		err = w.event(&e, in.Topic == schemas.TopicOrdersInbox)
	case *schemas.OrderLink:
		err = w.link(r)
	default:
		if in.Timer != nil {
			w.timer(*in.Timer)
		}
	}
	if err != nil {
		return s, nil, err
	}
	return w.s, w.out, nil
}

// Timers implements processors.Stage.
func (st *Stage) Timers(s State) []processors.Timer {
	if since, ok := s.waitsSince(); ok {
		return []processors.Timer{{At: fromMillis(since).Add(st.opt.OrphanAfter), ID: timerOrphan}}
	}
	if s.Touched == 0 || s.living() {
		return nil
	}
	return []processors.Timer{{At: st.forgetAt(&s), ID: timerForget}}
}

// forgetAt is when a state has outlived its use. One that holds nothing but ids of events without effect needs no
// more than the time in which they may be repeated.
func (st *Stage) forgetAt(s *State) time.Time {
	keep := st.opt.ForgetAfter
	if s.Kind == "" && s.Link == "" {
		keep = min(keep, seenKeep)
	}
	return fromMillis(s.Touched).Add(keep)
}

// work is one Apply: the copy of the state that it changes, and what goes out. The copy shares its lists with the state
// before: who changes one puts a new one in its place.
type work struct {
	st  *Stage
	s   State
	at  time.Time
	out []processors.Output
}

func (w *work) emit(topic, key string, r schemas.Record) {
	if w.out == nil {
		w.out = make([]processors.Output, 0, 3) // a transition, the same to its contact, a link
	}
	w.out = append(w.out, processors.Output{Topic: topic, Key: key, Record: r})
}

func (w *work) touch() { w.s.Touched = max(w.s.Touched, w.at.UnixMilli()) }

func (w *work) timer(t processors.Timer) {
	switch t.ID {
	case timerOrphan:
		w.orphans(t.At)
	case timerForget:
		_, waits := w.s.waitsSince()
		due := !t.At.Before(w.st.forgetAt(&w.s))
		w.s.Gone = due && !waits && !w.s.living()
	}
}

func fromMillis(ms int64) time.Time { return time.UnixMilli(ms).UTC() }
