package woocommerce

import (
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/tillstream/tillstream/connectors"
)

const (
	hooksPerPage  = 100
	hookPagesMax  = 20
	hookActive    = "active"
	hookDisabled  = "disabled"
	hookPaused    = "paused"
	keyMarkDigits = 8
)

// webhook is a registration at the store. What its secret is, the store tells nobody.
type webhook struct {
	ID          json.Number `json:"id"`
	Name        string      `json:"name"`
	Status      string      `json:"status"`
	Topic       string      `json:"topic"`
	DeliveryURL string      `json:"delivery_url"`
}

func (w webhook) number() int64 {
	n, _ := w.ID.Int64()
	return n
}

// errNoURL says what is missing for a registration.
var errNoURL = errors.New("no public address is set under which the store could reach this connection's webhook endpoint")

// name marks a webhook with the key that signs it, so that a new key is noticed: the store does not tell the old one.
func (s *source) name(topic string) string {
	h := hmac.New(sha256.New, []byte(s.cfg.WebhookSecrets[0].Reveal()))
	h.Write([]byte("name of a webhook"))
	return "Tillstream " + topic + " (key " + hex.EncodeToString(h.Sum(nil))[:keyMarkDigits] + ")"
}

// Register implements connectors.Registrar. The webhooks are those of this connection's address, one for each topic.
func (s *source) Register(ctx context.Context) (connectors.Registration, error) {
	if s.cfg.ManualWebhooks {
		return connectors.Registration{ID: "made by hand"}, nil
	}
	if s.env.PublicURL == "" {
		return connectors.Registration{}, fmt.Errorf("register webhooks: %w; set it, or make the webhooks by hand and say manual_webhooks: true", errNoURL)
	}
	if len(s.cfg.WebhookSecrets) == 0 {
		return connectors.Registration{}, errors.New("register webhooks: webhook_secrets has no secret")
	}
	all, err := s.list(ctx)
	if err != nil {
		return connectors.Registration{}, fmt.Errorf("register webhooks: %w", err)
	}
	reg := connectors.Registration{Used: len(all)}
	var ids, changed []string
	for _, topic := range topics {
		w, did, err := s.mend(ctx, topic, s.mine(all, topic))
		if err != nil {
			return connectors.Registration{}, fmt.Errorf("register webhook %s: %w", topic, explained(err))
		}
		if did.made {
			reg.Used++
		}
		reg.Used -= did.removed
		ids, changed = append(ids, w.ID.String()), append(changed, did.words...)
	}
	if len(changed) > 0 {
		if all, err = s.list(ctx); err != nil {
			return connectors.Registration{}, fmt.Errorf("read the webhooks again: %w", err)
		}
	}
	s.judge(all)
	reg.ID, reg.Changed = strings.Join(ids, ","), strings.Join(changed, "; ")
	return reg, nil
}

// mine are the webhooks of this connection's address for a topic, the one to keep first.
func (s *source) mine(all []webhook, topic string) []webhook {
	var out []webhook
	for _, w := range all {
		if w.DeliveryURL == s.env.PublicURL && w.Topic == topic {
			out = append(out, w)
		}
	}
	order := func(w webhook) int {
		return slices.Index([]string{hookActive, hookPaused, hookDisabled}, w.Status)
	}
	slices.SortFunc(out, func(a, b webhook) int {
		return cmp.Or(cmp.Compare(order(a), order(b)), cmp.Compare(a.number(), b.number()))
	})
	return out
}

// done is what was changed of one topic.
type done struct {
	made    bool
	removed int
	words   []string
}

// mend makes found into one webhook as it should be. A paused one stays so: only a person pauses.
func (s *source) mend(ctx context.Context, topic string, found []webhook) (w webhook, did done, err error) {
	want := map[string]any{"name": s.name(topic), "topic": topic, "delivery_url": s.env.PublicURL, "secret": s.cfg.WebhookSecrets[0].Reveal(), "status": hookActive}
	if len(found) == 0 {
		if _, err = s.call(ctx, http.MethodPost, "/webhooks", want, &w); err != nil {
			return w, did, err
		}
		if w.number() <= 0 {
			return w, did, errors.New("the answer names no id")
		}
		return w, done{made: true, words: []string{topic + " made"}}, nil
	}
	w = found[0]
	change := map[string]any{}
	if w.Name != s.name(topic) {
		change["name"], change["secret"] = want["name"], want["secret"]
		did.words = append(did.words, topic+" given the present secret")
	}
	if w.Status != hookActive && w.Status != hookPaused {
		change["status"] = hookActive
		did.words = append(did.words, topic+" switched on again, which the store had switched off after failed deliveries")
	}
	if len(change) > 0 {
		_, err = s.call(ctx, http.MethodPut, "/webhooks/"+w.ID.String(), change, nil)
		if notThere(err) { // deleted since it was listed
			return s.mend(ctx, topic, found[1:])
		} else if err != nil {
			return w, did, err
		}
	}
	for _, extra := range found[1:] {
		if err := s.remove(ctx, extra); err != nil {
			return w, did, err
		}
		did.removed++
		did.words = append(did.words, topic+" removed, which was registered twice")
	}
	return w, did, nil
}

func (s *source) remove(ctx context.Context, w webhook) error {
	_, err := s.call(ctx, http.MethodDelete, "/webhooks/"+w.ID.String()+"?force=true", nil, nil)
	if err != nil && !notThere(err) {
		return err
	}
	return nil
}

// list reads all webhooks of the store.
func (s *source) list(ctx context.Context) ([]webhook, error) {
	var all []webhook
	for page := 1; page <= hookPagesMax; page++ {
		var some []webhook
		path := "/webhooks?per_page=" + strconv.Itoa(hooksPerPage) + "&page=" + strconv.Itoa(page)
		if _, err := s.call(ctx, http.MethodGet, path, nil, &some); err != nil {
			return nil, explained(err)
		}
		all = append(all, some...)
		if len(some) < hooksPerPage {
			return all, nil
		}
	}
	return nil, fmt.Errorf("the store has more than %d webhooks", hookPagesMax*hooksPerPage)
}

// judge remembers how the connection's webhooks stand.
func (s *source) judge(all []webhook) []connectors.Finding {
	var out []connectors.Finding
	warn := func(message, hint string) {
		out = append(out, connectors.Finding{Level: connectors.Warn, Message: message, Hint: hint})
	}
	for _, topic := range topics {
		switch found := s.mine(all, topic); {
		case len(found) == 0:
			warn("the store has no webhook "+topic+" for this connection's address", "registering makes it; orders are found by polling until then")
		case found[0].Status == hookPaused:
			warn("webhook "+topic+" is paused by a person", "set it to Active at WooCommerce, Settings, Advanced, Webhooks; orders are found by polling until then")
		case found[0].Status != hookActive:
			warn("the store has switched off webhook "+topic+", as it does after several failed deliveries in a row", "registering switches it on again; see why the address did not answer 200")
		}
	}
	s.mu.Lock()
	s.hooks = out
	s.mu.Unlock()
	return out
}

// Unregister implements connectors.Registrar.
func (s *source) Unregister(ctx context.Context) error {
	if s.cfg.ManualWebhooks || s.env.PublicURL == "" {
		return nil
	}
	all, err := s.list(ctx)
	if err != nil {
		return fmt.Errorf("unregister webhooks: %w", err)
	}
	for _, topic := range topics {
		for _, w := range s.mine(all, topic) {
			if err := s.remove(ctx, w); err != nil {
				return fmt.Errorf("unregister webhook %s (%s): %w", w.ID, topic, explained(err))
			}
		}
	}
	s.mu.Lock()
	s.hooks = nil
	s.mu.Unlock()
	return nil
}
