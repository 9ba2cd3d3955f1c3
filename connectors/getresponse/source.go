package getresponse

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"sync"

	"github.com/tillstream/tillstream/connectors"
	"github.com/tillstream/tillstream/outbound"
	"github.com/tillstream/tillstream/schemas"
)

// source is one shop.
type source struct {
	cfg      *Config
	env      connectors.Env
	api      *outbound.API
	contacts *contactCache
	memory   *memory

	mu      sync.Mutex
	refused *connectors.Finding // why the newest question was refused; nil: it was answered
}

// Guards: the build says it, not a test.
var (
	_ connectors.Source    = (*source)(nil)
	_ connectors.Poller    = (*source)(nil)
	_ connectors.Watcher   = (*source)(nil)
	_ connectors.Validator = (*Config)(nil)
)

func open(c *Config, env connectors.Env) (*source, error) {
	if env.Environment != schemas.Sandbox && env.Environment != schemas.Live {
		return nil, fmt.Errorf("getresponse connection %s: environment %q is neither sandbox nor live", env.Connection, env.Environment)
	}
	if env.HTTP == nil || env.Now == nil {
		return nil, fmt.Errorf("getresponse connection %s: no HTTP client or clock given", env.Connection)
	}
	for _, r := range env.Resources {
		if r != ResourceOrders {
			return nil, fmt.Errorf("getresponse connection %s: resource %q is not %s", env.Connection, r, ResourceOrders)
		}
	}
	client := *env.HTTP
	client.Transport = &waitTransport{next: client.Transport}
	s := &source{cfg: c, env: env, memory: newMemory()}
	s.api = outbound.NewAPI(outbound.APIOptions{
		Provider: Type, Base: strings.TrimRight(cmp.Or(c.BaseURL, defaultBase), "/"), HTTP: &client, Now: env.Now,
		Authorize: func(r *http.Request) {
			r.Header.Set("X-Auth-Token", "api-key "+c.APIKey.Reveal())
			if c.Domain != "" {
				r.Header.Set("X-Domain", c.Domain)
			}
		},
		Secrets: []schemas.Secret{c.APIKey}, Limits: limits,
	})
	s.contacts = newContactCache(env.Now)
	return s, nil
}

// Close implements connectors.Source. Nothing stays open: connections belong to the client that was given.
func (s *source) Close() error { return nil }

// limits reads the window's numbers: 30,000 requests in 10 minutes on a normal answer.
func limits(h http.Header) (limit, left int64, ok bool) {
	limit, err1 := strconv.ParseInt(h.Get("X-RateLimit-Limit"), 10, 64)
	left, err2 := strconv.ParseInt(h.Get("X-RateLimit-Remaining"), 10, 64)
	return limit, left, err1 == nil && err2 == nil
}

// waitTransport says in Retry-After what GetResponse says in a header of its own ("267 seconds") when its window of ten
// minutes is used up. Over the limit of one second it sends Retry-After itself.
type waitTransport struct{ next http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (t *waitTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	next := t.next
	if next == nil {
		next = http.DefaultTransport
	}
	res, err := next.RoundTrip(r)
	if err == nil && res.StatusCode == http.StatusTooManyRequests && res.Header.Get("Retry-After") == "" {
		seconds, _, _ := strings.Cut(strings.TrimSpace(res.Header.Get("X-RateLimit-Reset")), " ")
		if n, err := strconv.ParseUint(seconds, 10, 31); err == nil {
			res.Header.Set("Retry-After", strconv.FormatUint(n, 10))
		}
	}
	return res, err
}

// errorCode finds GetResponse's own code in the beginning of an answer: statuses alone do not tell.
var errorCode = regexp.MustCompile(`"code"\s*:\s*([0-9]{1,5})`)

// The codes that a person has to act on.
const (
	codeAuthentication = 1014
	codeBlocked        = 1016
	codeBlockedForGood = 1017
	codeBlockedIP      = 1018
	codeHeaders        = 1021
	codePermission     = 1023
	codeDomain         = 1024
)

func codeOf(e *outbound.StatusError) int {
	if m := errorCode.FindStringSubmatch(e.Body); m != nil {
		n, _ := strconv.Atoi(m[1]) // five digits
		return n
	}
	return 0
}

// explain is a refusal as a finding: its reason and what to do.
func explain(err error) connectors.Finding {
	f := connectors.Finding{Level: connectors.Bad, Field: "api_key", Message: err.Error()}
	e := (*outbound.StatusError)(nil)
	if !errors.As(err, &e) {
		f.Field, f.Hint = "base_url", "GetResponse did not answer as expected; try again, and see whether this machine may reach it"
		return f
	}
	switch code := codeOf(e); {
	case code == codePermission:
		f.Hint = "the key's user may not read shops and contacts: use the key of one who may"
	case code == codeBlocked || code == codeBlockedForGood || code == codeBlockedIP:
		f.Hint = "GetResponse has blocked the account or this machine's address: ask its support"
	case code == codeDomain || code == codeHeaders:
		f.Field, f.Hint = "domain", "domain and base_url belong to MAX accounts: set both as your account manager gave them, or neither"
	case code == codeAuthentication || e.Status == http.StatusUnauthorized || e.Status == http.StatusForbidden:
		f.Hint = "the key is wrong or was deleted: copy it again (Tools, Integrations and API). A key that nobody uses for 90 days expires; a MAX account needs domain and base_url"
	case e.Status == http.StatusTooManyRequests:
		f.Level, f.Hint = connectors.Warn, "the account's requests are used up, by whatever uses it: it goes on by itself"
	case e.Status == http.StatusNotFound:
		f.Field, f.Hint = "shop_id", "the account has no such shop: the check lists those that it has"
	default:
		f.Field, f.Hint = "base_url", "GetResponse did not answer as expected; try again, and see whether this machine may reach it"
	}
	return f
}

// explained is err with what to do, and keeps it for Watch.
func (s *source) explained(what string, err error) error {
	f := explain(err)
	s.mu.Lock()
	s.refused = &f
	s.mu.Unlock()
	return fmt.Errorf("%s: %w (%s)", what, err, f.Hint)
}

func (s *source) answered() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refused = nil
}

// Watch implements connectors.Watcher.
func (s *source) Watch() []connectors.Finding {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refused == nil {
		return nil
	}
	return []connectors.Finding{*s.refused}
}

// Budget implements connectors.Watcher.
func (s *source) Budget() outbound.Budget { return s.api.Budget() }

// shopsShownMax bounds the shops that a finding names.
const shopsShownMax = 20

// Check implements connectors.Source.
func (s *source) Check(ctx context.Context) []connectors.Finding {
	var shops []struct {
		ID   string `json:"shopId"`
		Name string `json:"name"`
	}
	if _, err := s.api.Call(ctx, http.MethodGet, "/shops?perPage=1000", nil, &shops); err != nil {
		return []connectors.Finding{explain(err)}
	}
	out := []connectors.Finding{{Level: connectors.OK, Field: "api_key", Message: "GetResponse accepts the key"}}
	var names []string
	found := ""
	for _, shop := range shops {
		if shop.ID == s.cfg.ShopID {
			found = connectors.Cut(shop.Name, textBytesMax)
		}
		if len(names) < shopsShownMax && idForm.MatchString(shop.ID) {
			names = append(names, fmt.Sprintf("%s (%s)", shop.ID, connectors.Cut(shop.Name, wordBytesMax)))
		}
	}
	if found == "" {
		hint := "set shop_id to one of: " + strings.Join(names, ", ")
		if len(names) == 0 {
			hint = "the account has no shop: connect one in GetResponse, by a plugin or a conversion funnel"
		}
		return append(out, connectors.Finding{Level: connectors.Bad, Field: "shop_id", Message: fmt.Sprintf("the account has no shop %q", s.cfg.ShopID), Hint: hint})
	}
	var orders []struct{}
	header, err := s.api.Call(ctx, http.MethodGet, s.ordersPath(url.Values{"perPage": {"1"}}), nil, &orders)
	if err != nil {
		return append(out, explain(err))
	}
	total := cmp.Or(header.Get("TotalCount"), strconv.Itoa(len(orders)))
	return append(out, connectors.Finding{Level: connectors.OK, Field: "shop_id", Message: fmt.Sprintf("the shop %s has %s orders", found, connectors.Cut(total, wordBytesMax))})
}

func (s *source) ordersPath(q url.Values) string {
	return "/shops/" + url.PathEscape(s.cfg.ShopID) + "/orders?" + q.Encode()
}
