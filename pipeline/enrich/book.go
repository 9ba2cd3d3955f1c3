package enrich

import (
	"slices"
	"time"

	"github.com/tillstream/tillstream/schemas"
)

// position is where a record stands.
type position struct {
	topic     string
	partition int32
	offset    int64
}

// lack is an event of which something is missing that the provider could tell.
type lack struct {
	key      string
	event    schemas.OrderEvent
	at       position
	due      time.Time
	tries    int
	fetching bool
}

// book keeps what is missing, in memory: whoever owns a partition next finds it again, since offsets are committed
// only up to the oldest lack. It knows no clock and no client.
type book struct {
	grace  time.Duration
	serves func(env schemas.Environment, connection string) bool // whether that connection can be asked
	max    int

	lacks map[string]*lack
	// asked are the lacks that were answered, or given up, in this hour and in the one before.
	asked, askedBefore map[string]bool
	turned             time.Time
	dropped            int64
}

const (
	askedFor = time.Hour
	askedMax = 100_000
)

func newBook(grace time.Duration, max int, serves func(schemas.Environment, string) bool) *book {
	return &book{grace: grace, serves: serves, max: max, lacks: map[string]*lack{}, asked: map[string]bool{}}
}

// The two things that may be missing.
func lacksOrder(env schemas.Environment, connection, eventID string) string {
	return "order of " + schemas.RootKey(env, connection, eventID)
}

func lacksCustomer(rootKey string) string { return "customer of " + rootKey }

// see takes in one record of a source topic or of order.transitions.
func (b *book) see(rec schemas.Record, at position, now time.Time) {
	switch r := rec.(type) {
	case *schemas.OrderEvent:
		if orderless(r) && b.serves(r.Environment, r.Connection) {
			b.add(lacksOrder(r.Environment, r.Connection, r.EventID), r, at, now)
		}
	case *schemas.Transition:
		// It was applied, so that its order is known or it is its own root.
		delete(b.lacks, lacksOrder(r.Event.Environment, r.Event.Connection, r.Event.EventID))
		switch key := lacksCustomer(r.RootKey); {
		case r.ContactKey != "":
			delete(b.lacks, key)
		case r.Disposition != schemas.Changed && r.Disposition != schemas.Recorded:
		case b.serves(r.Event.Environment, r.Event.Connection):
			b.add(key, &r.Event, at, now)
		}
	}
}

// orderless reports an event that names a payment and neither its order nor its subscription: it waits in the orders
// stage until the payment's own event says where it belongs.
func orderless(e *schemas.OrderEvent) bool {
	if e.Problem != "" || e.Linked(schemas.LinkOrder) != "" || e.Linked(schemas.LinkSubscription) != "" {
		return false
	}
	return e.Kind == schemas.KindRefund || e.Kind == schemas.KindDispute || e.Kind == schemas.KindPayment && e.EntityID != e.RootID
}

func (b *book) add(key string, e *schemas.OrderEvent, at position, now time.Time) {
	if b.lacks[key] != nil || b.asked[key] || b.askedBefore[key] {
		return
	}
	if len(b.lacks) >= b.max {
		b.dropped++
		return
	}
	event := *e
	event.Body = nil // what is asked for is found by the ids
	b.lacks[key] = &lack{key: key, event: event, at: at, due: now.Add(b.grace)}
}

// due are the lacks to ask for now, oldest first.
func (b *book) due(now time.Time) []*lack {
	var out []*lack
	for _, l := range b.lacks {
		if !l.fetching && !l.due.After(now) {
			out = append(out, l)
		}
	}
	slices.SortFunc(out, func(x, y *lack) int {
		if c := x.due.Compare(y.due); c != 0 {
			return c
		}
		if x.key < y.key {
			return -1
		}
		return 1
	})
	return out
}

// settle forgets a lack that was answered or given up, and does not ask for it again for a while.
func (b *book) settle(l *lack, now time.Time) {
	if b.lacks[l.key] == l {
		delete(b.lacks, l.key)
	}
	if now.Sub(b.turned) > askedFor || len(b.asked) >= askedMax {
		b.asked, b.askedBefore, b.turned = map[string]bool{}, b.asked, now
	}
	b.asked[l.key] = true
}

// forget drops what was read from partitions that belong to somebody else now.
func (b *book) forget(gone func(topic string, partition int32) bool) {
	for key, l := range b.lacks {
		if gone(l.at.topic, l.at.partition) {
			delete(b.lacks, key)
		}
	}
}

// safe is the offset up to which nothing of a partition is missing any more; next is where reading goes on.
func (b *book) safe(topic string, partition int32, next int64) int64 {
	for _, l := range b.lacks {
		if l.at.topic == topic && l.at.partition == partition {
			next = min(next, l.at.offset)
		}
	}
	return next
}
