package paypal

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"hash/crc32"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tillstream/tillstream/schemas"
)

// twin is a served simulator with a token for its first account.
type twin struct {
	t      *testing.T
	s      *Server
	url    string
	token  string
	client *http.Client
}

func newTwin(t *testing.T, change func(*Options)) *twin {
	t.Helper()
	o := Options{
		Seed: 1, LocalWebhooks: true, RetrySchedule: []time.Duration{time.Millisecond, time.Millisecond, time.Millisecond},
		Accounts: []Account{
			{Name: "shop", ClientID: "id1", ClientSecret: "s1", MerchantID: "LLCK5GYWKHPE2"},
			{Name: "other", ClientID: "id2", ClientSecret: "s2", MerchantID: "MMCK5GYWKHPE2", Environment: schemas.Live},
		},
	}
	if change != nil {
		change(&o)
	}
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(s.Handler())
	s.SetPublicURL(server.URL)
	t.Cleanup(func() { s.Close(); server.Close() })
	w := &twin{t: t, s: s, url: server.URL, client: server.Client()}
	w.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	w.token = w.login("id1", "s1")
	return w
}

func (w *twin) login(id, secret string) string {
	w.t.Helper()
	req, _ := http.NewRequest("POST", w.url+"/v1/oauth2/token", strings.NewReader("grant_type=client_credentials"))
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.SetBasicAuth(id, secret)
	resp, err := w.client.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	var out struct {
		Token string `json:"access_token"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&out); err != nil {
		w.t.Fatal(err)
	}
	return out.Token
}

// call makes a request and returns status and decoded body.
func (w *twin) call(method, path, body string, header ...string) (int, object) {
	w.t.Helper()
	req, err := http.NewRequest(method, w.url+path, strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+w.token)
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := w.client.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.Header.Get("Paypal-Debug-Id") == "" {
		w.t.Errorf("%s %s: the answer has no Paypal-Debug-Id", method, path)
	}
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	o, err := decode(raw)
	if err != nil && resp.StatusCode != 204 {
		w.t.Fatalf("%s %s: %d %s", method, path, resp.StatusCode, raw)
	}
	return resp.StatusCode, o
}

// want calls and fails unless status and name (of an error; empty: any) are as given.
func (w *twin) want(status int, name, method, path, body string, header ...string) object {
	w.t.Helper()
	got, o := w.call(method, path, body, header...)
	if got != status || name != "" && o["name"] != name {
		w.t.Errorf("%s %s %s: got %d %v, want %d %s", method, path, body, got, o, status, name)
	}
	return o
}

// receiver is a webhook endpoint that answers what it is told and keeps what it got.
type receiver struct {
	mu      sync.Mutex
	answers []int // then 200
	got     []reception
	url     string
}

type reception struct {
	header http.Header
	body   []byte
}

func newReceiver(t *testing.T, answers ...int) *receiver {
	r := &receiver{answers: answers}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, _ := io.ReadAll(req.Body)
		r.mu.Lock()
		defer r.mu.Unlock()
		r.got = append(r.got, reception{req.Header.Clone(), body})
		code := 200
		if len(r.answers) > 0 {
			code, r.answers = r.answers[0], r.answers[1:]
		}
		w.WriteHeader(code)
	}))
	t.Cleanup(server.Close)
	r.url = server.URL + "/hook"
	return r
}

func (w *twin) subscribe(r *receiver, types ...string) (id string) {
	w.t.Helper()
	var list []string
	for _, t := range types {
		list = append(list, `{"name":"`+t+`"}`)
	}
	o := w.want(201, "", "POST", "/v1/notifications/webhooks", `{"url":"`+r.url+`","event_types":[`+strings.Join(list, ",")+`]}`)
	return text(o, "id")
}

func (w *twin) wait() {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), 20*time.Second)
	defer cancel()
	if err := w.s.Wait(ctx); err != nil {
		w.t.Fatalf("deliveries: %v, %+v", err, w.s.Status())
	}
}

// verify is the receiver's check as PayPal documents it, written without the code under test.
func (w *twin) verify(h http.Header, webhookID string, body []byte, name string) error {
	certURL := h.Get("PAYPAL-CERT-URL")
	if !strings.HasPrefix(certURL, w.url+"/v1/notifications/certs/CERT-") {
		return fmt.Errorf("certificate URL %q", certURL)
	}
	resp, err := w.client.Get(certURL)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != 200 {
		return fmt.Errorf("certificate: %d %v", resp.StatusCode, err)
	}
	block, rest := pem.Decode(text)
	if block == nil || len(bytes.TrimSpace(rest)) > 0 {
		return fmt.Errorf("want exactly one PEM block, got %q", text)
	}
	leaf, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(w.s.TrustPEM())
	if _, err := leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: name, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}); err != nil {
		return err
	}
	if h.Get("PAYPAL-AUTH-ALGO") != "SHA256withRSA" {
		return fmt.Errorf("algorithm %q", h.Get("PAYPAL-AUTH-ALGO"))
	}
	sig, err := base64.StdEncoding.DecodeString(h.Get("PAYPAL-TRANSMISSION-SIG"))
	if err != nil {
		return err
	}
	signed := fmt.Sprintf("%s|%s|%s|%d", h.Get("PAYPAL-TRANSMISSION-ID"), h.Get("PAYPAL-TRANSMISSION-TIME"), webhookID, crc32.ChecksumIEEE(body))
	sum := sha256.Sum256([]byte(signed))
	return rsa.VerifyPKCS1v15(leaf.PublicKey.(*rsa.PublicKey), crypto.SHA256, sum[:], sig)
}

func sample(t *testing.T, id string) Event {
	t.Helper()
	raw, err := mocks.ReadFile("mocks/PAYMENT.CAPTURE.COMPLETED.json")
	if err != nil {
		t.Fatal(err)
	}
	return Event{Body: bytes.ReplaceAll(bytes.TrimSpace(raw), []byte("WH-0RH37990339619354-3X553803UA816171V"), []byte(id))}
}

func (w *twin) emit(e Event) {
	w.t.Helper()
	if err := w.s.Emit(w.t.Context(), "shop", e); err != nil {
		w.t.Fatal(err)
	}
}

func TestDeliveriesAreSignedAndRetriesKeepTheirTransmission(t *testing.T) {
	w := newTwin(t, nil)
	r := newReceiver(t, 500, 302, 404)
	id := w.subscribe(r, "*")
	w.emit(sample(t, "WH-A"))
	w.wait()
	if len(r.got) != 4 {
		t.Fatalf("got %d tries, want 4", len(r.got))
	}
	for i, g := range r.got {
		if err := w.verify(g.header, id, g.body, "messageverificationcerts.sandbox.paypal.com"); err != nil {
			t.Errorf("try %d: %v", i, err)
		}
		if err := w.verify(g.header, id, append(bytes.Clone(g.body), ' '), "messageverificationcerts.sandbox.paypal.com"); err == nil {
			t.Errorf("try %d: a changed body verifies", i)
		}
		for _, name := range []string{"Paypal-Transmission-Id", "Paypal-Transmission-Time", "Paypal-Transmission-Sig"} {
			if g.header.Get(name) == "" || g.header.Get(name) != r.got[0].header.Get(name) {
				t.Errorf("try %d: %s is %q, was %q", i, name, g.header.Get(name), r.got[0].header.Get(name))
			}
		}
		if len(g.header.Get("Correlation-Id")) != 13 || g.header.Get("Paypal-Auth-Version") != "v2" {
			t.Errorf("try %d: headers %v", i, g.header)
		}
	}
	sent := w.s.Sent()
	if len(sent) != 1 || sent[0].Attempts != 4 || len(sent[0].AcceptedTimes) != 1 || sent[0].FirstAccepted.IsZero() ||
		sent[0].EventID != "WH-A" || sent[0].EventType != "PAYMENT.CAPTURE.COMPLETED" {
		t.Errorf("sent: %+v", sent)
	}
	if st := w.s.Status(); st != (Status{Delivered: 1, Events: 1}) {
		t.Errorf("status: %+v", st)
	}
}

func TestDeliveryGivesUpAndResendBringsItBack(t *testing.T) {
	w := newTwin(t, nil)
	r := newReceiver(t, 500, 500, 500, 500)
	w.subscribe(r, "PAYMENT.CAPTURE.COMPLETED")
	w.emit(sample(t, "WH-A"))
	w.wait()
	if st := w.s.Status(); st.Failed != 1 || st.Delivered != 0 {
		t.Fatalf("status: %+v, want one failed", st)
	}
	o := w.want(200, "", "GET", "/v1/notifications/webhooks-events/WH-A", "")
	if o["status"] != "FAILED" || len(o["transmissions"].([]any)) != 1 {
		t.Errorf("event: %v", o)
	}
	w.want(202, "", "POST", "/v1/notifications/webhooks-events/WH-A/resend", "{}")
	w.wait()
	if len(r.got) != 5 {
		t.Fatalf("got %d tries, want 5", len(r.got))
	}
	if r.got[4].header.Get("Paypal-Transmission-Id") == r.got[0].header.Get("Paypal-Transmission-Id") {
		t.Error("a resend is a transmission of its own")
	}
	if o := w.want(200, "", "GET", "/v1/notifications/webhooks-events/WH-A", ""); o["status"] != "SUCCESS" {
		t.Errorf("after resend: %v", o["status"])
	}
	w.want(404, "INVALID_RESOURCE_ID", "GET", "/v1/notifications/webhooks-events/WH-NONE", "")
}

func TestFaultsDoubleAndDisorder(t *testing.T) {
	w := newTwin(t, func(o *Options) {
		o.Faults = Faults{DuplicateRate: 0.5, DisorderRate: 0.3, LateRate: 0.1, DisorderDelay: 20 * time.Millisecond, LateDelay: 60 * time.Millisecond}
	})
	r := newReceiver(t)
	w.subscribe(r, "*")
	const n = 60
	for i := range n {
		w.emit(sample(t, fmt.Sprintf("WH-%03d", i)))
	}
	w.wait()
	byEvent, transmissions, disorder, last := map[string]int{}, map[string]int{}, 0, ""
	for _, g := range r.got {
		o, err := decode(g.body)
		if err != nil {
			t.Fatal(err)
		}
		id := text(o, "id")
		byEvent[id]++
		transmissions[g.header.Get("Paypal-Transmission-Id")]++
		if id < last {
			disorder++
		}
		last = id
	}
	doubled, same := 0, 0
	for _, k := range byEvent {
		doubled += k - 1
	}
	for _, k := range transmissions {
		same += k - 1
	}
	if len(byEvent) != n || doubled < 15 || doubled > 45 || same < 3 || same >= doubled || disorder < 5 {
		t.Errorf("got %d events, %d doubled (%d within a transmission), %d disorders", len(byEvent), doubled, same, disorder)
	}
	accepted := 0
	for _, s := range w.s.Sent() {
		accepted += len(s.AcceptedTimes)
	}
	if accepted != len(r.got) {
		t.Errorf("truth says %d accepted, the receiver took %d", accepted, len(r.got))
	}
}

func TestCertificateKinds(t *testing.T) {
	w := newTwin(t, nil)
	body := []byte(`{"id":"WH-A"}`)
	for _, kind := range CertKinds {
		h, err := w.s.Sign(schemas.Sandbox, kind, "HOOK", body)
		if err != nil {
			t.Fatalf("%s: %v", kind, err)
		}
		err = w.verify(h, "HOOK", body, "messageverificationcerts.sandbox.paypal.com")
		if (err == nil) != (kind == Good) {
			t.Errorf("%s: got %v", kind, err)
		}
	}
	h, err := w.s.Sign(schemas.Live, Good, "HOOK", body)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.verify(h, "HOOK", body, "messageverificationcerts.paypal.com"); err != nil {
		t.Errorf("live: %v", err)
	}
	w.s.Rotate()
	after, err := w.s.Sign(schemas.Live, Good, "HOOK", body)
	if err != nil {
		t.Fatal(err)
	}
	if after.Get("Paypal-Cert-Url") == h.Get("Paypal-Cert-Url") {
		t.Error("a rotated certificate has the old URL")
	}
	for _, x := range []http.Header{h, after} {
		if err := w.verify(x, "HOOK", body, "messageverificationcerts.paypal.com"); err != nil {
			t.Errorf("around rotation: %v", err)
		}
	}
	resp, err := w.client.Get(after.Get("Paypal-Cert-Url"))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(resp.Body)
	if !bytes.Contains(text, []byte("\r\n")) || bytes.HasSuffix(text, []byte("\n")) || resp.Header.Get("Cache-Control") != "public,max-age=86400" {
		t.Errorf("certificate is not served as PayPal does: %q, %v", text[len(text)-30:], resp.Header)
	}
}

func TestRunServesTLSUnderItsOwnAuthority(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	s, err := New(Options{Accounts: []Account{{Name: "shop", ClientID: "x"}}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	ready, done := make(chan string, 1), make(chan error, 1)
	go func() { done <- s.ListenAndServe(ctx, "127.0.0.1:0", func(url string) { ready <- url }) }()
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(s.TrustPEM())
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}}
	resp, err := client.Get(<-ready + "/_simulator/status")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	client.CloseIdleConnections()
	cancel()
	if err := <-done; err != nil || resp.StatusCode != 200 {
		t.Errorf("got %d, %v", resp.StatusCode, err)
	}
	if err := Run(t.Context(), Options{}, "127.0.0.1:0", nil); err == nil {
		t.Error("ran without an account")
	}
}
