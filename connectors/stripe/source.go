package stripe

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/tillstream/tillstream/connectors"
	"github.com/tillstream/tillstream/outbound"
	"github.com/tillstream/tillstream/schemas"
)

// source is one Stripe account in one mode.
type source struct {
	cfg    *Config
	env    connectors.Env
	api    *outbound.API // nil: no key is configured
	wanted []string      // event types, sorted

	mu    sync.Mutex
	watch []connectors.Finding // of the newest look at the endpoint
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
	if env.Environment != schemas.Sandbox && env.Environment != schemas.Live {
		return nil, fmt.Errorf("stripe connection %s: environment %q is neither sandbox nor live", env.Connection, env.Environment)
	}
	if env.HTTP == nil || env.Now == nil {
		return nil, fmt.Errorf("stripe connection %s: no HTTP client or clock given", env.Connection)
	}
	wanted, err := eventTypes(env.Resources)
	if err != nil {
		return nil, fmt.Errorf("stripe connection %s: %w", env.Connection, err)
	}
	s := &source{cfg: c, env: env, wanted: wanted}
	if !c.APIKey.Empty() {
		s.api = outbound.NewAPI(outbound.APIOptions{
			Provider: Type, Base: strings.TrimRight(cmp.Or(c.BaseURL, defaultBase), "/"), HTTP: env.HTTP, Now: env.Now,
			Authorize: func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+c.APIKey.Reveal()) },
			Secrets:   append([]schemas.Secret{c.APIKey}, c.SigningSecrets...),
		})
	}
	return s, nil
}

// eventTypes are the names to subscribe to for the chosen resources; none chosen means all.
func eventTypes(chosen []string) ([]string, error) {
	if len(chosen) == 0 {
		chosen = slices.Collect(maps.Keys(subscribed))
	}
	var out []string
	for _, id := range chosen {
		names, ok := subscribed[id]
		if !ok {
			return nil, fmt.Errorf("resource %q is none of %s, %s", id, ResourcePayments, ResourceSubscriptions)
		}
		out = append(out, names...)
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}

// Close implements connectors.Source. Nothing stays open: connections belong to the client that was given.
func (s *source) Close() error { return nil }

// endpoint is a webhook endpoint at Stripe. Its secret is shown once, when it is made.
type endpoint struct {
	ID            string   `json:"id"`
	URL           string   `json:"url"`
	Status        string   `json:"status"` // enabled, disabled
	EnabledEvents []string `json:"enabled_events"`
}

func (e endpoint) missing(wanted []string) []string {
	if slices.Contains(e.EnabledEvents, "*") {
		return nil
	}
	var out []string
	for _, name := range wanted {
		if !slices.Contains(e.EnabledEvents, name) {
			out = append(out, name)
		}
	}
	return out
}

const (
	endpointsPath = "/v1/webhook_endpoints"
	eventsPath    = "/v1/events"
	// endpointsMax is Stripe's bound of endpoints of an account.
	endpointsMax = 16
)

// find returns the endpoint of this connection's address, an enabled one before others, and how many there are. Nil:
// there is none.
func (s *source) find(ctx context.Context) (*endpoint, int, error) {
	var list struct {
		Data []endpoint `json:"data"`
	}
	if _, err := s.api.Call(ctx, http.MethodGet, endpointsPath+"?limit=100", nil, &list); err != nil {
		return nil, 0, err
	}
	var found *endpoint
	for _, e := range list.Data {
		if e.URL == s.env.PublicURL && (found == nil || found.Status != "enabled") {
			found = &e
		}
	}
	return found, len(list.Data), nil
}

var (
	errNoURL = errors.New("no public address is set under which Stripe could reach this connection's webhook endpoint")
	// errNoEndpoint says why none is made: an endpoint's secret is shown once, to whoever makes it, and a connection's
	// secrets are configuration, which only its operator writes.
	errNoEndpoint = errors.New("no webhook endpoint at Stripe has this connection's address")
)

// howToAdd tells how to make the endpoint.
func (s *source) howToAdd() string {
	return fmt.Sprintf("add an endpoint with the address %s and the events %s in the Stripe dashboard (Developers, Webhooks), and put its signing secret, "+
		"which Stripe shows to its maker only, into signing_secrets", s.env.PublicURL, strings.Join(s.wanted, ", "))
}

// Register implements connectors.Registrar. It makes no endpoint, since its secret could not be kept: it switches the one
// with this connection's address on again and adds the events that it lacks. Events that somebody added stay.
func (s *source) Register(ctx context.Context) (connectors.Registration, error) {
	if s.api == nil {
		return connectors.Registration{}, nil // made by hand, and looked after by hand
	}
	if s.env.PublicURL == "" {
		return connectors.Registration{}, fmt.Errorf("look after the webhook endpoint: %w", errNoURL)
	}
	e, used, err := s.find(ctx)
	if err != nil {
		return connectors.Registration{}, fmt.Errorf("look after the webhook endpoint: %w", explain(err))
	}
	reg := connectors.Registration{Used: used, Limit: endpointsMax}
	if e == nil {
		s.see(connectors.Finding{Level: connectors.Bad, Field: "signing_secrets", Message: errNoEndpoint.Error(), Hint: s.howToAdd()})
		return reg, fmt.Errorf("look after the webhook endpoint: %w: %s", errNoEndpoint, s.howToAdd())
	}
	reg.ID = e.ID
	form := url.Values{}
	var changed []string
	if e.Status != "enabled" {
		form.Set("disabled", "false")
		changed = append(changed, "switched on again")
	}
	if missing := e.missing(s.wanted); len(missing) > 0 {
		for i, name := range append(slices.Clone(e.EnabledEvents), missing...) {
			form.Set("enabled_events["+strconv.Itoa(i)+"]", name)
		}
		changed = append(changed, "events added: "+strings.Join(missing, ", "))
	}
	if len(form) > 0 {
		if _, err := s.api.Call(ctx, http.MethodPost, endpointsPath+"/"+url.PathEscape(e.ID), form, nil); err != nil {
			s.see(connectors.Finding{
				Level: connectors.Bad, Field: "api_key", Message: "the webhook endpoint is not as it should be, and could not be changed: " + err.Error(),
				Hint: "switch it on and add the events in the Stripe dashboard, or give the key the permission to write webhook endpoints",
			})
			return reg, fmt.Errorf("change webhook endpoint %s: %w", e.ID, explain(err))
		}
	}
	s.see()
	reg.Changed = strings.Join(changed, "; ")
	return reg, nil
}

// Unregister implements connectors.Registrar. The endpoint was made by hand: it stays.
func (s *source) Unregister(context.Context) error { return nil }

func (s *source) see(findings ...connectors.Finding) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.watch = findings
}

// Watch implements connectors.Watcher.
func (s *source) Watch() []connectors.Finding {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.watch)
}

// Budget implements connectors.Watcher. Stripe names no numbers.
func (s *source) Budget() outbound.Budget {
	if s.api == nil {
		return outbound.Budget{}
	}
	return s.api.Budget()
}

// explain adds what to do to Stripe's refusals.
func explain(err error) error {
	e := (*outbound.StatusError)(nil)
	if !errors.As(err, &e) {
		return err
	}
	switch e.Status {
	case http.StatusUnauthorized:
		return fmt.Errorf("%w (the key is wrong, expired or was rolled: copy it again)", err)
	case http.StatusForbidden:
		return fmt.Errorf("%w (the restricted key lacks the permission: give it %s)", err, permissionFor(e.Path))
	}
	return err
}

func permissionFor(path string) string {
	for prefix, permission := range map[string]string{
		eventsPath: "Events: read", readable["payment_intent"]: "PaymentIntents, Charges and Customers: read",
		readable["charge"]: "Charges and Customers: read", readable["subscription"]: "Subscriptions and Customers: read",
	} {
		if strings.HasPrefix(path, prefix) {
			return permission
		}
	}
	return "Webhook Endpoints: write"
}

// Check implements connectors.Source.
func (s *source) Check(ctx context.Context) []connectors.Finding {
	return append(s.cfg.unlikely(), s.check(ctx)...)
}

func (s *source) check(ctx context.Context) []connectors.Finding {
	if s.api == nil {
		return []connectors.Finding{{
			Level: connectors.Warn, Field: "api_key", Message: "no api_key is set: events that no webhook brought are not found, and a disabled endpoint is not noticed",
			Hint: "make a restricted key with Events: read and Webhook Endpoints: write",
		}}
	}
	if f, wrong := s.checkKeyMode(); wrong {
		return []connectors.Finding{f}
	}
	var list struct {
		Data []struct {
			Livemode bool `json:"livemode"`
		} `json:"data"`
	}
	if _, err := s.api.Call(ctx, http.MethodGet, eventsPath+"?limit=1", nil, &list); err != nil {
		return []connectors.Finding{explainKey(err)}
	}
	if live := s.env.Environment == schemas.Live; len(list.Data) > 0 && list.Data[0].Livemode != live {
		return []connectors.Finding{{
			Level: connectors.Bad, Field: "api_key", Message: fmt.Sprintf("the key is not of the mode that belongs to the %s environment", s.env.Environment),
			Hint: "change the connection's environment, or take the key of the other mode",
		}}
	}
	out := []connectors.Finding{{Level: connectors.OK, Field: "api_key", Message: "Stripe accepts the key"}}
	return append(out, s.checkEndpoint(ctx)...)
}

// checkKeyMode reads the mode off the key: a key of the other mode works, and shows another world.
func (s *source) checkKeyMode() (connectors.Finding, bool) {
	m := keyForm.FindStringSubmatch(s.cfg.APIKey.Reveal())
	if m == nil || m[2] == "org" {
		return connectors.Finding{}, false
	}
	mode := map[schemas.Environment]string{schemas.Live: "live", schemas.Sandbox: "test"}[s.env.Environment]
	return connectors.Finding{
		Level: connectors.Bad, Field: "api_key", Message: fmt.Sprintf("this is a key of %s mode, and the connection is for the %s environment", m[2], s.env.Environment),
		Hint: fmt.Sprintf("take a key of %s mode, and the signing secret of that mode's endpoint, or change the connection's environment", mode),
	}, m[2] != mode
}

func explainKey(err error) connectors.Finding {
	f := connectors.Finding{Level: connectors.Bad, Field: "api_key", Message: err.Error()}
	e := (*outbound.StatusError)(nil)
	switch {
	case !errors.As(err, &e) || e.Status != http.StatusUnauthorized && e.Status != http.StatusForbidden:
		f.Field, f.Hint = "base_url", "Stripe did not answer as expected; try again, and see whether this machine may reach it"
	case e.Status == http.StatusUnauthorized:
		f.Hint = "the key is wrong, expired or was rolled: copy it again from the Stripe dashboard (Developers, API keys)"
	default:
		f.Hint = "the restricted key lacks a permission: give it " + permissionFor(e.Path)
	}
	return f
}

func (s *source) checkEndpoint(ctx context.Context) []connectors.Finding {
	if s.env.PublicURL == "" {
		return []connectors.Finding{{Level: connectors.Bad, Message: errNoURL.Error(), Hint: "set the public address"}}
	}
	e, used, err := s.find(ctx)
	if err != nil {
		f := explainKey(err)
		f.Level = connectors.Warn // events come in all the same
		return []connectors.Finding{f}
	}
	if e == nil {
		f := connectors.Finding{Level: connectors.Bad, Field: "signing_secrets", Message: errNoEndpoint.Error(), Hint: s.howToAdd()}
		if used >= endpointsMax {
			f.Message += fmt.Sprintf(", and all %d that an account may have are in use", endpointsMax)
		}
		return []connectors.Finding{f}
	}
	var out []connectors.Finding
	if e.Status != "enabled" {
		out = append(out, connectors.Finding{
			Level: connectors.Warn, Message: "the webhook endpoint " + e.ID + " is " + connectors.Cut(e.Status, statusBytesMax) + ": Stripe sends it nothing",
			Hint: "it is switched on again when the connection starts; Stripe disables one whose deliveries failed for days, so see why they did",
		})
	}
	if missing := e.missing(s.wanted); len(missing) > 0 {
		out = append(out, connectors.Finding{
			Level: connectors.Warn, Message: "the webhook endpoint " + e.ID + " is not sent " + strings.Join(missing, ", "),
			Hint: "they are added when the connection starts",
		})
	}
	if len(out) == 0 {
		out = append(out, connectors.Finding{Level: connectors.OK, Message: "the webhook endpoint " + e.ID + " is switched on and complete"})
	}
	return out
}
