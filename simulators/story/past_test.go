package story

import (
	"bytes"
	"testing"
	"time"
)

func past(seed int64, events int) []Event {
	return New(Options{Seed: seed, Events: events, Accounts: []string{"shop-eu", "shop-us"}, Start: start, End: start.AddDate(1, 0, 0)}).Events()
}

func TestAPastIsAsLongAsAskedAndInOrder(t *testing.T) {
	events := past(1, 20_000)
	if n := len(events); n < 20_000 || n > 20_100 {
		t.Errorf("got %d events, want about 20000", n)
	}
	for i, e := range events {
		if e.Time.Before(start) || e.Time.After(start.AddDate(1, 0, 0)) || i > 0 && e.Time.Before(events[i-1].Time) {
			t.Fatalf("event %d at %v: outside of the span, or before %v", i, e.Time, events[max(0, i-1)].Time)
		}
	}
}

func TestTheSameSeedTellsTheSamePast(t *testing.T) {
	a, b, c := past(3, 2000), past(3, 2000), past(4, 2000)
	same := len(a) == len(b)
	for i := range a {
		same = same && bytes.Equal(a[i].Body, b[i].Body) && a[i].Time.Equal(b[i].Time)
	}
	if !same {
		t.Error("one seed told two pasts")
	}
	if bytes.Equal(a[0].Body, c[0].Body) {
		t.Error("two seeds began the same")
	}
}

// People buy more in the evening than in the night, more in December than in August, and subscriptions come to an end.
func TestAPastHasSeasonsAndChurn(t *testing.T) {
	hours, months, types := map[int]int{}, map[time.Month]int{}, map[string]int{}
	for _, e := range past(7, 40_000) {
		types[e.Type]++
		if e.Type == "CHECKOUT.ORDER.APPROVED" {
			hours[e.Time.Hour()]++
			months[e.Time.Month()]++
		}
	}
	if hours[19] < 3*hours[4] {
		t.Errorf("%d orders at seven in the evening, %d at four in the morning", hours[19], hours[4])
	}
	if float64(months[time.December]) < 1.5*float64(months[time.August]) {
		t.Errorf("%d orders in December, %d in August", months[time.December], months[time.August])
	}
	active, ended := types["BILLING.SUBSCRIPTION.ACTIVATED"], types["BILLING.SUBSCRIPTION.CANCELLED"]+types["BILLING.SUBSCRIPTION.EXPIRED"]
	if ended*10 < active || ended > active {
		t.Errorf("%d of %d subscriptions ended", ended, active)
	}
	if types["PAYMENT.SALE.COMPLETED"] < 3*active {
		t.Errorf("%d payments of %d subscriptions: they do not go on", types["PAYMENT.SALE.COMPLETED"], active)
	}
	for _, want := range []string{"BILLING.SUBSCRIPTION.PAYMENT.FAILED", "PAYMENT.CAPTURE.REFUNDED", "CUSTOMER.DISPUTE.CREATED", "PAYMENT.CAPTURE.DENIED"} {
		if types[want] == 0 {
			t.Errorf("no %s", want)
		}
	}
}
