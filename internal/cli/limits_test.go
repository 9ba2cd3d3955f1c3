package cli

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// limitsNow is the time at which the answer below was given.
var limitsNow = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)

const limitsAnswer = `{"accounts":[
 {"account":"activecampaign:acme.api-us1.com","windows":[
   {"name":"5 per 1s","requests":5,"per_seconds":1,"used":4,"left":1,"reset":"2026-11-01T12:00:01Z"},
   {"name":"bulk import: 100 per 1m0s","bucket":"bulk import","requests":100,"per_seconds":60,"used":0,"left":100,"hold_until":"2026-11-01T12:00:20Z"}],
  "hold_until":"2026-11-01T12:00:27Z","hold_why":"status 429","share":0.8,"rate_per_second":4,"others":2,
  "uses":[{"use":"destination crm","waiting":99000},{"use":"destination second","waiting":1}]},
 {"account":"getresponse:api.getresponse.com/0123456789abcdef","windows":[
   {"name":"30000 per 10m0s","requests":30000,"per_seconds":600,"used":29000,"left":1000,"reset":"2026-11-01T12:04:27Z"}],
  "parallel":10,"in_parallel":3,"share":1,"uses":[{"use":"connection shop","waiting":0}]},
 {"account":"webhook:notices","windows":null,"share":1,"uses":[{"use":"destination notices","waiting":0}]}
]}`

const limitsShown = `activecampaign:acme.api-us1.com
  LIMIT                      USED  LEFT  RESET IN
  5 per 1s                   4     1     1s
  bulk import: 100 per 1m0s  0     100   -, held 20s
  held: 27s more, until 2026-11-01T12:00:27Z (the provider answered: status 429)
  slowed down: 4.00 a second, 80 % of the rate
  other programs used 2 of the last second
  waiting: destination crm 99000, destination second 1

getresponse:api.getresponse.com/0123456789abcdef
  LIMIT            USED   LEFT  RESET IN
  30000 per 10m0s  29000  1000  4m27s
  on their way: 3 of 10
  waiting: connection shop 0

webhook:notices
  no limit
  waiting: destination notices 0
`

func TestLimitsAreShown(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet || r.URL.Path != "/api/v1/limits" {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write([]byte(limitsAnswer))
	}))
	defer srv.Close()
	address := strings.TrimPrefix(srv.URL, "http://")
	run := func(args ...string) (string, string, int) {
		var out, errs bytes.Buffer
		code := Main(t.Context(), Process{
			Args: append([]string{"limits"}, args...), Getenv: func(string) (string, bool) { return "", false },
			Stdout: &out, Stderr: &errs, Now: func() time.Time { return limitsNow },
		})
		return out.String(), errs.String(), code
	}
	out, errs, code := run("--address", address)
	if diff := cmp.Diff(limitsShown, out); diff != "" || code != ExitOK {
		t.Errorf("code %d, %s\n%s", code, errs, diff)
	}
	out, errs, code = run("--address", address, "--json")
	if code != ExitOK || !strings.Contains(out, `"hold_until": "2026-11-01T12:00:27Z"`) || !strings.Contains(out, `"waiting": 99000`) {
		t.Errorf("code %d, %s\n%s", code, errs, out)
	}
	// One of several that does not answer keeps nothing from being shown.
	if out, errs, code = run("--address", "127.0.0.1:1", "--address", address); code != ExitOK || out != limitsShown {
		t.Errorf("code %d, %s\n%s", code, errs, out)
	}
	if out, errs, code = run("--address", "127.0.0.1:1"); code != ExitCannotAsk || out != "" || !strings.Contains(errs, "does not answer") {
		t.Errorf("nobody there: code %d, %q, %q", code, out, errs)
	}
	if _, _, code = run("crm"); code != ExitUsage {
		t.Errorf("an argument: code %d, want %d", code, ExitUsage)
	}
}
