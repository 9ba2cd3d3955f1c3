// Package connectors says what a connector is: a kind of provider, and a connection to one account of it.
package connectors

import (
	"context"
	"net/http"
	"time"

	"github.com/rs/zerolog"

	"github.com/tillstream/tillstream/schemas"
)

// A Connector describes a kind of provider. It is a value: registering it runs nothing.
type Connector struct {
	// Type is the folder's name, the config key and OrderEvent.Provider, for example "paypal".
	Type string
	// Title is the provider's name for people.
	Title string
	// Topic is where its events go: schemas.TopicPayPalEvents or schemas.TopicStoreOrders.
	Topic string
	// Resources are the named bundles of event types that a user can choose.
	Resources []Resource
	// Fields is the catalogue of names that a mapping may use as source, with label, type and sample.
	Fields []Field
	// Config returns a new configuration with defaults, a pointer to a struct with yaml tags that may implement Validator.
	Config func() any
	// Normalize turns a stored delivery into records. Pure: the same delivery gives the same records on replay. An
	// error means that the body is not understood; the caller keeps the bytes as an event with Problem set.
	Normalize func(Delivery) ([]schemas.OrderEvent, error)
	// Open connects one account. cfg is what Config returned, decoded and validated.
	Open func(ctx context.Context, cfg any, env Env) (Source, error)
}

// Validator is implemented by a configuration that checks itself after decoding. A Finding's Field is the yaml path.
type Validator interface{ Validate() []Finding }

// Resource is a named bundle of event types.
type Resource struct {
	ID         string   // "checkout-order-approved"
	Title      string   // "Checkout order approved"
	EventTypes []string // the provider's own names; a trailing * matches any rest
	TagSuffix  string   // the fixed tag suffix of this resource; empty: the event's type is the suffix
}

// Field is one mappable provider field.
type Field struct {
	Name   string // "payer.email", as used in a mapping
	Label  string
	Type   string // text, money, date, phone, number
	Sample string
}

// Env is what a source is given of the outside: nothing else is reached.
type Env struct {
	Connection  string
	Environment schemas.Environment
	Resources   []string // chosen resource ids
	Now         func() time.Time
	Log         zerolog.Logger
	HTTP        *http.Client // from package outbound
	// PublicURL is the address under which this connection's webhook endpoint is reached; empty: none is set.
	PublicURL string
}

// A Source is one connection. What else it can do, it says by also being a Webhooker or a Registrar.
// Its methods may be called from several goroutines.
type Source interface {
	// Check tries credentials, permissions and mode. No finding with Level Bad means ready.
	Check(ctx context.Context) []Finding
	Close() error
}

// A Webhooker judges a request. It stores nothing: the caller appends the delivery to Kafka before it answers 2xx.
// body is complete, exactly as received, and within the limit; Verify must not parse it before its signature holds.
type Webhooker interface {
	Verify(ctx context.Context, r *http.Request, body []byte) (Delivery, Verdict)
}

// A Registrar keeps the provider's webhook registration equal to what the connection wants: created once, reused
// after a restart, updated when resources change. Unregister removes it.
type Registrar interface {
	Register(ctx context.Context) (webhookID string, err error)
	Unregister(ctx context.Context) error
}

// Delivery is one genuine delivery, as stored.
type Delivery struct {
	Connection  string
	Environment schemas.Environment
	ID          string // the provider's id of the sending; may repeat
	Body        []byte
	ReceivedAt  time.Time
	Origin      schemas.Origin
	Test        bool // sent by the provider's simulator
}

// Verdict is what a Webhooker thinks of a request.
type Verdict struct {
	Kind   VerdictKind
	Reason string // for the log and the metrics; holds no secret and no signature
}

// VerdictKind decides the answer.
type VerdictKind int

// The verdicts. Unverifiable means "cannot tell now" (the certificate could not be fetched): the answer is 503, so
// that a genuine delivery is sent again, and never 2xx.
const (
	Genuine VerdictKind = iota + 1
	Forged
	Unverifiable
)

// Finding is one result of a check, with what to do.
type Finding struct {
	Level   Level
	Field   string // config field it is about; may be empty
	Message string
	Hint    string
}

// Level grades a finding.
type Level string

// The levels.
const (
	OK   Level = "ok"
	Warn Level = "warn"
	Bad  Level = "bad"
)

// Registry is the list of connectors that this binary ships, in a fixed order.
type Registry struct{ list []Connector }

// NewRegistry builds a registry; it panics on a repeated type, which is a mistake in the list.
func NewRegistry(list ...Connector) *Registry {
	seen := map[string]bool{}
	for _, c := range list {
		if seen[c.Type] {
			panic("connector registered twice: " + c.Type)
		}
		seen[c.Type] = true
	}
	return &Registry{list}
}

// All returns the connectors in order.
func (r *Registry) All() []Connector { return r.list }

// Get returns the connector of that type.
func (r *Registry) Get(typ string) (Connector, bool) {
	for _, c := range r.list {
		if c.Type == typ {
			return c, true
		}
	}
	return Connector{}, false
}
