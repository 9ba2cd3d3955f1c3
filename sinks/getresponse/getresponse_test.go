package getresponse_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tillstream/tillstream/outbound"
	"github.com/tillstream/tillstream/schemas"
	twin "github.com/tillstream/tillstream/simulators/getresponse"
	"github.com/tillstream/tillstream/sinks"
	"github.com/tillstream/tillstream/sinks/getresponse"
	"github.com/tillstream/tillstream/sinks/sinkstest"
)

const apiKey = "k3yofthegetresponseapi0123456789"

func config(base string) any {
	c := getresponse.Sink.Config().(*getresponse.Config)
	c.URL, c.Key, c.List = base+"/v3", schemas.NewSecret(apiKey), "C"
	return c
}

func ada() schemas.Command {
	return schemas.Command{
		CommandID: "0123456789abcdef", Kind: schemas.CommandContact, Destination: "crm", ContactKey: "live/ada@shop.example", Version: 1,
		Contact: schemas.Contact{
			Email: "ada@shop.example", FirstName: "Ada", LastName: "L", Phone: "+49 170 12345678",
			Fields: map[string]string{
				"ORDER_ID": "5O1", "order_amount": "10.00", "order_date": "2026-01-31T11:00:00+01:00", "next_billing": "2026-02-28T10:00:00Z",
				"interests": "tea,Books", "order_currency": "eur",
			},
			Tags: []string{"paid", "paypal-integration"}, NoTags: []string{"unpaid"},
		},
	}
}

func paid() *schemas.Command {
	c := ada()
	c.CommandID, c.Kind = "abcdef012345ff", schemas.CommandEffect
	c.Effect = &schemas.Effect{Type: schemas.EffectTrackEvent, Name: "Order paid", Data: "order=5O1"}
	return &c
}

func newTwin(t *testing.T, o twin.Options) *twin.Server {
	t.Helper()
	o.APIKey = apiKey
	s, err := twin.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestConformance runs twice: a contact that is created, and one that is on the list.
func TestConformance(t *testing.T) {
	for name, lists := range map[string][]string{"new contact": nil, "known contact": {"C"}} {
		t.Run(name, func(t *testing.T) {
			sinkstest.Run(t, sinkstest.Options{
				Sink: getresponse.Sink, Config: config, Contact: ada(), Effect: effectOf(lists), Effects: effects(), Question: &question, Secrets: []string{apiKey},
				Twin: func() (http.Handler, *sinkstest.Panel) { return backend(t, lists) },
				Writes: func(r *http.Request) bool {
					known := len(lists) > 0 && (strings.HasPrefix(r.URL.Path, "/v3/contacts/") || r.URL.Path == "/v3/custom-events/trigger")
					return r.Method == http.MethodPost && (known || r.URL.Path == "/v3/contacts")
				},
				Account: &sinkstest.AccountCase{ID: "acc1", Name: "Example", Asks: gets("/v3/accounts")}, Catalogue: catalogue(),
				Verify: &sinkstest.VerifyCase{
					Field: "order_id", Value: "from the panel", Tag: "paid",
					Reads: func(r *http.Request) bool {
						return r.Method == http.MethodGet && strings.HasPrefix(r.URL.Path, "/v3/contacts")
					},
				},
				Invalid: invalid(), TooMany: tooMany,
			})
		})
	}
}

func gets(path string) func(*http.Request) bool {
	return func(r *http.Request) bool { return r.Method == http.MethodGet && r.URL.Path == path }
}

func catalogue() map[sinks.EntryKind]sinkstest.CatalogueCase {
	return map[sinks.EntryKind]sinkstest.CatalogueCase{
		sinks.EntryField: {Least: 137, Asks: gets("/v3/custom-fields")}, sinks.EntryTag: {Least: manyTags, Asks: gets("/v3/tags")},
		sinks.EntryList: {Least: manyLists, Asks: gets("/v3/campaigns")}, sinks.EntryShop: {Least: 1, Asks: gets("/v3/shops")},
		sinks.EntryAutomation: {Least: 1, Asks: gets("/v3/workflow")}, sinks.EntryMessage: {Least: 1, Asks: gets("/v3/newsletters")},
	}
}

// More than one page of what can be many.
const (
	manyTags  = 1100
	manyLists = 230
)

func invalid() []sinkstest.InvalidCase {
	return []sinkstest.InvalidCase{
		{Name: "a value too long", Change: func(c *schemas.Command) { c.Contact.Fields = map[string]string{"order_id": strings.Repeat("x", 300)} }, Says: "order_id"},
		{Name: "an address that is none", Change: func(c *schemas.Command) { c.Contact.Email = "ada@shop" }, Says: "email"},
		{Name: "an option that there is not", Change: func(c *schemas.Command) { c.Contact.Fields = map[string]string{"interests": "Cars"} }, Says: "interests"},
		{Name: "a tag that is too long", Change: func(c *schemas.Command) { c.Contact.Tags = []string{strings.Repeat("t", 65)} }, Says: "too long"},
		{Name: "a tag of no letters", Change: func(c *schemas.Command) { c.Contact.Tags = []string{"оплачено"} }, Says: "no letter"},
	}
}

// tooMany are the forms of 429 that are documented or were seen.
var tooMany = []sinkstest.TooManyForm{
	{Name: "of the second", Header: []string{"X-RateLimit-Limit", "80", "X-RateLimit-Remaining", "0", "X-RateLimit-Reset", "1 seconds", "Retry-After", "1"}, Body: `{"code":1015}`, Least: time.Second},
	{Name: "a reset with its unit", Header: []string{"X-RateLimit-Reset", "26 seconds"}, Body: `{"httpStatus":429,"code":1015,"context":{}}`, Least: 26 * time.Second},
	{Name: "timeToReset in the body", Body: `{"httpStatus":429,"code":1015,"context":{"currentLimit":30000,"timeToReset":"40 seconds"}}`, Least: 40 * time.Second},
	{Name: "a list as context", Body: `{"httpStatus":429,"code":1015,"context":[{"timeToReset":"9 seconds"}]}`, Least: 9 * time.Second},
	{Name: "no word about it", Body: ``, Least: time.Second},
}

// effectOf is the effect that the suite lets trouble happen to beside the contact's: who is not there yet gets it with
// the contact, whose creation may be repeated.
func effectOf(lists []string) *schemas.Command {
	if lists == nil {
		return nil
	}
	return paid()
}

// backend is a twin in which ada is on the lists, and others are what the question asks for.
func backend(t *testing.T, lists []string) (http.Handler, *sinkstest.Panel) {
	s := newTwin(t, twin.Options{SecondMax: 1_000_000, Tags: manyTags, Lists: manyLists})
	s.AddDraft(twin.Draft{Name: "Hello", Subject: "Hi", Plain: "x"})
	s.AddWorkflow(twin.Workflow{Name: "Thanks"})
	for _, l := range lists {
		if err := s.Subscribe("ada@shop.example", "A", l); err != nil {
			t.Error(err)
		}
	}
	for _, who := range []string{"on", "left", "bounced"} {
		if err := s.Subscribe(who+"@shop.example", "A", "V"); err != nil {
			t.Error(err)
		}
	}
	s.TakeOff("left@shop.example", "unsubscribe")
	s.TakeOff("bounced@shop.example", "bounce")
	do := func(a twin.Action) {
		if err := s.Panel(a); err != nil {
			t.Error(err)
		}
	}
	return watched(t, s.Handler(), nil), &sinkstest.Panel{
		SetField:    func(email, name, value string) { do(twin.Action{Do: "set_field", Email: email, Name: name, To: value}) },
		Untag:       func(email, name string) { do(twin.Action{Do: "untag", Email: email, Name: name}) },
		Unsubscribe: func(email string) { do(twin.Action{Do: "unsubscribe", Email: email}) },
		Bounce:      func(email string) { do(twin.Action{Do: "bounce", Email: email}) },
		Delete:      func(email string) { do(twin.Action{Do: "delete", Email: email}) },
	}
}

var question = sinkstest.QuestionCase{
	List: "Newsletter",
	Standings: map[string]schemas.Standing{
		"on@shop.example": schemas.StandingActive, "left@shop.example": schemas.StandingUnsubscribed, "bounced@shop.example": schemas.StandingBounced,
		"absent@shop.example": schemas.StandingAbsent,
	},
	Asks: func(r *http.Request) bool { return r.URL.Path == "/v3/contacts" },
}

func effects() []sinkstest.EffectCase {
	posts := func(path string) func(*http.Request) bool {
		return func(r *http.Request) bool { return r.Method == http.MethodPost && r.URL.Path == path }
	}
	trigger := *paid()
	return []sinkstest.EffectCase{
		{Command: trigger, Writes: posts("/v3/custom-events/trigger")},
		{Command: action(schemas.EffectAddToList, "Newsletter"), Writes: posts("/v3/contacts"), Repeatable: true},
		{
			Command: action(schemas.EffectMoveToList, "Newsletter", schemas.ArgumentFrom, "Promo campaign"), Repeatable: true,
			Writes: func(r *http.Request) bool {
				return r.Method == http.MethodPost && strings.HasPrefix(r.URL.Path, "/v3/contacts/")
			},
		},
		{Command: action(schemas.EffectSendMessage, "Hello"), Writes: posts("/v3/newsletters")},
		{Command: order("PAID", "shop", "Monster market"), Writes: posts("/v3/shops/pf3/orders")},
	}
}

// bench is a writer with its twin, and a clock that both share and tests move.
type bench struct {
	*twin.Server
	w    sinks.Writer
	open func() sinks.Writer // of another process

	mu   sync.Mutex
	now  time.Time
	seen []string // method and path of each request
	// change may change a request on its way.
	change func(*http.Request)
}

func (b *bench) clock() time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.now
}

func (b *bench) onTheWay(change func(*http.Request)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.change = change
}

func (b *bench) wait(d time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.now = b.now.Add(d)
}

// asked returns how many requests came to a method and path since the last question.
func (b *bench) asked(what string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := 0
	for _, s := range b.seen {
		if s == what {
			n++
		}
	}
	b.seen = nil
	return n
}

func open(t *testing.T, o twin.Options, change ...func(*getresponse.Config)) *bench {
	t.Helper()
	b := &bench{now: time.Date(2026, 11, 2, 10, 0, 0, 0, time.UTC)}
	o.Now = b.clock
	b.Server = newTwin(t, o)
	handler := watched(t, b.Handler(), nil)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b.mu.Lock()
		change := b.change
		b.mu.Unlock()
		if change != nil {
			change(r)
		}
		b.mu.Lock()
		b.seen = append(b.seen, r.Method+" "+r.URL.Path)
		// The clock stands still otherwise, and the twin counts requests of a second.
		b.now = b.now.Add(20 * time.Millisecond)
		b.mu.Unlock()
		handler.ServeHTTP(w, r)
	}))
	t.Cleanup(srv.Close)
	client, err := outbound.NewClient(outbound.Options{AllowPrivate: true, Timeout: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.CloseIdleConnections)
	c := config(srv.URL).(*getresponse.Config)
	for _, f := range change {
		f(c)
	}
	b.open = func() sinks.Writer {
		w, err := getresponse.Sink.Open(t.Context(), c, sinks.Env{Destination: "crm", Now: b.clock, HTTP: client})
		if err != nil {
			t.Fatal(err)
		}
		return w
	}
	b.w = b.open()
	return b
}

func (b *bench) write(ctx context.Context, cmd schemas.Command) sinks.Outcome {
	return b.w.Write(ctx, []schemas.Command{cmd})[0]
}

func (b *bench) deliver(t *testing.T, cmd schemas.Command) sinks.Outcome {
	t.Helper()
	o := b.write(t.Context(), cmd)
	if o.Kind != sinks.Delivered {
		t.Fatalf("got %d: %v (%s)", o.Kind, o.Err, o.Remedy)
	}
	return o
}

// one returns the only contact.
func (b *bench) one(t *testing.T) twin.Contact {
	t.Helper()
	list := b.Contacts()
	if len(list) != 1 {
		t.Fatalf("got %d contacts, want 1: %+v", len(list), list)
	}
	return list[0]
}

func TestContactArrivesWhole(t *testing.T) {
	b := open(t, twin.Options{})
	b.deliver(t, ada())
	got := b.one(t)
	want := map[string][]string{
		"order_id": {"5O1"}, "order_amount": {"10.00"}, "order_date": {"2026-01-31 10:00:00"}, "next_billing": {"2026-02-28"},
		"interests": {"Tea", "Books"}, "order_currency": {"EUR"}, "phone": {"+4917012345678"},
	}
	if d := cmp.Diff(got.Fields, want); d != "" {
		t.Errorf("fields, got - want:\n%s", d)
	}
	if d := cmp.Diff(got.Tags, []string{"paid", "paypal_integration"}); d != "" {
		t.Errorf("tags, got - want:\n%s", d)
	}
	if got.Name != "Ada L" || got.List != "C" {
		t.Errorf("got name %q on list %s, want Ada L on C", got.Name, got.List)
	}
}

// TestNothingIsWrittenTwice: the state that is there costs one look.
func TestNothingIsWrittenTwice(t *testing.T) {
	b := open(t, twin.Options{})
	b.deliver(t, ada())
	versions := len(b.one(t).Versions)
	if o := b.deliver(t, ada()); len(o.Exchanges) != 1 {
		t.Errorf("got %d requests the second time, want 1: %+v", len(o.Exchanges), o.Exchanges)
	}
	if got := len(b.one(t).Versions); got != versions {
		t.Errorf("got %d writes, want %d", got, versions)
	}
}

// TestWhatIsNotNamedStays: fields, tags and the name that a command does not name are nobody's business.
func TestWhatIsNotNamedStays(t *testing.T) {
	for name, c := range map[string]struct {
		change     func(*schemas.Contact)
		fields     map[string][]string
		before     []string // tags; default: old
		tags       []string
		name, path string
	}{
		"a field and a tag more": {
			change: func(c *schemas.Contact) {
				c.Fields, c.Tags = map[string]string{"order_status": "PAID"}, []string{"new one"}
			},
			fields: map[string][]string{"order_id": {"5O1"}, "order_status": {"PAID"}, "age": {"30-44"}}, tags: []string{"new_one", "old"}, name: "Ada L",
			path: "POST /v3/contacts/{id}/custom-fields",
		},
		"a tag less": {
			change: func(c *schemas.Contact) { c.NoTags = []string{"old"} },
			fields: map[string][]string{"order_id": {"5O1"}, "age": {"30-44"}}, tags: []string{}, name: "Ada L", path: "POST /v3/contacts/{id}",
		},
		"a tag less of two": {
			change: func(c *schemas.Contact) { c.NoTags, c.Tags = []string{"more"}, []string{"new"} },
			before: []string{"more", "old"},
			fields: map[string][]string{"order_id": {"5O1"}, "age": {"30-44"}}, tags: []string{"new", "old"}, name: "Ada L", path: "POST /v3/contacts/{id}",
		},
		"a tag for another": {
			change: func(c *schemas.Contact) { c.Tags, c.NoTags = []string{"new"}, []string{"OLD"} },
			fields: map[string][]string{"order_id": {"5O1"}, "age": {"30-44"}}, tags: []string{"new"}, name: "Ada L", path: "POST /v3/contacts/{id}",
		},
		"a field emptied and one changed": {
			change: func(c *schemas.Contact) { c.Fields = map[string]string{"order_id": "", "order_status": "PAID"} },
			fields: map[string][]string{"order_status": {"PAID"}, "age": {"30-44"}}, tags: []string{"old"}, name: "Ada L", path: "POST /v3/contacts/{id}",
		},
		"another name": {
			change: func(c *schemas.Contact) { c.FirstName, c.LastName = "Ada", "Lovelace" },
			fields: map[string][]string{"order_id": {"5O1"}, "age": {"30-44"}}, tags: []string{"old"}, name: "Ada Lovelace", path: "POST /v3/contacts/{id}",
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := open(t, twin.Options{})
			first := ada()
			first.Contact = schemas.Contact{Email: "ada@shop.example", FirstName: "Ada", LastName: "L", Tags: []string{"old"}, Fields: map[string]string{"order_id": "5O1", "age": "30-44"}}
			if c.before != nil {
				first.Contact.Tags = c.before
			}
			b.deliver(t, first)
			id := b.one(t).ID
			b.asked("")
			then := ada()
			then.Contact = schemas.Contact{Email: "Ada@shop.example"}
			c.change(&then.Contact)
			b.deliver(t, then)
			if n := b.asked(strings.Replace(c.path, "{id}", id, 1)); n != 1 {
				t.Errorf("got %d requests to %s, want 1", n, c.path)
			}
			got := b.one(t)
			if d := cmp.Diff(got.Fields, c.fields); d != "" {
				t.Errorf("fields, got - want:\n%s", d)
			}
			if d := cmp.Diff(got.Tags, c.tags); d != "" {
				t.Errorf("tags, got - want:\n%s", d)
			}
			if got.Name != c.name {
				t.Errorf("got name %q, want %q", got.Name, c.name)
			}
		})
	}
}

// TestCreationIsAQueue: a contact is asked for once, looked for with growing pauses, and is delivered when it is there.
func TestCreationIsAQueue(t *testing.T) {
	b := open(t, twin.Options{CreateDelay: time.Minute})
	var waits []time.Duration
	for range 10 {
		o := b.write(t.Context(), ada())
		if o.Kind == sinks.Delivered {
			break
		}
		if o.Kind != sinks.Retryable || o.Account || o.RetryAfter <= 0 {
			t.Fatalf("got %d, account %v, retry after %s: %v", o.Kind, o.Account, o.RetryAfter, o.Err)
		}
		waits = append(waits, o.RetryAfter)
		b.wait(o.RetryAfter)
	}
	if d := cmp.Diff(waits, []time.Duration{5 * time.Second, 15 * time.Second, 30 * time.Second, time.Minute}); d != "" {
		t.Errorf("pauses, got - want:\n%s", d)
	}
	if n := b.asked("POST /v3/contacts"); n != 1 {
		t.Errorf("got %d creations, want 1", n)
	}
	if got := b.one(t); !got.Visible || got.Fields["order_id"] == nil {
		t.Errorf("got %+v", got)
	}
}

// TestDroppedByTheQueue: what was accepted and never shows up is told to a person; a replay asks for it again.
func TestDroppedByTheQueue(t *testing.T) {
	b := open(t, twin.Options{Faults: twin.Faults{Drop: []string{"ada@shop.example"}}})
	var o sinks.Outcome
	for range 20 {
		if o = b.write(t.Context(), ada()); o.Kind != sinks.Retryable {
			break
		}
		b.wait(o.RetryAfter)
	}
	if o.Kind != sinks.Rejected || o.Remedy == "" {
		t.Fatalf("got %d: %v", o.Kind, o.Err)
	}
	if n := b.asked("POST /v3/contacts"); n != 1 {
		t.Errorf("got %d creations, want 1", n)
	}
	b.SetFaults(twin.Faults{})
	b.deliver(t, ada())
}

// TestNobodyIsSubscribedAgain: the twin would let them in; the sink does not ask.
func TestNobodyIsSubscribedAgain(t *testing.T) {
	for _, reason := range []string{"unsubscribe", "api", "user", "bounce", "complaint"} {
		t.Run(reason, func(t *testing.T) {
			b := open(t, twin.Options{})
			b.deliver(t, ada())
			b.TakeOff("ada@shop.example", reason)
			b.asked("")
			for range 2 {
				o := b.write(t.Context(), ada())
				if o.Kind != sinks.Rejected || o.Remedy == "" || !strings.Contains(o.Err.Error(), reason) {
					t.Errorf("got %d: %v", o.Kind, o.Err)
				}
			}
			if o := b.write(t.Context(), *paid()); o.Kind != sinks.Rejected {
				t.Errorf("event: got %d: %v", o.Kind, o.Err)
			}
			if n := b.asked("POST /v3/contacts"); n != 0 {
				t.Errorf("got %d creations, want none", n)
			}
			// Signing up again is theirs to do, and counts.
			if err := b.Subscribe("ada@shop.example", "Ada", "C"); err != nil {
				t.Fatal(err)
			}
			b.deliver(t, ada())
		})
	}
}

// TestOtherLists: who is on another list is updated there and joins none; the configured list wins.
func TestOtherLists(t *testing.T) {
	b := open(t, twin.Options{})
	if err := b.Subscribe("ada@shop.example", "Ada", "V"); err != nil {
		t.Fatal(err)
	}
	b.deliver(t, ada())
	if got := b.one(t); got.List != "V" || len(got.Tags) != 2 {
		t.Errorf("got %+v, want an update on V", got)
	}
	second := open(t, twin.Options{})
	for _, l := range []string{"V", "C"} {
		if err := second.Subscribe("ada@shop.example", "Ada", l); err != nil {
			t.Fatal(err)
		}
		second.wait(time.Hour)
	}
	second.deliver(t, ada())
	for _, c := range second.Contacts() {
		if (len(c.Tags) > 0) != (c.List == "C") {
			t.Errorf("list %s: got tags %v, want them on C only", c.List, c.Tags)
		}
	}
}

// TestDoubleOptin: the contact is asked for once and waited for until the person confirms.
func TestDoubleOptin(t *testing.T) {
	b := open(t, twin.Options{}, func(c *getresponse.Config) { c.List = "D" })
	if o := b.write(t.Context(), ada()); o.Kind != sinks.Retryable {
		t.Fatalf("got %d: %v", o.Kind, o.Err)
	}
	b.wait(30 * time.Second)
	o := b.write(t.Context(), ada())
	if o.Kind != sinks.Retryable || o.RetryAfter != time.Hour || !strings.Contains(o.Err.Error(), "confirmed") {
		t.Fatalf("got %d, retry after %s: %v", o.Kind, o.RetryAfter, o.Err)
	}
	b.Confirm("ada@shop.example")
	b.deliver(t, ada())
	if n := b.asked("POST /v3/contacts"); n != 1 {
		t.Errorf("got %d creations, want 1", n)
	}
}

func TestEventIsTriggeredOnce(t *testing.T) {
	b := open(t, twin.Options{})
	long := paid()
	long.Effect.Data = strings.Repeat("ż", 400)
	b.deliver(t, *long) // creates the contact, defines the event
	got := b.Triggered()
	if len(got) != 1 || got[0].Event != "order_paid" || got[0].Email != "ada@shop.example" {
		t.Fatalf("got %+v", got)
	}
	if d := cmp.Diff(got[0].Attributes, map[string]string{"command_id": "abcdef012345ff", "data": strings.Repeat("ż", 255)}); d != "" {
		t.Errorf("attributes, got - want:\n%s", d)
	}
	if o := b.deliver(t, *paid()); len(o.Exchanges) != 1 {
		t.Errorf("got %d requests the second time, want 1", len(o.Exchanges))
	}
	o := b.w.Reconcile(t.Context(), *paid())
	if o.Kind != sinks.Unknown || o.Err == nil || o.Remedy == "" {
		t.Errorf("reconcile: got %d: %v", o.Kind, o.Err)
	}
}

// TestEventAfterTrouble: what the server may have done before it failed is unknown; what it says was not found did not
// happen, and is tried with what is there now.
func TestEventAfterTrouble(t *testing.T) {
	b := open(t, twin.Options{})
	b.deliver(t, *paid())
	for _, c := range []struct {
		status, code int
		want         sinks.OutcomeKind
	}{
		{500, 1, sinks.Unknown},
		{502, 1, sinks.Unknown},
		{503, 1019, sinks.Retryable},
		{429, 1015, sinks.Retryable},
		{400, 1000, sinks.Rejected},
		{404, 1013, sinks.Retryable},
	} {
		b.Break(twin.Failure{Path: "/custom-events/trigger", Status: c.status, Code: c.code})
		if o := b.write(t.Context(), *paid()); o.Kind != c.want {
			t.Errorf("%d with code %d: got %d, want %d: %v", c.status, c.code, o.Kind, c.want, o.Err)
		}
	}
	// Before the trigger nothing can have happened, whatever goes wrong.
	fresh := open(t, twin.Options{})
	fresh.Break(twin.Failure{Path: "/contacts", Status: 502, Code: 1, Count: 1})
	if o := fresh.write(t.Context(), *paid()); o.Kind != sinks.Retryable {
		t.Errorf("got %d, want Retryable: %v", o.Kind, o.Err)
	}
	fresh.deliver(t, *paid())
	if n := len(fresh.Triggered()); n != 1 {
		t.Errorf("got %d events, want 1", n)
	}
}

// TestContactThatVanished: what is remembered is no longer so, and the address counts.
func TestContactThatVanished(t *testing.T) {
	b := open(t, twin.Options{})
	b.deliver(t, ada())
	b.TakeOff("ada@shop.example", "user")
	if err := b.Subscribe("ada@shop.example", "New", "V"); err != nil {
		t.Fatal(err)
	}
	b.deliver(t, ada())
	for _, c := range b.Contacts() {
		if c.Gone == "" && (c.List != "V" || c.Fields["order_id"] == nil) {
			t.Errorf("got %+v, want the one on V to be written", c)
		}
	}
}

// TestAddressThatMoved: a contact that has another address now is somebody else's business.
func TestAddressThatMoved(t *testing.T) {
	b := open(t, twin.Options{})
	b.deliver(t, ada())
	b.ChangeEmail("ada@shop.example", "lovelace@shop.example")
	then := ada()
	then.Contact.Fields = map[string]string{"order_id": "5O2"}
	b.deliver(t, then)
	got := map[string][]string{}
	for _, c := range b.Contacts() {
		got[c.Email] = c.Fields["order_id"]
	}
	if d := cmp.Diff(got, map[string][]string{"ada@shop.example": {"5O2"}, "lovelace@shop.example": {"5O1"}}); d != "" {
		t.Errorf("got - want:\n%s", d)
	}
}

// TestRelatedMissing: with a catalogue of just now, a related thing that is missing is the command's fault; with the
// list gone, it is the account's.
func TestRelatedMissing(t *testing.T) {
	b := open(t, twin.Options{})
	b.Break(twin.Failure{Method: "POST", Path: "/contacts", Status: 400, Code: 1001})
	if o := b.write(t.Context(), ada()); o.Kind != sinks.Rejected || o.Remedy == "" {
		t.Errorf("got %d: %v", o.Kind, o.Err)
	}
	none := open(t, twin.Options{}, func(c *getresponse.Config) { c.List = "zz" })
	out := none.w.Write(t.Context(), []schemas.Command{ada(), ada()})
	for i, o := range out {
		if o.Kind != sinks.Retryable || !o.Account || !strings.Contains(o.Err.Error(), "zz") {
			t.Errorf("command %d: got %d, account %v: %v", i, o.Kind, o.Account, o.Err)
		}
	}
	if n := none.asked("POST /v3/contacts"); n != 1 {
		t.Errorf("got %d creations, want 1: what the account refuses once, it refuses to the rest", n)
	}
}

// TestTakenOnCreation: on the list already, though no list shows it: looked for, not created again.
func TestTakenOnCreation(t *testing.T) {
	b := open(t, twin.Options{CreateDelay: time.Minute})
	b.Break(twin.Failure{Method: "POST", Path: "/contacts", Status: 409, Code: 1008})
	for range 2 {
		o := b.write(t.Context(), ada())
		if o.Kind != sinks.Retryable || o.RetryAfter == 0 {
			t.Fatalf("got %d after %s: %v", o.Kind, o.RetryAfter, o.Err)
		}
		b.wait(o.RetryAfter)
	}
	if n := b.asked("POST /v3/contacts"); n != 1 {
		t.Errorf("got %d creations, want 1", n)
	}
}

// TestCatalogueIsReadAgain: a field that a person makes after it was missed is found a minute later, and an event whose
// definition they delete is defined again.
func TestCatalogueIsReadAgain(t *testing.T) {
	b := open(t, twin.Options{})
	cmd := ada()
	cmd.Contact.Fields = map[string]string{"new_one": "x"}
	for range 2 {
		if o := b.write(t.Context(), cmd); o.Kind != sinks.Rejected {
			t.Fatalf("got %d: %v", o.Kind, o.Err)
		}
	}
	if n := b.asked("GET /v3/custom-fields"); n != 2 {
		t.Errorf("got %d pages read, want both pages once", n)
	}
	b.AddField("new_one")
	b.wait(time.Minute)
	b.deliver(t, cmd)
	b.deliver(t, *paid())
	b.DeleteEvent("order_paid")
	if o := b.write(t.Context(), *paid()); o.Kind != sinks.Retryable {
		t.Fatalf("got %d: %v", o.Kind, o.Err)
	}
	b.deliver(t, *paid())
	if n := len(b.Triggered()); n != 2 {
		t.Errorf("got %d events, want 2", n)
	}
	// A list that is old is read again though nothing is missing.
	b.DeleteField("new_one")
	b.wait(10 * time.Minute)
	if o := b.write(t.Context(), cmd); o.Kind != sinks.Rejected {
		t.Errorf("got %d: %v", o.Kind, o.Err)
	}
}

// TestCreationOfUnknownOutcome: the queue gets its time before anybody is asked for again.
func TestCreationOfUnknownOutcome(t *testing.T) {
	b := open(t, twin.Options{})
	b.Break(twin.Failure{Method: "POST", Path: "/contacts", Status: 504, Code: 1})
	if o := b.write(t.Context(), ada()); o.Kind != sinks.Retryable || o.RetryAfter != 5*time.Second {
		t.Errorf("got %d after %s: %v", o.Kind, o.RetryAfter, o.Err)
	}
	b.deliver(t, ada())
}

// TestNamesAndPhones: a long name is cut, and a mapped phone field wins over the contact's number.
func TestNamesAndPhones(t *testing.T) {
	b := open(t, twin.Options{})
	cmd := ada()
	cmd.Contact.LastName = strings.Repeat("ł", 200)
	cmd.Contact.Fields = map[string]string{"Phone": "+48 99 999 9999"}
	b.deliver(t, cmd)
	got := b.one(t)
	if want := "Ada " + strings.Repeat("ł", 124); got.Name != want || got.Fields["phone"][0] != "+48999999999" {
		t.Errorf("got %q, %v", got.Name, got.Fields["phone"])
	}
}

// TestPatternOfOthers: should the flag for an exact match be ignored, another address that holds ours is not taken for it.
func TestPatternOfOthers(t *testing.T) {
	b := open(t, twin.Options{})
	b.onTheWay(func(r *http.Request) {
		q := r.URL.Query()
		q.Del("additionalFlags")
		r.URL.RawQuery = q.Encode()
	})
	if err := b.Subscribe("canada@shop.example", "", "C"); err != nil {
		t.Fatal(err)
	}
	b.deliver(t, ada())
	for _, c := range b.Contacts() {
		if (c.Fields["order_id"] != nil) != (c.Email == "ada@shop.example") {
			t.Errorf("%s: got fields %v", c.Email, c.Fields)
		}
	}
}

// TestManyTagsOfTheAccount: all pages of tags are read, whatever the order.
func TestManyTagsOfTheAccount(t *testing.T) {
	b := open(t, twin.Options{SecondMax: 1_000_000})
	for i := range 1010 {
		b.AddTag(fmt.Sprintf("t_%d", i))
	}
	cmd := ada()
	cmd.Contact.Tags, cmd.Contact.NoTags = []string{"T 1005"}, nil
	b.deliver(t, cmd)
	if n := b.asked("POST /v3/tags"); n != 0 {
		t.Errorf("got %d tags made, want none", n)
	}
	if d := cmp.Diff(b.one(t).Tags, []string{"t_1005"}); d != "" {
		t.Errorf("got - want:\n%s", d)
	}
}

// TestEventWaitsForItsContact: an event for a contact in the queue is not sent, and not unknown.
func TestEventWaitsForItsContact(t *testing.T) {
	b := open(t, twin.Options{CreateDelay: time.Minute})
	if o := b.write(t.Context(), *paid()); o.Kind != sinks.Retryable || o.RetryAfter != 5*time.Second {
		t.Fatalf("got %d, retry after %s: %v", o.Kind, o.RetryAfter, o.Err)
	}
	b.wait(2 * time.Minute)
	b.deliver(t, *paid())
	if n := len(b.Triggered()); n != 1 {
		t.Errorf("got %d events, want 1", n)
	}
}

// TestEventsOfOthers: an event that a person defined is used as it is, if it can carry the value.
func TestEventsOfOthers(t *testing.T) {
	b := open(t, twin.Options{})
	b.DefineEvent("order_paid")
	b.DefineEvent("order_paid_twice", "data") // the filter by name is a pattern
	if o := b.write(t.Context(), *paid()); o.Kind != sinks.Rejected || !strings.Contains(o.Err.Error(), `"data"`) {
		t.Errorf("got %d: %v", o.Kind, o.Err)
	}
	bare := paid()
	bare.Effect.Data = ""
	b.deliver(t, *bare)
	if got := b.Triggered(); len(got) != 1 || len(got[0].Attributes) != 0 {
		t.Errorf("got %+v, want one without attributes", got)
	}
}

func TestRefusals(t *testing.T) {
	b := open(t, twin.Options{Faults: twin.Faults{Reject: []string{"no@shop.example"}}})
	for name, c := range map[string]struct {
		change func(*schemas.Command)
		says   string
	}{
		"no address":           {func(c *schemas.Command) { c.Contact.Email = "" }, "e-mail"},
		"half an address":      {func(c *schemas.Command) { c.Contact.Email = "ada@shop" }, "email"},
		"address refused":      {func(c *schemas.Command) { c.Contact.Email = "no@shop.example" }, "1002"},
		"no number":            {func(c *schemas.Command) { c.Contact.Fields = map[string]string{"order_amount": "ten"} }, "order_amount"},
		"a number to explode":  {func(c *schemas.Command) { c.Contact.Fields = map[string]string{"order_amount": "1e999999999"} }, "order_amount"},
		"no date":              {func(c *schemas.Command) { c.Contact.Fields = map[string]string{"next_billing": "soon"} }, "next_billing"},
		"no such option":       {func(c *schemas.Command) { c.Contact.Fields = map[string]string{"interests": "Cars"} }, "interests"},
		"a field twice":        {func(c *schemas.Command) { c.Contact.Fields = map[string]string{"age": "60+", "AGE": "<18"} }, "age"},
		"a value too long":     {func(c *schemas.Command) { c.Contact.Fields = map[string]string{"order_id": strings.Repeat("x", 300)} }, "order_id"},
		"no phone number":      {func(c *schemas.Command) { c.Contact.Phone = "ask Ada" }, "phone"},
		"tag of no letters":    {func(c *schemas.Command) { c.Contact.Tags = []string{"оплачено"} }, "no letter"},
		"tag too long":         {func(c *schemas.Command) { c.Contact.Tags = []string{strings.Repeat("t", 65)} }, "too long"},
		"tags that collide":    {func(c *schemas.Command) { c.Contact.Tags = []string{"order paid", "order-paid"} }, "both"},
		"tag that must not be": {func(c *schemas.Command) { c.Contact.NoTags = []string{"PAID!"} }, "both"},
		"event of no letters":  {func(c *schemas.Command) { *c = *paid(); c.Effect.Name = "!?" }, "no letter"},
		"effect of other type": {func(c *schemas.Command) { *c = *paid(); c.Effect.Type = "ADD_NOTE" }, "no effect"},
	} {
		t.Run(name, func(t *testing.T) {
			cmd := ada()
			cmd.Contact.Email = "other@shop.example"
			c.change(&cmd)
			o := b.write(t.Context(), cmd)
			if o.Kind != sinks.Rejected || o.Remedy == "" || o.Account {
				t.Fatalf("got %d, account %v, remedy %q: %v", o.Kind, o.Account, o.Remedy, o.Err)
			}
			if !strings.Contains(o.Err.Error(), c.says) {
				t.Errorf("got %q, want it to say %q", o.Err, c.says)
			}
		})
	}
}

// TestDeletedInTheCRM: a field that a person deletes is named; a tag is made again; both after the next reading.
func TestDeletedInTheCRM(t *testing.T) {
	b := open(t, twin.Options{})
	b.deliver(t, ada())
	b.DeleteTag("paid")
	b.wait(2 * time.Minute)
	if o := b.write(t.Context(), ada()); o.Kind != sinks.Retryable || o.RetryAfter != 0 {
		t.Fatalf("tag: got %d: %v", o.Kind, o.Err)
	}
	b.deliver(t, ada())
	b.DeleteField("order_id")
	b.wait(2 * time.Minute)
	if o := b.write(t.Context(), ada()); o.Kind != sinks.Retryable {
		t.Fatalf("field: got %d: %v", o.Kind, o.Err)
	}
	if o := b.write(t.Context(), ada()); o.Kind != sinks.Rejected || !strings.Contains(o.Err.Error(), "ORDER_ID") {
		t.Errorf("field: got %d: %v", o.Kind, o.Err)
	}
}

// TestPhoneField: the account's own field unless another is named, which then has to be there.
func TestPhoneField(t *testing.T) {
	only := ada()
	only.Contact = schemas.Contact{Email: "ada@shop.example", Phone: "030/1234"}
	for name, want := range map[string]map[string][]string{
		"":         {"phone": {"0301234"}},
		"order_id": {"order_id": {"030/1234"}},
	} {
		b := open(t, twin.Options{}, func(c *getresponse.Config) { c.PhoneField = name })
		b.deliver(t, only)
		if d := cmp.Diff(b.one(t).Fields, want); d != "" {
			t.Errorf("phone_field %q, got - want:\n%s", name, d)
		}
	}
	b := open(t, twin.Options{}, func(c *getresponse.Config) { c.PhoneField = "mobile" })
	if o := b.write(t.Context(), only); o.Kind != sinks.Rejected || !strings.Contains(o.Err.Error(), "mobile") {
		t.Errorf("got %d: %v", o.Kind, o.Err)
	}
}

func TestCheckFindsWhatIsWrong(t *testing.T) {
	bad := func(b *bench) []string {
		var out []string
		for _, f := range b.w.Check(t.Context()) {
			if f.Bad {
				out = append(out, f.Field+": "+f.Message+" -> "+f.Hint)
			}
		}
		return out
	}
	b := open(t, twin.Options{})
	if got := bad(b); len(got) > 0 {
		t.Errorf("got %q, want all good", got)
	}
	said := ""
	for _, f := range b.w.Check(t.Context()) {
		said += f.Field + ": " + f.Message + "\n"
	}
	for _, want := range []string{"account acc1 (Example)", "Promo campaign", "137 custom fields and 0 tags"} {
		if !strings.Contains(said, want) {
			t.Errorf("got %q, want it to say %q", said, want)
		}
	}
	if got := len(b.Contacts()); got != 0 {
		t.Errorf("a check made %d contacts", got)
	}
	for name, c := range map[string]struct {
		change func(*getresponse.Config)
		broken *twin.Failure
		says   string
	}{
		"wrong key":        {func(c *getresponse.Config) { c.Key = schemas.NewSecret("wrong") }, nil, "key: GET /accounts answered 401"},
		"no such list":     {func(c *getresponse.Config) { c.List = "zz" }, nil, "list: there is no list zz -> set list to the id of one of the account's lists: C (Promo campaign)"},
		"no phone field":   {func(c *getresponse.Config) { c.PhoneField = "mobile" }, nil, "phone_field: there is no custom field mobile"},
		"a domain":         {func(c *getresponse.Config) { c.Domain = "example.com" }, nil, "domain: GET /accounts answered 404"},
		"wrong address":    {func(c *getresponse.Config) { c.URL = strings.TrimSuffix(c.URL, "/v3") }, nil, "url: GET /accounts answered 404"},
		"fields forbidden": {nil, &twin.Failure{Path: "/custom-fields", Status: 403, Code: 1023}, "key: GET /custom-fields answered 403"},
		"search forbidden": {nil, &twin.Failure{Path: "/search-contacts", Status: 403, Code: 1023}, "people who left the list cannot be told"},
		"events forbidden": {nil, &twin.Failure{Path: "/custom-events", Status: 403, Code: 1023}, "custom events cannot be triggered"},
	} {
		t.Run(name, func(t *testing.T) {
			var changes []func(*getresponse.Config)
			if c.change != nil {
				changes = append(changes, c.change)
			}
			b := open(t, twin.Options{}, changes...)
			if c.broken != nil {
				b.Break(*c.broken)
			}
			if got := bad(b); len(got) != 1 || !strings.Contains(got[0], c.says) {
				t.Errorf("got %q, want one finding that says %q", got, c.says)
			}
		})
	}
	double := open(t, twin.Options{}, func(c *getresponse.Config) { c.List = "D" })
	if !slices.ContainsFunc(double.w.Check(t.Context()), func(f sinks.Finding) bool { return !f.Bad && strings.Contains(f.Message, "double opt-in") }) {
		t.Error("double opt-in is not mentioned")
	}
}

// TestQuota: where the window is used up the account waits until it ends, rather than the command.
func TestQuota(t *testing.T) {
	b := open(t, twin.Options{WindowMax: 100})
	n := 0
	var o sinks.Outcome
	for ; n < 200; n++ {
		cmd := ada()
		cmd.Contact.Fields = map[string]string{"order_id": fmt.Sprint(n)}
		if o = b.write(t.Context(), cmd); o.Kind != sinks.Delivered {
			break
		}
	}
	if o.Kind != sinks.Retryable || !o.Account || o.RetryAfter < 8*time.Minute || o.RetryAfter > 10*time.Minute {
		t.Fatalf("got %d, account %v, retry after %s: %v", o.Kind, o.Account, o.RetryAfter, o.Err)
	}
	if got := b.Stats(); got.TooMany != 1 {
		t.Errorf("got %+v, want one request that was refused", got)
	}
	b.wait(o.RetryAfter)
	b.deliver(t, ada())
}

// TestTroubleEndsRight: with every fault of the twin drawn at random, each contact ends in its newest state, is there
// once, and no event is triggered twice unless its outcome was known to be a failure.
func TestTroubleEndsRight(t *testing.T) {
	const contacts, versions, triesMax = 30, 4, 200
	b := open(t, twin.Options{Seed: 7, CreateDelay: 10 * time.Second, SecondMax: 1_000_000, Faults: twin.Faults{
		TooMany: 0.05, Quota: 0.03, ServerError: 0.05, Unavailable: 0.03, Cut: 0.10, HTML: 0.03, Huge: 0.01, HugeBytes: 8 << 20,
	}})
	until := func(cmd schemas.Command) sinks.Outcome {
		t.Helper()
		for range triesMax {
			o := b.write(t.Context(), cmd)
			if o.Kind != sinks.Retryable {
				return o
			}
			b.wait(max(o.RetryAfter, time.Second))
		}
		t.Fatalf("%s: no end after %d tries", cmd.CommandID, triesMax)
		return sinks.Outcome{}
	}
	unknown := map[string]bool{}
	for v := range versions {
		for i := range contacts {
			cmd := ada()
			cmd.CommandID, cmd.Contact.Email = fmt.Sprintf("c%d-%d", i, v), fmt.Sprintf("p%d@shop.example", i)
			cmd.Contact.Fields = map[string]string{"order_id": fmt.Sprintf("order-%d-%d", i, v)}
			cmd.Contact.Tags, cmd.Contact.NoTags = []string{fmt.Sprintf("state %d", v)}, []string{fmt.Sprintf("state %d", v-1)}
			if o := until(cmd); o.Kind != sinks.Delivered {
				t.Fatalf("contact: got %d: %v", o.Kind, o.Err)
			}
			effect := cmd
			effect.CommandID, effect.Kind = "e"+cmd.CommandID, schemas.CommandEffect
			effect.Effect = &schemas.Effect{Type: schemas.EffectTrackEvent, Name: "order paid", Data: "x"}
			switch o := until(effect); o.Kind {
			case sinks.Unknown:
				unknown[effect.CommandID] = true
			case sinks.Delivered:
			default:
				t.Fatalf("effect: got %d: %v", o.Kind, o.Err)
			}
		}
	}
	seen := map[string]int{}
	for _, e := range b.Triggered() {
		seen[e.Attributes["command_id"]]++
	}
	for v := range versions {
		for i := range contacts {
			id := fmt.Sprintf("ec%d-%d", i, v)
			if n := seen[id]; n > 1 || n == 0 && !unknown[id] {
				t.Errorf("event %s: got %d times, unknown %v", id, n, unknown[id])
			}
		}
	}
	if len(unknown) == 0 {
		t.Error("no outcome was unknown: the faults did not strike")
	}
	list := b.Contacts()
	if len(list) != contacts {
		t.Errorf("got %d contacts, want %d", len(list), contacts)
	}
	for _, c := range list {
		i := strings.TrimSuffix(strings.TrimPrefix(c.Email, "p"), "@shop.example")
		want := fmt.Sprintf("order-%s-%d", i, versions-1)
		if d := cmp.Diff(c.Fields["order_id"], []string{want}); d != "" {
			t.Errorf("%s, got - want:\n%s", c.Email, d)
		}
		if d := cmp.Diff(c.Tags, []string{fmt.Sprintf("state_%d", versions-1)}); d != "" {
			t.Errorf("%s tags, got - want:\n%s", c.Email, d)
		}
		newest := ""
		for _, v := range c.Versions {
			if o := v.Fields["order_id"]; len(o) == 1 {
				if o[0] < newest {
					t.Errorf("%s went back from %s to %s", c.Email, newest, o[0])
				}
				newest = o[0]
			}
		}
	}
}
