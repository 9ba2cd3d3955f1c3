package paypal

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/tillstream/tillstream/connectors"
	"github.com/tillstream/tillstream/schemas"
)

// source is one PayPal account.
type source struct {
	cfg          *Config
	env          connectors.Env
	acceptTests  bool
	api          *api
	other        *api // PayPal's other environment, to tell a mix-up; nil with a base_url of one's own
	certificates *certificates
	questions    *questions
	resources    []string // chosen
	wanted       []string // event types, sorted
	eventsPage   atomic.Int64

	mu        sync.RWMutex
	webhookID string
}

// Guards: the build says it, not a test.
var (
	_ connectors.Source    = (*source)(nil)
	_ connectors.Webhooker = (*source)(nil)
	_ connectors.Registrar = (*source)(nil)
	_ connectors.Poller    = (*source)(nil)
	_ connectors.Fetcher   = (*source)(nil)
	_ connectors.Watcher   = (*source)(nil)
	_ connectors.Validator = (*Config)(nil)
)

func open(c *Config, env connectors.Env) (*source, error) {
	at, ok := places[env.Environment]
	if !ok {
		return nil, fmt.Errorf("paypal connection %s: environment %q is neither sandbox nor live", env.Connection, env.Environment)
	}
	if env.HTTP == nil || env.Now == nil {
		return nil, fmt.Errorf("paypal connection %s: no HTTP client or clock given", env.Connection)
	}
	chosen := env.Resources
	if len(chosen) == 0 {
		chosen = slices.Sorted(maps.Keys(subscribed))
	}
	wanted, err := eventTypes(chosen)
	if err != nil {
		return nil, fmt.Errorf("paypal connection %s: %w", env.Connection, err)
	}
	hosts := c.CertificateHosts
	if len(hosts) == 0 {
		hosts = at.certificateHosts
	}
	var origins []string
	for _, h := range hosts {
		o, err := certificateOrigin(h)
		if err != nil {
			return nil, fmt.Errorf("paypal connection %s: certificate host %q: %w", env.Connection, h, err)
		}
		origins = append(origins, o)
	}
	roots, intermediates, err := trust(c.TrustFile)
	if err != nil {
		return nil, fmt.Errorf("paypal connection %s: %w", env.Connection, err)
	}
	s := &source{
		cfg: c, env: env, resources: chosen, wanted: wanted, webhookID: c.WebhookID, questions: newQuestions(),
		acceptTests:  env.Environment == schemas.Sandbox,
		certificates: newCertificates(origins, roots, intermediates, env.HTTP, env.Now),
	}
	s.eventsPage.Store(eventsPageSize)
	if c.AcceptTestEvents != nil {
		s.acceptTests = *c.AcceptTestEvents
	}
	if c.BaseURL != "" {
		s.api = newAPI(strings.TrimRight(c.BaseURL, "/"), c, env)
		return s, nil
	}
	s.api = newAPI(at.base, c, env)
	for e, p := range places {
		if e != env.Environment {
			s.other = newAPI(p.base, c, env)
		}
	}
	return s, nil
}

// eventTypes are the names to subscribe to for the chosen resources.
func eventTypes(chosen []string) ([]string, error) {
	var out []string
	for _, id := range chosen {
		names, ok := subscribed[id]
		if !ok {
			return nil, fmt.Errorf("resource %q is none of %s, %s", id, ResourceOrders, ResourceBilling)
		}
		out = append(out, names...)
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}

// takes reports whether the user chose that resource.
func (s *source) takes(resource string) bool { return slices.Contains(s.resources, resource) }

func (s *source) webhook() string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.webhookID
}

func (s *source) setWebhook(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.webhookID = id
}

// Close implements connectors.Source. Nothing stays open: connections belong to the client that was given.
func (s *source) Close() error { return nil }
