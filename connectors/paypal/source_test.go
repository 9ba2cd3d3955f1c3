package paypal

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"

	"github.com/tillstream/tillstream/connectors"
	"github.com/tillstream/tillstream/connectors/connectorstest"
	"github.com/tillstream/tillstream/schemas"
)

// account is PayPal's side of one app, as far as a connection uses it.
type account struct {
	mu       sync.Mutex
	secret   string
	host     string
	scopes   string
	expires  int
	hooks    []webhook
	tokens   int
	log      []string // "METHOD path"
	override func(r *http.Request, body string) *http.Response
	// certificates says whether the certificate can be had; nil: it can.
	certificates func(*http.Request) bool
}

func newAccount() *account {
	return &account{secret: "secret", host: "api-m.sandbox.paypal.com", expires: 32400, scopes: strings.Join([]string{scopeWebhooks, scopeVerify, scopePayments, scopeSubscriptions, scopeReporting}, " ")}
}

func answerOf(status int, body string, header ...string) *http.Response {
	p := page(status, []byte(body))
	p.Header.Set("Paypal-Debug-Id", "f00dbabe")
	for i := 0; i+1 < len(header); i += 2 {
		p.Header.Set(header[i], header[i+1])
	}
	return p
}

func (a *account) RoundTrip(r *http.Request) (*http.Response, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	body := ""
	if r.Body != nil {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		body = string(b)
	}
	a.log = append(a.log, r.Method+" "+r.URL.Path)
	if a.override != nil {
		if p := a.override(r, body); p != nil {
			return p, nil
		}
	}
	id, secret, basic := r.BasicAuth()
	switch path, ok := strings.CutPrefix(r.URL.Path, "/v1/notifications/webhooks"); {
	case r.URL.Path == tokenPath && (!basic || id != "id" || secret != a.secret || r.URL.Host != a.host || body != "grant_type=client_credentials"):
		return answerOf(401, `{"error":"invalid_client","error_description":"Client Authentication failed"}`), nil
	case r.URL.Path == tokenPath:
		a.tokens++
		return answerOf(200, fmt.Sprintf(`{"scope":%q,"access_token":"T%d","token_type":"Bearer","expires_in":%d}`, a.scopes, a.tokens, a.expires)), nil
	case r.Header.Get("Authorization") != fmt.Sprintf("Bearer T%d", a.tokens):
		return answerOf(401, `{"error":"invalid_token","error_description":"Access Token not found in cache"}`), nil
	case ok:
		return a.webhooks(r.Method, strings.TrimPrefix(path, "/"), body), nil
	}
	return answerOf(404, `{"name":"RESOURCE_NOT_FOUND"}`), nil
}

func (a *account) webhooks(method, id, body string) *http.Response {
	at := slices.IndexFunc(a.hooks, func(w webhook) bool { return w.ID == id })
	send := func(status int, v any) *http.Response {
		b, _ := json.Marshal(v)
		return answerOf(status, string(b))
	}
	switch {
	case id == "" && method == http.MethodGet:
		return send(200, map[string]any{"webhooks": a.hooks})
	case id == "":
		var w webhook
		_ = json.Unmarshal([]byte(body), &w)
		switch {
		case slices.ContainsFunc(a.hooks, func(h webhook) bool { return h.URL == w.URL }):
			return answerOf(400, `{"name":"WEBHOOK_URL_ALREADY_EXISTS","message":"Webhook URL already exists"}`)
		case len(a.hooks) == 10:
			return answerOf(400, `{"name":"WEBHOOK_NUMBER_LIMIT_EXCEEDED","message":"Webhook number limit exceeded"}`)
		case !strings.HasPrefix(w.URL, "https://"):
			return answerOf(400, `{"name":"VALIDATION_ERROR","details":[{"field":"url","issue":"Not a valid webhook URL"}],"message":"Invalid data provided"}`)
		}
		w.ID = fmt.Sprintf("HOOK%d", len(a.hooks)+1)
		a.hooks = append(a.hooks, w)
		return send(201, w)
	case at < 0:
		return answerOf(404, `{"name":"INVALID_RESOURCE_ID","details":[],"message":"Resource id is invalid"}`)
	case method == http.MethodPatch:
		var patch []struct {
			Op, Path string
			Value    []eventType
		}
		if err := json.Unmarshal([]byte(body), &patch); err != nil || patch[0].Op != "replace" || patch[0].Path != "/event_types" {
			return answerOf(400, `{"name":"INVALID_REQUEST"}`)
		}
		a.hooks[at].EventTypes = patch[0].Value
	case method == http.MethodDelete:
		a.hooks = slices.Delete(a.hooks, at, at+1)
		return answerOf(204, "")
	}
	return send(200, a.hooks[at])
}

func (a *account) calls(prefix string) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	n := 0
	for _, l := range a.log {
		if strings.HasPrefix(l, prefix) {
			n++
		}
	}
	return n
}

// connected opens a sandbox connection to a; its waits are recorded, not waited.
func connected(t *testing.T, a http.RoundTripper, c *Config) (*source, *clock, *[]time.Duration) {
	t.Helper()
	at := &clock{t: start}
	s := opened(t, c, schemas.Sandbox, at, &web{serve: a.RoundTrip})
	var waits []time.Duration
	for _, api := range []*api{s.api, s.other} {
		if api != nil {
			api.wait = func(_ context.Context, d time.Duration) error { waits = append(waits, d); return nil }
		}
	}
	return s, at, &waits
}

// TestRegister: created once, found again after a restart, corrected when the resources change, removed.
func TestRegister(t *testing.T) {
	a := newAccount()
	s, _, _ := connected(t, a, &Config{})
	for range 2 {
		id, err := s.Register(t.Context())
		if err != nil || id.ID != "HOOK1" || s.webhook() != "HOOK1" {
			t.Fatalf("got %+v %v, want HOOK1", id, err)
		}
	}
	want := slices.Concat(subscribed[ResourceOrders], subscribed[ResourceBilling])
	slices.Sort(want)
	if diff := cmp.Diff(a.hooks[0].names(), want); diff != "" {
		t.Errorf("event types -got +want:\n%s", diff)
	}
	if got := a.calls("POST /v1/notifications"); got != 1 {
		t.Errorf("got %d creations, want 1", got)
	}
	t.Run("restarted with one resource less", func(t *testing.T) {
		s, _, _ := connected(t, a, &Config{})
		s.wanted, _ = eventTypes([]string{ResourceBilling})
		id, err := s.Register(t.Context())
		if err != nil || id.ID != "HOOK1" || a.calls("PATCH") != 1 || !slices.Equal(a.hooks[0].names(), s.wanted) {
			t.Errorf("got %+v %v after %d corrections, want HOOK1 with fewer types after 1", id, err, a.calls("PATCH"))
		}
		if err := s.Unregister(t.Context()); err != nil || len(a.hooks) != 0 || s.webhook() != "" {
			t.Errorf("got %v with %d webhooks left, want none", err, len(a.hooks))
		}
		if err := s.Unregister(t.Context()); err != nil {
			t.Errorf("removed twice: %v", err)
		}
	})
	t.Run("another instance was faster", func(t *testing.T) {
		a := newAccount()
		hidden := true
		a.override = func(r *http.Request, _ string) *http.Response {
			if hidden && r.Method == http.MethodGet {
				hidden = false
				a.hooks = []webhook{{ID: "THEIRS", URL: "https://hooks.example.com/webhooks/shop"}}
				return answerOf(200, `{"webhooks":[]}`)
			}
			return nil
		}
		s, _, _ := connected(t, a, &Config{})
		if id, err := s.Register(t.Context()); err != nil || id.ID != "THEIRS" || len(a.hooks) != 1 {
			t.Errorf("got %+v %v with %d webhooks, want THEIRS", id, err, len(a.hooks))
		}
	})
	t.Run("a configured webhook is left alone", func(t *testing.T) {
		a := newAccount()
		s, _, _ := connected(t, a, &Config{WebhookID: "MINE"})
		id, err := s.Register(t.Context())
		if err2 := s.Unregister(t.Context()); err != nil || err2 != nil || id.ID != "MINE" || len(a.log) != 0 {
			t.Errorf("got %+v %v %v after %v, want MINE and no request", id, err, err2, a.log)
		}
	})
}

// TestRegisterRefused: PayPal's refusals come with what to do, and with the id that its support asks for.
func TestRegisterRefused(t *testing.T) {
	full := newAccount()
	for i := range 10 {
		full.hooks = append(full.hooks, webhook{ID: fmt.Sprint("H", i), URL: fmt.Sprintf("https://shop%d.example.com/secret-path", i)})
	}
	s, _, _ := connected(t, full, &Config{})
	_, err := s.Register(t.Context())
	for _, want := range []string{"10 webhooks", "f00dbabe", "taken by shop0.example.com, shop1.example.com"} {
		if !strings.Contains(fmt.Sprint(err), want) {
			t.Errorf("the eleventh: got %v, want %q in it", err, want)
		}
	}
	if strings.Contains(fmt.Sprint(err), "secret-path") {
		t.Errorf("the eleventh: got %v, want no path in it", err)
	}
	s, _, _ = connected(t, newAccount(), &Config{})
	s.env.PublicURL = "http://plain.example.com"
	if _, err := s.Register(t.Context()); err == nil || !strings.Contains(err.Error(), "port 443") || !strings.Contains(err.Error(), "url Not a valid webhook URL") {
		t.Errorf("plain http: got %v", err)
	}
	s.env.PublicURL = ""
	if _, err := s.Register(t.Context()); !errors.Is(err, errNoURL) {
		t.Errorf("no address: got %v", err)
	}
}

// TestToken: one token serves many calls, is renewed a minute before its end, and once when it is refused.
func TestToken(t *testing.T) {
	a := newAccount()
	s, at, _ := connected(t, a, &Config{})
	var group sync.WaitGroup
	for range 10 {
		group.Go(func() {
			if _, err := s.webhooks(context.Background()); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	at.add(32400*time.Second - tokenEarly - time.Second)
	_, _ = s.webhooks(t.Context())
	if a.tokens != 1 {
		t.Errorf("got %d tokens, want 1", a.tokens)
	}
	at.add(time.Second)
	if _, err := s.webhooks(t.Context()); err != nil || a.tokens != 2 {
		t.Errorf("a minute before its end: got %d tokens %v, want 2", a.tokens, err)
	}
	a.tokens = 7 // PayPal forgot the one we hold
	if _, err := s.webhooks(t.Context()); err != nil || a.tokens != 8 {
		t.Errorf("refused: got token %d %v, want a new one", a.tokens, err)
	}
	a.override = func(r *http.Request, _ string) *http.Response {
		if r.URL.Path == tokenPath {
			return nil
		}
		return answerOf(401, `{"name":"AUTHENTICATION_FAILURE"}`)
	}
	before := len(a.log)
	if _, err := s.webhooks(t.Context()); err == nil || len(a.log)-before != 3 {
		t.Errorf("refused for ever: got %v after %d requests, want an error after one retry", err, len(a.log)-before)
	}
}

// TestTooManyRequests: PayPal says how long to wait; without a word it is 30 s, and an hour is not ours to wait.
func TestTooManyRequests(t *testing.T) {
	for _, c := range []struct {
		name    string
		answers []*http.Response
		waits   []time.Duration
		fails   bool
	}{
		{"seconds", []*http.Response{answerOf(429, `{}`, "Retry-After", "7")}, []time.Duration{7 * time.Second}, false},
		{"a date", []*http.Response{answerOf(429, `{}`, "Retry-After", start.Add(9*time.Second).Format(http.TimeFormat))}, []time.Duration{9 * time.Second}, false},
		{"no word", []*http.Response{answerOf(429, `{}`)}, []time.Duration{30 * time.Second}, false},
		{"an hour", []*http.Response{answerOf(429, `{}`, "Retry-After", "3600")}, nil, true},
		{"ten years", []*http.Response{answerOf(429, `{}`, "Retry-After", "315360000")}, nil, true},
		{"server errors", []*http.Response{answerOf(500, `<html>`), answerOf(503, ``)}, []time.Duration{time.Second, 2 * time.Second}, false},
		{"too often", []*http.Response{answerOf(503, ``), answerOf(503, ``), answerOf(503, ``)}, []time.Duration{time.Second, 2 * time.Second}, true},
		{"not to be repeated", []*http.Response{answerOf(400, `{"name":"INVALID_REQUEST"}`)}, nil, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := newAccount()
			left := c.answers
			a.override = func(r *http.Request, _ string) *http.Response {
				if r.URL.Path == tokenPath || len(left) == 0 {
					return nil
				}
				p := left[0]
				left = left[1:]
				return p
			}
			s, _, waits := connected(t, a, &Config{})
			_, err := s.webhooks(t.Context())
			if (err != nil) != c.fails || !slices.Equal(*waits, c.waits) {
				t.Errorf("got %v after waits of %v, want failure %t after %v", err, *waits, c.fails, c.waits)
			}
			if err != nil && !strings.Contains(err.Error(), "f00dbabe") {
				t.Errorf("got %v, want Paypal-Debug-Id in it", err)
			}
		})
	}
}

// TestCheck: each thing that is wrong is named, with what to do.
func TestCheck(t *testing.T) {
	for _, c := range []struct {
		name    string
		edit    func(*account)
		cfg     Config
		level   connectors.Level
		field   string
		message string
	}{
		{"ready", func(*account) {}, Config{}, connectors.OK, "client_secret", "accepts the credentials"},
		{"wrong secret", func(a *account) { a.secret = "another" }, Config{}, connectors.Bad, "client_secret", "Client Authentication failed"},
		{"credentials of live", func(a *account) { a.host = "api-m.paypal.com" }, Config{}, connectors.Bad, "client_secret", "they work in the other one"},
		{"slots", func(a *account) { a.hooks = []webhook{{ID: "H", URL: "https://else.example.com"}} }, Config{}, connectors.OK, "", "1 of the app's 10 webhooks are taken"},
		{"no slot left", func(a *account) {
			for i := range 10 {
				a.hooks = append(a.hooks, webhook{ID: fmt.Sprint("H", i), URL: fmt.Sprintf("https://shop%d.example.com/secret-path", i)})
			}
		}, Config{}, connectors.Bad, "", "all 10 webhooks of the app are taken, by shop0.example.com, shop1"},
		{"no verify scope", func(a *account) { a.scopes = scopeWebhooks }, Config{Verification: verifyByPayPal}, connectors.Bad, "client_id", scopeVerify},
		{"no verify scope as second way", func(a *account) { a.scopes = scopeWebhooks }, Config{Verification: verifyEither}, connectors.Warn, "client_id", scopeVerify},
		{"no payment scope", func(a *account) { a.scopes = scopeWebhooks }, Config{}, connectors.Warn, "client_id", scopePayments},
		{"no reporting scope", func(a *account) { a.scopes = scopeWebhooks }, Config{}, connectors.Warn, "client_id", "(Transaction search), needed to load payments of the past"},
		{"no webhook scope for a webhook of one's own", func(a *account) { a.scopes = scopePayments }, Config{WebhookID: "MINE"}, connectors.Warn, "client_id", scopeWebhooks},
		{"type switched off", func(a *account) {
			a.hooks = []webhook{{ID: "MINE", URL: "https://hooks.example.com/webhooks/shop", EventTypes: []eventType{{"*", "ENABLED"}, {"PAYMENT.SALE.COMPLETED", "DISABLED"}}}}
		}, Config{WebhookID: "MINE"}, connectors.Warn, "webhook_id", "does not send these event types of the webhook: PAYMENT.SALE.COMPLETED"},
		{"no webhook scope", func(a *account) { a.scopes = scopePayments + " " + scopeSubscriptions }, Config{}, connectors.Bad, "client_id", scopeWebhooks},
		{"no subscription scope", func(a *account) { a.scopes = scopePayments + " " + scopeWebhooks }, Config{}, connectors.Warn, "client_id", scopeSubscriptions},
		{"webhook of another app", func(*account) {}, Config{WebhookID: "ELSE"}, connectors.Bad, "webhook_id", "not one of this app"},
		{"webhook elsewhere", func(a *account) {
			a.hooks = []webhook{{ID: "MINE", URL: "https://else", EventTypes: []eventType{{Name: "*"}}}}
		}, Config{WebhookID: "MINE"}, connectors.Warn, "webhook_id", "another address"},
		{"types missing", func(a *account) {
			a.hooks = []webhook{{ID: "MINE", URL: "https://hooks.example.com/webhooks/shop", EventTypes: typeList(subscribed[ResourceOrders])}}
		}, Config{WebhookID: "MINE"}, connectors.Warn, "webhook_id", "BILLING.SUBSCRIPTION.CREATED"},
		{"PayPal is down", func(a *account) {
			a.override = func(*http.Request, string) *http.Response { return answerOf(503, "") }
		}, Config{}, connectors.Bad, "base_url", "status 503"},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := newAccount()
			c.edit(a)
			s, _, _ := connected(t, a, &c.cfg)
			found := s.Check(t.Context())
			hit := slices.ContainsFunc(found, func(f connectors.Finding) bool {
				return f.Level == c.level && f.Field == c.field && strings.Contains(f.Message, c.message) && (f.Level == connectors.OK || f.Hint != "")
			})
			if !hit {
				t.Errorf("got %+v, want %s on %s: %s", found, c.level, c.field, c.message)
			}
			if c.level == connectors.OK && len(found) != 2 {
				t.Errorf("got %+v, want that and the slots", found)
			}
		})
	}
}

// TestConfig: each mistake in the configuration is found at its field.
func TestConfig(t *testing.T) {
	good := func() *Config { return &Config{ClientID: "id", ClientSecret: schemas.NewSecret("secret")} }
	if got := good().Validate(); len(got) != 0 {
		t.Errorf("got %+v for a good one", got)
	}
	for name, edit := range map[string]func(*Config){
		"client_id":            func(c *Config) { c.ClientID = " " },
		"client_secret":        func(c *Config) { c.ClientSecret = schemas.Secret{} },
		"webhook_id":           func(c *Config) { c.WebhookID = "WEBHOOK_ID" },
		"webhook_id ":          func(c *Config) { c.WebhookID = "https://hooks.example.com" },
		"base_url":             func(c *Config) { c.BaseURL = "api-m.paypal.com" },
		"base_url ":            func(c *Config) { c.BaseURL = "http://paypal.example.com" },
		"base_url  ":           func(c *Config) { c.BaseURL = "https://user:pw@paypal.example.com" },
		"verification":         func(c *Config) { c.Verification = "none" },
		"confirm_above.EUR":    func(c *Config) { c.ConfirmAbove = map[string]string{"EUR": "1,000.00", "USD": "5"} },
		"confirm_above.USD":    func(c *Config) { c.ConfirmAbove = map[string]string{"EUR": "0", "USD": "-5"} },
		"confirm_above.euro":   func(c *Config) { c.ConfirmAbove = map[string]string{"euro": "5"} },
		"certificate_hosts[0]": func(c *Config) { c.CertificateHosts = []string{"api.paypal.com/v1"} },
		"certificate_hosts[1]": func(c *Config) { c.CertificateHosts = []string{"127.0.0.1:8443", "*.paypal.com"} },
		"certificate_hosts[2]": func(c *Config) {
			c.CertificateHosts = []string{"http://127.0.0.1:80", "api.paypal.com", "http://paypal.example.com"}
		},
	} {
		c := good()
		edit(c)
		if got := c.Validate(); len(got) != 1 || got[0].Field != strings.TrimSpace(name) || got[0].Level != connectors.Bad || got[0].Hint == "" {
			t.Errorf("%s: got %+v, want one finding there with a hint", name, got)
		}
	}
}

// TestConfigFromYAML: the settings that the README shows decode as they are meant.
func TestConfigFromYAML(t *testing.T) {
	readme := string(file(t, "README.md"))
	_, block, ok := strings.Cut(readme, "```yaml\n# every setting\n")
	text, _, ok2 := strings.Cut(block, "```")
	if !ok || !ok2 {
		t.Fatal("the README shows no example of every setting")
	}
	got := Connector.Config().(*Config)
	// A secret is put in by the configuration's own reader.
	text = regexp.MustCompile(`(?m)^client_secret:.*\n`).ReplaceAllString(text, "")
	if err := yaml.UnmarshalWithOptions([]byte(text), got, yaml.Strict()); err != nil {
		t.Fatal(err)
	}
	yes := true
	want := &Config{
		ClientID: "AXy...", WebhookID: "4JH86294D6297924G", BaseURL: "http://127.0.0.1:8080", CertificateHosts: []string{"http://127.0.0.1:8080"},
		TrustFile: "/etc/tillstream/paypal.pem", AcceptTestEvents: &yes, Verification: "either",
		ConfirmAbove: map[string]string{"EUR": "500.00", "USD": "550.00", "JPY": "80000"}, SharedAccount: true,
	}
	if diff := cmp.Diff(got, want, cmp.Comparer(schemas.Secret.Equal)); diff != "" {
		t.Errorf("-got +want:\n%s", diff)
	}
	for i := range reflect.TypeFor[Config]().NumField() {
		if key := reflect.TypeFor[Config]().Field(i).Tag.Get("yaml"); !strings.Contains(readme, "| `"+key+"`") && !strings.Contains(readme, "`"+key+"` |") {
			t.Errorf("the README's table has no %s", key)
		}
	}
}

// TestOpenRefused: what only shows when it is used is found when the connection is opened.
func TestOpenRefused(t *testing.T) {
	env := connectors.Env{Connection: "shop", Environment: schemas.Live, Now: time.Now, HTTP: http.DefaultClient}
	empty := filepath.Join(t.TempDir(), "empty.pem")
	writePEM(t, empty)
	for name, edit := range map[string]func(*Config, *connectors.Env){
		"environment":            func(_ *Config, e *connectors.Env) { e.Environment = "test" },
		`resource "everything"`:  func(_ *Config, e *connectors.Env) { e.Resources = []string{"everything"} },
		"trust_file":             func(c *Config, _ *connectors.Env) { c.TrustFile = "/no/such/file" },
		"no PEM certificate":     func(c *Config, _ *connectors.Env) { c.TrustFile = empty },
		"certificate host":       func(c *Config, _ *connectors.Env) { c.CertificateHosts = []string{"@"} },
		"no HTTP client":         func(_ *Config, e *connectors.Env) { e.HTTP = nil },
		"paypal connection shop": func(_ *Config, e *connectors.Env) { e.Resources = []string{""} },
	} {
		c, e := &Config{}, env
		edit(c, &e)
		if _, err := Connector.Open(t.Context(), c, e); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if _, err := Connector.Open(t.Context(), "text", env); err == nil {
		t.Error("a configuration of another type: got no error")
	}
}

// TestConformance holds the connector to what every connector must do.
func TestConformance(t *testing.T) {
	root, key := newAuthority(t), rsaKey(t, 2048)
	anchor := filepath.Join(t.TempDir(), "root.pem")
	writePEM(t, anchor, root.der)
	served := asPEM(root.leaf(&key.PublicKey, sandboxName, nil))
	const secret = "canary-client-secret"
	a := newAccount()
	a.secret, a.host = secret, "127.0.0.1:8443"
	outside := &web{serve: func(r *http.Request) (*http.Response, error) {
		if strings.HasPrefix(r.URL.Path, "/v1/notifications/certs/") {
			return page(200, served), nil
		}
		return a.RoundTrip(r)
	}}
	body := []byte(event("CHECKOUT.ORDER.APPROVED", "checkout-order", `{"id":"O","status":"APPROVED"}`))
	var samples []connectors.Delivery
	for _, body := range connectorstest.GoldenBodies(t) {
		samples = append(samples, delivery(string(body)))
	}
	connectorstest.Run(t, Connector, connectorstest.Options{
		Config: &Config{
			ClientID: "id", ClientSecret: schemas.NewSecret(secret), TrustFile: anchor, BaseURL: "https://127.0.0.1:8443",
			CertificateHosts: []string{"127.0.0.1:8443"}, WebhookID: "HOOK",
		},
		Secrets:     []string{secret, base64.StdEncoding.EncodeToString([]byte("id:" + secret))},
		Environment: schemas.Sandbox, Now: func() time.Time { return start }, Outside: outside, Samples: samples,
		Signed: func() (*http.Request, []byte) { return request(signedBy(t, key, "HOOK", body)), slices.Clone(body) },
	})
}
