package api

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/tillstream/tillstream/pipeline/connections"
	"github.com/tillstream/tillstream/schemas/past"
)

// clerk notes what it was asked. Of an id "open" it knows a wait; "broken" is its own trouble, everything else is not there.
type clerk struct{ asked []any }

func (c *clerk) say(id string, question any) error {
	c.asked = append(c.asked, question)
	switch id {
	case "open", "":
		return nil
	case "closed":
		return &connections.Refusal{Kind: connections.Conflict, Detail: "the wait closed is not open"}
	case "broken":
		return errors.New("clickhouse: password=canary of ann@example.com")
	}
	return &connections.Refusal{Kind: connections.NotFound, Detail: "there is none"}
}

func (c *clerk) Waits(_ context.Context, q WaitsQuery) (past.WaitPage, error) {
	return past.WaitPage{}, c.say(q.Workflow, q)
}

func (c *clerk) Wait(_ context.Context, id string, personal bool) (WaitView, error) {
	return WaitView{Wait: past.Wait{ID: id}}, c.say(id, []any{id, personal})
}

func (c *clerk) Decide(_ context.Context, id string, d Decision) (Decided, error) {
	return Decided{WaitID: id}, c.say(id, []any{id, *d.Met, d.By, d.Reason})
}

func (c *clerk) Explain(_ context.Context, as, id string, personal bool) (Explanation, error) {
	return Explanation{As: as}, c.say("open", []any{as, id, personal})
}

func (c *clerk) Runs(_ context.Context, q RunsQuery) (RunList, error) {
	return RunList{}, c.say("", q)
}

func automationServer(t *testing.T) (*httptest.Server, *clerk) {
	t.Helper()
	b, c := NewBoard(nil), &clerk{}
	b.SetAutomation(c)
	srv := httptest.NewServer(b.Handler(prometheus.NewRegistry()))
	t.Cleanup(srv.Close)
	return srv, c
}

const good = `{"met":true,"by":"ann","reason":"called the bank"}`

func TestAutomationIsAskedWhatTheAddressSays(t *testing.T) {
	at := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		method, path, body string
		code               int
		asked              any
	}{
		{"GET", "/api/v1/waits", "", 200, WaitsQuery{}},
		{
			"GET", "/api/v1/waits?state=not_met&contact=ann%40example.com&order=live%2Fshop%2FO1&due_before=2026-11-01T12:00:00Z&limit=7&after=abc&personal_data=true", "", 200,
			WaitsQuery{State: "NOT_MET", Contact: "ann@example.com", Order: "live/shop/O1", DueBefore: at, Limit: 7, After: "abc", PersonalData: true},
		},
		{"GET", "/api/v1/waits/open", "", 200, []any{"open", false}},
		{"GET", "/api/v1/waits/open?personal_data=true", "", 200, []any{"open", true}},
		{"POST", "/api/v1/waits/open/decision", good, 202, []any{"open", true, "ann", "called the bank"}},
		{"POST", "/api/v1/waits/open/decision", `{"met":false,"by":"ann"}`, 202, []any{"open", false, "ann", ""}},
		{"POST", "/api/v1/waits/closed/decision", good, 409, []any{"closed", true, "ann", "called the bank"}},
		{"GET", "/api/v1/waits/none", "", 404, []any{"none", false}},
		{"GET", "/api/v1/waits/broken", "", 500, []any{"broken", false}},
		{"GET", "/api/v1/waits/a%27%20OR%201%3D1", "", 404, []any{"a' OR 1=1", false}},
		{"GET", "/api/v1/explain/orders/live/shop/O1", "", 200, []any{"order", "live/shop/O1", false}},
		{"GET", "/api/v1/explain/orders/5O1", "", 200, []any{"order", "5O1", false}},
		{"GET", "/api/v1/explain/contacts/ann%40example.com?personal_data=true", "", 200, []any{"contact", "ann@example.com", true}},
		{"GET", "/api/v1/explain/contacts/live%2Fann@example.com", "", 200, []any{"contact", "live/ann@example.com", false}},
		{"GET", "/api/v1/runs?workflow=w&store=shop&environment=sandbox&since=2026-11-01T12:00:00Z", "", 200, RunsQuery{Workflow: "w", Store: "shop", Environment: "sandbox", Since: at}},
	} {
		srv, clerk := automationServer(t)
		code, got := asking(t, srv, c.method, c.path, c.body, nil)
		if code != c.code || !json.Valid([]byte(got)) {
			t.Errorf("%s %s: got %d %s, want %d", c.method, c.path, code, got, c.code)
		}
		if strings.Contains(got, "canary") || strings.Contains(got, "ann@") {
			t.Errorf("%s %s tells what it should not: %s", c.method, c.path, got)
		}
		if diff := cmp.Diff(clerk.asked, []any{c.asked}); diff != "" {
			t.Errorf("%s %s asked (-got +want):\n%s", c.method, c.path, diff)
		}
	}
}

// What is not understood, or not ours, reaches nobody.
func TestAutomationRefusesBeforeItAsks(t *testing.T) {
	for name, c := range map[string]struct {
		method, path, body string
		change             func(*http.Request)
		code               int
	}{
		"a page without the header":      {"POST", "/api/v1/waits/open/decision", good, func(r *http.Request) { r.Header.Del(ActionHeader) }, 403},
		"a name that points at loopback": {"GET", "/api/v1/waits", "", func(r *http.Request) { r.Host = "evil.example" }, 421},
		"a decision under such a name":   {"POST", "/api/v1/waits/open/decision", good, func(r *http.Request) { r.Host = "evil.example" }, 421},
		"a form":                         {"POST", "/api/v1/waits/open/decision", good, func(r *http.Request) { r.Header.Set("Content-Type", "text/plain") }, 415},
		"no decision":                    {"POST", "/api/v1/waits/open/decision", `{"by":"ann"}`, nil, 400},
		"nobody":                         {"POST", "/api/v1/waits/open/decision", `{"met":true}`, nil, 400},
		"an unknown key":                 {"POST", "/api/v1/waits/open/decision", `{"met":true,"by":"a","all":true}`, nil, 400},
		"a key twice":                    {"POST", "/api/v1/waits/open/decision", `{"met":true,"met":false,"by":"a"}`, nil, 400},
		"a word for a decision":          {"POST", "/api/v1/waits/open/decision", `{"met":"yes","by":"a"}`, nil, 400},
		"a body that is too large":       {"POST", "/api/v1/waits/open/decision", `{"met":true,"by":"` + strings.Repeat("x", draftBytesMax) + `"}`, nil, 413},
		"a parameter beside a decision":  {"POST", "/api/v1/waits/open/decision?met=true", good, nil, 400},
		"a reading decision":             {"GET", "/api/v1/waits/open/decision", "", nil, 405},
		"an unknown parameter":           {"GET", "/api/v1/waits?stat=open", "", nil, 400},
		"a parameter twice":              {"GET", "/api/v1/waits?state=open&state=met", "", nil, 400},
		"no time":                        {"GET", "/api/v1/waits?due_before=tomorrow", "", nil, 400},
		"no number":                      {"GET", "/api/v1/waits?limit=-1", "", nil, 400},
		"no flag":                        {"GET", "/api/v1/waits?personal_data=1", "", nil, 400},
		"no flag of one":                 {"GET", "/api/v1/waits/open?personal_data=1", "", nil, 400},
		"a broken address":               {"GET", "/api/v1/waits?state=%zz", "", nil, 400},
		"nobody to explain":              {"GET", "/api/v1/explain/contacts/", "", nil, 400},
		"no world":                       {"GET", "/api/v1/runs?environment=test", "", nil, 400},
	} {
		srv, clerk := automationServer(t)
		code, got := asking(t, srv, c.method, c.path, c.body, c.change)
		if code != c.code || len(clerk.asked) != 0 {
			t.Errorf("%s: got %d %s and %v asked, want %d and nothing", name, code, got, clerk.asked, c.code)
		}
	}
}

func TestAProcessWithoutClickHouseSaysSo(t *testing.T) {
	srv := httptest.NewServer(NewBoard(nil).Handler(prometheus.NewRegistry()))
	defer srv.Close()
	if code, got := asking(t, srv, "GET", "/api/v1/waits", "", nil); code != 404 || !strings.Contains(got, "clickhouse.address") {
		t.Errorf("got %d %s", code, got)
	}
}
