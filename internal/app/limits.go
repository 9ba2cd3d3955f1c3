package app

import (
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tillstream/tillstream/outbound"
	"github.com/tillstream/tillstream/pipeline/config"
	"github.com/tillstream/tillstream/pipeline/connections"
	"github.com/tillstream/tillstream/pipeline/limits"
)

// accounts are the limits of the accounts that a configuration names, over all processes that share its Redis.
type accounts struct {
	book  *limits.Book
	redis *redis.Client
}

// openAccounts asks Redis nothing yet.
func openAccounts(c *config.Config, now func() time.Time) accounts {
	client := redis.NewClient(redisOptions(c.Settings.Redis))
	a := accounts{limits.New(limits.Options{Redis: client, Instance: c.Settings.Instance, Now: now}), client}
	// All uses are known in every process, so that each can tell how the accounts stand.
	for _, d := range c.Destinations {
		a.destination(d)
	}
	for _, conn := range c.Connections {
		a.connection(conn)
	}
	return a
}

func (a accounts) close() {
	a.book.Close()
	_ = a.redis.Close()
}

// The kinds of use, as they are shown.
const (
	useDestination = "destination"
	useConnection  = "connection"
)

// destination is the limiter of requests to d. Destinations and connections on one account share its limits evenly.
func (a accounts) destination(d config.Destination) outbound.Limiter {
	return a.book.Use(accountOf(d), useDestination+" "+d.Name, limitsOf(d))
}

// connection is the limiter of requests to c's provider; nil where nothing is known of its limits.
func (a accounts) connection(c config.Connection) outbound.Limiter {
	l, ok := c.Settings.(limited)
	if !ok {
		return nil
	}
	return a.book.Use(c.Connector.Type+":"+l.Account(), useConnection+" "+c.Name, l.Limits())
}

// keep has the connections of list shown, and no others.
func (a accounts) keep(list []connections.Served) {
	names := make([]string, len(list))
	for i, s := range list {
		names[i] = s.Name
	}
	a.book.Keep(useConnection, names)
}

// limited is what settings say of an account's limits. A connection and a destination that name the same account, at
// the same kind of provider, share them.
type limited interface {
	Account() string
	Limits() outbound.Limits
}

// limitsOf are the provider's limits of a destination's account, with the rate that its file says.
func limitsOf(d config.Destination) outbound.Limits {
	var all outbound.Limits
	if l, ok := d.Settings.(limited); ok {
		all = l.Limits()
	}
	return all.WithRate(d.RatePerSecond)
}

// accountOf is whose limit it is: two destinations on one account share it.
func accountOf(d config.Destination) string {
	if a, ok := d.Settings.(interface{ Account() string }); ok {
		return d.Sink.Type + ":" + a.Account()
	}
	return d.Sink.Type + ":" + d.Name
}

// limited reports whether this process waits for limits that are kept in Redis.
func (p *process) limited() bool {
	return p.Roles.Sinks && slices.ContainsFunc(p.Config.Destinations, func(d config.Destination) bool { return !limitsOf(d).None() }) ||
		p.Roles.Connectors && slices.ContainsFunc(p.Config.Connections, func(c config.Connection) bool { _, ok := c.Settings.(limited); return ok })
}
