package paypal

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/tillstream/tillstream/connectors"
)

const (
	webhooksPath = "/v1/notifications/webhooks"
	// webhooksMax is how many webhooks an app may have at PayPal.
	webhooksMax = 10
)

// webhook is a registration at PayPal.
type webhook struct {
	ID         string      `json:"id"`
	URL        string      `json:"url"`
	EventTypes []eventType `json:"event_types"`
}

// eventType is one that a webhook is subscribed to. PayPal says its status only where one webhook is read.
type eventType struct {
	Name   string `json:"name"`
	Status string `json:"status,omitempty"`
}

const typeDisabled = "DISABLED"

func typeList(names []string) []eventType {
	out := make([]eventType, len(names))
	for i, n := range names {
		out[i] = eventType{Name: n}
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

// disabled are the event types that PayPal keeps in the list and does not send.
func (w webhook) disabled() []string {
	var out []string
	for _, t := range w.EventTypes {
		if strings.EqualFold(t.Status, typeDisabled) {
			out = append(out, t.Name)
		}
	}
	slices.Sort(out)
	return out
}

func webhookPath(id string) string { return webhooksPath + "/" + url.PathEscape(id) }

// errNoURL says what is missing for a registration.
var errNoURL = errors.New("no public address is set under which PayPal could reach this connection's webhook endpoint")

// Register implements connectors.Registrar: it finds the webhook by its URL, corrects its event types and switches
// disabled ones on again, or creates it, also where somebody deleted it at PayPal.
func (s *source) Register(ctx context.Context) (connectors.Registration, error) {
	if s.cfg.WebhookID != "" {
		return connectors.Registration{ID: s.cfg.WebhookID}, nil
	}
	if s.env.PublicURL == "" {
		return connectors.Registration{}, fmt.Errorf("register webhook: %w; set it, or register by hand and configure webhook_id", errNoURL)
	}
	r, err := s.register(ctx)
	if e := (*apiError)(nil); errors.As(err, &e) && e.is("WEBHOOK_URL_ALREADY_EXISTS") {
		// Another instance was faster.
		r, err = s.register(ctx)
	}
	if err != nil {
		return connectors.Registration{}, fmt.Errorf("register webhook: %w", explain(err))
	}
	s.setWebhook(r.ID)
	return r, nil
}

func (s *source) register(ctx context.Context) (connectors.Registration, error) {
	list, err := s.webhooks(ctx)
	if err != nil {
		return connectors.Registration{}, err
	}
	r := connectors.Registration{Used: len(list), Limit: webhooksMax}
	w := s.mine(list)
	if w == nil {
		w = &webhook{}
		err = s.api.call(ctx, http.MethodPost, webhooksPath, map[string]any{"url": s.env.PublicURL, "event_types": typeList(s.wanted)}, w)
		if e := (*apiError)(nil); errors.As(err, &e) && e.is("WEBHOOK_NUMBER_LIMIT_EXCEEDED") {
			err = fmt.Errorf("%w (taken by %s)", err, hosts(list))
		}
		r.Used++
		r.Changed = "the webhook was created"
		if s.webhook() != "" {
			r.Changed = "the webhook was deleted at PayPal, and is made anew"
		}
	} else {
		r.Changed, err = s.correct(ctx, w)
	}
	if err != nil {
		return connectors.Registration{}, err
	}
	if !webhookIDForm.MatchString(w.ID) {
		return connectors.Registration{}, fmt.Errorf("webhook id %.40q in the answer is none", w.ID)
	}
	r.ID = w.ID
	return r, nil
}

// correct gives w the event types that are wanted, all of them switched on. It says what was wrong; empty: nothing.
func (s *source) correct(ctx context.Context, w *webhook) (changed string, err error) {
	if !slices.Equal(w.names(), s.wanted) {
		changed = "the webhook's event types were corrected"
	} else {
		var read webhook
		if err := s.api.call(ctx, http.MethodGet, webhookPath(w.ID), nil, &read); err != nil {
			return "", err
		}
		off := read.disabled()
		if len(off) == 0 {
			return "", nil
		}
		changed = "disabled event types were switched on again: " + strings.Join(off, ", ")
	}
	patch := []map[string]any{{"op": "replace", "path": "/event_types", "value": typeList(s.wanted)}}
	return changed, s.api.call(ctx, http.MethodPatch, webhookPath(w.ID), patch, nil)
}

// webhooks are those of the app.
func (s *source) webhooks(ctx context.Context) ([]webhook, error) {
	var list struct {
		Webhooks []webhook `json:"webhooks"`
	}
	err := s.api.call(ctx, http.MethodGet, webhooksPath, nil, &list)
	return list.Webhooks, err
}

// mine is the webhook of this connection's address, nil where there is none.
func (s *source) mine(list []webhook) *webhook {
	for i := range list {
		if list[i].URL == s.env.PublicURL {
			return &list[i]
		}
	}
	return nil
}

// hosts names where webhooks point to. Their paths stay out: a path is what keeps others from posting there.
func hosts(list []webhook) string {
	var out []string
	for _, w := range list {
		host := "an unreadable address"
		if u, err := url.Parse(w.URL); err == nil && u.Host != "" {
			host = connectors.Cut(u.Host, 100)
		}
		if !slices.Contains(out, host) && len(out) < webhooksMax {
			out = append(out, host)
		}
	}
	slices.Sort(out)
	return strings.Join(out, ", ")
}

// Unregister implements connectors.Registrar. A webhook that was configured by hand stays.
func (s *source) Unregister(ctx context.Context) error {
	if s.cfg.WebhookID != "" || s.env.PublicURL == "" {
		return nil
	}
	list, err := s.webhooks(ctx)
	if err != nil {
		return fmt.Errorf("unregister webhook: %w", explain(err))
	}
	w := s.mine(list)
	if w == nil {
		s.setWebhook("")
		return nil
	}
	err = s.api.call(ctx, http.MethodDelete, webhookPath(w.ID), nil, nil)
	if statusOf(err) == http.StatusNotFound {
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
