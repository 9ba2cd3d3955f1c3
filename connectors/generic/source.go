package generic

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/tillstream/tillstream/connectors"
	"github.com/tillstream/tillstream/schemas"
)

// source is one shop that posts to us.
type source struct {
	env        connectors.Env
	keys       []schemas.Secret
	publicKeys []ed25519.PublicKey
	tolerance  time.Duration
	origins    []string
}

// Guards: the build says it, not a test.
var (
	_ connectors.Source     = (*source)(nil)
	_ connectors.Webhooker  = (*source)(nil)
	_ connectors.Handshaker = (*source)(nil)
	_ connectors.Validator  = (*Config)(nil)
)

func open(c *Config, env connectors.Env) (*source, error) {
	if env.Now == nil {
		return nil, fmt.Errorf("generic connection %s: no clock given", env.Connection)
	}
	s := &source{env: env, tolerance: c.Tolerance, origins: c.AllowedOrigins}
	if s.tolerance == 0 {
		s.tolerance = ToleranceDefault
	}
	for i, secret := range c.Secrets {
		key, err := signingKey(secret)
		if err != nil {
			return nil, fmt.Errorf("generic connection %s: secret %d: %w", env.Connection, i+1, err)
		}
		s.keys = append(s.keys, key)
	}
	for i, text := range c.PublicKeys {
		key, err := publicKey(text)
		if err != nil {
			return nil, fmt.Errorf("generic connection %s: public key %d: %w", env.Connection, i+1, err)
		}
		s.publicKeys = append(s.publicKeys, key)
	}
	if len(s.keys)+len(s.publicKeys) == 0 {
		return nil, fmt.Errorf("generic connection %s: %w", env.Connection, errNoKey)
	}
	return s, nil
}

var errNoKey = errors.New("no signing secret and no public key is given")

// Close implements connectors.Source. Nothing is open.
func (s *source) Close() error { return nil }

// Check implements connectors.Source. There is nobody to ask: the shop comes to us. It says what the shop has to be told.
func (s *source) Check(context.Context) []connectors.Finding {
	out := []connectors.Finding{{
		Level: connectors.OK, Field: "secrets",
		Message: fmt.Sprintf("%d signing secrets and %d public keys are active", len(s.keys), len(s.publicKeys)),
	}}
	if s.env.PublicURL == "" {
		return append(out, connectors.Finding{
			Level: connectors.Warn, Message: "no public address is set, so that the shop's webhook address cannot be shown",
			Hint: "set ingest.public_url to the address under which the shop reaches this machine",
		})
	}
	return append(out, connectors.Finding{
		Level: connectors.OK, Message: "the shop posts to " + s.env.PublicURL,
		Hint: "set this address and the secret in the shop; it signs as Standard Webhooks says",
	})
}

const originBytesMax = 256

// Handshake implements connectors.Handshaker: the abuse protection of CloudEvents' HTTP webhooks, in which a sender asks
// by OPTIONS before it sends. Any rate is allowed: the receiver answers 503 where it is too much.
func (s *source) Handshake(r *http.Request) (answer http.Header, ok bool) {
	origin := r.Header.Get("Webhook-Request-Origin")
	if r.Method != http.MethodOptions || origin == "" || len(origin) > originBytesMax ||
		strings.ContainsFunc(origin, func(c rune) bool { return c <= ' ' || c > '~' }) {
		return nil, false
	}
	if len(s.origins) > 0 && !slices.ContainsFunc(s.origins, func(o string) bool { return strings.EqualFold(o, origin) }) {
		return nil, false
	}
	return http.Header{
		"Webhook-Allowed-Origin": {origin}, "Webhook-Allowed-Rate": {"*"}, "Allow": {http.MethodPost},
	}, true
}
