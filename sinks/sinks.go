// Package sinks says what a sink is: where commands, or all records, go.
package sinks

import (
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/rs/zerolog"

	"github.com/tillstream/tillstream/schemas"
)

// A Sink describes a kind of destination. It is a value: registering it runs nothing.
type Sink struct {
	Type  string // folder name and config key, "activecampaign"
	Title string
	// Config returns a new configuration with defaults, a pointer to a struct with yaml tags that may implement Validator.
	Config func() any
	// RatePerSecond is the provider's documented limit for one account; zero: none.
	RatePerSecond float64
	// Effects are the types of effect that its writers perform, and schemas.QuestionOnList where they are ListReaders.
	// Anything else they reject.
	Effects []string
	// NoContacts: its destinations keep no contacts. A desired state needs no request there, and tags and fields mean nothing.
	NoContacts bool
	// TagName is the form in which the destination keeps a tag's name, to see which names would collide; "": it cannot
	// keep it at all. Nil: as it is, in any case of letters.
	TagName func(string) string
	// Open connects one account; cfg is what Config returned, decoded.
	Open func(ctx context.Context, cfg any, env Env) (Writer, error)
}

// Env is what a writer is given of the outside.
type Env struct {
	Destination string
	Now         func() time.Time
	Log         zerolog.Logger
	HTTP        *http.Client // from package outbound: it holds the account's rate limit and records exchanges
}

// A Writer delivers commands to one account and returns one Outcome per command, in order. It never returns early: a
// command that was not tried is Retryable. Commands of one batch concern different contacts or are in order per
// contact; Write is not called twice at a time for a contact.
type Writer interface {
	Write(ctx context.Context, batch []schemas.Command) []Outcome
	// Reconcile asks the destination whether an effect whose outcome is unknown did happen. Unknown where the
	// destination cannot tell.
	Reconcile(ctx context.Context, effect schemas.Command) Outcome
	Check(ctx context.Context) []Finding
	Close() error
}

// Performs reports whether its writers perform this type of effect, or answer this question.
func (s Sink) Performs(effect string) bool { return slices.Contains(s.Effects, effect) }

// A ListReader is a Writer that can be asked who is on a list.
type ListReader interface {
	// Standing says what the person with this e-mail address is to a list, named as the destination shows it or by id.
	// It changes nothing and may be repeated. With Delivered the standing is known, StandingAbsent for someone whom the
	// destination does not know; with any other outcome it is StandingUnknown. Rejected: it will never be known, such as
	// for a list that does not exist.
	Standing(ctx context.Context, email, list string) (schemas.Standing, Outcome)
}

// A Recaller is a Writer whose destination lists effects without a name of ours, so that Reconcile tells them apart by what
// the writer itself made. Recall adds what other processes made: it gets the deliveries that concern the contact of the
// effect that Reconcile is asked about next, and may get the same ones again.
type Recaller interface {
	Recall(deliveries []*schemas.Delivery)
}

// A BulkWriter is a Writer to which many desired states together cost less than one by one. Write is then given up to
// BulkMax of them at a time where so many wait. It must not be worse for the contacts: what sets off automations in the
// CRM has to be written as ever.
type BulkWriter interface {
	BulkMax() int
	// Bulk reports whether the desired state may be written with others.
	Bulk(schemas.Command) bool
}

// A Verifier is a Writer that can read a contact back and compare it with what is meant.
type Verifier interface {
	// Verify changes nothing and may be repeated. With Delivered the comparison is known. Values are compared in the
	// destination's own form, so that what Write would not write again is no difference.
	Verify(ctx context.Context, want schemas.Contact) (Comparison, Outcome)
}

// Comparison is what a destination has of a contact beside what is meant. What is not meant at all is no difference.
type Comparison struct {
	Absent      bool             // the destination does not know the person
	Standing    schemas.Standing // StandingUnsubscribed, StandingBounced where that is so for all lists; else StandingActive
	Differences []Difference
}

// Difference is one thing that is other than meant. Want and Got are personal data.
type Difference struct {
	Part string // "first name", "field LAST_PAYMENT", "tag vip"
	Want string // "" and Got not: a tag that should not be there, or a field that should be empty
	Got  string
}

// An Accounter is a Writer that can say whose account it writes to.
type Accounter interface {
	Account(ctx context.Context) (Account, Outcome)
}

// Account is what a key opens.
type Account struct {
	ID, Name string
	User     string // whose key it is; personal data
	// Detail is more that a person recognises the account by, in the order to be shown.
	Detail []Fact
}

// Fact is one line about an account.
type Fact struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Outcome is what became of one command.
type Outcome struct {
	Kind       OutcomeKind
	RetryAfter time.Duration // for Retryable: not before; zero: the caller's own back-off
	Err        error         // why not Delivered; holds no secret and no unmasked personal data
	Remedy     string        // what a person can do about it
	// Account is set where the failure is the account's (401, 403, rate limit), not this command's.
	Account   bool
	Exchanges []schemas.Exchange // redacted requests and answers, for the timeline
}

// OutcomeKind grades an outcome.
type OutcomeKind int

// The outcomes. Unknown means that it may have happened: reconcile before repeating an effect.
const (
	Delivered OutcomeKind = iota + 1
	Rejected
	Retryable
	Unknown
	// NotHappened is Reconcile's answer that the effect did not take place and may be sent.
	NotHappened
)

// Finding is one result of a check, with what to do.
type Finding struct {
	Bad     bool
	Field   string
	Message string
	Hint    string
}

// Validator is implemented by a configuration that checks itself after decoding. A Finding's Field is the yaml path.
type Validator interface{ Validate() []Finding }

// Registry is the list of sinks that this binary ships, in a fixed order.
type Registry struct{ list []Sink }

// NewRegistry builds a registry; it panics on a repeated type, which is a mistake in the list.
func NewRegistry(list ...Sink) *Registry {
	seen := map[string]bool{}
	for _, s := range list {
		if seen[s.Type] {
			panic("sink registered twice: " + s.Type)
		}
		seen[s.Type] = true
	}
	return &Registry{list}
}

// All returns the sinks in order.
func (r *Registry) All() []Sink { return r.list }

// Get returns the sink of that type.
func (r *Registry) Get(typ string) (Sink, bool) {
	for _, s := range r.list {
		if s.Type == typ {
			return s, true
		}
	}
	return Sink{}, false
}

// A Range is the records From to To (both inclusive offsets) of one partition, planned on Kafka before they are
// inserted, so that a repetition inserts exactly the same range under the same token.
type Range struct {
	Topic     string
	TopicID   string // Kafka's id of the topic: a recreated topic is another one
	Partition int32
	From, To  int64
	Replay    int64 // replay generation; grows when rows are to be inserted again on purpose
}

// A Row is one record of a range. Record is nil where the value could not be decoded; Value holds the bytes then too.
type Row struct {
	Offset int64
	At     time.Time // broker timestamp
	Key    []byte
	Value  []byte
	Record schemas.Record
}

// RowWriter stores whole ranges, for reports. Insert is called for one range at a time per topic; calling it again with
// the same range must change nothing. A RowError names the row that is refused; anything else means "try again".
type RowWriter interface {
	// Prepare creates or checks what the writer needs (tables, settings), with a finding for each thing missing.
	Prepare(ctx context.Context) error
	Insert(ctx context.Context, r Range, rows []Row) error
	Close() error
}

// RowError says that the destination refuses a row for good.
type RowError struct {
	Offset int64
	Err    error
}

// Error implements error.
func (e *RowError) Error() string { return e.Err.Error() }

// Unwrap implements errors.Unwrap.
func (e *RowError) Unwrap() error { return e.Err }
