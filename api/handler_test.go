package api

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
)

// stageOf is a stage whose partition 0 runs and whose partition 1 is stalled until it is resumed.
func stageOf(resumed *[]int32) *Stage {
	return &Stage{
		Name: "orders",
		Group: func() Group {
			return Group{Name: "g", Partitions: []GroupPartition{{Partition: 0, Member: "10.0.0.7", Behind: 3}}}
		},
		Resume: func(n int32) Resumption {
			switch n {
			case 0:
				return Resumption{NotStalled, "it runs"}
			case 1:
				*resumed = append(*resumed, n)
				return Resumption{Resumed, "it tries again"}
			default:
				return Resumption{NotOwned, "it is not here"}
			}
		},
	}
}

func TestResume(t *testing.T) {
	var resumed []int32
	b := NewBoard(map[string]string{"instance": "one"})
	b.Add(Part{Name: "stage orders", Stage: stageOf(&resumed)})
	b.Add(Part{Name: "ingest"})
	srv := httptest.NewServer(b.Handler(prometheus.NewRegistry()))
	defer srv.Close()

	for _, c := range []struct {
		name, method, path, header, host string
		code                             int
		outcome                          string
	}{
		{"a stalled partition", "POST", "/api/v1/stages/orders/partitions/1/resume", "resume", "", 200, Resumed},
		{"one that runs", "POST", "/api/v1/stages/orders/partitions/0/resume", "resume", "", 409, NotStalled},
		{"one that is not here", "POST", "/api/v1/stages/orders/partitions/7/resume", "resume", "", 404, NotOwned},
		{"a stage that is not here", "POST", "/api/v1/stages/odrers/partitions/1/resume", "resume", "", 404, NotOwned},
		{"no number", "POST", "/api/v1/stages/orders/partitions/x/resume", "resume", "", 400, "invalid"},
		{"a negative number", "POST", "/api/v1/stages/orders/partitions/-1/resume", "resume", "", 400, "invalid"},
		{"a number beyond 32 bits", "POST", "/api/v1/stages/orders/partitions/4294967297/resume", "resume", "", 400, "invalid"},
		{"a page without the header", "POST", "/api/v1/stages/orders/partitions/1/resume", "", "", 403, "action_header_missing"},
		{"a name that points at loopback", "POST", "/api/v1/stages/orders/partitions/1/resume", "resume", "evil.example:9080", 421, "host_refused"},
		{"loopback by name", "POST", "/api/v1/stages/orders/partitions/1/resume", "resume", "localhost:9080", 200, Resumed},
		{"loopback of IPv6", "POST", "/api/v1/stages/orders/partitions/1/resume", "resume", "[::1]:9080", 200, Resumed},
		{"a link", "GET", "/api/v1/stages/orders/partitions/1/resume", "resume", "", 405, "method_not_allowed"},
	} {
		resumed = nil
		req, err := http.NewRequest(c.method, srv.URL+c.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if c.host != "" {
			req.Host = c.host
		}
		if c.header != "" {
			req.Header.Set(ActionHeader, c.header)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		var got struct{ Outcome, Code, Detail string }
		_ = json.NewDecoder(resp.Body).Decode(&got)
		resp.Body.Close()
		if resp.StatusCode != c.code || got.Outcome+got.Code != c.outcome || c.outcome != "" && got.Detail == "" {
			t.Errorf("%s: got %d %+v, want %d %s", c.name, resp.StatusCode, got, c.code, c.outcome)
		}
		if done := len(resumed) == 1; done != (c.outcome == Resumed) {
			t.Errorf("%s: resumed %v", c.name, resumed)
		}
	}
}

func TestStatusShowsTheGroupOfAStage(t *testing.T) {
	var resumed []int32
	b := NewBoard(nil)
	b.Add(Part{Name: "stage orders", Stage: stageOf(&resumed), Status: func() any { return []int{1} }})
	_, body := get(t, b.Handler(prometheus.NewRegistry()), "/status")
	var got struct {
		At    time.Time
		Parts []struct {
			Status []int
			Stage  struct {
				Name  string
				Group Group
			}
		}
	}
	if err := json.Unmarshal([]byte(body), &got); err != nil {
		t.Fatal(err)
	}
	if got.At.IsZero() || len(got.Parts) != 1 {
		t.Fatalf("got %s", body)
	}
	want := Group{Name: "g", Partitions: []GroupPartition{{Partition: 0, Member: "10.0.0.7", Behind: 3}}}
	if diff := cmp.Diff(want, got.Parts[0].Stage.Group); diff != "" || got.Parts[0].Stage.Name != "orders" {
		t.Errorf("group (-want +got):\n%s\n%s", diff, body)
	}
}

func TestReadinessListsEveryReason(t *testing.T) {
	b := NewBoard(nil)
	b.Add(Part{Name: "a", Ready: func() error { return errors.New("two troubles") }, Reasons: func() []string { return []string{"first", "second"} }})
	b.Add(Part{Name: "b", Ready: func() error { return errors.New("third") }})
	b.Add(Part{Name: "c"})
	h := b.Handler(prometheus.NewRegistry())
	_, body := get(t, h, "/readyz")
	for _, reason := range []string{"first", "second", "third"} {
		if !strings.Contains(body, `"`+reason+`"`) {
			t.Errorf("%q is missing in %s", reason, body)
		}
	}
	for path, want := range map[string]int{
		"/readyz?part=c": 200, "/readyz?part=b": 503, "/readyz?part=c&part=b": 503,
		"/readyz?part=unheard": 503, "/readyz?part=c&part=unheard": 503,
	} {
		if code, body := get(t, h, path); code != want {
			t.Errorf("%s: got %d %s, want %d", path, code, body, want)
		}
	}
}

func TestHealthNamesTheLoopThatHangs(t *testing.T) {
	b := NewBoard(nil)
	var hangs error
	b.Add(Part{Name: "stage orders", Alive: func() error { return hangs }})
	b.Add(Part{Name: "load", Ready: func() error { return errors.New("clickhouse is down") }})
	reg := prometheus.NewRegistry()
	reg.MustRegister(b)
	h := b.Handler(reg)
	if code, body := get(t, h, "/healthz"); code != 200 || body != "ok\n" {
		t.Errorf("loops that turn, a part that is not ready: got %d %s", code, body)
	}
	hangs = errors.New("lane 1 has not turned for 61s")
	if code, body := get(t, h, "/healthz"); code != 503 || !strings.Contains(body, "stage orders: lane 1") {
		t.Errorf("a loop that hangs: got %d %s", code, body)
	}
	_, metrics := get(t, h, "/metrics")
	for _, line := range []string{
		`tillstream_part_alive{part="load"} 1`, `tillstream_part_alive{part="stage orders"} 0`,
		`tillstream_part_ready{part="load"} 0`, `tillstream_part_ready{part="stage orders"} 1`,
	} {
		if !strings.Contains(metrics, line+"\n") {
			t.Errorf("%s is missing in\n%s", line, metrics)
		}
	}
}

// A part whose lock is held for ever hangs whoever asks it: the others must still be seen, and the process is not alive
// once that has lasted a minute.
func TestAPartThatDoesNotAnswerHidesNoOther(t *testing.T) {
	release := make(chan struct{})
	var asked atomic.Int32
	b := NewBoard(nil)
	b.answerMax = 20 * time.Millisecond
	b.Add(Part{Name: "a hangs", Ready: func() error { asked.Add(1); <-release; return nil }})
	b.Add(Part{Name: "b does not"})
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	b.now = func() time.Time { return now }
	h := b.Handler(prometheus.NewRegistry())
	code, body := get(t, h, "/readyz")
	if code != 503 || !strings.Contains(body, "has not answered") || !strings.Contains(body, "b does not") {
		t.Errorf("readiness: got %d %s", code, body)
	}
	if code, _ := get(t, h, "/healthz"); code != 200 {
		t.Errorf("health after a moment: got %d, want 200", code)
	}
	now = now.Add(HangMax)
	code, body = get(t, h, "/healthz")
	if code != 503 || !strings.Contains(body, "a hangs: it has not answered for 1m0s") {
		t.Errorf("health after a minute: got %d %s", code, body)
	}
	if _, body := get(t, h, "/status"); !strings.Contains(body, "b does not") {
		t.Errorf("status: got %s", body)
	}
	close(release)
	b.answerMax = 10 * time.Second
	if code, body := get(t, h, "/healthz"); code != 200 {
		t.Errorf("health after it answered: got %d %s", code, body)
	}
	if n := asked.Load(); n > 4 {
		t.Errorf("the hanging part was asked %d times", n)
	}
}
