// Package getresponse connects one shop inside a GetResponse account: the orders that conversion funnels and the
// official shop plugins put there. GetResponse sends no webhook about them, so they are polled.
//
// source.go and poll.go talk to the outside; normalize.go and what it uses is pure, so that stored bodies can be read
// again by a better version.
package getresponse

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
const Type = "getresponse"

// Connector is a GetResponse shop.
var Connector = connectors.Connector{
	Type: Type, Title: "GetResponse shop", Topic: schemas.TopicStoreOrders,
	Resources: resources, Fields: catalogue,
	Config:    func() any { return &Config{RecentOrders: RecentOrdersDefault} },
	Normalize: normalizer{}.normalize,
	Bind: func(cfg any) func(connectors.Delivery) ([]schemas.OrderEvent, error) {
		n := normalizer{}
		if c, ok := cfg.(*Config); ok {
			n.words = c.words()
		}
		return n.normalize
	},
	Open: func(_ context.Context, cfg any, env connectors.Env) (connectors.Source, error) {
		c, ok := cfg.(*Config)
		if !ok {
			return nil, fmt.Errorf("getresponse connection %s: configuration is a %T", env.Connection, cfg)
		}
		return open(c, env)
	},
}

// Config is one shop.
type Config struct {
	// APIKey is the account's, from GetResponse's Tools, Integrations and API.
	APIKey schemas.Secret `yaml:"api_key"`
	// ShopID is the shop's id at GetResponse; the check lists those of the account.
	ShopID string `yaml:"shop_id"`
	// Statuses says what the shop's own billing statuses mean, by a canonical status for each word. Canonical names and
	// the usual words of WooCommerce and Magento are understood without it.
	Statuses map[string]string `yaml:"statuses"`
	// RecentOrders is how many of the newest orders are read each minute; all are read each hour. Default, and 0: 1000.
	RecentOrders int `yaml:"recent_orders"`
	// Domain is that of a GetResponse MAX account.
	Domain string `yaml:"domain"`
	// BaseURL of the API; default: GetResponse's. MAX accounts have their own.
	BaseURL string `yaml:"base_url"`
}

// Bounds of a configuration.
const (
	RecentOrdersDefault = 1000
	RecentOrdersMax     = 50_000

	statusesMax   = 200
	wordBytesMax  = 64 // GetResponse's bound of a status
	defaultBase   = "https://api.getresponse.com/v3"
	hintStatus    = "use one of DRAFT, PENDING, APPROVED, FAILED, AUTHORIZED, PARTIALLY_PAID, PAID, PARTIALLY_REFUNDED, DISPUTED, EXPIRED, CANCELLED, VOIDED, REFUNDED, CHARGED_BACK, UNKNOWN"
	domainByteMax = 253
)

// idForm is GetResponse's: short and opaque.
var (
	idForm     = regexp.MustCompile(`^[A-Za-z0-9_-]{1,32}$`)
	domainForm = regexp.MustCompile(`^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$`)
)

// Validate implements connectors.Validator.
func (c *Config) Validate() []connectors.Finding {
	var out []connectors.Finding
	bad := func(field, hint, format string, args ...any) {
		out = append(out, connectors.Finding{Level: connectors.Bad, Field: field, Message: fmt.Sprintf(format, args...), Hint: hint})
	}
	switch key := c.APIKey.Reveal(); {
	case key == "":
		bad("api_key", "copy it from GetResponse (Tools, Integrations and API), and give it as ${env:NAME} or ${file:PATH}", "api_key is missing")
	case strings.ContainsFunc(key, func(r rune) bool { return r <= ' ' || r > '~' }) || strings.HasPrefix(key, "api-key"):
		bad("api_key", "copy the key alone, without the words api-key before it", "this is no API key of GetResponse's")
	}
	if !idForm.MatchString(c.ShopID) {
		bad("shop_id", "give any id of letters and digits: the check lists the account's shops", "shop_id %.40q is no id", c.ShopID)
	}
	if len(c.Statuses) > statusesMax {
		bad("statuses", "name those that mean something for payment", "more than %d statuses", statusesMax)
	}
	for word, means := range c.Statuses {
		if fold(word) == "" || len(word) > wordBytesMax {
			bad("statuses", "GetResponse's have at most 64 characters", "status word %.80q is none", word)
		} else if _, ok := canonicalNames[fold(means)]; !ok {
			bad("statuses."+word, hintStatus, "%.40q is no canonical status", means)
		}
	}
	if c.RecentOrders < 0 || c.RecentOrders > RecentOrdersMax {
		bad("recent_orders", "a thousand suits most shops", "recent_orders %d is not within 0 (the default) and %d", c.RecentOrders, RecentOrdersMax)
	}
	if c.Domain != "" && (len(c.Domain) > domainByteMax || !domainForm.MatchString(c.Domain) || strings.HasPrefix(c.Domain, "www.")) {
		bad("domain", "write it as example.com: lower case, without https:// and www.", "domain %.80q is none", c.Domain)
	}
	if c.BaseURL != "" {
		if u, err := url.Parse(c.BaseURL); err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || u.User != nil || u.RawQuery != "" {
			bad("base_url", "leave it out for GetResponse; MAX is https://api3.getresponse360.com/v3 or https://api3.getresponse360.pl/v3", "base_url is no http address")
		} else if u.Scheme == "http" && !loopback(u.Hostname()) {
			bad("base_url", "use https: the API key travels over it", "base_url is plain http to another machine")
		}
	}
	slices.SortFunc(out, func(a, b connectors.Finding) int { return strings.Compare(a.Field, b.Field) })
	return out
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// recentPages is how many pages hold the recent orders.
func (c *Config) recentPages() int {
	n := c.RecentOrders
	if n == 0 {
		n = RecentOrdersDefault
	}
	return (n + ordersPerPage - 1) / ordersPerPage
}

// words are the configured meanings by folded word.
func (c *Config) words() map[string]schemas.PaymentStatus {
	out := make(map[string]schemas.PaymentStatus, len(c.Statuses))
	for word, means := range c.Statuses {
		if s, ok := canonicalNames[fold(means)]; ok {
			out[fold(word)] = s
		}
	}
	return out
}
