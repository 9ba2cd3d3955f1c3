// Package getresponse writes contacts, tags, custom events, messages, list memberships and orders to a GetResponse
// account through its API v3.
//
// It writes only what a command names. A person who is on a list of the account is updated there; one who is on none is
// created on the configured list. Nobody is put on a list that they left. It creates no custom field, and moves people
// only where an action says so.
package getresponse

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/tillstream/tillstream/outbound"
	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/sinks"
)

// RatePerSecond is the documented limit of one account. Beside it stand WindowMax and ParallelMax.
const RatePerSecond = 80

// The other documented limits.
const (
	WindowMax   = 30_000 // requests in Window
	Window      = 10 * time.Minute
	ParallelMax = 10 // requests at a time
)

// DefaultURL is the API of all accounts but GetResponse MAX.
const DefaultURL = "https://api.getresponse.com/v3"

const (
	defaultTimeout   = 30 * time.Second
	defaultPhone     = "phone"
	contactsKnownMax = 10_000
	accountHexDigits = 16
	domainCharsMax   = 253
)

// Sink describes this kind of destination.
var Sink = sinks.Sink{
	Type:  "getresponse",
	Title: "GetResponse",
	Effects: []string{
		schemas.EffectTrackEvent, schemas.EffectSendMessage, schemas.EffectAddToList, schemas.EffectMoveToList, schemas.EffectWriteOrder,
		schemas.QuestionOnList,
	},
	TagName: func(name string) string {
		tag, _ := TagName(name) // a name that cannot be kept is "", and the case of letters tells no tags apart
		return strings.ToLower(tag)
	},
	Config:        func() any { return defaults() },
	RatePerSecond: RatePerSecond,
	Open:          open,
}

// Config of one account.
type Config struct {
	// Key is the API key, from Tools, Integrations and API in GetResponse, without the words "api-key" before it.
	Key schemas.Secret `yaml:"key"`
	// List is the id of the list that new contacts are created on; the API calls it a campaign.
	List string `yaml:"list"`
	// PhoneField is the custom field that a contact's phone number goes to: GetResponse has no other place for one.
	// Empty: the account's field "phone", if there is one.
	PhoneField string `yaml:"phone_field"`
	// URL of the API; default: DefaultURL. GetResponse MAX has its own.
	URL string `yaml:"url"`
	// Domain is that of a GetResponse MAX account, "example.com".
	Domain string `yaml:"domain"`
	// Messages is how SEND_MESSAGE sends: MessagesNewsletter, the default, or MessagesTransactional.
	Messages string `yaml:"messages"`
	// Sender is the id of the from-field that transactional e-mails come from; empty: the message's own, or else the
	// account's default.
	Sender string `yaml:"sender"`
	// Timeout bounds one request, for the maker of Env.HTTP.
	Timeout time.Duration `yaml:"timeout"`
}

func defaults() *Config { return &Config{URL: DefaultURL, Timeout: defaultTimeout} }

// RequestTimeout is the bound that the account's HTTP client should have.
func (c *Config) RequestTimeout() time.Duration {
	if c.Timeout <= 0 {
		return defaultTimeout
	}
	return c.Timeout
}

// Account names the account whose limit this is, without telling its key. Destinations that use one key share it.
func (c *Config) Account() string {
	host := c.URL
	if u, err := url.Parse(c.base()); err == nil {
		host = u.Host
	}
	sum := sha256.Sum256([]byte(c.Key.Reveal()))
	return host + "/" + hex.EncodeToString(sum[:])[:accountHexDigits]
}

func (c *Config) base() string {
	if c.URL == "" {
		return DefaultURL
	}
	return strings.TrimRight(c.URL, "/")
}

// idForm is GetResponse's: short and opaque.
var (
	idForm     = regexp.MustCompile(`^[A-Za-z0-9_-]{1,32}$`)
	domainForm = regexp.MustCompile(`^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$`)
)

// Validate implements sinks.Validator: what is missing or malformed.
func (c *Config) Validate() []sinks.Finding {
	var found []sinks.Finding
	bad := func(field, message, hint string) {
		found = append(found, sinks.Finding{Bad: true, Field: field, Message: message, Hint: hint})
	}
	switch key := c.Key.Reveal(); {
	case key == "":
		bad("key", "is missing", "copy it from Tools, Integrations and API in GetResponse")
	case strings.HasPrefix(key, "api-key") || strings.ContainsFunc(key, func(r rune) bool { return r <= ' ' || r > '~' }):
		bad("key", "is no API key of GetResponse", "copy the key alone, without the words api-key before it")
	}
	switch {
	case c.List == "":
		bad("list", "is missing", "give the id of the list that new contacts are created on: GetResponse has no contact without a list")
	case !idForm.MatchString(c.List):
		bad("list", "is no id", "give the list's id, such as pV3r, not its name; a check with any id shows all lists")
	}
	if c.Domain != "" && (len(c.Domain) > domainCharsMax || !domainForm.MatchString(c.Domain) || strings.HasPrefix(c.Domain, "www.")) {
		bad("domain", "is none", "write it as example.com: lower case, without https:// and www.")
	}
	if c.Messages != "" && c.Messages != MessagesNewsletter && c.Messages != MessagesTransactional {
		bad("messages", "is neither "+MessagesNewsletter+" nor "+MessagesTransactional, "leave it out for newsletters to one contact; transactional e-mail is a paid part of GetResponse")
	}
	if c.Sender != "" && !idForm.MatchString(c.Sender) {
		bad("sender", "is no id", "give the id of one of the account's from-fields, or leave it out for the default one")
	}
	return append(found, c.checkURL()...)
}

func (c *Config) checkURL() []sinks.Finding {
	u, err := url.Parse(c.base())
	switch {
	case err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http":
		return []sinks.Finding{{Bad: true, Field: "url", Message: "is no address", Hint: "leave it out; MAX accounts use https://api3.getresponse360.com/v3 or https://api3.getresponse360.pl/v3"}}
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return []sinks.Finding{{Bad: true, Field: "url", Message: "holds a user, a query or a fragment", Hint: "leave them out"}}
	case u.Scheme == "http" && !loopback(u.Hostname()):
		return []sinks.Finding{{Bad: true, Field: "url", Message: "is plain http to another machine", Hint: "use https: the API key travels over it"}}
	}
	return nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

func open(_ context.Context, cfg any, env sinks.Env) (sinks.Writer, error) {
	c, ok := cfg.(*Config)
	if !ok {
		return nil, fmt.Errorf("destination %s: configuration is a %T, not one of getresponse", env.Destination, cfg)
	}
	if found := c.Validate(); len(found) > 0 {
		f := found[0]
		return nil, fmt.Errorf("destination %s: %s %s; %s", env.Destination, f.Field, f.Message, f.Hint)
	}
	if env.Now == nil {
		env.Now = time.Now
	}
	if env.HTTP == nil {
		client, err := outbound.NewClient(outbound.Options{Timeout: c.RequestTimeout(), Now: env.Now})
		if err != nil {
			return nil, fmt.Errorf("destination %s: %w", env.Destination, err)
		}
		env.HTTP = client
	}
	api := &client{base: c.base(), key: c.Key, domain: c.Domain, http: env.HTTP, now: env.Now}
	return &writer{
		joins: newPeople(contactsKnownMax, env.Now),
		api:   api, list: c.List, phoneField: c.PhoneField, now: env.Now,
		catalogue:     newCatalogue(api, env.Now),
		people:        newPeople(contactsKnownMax, env.Now),
		transactional: c.Messages == MessagesTransactional, sender: c.Sender, mails: newIDSet(mailsKnown), unnamed: newIDSet(mailsKnown),
	}, nil
}
