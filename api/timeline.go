package api

import "time"

// The kinds of subject that GET /timeline/{kind}/{id} takes.
const (
	TimelineEvents        = "events"
	TimelineOrders        = "orders"
	TimelineContacts      = "contacts"
	TimelinePayments      = "payments"
	TimelineSubscriptions = "subscriptions"
)

// TimelineQuery says whose way is meant.
type TimelineQuery struct {
	Kind         string // one of the Timeline constants
	ID           string
	PersonalData bool
}

// The stages of a hop, in the order of the way.
const (
	StageReceipt    = "receipt"    // a delivery was judged and recorded
	StageOrders     = "orders"     // what it changed
	StageWorkflow   = "workflow"   // a step of a run
	StageCommand    = "command"    // what a destination was asked for
	StageCRM        = "crm"        // what it answered
	StageDeadLetter = "deadletter" // it was given up
)

// Timeline is the answer of GET /timeline/{kind}/{id}: every hop, the oldest first.
type Timeline struct {
	ID       string   `json:"id"`
	As       string   `json:"as"`       // what the id was found to be: order, contact, event or run
	Orders   []string `json:"orders"`   // keys of orders and subscriptions on the way
	Contacts []string `json:"contacts"` // masked unless personal data is asked for
	Hops     []Hop    `json:"hops"`
	// Truncated says that there was more of some kind, the oldest of which are told.
	Truncated bool `json:"truncated"`
}

// Hop is one step of the way.
type Hop struct {
	At      time.Time `json:"at"`
	Stage   string    `json:"stage"`   // one of the Stage constants
	What    string    `json:"what"`    // a short sentence in English
	Outcome string    `json:"outcome"` // code: the verdict of a receipt, the disposition of a transition, a step's word, CONTACT or EFFECT, a try's outcome, a letter's cause
	Good    bool      `json:"good"`    // false: somebody should look at it
	Attempt int64     `json:"attempt,omitempty"`
	// AfterMillis is the time since the hop before it.
	AfterMillis int64         `json:"after_ms"`
	Input       []NamedText   `json:"input"`
	Output      []NamedText   `json:"output"`
	Exchanges   []HopExchange `json:"exchanges,omitempty"` // with the CRM
	Event       string        `json:"event,omitempty"`
	Order       string        `json:"order,omitempty"` // key
	Contact     string        `json:"contact,omitempty"`
	Destination string        `json:"destination,omitempty"`
	Command     string        `json:"command,omitempty"`
	Run         string        `json:"run,omitempty"`
	Config      string        `json:"config_version,omitempty"`
	Remedy      string        `json:"remedy,omitempty"`
	Place       RecordPlace   `json:"place"`
}

// HopExchange is one request of a try and its answer, without secrets.
type HopExchange struct {
	Method       string `json:"method"`
	URL          string `json:"url"`
	RequestBody  string `json:"request_body,omitempty"`
	Status       int64  `json:"status"` // 0: no answer
	ResponseBody string `json:"response_body,omitempty"`
	Error        string `json:"error,omitempty"`
	Millis       int64  `json:"ms"`
}
