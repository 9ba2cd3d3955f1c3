// Package tags says which tags an event puts on its contact.
package tags

import (
	"slices"
	"strings"
)

// DefaultPrefix is the tag that every synced contact gets, and the beginning of the second one.
const DefaultPrefix = "paypal-integration"

// The resources that have a rule of their own by default.
const (
	ResourceCheckout     = "checkout-order-approved"
	ResourceSubscription = "billing-subscription"
)

// Rule makes the tags of one resource: the prefix alone, and the prefix with a suffix.
type Rule struct {
	Resource string `yaml:"resource" json:"resource"`
	// Prefix defaults to DefaultPrefix.
	Prefix string `yaml:"prefix,omitempty" json:"prefix,omitempty"`
	// Suffix follows the prefix and a hyphen. Empty: the event type, as the provider writes it.
	Suffix string `yaml:"suffix,omitempty" json:"suffix,omitempty"`
}

// Defaults are the rules of the two PayPal resources.
func Defaults() []Rule {
	return []Rule{
		{Resource: ResourceCheckout, Prefix: DefaultPrefix},
		{Resource: ResourceSubscription, Prefix: DefaultPrefix, Suffix: "Billing_Subscription_Events"},
	}
}

// WithPrefix returns rules with another prefix; an empty one leaves them as they are.
func WithPrefix(rules []Rule, prefix string) []Rule {
	out := slices.Clone(rules)
	if prefix = strings.TrimSpace(prefix); prefix != "" {
		for i := range out {
			out[i].Prefix = prefix
		}
	}
	return out
}

// For lists the tags of an event, sorted. A resource without a rule has none.
func For(rules []Rule, resource, eventType string) []string {
	for _, r := range rules {
		if r.Resource != resource || resource == "" {
			continue
		}
		prefix := r.Prefix
		if prefix == "" {
			prefix = DefaultPrefix
		}
		suffix := r.Suffix
		if suffix == "" {
			suffix = eventType
		}
		if suffix == "" {
			return []string{prefix}
		}
		return []string{prefix, prefix + "-" + suffix}
	}
	return nil
}
