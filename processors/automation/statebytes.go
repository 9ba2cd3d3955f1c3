package automation

import (
	"fmt"

	"github.com/tillstream/tillstream/processors"
)

// The versions of the format. Version 1 was JSON; its states are read for ever, and become version 2 when they change.
const (
	formatJSON    = 1
	formatCompact = 2
)

// stateName names the state in errors.
const stateName = "the state of a contact"

// words are what contacts often hold.
var words = processors.NewWords("paypal-integration", "paypal-integration-Billing_Subscription_Events", "paypal-integration-CHECKOUT.ORDER.APPROVED")

// Encode implements processors.Stage: see processors.StateWriter for the form of the bytes.
func (*Stage) Encode(s State) ([]byte, error) {
	w := processors.NewStateWriter(formatCompact, words)
	w.FieldList(1, len(s.Destinations))
	for i := range s.Destinations {
		writeDesired(w, &s.Destinations[i])
	}
	w.FieldList(2, len(s.Created))
	for i := range s.Created {
		w.Raw(s.Created[i][:])
	}
	w.FieldList(20, len(s.Aliases))
	for i := range s.Aliases {
		w.Raw(s.Aliases[i][:])
	}
	w.FieldText(21, s.Contact)
	w.FieldTexts(22, s.Links)
	return w.Bytes(), nil
}

// Decode implements processors.Stage.
func (*Stage) Decode(b []byte) (State, error) {
	if len(b) > 0 && b[0] == '{' {
		return decodeJSON(b)
	}
	var s State
	r := processors.NewStateReader(b, formatCompact, words)
	for f := r.Field(); f != 0; f = r.Field() {
		switch f {
		case 1:
			s.Destinations = processors.ReadList(r, func(d *desired) { readDesired(r, d) })
		case 2:
			s.Created = processors.ReadList(r, func(m *mark) { r.Raw(m[:]) })
		case 20:
			s.Aliases = processors.ReadList(r, func(m *mark) { r.Raw(m[:]) })
		case 21:
			s.Contact = r.Text()
		case 22:
			s.Links = r.Texts()
		default:
			r.Unknown(f)
		}
	}
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

func writeDesired(w *processors.StateWriter, d *desired) {
	w.FieldText(1, d.Name)
	w.FieldInt(2, d.Version)
	w.FieldText(3, d.Email)
	w.FieldText(4, d.First)
	w.FieldText(5, d.Last)
	w.FieldText(6, d.Phone)
	w.FieldList(7, len(d.Fields))
	for _, f := range d.Fields {
		w.Text(f.Name)
		w.Text(f.Value)
	}
	w.FieldTexts(8, d.Tags)
	w.FieldTexts(9, d.NoTags)
	w.End()
}

func readDesired(r *processors.StateReader, d *desired) {
	for f := r.Field(); f != 0; f = r.Field() {
		switch f {
		case 1:
			d.Name = r.Text()
		case 2:
			d.Version = r.Int()
		case 3:
			d.Email = r.Text()
		case 4:
			d.First = r.Text()
		case 5:
			d.Last = r.Text()
		case 6:
			d.Phone = r.Text()
		case 7:
			d.Fields = processors.ReadList(r, func(f *field) { *f = field{r.Text(), r.Text()} })
		case 8:
			d.Tags = r.Texts()
		case 9:
			d.NoTags = r.Texts()
		default:
			r.Unknown(f)
		}
	}
}
