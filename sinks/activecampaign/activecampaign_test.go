package activecampaign_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tillstream/tillstream/schemas"
	twin "github.com/tillstream/tillstream/simulators/activecampaign"
	"github.com/tillstream/tillstream/sinks"
	"github.com/tillstream/tillstream/sinks/activecampaign"
	"github.com/tillstream/tillstream/sinks/sinkstest"
)

const (
	apiKey   = "k3y-of-the-api-0123456789"
	eventKey = "k3y-of-the-events-987654"
)

func config(base string) any {
	c := activecampaign.Sink.Config().(*activecampaign.Config)
	c.URL, c.Key = base, schemas.NewSecret(apiKey)
	c.EventTracking = activecampaign.EventTracking{AccountID: "1000", Key: schemas.NewSecret(eventKey), URL: base + "/event"}
	return c
}

func ada() schemas.Command {
	return schemas.Command{
		CommandID: "0123456789abcdef", Kind: schemas.CommandContact, Destination: "crm", ContactKey: "live/ada@shop.example", Version: 1,
		Contact: schemas.Contact{
			Email: "ada@shop.example", FirstName: "Ada", LastName: "L", Phone: "+4917012345678",
			Fields: map[string]string{"ORDER_ID": "5O1", "order amount": "10.00", "%ORDER_DATE%": "2026-01-31T10:00:00Z", "NEXT_BILLING": "2026-02-28T10:00:00Z", "Interests": "tea,Books"},
			Tags:   []string{"paid", "paypal-integration"}, NoTags: []string{"unpaid"},
		},
	}
}

func paid() *schemas.Command {
	c := ada()
	c.CommandID, c.Kind = "abcdef012345ff", schemas.CommandEffect
	c.Effect = &schemas.Effect{Type: schemas.EffectTrackEvent, Name: "order paid", Data: "order=5O1"}
	return &c
}

func TestConformance(t *testing.T) {
	sinkstest.Run(t, sinkstest.Options{
		Sink: activecampaign.Sink, Config: config, Contact: ada(), Effect: paid(), Secrets: []string{apiKey, eventKey},
		Twin:      func() (http.Handler, *sinkstest.Panel) { return backend(t) },
		Account:   &sinkstest.AccountCase{ID: "1000.api-us1.com", Name: "1000", Asks: gets("/users/me")},
		Catalogue: catalogue(), Verify: &sinkstest.VerifyCase{
			Field: "ORDER_ID", Value: "from the panel", Tag: "paid",
			Reads: func(r *http.Request) bool {
				return r.Method == http.MethodGet && strings.HasPrefix(r.URL.Path, "/api/3/contacts")
			},
		},
		Invalid: []sinkstest.InvalidCase{
			{Name: "address", Change: func(c *schemas.Command) { c.Contact.Email = "ada@@shop.example" }, Says: "Email"},
			{Name: "value too long", Change: func(c *schemas.Command) { c.Contact.Fields = map[string]string{"CITY": strings.Repeat("x", 20_000)} }, Says: "CITY"},
			{Name: "tag too long", Change: func(c *schemas.Command) { c.Contact.Tags = []string{strings.Repeat("t", 300)} }, Says: "tag"},
			{Name: "option", Change: func(c *schemas.Command) { c.Contact.Fields = map[string]string{"INTERESTS": "Cars"} }, Says: "INTERESTS"},
		},
		TooMany: []sinkstest.TooManyForm{
			{Name: "as documented", Header: []string{"Retry-After", "30", "RateLimit-Limit", "5", "RateLimit-Remaining", "0"}, Body: `{}`, Least: 30 * time.Second},
			{Name: "with an empty body", Header: []string{"Retry-After", "1"}, Least: time.Second},
		},
		Bulk: &sinkstest.BulkCase{
			Command: backfilled(), Writes: posts("/import/bulk_import"), RequestsMax: 4,
			Single: map[string]func(*schemas.Command){
				"a tag to remove":  func(c *schemas.Command) { c.Contact.NoTags = []string{"unpaid"} },
				"a field to clear": func(c *schemas.Command) { c.Contact.Fields = map[string]string{"ORDER_ID": ""} },
				"sent again":       func(c *schemas.Command) { c.Origin = schemas.OriginReplay },
			},
		},
		Writes: func(r *http.Request) bool { return r.URL.Path == "/api/3/contact/sync" || r.URL.Path == "/event" },
		Effects: []sinkstest.EffectCase{
			{Command: effect(schemas.EffectAddToList, "List 229"), Writes: posts("/contactLists"), Repeatable: true},
			{Command: effect(schemas.EffectMoveToList, "List 229", "from", "customers"), Writes: posts("/contactLists"), Repeatable: true, Setup: onCustomers},
			{Command: effect(schemas.EffectStartAutomation, "Automation 149"), Writes: posts("/contactAutomations")},
			{Command: effect(schemas.EffectSendMessage, "Payment reminder", "ORDER_ID", "5O1"), Writes: posts("/contactAutomations")},
			{Command: order("PAID"), Writes: posts("/ecom/graphql"), Repeatable: true},
			{Command: subscription("ACTIVE"), Writes: posts("/ecom/graphql"), Repeatable: true},
		},
		Question: &sinkstest.QuestionCase{
			List: "List 229", Asks: func(r *http.Request) bool { return strings.HasSuffix(r.URL.Path, "/contactLists") },
			Standings: map[string]schemas.Standing{
				"unconfirmed@shop.example": schemas.StandingUnconfirmed, "active@shop.example": schemas.StandingActive,
				"left@shop.example": schemas.StandingUnsubscribed, "bounced@shop.example": schemas.StandingBounced,
				"elsewhere@shop.example": schemas.StandingAbsent,
			},
		},
	})
}

// backend is an account with people on its lists, more than a page of everything, and what people do there.
func backend(t *testing.T) (http.Handler, *sinkstest.Panel) {
	s := twin.New(twin.Options{Key: apiKey, EventKey: eventKey, Lists: 230, Automations: 150})
	for status, who := range []string{"unconfirmed", "active", "left", "bounced"} {
		s.Subscribe(who+"@shop.example", "List 229", status)
	}
	s.Subscribe("elsewhere@shop.example", "Customers", 1)
	do := func(act twin.Act) { doTo(t, s, act) }
	for n := range 110 {
		do(twin.Act{Do: "tag", Email: "elsewhere@shop.example", Name: fmt.Sprintf("Tag %d", n)})
	}
	s.AddShop("Shop", "shop-1")
	return documented(t, s.Handler()), &sinkstest.Panel{
		SetField:    func(email, name, value string) { do(twin.Act{Do: "set", Email: email, Name: name, Value: value}) },
		Untag:       func(email, name string) { do(twin.Act{Do: "untag", Email: email, Name: name}) },
		Unsubscribe: func(email string) { s.Subscribe(email, "Newsletter", 2) },
		Bounce:      func(email string) { s.Subscribe(email, "Newsletter", 1); do(twin.Act{Do: "bounce", Email: email}) },
		Delete:      func(email string) { do(twin.Act{Do: "delete", Email: email}) },
	}
}

func gets(path string) func(*http.Request) bool {
	return func(r *http.Request) bool { return r.Method == http.MethodGet && r.URL.Path == "/api/3"+path }
}

func catalogue() map[sinks.EntryKind]sinkstest.CatalogueCase {
	return map[sinks.EntryKind]sinkstest.CatalogueCase{
		sinks.EntryField: {Least: 137, Asks: gets("/fields")}, sinks.EntryTag: {Least: 110, Asks: gets("/tags")},
		sinks.EntryList: {Least: 230, Asks: gets("/lists")}, sinks.EntryShop: {Least: 1, Asks: gets("/connections")},
		sinks.EntryAutomation: {Least: 150, Asks: gets("/automations")}, sinks.EntryMessage: {Least: 150, Asks: gets("/automations")},
	}
}

// backfilled is a desired state of the past, which may be imported with others.
func backfilled() schemas.Command {
	c := ada()
	c.Origin, c.Contact.NoTags = schemas.OriginBackfill, nil
	return c
}

func open(t *testing.T, o twin.Options) (*twin.Server, sinks.Writer) {
	t.Helper()
	return openAt(t, o, time.Now)
}

// openAt opens an account by a clock of the test's.
func openAt(t *testing.T, o twin.Options, now func() time.Time) (*twin.Server, sinks.Writer) {
	t.Helper()
	o.Key, o.EventKey, o.Now = apiKey, eventKey, now
	return reach(t, twin.New(o), now)
}

// reopen is another process at the same account.
func reopen(t *testing.T, s *twin.Server) (*twin.Server, sinks.Writer) {
	t.Helper()
	return reach(t, s, time.Now)
}

func reach(t *testing.T, s *twin.Server, now func() time.Time) (*twin.Server, sinks.Writer) {
	t.Helper()
	srv := httptest.NewServer(documented(t, s.Handler()))
	t.Cleanup(srv.Close)
	return s, openedAt(t, srv.URL, now)
}

// control asks the account directly.
func control(t *testing.T, s *twin.Server, method, path string) {
	t.Helper()
	req := httptest.NewRequest(method, path, http.NoBody)
	req.Header.Set("Api-Token", apiKey)
	rec := httptest.NewRecorder()
	s.Handler().ServeHTTP(rec, req)
	if rec.Code >= 300 {
		t.Fatalf("%s %s: got %d", method, path, rec.Code)
	}
}

// enrolByHand starts a contact on an automation as a person or another program does it.
func enrolByHand(t *testing.T, s *twin.Server, contact, automation int) {
	t.Helper()
	body := fmt.Sprintf(`{"contactAutomation":{"contact":%d,"automation":%d}}`, contact, automation)
	req := httptest.NewRequest(http.MethodPost, "/api/3/contactAutomations", strings.NewReader(body))
	req.Header.Set("Api-Token", apiKey)
	rec := httptest.NewRecorder()
	s.Handler().ServeHTTP(rec, req)
	if rec.Code != http.StatusCreated {
		t.Fatalf("got %d: %s", rec.Code, rec.Body)
	}
}

func write(t *testing.T, w sinks.Writer, cmd schemas.Command) sinks.Outcome {
	t.Helper()
	o := w.Write(t.Context(), []schemas.Command{cmd})[0]
	if o.Kind != sinks.Delivered {
		t.Fatalf("got %d: %v", o.Kind, o.Err)
	}
	return o
}

func TestContactArrivesWhole(t *testing.T) {
	s, w := open(t, twin.Options{})
	first := write(t, w, ada())
	got := s.Contacts()[0]
	want := map[string]string{
		"ORDER_ID": "5O1", "ORDER_AMOUNT": "10.00", "ORDER_DATE": "2026-01-31T10:00:00+00:00", "NEXT_BILLING": "2026-02-28", "INTERESTS": "||Tea||Books||",
	}
	if d := cmp.Diff(got.Fields, want); d != "" {
		t.Errorf("fields, got - want:\n%s", d)
	}
	if d := cmp.Diff(got.Tags, []string{"paid", "paypal-integration"}); d != "" {
		t.Errorf("tags, got - want:\n%s", d)
	}
	if len(got.Lists) != 0 {
		t.Errorf("got lists %v, want none touched", got.Lists)
	}
	// The second time only the contact itself is written: fields, tags and links are known.
	second := write(t, w, ada())
	if len(second.Exchanges) != 1 || len(first.Exchanges) <= len(second.Exchanges) {
		t.Errorf("got %d and then %d requests, want 1 the second time", len(first.Exchanges), len(second.Exchanges))
	}
	turned := ada()
	turned.Contact.Tags, turned.Contact.NoTags = []string{"PAYPAL-integration"}, []string{"paid"}
	write(t, w, turned)
	if d := cmp.Diff(s.Contacts()[0].Tags, []string{"paypal-integration"}); d != "" {
		t.Errorf("tags after removal, got - want:\n%s", d)
	}
}

func TestEventCarriesItsMark(t *testing.T) {
	s, w := open(t, twin.Options{})
	write(t, w, ada())
	long := paid()
	long.Effect.Data = strings.Repeat("x", 400)
	write(t, w, *long)
	got := s.Tracked()
	if len(got) != 1 || got[0].Event != "order paid" || !strings.HasPrefix(got[0].Data, "id=abcdef012345 xxx") || len(got[0].Data) != 250 {
		t.Errorf("got %+v", got)
	}
	if o := w.Reconcile(t.Context(), *long); o.Kind != sinks.Delivered {
		t.Errorf("reconcile: got %d: %v", o.Kind, o.Err)
	}
}

func TestRefusals(t *testing.T) {
	_, w := open(t, twin.Options{Faults: twin.Faults{Reject: []string{"no@shop.example"}}})
	for name, change := range map[string]func(*schemas.Command){
		"no address":           func(c *schemas.Command) { c.Contact.Email = "" },
		"address refused":      func(c *schemas.Command) { c.Contact.Email = "no@shop.example" },
		"no number":            func(c *schemas.Command) { c.Contact.Fields = map[string]string{"ORDER_AMOUNT": "ten"} },
		"no date":              func(c *schemas.Command) { c.Contact.Fields = map[string]string{"NEXT_BILLING": "soon"} },
		"no such option":       func(c *schemas.Command) { c.Contact.Fields = map[string]string{"INTERESTS": "Cars"} },
		"event name too long":  func(c *schemas.Command) { *c = *paid(); c.Effect.Name = strings.Repeat("n", 33) },
		"effect of other type": func(c *schemas.Command) { *c = *paid(); c.Effect.Type = "ADD_NOTE" },
	} {
		t.Run(name, func(t *testing.T) {
			c := ada()
			change(&c)
			if o := w.Write(t.Context(), []schemas.Command{c})[0]; o.Kind != sinks.Rejected || o.Remedy == "" || o.Account {
				t.Errorf("got %d, account %v, remedy %q: %v", o.Kind, o.Account, o.Remedy, o.Err)
			}
		})
	}
}

func TestCheckFindsWhatIsWrong(t *testing.T) {
	s, w := open(t, twin.Options{})
	if got := w.Check(t.Context()); slices.ContainsFunc(got, func(f sinks.Finding) bool { return f.Bad }) {
		t.Errorf("got %+v, want all good", got)
	}
	if got := w.Check(t.Context())[1].Message; !strings.Contains(got, "137 custom fields") {
		t.Errorf("got %q, want all 137 fields", got)
	}
	req := httptest.NewRequest(http.MethodPut, "/api/3/eventTracking", strings.NewReader(`{"eventTracking":{"enabled":false}}`))
	req.Header.Set("Api-Token", apiKey)
	s.Handler().ServeHTTP(httptest.NewRecorder(), req)
	if got := w.Check(t.Context()); !got[len(got)-1].Bad {
		t.Errorf("event tracking is off: got %+v", got)
	}
}
