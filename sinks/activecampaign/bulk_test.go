package activecampaign_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/tillstream/tillstream/schemas"
	twin "github.com/tillstream/tillstream/simulators/activecampaign"
	"github.com/tillstream/tillstream/sinks"
)

// many are n desired states of the past.
func many(n int) []schemas.Command {
	out := make([]schemas.Command, n)
	for i := range out {
		out[i] = backfilled()
		out[i].Contact.Email = fmt.Sprintf("c%d@shop.example", i)
	}
	return out
}

func kinds(list []sinks.Outcome) map[sinks.OutcomeKind]int {
	out := map[sinks.OutcomeKind]int{}
	for _, o := range list {
		out[o.Kind]++
	}
	return out
}

// 250 contacts of the past cost two requests, arrive whole, and start no automation; the same written singly start one
// each.
func TestImportStartsNoAutomation(t *testing.T) {
	s, w := open(t, twin.Options{ValueCharsMax: 255, Triggers: map[string]string{"On paid": "tag:paid", "On order": "field:ORDER_ID"}})
	write(t, w, ada())
	before := len(s.Enrolments())
	if before != 2 {
		t.Fatalf("got %d starts by a single write, want 2", before)
	}
	out := w.Write(t.Context(), many(250))
	if k := kinds(out); k[sinks.Delivered] != 250 || len(out[0].Exchanges) != 2 {
		t.Fatalf("got %v with %d requests: %v", k, len(out[0].Exchanges), out[0].Err)
	}
	if n := len(s.Enrolments()); n != before {
		t.Errorf("an import started %d automations", n-before)
	}
	got := person(t, s, "c249@shop.example")
	if got.FirstName != "Ada" || got.Phone == "" || got.Fields["ORDER_ID"] != "5O1" || got.Fields["INTERESTS"] != "||Tea||Books||" || len(got.Tags) != 2 || len(got.Lists) > 0 {
		t.Errorf("got %+v", got)
	}
}

// A long import is cut by bytes: 250 contacts with long values are more than a payload takes.
func TestImportIsCutByBytes(t *testing.T) {
	s, w := open(t, twin.Options{})
	list := many(250)
	for i := range list {
		list[i].Contact.Fields["CUSTOM_ID"] = strings.Repeat("x", 3000)
	}
	if k := kinds(w.Write(t.Context(), list)); k[sinks.Delivered] != 250 {
		t.Fatalf("got %v", k)
	}
	if n := s.Stats().Writes["POST /api/3/import/bulk_import"]; n != 3 {
		t.Errorf("got %d imports, want 3", n)
	}
}

// Fewer than the documented least, live ones, and two for one person are written singly.
func TestWhatIsNotImported(t *testing.T) {
	live := many(20)
	for i := range live {
		live[i].Origin = schemas.OriginWebhook
	}
	twice := many(12)
	for i := range twice {
		twice[i].Contact.Email = fmt.Sprintf("C%d@shop.example", i%6)
	}
	for name, list := range map[string][]schemas.Command{"few": many(9), "live": live, "twice": twice} {
		t.Run(name, func(t *testing.T) {
			s, w := open(t, twin.Options{})
			if k := kinds(w.Write(t.Context(), list)); k[sinks.Delivered] != len(list) {
				t.Errorf("got %v", k)
			}
			if n := s.Stats().Writes["POST /api/3/import/bulk_import"]; n != 0 {
				t.Errorf("got %d imports", n)
			}
		})
	}
}

// Who is refused by an import is written singly, which says why.
func TestImportThatRefusesOne(t *testing.T) {
	s, w := open(t, twin.Options{Faults: twin.Faults{Reject: []string{"c3@shop.example"}}})
	out := w.Write(t.Context(), many(20))
	if out[3].Kind != sinks.Rejected || !strings.Contains(out[3].Err.Error(), "not valid") || kinds(out)[sinks.Delivered] != 19 {
		t.Errorf("got %v, and %v for the one", kinds(out), out[3].Err)
	}
	if n := s.Stats().Writes["POST /api/3/import/bulk_import"]; n != 1 {
		t.Errorf("got %d imports, want 1", n)
	}
}

// An import that the account ends otherwise, or may not be used, is replaced by single writes, and not tried for a while.
func TestImportsThatDoNotWork(t *testing.T) {
	for name, o := range map[string]twin.Options{
		"failed": {ImportStatus: "failed"}, "interrupted": {ImportStatus: "interrupted"}, "not permitted": {Denied: []string{"imports"}},
	} {
		t.Run(name, func(t *testing.T) {
			s, w := open(t, o)
			for range 2 {
				if k := kinds(w.Write(t.Context(), many(12))); k[sinks.Delivered] != 12 {
					t.Errorf("got %v", k)
				}
			}
			if n := s.Stats().Writes["POST /api/3/import/bulk_import"]; n > 1 {
				t.Errorf("got %d imports", n)
			}
		})
	}
}

// An import that is not done yet holds back newer states of its contacts, so that it cannot overwrite them, and nobody
// else's. Its number may be known, or lost with the answer.
func TestUnfinishedImportHoldsBackNewerStates(t *testing.T) {
	for name, lost := range map[string]bool{"number known": false, "answer lost": true} {
		t.Run(name, func(t *testing.T) {
			s := twin.New(twin.Options{Key: apiKey, EventKey: eventKey, ImportAfter: time.Second})
			h := documented(t, s.Handler())
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				switch path := r.URL.Path; {
				case lost && path == "/api/3/import/bulk_import" && r.Method == http.MethodPost:
					h.ServeHTTP(httptest.NewRecorder(), r)
					panic(http.ErrAbortHandler)
				case path == "/api/3/import/info":
					cancel() // the process is told to end while it waits
				}
				h.ServeHTTP(w, r)
			}))
			defer srv.Close()
			w := opened(t, srv.URL)
			if k := kinds(w.Write(ctx, many(20))); k[sinks.Retryable] != 20 {
				t.Fatalf("got %v", k)
			}
			newer := backfilled()
			newer.Origin, newer.Contact.Email = schemas.OriginWebhook, "c7@shop.example"
			newer.Contact.Fields = map[string]string{"ORDER_ID": "newer"}
			other := newer
			other.Contact.Email = "other@shop.example"
			write(t, w, other)
			held := 0
			asked := s.Stats().Requests
			for deadline := time.Now().Add(20 * time.Second); ; held++ {
				runtime.Gosched()
				o := w.Write(t.Context(), []schemas.Command{newer})[0]
				if o.Kind == sinks.Delivered {
					break
				}
				if o.Kind != sinks.Retryable || !strings.Contains(o.Err.Error(), "is not finished") || time.Now().After(deadline) {
					t.Fatalf("got %d: %v", o.Kind, o.Err)
				}
			}
			if n := s.Stats().Requests - asked; n > 5 {
				t.Errorf("got %d requests while it was held back, want one a second", n)
			}
			if got := person(t, s, "c7@shop.example"); held == 0 || got.Fields["ORDER_ID"] != "newer" || len(got.Versions) != 2 {
				t.Errorf("held back %d times, got %q after %d versions", held, got.Fields["ORDER_ID"], len(got.Versions))
			}
		})
	}
}

// The account's own limit of imports is waited for, and is not the account's of requests.
func TestLimitOfImports(t *testing.T) {
	now := time.Date(2026, 1, 31, 10, 0, 0, 0, time.UTC)
	s, w := openAt(t, twin.Options{RatePerSecond: 100_000}, func() time.Time { return now })
	list := many(10)
	for range 100 {
		body := strings.NewReader(`{"contacts":[{"email":"a@shop.example"},{"email":"b@shop.example"}]}`)
		req := httptest.NewRequest(http.MethodPost, "/api/3/import/bulk_import", body)
		req.Header.Set("Api-Token", apiKey)
		s.Handler().ServeHTTP(httptest.NewRecorder(), req)
	}
	out := w.Write(t.Context(), list)
	if out[0].Kind != sinks.Retryable || out[0].Account || out[0].RetryAfter != time.Minute {
		t.Errorf("got %d, account %v, after %s: %v", out[0].Kind, out[0].Account, out[0].RetryAfter, out[0].Err)
	}
	now = now.Add(time.Minute)
	if k := kinds(w.Write(t.Context(), list)); k[sinks.Delivered] != 10 {
		t.Errorf("a minute later: got %v", k)
	}
}
