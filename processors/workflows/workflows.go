// Package workflows turns workflow files into programs that the automation stage runs: what starts a run, its steps,
// its branches, its waits.
//
// A program is data. Running it, with the contact's state, is package automation's.
package workflows

import (
	"time"

	"github.com/tillstream/tillstream/processors/expressions"
	"github.com/tillstream/tillstream/schemas"
)

// Program is one checked workflow. It may be shared.
type Program struct {
	Name    string // the file's
	Version string // short hash of what the file says; a run keeps the one it started under
	// Destination is where actions go that name no other.
	Destination string
	Mode        Mode
	// OpenRuns says what becomes of the runs that an older version started.
	OpenRuns OpenRuns
	Starts   []Start
	// Once limits the runs: one for each contact, order or subscription. Empty: any number.
	Once  Scope
	Steps []Step // run from 0; none: a run ends at once
	// Sources are the names whose values the steps use, sorted: a run keeps these.
	Sources []string
}

// End is the index that follows the last step of a branch which leads nowhere.
const End = -1

// StepIndex finds a step by its id; End if there is none.
func (p *Program) StepIndex(id string) int {
	for i := range p.Steps {
		if p.Steps[i].ID == id {
			return i
		}
	}
	return End
}

// Mode says whether a workflow acts.
type Mode string

// The modes. Off starts no run; open runs go on.
const (
	Live   Mode = "live"
	Shadow Mode = "shadow" // runs are traced, actions are written down and not sent
	Off    Mode = "off"
)

// OpenRuns is the explicit rule for runs of an older version.
type OpenRuns string

// The rules. Move takes a run to the step of the same id; where there is none, the run keeps its version.
const (
	Keep OpenRuns = "keep"
	Move OpenRuns = "move"
)

// Scope is what something counts for.
type Scope string

// The scopes. An order without a subscription has none to count for: ScopeSubscription then means its order.
const (
	ScopeContact      Scope = "contact"
	ScopeOrder        Scope = "order"
	ScopeSubscription Scope = "subscription"
)

// Start is one way into a workflow. Exactly one of Event, Tag, Moved and Schedule is set.
type Start struct {
	Event    *Event
	Tag      string    // the tag was added to the contact, by us
	Moved    bool      // another workflow moves its run here
	Schedule *Schedule // for every contact that is known, at these times
	// If must hold, too; nil: always.
	If *expressions.Expression
	// List: the contact must be on this list at that time, which the destination is asked. Empty: not asked.
	List string
	// History lets events start a run that were loaded from the past (backfill, replay). By default they do not.
	History bool
}

// Event says which transitions are meant.
type Event struct {
	// On is a trigger of package triggers.
	On          string
	Connections []string // empty: all
	Environment schemas.Environment
	Types       []string // event types; a * at the end stands for any rest; empty: all
	// Status and From hold canonical statuses or, for Status, the provider's exact text; empty: any.
	Status, From []string
	// Products are ids or names that the event's product fields must have one of; empty: any.
	Products []string
}

// StepKind tells the steps apart.
type StepKind string

// The kinds of step, by what of Step they use.
const (
	StepIf      StepKind = "if"             // If, Then, Else
	StepOnList  StepKind = "on_list"        // List, Destination, Then, Else
	StepHours   StepKind = "business_hours" // Hours, Then, Else
	StepWait    StepKind = "wait"           // Until
	StepWaitFor StepKind = "wait_for"       // WaitFor
	StepAct     StepKind = "act"            // Action
	StepMoveTo  StepKind = "move_to_workflow"
	StepStop    StepKind = "stop"
)

// Step is one step. What follows is told by index into Program.Steps, or End.
type Step struct {
	// ID is the user's, or the place in the file: "2", "2.met.0". It is what a run, a trace and a migration name.
	ID string
	// Field is the place in the file: steps[2].met[0].
	Field string
	Kind  StepKind
	Next  int // for all but if, on_list, business_hours, wait_for, move_to_workflow and stop

	If          *expressions.Expression
	Then, Else  int
	List        string
	Hours       *Hours
	Destination string // of on_list and of actions; never empty there
	Until       *Until
	WaitFor     *WaitFor
	Action      *Action
	Workflow    string // of move_to_workflow
}

// Until is a wait for time. Exactly one of After, Date, Daily (with or without Days) and Open is set.
type Until struct {
	After time.Duration
	// Date is a template that gives a date or time; Shift is added. A value that is no time does not wait, and is told.
	Date  *expressions.Template
	Shift time.Duration
	// Zone is where a date without a time begins; never nil beside Date.
	Zone  *time.Location
	Daily *Daily
	// Open waits until business hours, and not at all within them.
	Open *Hours
}

// Daily is a time of day on chosen weekdays, in a zone.
type Daily struct {
	Hour, Minute int
	Days         [7]bool // by time.Weekday; none: every day
	Zone         *time.Location
}

// Hours are business hours: the same span on each of the days, in a zone.
type Hours struct {
	Days     [7]bool
	From, To int // minutes since midnight, From < To
	Zone     *time.Location
}

// Schedule starts runs at times of the clock.
type Schedule struct{ Daily Daily }

// WaitFor is a wait for an event, with a deadline: the condition "payment status changed" and its kin.
type WaitFor struct {
	Event Event
	// Same says whose events count: those of the run's order, of its subscription, or of the contact.
	Same Scope
	// If must hold of the event, too; nil: always.
	If *expressions.Expression
	// List: the contact must be on it when the event comes, which the destination is asked. An event that comes while he
	// is not on it does not count. Empty: not asked.
	List, Destination string
	// Times is how many events it takes, within Window of each other (zero: at any time). 1 is usual.
	Times  int
	Window time.Duration
	// NotMetAfter is when it counts as not met; zero: never.
	NotMetAfter time.Duration
	// LookBack counts an event that came at most so long before the wait opened.
	LookBack time.Duration
	// CorrectWithin is how long after the deadline an event whose own time lies before it corrects the outcome.
	CorrectWithin time.Duration
	// Once lets the condition be met once for its scope, over all runs; empty: in every run.
	Once                   Scope
	Met, NotMet, Corrected int
}

// Action is something that a step does. Which parts it uses, its Kind says.
type Action struct {
	Kind ActionKind
	// Name is the message, list, automation, workflow, event or field, as a text of the file.
	Name string
	// From is the list that a move leaves.
	From   string
	Add    []string // tags
	Remove []string
	// Fields are the fields that set_field fills, sorted by name; clear_field has no templates.
	Fields []FieldValue
	Score  int64
	// Data is what track_event and notify send; nil: the usual description of the event.
	Data *expressions.Template
	// Values are for the personalisation of a message.
	Values []FieldValue
	Shop   string // for write_order and write_recurring_payment: the store's name at the CRM
}

// FieldValue is a name and what to write there.
type FieldValue struct {
	Name  string
	Value *expressions.Template
}

// ActionKind is the word for an action in a file.
type ActionKind string

// The actions.
const (
	SendMessage           ActionKind = "send_message"
	MoveToList            ActionKind = "move_to_list"
	CopyToList            ActionKind = "copy_to_list"
	Tags                  ActionKind = "tags" // add_tags and remove_tags
	SetField              ActionKind = "set_field"
	ClearField            ActionKind = "clear_field"
	AddScore              ActionKind = "score" // into the field Name, if it is given
	StartAutomation       ActionKind = "start_automation"
	TrackEvent            ActionKind = "track_event"
	WriteOrder            ActionKind = "write_order"
	WriteRecurringPayment ActionKind = "write_recurring_payment"
	Notify                ActionKind = "notify" // Destination is a webhook destination; Name the event type
	// AskList is no action but the question behind on_list and list: whether a destination can be asked it.
	AskList ActionKind = "on_list"
)
