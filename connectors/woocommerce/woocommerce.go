// Package woocommerce connects one WooCommerce store: it verifies the webhooks that the store sends, turns orders into
// records, keeps the webhooks' registrations as the connection wants them, and lists what changed.
//
// WooCommerce never sends a webhook a second time. What one missed, only the list of changed orders can tell, so that
// it is read all the time, whatever the webhooks do.
//
// verify.go, register.go, check.go and poll.go talk to the outside; normalize.go and what it uses is pure.
package woocommerce

import (
	"context"
	"fmt"
	"maps"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/tillstream/tillstream/connectors"
	"github.com/tillstream/tillstream/schemas"
)

// Type is the connector's name in the configuration and in OrderEvent.Provider.
const Type = "woocommerce"

// Connector is WooCommerce.
var Connector = connectors.Connector{
	Type: Type, Title: "WooCommerce", Topic: schemas.TopicStoreOrders,
	Resources: resources, Fields: catalogue,
	Config:    func() any { return &Config{} },
	Normalize: reader{}.normalize,
	Bind: func(cfg any) func(connectors.Delivery) ([]schemas.OrderEvent, error) {
		r := reader{}
		if c, ok := cfg.(*Config); ok {
			r.words = c.words()
		}
		return r.normalize
	},
	Open: func(_ context.Context, cfg any, env connectors.Env) (connectors.Source, error) {
		c, ok := cfg.(*Config)
		if !ok {
			return nil, fmt.Errorf("woocommerce connection %s: configuration is a %T", env.Connection, cfg)
		}
		return open(c, env)
	},
}

// Config is one store.
type Config struct {
	// StoreURL is the address of the site, with the folder of WordPress where it has one: https://shop.example.com.
	StoreURL string `yaml:"store_url"`
	// ConsumerKey and ConsumerSecret are a REST API key of the store; it needs read and write permission, or read alone
	// with ManualWebhooks.
	ConsumerKey    schemas.Secret `yaml:"consumer_key"`
	ConsumerSecret schemas.Secret `yaml:"consumer_secret"`
	// WebhookSecrets are yours to choose. The first signs the webhooks that are registered; those after it are still
	// accepted, for as long as a new one takes its place.
	WebhookSecrets []schemas.Secret `yaml:"webhook_secrets"`
	// QueryAuth sends the API key in the query in place of the Authorization header, for hosts that drop the header.
	QueryAuth bool `yaml:"query_auth"`
	// ManualWebhooks says that you make the webhooks by hand: none is registered, changed or removed.
	ManualWebhooks bool `yaml:"manual_webhooks"`
	// Statuses says what the order statuses of your plugins mean: {pre-ordered: PENDING}.
	Statuses map[string]schemas.PaymentStatus `yaml:"statuses"`
}

// secretForm keeps to what WordPress signs with as it is written: it decodes HTML entities in a secret.
var secretForm = regexp.MustCompile(`^[A-Za-z0-9_.~+/=-]+$`)

const secretBytesMax = 200

// Validate implements connectors.Validator.
func (c *Config) Validate() []connectors.Finding {
	var out []connectors.Finding
	bad := func(field, hint, format string, args ...any) {
		out = append(out, connectors.Finding{Level: connectors.Bad, Field: field, Message: fmt.Sprintf(format, args...), Hint: hint})
	}
	switch u, err := url.Parse(c.StoreURL); {
	case c.StoreURL == "":
		bad("store_url", "write the address of the shop, such as https://shop.example.com", "store_url is missing")
	case err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || u.User != nil || u.RawQuery != "" || u.Fragment != "":
		bad("store_url", "write the address of the shop, such as https://shop.example.com", "store_url is no http address")
	case u.Scheme == "http" && !loopback(u.Hostname()):
		bad("store_url", "use https: WooCommerce takes API keys over nothing else", "store_url is plain http to another machine")
	case strings.Contains(u.Path, "/wp-json"):
		bad("store_url", "leave out /wp-json and what follows it", "store_url is the address of the API, not of the shop")
	}
	const where = "make a key with Read/Write permission at WooCommerce, Settings, Advanced, REST API, and give it as ${env:NAME} or ${file:PATH}"
	if c.ConsumerKey.Empty() {
		bad("consumer_key", where, "consumer_key is missing")
	}
	if c.ConsumerSecret.Empty() {
		bad("consumer_secret", where, "consumer_secret is missing")
	}
	const choose = "choose one of at least 24 letters and digits, for example with: openssl rand -hex 32"
	if len(c.WebhookSecrets) == 0 {
		bad("webhook_secrets", choose, "webhook_secrets has no secret")
	}
	for i, s := range c.WebhookSecrets {
		field := fmt.Sprintf("webhook_secrets[%d]", i)
		switch text := s.Reveal(); {
		case len(text) < connectors.SecretBytesMin:
			bad(field, choose, "webhook secret %d has %d characters; at least %d are needed", i+1, len(text), connectors.SecretBytesMin)
		case len(text) > secretBytesMax || !secretForm.MatchString(text):
			bad(field, choose, "webhook secret %d has characters that WordPress changes, or more than %d", i+1, secretBytesMax)
		}
	}
	for _, word := range slices.Sorted(maps.Keys(c.Statuses)) {
		field := "statuses." + word
		if _, own := statuses[plainWord(word)]; own || plainWord(word) == statusTrash {
			bad(field, "leave it out: its meaning is fixed", "%s is a status of WooCommerce itself", word)
		}
		if !slices.Contains(meanings, c.Statuses[word]) {
			bad(field, "write one of "+join(meanings), "%q is no payment status", c.Statuses[word])
		}
	}
	return out
}

// words are the configured statuses by the word that the API writes.
func (c *Config) words() map[string]schemas.PaymentStatus {
	out := make(map[string]schemas.PaymentStatus, len(c.Statuses))
	for word, status := range c.Statuses {
		out[plainWord(word)] = status
	}
	return out
}

func join(list []schemas.PaymentStatus) string {
	texts := make([]string, len(list))
	for i, s := range list {
		texts[i] = string(s)
	}
	return strings.Join(texts, ", ")
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
