package woocommerce

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/tillstream/tillstream/connectors"
	"github.com/tillstream/tillstream/outbound"
)

// Codes of WooCommerce and WordPress.
const (
	codeAuthentication = "woocommerce_rest_authentication_error"
	codeCannotView     = "woocommerce_rest_cannot_view"
	codeNoRoute        = "rest_no_route"
)

// clockSkewMax is how far a store's clock may be off before times of changes are doubtful.
const clockSkewMax = 2 * time.Minute

// Check implements connectors.Source: the address, the key and its permissions, the clock, the webhooks.
func (s *source) Check(ctx context.Context) []connectors.Finding {
	var orders []json.RawMessage
	header, err := s.call(ctx, http.MethodGet, "/orders?per_page=1&_fields=id", nil, &orders)
	if err != nil {
		return []connectors.Finding{s.withQuery(ctx, err, explain(err, header))}
	}
	out := []connectors.Finding{{Level: connectors.OK, Field: "consumer_secret", Message: "the store lets this key read orders"}}
	out = append(out, s.checkClock(header)...)
	if s.cfg.ManualWebhooks {
		return out
	}
	if s.env.PublicURL == "" {
		return append(out, connectors.Finding{
			Level: connectors.Bad, Message: errNoURL.Error(), Hint: "set the public address, or make the webhooks by hand and say manual_webhooks: true",
		})
	}
	out = append(out, s.checkAddress()...)
	all, err := s.list(ctx)
	if err != nil {
		f := explain(err, nil)
		f.Message = "webhooks cannot be read: " + f.Message
		return append(out, f)
	}
	// Changing what does not exist changes nothing; a key without write permission is refused before that is seen.
	_, err = s.api.Call(ctx, http.MethodPut, apiPath+"/webhooks/0", map[string]any{}, nil)
	if status := statusOf(err); status == http.StatusUnauthorized || status == http.StatusForbidden {
		out = append(out, connectors.Finding{
			Level: connectors.Bad, Field: "consumer_key", Message: "the key may read but not write, so that no webhook can be registered",
			Hint: "set the key's permission to Read/Write at WooCommerce, Settings, Advanced, REST API, or make the webhooks by hand and say manual_webhooks: true",
		})
	}
	return append(out, s.judge(all)...)
}

// withQuery tries the other way of showing the key, where the store saw none.
func (s *source) withQuery(ctx context.Context, err error, f connectors.Finding) connectors.Finding {
	if s.cfg.QueryAuth || statusOf(err) != http.StatusUnauthorized {
		return f
	}
	if _, err := newAPI(s.cfg, s.env, true).Call(ctx, http.MethodGet, apiPath+"/orders?per_page=1&_fields=id", nil, nil); err != nil {
		return f
	}
	return connectors.Finding{
		Level: connectors.Bad, Field: "query_auth", Message: "the store's web server drops the Authorization header; the key works in the query",
		Hint: "say query_auth: true, or have the host pass the header on",
	}
}

func (s *source) checkClock(h http.Header) []connectors.Finding {
	at, err := http.ParseTime(h.Get("Date"))
	if err != nil {
		return nil
	}
	if skew := s.env.Now().Sub(at); skew.Abs() > clockSkewMax {
		return []connectors.Finding{{
			Level: connectors.Warn, Field: "store_url", Message: fmt.Sprintf("the store's clock and ours differ by %s", skew.Abs().Round(time.Second)),
			Hint: "set both clocks by NTP: changes are ordered by the store's time",
		}}
	}
	return nil
}

// portsReached are those that WordPress lets a webhook go to.
var portsReached = map[string]bool{"": true, "80": true, "443": true, "8080": true}

func (s *source) checkAddress() []connectors.Finding {
	hook, err1 := url.Parse(s.env.PublicURL)
	store, err2 := url.Parse(s.cfg.StoreURL)
	if err1 != nil || err2 != nil || loopback(store.Hostname()) { // a store on this machine reaches whatever it likes
		return nil
	}
	if loopback(hook.Hostname()) || !portsReached[hook.Port()] {
		return []connectors.Finding{{
			Level: connectors.Warn, Message: "WordPress sends nothing to the public address: it is this machine's own, or its port is none of 80, 443 and 8080",
			Hint: "give a public address with https on port 443",
		}}
	}
	return nil
}

// explain says what a refusal means and what to do. header is the refusing answer's; nil where it is not known.
func explain(err error, header http.Header) connectors.Finding {
	f := connectors.Finding{Level: connectors.Bad, Message: err.Error()}
	status, code := statusOf(err), codeOf(err)
	syntax, form := (*json.SyntaxError)(nil), (*json.UnmarshalTypeError)(nil)
	switch {
	case code == codeAuthentication:
		f.Field, f.Hint = "consumer_key", "the store does not know the key, or the key lacks the permission named: make one with Read/Write at WooCommerce, Settings, Advanced, REST API"
	case code == codeCannotView || status == http.StatusUnauthorized:
		f.Field = "consumer_secret"
		f.Hint = "copy consumer_key and consumer_secret of one key again; if they are right, the key's user may not see orders (it needs the role Shop manager), or the host drops the Authorization header"
	case status == http.StatusForbidden:
		f.Field, f.Hint = "store_url", "a firewall or security plugin in front of the store refuses us: allow requests to /wp-json/wc/ from this machine"
	case code == codeNoRoute:
		f.Field, f.Hint = "store_url", "there is WordPress but no WooCommerce API: activate WooCommerce (3.5 or newer) at this site"
	case status == http.StatusNotFound:
		f.Field, f.Hint = "store_url", "there is no WordPress API at this address: give the address of the shop itself, and set Permalinks to anything but Plain at WordPress, Settings"
	case status >= 300 && status < 400:
		f.Field, f.Hint = "store_url", "write the address that the shop answers at itself"+movedTo(header)
	case status == http.StatusBadRequest:
		f.Field, f.Hint = "store_url", "the store does not understand the question: WooCommerce 5.8 or newer is needed"
	case status == http.StatusTooManyRequests:
		f.Level, f.Field, f.Hint = connectors.Warn, "store_url", "the store's host limits requests; it is asked again later"
	case status >= 500:
		f.Level, f.Field, f.Hint = connectors.Warn, "store_url", "the store has trouble of its own; it is asked again later"
	case errors.As(err, &syntax) || errors.As(err, &form):
		f.Field, f.Hint = "store_url", "the answer is no JSON: the address is not the shop's, or a plugin prints text into every page"
	case errors.Is(err, outbound.ErrTooLarge):
		f.Field, f.Hint = "store_url", "the answer is larger than is read"
	default:
		f.Field, f.Hint = "store_url", "the store did not answer: see whether the address is right and this machine may reach it"
	}
	return f
}

// movedTo is the origin that a redirect names, never its query.
func movedTo(h http.Header) string {
	u, err := url.Parse(h.Get("Location"))
	if h == nil || err != nil || u.Host == "" {
		return ""
	}
	return ": " + u.Scheme + "://" + u.Host
}

// explained adds what to do to an error.
func explained(err error) error {
	if err == nil || statusOf(err) == 0 {
		return err
	}
	return fmt.Errorf("%w (%s)", err, explain(err, nil).Hint)
}
