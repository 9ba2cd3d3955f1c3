package automation

import (
	"github.com/tillstream/tillstream/processors"
	"github.com/tillstream/tillstream/schemas"
)

func writeMarks(w *processors.StateWriter, number byte, list []mark) {
	w.FieldList(number, len(list))
	for i := range list {
		w.Raw(list[i][:])
	}
}

func readMarks(r *processors.StateReader) []mark {
	return processors.ReadList(r, func(m *mark) { r.Raw(m[:]) })
}

func writeRuns(w *processors.StateWriter, number byte, list []run) {
	w.FieldList(number, len(list))
	for i := range list {
		writeRun(w, &list[i])
	}
}

func writeRun(w *processors.StateWriter, x *run) {
	w.FieldText(1, x.ID)
	w.FieldText(2, x.Workflow)
	w.FieldText(3, x.Version)
	w.FieldText(4, x.Root)
	w.FieldText(5, x.Event)
	w.FieldText(6, string(x.Origin))
	w.FieldFlag(7, x.Test)
	w.FieldInt(8, x.Steps)
	w.FieldText(9, x.Step)
	w.FieldInt(10, x.Waits)
	w.FieldTime(11, x.Since)
	w.FieldTime(12, x.Deadline)
	w.FieldList(13, len(x.Seen))
	for _, at := range x.Seen {
		w.Time(at)
	}
	w.FieldList(14, len(x.Asked))
	for i := range x.Asked {
		q := &x.Asked[i]
		w.Text(q.Command)
		w.Time(q.Until)
		w.Text(q.Event)
		writeFields(w, 1, q.Values)
		w.FieldTime(2, q.At)
		w.End()
	}
	writeFields(w, 15, x.Values)
	writeMarks(w, 16, x.Used)
	w.End()
}

func readRun(r *processors.StateReader, x *run) {
	for f := r.Field(); f != 0; f = r.Field() {
		switch f {
		case 1:
			x.ID = r.Text()
		case 2:
			x.Workflow = r.Text()
		case 3:
			x.Version = r.Text()
		case 4:
			x.Root = r.Text()
		case 5:
			x.Event = r.Text()
		case 6:
			x.Origin = schemas.Origin(r.Text())
		case 7:
			x.Test = true
		case 8:
			x.Steps = r.Int()
		case 9:
			x.Step = r.Text()
		case 10:
			x.Waits = r.Int()
		case 11:
			x.Since = r.Time()
		case 12:
			x.Deadline = r.Time()
		case 13:
			x.Seen = processors.ReadList(r, func(at *int64) { *at = r.Time() })
		case 14:
			x.Asked = processors.ReadList(r, func(q *question) { readQuestion(r, q) })
		case 15:
			x.Values = readFields(r)
		case 16:
			x.Used = readMarks(r)
		default:
			r.Unknown(f)
		}
	}
}

func readQuestion(r *processors.StateReader, q *question) {
	q.Command, q.Until, q.Event = r.Text(), r.Time(), r.Text()
	for f := r.Field(); f != 0; f = r.Field() {
		switch f {
		case 1:
			q.Values = readFields(r)
		case 2:
			q.At = r.Time()
		default:
			r.Unknown(f)
		}
	}
}

func writeFields(w *processors.StateWriter, number byte, list []field) {
	w.FieldList(number, len(list))
	for _, f := range list {
		w.Text(f.Name)
		w.Text(f.Value)
	}
}

func readFields(r *processors.StateReader) []field {
	return processors.ReadList(r, func(f *field) { *f = field{r.Text(), r.Text()} })
}

func writeHappened(w *processors.StateWriter, h *happened) {
	for i, text := range []string{h.Root, h.Event, h.Type, h.Connection, h.From, h.To, h.Text, h.Environment, h.Provider, h.Amount, h.Currency} {
		w.FieldText(byte(i+1), text)
	}
	w.FieldFlag(12, h.Created)
	w.FieldFlag(13, h.Changed)
	w.FieldFlag(14, h.Subscription)
	w.FieldTime(15, h.At)
	w.FieldFlag(16, h.Test)
	w.FieldFlag(17, h.SameText)
	w.End()
}

func readHappened(r *processors.StateReader, h *happened) {
	texts := []*string{&h.Root, &h.Event, &h.Type, &h.Connection, &h.From, &h.To, &h.Text, &h.Environment, &h.Provider, &h.Amount, &h.Currency}
	for f := r.Field(); f != 0; f = r.Field() {
		switch {
		case int(f) <= len(texts):
			*texts[f-1] = r.Text()
		case f == 12:
			h.Created = true
		case f == 13:
			h.Changed = true
		case f == 14:
			h.Subscription = true
		case f == 15:
			h.At = r.Time()
		case f == 16:
			h.Test = true
		case f == 17:
			h.SameText = true
		default:
			r.Unknown(f)
		}
	}
}
