//go:build synctests

package soak

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tillstream/tillstream/embedded/linger"
	"github.com/tillstream/tillstream/outbound"
	"github.com/tillstream/tillstream/pipeline/clock"
	"github.com/tillstream/tillstream/pipeline/deliver"
	"github.com/tillstream/tillstream/pipeline/kafka"
	"github.com/tillstream/tillstream/pipeline/limits"
	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/schemas/codec"
	"github.com/tillstream/tillstream/simulators/activecampaign"
	"github.com/tillstream/tillstream/sinks"
	acsink "github.com/tillstream/tillstream/sinks/activecampaign"
)

var (
	virtualContacts = flag.Int("virtual-contacts", 600, "contacts of TestVirtualSoak; at GetResponse a quarter of them")
	virtualKills    = flag.Int("virtual-kills", 4, "deliverers taken away without a farewell in TestVirtualSoak")
)

const (
	documentedRate   = 5 // requests a second
	crmAddress       = "127.0.0.1:8080"
	redisAddress     = "127.0.0.1:6379" // no name: it would be asked of the machine's resolver, outside of the bubble
	sessionWait      = 90 * time.Second // for a dead member; the product's 15 s are a hundred thousand idle requests here
	virtualLookEvery = 20 * time.Second
	heartbeat        = 8 * time.Second // a deliverer that hears nothing for 10 s stops sending
)

// TestVirtualSoak runs the plan at the documented rate, hours of it.
func TestVirtualSoak(t *testing.T) {
	redis.SetLogger(quietRedis{}) // it tells of each connection that a dead process does not get
	synctest.Test(t, func(t *testing.T) {
		r := &result{Seed: seed(), Contacts: *virtualContacts, Rate: documentedRate}
		crm := activecampaign.New(activecampaign.Options{
			Account: account, Key: key, Seed: r.Seed, RatePerSecond: documentedRate, Faults: faults, Now: time.Now, Log: zerolog.Nop(),
		})
		v := newVirtual(t, r, virtualCRM{handler: crm.Handler(), requests: func() int64 { return crm.Stats().Requests }, open: openActiveCampaign})
		v.play(newPlan(r.Seed, r.Contacts, versions))
		check(t, v.plan, crm, v.finals, r)
		r.Ratio = float64(r.Requests-r.Faults) / float64(v.plan.least)
		line, _ := json.Marshal(r)
		t.Logf("%s", line)
		if r.Ratio > ratioMax {
			t.Errorf("%d requests that no fault struck, %.2f times the %d that are needed; want at most %.1f times", r.Requests-r.Faults, r.Ratio, r.Least, ratioMax)
		}
		if r.Kills != *virtualKills || r.Faults == 0 || r.Superseded == 0 || r.Effects == 0 {
			t.Errorf("it proves less than it should: %s", line)
		}
	})
}

type quietRedis struct{}

func (quietRedis) Printf(context.Context, string, ...any) {}

// virtual is everything that runs, in one bubble.
type virtual struct {
	t      *testing.T
	r      *result
	random *rand.Rand
	net    *kfake.VirtualNetwork
	kafka  *kfake.Cluster
	redis  *miniredis.Miniredis
	codec  *codec.Codec
	side   *kgo.Client
	crm    virtualCRM
	plan   *plan
	finals finals
	procs  [workers]*process
}

// virtualCRM is the account that is written to.
type virtualCRM struct {
	handler  http.Handler
	requests func() int64 // so far
	// open connects a process to it.
	open func(ctx context.Context, book *limits.Book, network *http.Transport) (*http.Client, sinks.Writer, error)
}

func openActiveCampaign(ctx context.Context, book *limits.Book, network *http.Transport) (*http.Client, sinks.Writer, error) {
	cfg := acsink.Sink.Config().(*acsink.Config)
	cfg.URL, cfg.Key = "http://"+crmAddress, schemas.NewSecret(key)
	cfg.EventTracking = acsink.EventTracking{AccountID: account, Key: schemas.NewSecret(key), URL: "http://" + crmAddress + "/event"}
	return openSink(ctx, acsink.Sink, cfg, network, book.Use("activecampaign:"+account, destination, cfg.Limits()))
}

func openSink(ctx context.Context, sink sinks.Sink, cfg any, network *http.Transport, l outbound.Limiter) (*http.Client, sinks.Writer, error) {
	client, err := outbound.NewClient(outbound.Options{AllowPrivate: true, Timeout: 30 * time.Second, Network: network, Limiter: l})
	if err != nil {
		return nil, nil, err
	}
	w, err := sink.Open(ctx, cfg, sinks.Env{Destination: destination, Now: time.Now, HTTP: client, Log: zerolog.Nop()})
	return client, w, err
}

func newVirtual(t *testing.T, r *result, crm virtualCRM) *virtual {
	t.Helper()
	t.Logf("-seed %d", r.Seed)
	v := &virtual{
		t: t, r: r, random: rand.New(rand.NewPCG(r.Seed, 0x50a4)), net: new(kfake.VirtualNetwork), redis: miniredis.NewMiniRedis(),
		codec: codec.NewLocal(), finals: finals{}, crm: crm,
	}
	var err error
	if v.kafka, err = kfake.NewCluster(kfake.NumBrokers(1), kfake.ListenFn(linger.Listen(v.net.Listen))); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(v.kafka.Close)
	t.Cleanup(v.redis.Close)
	o := v.options(v.net.DialContext)
	if err := kafka.EnsureTopics(t.Context(), o, kafka.Topics(o)); err != nil {
		t.Fatal(err)
	}
	if v.side, err = o.Client(kgo.RecordPartitioner(kgo.ManualPartitioner())); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(v.side.Close)
	l, err := v.net.Listen("tcp", crmAddress)
	if err != nil {
		t.Fatal(err)
	}
	web := &http.Server{Handler: v.crm.handler, ReadHeaderTimeout: time.Minute}
	served := make(chan struct{})
	go func() { defer close(served); _ = web.Serve(l) }()
	t.Cleanup(func() { _ = web.Close(); <-served })
	return v
}

func (v *virtual) options(dial func(context.Context, string, string) (net.Conn, error)) kafka.Options {
	return kafka.Options{
		Brokers: v.kafka.ListenAddrs(), Partitions: partitions,
		Extra: []kgo.Opt{kgo.Dialer(dial), kgo.DisableClientMetrics(), kgo.ConnIdleTimeout(5 * time.Minute), kgo.RequestTimeoutOverhead(40 * time.Second)},
	}
}

// process is one deliverer with its connections, which end with it.
type process struct {
	mu      sync.Mutex
	conns   []net.Conn
	dead    bool
	cancel  context.CancelFunc
	done    chan struct{}
	cluster *kafka.Cluster
	redis   *redis.Client
}

var errDead = errors.New("the process is dead")

// dial opens a connection that breaks when the process dies.
func (p *process) dial(open func() (net.Conn, error)) (net.Conn, error) {
	c, err := open()
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.dead {
		c.Close()
		return nil, &net.OpError{Op: "dial", Err: errDead}
	}
	p.conns = append(p.conns, c)
	return c, nil
}

// patient is a Kafka whose groups wait longer for a silent member.
type patient struct{ *kafka.Cluster }

func (p patient) Join(m kafka.Member) (kafka.Session, error) {
	m.SessionTimeout, m.HeartbeatInterval = sessionWait, heartbeat
	return p.Cluster.Join(m)
}

func (v *virtual) start(name string) *process {
	v.t.Helper()
	p := &process{done: make(chan struct{})}
	ctx, cancel := context.WithCancel(context.Background())
	p.cancel = cancel
	far := func(ctx context.Context, network, addr string) (net.Conn, error) {
		return p.dial(func() (net.Conn, error) { return v.net.DialContext(ctx, network, addr) })
	}
	var err error
	if p.cluster, err = kafka.NewCluster(v.options(far), clock.System(), zerolog.Nop()); err != nil {
		v.t.Fatal(err)
	}
	p.redis = redis.NewClient(&redis.Options{
		Addr: redisAddress, Protocol: 2, DisableIdentity: true, ContextTimeoutEnabled: true, DialerRetries: 1, MaxRetries: 1,
		DialTimeout: 2 * time.Second, ReadTimeout: 2 * time.Second, WriteTimeout: 2 * time.Second,
		Dialer: func(context.Context, string, string) (net.Conn, error) { return p.dial(v.redis.Dial) },
	})
	book := limits.New(limits.Options{Redis: p.redis, Instance: name, Now: time.Now})
	client, writer, err := v.crm.open(ctx, book, &http.Transport{DialContext: far, MaxConnsPerHost: 32})
	if err != nil {
		v.t.Fatal(err)
	}
	d, err := deliver.New(deliver.Options{
		Cluster: patient{p.cluster}, Clock: clock.System(), Codec: v.codec, Group: "tillstream-deliver", Instance: name,
		Writers: map[string]sinks.Writer{destination: writer}, Log: zerolog.Nop(),
	})
	if err != nil {
		v.t.Fatal(err)
	}
	go func() {
		defer close(p.done)
		_ = d.Run(ctx)
		client.CloseIdleConnections()
		p.cluster.Close()
		_ = p.redis.Close()
		_ = writer.Close()
		book.Close()
	}()
	return p
}

// die takes the process away: what it had under way arrives or not, and it says nothing any more.
func (p *process) die() {
	p.mu.Lock()
	p.dead = true
	for _, c := range p.conns {
		c.Close()
	}
	p.mu.Unlock()
	p.cancel()
	<-p.done
}

// play sends all commands and lets the processes work, of which it takes some away, until every command has its end.
func (v *virtual) play(p *plan) {
	t, ctx := v.t, v.t.Context()
	v.plan = p
	began := time.Now()
	defer func() { v.r.Seconds = time.Since(began).Seconds() }()
	v.r.Commands, v.r.Effects, v.r.Least = len(v.plan.commands), len(v.plan.effects), v.plan.least
	if err := send(ctx, v.side, v.codec, v.plan); err != nil {
		t.Fatal(err)
	}
	for i := range v.procs {
		v.procs[i] = v.start(string(rune('a' + i)))
	}
	defer func() {
		for _, p := range v.procs {
			p.cancel()
			<-p.done
		}
	}()
	words, err := v.options(v.net.DialContext).Client(
		kgo.ConsumeTopics(schemas.TopicDeliveries), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
	)
	if err != nil {
		t.Fatal(err)
	}
	defer words.Close()
	kills, quiet := v.kills(), time.Now()
	for len(v.finals) < v.r.Commands {
		before := len(v.finals)
		if err := v.finals.read(ctx, t, words, v.codec, virtualLookEvery); err != nil {
			t.Fatal(err)
		}
		if len(v.finals) > before {
			quiet = time.Now()
		}
		if time.Since(quiet) > time.Hour {
			t.Fatalf("nothing came to its end for an hour; %d of %d commands have theirs", len(v.finals), v.r.Commands)
		}
		if len(kills) > 0 && v.crm.requests() >= kills[0] {
			kills = kills[1:]
			i := v.random.IntN(workers)
			v.procs[i].die()
			v.r.Kills++
			synctest.Wait()
			time.Sleep(time.Duration(v.random.Int64N(int64(time.Minute))))
			v.procs[i] = v.start(string(rune('a' + i)))
		}
	}
}

// kills are the numbers of requests after which a process is taken away: at any moment of the work, and so that its end
// is not near.
func (v *virtual) kills() []int64 {
	at := make([]int64, *virtualKills)
	for i := range at {
		at[i] = v.random.Int64N(v.plan.least * 9 / 10)
	}
	slices.Sort(at)
	return at
}
