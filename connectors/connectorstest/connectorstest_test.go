package connectorstest

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tillstream/tillstream/connectors"
	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/schemas/strictjson"
)

// mutantEnv names the mistake that the toy makes in the process that a test starts.
const mutantEnv = "TILLSTREAM_CONNECTORSTEST_MUTANT"

// mutants are mistakes, each with the part of the suite that has to find it.
var mutants = map[string]string{
	"event id from the time of arrival": "normalise keeps the delivery",
	"counts its calls":                  "the same delivery twice gives equal records",
	"loses the body":                    "normalise keeps the delivery",
	"time of this place":                "a record has the words, money and times of the schema",
	"status of its own":                 "a record has the words, money and times of the schema",
	"money as a float":                  "money keeps its digits",
	"fingerprint of the bytes":          "the same content is the same event, whatever its form",
	"fingerprint of the id":             "another meaning is another content",
	"header is not stored":              "a stored record is enough to make it again",
	"unbounded text":                    "hostile bodies give an error or a bounded record",
	"junk is an order":                  "junk is an error, never a panic",
	"body is not signed":                "a changed byte is refused",
	"delivery id by chance":             "the same request twice gives one delivery id",
	"signature is stored":               "headers that are missing or cut are refused",
	"only the first secret":             "secrets",
	"any time":                          "signed times",
	"lists under another id":            "a listed version is the event that was sent",
	"removal is an order":               "a removal is a tombstone",
	"stops after the first page":        "every listed record is found",
	"no answer is an empty list":        "a provider that fails is an error, not an empty list",
	"secret in the finding":             "no secret comes out",
}

// TestTheSuiteFindsMistakes runs the suite over a toy that makes one mistake at a time, and once without.
func TestTheSuiteFindsMistakes(t *testing.T) {
	run := func(mutant string) (string, error) {
		cmd := exec.Command(os.Args[0], "-test.run", "^TestToy$", "-test.short", "-test.v")
		cmd.Env = append(os.Environ(), mutantEnv+"="+mutant)
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	if out, err := run(""); err != nil {
		t.Fatalf("the toy without a mistake: %v\n%s", err, out)
	}
	for mutant, part := range mutants {
		out, err := run(mutant)
		if want := "--- FAIL: TestToy/" + strings.ReplaceAll(part, " ", "_"); err == nil || !strings.Contains(out, want) {
			t.Errorf("%s: %v; want %q in\n%.2000s", mutant, err, want, out)
		}
	}
}

// TestToy is the suite over the toy, with the mistake that the environment names.
func TestToy(t *testing.T) {
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	m := mutant(os.Getenv(mutantEnv))
	sample := func(id, status string) connectors.Delivery {
		return connectors.Delivery{
			Connection: "shop", Environment: schemas.Live, ID: "D" + id, ReceivedAt: at, Origin: schemas.OriginWebhook, Headers: map[string]string{"Toy-Topic": "orders"},
			Body: []byte(`{"id":"` + id + `","status":"` + status + `","total":"20.00","name":"Ada Example","at":1772366400}`),
		}
	}
	secrets := []schemas.Secret{schemas.NewSecret("toy-secret-canary-0123456789"), schemas.NewSecret("toy-secret-second-0123456789")}
	sign := func(s Signing) *http.Request {
		key := "not-a-secret-of-this-connection"
		if s.Secret != WrongSecret {
			key = secrets[s.Secret].Reveal()
		}
		r, _ := http.NewRequest(http.MethodPost, "https://hooks.example.com/webhooks/shop", nil)
		stamp := strconv.FormatInt(s.At.Unix(), 10)
		r.Header = http.Header{"Toy-Time": {stamp}, "Toy-Signature": {toyMAC(key, stamp, s.Body)}, "Toy-Topic": {"orders"}}
		return r
	}
	first := sample("1", "paid")
	Run(t, toy(m), Options{
		Config: &toyConfig{Secrets: secrets}, Secrets: []string{"toy-secret-canary-0123456789"}, Environment: schemas.Live,
		Now: func() time.Time { return at }, Outside: toyPages{}, Samples: []connectors.Delivery{first, sample("2", "open")},
		Signed: func() (*http.Request, []byte) {
			return sign(Signing{Body: first.Body, At: at}), bytes.Clone(first.Body)
		},
		Sign: sign, ActiveSecrets: 2, AgeMax: 5 * time.Minute, SkewMax: time.Minute, ContentIDs: true,
		Listed: func(d connectors.Delivery) (connectors.Delivery, bool) {
			d.Origin, d.ID = schemas.OriginPoll, ""
			return d, true
		},
		Tombstones: []connectors.Delivery{sample("1", "removed")},
		Poll:       &Polling{Outside: toyPages{}, From: at.Add(-time.Hour), To: at, Want: map[string][]string{"orders": {"1", "2", "3"}}},
	})
}

type mutant string

func (m mutant) is(mistake string) bool {
	if m != "" && mutants[string(m)] == "" {
		panic("no such mistake: " + string(m))
	}
	return string(m) == mistake
}

type toyConfig struct{ Secrets []schemas.Secret }

func (c *toyConfig) Validate() []connectors.Finding {
	if len(c.Secrets) == 0 {
		return []connectors.Finding{{Level: connectors.Bad, Field: "secrets", Message: "no secret"}}
	}
	return nil
}

func toyMAC(key, stamp string, body []byte) string {
	h := hmac.New(sha256.New, []byte(key))
	h.Write([]byte(stamp + "."))
	h.Write(body)
	return hex.EncodeToString(h.Sum(nil))
}

func toy(m mutant) connectors.Connector {
	calls := 0
	return connectors.Connector{
		Type: "toy", Title: "Toy", Topic: schemas.TopicStoreOrders,
		Resources: []connectors.Resource{{ID: "orders", Title: "Orders", EventTypes: []string{"orders"}}},
		Fields:    []connectors.Field{{Name: "name", Label: "Name", Type: "text", Sample: "Ada"}},
		Config:    func() any { return &toyConfig{} },
		Normalize: func(d connectors.Delivery) ([]schemas.OrderEvent, error) {
			calls++
			return m.normalize(d, calls)
		},
		Open: func(_ context.Context, cfg any, env connectors.Env) (connectors.Source, error) {
			return &toySource{m: m, cfg: cfg.(*toyConfig), env: env}, nil
		},
	}
}

func (m mutant) normalize(d connectors.Delivery, calls int) ([]schemas.OrderEvent, error) {
	v, err := strictjson.Parse(d.Body)
	fields, ok := v.(map[string]any)
	if err != nil || !ok {
		return nil, fmt.Errorf("no object: %w", err)
	}
	o := strictjson.Object(fields)
	id, at := o.Text("id"), o.Text("at")
	seconds, err := strconv.ParseInt(at, 10, 64)
	if m.is("junk is an order") && err != nil {
		id, seconds, err = "0", 1772366400, nil
	}
	if err != nil || id == "" || len(id) > 100 || seconds < 1e9 || seconds > 1e10 || len(o.Text("status")) > 100 || d.Headers["Toy-Topic"] == "" {
		return nil, errors.New("id, at, status or topic is missing or too long")
	}
	sum, body := sha256.Sum256(strictjson.AppendCanonical(nil, fields)), sha256.Sum256(d.Body)
	e := schemas.OrderEvent{
		EventID: hex.EncodeToString(sum[:]), Kind: schemas.KindOrder, Provider: "toy", Environment: d.Environment, Connection: d.Connection,
		Resource: "orders", RootID: id, EntityID: id, Links: []schemas.Link{}, EventType: "orders", ProviderStatus: o.Text("status"),
		Status: schemas.StatusPending, ProviderTime: time.Unix(seconds, 0).UTC(), ReceivedAt: d.ReceivedAt, DeliveryIDs: []string{},
		Origin: d.Origin, Amount: m.amount(o.Text("total")), Fields: map[string]string{}, Body: d.Body, BodyHash: hex.EncodeToString(body[:]),
		Fingerprint: hex.EncodeToString(sum[:]), Test: d.Test, Headers: d.Headers,
	}
	if d.ID != "" {
		e.DeliveryIDs = []string{d.ID}
	}
	switch o.Text("status") {
	case "paid":
		e.Status = schemas.StatusPaid
	case "removed":
		e.Deleted = !m.is("removal is an order")
	}
	if name := o.Text("name"); len(name) <= 200 || m.is("unbounded text") {
		e.Fields["name"] = name
	}
	m.spoil(&e, d, id, calls)
	return []schemas.OrderEvent{e}, nil
}

func (m mutant) amount(text string) *schemas.Amount {
	if f, err := strconv.ParseFloat(text, 64); m.is("money as a float") && err == nil {
		text = strconv.FormatFloat(f, 'f', 2, 64)
	}
	return &schemas.Amount{Value: text, Currency: "EUR"}
}

// spoil makes the mistakes that change a record.
func (m mutant) spoil(e *schemas.OrderEvent, d connectors.Delivery, id string, calls int) {
	switch {
	case m.is("event id from the time of arrival"):
		e.EventID += d.ReceivedAt.String()
	case m.is("counts its calls"):
		e.Fields["call"] = strconv.Itoa(calls)
	case m.is("loses the body"):
		e.Body = bytes.TrimSpace(append(bytes.Clone(d.Body), '\n', ' ', '0'))
	case m.is("time of this place"):
		e.ProviderTime = e.ProviderTime.In(time.FixedZone("here", 3600))
	case m.is("status of its own"):
		e.Status = "BEZAHLT"
	case m.is("fingerprint of the bytes"):
		e.Fingerprint = e.BodyHash
	case m.is("fingerprint of the id"):
		e.Fingerprint = e.RootID
	case m.is("header is not stored"):
		e.Headers = nil
	case m.is("lists under another id") && d.Origin == schemas.OriginPoll:
		e.EventID = "poll-" + id
	}
}

type toySource struct {
	m     mutant
	cfg   *toyConfig
	env   connectors.Env
	calls int
}

func (s *toySource) Close() error { return nil }

func (s *toySource) Check(context.Context) []connectors.Finding {
	if s.m.is("secret in the finding") {
		return []connectors.Finding{{Level: connectors.Bad, Message: "refused: " + s.cfg.Secrets[0].Reveal()}}
	}
	return nil
}

func (s *toySource) Verify(_ context.Context, r *http.Request, body []byte) (connectors.Delivery, connectors.Verdict) {
	forged := connectors.Verdict{Kind: connectors.Forged, Reason: "signature does not match"}
	stamp := r.Header.Get("Toy-Time")
	seconds, err := strconv.ParseInt(stamp, 10, 64)
	age := s.env.Now().Sub(time.Unix(seconds, 0))
	if err != nil || (age > 5*time.Minute || age < -time.Minute) && !s.m.is("any time") || r.Header.Get("Toy-Topic") != "orders" {
		return connectors.Delivery{}, forged
	}
	signed := body
	if s.m.is("body is not signed") {
		signed = []byte(r.Header.Get("Toy-Signature"))
	}
	genuine := s.m.is("body is not signed") && len(signed) > 0
	for i, k := range s.cfg.Secrets {
		if s.m.is("only the first secret") && i > 0 {
			continue
		}
		genuine = genuine || hmac.Equal([]byte(toyMAC(k.Reveal(), stamp, signed)), []byte(r.Header.Get("Toy-Signature")))
	}
	if !genuine {
		return connectors.Delivery{}, forged
	}
	d := connectors.Delivery{
		Connection: s.env.Connection, Environment: s.env.Environment, ID: r.Header.Get("Toy-Signature"), Body: body,
		Headers: map[string]string{"Toy-Topic": "orders"}, ReceivedAt: s.env.Now(), Origin: schemas.OriginWebhook,
	}
	if s.m.is("delivery id by chance") {
		s.calls++
		d.ID += strconv.Itoa(s.calls)
	}
	if s.m.is("signature is stored") {
		d.Headers["Toy-Signature"] = r.Header.Get("Toy-Signature")
	}
	return d, connectors.Verdict{Kind: connectors.Genuine}
}

func (s *toySource) Feeds() []connectors.Feed {
	return []connectors.Feed{{Name: "orders", Every: time.Hour, WindowMax: 20 * time.Minute, History: true, Match: connectors.MatchEvent}}
}

func (s *toySource) Poll(ctx context.Context, q connectors.Query) (connectors.Page, error) {
	if q.Feed != "orders" {
		return connectors.Page{}, errors.New("no such feed")
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://toy.example/orders/"+q.Cursor, nil)
	if err != nil {
		return connectors.Page{}, err
	}
	res, err := s.env.HTTP.Do(req)
	if err != nil || res.StatusCode != http.StatusOK {
		if s.m.is("no answer is an empty list") {
			return connectors.Page{}, nil
		}
		return connectors.Page{}, fmt.Errorf("list orders: %w", errors.Join(err, errors.New("no answer")))
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return connectors.Page{}, err
	}
	page := connectors.Page{Next: res.Header.Get("Next"), Found: []connectors.Found{{Delivery: connectors.Delivery{
		Connection: s.env.Connection, Environment: s.env.Environment, Body: body, Headers: map[string]string{"Toy-Topic": "orders"},
		ReceivedAt: s.env.Now(), Origin: schemas.OriginPoll,
	}}}}
	if s.m.is("stops after the first page") {
		page.Next = ""
	}
	return page, nil
}

// toyPages is a provider with three orders, one to a page.
type toyPages struct{}

func (toyPages) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	id, next := strings.TrimPrefix(r.URL.Path, "/orders/"), ""
	switch id {
	case "":
		id, next = "1", "2"
	case "2":
		next = "3"
	}
	return &http.Response{
		StatusCode: http.StatusOK, Header: http.Header{"Next": {next}}, Request: r,
		Body: io.NopCloser(strings.NewReader(`{"id":"` + id + `","status":"paid","total":"1.00","name":"Ada","at":1772366400}`)),
	}, nil
}
