package workflows

import "github.com/tillstream/tillstream/schemas"

// File is one document of the folder workflows/, as a user writes it. Compile makes a Program of it.
type File struct {
	Description string `yaml:"description,omitempty" json:"description,omitempty" jsonschema:"description=What it is for\\, for people."`
	// Destination is where actions go, and who is asked, where no other is named.
	Destination string   `yaml:"destination,omitempty" json:"destination,omitempty" jsonschema:"description=The CRM that actions go to and lists belong to: a name of destinations/."`
	Mode        Mode     `yaml:"mode,omitempty" json:"mode,omitempty" jsonschema:"enum=live,enum=shadow,enum=off,default=live,description=live acts. shadow runs and writes down what it would have done. off starts no run; open runs go on."`
	OpenRuns    OpenRuns `yaml:"open_runs,omitempty" json:"open_runs,omitempty" jsonschema:"enum=keep,enum=move,default=keep,description=What becomes of open runs when this file changes: they keep the text that they started under\\, or move to the step of the same id."`
	Once        Scope    `yaml:"once,omitempty" json:"once,omitempty" jsonschema:"enum=contact,enum=order,enum=subscription,description=Limits the runs to one for each of these. Left out: every start makes a run."`
	// Zone is for every clock of the file that names none of its own.
	Zone  string      `yaml:"zone,omitempty" json:"zone,omitempty" jsonschema:"default=UTC,description=Time zone of every clock in this file\\, for example Europe/Berlin."`
	Start []FileStart `yaml:"start" json:"start" jsonschema:"required,minItems=1,description=What starts a run: any one of these."`
	Steps []FileStep  `yaml:"steps,omitempty" json:"steps,omitempty" jsonschema:"description=What is done\\, in order."`
}

// FileStart is one way into a workflow. Which keys it may have, On says.
type FileStart struct {
	On          string              `yaml:"on" json:"on" jsonschema:"required,description=The trigger."`
	Status      []string            `yaml:"status,omitempty" json:"status,omitempty" jsonschema:"description=For payment-status-changed: the statuses that count\\, ours (PAID) or the provider's exact text. Left out: any."`
	From        []string            `yaml:"from,omitempty" json:"from,omitempty" jsonschema:"description=For payment-status-changed: the statuses before it. Left out: any."`
	Connections []string            `yaml:"connections,omitempty" json:"connections,omitempty" jsonschema:"description=Stores and accounts to follow. Left out: all."`
	Environment schemas.Environment `yaml:"environment,omitempty" json:"environment,omitempty" jsonschema:"enum=live,enum=sandbox,description=Only events of this world. Left out: both."`
	Events      []string            `yaml:"events,omitempty" json:"events,omitempty" jsonschema:"description=Event types; a * at the end stands for any rest. Left out: all."`
	Products    []string            `yaml:"products,omitempty" json:"products,omitempty" jsonschema:"description=Ids or names of products\\, of which the order has one. Left out: any."`
	Tag         string              `yaml:"tag,omitempty" json:"tag,omitempty" jsonschema:"description=For tag-added: the tag."`
	At          string              `yaml:"at,omitempty" json:"at,omitempty" jsonschema:"description=For schedule: the time of day\\, for example 09:00."`
	Days        []string            `yaml:"days,omitempty" json:"days,omitempty" jsonschema:"description=For schedule: days of the week. Left out: every day."`
	Zone        string              `yaml:"zone,omitempty" json:"zone,omitempty" jsonschema:"description=For schedule: the time zone. Left out: the file's."`
	If          string              `yaml:"if,omitempty" json:"if,omitempty" jsonschema:"description=A condition that must hold\\, too."`
	List        string              `yaml:"list,omitempty" json:"list,omitempty" jsonschema:"description=The contact must be on this list at that time."`
	History     bool                `yaml:"history,omitempty" json:"history,omitempty" jsonschema:"description=Lets events start a run that were loaded from the past. Such runs send no message and change no list."`
}

// FileStep is one step: one key says what it does, and the keys that belong to that one say how.
type FileStep struct {
	ID string `yaml:"id,omitempty" json:"id,omitempty" jsonschema:"description=A name for this step\\, by which a newer version of the file finds it. Left out: its place."`

	If            string     `yaml:"if,omitempty" json:"if,omitempty" jsonschema:"description=A condition: then where it holds\\, else where it does not."`
	OnList        string     `yaml:"on_list,omitempty" json:"on_list,omitempty" jsonschema:"description=Asks the destination whether the contact is on this list: then\\, or else."`
	BusinessHours *FileHours `yaml:"business_hours,omitempty" json:"business_hours,omitempty" jsonschema:"description=Is it within these hours now: then\\, or else."`
	Then          []FileStep `yaml:"then,omitempty" json:"then,omitempty"`
	Else          []FileStep `yaml:"else,omitempty" json:"else,omitempty"`

	WaitFor   *FileWaitFor `yaml:"wait_for,omitempty" json:"wait_for,omitempty" jsonschema:"description=Waits for an event\\, with a deadline: met\\, or not_met."`
	Met       []FileStep   `yaml:"met,omitempty" json:"met,omitempty" jsonschema:"description=When the event came in time."`
	NotMet    []FileStep   `yaml:"not_met,omitempty" json:"not_met,omitempty" jsonschema:"description=When the time was up."`
	Corrected []FileStep   `yaml:"corrected,omitempty" json:"corrected,omitempty" jsonschema:"description=When an event comes after that\\, which happened in time. Beside the rest of the workflow\\, which is not run again."`

	Wait      Duration   `yaml:"wait,omitempty" json:"wait,omitempty" jsonschema:"description=Waits so long\\, for example 90m\\, 1h\\, 3d or 2w."`
	WaitUntil *FileUntil `yaml:"wait_until,omitempty" json:"wait_until,omitempty" jsonschema:"description=Waits until a date\\, a time of day or business hours."`

	SendMessage     string            `yaml:"send_message,omitempty" json:"send_message,omitempty" jsonschema:"description=Sends this message of the CRM."`
	Values          map[string]string `yaml:"values,omitempty" json:"values,omitempty" jsonschema:"description=For send_message: what its own placeholders stand for."`
	MoveToList      *FileMove         `yaml:"move_to_list,omitempty" json:"move_to_list,omitempty" jsonschema:"description=Puts the contact on one list and takes him from another."`
	CopyToList      string            `yaml:"copy_to_list,omitempty" json:"copy_to_list,omitempty" jsonschema:"description=Puts the contact on this list\\, too."`
	AddTags         []string          `yaml:"add_tags,omitempty" json:"add_tags,omitempty"`
	RemoveTags      []string          `yaml:"remove_tags,omitempty" json:"remove_tags,omitempty" jsonschema:"description=May stand beside add_tags."`
	SetField        map[string]string `yaml:"set_field,omitempty" json:"set_field,omitempty" jsonschema:"description=Fields of the contact and what to write there."`
	ClearField      []string          `yaml:"clear_field,omitempty" json:"clear_field,omitempty" jsonschema:"description=Fields of the contact to empty."`
	Score           *int64            `yaml:"score,omitempty" json:"score,omitempty" jsonschema:"description=Points to add; below zero: to take away."`
	Field           string            `yaml:"field,omitempty" json:"field,omitempty" jsonschema:"description=For score: the field that shows the sum."`
	StartAutomation string            `yaml:"start_automation,omitempty" json:"start_automation,omitempty" jsonschema:"description=Starts this automation of the CRM."`
	TrackEvent      *FileTrack        `yaml:"track_event,omitempty" json:"track_event,omitempty" jsonschema:"description=Records an event on the contact\\, on which an automation of the CRM can start."`
	WriteOrder      *FileShop         `yaml:"write_order,omitempty" json:"write_order,omitempty" jsonschema:"description=Creates or updates the order at the CRM."`
	WriteRecurring  *FileShop         `yaml:"write_recurring_payment,omitempty" json:"write_recurring_payment,omitempty" jsonschema:"description=Creates or updates the subscription at the CRM."`
	Notify          *FileNotify       `yaml:"notify,omitempty" json:"notify,omitempty" jsonschema:"description=Posts to an address of yours\\, signed (Standard Webhooks)."`

	MoveToWorkflow string `yaml:"move_to_workflow,omitempty" json:"move_to_workflow,omitempty" jsonschema:"description=Ends this run and starts that workflow\\, which needs a start on moved-here."`
	Stop           bool   `yaml:"stop,omitempty" json:"stop,omitempty" jsonschema:"description=Ends the run."`

	// Destination is for on_list, for the list of wait_for and for actions but notify.
	Destination string `yaml:"destination,omitempty" json:"destination,omitempty" jsonschema:"description=Another destination than the file's\\, for this step."`
}

// FileWaitFor is the condition "payment status changed" and its kin.
type FileWaitFor struct {
	On          string              `yaml:"on,omitempty" json:"on,omitempty" jsonschema:"default=payment-status-changed,description=The trigger that counts."`
	Status      []string            `yaml:"status,omitempty" json:"status,omitempty" jsonschema:"description=For payment-status-changed: the statuses that count\\, ours (PAID) or the provider's exact text. Left out: any."`
	From        []string            `yaml:"from,omitempty" json:"from,omitempty" jsonschema:"description=For payment-status-changed: the statuses before it. Left out: any."`
	Connections []string            `yaml:"connections,omitempty" json:"connections,omitempty" jsonschema:"description=Stores and accounts to follow. Left out: all."`
	Environment schemas.Environment `yaml:"environment,omitempty" json:"environment,omitempty" jsonschema:"enum=live,enum=sandbox,description=Only events of this world. Left out: both."`
	Events      []string            `yaml:"events,omitempty" json:"events,omitempty" jsonschema:"description=Event types; a * at the end stands for any rest. Left out: all."`
	Products    []string            `yaml:"products,omitempty" json:"products,omitempty" jsonschema:"description=Ids or names of products\\, of which the order has one. Left out: any."`
	If          string              `yaml:"if,omitempty" json:"if,omitempty" jsonschema:"description=A condition that the event must fulfil\\, too."`
	Same        Scope               `yaml:"same,omitempty" json:"same,omitempty" jsonschema:"enum=order,enum=subscription,enum=contact,default=order,description=Whose events count: those of the run's order\\, of its subscription\\, or all of the contact."`
	List        string              `yaml:"list,omitempty" json:"list,omitempty" jsonschema:"description=The contact must be on this list when the event comes."`
	Times       *int                `yaml:"times,omitempty" json:"times,omitempty" jsonschema:"default=1,minimum=1,maximum=1000,description=How many such events it takes."`
	Window      Duration            `yaml:"window,omitempty" json:"window,omitempty" jsonschema:"description=With times: the span that they must lie within. Left out: none."`
	NotMetAfter Duration            `yaml:"not_met_after,omitempty" json:"not_met_after,omitempty" jsonschema:"default=1d,description=When the time is up; never: it waits without end."`
	LookBack    Duration            `yaml:"look_back,omitempty" json:"look_back,omitempty" jsonschema:"default=0,description=Counts an event that came at most so long before the wait began."`
	// CorrectWithin is how long a late event is still waited for.
	CorrectWithin Duration `yaml:"correct_within,omitempty" json:"correct_within,omitempty" jsonschema:"default=3d,description=How long after the deadline an event corrects the outcome that happened before it."`
	Once          Scope    `yaml:"once,omitempty" json:"once,omitempty" jsonschema:"enum=contact,enum=order,enum=subscription,description=The condition is met once for each of these\\, over all runs. Left out: in every run."`
}

// FileUntil is a point in time. Exactly one of Date, At and BusinessHours is set.
type FileUntil struct {
	Date          string     `yaml:"date,omitempty" json:"date,omitempty" jsonschema:"description=A date or time\\, usually {{ a value }}."`
	Shift         Duration   `yaml:"shift,omitempty" json:"shift,omitempty" jsonschema:"description=With date: so long after it\\, or before it (-3d)."`
	At            string     `yaml:"at,omitempty" json:"at,omitempty" jsonschema:"description=The next time that it is so late\\, for example 09:00."`
	Days          []string   `yaml:"days,omitempty" json:"days,omitempty" jsonschema:"description=With at: days of the week. Left out: every day."`
	Zone          string     `yaml:"zone,omitempty" json:"zone,omitempty" jsonschema:"description=With at\\, and for a date without a time: the time zone. Left out: the file's."`
	BusinessHours *FileHours `yaml:"business_hours,omitempty" json:"business_hours,omitempty" jsonschema:"description=Until these hours; within them it does not wait."`
}

// FileHours are business hours.
type FileHours struct {
	Days []string `yaml:"days,omitempty" json:"days,omitempty" jsonschema:"description=Days of the week. Left out: monday to friday."`
	From string   `yaml:"from" json:"from" jsonschema:"required,description=The first minute\\, for example 09:00."`
	To   string   `yaml:"to" json:"to" jsonschema:"required,description=The first minute after it\\, for example 17:00."`
	Zone string   `yaml:"zone,omitempty" json:"zone,omitempty" jsonschema:"description=The time zone. Left out: the file's."`
}

// FileMove names two lists.
type FileMove struct {
	From string `yaml:"from" json:"from" jsonschema:"required,description=The list that he leaves."`
	To   string `yaml:"to" json:"to" jsonschema:"required,description=The list that he is put on."`
}

// FileTrack is an event for the CRM.
type FileTrack struct {
	Name string `yaml:"name" json:"name" jsonschema:"required,description=The event's name at the CRM."`
	Data string `yaml:"data,omitempty" json:"data,omitempty" jsonschema:"description=What is recorded with it. Left out: type\\, order\\, status and amount."`
}

// FileShop names a store at the CRM.
type FileShop struct {
	Shop string `yaml:"shop" json:"shop" jsonschema:"required,description=The store's name at the CRM."`
}

// FileNotify is a message to a webhook destination.
type FileNotify struct {
	To    string `yaml:"to" json:"to" jsonschema:"required,description=A name of destinations/\\, with the sink webhook."`
	Event string `yaml:"event" json:"event" jsonschema:"required,description=The event type that the receiver reads\\, for example order.paid."`
	Body  string `yaml:"body,omitempty" json:"body,omitempty" jsonschema:"description=A JSON text; each {{ value }} inside quotes. Left out: the usual description of the event."`
}

// event is what starts and waits say about events in the same words.
func (s FileStart) event() FileWaitFor {
	return FileWaitFor{
		On: s.On, Status: s.Status, From: s.From, Connections: s.Connections, Environment: s.Environment,
		Events: s.Events, Products: s.Products,
	}
}

// branches are the step's blocks by their keys, in the order in which they are compiled.
func (s *FileStep) branches() [5]branch {
	return [5]branch{{"then", s.Then}, {"else", s.Else}, {"met", s.Met}, {"not_met", s.NotMet}, {"corrected", s.Corrected}}
}

type branch struct {
	key   string
	steps []FileStep
}

// size counts the step and all below it, up to about limit.
func (s *FileStep) size(limit int) int {
	n := 1
	for _, b := range s.branches() {
		for i := range b.steps {
			if n > limit {
				return n
			}
			n += b.steps[i].size(limit - n)
		}
	}
	return n
}

// depth is how deep blocks are nested in s, at most limit.
func (s *FileStep) depth(limit int) int {
	deepest := 0
	for _, b := range s.branches() {
		if len(b.steps) > 0 && limit <= 1 {
			return 1
		}
		for i := range b.steps {
			deepest = max(deepest, 1+b.steps[i].depth(limit-1))
		}
	}
	return deepest
}
