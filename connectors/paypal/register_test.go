package paypal

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tillstream/tillstream/connectors"
)

// TestRegisterMends: what somebody or PayPal changed about the webhook is put right at the next call, which says what;
// where nothing is wrong nothing is changed.
func TestRegisterMends(t *testing.T) {
	a := newAccount()
	a.hooks = []webhook{{ID: "OTHER", URL: "https://else.example.com/x"}}
	s, _, _ := connected(t, a, &Config{})
	steps := []struct {
		name   string
		before func()
		want   connectors.Registration
		writes int
	}{
		{"created", func() {}, connectors.Registration{ID: "HOOK2", Changed: "the webhook was created", Used: 2, Limit: 10}, 1},
		{"nothing wrong", func() {}, connectors.Registration{ID: "HOOK2", Used: 2, Limit: 10}, 0},
		{"types changed by hand", func() { a.hooks[1].EventTypes = typeList([]string{"*"}) }, connectors.Registration{ID: "HOOK2", Changed: "the webhook's event types were corrected", Used: 2, Limit: 10}, 1},
		{
			"a type switched off by PayPal", func() { a.hooks[1].EventTypes[0].Status = "DISABLED" },
			connectors.Registration{ID: "HOOK2", Changed: "disabled event types were switched on again: BILLING.SUBSCRIPTION.ACTIVATED", Used: 2, Limit: 10},
			1,
		},
		{"the resources changed", func() { s.wanted, _ = eventTypes([]string{ResourceBilling}) }, connectors.Registration{ID: "HOOK2", Changed: "the webhook's event types were corrected", Used: 2, Limit: 10}, 1},
		{"deleted by hand", func() { a.hooks = a.hooks[:1] }, connectors.Registration{ID: "HOOK2", Changed: "the webhook was deleted at PayPal, and is made anew", Used: 2, Limit: 10}, 1},
		{"nothing wrong again", func() {}, connectors.Registration{ID: "HOOK2", Used: 2, Limit: 10}, 0},
	}
	for _, step := range steps {
		t.Run(step.name, func(t *testing.T) {
			step.before()
			before := a.calls("POST "+webhooksPath) + a.calls("PATCH") + a.calls("DELETE")
			got, err := s.Register(t.Context())
			if diff := cmp.Diff(got, step.want); err != nil || diff != "" {
				t.Errorf("%v -got +want:\n%s", err, diff)
			}
			if writes := a.calls("POST "+webhooksPath) + a.calls("PATCH") + a.calls("DELETE") - before; writes != step.writes {
				t.Errorf("got %d changes, want %d", writes, step.writes)
			}
			if !slices.Equal(a.hooks[1].names(), s.wanted) || len(a.hooks[1].disabled()) != 0 || a.hooks[0].ID != "OTHER" {
				t.Errorf("got %+v", a.hooks)
			}
		})
	}
}

// TestAddress: PayPal's own API takes an https address on port 443 and nothing else; a twin's may take any.
func TestAddress(t *testing.T) {
	for address, bad := range map[string]bool{
		"https://hooks.example.com/webhooks/shop": false, "https://hooks.example.com:443/webhooks/shop": false,
		"http://hooks.example.com/webhooks/shop": true, "https://hooks.example.com:8443/webhooks/shop": true, "hooks.example.com": true,
	} {
		for _, base := range []string{"", "https://api-m.sandbox.paypal.com"} {
			s, _, _ := connected(t, newAccount(), &Config{BaseURL: base})
			s.env.PublicURL = address
			want := bad && base == ""
			if got := found(s.Check(t.Context()), connectors.Bad, "not https on port 443"); got != want {
				t.Errorf("%s at %q: got %t, want %t", address, base, got, want)
			}
		}
	}
}

// TestWatch: what will stop the connection is told before, with the remedy, and from what was seen, without a request.
func TestWatch(t *testing.T) {
	t.Run("all well", func(t *testing.T) {
		a := newAccount()
		s, _, key := both(t, a, &Config{})
		body := []byte(`{}`)
		if _, v := s.Verify(t.Context(), request(signedBy(t, key, "HOOK", body)), body); v.Kind != connectors.Genuine {
			t.Fatal(v)
		}
		if got := s.Watch(); len(got) != 0 || a.calls("") != 0 {
			t.Errorf("got %+v after %v, want nothing", got, a.log)
		}
	})
	t.Run("certificate", func(t *testing.T) {
		s, at, _ := both(t, newAccount(), &Config{})
		ends := start.AddDate(1, 0, 0) // as the test's authority signs it
		s.certificates.trusted(&certificate{until: start.AddDate(0, 0, 3)})
		s.certificates.trusted(&certificate{until: ends})
		s.certificates.trusted(&certificate{until: start.AddDate(0, 0, 5)})
		for _, c := range []struct {
			at    time.Time
			level connectors.Level
		}{{ends.AddDate(0, 0, -31), ""}, {ends.AddDate(0, 0, -29), connectors.Warn}, {ends.AddDate(0, 0, 1), connectors.Bad}} {
			at.t = c.at
			got := s.Watch()
			if c.level == "" && len(got) != 0 || c.level != "" && !found(got, c.level, "signing certificate ends on 2027-11-02") {
				t.Errorf("%s: got %+v, want %q", c.at, got, c.level)
			}
		}
	})
	t.Run("credentials", func(t *testing.T) {
		a := newAccount()
		s, at, _ := connected(t, a, &Config{})
		a.secret = "changed"
		for range 3 {
			if _, err := s.webhooks(t.Context()); err == nil {
				t.Fatal("got no error")
			}
			at.add(time.Hour)
		}
		before := len(a.log)
		if !found(s.Watch(), connectors.Bad, "PayPal has refused the credentials since 2026-11-02T10:00:00Z") || len(a.log) != before {
			t.Errorf("got %+v, want since when they fail", s.Watch())
		}
		a.secret = "secret"
		if _, err := s.webhooks(t.Context()); err != nil || len(s.Watch()) != 0 {
			t.Errorf("got %v and %+v, want nothing once they work", err, s.Watch())
		}
	})
	t.Run("PayPal away", func(t *testing.T) {
		a := newAccount()
		a.override = func(*http.Request, string) *http.Response { return answerOf(503, "") }
		s, _, _ := connected(t, a, &Config{})
		_, _ = s.webhooks(t.Context())
		if !found(s.Watch(), connectors.Warn, "PayPal has given no token since 2026-11-02T10:00:00Z") {
			t.Errorf("got %+v", s.Watch())
		}
	})
}

// TestBudget: every request counts, those for a token too, also the ones that fail.
func TestBudget(t *testing.T) {
	a := newAccount()
	s, _, _ := connected(t, a, &Config{})
	_, _ = s.webhooks(t.Context())
	_, _ = s.Poll(t.Context(), connectors.Query{Feed: feedEvents, From: start.Add(-time.Hour), To: start})
	if got := s.Budget(); got.Requests != int64(len(a.log)) || got.Requests != 3 || got.Limit != 0 {
		t.Errorf("got %+v after %s", got, strings.Join(a.log, ", "))
	}
}
