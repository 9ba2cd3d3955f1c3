package automation_test

import (
	"testing"
	"time"

	"github.com/tillstream/tillstream/schemas"
)

// A field that was taken out of the configuration, perhaps because the CRM has it no more, is sent no more, unless a run
// keeps the version that fills it.
func TestAFieldThatNothingFillsAnyMoreIsNotSent(t *testing.T) {
	const start = `
destination: crm
start: [{on: payment-status-changed, status: [FAILED]}]
steps: `
	for _, tt := range []struct {
		name, before, after string
		want                string // of the field, once the new version is followed; empty: it is not sent
	}{
		{"it is still filled", `[{set_field: {OLD: x}}]`, `[{set_field: {OLD: y}}]`, "x"},
		{"nothing fills it", `[{set_field: {OLD: x}}]`, `[{set_field: {NEW: y}}]`, ""},
		{"a run keeps the version that does", `[{set_field: {OLD: x}}, {wait: 10d}]`, `[{set_field: {NEW: y}}]`, "x"},
		{"a score is kept, and not sent", `[{score: 5, field: OLD}]`, `[{add_tags: [late]}]`, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l, activate := following(t, map[string]map[string]string{"1": {"w": start + tt.before}, "2": {"w": start + tt.after}})
			activate("1")
			l.put(0, transition(1, schemas.StatusFailed))
			if got := l.sent[0].Contact.Fields["OLD"]; got == "" {
				t.Fatal("the field is not sent by the version that fills it")
			}
			activate("2")
			l.put(time.Hour, &schemas.ContactTouch{ContactKey: ana, Resend: true})
			if len(l.sent) != 1 {
				t.Fatalf("sent %d commands, want the desired state", len(l.sent))
			}
			if got, sent := l.sent[0].Contact.Fields["OLD"]; got != tt.want || sent != (tt.want != "") {
				t.Errorf("OLD is sent as %q (%v), want %q", got, sent, tt.want)
			}
			if len(l.sent[0].Contact.Fields) == 0 {
				t.Error("the mapping's own fields are gone too")
			}
			activate("1")
			l.put(time.Hour, &schemas.ContactTouch{ContactKey: ana, Resend: true})
			if l.sent[0].Contact.Fields["OLD"] == "" {
				t.Error("the version that fills it is back, and the field is not")
			}
		})
	}
}
