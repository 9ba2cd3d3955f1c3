package api

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/tillstream/tillstream/connectors"
	"github.com/tillstream/tillstream/pipeline/config"
	"github.com/tillstream/tillstream/pipeline/connections"
	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/sinks"
)

// shop is a made-up connector: its one secret is right or wrong.
type shopConfig struct {
	Account string         `yaml:"account"`
	Secret  schemas.Secret `yaml:"secret"`
}

type shopSource struct{ cfg *shopConfig }

func (s shopSource) Check(context.Context) []connectors.Finding {
	if s.cfg.Secret.Reveal() != "canary-right" {
		return []connectors.Finding{{Level: connectors.Bad, Field: "secret", Message: "the secret is wrong", Hint: "copy it again"}}
	}
	return []connectors.Finding{{Level: connectors.OK, Field: "secret", Message: "the secret is good"}}
}

func (shopSource) Close() error { return nil }

var shop = connectors.Connector{
	Type: "shop", Title: "Shop", Topic: schemas.TopicStoreOrders,
	Resources: []connectors.Resource{{ID: "orders", Title: "Orders", EventTypes: []string{"ORDER.*"}}, {ID: "refunds", Title: "Refunds", EventTypes: []string{"REFUND"}}},
	Fields:    []connectors.Field{{Name: "colour", Label: "Colour", Type: "text", Sample: "red"}},
	Config:    func() any { return &shopConfig{} },
	Normalize: func(connectors.Delivery) ([]schemas.OrderEvent, error) { return nil, nil },
	Open: func(_ context.Context, cfg any, _ connectors.Env) (connectors.Source, error) {
		return shopSource{cfg.(*shopConfig)}, nil
	},
}

// counter serves a desk with an empty folder.
func counter(t *testing.T) (*httptest.Server, string) {
	t.Helper()
	dir := t.TempDir()
	settings := "kafka:\n  brokers: [kafka:9092]\nregistry:\n  url: http://registry:8081\nredis:\n  address: redis:6379\n"
	if err := os.WriteFile(filepath.Join(dir, config.SettingsFile), []byte(settings), 0o600); err != nil {
		t.Fatal(err)
	}
	b := NewBoard(nil)
	b.SetConnections(&connections.Desk{
		Dir: dir, Opener: connections.Opener{Now: time.Now, Log: zerolog.Nop()},
		Options: config.Options{Connectors: connectors.NewRegistry(shop), Sinks: sinks.NewRegistry()},
	})
	srv := httptest.NewServer(b.Handler(prometheus.NewRegistry()))
	t.Cleanup(srv.Close)
	return srv, dir
}

// asking sends a request as the command line does; change makes it another one.
func asking(t *testing.T, srv *httptest.Server, method, path, body string, change func(*http.Request)) (int, string) {
	t.Helper()
	var r io.Reader
	if body != "" {
		r = strings.NewReader(body)
	}
	req, err := http.NewRequest(method, srv.URL+path, r)
	if err != nil {
		t.Fatal(err)
	}
	if method != http.MethodGet {
		req.Header.Set(ActionHeader, "test")
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	if change != nil {
		change(req)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(got)
}

const goodDraft = `{"type":"shop","name":"eu","environment":"sandbox","resources":["orders"],"settings":{"account":"a"},"secrets":{"secret":"canary-right"}}`

// One connection's life over the API; no answer ever holds its secret.
func TestAConnectionsLife(t *testing.T) {
	srv, dir := counter(t)
	for _, step := range []struct {
		method, path, body string
		code               int
		says               string
	}{
		{"GET", "/api/v1/connectors", "", 200, `"event_types": [`},
		{"GET", "/api/v1/connections", "", 200, `"connections": []`},
		{"GET", "/api/v1/connections/eu", "", 404, `"code": "not_found"`},
		{"POST", "/api/v1/connections/check", goodDraft, 200, "the secret is good"},
		{"GET", "/api/v1/connections", "", 200, `"connections": []`},
		{"POST", "/api/v1/connections", strings.ReplaceAll(goodDraft, "canary-right", "canary-wrong"), 422, "the secret is wrong"},
		{"POST", "/api/v1/connections", goodDraft, 201, `"name": "eu"`},
		{"POST", "/api/v1/connections", goodDraft, 409, "already"},
		{"GET", "/api/v1/connections/eu", "", 200, `"id": "orders"`},
		{"POST", "/api/v1/connections/eu/check", "", 200, "the secret is good"},
		{"POST", "/api/v1/connections/us/check", "", 404, "no connection"},
		{"PATCH", "/api/v1/connections/eu", `{"add":"refunds"}`, 200, `"id": "refunds"`},
		{"PATCH", "/api/v1/connections/eu", `{"remove":"orders"}`, 200, `"id": "refunds"`},
		{"PATCH", "/api/v1/connections/eu", `{"resources":["orders"],"force":true}`, 200, `"id": "orders"`},
		{"PATCH", "/api/v1/connections/eu", `{"resources":["orders"],"add":"refunds"}`, 400, "one of"},
		{"PATCH", "/api/v1/connections/eu", `{}`, 400, "one of"},
		{"POST", "/api/v1/connections/eu/reconnect", "", 404, "no disconnected"},
		{"DELETE", "/api/v1/connections/eu?forget=maybe", "", 400, "true or false"},
		{"DELETE", "/api/v1/connections/eu", "", 200, "connections/eu.yaml.disconnected"},
		{"GET", "/api/v1/connections", "", 200, `"state": "disconnected"`},
		{"POST", "/api/v1/connections/eu/reconnect", `{"force":false}`, 200, "connected again"},
		{"DELETE", "/api/v1/connections/eu?forget=true", "", 200, "are deleted"},
		{"GET", "/api/v1/connections", "", 200, `"connections": []`},
	} {
		code, got := asking(t, srv, step.method, step.path, step.body, nil)
		if code != step.code || !strings.Contains(got, step.says) {
			t.Errorf("%s %s: got %d %s\nwant %d and %q", step.method, step.path, code, got, step.code, step.says)
		}
		if strings.Contains(got, "canary") {
			t.Errorf("%s %s tells the secret: %s", step.method, step.path, got)
		}
		if !json.Valid([]byte(got)) {
			t.Errorf("%s %s: no JSON: %s", step.method, step.path, got)
		}
	}
	if left, err := filepath.Glob(filepath.Join(dir, "*", "*")); err != nil || len(left) > 0 {
		t.Errorf("files left: %v, %v", left, err)
	}
}

func TestRequestsThatAreNotUnderstoodOrNotOurs(t *testing.T) {
	srv, dir := counter(t)
	header := func(name, value string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set(name, value) }
	}
	for name, c := range map[string]struct {
		method, path, body string
		change             func(*http.Request)
		code               int
	}{
		"a page without the header":        {"POST", "/api/v1/connections", goodDraft, header(ActionHeader, ""), 403},
		"a form":                           {"POST", "/api/v1/connections", goodDraft, header("Content-Type", "application/x-www-form-urlencoded"), 415},
		"plain text":                       {"POST", "/api/v1/connections", goodDraft, header("Content-Type", "text/plain"), 415},
		"no type of content":               {"POST", "/api/v1/connections", goodDraft, func(r *http.Request) { r.Header.Del("Content-Type") }, 415},
		"a name that points at loopback":   {"POST", "/api/v1/connections", goodDraft, func(r *http.Request) { r.Host = "evil.example" }, 421},
		"a list under such a name":         {"GET", "/api/v1/connections", "", func(r *http.Request) { r.Host = "evil.example" }, 421},
		"no JSON":                          {"POST", "/api/v1/connections", "{", nil, 400},
		"two values":                       {"POST", "/api/v1/connections", goodDraft + goodDraft, nil, 400},
		"a key twice":                      {"POST", "/api/v1/connections", `{"type":"shop","type":"shop"}`, nil, 400},
		"an unknown key":                   {"POST", "/api/v1/connections", `{"type":"shop","tpye":"shop"}`, nil, 400},
		"a reference to a secret":          {"POST", "/api/v1/connections", `{"type":"shop","References":{"secret":"file:/etc/passwd"}}`, nil, 400},
		"a reference in a setting":         {"POST", "/api/v1/connections", strings.Replace(goodDraft, `"account":"a"`, `"account":"${file:/etc/passwd}"`, 1), nil, 400},
		"a secret that is a number":        {"POST", "/api/v1/connections", strings.Replace(goodDraft, `"canary-right"`, `4711`, 1), nil, 400},
		"an address inside the network":    {"POST", "/api/v1/connections", strings.Replace(goodDraft, `{`, `{"allow_private_address":true,`, 1), nil, 400},
		"a body that is too large":         {"POST", "/api/v1/connections", `{"name":"` + strings.Repeat("x", draftBytesMax) + `"}`, nil, 413},
		"another method":                   {"PUT", "/api/v1/connections", goodDraft, nil, 405},
		"a settings key that is not there": {"POST", "/api/v1/connections", strings.Replace(goodDraft, `"account"`, `"acount"`, 1), nil, 422},
		"a path as a name":                 {"POST", "/api/v1/connections", strings.Replace(goodDraft, `"eu"`, `"../../eu"`, 1), nil, 400},
		"a path as a name in the address":  {"POST", "/api/v1/connections/..%2F..%2Feu/reconnect", "", nil, 404},
	} {
		t.Run(name, func(t *testing.T) {
			code, got := asking(t, srv, c.method, c.path, c.body, c.change)
			if code != c.code {
				t.Errorf("got %d %s, want %d", code, got, c.code)
			}
			if strings.Contains(got, "canary") || strings.Contains(got, "4711") {
				t.Errorf("it tells the secret: %s", got)
			}
			if files, err := filepath.Glob(filepath.Join(dir, "*")); err != nil || len(files) != 1 {
				t.Errorf("files: %v, %v", files, err)
			}
		})
	}
}

func TestAProcessWithoutAFolderSaysSo(t *testing.T) {
	srv := httptest.NewServer(NewBoard(nil).Handler(prometheus.NewRegistry()))
	defer srv.Close()
	if code, got := asking(t, srv, "GET", "/api/v1/connections", "", nil); code != 404 || !strings.Contains(got, "follow") {
		t.Errorf("got %d %s", code, got)
	}
}

func TestARemovedPartIsNotAskedAnyMore(t *testing.T) {
	b := NewBoard(nil)
	b.Add(Part{Name: "connection eu", Ready: func() error { return errors.New("gone") }})
	b.Add(Part{Name: "ingest"})
	b.Remove("connection eu")
	b.Remove("connection us")
	if code, body := get(t, b.Handler(prometheus.NewRegistry()), "/readyz"); code != 200 || strings.Contains(body, "connection") {
		t.Errorf("got %d %s", code, body)
	}
}
