// Package audit says whether anything was lost or doubled on the way from the provider to the CRM and to ClickHouse.
//
// It knows the truth from outside the pipeline: what the simulated provider sent, and what the simulated CRM holds. It
// folds the sent bodies by rules written here a second time, on purpose: code shared with the pipeline would agree
// with its mistakes.
package audit

import (
	"fmt"
	"math/big"
	"sort"
	"strings"
	"time"
)

// Sent is one event as the provider sent it.
type Sent struct {
	Account  string // = the connection's name
	EventID  string
	Type     string
	Body     []byte
	Accepted int // answers 2xx that the provider got for it; each one is a promise
}

// CRMContact is one contact as the CRM holds it.
type CRMContact struct {
	Email  string
	First  string
	Last   string
	Phone  string
	Fields map[string]string
	Tags   []string
	Lists  []string // that the contact is active on
}

// Tracked is one event recorded on a contact at the CRM.
type Tracked struct{ Email, Name, Data string }

// ShopOrder is an order as its shop shows it in the end.
type ShopOrder struct {
	RootKey  string // environment/connection/order id
	Status   string // canonical, by the shop's own documentation
	Refunded string // decimal text; empty: nothing
	Email    string // of the customer; empty: the shop does not say
}

// Outside is what the simulators know.
type Outside struct {
	Sent     []Sent
	Orders   []ShopOrder
	Accepted int // answers 2xx that the shops got
	Contacts []CRMContact
	Tracked  []Tracked
	// Starts are contacts' starts on automations, Messages what was sent to them, both by the CRM's own account.
	Starts, Messages []Happened
	// MessagesStart: the CRM sends a message by starting an automation of its name, as ActiveCampaign does.
	MessagesStart bool
	// Subscribed are contacts that people put on lists at the CRM themselves.
	Subscribed []Happened
	// Written are the shops' own ids of the orders and subscriptions that the CRM holds.
	Written []string
	// Promises are what the workflows in force promise; nil: nothing is known of them.
	Promises []Promise
}

// Counts are the figures of every step, as shown and as printed in JSON.
type Counts struct {
	Received    int `json:"received"`    // deliveries that got a 2xx
	Published   int `json:"published"`   // records on paypal.events and store.orders
	Duplicates  int `json:"duplicates"`  // of them seen before
	Late        int `json:"late"`        // of them older than what was applied
	Ignored     int `json:"ignored"`     // of them without effect on an order
	Applied     int `json:"applied"`     // of them changed or recorded, late ones included
	Transitions int `json:"transitions"` // status changes
	Commands    int `json:"commands"`    // to the CRM
	Deliveries  int `json:"deliveries"`  // commands that came to their end
	Uncertain   int `json:"uncertain"`   // of them that a person has to decide
	Contacts    int `json:"contacts"`    // at the CRM
	Expected    int `json:"contacts_expected"`
	Rows        int `json:"rows"`         // in ClickHouse, over all tables
	DeadLetters int `json:"dead_letters"` // of the stages
	Runs        int `json:"runs"`         // of workflows
	WaitsMet    int `json:"waits_met"`
	WaitsNotMet int `json:"waits_not_met"` // those that were corrected afterwards included
	WaitsOpen   int `json:"waits_open"`
	Questions   int `json:"questions"` // to the CRM, answered
	Messages    int `json:"messages"`  // that the CRM sent
	ListChanges int `json:"list_changes"`
	Lost        int `json:"lost"`
	Doubled     int `json:"doubled"`
}

// Report is the finding: counts, and one line for each thing lost or doubled (cut to a readable number).
type Report struct {
	Counts
	Findings []string
}

// findingsMax bounds the lines; the counts stay exact.
const findingsMax = 50

func (r *Report) lost(format string, args ...any) { r.Lost++; r.say("lost: "+format, args...) }

func (r *Report) doubled(format string, args ...any) { r.Doubled++; r.say("doubled: "+format, args...) }

func (r *Report) say(format string, args ...any) {
	if len(r.Findings) < findingsMax {
		r.Findings = append(r.Findings, fmt.Sprintf(format, args...))
	}
}

// Compare holds what ClickHouse says against what is known outside.
func Compare(out Outside, in *Inside) Report {
	var r Report
	r.events(out.Sent, in)
	r.Received += out.Accepted
	roots, emails := fold(out.Sent, in.appliedBody)
	r.statuses(roots, out.Orders, in)
	for _, o := range out.Orders {
		if o.Email != "" {
			emails[strings.ToLower(o.Email)] = true
		}
	}
	r.commands(in)
	r.contacts(out, in, emails)
	r.tracked(out.Tracked, in)
	r.runs(in)
	r.effects(out, in)
	r.lists(out, in)
	r.promises(out, roots, in)
	r.rows(in)
	return r
}

// events: every acknowledged delivery is a record, and every record has exactly one end.
func (r *Report) events(sent []Sent, in *Inside) {
	stored := map[string]int{} // connection, hash of the body
	for _, e := range in.Events {
		stored[e.Connection+"/"+e.BodyHash]++
	}
	promised := map[string]int{}
	for _, s := range sent {
		r.Received += s.Accepted
		promised[s.Account+"/"+hash(s.Body)] += s.Accepted
	}
	for key, n := range promised {
		if got := stored[key]; got < n {
			r.lost("%d of %d acknowledged deliveries with body %s are not on Kafka", n-got, n, key)
		}
	}
	r.Published = len(in.Events)
	ends := map[string]int{}
	for _, t := range in.Transitions {
		ends[t.DeliveryKey]++
		switch t.Disposition {
		case "DUPLICATE":
			r.Duplicates++
		case "LATE":
			r.Late++
			r.Applied++
		case "IGNORED":
			r.Ignored++
		default:
			r.Applied++
		}
		if t.Disposition == "CHANGED" {
			r.Transitions++
		}
	}
	for _, d := range in.DeadLetters {
		if d.Stage == "orders" {
			r.DeadLetters++
			ends[d.DeliveryKey]++
		}
	}
	received := map[string]int{}
	for _, e := range in.Events {
		received[e.DeliveryKey]++
	}
	for key, n := range received {
		switch got := ends[key]; {
		case got < n:
			r.lost("event %s: %d records, %d ends", key, n, got)
		case got > n:
			r.doubled("event %s: %d records, %d ends", key, n, got)
		}
	}
	applied := map[string]int{}
	numbers := map[string]bool{}
	for _, t := range in.Transitions {
		if t.Disposition != "DUPLICATE" {
			applied[t.Connection+"/"+t.EventID]++
		}
		number := fmt.Sprintf("%s #%d", t.RootKey, t.Number)
		if t.Number > 0 && numbers[number] {
			r.doubled("transition %s", number)
		}
		numbers[number] = true
	}
	for id, n := range applied {
		if n > 1 {
			r.doubled("event %s was applied %d times", id, n)
		}
	}
}

// statuses: each order ends in the status that its events add up to, whatever order they came in.
func (r *Report) statuses(roots map[string]*root, orders []ShopOrder, in *Inside) {
	final := map[string]InsideTransition{}
	for _, t := range in.Transitions {
		if f, ok := final[t.RootKey]; !ok || t.Number > f.Number {
			final[t.RootKey] = t
		}
	}
	for key, expected := range roots {
		want := expected.status()
		if want == "" {
			continue
		}
		if got := final[key].To; got != want {
			r.lost("order %s: status %q, want %q", key, got, want)
		}
	}
	for _, o := range orders {
		got := final[o.RootKey]
		if got.To != o.Status {
			r.lost("order %s: status %q, want %q", o.RootKey, got.To, o.Status)
		}
		if !sameSum(got.Refunded, o.Refunded) {
			r.lost("order %s: refunded %q, want %q", o.RootKey, got.Refunded, o.Refunded)
		}
	}
}

// sameSum compares two decimal texts; an empty one is zero.
func sameSum(a, b string) bool {
	var x, y big.Rat
	for text, n := range map[string]*big.Rat{a: &x, b: &y} {
		if _, ok := n.SetString(text); !ok && text != "" {
			return false
		}
	}
	return a == b || x.Cmp(&y) == 0
}

// commands: each one came to exactly one end.
func (r *Report) commands(in *Inside) {
	r.Commands = len(in.Commands)
	seen := map[string]bool{}
	for _, c := range in.Commands {
		if seen[c.ID] {
			r.doubled("command %s", c.ID)
		}
		seen[c.ID] = true
		switch n := in.FinalDeliveries[c.ID]; {
		case n == 0:
			r.lost("command %s has no final delivery", c.ID)
		case n > 1:
			r.doubled("command %s has %d final deliveries", c.ID, n)
		}
	}
	for _, n := range in.FinalDeliveries {
		r.Deliveries += n
	}
	r.Uncertain = len(in.Uncertain)
}

// contacts: the CRM holds each customer once, as the newest desired state has him.
func (r *Report) contacts(out Outside, in *Inside, emails map[string]bool) {
	held := map[string]CRMContact{}
	for _, c := range out.Contacts {
		key := strings.ToLower(c.Email)
		if _, again := held[key]; again {
			r.doubled("contact %s", mask(key))
		}
		held[key] = c
	}
	r.Contacts, r.Expected = len(held), len(emails)
	for email := range emails {
		if _, ok := held[email]; !ok {
			r.lost("contact %s is not at the CRM", mask(email))
		}
	}
	for email := range held {
		if !emails[email] {
			r.doubled("contact %s is at the CRM and was never sent", mask(email))
		}
	}
	for email, want := range in.Desired {
		got := held[email]
		for _, diff := range differences(want, got) {
			r.lost("contact %s at the CRM: %s", mask(email), diff)
		}
	}
}

func differences(want DesiredContact, got CRMContact) (diffs []string) {
	for name, pair := range map[string][2]string{"first name": {want.First, got.First}, "last name": {want.Last, got.Last}, "phone": {want.Phone, got.Phone}} {
		if pair[0] != "" && pair[0] != pair[1] {
			diffs = append(diffs, name+" differs")
		}
	}
	for field, value := range want.Fields {
		if held := got.Fields[field]; held != value && !sameDay(value, held) {
			diffs = append(diffs, fmt.Sprintf("field %s is %q, want %q", field, got.Fields[field], value))
		}
	}
	has := map[string]bool{}
	for _, tag := range got.Tags {
		if has[tag] {
			diffs = append(diffs, "tag "+tag+" twice")
		}
		has[tag] = true
	}
	for _, tag := range want.Tags {
		if !has[tag] {
			diffs = append(diffs, "tag "+tag+" is missing")
		}
	}
	sort.Strings(diffs)
	return diffs
}

// sameDay reports whether held is the date value in the form of a field that holds a time.
func sameDay(value, held string) bool {
	_, err := time.Parse(time.DateOnly, value)
	return err == nil && strings.HasPrefix(held, value+"T00:00:00")
}

// tracked: each effect happened once; an uncertain one may have happened.
func (r *Report) tracked(tracked []Tracked, in *Inside) {
	times := map[string]int{}
	for _, t := range tracked {
		id, ok := strings.CutPrefix(strings.Fields(t.Data + " ")[0], "id=")
		if !ok {
			r.doubled("an event %s at the CRM that no effect asked for", t.Name)
			continue
		}
		times[id]++
	}
	for _, c := range in.Commands {
		if c.Kind != "EFFECT" || c.Type != "TRACK_EVENT" {
			continue
		}
		switch n := times[c.ID[:min(12, len(c.ID))]]; {
		case n == 0 && !in.Uncertain[c.ID] && !in.Rejected[c.ID]:
			r.lost("effect %s did not happen at the CRM", c.ID)
		case n > 1:
			r.doubled("effect %s happened %d times at the CRM", c.ID, n)
		}
	}
}

// rows: ClickHouse has each Kafka record once.
func (r *Report) rows(in *Inside) {
	for _, t := range in.Tables {
		r.Rows += t.Rows
		if n := t.Rows - t.Distinct; n > 0 {
			r.Doubled += n
			r.say("doubled: %d rows of table %s", n, t.Name)
		}
		if n := t.Records - t.Distinct; n > 0 {
			r.Lost += n
			r.say("lost: %d records of table %s are not in ClickHouse", n, t.Name)
		}
	}
}

// mask shows enough of an address to tell two apart in a finding.
func mask(email string) string {
	name, host, ok := strings.Cut(email, "@")
	if !ok || len(name) < 2 {
		return "***"
	}
	return name[:1] + "***" + name[len(name)-1:] + "@" + host
}
