package triggers_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/tillstream/tillstream/processors/mapping"
	"github.com/tillstream/tillstream/processors/triggers"
	"github.com/tillstream/tillstream/schemas"
)

func subscription(eventType string, d schemas.Disposition) *schemas.Transition {
	return &schemas.Transition{
		RootKind: schemas.KindSubscription, Disposition: d, From: schemas.StatusPending, To: schemas.StatusActive,
		Event: schemas.OrderEvent{Provider: "paypal", Kind: schemas.KindSubscription, EventType: eventType},
	}
}

func TestMatch(t *testing.T) {
	sale := subscription("PAYMENT.SALE.COMPLETED", schemas.Recorded)
	sale.Event.Kind = schemas.KindPayment
	shop := subscription("order.updated", schemas.Changed)
	shop.Event.Provider, shop.RootKind = "woocommerce", schemas.KindOrder
	activated := subscription("BILLING.SUBSCRIPTION.ACTIVATED", schemas.Changed)
	status := func(from, to schemas.PaymentStatus) triggers.When {
		w := triggers.When{ID: triggers.StatusChanged}
		if from != "" {
			w.From = []schemas.PaymentStatus{from}
		}
		if to != "" {
			w.To = []schemas.PaymentStatus{to}
		}
		return w
	}
	for name, c := range map[string]struct {
		when    triggers.When
		t       *schemas.Transition
		created bool
		want    bool
	}{
		"any event":                   {triggers.When{ID: triggers.EventReceived}, activated, true, true},
		"another provider's event":    {triggers.When{ID: triggers.EventReceived}, shop, false, false},
		"a late event":                {triggers.When{ID: triggers.EventReceived}, subscription("X", schemas.Late), false, false},
		"a repetition":                {triggers.When{ID: triggers.EventReceived}, subscription("X", schemas.Duplicate), false, false},
		"a chosen type":               {triggers.When{ID: triggers.EventReceived, Events: []string{"A", "PAYMENT.SALE.*"}}, sale, false, true},
		"a type not chosen":           {triggers.When{ID: triggers.EventReceived, Events: []string{"PAYMENT.SALE"}}, sale, false, false},
		"created":                     {triggers.When{ID: triggers.RecurringCreated}, activated, true, true},
		"not created again":           {triggers.When{ID: triggers.RecurringCreated}, activated, false, false},
		"created is no update":        {triggers.When{ID: triggers.RecurringUpdated}, activated, true, false},
		"a renewal is an update":      {triggers.When{ID: triggers.RecurringUpdated}, sale, false, true},
		"an order is no update":       {triggers.When{ID: triggers.RecurringUpdated}, shop, false, false},
		"the status changed":          {status("", ""), activated, false, true},
		"a shop's status changed":     {status("", ""), shop, false, true},
		"the status stayed":           {status("", ""), sale, false, false},
		"to the wanted status":        {status("", schemas.StatusActive), activated, false, true},
		"to another status":           {status("", schemas.StatusPaid), activated, false, false},
		"from another status":         {status(schemas.StatusPaid, ""), activated, false, false},
		"a trigger that nobody knows": {triggers.When{ID: "?"}, activated, false, false},
	} {
		if got := triggers.Match(c.when, c.t, c.created); got != c.want {
			t.Errorf("%s: got %v, want %v", name, got, c.want)
		}
	}
}

func TestCreates(t *testing.T) {
	for eventType, want := range map[string]bool{
		"BILLING.SUBSCRIPTION.CREATED": true, "BILLING.SUBSCRIPTION.ACTIVATED": true,
		"BILLING.SUBSCRIPTION.RE-ACTIVATED": false, "BILLING.SUBSCRIPTION.UPDATED": false,
	} {
		if got := triggers.Creates(subscription(eventType, schemas.Changed)); got != want {
			t.Errorf("%s: got %v, want %v", eventType, got, want)
		}
	}
}

func TestAnOrderIsPlacedOnce(t *testing.T) {
	placed := func(from schemas.PaymentStatus, kind schemas.EventKind, d schemas.Disposition) bool {
		return triggers.Match(triggers.When{ID: triggers.OrderPlaced}, &schemas.Transition{From: from, To: schemas.StatusPending, RootKind: kind, Disposition: d}, false)
	}
	if !placed("", schemas.KindOrder, schemas.Changed) {
		t.Error("the first event of an order places it")
	}
	if placed(schemas.StatusPending, schemas.KindOrder, schemas.Changed) || placed("", schemas.KindSubscription, schemas.Changed) || placed("", schemas.KindOrder, schemas.Duplicate) {
		t.Error("a later event, a subscription, or a duplicate places no order")
	}
}

// What the catalogue promises to a person must exist.
func TestCatalogueIsTrue(t *testing.T) {
	for _, tr := range triggers.Catalogue() {
		if tr.Title == "" || tr.Description == "" || !strings.Contains(tr.Sample, "=") || len(tr.Fields) == 0 {
			t.Errorf("%s is not described: %+v", tr.ID, tr)
		}
		for _, f := range tr.Fields {
			if !mapping.Known(f, mapping.Sources()) && !strings.HasPrefix(f, "contact.") {
				t.Errorf("%s promises %s, which is no source", tr.ID, f)
			}
		}
	}
	if got, all := triggers.EventIDs(), triggers.IDs(); !slices.Equal(got, all[:len(got)]) {
		t.Errorf("events %q are not the beginning of %q", got, all)
	}
}
