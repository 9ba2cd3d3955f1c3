// Package app assembles the roles of one process from a configuration and runs them until it is told to stop.
package app

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/cenkalti/backoff/v5"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"
	"github.com/twmb/franz-go/pkg/kerr"
	"golang.org/x/sync/errgroup"

	"github.com/tillstream/tillstream/api"
	"github.com/tillstream/tillstream/pipeline/config"
	"github.com/tillstream/tillstream/pipeline/connections"
	"github.com/tillstream/tillstream/pipeline/deliver"
	"github.com/tillstream/tillstream/pipeline/destinations"
	"github.com/tillstream/tillstream/pipeline/ingest"
	"github.com/tillstream/tillstream/pipeline/kafka"
	"github.com/tillstream/tillstream/pipeline/pauses"
	"github.com/tillstream/tillstream/pipeline/poll"
	"github.com/tillstream/tillstream/schemas/codec"
	"github.com/tillstream/tillstream/schemas/registry"
	chsink "github.com/tillstream/tillstream/sinks/clickhouse"
)

// Roles say what a process does. Each scales by itself, as members of Kafka consumer groups.
type Roles struct{ Connectors, Processors, Sinks bool }

// AllRoles is everything in one process.
var AllRoles = Roles{Connectors: true, Processors: true, Sinks: true}

// ParseRoles reads names such as "connectors,sinks". "api" is accepted and always on: the management port.
func ParseRoles(names []string) (Roles, error) {
	if len(names) == 0 {
		return AllRoles, nil
	}
	var r Roles
	for _, n := range names {
		switch n {
		case "connectors":
			r.Connectors = true
		case "processors":
			r.Processors = true
		case "sinks":
			r.Sinks = true
		case "api":
		default:
			return Roles{}, fmt.Errorf("role %q: use connectors, processors, sinks or api", n)
		}
	}
	return r, nil
}

// Options of a process.
type Options struct {
	Config  *config.Config
	Roles   Roles
	Version string
	Now     func() time.Time
	Log     zerolog.Logger
	// ClickHouse replaces the configured address (the embedded engine has none).
	ClickHouse *clickhouse.Options
	// Healthy, where it is given, says why parts inside this process take nothing new. Webhooks are then answered 503 at
	// once, so that their senders come again, and readiness says why.
	Healthy func() error
	// Desk is the folder that Config was loaded from: the process follows its connections, and the API changes them. Nil:
	// neither.
	Desk *connections.Desk
	// Manage makes what answers about the configuration on the management port; nil: nothing does.
	Manage func(Managed) api.Managing
	// Receiving is called with the webhook port's address once it is open, before any connection is: simulators that
	// cannot be asked to register a webhook are told where to send.
	Receiving func(address string)
	// Started is called once every role runs, with the addresses that were opened.
	Started func(Addresses)
}

// Addresses are where a running process is reached.
type Addresses struct{ Ingest, Management string }

// process is one running assembly.
type process struct {
	Options
	board    *api.Board
	metrics  *prometheus.Registry
	codec    *codec.Codec
	registry *registry.Client
	redis    *redis.Client
	accounts accounts
	group    *errgroup.Group
	gate     gate
	stopping atomic.Bool
	sources  sourcesState
	polling  atomic.Pointer[poll.Runner]
	versions *Versions
	book     *rulesBook
	pauses   *pauses.Follower
	managed  struct {
		versions atomic.Pointer[Versions]
		runs     atomic.Pointer[chsink.Store]
	}

	deliverer atomic.Pointer[deliver.Deliverer] // nil: this process delivers nothing, or not yet
	cluster   *kafka.Cluster                    // for what is read and appended outside of groups

	mu      sync.Mutex
	waiting string                // what the start waits for
	served  []destinations.Served // once this process delivers
	watch   *destinations.Keeper  // of these
	closers []func()
}

// stopTimeout bounds an orderly stop; past it what is open is left to the protocol, which loses nothing.
const stopTimeout = 10 * time.Second

// Run starts the roles and returns after ctx ended and they stopped, or with the error that no waiting can mend
// (a port in use, a topic of another form, a configuration without meaning). What may come back, Kafka, the
// registry, Redis, ClickHouse or a provider, is waited for, and readiness says so.
func Run(ctx context.Context, o Options) error {
	p := newProcess(o)
	defer p.close()

	stopTracing, err := startTracing(ctx, o.Config.Settings.Telemetry.OTLPEndpoint, o.Version, o.Config.Settings.Instance)
	if err != nil {
		return err
	}
	defer stopTracing()
	if o.Roles == (Roles{Connectors: true}) && os.Getenv("GOGC") == "" {
		defer debug.SetGCPercent(debug.SetGCPercent(ingest.GCPercent))
	}
	if err := Check(o.Config); err != nil {
		return err
	}
	operators, err := withPage(p.board.Handler(p.metrics))
	if err != nil {
		return err
	}
	management, err := p.openManagement()
	if err != nil {
		return err
	}
	hooks, err := o.listen()
	if err != nil {
		management.Close()
		return err
	}

	p.group, ctx = errgroup.WithContext(ctx)
	p.showManaging(ctx)
	defer context.AfterFunc(ctx, func() { p.stopping.Store(true) })()
	// Operators see the stop, too: the port answers until every role has ended.
	serving, stopServing := context.WithCancel(context.WithoutCancel(ctx))
	defer stopServing()
	served := make(chan error, 1)
	go func() {
		served <- api.Serve(serving, management, operators)
		close(served)
	}()
	p.group.Go(func() error {
		select {
		case err := <-served:
			return err
		case <-ctx.Done():
			return nil
		}
	})
	if hooks != nil {
		p.group.Go(func() error { return p.openReceiver(ctx, hooks) })
	}
	p.group.Go(func() error { return p.start(ctx, hooks, management.Addr().String()) })
	err = p.group.Wait()
	stopServing()
	for range served { // until the port is free
	}
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// newProcess is a process with its board, which runs nothing yet.
func newProcess(o Options) *process {
	p := &process{Options: o, metrics: prometheus.NewRegistry(), waiting: "the start", gate: gate{healthy: o.Healthy}}
	p.board = api.NewBoard(map[string]string{
		"version": o.Version, "instance": o.Config.Settings.Instance, "config_version": o.Config.Version,
		"started": o.Now().UTC().Format(time.RFC3339Nano),
	})
	p.metrics.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), p.board)
	p.board.Add(api.Part{Name: "start", Ready: p.started})
	p.showFolder()
	p.accounts = openAccounts(o.Config, o.Now)
	p.atEnd(p.accounts.close)
	p.metrics.MustRegister(p.accounts.book)
	p.board.SetLimits(p.accounts.book)
	if o.Healthy != nil {
		p.board.Add(api.Part{Name: "embedded parts", Ready: o.Healthy})
	}
	return p
}

// listen opens the webhook port; nil where this process does not receive.
func (o Options) listen() (net.Listener, error) {
	if !o.Roles.Connectors {
		return nil, nil
	}
	l, err := net.Listen("tcp", o.Config.Settings.Ingest.Listen)
	if err != nil {
		return nil, fmt.Errorf("ingest.listen %q: %w; free the port or choose another", o.Config.Settings.Ingest.Listen, err)
	}
	if o.Receiving != nil {
		o.Receiving(l.Addr().String())
	}
	return l, nil
}

// start waits for what everything needs, then adds the roles to the group.
func (p *process) start(ctx context.Context, hooks net.Listener, management string) error {
	s := p.Config.Settings
	p.registry = registry.New(registry.Options{
		URL: s.Registry.URL, User: s.Registry.User, Password: s.Registry.Password,
		CacheFile: s.Registry.CacheFile, HTTP: &http.Client{Timeout: 10 * time.Second},
	})
	if err := p.await(ctx, "the schema registry at "+s.Registry.URL, func(ctx context.Context) error { return p.registry.Register(ctx) }); err != nil {
		return err
	}
	if err := p.registry.CacheErr(); err != nil {
		p.Log.Warn().Err(err).Msg("the schema registry's cache is not kept: the next start needs the registry")
	}
	var err error
	if p.codec, err = codec.New(p.registry); err != nil {
		return err
	}
	if err := p.await(ctx, "kafka", func(ctx context.Context) error { return kafka.EnsureTopics(ctx, s.Kafka, kafka.Topics(s.Kafka)) }); err != nil {
		return err
	}
	for _, start := range []func(context.Context) error{p.startVersions, p.showAutomation, p.startPauses, p.startAccess, p.startReading} {
		if err := start(ctx); err != nil {
			return err
		}
	}
	p.openRedis()
	addresses := Addresses{Management: management}
	groups := newGroups()
	if p.Roles.Processors {
		if err := p.startStages(ctx, groups); err != nil {
			return err
		}
	}
	if p.Roles.Processors || p.limited() {
		p.watchRedis(ctx)
	}
	if err := p.watchKafka(ctx, groups); err != nil {
		return err
	}
	if p.Roles.Sinks {
		if err := p.startSinks(ctx); err != nil {
			return err
		}
	}
	if err := p.startJobs(ctx); err != nil {
		return err
	}
	if p.Roles.Connectors {
		addresses.Ingest = hooks.Addr().String()
		if err := p.openGate(); err != nil {
			return err
		}
		p.startBeats(ctx)
		if err := p.startPolling(ctx); err != nil {
			return err
		}
		if err := p.startEnriching(ctx); err != nil {
			return err
		}
	}
	p.setWaiting("")
	p.Log.Info().Str("ingest", addresses.Ingest).Str("management", management).Str("config_version", p.Config.Version).Msg("running")
	if p.Started != nil {
		p.Started(addresses)
	}
	return nil
}

// started says what the start waits for, and that the process is about to end: then nothing should be sent to it.
func (p *process) started() error {
	if p.stopping.Load() {
		return errors.New("stopping: it finishes what it has at hand and leaves its partitions to the others")
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.waiting != "" {
		return fmt.Errorf("waiting for %s", p.waiting)
	}
	return nil
}

func (p *process) setWaiting(what string) {
	p.mu.Lock()
	p.waiting = what
	p.mu.Unlock()
}

// retryMax is the longest pause between two tries of something that may come back.
const retryMax = 5 * time.Second

// await tries until it works, ctx ends, or the error says that waiting is in vain.
func (p *process) await(ctx context.Context, what string, try func(context.Context) error) error {
	p.setWaiting(what)
	b := backoff.NewExponentialBackOff()
	b.InitialInterval, b.MaxInterval = 100*time.Millisecond, retryMax
	_, err := backoff.Retry(ctx, func() (struct{}, error) {
		c, cancel := context.WithTimeout(ctx, 30*time.Second)
		defer cancel()
		err := try(c)
		// A real broker shows a topic a moment after it was made: that one passes.
		if err != nil && kafka.Classify(err) == kafka.Fatal && !errors.Is(err, kerr.UnknownTopicOrPartition) {
			return struct{}{}, backoff.Permanent(err)
		}
		return struct{}{}, err
	}, backoff.WithBackOff(b), backoff.WithMaxElapsedTime(0), backoff.WithNotify(func(err error, d time.Duration) {
		p.setWaiting(fmt.Sprintf("%s: %v", what, err))
		p.Log.Warn().Err(err).Dur("again_in", d).Msg("waiting for " + what)
	}))
	return err
}

// atEnd has f called when the process stops, in the opposite order of the calls.
func (p *process) atEnd(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closers = append(p.closers, f)
}

func (p *process) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := len(p.closers) - 1; i >= 0; i-- {
		p.closers[i]()
	}
}
