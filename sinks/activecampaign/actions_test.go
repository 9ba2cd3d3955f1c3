package activecampaign_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tillstream/tillstream/schemas"
	twin "github.com/tillstream/tillstream/simulators/activecampaign"
	"github.com/tillstream/tillstream/sinks"
)

// effect makes one for Ada, with arguments in pairs.
func effect(kind, name string, arguments ...string) schemas.Command {
	c := ada()
	c.CommandID, c.Kind = "effect-"+kind+"-"+name, schemas.CommandEffect
	c.Effect = &schemas.Effect{Type: kind, Name: name, Arguments: map[string]string{}}
	for i := 0; i+1 < len(arguments); i += 2 {
		c.Effect.Arguments[arguments[i]] = arguments[i+1]
	}
	c.At = time.Now().UTC()
	return c
}

func order(status string) schemas.Command {
	return effect(schemas.EffectWriteOrder, "5O1", "shop", "paypal/main", "number", "1001", "status", status, "provider_status", "COMPLETED",
		"amount", "49.90", "currency", "EUR", "paid", "49.90", "refunded", "0", "time", "2026-01-31T10:00:00Z", "event_type", "CHECKOUT.ORDER.COMPLETED")
}

func subscription(status string) schemas.Command {
	return effect(schemas.EffectWriteRecurring, "I-1", "shop", "paypal/main", "status", status, "amount", "9.00", "currency", "EUR",
		"time", "2026-01-31T10:00:00Z", "event_type", "BILLING.SUBSCRIPTION.ACTIVATED")
}

func posts(path string) func(*http.Request) bool {
	return func(r *http.Request) bool { return r.Method == http.MethodPost && r.URL.Path == "/api/3"+path }
}

func onCustomers(t *testing.T, w sinks.Writer) {
	t.Helper()
	write(t, w, effect(schemas.EffectAddToList, "Customers"))
}

// refusedWith writes a command and wants it rejected for this cause.
func refusedWith(t *testing.T, w sinks.Writer, cmd schemas.Command, cause string) {
	t.Helper()
	o := w.Write(t.Context(), []schemas.Command{cmd})[0]
	if o.Kind != sinks.Rejected || o.Account || o.Remedy == "" || !strings.Contains(fmt.Sprint(o.Err), cause) {
		t.Errorf("got %d, account %v, remedy %q: %v; want it rejected with %q", o.Kind, o.Account, o.Remedy, o.Err, cause)
	}
}

func listsOf(s *twin.Server, email string) map[string]int {
	for _, c := range s.Contacts() {
		if c.Email == email {
			return c.Lists
		}
	}
	return nil
}

// Whoever left a list, or whose messages bounce there, is not put on it again, by no action.
func TestNobodyIsSubscribedAgain(t *testing.T) {
	const unsubscribed, bounced = 2, 3
	for name, c := range map[string]struct {
		status int
		cmd    schemas.Command
		cause  string
	}{
		"add, left":             {unsubscribed, effect(schemas.EffectAddToList, "Newsletter"), "unsubscribed from the list"},
		"add, bounced":          {bounced, effect(schemas.EffectAddToList, "Newsletter"), "bounced on the list"},
		"move to, left":         {unsubscribed, effect(schemas.EffectMoveToList, "Newsletter", "from", "Customers"), "unsubscribed from the list"},
		"move away from, left":  {unsubscribed, effect(schemas.EffectMoveToList, "Customers", "from", "Newsletter"), "unsubscribed from the list"},
		"message, left":         {unsubscribed, effect(schemas.EffectSendMessage, "Payment reminder"), "unsubscribed from all lists"},
		"message, bounced":      {bounced, effect(schemas.EffectSendMessage, "Payment reminder"), "bounced"},
		"by the list's id":      {unsubscribed, effect(schemas.EffectAddToList, "2"), "unsubscribed from the list"},
		"in other letters":      {unsubscribed, effect(schemas.EffectAddToList, " NEWSLETTER"), "unsubscribed from the list"},
		"after an earlier move": {unsubscribed, effect(schemas.EffectMoveToList, "Newsletter", "from", "Newsletter"), "unsubscribed from the list"},
	} {
		t.Run(name, func(t *testing.T) {
			s, w := open(t, twin.Options{})
			s.Subscribe("ada@shop.example", "Newsletter", c.status)
			refusedWith(t, w, c.cmd, c.cause)
			if d := cmp.Diff(listsOf(s, "ada@shop.example"), map[string]int{"Newsletter": c.status}); d != "" {
				t.Errorf("lists, got - want:\n%s", d)
			}
			if len(s.Messages())+len(s.Enrolments()) > 0 {
				t.Errorf("got messages %v and starts %v, want none", s.Messages(), s.Enrolments())
			}
			if o := w.Reconcile(t.Context(), c.cmd); o.Kind == sinks.Delivered {
				t.Error("reconcile says that it happened")
			}
		})
	}
}

func TestLists(t *testing.T) {
	s, w := open(t, twin.Options{})
	s.Subscribe("bob@shop.example", "Gold", 1)
	// Nobody yet: the contact is made with address and name, and with nothing else of the command.
	write(t, w, effect(schemas.EffectAddToList, "Newsletter"))
	if got := s.Contacts()[1]; got.FirstName != "Ada" || len(got.Fields) > 0 || len(got.Tags) > 0 {
		t.Errorf("got %+v", got)
	}
	// A copy leaves the other list alone; a move leaves it.
	write(t, w, effect(schemas.EffectAddToList, "customers"))
	if d := cmp.Diff(listsOf(s, "ada@shop.example"), map[string]int{"Customers": 1, "Newsletter": 1}); d != "" {
		t.Errorf("after a copy, got - want:\n%s", d)
	}
	s.Subscribe("ada@shop.example", "Gold", 0)
	move := effect(schemas.EffectMoveToList, "Gold", "from", "Customers")
	write(t, w, move)
	write(t, w, move) // a repetition does nothing, and is not taken for a leaver
	if d := cmp.Diff(listsOf(s, "ada@shop.example"), map[string]int{"Customers": 2, "Gold": 1, "Newsletter": 1}); d != "" {
		t.Errorf("after a move, got - want:\n%s", d)
	}
	if o := w.Reconcile(t.Context(), move); o.Kind != sinks.Delivered {
		t.Errorf("reconcile: got %d: %v", o.Kind, o.Err)
	}
	refusedWith(t, w, effect(schemas.EffectMoveToList, "Gold"), "names no list")
}

// A move whose second half failed is on both lists until it is tried again: never on none.
func TestMoveIsFinishedLater(t *testing.T) {
	s, w := open(t, twin.Options{})
	s.Subscribe("ada@shop.example", "Customers", 1)
	s.Subscribe("ada@shop.example", "Newsletter", 1) // as the first half leaves it
	move := effect(schemas.EffectMoveToList, "Newsletter", "from", "Customers")
	if o := w.Reconcile(t.Context(), move); o.Kind != sinks.NotHappened {
		t.Errorf("half a move: got %d, want it to be done again", o.Kind)
	}
	write(t, w, move)
	if d := cmp.Diff(listsOf(s, "ada@shop.example"), map[string]int{"Customers": 2, "Newsletter": 1}); d != "" {
		t.Errorf("lists, got - want:\n%s", d)
	}
}

func TestNames(t *testing.T) {
	now := time.Date(2026, 1, 31, 10, 0, 0, 0, time.UTC)
	s, w := openAt(t, twin.Options{Lists: 150, Automations: 120}, func() time.Time { return now })
	write(t, w, effect(schemas.EffectAddToList, "List 149"))             // behind the first page of 100
	write(t, w, effect(schemas.EffectStartAutomation, "automation 119")) // the same
	write(t, w, effect(schemas.EffectAddToList, "130"))                  // by its id
	// Within the same minute the lists are not read again: it may have been made since, so it is tried again.
	s.Subscribe("bob@shop.example", "Brand new", 1)
	add := effect(schemas.EffectAddToList, "Brand new")
	now = now.Add(20 * time.Second)
	if o := w.Write(t.Context(), []schemas.Command{add})[0]; o.Kind != sinks.Retryable || o.RetryAfter != 40*time.Second {
		t.Errorf("a list made a moment ago: got %d after %s: %v", o.Kind, o.RetryAfter, o.Err)
	}
	now = now.Add(40 * time.Second)
	write(t, w, add)
	now = now.Add(time.Hour)
	refusedWith(t, w, effect(schemas.EffectAddToList, "No such list"), `no list in activecampaign is called "No such list"`)
	now = now.Add(time.Hour)
	refusedWith(t, w, effect(schemas.EffectStartAutomation, "No such automation"), "no automation in activecampaign is called")
	refusedWith(t, w, effect(schemas.EffectStartAutomation, "Old welcome"), "Could not create SubscriberSeries") // it is not active
	if got := s.Enrolments(); len(got) != 1 || got[0].Automation != "Automation 119" {
		t.Errorf("got starts %v", got)
	}
}

// A list that was deleted after its id was learnt is looked for again.
func TestDeletedListIsLookedForAgain(t *testing.T) {
	s, w := open(t, twin.Options{})
	write(t, w, effect(schemas.EffectAddToList, "Newsletter"))
	control(t, s, http.MethodDelete, "/api/3/lists/2")
	add := effect(schemas.EffectAddToList, "Newsletter")
	if o := w.Write(t.Context(), []schemas.Command{add})[0]; o.Kind != sinks.Retryable {
		t.Errorf("the first try: got %d, want it to look again: %v", o.Kind, o.Err)
	}
	refusedWith(t, w, add, "no list in activecampaign is called")
	s.Subscribe("bob@shop.example", "Newsletter", 1) // made anew, with another id
}

// A message is what an automation sends; what it is to say stands in the contact's fields before.
func TestMessageFindsItsValues(t *testing.T) {
	now := time.Date(2026, 1, 31, 10, 0, 0, 0, time.UTC)
	s, w := openAt(t, twin.Options{}, func() time.Time { return now })
	write(t, w, ada())
	write(t, w, effect(schemas.EffectSendMessage, "payment REMINDER", "ORDER_ID", "5O2", "Order amount", "12.00"))
	got := s.Messages()
	if len(got) != 1 || got[0].Subject != "Your payment is open" || got[0].Fields["ORDER_ID"] != "5O2" || got[0].Fields["ORDER_AMOUNT"] != "12.00" {
		t.Errorf("got %+v", got)
	}
	refusedWith(t, w, effect(schemas.EffectSendMessage, "Payment reminder", "NO_SUCH", "x"), "no such field in activecampaign: NO_SUCH")
	now = now.Add(time.Hour)
	refusedWith(t, w, effect(schemas.EffectSendMessage, "Newsletter of May"), "no automation in activecampaign is called")
	if n := len(s.Messages()); n != 1 {
		t.Errorf("got %d messages, want none for what was refused", n)
	}
}

// Whether a start happened is told by the contact's starts around the command's time, without those that are known to be
// of others.
func TestStartsAreReconciled(t *testing.T) {
	noon := time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		starts []time.Duration // from the command's time, by somebody else
		want   sinks.OutcomeKind
	}{
		"none":                                 {nil, sinks.NotHappened},
		"long before":                          {[]time.Duration{-time.Hour}, sinks.NotHappened},
		"one since":                            {[]time.Duration{5 * time.Second}, sinks.Delivered},
		"one since and one long before":        {[]time.Duration{-time.Hour, time.Minute}, sinks.Delivered},
		"two since":                            {[]time.Duration{time.Second, time.Minute}, sinks.Unknown},
		"a moment before, clocks being clocks": {[]time.Duration{-30 * time.Second}, sinks.Unknown},
		"one much later, by whom":              {[]time.Duration{30 * time.Minute}, sinks.Unknown},
	} {
		t.Run(name, func(t *testing.T) {
			now := noon
			s, w := openAt(t, twin.Options{}, func() time.Time { return now })
			write(t, w, ada())
			for _, d := range c.starts {
				now = noon.Add(d)
				enrolByHand(t, s, 1, 1)
			}
			now = noon.Add(time.Hour)
			cmd := effect(schemas.EffectStartAutomation, "Welcome")
			cmd.At = noon
			if o := w.Reconcile(t.Context(), cmd); o.Kind != c.want {
				t.Errorf("got %d, want %d: %v", o.Kind, c.want, o.Err)
			}
		})
	}
	// The process that sent it knows when: what others did while the command waited, or long after, is not taken for it.
	t.Run("by when it was sent", func(t *testing.T) {
		now := noon
		s, w := openAt(t, twin.Options{}, func() time.Time { return now })
		write(t, w, ada())
		cmd := effect(schemas.EffectStartAutomation, "Welcome")
		cmd.At = noon
		now = noon.Add(5 * time.Minute)
		enrolByHand(t, s, 1, 1) // somebody else, while it waited
		now = noon.Add(time.Hour)
		lost := &lossy{path: "/api/3/contactAutomations"}
		through := reachThrough(t, s, func() time.Time { return now }, lost)
		if o := through.Write(t.Context(), []schemas.Command{cmd})[0]; o.Kind != sinks.Unknown {
			t.Fatalf("got %d: %v", o.Kind, o.Err)
		}
		if o := through.Reconcile(t.Context(), cmd); o.Kind != sinks.NotHappened {
			t.Errorf("not applied: got %d: %v", o.Kind, o.Err)
		}
		lost.applied = true
		if o := through.Write(t.Context(), []schemas.Command{cmd})[0]; o.Kind != sinks.Unknown {
			t.Fatalf("got %d: %v", o.Kind, o.Err)
		}
		now = now.Add(time.Hour)
		enrolByHand(t, s, 1, 1)
		if o := through.Reconcile(t.Context(), cmd); o.Kind != sinks.Delivered {
			t.Errorf("applied: got %d: %v", o.Kind, o.Err)
		}
	})
	t.Run("another command's is not ours", func(t *testing.T) {
		now := noon
		_, w := openAt(t, twin.Options{}, func() time.Time { return now })
		first, second := effect(schemas.EffectStartAutomation, "Welcome"), effect(schemas.EffectStartAutomation, "Welcome")
		first.At, second.At, second.CommandID = noon, noon, "another"
		write(t, w, first)
		if a, b := w.Reconcile(t.Context(), first), w.Reconcile(t.Context(), second); a.Kind != sinks.Delivered || b.Kind != sinks.NotHappened {
			t.Errorf("got %d and %d, want delivered and not happened", a.Kind, b.Kind)
		}
	})
}

// Another process may have started the contact for a command of before, and its receipt says by which start: that one is
// not taken for the command that is asked about. Where the receipt does not know it, nobody can say.
func TestStartsOfAnotherProcessAreRecalled(t *testing.T) {
	now := time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)
	clock := func() time.Time { return now }
	first, second := effect(schemas.EffectStartAutomation, "Welcome"), effect(schemas.EffectStartAutomation, "Welcome")
	first.ContactKey, second.ContactKey, second.CommandID = "live/ada@shop.example", "live/ada@shop.example", "another"
	first.At, second.At = now, now
	receipt := func(cmd schemas.Command, o sinks.Outcome) *schemas.Delivery {
		return &schemas.Delivery{
			CommandID: cmd.CommandID, Kind: cmd.Kind, ContactKey: cmd.ContactKey, Outcome: schemas.OutcomeDelivered, Requests: o.Exchanges,
		}
	}
	t.Run("by its id", func(t *testing.T) {
		s, w := openAt(t, twin.Options{}, clock)
		told := receipt(first, write(t, w, first))
		if last := told.Requests[len(told.Requests)-1]; strings.Contains(last.Response, "ada") || !strings.Contains(last.Response, `"id":`) {
			t.Errorf("the receipt has %s, want the start's id without the contact", last.Response)
		}
		_, next := reach(t, s, clock)
		next.(sinks.Recaller).Recall([]*schemas.Delivery{told})
		if o := next.Reconcile(t.Context(), second); o.Kind != sinks.NotHappened {
			t.Errorf("got %d, want that it did not happen: %v", o.Kind, o.Err)
		}
		write(t, w, second)
		if o := next.Reconcile(t.Context(), second); o.Kind != sinks.Delivered {
			t.Errorf("got %d, want delivered: %v", o.Kind, o.Err)
		}
	})
	t.Run("without its id", func(t *testing.T) {
		s, w := openAt(t, twin.Options{}, clock)
		write(t, w, first)
		_, other := reach(t, s, clock)
		told := receipt(first, other.Reconcile(t.Context(), first))
		_, next := reach(t, s, clock)
		next.(sinks.Recaller).Recall([]*schemas.Delivery{told})
		if o := next.Reconcile(t.Context(), second); o.Kind != sinks.Unknown || o.Remedy == "" {
			t.Errorf("got %d, want unknown: %v", o.Kind, o.Err)
		}
		if o := other.Reconcile(t.Context(), second); o.Kind != sinks.NotHappened {
			t.Errorf("the process that found it: got %d, want that it did not happen: %v", o.Kind, o.Err)
		}
	})
}

// lossy loses the answers of one path.
type lossy struct {
	path    string
	applied bool
}

// reachThrough is a writer whose way to the account loses answers.
func reachThrough(t *testing.T, s *twin.Server, now func() time.Time, l *lossy) sinks.Writer {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != l.path || r.Method != http.MethodPost {
			s.Handler().ServeHTTP(w, r)
			return
		}
		if l.applied {
			s.Handler().ServeHTTP(httptest.NewRecorder(), r)
		} else {
			_, _ = io.Copy(io.Discard, r.Body)
		}
		panic(http.ErrAbortHandler)
	}))
	t.Cleanup(srv.Close)
	return openedAt(t, srv.URL, now)
}

func TestOrdersAndSubscriptions(t *testing.T) {
	s, w := open(t, twin.Options{})
	write(t, w, order("PENDING"))
	refunded := order("REFUNDED")
	refunded.Effect.Arguments["refunded"], refunded.Effect.Arguments["time"] = "49.90", "2026-02-03T10:00:00Z"
	write(t, w, refunded)
	want := []twin.Order{{
		Shop: "paypal/main", ID: "5O1", Email: "ada@shop.example", Number: "1001", Status: "REFUNDED", Amount: 49.9, Currency: "eur",
		Created: time.Date(2026, 1, 31, 10, 0, 0, 0, time.UTC), Writes: 2, // made when it was first written
	}}
	if d := cmp.Diff(s.Orders(), want); d != "" {
		t.Errorf("orders, got - want:\n%s", d)
	}
	write(t, w, subscription("ACTIVE"))
	failed := subscription("ACTIVE")
	failed.Effect.Arguments["event_type"], failed.Test = "BILLING.SUBSCRIPTION.PAYMENT.FAILED", true
	write(t, w, failed)
	wantRecurring := []twin.RecurringPayment{{
		Shop: "paypal/main", ID: "I-1", Email: "ada@shop.example", Status: "PAYMENT_FAILED", Amount: 9, Currency: "eur", Silent: true, Writes: 2,
	}}
	if d := cmp.Diff(s.RecurringPayments(), wantRecurring); d != "" {
		t.Errorf("subscriptions, got - want:\n%s", d)
	}
	if o := w.Reconcile(t.Context(), refunded); o.Kind != sinks.NotHappened {
		t.Errorf("reconcile: got %d, want that it may be sent again", o.Kind)
	}
}

// Every status of ours has its word there, or none; what is no live event starts no automation.
func TestOrderStatuses(t *testing.T) {
	for status, want := range map[schemas.PaymentStatus]string{
		schemas.StatusUnknown: "", schemas.StatusDraft: "PENDING", schemas.StatusPending: "PENDING_PAYMENT", schemas.StatusApproved: "PENDING_PAYMENT",
		schemas.StatusFailed: "FAILED", schemas.StatusAuthorized: "WAITING", schemas.StatusPartiallyPaid: "WAITING", schemas.StatusPaid: "COMPLETED",
		schemas.StatusPartiallyRefunded: "COMPLETED", schemas.StatusDisputed: "COMPLETED", schemas.StatusExpired: "CANCELLED",
		schemas.StatusCancelled: "CANCELLED", schemas.StatusVoided: "CANCELLED", schemas.StatusRefunded: "REFUNDED", schemas.StatusChargedBack: "REFUNDED",
	} {
		s, w := open(t, twin.Options{})
		cmd := order(string(status))
		cmd.Origin = schemas.OriginBackfill
		write(t, w, cmd)
		if got := s.Orders()[0]; got.Status != want || !got.Historical {
			t.Errorf("%s: got %q, historical %v, want %q", status, got.Status, got.Historical, want)
		}
	}
}

// An order keeps the date of its first write while the account's copy is late, and its later writes cost one request.
func TestLaterWritesOfAnOrder(t *testing.T) {
	s, w := open(t, twin.Options{OrderCopyAfter: time.Hour})
	first := write(t, w, order("PENDING"))
	paid := order("PAID")
	paid.Effect.Arguments["time"] = "2026-02-03T10:00:00Z"
	if later := write(t, w, paid); len(later.Exchanges) != 1 || len(first.Exchanges) != 4 {
		t.Errorf("got %d requests first, for the shop, the order and its date, and %d later; want 4 and 1", len(first.Exchanges), len(later.Exchanges))
	}
	if got := s.Orders()[0]; got.Status != "COMPLETED" || !got.Created.Equal(time.Date(2026, 1, 31, 10, 0, 0, 0, time.UTC)) {
		t.Errorf("got %+v", got)
	}
}

func TestOrdersThatAreRefused(t *testing.T) {
	s, w := open(t, twin.Options{})
	for name, c := range map[string]struct {
		change func(*schemas.Command)
		cause  string
	}{
		"no amount":       {func(c *schemas.Command) { c.Effect.Arguments["amount"] = "" }, "no amount that activecampaign takes"},
		"no currency":     {func(c *schemas.Command) { c.Effect.Arguments["currency"] = "" }, "no amount that activecampaign takes"},
		"negative":        {func(c *schemas.Command) { c.Effect.Arguments["amount"] = "-1" }, "it is negative"},
		"no such address": {func(c *schemas.Command) { c.Contact.Email = "nobody" }, "Validation errors; order-storeOrderId-5O1: email is not valid"},
	} {
		t.Run(name, func(t *testing.T) {
			cmd := order("PAID")
			c.change(&cmd)
			refusedWith(t, w, cmd, c.cause)
		})
	}
	if got := s.Orders(); len(got) > 0 {
		t.Errorf("got %+v", got)
	}
}

// What a customer writes stays one value, whatever it holds.
func TestOrderTextsAreEscaped(t *testing.T) {
	s, w := open(t, twin.Options{})
	cmd := order("PAID")
	cmd.Effect.Name = `5"O}]) { x } \ 𝄞` + "\n\u2028#"
	cmd.Contact.FirstName = `"}, finalAmount: 0, x: "`
	write(t, w, cmd)
	if got := s.Orders(); len(got) != 1 || got[0].ID != cmd.Effect.Name || got[0].Amount != 49.9 {
		t.Errorf("got %+v", got)
	}
}

// Two processes that make a shop's connection at once, or a cut answer, end with one.
func TestConnectionIsMadeOnce(t *testing.T) {
	s, w := open(t, twin.Options{})
	_, other := reopen(t, s)
	write(t, w, order("PAID"))
	write(t, other, order("REFUNDED"))
	if got := s.Orders(); len(got) != 1 || got[0].Writes != 2 {
		t.Errorf("got %+v, want one order of one shop", got)
	}
}

// The effects under the weather of the real thing: whatever is cut, refused or slowed, a repeatable effect ends well.
func TestRepeatableEffectsInBadWeather(t *testing.T) {
	s, w := open(t, twin.Options{Seed: 11, Faults: twin.Faults{ServerError: 0.15, Cut: 0.15, HTML: 0.1}})
	for _, cmd := range []schemas.Command{
		effect(schemas.EffectAddToList, "Customers"), effect(schemas.EffectMoveToList, "Newsletter", "from", "Customers"), order("PAID"), subscription("ACTIVE"),
	} {
		done := false
		for range 200 {
			o := w.Write(t.Context(), []schemas.Command{cmd})[0]
			if o.Kind == sinks.Delivered {
				done = true
				break
			}
			if o.Kind != sinks.Retryable {
				t.Fatalf("%s: got %d: %v", cmd.Effect.Type, o.Kind, o.Err)
			}
		}
		if !done {
			t.Errorf("%s did not end", cmd.Effect.Type)
		}
	}
	if d := cmp.Diff(listsOf(s, "ada@shop.example"), map[string]int{"Customers": 2, "Newsletter": 1}); d != "" {
		t.Errorf("lists, got - want:\n%s", d)
	}
	if len(s.Orders()) != 1 || len(s.RecurringPayments()) != 1 {
		t.Errorf("got %v and %v", s.Orders(), s.RecurringPayments())
	}
}

// An empty value clears a field, and leaves the others.
func TestEmptyValueClearsAField(t *testing.T) {
	s, w := open(t, twin.Options{})
	write(t, w, ada())
	cmd := ada()
	cmd.Contact.Fields = map[string]string{"ORDER_AMOUNT": "", "Interests": ""}
	write(t, w, cmd)
	got := s.Contacts()[0].Fields
	if _, there := got["ORDER_AMOUNT"]; there || got["INTERESTS"] != "" || got["ORDER_ID"] != "5O1" {
		t.Errorf("got %v", got)
	}
}
