// Package sinkstest checks that a sink keeps the contract of sinks.Writer. It puts a scripted server between the sink
// and a working twin of its destination, and lets every kind of trouble happen.
package sinkstest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/tillstream/tillstream/outbound"
	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/sinks"
)

// patience is what the suite's clients wait for an answer, on a machine that may be busy; slowPatience is that of the one
// who meets slowBody, which is well beyond it.
const (
	patience     = 10 * time.Second
	slowPatience = 800 * time.Millisecond
	slowBody     = 4 * time.Second
)

// Options of a run.
type Options struct {
	Sink sinks.Sink
	// Config returns a configuration whose every address lies below base.
	Config func(base string) any
	// Backend makes a twin of the destination, with more than 100 fields and small pages, if it has fields.
	Backend func() http.Handler
	// Writes reports whether the request is the one that writes a contact, or sends the effect.
	Writes func(*http.Request) bool
	// Contact is a valid desired state that names a field beyond the first page, and a tag; of a sink that keeps no
	// contacts, any.
	Contact schemas.Command
	// Effect is a valid effect on the same contact; nil: the sink has none.
	Effect *schemas.Command
	// Effects are further effects that the sink performs.
	Effects []EffectCase
	// Question says how the sink is asked who is on a list; nil: it is not.
	Question *QuestionCase
	// Twin makes a twin with its panel, in place of Backend; nil: what needs a panel is left out.
	Twin func() (http.Handler, *Panel)
	// Account, Catalogue and Verify are how the account and its contacts are read; nil: they are not.
	Account   *AccountCase
	Catalogue map[sinks.EntryKind]CatalogueCase
	Verify    *VerifyCase // with Twin
	// Bulk says how many desired states are written together; nil: they are not.
	Bulk *BulkCase
	// Invalid are desired states that are refused, TooMany are the provider's own forms of 429.
	Invalid []InvalidCase
	TooMany []TooManyForm
	// Secrets must show up nowhere.
	Secrets []string
}

// Run checks everything.
func Run(t *testing.T, o Options) {
	t.Run("a cancelled context tries nothing and says so", o.cancelled)
	t.Run("every effect that it claims is checked here", o.claims)
	if !o.Sink.NoContacts {
		o.contacts(t)
	}
	for _, e := range o.Effects {
		t.Run(e.Command.Effect.Type, func(t *testing.T) { o.effect(t, e) })
	}
	if o.Question != nil {
		t.Run(schemas.QuestionOnList, o.question)
	}
	t.Run("two writers on one account", o.twoWriters)
	if o.Account != nil {
		t.Run("whose account it is", o.account)
	}
	if o.Catalogue != nil {
		t.Run("catalogue", o.catalogue)
	}
	t.Run("many together", o.bulk)
	if o.Verify != nil {
		t.Run("read back", o.verify)
		t.Run("people", o.people)
	}
}

// contacts checks what holds for desired states.
func (o Options) contacts(t *testing.T) {
	t.Run("delivers over many pages", o.delivers)
	t.Run("one outcome for each command in order", o.order)
	t.Run("a field that does not exist is named", o.vanished)
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) { o.trouble(t, c) })
	}
	t.Run("too many requests", o.tooMany)
	t.Run("refused for good", o.invalid)
	t.Run("a redirect is not followed", o.redirected)
	t.Run("huge answers cost little memory", o.bounded)
	t.Run("the connection is lost at each writing request", o.eachWritingRequest)
}

// trouble is one kind of answer to the writing request, and what may be made of it.
type trouble struct {
	name            string
	answer          http.HandlerFunc
	contact, effect []sinks.OutcomeKind
	account         bool
	success         bool          // by its status
	retryAfter      time.Duration // least; zero: any
	patience        time.Duration // of the client; zero: patience
}

var (
	again   = []sinks.OutcomeKind{sinks.Retryable}
	unsure  = []sinks.OutcomeKind{sinks.Unknown}
	either  = []sinks.OutcomeKind{sinks.Retryable, sinks.Unknown}
	refused = []sinks.OutcomeKind{sinks.Rejected}
)

func status(code int, contentType, body string, header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		for i := 0; i+1 < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(code)
		_, _ = w.Write([]byte(body))
	}
}

var cases = []trouble{
	{name: "429 with Retry-After", answer: status(429, "application/json", `{}`, "Retry-After", "7"), contact: again, effect: again, account: true, retryAfter: 7 * time.Second},
	{name: "429 with a date in Retry-After", answer: inTwentySeconds, contact: again, effect: again, account: true, retryAfter: 10 * time.Second},
	{name: "429 without Retry-After", answer: status(429, "application/json", `{}`), contact: again, effect: again, account: true, retryAfter: 1},
	{name: "503 with Retry-After", answer: status(503, "application/json", `{}`, "Retry-After", "3"), contact: again, effect: again, account: true, retryAfter: 3 * time.Second},
	{name: "Retry-After of ten years is capped", answer: status(429, "application/json", `{}`, "Retry-After", "315360000"), contact: again, effect: again, account: true, retryAfter: time.Minute},
	{name: "500", answer: status(500, "text/html", `<html>`), contact: again, effect: either},
	{name: "502", answer: status(502, "text/html", `<html>`), contact: again, effect: unsure},
	{name: "520", answer: status(520, "text/html", `<html>`), contact: again, effect: unsure},
	{name: "403 concerns the account", answer: status(403, "application/json", `{"message":"Forbidden"}`), contact: again, effect: again, account: true},
	{name: "401 concerns the account", answer: status(401, "application/json", `{}`), contact: again, effect: again, account: true},
	{name: "422 is for good", answer: status(422, "application/json", `{"errors":[{"title":"is not valid","code":"field_invalid","source":{"pointer":"/data/attributes/email"}}]}`), contact: refused, effect: refused},
	{name: "a page for people with 200", answer: status(200, "text/html; charset=utf-8", `<html>log in</html>`), contact: again, effect: unsure, success: true},
	{name: "half an answer", answer: status(200, "application/json", `{"contact":{"id":"1"`), contact: again, effect: unsure, success: true},
	{name: "cut after the request was read", answer: func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, contact: again, effect: unsure},
	{name: "an answer without end", answer: endless, contact: again, effect: unsure, success: true},
	{name: "a gzip bomb", answer: gzipBomb, contact: again, effect: unsure, success: true},
	{name: "a body that does not come", answer: slow, contact: again, effect: unsure, patience: slowPatience, success: true},
}

func endless(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write([]byte(`{"x":"`))
	chunk := bytes.Repeat([]byte("x"), 1<<20)
	for range hugeBytes / len(chunk) {
		if _, err := w.Write(chunk); err != nil {
			return
		}
	}
}

func slow(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusOK)
	if f, ok := w.(http.Flusher); ok {
		f.Flush()
	}
	timer := time.NewTimer(slowBody)
	defer timer.Stop()
	select {
	case <-r.Context().Done():
	case <-timer.C:
	}
}

// bench is one opened sink with its scripted server.
type bench struct {
	o      Options
	t      *testing.T
	writer sinks.Writer
	log    *lockedBuffer
	twin   http.Handler
	panel  *Panel // nil without Options.Twin
	client *http.Client
	url    string

	mu     sync.Mutex
	script http.HandlerFunc         // answers writing requests in place of the twin
	writes func(*http.Request) bool // which these are
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write implements io.Writer.
func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

// String returns all that was written.
func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func (o Options) open(t *testing.T) *bench {
	t.Helper()
	return o.openWith(t, patience)
}

func (o Options) openWith(t *testing.T, wait time.Duration) *bench {
	t.Helper()
	if wait == 0 {
		wait = patience
	}
	b := &bench{o: o, t: t, log: &lockedBuffer{}, writes: o.Writes}
	if o.Twin != nil {
		b.twin, b.panel = o.Twin()
	} else {
		b.twin = o.Backend()
	}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b.mu.Lock()
		script, writes := b.script, b.writes
		b.mu.Unlock()
		if script != nil && writes(r) {
			body, _ := io.ReadAll(r.Body) // what is missing of it, the script does not look at
			r.Body = io.NopCloser(bytes.NewReader(body))
			script(w, r)
			return
		}
		b.twin.ServeHTTP(w, r)
	}))
	t.Cleanup(srv.Close)
	client, err := outbound.NewClient(outbound.Options{AllowPrivate: true, Timeout: wait})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.CloseIdleConnections)
	b.client, b.url = client, srv.URL
	b.openWriter()
	return b
}

func (b *bench) openWriter() {
	b.t.Helper()
	w, err := b.o.Sink.Open(b.t.Context(), b.o.Config(b.url), sinks.Env{Destination: "suite", Now: time.Now, Log: zerolog.New(b.log), HTTP: b.client})
	if err != nil {
		b.t.Fatal(err)
	}
	b.writer = w
	b.t.Cleanup(func() {
		if err := w.Close(); err != nil {
			b.t.Errorf("Close: %v", err)
		}
	})
}

// beside is a second writer on the same account, reached the same way.
func (b *bench) beside() *bench {
	b.t.Helper()
	second := &bench{o: b.o, t: b.t, log: b.log, twin: b.twin, panel: b.panel, client: b.client, url: b.url}
	second.openWriter()
	return second
}

func (b *bench) answerWith(h http.HandlerFunc) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.script = h
}

// write calls the writer and checks what holds for every outcome.
func (b *bench) write(ctx context.Context, batch ...schemas.Command) []sinks.Outcome {
	b.t.Helper()
	out := b.writer.Write(ctx, batch)
	if len(out) != len(batch) {
		b.t.Fatalf("got %d outcomes for %d commands", len(out), len(batch))
	}
	for _, o := range out {
		b.check(o)
	}
	return out
}

func (b *bench) check(o sinks.Outcome) {
	b.t.Helper()
	if o.Kind < sinks.Delivered || o.Kind > sinks.NotHappened {
		b.t.Errorf("got kind %d, which is none", o.Kind)
	}
	if o.Kind != sinks.Delivered && o.Kind != sinks.NotHappened && o.Err == nil {
		b.t.Errorf("an outcome that is not good has no error")
	}
	if o.Kind == sinks.Rejected && o.Remedy == "" {
		b.t.Errorf("a rejected command has no remedy: %v", o.Err)
	}
	shown := fmt.Sprintf("%v %s %+v %s", o.Err, o.Remedy, o.Exchanges, b.log.String())
	for _, secret := range append(b.o.Secrets, b.o.Contact.Contact.Email) {
		if secret != "" && strings.Contains(shown, secret) {
			b.t.Errorf("%q shows in an error, an exchange or the log", secret)
		}
	}
}

func (o Options) delivers(t *testing.T) {
	b := o.open(t)
	for range 2 {
		if got := b.write(t.Context(), o.Contact)[0]; got.Kind != sinks.Delivered || len(got.Exchanges) == 0 {
			t.Fatalf("contact: got %d with %d exchanges: %v", got.Kind, len(got.Exchanges), got.Err)
		}
	}
	if o.Effect == nil {
		return
	}
	b.check(b.writer.Reconcile(t.Context(), *o.Effect))
	if got := b.writer.Reconcile(t.Context(), *o.Effect); got.Kind != sinks.NotHappened && got.Kind != sinks.Unknown {
		t.Errorf("an effect that was not sent: got %d", got.Kind)
	}
	if got := b.write(t.Context(), *o.Effect)[0]; got.Kind != sinks.Delivered {
		t.Fatalf("effect: got %d: %v", got.Kind, got.Err)
	}
	if got := b.writer.Reconcile(t.Context(), *o.Effect); got.Kind != sinks.Delivered && got.Kind != sinks.Unknown {
		t.Errorf("an effect that was sent: got %d: %v", got.Kind, got.Err)
	}
	for _, f := range b.writer.Check(t.Context()) {
		if f.Bad {
			t.Errorf("check: %s: %s", f.Field, f.Message)
		}
	}
}

func (o Options) order(t *testing.T) {
	bad := o.Contact
	bad.CommandID, bad.ContactKey, bad.Contact.Email = "bad", "live/bad", "not an address"
	out := o.open(t).write(t.Context(), o.Contact, bad, o.Contact)
	got := []sinks.OutcomeKind{out[0].Kind, out[1].Kind, out[2].Kind}
	for i, want := range []sinks.OutcomeKind{sinks.Delivered, sinks.Rejected, sinks.Delivered} {
		if got[i] != want {
			t.Errorf("command %d: got %d, want %d: %v", i, got[i], want, out[i].Err)
		}
	}
}

func (o Options) vanished(t *testing.T) {
	c := o.Contact
	c.Contact.Fields = map[string]string{"NO_SUCH_FIELD": "x"}
	got := o.open(t).write(t.Context(), c)[0]
	if got.Kind != sinks.Rejected || !strings.Contains(fmt.Sprint(got.Err), "NO_SUCH_FIELD") {
		t.Errorf("got %d: %v", got.Kind, got.Err)
	}
}

func (o Options) cancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, got := range o.open(t).write(ctx, o.Contact, o.Contact) {
		if got.Kind != sinks.Retryable {
			t.Errorf("got %d, want Retryable: %v", got.Kind, got.Err)
		}
	}
}

func (o Options) trouble(t *testing.T, c trouble) {
	b := o.openWith(t, c.patience)
	b.answerWith(c.answer)
	o.judge(t, "contact", b.write(t.Context(), o.Contact)[0], c.contact, c)
	if o.Effect != nil {
		o.judge(t, "effect", b.write(t.Context(), *o.Effect)[0], c.effect, c)
	}
	b.answerWith(nil)
	if got := b.write(t.Context(), o.Contact)[0]; got.Kind != sinks.Delivered {
		t.Errorf("after the trouble: got %d: %v", got.Kind, got.Err)
	}
}

func (o Options) judge(t *testing.T, what string, got sinks.Outcome, want []sinks.OutcomeKind, c trouble) {
	t.Helper()
	good := false
	for _, k := range want {
		good = good || got.Kind == k
	}
	if !good {
		t.Errorf("%s: got %d, want one of %v: %v", what, got.Kind, want, got.Err)
	}
	if got.Account != c.account {
		t.Errorf("%s: got account %v, want %v: %v", what, got.Account, c.account, got.Err)
	}
	if got.RetryAfter < c.retryAfter || got.RetryAfter > outbound.HoldMax {
		t.Errorf("%s: got retry after %s, want at least %s", what, got.RetryAfter, c.retryAfter)
	}
}
