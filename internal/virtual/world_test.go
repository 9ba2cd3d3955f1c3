//go:build synctests

package virtual

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tillstream/tillstream/embedded/linger"
	"github.com/tillstream/tillstream/pipeline"
	"github.com/tillstream/tillstream/pipeline/clock"
	"github.com/tillstream/tillstream/pipeline/deliver"
	"github.com/tillstream/tillstream/pipeline/kafka"
	"github.com/tillstream/tillstream/pipeline/store/redisstore"
	"github.com/tillstream/tillstream/processors/automation"
	"github.com/tillstream/tillstream/processors/mapping"
	"github.com/tillstream/tillstream/processors/orders"
	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/schemas/codec"
	"github.com/tillstream/tillstream/sinks"
)

const (
	partitions      = 2
	groupOrders     = "tillstream-orders"
	groupAutomation = "tillstream-automation"
	groupDeliver    = "tillstream-deliver"

	orphanAfter = 3 * time.Hour
	forgetAfter = 40 * time.Hour

	// The product's own numbers (15 s, 1 s or 3 s, 0.5 s) would make a day some million idle requests, and real minutes.
	sessionTimeout    = 90 * time.Second
	heartbeatInterval = 30 * time.Second
	leaseInterval     = 8 * time.Second // a deliverer that hears nothing for 10 s stops sending
	fetchWait         = 30 * time.Second
	answerWait        = 40 * time.Second // beyond the wait that a client asked for
	connIdle          = 5 * time.Minute

	// The dialer takes no notice of it. No name: the client would ask the machine's resolver, outside of the bubble.
	redisAddr = "127.0.0.1:6379"

	// cacheImagesMax is small: most states are read from Redis.
	cacheImagesMax = 16

	stopMax = 10 * time.Second
)

var destinations = []string{"crm", "news"}

// stages are both product stages, as internal/app wires them, with less patience.
type stages struct {
	orders     *orders.Stage
	automation *automation.Stage
}

func newStages(t testing.TB) stages {
	t.Helper()
	status := func(to string) automation.TriggerOptions {
		return automation.TriggerOptions{On: "payment-status-changed", To: []string{to}, TrackEvent: "status-" + to}
	}
	rules, problems := automation.Compile(map[string]automation.MappingFile{
		"orders.yaml": {
			Destination: "crm", Tags: automation.TagOptions{Add: []string{"customer"}},
			Fields: []mapping.Rule{{To: "ORDER", From: "order.id"}, {To: "STATUS", From: "order.status"}, {To: "PAID", From: "order.paid"}, {To: "REFUNDED", From: "order.refunded"}},
			Triggers: []automation.TriggerOptions{
				status("PAID"), status("REFUNDED"), {On: "recurring-payment-created", TrackEvent: "subscribed"}, {On: "recurring-payment-updated", TrackEvent: "renewed"},
			},
		},
		"refunds.yaml": {
			Destination: "news", Events: []string{"PAYMENT.CAPTURE.*"}, Tags: automation.TagOptions{Add: []string{"buyer"}},
			Fields:   []mapping.Rule{{To: "LAST_STATUS", From: "order.status"}},
			Triggers: []automation.TriggerOptions{status("REFUNDED")},
		},
	}, automation.Known{})
	if len(problems) > 0 {
		t.Fatalf("rules: %v", problems)
	}
	rules.ConfigVersion = "v1"
	return stages{orders.New(orders.Options{OrphanAfter: orphanAfter, ForgetAfter: forgetAfter}), automation.New(rules)}
}

var (
	ordersInputs     = []string{schemas.TopicPayPalEvents, schemas.TopicStoreOrders, schemas.TopicOrdersInbox}
	automationInputs = []string{schemas.TopicAutomationInbox}
)

// world is a Kafka, a Redis and the processes on them, all inside one bubble.
type world struct {
	t      testing.TB
	stages stages
	net    *kfake.VirtualNetwork
	kafka  *kfake.Cluster
	redis  *miniredis.Miniredis
	codec  *codec.Codec
	side   *kgo.Client
	crm    map[string]*account
	log    zerolog.Logger

	mu    sync.Mutex
	dice  *rand.Rand
	quiet atomic.Bool  // no answer is lost any more
	lost  atomic.Int64 // answers to EndTxn
}

func newWorld(t testing.TB, seed uint64) *world {
	t.Helper()
	w := &world{t: t, stages: newStages(t), net: new(kfake.VirtualNetwork), redis: miniredis.NewMiniRedis(), codec: codec.NewLocal(), crm: map[string]*account{}, log: zerolog.Nop(), dice: rand.New(rand.NewPCG(seed, 2))}
	for i, name := range destinations {
		w.crm[name] = newAccount(t, name, seed*10+uint64(i))
	}
	var err error
	if w.kafka, err = kfake.NewCluster(kfake.NumBrokers(1), kfake.ListenFn(linger.Listen(w.net.Listen))); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.kafka.Close)
	t.Cleanup(w.redis.Close)
	w.kafka.ControlKey(int16(kmsg.Fetch), w.fetch)
	o := kafka.Options{Brokers: w.kafka.ListenAddrs(), Partitions: partitions, Extra: []kgo.Opt{kgo.Dialer(w.net.DialContext)}}
	specs := kafka.Topics(o)
	for i := range specs {
		if specs[i].Compacted { // the check reads whole changelogs
			specs[i].Compacted, specs[i].Retention = false, kafka.InputRetention
		}
	}
	if err := kafka.EnsureTopics(t.Context(), o, specs); err != nil {
		t.Fatal(err)
	}
	if w.side, err = o.Client(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.side.Close)
	return w
}

// fetch lets an idle fetch wait longer than the client asked for.
func (w *world) fetch(raw kmsg.Request) (kmsg.Response, error, bool) {
	w.kafka.KeepControl()
	req := raw.(*kmsg.FetchRequest)
	req.MaxWaitMillis = max(req.MaxWaitMillis, int32(fetchWait.Milliseconds()))
	return nil, nil, false
}

// lose decides whether the answer to an EndTxn is lost: one in forty is.
func (w *world) lose() bool {
	if w.quiet.Load() {
		return false
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.dice.IntN(40) > 0 {
		return false
	}
	w.lost.Add(1)
	return true
}

// calm ends all trouble but restarts.
func (w *world) calm() {
	w.quiet.Store(true)
	for _, a := range w.crm {
		a.mu.Lock()
		a.quiet = true
		a.mu.Unlock()
	}
}

// wire is the network of one process: cutting it is what the others see of a kill.
type wire struct {
	mu    sync.Mutex
	conns []net.Conn
	cut   bool
}

// lossy loses the answer to some of the requests that end a transaction.
type lossy struct {
	net.Conn
	lose func() bool
}

func (c lossy) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	// A request is its length in 4 bytes, then its key in 2.
	if err == nil && len(b) > 6 && kmsg.Key(binary.BigEndian.Uint16(b[4:])) == kmsg.EndTxn && c.lose() {
		c.Close()
	}
	return n, err
}

var errDead = errors.New("the process is dead")

// open dials, and loses the answers that lose asks for; nil: none.
func (n *wire) open(lose func() bool, dial func() (net.Conn, error)) (net.Conn, error) {
	n.mu.Lock()
	dead := n.cut
	n.mu.Unlock()
	if dead {
		return nil, &net.OpError{Op: "dial", Err: errDead}
	}
	c, err := dial()
	if err != nil {
		return nil, err
	}
	if lose != nil {
		c = lossy{c, lose}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.cut {
		c.Close()
		return nil, &net.OpError{Op: "dial", Err: errDead}
	}
	n.conns = append(n.conns, c)
	return c, nil
}

func (n *wire) kill() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cut = true
	for _, c := range n.conns {
		c.Close()
	}
}

// patient is a Kafka whose groups wait longer for a silent member.
type patient struct{ *kafka.Cluster }

func (p patient) Join(m kafka.Member) (kafka.Session, error) {
	m.SessionTimeout, m.HeartbeatInterval = sessionTimeout, heartbeatInterval
	if m.Group == groupDeliver {
		m.HeartbeatInterval = leaseInterval
	}
	return p.Cluster.Join(m)
}

// process is one running program: both stages and delivery.
type process struct {
	w       *world
	name    string
	wire    *wire
	cluster *kafka.Cluster
	redis   *redis.Client
	engines []*pipeline.Engine
	deliver *deliver.Deliverer
	cancel  context.CancelFunc
	done    sync.WaitGroup
}

func (w *world) start(name string) *process {
	w.t.Helper()
	p := &process{w: w, name: name, wire: new(wire)}
	log := w.log.With().Str("process", name).Logger()
	o := kafka.Options{Brokers: w.kafka.ListenAddrs(), Extra: []kgo.Opt{
		kgo.DisableClientMetrics(), kgo.RequestTimeoutOverhead(answerWait), kgo.ConnIdleTimeout(connIdle),
		kgo.Dialer(func(ctx context.Context, network, addr string) (net.Conn, error) {
			return p.wire.open(w.lose, func() (net.Conn, error) { return w.net.DialContext(ctx, network, addr) })
		}),
	}}
	var err error
	if p.cluster, err = kafka.NewCluster(o, clock.System(), log); err != nil {
		w.t.Fatal(err)
	}
	p.redis = redis.NewClient(&redis.Options{ // as internal/app opens it
		Addr: redisAddr, Protocol: 2, DisableIdentity: true, ContextTimeoutEnabled: true, DialerRetries: 1, MaxRetries: 1,
		DialTimeout: 2 * time.Second, ReadTimeout: 2 * time.Second, WriteTimeout: 2 * time.Second,
		Dialer: func(context.Context, string, string) (net.Conn, error) { return p.wire.open(nil, w.redis.Dial) },
	})
	topologies := []pipeline.Topology{
		{Stage: pipeline.Bind(w.stages.orders), Inputs: ordersInputs, Inbox: schemas.TopicOrdersInbox, Changelog: schemas.TopicOrdersChangelog, Group: groupOrders},
		{Stage: pipeline.Bind(w.stages.automation), Inputs: automationInputs, Inbox: schemas.TopicAutomationInbox, Changelog: schemas.TopicAutomationLog, Group: groupAutomation},
	}
	for _, t := range topologies {
		e, err := pipeline.NewEngine(pipeline.EngineOptions{
			Cluster: patient{p.cluster}, Store: redisstore.New(p.redis), Codec: codec.InPlace{Codec: w.codec}, Topology: t, Instance: name, RulesHash: "v1", CacheImagesMax: cacheImagesMax,
			Clock: unhurried{clock.System()}, Log: log,
		})
		if err != nil {
			w.t.Fatal(err)
		}
		p.engines = append(p.engines, e)
	}
	writers := map[string]sinks.Writer{}
	for name, a := range w.crm {
		writers[name] = a
	}
	if p.deliver, err = deliver.New(deliver.Options{Cluster: patient{p.cluster}, Codec: w.codec, Group: groupDeliver, Instance: name, Writers: writers, Log: log}); err != nil {
		w.t.Fatal(err)
	}
	p.run()
	return p
}

func (p *process) run() {
	ctx, cancel := context.WithCancel(context.Background())
	p.cancel = cancel
	runs := []func(context.Context) error{p.deliver.Run}
	for _, e := range p.engines {
		runs = append(runs, e.Run)
	}
	for _, run := range runs {
		p.done.Go(func() {
			if err := run(ctx); err != nil {
				p.w.t.Errorf("%s: Run: %v", p.name, err)
			}
		})
	}
}

// stop ends the process cleanly, within its time.
func (p *process) stop() {
	began := time.Now()
	p.end()
	if took := time.Since(began); took > stopMax {
		p.w.t.Errorf("%s: stopping took %v, want at most %v", p.name, took, stopMax)
	}
}

// kill ends the process without a farewell to Kafka or Redis.
func (p *process) kill() {
	p.wire.kill()
	p.end()
}

func (p *process) end() {
	p.cancel()
	p.done.Wait()
	p.cluster.Close()
	p.redis.Close()
}

// ready returns nil when all parts of the process are.
func (p *process) ready() error {
	errs := []error{p.deliver.Ready()}
	for _, e := range p.engines {
		errs = append(errs, e.Ready())
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("%s: %w", p.name, err)
	}
	return nil
}

// unhurried is the machine's clock, but that a lane with nothing to do turns every few seconds, not twice in one: an
// idle day is half a million turns otherwise. A due timer is noticed that much later.
type unhurried struct{ clock.Clock }

const (
	idleTurn    = 500 * time.Millisecond
	idleTurnNow = 10 * time.Second
)

func (u unhurried) WithTimeout(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	if d == idleTurn {
		d = idleTurnNow
	}
	return u.Clock.WithTimeout(ctx, d)
}
