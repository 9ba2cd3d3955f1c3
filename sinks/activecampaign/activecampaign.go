// Package activecampaign writes contacts, tags and effects to an ActiveCampaign account through its API v3.
//
// It writes only what a command names: existing custom fields, tags that must or must not be there, and effects. It
// creates no field, list or automation, a contact's state never touches a list, and nobody who left a list is put there
// again.
package activecampaign

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/tillstream/tillstream/outbound"
	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/sinks"
)

// RatePerSecond is the documented limit of one account, over all its keys.
const RatePerSecond = 5

// DefaultTrackingURL is the provider's endpoint for tracked events, the same for all accounts.
const DefaultTrackingURL = "https://trackcmp.net/event"

// defaultTimeout is what the provider's own plugin waits.
const defaultTimeout = 30 * time.Second

// Sink describes this kind of destination.
var Sink = sinks.Sink{
	Type:          "activecampaign",
	Title:         "ActiveCampaign",
	Config:        func() any { return defaults() },
	RatePerSecond: RatePerSecond,
	Effects:       effects(),
	TagName:       func(name string) string { return strings.ToLower(strings.TrimSpace(name)) },
	Open:          open,
}

// Config of one account.
type Config struct {
	// URL is the account's API address as its settings page shows it ("https://ACCOUNT.api-us1.com"), with or without
	// /api/3 at its end.
	URL string `yaml:"url"`
	// Key is the API key of a user who may edit contacts and tags.
	Key           schemas.Secret `yaml:"key"`
	EventTracking EventTracking  `yaml:"event_tracking"`
	// Shop is what ActiveCampaign shows beside orders and recurring payments that are written to it.
	Shop Shop `yaml:"shop"`
	// Timeout bounds one request, for the maker of Env.HTTP.
	Timeout time.Duration `yaml:"timeout"`
}

// Shop is the site that orders come from. ActiveCampaign requires both addresses; the default is the account's own.
type Shop struct {
	URL  string `yaml:"url"`  // where a click on the shop leads
	Logo string `yaml:"logo"` // of a picture
}

// EventTracking is needed for commands of the type TRACK_EVENT only.
type EventTracking struct {
	AccountID string         `yaml:"account_id"` // "actid" of the tracking settings page
	Key       schemas.Secret `yaml:"key"`        // "event key" of the same page, not the API key
	URL       string         `yaml:"url"`        // default https://trackcmp.net/event
}

func defaults() *Config {
	return &Config{Timeout: defaultTimeout, EventTracking: EventTracking{URL: DefaultTrackingURL}}
}

// RequestTimeout is the bound that the account's HTTP client should have.
func (c *Config) RequestTimeout() time.Duration {
	if c.Timeout <= 0 {
		return defaultTimeout
	}
	return c.Timeout
}

// Account names the account whose limit this is: its address. Two destinations on one account share it.
func (c *Config) Account() string {
	if u, err := url.Parse(c.URL); err == nil {
		return u.Host
	}
	return c.URL
}

// Validate implements sinks.Validator: what is missing or malformed.
func (c *Config) Validate() []sinks.Finding {
	found := checkURL("url", c.URL)
	if c.Key.Empty() {
		found = append(found, sinks.Finding{Bad: true, Field: "key", Message: "is missing", Hint: "copy it from Settings, Developer in ActiveCampaign"})
	}
	t := c.EventTracking
	if (t.AccountID == "") != t.Key.Empty() {
		found = append(found, sinks.Finding{
			Bad: true, Field: "event_tracking", Message: "needs both account_id and key, or neither",
			Hint: "copy them from Settings, Tracking, Event tracking in ActiveCampaign",
		})
	}
	if t.URL != "" {
		found = append(found, checkURL("event_tracking.url", t.URL)...)
	}
	if c.Shop.URL != "" {
		found = append(found, checkURL("shop.url", c.Shop.URL)...)
	}
	if c.Shop.Logo != "" {
		found = append(found, checkURL("shop.logo", c.Shop.Logo)...)
	}
	return found
}

func checkURL(field, text string) []sinks.Finding {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
		return []sinks.Finding{{Bad: true, Field: field, Message: "is no address", Hint: "write one such as https://ACCOUNT.api-us1.com"}}
	}
	if u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return []sinks.Finding{{Bad: true, Field: field, Message: "holds a user, a query or a fragment", Hint: "leave them out"}}
	}
	return nil
}

func open(_ context.Context, cfg any, env sinks.Env) (sinks.Writer, error) {
	c, ok := cfg.(*Config)
	if !ok {
		return nil, fmt.Errorf("destination %s: configuration is a %T, not one of activecampaign", env.Destination, cfg)
	}
	if found := c.Validate(); len(found) > 0 {
		f := found[0]
		return nil, fmt.Errorf("destination %s: %s %s; %s", env.Destination, f.Field, f.Message, f.Hint)
	}
	if env.HTTP == nil {
		client, err := outbound.NewClient(outbound.Options{Timeout: c.RequestTimeout(), Now: env.Now})
		if err != nil {
			return nil, fmt.Errorf("destination %s: %w", env.Destination, err)
		}
		env.HTTP = client
	}
	if env.Now == nil {
		env.Now = time.Now
	}
	base := strings.TrimSuffix(strings.TrimRight(c.URL, "/"), "/api/3") + "/api/3"
	w := &writer{
		api:      &client{base: base, key: c.Key, http: env.HTTP, now: env.Now},
		tracking: c.EventTracking,
		contacts: newContactCache(contactsCachedMax, env.Now),
		log:      env.Log,
	}
	if w.tracking.URL == "" {
		w.tracking.URL = DefaultTrackingURL
	}
	w.secrets = []string{c.Key.Reveal(), c.EventTracking.Key.Reveal()}
	w.catalogue = &catalogue{api: w.api, now: env.Now, turn: newTurn()}
	w.lists = &names{api: w.api, now: env.Now, turn: newTurn(), path: "/lists", what: "list"}
	w.automations = &names{api: w.api, now: env.Now, turn: newTurn(), path: "/automations", what: "automation"}
	own := strings.TrimSuffix(base, "/api/3")
	w.connections = &connections{api: w.api, turn: newTurn(), url: first(c.Shop.URL, own), logo: first(c.Shop.Logo, own+"/favicon.ico")}
	w.starts, w.destination = newStarts(), env.Destination
	w.imports, w.halfway = &imports{now: env.Now}, newHalfway(env.Now)
	return w, nil
}
