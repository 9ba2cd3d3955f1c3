package getresponse_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tillstream/tillstream/outbound"
	"github.com/tillstream/tillstream/schemas"
	twin "github.com/tillstream/tillstream/simulators/getresponse"
	"github.com/tillstream/tillstream/sinks"
	"github.com/tillstream/tillstream/sinks/getresponse"
)

// api makes a request of another program on the account.
func (b *bench) api(method, path, body string) (status int) {
	req := httptest.NewRequest(method, "/v3"+path, strings.NewReader(body))
	req.Header.Set("X-Auth-Token", "api-key "+apiKey)
	rec := httptest.NewRecorder()
	b.Handler().ServeHTTP(rec, req)
	return rec.Code
}

// panel does what people do in the account.
func (b *bench) panel(t *testing.T, a twin.Action) {
	t.Helper()
	if err := b.Panel(a); err != nil {
		t.Fatal(err)
	}
}

// TestChangedInTheCRM: what becomes of the next state of a contact whom people, or GetResponse, have changed.
func TestChangedInTheCRM(t *testing.T) {
	for name, c := range map[string]struct {
		change twin.Action
		want   sinks.OutcomeKind
		// then are the contacts that are shown afterwards: list and address.
		then []string
	}{
		"unsubscribed":          {twin.Action{Do: "unsubscribe", Email: email}, sinks.Rejected, nil},
		"bounced":               {twin.Action{Do: "bounce", Email: email}, sinks.Rejected, nil},
		"complained":            {twin.Action{Do: "complain", Email: email}, sinks.Rejected, nil},
		"blocked":               {twin.Action{Do: "blocklist", Email: email}, sinks.Rejected, nil},
		"deleted by the owner":  {twin.Action{Do: "delete", Email: email}, sinks.Rejected, nil},
		"moved to another list": {twin.Action{Do: "move", Email: email, To: "V"}, sinks.Delivered, []string{"V " + email}},
		"the list is renamed":   {twin.Action{Do: "rename_list", List: "C", To: "Customers"}, sinks.Delivered, []string{"C " + email}},
		"another address":       {twin.Action{Do: "email", Email: email, To: "ada@new.example"}, sinks.Delivered, []string{"C ada@new.example", "C " + email}},
		"renamed by people":     {twin.Action{Do: "rename", Email: email, To: "Countess"}, sinks.Delivered, []string{"C " + email}},
	} {
		t.Run(name, func(t *testing.T) {
			b := open(t, twin.Options{})
			first := ada()
			first.Contact.Email = email
			b.deliver(t, first)
			b.panel(t, c.change)
			next := first
			next.Contact.Fields = map[string]string{"order_id": "the next"}
			if o := b.write(t.Context(), next); o.Kind != c.want || o.Account || o.Kind == sinks.Rejected && o.Remedy == "" {
				t.Fatalf("got %d, account %v: %v (%s)", o.Kind, o.Account, o.Err, o.Remedy)
			}
			var shown []string
			for _, x := range b.Contacts() {
				if x.Visible {
					shown = append(shown, x.List+" "+x.Email)
				}
				if has := len(x.Fields["order_id"]) == 1 && x.Fields["order_id"][0] == "the next"; has != (c.want == sinks.Delivered && x.Email == email) {
					t.Errorf("%s has the next state: %v", x.Email, has)
				}
			}
			if d := cmp.Diff(shown, c.then); d != "" {
				t.Errorf("got - want:\n%s", d)
			}
		})
	}
}

// TestGoneWhileItIsWritten: someone who leaves between the look and the write is looked for again, and not put back.
func TestGoneWhileItIsWritten(t *testing.T) {
	b := open(t, twin.Options{})
	b.deliver(t, ada())
	b.onTheWay(func(r *http.Request) {
		if r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/custom-fields") {
			b.TakeOff(ada().Contact.Email, "unsubscribe")
		}
	})
	next := ada()
	next.Contact.Fields = map[string]string{"order_id": "the next"}
	if o := b.write(t.Context(), next); o.Kind != sinks.Retryable || o.Account {
		t.Errorf("got %d, account %v: %v", o.Kind, o.Account, o.Err)
	}
	if o := b.write(t.Context(), next); o.Kind != sinks.Rejected {
		t.Errorf("then: got %d: %v", o.Kind, o.Err)
	}
}

// TestConfiguredListThatIsGone stops the account with its name in words, and loses nothing.
func TestConfiguredListThatIsGone(t *testing.T) {
	b := open(t, twin.Options{})
	b.panel(t, twin.Action{Do: "delete_list", List: "C"})
	o := b.write(t.Context(), ada())
	if o.Kind != sinks.Retryable || !o.Account || !strings.Contains(o.Err.Error(), "list C does not exist") {
		t.Errorf("got %d, account %v: %v", o.Kind, o.Account, o.Err)
	}
}

// TestPlanIsFull: nobody new is created, the account waits, and those who are there are still updated.
func TestPlanIsFull(t *testing.T) {
	b := open(t, twin.Options{})
	b.deliver(t, ada())
	b.SetFaults(twin.Faults{ContactsMax: 1})
	other := ada()
	other.Contact.Email = "new@shop.example"
	o := b.write(t.Context(), other)
	if o.Kind != sinks.Retryable || !o.Account || !strings.Contains(o.Remedy, "enlarge the plan") || !strings.Contains(o.Err.Error(), "1027") {
		t.Errorf("got %d, account %v: %v (%s)", o.Kind, o.Account, o.Err, o.Remedy)
	}
	b.SetFaults(twin.Faults{ContactsMax: 2})
	b.deliver(t, other)
}

// TestAccountIsStopped: each way in which GetResponse, or the settings, shut the account pauses it, says why, and tells it
// with the check too; no command is refused for it.
func TestAccountIsStopped(t *testing.T) {
	for name, c := range map[string]struct {
		failure twin.Failure
		field   string // of the check's finding
		says    string // of the remedy
	}{
		"1014, as an error registry has it": {twin.Failure{Status: 403, Code: 1014}, "key", "90 days"},
		"1014, as the document has it":      {twin.Failure{Status: 401, Code: 1014}, "key", "90 days"},
		"1016, blocked for a time":          {twin.Failure{Status: 403, Code: 1016}, "key", "for a time"},
		"1017, blocked for good":            {twin.Failure{Status: 403, Code: 1017}, "key", "blocked the account"},
		"1018, address blocked":             {twin.Failure{Status: 403, Code: 1018}, "key", "this machine's address"},
		"1019, maintenance":                 {twin.Failure{Status: 503, Code: 1019}, "key", "maintenance"},
		"1021, headers":                     {twin.Failure{Status: 400, Code: 1021}, "domain", "MAX"},
		"1024, domain":                      {twin.Failure{Status: 404, Code: 1024}, "domain", "does not know"},
		"1027, plan":                        {twin.Failure{Status: 400, Code: 1027}, "key", "plan"},
		"402":                               {twin.Failure{Status: 402}, "key", "API key"},
	} {
		t.Run(name, func(t *testing.T) {
			b := open(t, twin.Options{})
			c.failure.Count = 2
			b.Break(c.failure)
			o := b.write(t.Context(), ada())
			if o.Kind != sinks.Retryable || !o.Account || !strings.Contains(o.Remedy, c.says) {
				t.Errorf("got %d, account %v: %v (%s)", o.Kind, o.Account, o.Err, o.Remedy)
			}
			found := b.w.Check(t.Context())
			if len(found) != 1 || !found[0].Bad || found[0].Field != c.field || !strings.Contains(found[0].Hint, c.says) {
				t.Errorf("check: got %+v", found)
			}
			b.deliver(t, ada())
		})
	}
	b := open(t, twin.Options{})
	b.Suspend(1017)
	if o := b.write(t.Context(), ada()); o.Kind != sinks.Retryable || !o.Account {
		t.Errorf("suspended: got %d: %v", o.Kind, o.Err)
	}
	if _, o := b.w.(sinks.Accounter).Account(t.Context()); o.Kind != sinks.Retryable || !o.Account {
		t.Errorf("suspended, whose account: got %d: %v", o.Kind, o.Err)
	}
	b.panel(t, twin.Action{Do: "restore"})
	b.deliver(t, ada())
}

// TestWrongAddress: what is not GetResponse's API pauses the account, or is tried again, and the check names the url.
func TestWrongAddress(t *testing.T) {
	page := func(status int, contentType, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", contentType)
			w.WriteHeader(status)
			_, _ = w.Write([]byte(body))
		}
	}
	for name, h := range map[string]http.HandlerFunc{
		"a website":       page(200, "text/html", "<html>welcome</html>"),
		"not found":       page(404, "text/html", "<html>not found</html>"),
		"another API":     page(200, "application/json", `"hello"`),
		"another service": page(404, "application/json", `{"message":"no route"}`),
		"nothing":         page(200, "application/json", ""),
		"a redirect": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://example.com/", http.StatusMovedPermanently)
		},
	} {
		t.Run(name, func(t *testing.T) {
			srv := httptest.NewServer(h)
			defer srv.Close()
			client, err := outbound.NewClient(outbound.Options{AllowPrivate: true, Timeout: 5 * time.Second})
			if err != nil {
				t.Fatal(err)
			}
			defer client.CloseIdleConnections()
			w, err := getresponse.Sink.Open(t.Context(), config(srv.URL), sinks.Env{Destination: "crm", Now: time.Now, HTTP: client})
			if err != nil {
				t.Fatal(err)
			}
			found := w.Check(t.Context())
			if len(found) != 1 || !found[0].Bad || found[0].Field != "url" || !strings.Contains(found[0].Hint, "url") {
				t.Errorf("check: got %+v", found)
			}
			if o := w.Write(t.Context(), []schemas.Command{ada()})[0]; o.Kind != sinks.Retryable || !strings.Contains(o.Remedy, "url") {
				t.Errorf("got %d: %v (%s)", o.Kind, o.Err, o.Remedy)
			}
		})
	}
}

// TestNobodyListens: the check names the url.
func TestNobodyListens(t *testing.T) {
	b := open(t, twin.Options{}, func(c *getresponse.Config) { c.URL = "http://127.0.0.1:1/v3" })
	found := b.w.Check(t.Context())
	if len(found) != 1 || !found[0].Bad || found[0].Field != "url" {
		t.Errorf("got %+v", found)
	}
}

// TestVerify: the comparison is made in GetResponse's forms, and changes nothing.
func TestVerify(t *testing.T) {
	b := open(t, twin.Options{})
	cmd := ada()
	verify := func(c schemas.Contact) sinks.Comparison {
		t.Helper()
		got, o := b.w.(sinks.Verifier).Verify(t.Context(), c)
		if o.Kind != sinks.Delivered {
			t.Fatalf("got %d: %v", o.Kind, o.Err)
		}
		return got
	}
	if d := cmp.Diff(verify(cmd.Contact), sinks.Comparison{Absent: true, Standing: schemas.StandingActive}); d != "" {
		t.Errorf("absent, got - want:\n%s", d)
	}
	if n := b.asked("POST /v3/tags"); n != 0 {
		t.Errorf("reading back made %d tags", n)
	}
	b.deliver(t, cmd)
	for field, value := range map[string]string{"order_amount": "10", "interests": "", "order_currency": "USD", "order_id": "other"} {
		b.panel(t, twin.Action{Do: "set_field", Email: cmd.Contact.Email, Name: field, To: value})
	}
	b.panel(t, twin.Action{Do: "rename", Email: cmd.Contact.Email, To: "Countess"})
	b.panel(t, twin.Action{Do: "untag", Email: cmd.Contact.Email, Name: "paid"})
	b.Score(cmd.Contact.Email, 2)
	want := cmd.Contact
	want.Fields = map[string]string{
		"order_amount": "10.00", "order_date": "2026-01-31T11:00:00+01:00", "interests": "tea,Books", "order_currency": "eur", "ORDER_ID": "", "scoring": "5",
	}
	want.Tags, want.NoTags = []string{"new one", "paid"}, []string{"paypal-integration"}
	writes := b.one(t).Writes
	if d := cmp.Diff(verify(want), sinks.Comparison{Standing: schemas.StandingActive, Differences: []sinks.Difference{
		{Part: "name", Want: "Ada L", Got: "Countess"},
		{Part: "field interests", Want: "Tea, Books"},
		{Part: "field order_currency", Want: "EUR", Got: "USD"},
		{Part: "field order_id", Got: "other"},
		{Part: "field scoring", Want: "5", Got: "2"},
		{Part: "tag paid", Want: "paid"},
		{Part: "tag new_one", Want: "new_one"},
		{Part: "tag paypal_integration", Got: "paypal_integration"},
	}}); d != "" {
		t.Errorf("got - want:\n%s", d)
	}
	if got := b.one(t).Writes; got != writes {
		t.Errorf("reading back wrote")
	}
	b.deliver(t, schemas.Command{CommandID: "x", Kind: schemas.CommandContact, Contact: want})
	if got := verify(want); len(got.Differences) > 0 {
		t.Errorf("written, and still different: %+v", got.Differences)
	}
	want.Fields = map[string]string{"no_such": "x"}
	if _, o := b.w.(sinks.Verifier).Verify(t.Context(), want); o.Kind != sinks.Rejected || !strings.Contains(o.Err.Error(), "no_such") {
		t.Errorf("a field that there is not: got %d: %v", o.Kind, o.Err)
	}
}

// TestVerifyOfThoseWhoAreNotShown tells who left from who never was there, on whichever list they were.
func TestVerifyOfThoseWhoAreNotShown(t *testing.T) {
	for name, c := range map[string]struct {
		list, reason string
		want         sinks.Comparison
	}{
		"unsubscribed from another list": {"V", "unsubscribe", sinks.Comparison{Standing: schemas.StandingUnsubscribed}},
		"bounced":                        {"C", "bounce", sinks.Comparison{Standing: schemas.StandingBounced}},
		"has not confirmed":              {"D", "", sinks.Comparison{Absent: true, Standing: schemas.StandingActive}},
	} {
		t.Run(name, func(t *testing.T) {
			b := open(t, twin.Options{}, func(conf *getresponse.Config) { conf.List = c.list })
			if c.reason == "" {
				b.write(t.Context(), ada()) // asked to confirm
			} else {
				if err := b.Subscribe(ada().Contact.Email, "Ada", c.list); err != nil {
					t.Fatal(err)
				}
				b.TakeOff(ada().Contact.Email, c.reason)
			}
			got, o := b.w.(sinks.Verifier).Verify(t.Context(), ada().Contact)
			if d := cmp.Diff(got, c.want); d != "" || o.Kind != sinks.Delivered {
				t.Errorf("%d: %v, got - want:\n%s", o.Kind, o.Err, d)
			}
		})
	}
}

// TestAccount: the plan is shown where the key may read it.
func TestAccount(t *testing.T) {
	b := open(t, twin.Options{})
	got, o := b.w.(sinks.Accounter).Account(t.Context())
	want := sinks.Account{ID: "acc1", Name: "Example", User: "owner@shop.example", Detail: []sinks.Fact{{Name: "plan", Value: "Monthly"}, {Name: "contacts in the plan", Value: "10000"}}}
	if d := cmp.Diff(got, want); d != "" || o.Kind != sinks.Delivered {
		t.Errorf("%d: %v, got - want:\n%s", o.Kind, o.Err, d)
	}
	for _, x := range o.Exchanges {
		if strings.Contains(x.Response, "owner@shop") {
			t.Errorf("the owner's address is kept: %s", x.Response)
		}
	}
	b.Break(twin.Failure{Path: "/accounts/billing", Status: 403, Code: 1023})
	want.Detail = nil
	if got, o = b.w.(sinks.Accounter).Account(t.Context()); !cmp.Equal(got, want) || o.Kind != sinks.Delivered {
		t.Errorf("without the right to read the plan: got %+v, %d: %v", got, o.Kind, o.Err)
	}
}
