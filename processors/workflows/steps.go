package workflows

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/tillstream/tillstream/processors/expressions"
	"github.com/tillstream/tillstream/processors/triggers"
)

// block compiles steps that follow each other, and then next. It returns where the block begins.
// Steps stand in the program in the order of the file, each before those of its branches.
func (c *compiler) block(field, id string, steps []FileStep, next int) int {
	begin := next
	for i := range steps {
		here, after := len(c.p.Steps), next
		if i == 0 {
			begin = here
		}
		if i+1 < len(steps) {
			after = here + steps[i].size(StepsMax)
		}
		c.step(fmt.Sprintf("%s[%d]", field, i), fmt.Sprintf("%s%d", id, i), &steps[i], after)
	}
	return begin
}

var stepID = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_-]*$`)

func (c *compiler) step(at, id string, f *FileStep, after int) {
	if f.ID != "" {
		if id = f.ID; !stepID.MatchString(id) || len(id) > NameBytesMax {
			c.report(at+".id", fmt.Sprintf("%.60q is no id", id), "a letter, then letters, digits, hyphens and underscores")
		}
	}
	if other, twice := c.ids[id]; twice {
		c.report(at+".id", fmt.Sprintf("%.60q is the id of %s, too", id, other), "give each step its own")
	}
	c.ids[id] = at
	here := len(c.p.Steps)
	c.p.Steps = append(c.p.Steps, Step{ID: id, Field: at, Next: End, Then: End, Else: End})
	s := Step{ID: id, Field: at, Next: after, Then: End, Else: End}
	does := f.does()
	switch {
	case len(does) == 0:
		c.report(at, "the step does nothing", "give it one of "+strings.Join(stepWords(), ", "))
	case len(does) > 1 && !slices.Equal(does, []string{"add_tags", "remove_tags"}):
		c.report(at, "the step does several things: "+strings.Join(does, " and "), "make a step of each")
	default:
		c.fill(&s, at, does[0], f)
		c.belongs(at, does[0], f)
	}
	// The blocks are compiled whatever the step is: their places were counted.
	begin := map[string]int{}
	for _, b := range f.branches() {
		next := after
		if b.key == "corrected" {
			next = End // what follows the wait was done when it counted as not met
		}
		begin[b.key] = c.block(at+"."+b.key, id+"."+b.key+".", b.steps, next)
	}
	switch s.Kind {
	case StepIf, StepOnList, StepHours:
		s.Next, s.Then, s.Else = End, begin["then"], begin["else"]
	case StepWaitFor:
		s.Next = End
		if s.WaitFor != nil {
			s.WaitFor.Met, s.WaitFor.NotMet, s.WaitFor.Corrected = begin["met"], begin["not_met"], begin["corrected"]
		}
	case StepMoveTo, StepStop:
		s.Next = End
	}
	c.p.Steps[here] = s
}

// stepWords are the keys of which a step has one, in the order of the documentation.
func stepWords() []string {
	return []string{
		"if", "on_list", "business_hours", "wait_for", "wait", "wait_until", "send_message", "move_to_list", "copy_to_list",
		"add_tags", "remove_tags", "set_field", "clear_field", "score", "start_automation", "track_event", "write_order",
		"write_recurring_payment", "notify", "move_to_workflow", "stop",
	}
}

// does lists which of them f has.
func (f *FileStep) does() []string {
	has := []bool{
		f.If != "", f.OnList != "", f.BusinessHours != nil, f.WaitFor != nil, f.Wait != "", f.WaitUntil != nil,
		f.SendMessage != "", f.MoveToList != nil, f.CopyToList != "", len(f.AddTags) > 0, len(f.RemoveTags) > 0,
		len(f.SetField) > 0, len(f.ClearField) > 0, f.Score != nil, f.StartAutomation != "", f.TrackEvent != nil,
		f.WriteOrder != nil, f.WriteRecurring != nil, f.Notify != nil, f.MoveToWorkflow != "", f.Stop,
	}
	var does []string
	for i, w := range stepWords() {
		if has[i] {
			does = append(does, w)
		}
	}
	return does
}

// belongs refuses keys that are another step's.
func (c *compiler) belongs(at, does string, f *FileStep) {
	is := func(words ...string) bool { return slices.Contains(words, does) }
	condition, elsewhere := is("if", "on_list", "business_hours"), !is("if", "business_hours", "wait", "wait_until", "notify", "move_to_workflow", "stop")
	c.foreign(at, does, []key{
		{"then", len(f.Then) > 0, condition, "conditions"},
		{"else", len(f.Else) > 0, condition, "conditions"},
		{"met", len(f.Met) > 0, is("wait_for"), "wait_for"},
		{"not_met", len(f.NotMet) > 0, is("wait_for"), "wait_for"},
		{"corrected", len(f.Corrected) > 0, is("wait_for"), "wait_for"},
		{"values", len(f.Values) > 0, is("send_message"), "send_message"},
		{"field", f.Field != "", is("score"), "score"},
		{"destination", f.Destination != "", elsewhere, "on_list and actions; notify names it in to"},
	})
	if condition && len(f.Then)+len(f.Else)+len(f.Met)+len(f.NotMet)+len(f.Corrected) == 0 {
		c.report(at, does+" has neither then nor else", "say what to do, or remove the step")
	}
}

// fill compiles what the step does.
func (c *compiler) fill(s *Step, at, does string, f *FileStep) {
	at += "." + does
	s.Kind = StepKind(does)
	switch does {
	case "if":
		if s.If = c.condition(at, f.If); s.If != nil {
			c.uses(s.If.Sources())
		}
	case "on_list":
		s.List, s.Destination = c.name(at, f.OnList, "a list"), orDefault(f.Destination, c.f.Destination)
		c.asks(at, s.Destination)
	case "business_hours":
		s.Hours = c.hours(at, f.BusinessHours)
	case "wait_for":
		s.WaitFor = c.waitFor(at, f)
	case "wait":
		s.Until = &Until{After: c.span(at, f.Wait, 0, SpanSecondsMin*time.Second)}
	case "wait_until":
		s.Kind, s.Until = StepWait, c.until(at, f.WaitUntil)
	case "move_to_workflow":
		s.Workflow = c.name(at, f.MoveToWorkflow, "a workflow")
		c.oneOf(at, f.MoveToWorkflow, "workflow", c.known.Workflows)
	case "stop":
	default:
		s.Kind, s.Action = StepAct, c.action(at, does, f)
		s.Destination = orDefault(f.Destination, c.f.Destination)
		if does == "notify" {
			s.Destination, at = f.Notify.To, at+".to"
		}
		if s.Destination == "" {
			c.report(at, "where to?", "name a destination at the head of the file, or in the step")
		} else {
			c.destination(at, s.Destination, s.Action.Kind)
		}
	}
}

func (c *compiler) waitFor(at string, step *FileStep) *WaitFor {
	f := *step.WaitFor
	f.On = orDefault(f.On, triggers.StatusChanged)
	if slices.Contains(noEvents(), f.On) {
		c.report(at+".on", f.On+" starts workflows and ends no wait", "wait for an event: "+strings.Join(c.triggers, ", "))
	} else {
		c.oneOf(at+".on", f.On, "trigger", c.triggers)
	}
	w := &WaitFor{
		Event: *c.event(at, f), If: c.condition(at+".if", f.If), List: f.List, Times: 1,
		Same:        word(c, at+".same", f.Same, ScopeOrder, ScopeOrder, ScopeSubscription, ScopeContact),
		Once:        word(c, at+".once", f.Once, "", ScopeContact, ScopeOrder, ScopeSubscription),
		Window:      c.span(at+".window", f.Window, 0, SpanSecondsMin*time.Second),
		LookBack:    c.span(at+".look_back", f.LookBack, 0, 0),
		Met:         End,
		NotMet:      End,
		Corrected:   End,
		NotMetAfter: 0, CorrectWithin: 0,
	}
	if f.NotMetAfter != Never {
		w.NotMetAfter = c.span(at+".not_met_after", f.NotMetAfter, NotMetAfterDefault, SpanSecondsMin*time.Second)
		w.CorrectWithin = c.span(at+".correct_within", f.CorrectWithin, CorrectWithinDefault, 0)
	} else if f.CorrectWithin != "" {
		c.report(at+".correct_within", "nothing is corrected where not_met_after is never", "remove one of the two")
	}
	if f.Times != nil {
		if w.Times = *f.Times; w.Times < 1 || w.Times > TimesMax {
			c.report(at+".times", fmt.Sprintf("%d is out of bounds", w.Times), fmt.Sprintf("from 1 to %d", TimesMax))
		}
	}
	if f.Window != "" && w.Times == 1 {
		c.report(at+".window", "one event needs no window", "say how many with times; how long to wait is not_met_after")
	}
	if f.List != "" {
		c.name(at+".list", f.List, "a list")
		w.Destination = orDefault(step.Destination, c.f.Destination)
		c.asks(at+".list", w.Destination)
	}
	return w
}

func (c *compiler) until(at string, f *FileUntil) *Until {
	u := &Until{Shift: c.span(at+".shift", f.Shift, 0, -SpanDaysMax*24*time.Hour)}
	n := 0
	for _, set := range []bool{f.Date != "", f.At != "" || len(f.Days) > 0, f.BusinessHours != nil} {
		if set {
			n++
		}
	}
	if n != 1 {
		c.report(at, "says until when in none or several ways", "give one of date, at, business_hours")
		return u
	}
	switch {
	case f.Date != "":
		u.Date, u.Zone = c.template(at+".date", f.Date, expressions.Plain), c.zone(at+".zone", f.Zone)
	case f.BusinessHours != nil:
		u.Open = c.hours(at+".business_hours", f.BusinessHours)
	default:
		d := c.daily(at, f.At, f.Days, f.Zone)
		u.Daily = &d
	}
	c.foreign(at, "this wait", []key{
		{"shift", f.Shift != "", f.Date != "", "date"}, {"zone", f.Zone != "", f.BusinessHours == nil, "date and at; business_hours has its own"},
	})
	return u
}

func (c *compiler) action(at, does string, f *FileStep) *Action {
	a := &Action{Kind: ActionKind(does)}
	switch does {
	case "send_message":
		a.Name = c.name(at, f.SendMessage, "a message")
		a.Values = c.values(strings.TrimSuffix(at, does)+"values", f.Values, "a value", expressions.HTML)
	case "move_to_list":
		a.Name, a.From = c.name(at+".to", f.MoveToList.To, "the list to join"), c.name(at+".from", f.MoveToList.From, "the list to leave")
		if a.Name == a.From && a.Name != "" {
			c.report(at+".to", "is the list that he leaves", "name two lists")
		}
	case "copy_to_list":
		a.Name = c.name(at, f.CopyToList, "a list")
	case "add_tags", "remove_tags":
		a.Kind = Tags
		at = strings.TrimSuffix(at, does)
		a.Add, a.Remove = c.names(at+"add_tags", f.AddTags, "a tag"), c.names(at+"remove_tags", f.RemoveTags, "a tag")
		for i, t := range f.RemoveTags {
			if slices.Contains(f.AddTags, t) {
				c.report(fmt.Sprintf("%sremove_tags[%d]", at, i), fmt.Sprintf("%.60q is added and removed", t), "keep one of the two")
			}
		}
	case "set_field":
		a.Fields = c.values(at, f.SetField, "a field", expressions.Plain)
	case "clear_field":
		for _, n := range c.names(at, f.ClearField, "a field") {
			a.Fields = append(a.Fields, FieldValue{Name: n})
		}
		slices.SortFunc(a.Fields, func(x, y FieldValue) int { return strings.Compare(x.Name, y.Name) })
	case "score":
		if f.Field != "" {
			c.name(strings.TrimSuffix(at, does)+"field", f.Field, "a field")
		}
		if a.Score, a.Name = *f.Score, f.Field; a.Score == 0 || a.Score > ScoreMax || a.Score < -ScoreMax {
			c.report(at, fmt.Sprintf("%d is out of bounds", a.Score), fmt.Sprintf("from 1 to %d, or as much below zero", ScoreMax))
		}
	case "start_automation":
		a.Name = c.name(at, f.StartAutomation, "an automation")
	case "track_event":
		a.Name, a.Data = c.name(at+".name", f.TrackEvent.Name, "the event's name"), c.template(at+".data", f.TrackEvent.Data, expressions.Plain)
	case "write_order":
		a.Shop = c.name(at+".shop", f.WriteOrder.Shop, "the shop")
	case "write_recurring_payment":
		a.Shop = c.name(at+".shop", f.WriteRecurring.Shop, "the shop")
	case "notify":
		a.Name, a.Data = c.name(at+".event", f.Notify.Event, "the event type"), c.template(at+".body", f.Notify.Body, expressions.JSON)
		c.body(at+".body", f.Notify.Body)
	}
	return a
}

// values compiles texts with values, sorted by name. An empty text is refused: it would wipe what is there.
func (c *compiler) values(field string, texts map[string]string, what string, e expressions.Escape) []FieldValue {
	if len(texts) > EntriesMax {
		c.report(field, fmt.Sprintf("has %d entries, more than %d", len(texts), EntriesMax), "")
		return nil
	}
	var list []FieldValue
	for _, name := range slices.Sorted(maps.Keys(texts)) {
		at := field + "." + name
		c.name(at, name, what)
		if texts[name] == "" {
			c.report(at, "is empty", "clear_field empties a field")
			continue
		}
		list = append(list, FieldValue{name, c.template(at, texts[name], e)})
	}
	return list
}

// tag is a value within a text, as package expressions reads it.
var tag = regexp.MustCompile(`\{\{[^{}]*\}\}`)

// body insists on JSON whatever the values are: each must stand inside a string.
func (c *compiler) body(field, text string) {
	if text != "" && !json.Valid([]byte(tag.ReplaceAllString(text, "x"))) {
		c.report(field, "is no JSON text", `put names and texts, and each {{ value }}, inside quotes: {"order": "{{ order.id }}"}`)
	}
}

func orDefault(text, def string) string {
	if text != "" {
		return text
	}
	return def
}
