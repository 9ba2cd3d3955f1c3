package paypal

import (
	"crypto/subtle"
	"net/http"
	"slices"
	"strings"
	"time"
)

type token struct {
	account *account
	until   time.Time
}

// tokensMax bounds the tokens kept; the expired ones go first.
const tokensMax = 10_000

const (
	scopeWebhooks      = "https://uri.paypal.com/services/applications/webhooks"
	scopeVerify        = "https://uri.paypal.com/services/applications/verify-webhook-signature"
	scopePayments      = "https://uri.paypal.com/services/payments/payment"
	scopeSubscriptions = "https://uri.paypal.com/services/subscriptions"
	scopeReporting     = "https://uri.paypal.com/services/reporting/search/read"
)

// AllScopes are the permissions of an app with every feature switched on.
func AllScopes() []string {
	return []string{scopeWebhooks, scopeVerify, scopePayments, scopeSubscriptions, scopeReporting, "openid"}
}

// needs says by the beginning of the path which permission a call needs, the longest match first.
var needs = []struct{ path, scope string }{
	{"/v1/notifications/verify-webhook-signature", scopeVerify},
	{"/v1/notifications/", scopeWebhooks},
	{"/v1/billing/", scopeSubscriptions},
	{"/v1/reporting/", scopeReporting},
	{"/v1/payments/", scopePayments},
	{"/v2/", scopePayments},
}

// allowed reports whether the app may call that path.
func (a *account) allowed(path string) bool {
	for _, n := range needs {
		if strings.HasPrefix(path, n.path) {
			return a.Scopes == nil || slices.Contains(a.Scopes, n.scope)
		}
	}
	return true
}

// serveToken grants a token for client credentials. Its errors have OAuth's shape, not REST's.
func (s *Server) serveToken(w http.ResponseWriter, r *http.Request) {
	if !strings.HasPrefix(r.Header.Get("Content-Type"), "application/x-www-form-urlencoded") {
		s.answer(w, 415, object{"error": "unsupported_media_type", "error_description": "Content-Type must be application/x-www-form-urlencoded"})
		return
	}
	id, secret, _ := r.BasicAuth()
	s.mu.Lock()
	var a *account
	for _, x := range s.accounts {
		if x.ClientID == id && subtle.ConstantTimeCompare([]byte(x.ClientSecret), []byte(secret)) == 1 {
			a = x
		}
	}
	s.mu.Unlock()
	if a == nil {
		s.answer(w, 401, object{"error": "invalid_client", "error_description": "Client Authentication failed"})
		return
	}
	if err := r.ParseForm(); err != nil || r.PostForm.Get("grant_type") != "client_credentials" {
		s.answer(w, 400, object{"error": "unsupported_grant_type", "error_description": "Grant Type is not supported"})
		return
	}
	s.mu.Lock()
	now := s.o.Now()
	for k, t := range s.tokens {
		if now.After(t.until) || len(s.tokens) >= tokensMax {
			delete(s.tokens, k)
		}
	}
	text := "A21AA" + s.id(48)
	s.tokens[text] = token{a, now.Add(TokenSeconds * time.Second)}
	granted := a.Scopes
	if granted == nil {
		granted = AllScopes()
	}
	nonce := now.UTC().Format(time.RFC3339) + s.id(43)
	s.mu.Unlock()
	s.answer(w, 200, object{
		"scope": strings.Join(granted, " "), "access_token": text, "token_type": "Bearer",
		"app_id": "APP-80W284485P519543T", "expires_in": TokenSeconds, "nonce": nonce,
	})
}

// tokenAccount returns the account, or the answer to give; status 0 means the REST shape of a missing header.
func (s *Server) tokenAccount(header string) (a *account, status int, body object) {
	text, ok := strings.CutPrefix(header, "Bearer ")
	if !ok {
		return nil, 0, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	t, ok := s.tokens[text]
	if !ok || s.o.Now().After(t.until) {
		return nil, 401, object{"error": "invalid_token", "error_description": "Access Token not found in cache"}
	}
	return t.account, 0, nil
}

// ExpireTokens forgets every token: the next call with one is answered 401 in OAuth's shape.
func (s *Server) ExpireTokens() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.tokens)
}
