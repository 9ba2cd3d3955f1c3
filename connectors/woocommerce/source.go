package woocommerce

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"

	"github.com/tillstream/tillstream/connectors"
	"github.com/tillstream/tillstream/outbound"
	"github.com/tillstream/tillstream/schemas"
)

// source is one store.
type source struct {
	cfg *Config
	env connectors.Env
	api *outbound.API

	mu      sync.Mutex
	hooks   []connectors.Finding // how the webhooks stood when they were listed last
	hidden  *connectors.Finding  // that the newest list left orders out; nil: it did not
	refused *connectors.Finding  // why the newest question was refused; nil: it was answered
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

// apiPath is where version 3 of the REST API begins.
const apiPath = "/wp-json/wc/v3"

func open(c *Config, env connectors.Env) (*source, error) {
	if env.HTTP == nil || env.Now == nil {
		return nil, fmt.Errorf("woocommerce connection %s: no HTTP client or clock given", env.Connection)
	}
	for _, id := range env.Resources {
		if id != ResourceOrders {
			return nil, fmt.Errorf("woocommerce connection %s: resource %q is not %s", env.Connection, id, ResourceOrders)
		}
	}
	return &source{cfg: c, env: env, api: newAPI(c, env, c.QueryAuth)}, nil
}

// newAPI calls the store under its key, by the Authorization header or in the query.
func newAPI(c *Config, env connectors.Env, query bool) *outbound.API {
	key, secret := c.ConsumerKey, c.ConsumerSecret
	basic := base64.StdEncoding.EncodeToString([]byte(key.Reveal() + ":" + secret.Reveal()))
	return outbound.NewAPI(outbound.APIOptions{
		Provider: Type, Base: strings.TrimRight(c.StoreURL, "/"), HTTP: env.HTTP, Now: env.Now,
		Secrets: []schemas.Secret{
			schemas.NewSecret(basic), secret, key,
			schemas.NewSecret(url.QueryEscape(secret.Reveal())), schemas.NewSecret(url.QueryEscape(key.Reveal())),
		},
		Authorize: func(r *http.Request) {
			if !query {
				r.SetBasicAuth(key.Reveal(), secret.Reveal())
				return
			}
			q := r.URL.Query()
			q.Set("consumer_key", key.Reveal())
			q.Set("consumer_secret", secret.Reveal())
			r.URL.RawQuery = q.Encode()
		},
	})
}

// Close implements connectors.Source. Nothing stays open: connections belong to the client that was given.
func (s *source) Close() error { return nil }

// call asks the store, and remembers whether it answered.
func (s *source) call(ctx context.Context, method, path string, in, out any) (http.Header, error) {
	header, err := s.api.Call(ctx, method, apiPath+path, in, out)
	refused := (*connectors.Finding)(nil)
	if err != nil && !notThere(err) && ctx.Err() == nil {
		f := explain(err, header)
		refused = &f
	}
	s.mu.Lock()
	s.refused = refused
	s.mu.Unlock()
	return header, err
}

// Watch implements connectors.Watcher.
func (s *source) Watch() []connectors.Finding {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := append([]connectors.Finding(nil), s.hooks...)
	for _, f := range []*connectors.Finding{s.hidden, s.refused} {
		if f != nil {
			out = append(out, *f)
		}
	}
	return out
}

// Budget implements connectors.Watcher.
func (s *source) Budget() outbound.Budget { return s.api.Budget() }

// Fetch implements connectors.Fetcher: the order as it stands now.
func (s *source) Fetch(ctx context.Context, e *schemas.OrderEvent) (connectors.Delivery, error) {
	if e.Kind != schemas.KindOrder || !idForm.MatchString(e.RootID) {
		return connectors.Delivery{}, fmt.Errorf("event %s is about no order: %w", e.EventID, connectors.ErrNotThere)
	}
	var body json.RawMessage
	_, err := s.call(ctx, http.MethodGet, "/orders/"+e.RootID, nil, &body)
	if notThere(err) {
		return connectors.Delivery{}, fmt.Errorf("order %s: %w", e.RootID, connectors.ErrNotThere)
	} else if err != nil {
		return connectors.Delivery{}, fmt.Errorf("fetch order %s: %w", e.RootID, err)
	}
	return s.read(body, topicUpdated), nil
}

// read is what was read through the API in place of the webhook of that topic.
func (s *source) read(body []byte, topic string) connectors.Delivery {
	return connectors.Delivery{
		Connection: s.env.Connection, Environment: s.env.Environment, Body: body, Headers: map[string]string{headerTopic: topic},
		ReceivedAt: s.env.Now(), Origin: schemas.OriginPoll,
	}
}

// statusOf is the status of a refusal; 0: err is none.
func statusOf(err error) int {
	if e := (*outbound.StatusError)(nil); errors.As(err, &e) {
		return e.Status
	}
	return 0
}

var codeForm = regexp.MustCompile(`"code"\s*:\s*"([a-z0-9_]{1,100})"`)

// codeOf is WooCommerce's own word for a refusal.
func codeOf(err error) string {
	e := (*outbound.StatusError)(nil)
	if !errors.As(err, &e) {
		return ""
	}
	if m := codeForm.FindStringSubmatch(e.Body); m != nil {
		return m[1]
	}
	return ""
}

// notThere reports whether the store answered that it has no such object: a webhook's id is refused with 400.
func notThere(err error) bool {
	code := codeOf(err)
	return statusOf(err) == http.StatusNotFound && code != codeNoRoute && code != "" || strings.HasSuffix(code, "_invalid_id")
}
