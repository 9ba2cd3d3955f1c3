package connections

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/tillstream/tillstream/connectors"
	"github.com/tillstream/tillstream/outbound"
	"github.com/tillstream/tillstream/schemas"
)

// provider is a made-up provider: one account, whose webhooks are told apart by their address.
type provider struct {
	mu       sync.Mutex
	secret   string // that it accepts
	down     bool   // it answers nothing
	broken   string // connections that cannot be opened
	panics   bool
	hooks    map[string][]string // address to resources; nil value: switched off
	slots    int
	watch    []connectors.Finding
	budget   outbound.Budget
	opened   int
	closed   int
	register int // calls
	open     map[*fakeSource]bool
}

func newProvider() *provider {
	return &provider{secret: "right", hooks: map[string][]string{}, slots: 3, open: map[*fakeSource]bool{}}
}

type fakeConfig struct {
	Account string           `yaml:"account"`
	Secret  schemas.Secret   `yaml:"secret"`
	More    []schemas.Secret `yaml:"more"`
	Hosts   []string         `yaml:"hosts"`
	Wait    time.Duration    `yaml:"wait"`
	Strict  bool             `yaml:"strict"`
	Inner   struct {
		Words map[string]string `yaml:"words"`
	} `yaml:"inner"`
}

func (c *fakeConfig) Validate() (out []connectors.Finding) {
	if c.Account == "" {
		out = append(out, connectors.Finding{Level: connectors.Bad, Field: "account", Message: "account is missing", Hint: "see the dashboard"})
	}
	if c.Secret.Empty() {
		out = append(out, connectors.Finding{Level: connectors.Bad, Field: "secret", Message: "secret is missing"})
	}
	return out
}

// connector is the provider's, with two resources.
func (p *provider) connector() connectors.Connector {
	return connectors.Connector{
		Type: "fake", Title: "Fake", Topic: schemas.TopicStoreOrders,
		Resources: []connectors.Resource{{ID: "orders", Title: "Orders", EventTypes: []string{"ORDER.*"}}, {ID: "refunds", Title: "Refunds", EventTypes: []string{"REFUND"}}},
		Fields:    []connectors.Field{{Name: "colour", Label: "Colour", Type: "text", Sample: "red"}},
		Config:    func() any { return &fakeConfig{} },
		Normalize: func(connectors.Delivery) ([]schemas.OrderEvent, error) { return nil, nil },
		Open: func(_ context.Context, cfg any, env connectors.Env) (connectors.Source, error) {
			p.mu.Lock()
			defer p.mu.Unlock()
			if p.broken == env.Connection {
				return nil, errors.New("no such file as its trust_file")
			}
			s := &fakeSource{p: p, cfg: cfg.(*fakeConfig), env: env}
			p.opened++
			p.open[s] = true
			return s, nil
		},
	}
}

// set changes the provider.
func (p *provider) set(f func(*provider)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f(p)
}

type fakeSource struct {
	p   *provider
	cfg *fakeConfig
	env connectors.Env

	mu sync.Mutex
	id string
}

var errDown = errors.New("fake GET /hooks: status 500")

// Check implements connectors.Source.
func (s *fakeSource) Check(context.Context) []connectors.Finding {
	s.p.mu.Lock()
	defer s.p.mu.Unlock()
	switch {
	case s.p.panics:
		panic("with a secret")
	case s.p.down:
		return []connectors.Finding{{Level: connectors.Bad, Field: "base_url", Message: "it does not answer"}}
	case s.cfg.Secret.Reveal() != s.p.secret:
		return []connectors.Finding{{Level: connectors.Bad, Field: "secret", Message: "the secret is wrong", Hint: "copy it again"}}
	case s.env.PublicURL == "":
		return []connectors.Finding{{Level: connectors.Bad, Field: "webhook_id", Message: "no public address is set"}}
	}
	return []connectors.Finding{{Level: connectors.OK, Field: "secret", Message: "the secret is good"}}
}

// Close implements connectors.Source.
func (s *fakeSource) Close() error {
	s.p.mu.Lock()
	defer s.p.mu.Unlock()
	if !s.p.open[s] {
		return errors.New("closed twice")
	}
	delete(s.p.open, s)
	s.p.closed++
	return nil
}

// Verify implements connectors.Webhooker: like PayPal's, it needs the webhook's id.
func (s *fakeSource) Verify(context.Context, *http.Request, []byte) (connectors.Delivery, connectors.Verdict) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.id == "" {
		return connectors.Delivery{}, connectors.Verdict{Kind: connectors.Unverifiable}
	}
	return connectors.Delivery{Connection: s.env.Connection, ID: s.id}, connectors.Verdict{Kind: connectors.Genuine}
}

// Register implements connectors.Registrar.
func (s *fakeSource) Register(context.Context) (connectors.Registration, error) {
	s.p.mu.Lock()
	defer s.p.mu.Unlock()
	s.p.register++
	if s.p.down {
		return connectors.Registration{}, errDown
	}
	had, known := s.p.hooks[s.env.PublicURL]
	r := connectors.Registration{ID: "hook of " + s.env.PublicURL, Limit: s.p.slots}
	switch {
	case !known && len(s.p.hooks) >= s.p.slots:
		return connectors.Registration{Used: len(s.p.hooks), Limit: s.p.slots}, errors.New("all slots are taken")
	case !known:
		r.Changed = "made"
	case had == nil:
		r.Changed = "switched on again"
	case !slices.Equal(had, s.env.Resources):
		r.Changed = "other resources"
	}
	s.p.hooks[s.env.PublicURL] = s.env.Resources
	r.Used = len(s.p.hooks)
	s.mu.Lock()
	s.id = r.ID
	s.mu.Unlock()
	return r, nil
}

// Unregister implements connectors.Registrar.
func (s *fakeSource) Unregister(context.Context) error {
	s.p.mu.Lock()
	defer s.p.mu.Unlock()
	if s.p.down {
		return errDown
	}
	delete(s.p.hooks, s.env.PublicURL)
	return nil
}

// Watch implements connectors.Watcher.
func (s *fakeSource) Watch() []connectors.Finding {
	s.p.mu.Lock()
	defer s.p.mu.Unlock()
	return s.p.watch
}

// Budget implements connectors.Watcher.
func (s *fakeSource) Budget() outbound.Budget {
	s.p.mu.Lock()
	defer s.p.mu.Unlock()
	return s.p.budget
}

// seen is what came of a provider so far.
type seen struct {
	opened, closed, register, open int
	hooks                          map[string][]string
}

func (p *provider) see() seen {
	p.mu.Lock()
	defer p.mu.Unlock()
	return seen{p.opened, p.closed, p.register, len(p.open), maps.Clone(p.hooks)}
}
