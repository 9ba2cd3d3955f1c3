package activecampaign

import (
	"context"
	"fmt"
	"net/http"
	"net/url"

	"github.com/tillstream/tillstream/sinks"
)

// permission is something that the key's user must be allowed, or should be.
type permission struct {
	path, what string
	only       string // what it is needed for; "": for every contact
}

// permissions are tried by reading one row of each.
var permissions = []permission{
	{"/contacts", "contacts", ""},
	{"/fields", "custom fields", ""},
	{"/tags", "tags", ""},
	{"/lists", "lists", "for workflows that ask who is on a list, or put somebody there"},
	{"/automations", "automations", "for workflows that start one, or send a message"},
	{"/connections", "deep data", "for orders and recurring payments"},
}

// Check implements sinks.Writer: address, key, each permission, fields and tags, and event tracking where it is configured.
func (w *writer) Check(ctx context.Context) []sinks.Finding {
	if _, fail := w.whoami(ctx); fail != nil {
		return []sinks.Finding{wrongWith(fail)}
	}
	out := []sinks.Finding{{Field: "key", Message: "the API key is accepted"}}
	missing, needed := w.allowed(ctx)
	if !needed {
		return append(out, missing...)
	}
	fields, tags, fail := w.catalogue.counts(ctx)
	if fail != nil {
		return append(out, wrongWith(fail))
	}
	out = append(out, sinks.Finding{Field: "url", Message: fmt.Sprintf("%d custom fields and %d contact tags can be used", fields, tags)})
	return append(append(out, missing...), w.checkTracking(ctx))
}

// wrongWith says which setting a failure of the account's is about.
func wrongWith(f *failure) sinks.Finding {
	out := sinks.Finding{Bad: true, Field: "url", Message: f.cause, Hint: f.remedy}
	switch {
	case f.status == http.StatusUnauthorized, f.status == http.StatusForbidden, f.status == http.StatusPaymentRequired:
		out.Field = "key"
	case f.status >= 200 && f.status < 300 && f.kind != failAccount:
		out.Message = "the address answers with something other than ActiveCampaign's API: " + f.cause
		out.Hint = "correct url: copy it from Settings, Developer in ActiveCampaign; it ends in api-us1.com or the like, and is not the address of the website"
	}
	return out
}

// allowed reports what the key's user may not do. needed is false where that leaves nothing to be written.
func (w *writer) allowed(ctx context.Context) (missing []sinks.Finding, needed bool) {
	needed = true
	for _, p := range permissions {
		r := w.api.call(ctx, http.MethodGet, p.path, url.Values{"limit": {"1"}}, nil)
		if r.ok(nil) {
			continue
		}
		fail := classify(r)
		if fail.status != http.StatusForbidden && fail.status != http.StatusPaymentRequired {
			return append(missing, wrongWith(fail)), false
		}
		f := sinks.Finding{
			Bad: p.only == "", Field: "key", Message: "the key's user may not use " + p.what + ": " + fail.cause,
			Hint: "give the user's group the permission under Settings, Users and groups in ActiveCampaign, or take the key of another user",
		}
		if p.only != "" {
			f.Message += "; it is needed " + p.only
		}
		needed = needed && p.only != ""
		missing = append(missing, f)
	}
	return missing, needed
}

func (w *writer) checkTracking(ctx context.Context) sinks.Finding {
	if w.tracking.AccountID == "" {
		return sinks.Finding{
			Field: "event_tracking", Message: "event tracking is not configured: events cannot be sent",
			Hint: "set event_tracking.account_id and event_tracking.key if automations should start on events",
		}
	}
	var state struct {
		EventTracking struct {
			Enabled flexible `json:"enabled"`
		} `json:"eventTracking"`
	}
	r := w.api.call(ctx, http.MethodGet, "/eventTracking", nil, nil)
	switch {
	case !r.ok(&state):
		f := classify(r)
		return sinks.Finding{Bad: true, Field: "event_tracking", Message: f.cause, Hint: f.remedy}
	case state.EventTracking.Enabled != "true" && state.EventTracking.Enabled != "1":
		return sinks.Finding{
			Bad: true, Field: "event_tracking", Message: "event tracking is switched off in the account",
			Hint: "switch it on under Settings, Tracking in ActiveCampaign",
		}
	}
	return sinks.Finding{Field: "event_tracking", Message: "event tracking is switched on"}
}
