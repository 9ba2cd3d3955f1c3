package load

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tillstream/tillstream/pipeline/kafka"
	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/sinks"
)

// wantStalled waits until partition 0 of the topic is stalled, and checks that everybody is told.
func (b *bench) wantStalled(l *Loader, registry *prometheus.Registry, topic string, reason Reason) {
	b.t.Helper()
	var found PartitionStatus
	until(b.t, "stalled by "+string(reason), func() bool {
		for _, p := range l.Status().Partitions {
			if p.Topic == topic && p.Partition == 0 && p.Stalled != "" {
				found = p
				return true
			}
		}
		return false
	})
	if found.Stalled != reason || found.Remedy == "" || found.Rows != 0 || !strings.Contains(found.Trouble, found.Remedy) {
		b.t.Errorf("status is %+v, want %s with a remedy and no rows", found, reason)
	}
	if err := l.Ready(); err == nil || !strings.Contains(err.Error(), string(reason)) {
		b.t.Errorf("ready says %v, want %s", err, reason)
	}
	families, err := registry.Gather()
	if err != nil {
		b.t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != "tillstream_load_partitions_stalled" {
			continue
		}
		for _, m := range f.GetMetric() {
			if m.GetGauge().GetValue() == 1 && m.GetLabel()[0].GetValue() == string(reason) && m.GetLabel()[1].GetValue() == topic {
				return
			}
		}
	}
	b.t.Errorf("the metric does not tell that %s is stalled by %s", topic, reason)
}

func (b *bench) topicID(topic string) string {
	return topicID(kafka.TopicInfo{ID: b.cluster.TopicInfo(topic).TopicID})
}

// recreate makes a topic of the same name. The client that writes to it must be a new one, as produce's is.
func (b *bench) recreate(topic string) {
	b.t.Helper()
	if err := errors.Join(b.cluster.DeleteTopic(topic), b.cluster.CreateTopic(topic, 1, nil)); err != nil {
		b.t.Fatal(err)
	}
}

const otherTopic = schemas.TopicStoreOrders

// With a topic deleted and created again under a running loader, nothing of the new one may be stored as the old one's,
// whether its offsets overlap or not. Other topics go on.
func TestATopicRecreatedInMidRunStopsItsPartitions(t *testing.T) {
	for name, n := range map[string]int{"shorter": 3, "longer": 300} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, 1, topic, otherTopic)
			old := numbered("old", 100)
			b.produce(topic, old...)
			registry := prometheus.NewRegistry()
			l := b.loader(func(o *Options) { o.Registerer, o.Topics = registry, []string{topic, otherTopic} })
			stop := b.start(l)
			b.caughtUp(l)
			b.recreate(topic)
			b.produce(topic, numbered("new", n)...)
			b.wantStalled(l, registry, topic, ReasonInputRecreated)
			b.produce(otherTopic, "other1", "other2")
			until(t, "the other topic goes on", func() bool { return b.writer.count() >= len(old)+2 })
			if err := stop(); err != nil {
				t.Error(err)
			}
			b.wantStored(append(old, "other1", "other2"))

			// Kafka has forgotten the offsets with the topic: the next life stores the new one, under its own id.
			before := len(b.writer.ranges)
			l = b.loader(func(o *Options) { o.Topics = []string{topic} })
			b.start(l)
			b.caughtUp(l)
			for _, r := range b.writer.ranges[before:] {
				if r.TopicID != b.topicID(topic) {
					t.Errorf("a range of the new topic has the id %s, want %s", r.TopicID, b.topicID(topic))
				}
			}
			if got, want := b.writer.stores(), len(old)+2+n; got != want {
				t.Errorf("got %d rows stored, want %d", got, want)
			}
		})
	}
}

// stores counts the rows stored, over all topics of a name.
func (w *memoryWriter) stores() (n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, texts := range w.byToken {
		n += len(texts)
	}
	return n
}

func TestAnOffsetThatDoesNotFitTheTopicStopsThePartition(t *testing.T) {
	for _, c := range []struct {
		name string
		mark func(id string) mark
		want Reason
	}{
		{"beyond the end", func(id string) mark { return mark{11, metadata{Topic: id}} }, ReasonInputTruncated},
		{"beyond the end, written before ids were kept", func(string) mark { return mark{11, metadata{}} }, ReasonInputTruncated},
		{"plan beyond the end", func(id string) mark { return mark{8, metadata{Plan: "p", To: 10, Topic: id}} }, ReasonInputTruncated},
		{"of another topic", func(string) mark { return mark{5, metadata{Topic: "AAAAAAAAAAAAAAAAAAAAAQ=="}} }, ReasonInputRecreated},
		{"at the end", func(id string) mark { return mark{10, metadata{Topic: id}} }, ""},
		{"plan up to the end", func(id string) mark { return mark{0, metadata{Plan: "p", To: 9, Topic: id}} }, ""},
		{"written before ids were kept", func(string) mark { return mark{0, metadata{}} }, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t, 1, topic)
			b.produce(topic, numbered("v", 10)...)
			if err := b.rewind(c.mark(b.topicID(topic))); err != nil {
				t.Fatal(err)
			}
			registry := prometheus.NewRegistry()
			l := b.loader(func(o *Options) { o.Registerer = registry })
			stop := b.start(l)
			if c.want == "" {
				b.caughtUp(l)
				b.produce(topic, "more")
				b.caughtUp(l)
				return
			}
			b.wantStalled(l, registry, topic, c.want)
			b.produce(topic, numbered("reuses an offset", 10)...)
			if err := stop(); err != nil {
				t.Error(err)
			}
			b.wantStored(nil)
		})
	}
}

// answers is a Log that tells of one topic.
type answers struct {
	kafka.Log
	id         byte
	start, end int64
	err        error
}

func (a answers) Describe(context.Context, string) (kafka.TopicInfo, error) {
	return kafka.TopicInfo{ID: [16]byte{a.id}}, a.err
}

func (a answers) Bounds(context.Context, string, int32) (start, end int64, err error) {
	return a.start, a.end, a.err
}

func (answers) Close() {}

// silent is a session that only takes orders.
type silent struct {
	kafka.Session
	paused, resumed []string
	set             []kafka.Offset
}

func (s *silent) Pause(p map[string][]int32)   { s.paused = append(s.paused, fmt.Sprint(p)) }
func (s *silent) Resume(p map[string][]int32)  { s.resumed = append(s.resumed, fmt.Sprint(p)) }
func (s *silent) SetOffsets(os []kafka.Offset) { s.set = append(s.set, os...) }

// A log that is cut under a running loader and grows again past the offset at hand shows nothing any more: what the
// client found by the leader's epochs must not be forgotten until it was acted upon.
func TestALogCutUnderARunningLoaderStopsThePartition(t *testing.T) {
	for _, c := range []struct {
		name  string
		fetch kgo.FetchPartition
		log   answers
		want  Reason
	}{
		{"the client finds data lost", kgo.FetchPartition{Err: &kgo.ErrDataLoss{Topic: topic, ConsumedTo: 10, ResetTo: 7}}, answers{id: 1, end: 50}, ReasonInputTruncated},
		{"the client lags, but nothing of ours is lost", kgo.FetchPartition{Err: &kgo.ErrDataLoss{Topic: topic, ConsumedTo: 12, ResetTo: 10}}, answers{id: 1, end: 50}, ""},
		{"records from before come", kgo.FetchPartition{HighWatermark: 8, Records: []*kgo.Record{{Offset: 7}}}, answers{id: 1, end: 8}, ReasonInputTruncated},
		{"a leader that lags", kgo.FetchPartition{HighWatermark: 8, Records: []*kgo.Record{{Offset: 10}}}, answers{id: 1, end: 11}, ""},
		{"an error, and another topic", kgo.FetchPartition{Err: errors.New("UNKNOWN_TOPIC_ID")}, answers{id: 2, end: 50}, ReasonInputRecreated},
		{"an error that passes", kgo.FetchPartition{Err: errors.New("UNKNOWN_TOPIC_ID")}, answers{id: 1, end: 50}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := &bench{t: t, writer: newWriter(), codec: &textCodec{}}
			log := &answers{id: 1, end: 10}
			l := b.loader(func(o *Options) { o.Cluster = log })
			s := &silent{}
			l.adopt(kafka.Offset{Topic: topic, At: 4, Metadata: metadata{}.String()})
			l.inspect(t.Context(), s)
			p := l.partitions[key{topic, 0}]
			if p.unchecked || len(s.resumed) != 1 || len(s.set) != 1 || s.set[0].At != 4 {
				t.Fatalf("partition %+v was not let go from offset 4: %+v", p, s)
			}
			for offset := int64(4); offset < 10; offset++ {
				p.add(&kgo.Record{Offset: offset}, time.Now())
			}
			*log = c.log
			l.inspect(t.Context(), s) // without cause, nothing is asked so soon
			if p.stalled != nil {
				t.Fatal("the partition was compared with its topic without cause")
			}
			l.take(t.Context(), topic, &c.fetch, time.Now())
			log.err = errors.New("no broker")
			l.inspect(t.Context(), s)
			if p.stalled != nil || p.checkErr == nil {
				t.Errorf("while Kafka does not answer: stalled is %v, the error %v", p.stalled, p.checkErr)
			}
			log.err, p.checkAt = nil, time.Time{}
			l.inspect(t.Context(), s)
			var got Reason
			if p.stalled != nil {
				got = p.stalled.reason
			}
			if got != c.want {
				t.Errorf("got stalled by %q, want %q", got, c.want)
			}
			if _, due := p.dueAt(&l.o); due == (c.want != "") {
				t.Errorf("due is %t for a partition stalled by %q", due, got)
			}
			if c.want == "" && p.checkErr != nil {
				t.Errorf("the error %v stays after the comparison", p.checkErr)
			}
		})
	}
}

// An offset that was set by hand wants its records stored again, or others at the same offsets: a token of old would have
// them dropped.
func TestAnOffsetSetByAnotherToolStartsANewReplayGeneration(t *testing.T) {
	b := newBench(t, 1, topic)
	b.produce(topic, "v1", "v2")
	l := b.loader(nil)
	stop := b.start(l)
	b.caughtUp(l)
	_ = stop()
	until(t, "reset", func() bool { return b.commitAs(0, "") == nil })
	for range 2 { // it is kept from then on
		l = b.loader(nil)
		stop = b.start(l)
		b.caughtUp(l)
		_ = stop()
		b.produce(topic, "more")
	}
	l = b.loader(nil)
	b.start(l)
	b.caughtUp(l)
	got := slices.CompactFunc(slices.Clone(b.writer.ranges), func(a, b sinks.Range) bool { return a.Replay == b.Replay })
	if len(got) != 2 || got[0].Replay != 0 || got[1].Replay == 0 || got[1].From != 0 {
		t.Errorf("got ranges %+v, want those from offset 0 again, all under one new replay generation", b.writer.ranges)
	}
}

func TestPartitionsAreComparedInTurn(t *testing.T) {
	b := &bench{t: t, writer: newWriter(), codec: &textCodec{}}
	now := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	log := &answers{id: 1, end: 10}
	l := b.loader(func(o *Options) { o.Cluster, o.Clock = log, shown{o.Clock, func() time.Time { return now }} })
	s := &silent{}
	const n = 20
	for i := range int32(n) {
		l.adopt(kafka.Offset{Topic: topic, Partition: i, At: 4, Metadata: metadata{}.String()})
	}
	l.inspect(t.Context(), s)
	if len(s.set) != n {
		t.Errorf("%d of %d new partitions were compared and let go at once", len(s.set), n)
	}
	log.id = 2
	var stalled []int
	for range 4 {
		now = now.Add(inspectInterval)
		l.inspect(t.Context(), s)
		count := 0
		for _, p := range l.partitions {
			if p.stalled != nil {
				count++
			}
		}
		stalled = append(stalled, count)
	}
	if diff := cmp.Diff([]int{8, 16, 20, 20}, stalled); diff != "" {
		t.Errorf("partitions found on the recreated topic, turn by turn (-want +got):\n%s", diff)
	}
}
