package workflows_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"github.com/tillstream/tillstream/processors/workflows"
)

const (
	begin  = "destination: crm\nstart: [{on: payment-status-changed, status: [PAID]}]\n"
	action = "steps: [{add_tags: [x]}]\n"
)

// Every refusal, with its place and what it says.
func TestProblems(t *testing.T) {
	for _, test := range []struct{ name, file, field, message, hint string }{
		{"no start", "destination: crm\nstart: []\n" + action, "start", "a workflow needs at least one start", "on: payment-status-changed"},
		{"unknown trigger", "start: [{on: payment-status-change}]", "start[0].on", `"payment-status-change" is no known trigger`, "did you mean payment-status-changed?"},
		{"key of another trigger", "start: [{on: order-placed, tag: vip}]", "start[0].tag", "order-placed has no tag", "tag-added"},
		{"status of another trigger", "start: [{on: order-placed, status: [PAID]}]", "start[0].status", "order-placed has no status", "payment-status-changed"},
		{"events of a schedule", "start: [{on: schedule, at: 09:00, events: [A]}]", "start[0].events", "schedule has no events", "remove it"},
		{"status of a tag", "destination: crm\nstart: [{on: tag-added, tag: vip, status: [PAID]}]", "start[0].status", "tag-added has no status", "payment-status-changed"},
		{"history of a schedule", "start: [{on: schedule, at: 09:00, history: true}]", "start[0].history", "schedule has no history", "events"},
		{"at of an event", "start: [{on: order-placed, at: 09:00}]", "start[0].at", "order-placed has no at", "schedule"},
		{"no tag", "destination: crm\nstart: [{on: tag-added}]", "start[0].tag", "the tag must not be empty", "name"},
		{"schedules with several conditions", "start: [{on: schedule, at: 09:00}, {on: schedule, at: 10:00, if: contact.orders > 1}]", "start[1]", "has another if or list than start[0]", "a file of each"},
		{"tag of nobody", "start: [{on: tag-added, tag: vip}]", "start[0].tag", "whose tag?", "destination"},
		{"moved here twice", "start: [{on: moved-here}, {on: moved-here}]", "start[1]", "a second moved-here beside start[0]", "||"},
		{"unknown connection", "start: [{on: order-placed, connections: [papal-eu]}]", "start[0].connections[0]", `"papal-eu" is no known connection`, "did you mean paypal-eu?"},
		{"from is ours only", "start: [{on: payment-status-changed, from: [PAYED]}]", "start[0].from[0]", `"PAYED" is no known status`, "did you mean PAID?"},
		{"star in the middle", "start: [{on: order-placed, events: [A*B]}]", "start[0].events[0]", "no event type", "one * at the end"},
		{"unknown environment", "start: [{on: order-placed, environment: test}]", "start[0].environment", `"test" is not allowed`, "live, sandbox"},
		{"status twice", "start: [{on: payment-status-changed, status: [PAID, PAID]}]", "start[0].status[1]", `"PAID" is there twice`, "remove"},
		{"start on a list of nobody", "start: [{on: order-placed, list: news}]", "start[0].list", "which destination's list?", "head of the file"},
		{"bad condition of a start", "start: [{on: order-placed, if: 'order.amunt > 1'}]", "start[0].if", "order.amount", ""},

		{"unknown destination", "destination: crn\nstart: [{on: order-placed}]", "destination", `"crn" is no known destination`, "did you mean crm?"},
		{"mode", "mode: on\nstart: [{on: order-placed}]", "mode", `"on" is not allowed`, "live, shadow, off"},
		{"open runs", "open_runs: drop\nstart: [{on: order-placed}]", "open_runs", `"drop" is not allowed`, "keep, move"},
		{"once", "once: payer\nstart: [{on: order-placed}]", "once", `"payer" is not allowed`, "contact, order, subscription"},
		{"zone", "zone: Europe/Berlim\nstart: [{on: order-placed}]", "zone", `"Europe/Berlim" is no time zone`, "Europe/Berlin"},
		{"zone of a start", "start: [{on: schedule, at: 09:00, zone: Mars/Base}]", "start[0].zone", `"Mars/Base" is no time zone`, "Europe/Berlin"},
		{"time of day", "start: [{on: schedule, at: 9am}]", "start[0].at", `"9am" is no time of day`, "09:00"},
		{"short time of day", "start: [{on: schedule, at: '9:00'}]", "start[0].at", `"9:00" is no time of day`, "09:00"},
		{"day", "start: [{on: schedule, at: 09:00, days: [mondey]}]", "start[0].days[0]", `"mondey" is no known day of the week`, "did you mean monday?"},

		{"step does nothing", begin + "steps: [{id: a}]", "steps[0]", "the step does nothing", "send_message"},
		{"step does two things", begin + "steps: [{send_message: a, copy_to_list: b}]", "steps[0]", "several things: send_message and copy_to_list", "a step of each"},
		{"condition beside an action", begin + "steps: [{if: order.amount > 1, send_message: a}]", "steps[0]", "several things: if and send_message", "a step of each"},
		{"then without a condition", begin + "steps: [{send_message: a, then: [{stop: true}]}]", "steps[0].then", "send_message has no then", "conditions"},
		{"met without a wait", begin + "steps: [{if: order.amount > 1, met: [{stop: true}]}]", "steps[0].met", "if has no met", "wait_for"},
		{"neither then nor else", begin + "steps: [{on_list: news}]", "steps[0]", "on_list has neither then nor else", "remove"},
		{"values of another", begin + "steps: [{copy_to_list: a, values: {b: c}}]", "steps[0].values", "copy_to_list has no values", "send_message"},
		{"field of another", begin + "steps: [{copy_to_list: a, field: b}]", "steps[0].field", "copy_to_list has no field", "score"},
		{"destination of a wait", begin + "steps: [{wait: 1d, destination: crm}]", "steps[0].destination", "wait has no destination", "actions"},
		{"deep place", begin + "steps: [{stop: true}, {wait_for: {}, met: [{if: order.amount > 1, then: [{send_message: '{{ x }}'}]}]}]", "steps[1].met[0].then[0].send_message", "can't hold a value", "values"},

		{"id", begin + "steps: [{id: 1st, stop: true}]", "steps[0].id", `"1st" is no id`, "a letter"},
		{"id twice", begin + "steps: [{id: a, wait: 1d}, {wait_for: {}, met: [{id: a, stop: true}]}]", "steps[1].met[0].id", `"a" is the id of steps[0], too`, "its own"},

		{"unknown workflow", begin + "steps: [{move_to_workflow: recovry}]", "steps[0].move_to_workflow", `"recovry" is no known workflow`, "did you mean recovery?"},
		{"destination that can't", begin + "steps: [{send_message: a, destination: warehouse}]", "steps[0].send_message", "warehouse can't do send_message", "give one that can: crm"},
		{"list of who can't", begin + "steps: [{on_list: a, destination: warehouse, then: [{stop: true}]}]", "steps[0].on_list", "warehouse can't do on_list", "crm, second-crm"},
		{"action to nobody", "start: [{on: order-placed}]\n" + action, "steps[0].add_tags", "where to?", "head of the file"},
		{"unknown destination of a step", begin + "steps: [{send_message: a, destination: crn}]", "steps[0].send_message", `"crn" is no known destination`, "did you mean crm?"},
		{"notify nobody", begin + "steps: [{notify: {to: werehouse, event: a}}]", "steps[0].notify.to", `"werehouse" is no known destination`, "did you mean warehouse?"},
		{"notify a CRM", begin + "steps: [{notify: {to: second-crm, event: a}}]", "steps[0].notify.to", "second-crm can't do notify", "warehouse"},
		{"notify nothing", begin + "steps: [{notify: {to: warehouse, event: ''}}]", "steps[0].notify.event", "the event type must not be empty", ""},
		{"body", begin + "steps: [{notify: {to: warehouse, event: a, body: '{\"a\": {{ order.amount }}}'}}]", "steps[0].notify.body", "is no JSON text", "inside quotes"},

		{"move to the same list", begin + "steps: [{move_to_list: {from: a, to: a}}]", "steps[0].move_to_list.to", "is the list that he leaves", "two lists"},
		{"move from nowhere", begin + "steps: [{move_to_list: {to: a}}]", "steps[0].move_to_list.from", "the list to leave must not be empty", "name"},
		{"tag added and removed", begin + "steps: [{add_tags: [a], remove_tags: [a]}]", "steps[0].remove_tags[0]", `"a" is added and removed`, "one of the two"},
		{"empty tag", begin + "steps: [{add_tags: ['']}]", "steps[0].add_tags[0]", "a tag must not be empty", "name"},
		{"empty field", begin + "steps: [{set_field: {A: ''}}]", "steps[0].set_field.A", "is empty", "clear_field"},
		{"unknown value", begin + "steps: [{set_field: {A: '{{ order.amunt }}'}}]", "steps[0].set_field.A", "order.amunt", ""},
		{"a value as default", begin + "steps: [{set_field: {A: '{{ order.number | default order.id }}'}}]", "steps[0].set_field.A", `would write "order.id" as it stands`, "quotes"},
		{"unknown function", begin + "steps: [{send_message: m, values: {A: '{{ order.amount | mony }}'}}]", "steps[0].values.A", "mony", ""},
		{"score", begin + "steps: [{score: 0}]", "steps[0].score", "0 is out of bounds", "1000000"},
		{"shop", begin + "steps: [{write_order: {shop: ''}}]", "steps[0].write_order.shop", "the shop must not be empty", "name"},
		{"long name", begin + "steps: [{send_message: " + strings.Repeat("m", 201) + "}]", "steps[0].send_message", "longer than 200 bytes", ""},

		{"wait", begin + "steps: [{wait: 3 days}]", "steps[0].wait", `"3 days" is no duration`, "3d"},
		{"wait nothing", begin + "steps: [{wait: 0}]", "steps[0].wait", "0 is out of bounds", "from 1s to 400d"},
		{"wait too long", begin + "steps: [{wait: 401d}]", "steps[0].wait", "401d is out of bounds", "400d"},
		{"wait beyond numbers", begin + "steps: [{wait: 99999999999999999999w}]", "steps[0].wait", "too long a time", "3d"},
		{"until twice", begin + "steps: [{wait_until: {at: 09:00, business_hours: {from: 09:00, to: 10:00}}}]", "steps[0].wait_until", "none or several ways", "one of date, at, business_hours"},
		{"until never", begin + "steps: [{wait_until: {zone: UTC}}]", "steps[0].wait_until", "none or several ways", "one of"},
		{"days without a time", begin + "steps: [{wait_until: {days: [monday]}}]", "steps[0].wait_until.at", `"" is no time of day`, "09:00"},
		{"shift of a time of day", begin + "steps: [{wait_until: {at: 09:00, shift: 1d}}]", "steps[0].wait_until.shift", "has no shift", "date"},
		{"hours backwards", begin + "steps: [{business_hours: {from: '17:00', to: '09:00'}, then: [{stop: true}]}]", "steps[0].business_hours.to", "end before they begin", "two steps"},
		{"hours without an end", begin + "steps: [{business_hours: {from: '17:00'}, then: [{stop: true}]}]", "steps[0].business_hours.to", `"" is no time of day`, "17:30"},

		{"wait for a tag", begin + "steps: [{wait_for: {on: tag-added}}]", "steps[0].wait_for.on", "tag-added starts workflows and ends no wait", "order-placed"},
		{"wait for nothing known", begin + "steps: [{wait_for: {on: payed}}]", "steps[0].wait_for.on", `"payed" is no known trigger`, ""},
		{"same", begin + "steps: [{wait_for: {same: payer}}]", "steps[0].wait_for.same", `"payer" is not allowed`, "order, subscription, contact"},
		{"times", begin + "steps: [{wait_for: {times: 0}}]", "steps[0].wait_for.times", "0 is out of bounds", "from 1 to 1000"},
		{"window of one", begin + "steps: [{wait_for: {window: 1d}}]", "steps[0].wait_for.window", "one event needs no window", "times"},
		{"correction without a deadline", begin + "steps: [{wait_for: {not_met_after: never, correct_within: 1d}}]", "steps[0].wait_for.correct_within", "nothing is corrected", "one of the two"},
		{"look back", begin + "steps: [{wait_for: {look_back: -1h}}]", "steps[0].wait_for.look_back", "-1h is out of bounds", "from 0s to 400d"},
		{"bad condition of a wait", begin + "steps: [{wait_for: {if: 'order.amount'}}]", "steps[0].wait_for.if", "no condition", ""},
		{"status with a key of another trigger", begin + "steps: [{wait_for: {on: order-placed, status: [PAID]}}]", "steps[0].wait_for.status", "order-placed has no status", "payment-status-changed"},
	} {
		t.Run(test.name, func(t *testing.T) {
			p, problems := compile(t, test.file)
			if p != nil {
				t.Fatal("the file has a program")
			}
			at := slices.IndexFunc(problems, func(p workflows.Problem) bool { return p.Field == test.field })
			if at < 0 {
				t.Fatalf("nothing about %s: %v", test.field, problems)
			}
			got := problems[at]
			if got.File != "test" || !strings.Contains(got.Message, test.message) || !strings.Contains(got.Hint+got.Message, test.hint) {
				t.Errorf("got %+v, want %q and %q", got, test.message, test.hint)
			}
			if len(problems) > 1 {
				t.Errorf("one slip is told %d times: %v", len(problems), problems)
			}
		})
	}
}

// nested is a condition within a condition, so many times.
func nested(deep int) workflows.FileStep {
	s := workflows.FileStep{Stop: true}
	for range deep {
		s = workflows.FileStep{If: "order.amount > 1", Then: []workflows.FileStep{s}}
	}
	return s
}

// What is too large is refused at once, with one problem, and not looked at.
func TestBounds(t *testing.T) {
	start := []workflows.FileStart{{On: "order-placed"}}
	for name, test := range map[string]struct {
		file    workflows.File
		field   string
		message string
	}{
		"10,000 steps": {workflows.File{Start: start, Steps: make([]workflows.FileStep, 10_000)}, "steps", "more than the 500"},
		"10,000 steps in branches": {workflows.File{Start: start, Steps: []workflows.FileStep{
			{If: "order.amount > 1", Then: make([]workflows.FileStep, 5_000), Else: make([]workflows.FileStep, 5_000)},
		}}, "steps", "more than the 500"},
		"deep":            {workflows.File{Start: start, Steps: []workflows.FileStep{nested(workflows.DepthMax + 1)}}, "steps", "nested more than 10 deep"},
		"100,000 deep":    {workflows.File{Start: start, Steps: []workflows.FileStep{nested(100_000)}}, "steps", "more than the 500"},
		"10 MB":           {workflows.File{Start: start, Steps: []workflows.FileStep{{SendMessage: strings.Repeat("m", 10<<20)}}}, "", "bytes, more than the 262144"},
		"100,000 starts":  {workflows.File{Start: make([]workflows.FileStart, 100_000)}, "start", "more than the 50"},
		"too many tags":   {workflows.File{Destination: "crm", Start: start, Steps: []workflows.FileStep{{AddTags: make([]string, 201)}}}, "steps[0].add_tags", "201 entries, more than 200"},
		"too many fields": {workflows.File{Destination: "crm", Start: start, Steps: []workflows.FileStep{{SetField: manyFields(201)}}}, "steps[0].set_field", "201 entries, more than 200"},
	} {
		t.Run(name, func(t *testing.T) {
			_, problems := workflows.Compile("test", test.file, known)
			if len(problems) != 1 || problems[0].Field != test.field || !strings.Contains(problems[0].Message, test.message) {
				t.Errorf("got %.300v, want one problem of %q: %s", problems, test.field, test.message)
			}
		})
	}
	if _, problems := workflows.Compile("test", workflows.File{Start: start, Steps: []workflows.FileStep{nested(workflows.DepthMax)}}, known); len(problems) > 0 {
		t.Errorf("branches %d deep: %v", workflows.DepthMax, problems)
	}
	if _, problems := workflows.Compile("no/name", workflows.File{Start: start}, known); len(problems) != 1 || problems[0].Field != "" {
		t.Errorf("a name with a slash: got %v", problems)
	}
}

func manyFields(n int) map[string]string {
	m := map[string]string{}
	for i := range n {
		m[fmt.Sprint("F", i)] = "x"
	}
	return m
}

// A file full of slips tells the first of them, and that there are more.
func TestProblemsAreBounded(t *testing.T) {
	f := workflows.File{Start: []workflows.FileStart{{On: "order-placed"}}, Steps: make([]workflows.FileStep, 400)}
	_, problems := workflows.Compile("test", f, known)
	if len(problems) != workflows.ProblemsMax+1 || !strings.Contains(problems[workflows.ProblemsMax].Message, "more than 50 problems") {
		t.Errorf("got %d problems, the last %v", len(problems), problems[len(problems)-1])
	}
}

// Too many conditions are refused before they are compiled, one by one.
func TestTemplatesAreBounded(t *testing.T) {
	f := workflows.File{Destination: "crm", Start: []workflows.FileStart{{On: "order-placed"}}}
	for range 6 {
		f.Steps = append(f.Steps, workflows.FileStep{SetField: manyFields(200)})
	}
	_, problems := workflows.Compile("test", f, known)
	if len(problems) != 1 || problems[0].Field != "steps[5].set_field.F0" {
		t.Errorf("got %v, want one problem at the text after the first 1,000", problems)
	}
}

// The files of a folder know each other; one bad file refuses all, and names itself.
func TestCompileAll(t *testing.T) {
	files := map[string]workflows.File{
		"a": parse(t, begin+"steps: [{move_to_workflow: b}]"),
		"b": parse(t, "destination: crm\nstart: [{on: moved-here}]\n"+action),
	}
	set, problems := workflows.CompileAll(files, known)
	if len(problems) > 0 || len(set) != 2 || set.List()[1].Name != "b" {
		t.Fatalf("got %v, %v", set, problems)
	}
	files["c"] = parse(t, begin+"steps: [{move_to_workflow: d}]")
	set, problems = workflows.CompileAll(files, known)
	if set != nil || len(problems) != 1 || problems[0].File != "c" || problems[0].Field != "steps[0].move_to_workflow" {
		t.Errorf("got %v, %v", set, problems)
	}
	many := map[string]workflows.File{}
	for i := range workflows.FilesMax + 1 {
		many[fmt.Sprint(i)] = workflows.File{}
	}
	if _, problems = workflows.CompileAll(many, known); len(problems) != 1 || !strings.Contains(problems[0].Message, "5001 workflows") {
		t.Errorf("too many files: got %.200v", problems)
	}
}

// Without knowledge nothing of it is checked: an old version is read so that its runs can end.
func TestUnknownNamesPassWhereNothingIsKnown(t *testing.T) {
	f := parse(t, "destination: gone\nstart: [{on: order-placed, connections: [gone], if: 'order.amount > 1 && gone.away == \"x\"'}]\nsteps: [{set_field: {A: '{{ gone.away | default a.b }}'}}, {move_to_workflow: gone}]")
	if _, problems := workflows.Compile("test", f, workflows.Known{}); len(problems) > 0 {
		t.Errorf("problems: %v", problems)
	}
}

// FuzzCompile: whatever a file says, it is a sound program or has a problem with a place.
func FuzzCompile(f *testing.F) {
	for _, text := range []string{
		begin + action, "start: [{on: schedule, at: 09:00}]", begin + "steps: [{wait_for: {not_met_after: never}, met: [{stop: true}]}]",
		begin + "steps: [{if: 'order.amount > 1', then: [{wait: 99999999999w}]}]", "zone: ../../etc\nstart: []", begin + "steps: [{wait_until: {date: '{{', shift: -3d}}]",
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if len(text) > 1<<16 {
			return
		}
		var file workflows.File
		if yaml.Unmarshal(text, &file) != nil && json.Unmarshal(text, &file) != nil {
			return
		}
		p, problems := workflows.Compile("fuzzed", file, known)
		if (p == nil) != (len(problems) > 0) {
			t.Fatalf("program %v with problems %v", p, problems)
		}
		if p != nil {
			sound(t, p)
			workflows.Check(workflows.Set{p.Name: p}, workflows.Facts{})
		}
	})
}

// sound checks what a runner relies on: ways lead forward to steps that exist, ids are unique, and what a kind uses is there.
func sound(t *testing.T, p *workflows.Program) {
	t.Helper()
	ids := map[string]bool{}
	for i := range p.Steps {
		s := &p.Steps[i]
		if ids[s.ID] || s.ID == "" || s.Field == "" {
			t.Errorf("step %d: id %q, field %q", i, s.ID, s.Field)
		}
		ids[s.ID] = true
		ways := []int{s.Next, s.Then, s.Else}
		if s.WaitFor != nil {
			ways = append(ways, s.WaitFor.Met, s.WaitFor.NotMet, s.WaitFor.Corrected)
		}
		for _, to := range ways {
			if to != workflows.End && (to <= i || to >= len(p.Steps)) {
				t.Errorf("step %d leads to %d of %d", i, to, len(p.Steps))
			}
		}
		uses := map[workflows.StepKind]bool{
			workflows.StepIf: s.If != nil, workflows.StepOnList: s.List != "" && s.Destination != "", workflows.StepHours: s.Hours != nil && s.Hours.Zone != nil,
			workflows.StepWait: s.Until != nil, workflows.StepWaitFor: s.WaitFor != nil && s.WaitFor.Times > 0, workflows.StepAct: s.Action != nil && s.Destination != "",
			workflows.StepMoveTo: s.Workflow != "", workflows.StepStop: true,
		}
		if !uses[s.Kind] {
			t.Errorf("step %d of kind %q lacks what it uses: %+v", i, s.Kind, s)
		}
	}
	for i, s := range p.Starts {
		n := 0
		for _, is := range []bool{s.Event != nil, s.Tag != "", s.Moved, s.Schedule != nil} {
			if is {
				n++
			}
		}
		if n != 1 {
			t.Errorf("start %d is %d things: %+v", i, n, s)
		}
	}
}

// BenchmarkCompileAll is a configuration of 1,000 workflows of 10 steps, no two texts alike.
func BenchmarkCompileAll(b *testing.B) {
	files := map[string]workflows.File{}
	for i := range 1_000 {
		files[fmt.Sprintf("w%04d", i)] = parse(b, fmt.Sprintf(`
destination: crm
once: order
zone: Europe/Berlin
start: [{on: payment-status-changed, status: [FAILED], if: 'order.amount > %[1]d'}]
steps:
  - set_field: {LAST: "{{ order.amount | money }} {{ order.currency }} %[1]d", NAME: "{{ payer.given_name }} %[1]d"}
  - wait_for: {status: [PAID], not_met_after: 1d, if: 'order.amount > %[1]d'}
    met:
      - send_message: thanks
        values: {amount: "{{ order.amount | money }} %[1]d"}
      - stop: true
    not_met:
      - if: order.amount >= %[1]d && order.currency == "EUR" && !("vip" in contact.tags)
        then:
          - send_message: reminder-%[1]d
          - wait_until: {at: "09:00", days: [monday]}
        else:
          - move_to_list: {from: trial, to: customers}
      - add_tags: [unpaid-%[1]d]
  - track_event: {name: recovered, data: "{{ order.id }} %[1]d"}
`, i))
	}
	for b.Loop() {
		if _, problems := workflows.CompileAll(files, known); len(problems) > 0 {
			b.Fatal(problems)
		}
	}
}
