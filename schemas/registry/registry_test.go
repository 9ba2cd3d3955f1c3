package registry

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/sr"
	"github.com/twmb/franz-go/pkg/sr/srfake"

	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/schemas/codec"
)

func fake(t *testing.T, opts ...srfake.Option) *srfake.Registry {
	t.Helper()
	reg := srfake.New(opts...)
	t.Cleanup(reg.Close)
	return reg
}

func cacheFile(t *testing.T) string { return filepath.Join(t.TempDir(), "data", "registry.json") }

// downURL is an address at which nobody listens.
func downURL(t *testing.T) string {
	t.Helper()
	s := httptest.NewServer(http.NotFoundHandler())
	s.Close()
	return s.URL
}

func register(t *testing.T, o Options) *Client {
	t.Helper()
	c := New(o)
	if err := c.Register(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := c.CacheErr(); err != nil {
		t.Fatal(err)
	}
	return c
}

// ids lists what a client knows about today's records.
func ids(t *testing.T, c *Client) map[string]int {
	t.Helper()
	all := make(map[string]int)
	for _, rec := range schemas.Records() {
		id, err := c.ID(rec.RecordName())
		if err != nil {
			t.Fatal(err)
		}
		all[rec.RecordName()] = id
	}
	return all
}

func TestRegister(t *testing.T) {
	reg := fake(t)
	c := register(t, Options{URL: reg.URL(), CacheFile: cacheFile(t)})
	cl, err := sr.NewClient(sr.URLs(reg.URL()))
	if err != nil {
		t.Fatal(err)
	}
	for name, id := range ids(t, c) {
		found, ok := reg.GetSchema(Subject(name), 1)
		if !ok || found.ID != id {
			t.Errorf("%s: the registry has id %d, %t, want %d", Subject(name), found.ID, ok, id)
		}
		if level := cl.Compatibility(t.Context(), Subject(name))[0]; level.Err != nil || level.Level != sr.CompatBackwardTransitive {
			t.Errorf("%s: compatibility is %v, %v", Subject(name), level.Level, level.Err)
		}
	}
	// A second start registers nothing new.
	if diff := cmp.Diff(ids(t, register(t, Options{URL: reg.URL(), CacheFile: cacheFile(t)})), ids(t, c)); diff != "" {
		t.Errorf("ids of the second start (-got +want):\n%s", diff)
	}
	if _, ok := reg.GetSchema(Subject("Tick"), 2); ok {
		t.Error("the second start made a second version")
	}
	if _, err := c.ID("Nothing"); err == nil {
		t.Error("a record that does not exist has an id")
	}
}

func TestCodecWorksOnTheClient(t *testing.T) {
	reg := fake(t)
	reg.SeedSchema("other", 1, 41, sr.Schema{Schema: `"string"`, Type: sr.TypeAvro}) // so that ids differ from the local ones
	one, err := codec.New(register(t, Options{URL: reg.URL()}))
	if err != nil {
		t.Fatal(err)
	}
	b, err := one.Encode(&schemas.OrderLink{From: "a", To: "b"})
	if err != nil {
		t.Fatal(err)
	}
	two, err := codec.New(register(t, Options{URL: reg.URL()}))
	if err != nil {
		t.Fatal(err)
	}
	got, err := two.Decode(b)
	if diff := cmp.Diff(got, schemas.Record(&schemas.OrderLink{From: "a", To: "b"})); err != nil || diff != "" {
		t.Errorf("%v (-got +want):\n%s", err, diff)
	}
}

func TestDownAtStart(t *testing.T) {
	reg := fake(t)
	file := cacheFile(t)
	want := ids(t, register(t, Options{URL: reg.URL(), CacheFile: file}))
	down := downURL(t)

	c := New(Options{URL: down, CacheFile: file})
	if err := c.Register(t.Context()); err != nil {
		t.Fatalf("with a cache: %v", err)
	}
	if diff := cmp.Diff(ids(t, c), want); diff != "" {
		t.Errorf("ids from the cache (-got +want):\n%s", diff)
	}
	if text, err := c.Schema(want["Tick"]); err != nil || !strings.Contains(text, `"Tick"`) {
		t.Errorf("own schema from the cache: %q, %v", text, err)
	}

	full, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	// Who gives up is not told that all went well.
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if err := New(Options{URL: reg.URL(), CacheFile: file}).Register(cancelled); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: got %v, want context.Canceled", err)
	}

	for name, prepare := range map[string]func(file string){
		"without a cache":     func(string) {},
		"with a torn cache":   func(file string) { os.WriteFile(file, []byte(`{"ids": {"Ti`), 0o600) },
		"with an empty cache": func(file string) { os.WriteFile(file, []byte(`{}`), 0o600) },
		"with another's file": func(file string) { os.WriteFile(file, []byte(`[1]`), 0o600) },
		"with an older cache": func(file string) { os.WriteFile(file, []byte(`{"ids":{"Tick":1},"schemas":{"1":"{}"}}`), 0o600) },
		"with a cache of before an upgrade": func(file string) {
			os.WriteFile(file, bytes.ReplaceAll(full, []byte(`Counts the transitions`), []byte(`Counted them`)), 0o600)
		},
		"with a directory for it": func(file string) { os.Mkdir(file, 0o700) },
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "registry.json")
			prepare(file)
			err := New(Options{URL: down, CacheFile: file}).Register(t.Context())
			if !errors.Is(err, codec.ErrUnavailable) || !strings.Contains(err.Error(), "reachable once") {
				t.Errorf("got %v, want ErrUnavailable and what to do", err)
			}
		})
	}
}

// The registry goes away while we work: what was met before is still read, the rest is for another try.
func TestDownInTheMiddle(t *testing.T) {
	reg := fake(t)
	file := cacheFile(t)
	c := register(t, Options{URL: reg.URL(), CacheFile: file})
	const text = `{"type":"record","name":"Tick","namespace":"tillstream","fields":[]}`
	reg.SeedSchema("later", 1, 500, sr.Schema{Schema: text, Type: sr.TypeAvro})
	reg.SeedSchema("later", 2, 501, sr.Schema{Schema: `"int"`, Type: sr.TypeAvro})
	if got, err := c.Schema(500); err != nil || got != text {
		t.Fatalf("Schema(500) = %q, %v", got, err)
	}
	reg.Intercept(func(w http.ResponseWriter, _ *http.Request) bool {
		http.Error(w, "<h1>Bad Gateway</h1>", http.StatusBadGateway)
		return true
	})
	if got, err := c.Schema(500); err != nil || got != text {
		t.Errorf("a schema that was met before: %q, %v", got, err)
	}
	if got, err := c.Schema(501); !errors.Is(err, codec.ErrUnavailable) || errors.Is(err, codec.ErrUnknownSchema) {
		t.Errorf("a schema that was not met: %q, %v, want ErrUnavailable", got, err)
	}
	// Another start in that state knows both its own ids and the foreign schema.
	again := New(Options{URL: reg.URL(), CacheFile: file})
	if err := again.Register(t.Context()); err != nil {
		t.Errorf("start while the registry answers 502: %v", err)
	}
	if got, err := again.Schema(500); err != nil || got != text {
		t.Errorf("the foreign schema after a start: %q, %v", got, err)
	}
	reg.ClearInterceptors()
	if got, err := c.Schema(501); err != nil || got != `"int"` {
		t.Errorf("after the registry came back: %q, %v", got, err)
	}
}

func TestUnknownID(t *testing.T) {
	reg := fake(t)
	var asked atomic.Int64
	reg.Intercept(func(http.ResponseWriter, *http.Request) bool { asked.Add(1); return false })
	now := time.Unix(0, 0)
	c := New(Options{URL: reg.URL(), Now: func() time.Time { return now }})
	for range 100 {
		if got, err := c.Schema(7); !errors.Is(err, codec.ErrUnknownSchema) || errors.Is(err, codec.ErrUnavailable) {
			t.Fatalf("Schema(7) = %q, %v, want ErrUnknownSchema", got, err)
		}
	}
	if got := asked.Load(); got != 1 {
		t.Errorf("the registry was asked %d times, want once", got)
	}
	reg.SeedSchema("late", 1, 7, sr.Schema{Schema: `"int"`, Type: sr.TypeAvro})
	now = now.Add(unknownFor)
	if got, err := c.Schema(7); err != nil || got != `"int"` {
		t.Errorf("after it was registered: %q, %v", got, err)
	}
	reg.SeedSchema("proto", 1, 8, sr.Schema{Schema: `syntax = "proto3";`, Type: sr.TypeProtobuf})
	if got, err := c.Schema(8); !errors.Is(err, codec.ErrUnknownSchema) {
		t.Errorf("a protobuf schema: %q, %v, want ErrUnknownSchema", got, err)
	}
	for id := range 3 * unknownMax {
		c.notFound(id, codec.ErrUnknownSchema)
	}
	if got := len(c.unknown); got > unknownMax {
		t.Errorf("%d unknown ids are remembered, want at most %d", got, unknownMax)
	}
}

func TestGarbage(t *testing.T) {
	const secret = "hunter2"
	for name, tt := range map[string]struct {
		status int
		body   string
		want   string
	}{
		"html":               {200, "<html>Welcome</html>", "something else than the registry's JSON"},
		"empty":              {200, "", "something else than the registry's JSON"},
		"wrong shape":        {200, `[1,2,3]`, "something else than the registry's JSON"},
		"wrong type":         {200, `{"id":"one","schema":1}`, "something else than the registry's JSON"},
		"no content of ours": {200, `{"hello":"world"}`, "is the URL that of a schema registry"},
		"endless":            {200, strings.Repeat("x", 10*answerBytesMax), "more than"},
		"not found page":     {404, "<html>404</html>", "is the URL that of a schema registry"},
		"wrong user":         {401, `{"error_code":401,"message":"Unauthorized"}`, "check user name"},
		"long error":         {400, strings.Repeat("y", 100_000), "unexpected answer"},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(tt.status)
				w.Write([]byte(tt.body))
			}))
			defer server.Close()
			c := New(Options{URL: server.URL, User: "u", Password: schemas.NewSecret(secret), CacheFile: cacheFile(t)})
			_, lookupErr := c.Schema(9)
			for what, err := range map[string]error{"Register": c.Register(t.Context()), "Schema": lookupErr} {
				if !errors.Is(err, codec.ErrUnavailable) || errors.Is(err, codec.ErrUnknownSchema) {
					t.Errorf("%s: got %v, want ErrUnavailable", what, err)
					continue
				}
				if text := err.Error(); !strings.Contains(text, tt.want) || len(text) > 700 || strings.Contains(text, secret) {
					t.Errorf("%s: the error is not the clear and short one wanted (%q): %.1000s", what, tt.want, text)
				}
			}
		})
	}
}

// A misconfigured registry is told even where the cache would do: it is no passing fault.
func TestGarbageIsNotHiddenByTheCache(t *testing.T) {
	reg := fake(t)
	file := cacheFile(t)
	register(t, Options{URL: reg.URL(), CacheFile: file})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("<html>")) }))
	defer server.Close()
	if err := New(Options{URL: server.URL, CacheFile: file}).Register(t.Context()); !errors.Is(err, codec.ErrUnavailable) {
		t.Errorf("got %v, want ErrUnavailable", err)
	}
}

func TestRegistryRefusesASchema(t *testing.T) {
	reg := fake(t)
	reg.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodPost {
			w.WriteHeader(http.StatusConflict)
			w.Write([]byte(`{"error_code":409,"message":"Schema being registered is incompatible"}`))
			return true
		}
		return false
	})
	err := New(Options{URL: reg.URL()}).Register(t.Context())
	if !errors.Is(err, ErrIncompatible) || !strings.Contains(err.Error(), "tillstream.OrderEvent") {
		t.Errorf("got %v, want ErrIncompatible for OrderEvent", err)
	}
}

// A registry that lost its contents gives old ids to other schemas: every record on the topics would be misread.
func TestRegistryThatLostItsContentsIsNoticed(t *testing.T) {
	file := cacheFile(t)
	register(t, Options{URL: fake(t).URL(), CacheFile: file})
	wiped := fake(t)
	wiped.SeedSchema("first", 1, 1, sr.Schema{Schema: `"string"`, Type: sr.TypeAvro}) // the ids are shifted by one
	err := New(Options{URL: wiped.URL(), CacheFile: file}).Register(t.Context())
	if err == nil || !strings.Contains(err.Error(), "lost its contents") {
		t.Errorf("got %v, want an error about the registry's contents", err)
	}
}

// An embedded registry forgets all; given back what is remembered, it goes on with the same ids.
func TestRememberedSchemasRestoreARegistry(t *testing.T) {
	file := cacheFile(t)
	if list, err := Remembered(file); err != nil || len(list) != 0 {
		t.Errorf("before the first start: %v, %v", list, err)
	}
	first := fake(t)
	first.SeedSchema("first", 1, 30, sr.Schema{Schema: `"string"`, Type: sr.TypeAvro})
	want := ids(t, register(t, Options{URL: first.URL(), CacheFile: file}))
	list, err := Remembered(file)
	if err != nil || len(list) != len(want) {
		t.Fatalf("%d schemas are remembered, %v, want %d", len(list), err, len(want))
	}
	second := fake(t)
	for _, e := range list {
		second.SeedSchema(e.Subject, 1, e.ID, sr.Schema{Schema: e.Schema, Type: sr.TypeAvro})
	}
	if diff := cmp.Diff(ids(t, register(t, Options{URL: second.URL(), CacheFile: file})), want); diff != "" {
		t.Errorf("ids after the registry was restored (-got +want):\n%s", diff)
	}
}

func TestCredentials(t *testing.T) {
	reg := fake(t, srfake.WithAuth("Basic dTpodW50ZXIy")) // u:hunter2
	register(t, Options{URL: reg.URL(), User: "u", Password: schemas.NewSecret("hunter2")})
	register(t, Options{URL: strings.Replace(reg.URL(), "http://", "http://u:hunter2@", 1)})
	if err := New(Options{URL: reg.URL()}).Register(t.Context()); err == nil || !strings.Contains(err.Error(), "check user name") {
		t.Errorf("without credentials: %v", err)
	}
	for _, url := range []string{"", "localhost:8081", "ftp://x", "http://", "http://u:hunter2@[bad", "http://u:hunter2@%zz/"} {
		c := New(Options{URL: url})
		_, lookupErr := c.Schema(1)
		for _, err := range []error{c.Register(t.Context()), lookupErr} {
			if err == nil || !strings.Contains(err.Error(), "URL") || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("URL %q: %v, want a clear error without the password", url, err)
			}
		}
	}
	down := strings.Replace(downURL(t), "http://", "http://u:hunter2@", 1)
	if err := New(Options{URL: down}).Register(t.Context()); err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("down: %v, want an error without the password", err)
	}
}

// A cache that cannot be written stops no work, and leaves the old content and no litter.
func TestCacheThatCannotBeWritten(t *testing.T) {
	reg := fake(t)
	dir := t.TempDir()
	file := filepath.Join(dir, "registry.json")
	if err := os.MkdirAll(filepath.Join(file, "occupied"), 0o700); err != nil {
		t.Fatal(err)
	}
	c := New(Options{URL: reg.URL(), CacheFile: file})
	if err := c.Register(t.Context()); err != nil {
		t.Errorf("Register: %v", err)
	}
	if err := c.CacheErr(); err == nil || !strings.Contains(err.Error(), "cache file") {
		t.Errorf("CacheErr: %v, want an error", err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Errorf("left in the folder: %v, %v", entries, err)
	}
}

func TestCacheFileIsStable(t *testing.T) {
	reg := fake(t)
	file := cacheFile(t)
	register(t, Options{URL: reg.URL(), CacheFile: file})
	first, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	register(t, Options{URL: reg.URL(), CacheFile: file})
	second, err := os.ReadFile(file)
	if err != nil || !bytes.Equal(first, second) {
		t.Errorf("the file changed from one start to the next: %v", err)
	}
}
