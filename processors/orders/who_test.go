package orders_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/tillstream/tillstream/processors"
	"github.com/tillstream/tillstream/processors/orders"
	"github.com/tillstream/tillstream/schemas"
)

func custom(id string) mod { return func(e *schemas.OrderEvent) { e.CustomID = id } }

const made = "eb15c2a1771a41b0a2a43e3016d80b26@dcc.paypal.com"

func TestWhoTheCustomerIs(t *testing.T) {
	from := func(p schemas.Payer, mods ...mod) []any { return []any{order(paid, 0, append(mods, payer(&p))...)} }
	customers := orders.Options{CustomIDIsCustomer: true}
	for name, c := range map[string]struct {
		opt   orders.Options
		story []any
		key   string // of the last transition's contact
		email string // as known to the order
	}{
		"an address":                             {orders.Options{}, from(schemas.Payer{Email: "Ana@Example.com", PayerID: "P1"}), "sandbox/ana@example.com", "Ana@Example.com"},
		"PayPal's made-up address is none":       {orders.Options{}, from(schemas.Payer{Email: made, PayerID: "P1"}), "sandbox/payer:P1", ""},
		"in any case, with blanks":               {orders.Options{}, from(schemas.Payer{Email: " X@DCC.PayPal.COM. ", PayerID: "P1"}), "sandbox/payer:P1", ""},
		"and no payer id either: nobody":         {orders.Options{}, from(schemas.Payer{Email: made}), "", ""},
		"it never hides a real one":              {orders.Options{}, []any{order(approved, 0), order(paid, 1, payer(&schemas.Payer{Email: made}))}, "sandbox/ana@example.com", "Ana@Example.com"},
		"a relay that reaches the customer":      {orders.Options{}, from(schemas.Payer{Email: "x1@privaterelay.appleid.com"}), "sandbox/x1@privaterelay.appleid.com", "x1@privaterelay.appleid.com"},
		"a domain of one's own list, and below":  {orders.Options{AliasDomains: []string{" @Relay.example "}}, from(schemas.Payer{Email: "a@eu.relay.example", PayerID: "P1"}), "sandbox/payer:P1", ""},
		"one's own list replaces the default":    {orders.Options{AliasDomains: []string{"relay.example"}}, from(schemas.Payer{Email: made}), "sandbox/" + made, made},
		"a domain that only ends alike":          {orders.Options{AliasDomains: []string{"relay.example"}}, from(schemas.Payer{Email: "a@myrelay.example"}), "sandbox/a@myrelay.example", "a@myrelay.example"},
		"no alias domains at all":                {orders.Options{AliasDomains: []string{}}, from(schemas.Payer{Email: made}), "sandbox/" + made, made},
		"a custom id says nothing by default":    {orders.Options{}, from(schemas.Payer{PayerID: "P1"}, custom("c42")), "sandbox/payer:P1", ""},
		"the shop's customer before the payer":   {customers, from(schemas.Payer{PayerID: "P1"}, custom(" c42 ")), "sandbox/custom:c42", ""},
		"the address before the shop's customer": {customers, from(schemas.Payer{Email: "ana@example.com"}, custom("c42")), "sandbox/ana@example.com", "ana@example.com"},
		"the customer without any payer":         {customers, []any{order(paid, 0, payer(nil), custom("c42"))}, "sandbox/custom:c42", ""},
		"the newest custom id, whenever it came": {customers, []any{order(paid, 9, payer(nil), custom("c2")), order(approved, 1, payer(nil), custom("c1"))}, "sandbox/custom:c2", ""},
		"a custom id too long for a name":        {customers, from(schemas.Payer{PayerID: "P1"}, custom(strings.Repeat("x", 256))), "sandbox/payer:P1", ""},
	} {
		t.Run(name, func(t *testing.T) {
			all := tell(t, c.opt, c.story...).Transitions()
			last := all[len(all)-1]
			email := ""
			if last.Payer != nil {
				email = last.Payer.Email
			}
			if last.ContactKey != c.key || email != c.email {
				t.Errorf("contact %q with address %q, want %q with %q", last.ContactKey, email, c.key, c.email)
			}
			if e := c.story[len(c.story)-1].(*schemas.OrderEvent); e.Payer != nil && last.Event.Payer.Email != e.Payer.Email {
				t.Errorf("the event shows %q, want what the provider wrote, %q", last.Event.Payer.Email, e.Payer.Email)
			}
		})
	}
}

// What waited for a contact goes out under the shop's customer, and each transition carries that name.
func TestCustomIDOfTheOrderIsThatOfItsEvents(t *testing.T) {
	r := tell(t, orders.Options{CustomIDIsCustomer: true}, capture(paid, 1), order(approved, 0, payer(nil), custom("c42")), refund("R1", "1", refunded, 2))
	want := []string{"sandbox/custom:c42 1 CHANGED", "sandbox/custom:c42 2 LATE", "sandbox/custom:c42 3 CHANGED"}
	if diff := cmp.Diff(want, inbox(r)); diff != "" {
		t.Errorf("automation.inbox (-want +got):\n%s", diff)
	}
	for _, o := range r.Outputs() {
		if tr, ok := o.Record.(*schemas.Transition); ok && o.Topic == schemas.TopicAutomationInbox && tr.Event.CustomID != "c42" {
			t.Errorf("transition %d says custom id %q, want c42", tr.Number, tr.Event.CustomID)
		}
	}
}

// Whatever the order of arrival, no address of an alias domain becomes a contact, and the customer is the same.
func TestNoAliasDomainBecomesAContact(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var events []*schemas.OrderEvent
		for i := range rapid.IntRange(1, 6).Draw(t, "events") {
			p := &schemas.Payer{
				Email:   rapid.SampledFrom([]string{"", "ana@example.com", "bo@example.com", made, "x@DCC.paypal.com", "y@eu.dcc.paypal.com"}).Draw(t, "email"),
				PayerID: rapid.SampledFrom([]string{"", "P1", "P2"}).Draw(t, "payer id"),
			}
			events = append(events, order(paid, i, payer(p), custom(rapid.SampledFrom([]string{"", "c1", "c2"}).Draw(t, "custom"))))
		}
		end := func(list []*schemas.OrderEvent) (key string) {
			st := orders.New(orders.Options{CustomIDIsCustomer: true})
			var s orders.State
			for _, e := range list {
				next, out, err := st.Apply(s, processors.Input{At: noon, Topic: schemas.TopicPayPalEvents, Key: e.Key(), Record: e})
				if err != nil {
					t.Fatal(err)
				}
				for _, o := range out {
					tr, ok := o.Record.(*schemas.Transition)
					if ok && (strings.Contains(strings.ToLower(o.Key), "paypal.com") || tr.Payer != nil && strings.Contains(strings.ToLower(tr.Payer.Email), "paypal.com")) {
						t.Fatalf("a made-up address became a contact: %s, %+v", o.Key, tr.Payer)
					}
					if ok {
						key = tr.ContactKey
					}
				}
				s = next
			}
			return key
		}
		in, other := end(events), end(rapid.Permutation(events).Draw(t, "arrival"))
		if in != other {
			t.Fatalf("the contact is %q, or %q in another order of arrival", in, other)
		}
	})
}
