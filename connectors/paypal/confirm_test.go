package paypal

import (
	"context"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tillstream/tillstream/connectors"
	"github.com/tillstream/tillstream/schemas"
)

// signer is one key for all these tests: making one takes long.
var signer struct {
	sync.Once
	key          *rsa.PrivateKey
	root, served []byte
}

// both is a connection whose certificates and API are answered by a; key signs what it believes.
func both(t *testing.T, a *account, c *Config) (*source, *clock, *rsa.PrivateKey) {
	t.Helper()
	signer.Do(func() {
		root := newAuthority(t)
		signer.key, signer.root = rsaKey(t, 2048), root.der
		signer.served = asPEM(root.leaf(&signer.key.PublicKey, sandboxName, nil))
	})
	key, served := signer.key, signer.served
	anchor := filepath.Join(t.TempDir(), "root.pem")
	writePEM(t, anchor, signer.root)
	c.TrustFile, c.CertificateHosts = anchor, []string{"127.0.0.1:8443"}
	if c.WebhookID == "" {
		c.WebhookID = "HOOK"
	}
	at := &clock{t: start}
	s := opened(t, c, schemas.Sandbox, at, &web{serve: func(r *http.Request) (*http.Response, error) {
		if strings.HasPrefix(r.URL.Path, "/v1/notifications/certs/") && (a.certificates == nil || a.certificates(r)) {
			return page(200, served), nil
		}
		return a.RoundTrip(r)
	}})
	s.api.wait = func(context.Context, time.Duration) error { return nil }
	return s, at, key
}

// shown makes an account that shows an event under its id, or answers its status.
func shown(status int, body string) *account {
	a := newAccount()
	a.override = func(r *http.Request, _ string) *http.Response {
		if strings.HasPrefix(r.URL.Path, eventsPath+"/") {
			return answerOf(status, body)
		}
		return nil
	}
	return a
}

// TestConfirmation: above the configured amount a signed event counts only when PayPal shows the same one.
func TestConfirmation(t *testing.T) {
	capture := func(value, currency string) string {
		return event("PAYMENT.CAPTURE.COMPLETED", "capture", fmt.Sprintf(`{"id":"C","status":"COMPLETED","amount":{"currency_code":%q,"value":%q}}`, currency, value))
	}
	read := func(body string) string {
		return strings.TrimSuffix(body, "}") + `,"status":"PENDING","transmissions":[{"webhook_url":"https://x"}],"links":[{"rel":"self","encType":"application/json"}]}`
	}
	above := map[string]string{"EUR": "500.00", "JPY": "60000"}
	for _, c := range []struct {
		name   string
		body   string
		above  map[string]string
		status int
		answer string
		want   connectors.VerdictKind
		calls  int
	}{
		{"not configured", capture("9999", "EUR"), nil, 404, `{}`, connectors.Genuine, 0},
		{"below", capture("499.99", "EUR"), above, 404, `{}`, connectors.Genuine, 0},
		{"just as much", capture("500.0", "EUR"), above, 404, `{}`, connectors.Genuine, 0},
		{"another currency", capture("9999", "USD"), above, 404, `{}`, connectors.Genuine, 0},
		{"not understood", capture("many", "EUR"), above, 404, `{}`, connectors.Genuine, 0},
		{"no amount", event("BILLING.SUBSCRIPTION.CREATED", "subscription", `{"id":"I-1","status":"ACTIVE"}`), above, 404, `{}`, connectors.Genuine, 0},
		{"the same", capture("500.01", "EUR"), above, 200, read(capture("500.01", "EUR")), connectors.Genuine, 1},
		{"the same, without decimals", capture("60001", "JPY"), above, 200, read(capture("60001", "JPY")), connectors.Genuine, 1},
		{"money that goes back", event("PAYMENT.SALE.REVERSED", "sale", `{"id":"S","state":"completed","amount":{"total":"-900","currency":"EUR"}}`), above, 404, `{}`, connectors.Unverifiable, 1},
		{"another amount", capture("9900", "EUR"), above, 200, read(capture("500.01", "EUR")), connectors.Forged, 1},
		{"another event", capture("9900", "EUR"), above, 200, read(event("PAYMENT.SALE.COMPLETED", "sale", `{}`)), connectors.Forged, 1},
		{"no object", capture("9900", "EUR"), above, 200, `[]`, connectors.Forged, 1},
		{"not readable yet", capture("9900", "EUR"), above, 404, `{"name":"INVALID_RESOURCE_ID"}`, connectors.Unverifiable, 1},
		{"no permission", capture("9900", "EUR"), above, 403, `{"name":"NOT_AUTHORIZED"}`, connectors.Unverifiable, 1},
		{"a page of HTML", capture("9900", "EUR"), above, 200, `<html>`, connectors.Unverifiable, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := shown(c.status, c.answer)
			s, _, key := both(t, a, &Config{ConfirmAbove: c.above})
			d, v := s.Verify(t.Context(), request(signedBy(t, key, "HOOK", []byte(c.body))), []byte(c.body))
			if v.Kind != c.want || a.calls("GET "+eventsPath+"/WH-1") != c.calls {
				t.Errorf("got %+v after %v, want %d after %d questions", v, a.log, c.want, c.calls)
			}
			if v.Kind == connectors.Genuine && !d.OnceID {
				t.Error("got a delivery that may be signed again with another body")
			}
		})
	}
	t.Run("a badly signed one asks nothing", func(t *testing.T) {
		a := shown(200, capture("9900", "EUR"))
		s, _, key := both(t, a, &Config{ConfirmAbove: above})
		body := []byte(capture("9900", "EUR"))
		if _, v := s.Verify(t.Context(), request(signedBy(t, key, "ELSE", body)), body); v.Kind != connectors.Forged || a.calls("") != 0 {
			t.Errorf("got %+v after %v, want forged and no request", v, a.log)
		}
	})
	t.Run("a simulator's event is not at PayPal", func(t *testing.T) {
		a := shown(404, `{}`)
		s, _, key := both(t, a, &Config{ConfirmAbove: above})
		body := []byte(capture("9900", "EUR"))
		if d, v := s.Verify(t.Context(), request(signedBy(t, key, mockWebhookID, body)), body); v.Kind != connectors.Genuine || !d.Test || a.calls("") != 0 {
			t.Errorf("got %+v %+v after %v, want a test event and no request", d, v, a.log)
		}
	})
}

// TestQuestionsAreBounded: a flood of deliveries to ask about costs a bounded number of requests and holds nobody up.
func TestQuestionsAreBounded(t *testing.T) {
	big := []byte(event("PAYMENT.CAPTURE.COMPLETED", "capture", `{"id":"C","status":"COMPLETED","amount":{"currency_code":"EUR","value":"900"}}`))
	t.Run("by rate", func(t *testing.T) {
		a := shown(404, `{}`)
		s, at, key := both(t, a, &Config{ConfirmAbove: map[string]string{"EUR": "1"}})
		r := request(signedBy(t, key, "HOOK", big))
		for range 1000 {
			if _, v := s.Verify(t.Context(), r, big); v.Kind != connectors.Unverifiable {
				t.Fatalf("got %+v", v)
			}
		}
		if got := a.calls("GET " + eventsPath); got > questionBurst {
			t.Errorf("got %d questions at once, want at most %d", got, questionBurst)
		}
		at.add(time.Second)
		before := a.calls("GET " + eventsPath)
		for range 100 {
			s.Verify(t.Context(), r, big)
		}
		if got := a.calls("GET "+eventsPath) - before; got < 1 || got > questionsPerSecond {
			t.Errorf("got %d questions in the next second, want up to %d", got, questionsPerSecond)
		}
	})
	t.Run("at a time", func(t *testing.T) {
		a := newAccount()
		s, _, key := both(t, a, &Config{ConfirmAbove: map[string]string{"EUR": "1"}})
		asked, proceed := make(chan bool, 100), make(chan struct{})
		s.api.client = &http.Client{Transport: &web{serve: func(r *http.Request) (*http.Response, error) {
			if strings.HasPrefix(r.URL.Path, eventsPath) {
				asked <- true
				<-proceed
			}
			return a.RoundTrip(r)
		}}}
		r := request(signedBy(t, key, "HOOK", big))
		var group sync.WaitGroup
		for range questionsAtOnceMax {
			group.Go(func() { s.Verify(t.Context(), r, big) })
		}
		for range questionsAtOnceMax {
			<-asked
		}
		if _, v := s.Verify(t.Context(), r, big); v.Kind != connectors.Unverifiable || !strings.Contains(v.Reason, errTooManyQuestions.Error()) {
			t.Errorf("got %+v, want unverifiable at once", v)
		}
		close(proceed)
		group.Wait()
	})
	t.Run("while PayPal wants silence", func(t *testing.T) {
		a := newAccount()
		a.override = func(r *http.Request, _ string) *http.Response {
			if strings.HasPrefix(r.URL.Path, eventsPath) {
				return answerOf(429, `{}`, "Retry-After", "3600")
			}
			return nil
		}
		s, at, key := both(t, a, &Config{ConfirmAbove: map[string]string{"EUR": "1"}})
		r := request(signedBy(t, key, "HOOK", big))
		for range 5 {
			if _, v := s.Verify(t.Context(), r, big); v.Kind != connectors.Unverifiable {
				t.Errorf("got %+v, want unverifiable", v)
			}
		}
		if got := a.calls("GET " + eventsPath); got != 1 {
			t.Errorf("got %d questions, want 1", got)
		}
		if b := s.Budget(); b.Refused != 1 || !b.HoldUntil.Equal(start.Add(time.Hour)) || b.Requests != 2 {
			t.Errorf("got %+v, want one refusal of two requests and an hour of silence", b)
		}
		if _, err := s.webhooks(t.Context()); !errors.Is(err, errHeld) {
			t.Errorf("another call: got %v, want none made", err)
		}
		if !found(s.Watch(), connectors.Warn, "PayPal wants no request until 2026-11-02T11:00:00Z") {
			t.Errorf("got %+v, want a word about it", s.Watch())
		}
		at.add(2 * time.Hour)
		a.override = nil
		if _, err := s.webhooks(t.Context()); err != nil || found(s.Watch(), connectors.Warn, "wants no request") {
			t.Errorf("afterwards: got %v", err)
		}
	})
}

func found(list []connectors.Finding, level connectors.Level, part string) bool {
	for _, f := range list {
		if f.Level == level && strings.Contains(f.Message, part) && f.Hint != "" {
			return true
		}
	}
	return false
}

// verifier is PayPal's own check: it believes what is signed for HOOK and notes what it was asked.
func verifier(t *testing.T, answer func(status string) *http.Response) (*account, *[]string) {
	a := newAccount()
	var asked []string
	a.override = func(r *http.Request, body string) *http.Response {
		if r.URL.Path != verifyPath {
			return nil
		}
		if r.Header.Get("Content-Type") != "application/json" {
			t.Errorf("got content type %q", r.Header.Get("Content-Type"))
		}
		asked = append(asked, body)
		var in struct {
			WebhookID string `json:"webhook_id"`
		}
		if err := json.Unmarshal([]byte(body), &in); err != nil {
			t.Errorf("%s: %v", body, err)
		}
		status := "FAILURE"
		if in.WebhookID == "HOOK" {
			status = "SUCCESS"
		}
		return answer(status)
	}
	return a, &asked
}

func plainAnswer(status string) *http.Response {
	return answerOf(200, fmt.Sprintf(`{"verification_status":%q}`, status))
}

// TestVerificationByPayPal: the body goes to PayPal as it came, byte for byte, and cannot become anything but the event.
func TestVerificationByPayPal(t *testing.T) {
	const body = "{ \"id\":\"WH-1\", \"x\":1.50e3, \"\\u0061\":\"<&>ö\\/\" }"
	run := func(t *testing.T, a *account, body string, c *Config) (connectors.Delivery, connectors.Verdict, *source) {
		s, _, key := both(t, a, c)
		d, v := s.Verify(t.Context(), request(signedBy(t, key, "whatever", []byte(body))), []byte(body))
		return d, v, s
	}
	t.Run("genuine", func(t *testing.T) {
		a, asked := verifier(t, plainAnswer)
		d, v, _ := run(t, a, body, &Config{Verification: verifyByPayPal})
		if v.Kind != connectors.Genuine || string(d.Body) != body || !d.OnceID || d.Test {
			t.Fatalf("got %+v %+v", d, v)
		}
		if len(*asked) != 1 || !strings.HasSuffix((*asked)[0], `"webhook_event":`+body+"}") {
			t.Errorf("got %q, want the body unchanged in it", *asked)
		}
		for _, want := range []string{`"auth_algo":"SHA256withRSA"`, `"cert_url":"` + twinURL + `"`, `"transmission_id":"69cd13f0-d67a-11e5-baa3-778b53f4ae55"`, `"transmission_time":"2026-11-02T10:00:00Z"`, `"transmission_sig":"`, `"webhook_id":"HOOK"`} {
			if !strings.Contains((*asked)[0], want) {
				t.Errorf("got %q, want %s in it", *asked, want)
			}
		}
		if a.calls("GET /v1/notifications/certs") != 0 {
			t.Error("a certificate was fetched")
		}
	})
	t.Run("a body that would end its place", func(t *testing.T) {
		for _, evil := range []string{`{}, "webhook_id":"HOOK"`, `{}} `, `{"a":1`, `{},{}`, "", "PAYMENT", "{}\x00", `{"a":"` + "\n" + `"}`} {
			a, asked := verifier(t, plainAnswer)
			if _, v, _ := run(t, a, evil, &Config{Verification: verifyByPayPal, WebhookID: "OTHER"}); v.Kind != connectors.Forged || len(*asked) != 0 {
				t.Errorf("%q: got %+v after %q, want forged and nothing asked", evil, v, *asked)
			}
		}
	})
	for _, c := range []struct {
		name   string
		answer func(string) *http.Response
		want   connectors.VerdictKind
	}{
		{"PayPal says no", func(string) *http.Response { return plainAnswer("FAILURE") }, connectors.Forged},
		{"PayPal says neither", func(string) *http.Response { return answerOf(200, `{}`) }, connectors.Unverifiable},
		{"PayPal is down", func(string) *http.Response { return answerOf(503, ``) }, connectors.Unverifiable},
		{"no permission", func(string) *http.Response { return answerOf(403, `{"name":"NOT_AUTHORIZED"}`) }, connectors.Unverifiable},
		{"a page of HTML", func(string) *http.Response { return answerOf(200, `<html>`) }, connectors.Unverifiable},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, _ := verifier(t, c.answer)
			_, v, s := run(t, a, body, &Config{Verification: verifyByPayPal})
			if v.Kind != c.want {
				t.Errorf("got %+v, want %d", v, c.want)
			}
			if denied := found(s.Watch(), connectors.Bad, scopeVerify); denied != (c.name == "no permission") {
				t.Errorf("got %+v", s.Watch())
			}
		})
	}
	t.Run("headers are judged before anything is asked", func(t *testing.T) {
		a, asked := verifier(t, plainAnswer)
		s, at, key := both(t, a, &Config{Verification: verifyByPayPal})
		h := request(signedBy(t, key, "HOOK", []byte(body)))
		at.add(transmissionAgeMax + time.Second)
		if _, v := s.Verify(t.Context(), h, []byte(body)); v.Kind != connectors.Forged || len(*asked) != 0 {
			t.Errorf("too old: got %+v", v)
		}
	})
}

// TestEither: PayPal is asked only where its certificate cannot be had. One that is had and is wrong stays wrong.
func TestEither(t *testing.T) {
	body := []byte(`{"id":"WH-1"}`)
	for _, c := range []struct {
		name         string
		certificates func(*http.Request) bool
		signedFor    string
		want         connectors.VerdictKind
		asked        int
	}{
		{"certificate there, genuine", nil, "HOOK", connectors.Genuine, 0},
		{"certificate there, forged", nil, "ELSE", connectors.Forged, 0},
		{"certificate away", func(*http.Request) bool { return false }, "HOOK", connectors.Genuine, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, asked := verifier(t, plainAnswer)
			a.certificates = c.certificates
			s, _, key := both(t, a, &Config{Verification: verifyEither})
			_, v := s.Verify(t.Context(), request(signedBy(t, key, c.signedFor, body)), body)
			if v.Kind != c.want || len(*asked) != c.asked {
				t.Errorf("got %+v after %d questions, want %d after %d", v, len(*asked), c.want, c.asked)
			}
		})
	}
	t.Run("by certificate alone nothing is asked", func(t *testing.T) {
		a, asked := verifier(t, plainAnswer)
		a.certificates = func(*http.Request) bool { return false }
		s, _, key := both(t, a, &Config{})
		if _, v := s.Verify(t.Context(), request(signedBy(t, key, "HOOK", body)), body); v.Kind != connectors.Unverifiable || len(*asked) != 0 {
			t.Errorf("got %+v after %d questions, want unverifiable", v, len(*asked))
		}
	})
}
