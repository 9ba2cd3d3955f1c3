// Package generic connects any shop that can post JSON: Standard Webhooks signatures over plain order-status JSON or
// over CloudEvents, with the names of the shop's own fields and statuses in the configuration.
//
// source.go and verify.go face the outside; normalize.go and what it uses is pure, so that stored bodies can be read again
// by a better version.
package generic

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/tillstream/tillstream/connectors"
	"github.com/tillstream/tillstream/schemas"
)

// Type is the connector's name in the configuration and in OrderEvent.Provider.
const Type = "generic"

// OrderMediaType says of a body that it is in the form that Tillstream proposes, whatever names the connection maps: an
// import makes such bodies of the rows of a table. The connection's statuses and ordering hold for it, too.
const OrderMediaType = "application/vnd.tillstream.order+json"

// Connector is any shop.
var Connector = connectors.Connector{
	Type: Type, Title: "Any shop", Topic: schemas.TopicStoreOrders,
	Resources: resources, Fields: catalogue,
	Config:    func() any { return &Config{} },
	Normalize: standard.normalize,
	Bind: func(cfg any) func(connectors.Delivery) ([]schemas.OrderEvent, error) {
		c, ok := cfg.(*Config)
		if !ok {
			return standard.normalize
		}
		return newDialect(c).normalize
	},
	Open: func(_ context.Context, cfg any, env connectors.Env) (connectors.Source, error) {
		c, ok := cfg.(*Config)
		if !ok {
			return nil, fmt.Errorf("generic connection %s: configuration is a %T", env.Connection, cfg)
		}
		return open(c, env)
	},
}

// The values of Config.Ordering.
const (
	OrderingTime     = "time"
	OrderingVersion  = "version"
	OrderingSequence = "sequence"
)

// The values of Config.Amounts.
const (
	AmountsDecimal = "decimal"
	AmountsMinor   = "minor"
)

// Bounds of the configuration.
const (
	// ToleranceDefault is the reference libraries' of Standard Webhooks.
	ToleranceDefault = 5 * time.Minute
	toleranceMax     = time.Hour
	keysMax          = 8 // active secrets, or public keys
	statusesMax      = 500
)

// Config is one shop.
type Config struct {
	// Secrets sign the shop's webhooks (Standard Webhooks v1): whsec_ and base64 of 24 to 64 random bytes. Several are
	// active while one is being replaced.
	Secrets []schemas.Secret `yaml:"secrets" jsonschema:"description=Active signing secrets\\, whsec_ and base64 of 24 to 64 random bytes; several while one is being replaced."`
	// PublicKeys verify asymmetric signatures (v1a, ed25519): whpk_ and base64 of 32 bytes.
	PublicKeys []string `yaml:"public_keys" jsonschema:"description=Public keys of asymmetric signatures\\, whpk_ and base64 of 32 bytes."`
	// Tolerance is how far webhook-timestamp may be off, both ways; default 5 minutes.
	Tolerance time.Duration `yaml:"tolerance" jsonschema:"description=How far webhook-timestamp may be off\\, both ways. Default: 5m."`
	// Fields says where the shop keeps what: our name to a path in its JSON, such as order.state, lines.1.title or
	// $.type (from the top of the body, or an attribute of the CloudEvent).
	Fields map[string]string `yaml:"fields" jsonschema:"description=Our name of a field to the path in the shop's JSON\\, for example status: order.state"`
	// Statuses says what the shop's own words mean; canonical names need no entry.
	Statuses map[string]schemas.PaymentStatus `yaml:"statuses" jsonschema:"description=The shop's word to a canonical status\\, for example bezahlt: PAID"`
	// Ordering says what tells the newer of two events of an order: time (occurred_at), version (a number that the shop
	// counts up for each order) or sequence (the CloudEvents extension). Default: time.
	Ordering string `yaml:"ordering" jsonschema:"enum=time,enum=version,enum=sequence,description=What tells the newer of two events of one order. Default: time."`
	// Amounts are decimal (49.99) or minor (4999, in the currency's smallest unit). Default: decimal.
	Amounts string `yaml:"amounts" jsonschema:"enum=decimal,enum=minor,description=Amounts are decimals\\, or whole numbers of the currency's smallest unit. Default: decimal."`
	// SubscriptionTypes are the event types that are about a subscription; a trailing * matches any rest. Default:
	// subscription.*
	SubscriptionTypes []string `yaml:"subscription_types" jsonschema:"description=Event types about subscriptions; a trailing * matches any rest. Default: subscription.*"`
	// AllowedOrigins limits which senders the CloudEvents handshake admits; empty: any. The signature decides in any case.
	AllowedOrigins []string `yaml:"allowed_origins" jsonschema:"description=Origins that the CloudEvents handshake admits. Default: any; the signature decides in any case."`
}

// Validate implements connectors.Validator.
func (c *Config) Validate() []connectors.Finding {
	var out []connectors.Finding
	bad := func(field, hint, format string, args ...any) {
		out = append(out, connectors.Finding{Level: connectors.Bad, Field: field, Message: fmt.Sprintf(format, args...), Hint: hint})
	}
	const makeOne = `make one with: echo "whsec_$(openssl rand -base64 32)"`
	if len(c.Secrets) == 0 && len(c.PublicKeys) == 0 {
		bad("secrets", makeOne+", and give it as ${env:NAME} or ${file:PATH}", "no signing secret and no public key is given")
	}
	if len(c.Secrets) > keysMax || len(c.PublicKeys) > keysMax {
		bad("secrets", "keep the new one and the one that it replaces", "more than %d are active", keysMax)
	}
	for i, s := range c.Secrets {
		if _, err := signingKey(s); err != nil {
			bad(fmt.Sprintf("secrets.%d", i), makeOne, "secret %d: %v", i+1, err)
		}
	}
	for i, k := range c.PublicKeys {
		if _, err := publicKey(k); err != nil {
			bad(fmt.Sprintf("public_keys.%d", i), "copy the shop's public key, which begins with whpk_", "public key %d: %v", i+1, err)
		}
	}
	if c.Tolerance < 0 || c.Tolerance > toleranceMax {
		bad("tolerance", "leave it out for 5m", "%v is not between 0 and %v", c.Tolerance, toleranceMax)
	}
	if !slices.Contains([]string{"", OrderingTime, OrderingVersion, OrderingSequence}, c.Ordering) {
		bad("ordering", "use time, version or sequence", "%q is no ordering", c.Ordering)
	}
	if !slices.Contains([]string{"", AmountsDecimal, AmountsMinor}, c.Amounts) {
		bad("amounts", "use decimal or minor", "%q is no way to write amounts", c.Amounts)
	}
	return append(out, c.validateWords()...)
}

// validateWords checks what the configuration says about the shop's own names.
func (c *Config) validateWords() []connectors.Finding {
	var out []connectors.Finding
	bad := func(field, hint, format string, args ...any) {
		out = append(out, connectors.Finding{Level: connectors.Bad, Field: field, Message: fmt.Sprintf(format, args...), Hint: hint})
	}
	for _, name := range slices.Sorted(maps.Keys(c.Fields)) {
		at := "fields." + name
		if _, ok := defaultPaths[name]; !ok {
			bad(at, "names are "+strings.Join(Names(), ", "), "%q is no field", name)
		}
		if _, err := parsePath(c.Fields[name]); err != nil {
			bad(at, "write the names on the way to it, joined by dots: order.state", "path %.100q: %v", c.Fields[name], err)
		}
	}
	if len(c.Statuses) > statusesMax {
		bad("statuses", "leave out what is no payment status", "more than %d", statusesMax)
	}
	folded := map[string]string{}
	for _, raw := range slices.Sorted(maps.Keys(c.Statuses)) {
		at := "statuses." + raw
		if !canonicalStatus(c.Statuses[raw]) {
			bad(at, "use one of "+canonicalNames(), "%q is no canonical status", c.Statuses[raw])
		}
		if strings.TrimSpace(raw) == "" {
			bad(at, "write the shop's word before the colon", "an empty word has no meaning")
		}
		if other, twice := folded[fold(raw)]; twice {
			bad(at, "upper and lower case are not told apart: remove one", "%q and %q are the same word", raw, other)
		}
		folded[fold(raw)] = raw
	}
	return out
}

const (
	secretPrefix    = "whsec_"
	publicKeyPrefix = "whpk_"
	privatePrefix   = "whsk_"
	secretBytesMax  = 1024 // the specification says 64; some shops' are longer
)

// signingKey is the key inside a secret of Standard Webhooks: base64 behind whsec_, padded or not.
func signingKey(s schemas.Secret) (schemas.Secret, error) {
	text := strings.TrimSpace(s.Reveal())
	switch {
	case text == "":
		return schemas.Secret{}, fmt.Errorf("is empty")
	case strings.HasPrefix(text, privatePrefix):
		return schemas.Secret{}, fmt.Errorf("is a private key (%s), which the shop keeps to itself; its public key belongs in public_keys", privatePrefix)
	}
	key, err := base64.RawStdEncoding.Strict().DecodeString(strings.TrimRight(strings.TrimPrefix(text, secretPrefix), "="))
	switch {
	case err != nil || strings.ContainsAny(text, "\r\n"):
		return schemas.Secret{}, fmt.Errorf("is no base64 behind %s", secretPrefix)
	case len(key) < connectors.SecretBytesMin:
		return schemas.Secret{}, fmt.Errorf("has %d bytes, fewer than %d", len(key), connectors.SecretBytesMin)
	case len(key) > secretBytesMax:
		return schemas.Secret{}, fmt.Errorf("has more than %d bytes", secretBytesMax)
	}
	return schemas.NewSecret(string(key)), nil
}

func publicKey(text string) (ed25519.PublicKey, error) {
	text = strings.TrimSpace(text)
	if strings.HasPrefix(text, privatePrefix) || strings.HasPrefix(text, secretPrefix) {
		return nil, fmt.Errorf("is a secret, no public key")
	}
	key, err := base64.RawStdEncoding.Strict().DecodeString(strings.TrimRight(strings.TrimPrefix(text, publicKeyPrefix), "="))
	if err != nil || len(key) != ed25519.PublicKeySize {
		return nil, fmt.Errorf("is no base64 of %d bytes behind %s", ed25519.PublicKeySize, publicKeyPrefix)
	}
	return key, nil
}
