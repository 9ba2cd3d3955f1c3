package schemas

import (
	"strings"
	"time"

	"github.com/tillstream/tillstream/schemas/money"
)

// Record is a value that has an Avro schema of the same name in this package.
type Record interface {
	// RecordName is the schema's name without namespace, for example "OrderEvent".
	RecordName() string
}

// Records lists one empty value of every record type, in a fixed order.
func Records() []Record {
	return []Record{
		&OrderEvent{}, &Transition{}, &Command{}, &Delivery{}, &DeadLetter{}, &Tick{}, &OrderLink{}, &ConfigVersion{}, &SourceProgress{},
		&RunStep{}, &ListAnswer{}, &WaitDecision{}, &ContactTouch{}, &IdentityLink{}, &ConfigActivation{}, &ReceiverBeat{},
		&Pause{}, &JobRequest{}, &Job{}, &JobItem{}, &DeliveryProgress{},
		&AccessUser{}, &AccessSession{}, &AccessToken{}, &AuditEntry{},
	}
}

// OrderEvent is one event of a provider, normalised, with the bytes it came from. The bytes stay: a better
// normaliser can be re-run over the past.
type OrderEvent struct {
	EventID     string      `avro:"event_id"`
	Kind        EventKind   `avro:"kind"`
	Provider    string      `avro:"provider"` // connector type, "paypal"
	Environment Environment `avro:"environment"`
	Connection  string      `avro:"connection"` // configured name of the account or store
	Resource    string      `avro:"resource"`   // id of the connector's resource; empty: none takes this event type
	RootID      string      `avro:"root_id"`    // order or subscription where the event names it, else what it does name
	EntityID    string      `avro:"entity_id"`  // what the event is about: order, capture, sale, refund, dispute
	Links       []Link      `avro:"links"`
	EventType   string      `avro:"event_type"`
	// ProviderStatus is the provider's own word, unchanged; Status is the canonical one.
	ProviderStatus string        `avro:"provider_status"`
	Status         PaymentStatus `avro:"status"`
	ProviderTime   time.Time     `avro:"provider_time"` // of the entity's change, not of the sending; millisecond precision
	Sequence       int64         `avro:"sequence"`      // breaks ties of ProviderTime where the provider counts; else 0
	ReceivedAt     time.Time     `avro:"received_at"`
	DeliveryIDs    []string      `avro:"delivery_ids"` // the provider's ids of this sending (PayPal: transmission id)
	Origin         Origin        `avro:"origin"`
	Amount         *Amount       `avro:"amount"`
	// RefundedTotal is the provider's own running total refunded of EntityID's payment, where it says so.
	RefundedTotal *Amount           `avro:"refunded_total"`
	Payer         *Payer            `avro:"payer"`
	CustomID      string            `avro:"custom_id"`
	InvoiceID     string            `avro:"invoice_id"`
	Fields        map[string]string `avro:"fields"` // further provider fields by catalogue name, for mapping
	Body          []byte            `avro:"body"`   // exactly as received; empty inside a Transition
	BodyHash      string            `avro:"body_hash"`
	// Fingerprint is equal for two sendings of one event, and differs when its content was changed.
	Fingerprint string `avro:"fingerprint"`
	Test        bool   `avro:"test"`
	// Problem says why the body could not be normalised. Such an event is kept and ends in the dead letters.
	Problem string `avro:"problem"`
	// ProblemCause is the cause of that dead letter; empty: CauseUnparseable.
	ProblemCause string `avro:"problem_cause"`
	// Headers are those of the delivery that say what its body does not: Normalize needs them for a replay, too.
	Headers map[string]string `avro:"headers"`
	// Versioned: Sequence alone orders the events of this root, and ProviderTime is for people.
	Versioned bool `avro:"versioned"`
	// Deleted: the provider removed the object. It cancels what was not paid, and changes nothing of what was.
	Deleted bool `avro:"deleted"`
}

// RecordName implements Record.
func (*OrderEvent) RecordName() string { return "OrderEvent" }

// Key is the Kafka key of the event: environment, connection and root, so that one order's events meet in one partition.
func (e *OrderEvent) Key() string { return RootKey(e.Environment, e.Connection, e.RootID) }

// Linked returns the id linked by rel, or "".
func (e *OrderEvent) Linked(rel LinkRelation) string {
	for _, l := range e.Links {
		if l.Relation == rel {
			return l.ID
		}
	}
	return ""
}

// RootKey is the key under which the events of one order, subscription or lone payment meet.
func RootKey(env Environment, connection, rootID string) string {
	return string(env) + "/" + connection + "/" + rootID
}

// SplitRootKey undoes RootKey; ok is false where key has another form.
func SplitRootKey(key string) (env Environment, connection, rootID string, ok bool) {
	e, rest, ok1 := strings.Cut(key, "/")
	c, id, ok2 := strings.Cut(rest, "/")
	return Environment(e), c, id, ok1 && ok2
}

// Link says that the event's entity belongs to another one.
type Link struct {
	Relation LinkRelation `avro:"relation"`
	ID       string       `avro:"id"`
}

// Amount is an exact decimal as text (the provider's own digits) and its currency.
type Amount struct {
	Value    string `avro:"value" json:"v"`
	Currency string `avro:"currency" json:"c"` // ISO 4217, upper case
}

// Money parses the amount. The error names the text that is no decimal.
func (a Amount) Money() (money.Amount, error) { return money.Parse(a.Value, a.Currency) }

// Payer is the customer as the provider describes him. Every part may be empty; an empty part never erases a known one.
type Payer struct {
	Email     string  `avro:"email" json:"email,omitempty"`
	GivenName string  `avro:"given_name" json:"given,omitempty"`
	Surname   string  `avro:"surname" json:"surname,omitempty"`
	FullName  string  `avro:"full_name" json:"full,omitempty"`
	Phone     string  `avro:"phone" json:"phone,omitempty"`
	PayerID   string  `avro:"payer_id" json:"payer_id,omitempty"`
	Address   Address `avro:"address" json:"address"`
}

// Address is a postal address; Country is ISO 3166 alpha-2.
type Address struct {
	Line1      string `avro:"line1" json:"line1,omitempty"`
	Line2      string `avro:"line2" json:"line2,omitempty"`
	City       string `avro:"city" json:"city,omitempty"`
	State      string `avro:"state" json:"state,omitempty"`
	PostalCode string `avro:"postal_code" json:"zip,omitempty"`
	Country    string `avro:"country" json:"country,omitempty"`
}

// Transition is what became of one OrderEvent: a status change, or why there was none. Public, on order.transitions
// keyed by RootKey; the same record, keyed by contact, feeds the automation stage on automation.inbox.
type Transition struct {
	RootKey     string        `avro:"root_key"`
	RootKind    EventKind     `avro:"root_kind"` // ORDER, SUBSCRIPTION, or PAYMENT where no root is known
	Number      int64         `avro:"number"`    // counts the transitions of this root from 1
	Disposition Disposition   `avro:"disposition"`
	From        PaymentStatus `avro:"from_status"` // empty: the first event of this root
	To          PaymentStatus `avro:"to_status"`
	Legal       bool          `avro:"legal"`
	Why         string        `avro:"why"`    // one sentence for a person
	Orphan      bool          `avro:"orphan"` // what it waited for (its order, or the contact) did not come in time
	Event       OrderEvent    `avro:"event"`  // without Body
	Paid        string        `avro:"paid"`   // money captured so far, decimal text in Currency; "0" if none
	Refunded    string        `avro:"refunded"`
	Currency    string        `avro:"currency"`
	Payer       *Payer        `avro:"payer"`       // the contact as known to the order so far
	ContactKey  string        `avro:"contact_key"` // ContactKey(Payer); empty: not known (yet)
	At          time.Time     `avro:"at"`          // stream time at which it was applied
}

// RecordName implements Record.
func (*Transition) RecordName() string { return "Transition" }

// ContactKey is the key under which all events of one person meet, whatever the CRM: the normalised e-mail, or the
// payer id where there is none, within the environment. Empty where neither is known.
func ContactKey(env Environment, p *Payer) string {
	if p == nil {
		return ""
	}
	if email := NormalizeEmail(p.Email); email != "" {
		return string(env) + "/" + email
	}
	if p.PayerID != "" {
		return PayerKey(env, p.PayerID)
	}
	return ""
}

// PayerKey and CustomKey are the keys of a customer's further names: the provider's id of the payer, and the merchant's
// own id of him. A contact of whom no e-mail is known has one of them as his ContactKey.
func PayerKey(env Environment, id string) string { return string(env) + "/payer:" + id }

// CustomKey: see PayerKey.
func CustomKey(env Environment, id string) string { return string(env) + "/custom:" + id }

// NormalizeEmail trims and lower-cases an address. Dots and +tags stay: they are other people's addresses.
func NormalizeEmail(email string) string { return strings.ToLower(strings.TrimSpace(email)) }

// Command asks a destination for a contact's desired state or for one effect. Partitioned by Destination, so that
// one consumer holds an account's whole rate limit.
type Command struct {
	CommandID     string      `avro:"command_id"` // the same for the same cause, whoever computes it
	Kind          CommandKind `avro:"kind"`
	Destination   string      `avro:"destination"` // configured name of the CRM connection
	ContactKey    string      `avro:"contact_key"`
	Version       int64       `avro:"version"` // of the contact's desired state at this destination; grows
	Contact       Contact     `avro:"contact"`
	Effect        *Effect     `avro:"effect"` // set for CommandEffect and CommandQuestion
	ConfigVersion string      `avro:"config_version"`
	RootKey       string      `avro:"root_key"` // the order that caused it
	EventID       string      `avro:"event_id"` // the event that caused it
	Trigger       string      `avro:"trigger"`  // id of the trigger, for an effect
	// Issues are the mapped values that could not be made, a line each; their fields are left alone at the CRM.
	Issues []string `avro:"issues"`
	// Rule is what made an effect: "mappings/NAME", or "workflows/NAME#STEP"; RunID is that workflow's run.
	Rule  string `avro:"rule"`
	RunID string `avro:"run_id"`
	// Reasons say, for a desired state, which rule added or removed which tag with this version, a line each.
	Reasons []string  `avro:"reasons"`
	Origin  Origin    `avro:"origin"`
	Test    bool      `avro:"test"`
	At      time.Time `avro:"at"`
}

// RecordName implements Record.
func (*Command) RecordName() string { return "Command" }

// Contact is a desired state. What it does not name is left alone at the CRM; it never puts a contact on a list.
type Contact struct {
	Email     string            `avro:"email" json:"email"`
	FirstName string            `avro:"first_name" json:"first,omitempty"`
	LastName  string            `avro:"last_name" json:"last,omitempty"`
	Phone     string            `avro:"phone" json:"phone,omitempty"`
	Fields    map[string]string `avro:"fields" json:"fields,omitempty"` // CRM field (by its personalisation tag or title) to value; an empty value clears the field
	Tags      []string          `avro:"tags" json:"tags,omitempty"`     // must be present; sorted
	NoTags    []string          `avro:"no_tags" json:"no_tags,omitempty"`
}

// Effect is something that must happen once, or a question. What the parts mean, the type's constant says.
type Effect struct {
	Type      string            `avro:"type"`
	Name      string            `avro:"name"`
	Data      string            `avro:"data"`
	Arguments map[string]string `avro:"arguments"`
}

// Delivery is one try, or the final word, about one command.
type Delivery struct {
	CommandID     string      `avro:"command_id"`
	Kind          CommandKind `avro:"kind"`
	Destination   string      `avro:"destination"`
	ContactKey    string      `avro:"contact_key"`
	Version       int64       `avro:"version"`
	Outcome       OutcomeWord `avro:"outcome"`
	Attempt       int64       `avro:"attempt"`
	Requests      []Exchange  `avro:"requests"`
	Error         string      `avro:"error"`
	Remedy        string      `avro:"remedy"`
	ConfigVersion string      `avro:"config_version"`
	RootKey       string      `avro:"root_key"`
	EventID       string      `avro:"event_id"`
	Origin        Origin      `avro:"origin"`
	Test          bool        `avro:"test"`
	StartedAt     time.Time   `avro:"started_at"`
	At            time.Time   `avro:"at"`
}

// RecordName implements Record.
func (*Delivery) RecordName() string { return "Delivery" }

// Exchange is one redacted request and its answer, cut to a few kilobytes.
type Exchange struct {
	Method   string    `avro:"method"`
	URL      string    `avro:"url"`
	Request  string    `avro:"request"`
	Status   int64     `avro:"status"` // HTTP status; 0: no answer
	Response string    `avro:"response"`
	Error    string    `avro:"error"`
	At       time.Time `avro:"at"`
	Millis   int64     `avro:"millis"`
}

// DeadLetter holds what could not be processed, with its bytes, cause and coordinates. Nothing is lost by it.
type DeadLetter struct {
	ID            string    `avro:"id"` // Topic-Partition-Offset of the source, or a content hash where there is none
	Stage         string    `avro:"stage"`
	Cause         string    `avro:"cause"`  // a code, one of Cause...
	Reason        string    `avro:"reason"` // one sentence: what happened to what
	Remedy        string    `avro:"remedy"` // one sentence: what to do
	Topic         string    `avro:"topic"`
	Partition     int64     `avro:"partition"`
	Offset        int64     `avro:"offset"`
	Key           []byte    `avro:"key"`
	Value         []byte    `avro:"value"`
	EventID       string    `avro:"event_id"`
	RootKey       string    `avro:"root_key"`
	Destination   string    `avro:"destination"`
	ContactKey    string    `avro:"contact_key"`
	ConfigVersion string    `avro:"config_version"`
	At            time.Time `avro:"at"`
}

// RecordName implements Record.
func (*DeadLetter) RecordName() string { return "DeadLetter" }

// Causes of dead letters.
const (
	CauseUndecodable  = "UNDECODABLE"   // no Avro, or an unknown schema
	CauseUnparseable  = "UNPARSEABLE"   // a genuine delivery whose body could not be normalised
	CauseQuarantined  = "QUARANTINED"   // an event or delivery id seen before with another content
	CauseStageFailed  = "STAGE_FAILED"  // a stage refused the record
	CauseRejected     = "REJECTED"      // the destination refused the command for good
	CauseGaveUp       = "GAVE_UP"       // retries ended
	CauseNoContact    = "NO_CONTACT"    // nobody to write to
	CauseUnwritable   = "UNWRITABLE"    // ClickHouse refused the row
	CauseParkOverflow = "PARK_OVERFLOW" // more events wait for one link than are kept
)

// Tick makes stream time pass on an idle partition: its owner appends it when a timer is due. Its broker timestamp is
// the time.
type Tick struct {
	Owner string    `avro:"owner"`
	At    time.Time `avro:"at"`
	// Watermark is up to when receivers were there to take events: timers do not fire past it, so that an outage of our
	// own ends no wait. Zero: not known, nothing is held back.
	Watermark time.Time `avro:"watermark"`
}

// RecordName implements Record.
func (*Tick) RecordName() string { return "Tick" }

// OrderLink tells the key of a payment which root it belongs to, so that later events that name only the payment
// find their order. Internal, on orders.inbox, keyed by From.
type OrderLink struct {
	From string `avro:"from_key"` // RootKey of the payment
	To   string `avro:"to_key"`   // RootKey of the order or subscription
}

// RecordName implements Record.
func (*OrderLink) RecordName() string { return "OrderLink" }

// SourceProgress is how far what one connection lists was read, and how many events came of it. On source.progress,
// keyed by SourceKey.
type SourceProgress struct {
	Environment Environment    `avro:"environment"`
	Connection  string         `avro:"connection"`
	Feeds       []FeedProgress `avro:"feeds"`
	// CompleteUpTo: what changed at the provider before it is on the log. Zero: not known.
	CompleteUpTo time.Time `avro:"complete_up_to"`
	LastEventAt  time.Time `avro:"last_event_at"` // when the last webhook was received; zero: none was
	// Hours counts the webhooks received, oldest hour first: what is usual here. An hour without any has no entry.
	Hours []HourCount `avro:"hours"`
	// Offsets of the connection's topic up to which its events are counted.
	Offsets []PartitionOffset `avro:"offsets"`
	At      time.Time         `avro:"at"`
}

// RecordName implements Record.
func (*SourceProgress) RecordName() string { return "SourceProgress" }

// SourceKey is the key of a connection's own records.
func SourceKey(env Environment, connection string) string { return string(env) + "/" + connection }

// FeedProgress is how far one feed of a connection was read.
type FeedProgress struct {
	Feed    string    `avro:"feed"`
	Through time.Time `avro:"through"` // what changed before it was read
	Repairs int64     `avro:"repairs"` // events found that no webhook had brought, since the connection exists
}

// HourCount is how many webhooks were received in one hour.
type HourCount struct {
	From   time.Time `avro:"from"` // the hour's begin
	Events int64     `avro:"events"`
}

// PartitionOffset is the next offset to read of a partition.
type PartitionOffset struct {
	Partition int64 `avro:"partition"`
	Offset    int64 `avro:"offset"`
}

// ConfigVersion is one accepted configuration, as files. Secrets are references in it, never values.
type ConfigVersion struct {
	Version string            `avro:"version"` // short hash of Files; "config version" everywhere
	Files   map[string]string `avro:"files"`
	At      time.Time         `avro:"at"`
}

// RecordName implements Record.
func (*ConfigVersion) RecordName() string { return "ConfigVersion" }

// RunStep is one step of one run of a workflow: what happened, and why. Public, on automation.runs, keyed by contact.
type RunStep struct {
	RunID           string    `avro:"run_id"`           // the same for the same cause, whoever computes it
	Workflow        string    `avro:"workflow"`         // name of its file
	WorkflowVersion string    `avro:"workflow_version"` // hash of what its file says; a run keeps the one it started under
	ConfigVersion   string    `avro:"config_version"`   // in force at this step
	ContactKey      string    `avro:"contact_key"`
	RootKey         string    `avro:"root_key"` // the order or subscription that the run is about
	EventID         string    `avro:"event_id"` // what caused this step; empty for a deadline
	Number          int64     `avro:"number"`   // counts the steps of the run from 1
	Step            string    `avro:"step"`     // the step's id in the workflow; empty for the run as a whole
	Kind            StepWord  `avro:"kind"`
	Detail          string    `avro:"detail"`   // one sentence for a person
	WaitID          string    `avro:"wait_id"`  // of the wait that this step opened, ended or corrected
	Deadline        time.Time `avro:"deadline"` // when an opened wait counts as not met; zero: never
	CommandID       string    `avro:"command_id"`
	Destination     string    `avro:"destination"`
	Origin          Origin    `avro:"origin"` // of the event that started the run
	Test            bool      `avro:"test"`
	Shadow          bool      `avro:"shadow"` // the workflow is only watched: its actions wrote no command
	At              time.Time `avro:"at"`
}

// RecordName implements Record.
func (*RunStep) RecordName() string { return "RunStep" }

// ListAnswer is a destination's answer to a question. On automation.inbox, keyed by contact.
type ListAnswer struct {
	CommandID   string    `avro:"command_id"` // of the question
	ContactKey  string    `avro:"contact_key"`
	Destination string    `avro:"destination"`
	List        string    `avro:"list"` // as the question named it
	Standing    Standing  `avro:"standing"`
	Error       string    `avro:"error"` // why it is not known
	AsOf        time.Time `avro:"as_of"` // when the destination said so
	At          time.Time `avro:"at"`
}

// RecordName implements Record.
func (*ListAnswer) RecordName() string { return "ListAnswer" }

// WaitDecision is a person's word that ends an open wait. On automation.inbox, keyed by contact.
type WaitDecision struct {
	WaitID     string    `avro:"wait_id"`
	ContactKey string    `avro:"contact_key"`
	Met        bool      `avro:"met"` // or not met
	By         string    `avro:"by"`
	At         time.Time `avro:"at"`
}

// RecordName implements Record.
func (*WaitDecision) RecordName() string { return "WaitDecision" }

// ContactTouch makes the automation stage look at a contact again under the configuration in force: its open runs, its
// schedules. On automation.inbox, keyed by contact.
type ContactTouch struct {
	ContactKey string `avro:"contact_key"`
	Why        string `avro:"why"`
	// Resend: the contact's desired state is sent again, as a new version, to Destination, or to all that have one.
	Resend      bool      `avro:"resend"`
	Destination string    `avro:"destination"`
	At          time.Time `avro:"at"`
}

// RecordName implements Record.
func (*ContactTouch) RecordName() string { return "ContactTouch" }

// IdentityLink says under which contact a further name of a customer (a payer id, a shop's own id) is known. On
// automation.inbox, keyed by AliasKey; sent back to ContactKey with OtherKey where that name belonged to another before.
type IdentityLink struct {
	AliasKey   string    `avro:"alias_key"` // the further name, as a contact key
	ContactKey string    `avro:"contact_key"`
	EventID    string    `avro:"event_id"` // that showed both
	OtherKey   string    `avro:"other_key"`
	At         time.Time `avro:"at"`
}

// RecordName implements Record.
func (*IdentityLink) RecordName() string { return "IdentityLink" }

// ConfigActivation says that from here on this partition follows this version of the configuration. One in each
// partition of automation.inbox.
type ConfigActivation struct {
	Version string    `avro:"version"` // of a ConfigVersion on the topic config
	By      string    `avro:"by"`
	At      time.Time `avro:"at"`
}

// RecordName implements Record.
func (*ConfigActivation) RecordName() string { return "ConfigActivation" }

// ReceiverBeat is a sign of life of one receiver of webhooks, written the way events are: what makes the watermark of
// ticks. On receiver.beats, keyed by instance.
type ReceiverBeat struct {
	Instance   string    `avro:"instance"`
	UpSince    time.Time `avro:"up_since"`    // when it began to take events
	OutageFrom time.Time `avro:"outage_from"` // the last time before UpSince that any receiver was there; zero: no outage
	Stopped    bool      `avro:"stopped"`     // it ended in order
	At         time.Time `avro:"at"`
}

// RecordName implements Record.
func (*ReceiverBeat) RecordName() string { return "ReceiverBeat" }

// Pause holds back what is for one destination, or what the events of one connection caused, or lets it go on. Events are
// recorded, and waits pass, all the same. On pauses, keyed by PauseKey.
type Pause struct {
	Subject PauseSubject `avro:"subject"`
	Name    string       `avro:"name"` // configured name
	Paused  bool         `avro:"paused"`
	Why     string       `avro:"why"`
	By      string       `avro:"by"`
	At      time.Time    `avro:"at"`
}

// RecordName implements Record.
func (*Pause) RecordName() string { return "Pause" }

// Key is the Kafka key of the pause.
func (p *Pause) Key() string { return string(p.Subject) + "/" + p.Name }

// JobRequest asks for a job, work on what happened before, or ends one. On job.requests, keyed by job.
type JobRequest struct {
	JobID     string            `avro:"job_id"` // drawn by who asks
	Action    JobAction         `avro:"action"`
	Kind      JobKind           `avro:"kind"`
	Filter    map[string]string `avro:"filter"`
	PerMinute int64             `avro:"per_minute"` // items at most; 0: no limit of its own
	Why       string            `avro:"why"`
	By        string            `avro:"by"`
	At        time.Time         `avro:"at"`
}

// RecordName implements Record.
func (*JobRequest) RecordName() string { return "JobRequest" }

// Job is how far a job is. On jobs, keyed by job.
type Job struct {
	JobID     string            `avro:"job_id"`
	Kind      JobKind           `avro:"kind"`
	Filter    map[string]string `avro:"filter"`
	PerMinute int64             `avro:"per_minute"`
	State     JobState          `avro:"state"`
	Count     int64             `avro:"count"` // items that match; -1: not counted yet
	Done      int64             `avro:"done"`
	Skipped   int64             `avro:"skipped"`
	Failed    int64             `avro:"failed"`
	Positions []JobPosition     `avro:"positions"`
	Detail    string            `avro:"detail"` // one sentence, such as why it failed
	Why       string            `avro:"why"`
	By        string            `avro:"by"`
	AskedAt   time.Time         `avro:"asked_at"`
	At        time.Time         `avro:"at"`
}

// RecordName implements Record.
func (*Job) RecordName() string { return "Job" }

// JobPosition is how far a job went through one partition of the log that it reads.
type JobPosition struct {
	Partition int64 `avro:"partition"`
	Offset    int64 `avro:"offset"` // the next one
	Until     int64 `avro:"until"`  // where the job ends
}

// JobItem is what a job made of one item. On job.items, keyed by item, so that the last word about it stays.
type JobItem struct {
	JobID       string     `avro:"job_id"`
	Kind        JobKind    `avro:"kind"`
	Item        string     `avro:"item"`   // id of the dead letter or of the command, or key of the contact
	Number      int64      `avro:"number"` // counts the items of the job from 1
	Result      ItemResult `avro:"result"`
	Detail      string     `avro:"detail"` // one sentence
	Destination string     `avro:"destination"`
	ContactKey  string     `avro:"contact_key"`
	By          string     `avro:"by"`
	At          time.Time  `avro:"at"`
}

// RecordName implements Record.
func (*JobItem) RecordName() string { return "JobItem" }

// DeliveryProgress is which commands of one partition are finished beyond the committed offset, where that does not fit
// beside the offset itself. On crm.progress, keyed by group and partition.
type DeliveryProgress struct {
	Group     string `avro:"group"`
	Partition int64  `avro:"partition"`
	Progress  []byte `avro:"progress"` // in the form that package deliver defines
}

// RecordName implements Record.
func (*DeliveryProgress) RecordName() string { return "DeliveryProgress" }
