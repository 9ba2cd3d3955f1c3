package main

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/tillstream/tillstream/embedded"
	"github.com/tillstream/tillstream/internal/audit"
	"github.com/tillstream/tillstream/internal/chaos/proxy"
	"github.com/tillstream/tillstream/internal/e2e/parts"
	"github.com/tillstream/tillstream/schemas/codec"
	"github.com/tillstream/tillstream/schemas/registry"
	"github.com/tillstream/tillstream/simulators/activecampaign"
)

//go:embed config
var configFiles embed.FS

const (
	workerCount  = 3 // besides the one that comes and goes
	readyLimit   = 3 * time.Minute
	crmAccount   = "1000001"
	crmKey       = "simulator-key"
	paypalSecret = "paypal-secret-canary-7Q2"
)

// world is everything that runs.
type world struct {
	o       options
	r       *result
	dir     string
	binary  string
	began   time.Time
	found   *findings
	faults  *proxy.Faults
	cluster *cluster
	redis   *server
	parts   *embedded.Services // the schema registry
	crm     *activecampaign.Server
	web     *http.Server
	crmURL  string
	codec   *codec.Codec
	workers []*worker // the last one comes and goes
	load    *load
	watch   *watcher
	here    *receiver
	joined  []audit.Happened // who joined a list at the CRM
	past    *history

	logMu sync.Mutex
	log   io.WriteCloser
}

// newWorld makes the folder and builds the program; nothing runs yet.
func newWorld(ctx context.Context, o options, r *result) (*world, error) {
	dir, err := os.MkdirTemp(o.Dir, "tillstream-chaos-")
	if err != nil {
		return nil, err
	}
	w := &world{o: o, r: r, dir: dir, binary: o.Binary, began: time.Now(), found: &findings{}, faults: proxy.NewFaults()}
	if w.log, err = os.Create(filepath.Join(dir, "faults.log")); err != nil {
		return nil, err
	}
	w.say("seed %d, folder %s", o.Seed, dir)
	if w.binary == "" {
		w.binary = filepath.Join(dir, "tillstream")
		root, err := parts.Root()
		if err != nil {
			return nil, err
		}
		c := exec.CommandContext(ctx, "go", "build", "-o", w.binary, "./cmd/tillstream")
		c.Dir, c.Env = root, append(os.Environ(), "CGO_ENABLED=0")
		if out, err := c.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("go build: %w\n%s", err, out)
		}
	}
	config, err := fs.Sub(configFiles, "config")
	if err != nil {
		return nil, err
	}
	return w, os.CopyFS(w.configDir(), config)
}

func (w *world) configDir() string { return filepath.Join(w.dir, "config") }

// say tells the log and whoever looks on, with the time since the start.
func (w *world) say(format string, args ...any) {
	w.logMu.Lock()
	defer w.logMu.Unlock()
	line := fmt.Sprintf("%7.1f  %s\n", time.Since(w.began).Seconds(), fmt.Sprintf(format, args...))
	_, _ = io.WriteString(w.log, line)
	_, _ = io.WriteString(w.o.Log, line)
}

// start starts every part and waits until three processes are ready.
func (w *world) start(ctx context.Context) (err error) {
	if w.parts, err = embedded.Start(ctx, embedded.Options{
		Dir: filepath.Join(w.dir, "registry"), Without: []string{embedded.Kafka, embedded.Redis, embedded.ClickHouse}, Log: zerolog.Nop(),
	}); err != nil {
		return err
	}
	client := registry.New(registry.Options{URL: w.parts.RegistryURL})
	if err := client.Register(ctx); err != nil {
		return err
	}
	if w.codec, err = codec.New(client); err != nil {
		return err
	}
	if err := w.startCRM(); err != nil {
		return err
	}
	if w.redis, err = startRedis(ctx, filepath.Join(w.dir, "redis")); err != nil {
		return err
	}
	if w.cluster, err = startCluster(ctx, w.dir, w.faults); err != nil {
		return err
	}
	w.say("three brokers, redis, registry and CRM run")
	for i := range workerCount + 1 {
		k, err := w.newWorker(i + 1)
		if err != nil {
			return err
		}
		w.workers = append(w.workers, k)
		if i < workerCount {
			if err := k.start(); err != nil {
				return err
			}
		}
	}
	if err := w.awaitReady(ctx); err != nil {
		return err
	}
	w.say("three processes are ready")
	if w.load, err = newLoad(w); err != nil {
		return err
	}
	if w.here, err = startReceiver(ctx, w); err != nil {
		return err
	}
	w.watch, err = newWatcher(w)
	return err
}

func (w *world) startCRM() error {
	w.crm = activecampaign.New(activecampaign.Options{Account: crmAccount, Key: crmKey, Seed: w.o.Seed, Now: time.Now, Log: zerolog.Nop()})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	w.crmURL = "http://" + l.Addr().String()
	w.web = &http.Server{Handler: w.crm.Handler(), ReadHeaderTimeout: requestPatience}
	go func() { _ = w.web.Serve(l) }()
	return nil
}

func (w *world) close() {
	if w.watch != nil {
		w.watch.close()
	}
	if w.here != nil {
		w.here.close()
	}
	if w.load != nil {
		w.load.close()
	}
	if w.past != nil {
		w.past.close()
	}
	for _, k := range w.workers {
		k.kill()
		k.redis.Close()
	}
	if w.redis != nil {
		w.redis.close()
	}
	if w.cluster != nil {
		w.cluster.close()
	}
	if w.web != nil {
		_ = w.web.Close()
	}
	if w.parts != nil {
		_ = w.parts.Close()
	}
	_ = w.log.Close()
}

// awaitReady waits until the processes that always run say that they are ready.
func (w *world) awaitReady(ctx context.Context) error {
	err := await(ctx, readyLimit, "the processes are ready", func(ctx context.Context) error {
		var problems []error
		for _, k := range w.workers[:min(workerCount, len(w.workers))] {
			if _, code, err := k.ask(ctx, "/readyz"); err != nil {
				problems = append(problems, err)
			} else if code != http.StatusOK {
				problems = append(problems, fmt.Errorf("%s is not ready", k.name))
			}
		}
		return errors.Join(problems...)
	})
	if err != nil {
		err = fmt.Errorf("%w\n%s", err, w.statuses(ctx))
	}
	return err
}

// statuses is what every process says of itself.
func (w *world) statuses(ctx context.Context) string {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*requestPatience)
	defer cancel()
	var b strings.Builder
	for _, k := range w.workers {
		for _, path := range []string{"/readyz", "/status"} {
			body, code, err := k.ask(ctx, path)
			fmt.Fprintf(&b, "%s %s: %d %v %s\n", k.name, path, code, err, body)
		}
	}
	return b.String()
}

// worker is one process of the program, by the name that is its instance, its Kafka client id and its Redis proxy.
type worker struct {
	w          *world
	name       string
	dir        string
	management string
	redis      *proxy.Proxy

	mu      sync.Mutex
	process *parts.Process
	wanted  bool // it should run: an end now is its own doing
	paused  bool
	logs    []string
}

func (w *world) newWorker(n int) (*worker, error) {
	k := &worker{w: w, name: fmt.Sprintf("chaos-%d", n), dir: filepath.Join(w.dir, fmt.Sprintf("process-%d", n))}
	if err := os.MkdirAll(k.dir, 0o700); err != nil {
		return nil, err
	}
	port, err := parts.FreePort()
	if err != nil {
		return nil, err
	}
	k.management = fmt.Sprintf("127.0.0.1:%d", port)
	k.redis, err = proxy.Start(proxy.Options{Listen: "127.0.0.1:0", Target: w.redis.address, Client: k.name, Faults: w.faults})
	return k, err
}

// environment is what the configuration's files name.
func (k *worker) environment() map[string]string {
	env := map[string]string{
		"CHAOS_INSTANCE": k.name, "CHAOS_DIR": k.dir, "CHAOS_MANAGEMENT": k.management, "CHAOS_REDIS": k.redis.Addr(),
		"CHAOS_REGISTRY": k.w.parts.RegistryURL, "CHAOS_CRM": k.w.crmURL, "CHAOS_CRM_KEY": crmKey, "CHAOS_PAYPAL_SECRET": paypalSecret,
	}
	for _, b := range k.w.cluster.brokers {
		env[fmt.Sprintf("CHAOS_BROKER_%d", b.id)] = b.proxy.Addr()
	}
	return env
}

func (k *worker) start() error {
	var env []string
	for name, value := range k.environment() {
		env = append(env, name+"="+value)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	p, err := parts.Launch(k.dir, parts.Command{
		Name: k.name, Path: k.w.binary, Dir: k.dir, Env: env,
		Args: []string{"run", "--config", k.w.configDir(), "--roles", "processors,sinks"},
	})
	if err != nil {
		return err
	}
	k.process, k.wanted, k.paused = p, true, false
	k.logs = append(k.logs, p.ErrPath())
	go func() {
		<-p.Done()
		k.mu.Lock()
		defer k.mu.Unlock()
		if k.wanted && k.process == p {
			k.w.found.add("process", k.name, "it ended by itself: %s\n%s", p.State(), p.Tail())
		}
	}()
	return nil
}

// kill ends the process at once, as a power cut would.
func (k *worker) kill() {
	k.mu.Lock()
	k.wanted = false
	p := k.process
	k.mu.Unlock()
	if p != nil {
		p.Kill()
	}
}

// running reports a process that is neither killed nor stopped.
func (k *worker) running() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.wanted && !k.paused && k.process != nil && !k.process.Ended()
}

func (k *worker) ask(ctx context.Context, path string) (body string, code int, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+k.management+path, nil)
	if err != nil {
		return "", 0, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", 0, fmt.Errorf("%s: %w", k.name, err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	return string(b), resp.StatusCode, err
}
