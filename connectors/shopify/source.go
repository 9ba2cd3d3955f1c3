package shopify

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tillstream/tillstream/connectors"
	"github.com/tillstream/tillstream/outbound"
	"github.com/tillstream/tillstream/schemas"
)

// source is one Shopify shop.
type source struct {
	cfg    *Config
	env    connectors.Env
	keys   []schemas.Secret
	wanted []string // topics in the API's spelling, sorted
	api    *api     // nil: there is no access to it

	mu         sync.Mutex
	seen       seen
	registered map[string]bool // topics that were found or made
	pageSize   int             // orders asked for at a time
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
	if env.HTTP == nil || env.Now == nil {
		return nil, fmt.Errorf("shopify connection %s: no HTTP client or clock given", env.Connection)
	}
	wanted, err := wantedTopics(env.Resources)
	if err != nil {
		return nil, fmt.Errorf("shopify connection %s: %w", env.Connection, err)
	}
	s := &source{cfg: c, env: env, keys: c.keys(), wanted: wanted, registered: map[string]bool{}, pageSize: pageSizeGraphQL}
	if c.API == APIREST {
		s.pageSize = pageSizeREST
	}
	if !c.AccessToken.Empty() || c.ClientID != "" {
		s.api = newAPI(c, env, s.answered)
	}
	return s, nil
}

// Close implements connectors.Source. Nothing stays open: connections belong to the client that was given.
func (s *source) Close() error { return nil }

// answered remembers what the API's answers say of the connection.
func (s *source) answered(status int, h http.Header) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch status {
	case http.StatusOK:
		s.seen.answered, s.seen.refused, s.seen.uninstalled = s.env.Now(), time.Time{}, time.Time{}
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusPaymentRequired, http.StatusLocked:
		if s.seen.refused.IsZero() {
			s.seen.refused = s.env.Now()
		}
	}
	if served := h.Get(headerServed); versionForm.MatchString(served) {
		s.seen.version = ""
		if served != s.cfg.APIVersion {
			s.seen.version = served
		}
	}
}

// Scopes that matter.
const (
	scopeOrders   = "read_orders"
	scopeAll      = "read_all_orders"
	scopeDisputes = "read_shopify_payments_disputes"
	scopeCustomer = "read_customers"
)

const checkQuery = `query Check {
  shop { myshopifyDomain plan { partnerDevelopment } }
  currentAppInstallation { accessScopes { handle } }
}`

// Check implements connectors.Source.
func (s *source) Check(ctx context.Context) []connectors.Finding {
	if s.api == nil {
		return []connectors.Finding{{
			Level: connectors.Warn, Field: "access_token", Message: "no access to Shopify's API is configured: what no webhook brings is never found",
			Hint: "give client_id (app of the Dev Dashboard) or access_token, so that gaps are found and history can be loaded",
		}}
	}
	var a struct {
		Shop struct {
			Domain string `json:"myshopifyDomain"`
			Plan   struct {
				Development bool `json:"partnerDevelopment"`
			} `json:"plan"`
		} `json:"shop"`
		Installation struct {
			Scopes []struct {
				Handle string `json:"handle"`
			} `json:"accessScopes"`
		} `json:"currentAppInstallation"`
	}
	if err := s.api.graphql(ctx, checkQuery, nil, &a); err != nil {
		return []connectors.Finding{s.explain(err)}
	}
	out := []connectors.Finding{{Level: connectors.OK, Field: "access_token", Message: "Shopify accepts the credentials"}}
	if !strings.EqualFold(a.Shop.Domain, s.cfg.Shop) {
		out = append(out, connectors.Finding{
			Level: connectors.Bad, Field: "shop", Message: fmt.Sprintf("the shop's permanent address is %.80s, not %s: its webhooks would be refused", a.Shop.Domain, s.cfg.Shop),
			Hint: "write the address that Shopify names, or take the credentials of the other shop",
		})
	}
	out = append(out, s.checkMode(a.Shop.Plan.Development)...)
	var scopes []string
	for _, sc := range a.Installation.Scopes {
		scopes = append(scopes, sc.Handle)
	}
	out = append(out, s.checkScopes(scopes)...)
	return append(out, s.checkAddress()...)
}

// checkMode: a shop for development takes no real money, and any other does.
func (s *source) checkMode(development bool) []connectors.Finding {
	switch {
	case development && s.env.Environment == schemas.Live:
		return []connectors.Finding{{
			Level: connectors.Warn, Field: "shop", Message: "this is a development shop, and the connection is for live ones",
			Hint: "set the connection's environment to sandbox, so that test orders stay apart from real ones",
		}}
	case !development && s.env.Environment == schemas.Sandbox:
		return []connectors.Finding{{
			Level: connectors.Bad, Field: "shop", Message: "this shop takes real money, and the connection is a sandbox",
			Hint: "set the connection's environment to live, or connect a development shop",
		}}
	}
	return nil
}

func (s *source) checkScopes(has []string) []connectors.Finding {
	var out []connectors.Finding
	lacks := func(scope string) bool {
		return !slices.Contains(has, scope) && !slices.Contains(has, "write_"+strings.TrimPrefix(scope, "read_"))
	}
	if lacks(scopeOrders) {
		out = append(out, connectors.Finding{
			Level: connectors.Bad, Field: "access_token", Message: "the app lacks the permission " + scopeOrders + ", without which no order can be seen",
			Hint: "add the scope to the app, release it, and install it in the shop again",
		})
	} else if lacks(scopeAll) {
		out = append(out, connectors.Finding{
			Level: connectors.Warn, Field: "access_token", Message: "the app lacks the permission " + scopeAll + ": Shopify leaves orders older than 60 days out without a word",
			Hint: "request the scope before history is loaded; webhooks and repairs of the last weeks do not need it",
		})
	}
	if s.cfg.API == APIGraphQL && lacks(scopeCustomer) {
		out = append(out, connectors.Finding{
			Level: connectors.Warn, Field: "access_token", Message: "the app lacks the permission " + scopeCustomer + ": orders that are listed do not name the customer's account",
			Hint: "add the scope to the app, or set api: rest; webhooks and addresses are as they were",
		})
	}
	if slices.Contains(s.wanted, "DISPUTES_CREATE") && lacks(scopeDisputes) {
		out = append(out, connectors.Finding{
			Level: connectors.Bad, Field: "access_token", Message: "the app lacks the permission " + scopeDisputes + ", needed for the resource " + ResourceDisputes,
			Hint: "add the scope to the app, or take the resource out of the connection",
		})
	}
	return out
}

func (s *source) checkAddress() []connectors.Finding {
	if s.cfg.Webhooks == WebhooksManual {
		return nil
	}
	if s.env.PublicURL == "" {
		return []connectors.Finding{{Level: connectors.Bad, Message: errNoURL.Error(), Hint: "set the public address, or register webhooks by hand and set webhooks: manual"}}
	}
	if u, err := url.Parse(s.env.PublicURL); s.cfg.BaseURL == "" && (err != nil || u.Scheme != "https") {
		return []connectors.Finding{{Level: connectors.Bad, Message: "Shopify delivers only to https addresses, and the public address is none", Hint: "put TLS in front of Tillstream and set the public address to it"}}
	}
	return nil
}

// explain tells what a refusal means and what to do.
func (s *source) explain(err error) connectors.Finding {
	f := connectors.Finding{Level: connectors.Bad, Field: "access_token", Message: err.Error()}
	e := (*outbound.StatusError)(nil)
	switch {
	case is(err, codeNotAllowed):
		f.Hint = "add the missing scope to the app, release it, and install it in the shop again"
		return f
	case is(err, codeThrottled):
		f.Hint = "the app's budget at Shopify is used up: see what else works under the same app"
		return f
	case !errors.As(err, &e):
		f.Field, f.Hint = "shop", "Shopify did not answer as expected; try again, and see whether this machine may reach it"
		return f
	}
	switch e.Status {
	case http.StatusUnauthorized:
		f.Message = "Shopify refuses the access token: it is wrong, revoked, or of another shop (" + e.Error() + ")"
		f.Hint = "copy the Admin API access token of the app that is installed in this shop again"
	case http.StatusBadRequest:
		if e.Path == tokenPath {
			f.Field, f.Message = "client_id", "Shopify gives no token for this client id and secret ("+e.Error()+")"
			f.Hint = "copy both again from the app's settings in the Dev Dashboard, and see that the app is installed in this shop"
		}
	case http.StatusForbidden:
		f.Message = "Shopify denies the app access (" + e.Error() + ")"
		f.Hint = "see that the app is installed in this shop with the scope " + scopeOrders
	case http.StatusNotFound:
		f.Field, f.Message = "shop", "there is no shop "+s.cfg.Shop+" with API version "+s.cfg.APIVersion
		f.Hint = "compare the address with Settings, Domains in the shop's admin, and leave api_version out"
	case http.StatusPaymentRequired:
		f.Field, f.Message = "shop", "the shop is frozen: its plan is not paid"
		f.Hint = "the shop's owner has to settle the bill with Shopify"
	case http.StatusLocked:
		f.Field, f.Message = "shop", "the shop is locked by Shopify"
		f.Hint = "the shop's owner has to ask Shopify's support"
	default:
		f.Field, f.Hint = "shop", "Shopify did not answer as expected; try again later"
	}
	return f
}

// Watch implements connectors.Watcher.
func (s *source) Watch() []connectors.Finding {
	s.mu.Lock()
	now := s.seen
	s.mu.Unlock()
	var out []connectors.Finding
	if !now.uninstalled.IsZero() {
		out = append(out, connectors.Finding{
			Level: connectors.Bad, Field: "shop", Message: "the app was removed from the shop at " + now.uninstalled.UTC().Format(time.RFC3339) + ": no order comes any more",
			Hint: "install the app in the shop again; a new access token may be needed. Then reconcile since that time",
		})
	}
	if !now.refused.IsZero() {
		out = append(out, connectors.Finding{
			Level: connectors.Bad, Field: "access_token", Message: "Shopify's API has refused the connection since " + now.refused.UTC().Format(time.RFC3339) + ": gaps are not found",
			Hint: "run a check of this connection: it names the reason",
		})
	}
	if now.version != "" {
		out = append(out, connectors.Finding{
			Level: connectors.Warn, Field: "api_version", Message: "Shopify no longer serves API version " + s.cfg.APIVersion + " and answers with " + now.version,
			Hint: "set api_version to " + now.version + " or newer",
		})
	}
	if s.api != nil {
		if why := s.api.lacking(); why != "" {
			out = append(out, connectors.Finding{
				Level: connectors.Warn, Field: "access_token", Message: "Shopify leaves data about customers out of listed orders: " + why,
				Hint: "give the app the permission that is named; a public app needs Shopify's approval for customer data",
			})
		}
	}
	if !now.vanished.IsZero() && s.env.Now().Sub(now.vanished) < vanishedShown {
		out = append(out, connectors.Finding{
			Level: connectors.Warn, Message: "Shopify had deleted webhook subscriptions, which it does after 8 deliveries in a row that got no 2xx; they were made anew at " + now.vanished.UTC().Format(time.RFC3339),
			Hint: "see why the endpoint could not be reached before; what was missed is found by polling",
		})
	}
	return out
}

// vanishedShown is how long subscriptions that had to be made anew are mentioned.
const vanishedShown = 24 * time.Hour

// Budget implements connectors.Watcher.
func (s *source) Budget() outbound.Budget {
	if s.api == nil {
		return outbound.Budget{}
	}
	return s.api.budget()
}
