package e2e

import (
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tillstream/tillstream/internal/e2e/parts"
	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/simulators/story"
)

// TestWhatAnOperatorDoesToTopicsAndOffsetsIsNeverSilent does by hand what docs/operations.md has a table of, on a real
// Kafka: group offsets reset and deleted, partitions added to an input, an input deleted and created again. What can be
// survived is, with an alarm and without a repetition; what cannot stops the partition with a reason.
func TestWhatAnOperatorDoesToTopicsAndOffsetsIsNeverSilent(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	k, r := parts.StartKafka(t), parts.StartRedis(t)
	w.kafka, w.redis = k.Address, r.Address
	w.serve(t, "registry")
	w.serve(t, "clickhouse")
	cl, err := kgo.NewClient(kgo.SeedBrokers(w.kafka))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	admin := kadm.NewClient(cl)
	events := tell(41, 60)
	half := len(events) / 2

	w.run(t)
	w.awaitReady(t)
	if got := w.metric(t, "tillstream_offset_alarms_total"); got != 0 {
		t.Errorf("%v offset alarms before anything was done", got)
	}
	w.told(t, events[:half])
	w.awaitAgreement(t, events[:half])
	w.stop(t, "the offsets are about to be moved")

	// Reset to 0, and deleted: the state knows better, and nothing is repeated.
	var zero kadm.Offsets
	for _, p := range []int32{0, 1} {
		zero.AddOffset(schemas.TopicPayPalEvents, p, 0, -1)
		zero.AddOffset(schemas.TopicOrdersInbox, p, 0, -1)
	}
	if err := admin.CommitAllOffsets(t.Context(), "tillstream-orders", zero); err != nil {
		t.Fatalf("reset the offsets of orders: %v", err)
	}
	if _, err := admin.DeleteGroup(t.Context(), "tillstream-automation"); err != nil {
		t.Fatalf("delete the group of automation: %v", err)
	}
	w.run(t)
	w.awaitReady(t)
	for _, stage := range []string{"orders", "automation"} {
		if got := w.metric(t, "tillstream_offset_alarms_total", `stage="`+stage+`"`); got == 0 {
			t.Errorf("offsets of %s were moved, and no alarm was counted", stage)
		}
	}
	if code, s := w.status(t); code != 0 {
		t.Errorf("status after offsets were moved: %d %+v", code, s)
	}
	w.told(t, events[half:])
	w.awaitAgreement(t, events)

	w.addPartition(t, admin)
	w.recreateInput(t, admin)
}

// told has PayPal send the events and waits until all are accepted.
func (w *world) told(t *testing.T, events []story.Event) {
	t.Helper()
	if err := w.emit(t.Context(), events); err != nil {
		t.Fatal(err)
	}
	w.awaitAccepted(t)
}

// addPartition raises the partitions of one input: the new one is nobody's, or refused; the others go on.
func (w *world) addPartition(t *testing.T, admin *kadm.Client) {
	t.Helper()
	if _, err := admin.CreatePartitions(t.Context(), 1, schemas.TopicPayPalEvents); err != nil {
		t.Fatalf("add a partition: %v", err)
	}
	w.awaitStates(t, "orders", map[int]string{0: "running", 1: "running", 2: "not owned|stalled PARTITIONS_CHANGED"})
	code, table, errs := command(t, "status", "--address", w.management)
	t.Logf("with a partition more:\n%s%s", table, errs)
	if code != 1 || !strings.Contains(table, "different numbers of partitions") {
		t.Errorf("status with a partition more: exit code %d, want 1 and what is wrong", code)
	}
}

// recreateInput deletes an input and creates it again, as one would to get rid of its partition.
func (w *world) recreateInput(t *testing.T, admin *kadm.Client) {
	t.Helper()
	before := w.counted(t)
	configs, err := admin.DescribeTopicConfigs(t.Context(), schemas.TopicPayPalEvents)
	if err != nil {
		t.Fatal(err)
	}
	keep := map[string]*string{}
	for _, c := range configs[0].Configs {
		if c.Source.String() == "DYNAMIC_TOPIC_CONFIG" {
			keep[c.Key] = c.Value
		}
	}
	if _, err := admin.DeleteTopic(t.Context(), schemas.TopicPayPalEvents); err != nil {
		t.Fatalf("delete the input: %v", err)
	}
	w.await(t, "the input is created again", func() error {
		_, err := admin.CreateTopic(t.Context(), 2, 1, keep, schemas.TopicPayPalEvents)
		return err
	})
	w.awaitStates(t, "orders", map[int]string{0: "stalled INPUT_RECREATED", 1: "stalled INPUT_RECREATED"})
	code, table, errs := command(t, "status", "--address", w.management)
	t.Logf("with an input created anew:\n%s%s", table, errs)
	if code != 1 || !strings.Contains(table, "what to do:") {
		t.Errorf("status with an input created anew: exit code %d\n%s", code, table)
	}
	if got := w.metric(t, "tillstream_partitions_stalled", `reason="INPUT_RECREATED"`, `stage="orders"`); got != 2 {
		t.Errorf("%v partitions have the metric of the stall, want 2", got)
	}
	w.told(t, tell(43, 5)) // what comes now is kept on the new topic, and not taken for what the old one held
	if code, said, errs := command(t, "resume", "--stage", "orders", "--partition", "0", "--address", w.management); code != 0 {
		t.Errorf("resume: %d %q %q", code, said, errs)
	}
	w.awaitStates(t, "orders", map[int]string{0: "stalled INPUT_RECREATED", 1: "stalled INPUT_RECREATED"})
	if after := w.counted(t); after != before {
		t.Errorf("%v transitions, %v before the input was deleted: a stalled partition went on", after, before)
	}
}

// counted is how many transitions there are.
func (w *world) counted(t *testing.T) uint64 {
	t.Helper()
	return count(t, w.database(t), "SELECT count() FROM transitions FINAL")
}
