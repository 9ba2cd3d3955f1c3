package webhook_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tillstream/tillstream/outbound"
	"github.com/tillstream/tillstream/schemas"
	receiver "github.com/tillstream/tillstream/simulators/webhook"
	"github.com/tillstream/tillstream/sinks"
	"github.com/tillstream/tillstream/sinks/sinkstest"
	"github.com/tillstream/tillstream/sinks/webhook"
)

const (
	secret    = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw" // the example of Standard Webhooks
	newSecret = "whsec_bmV3LW5ldy1uZXctbmV3LW5ldy1uZXctbmV3LW5ldw=="
	token     = "t0kenOfTheAddress"
)

func config(base string) any {
	c := webhook.Sink.Config().(*webhook.Config)
	c.URL, c.Secrets = base+"/hooks/"+token+"?key="+token, []schemas.Secret{schemas.NewSecret(secret)}
	return c
}

func notice(data string) schemas.Command {
	return schemas.Command{
		CommandID: "3f1c0123456789ab", Kind: schemas.CommandEffect, Destination: "hook", ContactKey: "live/ada@shop.example",
		Contact: schemas.Contact{Email: "ada@shop.example"}, At: time.Date(2026, 11, 2, 10, 0, 0, 0, time.UTC),
		Effect: &schemas.Effect{Type: schemas.EffectNotify, Name: "order.paid", Data: data},
	}
}

func TestConformance(t *testing.T) {
	state := notice("")
	state.Kind, state.Effect = schemas.CommandContact, nil
	sinkstest.Run(t, sinkstest.Options{
		Sink: webhook.Sink, Config: config, Contact: state, Secrets: []string{secret, strings.TrimPrefix(secret, "whsec_"), token},
		Backend: func() http.Handler { return newReceiver(t, nil).Handler() },
		Effects: []sinkstest.EffectCase{{
			Command: notice(`{"type":"order.paid"}`), Repeatable: true, StatusDecides: true,
			Writes: func(r *http.Request) bool { return r.Method == http.MethodPost },
		}},
	})
}

func newReceiver(t *testing.T, now func() time.Time, secrets ...string) *receiver.Server {
	t.Helper()
	if secrets == nil {
		secrets = []string{secret}
	}
	s, err := receiver.New(receiver.Options{Secrets: secrets, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// bench is a writer, and whatever answers it.
type bench struct {
	sinks.Writer
	url string
}

func open(t *testing.T, handler http.Handler, change ...func(*webhook.Config)) *bench {
	t.Helper()
	srv := httptest.NewServer(handler)
	t.Cleanup(srv.Close)
	client, err := outbound.NewClient(outbound.Options{AllowPrivate: true, Timeout: 2 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.CloseIdleConnections)
	c := config(srv.URL).(*webhook.Config)
	for _, f := range change {
		f(c)
	}
	w, err := webhook.Sink.Open(t.Context(), c, sinks.Env{Destination: "hook", Now: clock, HTTP: client})
	if err != nil {
		t.Fatal(err)
	}
	return &bench{w, srv.URL}
}

func clock() time.Time { return time.Unix(1614265330, 0) }

func (b *bench) send(t *testing.T, cmd schemas.Command) sinks.Outcome {
	t.Helper()
	o := b.Write(t.Context(), []schemas.Command{cmd})[0]
	if (o.Kind == sinks.Delivered) != (o.Err == nil) || o.Kind == sinks.Rejected && o.Remedy == "" {
		t.Errorf("got %d with error %v and remedy %q", o.Kind, o.Err, o.Remedy)
	}
	if shown := fmt.Sprintf("%v %s %+v", o.Err, o.Remedy, o.Exchanges); strings.Contains(shown, token) {
		t.Errorf("the address shows: %s", shown)
	}
	return o
}

// TestVector is the example of the specification: its id, time, body and secret give its signature.
func TestVector(t *testing.T) {
	var got http.Header
	b := open(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got = r.Header }))
	cmd := notice(`{"test": 2432232314}`)
	cmd.CommandID = "msg_p5jXN8AQM9LWM0D4loKWxJek"
	b.send(t, cmd)
	want := map[string]string{
		"webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek", "webhook-timestamp": "1614265330", "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
		"content-type": "application/json",
	}
	for name, value := range want {
		if got.Get(name) != value {
			t.Errorf("%s: got %q, want %q", name, got.Get(name), value)
		}
	}
}

// TestReceiverTakesItOnce: a receiver as documented verifies, and drops what is sent again.
func TestReceiverTakesItOnce(t *testing.T) {
	s := newReceiver(t, clock)
	b := open(t, s.Handler())
	s.Answer(receiver.Answer{Cut: true, Taken: true}, receiver.Answer{Status: 503})
	for i, want := range []sinks.OutcomeKind{sinks.Retryable, sinks.Retryable, sinks.Delivered, sinks.Delivered} {
		if o := b.send(t, notice(`{"a": 1.10}`)); o.Kind != want {
			t.Errorf("try %d: got %d, want %d: %v", i, o.Kind, want, o.Err)
		}
		if o := b.Reconcile(t.Context(), notice("")); o.Kind != sinks.NotHappened {
			t.Errorf("reconcile: got %d, want that it may be sent again", o.Kind)
		}
	}
	want := []receiver.Notice{{ID: "3f1c0123456789ab", Body: json.RawMessage(`{"a": 1.10}`), At: clock().UTC(), Times: 3}}
	if d := cmp.Diff(s.Notices(), want); d != "" {
		t.Errorf("got - want:\n%s", d)
	}
	if got := s.Refusals(); len(got) != 0 {
		t.Errorf("refused: %v", got)
	}
}

// TestRotation: with both secrets active, receivers of the old one, the new one and both take the notice.
func TestRotation(t *testing.T) {
	for _, accepts := range [][]string{{secret}, {newSecret}, {newSecret, secret}} {
		s := newReceiver(t, clock, accepts...)
		b := open(t, s.Handler(), func(c *webhook.Config) { c.Secrets = append(c.Secrets, schemas.NewSecret(newSecret)) })
		if o := b.send(t, notice(`{}`)); o.Kind != sinks.Delivered || len(s.Notices()) != 1 {
			t.Errorf("%v: got %d: %v", accepts, o.Kind, o.Err)
		}
	}
	s := newReceiver(t, clock, newSecret)
	o := open(t, s.Handler()).send(t, notice(`{}`))
	if o.Kind != sinks.Retryable || !o.Account || len(s.Notices()) != 0 || len(s.Refusals()) != 1 {
		t.Errorf("a wrong secret: got %d, account %v: %v", o.Kind, o.Account, o.Err)
	}
}

// TestAnswers: what a status means for the notice, and for those behind it.
func TestAnswers(t *testing.T) {
	for _, c := range []struct {
		status  int
		after   string // Retry-After
		want    sinks.OutcomeKind
		account bool
		wait    time.Duration
		says    string
	}{
		{200, "", sinks.Delivered, false, 0, ""},
		{202, "", sinks.Delivered, false, 0, ""},
		{204, "", sinks.Delivered, false, 0, ""},
		{301, "", sinks.Retryable, true, 0, "redirect"},
		{308, "", sinks.Retryable, true, 0, "redirect"},
		{400, "", sinks.Rejected, false, 0, "400"},
		{401, "", sinks.Retryable, true, 0, "secret"},
		{403, "", sinks.Retryable, true, 0, "secret"},
		{404, "", sinks.Rejected, false, 0, "404"},
		{408, "", sinks.Retryable, false, 0, ""},
		{410, "", sinks.Rejected, false, 0, "gone"},
		{413, "", sinks.Rejected, false, 0, ""},
		{422, "", sinks.Rejected, false, 0, ""},
		{425, "", sinks.Retryable, false, 0, ""},
		{429, "", sinks.Retryable, true, time.Second, ""},
		{429, "120", sinks.Retryable, true, 2 * time.Minute, ""},
		{429, "Thu, 25 Feb 2021 15:02:40 GMT", sinks.Retryable, true, 30 * time.Second, ""},
		{429, "99999999999", sinks.Retryable, true, outbound.HoldMax, ""},
		{500, "", sinks.Retryable, false, 0, ""},
		{500, "9", sinks.Retryable, false, 9 * time.Second, ""},
		{501, "", sinks.Retryable, false, 0, ""},
		{502, "", sinks.Retryable, false, 0, ""},
		{503, "", sinks.Retryable, false, 0, ""},
		{503, "5", sinks.Retryable, true, 5 * time.Second, ""},
		{504, "", sinks.Retryable, false, 0, ""},
		{599, "", sinks.Retryable, false, 0, ""},
	} {
		t.Run(fmt.Sprint(c.status, " ", c.after), func(t *testing.T) {
			n := 0
			b := open(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				n++
				w.Header().Set("Location", "http://169.254.169.254/")
				if c.after != "" {
					w.Header().Set("Retry-After", c.after)
				}
				w.WriteHeader(c.status)
			}))
			out := b.Write(t.Context(), []schemas.Command{notice(`{}`), notice(`{}`)})
			for _, o := range out {
				if o.Kind != c.want || o.Account != c.account || o.RetryAfter != c.wait {
					t.Errorf("got %d, account %v, after %s: %v", o.Kind, o.Account, o.RetryAfter, o.Err)
				}
				if text := fmt.Sprint(o.Err, o.Remedy); !strings.Contains(text, c.says) {
					t.Errorf("got %q, want it to say %q", text, c.says)
				}
			}
			if want := map[bool]int{true: 1, false: 2}[c.account]; n != want {
				t.Errorf("got %d requests, want %d", n, want)
			}
		})
	}
}

// TestHostileReceivers: a success counts whatever comes with it, and nothing of it is waited for without end or kept.
func TestHostileReceivers(t *testing.T) {
	for name, answer := range map[string]http.HandlerFunc{
		"a page for people": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			_, _ = w.Write([]byte("<html>"))
		},
		"5 GB": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "5000000000")
			chunk := make([]byte, 1<<20)
			for range 5000 {
				if _, err := w.Write(chunk); err != nil {
					return // the sink has hung up
				}
			}
			t.Error("5 GB were read")
		},
		"half of it": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			_, _ = w.Write([]byte("{"))
			if err := http.NewResponseController(w).Flush(); err != nil {
				t.Error(err)
			}
			panic(http.ErrAbortHandler)
		},
	} {
		t.Run(name, func(t *testing.T) {
			if o := open(t, answer).send(t, notice(`{}`)); o.Kind != sinks.Delivered {
				t.Errorf("got %d: %v", o.Kind, o.Err)
			}
		})
	}
}

// TestNobodyThere: what was not answered is sent again, whether it came through or not.
func TestNobodyThere(t *testing.T) {
	b := open(t, http.NotFoundHandler(), func(c *webhook.Config) { c.URL = "http://127.0.0.1:1/" + token })
	o := b.send(t, notice(`{}`))
	if o.Kind != sinks.Retryable || o.Account || len(o.Exchanges) != 1 || o.Exchanges[0].URL != "http://127.0.0.1:1/***" {
		t.Errorf("got %d, account %v, %+v: %v", o.Kind, o.Account, o.Exchanges, o.Err)
	}
}

// TestTheInsideIsGuarded: without allow_private_address no address inside the network is reached, and no plain http.
func TestTheInsideIsGuarded(t *testing.T) {
	client, err := outbound.NewClient(outbound.Options{Timeout: 2 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	for _, address := range []string{
		"https://127.0.0.1/", "https://169.254.169.254/latest/meta-data", "https://[::ffff:10.0.0.1]/", "https://[fd00:ec2::254]/", "https://2130706433/",
		"https://localhost/", "http://127.0.0.1/", "http://shop.example/", "https://0.0.0.0/", "https://100.100.100.200/",
	} {
		c := config("").(*webhook.Config)
		c.URL = address
		w, err := webhook.Sink.Open(t.Context(), c, sinks.Env{Destination: "hook", Now: clock, HTTP: client})
		if err != nil {
			t.Fatal(err)
		}
		o := w.Write(t.Context(), []schemas.Command{notice(`{}`)})[0]
		// What no resolver knows fails before it, and reaches nothing either.
		if o.Kind != sinks.Retryable || !o.Account && address != "https://2130706433/" {
			t.Errorf("%s: got %d, account %v: %v", address, o.Kind, o.Account, o.Err)
		}
		found := w.Check(t.Context())
		if last := found[len(found)-1]; !last.Bad || last.Field != "url" || last.Hint == "" {
			t.Errorf("%s: check: got %+v", address, found)
		}
	}
}

// TestBody: the data goes as it is, and what is none is refused.
func TestBody(t *testing.T) {
	for _, c := range []struct {
		name, data, want string // want "": refused
	}{
		{"an object", ` {"b":1, "a":1e3}`, ` {"b":1, "a":1e3}`},
		{"a text", `"x"`, `"x"`},
		{"nothing", " ", `{"data":{},"timestamp":"2026-11-02T10:00:00Z","type":"order.paid"}`},
		{"no JSON", `{"a":`, ""},
		{"two", `{}{}`, ""},
		{"too much", `"` + strings.Repeat("x", webhook.BodyBytesMax) + `"`, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newReceiver(t, clock)
			o := open(t, s.Handler()).send(t, notice(c.data))
			if (o.Kind == sinks.Delivered) != (c.want != "") || o.Kind != sinks.Delivered && o.Kind != sinks.Rejected {
				t.Fatalf("got %d: %v", o.Kind, o.Err)
			}
			if got := s.Notices(); c.want != "" && (len(got) != 1 || string(got[0].Body) != c.want) {
				t.Errorf("got %+v", got)
			}
		})
	}
}

func TestIDs(t *testing.T) {
	for id, want := range map[string]sinks.OutcomeKind{
		"3f1c": sinks.Delivered, "run/1:2_x-y=": sinks.Delivered, "": sinks.Rejected, "a.b": sinks.Rejected, "a\r\nx: y": sinks.Rejected, "ż": sinks.Rejected,
		strings.Repeat("x", 257): sinks.Rejected,
	} {
		s := newReceiver(t, clock)
		cmd := notice(`{}`)
		cmd.CommandID = id
		if o := open(t, s.Handler()).send(t, cmd); o.Kind != want || len(s.Notices()) > 0 != (want == sinks.Delivered) {
			t.Errorf("%q: got %d: %v", id, o.Kind, o.Err)
		}
	}
}

// TestCheck posts nothing.
func TestCheck(t *testing.T) {
	for _, c := range []struct {
		status int
		bad    bool
	}{{200, false}, {405, false}, {404, false}, {500, false}, {302, true}, {410, true}} {
		var mu sync.Mutex
		var methods []string
		b := open(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			mu.Lock()
			defer mu.Unlock()
			methods = append(methods, r.Method)
			w.WriteHeader(c.status)
		}))
		bad := false
		for _, f := range b.Check(t.Context()) {
			bad = bad || f.Bad
			if strings.Contains(f.Message+f.Hint, token) {
				t.Errorf("the address shows: %+v", f)
			}
		}
		if d := cmp.Diff(methods, []string{http.MethodHead}); bad != c.bad || d != "" {
			t.Errorf("%d: got bad %v, requests, got - want:\n%s", c.status, bad, d)
		}
	}
}

func TestConfig(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*webhook.Config)
		field  string // "": good
	}{
		"good":                {func(*webhook.Config) {}, ""},
		"no padding":          {func(c *webhook.Config) { c.Secrets[0] = schemas.NewSecret(strings.TrimRight(newSecret, "=")) }, ""},
		"http":                {func(c *webhook.Config) { c.URL = "http://10.0.0.1/x" }, ""},
		"no address":          {func(c *webhook.Config) { c.URL = "" }, "url"},
		"no scheme":           {func(c *webhook.Config) { c.URL = "example.com/x" }, "url"},
		"another scheme":      {func(c *webhook.Config) { c.URL = "file:///etc/passwd" }, "url"},
		"a user":              {func(c *webhook.Config) { c.URL = "https://a:b@example.com/" }, "url"},
		"a fragment":          {func(c *webhook.Config) { c.URL = "https://example.com/#x" }, "url"},
		"no secret":           {func(c *webhook.Config) { c.Secrets = nil }, "secrets"},
		"nine secrets":        {func(c *webhook.Config) { c.Secrets = make([]schemas.Secret, 9); fill(c.Secrets) }, "secrets"},
		"a word":              {func(c *webhook.Config) { c.Secrets[0] = schemas.NewSecret("correct horse battery staple") }, "secrets.0"},
		"no base64":           {func(c *webhook.Config) { c.Secrets[0] = schemas.NewSecret("whsec_!") }, "secrets.0"},
		"a short one":         {func(c *webhook.Config) { c.Secrets[0] = schemas.NewSecret("whsec_c2hvcnQ=") }, "secrets.0"},
		"an endless patience": {func(c *webhook.Config) { c.Timeout = time.Hour }, "timeout"},
	} {
		t.Run(name, func(t *testing.T) {
			conf := config("https://example.com").(*webhook.Config)
			c.change(conf)
			found := conf.Validate()
			switch {
			case c.field == "" && len(found) > 0, c.field != "" && (len(found) != 1 || found[0].Field != c.field || found[0].Hint == ""):
				t.Errorf("got %+v, want %q", found, c.field)
			}
			if _, err := webhook.Sink.Open(t.Context(), conf, sinks.Env{Destination: "hook"}); (err == nil) != (c.field == "") {
				t.Errorf("open: got %v", err)
			}
		})
	}
}

func fill(list []schemas.Secret) {
	for i := range list {
		list[i] = schemas.NewSecret(secret)
	}
}

// FuzzBody: whatever the data is, it arrives as it was or is refused, and the signature fits.
func FuzzBody(f *testing.F) {
	for _, s := range []string{"", "{}", `{"a":"ż"}`, "[", "null", "\x00", `"\u0000"`, " 1 "} {
		f.Add(s)
	}
	s, err := receiver.New(receiver.Options{Secrets: []string{secret}, Now: clock})
	if err != nil {
		f.Fatal(err)
	}
	handler := s.Handler()
	w, err := webhook.Sink.Open(f.Context(), config("https://example.com"), sinks.Env{Now: clock, HTTP: &http.Client{Transport: inProcess{handler}}})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, data string) {
		before := len(s.Refusals())
		o := w.Write(t.Context(), []schemas.Command{notice(data)})[0]
		if o.Kind == sinks.Rejected && json.Valid([]byte(data)) && len(data) <= webhook.BodyBytesMax || o.Kind != sinks.Rejected && o.Kind != sinks.Delivered {
			t.Errorf("%q: got %d: %v", data, o.Kind, o.Err)
		}
		if len(s.Refusals()) != before {
			t.Errorf("%q: the receiver refused it", data)
		}
	})
}

// inProcess answers requests by a handler.
type inProcess struct{ http.Handler }

// RoundTrip implements http.RoundTripper.
func (p inProcess) RoundTrip(r *http.Request) (*http.Response, error) {
	rec := httptest.NewRecorder()
	p.ServeHTTP(rec, r)
	return rec.Result(), nil
}
