package explain_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tillstream/tillstream/api"
	"github.com/tillstream/tillstream/internal/explain"
	"github.com/tillstream/tillstream/pipeline/connections"
	"github.com/tillstream/tillstream/schemas"
	chsink "github.com/tillstream/tillstream/sinks/clickhouse"
)

// shelf is a store in memory.
type shelf struct {
	waits   []chsink.Wait
	story   chsink.Story
	configs map[string]schemas.ConfigVersion
	err     error
}

func (s *shelf) Story(context.Context, string) (chsink.Story, error) { return s.story, s.err }
func (s *shelf) Waits(_ context.Context, f chsink.WaitFilter) (page chsink.WaitPage, err error) {
	for _, w := range s.waits {
		if f.ID == "" || w.ID == f.ID {
			page.Waits = append(page.Waits, w)
		}
	}
	return page, s.err
}

func (s *shelf) CountWaits(context.Context, chsink.WaitFilter) (uint64, error) {
	return uint64(len(s.waits)), s.err
}

func (s *shelf) Runs(context.Context, chsink.RunsFilter) ([]chsink.WorkflowRuns, error) {
	return nil, s.err
}

func (s *shelf) Configs(context.Context, []string) (map[string]schemas.ConfigVersion, error) {
	return s.configs, s.err
}

func kindOf(err error) connections.RefusalKind {
	var refused *connections.Refusal
	if errors.As(err, &refused) {
		return refused.Kind
	}
	return ""
}

func TestADecisionIsAppendedOnceAndOnlyAboutAnOpenWait(t *testing.T) {
	version := versionOf(t, "recovery", recoveryFile)
	wait := func(id string, state chsink.WaitState, by, detail string) chsink.Wait {
		return chsink.Wait{ID: id, Workflow: "recovery", WorkflowVersion: version, ConfigVersion: "cfg1", Step: "pay", ContactKey: contact, State: state, DecidedBy: by, DecidedDetail: detail, DecidedEvent: "E7", ClosedAt: at(-5)}
	}
	yes, no := true, false
	store := &shelf{configs: configs(map[string]string{"workflows/recovery.yaml": recoveryFile}), waits: []chsink.Wait{
		wait("open", chsink.WaitOpen, "", ""), wait("person", chsink.WaitMet, "person", "closed by bob"), wait("event", chsink.WaitMet, "event", ""),
		wait("deadline", chsink.WaitNotMet, "deadline", "the time is up"), wait("stopped", chsink.WaitStopped, "", ""), wait("corrected", chsink.WaitCorrect, "deadline", ""),
	}}
	for name, c := range map[string]struct {
		id   string
		said api.Decision
		kind connections.RefusalKind
		says string // of the error, or of what the run does then
	}{
		"met":                   {"open", api.Decision{Met: &yes, By: " ann ", Reason: "called"}, "", "step big: if order.amount > 100"},
		"not met":               {"open", api.Decision{Met: &no, By: "ann"}, "", `step sorry: send message "sorry" at crm`},
		"closed by somebody":    {"person", api.Decision{Met: &yes, By: "ann"}, connections.Conflict, "closed by bob"},
		"ended by an event":     {"event", api.Decision{Met: &yes, By: "ann"}, connections.Conflict, "by the event E7"},
		"ended by its deadline": {"deadline", api.Decision{Met: &yes, By: "ann"}, connections.Conflict, "not met at 2026-03-01 11:55:00 UTC, by its deadline"},
		"its run is stopped":    {"stopped", api.Decision{Met: &yes, By: "ann"}, connections.Conflict, "its run was stopped"},
		"corrected":             {"corrected", api.Decision{Met: &yes, By: "ann"}, connections.Conflict, "corrected"},
		"none":                  {"none", api.Decision{Met: &yes, By: "ann"}, connections.NotFound, "no wait"},
		"no id":                 {" ", api.Decision{Met: &yes, By: "ann"}, connections.Invalid, "which wait"},
		"nobody":                {"open", api.Decision{Met: &yes, By: " "}, connections.Invalid, "who"},
		"a line break":          {"open", api.Decision{Met: &yes, By: "ann\x1b[2J"}, connections.Invalid, "one line"},
		"no text":               {"open", api.Decision{Met: &yes, By: "\xff"}, connections.Invalid, "one line"},
		"a long reason":         {"open", api.Decision{Met: &yes, By: "ann", Reason: strings.Repeat("x", 301)}, connections.Invalid, "300"},
		"undecided":             {"open", api.Decision{By: "ann"}, connections.Invalid, "met"},
	} {
		var appended []*schemas.WaitDecision
		desk := &explain.Desk{Store: store, Now: nowFunc, Append: func(_ context.Context, list []*schemas.WaitDecision) error {
			appended = append(appended, list...)
			return nil
		}}
		got, err := desk.Decide(context.Background(), c.id, c.said)
		if kindOf(err) != c.kind || err != nil && !strings.Contains(err.Error(), c.says) || err != nil && len(appended) != 0 {
			t.Errorf("%s: got %v with %d appended, want %q that says %q", name, err, len(appended), c.kind, c.says)
			continue
		}
		if err != nil {
			continue
		}
		by := strings.TrimSpace(c.said.By)
		if c.said.Reason != "" {
			by += ": " + c.said.Reason
		}
		if diff := cmp.Diff(appended, []*schemas.WaitDecision{{WaitID: "open", ContactKey: contact, Met: *c.said.Met, By: by, At: now}}); diff != "" {
			t.Errorf("%s (-got +want):\n%s", name, diff)
		}
		if d := got; d.Then != c.says {
			t.Errorf("%s: then %q, want %q", name, d.Then, c.says)
		}
	}
}

func TestADeskThatCannotAppendOrLookSaysSo(t *testing.T) {
	yes := true
	store := &shelf{waits: []chsink.Wait{{ID: "open", State: chsink.WaitOpen}}}
	desk := &explain.Desk{Store: store, Now: nowFunc}
	if _, err := desk.Decide(context.Background(), "open", api.Decision{Met: &yes, By: "ann"}); err == nil || !strings.Contains(err.Error(), "Kafka is not known") {
		t.Errorf("without Kafka: %v", err)
	}
	desk.Append = func(context.Context, []*schemas.WaitDecision) error { return errors.New("kafka is down") }
	if _, err := desk.Decide(context.Background(), "open", api.Decision{Met: &yes, By: "ann"}); err == nil || !strings.Contains(err.Error(), "kafka is down") {
		t.Errorf("with Kafka down: %v", err)
	}
	for err, want := range map[error]connections.RefusalKind{chsink.ErrNoRuns: connections.NotFound, chsink.ErrFilter: connections.Invalid, errors.New("down"): ""} {
		store.err = err
		_, waits := desk.Waits(context.Background(), api.WaitsQuery{})
		_, runs := desk.Runs(context.Background(), api.RunsQuery{})
		_, story := desk.Explain(context.Background(), "order", "x", false)
		for _, got := range []error{waits, runs, story} {
			if got == nil || kindOf(got) != want {
				t.Errorf("%v became %v, want kind %q", err, got, want)
			}
		}
	}
}

// What is asked for as an order is not answered as a contact: the address of an answer says what it is about.
func TestExplainAnswersWhatWasAsked(t *testing.T) {
	store := &shelf{story: story(t)}
	desk := &explain.Desk{Store: store, Now: nowFunc}
	if _, err := desk.Explain(context.Background(), "contact", "zoe@example.com", false); kindOf(err) != connections.NotFound || strings.Contains(err.Error(), "zoe@") {
		t.Errorf("got %v", err)
	}
	got, err := desk.Explain(context.Background(), "order", "O1", false)
	if err != nil || got.As != "order" {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestListedWaitsAreMasked(t *testing.T) {
	store := &shelf{waits: []chsink.Wait{{ID: "R.1", ContactKey: contact, DecidedDetail: "closed by bob: ask ann@example.com"}}}
	desk := &explain.Desk{Store: store, Now: nowFunc}
	for personal, want := range map[bool]string{false: "live/a***@example.com", true: contact} {
		store.waits[0].ContactKey, store.waits[0].DecidedDetail = contact, "closed by bob: ask ann@example.com"
		got, err := desk.Waits(context.Background(), api.WaitsQuery{PersonalData: personal})
		if err != nil || got.Waits[0].ContactKey != want || strings.Contains(got.Waits[0].DecidedDetail, "ann@") != personal {
			t.Errorf("personal %v: %+v, %v", personal, got, err)
		}
	}
}
