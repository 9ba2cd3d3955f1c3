package workload

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	"github.com/tillstream/tillstream/pipeline/kafka"
	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/schemas/codec"
)

// Connection is the connection that the workload's orders come by.
const Connection = "paypal-eu"

// Begin is the time of the first event of a plan.
var Begin = time.Date(2025, 3, 1, 0, 0, 0, 0, time.UTC)

// kind is one step in an order's life.
type kind uint8

const (
	created kind = iota
	approved
	captured
	completed // another notice of the same payment: no change of status
)

// step is one event of a plan. Times are milliseconds since Begin.
type step struct {
	arrival int64 // its place in the stream
	time    int64 // of the event, and of the record
	order   int32
	kind    kind
}

// Shape of a plan: 500,000 orders take seven and a half hours, and an hour more in which no order begins. Nine of ten
// orders are paid within the hour; of the others, those that began early enough time out, and a tenth pays later.
const (
	orderEvery    = 54 * time.Millisecond
	spanMin       = 2 * time.Hour
	after         = time.Hour
	unpaidUntil   = 62 * time.Minute // before the end of the span; so no wait ends close to the end of the stream
	eventsPer10   = 39               // events of ten orders, duplicates included
	jitterMax     = 2 * time.Second  // between an event and its arrival
	unpaidShare   = 0.10
	lateShare     = 0.10 // of the unpaid
	noticeShare   = 0.88 // of the paid
	overtakeShare = 0.02 // of the paid: the approval arrives after the payment
)

// Plan is a stream of order events, the same for the same number of orders and seed.
type Plan struct {
	Orders int
	steps  []step
	closer [Partitions]string // root ids of the last orders, one for each partition
	first  int                // order number of closer[0]
}

// NewPlan draws a plan. Its last event in each partition is one hour after the last order began.
func NewPlan(orders int, seed uint64) (*Plan, error) {
	if orders < 100 || orders > 50_000_000 {
		return nil, fmt.Errorf("%d orders: use 100 to 50,000,000", orders)
	}
	p := &Plan{Orders: orders, first: orders - Partitions}
	rng := rand.New(rand.NewPCG(seed, 0x7111))
	span := max(spanMin, time.Duration(orders)*orderEvery).Milliseconds()
	end := span + after.Milliseconds()
	total := orders * eventsPer10 / 10
	p.steps = make([]step, 0, total)
	for i := range p.first {
		p.order(rng, int32(i), span*int64(i)/int64(orders), span)
	}
	for n := total - Partitions - len(p.steps); n > 0; n-- {
		again := p.steps[rng.IntN(len(p.steps))]
		again.arrival = min(again.arrival+between(rng, 30*time.Second, 30*time.Minute), end-1)
		p.steps = append(p.steps, again)
	}
	slices.SortFunc(p.steps, func(a, b step) int {
		return cmp.Or(cmp.Compare(a.arrival, b.arrival), cmp.Compare(a.order, b.order), cmp.Compare(a.kind, b.kind))
	})
	for i := range Partitions {
		for salt := 0; ; salt++ {
			root := rootID(p.first+i, salt)
			if partitionOf(schemas.RootKey(schemas.Live, Connection, root)) == int32(i) {
				p.closer[i] = root
				break
			}
		}
		p.steps = append(p.steps, step{arrival: end, time: end, order: int32(p.first + i), kind: created})
	}
	return p, nil
}

// order adds the events of one order that begins at.
func (p *Plan) order(rng *rand.Rand, order int32, at, span int64) {
	add := func(k kind, time int64) *step {
		p.steps = append(p.steps, step{arrival: time + rng.Int64N(jitterMax.Milliseconds()), time: time, order: order, kind: k})
		return &p.steps[len(p.steps)-1]
	}
	add(created, at)
	agreed := at + 5_000 + soon(rng, time.Minute, 5*time.Minute)
	approval := add(approved, agreed)
	if at < span-unpaidUntil.Milliseconds() && rng.Float64() < unpaidShare {
		if rng.Float64() < lateShare {
			add(captured, at+between(rng, 70*time.Minute, 100*time.Minute))
		}
		return
	}
	paid := agreed + 10_000 + soon(rng, 5*time.Minute, 50*time.Minute)
	if rng.Float64() < overtakeShare {
		approval.arrival = paid + between(rng, 4*time.Second, 20*time.Second)
	}
	add(captured, paid)
	if rng.Float64() < noticeShare {
		add(completed, paid+between(rng, time.Second, time.Minute))
	}
}

func between(rng *rand.Rand, low, high time.Duration) int64 {
	return low.Milliseconds() + rng.Int64N((high - low).Milliseconds())
}

// soon is an exponential draw, cut at limit.
func soon(rng *rand.Rand, mean, limit time.Duration) int64 {
	return min(int64(rng.ExpFloat64()*float64(mean.Milliseconds())), limit.Milliseconds())
}

// Len is the number of events.
func (p *Plan) Len() int { return len(p.steps) }

// Key is the record key of an order.
func (p *Plan) Key(order int) string {
	if order >= p.first {
		return schemas.RootKey(schemas.Live, Connection, p.closer[order-p.first])
	}
	return OrderKey(order)
}

// Message is one record of the input.
type Message struct {
	Order      int
	Key, Value []byte
	Time       time.Time
}

// Messages calls visit for each event in the order of the stream; the message's bytes are the visitor's to keep.
func (p *Plan) Messages(visit func(Message) error) error {
	enc := NewEncoder()
	for _, s := range p.steps {
		m, err := enc.message(int(s.order), p.Key(int(s.order)), s)
		if err != nil {
			return err
		}
		if err := visit(m); err != nil {
			return err
		}
	}
	return nil
}

const (
	rootPrefix = "5O"
	rootDigits = 8
	rootBytes  = 17 // as PayPal's order ids
)

func rootID(order, salt int) string {
	h := uint64(order)*0x9E3779B97F4A7C15 + uint64(salt)*0xBF58476D1CE4E5B9 + 1
	tail := make([]byte, rootBytes-len(rootPrefix)-rootDigits)
	for i := range tail {
		h ^= h >> 29
		h *= 0x94D049BB133111EB
		tail[i] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"[h>>59]
	}
	return fmt.Sprintf("%s%0*d%s", rootPrefix, rootDigits, order, tail)
}

// OrderKey is the record key of an order that is no plan's last.
func OrderKey(order int) string {
	return schemas.RootKey(schemas.Live, Connection, rootID(order, 0))
}

// OrderOf is the number of the order that has key.
func OrderOf(key []byte) (int, error) {
	at := len(schemas.RootKey(schemas.Live, Connection, "")) + len(rootPrefix)
	if len(key) < at+rootDigits {
		return 0, fmt.Errorf("key %q: %w", key, ErrDamaged)
	}
	n, err := strconv.Atoi(string(key[at : at+rootDigits]))
	if err != nil {
		return 0, fmt.Errorf("key %q: %w", key, ErrDamaged)
	}
	return n, nil
}

// EventID is the id of an order's event: one for each kind of it.
func EventID(order int, n int) string {
	return fmt.Sprintf("WH-%017d-%016X%d", order, uint64(order)*0x9E3779B97F4A7C15, n)
}

// Encoder makes records of the input.
type Encoder struct{ codec *codec.Codec }

// NewEncoder returns an encoder that writes today's schema under the local ids.
func NewEncoder() *Encoder { return &Encoder{codec.NewLocal()} }

// Created is an order's first event.
func (e *Encoder) Created(order int, at time.Time) (Message, error) {
	return e.message(order, OrderKey(order), step{time: at.Sub(Begin).Milliseconds(), kind: created})
}

// Captured is the event that pays an order.
func (e *Encoder) Captured(order int, at time.Time) (Message, error) {
	return e.message(order, OrderKey(order), step{time: at.Sub(Begin).Milliseconds(), kind: captured})
}

var kinds = []struct{ typ, word, status string }{
	created:   {"CHECKOUT.ORDER.CREATED", "CREATED", string(schemas.StatusDraft)},
	approved:  {"CHECKOUT.ORDER.APPROVED", "APPROVED", string(schemas.StatusApproved)},
	captured:  {"PAYMENT.CAPTURE.COMPLETED", "COMPLETED", Paid},
	completed: {"CHECKOUT.ORDER.COMPLETED", "COMPLETED", Paid},
}

func (e *Encoder) message(order int, key string, s step) (Message, error) {
	_, _, root, _ := schemas.SplitRootKey(key)
	k, at := kinds[s.kind], Begin.Add(time.Duration(s.time)*time.Millisecond)
	ev := schemas.OrderEvent{
		EventID: EventID(order, int(s.kind)), Kind: schemas.KindOrder, Provider: "paypal", Environment: schemas.Live, Connection: Connection,
		Resource: "checkout-orders", RootID: root, EntityID: root, EventType: k.typ, ProviderStatus: k.word,
		Status: schemas.PaymentStatus(k.status), ProviderTime: at, ReceivedAt: at.Add(800 * time.Millisecond),
		DeliveryIDs: []string{fmt.Sprintf("%08x-8f4c-11f0-b2d1-%012x", order, s.time)}, Origin: schemas.OriginWebhook,
		Amount: &schemas.Amount{Value: fmt.Sprintf("%d.%02d", 5+order%400, order%100), Currency: "EUR"},
		Payer: &schemas.Payer{
			Email: fmt.Sprintf("buyer.%07d@example.com", order), GivenName: "Erika", Surname: "Mustermann",
			PayerID: root[4:], Address: schemas.Address{City: "Hamburg", PostalCode: "20095", Country: "DE"},
		},
		CustomID: fmt.Sprintf("shop-%d", order), BodyHash: bodyHash(order, s.kind), Fingerprint: bodyHash(order, s.kind)[:16],
	}
	if s.kind == captured {
		ev.Kind, ev.Links = schemas.KindPayment, []schemas.Link{{Relation: schemas.LinkOrder, ID: root}}
		ev.EntityID = root[8:] + root[:8]
	}
	ev.Body = fmt.Appendf(nil, `{"id":%q,"event_type":%q}`, ev.EventID[:20], k.typ)
	value, err := e.codec.Encode(&ev)
	if err != nil {
		return Message{}, err
	}
	return Message{Order: order, Key: []byte(key), Value: value, Time: at}, nil
}

func bodyHash(order int, k kind) string {
	h := uint64(order)<<3 | uint64(k) + 1
	b := make([]byte, 0, 64)
	for range 4 {
		h = (h ^ h>>31) * 0x9E3779B97F4A7C15
		b = fmt.Appendf(b, "%016x", h)
	}
	return string(b)
}

func partitionOf(key string) int32 { return kafka.Partition([]byte(key), Partitions) }
