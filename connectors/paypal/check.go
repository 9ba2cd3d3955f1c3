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

// Scopes of a token: what the app may do.
const (
	scopeWebhooks      = "https://uri.paypal.com/services/applications/webhooks"
	scopeVerify        = "https://uri.paypal.com/services/applications/verify-webhook-signature"
	scopePayments      = "https://uri.paypal.com/services/payments/payment"
	scopeSubscriptions = "https://uri.paypal.com/services/subscriptions"
	scopeReporting     = "https://uri.paypal.com/services/reporting/search/read"
)

const hintScope = "switch the feature on for the app at developer.paypal.com; the next token (within 9 hours) has it"

// Check implements connectors.Source.
func (s *source) Check(ctx context.Context) []connectors.Finding {
	tok, err := s.api.token(ctx)
	if err != nil {
		return []connectors.Finding{s.explainToken(ctx, err)}
	}
	out := []connectors.Finding{{Level: connectors.OK, Field: "client_secret", Message: "PayPal accepts the credentials"}}
	out = append(out, s.checkScopes(tok)...)
	if s.cfg.WebhookID != "" {
		return append(out, s.checkGivenWebhook(ctx)...)
	}
	return append(out, s.checkAddress(ctx, tok)...)
}

func (s *source) explainToken(ctx context.Context, err error) connectors.Finding {
	f := connectors.Finding{Level: connectors.Bad, Message: err.Error()}
	if statusOf(err) != http.StatusUnauthorized {
		f.Field, f.Hint = "base_url", "PayPal did not answer as expected; try again, and see whether this machine may reach it"
		return f
	}
	f.Field, f.Hint = "client_secret", hintSecret
	if s.other != nil {
		if _, err := s.other.token(ctx); err == nil {
			f.Message = fmt.Sprintf("the credentials are not of PayPal's %s environment, which this connection is for; they work in the other one", s.env.Environment)
			f.Hint = "change the connection's environment, or take the other credentials from the dashboard's Sandbox/Live switch"
		}
	}
	return f
}

const hintSecret = "copy client_id and client_secret again from developer.paypal.com, Apps & Credentials, of the same app"

// checkScopes names each permission that a feature of this connection needs and the token does not have.
func (s *source) checkScopes(tok token) []connectors.Finding {
	var out []connectors.Finding
	need := func(scope string, level connectors.Level, feature, why string) {
		if !tok.has(scope) {
			out = append(out, connectors.Finding{
				Level: level, Field: "client_id", Hint: hintScope,
				Message: fmt.Sprintf("the app lacks the permission %s (%s), needed %s", scope, feature, why),
			})
		}
	}
	if s.cfg.WebhookID == "" {
		need(scopeWebhooks, connectors.Bad, "Webhooks", "to register the webhook and to find events that it missed")
	} else {
		need(scopeWebhooks, connectors.Warn, "Webhooks", "to find events that the webhook missed")
	}
	switch s.cfg.Verification {
	case verifyByPayPal:
		need(scopeVerify, connectors.Bad, "Webhooks", "to have PayPal verify signatures")
	case verifyEither:
		need(scopeVerify, connectors.Warn, "Webhooks", "to have PayPal verify signatures when its certificate cannot be fetched")
	}
	if s.takes(ResourceOrders) {
		need(scopePayments, connectors.Warn, "Payments", "to read orders and payments")
	}
	if s.takes(ResourceBilling) {
		need(scopeSubscriptions, connectors.Warn, "Subscriptions", "to read subscriptions")
	}
	need(scopeReporting, connectors.Warn, "Transaction search", "to load payments of the past")
	return out
}

// checkAddress looks at what a registration needs: an address that PayPal takes, and a free slot.
func (s *source) checkAddress(ctx context.Context, tok token) []connectors.Finding {
	if s.env.PublicURL == "" {
		return []connectors.Finding{{Level: connectors.Bad, Field: "webhook_id", Message: errNoURL.Error(), Hint: "set the public address, or register a webhook by hand and configure its id"}}
	}
	var out []connectors.Finding
	u, err := url.Parse(s.env.PublicURL)
	if s.cfg.BaseURL == "" && (err != nil || u.Scheme != "https" || u.Port() != "" && u.Port() != "443") {
		out = append(out, connectors.Finding{
			Level: connectors.Bad, Message: "the public address is not https on port 443: PayPal sends to no other",
			Hint: "set the address under which a proxy or tunnel with a certificate is reached from outside",
		})
	}
	if !tok.has(scopeWebhooks) {
		return out // said already
	}
	list, err := s.webhooks(ctx)
	switch {
	case err != nil:
		out = append(out, connectors.Finding{Level: connectors.Warn, Message: "the app's webhooks could not be listed: " + err.Error(), Hint: "try again"})
	case s.mine(list) == nil && len(list) >= webhooksMax:
		out = append(out, connectors.Finding{
			Level: connectors.Bad, Message: fmt.Sprintf("all %d webhooks of the app are taken, by %s", webhooksMax, hosts(list)),
			Hint: "delete unused ones in the developer dashboard, or use another app",
		})
	default:
		out = append(out, connectors.Finding{Level: connectors.OK, Message: fmt.Sprintf("%d of the app's %d webhooks are taken", len(list), webhooksMax)})
	}
	return out
}

// checkGivenWebhook looks at a webhook that was registered by hand.
func (s *source) checkGivenWebhook(ctx context.Context) []connectors.Finding {
	var w webhook
	err := s.api.call(ctx, http.MethodGet, webhookPath(s.cfg.WebhookID), nil, &w)
	if statusOf(err) == http.StatusNotFound {
		return []connectors.Finding{{
			Level: connectors.Bad, Field: "webhook_id", Message: fmt.Sprintf("webhook %s is not one of this app in the %s environment", s.cfg.WebhookID, s.env.Environment),
			Hint: "take the id that the dashboard shows beside the webhook's URL, or leave webhook_id out to have it registered",
		}}
	} else if err != nil {
		return []connectors.Finding{{Level: connectors.Warn, Field: "webhook_id", Message: "the webhook could not be read: " + err.Error()}}
	}
	var out []connectors.Finding
	warn := func(hint, message string) {
		out = append(out, connectors.Finding{Level: connectors.Warn, Field: "webhook_id", Message: message, Hint: hint})
	}
	if s.env.PublicURL != "" && w.URL != s.env.PublicURL {
		warn("change the webhook's URL in the dashboard", "the webhook points to another address than this connection's")
	}
	got := w.names()
	missing := slices.DeleteFunc(slices.Clone(s.wanted), func(name string) bool { return slices.Contains(got, name) || slices.Contains(got, "*") })
	if len(missing) > 0 {
		warn("add these event types in the dashboard", "the webhook is not subscribed to "+strings.Join(missing, ", "))
	}
	if off := w.disabled(); len(off) > 0 {
		warn("switch these event types on in the dashboard", "PayPal does not send these event types of the webhook: "+strings.Join(off, ", "))
	}
	return out
}

// statusOf is the HTTP status that PayPal refused a call with; 0: the error is another.
func statusOf(err error) int {
	if e := (*apiError)(nil); errors.As(err, &e) {
		return e.status
	}
	return 0
}
