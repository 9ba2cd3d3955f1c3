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
)

// EffectTrackEvent records a named event on the contact, so that an automation in the CRM can start on it.
const EffectTrackEvent = "TRACK_EVENT"
