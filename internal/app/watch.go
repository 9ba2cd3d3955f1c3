package app

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tillstream/tillstream/api"
	"github.com/tillstream/tillstream/outbound"
)

// The watch asks Kafka and Redis at intervals, so that readiness is true also while no record is on its way, and so that
// a process can tell who else has a partition.
const (
	watchEvery   = 5 * time.Second
	watchTimeout = 4 * time.Second // of one question
)

// watched is a part outside of this process and how it was when it was last asked.
type watched struct {
	what, remedy string

	mu    sync.Mutex
	since time.Time // of the first of the failures in a row
	err   error
}

func (w *watched) tell(now time.Time, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err != nil && w.err == nil {
		w.since = now
	}
	w.err = err
}

func (w *watched) ready() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err == nil {
		return nil
	}
	return fmt.Errorf("%s does not answer since %s: %s; %s", w.what, w.since.UTC().Format(time.TimeOnly+"Z"), outbound.Redact(w.err.Error()), w.remedy)
}

// keepAsking asks until ctx ends, at once the first time.
func (p *process) keepAsking(ctx context.Context, w *watched, ask func(context.Context) error) {
	p.group.Go(func() error {
		for {
			c, cancel := context.WithTimeout(ctx, watchTimeout)
			err := ask(c)
			cancel()
			if ctx.Err() != nil {
				return nil
			}
			w.tell(p.Now(), err)
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(watchEvery):
			}
		}
	})
}

// watchRedis puts Redis on the board.
func (p *process) watchRedis(ctx context.Context) {
	w := &watched{what: "redis at " + p.Config.Settings.Redis.Address, remedy: "what needs it goes on by itself when it answers, and nothing is lost meanwhile"}
	o := redisOptions(p.Config.Settings.Redis)
	o.PoolSize, o.MaxRetries = 1, -1 // a client of its own: a pool that is all taken is no Redis that is down
	cl := redis.NewClient(o)
	p.atEnd(func() { _ = cl.Close() })
	p.board.Add(api.Part{Name: "redis", Ready: w.ready})
	p.keepAsking(ctx, w, func(ctx context.Context) error { return cl.Ping(ctx).Err() })
}

// watchKafka puts Kafka on the board, and keeps groups up to date.
func (p *process) watchKafka(ctx context.Context, groups *groups) error {
	cl, err := p.Config.Settings.Kafka.Client(kgo.MetadataMinAge(watchEvery / 2))
	if err != nil {
		return err
	}
	p.atEnd(cl.Close)
	if err := p.metrics.Register(groups); err != nil {
		return fmt.Errorf("metrics of the groups: %w", err)
	}
	admin := kadm.NewClient(cl)
	w := &watched{
		what:   "kafka at " + strings.Join(p.Config.Settings.Kafka.Brokers, ", "),
		remedy: "webhooks are answered 503 so that they come again, and all else goes on by itself when it answers",
	}
	p.board.Add(api.Part{Name: "kafka", Ready: w.ready})
	p.keepAsking(ctx, w, func(ctx context.Context) error { return groups.ask(ctx, admin, p.Now) })
	return nil
}

// groups are the stages' consumer groups as Kafka shows them.
type groups struct {
	mu   sync.Mutex
	all  map[string]api.Group // by stage
	read map[string][]string  // inputs, by stage
}

func newGroups() *groups {
	return &groups{all: map[string]api.Group{}, read: map[string][]string{}}
}

func (g *groups) add(stage, group string, inputs []string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.all[stage], g.read[stage] = api.Group{Name: group}, inputs
}

func (g *groups) of(stage string) api.Group {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.all[stage]
}

// ask asks Kafka about every group. Without stages it asks for the brokers only.
func (g *groups) ask(ctx context.Context, admin *kadm.Client, now func() time.Time) error {
	g.mu.Lock()
	var names, topics []string
	for stage, group := range g.all {
		names, topics = append(names, group.Name), append(topics, g.read[stage]...)
	}
	g.mu.Unlock()
	if _, err := admin.ListBrokers(ctx); err != nil {
		return err
	}
	if len(names) == 0 {
		return nil
	}
	details, err := admin.ListTopics(ctx, topics...)
	if err != nil {
		return fmt.Errorf("list the stages' topics: %w", err)
	}
	lags, err := admin.Lag(ctx, names...)
	if err != nil {
		return fmt.Errorf("describe the stages' groups: %w", err)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for stage, group := range g.all {
		g.all[stage] = seen(group, lags[group.Name], partitions(details, g.read[stage]), now())
	}
	return nil
}

// partitions is how many partitions each input has.
func partitions(details kadm.TopicDetails, inputs []string) map[string]int {
	counts := make(map[string]int, len(inputs))
	for _, topic := range inputs {
		counts[topic] = len(details[topic].Partitions)
	}
	return counts
}

// uneven says that inputs have different numbers of partitions; empty: they have not.
func uneven(counts map[string]int) string {
	var words []string
	numbers := map[int]bool{}
	for _, topic := range slices.Sorted(maps.Keys(counts)) {
		words = append(words, fmt.Sprintf("%s has %d", topic, counts[topic]))
		numbers[counts[topic]] = true
	}
	if len(numbers) < 2 {
		return ""
	}
	return "its inputs have different numbers of partitions (" + strings.Join(words, ", ") + "), but one key must meet in one number: partitions are never added to a topic in use; " +
		"recreate the inputs with their former number"
}

// seen is what is known of a group after Kafka was asked. While its members agree anew on who has what, Kafka tells
// nothing of it, and what was known stands.
func seen(was api.Group, lag kadm.DescribedGroupLag, counts map[string]int, now time.Time) api.Group {
	got := api.Group{Name: was.Name, At: was.At, Partitions: was.Partitions}
	if err := lag.Error(); err != nil && !errors.Is(err, kerr.GroupIDNotFound) {
		got.Error = outbound.Redact(err.Error())
		return got
	}
	settled := lag.State == "Stable" || lag.State == "Empty" || lag.State == "Dead" || lag.State == ""
	count := 0 // the largest: a partition that only some inputs have is shown, too
	for _, n := range counts {
		count = max(count, n)
	}
	got.At, got.Error, got.Partitions = now.UTC(), uneven(counts), make([]api.GroupPartition, count)
	for n := range got.Partitions {
		gp := api.GroupPartition{Partition: int32(n)}
		if !settled && n < len(was.Partitions) {
			gp.Member = was.Partitions[n].Member
		}
		for _, topic := range lag.Lag {
			if l, ok := topic[int32(n)]; ok {
				gp.Behind += max(0, l.Lag)
			}
		}
		got.Partitions[n] = gp
	}
	for _, m := range lag.Members {
		assigned, ok := m.Assigned.AsConsumer()
		if !ok || !settled {
			continue
		}
		for _, t := range assigned.Topics {
			for _, n := range t.Partitions {
				if int(n) < count {
					got.Partitions[n].Member = hostOf(m.ClientHost)
				}
			}
		}
	}
	return got
}

// hostOf is a member's address without what some brokers add to it.
func hostOf(client string) string {
	client = strings.TrimPrefix(client, "/")
	if host, _, err := net.SplitHostPort(client); err == nil {
		return host
	}
	return client
}

var unownedDesc = prometheus.NewDesc("tillstream_partitions_unowned", "Partitions of a stage that no member of its group has, as Kafka tells.", []string{"stage"}, nil)

// Describe implements prometheus.Collector.
func (g *groups) Describe(ch chan<- *prometheus.Desc) { ch <- unownedDesc }

// Collect implements prometheus.Collector.
func (g *groups) Collect(ch chan<- prometheus.Metric) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, stage := range slices.Sorted(maps.Keys(g.all)) {
		if g.all[stage].At.IsZero() {
			continue
		}
		n := 0
		for _, gp := range g.all[stage].Partitions {
			if gp.Member == "" {
				n++
			}
		}
		ch <- prometheus.MustNewConstMetric(unownedDesc, prometheus.GaugeValue, float64(n), stage)
	}
}
