package deliver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tillstream/tillstream/pipeline/kafka"
	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/schemas/codec"
	"github.com/tillstream/tillstream/sinks"
)

// patience bounds every wait of a test; nothing waits for it when all goes well.
const patience = 40 * time.Second

// rig is a Kafka with the topics of delivery.
type rig struct {
	t       testing.TB
	brokers []string
	codec   *codec.Codec
	cluster *kfake.Cluster
	client  *kgo.Client
	made    int
	dial    dialer
}

type dialer func(ctx context.Context, network, address string) (net.Conn, error)

func newRig(t testing.TB) *rig {
	t.Helper()
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.GroupMinSessionTimeout(100*time.Millisecond),
		kfake.SeedTopics(2, schemas.TopicCommands, schemas.TopicDeliveries, schemas.TopicAutomationInbox, schemas.TopicProgress), kfake.SeedTopics(1, schemas.TopicDeadLetters))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return rigOn(t, c, new(net.Dialer).DialContext)
}

func rigOn(t testing.TB, c *kfake.Cluster, dial dialer) *rig {
	t.Helper()
	r := &rig{t: t, brokers: c.ListenAddrs(), codec: codec.NewLocal(), cluster: c, dial: dial}
	var err error
	r.client, err = kgo.NewClient(kgo.SeedBrokers(r.brokers...), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.Dialer(dial))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.client.Close)
	return r
}

// contact makes a desired state; effect one event.
func (r *rig) contact(who string, version int64) schemas.Command {
	r.made++
	return schemas.Command{
		CommandID: fmt.Sprintf("%012x", r.made), Kind: schemas.CommandContact, Destination: "crm", ContactKey: "live/" + who,
		Version: version, Contact: schemas.Contact{Email: who, Fields: map[string]string{"VERSION": fmt.Sprint(version)}},
		At: time.Now().UTC().Truncate(time.Millisecond),
	}
}

func (r *rig) effect(who string) schemas.Command {
	c := r.contact(who, 0)
	c.Kind, c.Effect = schemas.CommandEffect, &schemas.Effect{Type: schemas.EffectTrackEvent, Name: "paid", Data: "id=" + c.CommandID}
	return c
}

// produce appends commands to partition 0, in order.
func (r *rig) produce(cmds ...schemas.Command) {
	r.t.Helper()
	r.produceTo(0, cmds...)
}

func (r *rig) produceTo(partition int32, cmds ...schemas.Command) {
	r.t.Helper()
	var recs []*kgo.Record
	for i := range cmds {
		b, err := r.codec.Encode(&cmds[i])
		if err != nil {
			r.t.Fatal(err)
		}
		recs = append(recs, &kgo.Record{Topic: schemas.TopicCommands, Partition: partition, Key: []byte(cmds[i].ContactKey), Value: b})
	}
	if err := r.client.ProduceSync(context.Background(), recs...).FirstErr(); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) options(instance string, w sinks.Writer) Options {
	return Options{
		Kafka: kafka.Options{Brokers: r.brokers}, Codec: r.codec, Group: "deliver", Instance: instance,
		Writers: map[string]sinks.Writer{"crm": w}, Settle: time.Millisecond,
		RetryBase: 5 * time.Millisecond, RetryMax: 40 * time.Millisecond,
		Log: zerolog.Nop(), session: 1500 * time.Millisecond,
	}
}

// running is a deliverer at work.
type running struct {
	*Deliverer
	t      testing.TB
	cancel context.CancelFunc
	done   chan error
	link   *link
	killed bool
}

func (r *rig) start(o Options) *running {
	r.t.Helper()
	l := &link{base: r.dial}
	o.Kafka.Extra = append(o.Kafka.Extra, kgo.Dialer(l.dial))
	d, err := New(o)
	if err != nil {
		r.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	run := &running{Deliverer: d, t: r.t, cancel: cancel, done: make(chan error, 1), link: l}
	go func() { run.done <- d.Run(ctx) }()
	r.t.Cleanup(run.stop)
	return run
}

// stop ends the process in order.
func (r *running) stop() {
	if r.cancel == nil {
		return
	}
	r.cancel()
	r.cancel = nil
	if r.killed {
		return // it only waits for a broker that it cannot reach
	}
	if err := <-r.done; err != nil {
		r.t.Errorf("Run: %v", err)
	}
}

// kill takes the network away, so that nothing more is committed, as when a process dies. Its requests still end.
func (r *running) kill() {
	r.killed = true
	r.link.cut()
}

// link is a dialer that can be cut.
type link struct {
	base   dialer
	mu     sync.Mutex
	dead   bool
	frozen atomic.Bool
	conns  []net.Conn
}

// freeze lets nothing through any more and closes nothing, as a network that swallows packets.
func (l *link) freeze() { l.frozen.Store(true) }

// slowConn loses what is written to it while its link is frozen.
type slowConn struct {
	net.Conn
	link *link
}

func (c slowConn) Write(p []byte) (int, error) {
	if c.link.frozen.Load() {
		return len(p), nil
	}
	return c.Conn.Write(p)
}

func (l *link) dial(ctx context.Context, network, address string) (net.Conn, error) {
	l.mu.Lock()
	dead := l.dead
	l.mu.Unlock()
	if dead {
		return nil, errors.New("link is cut")
	}
	c, err := l.base(ctx, network, address)
	if err == nil {
		l.mu.Lock()
		l.conns = append(l.conns, c)
		dead = l.dead
		l.mu.Unlock()
		if dead { // it was cut meanwhile
			c.Close()
			return nil, errors.New("link is cut")
		}
		c = slowConn{c, l}
	}
	return c, err
}

func (l *link) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.dead = true
	for _, c := range l.conns {
		c.Close()
	}
}

// receipts reads committed deliveries until enough says so.
func (r *rig) receipts(enough func([]schemas.Delivery) bool) []schemas.Delivery {
	r.t.Helper()
	return readAll[schemas.Delivery](r, schemas.TopicDeliveries, enough)
}

func (r *rig) deadLetters(n int) []schemas.DeadLetter {
	r.t.Helper()
	return readAll[schemas.DeadLetter](r, schemas.TopicDeadLetters, func(l []schemas.DeadLetter) bool { return len(l) >= n })
}

func readAll[T any](r *rig, topic string, enough func([]T) bool) []T {
	r.t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(r.brokers...), kgo.ConsumeTopics(topic), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.FetchMaxWait(50*time.Millisecond), kgo.Dialer(r.dial))
	if err != nil {
		r.t.Fatal(err)
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var out []T
	for !enough(out) {
		f := cl.PollFetches(ctx)
		if ctx.Err() != nil {
			r.t.Fatalf("%s: gave up after %d records: %+v", topic, len(out), out)
		}
		f.EachRecord(func(rec *kgo.Record) {
			v, err := r.codec.Decode(rec.Value)
			if err != nil {
				r.t.Fatal(err)
			}
			out = append(out, *any(v).(*T))
		})
	}
	return out
}

// finals maps command ids to their final outcomes; a command with two is an error of the protocol.
func (r *rig) finals(list []schemas.Delivery) map[string]schemas.OutcomeWord {
	r.t.Helper()
	out := map[string]schemas.OutcomeWord{}
	for _, d := range list {
		if d.Outcome == schemas.OutcomeIntent || d.Outcome == schemas.OutcomeRetryable {
			continue
		}
		if was, twice := out[d.CommandID]; twice {
			r.t.Errorf("command %s ended twice: %s and %s", d.CommandID, was, d.Outcome)
		}
		out[d.CommandID] = d.Outcome
	}
	return out
}

// ended waits until each of the commands has its final delivery.
func (r *rig) ended(cmds ...schemas.Command) map[string]schemas.OutcomeWord {
	r.t.Helper()
	list := r.receipts(func(l []schemas.Delivery) bool {
		seen := map[string]bool{}
		for _, d := range l {
			if d.Outcome != schemas.OutcomeIntent && d.Outcome != schemas.OutcomeRetryable {
				seen[d.CommandID] = true
			}
		}
		for _, c := range cmds {
			if !seen[c.CommandID] {
				return false
			}
		}
		return true
	})
	return r.finals(list)
}

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("not in time: %s", what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// crm is a writer that remembers, and does what a test tells it.
type crm struct {
	t *testing.T
	// answer is asked for each command; nil or a zero outcome: delivered. applied says whether it took effect.
	answer func(c schemas.Command, try int) (o sinks.Outcome, applied bool)
	mute   bool // Reconcile cannot tell

	mu         sync.Mutex
	tries      map[string]int
	flying     map[string]int
	sent       map[string][]int64 // versions by contact, in the order of sending
	versions   map[string]int64
	effects    map[string]int
	reconciled int
	most       int
	now        int
}

func newCRM(t *testing.T) *crm {
	return &crm{t: t, tries: map[string]int{}, flying: map[string]int{}, sent: map[string][]int64{}, versions: map[string]int64{}, effects: map[string]int{}}
}

func (c *crm) Write(_ context.Context, batch []schemas.Command) []sinks.Outcome {
	out := make([]sinks.Outcome, 0, len(batch))
	for _, cmd := range batch {
		c.mu.Lock()
		c.tries[cmd.CommandID]++
		try := c.tries[cmd.CommandID]
		c.flying[cmd.ContactKey]++
		c.now++
		c.most = max(c.most, c.now)
		if c.flying[cmd.ContactKey] > 1 {
			c.t.Errorf("two requests in flight for %s", cmd.ContactKey)
		}
		if cmd.Kind == schemas.CommandContact {
			c.sent[cmd.ContactKey] = append(c.sent[cmd.ContactKey], cmd.Version)
		}
		c.mu.Unlock()
		o, applied := sinks.Outcome{Kind: sinks.Delivered}, true
		if c.answer != nil {
			if a, ok := c.answer(cmd, try); a.Kind != 0 {
				o, applied = a, ok
			}
		}
		c.mu.Lock()
		if applied {
			if cmd.Kind == schemas.CommandContact {
				c.versions[cmd.ContactKey] = cmd.Version
			} else {
				c.effects[cmd.CommandID]++
			}
		}
		c.flying[cmd.ContactKey]--
		c.now--
		c.mu.Unlock()
		out = append(out, o)
	}
	return out
}

func (c *crm) Reconcile(_ context.Context, e schemas.Command) sinks.Outcome {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.reconciled++
	switch {
	case c.mute:
		return sinks.Outcome{Kind: sinks.Unknown}
	case c.effects[e.CommandID] > 0:
		return sinks.Outcome{Kind: sinks.Delivered}
	}
	return sinks.Outcome{Kind: sinks.NotHappened}
}

func (c *crm) Check(context.Context) []sinks.Finding { return nil }
func (c *crm) Close() error                          { return nil }

func (c *crm) triesOf(cmd schemas.Command) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.tries[cmd.CommandID]
}

func retryable() sinks.Outcome {
	return sinks.Outcome{Kind: sinks.Retryable, Err: errors.New("500"), Remedy: "wait"}
}
