package e2e

import (
	"fmt"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tillstream/tillstream/internal/audit"
	"github.com/tillstream/tillstream/internal/e2e/parts"
	"github.com/tillstream/tillstream/pipeline/kafka"
	"github.com/tillstream/tillstream/schemas"
)

// A hundred records that nobody can read, within a minute, are hardly the records' fault: their partition stops and says
// so. The other partition and the other stage go on, and a command lets it go on once the cause is mended.
func TestAPoisonedPartitionStopsNobodyElseAndResumes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.dev(t)
	w.awaitReady(t)
	w.awaitStates(t, "orders", map[int]string{0: "running", 1: "running"})
	if code, _, errs := command(t, "resume", "--stage", "orders", "--partition", "0", "--address", w.management); code != 1 || !strings.Contains(errs, "is running at e2e: there is nothing to resume") {
		t.Errorf("resume of a partition that runs: got %d %q", code, errs)
	}
	const poison = 100
	w.poison(t, schemas.TopicPayPalEvents, 0, poison)
	w.awaitStates(t, "orders", map[int]string{0: "stalled POISON", 1: "running"})
	code, table, _ := command(t, "status", "--address", w.management)
	if code != 1 || !strings.Contains(table, "what to do: ") || !strings.Contains(table, "tillstream resume --stage orders --partition 0") {
		t.Errorf("status: got %d\n%s", code, table)
	}
	if got := w.metric(t, "tillstream_partitions_stalled", `partition="0"`, `reason="POISON"`, `stage="orders"`); got != 1 {
		t.Errorf("the metric of the stall is %v, want 1", got)
	}
	if !w.healthy(t) {
		t.Error("a stalled partition is no reason to restart the process")
	}
	w.awaitReason(t, "partition 0 is stalled poison")

	events := tell(23, 40)
	if err := w.emit(t.Context(), events); err != nil {
		t.Fatal(err)
	}
	w.awaitAccepted(t)
	w.await(t, "the other partition and the other stage have done their share", func() error {
		_, s := w.status(t)
		for _, p := range s.Partitions {
			poisoned := p.Stage == "orders" && p.Partition == 0
			if p.Behind == nil || poisoned != (*p.Behind > 2) || poisoned == (p.State == "running") { // a marker may count
				return fmt.Errorf("%+v", s)
			}
		}
		return nil
	})
	if n, err := w.contacts(t.Context()); err != nil || n == 0 {
		t.Errorf("the CRM has %d contacts of the other partition, %v; want some", n, err)
	}

	code, said, errs := command(t, "resume", "--stage", "orders", "--partition", "0", "--address", w.management)
	if code != 0 || !strings.Contains(said, "was stalled (POISON: ") || !strings.Contains(said, "recovers now at e2e") {
		t.Errorf("resume: got %d %q %q", code, said, errs)
	}
	w.awaitReady(t)
	if code, s := w.status(t); code != 0 {
		t.Errorf("status after it went on: %d %+v", code, s)
	}
	db := w.database(t)
	parts.Eventually(t, settleLimit, "the story is told whole", func() error {
		out, err := audit.ReadOutside(t.Context(), w.client, w.paypalURL, w.crmURL)
		if err != nil {
			return err
		}
		records, err := audit.Records(t.Context(), kafka.Options{Brokers: []string{w.kafka}})
		if err != nil {
			return err
		}
		in, err := audit.Read(t.Context(), db, records)
		if err != nil {
			return err
		}
		for i, table := range in.Tables { // their rows are in a table of their own
			if table.Name == "events" {
				in.Tables[i].Records -= poison
			}
		}
		if r := audit.Compare(out, in); r.Lost > 0 || r.Doubled > 0 || r.DeadLetters < poison || r.Contacts != r.Expected || r.Contacts == 0 {
			return fmt.Errorf("%+v", r)
		}
		return nil
	})
}

// poison appends n records that are no Avro to one partition.
func (w *world) poison(t *testing.T, topic string, partition int32, n int) {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(w.kafka), kgo.DefaultProduceTopic(topic), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	var records []*kgo.Record
	for i := range n {
		records = append(records, &kgo.Record{Partition: partition, Key: fmt.Appendf(nil, "stray-%d", i), Value: fmt.Appendf(nil, "no avro %d", i)})
	}
	if err := cl.ProduceSync(t.Context(), records...).FirstErr(); err != nil {
		t.Fatal(err)
	}
}
