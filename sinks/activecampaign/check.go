package activecampaign

import (
	"context"
	"fmt"
	"net/http"

	"github.com/tillstream/tillstream/sinks"
)

// Check implements sinks.Writer: key, permissions, fields, and event tracking where it is configured.
func (w *writer) Check(ctx context.Context) []sinks.Finding {
	if r := w.api.call(ctx, http.MethodGet, "/users/me", nil, nil); !r.ok(nil) {
		f := classify(r)
		return []sinks.Finding{{Bad: true, Field: "key", Message: f.cause, Hint: f.remedy}}
	}
	fields, tags, fail := w.catalogue.counts(ctx)
	if fail != nil {
		return []sinks.Finding{{Bad: true, Field: "key", Message: fail.cause, Hint: fail.remedy}}
	}
	out := []sinks.Finding{
		{Field: "key", Message: "the API key is accepted"},
		{Field: "url", Message: fmt.Sprintf("%d custom fields and %d contact tags can be used", fields, tags)},
	}
	if w.tracking.AccountID == "" {
		return append(out, sinks.Finding{
			Field: "event_tracking", Message: "event tracking is not configured: events cannot be sent",
			Hint: "set event_tracking.account_id and event_tracking.key if automations should start on events",
		})
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
		out = append(out, sinks.Finding{Bad: true, Field: "event_tracking", Message: f.cause, Hint: f.remedy})
	case state.EventTracking.Enabled != "true" && state.EventTracking.Enabled != "1":
		out = append(out, sinks.Finding{
			Bad: true, Field: "event_tracking", Message: "event tracking is switched off in the account",
			Hint: "switch it on under Settings, Tracking in ActiveCampaign",
		})
	default:
		out = append(out, sinks.Finding{Field: "event_tracking", Message: "event tracking is switched on"})
	}
	return out
}
