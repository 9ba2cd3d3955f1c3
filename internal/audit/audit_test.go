package audit

import (
	"fmt"
	"strings"
	"testing"
)

func event(id, typ, resource string) []byte {
	return []byte(fmt.Sprintf(`{"id":%q,"event_type":%q,"create_time":"2026-01-01T10:00:00Z","resource":%s}`, id, typ, resource))
}

// agreed is a world in which nothing was lost and nothing doubled: one order approved, captured and refunded, sent
// with one duplicate, and one body that nobody understands.
func agreed() (Outside, *Inside) {
	approved := event("E1", "CHECKOUT.ORDER.APPROVED", `{"id":"O1","status":"APPROVED","update_time":"2026-01-01T10:00:00Z","payer":{"email_address":"Ann@example.com"}}`)
	captured := event("E2", "PAYMENT.CAPTURE.COMPLETED", `{"id":"C1","status":"COMPLETED","update_time":"2026-01-01T10:01:00Z","amount":{"value":"10.00","currency_code":"EUR"},"supplementary_data":{"related_ids":{"order_id":"O1"}}}`)
	refunded := event("E3", "PAYMENT.CAPTURE.REFUNDED", `{"id":"R1","status":"COMPLETED","update_time":"2026-01-02T10:00:00Z","amount":{"value":"10.00","currency_code":"EUR"},"links":[{"rel":"up","href":"https://api.paypal.com/v2/payments/captures/C1"}]}`)
	odd := event("E4", "PAYMENT.CAPTURE.COMPLETED", `{"id":"C2","status":"COMPLETED","amount":{"value":"ten","currency_code":"EUR"}}`)
	out := Outside{
		Sent: []Sent{
			{"eu", "E1", "CHECKOUT.ORDER.APPROVED", approved, 2},
			{"eu", "E2", "PAYMENT.CAPTURE.COMPLETED", captured, 1},
			{"eu", "E3", "PAYMENT.CAPTURE.REFUNDED", refunded, 1},
			{"eu", "E4", "PAYMENT.CAPTURE.COMPLETED", odd, 1},
		},
		Contacts: []CRMContact{{Email: "ann@example.com", First: "Ann", Fields: map[string]string{"DAY": "2026-01-01T00:00:00+00:00"}, Tags: []string{"t"}}},
		Tracked:  []Tracked{{Email: "ann@example.com", Name: "approved", Data: "id=222222222222 type=x"}},
	}
	in := &Inside{
		Desired:         map[string]DesiredContact{"ann@example.com": {First: "Ann", Fields: map[string]string{"DAY": "2026-01-01"}, Tags: []string{"t"}}},
		Commands:        []InsideCommand{{ID: "1111111111111111", Kind: "CONTACT"}, {ID: "2222222222222222", Kind: "EFFECT", Type: "TRACK_EVENT"}},
		FinalDeliveries: map[string]int{"1111111111111111": 1, "2222222222222222": 1},
		Uncertain:       map[string]bool{}, Rejected: map[string]bool{},
		Tables: []Table{{"events", 5, 5, 5}},
	}
	for _, b := range [][]byte{approved, approved, captured, refunded, odd} {
		in.Events = append(in.Events, InsideEvent{"eu", "", hash(b), "eu/" + hash(b)})
	}
	end := func(n int64, disposition, to, id string, b []byte) {
		in.Transitions = append(in.Transitions, InsideTransition{RootKey: "sandbox/eu/O1", Number: n, Disposition: disposition, To: to, EventID: id, Connection: "eu", BodyHash: hash(b), DeliveryKey: "eu/" + hash(b)})
	}
	end(1, "CHANGED", "APPROVED", "E1", approved)
	end(2, "DUPLICATE", "APPROVED", "E1", approved)
	end(3, "CHANGED", "PAID", "E2", captured)
	end(4, "CHANGED", "REFUNDED", "E3", refunded)
	out.Orders = []ShopOrder{{"sandbox/shop/7", "PARTIALLY_REFUNDED", "4.00", "Ann@example.com"}}
	in.Transitions = append(in.Transitions, InsideTransition{RootKey: "sandbox/shop/7", Number: 1, Disposition: "CHANGED", To: "PARTIALLY_REFUNDED", EventID: "S1", Connection: "shop", DeliveryKey: "shop/x", Refunded: "4"})
	in.Events = append(in.Events, InsideEvent{"shop", "S1", "x", "shop/x"})
	in.DeadLetters = []InsideDeadLetter{{"orders", "UNPARSEABLE", "E4", "eu/" + hash(odd)}}
	return out, in
}

func TestAnHonestWorldAgrees(t *testing.T) {
	out, in := agreed()
	r := Compare(out, in)
	if r.Lost+r.Doubled > 0 {
		t.Fatalf("got %d lost, %d doubled:\n%s", r.Lost, r.Doubled, strings.Join(r.Findings, "\n"))
	}
	if ends := r.Applied + r.Duplicates + r.Ignored + r.DeadLetters; r.Received != 5 || r.Published != 6 || ends != 6 || r.Transitions != 4 || r.Contacts != 1 {
		t.Errorf("counts: got %+v", r.Counts)
	}
}

func TestEveryLossAndRepetitionIsFound(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(*Outside, *Inside)
		want  string
	}{
		"an acknowledged delivery is not on Kafka": {func(_ *Outside, in *Inside) { in.Events = in.Events[1:] }, "lost: 1 of 2 acknowledged deliveries"},
		"an event without an end":                  {func(_ *Outside, in *Inside) { in.DeadLetters = nil }, "lost: event eu/"},
		"an event with two ends":                   {func(_ *Outside, in *Inside) { in.DeadLetters = append(in.DeadLetters, in.DeadLetters[0]) }, "doubled: event eu/"},
		"an event applied twice":                   {func(_ *Outside, in *Inside) { in.Transitions[1].Disposition = "RECORDED" }, "doubled: event eu/E1 was applied 2 times"},
		"a transition twice":                       {func(_ *Outside, in *Inside) { in.Transitions[3].Number = 3 }, "doubled: transition sandbox/eu/O1 #3"},
		"an order in the wrong status":             {func(_ *Outside, in *Inside) { in.Transitions[3].To = "PAID" }, `lost: order sandbox/eu/O1: status "PAID", want "REFUNDED"`},
		"a shop's order in the wrong status":       {func(_ *Outside, in *Inside) { in.Transitions[4].To = "PAID" }, `lost: order sandbox/shop/7: status "PAID"`},
		"a shop's refund in part":                  {func(_ *Outside, in *Inside) { in.Transitions[4].Refunded = "3" }, `lost: order sandbox/shop/7: refunded "3", want "4.00"`},
		"a shop's customer is not at the CRM":      {func(out *Outside, _ *Inside) { out.Orders[0].Email = "zoe@example.com" }, "lost: contact z***e@example.com"},
		"a command without an end":                 {func(_ *Outside, in *Inside) { delete(in.FinalDeliveries, "1111111111111111") }, "lost: command 1111"},
		"a command with two ends":                  {func(_ *Outside, in *Inside) { in.FinalDeliveries["1111111111111111"] = 2 }, "doubled: command 1111"},
		"a contact that is not at the CRM":         {func(out *Outside, in *Inside) { out.Contacts = nil; in.Desired = nil }, "lost: contact a***n@example.com is not at the CRM"},
		"a contact twice at the CRM":               {func(out *Outside, _ *Inside) { out.Contacts = append(out.Contacts, out.Contacts[0]) }, "doubled: contact"},
		"a contact that nobody sent": {func(out *Outside, _ *Inside) {
			out.Contacts = append(out.Contacts, CRMContact{Email: "bob@example.com"})
		}, "doubled: contact"},
		"a field of an older version":               {func(out *Outside, _ *Inside) { out.Contacts[0].Fields["DAY"] = "2025-12-31" }, "field DAY"},
		"a tag that is missing":                     {func(out *Outside, _ *Inside) { out.Contacts[0].Tags = nil }, "tag t is missing"},
		"an effect that did not happen":             {func(out *Outside, _ *Inside) { out.Tracked = nil }, "lost: effect 2222"},
		"an effect that happened twice":             {func(out *Outside, _ *Inside) { out.Tracked = append(out.Tracked, out.Tracked[0]) }, "doubled: effect 2222"},
		"an event at the CRM that nobody asked for": {func(out *Outside, _ *Inside) { out.Tracked[0].Data = "hello" }, "that no effect asked for"},
		"a row twice":                               {func(_ *Outside, in *Inside) { in.Tables[0].Rows++ }, "doubled: 1 rows of table events"},
		"a record without a row":                    {func(_ *Outside, in *Inside) { in.Tables[0].Records++ }, "lost: 1 records of table events"},
	} {
		t.Run(name, func(t *testing.T) {
			out, in := agreed()
			c.spoil(&out, in)
			r := Compare(out, in)
			if got := strings.Join(r.Findings, "\n"); r.Lost+r.Doubled == 0 || !strings.Contains(got, c.want) {
				t.Errorf("got %d lost, %d doubled:\n%s\nwant %q", r.Lost, r.Doubled, got, c.want)
			}
		})
	}
}

func TestAnUncertainEffectIsNeitherLostNorDoubled(t *testing.T) {
	out, in := agreed()
	out.Tracked, in.Uncertain["2222222222222222"] = nil, true
	if r := Compare(out, in); r.Lost+r.Doubled > 0 || r.Uncertain != 1 {
		t.Errorf("got %+v with %v", r.Counts, r.Findings)
	}
}

// The same facts add up to the same status whatever order they are folded in.
func TestStatusFollowsTheNewestStatement(t *testing.T) {
	won := event("D2", "CUSTOMER.DISPUTE.RESOLVED", `{"dispute_id":"P1","status":"RESOLVED","update_time":"2026-01-05T10:00:00Z","dispute_outcome":{"outcome_code":"RESOLVED_SELLER_FAVOUR"},"disputed_transactions":[{"seller_transaction_id":"C1"}]}`)
	opened := event("D9", "CUSTOMER.DISPUTE.CREATED", `{"dispute_id":"P1","status":"UNDER_REVIEW","update_time":"2026-01-04T10:00:00Z","disputed_transactions":[{"seller_transaction_id":"C1"}]}`)
	captured := event("E2", "PAYMENT.CAPTURE.COMPLETED", `{"id":"C1","status":"COMPLETED","update_time":"2026-01-01T10:01:00Z","amount":{"value":"10.00"},"supplementary_data":{"related_ids":{"order_id":"O1"}}}`)
	for name, c := range map[string]struct {
		sent []Sent
		want string
	}{
		"a won dispute leaves the order paid": {[]Sent{{"eu", "E2", "PAYMENT.CAPTURE.COMPLETED", captured, 1}, {"eu", "D2", "CUSTOMER.DISPUTE.RESOLVED", won, 1}, {"eu", "D9", "CUSTOMER.DISPUTE.CREATED", opened, 1}}, "PAID"},
		"an open dispute":                     {[]Sent{{"eu", "D9", "CUSTOMER.DISPUTE.CREATED", opened, 1}, {"eu", "E2", "PAYMENT.CAPTURE.COMPLETED", captured, 1}}, "DISPUTED"},
	} {
		roots, _ := fold(c.sent, func(string, string) string { return "" })
		if got := roots["sandbox/eu/O1"].status(); got != c.want {
			t.Errorf("%s: got %s, want %s", name, got, c.want)
		}
	}
}
