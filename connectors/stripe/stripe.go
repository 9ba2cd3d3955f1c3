// Package stripe connects one Stripe account: it verifies the events that Stripe sends, reads those that no webhook
// brought from its list of events, and turns both into records.
//
// source.go, poll.go and verify.go talk to the outside; normalize.go and what it uses is pure, so that stored bodies can
// be read again by a better version.
package stripe

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"regexp"
	"strings"

	"github.com/tillstream/tillstream/connectors"
	"github.com/tillstream/tillstream/schemas"
)

// Type is the connector's name in the configuration and in OrderEvent.Provider.
const Type = "stripe"

// Connector is Stripe.
var Connector = connectors.Connector{
	Type: Type, Title: "Stripe", Topic: schemas.TopicStoreOrders,
	Resources: resources, Fields: catalogue,
	Config:    func() any { return &Config{} },
	Normalize: normalizer{orderKeys: defaultOrderKeys}.normalize,
	Bind: func(cfg any) func(connectors.Delivery) ([]schemas.OrderEvent, error) {
		n := normalizer{orderKeys: defaultOrderKeys}
		if c, ok := cfg.(*Config); ok && len(c.OrderMetadata) > 0 {
			n.orderKeys = c.OrderMetadata
		}
		return n.normalize
	},
	Open: func(_ context.Context, cfg any, env connectors.Env) (connectors.Source, error) {
		c, ok := cfg.(*Config)
		if !ok {
			return nil, fmt.Errorf("stripe connection %s: configuration is a %T", env.Connection, cfg)
		}
		return open(c, env)
	},
}

// Config is one Stripe account in one mode: test mode (sandbox) or live mode.
type Config struct {
	// SigningSecrets are those of the webhook endpoint, whsec_...; while one is being rolled, the old and the new.
	SigningSecrets []schemas.Secret `yaml:"signing_secrets"`
	// APIKey is a secret or restricted key. Without one nothing is polled, and the endpoint is not looked after.
	APIKey schemas.Secret `yaml:"api_key"`
	// OrderMetadata are the metadata keys under which your shop keeps its order number, the first that is there wins;
	// default: order_id, order_number, orderId.
	OrderMetadata []string `yaml:"order_metadata"`
	// BaseURL of the API; default: Stripe's own.
	BaseURL string `yaml:"base_url"`
}

const (
	// orderMetadataMax is Stripe's bound of metadata keys, and metadataKeyBytesMax of one key.
	orderMetadataMax    = 50
	metadataKeyBytesMax = 40
	// signingSecretsMax bounds the secrets that are tried for each request.
	signingSecretsMax = 8

	secretPrefix = "whsec_"
	defaultBase  = "https://api.stripe.com"
)

// keyForm is a secret (sk_), restricted (rk_) or organisation key; the mode stands in it.
var keyForm = regexp.MustCompile(`^(sk|rk)_(live|test|org)_[A-Za-z0-9_]{1,250}$`)

// Validate implements connectors.Validator.
func (c *Config) Validate() []connectors.Finding {
	var out []connectors.Finding
	bad := func(field, hint, format string, args ...any) {
		out = append(out, connectors.Finding{Level: connectors.Bad, Field: field, Message: fmt.Sprintf(format, args...), Hint: hint})
	}
	const where = "copy it from the webhook endpoint's page in the Stripe dashboard (Developers, Webhooks), and give it as ${env:NAME} or ${file:PATH}"
	switch n := len(c.SigningSecrets); {
	case n == 0:
		bad("signing_secrets", where, "signing_secrets is missing")
	case n > signingSecretsMax:
		bad("signing_secrets", "two are enough while one is being rolled", "more than %d signing secrets", signingSecretsMax)
	}
	for i, s := range c.SigningSecrets {
		if s.Empty() {
			bad(fmt.Sprintf("signing_secrets[%d]", i), where, "the signing secret is empty")
		}
	}
	out = append(out, c.unlikely()...)
	switch key := c.APIKey.Reveal(); {
	case strings.HasPrefix(key, "pk_"):
		bad("api_key", "use a restricted key (rk_...) that may read events and write webhook endpoints", "this is a publishable key, which may read nothing")
	case strings.ContainsFunc(key, unprintable):
		bad("api_key", "copy it again, without spaces and line ends", "api_key holds characters that no key has")
	}
	if len(c.OrderMetadata) > orderMetadataMax {
		bad("order_metadata", "Stripe keeps no more on one object", "more than %d metadata keys", orderMetadataMax)
	}
	for i, k := range c.OrderMetadata {
		if k == "" || len(k) > metadataKeyBytesMax {
			bad(fmt.Sprintf("order_metadata[%d]", i), "Stripe's keys have at most 40 characters", "metadata key %.50q is none", k)
		}
	}
	if c.BaseURL != "" {
		if u, err := url.Parse(c.BaseURL); err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || u.User != nil || u.RawQuery != "" {
			bad("base_url", "leave it out for Stripe itself", "base_url is no http address")
		} else if u.Scheme == "http" && !loopback(u.Hostname()) {
			bad("base_url", "use https: the API key travels over it", "base_url is plain http to another machine")
		}
	}
	return out
}

func unprintable(r rune) bool { return r <= ' ' || r > '~' }

// unlikely are secrets that do not look like Stripe's. They are Stripe's to choose, so that this is a warning.
func (c *Config) unlikely() []connectors.Finding {
	var out []connectors.Finding
	for i, s := range c.SigningSecrets {
		if text := s.Reveal(); text != "" && (!strings.HasPrefix(text, secretPrefix) || len(text) == len(secretPrefix) || strings.TrimSpace(text) != text) {
			out = append(out, connectors.Finding{
				Level: connectors.Warn, Field: fmt.Sprintf("signing_secrets[%d]", i), Message: "this does not look like a signing secret: Stripe's begin with " + secretPrefix,
				Hint: "copy it from the webhook endpoint's page in the Stripe dashboard (Developers, Webhooks)",
			})
		}
	}
	key := c.APIKey.Reveal()
	if key != "" && !strings.HasPrefix(key, "pk_") && !strings.ContainsFunc(key, unprintable) && !keyForm.MatchString(key) {
		out = append(out, connectors.Finding{
			Level: connectors.Warn, Field: "api_key", Message: "this does not look like an API key of Stripe's",
			Hint: "copy it from the Stripe dashboard (Developers, API keys): it begins with rk_ or sk_",
		})
	}
	return out
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
