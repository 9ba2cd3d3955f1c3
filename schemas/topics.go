package schemas

// Topic names. Each has one key scheme; which records it carries is said beside it.
const (
	TopicPayPalEvents    = "paypal.events"        // OrderEvent, key RootKey
	TopicStoreOrders     = "store.orders"         // OrderEvent, key RootKey
	TopicOrdersInbox     = "orders.inbox"         // OrderLink, OrderEvent sent on, Tick; key RootKey; internal
	TopicTransitions     = "order.transitions"    // Transition, key RootKey; public
	TopicAutomationInbox = "automation.inbox"     // Transition, ListAnswer, WaitDecision, ContactTouch, IdentityLink; key ContactKey; Tick, ConfigActivation; internal
	TopicRuns            = "automation.runs"      // RunStep, key ContactKey; public
	TopicCommands        = "crm.commands"         // Command, key ContactKey, partitioned by Destination
	TopicDeliveries      = "crm.deliveries"       // Delivery, key ContactKey
	TopicDeadLetters     = "dead.letters"         // DeadLetter, key ID
	TopicConfig          = "config"               // ConfigVersion, key Version; the last one is in force; compacted, one partition
	TopicOrdersChangelog = "orders.changelog"     // after-images of the orders stage; compacted; internal
	TopicAutomationLog   = "automation.changelog" // after-images of the automation stage; compacted; internal
	TopicSourceProgress  = "source.progress"      // SourceProgress, key SourceKey; compacted; internal
	TopicReceiverBeats   = "receiver.beats"       // ReceiverBeat, key Instance; compacted, one partition; internal
	TopicPauses          = "pauses"               // Pause, key Pause.Key; compacted, one partition
	TopicJobRequests     = "job.requests"         // JobRequest, key JobID; one partition
	TopicJobs            = "jobs"                 // Job, key JobID; compacted, one partition
	TopicJobItems        = "job.items"            // JobItem, key Item; compacted
	TopicProgress        = "crm.progress"         // DeliveryProgress, key group/partition; compacted; internal
	TopicAccess          = "access"               // AccessUser, AccessSession, AccessToken, key AccessKey; compacted, one partition; internal
	TopicAudit           = "audit.log"            // AuditEntry, key ID; append only, one partition
)
