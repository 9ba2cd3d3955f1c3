package shopify

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/tillstream/tillstream/connectors"
	"github.com/tillstream/tillstream/outbound"
	"github.com/tillstream/tillstream/schemas"
)

const (
	headerToken     = "X-Shopify-Access-Token"
	headerCallLimit = "X-Shopify-Shop-Api-Call-Limit" // "32/40" of REST's leaky bucket
	headerServed    = "X-Shopify-Api-Version"         // the version that an answer was made in

	tokenPath = "/admin/oauth/access_token"
	// tokenEarly: a token is renewed this long before its end, so that none expires on the way.
	tokenEarly = 5 * time.Minute
	// tokenSecondsMax bounds what is believed of a token's life; Shopify's live for a day.
	tokenSecondsMax = 7 * 24 * 3600

	throttledTriesMax = 6
	// throttledPause where an answer does not say how long to wait.
	throttledPause = 2 * time.Second
	errorsTextMax  = 400
)

// api calls one shop: REST, GraphQL with its cost bucket, and the token that both need.
type api struct {
	cfg    *Config
	prefix string // "/admin/api/2026-07"
	now    func() time.Time
	sleep  func(context.Context, time.Duration) error
	shop   *outbound.API // with the token
	oauth  *outbound.API // without
	flight singleflight.Group
	answer func(status int, h http.Header) // told of each answer's fate

	mu     sync.Mutex
	token  schemas.Secret
	until  time.Time // zero: the token does not end
	cost   costStatus
	waited time.Time // until when GraphQL asked to wait
	// withheld is why Shopify left fields about customers out of the newest answer that lacked some.
	withheld string
}

func newAPI(c *Config, env connectors.Env, answer func(int, http.Header)) *api {
	base := strings.TrimRight(c.BaseURL, "/")
	if base == "" {
		base = "https://" + c.Shop
	}
	client := *env.HTTP
	client.Transport = wholeSeconds{next: client.Transport}
	a := &api{cfg: c, prefix: "/admin/api/" + c.APIVersion, now: env.Now, sleep: sleep, answer: answer, token: c.AccessToken}
	o := outbound.APIOptions{
		Provider: Type, Base: base, HTTP: &client, Now: env.Now, Secrets: append(c.keys(), c.AccessToken),
		Sleep:     func(ctx context.Context, d time.Duration) error { return a.sleep(ctx, d) },
		Authorize: func(*http.Request) {},
	}
	a.oauth = outbound.NewAPI(o)
	o.Authorize = func(r *http.Request) { r.Header.Set(headerToken, a.current().Reveal()) }
	o.Limits = callLimit
	a.shop = outbound.NewAPI(o)
	return a
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// wholeSeconds rounds Shopify's "Retry-After: 2.0" up to the whole seconds that HTTP knows.
type wholeSeconds struct{ next http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (t wholeSeconds) RoundTrip(r *http.Request) (*http.Response, error) {
	next := t.next
	if next == nil {
		next = http.DefaultTransport
	}
	res, err := next.RoundTrip(r)
	if err != nil {
		return res, err
	}
	if v := res.Header.Get("Retry-After"); strings.Contains(v, ".") {
		if f, err := strconv.ParseFloat(v, 64); err == nil && f >= 0 && f < math.MaxInt32 {
			res.Header.Set("Retry-After", strconv.Itoa(int(math.Ceil(f))))
		}
	}
	return res, nil
}

// callLimit reads REST's bucket: what is used, and its size, which differs by plan.
func callLimit(h http.Header) (limit, left int64, ok bool) {
	used, size, cut := strings.Cut(h.Get(headerCallLimit), "/")
	n, err1 := strconv.ParseInt(used, 10, 32)
	limit, err2 := strconv.ParseInt(size, 10, 32)
	if !cut || err1 != nil || err2 != nil || n < 0 || limit <= 0 {
		return 0, 0, false
	}
	return limit, max(limit-n, 0), true
}

func (a *api) current() schemas.Secret {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.token
}

// ready makes sure of a token. An app of the Dev Dashboard gets one for a day by its client id and secret.
func (a *api) ready(ctx context.Context) error {
	if a.cfg.ClientID == "" {
		return nil
	}
	valid := func() bool {
		a.mu.Lock()
		defer a.mu.Unlock()
		return !a.token.Empty() && a.now().Add(tokenEarly).Before(a.until)
	}
	if valid() {
		return nil
	}
	done := a.flight.DoChan("token", func() (any, error) {
		if valid() {
			return nil, nil
		}
		return nil, a.fetchToken(context.WithoutCancel(ctx))
	})
	select {
	case r := <-done:
		return r.Err
	case <-ctx.Done():
		return fmt.Errorf("shopify token: %w", ctx.Err())
	}
}

func (a *api) fetchToken(ctx context.Context) error {
	var out struct {
		Token   string `json:"access_token"`
		Expires int64  `json:"expires_in"`
	}
	asked := a.now()
	in := map[string]string{"grant_type": "client_credentials", "client_id": a.cfg.ClientID, "client_secret": a.cfg.ClientSecret.Reveal()}
	if _, err := a.oauth.Call(ctx, http.MethodPost, tokenPath, in, &out); err != nil {
		if e := (*outbound.StatusError)(nil); errors.As(err, &e) && e.Status/100 == 4 && e.Status != http.StatusTooManyRequests {
			a.answer(http.StatusUnauthorized, nil) // whatever it calls it, no token is no access
		}
		return err
	}
	if out.Token == "" || out.Expires <= 0 {
		return fmt.Errorf("shopify %s: answer without a token", tokenPath)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.token, a.until = schemas.NewSecret(out.Token), asked.Add(time.Duration(min(out.Expires, tokenSecondsMax))*time.Second)
	return nil
}

// call makes one call under a token; a refused token of a Dev Dashboard app is renewed once.
func (a *api) call(ctx context.Context, method, path string, in, out any) (http.Header, error) {
	for renewed := false; ; renewed = true {
		if err := a.ready(ctx); err != nil {
			return nil, err
		}
		used := a.current()
		header, err := a.shop.Call(ctx, method, path, in, out)
		e := (*outbound.StatusError)(nil)
		if errors.As(err, &e) {
			if !used.Empty() {
				e.Body = strings.ReplaceAll(e.Body, used.Reveal(), used.String())
			}
			if e.Status == http.StatusUnauthorized && a.cfg.ClientID != "" && !renewed {
				a.drop(used)
				continue
			}
		}
		a.told(err, header)
		return header, err
	}
}

// drop forgets a token that Shopify refused, unless a newer one came meanwhile.
func (a *api) drop(used schemas.Secret) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.token.Equal(used) {
		a.token, a.until = schemas.Secret{}, time.Time{}
	}
}

// told passes on what an answer says of the connection as a whole.
func (a *api) told(err error, header http.Header) {
	e := (*outbound.StatusError)(nil)
	switch {
	case err == nil:
		a.answer(http.StatusOK, header)
	case errors.As(err, &e):
		a.answer(e.Status, header)
	}
}

func (a *api) get(ctx context.Context, path string, out any) (http.Header, error) {
	return a.call(ctx, http.MethodGet, path, nil, out)
}

// costStatus is GraphQL's bucket after the newest answer.
type costStatus struct {
	Maximum   float64 `json:"maximumAvailable"`
	Available float64 `json:"currentlyAvailable"`
	Restore   float64 `json:"restoreRate"` // a second
}

// graphqlError is a refusal inside an answer of status 200.
type graphqlError struct {
	text  string
	codes []string
	// personal: all that is refused are single fields about the customer, which are null; the rest of the answer stands.
	personal bool
}

// personalFields are those of an order that need a permission of their own, or Shopify's approval of a public app.
var personalFields = []string{"customer", "email", "phone", "billingAddress", "shippingAddress"}

// errorsMax is how many errors of one answer are told.
const errorsMax = 5

// Error implements error.
func (e *graphqlError) Error() string { return "shopify graphql: " + e.text }

// is reports whether err is a refusal of GraphQL's with that code.
func is(err error, code string) bool {
	e := (*graphqlError)(nil)
	return errors.As(err, &e) && e.has(code)
}

func (e *graphqlError) has(code string) bool { return slices.Contains(e.codes, code) }

// Codes of a refusal.
const (
	codeThrottled  = "THROTTLED"
	codeTooCostly  = "MAX_COST_EXCEEDED"
	codeNotAllowed = "ACCESS_DENIED"
)

// graphql asks one question and decodes its data. Throttling is waited out as the bucket says.
func (a *api) graphql(ctx context.Context, query string, variables map[string]any, out any) error {
	for try := 1; ; try++ {
		var answer struct {
			Data       json.RawMessage `json:"data"`
			Errors     json.RawMessage `json:"errors"`
			Extensions struct {
				Cost struct {
					Requested float64    `json:"requestedQueryCost"`
					Status    costStatus `json:"throttleStatus"`
				} `json:"cost"`
			} `json:"extensions"`
		}
		if _, err := a.call(ctx, http.MethodPost, a.prefix+"/graphql.json", map[string]any{"query": query, "variables": variables}, &answer); err != nil {
			return err
		}
		cost := answer.Extensions.Cost
		a.mu.Lock()
		if cost.Status.Maximum > 0 {
			a.cost = cost.Status
		}
		a.mu.Unlock()
		refused := a.refusal(answer.Errors)
		if strings.Contains(query, orderNode) {
			refused = a.note(refused, answer.Data)
		}
		switch {
		case refused == nil && (len(answer.Data) == 0 || string(answer.Data) == "null"):
			return errors.New("shopify graphql: an answer without data")
		case refused == nil:
			if err := json.Unmarshal(answer.Data, out); err != nil {
				return fmt.Errorf("shopify graphql: data that is not understood: %w", err)
			}
			return nil
		case !refused.has(codeThrottled) || try == throttledTriesMax:
			return refused
		}
		d := throttledPause
		if s := cost.Status; s.Restore > 0 && cost.Requested > s.Available {
			d = time.Duration((cost.Requested - s.Available) / s.Restore * float64(time.Second))
		}
		if d > outbound.CallPatienceMax {
			return fmt.Errorf("%w (asked to wait %s)", refused, d)
		}
		a.mu.Lock()
		a.waited = a.now().Add(d)
		a.mu.Unlock()
		if err := a.sleep(ctx, d); err != nil {
			return fmt.Errorf("%w (gave up: %w)", refused, err)
		}
	}
}

// note remembers whether an answer about orders lacks what it says of customers, and lets it pass if it lacks only that.
func (a *api) note(refused *graphqlError, data json.RawMessage) *graphqlError {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case refused == nil:
		a.withheld = ""
	case refused.personal && len(data) > 0 && string(data) != "null":
		a.withheld = refused.text
		return nil
	}
	return refused
}

// refusal reads the member errors: a list of GraphQL's, or one text. Its texts are masked and cut.
func (a *api) refusal(raw json.RawMessage) *graphqlError {
	if len(raw) == 0 || string(raw) == "null" || string(raw) == "[]" {
		return nil
	}
	var list []struct {
		Message    string `json:"message"`
		Path       []any  `json:"path"`
		Extensions struct {
			Code string `json:"code"`
		} `json:"extensions"`
	}
	e := &graphqlError{}
	var texts []string
	if err := json.Unmarshal(raw, &list); err != nil {
		texts = []string{string(raw)}
	}
	e.personal = len(list) > 0
	for i, one := range list {
		name := ""
		if len(one.Path) > 1 {
			name, _ = one.Path[len(one.Path)-1].(string)
		}
		e.personal = e.personal && one.Extensions.Code == codeNotAllowed && slices.Contains(personalFields, name)
		if i < errorsMax {
			texts = append(texts, one.Message)
			e.codes = append(e.codes, one.Extensions.Code)
		}
	}
	e.text = strings.Join(texts, "; ")
	for _, s := range append(a.cfg.keys(), a.current()) {
		if !s.Empty() {
			e.text = strings.ReplaceAll(e.text, s.Reveal(), s.String())
		}
	}
	e.text = connectors.Cut(outbound.Redact(e.text), errorsTextMax)
	return e
}

// budget is REST's bucket, or GraphQL's cost where that is what the connection uses.
func (a *api) budget() outbound.Budget {
	b := a.shop.Budget()
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.cost.Maximum > 0 && (a.cfg.API == APIGraphQL || b.Limit == 0) {
		b.Limit, b.Left = int64(a.cost.Maximum), int64(a.cost.Available)
	}
	if a.waited.After(b.HoldUntil) {
		b.HoldUntil = a.waited
	}
	return b
}

// lacking is why fields about customers were left out; empty: none were.
func (a *api) lacking() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.withheld
}
