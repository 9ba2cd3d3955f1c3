package recovery

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tillstream/tillstream/api"
	"github.com/tillstream/tillstream/pipeline/connections"
	"github.com/tillstream/tillstream/pipeline/jobs"
	"github.com/tillstream/tillstream/schemas"
	chsink "github.com/tillstream/tillstream/sinks/clickhouse"
)

// shelf is a store of fixed answers.
type shelf struct {
	asked   chsink.PastFilter
	letters chsink.LetterCount
	job     []chsink.Job
}

func (s *shelf) Issues(_ context.Context, f chsink.PastFilter) ([]chsink.Issue, error) {
	s.asked = f
	if f.State == "ODD" {
		return nil, chsink.ErrFilter
	}
	return []chsink.Issue{{Key: "k", Reason: "ann@example.com is gone"}, {Key: "l"}}, nil
}

func (s *shelf) Letters(_ context.Context, f chsink.PastFilter, _ int) ([]chsink.Letter, error) {
	s.asked = f
	return []chsink.Letter{{Item: "crm.commands-0-1", Cause: "REJECTED", ContactKey: "live/ann@example.com", Reason: "no"}}, nil
}

func (s *shelf) CountLetters(context.Context, chsink.PastFilter) (chsink.LetterCount, error) {
	return s.letters, nil
}

func (s *shelf) Deliveries(_ context.Context, f chsink.PastFilter, _ int) ([]chsink.Delivery, error) {
	s.asked = f
	if f.Item == "nothing" {
		return nil, nil
	}
	return []chsink.Delivery{{CommandID: "c1", ContactKey: "live/ann@example.com", State: "UNCERTAIN", Error: "cut"}}, nil
}

func (s *shelf) CountDeliveries(context.Context, chsink.PastFilter) (uint64, error) { return 1, nil }

func (s *shelf) Tries(context.Context, string) ([]chsink.Try, error) {
	return []chsink.Try{{Outcome: "UNCERTAIN", Requests: []schemas.Exchange{{Request: `{"email":"ann@example.com"}`}}}}, nil
}

func (s *shelf) CountReplay(context.Context, chsink.PastFilter) (chsink.Replayed, error) {
	return chsink.Replayed{Contacts: 2, Effects: 3, Sample: []string{"crm live/ann@example.com"}}, nil
}
func (s *shelf) Jobs(context.Context, string, int) ([]chsink.Job, error) { return s.job, nil }
func (s *shelf) Items(_ context.Context, _, _ string, after int64, limit int) (list []chsink.Item, err error) {
	for n := range int64(limit) {
		list = append(list, chsink.Item{Number: after + n + 1, Item: "crm/live/ann@example.com"})
	}
	return list, nil
}

func desk() (*Desk, *shelf, *[]*schemas.JobRequest) {
	s, sent := &shelf{letters: chsink.LetterCount{Open: map[string]uint64{"REJECTED": 4, "QUARANTINED": 1}, Closed: 2}}, &[]*schemas.JobRequest{}
	return &Desk{Store: s, Now: func() time.Time { return time.Unix(0, 0) }, Append: func(_ context.Context, r *schemas.JobRequest) error {
		*sent = append(*sent, r)
		return nil
	}}, s, sent
}

func TestWhatIsAskedForIsCountedAndMasked(t *testing.T) {
	d, _, sent := desk()
	for _, c := range []struct {
		name string
		ask  api.AskRequest
		want api.JobPreview
	}{
		{
			"retry",
			api.AskRequest{Kind: schemas.JobRetry, Filter: map[string]string{"contact": "ann@example.com"}},
			api.JobPreview{Filter: map[string]string{"contact": "a***@example.com"}, Count: 4, ByCause: map[string]uint64{"REJECTED": 4}, Closed: 2, Sample: []string{"crm.commands-0-1 REJECTED live/a***@example.com: no"}},
		},
		{
			"dismiss",
			api.AskRequest{Kind: schemas.JobDismiss, All: true},
			api.JobPreview{Filter: map[string]string{}, Count: 5, ByCause: map[string]uint64{"REJECTED": 4, "QUARANTINED": 1}, Closed: 2, Sample: []string{"crm.commands-0-1 REJECTED live/a***@example.com: no"}},
		},
		{
			"uncertain",
			api.AskRequest{Kind: schemas.JobSettle, Filter: map[string]string{"uncertain": "true"}},
			api.JobPreview{Filter: map[string]string{"uncertain": "true"}, Count: 1, Sample: []string{"c1   live/a***@example.com at : cut"}},
		},
		{
			"replay",
			api.AskRequest{Kind: schemas.JobReplay, Filter: map[string]string{"destination": "crm"}},
			api.JobPreview{Filter: map[string]string{"destination": "crm"}, Count: 2, Contacts: 2, Sample: []string{"crm live/a***@example.com"}},
		},
		{
			"replay with effects",
			api.AskRequest{Kind: schemas.JobReplay, Filter: map[string]string{"destination": "crm", "effects": "true"}},
			api.JobPreview{Filter: map[string]string{"destination": "crm", "effects": "true"}, Count: 5, Contacts: 2, Effects: 3, Sample: []string{"crm live/a***@example.com"}},
		},
	} {
		c.ask.JobID, c.ask.By, c.ask.DryRun, c.want.Kind = "j", "ann", true, c.ask.Kind
		got, err := d.Ask(t.Context(), c.ask)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
		if len(*sent) > 0 {
			t.Fatalf("%s: a dry run asked for a job", c.name)
		}
		c.ask.DryRun = false
		if got, err = d.Ask(t.Context(), c.ask); err != nil || got.JobID != "j" || len(*sent) != 1 || (*sent)[0].Kind != c.ask.Kind || (*sent)[0].Action != schemas.JobStart {
			t.Errorf("%s: asked for %+v, %v", c.name, *sent, err)
		}
		*sent = nil
	}
}

func TestWhatCannotBeAskedIsRefused(t *testing.T) {
	d, s, sent := desk()
	for name, ask := range map[string]api.AskRequest{
		"kind":              {Kind: schemas.JobVerify, All: true, By: "ann"},
		"nothing left out":  {Kind: schemas.JobRetry, By: "ann"},
		"settle letters":    {Kind: schemas.JobSettle, All: true, By: "ann"},
		"dismiss uncertain": {Kind: schemas.JobDismiss, Filter: map[string]string{"uncertain": "true"}, By: "ann"},
		"replay a cause":    {Kind: schemas.JobReplay, Filter: map[string]string{"cause": "rejected"}, By: "ann"},
		"filter":            {Kind: schemas.JobRetry, Filter: map[string]string{"colour": "red"}, By: "ann"},
		"nobody":            {Kind: schemas.JobRetry, All: true},
		"rate":              {Kind: schemas.JobRetry, All: true, By: "ann", PerMinute: -1},
	} {
		ask.JobID = "j"
		_, err := d.Ask(t.Context(), ask)
		var refusal *connections.Refusal
		if !errors.As(err, &refusal) || refusal.Kind != connections.Invalid {
			t.Errorf("%s: got %v, want a refusal", name, err)
		}
	}
	for name, want := range map[string]connections.RefusalKind{"": connections.NotFound, "DONE": connections.Conflict} {
		if s.job = nil; name != "" {
			s.job = []chsink.Job{{ID: "j", State: name}}
		}
		_, err := d.Cancel(t.Context(), "j", api.CancelRequest{By: "ann"})
		var refusal *connections.Refusal
		if !errors.As(err, &refusal) || refusal.Kind != want {
			t.Errorf("cancel a job that is %q: got %v, want %s", name, err, want)
		}
	}
	if len(*sent) > 0 {
		t.Errorf("what was refused asked for %+v", *sent)
	}
	s.job = []chsink.Job{{ID: "j", State: "RUNNING", Kind: "RETRY"}}
	if _, err := d.Cancel(t.Context(), "j", api.CancelRequest{By: "ann"}); err != nil || len(*sent) != 1 || (*sent)[0].Action != schemas.JobCancel {
		t.Errorf("cancel: %+v, %v", *sent, err)
	}
}

func TestListsAreMaskedUnlessAskedOtherwise(t *testing.T) {
	d, s, _ := desk()
	got, err := d.Issues(t.Context(), api.PastQuery{Filter: map[string]string{jobs.FilterCause: "gave-up"}, State: "reopened", Limit: 1})
	if err != nil || len(got.Issues) != 1 || got.Issues[0].Reason != "a***@example.com is gone" || s.asked.State != "REOPENED" || s.asked.Cause != "GAVE_UP" {
		t.Errorf("got %+v for %+v, %v", got, s.asked, err)
	}
	if _, err := d.Issues(t.Context(), api.PastQuery{State: "odd"}); err == nil {
		t.Error("an unknown state is not refused")
	}
	for _, personal := range []bool{false, true} {
		want, body := "live/a***@example.com", `{"email":"a***@example.com"}`
		if personal {
			want, body = "live/ann@example.com", `{"email":"ann@example.com"}`
		}
		v, err := d.Delivery(t.Context(), "c1", personal)
		if err != nil || v.ContactKey != want || v.Tries[0].Requests[0].Request != body {
			t.Errorf("personal %t: got %+v, %v", personal, v, err)
		}
	}
	if _, err := d.Delivery(t.Context(), "nothing", false); err == nil {
		t.Error("a command that nobody knows is told of")
	}
	s.job = []chsink.Job{{ID: "j", Filter: map[string]string{"contact": "ann@example.com"}}}
	v, err := d.Job(t.Context(), "j", api.ItemsQuery{After: 10, Limit: 2})
	if j := v; err != nil || j.Next != 12 || j.Filter["contact"] == "ann@example.com" || j.Items[0].Item == "crm/live/ann@example.com" {
		t.Errorf("got %+v, %v", v, err)
	}
}
