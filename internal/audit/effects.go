package audit

import (
	"maps"
	"slices"
	"strings"
)

// Happened is one start on an automation, message, or place on a list, of one person.
type Happened struct{ Email, Name string }

// Promise is what a workflow says: every order whose status becomes On has Message sent to its customer, once; none
// that was ever Unless.
type Promise struct{ Message, On, Unless string }

// TemplatePromises are those of the workflows in the configuration that 'tillstream dev' writes.
var TemplatePromises = []Promise{{"Thank you", "PAID", ""}, {"Payment problem", "FAILED", ""}, {"Payment still open", "FAILED", "PAID"}}

// correctionsFrom: the steps of a correction are counted from here on, beside those of its run.
const correctionsFrom = 1 << 20

// bounds are how often something must and may have happened.
type bounds struct{ least, most int }

// runs: every step of a run is there once, each wait has one end, and each effect of a workflow has the step that made it.
func (r *Report) runs(in *Inside) {
	type run struct {
		numbers map[int64]bool
		last    InsideStep
		over    bool
	}
	runs, waits, made, asked := map[string]*run{}, map[string][]string{}, map[string]int{}, map[string]bool{}
	for _, s := range in.Steps {
		one := runs[s.RunID]
		if one == nil {
			one = &run{numbers: map[int64]bool{}}
			runs[s.RunID] = one
		}
		if one.numbers[s.Number] {
			r.doubled("step %d of run %s", s.Number, s.RunID)
		}
		one.numbers[s.Number] = true
		one.over = one.over || s.Kind == "ENDED" && s.Number < correctionsFrom || s.Kind == "STOPPED"
		if s.Number < correctionsFrom && s.Number > one.last.Number {
			one.last = s
		}
		if s.WaitID != "" {
			waits[s.WaitID] = append(waits[s.WaitID], s.Kind)
		}
		if s.CommandID != "" && s.Kind == "ACTION" {
			made[s.CommandID]++
		}
		asked[s.CommandID] = asked[s.CommandID] || s.Kind == "ASKED"
	}
	for _, id := range slices.Sorted(maps.Keys(runs)) {
		one := runs[id]
		for n := int64(1); n < one.last.Number; n++ {
			if !one.numbers[n] {
				r.lost("step %d of run %s", n, id)
			}
		}
		if one.last.Kind != "NOT_STARTED" {
			r.Runs++
		}
		if one.last.Kind == "ASKED" && in.FinalDeliveries[one.last.CommandID] > 0 {
			r.lost("the answer that run %s waits for", id)
		}
	}
	for _, s := range in.Steps {
		if s.WaitID != "" && s.Kind == "WAIT_OPENED" {
			r.wait(s.WaitID, waits[s.WaitID], runs[s.RunID].over)
		}
	}
	if in.Steps != nil {
		r.traced(in, made, asked)
	}
}

// wait counts one wait by its steps.
func (r *Report) wait(id string, steps []string, over bool) {
	count := map[string]int{}
	for _, kind := range steps {
		count[kind]++
	}
	switch ends := count["WAIT_MET"] + count["WAIT_NOT_MET"]; {
	case count["WAIT_OPENED"] > 1:
		r.doubled("wait %s was opened %d times", id, count["WAIT_OPENED"])
	case ends > 1 || count["WAIT_CORRECTED"] > 1:
		r.doubled("wait %s ended %d times and was corrected %d times", id, ends, count["WAIT_CORRECTED"])
	case ends == 0 && count["WAIT_CORRECTED"] > 0:
		r.lost("the end of wait %s, which was corrected", id)
	case count["WAIT_MET"] == 1 && count["WAIT_CORRECTED"] > 0:
		r.doubled("wait %s was met, and corrected", id)
	case count["WAIT_MET"] == 1:
		r.WaitsMet++
	case count["WAIT_NOT_MET"] == 1:
		r.WaitsNotMet++
	case !over:
		r.WaitsOpen++
	}
}

// traced holds the commands of runs against the steps that made them.
func (r *Report) traced(in *Inside, made map[string]int, asked map[string]bool) {
	commands := map[string]bool{}
	for _, c := range in.Commands {
		commands[c.ID] = true
		if c.Kind == "QUESTION" {
			r.Questions++
		}
		if c.RunID == "" {
			continue
		}
		switch n := made[c.ID]; {
		case c.Kind == "EFFECT" && n == 0:
			r.lost("the step that made effect %s of run %s", c.ID, c.RunID)
		case c.Kind == "EFFECT" && n > 1:
			r.doubled("effect %s was made by %d steps", c.ID, n)
		case c.Kind == "QUESTION" && !asked[c.ID]:
			r.lost("the step that asked question %s of run %s", c.ID, c.RunID)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(made)) {
		if !commands[id] {
			r.lost("command %s, which a run's step made", id)
		}
	}
}

// effects: each message was sent, each automation started and each order written as often as was asked for.
func (r *Report) effects(out Outside, in *Inside) {
	starts, messages, written := map[Happened]bounds{}, map[Happened]bounds{}, map[string]bool{}
	for _, c := range in.Commands {
		if c.Kind != "EFFECT" {
			continue
		}
		one := Happened{c.Email, c.Name}
		switch c.Type {
		case "SEND_MESSAGE":
			in.count(messages, one, c.ID)
			if out.MessagesStart {
				in.count(starts, one, c.ID)
			}
		case "START_AUTOMATION":
			in.count(starts, one, c.ID)
			if b := messages[one]; out.MessagesStart { // it may send one, too
				messages[one] = bounds{b.least, b.most + 1}
			}
		case "WRITE_ORDER", "WRITE_RECURRING_PAYMENT":
			written[c.Name] = written[c.Name] || in.happened(c.ID)
		}
	}
	r.Messages = len(out.Messages)
	r.within("automation", out.Starts, starts)
	r.within("message", out.Messages, messages)
	held := map[string]int{}
	for _, id := range out.Written {
		held[id]++
	}
	for _, id := range slices.Sorted(maps.Keys(written)) {
		switch n := held[id]; {
		case n == 0 && written[id]:
			r.lost("order %s was not written at the CRM", id)
		case n > 1:
			r.doubled("order %s is %d times at the CRM", id, n)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(held)) {
		if _, asked := written[id]; !asked {
			r.doubled("order %s at the CRM, which no effect asked for", id)
		}
	}
}

// happened: the command is known to have been carried out.
func (in *Inside) happened(id string) bool {
	return in.FinalDeliveries[id] > 0 && !in.Uncertain[id] && !in.Rejected[id]
}

// count adds one effect: a rejected one did not happen, an uncertain one, and one without an end, may have.
func (in *Inside) count(into map[Happened]bounds, one Happened, id string) {
	b := into[one]
	if in.happened(id) {
		b.least++
	}
	if !in.Rejected[id] {
		b.most++
	}
	into[one] = b
}

// within holds what happened against how often it must and may have.
func (r *Report) within(what string, list []Happened, want map[Happened]bounds) {
	got := map[Happened]int{}
	for _, h := range list {
		got[Happened{strings.ToLower(h.Email), h.Name}]++
	}
	for h, n := range got {
		if b := want[h]; n > b.most {
			r.doubled("%s %q of %s: %d times at the CRM, and %d were asked for", what, h.Name, mask(h.Email), n, b.most)
		}
	}
	for h, b := range want {
		if n := got[h]; n < b.least {
			r.lost("%s %q of %s: %d times at the CRM, and %d were asked for", what, h.Name, mask(h.Email), n, b.least)
		}
	}
}

// The places that a contact may have on a list, by the effects that were carried out.
const (
	unasked = iota
	on
	off
	either // an effect whose outcome is not known
)

// lists: each contact is on the lists that the last effect about them says, and on no other.
func (r *Report) lists(out Outside, in *Inside) {
	want := map[Happened]int{}
	for _, s := range out.Subscribed {
		want[Happened{strings.ToLower(s.Email), s.Name}] = on
	}
	for _, c := range in.Commands {
		if c.Kind != "EFFECT" || c.Type != "ADD_TO_LIST" && c.Type != "MOVE_TO_LIST" || in.Rejected[c.ID] {
			continue
		}
		to, from := on, off
		if !in.happened(c.ID) {
			to, from = either, either
		} else {
			r.ListChanges++
		}
		if c.From != "" {
			want[Happened{c.Email, c.From}] = from
		}
		want[Happened{c.Email, c.Name}] = to
	}
	got := map[Happened]bool{}
	for _, c := range out.Contacts {
		for _, list := range c.Lists {
			h := Happened{strings.ToLower(c.Email), list}
			got[h] = true
			switch want[h] {
			case unasked:
				r.doubled("contact %s is on the list %s, and no effect asked for that", mask(h.Email), list)
			case off:
				r.lost("contact %s is still on the list %s", mask(h.Email), list)
			}
		}
	}
	for h, place := range want {
		if place == on && !got[h] {
			r.lost("contact %s is not on the list %s", mask(h.Email), h.Name)
		}
	}
}

// promises: whoever should have got a message, by what was sent, got it once for each of his orders. An order that was
// On on its way to another status may have been seen so, or not: its events may have come in another order.
func (r *Report) promises(out Outside, roots map[string]*root, in *Inside) {
	for _, p := range out.Promises {
		want := map[Happened]bounds{}
		add := func(email, final string, was map[string]bool) {
			h := Happened{strings.ToLower(email), p.Message}
			b := want[h]
			switch {
			case email == "" || !was[p.On]:
				return
			case final == p.On && !was[p.Unless]:
				b.least++
			}
			b.most++
			want[h] = b
		}
		for _, o := range roots {
			if !o.subscription {
				add(o.email, o.status(), o.was())
			}
		}
		for _, o := range out.Orders {
			add(o.Email, o.Status, passed(o.Status))
		}
		for _, c := range in.Commands { // a refusal is told; it is no loss
			h := Happened{c.Email, c.Name}
			if b, known := want[h]; known && c.Type == "SEND_MESSAGE" && !in.happened(c.ID) {
				want[h] = bounds{b.least - 1, b.most}
			}
		}
		var sent []Happened
		for _, m := range out.Messages {
			if m.Name == p.Message {
				sent = append(sent, m)
			}
		}
		r.within("promised message", sent, want)
	}
}

// passed are the statuses that a shop's order may have had, by its last one.
func passed(final string) map[string]bool {
	was := map[string]bool{final: true}
	switch final {
	case "PARTIALLY_REFUNDED", "REFUNDED", "DISPUTED", "CHARGED_BACK":
		was["PAID"], was["FAILED"] = true, true
	case "PAID", "CANCELLED", "EXPIRED", "VOIDED":
		was["FAILED"] = true // and mended, or given up
	}
	return was
}
