// Package story makes up what PayPal would send about a shop's days: orders and subscriptions of returning customers
// in several currencies, told in PayPal's own payloads. The same seed tells the same story, byte for byte.
//
// All people in it are invented and live at example.com.
package story

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

// Options of a story. The zero value of Accounts is one account called "shop".
type Options struct {
	Seed     int64
	Orders   int      // roots: orders and subscriptions
	Accounts []string // names, in turn
	Start    time.Time
	// End makes it a past: roots begin from Start to End as people buy (by hour, weekday and season, and more each year),
	// subscriptions go on until they are cancelled, and nothing happens after End. Zero: one root follows the other.
	End time.Time
	// Events ends a past: about as many events are told, and Orders means nothing. Zero: Orders does.
	Events int
}

// Event is one event with the body that PayPal would post. Time is its create_time, also where the body says nonsense.
type Event struct {
	Account string
	ID      string
	Type    string
	Body    []byte
	Time    time.Time
	Root    string // the order or subscription it belongs to, whether or not the body names it; else what it is about
	Bad     string // why it must end in the dead letters; "" for a good one
}

// The bad events. There is one of each for every 1000 roots begun. BadMoney and BadDate stand alone on a root of their
// own; BadChanged comes at the end of the story, long after the good event whose id it has.
const (
	BadMoney   = "money is no decimal"
	BadDate    = "impossible date"
	BadChanged = "event id seen before with another body"
)

// badEvery is the number of roots that bring one bad event of each kind.
const badEvery = 1000

// subscriptionShare is how many of the roots are subscriptions.
const subscriptionShare = 0.32

// rootSpacing is the mean time between two roots.
const rootSpacing = 90 * time.Second

// Story is a finished story.
type Story struct{ events []Event }

// New tells a story. Renewals and refunds reach some months past Start.
func New(o Options) *Story {
	if len(o.Accounts) == 0 {
		o.Accounts = []string{"shop"}
	}
	t := &teller{random: rand.New(rand.NewPCG(uint64(o.Seed), 0x5bd1e995)), accounts: map[string]*merchant{}}
	for _, name := range o.Accounts {
		t.accounts[name] = t.newMerchant(name)
	}
	if !o.End.IsZero() {
		return newPast(t, o)
	}
	at := o.Start.UTC()
	for i := range o.Orders {
		at = at.Add(time.Duration(float64(rootSpacing) * (0.2 + 1.6*t.random.Float64()))).Truncate(time.Millisecond)
		t.root(t.accounts[o.Accounts[i%len(o.Accounts)]], at, i)
	}
	slices.SortStableFunc(t.events, func(a, b Event) int { return a.Time.Compare(b.Time) })
	t.change((o.Orders + badEvery - 1) / badEvery)
	return &Story{t.events}
}

// root tells the i-th root, which begins at that moment.
func (t *teller) root(m *merchant, at time.Time, i int) {
	who := t.customer()
	if t.chance(subscriptionShare) {
		t.subscription(m, who, at)
	} else {
		t.order(m, who, at)
	}
	if i%40 == 7 {
		t.aside(m, who, at)
	}
	if i%badEvery == 0 {
		t.bad(m, who, at)
	}
}

// Events returns the events in the order in which PayPal would send them.
func (s *Story) Events() []Event { return slices.Clone(s.events) }

// merchant is the account's side of a payload.
type merchant struct {
	name, email, id string
	plans           []plan
}

type plan struct {
	id, name, currency string
	price              int // cents
}

// teller collects the events.
type teller struct {
	random    *rand.Rand
	accounts  map[string]*merchant
	customers []*person
	events    []Event
	end       time.Time // of a past; zero: the story is none
}

func (t *teller) newMerchant(name string) *merchant {
	m := &merchant{name: name, email: "merchant-" + strings.ToLower(name) + "@business.example.com", id: t.payerID()}
	for i, p := range []plan{{name: "Monthly", currency: "USD", price: 500}, {name: "Club", currency: "EUR", price: 1250}, {name: "Studio", currency: "GBP", price: 1999}} {
		p.id = "P-" + t.letters(24)
		p.name = fmt.Sprintf("%s %d", p.name, i+1)
		m.plans = append(m.plans, p)
	}
	return m
}

func (t *teller) chance(p float64) bool { return t.random.Float64() < p }

// between returns a duration from lo to hi in milliseconds.
func (t *teller) between(lo, hi time.Duration) time.Duration {
	return (lo + time.Duration(t.random.Int64N(int64(hi-lo)))).Truncate(time.Millisecond)
}

func (t *teller) pick(alphabet string, n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = alphabet[t.random.IntN(len(alphabet))]
	}
	return string(b)
}

// letters makes the part of an id that has figures mostly, as PayPal's do.
func (t *teller) letters(n int) string {
	return t.pick("01234567890123456789ABCDEFGHJKLMNPRSTUVWXY", n)
}

func (t *teller) payerID() string { return t.pick("23456789ABCDEFGHJKLMNPQRSTUVWXYZ", 13) }

// emit finishes a body (id, times, host) and keeps it.
func (t *teller) emit(m *merchant, root string, at time.Time, n *node) *Event {
	id := n.string("id")
	n.set("create_time", at.Format("2006-01-02T15:04:05.000Z"))
	switch {
	case t.chance(0.03):
		n.drop("summary")
	case t.chance(0.03):
		n.drop("event_version")
	case t.chance(0.03):
		n.drop("links")
	}
	t.events = append(t.events, Event{Account: m.name, ID: id, Type: n.string("event_type"), Body: n.compact(nil), Time: at, Root: root})
	return &t.events[len(t.events)-1]
}

// from copies a template under a new event id, with further ids replaced: old, new, old, new.
func (t *teller) from(name string, ids ...string) *node {
	n := loaded(name)
	event := "WH-" + t.letters(17) + "-" + t.letters(17)
	pairs := append([]string{
		n.string("id"), event, "https://api.paypal.com/", "https://api.sandbox.paypal.com/",
		"https://10.24.121.37:14084/", "https://api.sandbox.paypal.com/",
		"https://node-disputeapiserv-vip.example.com:19387/", "https://api.sandbox.paypal.com/",
	}, ids...)
	return n.copyWith(strings.NewReplacer(pairs...))
}

// bad adds one event whose money is no decimal and one whose date does not exist.
func (t *teller) bad(m *merchant, who *person, at time.Time) {
	order, capture := t.letters(17), t.letters(17)
	n := t.capture("PAYMENT.CAPTURE.COMPLETED", order, capture, amount{1250, "EUR"}, at)
	n.set("resource.amount.value", "12,50 EUR")
	n.set("resource.seller_receivable_breakdown.gross_amount.value", "12,50 EUR")
	t.emit(m, order, at.Add(3*time.Second), n).Bad = BadMoney

	s := &subscription{id: "I-" + t.letters(12), plan: m.plans[0], who: who, created: at, custom: "1"}
	n = t.subscriptionEvent("BILLING.SUBSCRIPTION.ACTIVATED", "BILLING.SUBSCRIPTION.ACTIVATED", "ACTIVE", s, at)
	const never = "2018-19-12T22:20:32.000Z" // PayPal's own simulator sends this one
	n.set("resource.update_time", never)
	n.set("resource.status_update_time", never)
	n.set("create_time", never)
	e := Event{
		Account: m.name, ID: n.string("id"), Type: n.string("event_type"), Body: n.compact(nil), Time: at.Add(4 * time.Second),
		Root: s.id, Bad: BadDate,
	}
	t.events = append(t.events, e)
}

// change repeats n early events under their ids with another amount, at the very end.
func (t *teller) change(n int) {
	if len(t.events) == 0 {
		return
	}
	last := t.events[len(t.events)-1].Time
	done := 0
	for _, e := range t.events {
		if done == n {
			return
		}
		if e.Bad != "" || e.Type != "PAYMENT.CAPTURE.COMPLETED" && e.Type != "CHECKOUT.ORDER.APPROVED" && e.Type != "PAYMENT.SALE.COMPLETED" {
			continue
		}
		tree, err := parse(e.Body)
		if err != nil {
			panic(fmt.Sprintf("event %s: %v", e.ID, err))
		}
		for _, path := range []string{"resource.amount.value", "resource.amount.total", "resource.purchase_units.0.amount.value"} {
			if tree.get(path) != nil {
				tree.set(path, "99999")
			}
		}
		done++
		e.Body, e.Bad, e.Time = tree.compact(nil), BadChanged, last.Add(time.Duration(done)*time.Minute)
		t.events = append(t.events, e)
	}
}
