package orders

import (
	"maps"
	"slices"
	"time"

	"github.com/tillstream/tillstream/schemas"
)

// parked is an event that waits for the link of its payment.
type parked struct {
	Since int64 `json:"a"`
	Event image `json:"e"`
}

// waiting is a transition that was published and waits for a contact to go on to. What it lacks is in the state.
type waiting struct {
	At       int64                 `json:"a"`
	Number   int64                 `json:"n"`
	Changed  schemas.Disposition   `json:"d"`
	From     schemas.PaymentStatus `json:"f,omitempty"`
	To       schemas.PaymentStatus `json:"t"`
	Legal    bool                  `json:"l,omitempty"`
	Why      string                `json:"y"`
	Orphan   bool                  `json:"o,omitempty"`
	Paid     string                `json:"p"`
	Refunded string                `json:"r"`
	Currency string                `json:"c,omitempty"`
	Event    image                 `json:"e"`
}

// image is an OrderEvent inside a state. Its keys belong to the format of the state, whatever becomes of the record.
type image struct {
	EventID        string                `json:"id"`
	Kind           schemas.EventKind     `json:"k"`
	Provider       string                `json:"p,omitempty"`
	Environment    schemas.Environment   `json:"e"`
	Connection     string                `json:"c"`
	Resource       string                `json:"rs,omitempty"`
	RootID         string                `json:"ro"`
	EntityID       string                `json:"en,omitempty"`
	Links          [][2]string           `json:"l,omitempty"`
	EventType      string                `json:"t,omitempty"`
	ProviderStatus string                `json:"ps,omitempty"`
	Status         schemas.PaymentStatus `json:"s,omitempty"`
	ProviderTime   int64                 `json:"pt,omitempty"`
	Sequence       int64                 `json:"sq,omitempty"`
	ReceivedAt     int64                 `json:"ra,omitempty"`
	DeliveryIDs    []string              `json:"di,omitempty"`
	Origin         schemas.Origin        `json:"o,omitempty"`
	Amount         *schemas.Amount       `json:"m,omitempty"`
	RefundedTotal  *schemas.Amount       `json:"rt,omitempty"`
	Payer          *schemas.Payer        `json:"py,omitempty"`
	CustomID       string                `json:"ci,omitempty"`
	InvoiceID      string                `json:"ii,omitempty"`
	Fields         map[string]string     `json:"f,omitempty"` // encoding/json writes it sorted
	Body           []byte                `json:"b,omitempty"`
	BodyHash       string                `json:"bh,omitempty"`
	Fingerprint    string                `json:"fp,omitempty"`
	Test           bool                  `json:"x,omitempty"`
	Problem        string                `json:"pr,omitempty"`
	ProblemCause   string                `json:"-"`
	Headers        map[string]string     `json:"-"`
	Versioned      bool                  `json:"-"`
	Deleted        bool                  `json:"-"`
}

// imageOf shares no memory with e but its texts.
func imageOf(e *schemas.OrderEvent) image {
	im := image{
		EventID: e.EventID, Kind: e.Kind, Provider: e.Provider, Environment: e.Environment, Connection: e.Connection,
		Resource: e.Resource, RootID: e.RootID, EntityID: e.EntityID, EventType: e.EventType,
		ProviderStatus: e.ProviderStatus, Status: e.Status, ProviderTime: toMillis(e.ProviderTime), Sequence: e.Sequence,
		ReceivedAt: toMillis(e.ReceivedAt), DeliveryIDs: slices.Clone(e.DeliveryIDs), Origin: e.Origin, Amount: clonePtr(e.Amount),
		RefundedTotal: clonePtr(e.RefundedTotal), Payer: clonePtr(e.Payer), CustomID: e.CustomID, InvoiceID: e.InvoiceID, Fields: maps.Clone(e.Fields),
		Body: slices.Clone(e.Body), BodyHash: e.BodyHash, Fingerprint: e.Fingerprint, Test: e.Test, Problem: e.Problem,
		ProblemCause: e.ProblemCause, Headers: maps.Clone(e.Headers), Versioned: e.Versioned, Deleted: e.Deleted,
	}
	for _, l := range e.Links {
		im.Links = append(im.Links, [2]string{string(l.Relation), l.ID})
	}
	return im
}

func (im image) event() schemas.OrderEvent {
	e := schemas.OrderEvent{
		EventID: im.EventID, Kind: im.Kind, Provider: im.Provider, Environment: im.Environment, Connection: im.Connection,
		Resource: im.Resource, RootID: im.RootID, EntityID: im.EntityID, EventType: im.EventType,
		ProviderStatus: im.ProviderStatus, Status: im.Status, ProviderTime: timeOf(im.ProviderTime), Sequence: im.Sequence,
		ReceivedAt: timeOf(im.ReceivedAt), DeliveryIDs: im.DeliveryIDs, Origin: im.Origin, Amount: im.Amount,
		RefundedTotal: im.RefundedTotal, Payer: im.Payer, CustomID: im.CustomID, InvoiceID: im.InvoiceID, Fields: im.Fields,
		Body: im.Body, BodyHash: im.BodyHash, Fingerprint: im.Fingerprint, Test: im.Test, Problem: im.Problem,
		ProblemCause: im.ProblemCause, Headers: im.Headers, Versioned: im.Versioned, Deleted: im.Deleted,
	}
	for _, l := range im.Links {
		e.Links = append(e.Links, schemas.Link{Relation: schemas.LinkRelation(l[0]), ID: l[1]})
	}
	return cloneEvent(&e)
}

// toMillis keeps the zero time apart from 1970: a provider that names no time must not become the oldest.
func toMillis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

func timeOf(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return fromMillis(ms)
}

// cloneEvent copies e with everything it points to, times cut to the milliseconds that the record keeps.
func cloneEvent(e *schemas.OrderEvent) schemas.OrderEvent {
	c := *e
	c.Links = slices.Clone(e.Links)
	c.DeliveryIDs = slices.Clone(e.DeliveryIDs)
	c.Fields = maps.Clone(e.Fields)
	c.Headers = maps.Clone(e.Headers)
	c.Body = slices.Clone(e.Body)
	c.Amount = clonePtr(e.Amount)
	c.RefundedTotal = clonePtr(e.RefundedTotal)
	c.Payer = clonePtr(e.Payer)
	c.ProviderTime = timeOf(toMillis(e.ProviderTime))
	c.ReceivedAt = timeOf(toMillis(e.ReceivedAt))
	return c
}

func clonePtr[T any](p *T) *T {
	if p == nil {
		return nil
	}
	c := *p
	return &c
}
