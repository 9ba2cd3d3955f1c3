package getresponse_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tillstream/tillstream/schemas"
	twin "github.com/tillstream/tillstream/simulators/getresponse"
	"github.com/tillstream/tillstream/sinks"
	"github.com/tillstream/tillstream/sinks/getresponse"
)

const email = "ada@shop.example"

// action is an effect on ada, of whom no more than the address is known. Arguments are pairs.
func action(kind, name string, arguments ...string) schemas.Command {
	in := map[string]string{}
	for i := 0; i+1 < len(arguments); i += 2 {
		in[arguments[i]] = arguments[i+1]
	}
	return schemas.Command{
		CommandID: "feedbeef0123", Kind: schemas.CommandEffect, Destination: "crm", ContactKey: "live/" + email, Contact: schemas.Contact{Email: email},
		Effect: &schemas.Effect{Type: kind, Name: name, Arguments: in}, Origin: schemas.OriginWebhook,
	}
}

func order(status string, more ...string) schemas.Command {
	return action(schemas.EffectWriteOrder, "5O1", append([]string{
		"shop", "Payments", "number", "1001", "status", status, "provider_status", "COMPLETED", "amount", "12.50", "currency", "EUR", "paid", "12.50", "refunded", "0",
		"time", "2026-11-02T11:00:00+01:00", "event_type", "PAYMENT.CAPTURE.COMPLETED",
	}, more...)...)
}

func (b *bench) subscribe(t *testing.T, lists ...string) {
	t.Helper()
	for _, l := range lists {
		if err := b.Subscribe(email, "Ada L", l); err != nil {
			t.Fatal(err)
		}
		b.wait(time.Second)
	}
}

// where are the lists that show ada.
func (b *bench) where() string {
	var out []string
	for _, c := range b.Contacts() {
		if c.Visible {
			out = append(out, c.List)
		}
	}
	return strings.Join(out, " ")
}

// until writes the command as often as it is to be tried again.
func (b *bench) until(t *testing.T, cmd schemas.Command) sinks.Outcome {
	t.Helper()
	for range 30 {
		o := b.write(t.Context(), cmd)
		if o.Kind != sinks.Retryable {
			return o
		}
		if o.RetryAfter <= 0 || o.Account {
			t.Fatalf("got retry after %s, account %v: %v", o.RetryAfter, o.Account, o.Err)
		}
		b.wait(o.RetryAfter)
	}
	t.Fatal("it is tried again without end")
	return sinks.Outcome{}
}

// TestLists: who is where before, what the action does, and who is where then.
func TestLists(t *testing.T) {
	add := action(schemas.EffectAddToList, "newsletter")
	byID := action(schemas.EffectAddToList, "V")
	double := action(schemas.EffectAddToList, "Confirmed only")
	move := action(schemas.EffectMoveToList, "Newsletter", schemas.ArgumentFrom, "Promo campaign")
	for _, c := range []struct {
		name   string
		before []string
		leaves []string // lists that she left since
		cmd    schemas.Command
		want   sinks.OutcomeKind
		then   string
	}{
		{"added to the first list", nil, nil, add, sinks.Delivered, "V"},
		{"a copy, by id", []string{"C"}, nil, byID, sinks.Delivered, "C V"},
		{"on it already", []string{"V"}, nil, add, sinks.Delivered, "V"},
		{"left it", []string{"C", "V"}, []string{"V"}, add, sinks.Rejected, "C"},
		{"left another one", []string{"C"}, []string{"C"}, add, sinks.Delivered, "V"},
		{"has to confirm", []string{"C"}, nil, double, sinks.Delivered, "C"},
		{"moved", []string{"C"}, nil, move, sinks.Delivered, "V"},
		{"moved, on both", []string{"C", "V"}, nil, move, sinks.Delivered, "V"},
		{"moved already", []string{"V"}, nil, move, sinks.Delivered, "V"},
		{"moved from where she is not", nil, nil, move, sinks.Delivered, "V"},
		{"moved onto a list that she left", []string{"C", "V"}, []string{"V"}, move, sinks.Rejected, "C"},
		{"moved from a list that she left", []string{"C"}, []string{"C"}, move, sinks.Rejected, ""},
		{"moved onto itself", []string{"C"}, nil, action(schemas.EffectMoveToList, "C", schemas.ArgumentFrom, "C"), sinks.Delivered, "C"},
		{"no such list", nil, nil, action(schemas.EffectAddToList, "Nwesletter"), sinks.Rejected, ""},
		{"no list", nil, nil, action(schemas.EffectAddToList, " "), sinks.Rejected, ""},
		{"moved from no list", []string{"C"}, nil, action(schemas.EffectMoveToList, "V"), sinks.Rejected, "C"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := open(t, twin.Options{CreateDelay: 40 * time.Second})
			b.subscribe(t, c.before...)
			for _, l := range c.leaves {
				b.Unsubscribe(email, l)
			}
			for range 2 { // what is done is not done again
				o := b.until(t, c.cmd)
				if o.Kind != c.want || (o.Kind == sinks.Rejected) != (o.Remedy != "") {
					t.Errorf("got %d, want %d: %v (%s)", o.Kind, c.want, o.Err, o.Remedy)
				}
				b.wait(time.Minute)
				if got := b.where(); got != c.then {
					t.Errorf("got her on %q, want %q", got, c.then)
				}
			}
			want := sinks.Delivered
			if c.want == sinks.Rejected {
				want = sinks.NotHappened
			}
			if o := b.w.Reconcile(t.Context(), c.cmd); o.Kind != want && o.Kind != c.want {
				t.Errorf("reconcile: got %d, want %d: %v", o.Kind, want, o.Err)
			}
		})
	}
}

// TestCopyKeepsWhatIsKnown: the one on the other list lends name and fields, and the command's own go first.
func TestCopyKeepsWhatIsKnown(t *testing.T) {
	b := open(t, twin.Options{})
	b.deliver(t, ada())
	cmd := action(schemas.EffectAddToList, "Newsletter")
	cmd.Contact.Fields, cmd.Contact.Tags = map[string]string{"order_status": "PAID", "order_id": "5O2"}, []string{"copied"}
	if o := b.until(t, cmd); o.Kind != sinks.Delivered {
		t.Fatalf("got %d: %v", o.Kind, o.Err)
	}
	for _, c := range b.Contacts() {
		if c.List != "V" {
			continue
		}
		if c.Name != "Ada L" || c.Fields["order_amount"][0] != "10.00" || c.Fields["order_id"][0] != "5O2" || c.Fields["order_status"][0] != "PAID" {
			t.Errorf("got %+v", c)
		}
		if d := cmp.Diff(c.Tags, []string{"copied"}); d != "" {
			t.Errorf("tags, got - want:\n%s", d)
		}
	}
	if n := b.asked("POST /v3/contacts"); n != 2 {
		t.Errorf("got %d creations, want 2", n)
	}
}

// TestListAfterTrouble: whatever goes wrong on the way, repeating it ends well and creates nobody twice.
func TestListAfterTrouble(t *testing.T) {
	move := action(schemas.EffectMoveToList, "Newsletter", schemas.ArgumentFrom, "Promo campaign")
	for _, c := range []struct {
		name, path string
		status     int
		code       int
		cmd        schemas.Command
		before     []string
	}{
		{"gateway while creating", "/contacts", 502, 1, action(schemas.EffectAddToList, "Newsletter"), nil},
		{"taken while creating", "/contacts", 409, 1008, action(schemas.EffectAddToList, "Newsletter"), nil},
		{"gateway while moving", "/contacts/", 502, 1, move, []string{"C"}},
		{"taken while moving", "/contacts/", 409, 1008, move, []string{"C"}},
		{"gone while moving", "/contacts/", 404, 1013, move, []string{"C"}},
		{"gateway while leaving", "/contacts/", 502, 1, move, []string{"C", "V"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := open(t, twin.Options{})
			b.subscribe(t, c.before...)
			method := http.MethodPost
			if len(c.before) == 2 {
				method = http.MethodDelete
			}
			b.Break(twin.Failure{Method: method, Path: c.path, Status: c.status, Code: c.code})
			if o := b.write(t.Context(), c.cmd); o.Kind != sinks.Retryable {
				t.Fatalf("got %d: %v", o.Kind, o.Err)
			}
			b.wait(queueOver)
			o := b.until(t, c.cmd)
			if strings.HasPrefix(c.name, "taken while creating") {
				// The twin never had her: it is told to a person after the queue's patience.
				if o.Kind != sinks.Rejected {
					t.Errorf("got %d: %v", o.Kind, o.Err)
				}
				return
			}
			if o.Kind != sinks.Delivered || b.where() != "V" {
				t.Errorf("got %d, and her on %q: %v", o.Kind, b.where(), o.Err)
			}
		})
	}
}

const queueOver = 21 * time.Minute

// TestListThatWasDeleted is told, and a list of the same id and name of two lists is not guessed.
func TestListThatWasDeleted(t *testing.T) {
	b := open(t, twin.Options{})
	b.Break(twin.Failure{Method: http.MethodPost, Path: "/contacts", Status: 400, Code: 1001})
	b.Break(twin.Failure{Method: http.MethodGet, Path: "/campaigns/V", Status: 404, Code: 1013})
	o := b.write(t.Context(), action(schemas.EffectAddToList, "Newsletter"))
	if o.Kind != sinks.Rejected || !strings.Contains(o.Err.Error(), "deleted") || o.Remedy == "" {
		t.Errorf("got %d: %v (%s)", o.Kind, o.Err, o.Remedy)
	}
}

func TestStanding(t *testing.T) {
	for _, c := range []struct {
		name, list, address string
		make                func(b *bench)
		want                schemas.Standing
		kind                sinks.OutcomeKind
	}{
		{"on it", "Newsletter", email, func(b *bench) { b.subscribe(t, "V") }, schemas.StandingActive, sinks.Delivered},
		{"on it, by id", "V", strings.ToUpper(email), func(b *bench) { b.subscribe(t, "V") }, schemas.StandingActive, sinks.Delivered},
		{"on another", "Newsletter", email, func(b *bench) { b.subscribe(t, "C") }, schemas.StandingAbsent, sinks.Delivered},
		{"not known", "Newsletter", email, func(*bench) {}, schemas.StandingAbsent, sinks.Delivered},
		{"left", "Newsletter", email, func(b *bench) { b.subscribe(t, "V"); b.Unsubscribe(email, "V") }, schemas.StandingUnsubscribed, sinks.Delivered},
		{"complained", "Newsletter", email, func(b *bench) { b.subscribe(t, "V"); b.TakeOff(email, "complaint") }, schemas.StandingUnsubscribed, sinks.Delivered},
		{"bounced", "Newsletter", email, func(b *bench) { b.subscribe(t, "V"); b.TakeOff(email, "bounce") }, schemas.StandingBounced, sinks.Delivered},
		{"left and came back", "Newsletter", email, func(b *bench) { b.subscribe(t, "V"); b.Unsubscribe(email, "V"); b.subscribe(t, "V") }, schemas.StandingActive, sinks.Delivered},
		{"has not confirmed", "Confirmed only", email, func(b *bench) { b.write(t.Context(), action(schemas.EffectAddToList, "D")) }, schemas.StandingUnconfirmed, sinks.Delivered},
		{"no such list", "None", email, func(*bench) {}, schemas.StandingUnknown, sinks.Rejected},
		{"no address", "Newsletter", "ada", func(*bench) {}, schemas.StandingUnknown, sinks.Rejected},
		{"trouble", "Newsletter", email, func(b *bench) { b.Break(twin.Failure{Path: "/search-contacts", Status: 503, Code: 1019}) }, schemas.StandingUnknown, sinks.Retryable},
		{"key refused", "Newsletter", email, func(b *bench) { b.Break(twin.Failure{Path: "/campaigns", Status: 401, Code: 1014}) }, schemas.StandingUnknown, sinks.Retryable},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := open(t, twin.Options{})
			c.make(b)
			b.asked("")
			got, o := b.w.(sinks.ListReader).Standing(t.Context(), c.address, c.list)
			if got != c.want || o.Kind != c.kind || (o.Kind == sinks.Delivered) != (o.Err == nil) {
				t.Errorf("got %s and %d, want %s and %d: %v", got, o.Kind, c.want, c.kind, o.Err)
			}
			for _, x := range o.Exchanges {
				if x.Method != http.MethodGet && !strings.HasSuffix(x.URL, "/search-contacts/contacts") {
					t.Errorf("a question wrote: %s %s", x.Method, x.URL)
				}
			}
		})
	}
}

// TestOrderMovesTheWorkflow: the order is made pending and then gets its status, so that the condition sees a change.
func TestOrderMovesTheWorkflow(t *testing.T) {
	b := open(t, twin.Options{})
	b.AddWorkflow(twin.Workflow{Name: "thanks", Shop: "Payments", Status: "PAID"})
	b.AddWorkflow(twin.Workflow{Name: "sorry", Status: "REFUNDED"})
	b.deliver(t, order("PAID"))
	b.deliver(t, order("PAID"))
	want := []twin.PlacedOrder{{
		Shop: "Payments", ExternalID: "5O1", Status: "COMPLETED", BillingStatus: "PAID", Total: "12.50", Currency: "EUR", ProcessedAt: "2026-11-02T10:00:00+0000",
		Meta: map[string]string{"order_number": "1001", "paid": "12.50", "refunded": "0", "event_type": "PAYMENT.CAPTURE.COMPLETED"},
	}}
	got := b.PlacedOrders()
	for i := range got {
		if got[i].ContactID != b.one(t).ID {
			t.Errorf("got the order of %s", got[i].ContactID)
		}
		got[i].ID, got[i].ContactID = "", ""
	}
	if d := cmp.Diff(got, want); d != "" {
		t.Errorf("orders, got - want:\n%s", d)
	}
	b.deliver(t, order("REFUNDED", "refunded", "12.50"))
	var ran []string
	for _, r := range b.WorkflowRuns() {
		ran = append(ran, r.Workflow+" "+r.From+" "+r.To)
	}
	if d := cmp.Diff(ran, []string{"thanks PENDING PAID", "sorry PAID REFUNDED"}); d != "" {
		t.Errorf("workflows, got - want:\n%s", d)
	}
	for what, want := range map[string]int{"POST /v3/shops": 1} {
		if n := b.asked(what); n != want {
			t.Errorf("%s: got %d, want %d", what, n, want)
		}
	}
}

// TestOrderThatIsThere costs one look, and a change writes what differs only.
func TestOrderThatIsThere(t *testing.T) {
	b := open(t, twin.Options{})
	b.deliver(t, order("PAID"))
	if o := b.deliver(t, order("PAID")); len(o.Exchanges) != 1 {
		t.Errorf("got %d requests, want 1", len(o.Exchanges))
	}
	o := b.deliver(t, order("PARTIALLY_REFUNDED", "amount", "12.5"))
	if last := o.Exchanges[len(o.Exchanges)-1]; last.Request != `{"billingStatus":"PARTIALLY_REFUNDED"}` {
		t.Errorf("got %s", last.Request)
	}
}

// TestOrderOfThePast starts no workflow; nor does one of a test.
func TestOrderOfThePast(t *testing.T) {
	for _, origin := range []schemas.Origin{schemas.OriginBackfill, schemas.OriginReplay, schemas.OriginWebhook} {
		b := open(t, twin.Options{})
		b.AddWorkflow(twin.Workflow{Name: "thanks", Many: true})
		for _, status := range []string{"PAID", "REFUNDED"} {
			cmd := order(status)
			cmd.Origin, cmd.Test = origin, origin == schemas.OriginWebhook
			b.deliver(t, cmd)
		}
		if got := b.PlacedOrders(); len(got) != 1 || got[0].BillingStatus != "REFUNDED" || len(b.WorkflowRuns()) != 0 {
			t.Errorf("%s: got %+v and %+v", origin, got, b.WorkflowRuns())
		}
	}
}

// TestOrderAfterTrouble: what may have made the order is unknown until it was read back; everything else is repeated, and
// there is one order in the end.
func TestOrderAfterTrouble(t *testing.T) {
	cut := twin.Faults{Cut: 1}
	for _, c := range []struct {
		name  string
		trip  func(b *bench)
		want  sinks.OutcomeKind
		asked sinks.OutcomeKind // by Reconcile, after the trouble
	}{
		{"gateway before the lookup", func(b *bench) { b.Break(twin.Failure{Path: "/shops", Status: 502, Code: 1}) }, sinks.Retryable, sinks.NotHappened},
		{"gateway while the order is made", func(b *bench) {
			b.Break(twin.Failure{Method: http.MethodPost, Path: "/shops/pf3/orders", Status: 502, Code: 1})
		}, sinks.Unknown, sinks.NotHappened},
		{"500 while the order is made", func(b *bench) {
			b.Break(twin.Failure{Method: http.MethodPost, Path: "/shops/pf3/orders", Status: 500, Code: 1})
		}, sinks.Unknown, sinks.NotHappened},
		{"429 while the order is made", func(b *bench) {
			b.Break(twin.Failure{Method: http.MethodPost, Path: "/shops/pf3/orders", Status: 429, Code: 1015})
		}, sinks.Retryable, sinks.NotHappened},
		{"made, and the answer cut", func(b *bench) {
			b.onTheWay(func(r *http.Request) {
				if r.Method == http.MethodPost && r.URL.Path == "/v3/shops/pf3/orders" {
					b.SetFaults(cut)
				}
			})
		}, sinks.Unknown, sinks.NotHappened},
		{"updated, and the answer cut", func(b *bench) {
			b.onTheWay(func(r *http.Request) {
				if r.Method == http.MethodPost && strings.HasPrefix(r.URL.Path, "/v3/shops/pf3/orders/") {
					b.SetFaults(cut)
				}
			})
		}, sinks.Retryable, sinks.Delivered},
		{"gone while it is updated", func(b *bench) {
			b.Break(twin.Failure{Method: http.MethodPost, Path: "/shops/pf3/orders/", Status: 404, Code: 1013})
		}, sinks.Retryable, sinks.NotHappened},
		{"refused for good", func(b *bench) {
			b.Break(twin.Failure{Method: http.MethodPost, Path: "/shops/pf3/orders", Status: 400, Code: 1000})
		}, sinks.Rejected, sinks.NotHappened},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := open(t, twin.Options{})
			b.subscribe(t, "C")
			cmd := order("PAID", "shop", "Monster market")
			c.trip(b)
			if o := b.write(t.Context(), cmd); o.Kind != c.want {
				t.Fatalf("got %d, want %d: %v", o.Kind, c.want, o.Err)
			}
			b.onTheWay(nil)
			b.SetFaults(twin.Faults{})
			if o := b.w.Reconcile(t.Context(), cmd); o.Kind != c.asked {
				t.Errorf("reconcile: got %d, want %d: %v", o.Kind, c.asked, o.Err)
			}
			b.wait(time.Minute)
			b.deliver(t, cmd)
			if got := b.PlacedOrders(); len(got) != 1 || got[0].BillingStatus != "PAID" {
				t.Errorf("got %+v", got)
			}
			if o := b.w.Reconcile(t.Context(), cmd); o.Kind != sinks.Delivered {
				t.Errorf("reconcile in the end: got %d: %v", o.Kind, o.Err)
			}
		})
	}
}

func TestOrderRefused(t *testing.T) {
	for name, change := range map[string]func(*schemas.Command){
		"no id":                    func(c *schemas.Command) { c.Effect.Name = " " },
		"no status":                func(c *schemas.Command) { delete(c.Effect.Arguments, "status") },
		"no amount":                func(c *schemas.Command) { delete(c.Effect.Arguments, "amount") },
		"an amount below nothing":  func(c *schemas.Command) { c.Effect.Arguments["amount"] = "-1" },
		"an amount too large":      func(c *schemas.Command) { c.Effect.Arguments["amount"] = "1000000000000" },
		"an amount of many digits": func(c *schemas.Command) { c.Effect.Arguments["amount"] = "0." + strings.Repeat("1", 100) },
		"an exponent":              func(c *schemas.Command) { c.Effect.Arguments["amount"] = "1e3" },
		"no currency":              func(c *schemas.Command) { c.Effect.Arguments["currency"] = "euro" },
		"a store of two letters":   func(c *schemas.Command) { c.Effect.Arguments["shop"] = "ab" },
		"nobody":                   func(c *schemas.Command) { c.Contact.Email = "" },
	} {
		t.Run(name, func(t *testing.T) {
			b := open(t, twin.Options{})
			cmd := order("PAID")
			change(&cmd)
			if o := b.write(t.Context(), cmd); o.Kind != sinks.Rejected || o.Remedy == "" {
				t.Errorf("got %d: %v", o.Kind, o.Err)
			}
			if got := b.PlacedOrders(); len(got) != 0 {
				t.Errorf("got %+v", got)
			}
		})
	}
	b := open(t, twin.Options{})
	b.deliver(t, order("PAID", "shop", "")) // the only store
	b.deliver(t, order("PAID", "shop", "Second store"))
	if o := b.write(t.Context(), order("REFUNDED", "shop", "")); o.Kind != sinks.Rejected || !strings.Contains(o.Remedy, "Monster market") {
		t.Errorf("got %d: %v (%s)", o.Kind, o.Err, o.Remedy)
	}
}

// TestMessage: the message goes to one person, with values that are data only.
func TestMessage(t *testing.T) {
	b := open(t, twin.Options{})
	b.AddDraft(twin.Draft{
		Name: "Thank you", Subject: "Order %%order%%, %%first%%", HTML: `<p title="%%first%%">[[firstname]] 100%% %%order%%</p>`, Plain: "%%first%% {{IF}}",
	})
	b.subscribe(t, "C")
	cmd := action(schemas.EffectSendMessage, "thank you", "order", "5O1\r\nBcc: x", "first", `<b>[[email]]{{x}}[[[y]]]</b>"`)
	if o := b.w.Reconcile(t.Context(), cmd); o.Kind != sinks.NotHappened {
		t.Errorf("before: got %d: %v", o.Kind, o.Err)
	}
	b.deliver(t, cmd)
	want := []twin.Message{{
		Name: "Thank you tillstream-feedbeef0123", Email: email, Subject: `Order 5O1 Bcc: x, <b>[ [email] ]{ {x} }[ [ [y] ] ]</b>"`,
		HTML:  `<p title="&lt;b&gt;&#91;&#91;email&#93;&#93;&#123;&#123;x&#125;&#125;&#91;&#91;&#91;y&#93;&#93;&#93;&lt;/b&gt;&#34;">[[firstname]] 100%% 5O1` + "\r\n" + `Bcc: x</p>`,
		Plain: `<b>[ [email] ]{ {x} }[ [ [y] ] ]</b>" {{IF}}`,
	}}
	got := b.Messages()
	for i := range got {
		got[i].Newsletter, got[i].At = "", time.Time{}
	}
	if d := cmp.Diff(got, want); d != "" {
		t.Errorf("got - want:\n%s", d)
	}
	if o := b.w.Reconcile(t.Context(), cmd); o.Kind != sinks.Delivered {
		t.Errorf("after: got %d: %v", o.Kind, o.Err)
	}
	// The copy that went out does not make the name ambiguous.
	again := cmd
	again.CommandID = "another"
	b.deliver(t, again)
}

func TestMessageRefused(t *testing.T) {
	for name, c := range map[string]struct {
		drafts []twin.Draft
		word   string
		lists  []string
	}{
		"no such message":      {nil, "Thanks, all", []string{"C"}},
		"no such id":           {nil, "Zz9", []string{"C"}},
		"no name":              {nil, " ", []string{"C"}},
		"two of a name":        {[]twin.Draft{{Name: "Hello", Subject: "Hi", Plain: "x"}, {Name: "hello", Subject: "Hi", Plain: "x"}}, "Hello", []string{"C"}},
		"nothing in it":        {[]twin.Draft{{Name: "Hello", Subject: "Hi"}}, "Hello", []string{"C"}},
		"no sender":            {[]twin.Draft{{Name: "Hello", Subject: "Hi", Plain: "x", WithoutSender: true}}, "Hello", []string{"C"}},
		"attachments":          {[]twin.Draft{{Name: "Hello", Subject: "Hi", Plain: "x", Attachments: []string{"a.pdf"}}}, "Hello", []string{"C"}},
		"a value that is none": {[]twin.Draft{{Name: "Hello", Subject: "Hi", Plain: "%%total%%"}}, "Hello", []string{"C"}},
		"on no list":           {[]twin.Draft{{Name: "Hello", Subject: "Hi", Plain: "x"}}, "Hello", nil},
	} {
		t.Run(name, func(t *testing.T) {
			b := open(t, twin.Options{})
			for _, d := range c.drafts {
				b.AddDraft(d)
			}
			b.subscribe(t, c.lists...)
			if o := b.write(t.Context(), action(schemas.EffectSendMessage, c.word)); o.Kind != sinks.Rejected || o.Remedy == "" {
				t.Errorf("got %d: %v (%s)", o.Kind, o.Err, o.Remedy)
			}
			if got := b.Messages(); len(got) != 0 {
				t.Errorf("got %+v", got)
			}
		})
	}
	b := open(t, twin.Options{})
	b.AddDraft(twin.Draft{Name: "Hello", Subject: "Hi", Plain: "x"})
	b.subscribe(t, "C")
	b.deliver(t, paidCommand()) // she is remembered
	b.TakeOff(email, "unsubscribe")
	if o := b.write(t.Context(), action(schemas.EffectSendMessage, "Hello")); o.Kind != sinks.Rejected || len(b.Messages()) != 0 {
		t.Errorf("left: got %d: %v, and %+v", o.Kind, o.Err, b.Messages())
	}
}

func paidCommand() schemas.Command { return *paid() }

// TestMessageAfterTrouble: what may have gone out is unknown, and asked for before it is sent again.
func TestMessageAfterTrouble(t *testing.T) {
	for _, c := range []struct {
		name   string
		status int
		code   int
		want   sinks.OutcomeKind
	}{
		{"gateway", 502, 1, sinks.Unknown},
		{"internal", 500, 1, sinks.Unknown},
		{"maintenance", 503, 1019, sinks.Retryable},
		{"too many", 429, 1015, sinks.Retryable},
		{"sender not active", 400, 1002, sinks.Rejected},
		{"sender gone", 400, 1001, sinks.Rejected},
	} {
		b := open(t, twin.Options{})
		b.AddDraft(twin.Draft{Name: "Hello", Subject: "Hi", Plain: "x"})
		b.subscribe(t, "C")
		b.Break(twin.Failure{Method: http.MethodPost, Path: "/newsletters", Status: c.status, Code: c.code})
		o := b.write(t.Context(), action(schemas.EffectSendMessage, "Hello"))
		if o.Kind != c.want || strings.Contains(o.Remedy, "subscribed again") {
			t.Errorf("%s: got %d, want %d: %v (%s)", c.name, o.Kind, c.want, o.Err, o.Remedy)
		}
	}
}

// TestPartThatTheKeyMayNotUse refuses what needs it, and holds up nothing else.
func TestPartThatTheKeyMayNotUse(t *testing.T) {
	for path, cmd := range map[string]schemas.Command{"/shops": order("PAID"), "/newsletters": action(schemas.EffectSendMessage, "Hello")} {
		b := open(t, twin.Options{})
		b.subscribe(t, "C")
		b.Break(twin.Failure{Path: path, Status: 403, Code: 1023})
		if o := b.write(t.Context(), cmd); o.Kind != sinks.Rejected || o.Account || !strings.Contains(o.Remedy, "plan") {
			t.Errorf("%s: got %d, account %v: %v (%s)", path, o.Kind, o.Account, o.Err, o.Remedy)
		}
		b.deliver(t, ada())
	}
}

// TestEffectsThatGetResponseHasNot are refused with what to do.
func TestEffectsThatGetResponseHasNot(t *testing.T) {
	b := open(t, twin.Options{})
	for _, kind := range []string{schemas.EffectStartAutomation, schemas.EffectWriteRecurring, schemas.EffectNotify, "NEW"} {
		if o := b.write(t.Context(), action(kind, "x")); o.Kind != sinks.Rejected || o.Remedy == "" || getresponse.Sink.Performs(kind) {
			t.Errorf("%s: got %d: %v (%s)", kind, o.Kind, o.Err, o.Remedy)
		}
	}
	for _, kind := range getresponse.Sink.Effects {
		if o := b.write(t.Context(), action(kind, "x")); o.Err != nil && strings.Contains(o.Err.Error(), "has no effect") && kind != schemas.QuestionOnList {
			t.Errorf("%s: got %v", kind, o.Err)
		}
	}
}
