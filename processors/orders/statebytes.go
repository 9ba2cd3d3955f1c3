package orders

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/tillstream/tillstream/processors"
	"github.com/tillstream/tillstream/schemas"
)

// The versions of the format. Version 1 was JSON; its states are read for ever, and become version 2 when they change.
const (
	formatJSON    = 1
	formatCompact = 2
)

// stateName names the state in errors.
const stateName = "the state of an order"

// words are what orders often hold. The first 48 cost one byte.
var words = processors.NewWords(
	"UNKNOWN", "DRAFT", "PENDING", "APPROVED", "FAILED", "AUTHORIZED", "PARTIALLY_PAID", "PAID", "PARTIALLY_REFUNDED", "DISPUTED",
	"EXPIRED", "CANCELLED", "VOIDED", "REFUNDED", "CHARGED_BACK", "ACTIVE", "SUSPENDED", "COMPLETED", "CREATED", "CAPTURED",
	"ORDER", "SUBSCRIPTION", "PAYMENT", "REFUND", "DISPUTE", "OTHER", "AUTHORIZATION", "CAPTURE", "SALE",
	"EUR", "USD", "GBP", "CHF", "PLN", "CHANGED", "RECORDED", "LATE", "DUPLICATE", "IGNORED",
	"WEBHOOK", "POLL", "BACKFILL", "REPLAY", "sandbox", "live", "paypal", "0.00", "Recorded; the status stays.",
	"processing", "completed", "on-hold", "refunded", "cancelled", "pending", "paid", "DENIED", "OPEN", "RESOLVED",
	"CAD", "AUD", "JPY", "SEK", "NOK", "DKK", "CZK", "HUF",
	"PAYMENT.CAPTURE.COMPLETED", "PAYMENT.CAPTURE.REFUNDED", "PAYMENT.SALE.COMPLETED", "CHECKOUT.ORDER.APPROVED", "CHECKOUT.ORDER.COMPLETED",
)

// Encode implements processors.Stage: see processors.StateWriter for the form of the bytes.
func (*Stage) Encode(s State) ([]byte, error) {
	w := stateWriter{StateWriter: processors.NewStateWriter(formatCompact, words)}
	w.state(&s)
	return w.Bytes(), nil
}

// Decode implements processors.Stage.
func (*Stage) Decode(b []byte) (State, error) {
	if len(b) > 0 && b[0] == '{' {
		return decodeJSON(b)
	}
	r := stateReader{StateReader: processors.NewStateReader(b, formatCompact, words)}
	var s State
	r.state(&s)
	if err := r.Close(stateName); err != nil {
		return State{}, err
	}
	return s, nil
}

func decodeJSON(b []byte) (State, error) {
	var s State
	if err := processors.DecodeState(b, &s, stateName); err != nil {
		return State{}, err
	}
	if s.Format != formatJSON {
		return State{}, fmt.Errorf("decode %s: JSON of format %d is not known, only %d", stateName, s.Format, formatJSON)
	}
	s.Format = 0
	return s, nil
}

var (
	errTriple = errors.New("it refers to a moment that it does not hold")
	errLink   = errors.New("it refers to a payment that it does not hold")
)

// triplesKept is the number of triples that may be referred to: the facts of one event share one.
const triplesKept = 8

// triples are those written or read last, in a ring.
type triples struct {
	list [triplesKept]triple
	next int
}

func (t *triples) note(x triple) {
	t.list[t.next%triplesKept] = x
	t.next++
}

func (t *triples) at(back int) triple { return t.list[(t.next-1-back)%triplesKept] }

// stateWriter and stateReader are twins: each method of one undoes that of the other.
type stateWriter struct {
	*processors.StateWriter
	triples triples
}

type stateReader struct {
	*processors.StateReader
	triples triples
	room    []mark // for the lists of marks, most of which hold one
}

// marksRoom is the number of marks for which room is made at once.
const marksRoom = 16

func (w *stateWriter) state(s *State) {
	w.FieldText(1, string(s.Kind))
	w.FieldFlag(2, s.Own)
	w.FieldInt(3, s.Number)
	if s.Head != nil {
		w.Field(4)
		w.triple(*s.Head)
	}
	w.document(5, &s.Order)
	w.document(6, &s.Sub)
	w.entities(7, s.Payments)
	w.entities(8, s.Refunds)
	w.FieldList(9, len(s.Disputes))
	for _, d := range s.Disputes {
		w.Text(d.ID)
		w.triple(d.At)
		w.Text(string(d.Status))
	}
	w.FieldList(10, len(s.Settled))
	for _, x := range s.Settled {
		w.Text(x.Currency)
		w.Text(x.Paid)
		w.Text(x.Refunded)
	}
	w.FieldList(11, len(s.Payers))
	for i := range s.Payers {
		w.triple(s.Payers[i].At)
		w.payer(&s.Payers[i].Payer)
	}
	w.FieldList(12, len(s.Seen))
	for i := range s.Seen {
		w.seen(&s.Seen[i])
	}
	w.linked(13, s)
	w.FieldText(14, s.Link)
	w.FieldList(15, len(s.Parked))
	for i := range s.Parked {
		w.Time(s.Parked[i].Since)
		w.image(&s.Parked[i].Event)
	}
	w.FieldList(16, len(s.Waiting))
	for i := range s.Waiting {
		w.waiting(&s.Waiting[i])
	}
	w.FieldTime(17, s.Touched)
	if s.Removed != nil {
		w.Field(18)
		w.triple(*s.Removed)
	}
	if s.Customer != nil {
		w.Field(19)
		w.triple(s.Customer.At)
		w.Text(s.Customer.ID)
	}
}

func (r *stateReader) state(s *State) {
	for f := r.Field(); f != 0; f = r.Field() {
		switch f {
		case 1:
			s.Kind = schemas.EventKind(r.Text())
		case 2:
			s.Own = true
		case 3:
			s.Number = r.Int()
		case 4:
			s.Head = new(triple)
			*s.Head = r.triple()
		case 5:
			r.document(&s.Order)
		case 6:
			r.document(&s.Sub)
		case 7:
			s.Payments = processors.ReadList(r.StateReader, r.entity)
		case 8:
			s.Refunds = processors.ReadList(r.StateReader, r.entity)
		case 9:
			s.Disputes = processors.ReadList(r.StateReader, func(d *dispute) {
				*d = dispute{r.Text(), r.triple(), schemas.PaymentStatus(r.Text())}
			})
		case 10:
			s.Settled = processors.ReadList(r.StateReader, func(x *settled) { *x = settled{r.Text(), r.Text(), r.Text()} })
		case 11:
			s.Payers = processors.ReadList(r.StateReader, func(p *payerAt) {
				p.At = r.triple()
				r.payer(&p.Payer)
			})
		case 12:
			s.Seen = processors.ReadList(r.StateReader, r.seen)
		case 13:
			s.Linked = processors.ReadList(r.StateReader, func(id *string) { *id = r.link(s.Payments) })
		case 14:
			s.Link = r.Text()
		case 15:
			s.Parked = processors.ReadList(r.StateReader, func(p *parked) {
				p.Since = r.Time()
				r.image(&p.Event)
			})
		case 16:
			s.Waiting = processors.ReadList(r.StateReader, r.waiting)
		case 17:
			s.Touched = r.Time()
		case 18:
			s.Removed = new(triple)
			*s.Removed = r.triple()
		case 19:
			s.Customer = &customerAt{r.triple(), r.Text()}
		default:
			r.Unknown(f)
		}
	}
}

// triple is how many triples ago it was written, or 0 and its parts.
func (w *stateWriter) triple(t triple) {
	for back := range min(w.triples.next, triplesKept) {
		if w.triples.at(back) == t {
			w.Uint(uint64(back + 1))
			return
		}
	}
	w.triples.note(t)
	w.Uint(0)
	w.Time(t.T)
	w.Int(t.S)
	w.Int(int64(t.R))
	w.Text(t.E)
}

func (r *stateReader) triple() triple {
	switch back := r.Uint(); {
	case back == 0:
		t := triple{T: r.Time(), S: r.Int(), R: int(r.Int()), E: r.Text()}
		r.triples.note(t)
		return t
	case back > uint64(min(r.triples.next, triplesKept)):
		r.Fail(errTriple)
		return triple{}
	default:
		return r.triples.at(int(back - 1))
	}
}

func (w *stateWriter) document(field byte, d *document) {
	if *d == (document{}) {
		return
	}
	w.Field(field)
	if d.Claim != nil {
		w.Field(1)
		w.triple(d.Claim.At)
		w.Text(string(d.Claim.Status))
	}
	w.sum(2, d.Amount)
	w.sum(3, d.Total)
	w.sum(4, d.Paid)
	w.End()
}

func (r *stateReader) document(d *document) {
	for f := r.Field(); f != 0; f = r.Field() {
		switch f {
		case 1:
			d.Claim = &claim{r.triple(), schemas.PaymentStatus(r.Text())}
		case 2:
			d.Amount = &sum{r.triple(), r.Text(), r.Text()}
		case 3:
			d.Total = &sum{r.triple(), r.Text(), r.Text()}
		case 4:
			d.Paid = &sum{r.triple(), r.Text(), r.Text()}
		default:
			r.Unknown(f)
		}
	}
}

func (w *stateWriter) sum(field byte, x *sum) {
	if x != nil {
		w.Field(field)
		w.triple(x.At)
		w.Text(x.Value)
		w.Text(x.Currency)
	}
}

func (w *stateWriter) entities(field byte, list []entity) {
	w.FieldList(field, len(list))
	for i := range list {
		x := &list[i]
		w.FieldText(1, x.ID)
		w.FieldText(2, x.Of)
		w.FieldList(3, len(x.Steps))
		for j := range x.Steps {
			w.step(&x.Steps[j])
		}
		w.End()
	}
}

func (r *stateReader) entity(x *entity) {
	for f := r.Field(); f != 0; f = r.Field() {
		switch f {
		case 1:
			x.ID = r.Text()
		case 2:
			x.Of = r.Text()
		case 3:
			x.Steps = processors.ReadList(r.StateReader, r.step)
		default:
			r.Unknown(f)
		}
	}
}

func (w *stateWriter) step(x *step) {
	w.triple(x.At)
	w.FieldText(1, string(x.Status))
	w.FieldText(2, x.Provider)
	w.FieldText(3, x.Amount)
	w.FieldText(4, x.Total)
	w.FieldText(5, x.Currency)
	w.End()
}

func (r *stateReader) step(x *step) {
	x.At = r.triple()
	for f := r.Field(); f != 0; f = r.Field() {
		switch f {
		case 1:
			x.Status = schemas.PaymentStatus(r.Text())
		case 2:
			x.Provider = r.Text()
		case 3:
			x.Amount = r.Text()
		case 4:
			x.Total = r.Text()
		case 5:
			x.Currency = r.Text()
		default:
			r.Unknown(f)
		}
	}
}

func (w *stateWriter) seen(x *seen) {
	w.Raw(x.Event[:])
	w.Raw(x.Fingerprint[:])
	w.Uint(uint64(len(x.Deliveries)))
	for i := range x.Deliveries {
		w.Raw(x.Deliveries[i][:])
	}
	w.Time(x.At)
}

func (r *stateReader) seen(x *seen) {
	r.Raw(x.Event[:])
	r.Raw(x.Fingerprint[:])
	if n, _ := r.Count(len(mark{})); n > 0 {
		if n > len(r.room) {
			r.room = make([]mark, max(n, marksRoom))
		}
		x.Deliveries, r.room = r.room[:n:n], r.room[n:]
		for i := range x.Deliveries {
			r.Raw(x.Deliveries[i][:])
		}
	}
	x.At = r.Time()
}

// linked are mostly ids of payments that are in the state: such an id is its place among them from 1; 0 leads a text.
func (w *stateWriter) linked(field byte, s *State) {
	w.FieldList(field, len(s.Linked))
	for _, id := range s.Linked {
		i, found := slices.BinarySearchFunc(s.Payments, id, func(x entity, id string) int { return strings.Compare(x.ID, id) })
		if found {
			w.Uint(uint64(i) + 1)
			continue
		}
		w.Uint(0)
		w.Text(id)
	}
}

func (r *stateReader) link(payments []entity) string {
	i := r.Uint()
	switch {
	case i == 0:
		return r.Text()
	case i > uint64(len(payments)):
		r.Fail(errLink)
		return ""
	}
	return payments[i-1].ID
}
