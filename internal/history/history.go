// Package history makes up the past of shops as Tillstream would have recorded it: the events of a story as they would
// have arrived (some twice, some late), what the real stages make of them under a configuration, and what a CRM would
// have answered. The same options give the same records.
package history

import (
	"cmp"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/tillstream/tillstream/connectors"
	"github.com/tillstream/tillstream/pipeline/config"
	"github.com/tillstream/tillstream/pipeline/ingest"
	"github.com/tillstream/tillstream/processors"
	"github.com/tillstream/tillstream/processors/automation"
	"github.com/tillstream/tillstream/processors/orders"
	"github.com/tillstream/tillstream/processors/trial"
	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/simulators/story"
)

// Connection is one account whose past is made up.
type Connection struct {
	Name        string
	Environment schemas.Environment
	Connector   connectors.Connector // understands PayPal's bodies
}

// Options of a past.
type Options struct {
	Seed        int64
	Events      int // about; repeated deliveries are not counted
	Start, End  time.Time
	Connections []Connection
	// What the stages go by.
	Version string
	Files   map[string]string
	Orders  orders.Options
	Rules   automation.Rules
}

// Record is one record of a topic. Records of one topic come in the order of At, the broker's stamp.
type Record struct {
	Topic string
	Key   string
	At    time.Time
	Rec   schemas.Record
	// Source is the event or command that a dead letter is about.
	Source schemas.Record
}

// How deliveries arrive. Shares of all events.
const (
	shareRepeated = 0.03  // a second time, up to an hour later
	shareLate     = 0.02  // hours or days later
	sharePolled   = 0.005 // no webhook came; found by reading the provider's list
)

// Arrival is one delivery of an event as it comes in.
type Arrival struct {
	Connection Connection
	Delivery   connectors.Delivery
	Root       string // the order or subscription that it is about
}

// Arrivals are the deliveries in the order in which they come in. None is later than o.End.
func Arrivals(o Options) []Arrival {
	random := rand.New(rand.NewPCG(uint64(o.Seed), 0xa11ce))
	named := map[string]Connection{}
	var names []string
	for _, c := range o.Connections {
		named[c.Name], names = c, append(names, c.Name)
	}
	told := story.New(story.Options{Seed: o.Seed, Events: o.Events, Accounts: names, Start: o.Start, End: o.End}).Events()
	list := make([]Arrival, 0, len(told)+len(told)/20)
	for i, e := range told {
		c := named[e.Account]
		arrive := func(try int, after time.Duration, origin schemas.Origin) {
			at := e.Time.Add(after).Truncate(time.Millisecond)
			if at.After(o.End) {
				return
			}
			list = append(list, Arrival{c, connectors.Delivery{
				Connection: c.Name, Environment: c.Environment, ID: fmt.Sprintf("made-up-%d-%d", i, try), Body: e.Body, ReceivedAt: at, Origin: origin,
			}, e.Root})
		}
		soon := time.Duration((0.3 + random.ExpFloat64()*1.5) * float64(time.Second))
		switch p := random.Float64(); {
		case p < shareRepeated:
			arrive(1, soon, schemas.OriginWebhook)
			arrive(2, soon+time.Duration(random.Int64N(int64(time.Hour))), schemas.OriginWebhook)
		case p < shareRepeated+shareLate:
			arrive(1, soon+time.Duration(random.ExpFloat64()*float64(8*time.Hour)), schemas.OriginWebhook)
		case p < shareRepeated+shareLate+sharePolled:
			arrive(1, soon+time.Duration(random.Int64N(int64(15*time.Minute))), schemas.OriginPoll)
		default:
			arrive(1, soon, schemas.OriginWebhook)
		}
	}
	slices.SortStableFunc(list, func(a, b Arrival) int { return a.Delivery.ReceivedAt.Compare(b.Delivery.ReceivedAt) })
	return list
}

// Make tells the whole past: events, transitions, steps of runs, commands, deliveries, dead letters and the configuration.
// It holds all of it, about 10 kB an event.
func Make(o Options) ([]Record, error) {
	w := &world{
		o: o, random: rand.New(rand.NewPCG(uint64(o.Seed), 0xc43)),
		crm: newCRM(o.Seed, o.Start, o.End),
	}
	w.keep(o.Start, schemas.TopicConfig, o.Version, &schemas.ConfigVersion{Version: o.Version, Files: o.Files, At: o.Start})
	w.line = trial.NewLine(w, o.Start,
		trial.Part{Lane: trial.NewLane[orders.State](orders.New(o.Orders), trial.Options{}, nil), Topics: []string{schemas.TopicPayPalEvents, schemas.TopicStoreOrders, schemas.TopicOrdersInbox}},
		trial.Part{Lane: trial.NewLane[automation.State](automation.New(o.Rules), trial.Options{}, nil), Topics: []string{schemas.TopicAutomationInbox}})
	if err := w.put(o.Start, schemas.TopicAutomationInbox, "", &schemas.ConfigActivation{Version: o.Version, At: o.Start}); err != nil {
		return nil, err
	}
	for _, a := range Arrivals(o) {
		at := a.Delivery.ReceivedAt
		if err := w.answer(at); err != nil {
			return nil, err
		}
		for _, e := range (ingest.Keeper{}).Events(a.Connection.Connector, a.Delivery) {
			w.keep(at, a.Connection.Connector.Topic, e.Key(), &e)
			w.current = &e
			if err := w.put(at, a.Connection.Connector.Topic, e.Key(), &e); err != nil {
				return nil, err
			}
		}
	}
	if err := w.answer(o.End); err != nil {
		return nil, err
	}
	if err := w.line.Advance(o.End); err != nil {
		return nil, err
	}
	slices.SortStableFunc(w.records, func(a, b Record) int {
		return cmp.Or(cmp.Compare(a.Topic, b.Topic), a.At.Compare(b.At))
	})
	return w.records, nil
}

// world runs the stages and keeps what they write.
type world struct {
	o       Options
	line    *trial.Line
	random  *rand.Rand
	crm     *crm
	asked   []question
	records []Record
	current *schemas.OrderEvent // that the stages are at
}

// question is one about a list that the CRM answers at a moment.
type question struct {
	at time.Time
	c  *schemas.Command
}

func (w *world) keep(at time.Time, topic, key string, rec schemas.Record) {
	w.records = append(w.records, Record{Topic: topic, Key: key, At: at, Rec: rec})
}

func (w *world) put(at time.Time, topic, key string, rec schemas.Record) error {
	return w.line.Put(processors.Input{At: at, Topic: topic, Key: key, Record: rec})
}

// answer gives the answers that are due by then.
func (w *world) answer(until time.Time) error {
	for len(w.asked) > 0 && !w.asked[0].at.After(until) {
		q := w.asked[0]
		w.asked = w.asked[1:]
		err := w.put(q.at, schemas.TopicAutomationInbox, q.c.ContactKey, &schemas.ListAnswer{
			CommandID: q.c.CommandID, ContactKey: q.c.ContactKey, Destination: q.c.Destination, List: q.c.Effect.Name,
			Standing: standing(q.c.ContactKey, q.c.Effect.Name), AsOf: q.at, At: q.at,
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// standing is what a contact is to a list, for ever.
func standing(contact, list string) schemas.Standing {
	h := fnv.New32a()
	_, _ = h.Write([]byte(contact + "\x00" + list)) // a hash does not fail
	switch n := h.Sum32() % 100; {
	case n < 35:
		return schemas.StandingActive
	case n < 43:
		return schemas.StandingUnsubscribed
	}
	return schemas.StandingAbsent
}

// answerAfter is how long the CRM thinks about a question.
const answerAfter = 800 * time.Millisecond

// Output implements trial.Sink.
func (w *world) Output(at time.Time, out processors.Output) error {
	if c, ok := out.Record.(*schemas.Command); ok {
		if c.Kind == schemas.CommandQuestion {
			w.asked = append(w.asked, question{at.Add(answerAfter), c})
		}
		w.keep(at, schemas.TopicCommands, out.Key, c)
		for _, d := range w.crm.take(at, c) {
			if d.At.After(w.o.End) {
				break
			}
			w.keep(d.At, schemas.TopicDeliveries, c.ContactKey, d)
			if d.Outcome == schemas.OutcomeRejected {
				w.records = append(w.records, Record{schemas.TopicDeadLetters, c.CommandID, d.At, rejected(c, d), c})
			}
		}
		return nil
	}
	switch out.Topic {
	case schemas.TopicTransitions, schemas.TopicRuns:
		w.keep(at, out.Topic, out.Key, out.Record)
	}
	return nil
}

// DeadLetter implements trial.Sink.
func (w *world) DeadLetter(d schemas.DeadLetter) error {
	w.records = append(w.records, Record{schemas.TopicDeadLetters, d.ID, w.line.Now(), &d, w.current})
	return nil
}

// Connections are those of a configuration whose events a story can tell.
func Connections(c *config.Config) (list []Connection) {
	for _, n := range c.Connections {
		if n.Connector.Type == "paypal" {
			list = append(list, Connection{n.Name, n.Environment, n.Connector})
		}
	}
	return list
}
