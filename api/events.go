package api

import (
	"time"

	"github.com/tillstream/tillstream/schemas"
)

// EventsQuery says which events are meant. Empty parts mean any.
type EventsQuery struct {
	// Text is looked for in ids, names, addresses, invoice numbers, event types; an id or address as a whole is found at once.
	Text         string
	Store        string // configured name of the connection
	Order        string // an order's or subscription's id, or its key such as live/shop/O1
	Email        string // an address or a contact key
	Status       schemas.PaymentStatus
	Kind         schemas.EventKind
	Type         string // the provider's own event type
	Currency     string
	Environment  schemas.Environment // empty: both
	Problem      bool                // only those that could not be normalised
	Since, Until time.Time           // by the time of receipt on Kafka; Until is not part of it
	ProviderTime bool                // Since and Until are about the provider's time, as those of reports are
	Limit        int                 // 0: the default
	After        string              // cursor of the page before
	PersonalData bool                // unmasked
}

// EventSummary is one record of an event, as a list shows it. An event that was sent twice has two records.
type EventSummary struct {
	ID             string     `json:"id"`     // the provider's; empty where the body could not be read
	Record         string     `json:"record"` // topic-partition-offset; GET /events/{id} takes it too
	Environment    string     `json:"environment"`
	Store          string     `json:"store"`
	Provider       string     `json:"provider"`
	Kind           string     `json:"kind"`
	Type           string     `json:"type"`
	ProviderStatus string     `json:"provider_status"`
	Status         string     `json:"status"`
	Order          string     `json:"order"`     // id of the order or subscription
	OrderKey       string     `json:"order_key"` // environment/store/id: what /timeline/orders takes
	Entity         string     `json:"entity"`    // what the event is about: order, capture, refund, dispute
	Contact        string     `json:"contact"`   // contact key; masked unless personal data is asked for
	Name           string     `json:"name,omitempty"`
	Amount         *MoneyText `json:"amount,omitempty"`
	Origin         string     `json:"origin"` // WEBHOOK, POLL, BACKFILL or REPLAY
	At             time.Time  `json:"at"`     // when Kafka had it
	ReceivedAt     time.Time  `json:"received_at"`
	ProviderTime   time.Time  `json:"provider_time,omitzero"`
	Test           bool       `json:"test,omitempty"`
	Problem        string     `json:"problem,omitempty"` // why it could not be normalised
}

// EventPage is the answer of GET /events, the newest first.
type EventPage struct {
	Items []EventSummary `json:"items"`
	Next  string         `json:"next,omitempty"` // cursor of the page behind; empty: there is none
	// SearchedTo says that a search for a part of a word went back so far only, for it takes long; next goes on from there.
	SearchedTo time.Time `json:"searched_to,omitzero"`
}

// EventView is the answer of GET /events/{id}: one event whole.
type EventView struct {
	EventSummary
	PersonalData  bool              `json:"personal_data"` // what names a person is shown; else it is masked, body and headers left out
	Email         string            `json:"email,omitempty"`
	GivenName     string            `json:"given_name,omitempty"`
	Surname       string            `json:"surname,omitempty"`
	Phone         string            `json:"phone,omitempty"`
	PayerID       string            `json:"payer_id,omitempty"`
	Address       []string          `json:"address,omitempty"` // line by line
	Country       string            `json:"country,omitempty"`
	CustomID      string            `json:"custom_id,omitempty"`
	InvoiceID     string            `json:"invoice_id,omitempty"`
	Resource      string            `json:"resource,omitempty"`
	Sequence      int64             `json:"sequence,omitempty"`
	RefundedTotal *MoneyText        `json:"refunded_total,omitempty"`
	Links         []NamedText       `json:"links"`      // relation and id of what it belongs to
	Deliveries    []string          `json:"deliveries"` // the provider's ids of this sending
	Fields        map[string]string `json:"fields"`     // further fields by catalogue name
	Headers       map[string]string `json:"headers,omitempty"`
	Body          string            `json:"body,omitempty"` // exactly as received
	BodyBytes     int64             `json:"body_bytes"`
	BodyHash      string            `json:"body_hash"`
	Fingerprint   string            `json:"fingerprint"`
	Place         RecordPlace       `json:"place"`
	Records       []EventSummary    `json:"records"` // every record of this event, this one included, the oldest first
}
