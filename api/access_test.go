package api

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tillstream/tillstream/pipeline/access"
	"github.com/tillstream/tillstream/pipeline/kafka"
	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/schemas/codec"
)

// logs are topics in memory. They can be away.
type logs struct {
	mu     sync.Mutex
	topics map[string][]*kgo.Record
	down   bool
}

func (l *logs) Bounds(_ context.Context, topic string, _ int32) (int64, int64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.down {
		return 0, 0, io.ErrClosedPipe
	}
	return 0, int64(len(l.topics[topic])), nil
}

func (l *logs) Read(_ context.Context, r kafka.Range, apply func([]*kgo.Record, int64) error) error {
	l.mu.Lock()
	batch := slices.Clone(l.topics[r.Topic][r.From:r.To])
	l.mu.Unlock()
	return apply(batch, r.To)
}

func (l *logs) Append(_ context.Context, rec *kgo.Record, promise func(*kgo.Record, error)) {
	l.mu.Lock()
	rec.Offset = int64(len(l.topics[rec.Topic]))
	l.topics[rec.Topic] = append(l.topics[rec.Topic], rec)
	l.mu.Unlock()
	promise(rec, nil)
}

// port is a served board with access, and a person who asks.
type port struct {
	*httptest.Server
	board *Board
	logs  *logs
	store *access.Store
	trail *access.Trail
}

const pass = "correct horse battery"

// open serves a board; local: it is on loopback. Users are named role by role.
func open(t *testing.T, local bool, users ...access.Role) *port {
	t.Helper()
	p := &port{board: NewBoard(map[string]string{"version": "v1"}), logs: &logs{topics: map[string][]*kgo.Record{}}}
	c := codec.NewLocal()
	o := access.Options{Log: p.logs, Encode: c.Encode, Decode: c.Decode, Lines: zerolog.Nop()}
	p.store, p.trail = access.New(o), access.NewTrail(o)
	if err := p.store.CatchUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, role := range users {
		if err := p.store.AddUser(t.Context(), string(role), role, pass, "test"); err != nil {
			t.Fatal(err)
		}
	}
	p.board.SetAccess(Access{Store: p.store, Trail: p.trail, Local: local, Environments: func() []string { return []string{"live"} }})
	p.board.SetPauses(&pausing{})
	p.Server = httptest.NewServer(p.board.Handler(prometheus.NewRegistry()))
	t.Cleanup(p.Close)
	return p
}

// ask sends a request with a token; an empty one: as nobody.
func (p *port) ask(t *testing.T, method, path, body, token string, change func(*http.Request)) (int, string, *http.Response) {
	t.Helper()
	req, err := http.NewRequest(method, p.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set(ActionHeader, "test")
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	if change != nil {
		change(req)
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b), resp
}

func (p *port) token(t *testing.T, role access.Role) string {
	t.Helper()
	secret, _, err := p.store.AddToken(t.Context(), "of "+string(role), role, time.Time{}, "test")
	if err != nil {
		t.Fatal(err)
	}
	return secret
}

func (p *port) entries(t *testing.T) []schemas.AuditEntry {
	t.Helper()
	list, _, err := p.trail.Find(t.Context(), access.TrailQuery{})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// filled is an address of a route with something in each place.
func filled(path string) string {
	for strings.Contains(path, "{") {
		from, to := strings.Index(path, "{"), strings.Index(path, "}")
		path = path[:from] + "1" + path[to+1:]
	}
	return path
}

// Security 20: no route answers without a role, nor with the role below its own; the table alone decides.
func TestSecurity20EveryRouteAsksForItsRole(t *testing.T) {
	p := open(t, true, access.Admin)
	tokens := map[Role]string{Viewer: p.token(t, access.Viewer), Operator: p.token(t, access.Operator), Admin: p.token(t, access.Admin)}
	for _, r := range Routes() {
		if r.Role == Anyone {
			if !slices.Contains([]string{"/healthz", "/readyz", "/api/v1/session", "/api/v1/openapi.json"}, r.Path) {
				t.Errorf("%s %s is open to anyone", r.Method, r.Path)
			}
			continue
		}
		if code, got, _ := p.ask(t, r.Method, filled(r.Path), "", "", nil); code != 401 || !strings.Contains(got, string(CodeSignIn)) {
			t.Errorf("%s %s as nobody: got %d %s", r.Method, r.Path, code, got)
		}
		if code, got, _ := p.ask(t, r.Method, filled(r.Path), "", "tills_WRONG", nil); code != 401 || !strings.Contains(got, string(CodeTokenRefused)) {
			t.Errorf("%s %s with a wrong token: got %d %s", r.Method, r.Path, code, got)
		}
		if r.Role > Viewer {
			if code, got, _ := p.ask(t, r.Method, filled(r.Path), "", tokens[r.Role-1], nil); code != 403 || !strings.Contains(got, string(CodeRole)) {
				t.Errorf("%s %s as %s: got %d %s", r.Method, r.Path, r.Role-1, code, got)
			}
		}
	}
	if code, got, _ := p.ask(t, "GET", "/api/v1/nothing", "", tokens[Admin], nil); code != 404 || !strings.Contains(got, string(CodeNoRoute)) {
		t.Errorf("an address without a row: got %d %s", code, got)
	}
}

// Security 18: a name that somebody made point here reaches no route, whatever it is.
func TestSecurity18EveryRouteRefusesAForeignHost(t *testing.T) {
	p := open(t, true)
	p.board.SetHosts([]string{"Tillstream.Internal"})
	for _, r := range append(Routes(), Route{Method: "GET", Path: "/"}, Route{Method: "GET", Path: "/nothing"}) {
		code, _, _ := p.ask(t, r.Method, filled(r.Path), "", "", func(r *http.Request) { r.Host = "evil.example:9080" })
		if code != http.StatusMisdirectedRequest {
			t.Errorf("%s %s under a foreign name: got %d, want 421", r.Method, r.Path, code)
		}
	}
	for host, want := range map[string]int{
		"localhost:1": 200, "LOCALHOST": 200, "127.0.0.1": 200, "[::1]:9080": 200, "tillstream.internal:9080": 200, "localhost.": 200,
		"localhost.evil.example": 421, "127.0.0.1.evil.example": 421, "": 200, "10.0.0.1": 421, "0x7f.1": 421,
	} {
		if code, _, _ := p.ask(t, "GET", "/api/v1/session", "", "", func(r *http.Request) { r.Host = host }); host != "" && code != want {
			t.Errorf("host %q: got %d, want %d", host, code, want)
		}
	}
}

// Security 19: what a page of another origin can send changes nothing, on any route.
func TestSecurity19NoForeignPageChangesAnything(t *testing.T) {
	p := open(t, true)
	for _, r := range Routes() {
		if !r.changes() {
			continue
		}
		for name, change := range map[string]func(*http.Request){
			"a form":              func(r *http.Request) { r.Header.Set("Content-Type", "application/x-www-form-urlencoded") },
			"plain text":          func(r *http.Request) { r.Header.Set("Content-Type", "text/plain") },
			"no action header":    func(r *http.Request) { r.Header.Del(ActionHeader) },
			"another site":        func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "cross-site") },
			"the same site":       func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "same-site") },
			"a foreign origin":    func(r *http.Request) { r.Header.Set("Origin", "https://evil.example") },
			"an origin of nobody": func(r *http.Request) { r.Header.Set("Origin", "null") },
		} {
			if code, got, _ := p.ask(t, r.Method, filled(r.Path), "{}", "", change); code != 403 && code != 415 {
				t.Errorf("%s %s, %s: got %d %s", r.Method, r.Path, name, code, got)
			}
		}
	}
	if n := len(p.entries(t)); n == 0 {
		t.Error("refused changes of a local asker leave no record")
	}
}

// Security 21 (the headers; the page's own test has hostile texts).
func TestSecurity21HeadersOnEveryAnswer(t *testing.T) {
	p := open(t, true, access.Admin)
	p.board.SetPage(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("page")) }))
	for _, path := range []string{"/", "/events/1", "/api/v1/nothing", "/api/v1/users", "/healthz", "/api/v1/session"} {
		_, _, resp := p.ask(t, "GET", path, "", "", nil)
		csp := resp.Header.Get("Content-Security-Policy")
		if !strings.Contains(csp, "default-src 'self'") || !strings.Contains(csp, "frame-ancestors 'none'") || strings.Contains(csp, "unsafe") ||
			resp.Header.Get("X-Content-Type-Options") != "nosniff" || resp.Header.Get("Cross-Origin-Opener-Policy") != "same-origin" ||
			resp.Header.Get(RequestIDHeader) == "" || resp.Header.Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("%s: %v", path, resp.Header)
		}
	}
	if code, got, _ := p.ask(t, "GET", "/events/1", "", "", nil); code != 200 || got != "page" {
		t.Errorf("a screen of the page: %d %s", code, got)
	}
	if code, got, _ := p.ask(t, "GET", "/api/v2/events", "", "", nil); code != 404 || got == "page" {
		t.Errorf("an address of a program: %d %s", code, got)
	}
}

// Security 22: every route refuses parameters and keys that it does not know.
func TestSecurity22UnknownFieldsAreRefused(t *testing.T) {
	p := open(t, true)
	p.board.SetAutomation(&clerk{})
	p.board.SetLimits(&ledger{})
	for _, r := range Routes() {
		if code, got, _ := p.ask(t, r.Method, filled(r.Path)+"?is_admin=true", "", "", nil); code != 400 || !strings.Contains(got, "is_admin") {
			t.Errorf("%s %s with a parameter that is none: got %d %s", r.Method, r.Path, code, got)
		}
	}
	for _, c := range []struct{ method, path, body string }{
		{"POST", "/api/v1/users", `{"name":"ann","role":"admin","password":"` + pass + `","made_by":"root"}`},
		{"POST", "/api/v1/tokens", `{"name":"x","role":"viewer","hash":"00"}`},
		{"POST", "/api/v1/session", `{"name":"ann","password":"x","role":"admin"}`},
		{"POST", "/api/v1/destinations/crm/pause", `{"why":"w","by":"b","at":"2026-01-01T00:00:00Z"}`},
	} {
		if code, got, _ := p.ask(t, c.method, c.path, c.body, "", nil); code != 400 {
			t.Errorf("%s %s: got %d %s", c.method, c.path, code, got)
		}
	}
	if p.store.HasUsers() {
		t.Error("a user was made")
	}
}

// Security 23: a session's cookie is drawn anew at each sign-in, no script reads it, and no other site sends it.
func TestSecurity23SignInAndOut(t *testing.T) {
	p := open(t, true, access.Admin, access.Viewer)
	signIn := func(name, password, former string) (int, *http.Cookie, string) {
		body, _ := json.Marshal(SignIn{name, password})
		code, got, resp := p.ask(t, "POST", "/api/v1/session", string(body), "", func(r *http.Request) {
			if former != "" {
				r.AddCookie(&http.Cookie{Name: cookieName, Value: former})
			}
		})
		for _, c := range resp.Cookies() {
			return code, c, got
		}
		return code, nil, got
	}
	if code, c, got := signIn("admin", "wrong password", ""); code != 401 || c != nil || !strings.Contains(got, string(CodeSignInRefused)) {
		t.Errorf("a wrong password: %d %v %s", code, c, got)
	}
	code, first, got := signIn("viewer", pass, "a value that an attacker knows")
	if code != 200 || first == nil || !first.HttpOnly || first.SameSite != http.SameSiteStrictMode || first.Path != "/" || len(first.Value) < 26 || first.Value == "a value that an attacker knows" {
		t.Fatalf("got %d %+v %s", code, first, got)
	}
	_, second, _ := signIn("viewer", pass, first.Value)
	as := func(c *http.Cookie) func(*http.Request) { return func(r *http.Request) { r.AddCookie(c) } }
	if code, _, _ := p.ask(t, "GET", "/api/v1/pauses", "", "", as(first)); code != 401 {
		t.Errorf("the cookie from before the sign-in: %d, want 401", code)
	}
	if code, _, _ := p.ask(t, "GET", "/api/v1/pauses", "", "", as(second)); code != 200 {
		t.Errorf("the new cookie: %d, want 200", code)
	}
	if code, got, _ := p.ask(t, "GET", "/api/v1/session", "", "", as(second)); code != 200 || !strings.Contains(got, `"role": "viewer"`) || !strings.Contains(got, `"live"`) {
		t.Errorf("session: %d %s", code, got)
	}
	if code, got, _ := p.ask(t, "GET", "/api/v1/session", "", "", nil); code != 200 || !strings.Contains(got, `"user": null`) || !strings.Contains(got, `"sign_in_required": true`) || strings.Contains(got, "live") {
		t.Errorf("session of nobody: %d %s", code, got)
	}
	if code, _, _ := p.ask(t, "GET", "/api/v1/waits?personal_data=true", "", "", as(second)); code != 403 {
		t.Errorf("a viewer sees people unmasked: %d", code)
	}
	p.ask(t, "DELETE", "/api/v1/session", "", "", as(second))
	if code, _, _ := p.ask(t, "GET", "/api/v1/pauses", "", "", as(second)); code != 401 {
		t.Errorf("after the sign-out: %d, want 401", code)
	}
	for range 6 {
		code, _, got = signIn("admin", "wrong password", "")
	}
	if code != 429 || !strings.Contains(got, string(CodeTooManySignIns)) {
		t.Errorf("brute force: %d %s", code, got)
	}
}

// Security 24: each changing request leaves one record, refused ones too, and none holds a secret.
func TestSecurity24EveryChangeLeavesOneRecord(t *testing.T) {
	p := open(t, true, access.Admin)
	admin, viewer := p.token(t, access.Admin), p.token(t, access.Viewer)
	for _, r := range Routes() {
		if !r.changes() {
			continue
		}
		before := len(p.entries(t))
		_, _, resp := p.ask(t, r.Method, filled(r.Path), `{"password":"canary-secret","name":"x"}`, admin, nil)
		list := p.entries(t)
		if len(list) != before+1 {
			t.Errorf("%s %s: %d records more, want 1", r.Method, r.Path, len(list)-before)
			continue
		}
		e := list[0]
		if e.Action != r.Method+" "+r.Path || e.ID != resp.Header.Get(RequestIDHeader) || e.Address != "127.0.0.1" || e.Outcome == "" || r.Path != "/api/v1/session" && (e.Who != "token of admin" || e.Role != "admin") {
			t.Errorf("%s %s: %+v", r.Method, r.Path, e)
		}
		if strings.Contains(e.Before+e.After+e.Subject, "canary") {
			t.Errorf("%s %s: the record holds a secret: %+v", r.Method, r.Path, e)
		}
	}
	before := len(p.entries(t))
	p.ask(t, "POST", "/api/v1/destinations/crm/pause", `{"why":"ann@example.com asked","by":"somebody else"}`, admin, nil)
	p.ask(t, "POST", "/api/v1/destinations/crm/pause", `{}`, viewer, nil)
	p.ask(t, "GET", "/api/v1/waits/1?personal_data=true", "", admin, nil)
	p.ask(t, "GET", "/api/v1/pauses", "", admin, nil)
	list := p.entries(t)
	if len(list) != before+3 {
		t.Fatalf("%d records more, want 3", len(list)-before)
	}
	if e := list[2]; e.Outcome != access.Done || e.Subject != "destinations/crm/pause" || strings.Contains(e.After, "ann@") || !strings.Contains(e.After, "why") {
		t.Errorf("a pause: %+v", e)
	}
	if e := list[1]; e.Outcome != access.Refused || e.Detail != string(CodeRole) || e.Who != "token of viewer" {
		t.Errorf("a refused pause: %+v", e)
	}
	if e := list[0]; !strings.Contains(e.After, "personal_data") {
		t.Errorf("unmasking: %+v", e)
	}
	code, got, _ := p.ask(t, "GET", "/api/v1/audit?outcome=refused&who=token+of+viewer&limit=1", "", admin, nil)
	var page AuditList
	if err := json.Unmarshal([]byte(got), &page); err != nil || code != 200 || len(page.Items) != 1 || page.Items[0].Detail != string(CodeRole) {
		t.Errorf("the log: %d %s %v", code, got, err)
	}
	p.logs.mu.Lock()
	p.logs.down = true
	p.logs.mu.Unlock()
	if code, got, _ := p.ask(t, "POST", "/api/v1/destinations/crm/pause", `{"why":"w","by":"b"}`, admin, nil); code != 503 || !strings.Contains(got, string(CodeAudit)) {
		t.Errorf("a change without a log: %d %s", code, got)
	}
}

func TestWhoIsSignedInActsInNobodyElsesName(t *testing.T) {
	p := open(t, true, access.Admin)
	said := &pausing{}
	p.board.SetPauses(said)
	p.ask(t, "POST", "/api/v1/destinations/crm/pause", `{"why":"w","by":"somebody else"}`, p.token(t, access.Operator), nil)
	if len(said.said) != 1 || said.said[0].By != "token of operator" {
		t.Errorf("got %+v", said.said)
	}
}

// Security 17: without users everybody on the machine may do everything, and nobody else anything.
func TestSecurity17WithoutUsersOnlyTheMachineItselfMay(t *testing.T) {
	local, remote := open(t, true), open(t, false)
	if code, got, _ := local.ask(t, "GET", "/api/v1/users", "", "", nil); code != 200 {
		t.Errorf("on loopback: %d %s", code, got)
	}
	for _, r := range Routes() {
		if r.Role == Anyone {
			continue
		}
		if code, got, _ := remote.ask(t, r.Method, filled(r.Path), "", "", nil); code != 401 || !strings.Contains(got, string(CodeNoUsers)) {
			t.Errorf("%s %s from elsewhere: %d %s", r.Method, r.Path, code, got)
		}
	}
	unread := NewBoard(nil)
	unread.SetAccess(Access{Local: true})
	srv := httptest.NewServer(unread.Handler(prometheus.NewRegistry()))
	defer srv.Close()
	p := &port{Server: srv}
	for path, want := range map[string]int{"/status": 200, "/readyz": 503, "/healthz": 200, "/api/v1/limits": 503, "/api/v1/users": 503} {
		if code, got, _ := p.ask(t, "GET", path, "", "", nil); code != want {
			t.Errorf("before Kafka was read, %s: %d %s, want %d", path, code, got, want)
		}
	}
}
