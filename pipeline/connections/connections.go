// Package connections keeps the accounts and stores that events come from: it opens them, keeps their webhooks
// registered, tries their credentials, says what is wrong with each, and takes over a changed list while requests come in.
//
// A Manager does this in a running process; a Desk connects, changes and disconnects accounts in the folder of the
// configuration, for the command line and the API alike. One connection's failure touches no other.
package connections

import (
	"context"
	"fmt"
	"net"
	"reflect"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"github.com/tillstream/tillstream/connectors"
	"github.com/tillstream/tillstream/outbound"
	"github.com/tillstream/tillstream/pipeline/config"
	"github.com/tillstream/tillstream/pipeline/ingest"
)

// Opener opens connections with what a process knows of the outside.
type Opener struct {
	// PublicURL is the address under which providers reach the receiver; empty: none is set.
	PublicURL string
	// Address is where the receiver listens, host:port. A provider's twin on this machine reaches it there.
	Address string
	Now     func() time.Time
	Log     zerolog.Logger
	// Limiter holds a connection's account to its limits, over all processes; nil, or one of nil: none are known.
	Limiter func(config.Connection) outbound.Limiter
}

// URL is the address of c's webhook endpoint; empty: no provider can reach it.
func (o Opener) URL(c config.Connection) string {
	base := strings.TrimSuffix(o.PublicURL, "/")
	if host, port, err := net.SplitHostPort(o.Address); base == "" && c.AllowPrivate && err == nil && host != "" && port != "0" {
		base = "http://" + o.Address
	}
	if base == "" {
		return ""
	}
	return base + ingest.Endpoint{Connection: c.Name, Token: c.Token}.Path()
}

// Open opens c. The error names the file.
func (o Opener) Open(ctx context.Context, c config.Connection) (connectors.Source, error) {
	options := outbound.Options{AllowPrivate: c.AllowPrivate, RootCAs: c.TLSRoots}
	if o.Limiter != nil {
		options.Limiter = o.Limiter(c)
	}
	client, err := outbound.NewClient(options)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.File, err)
	}
	source, err := c.Connector.Open(ctx, c.Settings, connectors.Env{
		Connection: c.Name, Environment: c.Environment, Resources: c.Resources, Now: o.Now,
		Log: o.Log.With().Str("connection", c.Name).Logger(), HTTP: client, PublicURL: o.URL(c),
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.File, err)
	}
	return source, nil
}

// same reports whether a source of a serves b as well. Settings are compared with their secrets, so that a secret that
// was changed in its file counts.
func same(a, b config.Connection) bool {
	if a.Connector.Type != b.Connector.Type {
		return false
	}
	a.Connector, b.Connector = connectors.Connector{}, connectors.Connector{} // functions compare with nothing
	return reflect.DeepEqual(a, b)
}

// sameSettings reports whether a and b are told the same of an account, in whichever environment.
func sameSettings(a, b config.Connection) bool {
	return a.Connector.Type == b.Connector.Type && reflect.DeepEqual(a.Settings, b.Settings)
}

// safely turns a panic of a connector into an error, without its value, which could hold anything.
func safely(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the connector failed with a panic of type %T: please report it", p)
		}
	}()
	return f()
}
