package webhook_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tillstream/tillstream/simulators/webhook"
)

// The example of the specification.
const (
	secret    = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	id        = "msg_p5jXN8AQM9LWM0D4loKWxJek"
	stamp     = "1614265330"
	body      = `{"test": 2432232314}`
	signature = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
)

func TestVerification(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(r *http.Request)
		body   string
		now    int64
		want   int
	}{
		{"as it should be", func(*http.Request) {}, body, 1614265330, 200},
		{"at the edge of the tolerance", func(*http.Request) {}, body, 1614265630, 200},
		{"too late", func(*http.Request) {}, body, 1614265631, 401},
		{"too early", func(*http.Request) {}, body, 1614265029, 401},
		{"behind others", func(r *http.Request) { r.Header.Set("webhook-signature", "v1a,x v1,AAAA "+signature) }, body, 1614265330, 200},
		{"another version", func(r *http.Request) { r.Header.Set("webhook-signature", "v2"+signature[2:]) }, body, 1614265330, 401},
		{"one byte more", func(*http.Request) {}, body + " ", 1614265330, 401},
		{"another id", func(r *http.Request) { r.Header.Set("webhook-id", "msg_x") }, body, 1614265330, 401},
		{"another time", func(r *http.Request) { r.Header.Set("webhook-timestamp", "1614265331") }, body, 1614265330, 401},
		{"no time", func(r *http.Request) { r.Header.Del("webhook-timestamp") }, body, 1614265330, 401},
		{"no signature", func(r *http.Request) { r.Header.Del("webhook-signature") }, body, 1614265330, 401},
		{"no JSON by its name", func(r *http.Request) { r.Header.Set("Content-Type", "text/plain") }, body, 1614265330, 401},
		{"a look", func(r *http.Request) { r.Method = http.MethodGet }, body, 1614265330, 405},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := open(t, c.now)
			r := request(c.body)
			c.change(r)
			w := httptest.NewRecorder()
			s.Handler().ServeHTTP(w, r)
			if w.Code != c.want || (len(s.Notices()) == 1) != (c.want == 200) || (len(s.Refusals()) == 1) != (c.want == 401) {
				t.Errorf("got %d, %d notices and refusals %v", w.Code, len(s.Notices()), s.Refusals())
			}
		})
	}
}

func open(t *testing.T, now int64) *webhook.Server {
	t.Helper()
	s, err := webhook.New(webhook.Options{Secrets: []string{secret}, Now: func() time.Time { return time.Unix(now, 0) }})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func request(content string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, "/hook", strings.NewReader(content))
	for name, value := range map[string]string{"webhook-id": id, "webhook-timestamp": stamp, "webhook-signature": signature, "Content-Type": "application/json"} {
		r.Header.Set(name, value)
	}
	return r
}

// TestAnswers: what it is told to answer, in order; a notice that it did not take may come again, and counts once.
func TestAnswers(t *testing.T) {
	s := open(t, 1614265330)
	s.Answer(webhook.Answer{Status: 429, Header: http.Header{"retry-after": {"3"}}, Body: "later"}, webhook.Answer{Status: 500, Taken: true})
	srv := httptest.NewServer(s.Handler())
	defer srv.Close()
	var got []string
	for range 3 {
		r := request(body)
		out, err := http.NewRequestWithContext(t.Context(), http.MethodPost, srv.URL, r.Body)
		if err != nil {
			t.Fatal(err)
		}
		out.Header = r.Header
		res, err := http.DefaultClient.Do(out)
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(res.Body)
		res.Body.Close()
		got = append(got, res.Status[:3]+res.Header.Get("Retry-After")+string(text))
	}
	if d := cmp.Diff(got, []string{"4293later", "500", "200"}); d != "" {
		t.Errorf("answers, got - want:\n%s", d)
	}
	res, err := http.Get(srv.URL + "/_simulator/notices")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var shown []webhook.Notice
	if err := json.NewDecoder(res.Body).Decode(&shown); err != nil {
		t.Fatal(err)
	}
	// Its JSON is shown without needless space.
	want := []webhook.Notice{{ID: id, Body: json.RawMessage(`{"test":2432232314}`), At: time.Unix(1614265330, 0).UTC(), Times: 2}}
	if d := cmp.Diff(shown, want); d != "" {
		t.Errorf("notices, got - want:\n%s", d)
	}
}

func TestOptions(t *testing.T) {
	for _, secrets := range [][]string{nil, {"x"}, {"whsec_!"}, {"whsec_"}} {
		if _, err := webhook.New(webhook.Options{Secrets: secrets}); err == nil {
			t.Errorf("%q are taken", secrets)
		}
	}
}

// TestFaults: what strikes a notice is drawn by rates, and one that was not taken may come again.
func TestFaults(t *testing.T) {
	const n = 400
	s, err := webhook.New(webhook.Options{Secrets: []string{secret}, Now: func() time.Time { return time.Unix(1614265330, 0) }, Seed: 3, Faults: webhook.Faults{ServerError: 0.2, CutBefore: 0.2, CutAfter: 0.2}})
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(s.Handler())
	defer srv.Close()
	seen := map[string]int{}
	for range n {
		before := len(s.Notices())
		times := 0
		if before > 0 {
			times = s.Notices()[0].Times
		}
		res, err := http.DefaultClient.Do(notice(t, srv.URL))
		taken := len(s.Notices()) > 0 && s.Notices()[0].Times > times
		switch {
		case err != nil && taken:
			seen["cut after"]++
		case err != nil:
			seen["cut before"]++
		case res.StatusCode == http.StatusInternalServerError && !taken:
			seen["error"]++
		case res.StatusCode == http.StatusOK && taken:
			seen["taken"]++
		default:
			t.Errorf("status %d, taken %v", res.StatusCode, taken)
		}
		if err == nil {
			res.Body.Close()
		}
	}
	for _, what := range []string{"cut after", "cut before", "error", "taken"} {
		if share := float64(seen[what]) / n; share < 0.1 || share > 0.55 {
			t.Errorf("%s: %d of %d", what, seen[what], n)
		}
	}
	if len(s.Notices()) != 1 {
		t.Errorf("got %d notices, want one id", len(s.Notices()))
	}
}

// notice is the specification's example on its way to url.
func notice(t *testing.T, url string) *http.Request {
	t.Helper()
	out, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	out.GetBody = nil // so that the client sends nothing twice
	out.Header = request(body).Header
	return out
}
