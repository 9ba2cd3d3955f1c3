// Package paypal connects one PayPal account: it verifies the webhooks that PayPal sends, turns their bodies into
// records, and keeps the webhook's registration at PayPal as the connection wants it.
//
// source.go, api.go, verify.go and certificates.go talk to the outside; normalize.go and what it uses is pure, so that
// stored bodies can be read again by a better version.
package paypal

import (
	"context"
	"crypto/x509"
	_ "embed" // the intermediate below
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"regexp"
	"strings"

	"github.com/tillstream/tillstream/connectors"
	"github.com/tillstream/tillstream/schemas"
)

// Type is the connector's name in the configuration and in OrderEvent.Provider.
const Type = "paypal"

// Connector is PayPal.
var Connector = connectors.Connector{
	Type: Type, Title: "PayPal", Topic: schemas.TopicPayPalEvents,
	Resources: resources, Fields: catalogue,
	Config:    func() any { return &Config{} },
	Normalize: normalize,
	Open: func(ctx context.Context, cfg any, env connectors.Env) (connectors.Source, error) {
		c, ok := cfg.(*Config)
		if !ok {
			return nil, fmt.Errorf("paypal connection %s: configuration is a %T", env.Connection, cfg)
		}
		return open(c, env)
	},
}

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
}

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
	for i, h := range c.CertificateHosts {
		if _, err := certificateOrigin(h); err != nil {
			bad(fmt.Sprintf("certificate_hosts[%d]", i), "write a host or host:port, lower case", "certificate host %q: %v", h, err)
		}
	}
	return out
}

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

// place is what differs between PayPal's two worlds.
type place struct {
	base             string
	certificateHosts []string
}

var places = map[schemas.Environment]place{
	schemas.Live: {"https://api-m.paypal.com", []string{"api.paypal.com", "api-m.paypal.com"}},
	// The simulator's events come from the live hosts, also for a sandbox app; a live certificate verifies nothing else there.
	schemas.Sandbox: {"https://api-m.sandbox.paypal.com", []string{
		"api.sandbox.paypal.com", "api-m.sandbox.paypal.com", "api.paypal.com", "api-m.paypal.com",
	}},
}

// digicertEV signed PayPal's certificates for years and is not always served beside them.
//
//go:embed trust/DigiCertSHA2ExtendedValidationServerCA.der
var digicertEV []byte

// trustFileBytesMax bounds a trust file; the whole set of public roots has about 250 kB.
const trustFileBytesMax = 2 << 20

// trust reads the roots and intermediates. Whatever the operator puts into the file is an anchor, intermediates too:
// PayPal may serve the leaf alone.
func trust(file string) (roots, intermediates *x509.CertPool, err error) {
	intermediates = x509.NewCertPool()
	if file == "" {
		ev, err := x509.ParseCertificate(digicertEV)
		if err != nil {
			return nil, nil, fmt.Errorf("built-in intermediate certificate: %w", err)
		}
		intermediates.AddCert(ev)
		if roots, err = x509.SystemCertPool(); err != nil {
			return nil, nil, fmt.Errorf("system certificates: %w", err)
		}
		return roots, intermediates, nil
	}
	info, err := os.Stat(file)
	if err != nil {
		return nil, nil, fmt.Errorf("trust_file: %w", err)
	}
	if info.Size() > trustFileBytesMax {
		return nil, nil, fmt.Errorf("trust_file %s: larger than %d bytes", file, trustFileBytesMax)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, nil, fmt.Errorf("trust_file: %w", err)
	}
	roots = x509.NewCertPool()
	found := 0
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, nil, fmt.Errorf("trust_file %s: certificate %d: %w", file, found+1, err)
		}
		roots.AddCert(c)
		found++
	}
	if found == 0 {
		return nil, nil, fmt.Errorf("trust_file %s: no PEM certificate in it", file)
	}
	return roots, intermediates, nil
}
