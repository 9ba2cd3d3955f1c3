package paypal

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"

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
	wanted       []string // event types, sorted

	mu        sync.RWMutex
	webhookID string
}

// Guards: the build says it, not a test.
var (
	_ connectors.Source    = (*source)(nil)
	_ connectors.Webhooker = (*source)(nil)
	_ connectors.Registrar = (*source)(nil)
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
	wanted, err := eventTypes(env.Resources)
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
		cfg: c, env: env, wanted: wanted, webhookID: c.WebhookID,
		acceptTests:  env.Environment == schemas.Sandbox,
		certificates: newCertificates(origins, roots, intermediates, env.HTTP, env.Now),
	}
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

// eventTypes are the names to subscribe to for the chosen resources; none chosen means all.
func eventTypes(chosen []string) ([]string, error) {
	if len(chosen) == 0 {
		chosen = slices.Collect(maps.Keys(subscribed))
	}
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

// webhook is a registration at PayPal.
type webhook struct {
	ID         string      `json:"id"`
	URL        string      `json:"url"`
	EventTypes []eventType `json:"event_types"`
}

type eventType struct {
	Name string `json:"name"`
}

func typeList(names []string) []eventType {
	out := make([]eventType, len(names))
	for i, n := range names {
		out[i] = eventType{n}
	}
	return out
}

func (w webhook) names() []string {
	out := make([]string, len(w.EventTypes))
	for i, t := range w.EventTypes {
		out[i] = t.Name
	}
	slices.Sort(out)
	return out
}

// errNoURL says what is missing for a registration.
var errNoURL = errors.New("no public address is set under which PayPal could reach this connection's webhook endpoint")

// Register implements connectors.Registrar: it finds the webhook by its URL, corrects its event types, or creates it.
func (s *source) Register(ctx context.Context) (connectors.Registration, error) {
	if s.cfg.WebhookID != "" {
		return connectors.Registration{ID: s.cfg.WebhookID}, nil
	}
	if s.env.PublicURL == "" {
		return connectors.Registration{}, fmt.Errorf("register webhook: %w; set it, or register by hand and configure webhook_id", errNoURL)
	}
	id, err := s.register(ctx)
	if e := (*apiError)(nil); errors.As(err, &e) && e.is("WEBHOOK_URL_ALREADY_EXISTS") {
		// Another instance was faster.
		id, err = s.register(ctx)
	}
	if err != nil {
		return connectors.Registration{}, fmt.Errorf("register webhook: %w", explain(err))
	}
	s.setWebhook(id)
	return connectors.Registration{ID: id}, nil
}

func (s *source) register(ctx context.Context) (string, error) {
	w, err := s.find(ctx)
	if err != nil {
		return "", err
	}
	switch {
	case w == nil:
		w = &webhook{}
		err = s.api.call(ctx, http.MethodPost, "/v1/notifications/webhooks", map[string]any{"url": s.env.PublicURL, "event_types": typeList(s.wanted)}, w)
	case !slices.Equal(w.names(), s.wanted):
		patch := []map[string]any{{"op": "replace", "path": "/event_types", "value": typeList(s.wanted)}}
		err = s.api.call(ctx, http.MethodPatch, "/v1/notifications/webhooks/"+url.PathEscape(w.ID), patch, nil)
	}
	if err != nil {
		return "", err
	}
	if !webhookIDForm.MatchString(w.ID) {
		return "", fmt.Errorf("webhook id %.40q in the answer is none", w.ID)
	}
	return w.ID, nil
}

// find returns the webhook of this URL, nil where there is none.
func (s *source) find(ctx context.Context) (*webhook, error) {
	var list struct {
		Webhooks []webhook `json:"webhooks"`
	}
	if err := s.api.call(ctx, http.MethodGet, "/v1/notifications/webhooks", nil, &list); err != nil {
		return nil, err
	}
	for _, w := range list.Webhooks {
		if w.URL == s.env.PublicURL {
			return &w, nil
		}
	}
	return nil, nil
}

// Unregister implements connectors.Registrar. A webhook that was configured by hand stays.
func (s *source) Unregister(ctx context.Context) error {
	if s.cfg.WebhookID != "" || s.env.PublicURL == "" {
		return nil
	}
	w, err := s.find(ctx)
	if err != nil {
		return fmt.Errorf("unregister webhook: %w", explain(err))
	}
	if w == nil {
		s.setWebhook("")
		return nil
	}
	err = s.api.call(ctx, http.MethodDelete, "/v1/notifications/webhooks/"+url.PathEscape(w.ID), nil, nil)
	if e := (*apiError)(nil); errors.As(err, &e) && e.status == http.StatusNotFound {
		err = nil
	}
	if err != nil {
		return fmt.Errorf("unregister webhook %s: %w", w.ID, explain(err))
	}
	s.setWebhook("")
	return nil
}

// explain adds what to do to PayPal's refusals of a registration.
func explain(err error) error {
	e := (*apiError)(nil)
	if !errors.As(err, &e) {
		return err
	}
	hint := ""
	switch {
	case e.is("WEBHOOK_NUMBER_LIMIT_EXCEEDED"):
		hint = "an app may have 10 webhooks: delete unused ones in the developer dashboard, or use another app"
	case e.is("VALIDATION_ERROR"):
		hint = "PayPal takes only an https address on port 443 that it can reach from outside"
	case e.status == http.StatusForbidden:
		hint = "the app lacks the permission: switch webhooks on for it in the developer dashboard"
	default:
		return err
	}
	return fmt.Errorf("%w (%s)", err, hint)
}

// Scopes of a token.
const (
	scopeWebhooks      = "https://uri.paypal.com/services/applications/webhooks"
	scopePayments      = "https://uri.paypal.com/services/payments/payment"
	scopeSubscriptions = "https://uri.paypal.com/services/subscriptions"
)

// Check implements connectors.Source.
func (s *source) Check(ctx context.Context) []connectors.Finding {
	tok, err := s.api.token(ctx)
	if err != nil {
		return []connectors.Finding{s.explainToken(ctx, err)}
	}
	out := []connectors.Finding{{Level: connectors.OK, Field: "client_secret", Message: "PayPal accepts the credentials"}}
	out = append(out, s.checkScopes(tok)...)
	return append(out, s.checkWebhook(ctx)...)
}

func (s *source) explainToken(ctx context.Context, err error) connectors.Finding {
	f := connectors.Finding{Level: connectors.Bad, Message: err.Error()}
	e := (*apiError)(nil)
	if !errors.As(err, &e) || e.status != http.StatusUnauthorized {
		f.Field, f.Hint = "base_url", "PayPal did not answer as expected; try again, and see whether this machine may reach it"
		return f
	}
	f.Field = "client_secret"
	f.Hint = "copy client_id and client_secret again from developer.paypal.com, Apps & Credentials, of the same app"
	if s.other != nil {
		if _, err := s.other.token(ctx); err == nil {
			f.Message = fmt.Sprintf("the credentials are not of PayPal's %s environment, which this connection is for; they work in the other one", s.env.Environment)
			f.Hint = "change the connection's environment, or take the other credentials from the dashboard's Sandbox/Live switch"
		}
	}
	return f
}

func (s *source) checkScopes(tok token) []connectors.Finding {
	var out []connectors.Finding
	has := strings.Fields(tok.scope)
	need := func(scope string, level connectors.Level, field, why string) {
		if slices.Contains(has, scope) {
			return
		}
		out = append(out, connectors.Finding{
			Level: level, Field: field, Message: "the app lacks the permission " + scope + ", needed " + why,
			Hint: "switch the feature on for the app at developer.paypal.com; the next token (within 9 hours) has it",
		})
	}
	if s.cfg.WebhookID == "" {
		need(scopeWebhooks, connectors.Bad, "client_id", "to register the webhook")
	}
	if slices.Contains(s.wanted, subscribed[ResourceOrders][0]) {
		need(scopePayments, connectors.Warn, "client_id", "to read orders and payments")
	}
	if slices.Contains(s.wanted, subscribed[ResourceBilling][0]) {
		need(scopeSubscriptions, connectors.Warn, "client_id", "to read subscriptions")
	}
	return out
}

func (s *source) checkWebhook(ctx context.Context) []connectors.Finding {
	if s.cfg.WebhookID == "" {
		if s.env.PublicURL == "" {
			return []connectors.Finding{{Level: connectors.Bad, Field: "webhook_id", Message: errNoURL.Error(), Hint: "set the public address, or register a webhook by hand and configure its id"}}
		}
		return nil
	}
	var w webhook
	err := s.api.call(ctx, http.MethodGet, "/v1/notifications/webhooks/"+url.PathEscape(s.cfg.WebhookID), nil, &w)
	if e := (*apiError)(nil); errors.As(err, &e) && e.status == http.StatusNotFound {
		return []connectors.Finding{{
			Level: connectors.Bad, Field: "webhook_id", Message: fmt.Sprintf("webhook %s is not one of this app in the %s environment", s.cfg.WebhookID, s.env.Environment),
			Hint: "take the id that the dashboard shows beside the webhook's URL, or leave webhook_id out to have it registered",
		}}
	} else if err != nil {
		return []connectors.Finding{{Level: connectors.Warn, Field: "webhook_id", Message: "the webhook could not be read: " + err.Error()}}
	}
	var out []connectors.Finding
	if s.env.PublicURL != "" && w.URL != s.env.PublicURL {
		out = append(out, connectors.Finding{Level: connectors.Warn, Field: "webhook_id", Message: "the webhook points to another address than this connection's", Hint: "change the webhook's URL in the dashboard"})
	}
	var missing []string
	for _, name := range s.wanted {
		if got := w.names(); !slices.Contains(got, name) && !slices.Contains(got, "*") {
			missing = append(missing, name)
		}
	}
	if len(missing) > 0 {
		out = append(out, connectors.Finding{Level: connectors.Warn, Field: "webhook_id", Message: "the webhook is not subscribed to " + strings.Join(missing, ", "), Hint: "add these event types in the dashboard"})
	}
	return out
}
