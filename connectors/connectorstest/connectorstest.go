// Package connectorstest holds every connector to the contracts of package connectors. A connector's own test calls Run.
package connectorstest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"github.com/tillstream/tillstream/connectors"
	"github.com/tillstream/tillstream/schemas"
)

// Options say how to exercise one connector. What is marked optional widens the suite where the connector can do it.
type Options struct {
	// Config opens a connection; it is used for several.
	Config any
	// Secrets are texts inside Config that must never come out.
	Secrets     []string
	Environment schemas.Environment
	Now         func() time.Time
	// Outside answers the requests of a connection that works, certificates and the like.
	Outside http.RoundTripper
	// Signed makes a genuine request and its body; nil: the connector takes no webhooks.
	Signed func() (*http.Request, []byte)
	// Samples are deliveries of real events, at least one for each resource.
	Samples []connectors.Delivery

	// Sign makes a request as the provider would, under variations of secret and time; optional.
	Sign func(Signing) *http.Request
	// ActiveSecrets is how many secrets Config holds active at once; optional, zero: one.
	ActiveSecrets int
	// AgeMax and SkewMax bound a signed time, past and future; optional, zero: no time is signed.
	AgeMax, SkewMax time.Duration
	// OncePerID: the signature does not bind the body, so that deliveries must say OnceID; optional.
	OncePerID bool
	// Batches: one delivery may hold several events, and a record's Body is its own part; optional.
	Batches bool
	// ContentIDs: event ids are derived from content, so that other content must have another one; optional.
	ContentIDs bool
	// Listed gives the form in which the provider lists the very version that a sample tells; optional.
	Listed func(connectors.Delivery) (listed connectors.Delivery, ok bool)
	// Tombstones are deliveries that say that an object was removed; optional.
	Tombstones []connectors.Delivery
	// Poll is a provider that lists, for a connector whose sources are Pollers; optional.
	Poll *Polling
}

// Signing is one variation of a signed request.
type Signing struct {
	Body []byte
	// Secret is the number of the secret among the active ones, from 0; WrongSecret: one that is not configured.
	Secret int
	// At is the time that is signed, where one is.
	At time.Time
}

// WrongSecret asks for a signature that looks right, under a secret that the connection does not have.
const WrongSecret = -1

// Run runs the whole suite. Normalize is the one that Config binds, where the connector has one.
func Run(t *testing.T, c connectors.Connector, o Options) {
	t.Run("description", func(t *testing.T) { description(t, c) })
	c = c.For(o.Config)
	t.Run("every resource has an event sample", func(t *testing.T) { samples(t, c, o) })
	t.Run("the same delivery twice gives equal records", func(t *testing.T) { repeatable(t, c, o) })
	t.Run("normalise keeps the delivery", func(t *testing.T) { keeps(t, c, o) })
	t.Run("a record has the words, money and times of the schema", func(t *testing.T) { vocabulary(t, c, o) })
	t.Run("a stored record is enough to make it again", func(t *testing.T) { replayable(t, c, o) })
	t.Run("the same content is the same event, whatever its form", func(t *testing.T) { sameContent(t, c, o) })
	t.Run("another meaning is another content", func(t *testing.T) { otherContent(t, c, o) })
	t.Run("money keeps its digits", func(t *testing.T) { exactMoney(t, c, o) })
	t.Run("junk is an error, never a panic", func(t *testing.T) { junk(t, c, o) })
	t.Run("hostile bodies give an error or a bounded record", func(t *testing.T) { hostile(t, c, o) })
	if o.Signed != nil {
		t.Run("a changed byte is refused", func(t *testing.T) { changedByte(t, c, o) })
		t.Run("the same request twice gives one delivery id", func(t *testing.T) { sameDelivery(t, c, o) })
		t.Run("headers that are missing or cut are refused", func(t *testing.T) { headers(t, c, o) })
		t.Run("what is verified is understood, also many at once", func(t *testing.T) { understood(t, c, o) })
	}
	if o.Sign != nil {
		t.Run("secrets", func(t *testing.T) { secrets(t, c, o) })
		t.Run("signed times", func(t *testing.T) { signedTimes(t, c, o) })
	}
	if o.Listed != nil {
		t.Run("a listed version is the event that was sent", func(t *testing.T) { listed(t, c, o) })
	}
	if len(o.Tombstones) > 0 {
		t.Run("a removal is a tombstone", func(t *testing.T) { tombstones(t, c, o) })
	}
	if o.Poll != nil {
		t.Run("every listed record is found", func(t *testing.T) { polling(t, c, o) })
		t.Run("a provider that fails is an error, not an empty list", func(t *testing.T) { failingPolls(t, c, o) })
	}
	t.Run("no secret comes out", func(t *testing.T) { noSecret(t, c, o) })
}

// description: what the user interface shows is there, and named once.
func description(t *testing.T, c connectors.Connector) {
	if c.Type == "" || c.Title == "" || c.Config == nil || c.Normalize == nil || c.Open == nil {
		t.Fatalf("got %q %q with a part missing", c.Type, c.Title)
	}
	if c.Topic != schemas.TopicPayPalEvents && c.Topic != schemas.TopicStoreOrders {
		t.Errorf("got topic %q, want one of the source topics", c.Topic)
	}
	if cfg := reflect.TypeOf(c.Config()); cfg == nil || cfg.Kind() != reflect.Pointer || cfg.Elem().Kind() != reflect.Struct {
		t.Errorf("got a configuration of type %v, want a pointer to a struct", cfg)
	}
	ids := map[string]bool{}
	for _, r := range c.Resources {
		if r.ID == "" || r.Title == "" || len(r.EventTypes) == 0 || ids[r.ID] {
			t.Errorf("resource %+v: incomplete, or its id is taken", r)
		}
		ids[r.ID] = true
	}
	names := map[string]bool{}
	for _, f := range c.Fields {
		if f.Name == "" || f.Label == "" || f.Sample == "" || names[f.Name] {
			t.Errorf("field %+v: incomplete, or its name is taken", f)
		}
		switch f.Type {
		case "text", "money", "date", "phone", "number":
		default:
			t.Errorf("field %s: type %q", f.Name, f.Type)
		}
		names[f.Name] = true
	}
	if v, ok := c.Config().(connectors.Validator); ok && len(v.Validate()) == 0 {
		t.Error("an empty configuration has no finding")
	}
}

func samples(t *testing.T, c connectors.Connector, o Options) {
	seen := map[string]int{}
	for _, d := range o.Samples {
		events, err := c.Normalize(d)
		if err != nil {
			continue
		}
		for _, e := range events {
			seen[e.Resource]++
		}
	}
	for _, r := range c.Resources {
		if seen[r.ID] == 0 {
			t.Errorf("resource %s: no sample is an event of it", r.ID)
		}
	}
}

func repeatable(t *testing.T, c connectors.Connector, o Options) {
	for i, d := range o.Samples {
		first, err1 := c.Normalize(clone(d))
		second, err2 := c.Normalize(clone(d))
		if (err1 == nil) != (err2 == nil) {
			t.Fatalf("sample %d: got %v, then %v", i, err1, err2)
		}
		if diff := cmp.Diff(first, second); diff != "" {
			t.Errorf("sample %d: first against second:\n%s", i, diff)
		}
	}
}

func clone(d connectors.Delivery) connectors.Delivery {
	d.Body = bytes.Clone(d.Body)
	return d
}

// keeps: a record says where it came from and holds the bytes; it must not depend on when it arrived but for ReceivedAt.
func keeps(t *testing.T, c connectors.Connector, o Options) {
	for i, d := range o.Samples {
		events, err := c.Normalize(clone(d))
		if err != nil {
			continue
		}
		if len(events) == 0 {
			t.Errorf("sample %d: no record and no error", i)
		}
		for _, e := range events {
			if e.Provider != c.Type || e.Connection != d.Connection || e.Environment != d.Environment || e.Origin != d.Origin ||
				e.Test != d.Test || !e.ReceivedAt.Equal(d.ReceivedAt) {
				t.Errorf("sample %d: record %s does not say where it came from", i, e.EventID)
			}
			if whole := bytes.Equal(e.Body, d.Body); !whole && (!o.Batches || len(e.Body) == 0 || !bytes.Contains(d.Body, e.Body)) {
				t.Errorf("sample %d: record %s does not keep its bytes as they were received", i, e.EventID)
			}
			if e.EventID == "" || e.RootID == "" || e.BodyHash == "" || e.Fingerprint == "" || e.ProviderTime.IsZero() || e.Problem != "" {
				t.Errorf("sample %d: record %s is incomplete", i, e.EventID)
			}
		}
		later := clone(d)
		later.ReceivedAt, later.ID = d.ReceivedAt.Add(time.Hour), d.ID+"-again"
		again, err := c.Normalize(later)
		if err != nil || len(again) != len(events) {
			t.Fatalf("sample %d an hour later: %d records, %v", i, len(again), err)
		}
		for j := range again {
			if again[j].EventID != events[j].EventID || again[j].Fingerprint != events[j].Fingerprint || again[j].RootID != events[j].RootID {
				t.Errorf("sample %d: sent again it is another event", i)
			}
		}
	}
}

func junk(t *testing.T, c connectors.Connector, o Options) {
	for _, body := range []string{"", "{", "null", "[]", "{}", "\xff", `{"id":1}`, strings.Repeat("[", 100_000)} {
		d := connectors.Delivery{Connection: "shop", Environment: o.Environment, Body: []byte(body), Origin: schemas.OriginWebhook, ReceivedAt: o.Now()}
		if len(o.Samples) > 0 && body != `{"id":1}` { // which is all that some say of a removal
			d.Headers = o.Samples[0].Headers // so that it is the body that is refused
		}
		events, err := c.Normalize(d)
		if err == nil {
			t.Errorf("%.20q: got %d records and no error", body, len(events))
		}
	}
}

// opened connects with the given outside; log takes its lines.
func opened(t *testing.T, c connectors.Connector, o Options, outside http.RoundTripper, log io.Writer) connectors.Source {
	t.Helper()
	src, err := c.Open(t.Context(), o.Config, connectors.Env{
		Connection: "shop", Environment: o.Environment, Now: o.Now, Log: zerolog.New(log), HTTP: &http.Client{Transport: outside},
		PublicURL: "https://hooks.example.com/webhooks/shop",
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := src.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return src
}

func webhooker(t *testing.T, src connectors.Source) connectors.Webhooker {
	t.Helper()
	w, ok := src.(connectors.Webhooker)
	if !ok {
		t.Fatalf("a %T takes no webhooks", src)
	}
	return w
}

// echo is a hostile provider: it answers with everything that it was sent.
type echo struct{ status int }

func (e echo) RoundTrip(r *http.Request) (*http.Response, error) {
	if e.status == 0 {
		return nil, errors.New("connection refused")
	}
	var sent bytes.Buffer
	if err := r.Header.Write(&sent); err != nil {
		return nil, err
	}
	if r.Body != nil {
		if _, err := io.Copy(&sent, r.Body); err != nil {
			return nil, err
		}
	}
	text := strings.NewReplacer("\r", " ", "\n", " ", `"`, "'").Replace(sent.String())
	user, password, _ := r.BasicAuth()
	body := fmt.Sprintf(`{"name":"INVALID","message":"got %s %s %s","error":"x","error_description":"%s","details":[{"issue":"%s"}]}`, user, password, text, text, text)
	return &http.Response{StatusCode: e.status, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
}

// noSecret: whatever the provider answers, no secret of the configuration stands in a log line, an error, a finding,
// a verdict, or the printed configuration.
func noSecret(t *testing.T, c connectors.Connector, o Options) {
	if len(o.Secrets) == 0 {
		t.Fatal("no secret is given to look for")
	}
	search := func(where, text string) {
		for _, s := range o.Secrets {
			if strings.Contains(text, s) {
				t.Errorf("%s holds a secret: %s", where, strings.ReplaceAll(text, s, "[HERE]"))
			}
		}
	}
	for _, format := range []string{"%v", "%+v", "%#v", "%s"} {
		search("configuration printed with "+format, fmt.Sprintf(format, o.Config))
	}
	for _, outside := range []http.RoundTripper{o.Outside, echo{0}, echo{200}, echo{400}, echo{401}, echo{403}, echo{404}} {
		where := fmt.Sprintf("outside %T%+v", outside, outside)
		if _, ok := outside.(echo); !ok {
			where = "outside that works"
		}
		var log bytes.Buffer
		src := opened(t, c, o, outside, &log)
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		for _, f := range src.Check(ctx) {
			search(where+": finding", fmt.Sprintf("%+v", f))
		}
		if r, ok := src.(connectors.Registrar); ok {
			id, err := r.Register(ctx)
			search(where+": registration", fmt.Sprint(id, err))
			search(where+": removal", fmt.Sprint(r.Unregister(ctx)))
		}
		if o.Signed != nil {
			req, body := o.Signed()
			_, v := webhooker(t, src).Verify(ctx, req, append(body, ' '))
			search(where+": verdict", v.Reason)
			req.Header = http.Header{}
			_, v = webhooker(t, src).Verify(ctx, req, body)
			search(where+": verdict", v.Reason)
		}
		cancel()
		search(where+": source printed", fmt.Sprintf("%+v", src))
		search(where+": log", log.String())
	}
}
