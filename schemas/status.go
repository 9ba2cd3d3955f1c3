package schemas

// PaymentStatus is the canonical status of an order, payment or subscription, whatever the provider calls it.
// Ranks and legal steps are stated a second time in testdata/transitions.txt, against which every pair is tested.
type PaymentStatus string

// The canonical statuses. Approved is not paid: the payer agreed, no money is held.
const (
	StatusUnknown           PaymentStatus = "UNKNOWN"
	StatusDraft             PaymentStatus = "DRAFT"
	StatusPending           PaymentStatus = "PENDING"
	StatusApproved          PaymentStatus = "APPROVED"
	StatusFailed            PaymentStatus = "FAILED"
	StatusAuthorized        PaymentStatus = "AUTHORIZED"
	StatusPartiallyPaid     PaymentStatus = "PARTIALLY_PAID"
	StatusPaid              PaymentStatus = "PAID"
	StatusPartiallyRefunded PaymentStatus = "PARTIALLY_REFUNDED"
	StatusDisputed          PaymentStatus = "DISPUTED"
	StatusExpired           PaymentStatus = "EXPIRED"
	StatusCancelled         PaymentStatus = "CANCELLED"
	StatusVoided            PaymentStatus = "VOIDED"
	StatusRefunded          PaymentStatus = "REFUNDED"
	StatusChargedBack       PaymentStatus = "CHARGED_BACK"
	// Subscriptions only.
	StatusActive    PaymentStatus = "ACTIVE"
	StatusSuspended PaymentStatus = "SUSPENDED"
)

type statusRow struct {
	rank int
	next []PaymentStatus
}

// The steps of orders and payments. UNKNOWN has no list since Legal lets it go anywhere; another status without a
// list is followed by nothing.
var orderTable = map[PaymentStatus]statusRow{
	StatusUnknown:           {0, nil},
	StatusDraft:             {1, []PaymentStatus{StatusPending, StatusApproved, StatusAuthorized, StatusPartiallyPaid, StatusPaid, StatusFailed, StatusCancelled, StatusExpired}},
	StatusPending:           {2, []PaymentStatus{StatusApproved, StatusAuthorized, StatusPartiallyPaid, StatusPaid, StatusFailed, StatusCancelled, StatusExpired, StatusVoided}},
	StatusApproved:          {3, []PaymentStatus{StatusPending, StatusAuthorized, StatusPartiallyPaid, StatusPaid, StatusFailed, StatusCancelled, StatusExpired, StatusVoided}},
	StatusFailed:            {4, []PaymentStatus{StatusPending, StatusApproved, StatusAuthorized, StatusPartiallyPaid, StatusPaid, StatusCancelled, StatusExpired}},
	StatusAuthorized:        {5, []PaymentStatus{StatusPartiallyPaid, StatusPaid, StatusVoided, StatusExpired, StatusCancelled, StatusFailed}},
	StatusPartiallyPaid:     {6, []PaymentStatus{StatusPaid, StatusPartiallyRefunded, StatusRefunded, StatusVoided, StatusCancelled, StatusExpired, StatusDisputed}},
	StatusPaid:              {7, []PaymentStatus{StatusPartiallyRefunded, StatusRefunded, StatusDisputed, StatusChargedBack, StatusPartiallyPaid, StatusCancelled}},
	StatusPartiallyRefunded: {8, []PaymentStatus{StatusRefunded, StatusDisputed, StatusChargedBack, StatusPaid}},
	StatusDisputed:          {9, []PaymentStatus{StatusPaid, StatusPartiallyRefunded, StatusRefunded, StatusChargedBack}},
	StatusExpired:           {10, []PaymentStatus{StatusPending, StatusAuthorized, StatusPaid, StatusVoided, StatusCancelled}},
	StatusCancelled:         {11, []PaymentStatus{StatusPending, StatusPaid, StatusRefunded, StatusVoided}},
	StatusVoided:            {12, nil},
	StatusRefunded:          {13, []PaymentStatus{StatusPartiallyRefunded, StatusPaid}},
	StatusChargedBack:       {14, []PaymentStatus{StatusPaid}},
}

// The steps of subscriptions. Approval may be skipped: PayPal activates some subscriptions at once.
var subscriptionTable = map[PaymentStatus]statusRow{
	StatusUnknown:   {0, nil},
	StatusPending:   {2, []PaymentStatus{StatusApproved, StatusActive, StatusCancelled, StatusExpired}},
	StatusApproved:  {3, []PaymentStatus{StatusActive, StatusCancelled, StatusExpired}},
	StatusActive:    {7, []PaymentStatus{StatusSuspended, StatusCancelled, StatusExpired}},
	StatusSuspended: {8, []PaymentStatus{StatusActive, StatusCancelled, StatusExpired}},
	StatusExpired:   {10, nil},
	StatusCancelled: {11, nil},
}

// Rank breaks ties between statuses of equal provider time: the higher rank is the later step.
func (s PaymentStatus) Rank() int {
	if row, ok := orderTable[s]; ok {
		return row.rank
	}
	return subscriptionTable[s].rank
}

// Hard reports whether nothing but a correction may legally follow s for an entity of this kind.
func (s PaymentStatus) Hard(kind EventKind) bool {
	if kind == KindSubscription {
		return s == StatusExpired || s == StatusCancelled
	}
	return s == StatusVoided || s == StatusRefunded || s == StatusChargedBack
}

// Legal reports whether an order (or a subscription, by kind) may move from one status to another. An illegal move
// is applied and flagged, never dropped. Staying is always legal, and so is any move from or to UNKNOWN.
func Legal(kind EventKind, from, to PaymentStatus) bool {
	if from == to || from == "" || from == StatusUnknown || to == StatusUnknown {
		return true
	}
	table := orderTable
	if kind == KindSubscription {
		table = subscriptionTable
	}
	for _, next := range table[from].next {
		if next == to {
			return true
		}
	}
	return false
}
