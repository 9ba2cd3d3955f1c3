package orders

import (
	"maps"
	"slices"

	"github.com/tillstream/tillstream/processors"
	"github.com/tillstream/tillstream/schemas"
)

func (w *stateWriter) payer(p *schemas.Payer) {
	for i, part := range payerParts(p) {
		w.FieldText(byte(i+1), *part)
	}
	w.End()
}

func (r *stateReader) payer(p *schemas.Payer) {
	parts := payerParts(p)
	for f := r.Field(); f != 0; f = r.Field() {
		if int(f) > len(parts) {
			r.Unknown(f)
			return
		}
		*parts[f-1] = r.Text()
	}
}

// payerParts are the parts of a payer by the number of their field, from 1. New ones go to the end.
func payerParts(p *schemas.Payer) [12]*string {
	a := &p.Address
	return [...]*string{
		&p.Email, &p.GivenName, &p.Surname, &p.FullName, &p.Phone, &p.PayerID,
		&a.Line1, &a.Line2, &a.City, &a.State, &a.PostalCode, &a.Country,
	}
}

func (w *stateWriter) waiting(x *waiting) {
	w.Time(x.At)
	w.FieldInt(1, x.Number)
	w.FieldText(2, string(x.Changed))
	w.FieldText(3, string(x.From))
	w.FieldText(4, string(x.To))
	w.FieldFlag(5, x.Legal)
	w.FieldText(6, x.Why)
	w.FieldFlag(7, x.Orphan)
	w.FieldText(8, x.Paid)
	w.FieldText(9, x.Refunded)
	w.FieldText(10, x.Currency)
	w.Field(11)
	w.image(&x.Event)
	w.End()
}

func (r *stateReader) waiting(x *waiting) {
	x.At = r.Time()
	for f := r.Field(); f != 0; f = r.Field() {
		switch f {
		case 1:
			x.Number = r.Int()
		case 2:
			x.Changed = schemas.Disposition(r.Text())
		case 3:
			x.From = schemas.PaymentStatus(r.Text())
		case 4:
			x.To = schemas.PaymentStatus(r.Text())
		case 5:
			x.Legal = true
		case 6:
			x.Why = r.Text()
		case 7:
			x.Orphan = true
		case 8:
			x.Paid = r.Text()
		case 9:
			x.Refunded = r.Text()
		case 10:
			x.Currency = r.Text()
		case 11:
			r.image(&x.Event)
		default:
			r.Unknown(f)
		}
	}
}

func (w *stateWriter) image(im *image) {
	w.FieldText(1, im.EventID)
	w.FieldText(2, string(im.Kind))
	w.FieldText(3, im.Provider)
	w.FieldText(4, string(im.Environment))
	w.FieldText(5, im.Connection)
	w.FieldText(6, im.Resource)
	w.FieldText(7, im.RootID)
	w.FieldText(8, im.EntityID)
	w.FieldList(9, len(im.Links))
	for _, l := range im.Links {
		w.Text(l[0])
		w.Text(l[1])
	}
	w.FieldText(10, im.EventType)
	w.FieldText(11, im.ProviderStatus)
	w.FieldText(12, string(im.Status))
	w.FieldTime(13, im.ProviderTime)
	w.FieldInt(14, im.Sequence)
	w.FieldTime(15, im.ReceivedAt)
	w.FieldTexts(16, im.DeliveryIDs)
	w.FieldText(17, string(im.Origin))
	w.amount(18, im.Amount)
	w.amount(19, im.RefundedTotal)
	if im.Payer != nil {
		w.Field(20)
		w.payer(im.Payer)
	}
	w.FieldText(21, im.CustomID)
	w.FieldText(22, im.InvoiceID)
	w.texts(23, im.Fields)
	w.FieldBytes(24, im.Body)
	w.FieldText(25, im.BodyHash)
	w.FieldText(26, im.Fingerprint)
	w.FieldFlag(27, im.Test)
	w.FieldText(28, im.Problem)
	w.texts(29, im.Headers)
	w.FieldFlag(30, im.Versioned)
	w.FieldFlag(31, im.Deleted)
	w.FieldText(32, im.ProblemCause)
	w.End()
}

func (w *stateWriter) texts(field byte, m map[string]string) {
	w.FieldList(field, len(m))
	for _, key := range slices.Sorted(maps.Keys(m)) {
		w.Text(key)
		w.Text(m[key])
	}
}

func (r *stateReader) texts() map[string]string {
	m := make(map[string]string)
	for n, _ := r.Count(2); n > 0 && !r.Failed(); n-- {
		key := r.Text()
		m[key] = r.Text()
	}
	return m
}

func (r *stateReader) image(im *image) {
	for f := r.Field(); f != 0; f = r.Field() {
		switch f {
		case 1:
			im.EventID = r.Text()
		case 2:
			im.Kind = schemas.EventKind(r.Text())
		case 3:
			im.Provider = r.Text()
		case 4:
			im.Environment = schemas.Environment(r.Text())
		case 5:
			im.Connection = r.Text()
		case 6:
			im.Resource = r.Text()
		case 7:
			im.RootID = r.Text()
		case 8:
			im.EntityID = r.Text()
		case 9:
			im.Links = processors.ReadList(r.StateReader, func(l *[2]string) { *l = [2]string{r.Text(), r.Text()} })
		case 10:
			im.EventType = r.Text()
		case 11:
			im.ProviderStatus = r.Text()
		case 12:
			im.Status = schemas.PaymentStatus(r.Text())
		case 13:
			im.ProviderTime = r.Time()
		case 14:
			im.Sequence = r.Int()
		case 15:
			im.ReceivedAt = r.Time()
		default:
			r.imageRest(f, im)
		}
	}
}

// imageRest reads the fields from 16 on.
func (r *stateReader) imageRest(f byte, im *image) {
	switch f {
	case 16:
		im.DeliveryIDs = r.Texts()
	case 17:
		im.Origin = schemas.Origin(r.Text())
	case 18:
		im.Amount = &schemas.Amount{Value: r.Text(), Currency: r.Text()}
	case 19:
		im.RefundedTotal = &schemas.Amount{Value: r.Text(), Currency: r.Text()}
	case 20:
		im.Payer = new(schemas.Payer)
		r.payer(im.Payer)
	case 21:
		im.CustomID = r.Text()
	case 22:
		im.InvoiceID = r.Text()
	case 23:
		im.Fields = r.texts()
	case 24:
		im.Body = r.Bytes()
	case 25:
		im.BodyHash = r.Text()
	case 26:
		im.Fingerprint = r.Text()
	case 27:
		im.Test = true
	case 28:
		im.Problem = r.Text()
	case 29:
		im.Headers = r.texts()
	case 30:
		im.Versioned = true
	case 31:
		im.Deleted = true
	case 32:
		im.ProblemCause = r.Text()
	default:
		r.Unknown(f)
	}
}

func (w *stateWriter) amount(field byte, a *schemas.Amount) {
	if a != nil {
		w.Field(field)
		w.Text(a.Value)
		w.Text(a.Currency)
	}
}
