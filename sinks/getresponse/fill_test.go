package getresponse

import (
	"encoding/json"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/tillstream/tillstream/schemas"
)

// TestValuesAreData: whatever a value holds and wherever its place stands, it makes no merge word and no markup.
func TestValuesAreData(t *testing.T) {
	piece := rapid.SampledFrom([]string{"[", "]", "{", "}", "&#91;", "&lt;", "&amp;#91;", "<", ">", "\"", "&", "%%", "x", "email", " "})
	rapid.Check(t, func(t *rapid.T) {
		value := strings.Join(rapid.SliceOfN(piece, 0, 8).Draw(t, "value"), "")
		around := rapid.SampledFrom([][2]string{{"", ""}, {"[", "]"}, {"{", "}"}, {"a ", " b"}}).Draw(t, "around")
		text := around[0] + "%%v%%" + around[1]
		var missing string
		plain := fill(text, map[string]string{"v": value}, inText, &missing)
		for _, pair := range []string{"[[", "]]", "{{", "}}"} {
			if strings.Contains(plain, pair) {
				t.Errorf("text %q of %q holds %s", plain, value, pair)
			}
		}
		html := strings.TrimSuffix(strings.TrimPrefix(fill(text, map[string]string{"v": value}, inHTML, &missing), around[0]), around[1])
		if strings.ContainsAny(html, "[]{}<>\"") || missing != "" {
			t.Errorf("html %q of %q, missing %q", html, value, missing)
		}
	})
}

// TestEscapedValues: a value that was escaped for HTML reads the same as one that was not.
func TestEscapedValues(t *testing.T) {
	for _, v := range []string{"Tom & Jerry", "Tom &amp; Jerry"} {
		if got, want := inHTML(v)+" | "+inText(v), "Tom &amp; Jerry | Tom & Jerry"; got != want {
			t.Errorf("%s: got %s, want %s", v, got, want)
		}
	}
}

// FuzzOrders: whatever an action makes of an order, it is refused or in the form that the API takes, and an order that is
// written once is not written again.
func FuzzOrders(f *testing.F) {
	f.Add("5O1", "PAID", "COMPLETED", "12.50", "EUR", "2026-11-02T10:00:00Z")
	f.Add("", "", "", "", "", "")
	f.Add("x", "PAID", strings.Repeat("ż", 100), "1e999999999", "eur", "soon")
	f.Add("x", "PAID", "", "-0", "JPY", "")
	f.Add("x", "PAID", "", "5.", "JPY", "")
	f.Add("x", "PAID", "", "+00.10", "JPY", "2026-11-02T10:00:00.123456789+14:00")
	f.Fuzz(func(t *testing.T, id, status, raw, amount, currency, at string) {
		form, fail := orderOf(&schemas.Command{Effect: &schemas.Effect{Name: id, Arguments: map[string]string{
			"status": status, "provider_status": raw, "amount": amount, "currency": currency, "time": at, "number": raw,
		}}})
		if fail != nil {
			if fail.kind != failReject || fail.remedy == "" {
				t.Errorf("got %+v", fail)
			}
			return
		}
		if _, ok := decimal(form.total); !ok || len([]rune(form.status)) > statusMax || form.made != "" && len(form.made) != len("2026-11-02T10:00:00+0000") {
			t.Errorf("got %+v", form)
		}
		change := form.changes(&order{})
		again := form.changes(&order{Billing: form.billing, Status: form.status, Total: json.Number(form.total), Currency: form.currency, Meta: form.meta})
		if _, err := json.Marshal(change); err != nil || len(change) == 0 || len(again) != 0 {
			t.Errorf("got %v, and then %v: %v", change, again, err)
		}
	})
}
