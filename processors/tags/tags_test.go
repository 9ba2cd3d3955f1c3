package tags_test

import (
	"slices"
	"testing"

	"github.com/tillstream/tillstream/processors/tags"
)

func TestFor(t *testing.T) {
	for name, c := range map[string]struct {
		rules           []tags.Rule
		resource, event string
		want            []string
	}{
		"checkout: the event's name": {
			tags.Defaults(), "checkout-order-approved", "CHECKOUT.ORDER.APPROVED",
			[]string{"paypal-integration", "paypal-integration-CHECKOUT.ORDER.APPROVED"},
		},
		"billing: fixed words": {
			tags.Defaults(), "billing-subscription", "PAYMENT.SALE.COMPLETED",
			[]string{"paypal-integration", "paypal-integration-Billing_Subscription_Events"},
		},
		"another prefix": {
			tags.WithPrefix(tags.Defaults(), " shop "), "billing-subscription", "X",
			[]string{"shop", "shop-Billing_Subscription_Events"},
		},
		"no prefix given":         {[]tags.Rule{{Resource: "r", Suffix: "s"}}, "r", "X", []string{"paypal-integration", "paypal-integration-s"}},
		"no event type":           {tags.Defaults(), "checkout-order-approved", "", []string{"paypal-integration"}},
		"a resource without rule": {tags.Defaults(), "other", "X", nil},
		"an event of no resource": {[]tags.Rule{{Suffix: "s"}}, "", "X", nil},
		"an empty prefix is none": {tags.WithPrefix(tags.Defaults(), " "), "checkout-order-approved", "X", []string{"paypal-integration", "paypal-integration-X"}},
		"the type is kept as it is": {
			tags.Defaults(), "checkout-order-approved", "CHECKOUT.PAYMENT-APPROVAL.REVERSED",
			[]string{"paypal-integration", "paypal-integration-CHECKOUT.PAYMENT-APPROVAL.REVERSED"},
		},
	} {
		if got := tags.For(c.rules, c.resource, c.event); !slices.Equal(got, c.want) {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
}

func TestWithPrefixLeavesItsArgumentAlone(t *testing.T) {
	rules := tags.Defaults()
	tags.WithPrefix(rules, "shop")
	if rules[0].Prefix != tags.DefaultPrefix {
		t.Errorf("prefix of the argument became %q", rules[0].Prefix)
	}
}
