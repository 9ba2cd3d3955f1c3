package paypal

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"embed"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tillstream/tillstream/schemas"
)

// RetentionDays is how far back events can be read.
const RetentionDays = 30

const (
	eventPageDefault = 10
	eventPageMax     = 300
)

// mocks are PayPal's own sample events: fixed ids, reused across types, one with an impossible date.
//
//go:embed mocks/*.json
var mocks embed.FS

// readable returns the account's events that the API shows at now, newest first, each id once. s.mu is held.
func (s *Server) readable(a *account) []*event {
	now := s.o.Now()
	seen := map[string]bool{}
	var out []*event
	for _, e := range a.events {
		if !seen[e.id] && now.Sub(e.stored) >= s.o.Faults.EventLag {
			seen[e.id] = true
			out = append(out, e)
		}
	}
	slices.Reverse(out)
	slices.SortStableFunc(out, func(x, y *event) int { return y.created.Compare(x.created) })
	return out
}

// filtered returns the readable events that the query asks for. s.mu is held.
func (s *Server) filtered(a *account, q url.Values) ([]*event, error) {
	bounds := map[string]time.Time{}
	for _, name := range []string{"start_time", "end_time"} {
		if v := q.Get(name); v != "" {
			t, err := time.Parse(time.RFC3339, v)
			if err != nil || name == "start_time" && s.o.Now().Sub(t) > RetentionDays*24*time.Hour {
				return nil, invalidData(name, "Invalid data provided")
			}
			bounds[name] = t
		}
	}
	var list []*event
	for _, e := range s.readable(a) {
		if t, ok := bounds["start_time"]; ok && e.created.Before(t) {
			continue
		}
		if t, ok := bounds["end_time"]; ok && e.created.After(t) {
			continue
		}
		if v := q.Get("event_type"); v != "" && v != e.typ {
			continue
		}
		if v := q.Get("transaction_id"); v != "" && !strings.Contains(string(e.body), `"`+v+`"`) {
			continue
		}
		list = append(list, e)
	}
	return list, nil
}

// listEvents pages through the events: links carry the filters and a cursor of move_to, index_time and index_id.
func (s *Server) listEvents(a *account, r *http.Request, _ []byte) (int, any, error) {
	q := r.URL.Query()
	size := eventPageDefault
	if v := q.Get("page_size"); v != "" {
		n, err := strconv.Atoi(v)
		if err != nil || n < 1 || n > eventPageMax {
			return 0, nil, invalidData("page_size", "Invalid data provided")
		}
		size = n
	}
	s.mu.Lock()
	list, err := s.filtered(a, q)
	base := s.publicURL
	s.mu.Unlock()
	if err != nil {
		return 0, nil, err
	}
	start := 0
	if id := q.Get("index_id"); id != "" {
		at := slices.IndexFunc(list, func(e *event) bool { return e.id == id })
		switch {
		case at < 0:
			return 0, nil, invalidData("index_id", "Invalid data provided")
		case q.Get("move_to") == "previous":
			start = max(0, at-size)
		default:
			start = at + 1
		}
	}
	end := min(start+size, len(list))
	page := list[start:end]
	out := object{"count": len(page)}
	events := make([]json.RawMessage, len(page))
	for i, e := range page {
		events[i] = s.read(e)
	}
	out["events"] = events
	var links []object
	cursor := func(rel string, e *event) {
		c := url.Values{}
		for k, v := range q {
			c[k] = v
		}
		c.Set("page_size", strconv.Itoa(size))
		c.Set("move_to", rel)
		c.Set("index_time", e.created.UTC().Format(time.RFC3339))
		c.Set("index_id", e.id)
		links = append(links, link(base+"/v1/notifications/webhooks-events/?"+c.Encode(), rel, "GET"))
	}
	if end < len(list) {
		cursor("next", page[len(page)-1])
	}
	if start > 0 && len(page) > 0 {
		cursor("previous", page[0])
	}
	if links != nil {
		out["links"] = links
	}
	return 200, out, nil
}

// read is an event as the API shows it: with status and transmissions, which a delivered one does not have.
func (s *Server) read(e *event) json.RawMessage {
	o, err := decode(e.body)
	if err != nil || o == nil {
		return encode(object{"id": e.id, "event_type": e.typ, "create_time": e.created.UTC().Format(time.RFC3339)})
	}
	s.tries.Lock()
	list := []object{}
	status := "PENDING"
	for _, t := range e.transmissions {
		list = append(list, object{
			"webhook_url": t.url, "http_status": t.code, "transmission_id": t.id, "status": t.status,
			"timestamp": t.at.UTC().Format(time.RFC3339), "response_headers": object{}, "reason_phrase": http.StatusText(t.code),
		})
		if status != "SUCCESS" {
			status = t.status
		}
	}
	s.tries.Unlock()
	o["status"], o["transmissions"] = status, list
	if links, ok := o["links"].([]any); ok {
		for _, l := range links {
			if l, ok := l.(object); ok {
				l["encType"] = "application/json"
			}
		}
	}
	return encode(o)
}

func (s *Server) findEvent(a *account, id string) (*event, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := a.byID[id]; e != nil && s.o.Now().Sub(e.stored) >= s.o.Faults.EventLag {
		return e, nil
	}
	return nil, unknownID()
}

func (s *Server) getEvent(a *account, r *http.Request, _ []byte) (int, any, error) {
	e, err := s.findEvent(a, r.PathValue("id"))
	if err != nil {
		return 0, nil, err
	}
	return 200, rawJSON(s.read(e)), nil
}

// resendEvent sends an event again under a new transmission, to the named webhooks or all that want it. One that is
// still on its way is not sent twice.
func (s *Server) resendEvent(a *account, r *http.Request, body []byte) (int, any, error) {
	in, err := decode(body)
	if err != nil {
		return 0, nil, err
	}
	e, err := s.findEvent(a, r.PathValue("id"))
	if err != nil {
		return 0, nil, err
	}
	ids, _ := in["webhook_ids"].([]any)
	pending := map[string]bool{}
	s.tries.Lock()
	for _, t := range e.transmissions {
		pending[t.url] = pending[t.url] || t.status == "PENDING"
	}
	s.tries.Unlock()
	var list []*delivery
	s.mu.Lock()
	for _, h := range a.webhooks {
		named := len(ids) == 0 && h.wants(e.typ) || slices.ContainsFunc(ids, func(x any) bool { return x == h.id })
		if named && !pending[h.url] {
			list = append(list, &delivery{event: e, hookID: h.id, url: h.url, env: a.Environment, due: time.Now()})
		}
	}
	s.mu.Unlock()
	for _, d := range list {
		if err := s.queue(r.Context(), d); err != nil {
			return 0, nil, err
		}
	}
	return 202, rawJSON(s.read(e)), nil
}

// simulateEvent sends one of PayPal's samples: from the live world even for a sandbox app, signed with WEBHOOK_ID,
// never listed.
func (s *Server) simulateEvent(a *account, r *http.Request, body []byte) (int, any, error) {
	in, err := decode(body)
	if err != nil {
		return 0, nil, err
	}
	typ := text(in, "event_type")
	mock, err := mocks.ReadFile("mocks/" + typ + ".json")
	if err != nil || typ == "" {
		return 0, nil, invalidData("event_type", "Not a valid event type")
	}
	target := text(in, "url")
	if id := text(in, "webhook_id"); id != "" {
		s.mu.Lock()
		at := slices.IndexFunc(a.webhooks, func(h *webhook) bool { return h.id == id })
		if at >= 0 {
			target = a.webhooks[at].url
		}
		s.mu.Unlock()
		if at < 0 {
			return 0, nil, unknownID()
		}
	}
	if err := s.checkURL(target); err != nil {
		return 0, nil, err
	}
	o, err := decode(mock)
	if err != nil {
		return 0, nil, err
	}
	e := &event{account: a, id: text(o, "id"), typ: typ, body: encode(o), created: s.o.Now(), stored: s.o.Now()}
	d := &delivery{event: e, hookID: mockWebhookID, url: target, env: schemas.Live, due: time.Now()}
	if err := s.queue(r.Context(), d); err != nil {
		return 0, nil, err
	}
	return 202, rawJSON(e.body), nil
}

// verifySignature is the postback. The event is checked over the bytes that stand in the request, unchanged.
func (s *Server) verifySignature(a *account, _ *http.Request, body []byte) (int, any, error) {
	var in struct {
		Algo         string          `json:"auth_algo"`
		CertURL      string          `json:"cert_url"`
		Transmission string          `json:"transmission_id"`
		Sig          string          `json:"transmission_sig"`
		Time         string          `json:"transmission_time"`
		WebhookID    string          `json:"webhook_id"`
		Event        json.RawMessage `json:"webhook_event"`
	}
	if err := json.Unmarshal(body, &in); err != nil {
		return 0, nil, invalidRequest("/", "MALFORMED_REQUEST_JSON", "The request JSON is not well formed.")
	}
	for field, missing := range map[string]bool{
		"auth_algo": in.Algo == "", "cert_url": in.CertURL == "", "transmission_id": in.Transmission == "",
		"transmission_sig": in.Sig == "", "transmission_time": in.Time == "", "webhook_id": in.WebhookID == "", "webhook_event": in.Event == nil,
	} {
		if missing {
			return 0, nil, refuse(400, "VALIDATION_ERROR", "Invalid request - see details", object{"field": field, "issue": "Required field is missing"})
		}
	}
	s.mu.Lock()
	known := slices.ContainsFunc(a.webhooks, func(h *webhook) bool { return h.id == in.WebhookID })
	base := s.publicURL
	s.mu.Unlock()
	verdict := "FAILURE"
	name, ours := strings.CutPrefix(in.CertURL, base+certPath)
	if known && ours && in.Algo == "SHA256withRSA" && s.genuine(a, name, in.Sig, signedText(in.Transmission, in.Time, in.WebhookID, in.Event)) {
		verdict = "SUCCESS"
	}
	return 200, object{"verification_status": verdict}, nil
}

func (s *Server) genuine(a *account, certName, sig, signed string) bool {
	c := s.ca.find(certName)
	raw, err := base64.StdEncoding.DecodeString(sig)
	if c == nil || c.page || c.away || err != nil {
		return false
	}
	block, _ := pem.Decode(c.pem)
	if block == nil {
		return false
	}
	leaf, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return false
	}
	roots := x509.NewCertPool()
	roots.AddCert(s.ca.root)
	roots.AddCert(s.ca.inter)
	want := sandboxName
	if a.Environment == schemas.Live {
		want = liveName
	}
	_, err = leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: want, CurrentTime: s.o.Now(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
	if err != nil {
		return false
	}
	sum := sha256.Sum256([]byte(signed))
	public, ok := leaf.PublicKey.(*rsa.PublicKey)
	return ok && rsa.VerifyPKCS1v15(public, crypto.SHA256, sum[:], raw) == nil
}
