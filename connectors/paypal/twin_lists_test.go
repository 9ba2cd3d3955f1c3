package paypal_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tillstream/tillstream/connectors"
	"github.com/tillstream/tillstream/connectors/paypal"
	"github.com/tillstream/tillstream/schemas"
	twin "github.com/tillstream/tillstream/simulators/paypal"
)

// step is the i-th event of a shop's day: an order, its capture, a subscription, its payment, a refund, and again.
func step(i int, at time.Time) string {
	stamp := at.UTC().Format(time.RFC3339)
	n := i / 5
	eur := `{"currency_code":"EUR","value":"20.00"}`
	times := fmt.Sprintf(`"create_time":%q,"update_time":%q`, stamp, stamp)
	var typ, kind, resource string
	switch i % 5 {
	case 0:
		typ, kind = "CHECKOUT.ORDER.APPROVED", "checkout-order"
		resource = fmt.Sprintf(`{"id":"O%d","status":"APPROVED","intent":"CAPTURE","payer":{"email_address":"b%d@example.com","payer_id":"B%d"},"purchase_units":[{"amount":%s}],%s}`, n, n, n, eur, times)
	case 1:
		typ, kind = "PAYMENT.CAPTURE.COMPLETED", "capture"
		resource = fmt.Sprintf(`{"id":"C%d","status":"COMPLETED","amount":%s,"final_capture":true,"supplementary_data":{"related_ids":{"order_id":"O%d"}},%s,
			"links":[{"rel":"self","href":"https://api.paypal.com/v2/payments/captures/C%d"},{"rel":"up","href":"https://api.paypal.com/v2/checkout/orders/O%d"}]}`, n, eur, n, times, n, n)
	case 2:
		typ, kind = "BILLING.SUBSCRIPTION.ACTIVATED", "subscription"
		resource = fmt.Sprintf(`{"id":"I-%d","plan_id":"P-1","status":"ACTIVE","status_update_time":%q,"subscriber":{"email_address":"s%d@example.com"},%s}`, n, stamp, n, times)
	case 3:
		typ, kind = "PAYMENT.SALE.COMPLETED", "sale"
		resource = fmt.Sprintf(`{"id":"S%d","state":"completed","amount":{"total":"5.00","currency":"EUR"},"billing_agreement_id":"I-%d","payment_mode":"INSTANT_TRANSFER","parent_payment":"PAY-%d",%s}`, n, n, n, times)
	default:
		typ, kind = "PAYMENT.CAPTURE.REFUNDED", "refund"
		resource = fmt.Sprintf(`{"id":"R%d","status":"COMPLETED","amount":%s,"seller_payable_breakdown":{"total_refunded_amount":%s},%s,"links":[{"rel":"up","href":"https://api.paypal.com/v2/payments/captures/C%d"}]}`, n, eur, eur, times, n)
	}
	return fmt.Sprintf(`{"id":"WH-%d","event_type":%q,"resource_type":%q,"create_time":%q,"resource":%s,"links":[]}`, i, typ, kind, stamp, resource)
}

// pages reads a whole span of a feed.
func pages(ctx context.Context, t *testing.T, p connectors.Poller, q connectors.Query) []connectors.Found {
	t.Helper()
	var out []connectors.Found
	for {
		page, err := p.Poll(ctx, q)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, page.Found...)
		if q.Cursor = page.Next; q.Cursor == "" {
			return out
		}
	}
}

// TestWithheld: of 200 events 50 are sent to nobody. The list of events shows each of them with its cause and finds nothing
// else missing, and the account's lists find the same subscriptions, payments and refunds by their status.
func TestWithheld(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 120*time.Second)
	defer cancel()
	r := newRig(ctx, t, twin.Options{RetrySchedule: soon(20, time.Millisecond), Faults: twin.Faults{DuplicateRate: .2}}, paypal.Config{})
	r.register(ctx, t)
	const events = 200
	begin := time.Now().Add(-time.Hour).Truncate(time.Second)
	withheld := map[string]bool{} // by entity
	for i := range events {
		body := step(i, begin.Add(time.Duration(i)*10*time.Second))
		if i%4 == 3 {
			r.sim.Withhold(1)
			withheld[fmt.Sprint("WH-", i)] = true
		}
		if err := r.sim.Emit(ctx, "eu", twin.Event{Body: []byte(body)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.sim.Wait(ctx); err != nil {
		t.Fatal(err)
	}
	if len(withheld) != 50 || len(r.store.events) != events-len(withheld) {
		t.Fatalf("got %d events, %d withheld, want 150 and 50", len(r.store.events), len(withheld))
	}
	ids, states := map[string]bool{}, map[string]bool{}
	for _, e := range r.store.events {
		ids[e.EventID] = true
		states[e.EntityID+" "+string(e.Status)] = true
	}
	missing := map[string][]string{} // by feed
	poller := r.src.(connectors.Poller)
	for _, f := range poller.Feeds() {
		for _, found := range pages(ctx, t, poller, connectors.Query{Feed: f.Name, From: begin, To: time.Now()}) {
			list, err := paypal.Connector.Normalize(found.Delivery)
			if err != nil {
				t.Fatalf("%s: %s: %v", f.Name, found.Body, err)
			}
			e := list[0]
			if ids[e.EventID] || f.Match == connectors.MatchStatus && states[e.EntityID+" "+string(e.Status)] {
				continue
			}
			missing[f.Name] = append(missing[f.Name], e.EntityID)
			if f.Name == "events" && (!withheld[e.EventID] || found.Cause != "PayPal names no delivery of it to this address" || e.Origin != schemas.OriginPoll) {
				t.Errorf("%s: found with cause %q", e.EventID, found.Cause)
			}
		}
		slices.Sort(missing[f.Name])
	}
	want := map[string][]string{}
	for i := range events {
		if i%4 != 3 {
			continue
		}
		entity := fmt.Sprint([]string{"O", "C", "I-", "S", "R"}[i%5], i/5)
		want["events"] = append(want["events"], entity)
		switch i % 5 {
		case 2:
			want["subscriptions"] = append(want["subscriptions"], entity)
		case 1, 3, 4:
			want["transactions"] = append(want["transactions"], entity)
		}
	}
	for name := range want {
		slices.Sort(want[name])
	}
	if diff := cmp.Diff(missing, want); diff != "" {
		t.Errorf("found by feed -got +want:\n%s", diff)
	}
}

// TestFetchAtTheTwin: what an event does not say is read where PayPal has it.
func TestFetchAtTheTwin(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	r := newRig(ctx, t, twin.Options{}, paypal.Config{})
	for i := range 5 {
		if err := r.sim.Emit(ctx, "eu", twin.Event{Body: []byte(step(i, time.Now()))}); err != nil {
			t.Fatal(err)
		}
	}
	for i, want := range []string{"O0", "O0", "I-0", "I-0", "O0"} {
		list, err := paypal.Connector.Normalize(connectors.Delivery{Connection: "shop", Environment: schemas.Sandbox, Body: []byte(step(i, time.Now())), Origin: schemas.OriginWebhook})
		if err != nil {
			t.Fatal(err)
		}
		d, err := r.src.(connectors.Fetcher).Fetch(ctx, &list[0])
		if err != nil {
			t.Fatal(err)
		}
		read, err := paypal.Connector.Normalize(d)
		if err != nil || read[0].EntityID != want || read[0].Payer == nil || read[0].Payer.Email == "" {
			t.Errorf("%s: got %+v %v, want %s with its customer", list[0].EventType, read, err, want)
		}
	}
}

// TestMissingPermissions: what the app may not do is told by Check, left out of the feeds, and said again by Watch.
func TestMissingPermissions(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	all := twin.AllScopes()
	for _, scope := range all[:5] {
		t.Run(scope[strings.LastIndexByte(scope, '/')+1:], func(t *testing.T) {
			granted := slices.DeleteFunc(slices.Clone(all), func(s string) bool { return s == scope })
			r := newRig(ctx, t, twin.Options{Accounts: []twin.Account{{Name: "eu", ClientID: "id", ClientSecret: "secret", MerchantID: "M", Scopes: granted}}}, paypal.Config{Verification: "either"})
			said := false
			for _, f := range r.src.Check(ctx) {
				said = said || f.Level != connectors.OK && strings.Contains(f.Message, scope) && f.Hint != ""
			}
			if !said {
				t.Errorf("check says nothing about %s", scope)
			}
			poller := r.src.(connectors.Poller)
			for _, f := range poller.Feeds() {
				pages(ctx, t, poller, connectors.Query{Feed: f.Name, From: time.Now().Add(-time.Hour), To: time.Now()})
			}
			unread := map[string]string{all[0]: "events", all[3]: "subscriptions", all[4]: "transactions"}[scope]
			if has := slices.ContainsFunc(poller.Feeds(), func(f connectors.Feed) bool { return f.Name == unread }); has {
				t.Errorf("got feed %s without its permission", unread)
			}
			watched := slices.ContainsFunc(r.src.(connectors.Watcher).Watch(), func(f connectors.Finding) bool { return strings.Contains(f.Message, scope) })
			if want := scope != all[2]; watched != want {
				t.Errorf("watch says it: %t, want %t", watched, want)
			}
		})
	}
}

// TestConfirmAtTheTwin: a large event that is sent before it can be read is refused until it can, and then accepted.
func TestConfirmAtTheTwin(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	r := newRig(ctx, t, twin.Options{
		RetrySchedule: soon(25, 40*time.Millisecond), Faults: twin.Faults{EventLag: 100 * time.Millisecond},
	}, paypal.Config{ConfirmAbove: map[string]string{"EUR": "19.99"}})
	r.register(ctx, t)
	for _, i := range []int{0, 3} {
		if err := r.sim.Emit(ctx, "eu", twin.Event{Body: []byte(step(i, time.Now()))}); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.sim.Wait(ctx); err != nil {
		t.Fatal(err)
	}
	for _, s := range r.sim.Sent() {
		big := s.EventID == "WH-0"
		if s.FirstAccepted.IsZero() || big != (s.Attempts > 1) {
			t.Errorf("%s: got %d attempts, accepted %v, want the large one refused at first", s.EventType, s.Attempts, s.AcceptedTimes)
		}
	}
}

// TestVerifiedByTheTwin: PayPal's own verification accepts what it signed, over the bytes that were received.
func TestVerifiedByTheTwin(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	r := newRig(ctx, t, twin.Options{RetrySchedule: soon(3, time.Millisecond)}, paypal.Config{Verification: "paypal"})
	registration, err := r.src.(connectors.Registrar).Register(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 5 {
		if err := r.sim.Emit(ctx, "eu", twin.Event{Body: []byte(step(i, time.Now()))}); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.sim.Wait(ctx); err != nil || len(r.store.events) != 5 {
		t.Errorf("got %d events %v, want 5", len(r.store.events), err)
	}
	body := []byte(step(5, time.Now()))
	h, err := r.sim.Sign(schemas.Sandbox, twin.Good, registration.ID, body)
	if err != nil {
		t.Fatal(err)
	}
	for want, sent := range map[connectors.VerdictKind][]byte{connectors.Genuine: body, connectors.Forged: []byte(strings.Replace(string(body), "20.00", "20.01", 1))} {
		if _, v := r.src.(connectors.Webhooker).Verify(ctx, &http.Request{Method: http.MethodPost, Header: h}, sent); v.Kind != want {
			t.Errorf("got %+v, want %d", v, want)
		}
	}
}

// TestTwinSwitchesTypesOff: types that PayPal switched off come again after the next registration.
func TestTwinSwitchesTypesOff(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	r := newRig(ctx, t, twin.Options{RetrySchedule: soon(3, time.Millisecond)}, paypal.Config{})
	r.register(ctx, t)
	r.sim.DisableTypes("eu", "CHECKOUT.ORDER.APPROVED")
	registration, err := r.src.(connectors.Registrar).Register(ctx)
	if err != nil || registration.Changed != "disabled event types were switched on again: CHECKOUT.ORDER.APPROVED" || registration.Used != 1 || registration.Limit != 10 {
		t.Errorf("got %+v %v", registration, err)
	}
	if err := r.sim.Emit(ctx, "eu", twin.Event{Body: []byte(step(0, time.Now()))}); err != nil {
		t.Fatal(err)
	}
	if err := r.sim.Wait(ctx); err != nil || len(r.store.events) != 1 {
		t.Errorf("got %d events %v, want 1", len(r.store.events), err)
	}
}
