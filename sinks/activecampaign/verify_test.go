package activecampaign_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tillstream/tillstream/schemas"
	twin "github.com/tillstream/tillstream/simulators/activecampaign"
	"github.com/tillstream/tillstream/sinks"
)

func verify(t *testing.T, w sinks.Writer, want schemas.Contact) sinks.Comparison {
	t.Helper()
	got, o := w.(sinks.Verifier).Verify(t.Context(), want)
	if o.Kind != sinks.Delivered {
		t.Fatalf("got %d: %v", o.Kind, o.Err)
	}
	return got
}

// Each part that is other than meant is named, with both values; what is not meant is no difference.
func TestDifferencesAreNamed(t *testing.T) {
	now := time.Date(2026, 1, 31, 10, 0, 0, 0, time.UTC)
	s, w := openAt(t, twin.Options{}, func() time.Time { return now })
	write(t, w, ada())
	if got := verify(t, w, ada().Contact); len(got.Differences) > 0 || got.Standing != schemas.StandingActive || got.Absent {
		t.Fatalf("got %+v after a write", got)
	}
	for _, act := range []twin.Act{
		{Do: "set", Name: "ORDER_AMOUNT", Value: "11"},
		{Do: "set", Name: "NEXT_BILLING", Value: ""},
		{Do: "set", Name: "CITY", Value: "Rome"},
		{Do: "untag", Name: "paid"},
		{Do: "tag", Name: "UNPAID"},
		{Do: "tag", Name: "other"},
	} {
		act.Email = adasAddress
		doTo(t, s, act)
	}
	req := httptest.NewRequest(http.MethodPut, "/api/3/contacts/1", strings.NewReader(`{"contact":{"firstName":"Augusta","phone":"+441"}}`))
	req.Header.Set("Api-Token", apiKey)
	s.Handler().ServeHTTP(httptest.NewRecorder(), req)
	now = now.Add(time.Minute) // tags that are new to the account are looked for again
	got := verify(t, w, ada().Contact)
	want := []sinks.Difference{
		{Part: "first name", Want: "Ada", Got: "Augusta"},
		{Part: "phone", Want: "+4917012345678", Got: "+441"},
		{Part: "field NEXT_BILLING", Want: "2026-02-28"},
		{Part: "field ORDER_AMOUNT", Want: "10.00", Got: "11"},
		{Part: "tag paid", Want: "paid"},
		{Part: "tag unpaid", Got: "unpaid"},
	}
	slices.SortFunc(got.Differences, func(a, b sinks.Difference) int {
		order := func(d sinks.Difference) int {
			return slices.IndexFunc(want, func(w sinks.Difference) bool { return w.Part == d.Part })
		}
		return order(a) - order(b)
	})
	if d := cmp.Diff(got.Differences, want); d != "" {
		t.Errorf("got - want:\n%s", d)
	}
	write(t, w, ada()) // what was read is known, so that a write repairs it
	if got := verify(t, w, ada().Contact); len(got.Differences) > 0 {
		t.Errorf("after a repair: got %+v", got)
	}
}

// The same value in another form is no difference.
func TestSameValueInAnotherForm(t *testing.T) {
	s, w := open(t, twin.Options{})
	write(t, w, ada())
	for _, c := range []struct {
		field, meant, there string
		same                bool
	}{
		{"ORDER_AMOUNT", "10.00", "10", true},
		{"ORDER_AMOUNT", "10.00", "10.01", false},
		{"ORDER_AMOUNT", "10.00", "1e9999999", false},
		{"ORDER_AMOUNT", "", "0", false},
		{"ORDER_DATE", "2026-01-31T10:00:00Z", "2026-01-31T05:00:00-05:00", true},
		{"ORDER_DATE", "2026-01-31T10:00:00Z", "2026-01-31T10:00:00-05:00", false},
		{"NEXT_BILLING", "2026-02-28T10:00:00Z", "2026-02-28 00:00:00", true},
		{"NEXT_BILLING", "2026-02-28", "2026-03-01", false},
		{"NEXT_BILLING", "", "0000-00-00", true},
		{"INTERESTS", "tea,books", "||Books||Tea||", true},
		{"INTERESTS", "tea", "||Books||Tea||", false},
		{"ORDER_ID", "5O1", " 5O1 ", true},
		{"ORDER_ID", "5O1", "5o1", false},
		{"CUSTOM_ID", "a\nb", "a\r\nb", true},
	} {
		doTo(t, s, twin.Act{Do: "set", Email: adasAddress, Name: c.field, Value: c.there})
		got := verify(t, w, schemas.Contact{Email: adasAddress, Fields: map[string]string{c.field: c.meant}})
		if same := len(got.Differences) == 0; same != c.same {
			t.Errorf("%s, %q meant and %q there: got the same: %v", c.field, c.meant, c.there, same)
		}
	}
}

// What it costs to read a contact back, and what it says of people.
func TestReadingBack(t *testing.T) {
	s, w := open(t, twin.Options{})
	write(t, w, ada())
	for _, c := range []struct {
		want     schemas.Contact
		requests int
	}{
		{ada().Contact, 3},
		{schemas.Contact{Email: adasAddress, FirstName: "Ada"}, 2},
		{schemas.Contact{Email: "nobody@shop.example", FirstName: "Ada", Tags: []string{"paid"}}, 1},
	} {
		if _, o := w.(sinks.Verifier).Verify(t.Context(), c.want); len(o.Exchanges) != c.requests {
			t.Errorf("%s: got %d requests, want %d", c.want.Email, len(o.Exchanges), c.requests)
		}
	}
	for list, status := range map[string]int{"Customers": 2, "Newsletter": 1} {
		s.Subscribe(adasAddress, list, status)
	}
	if got := verify(t, w, ada().Contact); got.Standing != schemas.StandingActive {
		t.Errorf("on one list still: got %s", got.Standing)
	}
	doTo(t, s, twin.Act{Do: "unsubscribe", Email: adasAddress})
	if got := verify(t, w, ada().Contact); got.Standing != schemas.StandingUnsubscribed {
		t.Errorf("off all lists: got %s", got.Standing)
	}
	doTo(t, s, twin.Act{Do: "bounce", Email: adasAddress})
	if got := verify(t, w, ada().Contact); got.Standing != schemas.StandingBounced {
		t.Errorf("bounced: got %s", got.Standing)
	}
	for name, want := range map[string]schemas.Contact{
		"no field": {Email: adasAddress, Fields: map[string]string{"GONE": "x"}}, "no option": {Email: adasAddress, Fields: map[string]string{"INTERESTS": "Cars"}},
	} {
		if got, o := w.(sinks.Verifier).Verify(t.Context(), want); o.Kind != sinks.Rejected || o.Remedy == "" || len(got.Differences) > 0 {
			t.Errorf("%s: got %+v, %d: %v", name, got, o.Kind, o.Err)
		}
	}
}

// All the weather at once: every contact ends as it is meant, no version goes back, and it costs little more than the
// least, which is one request for each version and one for the tag.
func TestContactsInBadWeather(t *testing.T) {
	const contacts, versions, patience = 40, 5, 300
	for name, origin := range map[string]schemas.Origin{"live": schemas.OriginWebhook, "of the past": schemas.OriginBackfill} {
		t.Run(name, func(t *testing.T) {
			s, w := open(t, twin.Options{Seed: 3, ValueCharsMax: 255})
			warm := ada()
			warm.Contact.Email, warm.Contact.NoTags = "warm@shop.example", nil
			write(t, w, warm)
			s.SetFaults(twin.Faults{
				TooMany: 0.05, ServerError: 0.03, ServerErrorAfter: 0.03, Unavailable: 0.03, Gateway: 0.03, Cut: 0.05, Half: 0.03, HTML: 0.03,
				Huge: 0.01, HugeBytes: 5 << 20,
			})
			before := s.Stats()
			for v := range versions {
				left := make([]schemas.Command, contacts)
				for i := range left {
					left[i] = ada()
					left[i].CommandID, left[i].Version = fmt.Sprintf("%d of contact %d", v, i), int64(v+1)
					left[i].Origin, left[i].Contact.Email = origin, fmt.Sprintf("c%d@shop.example", i)
					left[i].Contact.Tags, left[i].Contact.NoTags = []string{"paid"}, nil
					left[i].Contact.Fields = map[string]string{"ORDER_ID": fmt.Sprint(v)}
				}
				for range patience {
					var again []schemas.Command
					for i, o := range w.Write(t.Context(), left) {
						switch o.Kind {
						case sinks.Delivered:
						case sinks.Retryable:
							again = append(again, left[i])
						default:
							t.Fatalf("got %d: %v", o.Kind, o.Err)
						}
					}
					if left = again; len(left) == 0 {
						break
					}
				}
				if len(left) > 0 {
					t.Fatalf("version %d: %d contacts were not delivered", v, len(left))
				}
			}
			requests := s.Stats().Requests - before.Requests
			s.SetFaults(twin.Faults{})
			for i := range contacts {
				got := person(t, s, fmt.Sprintf("c%d@shop.example", i))
				last := ""
				for _, version := range got.Versions {
					if order := version.Fields["ORDER_ID"]; order < last {
						t.Errorf("%s: version %s after %s", got.Email, order, last)
					} else {
						last = order
					}
				}
				if last != fmt.Sprint(versions-1) || len(got.Tags) != 1 {
					t.Errorf("%s: ends as %s with tags %v", got.Email, last, got.Tags)
				}
			}
			least := int64(contacts * (versions + 1))
			t.Logf("%d requests, %.2f of the least by single writes", requests, float64(requests)/float64(least))
			if requests > 2*least {
				t.Errorf("got %d requests, want at most twice the least, %d", requests, least)
			}
		})
	}
}
