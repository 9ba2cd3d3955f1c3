package versions

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tillstream/tillstream/pipeline/clock"
	"github.com/tillstream/tillstream/pipeline/kafka"
	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/schemas/codec"
)

// rig is a Kafka with the topics, a writer and a reader.
func rig(t *testing.T) (Writer, *History, *kafka.Cluster) {
	t.Helper()
	c, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	o := kafka.Options{Brokers: c.ListenAddrs(), Partitions: 3}
	if err := kafka.EnsureTopics(t.Context(), o, kafka.Topics(o)); err != nil {
		t.Fatal(err)
	}
	cluster, err := kafka.NewCluster(o, clock.System(), zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	client, err := o.Client(kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	local := codec.NewLocal()
	w := Writer{Client: client, Encode: local.Encode, By: "ana", Now: func() time.Time { return time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC) }}
	return w, New(Options{Log: cluster, Decode: local.Decode, Lines: zerolog.Nop()}), cluster
}

func names(h *History) (out []string) {
	for _, e := range h.List() {
		out = append(out, e.Version)
	}
	return out
}

func TestTheLastRecordIsInForceAndEveryVersionIsKept(t *testing.T) {
	w, h, _ := rig(t)
	if err := h.CatchUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	if e, ok := h.InForce(); ok {
		t.Fatalf("an empty topic has %+v in force", e)
	}
	for _, version := range []string{"v1", "v2", "v3", "v1"} {
		if err := w.Publish(t.Context(), version, map[string]string{"a.yaml": "text of " + version, "b.yaml": "the same"}); err != nil {
			t.Fatal(err)
		}
		if err := h.CatchUp(t.Context()); err != nil {
			t.Fatal(err)
		}
		if e, _ := h.InForce(); e.Version != version {
			t.Errorf("in force is %s, want %s", e.Version, version)
		}
	}
	if diff := cmp.Diff([]string{"v2", "v3", "v1"}, names(h)); diff != "" {
		t.Errorf("versions (-want +got):\n%s", diff)
	}
	want := Entry{Version: "v2", Files: map[string]string{"a.yaml": "text of v2", "b.yaml": "the same"}, By: "ana", At: w.Now(), Offset: 1}
	if e, ok := h.Get("v2"); !ok || cmp.Diff(want, e) != "" {
		t.Errorf("v2: %s", cmp.Diff(want, e))
	}
	if _, ok := h.Get("v9"); ok {
		t.Error("a version that never was is known")
	}
}

func TestWhatIsNoVersionIsPassedOver(t *testing.T) {
	w, h, _ := rig(t)
	if err := w.Client.ProduceSync(t.Context(), &kgo.Record{Topic: schemas.TopicConfig, Value: []byte("garbage")}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	if err := w.Publish(t.Context(), "v1", nil); err != nil {
		t.Fatal(err)
	}
	if err := h.CatchUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"v1"}, names(h)); diff != "" {
		t.Error(diff)
	}
}

func TestAnActivationTellsItsOffsetInEachPartition(t *testing.T) {
	w, _, cluster := rig(t)
	if err := w.Touch(t.Context(), 1, []string{"sandbox/ana@example.com"}, "version v1"); err != nil {
		t.Fatal(err)
	}
	got, err := w.Activate(t.Context(), "v1", []int32{0, 1})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[int32]int64{0: 0, 1: 1}, got); diff != "" {
		t.Errorf("offsets (-want +got):\n%s", diff)
	}
	if _, end, err := cluster.Bounds(t.Context(), schemas.TopicAutomationInbox, 2); err != nil || end != 0 {
		t.Errorf("a partition that was not asked for ends at %d: %v", end, err)
	}
}

// emptyLog is a topic without records.
type emptyLog struct{ asked int }

func (l *emptyLog) Describe(context.Context, string) (kafka.TopicInfo, error) {
	return kafka.TopicInfo{}, nil
}

func (l *emptyLog) Bounds(context.Context, string, int32) (int64, int64, error) {
	l.asked++
	return 0, 0, nil
}

func (l *emptyLog) Read(context.Context, kafka.Range, func([]*kgo.Record, int64) error) error {
	return nil
}

func TestRunFollowsUntilItIsEndedAndCallsForNothingNew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &emptyLog{}
		h := New(Options{Log: l, Lines: zerolog.Nop()})
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second+time.Millisecond)
		defer cancel()
		h.Run(ctx, func() { t.Error("nothing changed") })
		if l.asked != 10 {
			t.Errorf("asked %d times in 10 s, want once a second", l.asked)
		}
	})
}
