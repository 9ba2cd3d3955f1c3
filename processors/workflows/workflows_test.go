package workflows_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"

	"github.com/tillstream/tillstream/processors/mapping"
	"github.com/tillstream/tillstream/processors/workflows"
	"github.com/tillstream/tillstream/schemas"
)

var update = flag.Bool("update", false, "write the golden files anew")

// known is a small installation.
var known = workflows.Known{
	Connections: []string{"paypal-eu", "shop"},
	Destinations: map[string][]workflows.ActionKind{
		"crm":        nil,
		"second-crm": workflows.Performs([]string{schemas.EffectTrackEvent, schemas.QuestionOnList}, true),
		"warehouse":  workflows.Performs([]string{schemas.EffectNotify}, false),
	},
	Catalogue: mapping.CatalogueFor([]string{"subscription.plan_id", "subscription.next_billing_time"}),
}

func parse(t testing.TB, text string) workflows.File {
	t.Helper()
	var f workflows.File
	if err := yaml.UnmarshalWithOptions([]byte(text), &f, yaml.Strict()); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return f
}

func compile(t testing.TB, text string) (*workflows.Program, []workflows.Problem) {
	t.Helper()
	k := known
	k.Workflows = []string{"recovery", "test"}
	return workflows.Compile("test", parse(t, text), k)
}

// good compiles a file that has no problem.
func good(t testing.TB, text string) *workflows.Program {
	t.Helper()
	p, problems := compile(t, text)
	if len(problems) > 0 {
		t.Fatalf("problems: %v", problems)
	}
	return p
}

// listing writes a program the way a person would check it.
func listing(p *workflows.Program) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s to %q, %s, open runs %s, once %q, reads %v\n", p.Name, p.Destination, p.Mode, p.OpenRuns, p.Once, p.Sources)
	for _, s := range p.Starts {
		fmt.Fprintf(&b, "start %s list=%q history=%v\n", start(s), s.List, s.History)
	}
	for i, s := range p.Steps {
		fmt.Fprintf(&b, "%2d %s (%s): %s\n", i, s.ID, s.Field, step(&s))
	}
	return b.String()
}

func start(s workflows.Start) string {
	text := ""
	switch {
	case s.Event != nil:
		text = event(s.Event)
	case s.Schedule != nil:
		text = "schedule " + daily(&s.Schedule.Daily)
	case s.Moved:
		text = "moved here"
	default:
		text = "tag " + s.Tag
	}
	if s.If != nil {
		text += " if " + s.If.String()
	}
	return text
}

func event(e *workflows.Event) string {
	return fmt.Sprintf("%s status=%v from=%v connections=%v environment=%q types=%v products=%v", e.On, e.Status, e.From, e.Connections, e.Environment, e.Types, e.Products)
}

func daily(d *workflows.Daily) string {
	return fmt.Sprintf("%02d:%02d %v %s", d.Hour, d.Minute, d.Days, d.Zone)
}

func step(s *workflows.Step) string {
	ways := fmt.Sprintf("then %d else %d", s.Then, s.Else)
	switch s.Kind {
	case workflows.StepIf:
		return "if " + s.If.String() + ", " + ways
	case workflows.StepOnList:
		return "on list " + s.List + " of " + s.Destination + ", " + ways
	case workflows.StepHours:
		return fmt.Sprintf("within %d-%d %v %s, %s", s.Hours.From, s.Hours.To, s.Hours.Days, s.Hours.Zone, ways)
	case workflows.StepWait:
		return until(s.Until) + fmt.Sprintf(", next %d", s.Next)
	case workflows.StepWaitFor:
		w := s.WaitFor
		cond := ""
		if w.If != nil {
			cond = " if " + w.If.String()
		}
		return fmt.Sprintf("wait for %s%s same=%s list=%q of %q times=%d in %s, not met after %s, look back %s, correct %s, once=%q, met %d not met %d corrected %d",
			event(&w.Event), cond, w.Same, w.List, w.Destination, w.Times, w.Window, w.NotMetAfter, w.LookBack, w.CorrectWithin, w.Once, w.Met, w.NotMet, w.Corrected)
	case workflows.StepMoveTo:
		return "move to " + s.Workflow
	case workflows.StepStop:
		return "stop"
	}
	a := s.Action
	text := fmt.Sprintf("%s to %s name=%q from=%q add=%v remove=%v score=%d shop=%q", a.Kind, s.Destination, a.Name, a.From, a.Add, a.Remove, a.Score, a.Shop)
	for _, v := range append(slices.Clone(a.Fields), a.Values...) {
		text += " " + v.Name
		if v.Value != nil {
			text += "=" + v.Value.String()
		}
	}
	if a.Data != nil {
		text += " data=" + a.Data.String()
	}
	return text + fmt.Sprintf(", next %d", s.Next)
}

func until(u *workflows.Until) string {
	switch {
	case u.Date != nil:
		return fmt.Sprintf("wait until %s shift %s in %s", u.Date, u.Shift, u.Zone)
	case u.Daily != nil:
		return "wait until " + daily(u.Daily)
	case u.Open != nil:
		return fmt.Sprintf("wait until %d-%d %v %s", u.Open.From, u.Open.To, u.Open.Days, u.Open.Zone)
	}
	return "wait " + u.After.String()
}

// Every file of testdata becomes the program that stands beside it.
func TestPrograms(t *testing.T) {
	files, err := filepath.Glob("testdata/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("testdata: %v, %v", files, err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		t.Run(filepath.Base(file), func(t *testing.T) {
			got := listing(good(t, string(text)))
			golden := strings.TrimSuffix(file, ".yaml") + ".golden"
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("program (-want +got):\n%s", diff)
			}
		})
	}
}

// Branches join again: what follows a condition is done whichever way was taken. A corrected branch ends where it ends.
func TestBranchesJoin(t *testing.T) {
	p := good(t, `
destination: crm
start: [{on: payment-status-changed}]
steps:
  - wait_for: {status: [PAID]}
    met:
      - if: order.amount > 10
        then: [{add_tags: [large]}]
    not_met:
      - stop: true
    corrected:
      - add_tags: [late]
  - add_tags: [done]
`)
	at := func(id string) int { return p.StepIndex(id) }
	wait := p.Steps[at("0")].WaitFor
	if got, want := []int{wait.Met, wait.NotMet, wait.Corrected}, []int{at("0.met.0"), at("0.not_met.0"), at("0.corrected.0")}; !slices.Equal(got, want) {
		t.Errorf("branches of the wait: got %v, want %v", got, want)
	}
	for id, want := range map[string]int{"0.met.0.then.0": at("1"), "0.corrected.0": workflows.End, "1": workflows.End} {
		if got := p.Steps[at(id)].Next; got != want {
			t.Errorf("after %s: got step %d, want %d", id, got, want)
		}
	}
	if got := p.Steps[at("0.met.0")].Else; got != at("1") {
		t.Errorf("an else that is left out leads to step %d, want %d", got, at("1"))
	}
}

// The defaults are those of the documentation.
func TestDefaults(t *testing.T) {
	p := good(t, "start: [{on: payment-status-changed}]\nsteps: [{wait_for: {status: [PAID]}}]")
	w := p.Steps[0].WaitFor
	if p.Mode != workflows.Live || p.OpenRuns != workflows.Keep || p.Once != "" {
		t.Errorf("workflow: got %s, %s, once %q", p.Mode, p.OpenRuns, p.Once)
	}
	if w.Event.On != "payment-status-changed" || w.Same != workflows.ScopeOrder || w.Times != 1 || w.NotMetAfter != 24*time.Hour ||
		w.LookBack != 0 || w.CorrectWithin != 72*time.Hour || w.Once != "" {
		t.Errorf("wait: got %+v", w)
	}
	if got := []int{w.Met, w.NotMet, w.Corrected}; !slices.Equal(got, []int{workflows.End, workflows.End, workflows.End}) {
		t.Errorf("branches that are left out: got %v", got)
	}
}

// The version is what the file says: comments, order of keys and the description are not.
func TestVersion(t *testing.T) {
	const one = "start: [{on: order-placed}]\nsteps: [{add_tags: [a]}]\ndestination: crm\n"
	version := func(text string) string { return good(t, text).Version }
	for _, same := range []string{"# said twice\n" + one, "destination: crm\nsteps:\n  - add_tags:\n      - a\nstart:\n  - on: order-placed\n", one + "description: new words\n"} {
		if got, want := version(same), version(one); got != want {
			t.Errorf("version of\n%sis %s, want %s", same, got, want)
		}
	}
	for _, other := range []string{strings.Replace(one, "[a]", "[b]", 1), one + "mode: shadow\n", strings.Replace(one, "order-placed", "recurring-payment-created", 1)} {
		if version(other) == version(one) {
			t.Errorf("the same version for\n%s", other)
		}
	}
}

func TestDuration(t *testing.T) {
	for text, want := range map[workflows.Duration]time.Duration{
		"90m": 90 * time.Minute, "1h": time.Hour, "3d": 72 * time.Hour, "2w": 14 * 24 * time.Hour, "1d12h": 36 * time.Hour,
		"45s": 45 * time.Second, "0": 0, "-3d": -72 * time.Hour,
	} {
		if got, err := text.Parse(); err != nil || got != want {
			t.Errorf("%s: got %s, %v, want %s", text, got, err, want)
		}
	}
	for _, text := range []workflows.Duration{"", "-", "3", "d", "3 d", "3days", "1.5h", "h3", "99999999999d", "999999999w", "--1d", "1d-2h", "never"} {
		if got, err := text.Parse(); err == nil {
			t.Errorf("%q: got %s, want an error", text, got)
		}
	}
}

// What a file says survives a round through JSON, by which versions are compared and pages edit.
func TestFilesAreJSON(t *testing.T) {
	text, err := os.ReadFile("testdata/everything.yaml")
	if err != nil {
		t.Fatal(err)
	}
	f := parse(t, string(text))
	b, err := json.Marshal(f)
	if err != nil {
		t.Fatal(err)
	}
	var back workflows.File
	if err := json.Unmarshal(b, &back); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(f, back); diff != "" {
		t.Errorf("file (-before +after JSON):\n%s", diff)
	}
}
