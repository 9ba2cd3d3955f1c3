package shopify

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/tillstream/tillstream/connectors"
)

// Subscriptions are kept by GraphQL, whichever API lists orders: it serves every app, while REST is closed to new
// public ones and has no later versions to look forward to.
const (
	listHooks = `query Hooks($after: String) {
  webhookSubscriptions(first: 100, after: $after) {
    nodes { id topic uri format }
    pageInfo { hasNextPage endCursor }
  }
}`
	createHook = `mutation Create($topic: WebhookSubscriptionTopic!, $hook: WebhookSubscriptionInput!) {
  webhookSubscriptionCreate(topic: $topic, webhookSubscription: $hook) {
    webhookSubscription { id }
    userErrors { field message }
  }
}`
	deleteHook = `mutation Delete($id: ID!) {
  webhookSubscriptionDelete(id: $id) {
    deletedWebhookSubscriptionId
    userErrors { field message }
  }
}`
)

// hookPagesMax bounds the pages of subscriptions that are read.
const hookPagesMax = 20

// errNoURL says what is missing for a registration.
var errNoURL = errors.New("no public address is set under which Shopify could reach this connection's webhook endpoint")

// hook is a subscription at Shopify.
type hook struct {
	ID     string `json:"id"`
	Topic  string `json:"topic"`
	URI    string `json:"uri"`
	Format string `json:"format"`
}

type userErrors []struct {
	Field   []string `json:"field"`
	Message string   `json:"message"`
}

func (u userErrors) err() error {
	if len(u) == 0 {
		return nil
	}
	texts := make([]string, 0, len(u))
	for _, e := range u[:min(len(u), 5)] {
		texts = append(texts, connectors.Cut(strings.Join(e.Field, ".")+" "+e.Message, errorsTextMax))
	}
	return errors.New(strings.Join(texts, "; "))
}

// taken: another instance was faster.
func (u userErrors) taken() bool {
	return len(u) > 0 && strings.Contains(u[0].Message, "already been taken")
}

// hooks are the app's subscriptions to this connection's address.
func (s *source) hooks(ctx context.Context) ([]hook, error) {
	var own []hook
	var after any
	for range hookPagesMax {
		var page struct {
			Hooks struct {
				Nodes []hook `json:"nodes"`
				Page  struct {
					More bool   `json:"hasNextPage"`
					End  string `json:"endCursor"`
				} `json:"pageInfo"`
			} `json:"webhookSubscriptions"`
		}
		if err := s.api.graphql(ctx, listHooks, map[string]any{"after": after}, &page); err != nil {
			return nil, err
		}
		for _, h := range page.Hooks.Nodes {
			if h.URI == s.env.PublicURL {
				own = append(own, h)
			}
		}
		if !page.Hooks.Page.More || page.Hooks.Page.End == "" {
			break
		}
		after = page.Hooks.Page.End
	}
	return own, nil
}

// Register implements connectors.Registrar: one subscription for each topic, all to this connection's address. Those of
// other addresses belong to somebody else.
func (s *source) Register(ctx context.Context) (connectors.Registration, error) {
	if s.cfg.Webhooks == WebhooksManual {
		return connectors.Registration{}, nil
	}
	if s.env.PublicURL == "" {
		return connectors.Registration{}, fmt.Errorf("register webhooks: %w; set it, or register by hand and set webhooks: manual", errNoURL)
	}
	reg, err := s.register(ctx)
	if err != nil {
		return connectors.Registration{}, fmt.Errorf("register webhooks: %w", s.explained(err))
	}
	return reg, nil
}

func (s *source) register(ctx context.Context) (connectors.Registration, error) {
	have, err := s.hooks(ctx)
	if err != nil {
		return connectors.Registration{}, err
	}
	kept := map[string]string{}
	var removed, created, renewed []string
	for _, h := range have {
		if _, twice := kept[h.Topic]; !twice && slices.Contains(s.wanted, h.Topic) && strings.EqualFold(h.Format, "JSON") {
			kept[h.Topic] = h.ID
			continue
		}
		if err := s.deleteHook(ctx, h.ID); err != nil {
			return connectors.Registration{}, fmt.Errorf("%s: %w", h.Topic, err)
		}
		removed = append(removed, h.Topic)
	}
	for _, topic := range s.wanted {
		if kept[topic] != "" {
			continue
		}
		if kept[topic], err = s.createHook(ctx, topic); err != nil {
			return connectors.Registration{}, fmt.Errorf("%s: %w", topic, err)
		}
		if s.wasRegistered(topic) {
			renewed = append(renewed, topic)
		} else {
			created = append(created, topic)
		}
	}
	ids := make([]string, 0, len(s.wanted))
	s.mu.Lock()
	for _, topic := range s.wanted {
		s.registered[topic] = true
		if id := kept[topic]; id != "" {
			ids = append(ids, id[strings.LastIndexByte(id, '/')+1:])
		}
	}
	if len(renewed) > 0 {
		s.seen.vanished = s.env.Now()
	}
	s.mu.Unlock()
	return connectors.Registration{ID: strings.Join(ids, ","), Changed: changes(created, renewed, removed), Used: len(ids)}, nil
}

func changes(created, renewed, removed []string) string {
	var parts []string
	for _, c := range []struct {
		what   string
		topics []string
	}{{"created", created}, {"made anew, as Shopify had deleted it:", renewed}, {"removed", removed}} {
		if len(c.topics) > 0 {
			parts = append(parts, c.what+" "+strings.Join(c.topics, ", "))
		}
	}
	return strings.Join(parts, "; ")
}

func (s *source) wasRegistered(topic string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.registered[topic]
}

// createHook returns the new subscription's id; empty where another instance made it in the meantime.
func (s *source) createHook(ctx context.Context, topic string) (string, error) {
	var a struct {
		Create struct {
			Hook   *hook      `json:"webhookSubscription"`
			Errors userErrors `json:"userErrors"`
		} `json:"webhookSubscriptionCreate"`
	}
	err := s.api.graphql(ctx, createHook, map[string]any{"topic": topic, "hook": map[string]any{"uri": s.env.PublicURL, "format": "JSON"}}, &a)
	switch {
	case err != nil:
		return "", err
	case a.Create.Errors.taken():
		return "", nil
	case len(a.Create.Errors) > 0:
		return "", a.Create.Errors.err()
	case a.Create.Hook == nil || a.Create.Hook.ID == "":
		return "", errors.New("answer without a subscription")
	}
	return a.Create.Hook.ID, nil
}

func (s *source) deleteHook(ctx context.Context, id string) error {
	var a struct {
		Delete struct {
			Errors userErrors `json:"userErrors"`
		} `json:"webhookSubscriptionDelete"`
	}
	if err := s.api.graphql(ctx, deleteHook, map[string]any{"id": id}, &a); err != nil {
		return err
	}
	if len(a.Delete.Errors) > 0 && strings.Contains(a.Delete.Errors[0].Message, "does not exist") {
		return nil // somebody else was faster
	}
	return a.Delete.Errors.err()
}

// Unregister implements connectors.Registrar. Subscriptions made by hand stay.
func (s *source) Unregister(ctx context.Context) error {
	if s.cfg.Webhooks == WebhooksManual || s.env.PublicURL == "" {
		return nil
	}
	have, err := s.hooks(ctx)
	if err != nil {
		return fmt.Errorf("unregister webhooks: %w", s.explained(err))
	}
	for _, h := range have {
		if err := s.deleteHook(ctx, h.ID); err != nil {
			return fmt.Errorf("unregister webhook %s: %w", h.Topic, s.explained(err))
		}
	}
	s.mu.Lock()
	clear(s.registered)
	s.mu.Unlock()
	return nil
}

// explained adds what to do to a refusal.
func (s *source) explained(err error) error {
	if f := s.explain(err); f.Hint != "" {
		return fmt.Errorf("%w (%s)", err, f.Hint)
	}
	return err
}
