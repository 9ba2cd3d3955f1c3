package api

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/tillstream/tillstream/connectors"
	"github.com/tillstream/tillstream/pipeline/config"
	"github.com/tillstream/tillstream/pipeline/connections"
	"github.com/tillstream/tillstream/pipeline/destinations"
	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/sinks"
)

// mailConfig is a made-up CRM's: its one key is right or wrong.
type mailConfig struct {
	List string         `yaml:"list"`
	Key  schemas.Secret `yaml:"key"`
}

func (c *mailConfig) Account() string { return c.List }

type mailWriter struct{ cfg *mailConfig }

func (w mailWriter) Check(context.Context) []sinks.Finding {
	if w.cfg.Key.Reveal() != "canary-right" {
		return []sinks.Finding{{Bad: true, Field: "key", Message: "the key is wrong", Hint: "copy it again"}}
	}
	return []sinks.Finding{{Field: "key", Message: "the key is good"}}
}

func (mailWriter) Write(_ context.Context, batch []schemas.Command) []sinks.Outcome {
	return make([]sinks.Outcome, len(batch))
}

func (mailWriter) Reconcile(context.Context, schemas.Command) sinks.Outcome { return sinks.Outcome{} }

func (mailWriter) Close() error { return nil }

func (mailWriter) Account(context.Context) (sinks.Account, sinks.Outcome) {
	return sinks.Account{ID: "17", Name: "Mail of ann", User: "ann@example.com"}, sinks.Outcome{Kind: sinks.Delivered}
}

var mail = sinks.Sink{
	Type: "mail", Title: "Mail", RatePerSecond: 5, Effects: []string{schemas.EffectSendMessage}, Config: func() any { return &mailConfig{} },
	Open: func(_ context.Context, cfg any, _ sinks.Env) (sinks.Writer, error) {
		return mailWriter{cfg.(*mailConfig)}, nil
	},
}

// accountsDesk is a desk that keeps what was asked of it beside.
type accountsDesk struct {
	*destinations.Desk
	catalogue []string
	verify    []VerifyRequest
}

func (d *accountsDesk) Catalogue(_ context.Context, name string, kind sinks.EntryKind, refresh bool) (CatalogueList, error) {
	how := "kept"
	if refresh {
		how = "fresh"
	}
	d.catalogue = append(d.catalogue, name+" "+string(kind)+" "+how)
	if kind == "odd" {
		return CatalogueList{}, connections.Refuse(connections.Invalid, "the kind odd")
	}
	return CatalogueList{Destination: name, Catalogue: []destinations.Snapshot{{Kind: sinks.EntryTag, Entries: []destinations.Entry{{ID: "1", Names: []string{"buyer"}}, {ID: "2", Names: []string{"vip"}}}}}}, nil
}

func (d *accountsDesk) Verify(_ context.Context, name string, v VerifyRequest) (JobAsked, error) {
	if name != "crm" {
		return JobAsked{}, connections.Refuse(connections.NotFound, "there is no destination %q", name)
	}
	d.verify = append(d.verify, v)
	return JobAsked{v.JobID}, nil
}

// accountsCounter serves a desk of destinations with an empty folder.
func accountsCounter(t *testing.T) (*httptest.Server, *accountsDesk, string) {
	t.Helper()
	dir := t.TempDir()
	settings := "kafka:\n  brokers: [kafka:9092]\nregistry:\n  url: http://registry:8081\nredis:\n  address: redis:6379\n"
	if err := os.WriteFile(filepath.Join(dir, config.SettingsFile), []byte(settings), 0o600); err != nil {
		t.Fatal(err)
	}
	folder := &connections.Desk{
		Dir: dir, Opener: connections.Opener{Now: time.Now, Log: zerolog.Nop()},
		Options: config.Options{Connectors: connectors.NewRegistry(), Sinks: sinks.NewRegistry(mail)},
	}
	d := &accountsDesk{Desk: &destinations.Desk{Folder: folder, Open: func(ctx context.Context, x config.Destination) (sinks.Writer, error) {
		return x.Sink.Open(ctx, x.Settings, sinks.Env{})
	}}}
	b := NewBoard(nil)
	b.SetDestinations(d, dir)
	srv := httptest.NewServer(b.Handler(prometheus.NewRegistry()))
	t.Cleanup(srv.Close)
	return srv, d, dir
}

const mailDraft = `{"type":"mail","name":"crm","settings":{"list":"news"},"secrets":{"key":"canary-right"}}`

// One destination's life over the API; no answer ever holds its key, and no address of the account's user.
func TestADestinationsLife(t *testing.T) {
	srv, d, dir := accountsCounter(t)
	at := "/api/v1/destinations"
	for _, step := range []struct {
		method, path, body string
		code               int
		says               string
	}{
		{"GET", "/api/v1/sinks", "", 200, `"type": "mail"`},
		{"GET", at, "", 200, `"destinations": []`},
		{"GET", at, "", 200, `"folder": "` + dir},
		{"GET", at + "/crm", "", 404, `"code": "not_found"`},
		{"POST", at + "/crm/check", "", 404, "no destination"},
		{"POST", at, strings.ReplaceAll(mailDraft, "canary-right", "canary-wrong"), 422, "the key is wrong"},
		{"GET", at, "", 200, `"destinations": []`},
		{"POST", at, mailDraft, 201, `"name": "Mail of ann"`},
		{"POST", at, mailDraft, 409, "already"},
		{"POST", at, strings.ReplaceAll(mailDraft, `"crm"`, `"copy"`), 409, "the same account is connected as crm"},
		{"GET", at + "/crm", "", 200, `"file": "destinations/crm.yaml"`},
		{"POST", at + "/crm/check", "", 200, "the key is good"},
		{"POST", at + "/crm/reconnect", `{"secrets":{"key":"canary-wrong"}}`, 422, "the key is wrong"},
		{"POST", at + "/crm/reconnect", `{"secrets":{"key":"canary-right"},"settings":{"list":"other"}}`, 200, "is connected with what was given"},
		{"GET", at + "/crm/catalogue?kind=tag&search=VIP", "", 200, `"vip"`},
		{"POST", at + "/crm/catalogue?kind=tag", "", 200, `"buyer"`},
		{"GET", at + "/crm/catalogue?kind=odd", "", 400, "the kind odd"},
		{"GET", at + "/crm/catalogue?kinds=tag", "", 400, "kinds"},
		{"POST", at + "/crm/verify", `{"job_id":"j1","by":"ann","contact":"a@example.com","repair":true,"per_minute":60,"since":"2026-03-01T00:00:00Z"}`, 202, `"job_id": "j1"`},
		{"POST", at + "/nobody/verify", `{"job_id":"j2","by":"ann"}`, 404, "no destination"},
		{"POST", at + "/crm/verify", `{"by":"ann"}`, 400, "job_id"},
		{"POST", at + "/crm/verify", `{"job_id":"j3"}`, 400, "by (who asks)"},
		{"POST", at + "/crm/verify", `{"job_id":"j3","by":"ann","per_minute":-1}`, 400, "per_minute"},
		{"POST", at + "/crm/verify", `{"job_id":"j3","by":"ann","sample":5}`, 400, "not known"},
		{"DELETE", at + "/crm?forget=maybe", "", 400, "true or false"},
		{"DELETE", at + "/crm", "", 200, "destinations/crm.yaml.disconnected"},
		{"GET", at, "", 200, `"state": "disconnected"`},
		{"POST", at + "/crm/reconnect", "", 200, "connected again"},
		{"DELETE", at + "/crm?forget=true", "", 200, "are deleted"},
		{"DELETE", at + "/crm", "", 404, "no destination"},
		{"GET", at, "", 200, `"destinations": []`},
	} {
		code, got := asking(t, srv, step.method, step.path, step.body, nil)
		if code != step.code || !strings.Contains(got, step.says) {
			t.Errorf("%s %s %s: got %d %s\nwant %d and %q", step.method, step.path, step.body, code, got, step.code, step.says)
		}
		if strings.Contains(got, "canary") || strings.Contains(got, "ann@example.com") || strings.Contains(step.path, "VIP") && strings.Contains(got, "buyer") {
			t.Errorf("%s %s tells too much: %s", step.method, step.path, got)
		}
	}
	if diff := cmp.Diff([]string{"crm tag kept", "crm tag fresh", "crm odd kept"}, d.catalogue); diff != "" {
		t.Errorf("catalogues asked for (-want +got):\n%s", diff)
	}
	want := []VerifyRequest{{JobID: "j1", By: "ann", Contact: "a@example.com", Repair: true, PerMinute: 60, Since: time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)}}
	if diff := cmp.Diff(want, d.verify); diff != "" {
		t.Errorf("asked to verify (-want +got):\n%s", diff)
	}
	for _, folder := range []string{"destinations/*", "secrets/*/*"} {
		if left, err := filepath.Glob(filepath.Join(dir, folder)); err != nil || len(left) > 0 {
			t.Errorf("files left: %v, %v", left, err)
		}
	}
}

func TestRequestsAboutDestinationsThatAreNotOurs(t *testing.T) {
	srv, d, dir := accountsCounter(t)
	header := func(name, value string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set(name, value) }
	}
	at := "/api/v1/destinations"
	for name, c := range map[string]struct {
		method, path, body string
		change             func(*http.Request)
		code               int
	}{
		"a page without the header":      {"POST", at, mailDraft, header(ActionHeader, ""), 403},
		"a verify without it":            {"POST", at + "/crm/verify", `{"job_id":"j","by":"ann"}`, header(ActionHeader, ""), 403},
		"a refresh without it":           {"POST", at + "/crm/catalogue", "", header(ActionHeader, ""), 403},
		"a form":                         {"POST", at, mailDraft, header("Content-Type", "application/x-www-form-urlencoded"), 415},
		"a name that points at loopback": {"GET", at, "", func(r *http.Request) { r.Host = "evil.example" }, 421},
		"no JSON":                        {"POST", at, "{", nil, 400},
		"a key twice":                    {"POST", at, `{"type":"mail","type":"mail"}`, nil, 400},
		"an unknown key":                 {"POST", at, `{"type":"mail","tpye":"mail"}`, nil, 400},
		"a reference to a secret":        {"POST", at, `{"type":"mail","References":{"key":"file:/etc/passwd"}}`, nil, 400},
		"a reference in a setting":       {"POST", at, strings.Replace(mailDraft, `"news"`, `"${file:/etc/passwd}"`, 1), nil, 400},
		"an address inside the network":  {"POST", at, strings.Replace(mailDraft, `{`, `{"allow_private_address":true,`, 1), nil, 400},
		"a path as a name":               {"POST", at, strings.Replace(mailDraft, `"crm"`, `"../../crm"`, 1), nil, 400},
		"an unknown sink":                {"POST", at, strings.Replace(mailDraft, `"mail"`, `"male"`, 1), nil, 404},
		"a method that is not there":     {"PUT", at, mailDraft, nil, 405},
		"a body that is too large":       {"POST", at, `{"name":"` + strings.Repeat("x", draftBytesMax) + `"}`, nil, 413},
	} {
		code, got := asking(t, srv, c.method, c.path, c.body, c.change)
		if code != c.code || strings.Contains(got, "canary") {
			t.Errorf("%s: got %d %s, want %d", name, code, got, c.code)
		}
		if files, err := filepath.Glob(filepath.Join(dir, "*")); err != nil || len(files) != 1 || len(d.verify)+len(d.catalogue) > 0 {
			t.Errorf("%s: files %v, %v, asked %v %v", name, files, err, d.verify, d.catalogue)
		}
	}
	bare := httptest.NewServer(NewBoard(nil).Handler(prometheus.NewRegistry()))
	defer bare.Close()
	if code, got := asking(t, bare, "GET", at, "", nil); code != 404 || !strings.Contains(got, "folder of destinations") {
		t.Errorf("a process without a folder: got %d %s", code, got)
	}
}
