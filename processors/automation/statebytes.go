package automation

import (
	"fmt"

	"github.com/tillstream/tillstream/processors"
	"github.com/tillstream/tillstream/schemas"
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
	w := processors.NewStateWriterFor(formatCompact, words, s.bytesAbout())
	w.FieldList(1, len(s.Destinations))
	for i := range s.Destinations {
		writeDesired(w, &s.Destinations[i])
	}
	writeMarks(w, 2, s.Created)
	writeRuns(w, 3, s.Runs)
	writeRuns(w, 4, s.Correctables)
	writeMarks(w, 5, s.Done)
	writeMarks(w, 6, s.Orders)
	w.FieldInt(7, s.OrdersPaid)
	w.FieldList(8, len(s.History))
	for i := range s.History {
		writeHappened(w, &s.History[i])
	}
	w.FieldList(9, len(s.Statuses))
	for i := range s.Statuses {
		w.Raw(s.Statuses[i].Root[:])
		w.Text(s.Statuses[i].Text)
	}
	w.FieldList(10, len(s.Standings))
	for _, x := range s.Standings {
		w.Text(x.Destination)
		w.Text(x.List)
		w.Text(string(x.Standing))
		w.Time(x.At)
	}
	w.FieldList(11, len(s.Scheduled))
	for _, x := range s.Scheduled {
		w.Text(x.Workflow)
		w.Time(x.At)
	}
	w.FieldInt(12, s.Score)
	w.FieldFlag(13, s.OnlyTests)
	writeMarks(w, 20, s.Aliases)
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
			s.Created = readMarks(r)
		case 3:
			s.Runs = processors.ReadList(r, func(x *run) { readRun(r, x) })
		case 4:
			s.Correctables = processors.ReadList(r, func(x *run) { readRun(r, x) })
		case 5:
			s.Done = readMarks(r)
		case 6:
			s.Orders = readMarks(r)
		case 7:
			s.OrdersPaid = r.Int()
		case 8:
			s.History = processors.ReadList(r, func(h *happened) { readHappened(r, h) })
		case 9:
			s.Statuses = processors.ReadList(r, func(x *lastStatus) { r.Raw(x.Root[:]); x.Text = r.Text() })
		case 10:
			s.Standings = processors.ReadList(r, func(x *standing) {
				*x = standing{r.Text(), r.Text(), schemas.Standing(r.Text()), r.Time()}
			})
		case 11:
			s.Scheduled = processors.ReadList(r, func(x *scheduled) { *x = scheduled{r.Text(), r.Time()} })
		case 12:
			s.Score = r.Int()
		case 13:
			s.OnlyTests = true
		case 20:
			s.Aliases = readMarks(r)
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

// Bytes that parts of a state usually take.
const (
	bytesField  = 20
	bytesRun    = 400
	bytesOfPast = 100
	bytesMark   = len(mark{})
)

// bytesAbout is how many bytes the state takes, more or less.
func (s *State) bytesAbout() int {
	n := bytesRun*(len(s.Runs)+len(s.Correctables)) + bytesOfPast*len(s.History) + bytesMark*(len(s.Created)+len(s.Done)+len(s.Orders)+len(s.Aliases))
	for i := range s.Destinations {
		d := &s.Destinations[i]
		n += bytesOfPast + bytesField*(len(d.Fields)+len(d.Tags)+len(d.NoTags))
	}
	return n
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
