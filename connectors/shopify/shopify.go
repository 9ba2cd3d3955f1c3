// Package shopify connects one Shopify shop: it verifies the webhooks that Shopify sends, turns orders, transactions,
// refunds and disputes into records, keeps the subscriptions at Shopify as the connection wants them, and lists orders
// by either of Shopify's APIs.
//
// normalize.go, node.go and what they use are pure, so that stored bodies can be read again by a better version; the
// other files talk to the outside.
package shopify

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/tillstream/tillstream/connectors"
	"github.com/tillstream/tillstream/schemas"
)

// Type is the connector's name in the configuration and in OrderEvent.Provider.
const Type = "shopify"

// Connector is Shopify.
var Connector = connectors.Connector{
	Type: Type, Title: "Shopify", Topic: schemas.TopicStoreOrders,
	Resources: resources, Fields: catalogue,
	Config:    func() any { return &Config{API: APIGraphQL, APIVersion: defaultVersion, Webhooks: WebhooksManaged} },
	Normalize: normalize,
	Open: func(_ context.Context, cfg any, env connectors.Env) (connectors.Source, error) {
		c, ok := cfg.(*Config)
		if !ok {
			return nil, fmt.Errorf("shopify connection %s: configuration is a %T", env.Connection, cfg)
		}
		return open(c, env)
	},
}

// The APIs by which orders are listed. Shopify calls REST legacy and opens it to no new public app.
const (
	APIGraphQL = "graphql"
	APIREST    = "rest"
)

// Who makes the webhook subscriptions.
const (
	WebhooksManaged = "managed" // the connection, by the API
	WebhooksManual  = "manual"  // a person, in the shop's admin or the app's own configuration
)

const (
	// defaultVersion of the API. Shopify supports one for about a year and then answers with the oldest that it has.
	defaultVersion = "2026-07"
	// versionMin is the first in which a subscription has the member uri.
	versionMin = "2025-10"

	secretsMax = 8 // signing secrets beside the app's own
)

// Config is one Shopify shop.
type Config struct {
	// Shop is the shop's permanent address, name.myshopify.com: not the domain that customers see.
	Shop string `yaml:"shop"`
	// ClientSecret of the app signs its webhooks. With ClientID it also gets access tokens.
	ClientSecret schemas.Secret `yaml:"client_secret"`
	// MoreSecrets sign as well: the app's former secret while it is replaced, and the key of webhooks made in the admin.
	MoreSecrets []schemas.Secret `yaml:"more_secrets"`
	// AccessToken of an app that was given a lasting one. Leave it out where ClientID is set.
	AccessToken schemas.Secret `yaml:"access_token"`
	// ClientID of an app of your own made in the Dev Dashboard, which gets a token for a day at a time.
	ClientID string `yaml:"client_id"`
	// API lists orders: graphql (default) or rest.
	API string `yaml:"api"`
	// APIVersion is a quarter, such as 2026-07.
	APIVersion string `yaml:"api_version"`
	// Webhooks: managed (default) or manual. With manual ones nothing is registered, and the API is optional.
	Webhooks string `yaml:"webhooks"`
	// BaseURL of the shop's API; default: https:// and the shop. For a twin on this machine.
	BaseURL string `yaml:"base_url"`
}

var (
	shopForm    = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,62}\.myshopify\.com$`)
	versionForm = regexp.MustCompile(`^20[0-9]{2}-(01|04|07|10)$`)
)

// Validate implements connectors.Validator.
func (c *Config) Validate() []connectors.Finding {
	var out []connectors.Finding
	bad := func(field, hint, format string, args ...any) {
		out = append(out, connectors.Finding{Level: connectors.Bad, Field: field, Message: fmt.Sprintf(format, args...), Hint: hint})
	}
	if !shopForm.MatchString(c.Shop) {
		bad("shop", "in the shop's admin: Settings, Domains; the one that ends in .myshopify.com, in lower case", "shop %.80q is not of the form name.myshopify.com", c.Shop)
	}
	if c.ClientSecret.Empty() && (c.Webhooks != WebhooksManual || len(c.MoreSecrets) == 0) {
		bad("client_secret", "copy the app's client secret and give it as ${env:NAME} or ${file:PATH}", "client_secret is missing")
	}
	if len(c.MoreSecrets) > secretsMax {
		bad("more_secrets", "remove those that sign no longer", "%d more secrets are more than %d", len(c.MoreSecrets), secretsMax)
	}
	for i, s := range c.MoreSecrets {
		if s.Empty() {
			bad(fmt.Sprintf("more_secrets[%d]", i), "remove the entry, or give the secret as ${env:NAME} or ${file:PATH}", "secret is empty")
		}
	}
	switch {
	case !c.AccessToken.Empty() && c.ClientID != "":
		bad("access_token", "keep client_id for an app of the Dev Dashboard, access_token for an older one", "access_token and client_id are both given")
	case c.ClientID != "" && c.ClientSecret.Empty():
		bad("client_secret", "copy it from the app's settings, beside the client id", "client_id is given without client_secret")
	case c.AccessToken.Empty() && c.ClientID == "" && c.Webhooks != WebhooksManual:
		bad("access_token", "give client_id (app of the Dev Dashboard) or access_token (older app); without an API only webhooks: manual works", "access_token is missing")
	}
	if c.API != APIGraphQL && c.API != APIREST {
		bad("api", "leave it out for graphql", "api %.40q is neither graphql nor rest", c.API)
	}
	if c.Webhooks != WebhooksManaged && c.Webhooks != WebhooksManual {
		bad("webhooks", "leave it out to have them registered", "webhooks %.40q is neither managed nor manual", c.Webhooks)
	}
	if !versionForm.MatchString(c.APIVersion) {
		bad("api_version", "write a quarter such as "+defaultVersion+", or leave it out", "api_version %.40q is no version", c.APIVersion)
	} else if c.APIVersion < versionMin {
		bad("api_version", "write "+defaultVersion+", or leave it out", "api_version %s is older than %s and no longer served", c.APIVersion, versionMin)
	}
	if c.BaseURL != "" {
		if u, err := url.Parse(c.BaseURL); err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || u.User != nil || u.RawQuery != "" {
			bad("base_url", "leave it out for Shopify itself", "base_url is no http address")
		} else if u.Scheme == "http" && !loopback(u.Hostname()) {
			bad("base_url", "use https: the access token travels over it", "base_url is plain http to another machine")
		}
	}
	return out
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// keys are all secrets that may sign now.
func (c *Config) keys() []schemas.Secret {
	keys := make([]schemas.Secret, 0, 1+len(c.MoreSecrets))
	if !c.ClientSecret.Empty() {
		keys = append(keys, c.ClientSecret)
	}
	return append(keys, c.MoreSecrets...)
}

// Resource ids.
const (
	ResourceOrders   = "orders"
	ResourcePayments = "payments"
	ResourceDisputes = "disputes"
)

var resources = []connectors.Resource{
	{ID: ResourceOrders, Title: "Orders and refunds", EventTypes: []string{"orders/*", "refunds/*"}},
	{ID: ResourcePayments, Title: "Single payments of an order", EventTypes: []string{"order_transactions/*"}},
	{ID: ResourceDisputes, Title: "Disputes and chargebacks (Shopify Payments)", EventTypes: []string{"disputes/*"}},
}

// subscribed are the topics that each resource registers, in the API's spelling by the header's.
var subscribed = map[string]map[string]string{
	// orders/paid and orders/cancelled repeat orders/updated: one that is lost or late is made up for by another.
	ResourceOrders: {
		"orders/create": "ORDERS_CREATE", topicUpdated: "ORDERS_UPDATED", "orders/paid": "ORDERS_PAID",
		"orders/cancelled": "ORDERS_CANCELLED", topicDelete: "ORDERS_DELETE", topicRefund: "REFUNDS_CREATE",
	},
	ResourcePayments: {topicTransaction: "ORDER_TRANSACTIONS_CREATE"},
	ResourceDisputes: {"disputes/create": "DISPUTES_CREATE", "disputes/update": "DISPUTES_UPDATE"},
}

// chosenDefault leaves out disputes: they need Shopify Payments and a permission of their own.
var chosenDefault = []string{ResourceOrders, ResourcePayments}

// wantedTopics are the API's names of the topics to subscribe to, sorted.
func wantedTopics(chosen []string) ([]string, error) {
	if len(chosen) == 0 {
		chosen = chosenDefault
	}
	out := []string{"APP_UNINSTALLED"}
	for _, id := range chosen {
		topics, ok := subscribed[id]
		if !ok {
			return nil, fmt.Errorf("resource %q is none of %s, %s, %s", id, ResourceOrders, ResourcePayments, ResourceDisputes)
		}
		for _, name := range topics {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}

// resourceOf is the id of the resource that takes a topic; empty: none does.
func resourceOf(topic string) string {
	for _, r := range resources {
		for _, pattern := range r.EventTypes {
			if strings.HasPrefix(topic, strings.TrimSuffix(pattern, "*")) {
				return r.ID
			}
		}
	}
	return ""
}
