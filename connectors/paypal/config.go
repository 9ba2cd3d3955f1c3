package paypal

import (
	"errors"
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

// Config is one PayPal account.
type Config struct {
	// ClientID and ClientSecret are the REST app's, from PayPal's developer dashboard; sandbox and live have their own.
	ClientID     string         `yaml:"client_id"`
	ClientSecret schemas.Secret `yaml:"client_secret"`
	// WebhookID is the id of a webhook that you registered yourself. When it is set nothing is registered or removed.
	WebhookID string `yaml:"webhook_id"`
	// BaseURL of the API; default: PayPal's own for the connection's environment.
	BaseURL string `yaml:"base_url"`
	// CertificateHosts are where signing certificates may be fetched from, each exactly a host or host:port; default:
	// PayPal's own. For a PayPal twin on this machine an entry may be http://127.0.0.1:PORT.
	CertificateHosts []string `yaml:"certificate_hosts"`
	// TrustFile is a PEM file with the roots and intermediates that signing certificates must chain to; default: the
	// system's roots.
	TrustFile string `yaml:"trust_file"`
	// AcceptTestEvents lets in events of PayPal's webhook simulator. Anybody with a PayPal account can send these to
	// any address, so it belongs to a sandbox; default: true there, false in live.
	AcceptTestEvents *bool `yaml:"accept_test_events"`
	// Verification is how a webhook's signature is checked: "certificate" (here, the default), "paypal" (by a call to
	// PayPal for each), or "either" (by PayPal only where its certificate cannot be fetched).
	Verification string `yaml:"verification"`
	// ConfirmAbove says, by currency, above which amount a webhook counts only after PayPal shows the same event through
	// its API. The signature alone covers a checksum of 32 bits, not the body. A currency that is not named is not asked about.
	ConfirmAbove map[string]string `yaml:"confirm_above"`
	// SharedAccount: other apps take payments on this PayPal account too. The lists of subscriptions and transactions
	// are of the whole account; they then serve backfills only, and not the search for what webhooks missed.
	SharedAccount bool `yaml:"shared_account"`
}

// Ways to verify a signature.
const (
	verifyByCertificate = "certificate"
	verifyByPayPal      = "paypal"
	verifyEither        = "either"
)

// Validate implements connectors.Validator.
func (c *Config) Validate() []connectors.Finding {
	var out []connectors.Finding
	bad := func(field, hint, format string, args ...any) {
		out = append(out, connectors.Finding{Level: connectors.Bad, Field: field, Message: fmt.Sprintf(format, args...), Hint: hint})
	}
	if strings.TrimSpace(c.ClientID) == "" {
		bad("client_id", "copy it from developer.paypal.com, Apps & Credentials", "client_id is missing")
	}
	if c.ClientSecret.Empty() {
		bad("client_secret", "copy it from developer.paypal.com, Apps & Credentials, and give it as ${env:NAME} or ${file:PATH}", "client_secret is missing")
	}
	if c.WebhookID == mockWebhookID {
		bad("webhook_id", "use the id that the dashboard shows beside the webhook's URL", "webhook_id %q is the simulator's, which everybody shares", mockWebhookID)
	} else if c.WebhookID != "" && !webhookIDForm.MatchString(c.WebhookID) {
		bad("webhook_id", "use the id that the dashboard shows beside the webhook's URL", "webhook_id %q is no webhook id", c.WebhookID)
	}
	if c.BaseURL != "" {
		if u, err := url.Parse(c.BaseURL); err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || u.User != nil || u.RawQuery != "" {
			bad("base_url", "leave it out for PayPal itself", "base_url is no http address")
		} else if u.Scheme == "http" && !loopback(u.Hostname()) {
			bad("base_url", "use https: the client secret travels over it", "base_url is plain http to another machine")
		}
	}
	switch c.Verification {
	case "", verifyByCertificate, verifyByPayPal, verifyEither:
	default:
		bad("verification", "leave it out, or write certificate, paypal or either", "verification %q is none", c.Verification)
	}
	for _, currency := range slices.Sorted(maps.Keys(c.ConfirmAbove)) {
		limit := schemas.Amount{Value: c.ConfirmAbove[currency], Currency: currency}
		if a, err := limit.Money(); err != nil || a.Negative() || !currencyForm.MatchString(currency) {
			bad("confirm_above."+currency, "write a currency and an amount, such as EUR: \"500.00\"", "confirm_above %s: %q is no amount of a currency", currency, limit.Value)
		}
	}
	for i, h := range c.CertificateHosts {
		if _, err := certificateOrigin(h); err != nil {
			bad(fmt.Sprintf("certificate_hosts[%d]", i), "write a host or host:port, lower case", "certificate host %q: %v", h, err)
		}
	}
	return out
}

var currencyForm = regexp.MustCompile(`^[A-Z]{3}$`)

var webhookIDForm = regexp.MustCompile(`^[A-Za-z0-9-]{1,64}$`)

// hostForm is a plain lower-case name or IPv4 address with an optional port: nothing that two URL parsers read differently.
var hostForm = regexp.MustCompile(`^[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:[0-9]{1,5})?$`)

// certificateOrigin is the scheme and host that a certificate URL must begin with, to the byte.
func certificateOrigin(entry string) (string, error) {
	scheme, host := "https://", entry
	if rest, plain := strings.CutPrefix(entry, "http://"); plain {
		name := rest
		if h, _, err := net.SplitHostPort(rest); err == nil {
			name = h
		}
		if !loopback(name) {
			return "", errors.New("plain http is for this machine only")
		}
		scheme, host = "http://", rest
	} else if rest, ok := strings.CutPrefix(entry, "https://"); ok {
		host = rest
	}
	if !hostForm.MatchString(host) {
		return "", errors.New("not a host")
	}
	return scheme + host, nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
