package activecampaign

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/tillstream/tillstream/outbound"
	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/sinks"
)

// Limits of a tracked event: the name's is documented, the value's is seen in the provider's own examples.
const (
	eventNameCharsMax = 32
	eventDataCharsMax = 250
	markDigits        = 12
)

// mark is what an event's value begins with, so that its trace can be found at the provider: id= and the first twelve
// hex digits of the command's id.
func mark(commandID string) string {
	if id := strings.ToLower(commandID); len(id) >= markDigits && strings.Trim(id[:markDigits], "0123456789abcdef") == "" {
		return "id=" + id[:markDigits]
	}
	sum := sha256.Sum256([]byte(commandID))
	return "id=" + hex.EncodeToString(sum[:])[:markDigits]
}

// eventData is the effect's value with its mark, cut to what the provider keeps.
func eventData(cmd *schemas.Command) string {
	data, m := cmd.Effect.Data, mark(cmd.CommandID)
	if !strings.HasPrefix(data, m) {
		data = strings.TrimRight(m+" "+data, " ")
	}
	if r := []rune(data); len(r) > eventDataCharsMax {
		data = string(r[:eventDataCharsMax])
	}
	return data
}

// track posts one event. It must not be repeated unless it is known not to have happened.
func (w *writer) track(ctx context.Context, cmd *schemas.Command) *failure {
	switch name := cmd.Effect.Name; {
	case w.tracking.AccountID == "":
		return &failure{
			kind: failReject, cause: errNoTracking.Error(),
			remedy: "set event_tracking.account_id and event_tracking.key from Settings, Tracking in ActiveCampaign, and replay",
		}
	case name == "" || len([]rune(name)) > eventNameCharsMax:
		return &failure{
			kind: failReject, cause: fmt.Sprintf("event name must have 1 to %d characters", eventNameCharsMax),
			remedy: "shorten the event's name in the trigger and replay",
		}
	}
	visit, err := json.Marshal(map[string]string{"email": strings.TrimSpace(cmd.Contact.Email)})
	if err != nil {
		return &failure{kind: failReject, cause: "the e-mail address cannot be encoded", remedy: "correct it and replay"}
	}
	r := w.api.post(outbound.Uncounted(ctx), w.tracking.URL, url.Values{
		"actid": {w.tracking.AccountID}, "key": {w.tracking.Key.Reveal()}, "event": {cmd.Effect.Name},
		"eventdata": {eventData(cmd)}, "visit": {string(visit)},
	})
	return judgeTracking(r)
}

// judgeTracking reads an answer of the tracking endpoint, which can refuse inside a 200.
func judgeTracking(r reply) *failure {
	var answer struct {
		Success flexible `json:"success"`
		Message string   `json:"message"`
	}
	parsed := r.err == nil && r.resp != nil && json.Unmarshal(r.body, &answer) == nil
	if parsed && r.ok(nil) && (answer.Success == "1" || answer.Success == "true") {
		return nil
	}
	if parsed && answer.Success != "" && r.status() < 500 && r.status() != http.StatusTooManyRequests {
		said := shorten(outbound.Redact(answer.Message))
		f := &failure{
			kind: failReject, status: r.status(), cause: "the tracking endpoint refused the event: " + said,
			remedy: "read the answer in the timeline, correct the trigger and replay",
		}
		lower := strings.ToLower(said)
		for _, word := range []string{"key", "account", "actid", "enabled", "permission"} {
			if strings.Contains(lower, word) {
				f.kind = failAccount
				f.remedy = "check event_tracking.account_id and key, and that event tracking is switched on in ActiveCampaign"
				break
			}
		}
		return f
	}
	f := classify(r)
	if f.kind == failRetry && f.status >= 500 && f.status != http.StatusServiceUnavailable {
		// The server failed after it had the request; whether before or after recording it, it does not say.
		f.kind = failUnknown
	}
	return f
}

// Reconcile implements sinks.Writer: what the account shows of the contact says whether the effect took place.
func (w *writer) Reconcile(ctx context.Context, effect schemas.Command) sinks.Outcome {
	ctx, rec := outbound.Record(ctx)
	o := w.reconcile(ctx, &effect)
	o.Exchanges = w.scrub(rec.Exchanges())
	return o
}

func (w *writer) reconcile(ctx context.Context, cmd *schemas.Command) sinks.Outcome {
	if cmd.Effect == nil || strings.TrimSpace(cmd.Contact.Email) == "" {
		return sinks.Outcome{Kind: sinks.Unknown, Err: errNoLog}
	}
	act, known := actions[cmd.Effect.Type]
	if !known {
		return sinks.Outcome{Kind: sinks.Unknown, Err: errNoLog}
	}
	return act.happened(w, ctx, cmd)
}

// tracked asks the log of the contact's events for the command's mark.
func (w *writer) tracked(ctx context.Context, cmd *schemas.Command) sinks.Outcome {
	contactID, fail := w.find(ctx, cmd.Contact.Email)
	if fail != nil {
		return fail.outcome(false)
	}
	if contactID == "" {
		// An event for an unknown address is ignored by the provider.
		return sinks.Outcome{Kind: sinks.NotHappened}
	}
	seen, want := false, mark(cmd.CommandID)
	fail = w.api.pages(ctx, "/contacts/"+url.PathEscape(contactID)+"/trackingLogs", nil, func(body []byte) (int, error) {
		var page struct {
			TrackingLogs []struct {
				Type  string `json:"type"`
				Value string `json:"value"`
			} `json:"trackingLogs"`
		}
		err := json.Unmarshal(body, &page)
		for _, l := range page.TrackingLogs {
			seen = seen || strings.HasPrefix(l.Value, want)
		}
		return len(page.TrackingLogs), err
	})
	switch {
	case seen:
		return sinks.Outcome{Kind: sinks.Delivered}
	case fail != nil && fail.kind == failReject:
		return sinks.Outcome{Kind: sinks.Unknown, Err: fail, Remedy: "look at the contact's activity in ActiveCampaign"}
	case fail != nil:
		return fail.outcome(false)
	}
	return sinks.Outcome{Kind: sinks.NotHappened}
}
