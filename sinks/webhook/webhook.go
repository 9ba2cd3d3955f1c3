// Package webhook notifies an address of the user's own: each NOTIFY is one POST of JSON, signed by Standard Webhooks.
//
// # What a receiver gets
//
//	POST /hooks/payments HTTP/1.1
//	content-type: application/json
//	webhook-id: 3f1c...          the same for every repetition of this notice
//	webhook-timestamp: 1793613600  of this attempt, in seconds
//	webhook-signature: v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4=
//
// The signature is HMAC-SHA256, in base64, of webhook-id, a dot, webhook-timestamp, a dot and the body as it came. There
// is one for each active secret, with a space between, so that a secret can be replaced without a gap: add the new one
// here, then at the receiver, then remove the old one here.
//
// # How to verify it
//
//  1. Take the bytes of the body before anything parses them.
//  2. Refuse a webhook-timestamp that is more than 5 minutes off.
//  3. The key is what follows whsec_, decoded from base64.
//  4. Compute the signature, and compare it in constant time with each that begins with "v1,": one has to be equal.
//  5. Look whether this webhook-id was handled before; if so, answer 200 and do nothing.
//  6. Answer 2xx within the time-out (default 15 s), and work afterwards.
//
// Libraries of Standard Webhooks do steps 1 to 4. In a shell, with the secret's key in hexadecimal:
//
//	printf '%s.%s.%s' "$ID" "$TIMESTAMP" "$BODY" | openssl dgst -sha256 -mac HMAC -macopt hexkey:"$KEY" -binary | base64
//
// # What is promised
//
// At least once, with an id: after a time-out, a lost connection or a crash the notice is sent again with the same
// webhook-id, and step 5 makes it once. Notices of one contact come in order, others in any. Any 2xx is success, whatever
// the body is. 410 and other refusals (4xx) put the notice into the dead letters. 401, 403, 407 and redirects, which are
// never followed, concern the address or the secret: everything waits until that is corrected. 429 and 503 are waited for
// as Retry-After says, everything else is tried again.
//
// Such a destination keeps no contacts: a contact's state counts as delivered without a request.
package webhook

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/tillstream/tillstream/outbound"
	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/sinks"
)

// Bounds of the configuration and of a request.
const (
	// BodyBytesMax bounds a notice; Standard Webhooks advises far less.
	BodyBytesMax = 256 << 10

	defaultTimeout  = 15 * time.Second
	timeoutMax      = time.Minute
	secretsMax      = 8
	secretBytesMin  = 24 // as Standard Webhooks has it
	secretBytesMax  = 64
	secretPrefix    = "whsec_"
	urlCharsMax     = 2048
	accountHexChars = 16
)

// Sink describes this kind of destination.
var Sink = sinks.Sink{
	Type:       "webhook",
	Title:      "Webhook",
	Config:     func() any { return &Config{Timeout: defaultTimeout} },
	Effects:    []string{schemas.EffectNotify},
	NoContacts: true,
	Open:       open,
}

// Config of one address.
type Config struct {
	// URL is posted to: https, or http where the destination has allow_private_address. What it holds after the host shows
	// in no error and no timeline.
	URL string `yaml:"url" jsonschema:"required,description=Address that is posted to; https."`
	// Secrets sign: whsec_ and base64 of 24 to 64 random bytes. Several while one is being replaced.
	Secrets []schemas.Secret `yaml:"secrets" jsonschema:"required,description=Signing secrets\\, whsec_ and base64 of 24 to 64 random bytes; several while one is being replaced."`
	// Timeout bounds one request, for the maker of Env.HTTP.
	Timeout time.Duration `yaml:"timeout" jsonschema:"description=Bound of one request. Default: 15s."`
}

// RequestTimeout is the bound that the HTTP client should have.
func (c *Config) RequestTimeout() time.Duration {
	if c.Timeout <= 0 {
		return defaultTimeout
	}
	return c.Timeout
}

// Account names the address whose rate this is. Destinations of one address share it.
func (c *Config) Account() string {
	sum := sha256.Sum256([]byte(c.URL))
	return hex.EncodeToString(sum[:])[:accountHexChars]
}

// Validate implements sinks.Validator: what is missing or malformed.
func (c *Config) Validate() []sinks.Finding {
	var found []sinks.Finding
	bad := func(field, hint, format string, args ...any) {
		found = append(found, sinks.Finding{Bad: true, Field: field, Message: fmt.Sprintf(format, args...), Hint: hint})
	}
	u, err := url.Parse(c.URL)
	switch {
	case c.URL == "":
		bad("url", "give the address that is to be posted to", "is missing")
	case err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || len(c.URL) > urlCharsMax:
		bad("url", "write it in full: https://example.com/hooks/payments", "is no address of http")
	case u.User != nil || u.Fragment != "":
		bad("url", "leave them out: the signature proves who sends", "holds a user or a fragment")
	}
	const makeOne = `make one with: echo "whsec_$(openssl rand -base64 32)", and give it as ${env:NAME} or ${file:PATH}`
	if n := len(c.Secrets); n == 0 || n > secretsMax {
		bad("secrets", makeOne, "%d secrets are given, want 1 to %d", n, secretsMax)
	}
	for i, s := range c.Secrets {
		if _, err := signingKey(s); err != nil {
			bad(fmt.Sprintf("secrets.%d", i), makeOne, "secret %d %v", i+1, err)
		}
	}
	if c.Timeout < 0 || c.Timeout > timeoutMax {
		bad("timeout", "leave it out for 15s", "%s is not between 0 and %s", c.Timeout, timeoutMax)
	}
	return found
}

// signingKey is the key inside a secret: base64 behind whsec_, padded or not. Its errors do not hold it.
func signingKey(s schemas.Secret) ([]byte, error) {
	text, ok := strings.CutPrefix(strings.TrimSpace(s.Reveal()), secretPrefix)
	key, err := base64.RawStdEncoding.Strict().DecodeString(strings.TrimRight(text, "="))
	switch {
	case !ok:
		return nil, fmt.Errorf("does not begin with %s", secretPrefix)
	case err != nil || strings.ContainsAny(text, "\r\n"):
		return nil, fmt.Errorf("is no base64 behind %s", secretPrefix)
	case len(key) < secretBytesMin || len(key) > secretBytesMax:
		return nil, fmt.Errorf("has %d bytes, want %d to %d", len(key), secretBytesMin, secretBytesMax)
	}
	return key, nil
}

func open(_ context.Context, cfg any, env sinks.Env) (sinks.Writer, error) {
	c, ok := cfg.(*Config)
	if !ok {
		return nil, fmt.Errorf("destination %s: configuration is a %T, not one of webhook", env.Destination, cfg)
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
	w := &writer{url: c.URL, http: env.HTTP, now: env.Now}
	for _, s := range c.Secrets {
		key, err := signingKey(s)
		if err != nil {
			return nil, fmt.Errorf("destination %s: %w", env.Destination, err)
		}
		w.keys = append(w.keys, key)
	}
	return w, nil
}
