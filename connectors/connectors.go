// Package connectors says what a connector is: a kind of provider, and a connection to one account of it.
package connectors

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/rs/zerolog"

	"github.com/tillstream/tillstream/outbound"
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
	// Bind returns Normalize as one connection's configuration wants it, where users say what their own words and fields
	// mean; as pure as Normalize. Nil: it is the same for all.
	Bind func(cfg any) func(Delivery) ([]schemas.OrderEvent, error)
	// Open connects one account. cfg is what Config returned, decoded and validated.
	Open func(ctx context.Context, cfg any, env Env) (Source, error)
}

// For returns c with the Normalize of one connection. cfg is what Config returned, decoded and validated.
func (c Connector) For(cfg any) Connector {
	if c.Bind != nil {
		c.Normalize = c.Bind(cfg)
	}
	return c
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

// A Source is one connection. What else it can do, it says by also being a Webhooker, Registrar, Poller, Fetcher,
// Handshaker or Watcher.
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

// A Handshaker answers the requests of a provider that asks, before it sends anything, whether it may (CloudEvents'
// OPTIONS). ok is false where the request is none of these.
type Handshaker interface {
	Handshake(r *http.Request) (answer http.Header, ok bool)
}

// A Registrar keeps the provider's webhook registration equal to what the connection wants: created once, reused
// after a restart, updated when resources change, switched on again where the provider disabled it, made anew where it
// deleted it. Register is called at the start and then at intervals; it changes nothing where nothing is wrong.
type Registrar interface {
	Register(ctx context.Context) (Registration, error)
	// Unregister removes the registration. One that a person made by hand stays.
	Unregister(ctx context.Context) error
}

// Registration is how a connection's webhook stands at the provider.
type Registration struct {
	ID string
	// Changed says in a few words what this call changed; empty: nothing.
	Changed string
	// Used and Limit count the provider's slots for webhooks; Limit 0: it names none.
	Used, Limit int
}

// A Poller lists what changed at the provider, for what no webhook brought and for history. It is asked feed by feed,
// a window at a time, page by page, and its answers pass the same Normalize as webhooks do.
type Poller interface {
	// Feeds are the lists that this connection can be asked for. One that the provider refuses for want of a permission is
	// left out from then on; it is asked for again at each round.
	Feeds() []Feed
	// Poll returns one page of what changed in [q.From, q.To), oldest first where the provider can. A record may come
	// twice, or although it changed a little outside; none inside may be missing once every page was read.
	Poll(ctx context.Context, q Query) (Page, error)
}

// Feed is one list of a provider.
type Feed struct {
	Name string // "events"
	// Every is how often it is read while running; zero: only when asked (history).
	Every time.Duration
	// Late is how long after its change a record may appear in the list: this much is read again, and the feed is
	// complete only up to this long ago.
	Late time.Duration
	// WindowMax is the longest span of one question; zero: any.
	WindowMax time.Duration
	// Reach is how far back the provider remembers; zero: to the beginning.
	Reach time.Duration
	// History: the feed serves a backfill.
	History bool
	Match   Match
}

// Match says when a listed record is one that was received already.
type Match int

// The ways to match. Each includes the former.
const (
	MatchEvent   Match = iota + 1 // the same event id
	MatchVersion                  // or: the same entity with the same provider time and status
	MatchStatus                   // or: the same entity with the same status, whenever
)

// Query asks for one page of one feed.
type Query struct {
	Feed     string
	From, To time.Time // To is past
	Cursor   string    // Page.Next of the page before; empty: the first
	// Full asks for everything that the list can say, as a backfill wants it, where it costs more requests.
	Full bool
}

// Page is what one question brought.
type Page struct {
	Found []Found
	Next  string // cursor of the next page; empty: this was the last
}

// Found is one listed record.
type Found struct {
	Delivery
	// Cause is why no webhook brought it, where the provider says so ("the endpoint answered 503 until 14:05"); a sentence
	// without a full stop. Empty: it does not say.
	Cause string
}

// A Fetcher reads one object anew at the provider, where an event did not say what is needed.
type Fetcher interface {
	// Fetch returns the object that e is about, or that leads from it to its order or its customer. ErrNotThere: the
	// provider has no such object, and asking again is useless.
	Fetch(ctx context.Context, e *schemas.OrderEvent) (Delivery, error)
}

// ErrNotThere says that the provider does not have what was asked for.
var ErrNotThere = errors.New("not at the provider")

// A Watcher knows of dates after which the connection stops working, and of the provider's limits. It answers from
// what it has seen, without a request.
type Watcher interface {
	Watch() []Finding
	Budget() outbound.Budget
}

// Delivery is one genuine delivery, as stored.
type Delivery struct {
	Connection  string
	Environment schemas.Environment
	ID          string // the provider's id of the sending; may repeat
	Body        []byte
	// Headers are the few that Normalize needs besides the body, by canonical name; they are stored with the event. No
	// signature and no secret is among them.
	Headers    map[string]string
	ReceivedAt time.Time
	Origin     schemas.Origin
	Test       bool // sent by the provider's simulator
	// OnceID: the signature does not bind the body, so that whoever saw one delivery could sign another with it. The
	// caller keeps anything else under the same ID out.
	OnceID bool
}

// Verdict is what a Webhooker thinks of a request.
type Verdict struct {
	Kind   VerdictKind
	Reason string // for the log and the metrics; holds no secret and no signature
}

// VerdictKind decides the answer.
type VerdictKind int

// The verdicts and their answers. Genuine: 200 once it is kept. Forged: 401. Unverifiable means "cannot tell now" (the
// certificate could not be fetched): 503, so that a genuine delivery is sent again, and never 2xx. Ping: the provider
// tries the address and sends no event; 200, and nothing is kept.
const (
	Genuine VerdictKind = iota + 1
	Forged
	Unverifiable
	Ping
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
