package app

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"
	"golang.org/x/sync/errgroup"

	"github.com/tillstream/tillstream/api"
	"github.com/tillstream/tillstream/connectors"
	"github.com/tillstream/tillstream/pipeline/config"
	"github.com/tillstream/tillstream/pipeline/connections"
	"github.com/tillstream/tillstream/pipeline/ingest"
	"github.com/tillstream/tillstream/pipeline/limits"
	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/sinks"
)

// quiet is a source that finds every request genuine.
type quiet struct{ name string }

func (quiet) Check(context.Context) []connectors.Finding { return nil }
func (quiet) Close() error                               { return nil }
func (q quiet) Verify(context.Context, *http.Request, []byte) (connectors.Delivery, connectors.Verdict) {
	return connectors.Delivery{Connection: q.name}, connectors.Verdict{Kind: connectors.Genuine}
}

type quietConfig struct {
	Key schemas.Secret `yaml:"key"`
}

// folderRig is a process without Kafka that follows a folder, in a bubble of time.
type folderRig struct {
	*process
	dir string
	h   *ingest.Handler

	mu   sync.Mutex
	log  bytes.Buffer
	kept int
}

// Append implements ingest.Appender.
func (r *folderRig) Append(context.Context, string, string, []byte) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.kept++
	return nil
}

// Write takes the log.
func (r *folderRig) Write(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.log.Write(b)
}

func (r *folderRig) put(t *testing.T, file, text string) {
	t.Helper()
	path := filepath.Join(r.dir, file)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// settle lets the process look at its folder as often as a change needs.
func settle() { time.Sleep(3 * followEvery); synctest.Wait() }

// answers is what a webhook for each name gets.
func (r *folderRig) answers(names ...string) (out []int) {
	for _, name := range names {
		w := httptest.NewRecorder()
		r.h.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/webhooks/"+name, strings.NewReader("{}")))
		out = append(out, w.Code)
	}
	return out
}

const followed = "kafka: {brokers: [a]}\nregistry: {url: b}\nredis: {address: c}\n"

// withoutRedis are accounts whose limits nobody keeps.
func withoutRedis() accounts {
	client := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1", Protocol: 2, MaxRetries: -1, Dialer: func(context.Context, string, string) (net.Conn, error) { return nil, net.ErrClosed }})
	return accounts{limits.New(limits.Options{Redis: client, Instance: "one", Now: time.Now}), client}
}

func follows(t *testing.T, f func(t *testing.T, r *folderRig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := &folderRig{dir: t.TempDir()}
		r.put(t, config.SettingsFile, followed)
		r.put(t, "connections/eu.yaml", "connector: quiet\nenvironment: sandbox\n")
		connector := connectors.Connector{
			Type: "quiet", Title: "Quiet", Topic: schemas.TopicStoreOrders, Config: func() any { return &quietConfig{} },
			Resources: []connectors.Resource{{ID: "orders"}, {ID: "refunds"}},
			Normalize: func(d connectors.Delivery) ([]schemas.OrderEvent, error) {
				return []schemas.OrderEvent{{Connection: d.Connection}}, nil
			},
			Open: func(_ context.Context, _ any, env connectors.Env) (connectors.Source, error) {
				return quiet{env.Connection}, nil
			},
		}
		desk := &connections.Desk{
			Dir: r.dir, Check: Check, Opener: connections.Opener{Now: time.Now},
			Options: config.Options{Connectors: connectors.NewRegistry(connector), Sinks: sinks.NewRegistry(), Kinds: Kinds(), Hostname: "one"},
		}
		cfg, err := desk.Load()
		if err != nil {
			t.Fatal(err)
		}
		r.process = &process{
			Options: Options{Config: cfg, Desk: desk, Now: time.Now, Log: zerolog.New(r)},
			board:   api.NewBoard(nil), metrics: prometheus.NewRegistry(), accounts: withoutRedis(),
		}
		defer r.accounts.close()
		ctx, cancel := context.WithCancel(t.Context())
		r.group, ctx = errgroup.WithContext(ctx)
		if r.h, err = ingest.New(ingest.Options{Appender: r, Encode: func(schemas.Record) ([]byte, error) { return []byte("x"), nil }}); err != nil {
			t.Fatal(err)
		}
		r.onServed(func(list []connections.Served) {
			if err := r.h.SetEndpoints(endpoints(list)); err != nil {
				t.Error(err)
			}
		})
		if err := r.startConnections(ctx, "127.0.0.1:8080"); err != nil {
			t.Fatal(err)
		}
		settle()
		f(t, r)
		cancel()
		if err := r.group.Wait(); err != nil {
			t.Error(err)
		}
		r.close()
	})
}

// board is what the board says of the connections, and its status code.
func (r *folderRig) ready(t *testing.T) (int, string) {
	t.Helper()
	w := httptest.NewRecorder()
	r.board.Handler(r.metrics).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "http://localhost/readyz", nil))
	return w.Code, w.Body.String()
}

func (r *folderRig) gauge(t *testing.T, name string) float64 {
	t.Helper()
	families, err := r.metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			return f.Metric[0].GetGauge().GetValue()
		}
	}
	t.Fatalf("no metric %s", name)
	return 0
}

func TestConnectionsAreTakenOverWhileRunning(t *testing.T) {
	follows(t, func(t *testing.T, r *folderRig) {
		if diff := cmp.Diff([]int{200, 404}, r.answers("eu", "us")); diff != "" {
			t.Errorf("at the start:\n%s", diff)
		}
		r.put(t, "connections/us.yaml", "connector: quiet\nenvironment: live\ntoken: abc\n")
		settle()
		if diff := cmp.Diff([]int{200, 404, 200}, r.answers("eu", "us", "us/abc")); diff != "" {
			t.Errorf("after one was added:\n%s", diff)
		}
		if code, body := r.ready(t); code != 200 || !strings.Contains(body, "connection us") {
			t.Errorf("the board: %d %s", code, body)
		}
		if err := os.Remove(filepath.Join(r.dir, "connections/eu.yaml")); err != nil {
			t.Fatal(err)
		}
		settle()
		if diff := cmp.Diff([]int{404, 200}, r.answers("eu", "us/abc")); diff != "" {
			t.Errorf("after one was removed:\n%s", diff)
		}
		if _, body := r.ready(t); strings.Contains(body, "connection eu") {
			t.Errorf("the board still has it: %s", body)
		}
		if n := strings.Count(r.log.String(), "connections adopted"); n != 2 {
			t.Errorf("adopted %d times, want 2:\n%s", n, r.log.String())
		}
	})
}

func TestABadFileLeavesWhatRunsUntouched(t *testing.T) {
	follows(t, func(t *testing.T, r *folderRig) {
		r.put(t, "connections/us.yaml", "connector: quiet\nenvironment: liev\n")
		if err := os.Remove(filepath.Join(r.dir, "connections/eu.yaml")); err != nil {
			t.Fatal(err)
		}
		settle()
		time.Sleep(time.Minute)
		synctest.Wait()
		if diff := cmp.Diff([]int{200, 404}, r.answers("eu", "us")); diff != "" {
			t.Errorf("with a bad file:\n%s", diff)
		}
		code, body := r.ready(t)
		if code != 503 || !strings.Contains(body, `connections/us.yaml:2: environment: \"liev\" is not allowed`) {
			t.Errorf("the board: %d %s", code, body)
		}
		if n := strings.Count(r.log.String(), "refused"); n != 1 || r.gauge(t, "tillstream_config_refused") != 1 {
			t.Errorf("told %d times, metric %v:\n%s", n, r.gauge(t, "tillstream_config_refused"), r.log.String())
		}
		r.put(t, "connections/us.yaml", "connector: quiet\nenvironment: live\n")
		settle()
		if diff := cmp.Diff([]int{404, 200}, r.answers("eu", "us")); diff != "" {
			t.Errorf("once it was mended:\n%s", diff)
		}
		if code, _ := r.ready(t); code != 200 || r.gauge(t, "tillstream_config_refused") != 0 {
			t.Errorf("the board once it was mended: %d", code)
		}
	})
}

// A secret that a file refers to may come later; nothing in the folder changes then.
func TestAFolderThatWasRefusedIsTriedAgain(t *testing.T) {
	follows(t, func(t *testing.T, r *folderRig) {
		secret := filepath.Join(t.TempDir(), "key")
		r.put(t, "connections/us.yaml", fmt.Sprintf("connector: quiet\nenvironment: live\nsettings: {key: '${file:%s}'}\n", secret))
		settle()
		if diff := cmp.Diff([]int{404}, r.answers("us")); diff != "" {
			t.Errorf("without its secret:\n%s", diff)
		}
		if err := os.WriteFile(secret, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
		time.Sleep((refusedLooks + 1) * followEvery)
		synctest.Wait()
		if diff := cmp.Diff([]int{200}, r.answers("us")); diff != "" {
			t.Errorf("with its secret:\n%s", diff)
		}
	})
}

func TestOtherFilesWaitForARestart(t *testing.T) {
	follows(t, func(t *testing.T, r *folderRig) {
		r.put(t, config.SettingsFile, followed+"ingest: {listen: ':1'}\n")
		r.put(t, "connections/us.yaml", "connector: quiet\nenvironment: live\n")
		settle()
		if diff := cmp.Diff([]int{200, 200}, r.answers("eu", "us")); diff != "" {
			t.Errorf("connections:\n%s", diff)
		}
		if r.gauge(t, "tillstream_config_restart_needed") != 1 || strings.Count(r.log.String(), "next start") != 1 {
			t.Errorf("it is not told:\n%s", r.log.String())
		}
		f := &follower{p: r.process, desk: r.Desk, adopted: r.Config}
		f.adopt(t.Context())
		if got := f.adopted.Settings.Ingest.Listen; got != ":8080" || f.adopted.Version == r.Config.Version || !f.unsaid {
			t.Errorf("adopted: listen %s, version %s of %s", got, f.adopted.Version, r.Config.Version)
		}
		r.put(t, config.SettingsFile, followed)
		settle()
		if r.gauge(t, "tillstream_config_restart_needed") != 0 {
			t.Error("the change was taken back, and a restart is still asked for")
		}
	})
}

// What the API changes is taken over before it answers, and no request is refused meanwhile.
func TestTheAPIsChangesAreTakenOverAtOnce(t *testing.T) {
	follows(t, func(t *testing.T, r *folderRig) {
		srv := r.board.Handler(r.metrics)
		do := func(method, path, body string) (int, string) {
			req := httptest.NewRequest(method, "http://localhost"+path, strings.NewReader(body))
			req.Header.Set(api.ActionHeader, "test")
			req.Header.Set("Content-Type", "application/json")
			w := httptest.NewRecorder()
			srv.ServeHTTP(w, req)
			return w.Code, w.Body.String()
		}
		if code, body := do("PATCH", "/api/v1/connections/eu", `{"remove":"refunds"}`); code != 200 || !strings.Contains(body, "the running process has taken it over") {
			t.Errorf("patch: %d %s", code, body)
		}
		if diff := cmp.Diff([]int{200}, r.answers("eu")); diff != "" {
			t.Error(diff)
		}
		if code, body := do("DELETE", "/api/v1/connections/eu", ""); code != 200 || !strings.Contains(body, "the running process has dropped it") {
			t.Errorf("delete: %d %s", code, body)
		}
		if diff := cmp.Diff([]int{404}, r.answers("eu")); diff != "" {
			t.Error(diff)
		}
		if code, body := do("POST", "/api/v1/connections/eu/reconnect", "{}"); code != 200 || !strings.Contains(body, `"state": "running"`) {
			t.Errorf("reconnect: %d %s", code, body)
		}
		if diff := cmp.Diff([]int{200}, r.answers("eu")); diff != "" {
			t.Error(diff)
		}
	})
}
