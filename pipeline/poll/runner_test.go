package poll

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tillstream/tillstream/connectors"
	"github.com/tillstream/tillstream/pipeline/clock"
	"github.com/tillstream/tillstream/pipeline/ingest"
	"github.com/tillstream/tillstream/pipeline/kafka"
	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/schemas/codec"
)

// patience bounds every wait of a test on real time; no test passes by waiting.
const patience = 30 * time.Second

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %v", what, patience)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// numbered are schema ids without a registry.
type numbered struct{}

func (numbered) ID(name string) (int, error) {
	for i, r := range schemas.Records() {
		if r.RecordName() == name {
			return i + 1, nil
		}
	}
	return 0, errors.New("no record " + name)
}

func (numbered) Schema(id int) (string, error) {
	text, ok := schemas.AVSC(schemas.Records()[id-1].RecordName())
	if !ok {
		return "", codec.ErrUnknownSchema
	}
	return text, nil
}

// cluster is Kafka with the product's topics, and an appender.
type cluster struct {
	options kafka.Options
	codec   *codec.Codec
	keeper  ingest.Keeper
	log     *kafka.Cluster
}

func newCluster(t *testing.T) *cluster {
	t.Helper()
	k, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.GroupMinSessionTimeout(time.Second))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.Close)
	c := &cluster{options: kafka.Options{Brokers: k.ListenAddrs(), Partitions: 3}}
	if err := kafka.EnsureTopics(t.Context(), c.options, kafka.Topics(c.options)); err != nil {
		t.Fatal(err)
	}
	if c.codec, err = codec.New(numbered{}); err != nil {
		t.Fatal(err)
	}
	producer, err := c.options.Client(kgo.ProducerLinger(0))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(producer.Close)
	c.keeper = ingest.Keeper{Appender: ingest.KafkaAppender{Client: producer}, Encode: c.codec.Encode}
	if c.log, err = kafka.NewCluster(c.options, clock.System(), zerolog.Nop()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.log.Close)
	return c
}

// events are how often each event of a connection is on the log.
func (c *cluster) events(t *testing.T, topic, connection string) map[string]int {
	t.Helper()
	out := map[string]int{}
	for n := range c.options.Partitions {
		_, end, err := c.log.Bounds(t.Context(), topic, n)
		if err != nil {
			t.Fatal(err)
		}
		err = c.log.Read(t.Context(), kafka.Range{Topic: topic, Partition: n, To: end, Patience: patience}, func(records []*kgo.Record, _ int64) error {
			for _, r := range records {
				v, err := c.codec.Decode(r.Value)
				if err != nil {
					return err
				}
				if e := v.(*schemas.OrderEvent); e.Connection == connection {
					out[e.EventID]++
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return out
}

// bare is a provider without webhooks.
type bare struct{ p *provider }

func (b bare) Feeds() []connectors.Feed { return b.p.Feeds() }
func (b bare) Poll(ctx context.Context, q connectors.Query) (connectors.Page, error) {
	return b.p.Poll(ctx, q)
}

// hanging answers only when its caller gives up.
type hanging struct{ bare }

func (hanging) Poll(ctx context.Context, _ connectors.Query) (connectors.Page, error) {
	<-ctx.Done()
	return connectors.Page{}, ctx.Err()
}

// runner starts a process; stop ends it.
func (c *cluster) runner(t *testing.T, reg prometheus.Registerer, list []Connection) (*Runner, func()) {
	t.Helper()
	r, err := New(Options{Kafka: c.options, Codec: c.codec, Keeper: c.keeper, Group: "polling", Instance: "one", Log: zerolog.Nop(), Registerer: reg})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Ready(); err == nil {
		t.Error("ready before it runs")
	}
	r.Set(list)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	stop := sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("run: %v", err)
		}
	})
	t.Cleanup(stop)
	return r, stop
}

// gather is every metric by its name and labels.
func gather(t *testing.T, reg *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			name := f.GetName()
			for _, l := range m.GetLabel() {
				name += " " + l.GetValue()
			}
			out[name] = m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
	}
	return out
}

func owned(r *Runner) map[string]Status {
	out := map[string]Status{}
	for _, s := range r.Status() {
		if s.Owned {
			out[s.Connection] = s
		}
	}
	return out
}

// TestProcessesShareConnections: each connection is polled by one process, a process that ends leaves its own to the
// others, who go on where it was; one provider that hangs holds up no other.
func TestProcessesShareConnections(t *testing.T) {
	c := newCluster(t)
	feeds := []connectors.Feed{{Name: "events", Every: 50 * time.Millisecond, Match: connectors.MatchEvent}}
	providers := map[string]*provider{}
	var list []Connection
	for i := range 8 {
		name := fmt.Sprintf("shop%d", i)
		providers[name] = &provider{now: time.Now, feeds: feeds}
		list = append(list, Connection{Name: name, Environment: schemas.Live, Connector: shop, Poller: bare{providers[name]}})
	}
	list = append(list, Connection{Name: "hangs", Environment: schemas.Live, Connector: shop, Poller: hanging{bare{&provider{now: time.Now, feeds: feeds}}}})
	reg := prometheus.NewRegistry()
	first, stopFirst := c.runner(t, reg, list)
	eventually(t, "one process has all", func() bool { return len(owned(first)) == 9 && first.Ready() == nil })
	second, _ := c.runner(t, nil, list)
	eventually(t, "two share them", func() bool {
		a, b := owned(first), owned(second)
		for name := range a {
			if _, both := b[name]; both {
				return false
			}
		}
		return len(a)+len(b) == 9 && len(a) > 0 && len(b) > 0
	})
	happen := func(i int) {
		for _, p := range providers {
			p.happen(order(i, time.Now()))
		}
	}
	arrived := func(i int) func() bool {
		return func() bool {
			for name := range providers {
				if c.events(t, shop.Topic, name)[order(i, time.Time{}).ID] == 0 {
					return false
				}
			}
			return true
		}
	}
	happen(1)
	eventually(t, "all are polled", arrived(1))
	stopFirst()
	shown := gather(t, reg)
	if n := shown["tillstream_source_polls_total shop0 events failed"]; n != 0 {
		t.Errorf("got %v failures of a provider that works", n)
	}
	if n := shown["tillstream_source_polls_total shop0 events read"]; n == 0 {
		t.Error("no reading of a provider that works was counted")
	}
	for name := range shown {
		if strings.HasPrefix(name, "tillstream_source_silent") || strings.HasPrefix(name, "tillstream_source_complete") {
			t.Errorf("a process that ended shows %s", name)
		}
	}
	happen(2)
	eventually(t, "one process takes over", func() bool { return len(owned(second)) == 9 })
	eventually(t, "all are polled on", arrived(2))
	second.Set(list[:3])
	eventually(t, "those that were taken out are polled no more", func() bool { return len(second.Status()) == 3 && len(owned(second)) == 3 })
	for name := range providers {
		for id, n := range c.events(t, shop.Topic, name) {
			if n != 1 {
				t.Errorf("%s: %s is there %d times", name, id, n)
			}
		}
	}
}

// TestSetKeepsWhatDidNotChange: only a connection that was opened anew is taken over anew.
func TestSetKeepsWhatDidNotChange(t *testing.T) {
	c := newCluster(t)
	feeds := []connectors.Feed{{Name: "events", Every: 50 * time.Millisecond, Match: connectors.MatchEvent}}
	one, two := &provider{now: time.Now, feeds: feeds}, &provider{now: time.Now, feeds: feeds}
	list := func(p *provider) []Connection {
		return []Connection{
			{Name: "kept", Environment: schemas.Live, Connector: shop, Poller: bare{one}},
			{Name: "renewed", Environment: schemas.Live, Connector: shop, Poller: bare{p}},
			{Name: "counted", Environment: schemas.Live, Connector: shop},
		}
	}
	r, _ := c.runner(t, nil, list(one))
	worker := func(name string) *worker {
		r.mu.Lock()
		defer r.mu.Unlock()
		return r.workers[schemas.SourceKey(schemas.Live, name)]
	}
	eventually(t, "they are polled", func() bool { return len(owned(r)) == 3 })
	kept, renewed, counted := worker("kept"), worker("renewed"), worker("counted")
	r.Set(list(two))
	eventually(t, "the other is polled by its new poller", func() bool { return len(two.questions()) > 0 && worker("renewed") != renewed })
	if worker("kept") != kept || worker("counted") != counted {
		t.Error("a connection that did not change was taken over anew")
	}
}

// TestReadyNamesWhatIsAway: where Kafka is not reached, Ready says so, and Run ends in order all the same.
func TestReadyNamesWhatIsAway(t *testing.T) {
	c := newCluster(t)
	c.options.Brokers = []string{"127.0.0.1:1"}
	r, stop := c.runner(t, nil, nil)
	eventually(t, "readiness says why", func() bool { err := r.Ready(); return err != nil && strings.Contains(err.Error(), "127.0.0.1:1") })
	stop()
}
