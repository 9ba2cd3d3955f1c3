package schemas

// Environment separates a provider's test world from the real one. The two are never mixed: it is part of every key.
type Environment string

// The environments.
const (
	Sandbox Environment = "sandbox"
	Live    Environment = "live"
)

// EventKind says what an event is about. The provider's own type stays beside it in OrderEvent.EventType.
type EventKind string

// The kinds of event. KindOther is an event that is kept and shown but concerns no order.
const (
	KindOrder        EventKind = "ORDER"
	KindSubscription EventKind = "SUBSCRIPTION"
	KindPayment      EventKind = "PAYMENT"
	KindRefund       EventKind = "REFUND"
	KindDispute      EventKind = "DISPUTE"
	KindOther        EventKind = "OTHER"
)

// Origin says which way an event came in. Backfill and replay send no message and change no list unless asked to.
type Origin string

// The origins.
const (
	OriginWebhook  Origin = "WEBHOOK"
	OriginPoll     Origin = "POLL"
	OriginBackfill Origin = "BACKFILL"
	OriginReplay   Origin = "REPLAY"
)

// LinkRelation names what a linked id stands for.
type LinkRelation string

// The relations between an event's entity and others.
const (
	LinkOrder         LinkRelation = "ORDER"
	LinkSubscription  LinkRelation = "SUBSCRIPTION"
	LinkAuthorization LinkRelation = "AUTHORIZATION"
	LinkCapture       LinkRelation = "CAPTURE"
	LinkSale          LinkRelation = "SALE"
)

// Disposition is what became of one input event. Every event gets exactly one, as a Transition or as a DeadLetter,
// so that received = changed + recorded + late + duplicate + ignored + dead letters holds at rest.
type Disposition string

// The dispositions.
const (
	// Changed: the event moved the order to another status.
	Changed Disposition = "CHANGED"
	// Recorded: the event was applied (money, contact, links) and the status stayed.
	Recorded Disposition = "RECORDED"
	// Late: a newer event was applied before; this one is kept and changes no status.
	Late Disposition = "LATE"
	// Duplicate: the same event, or another notice of the same payment step, was applied before.
	Duplicate Disposition = "DUPLICATE"
	// Ignored: a kind of event that has no effect (unknown event type); kept and shown.
	Ignored Disposition = "IGNORED"
)

// OutcomeWord is what became of one command at its destination.
type OutcomeWord string

// The outcomes of a delivery. Intent is written before an effect is sent, so that a crash between the request and
// its answer is known afterwards; every command ends with exactly one of the others except Retryable.
const (
	OutcomeIntent     OutcomeWord = "INTENT"
	OutcomeDelivered  OutcomeWord = "DELIVERED"
	OutcomeSuperseded OutcomeWord = "SUPERSEDED" // a newer desired state of the same contact was sent instead
	OutcomeRejected   OutcomeWord = "REJECTED"
	OutcomeRetryable  OutcomeWord = "RETRYABLE"
	OutcomeUncertain  OutcomeWord = "UNCERTAIN" // may have happened; for a person to decide
)

// CommandKind tells a desired state from an effect.
type CommandKind string

// The kinds of command.
const (
	// CommandContact carries the whole desired state of one contact: the newest version wins, older ones may be skipped.
	CommandContact CommandKind = "CONTACT"
	// CommandEffect carries something that must happen once, such as tracking an event.
	CommandEffect CommandKind = "EFFECT"
	// CommandQuestion carries a question. It changes nothing, may be repeated, and is answered by a ListAnswer.
	CommandQuestion CommandKind = "QUESTION"
)

// The types of effect. Lists, messages and automations are named as the CRM shows them, or by id.
const (
	// EffectTrackEvent records the event Name with the value Data on the contact; an automation in the CRM can start on it.
	EffectTrackEvent = "TRACK_EVENT"
	// EffectSendMessage sends the message Name to the contact. Arguments are values for its personalisation.
	EffectSendMessage = "SEND_MESSAGE"
	// EffectAddToList puts the contact on the list Name (a copy where he is on others). Someone who left it stays away.
	EffectAddToList = "ADD_TO_LIST"
	// EffectMoveToList does that and takes him from the list Arguments["from"].
	EffectMoveToList = "MOVE_TO_LIST"
	// EffectStartAutomation adds the contact to the CRM's automation Name.
	EffectStartAutomation = "START_AUTOMATION"
	// EffectWriteOrder creates or updates the order Name at the CRM, EffectWriteRecurring the subscription. Arguments:
	// shop, number, status (canonical), provider_status, amount, currency, paid, refunded, time (RFC 3339), event_type.
	EffectWriteOrder     = "WRITE_ORDER"
	EffectWriteRecurring = "WRITE_RECURRING_PAYMENT"
	// EffectNotify posts Data, a JSON text, to the destination's address; Name is the event type.
	EffectNotify = "NOTIFY"
	// QuestionOnList asks for the contact's standing on the list Name.
	QuestionOnList = "ON_LIST"
)

// ArgumentFrom is the list that EffectMoveToList leaves.
const ArgumentFrom = "from"

// Standing is what a contact is to a list.
type Standing string

// The standings. Only an active contact is on the list.
const (
	StandingActive       Standing = "ACTIVE"
	StandingUnconfirmed  Standing = "UNCONFIRMED"
	StandingUnsubscribed Standing = "UNSUBSCRIBED"
	StandingBounced      Standing = "BOUNCED"
	StandingAbsent       Standing = "ABSENT"
	StandingUnknown      Standing = "UNKNOWN" // the destination did not say, or not in time
)

// StepWord says what happened at one step of a run.
type StepWord string

// The kinds of step.
const (
	StepStarted       StepWord = "STARTED"
	StepNotStarted    StepWord = "NOT_STARTED" // the start matched, and a rule (run once, not on the list) held it back
	StepCondition     StepWord = "CONDITION"   // a branch was chosen
	StepAsked         StepWord = "ASKED"       // a question went to the destination
	StepWaitOpened    StepWord = "WAIT_OPENED"
	StepWaitMet       StepWord = "WAIT_MET"
	StepWaitNotMet    StepWord = "WAIT_NOT_MET"
	StepWaitCorrected StepWord = "WAIT_CORRECTED" // what would have ended the wait in time came after its deadline
	StepAction        StepWord = "ACTION"
	StepHeld          StepWord = "HELD"     // an action that the consent rule, or the event's origin, forbids
	StepFailed        StepWord = "FAILED"   // an action that could not be made, such as for want of an e-mail address
	StepMigrated      StepWord = "MIGRATED" // the run goes on under a newer version
	StepEnded         StepWord = "ENDED"
	StepStopped       StepWord = "STOPPED" // ended before its last step: by a stop, a bound, or a workflow that is gone
)

// PauseSubject is what can be paused.
type PauseSubject string

// The subjects of a pause.
const (
	PauseDestination PauseSubject = "DESTINATION" // nothing is sent there
	PauseConnection  PauseSubject = "CONNECTION"  // nothing is sent anywhere because of its events
)

// JobKind is what a job does with its items.
type JobKind string

// The kinds of job.
const (
	JobRetry   JobKind = "RETRY"   // lets dead letters, or effects that are uncertain, be tried again
	JobDismiss JobKind = "DISMISS" // closes dead letters: they are not to be tried again
	JobSettle  JobKind = "SETTLE"  // notes that uncertain effects did happen
	JobReplay  JobKind = "REPLAY"  // sends the desired state of contacts again; their effects only where asked to
	JobVerify  JobKind = "VERIFY"  // reads contacts back from a destination and compares them with what is meant
)

// JobAction is what a request wants of a job.
type JobAction string

// The actions.
const (
	JobStart  JobAction = "START"
	JobCancel JobAction = "CANCEL" // what was done stays
)

// JobState is where a job stands.
type JobState string

// The states of a job. The last three are final.
const (
	JobCounting  JobState = "COUNTING"
	JobRunning   JobState = "RUNNING"
	JobDone      JobState = "DONE"
	JobCancelled JobState = "CANCELLED"
	JobFailed    JobState = "FAILED"
)

// ItemResult is what a job made of one item.
type ItemResult string

// The results.
const (
	ItemSent      ItemResult = "SENT"      // on its way again
	ItemDismissed ItemResult = "DISMISSED" // closed by a person
	ItemSettled   ItemResult = "SETTLED"   // a person says that it happened
	ItemSkipped   ItemResult = "SKIPPED"   // needed nothing, such as what was sent again before
	ItemFailed    ItemResult = "FAILED"
	ItemMatches   ItemResult = "MATCHES" // the destination has what is meant
	ItemDrifted   ItemResult = "DRIFTED" // it has something else
)
