package deliver

import (
	"context"
	"errors"
	"testing"

	"github.com/tillstream/tillstream/pipeline/clock"
	"github.com/tillstream/tillstream/pipeline/kafka"
	"github.com/tillstream/tillstream/schemas"
)

// A process for which no partition is left stands by, and is ready for one.
func TestDelivererWithoutPartitionIsReady(t *testing.T) {
	r, c := newRig(t), newCRM(t)
	var runs []*running
	for _, name := range []string{"one", "two", "three"} {
		runs = append(runs, r.start(r.options(name, c)))
	}
	idle := func() (n int) {
		for _, run := range runs {
			if len(run.Status().Partitions) == 0 {
				n++
			}
		}
		return n
	}
	eventually(t, "each is ready, and one has nothing", func() bool {
		for _, run := range runs {
			if run.Ready() != nil {
				return false
			}
		}
		return idle() == 1
	})
}

// once is a Kafka that gives sessions, of which the first fails to end what was open before.
type once struct {
	kafka.Log
	failed bool
}

type failing struct{ kafka.Session }

func (failing) InitProducer(context.Context) error { return errors.New("no coordinator") }

func (l *once) Join(m kafka.Member) (kafka.Session, error) {
	s, err := l.Log.Join(m)
	if err == nil && !l.failed {
		l.failed = true
		return failing{s}, nil
	}
	return s, err
}

// What ended a session is no trouble any more once another one is in its place, even without a partition.
func TestTroubleOfAFormerSessionIsForgotten(t *testing.T) {
	r, c := newRig(t), newCRM(t)
	var runs []*running
	for _, name := range []string{"one", "two"} {
		runs = append(runs, r.start(r.options(name, c)))
	}
	eventually(t, "one each", func() bool { return len(runs[0].Status().Partitions) == 1 && len(runs[1].Status().Partitions) == 1 })
	o := r.options("three", c)
	cluster, err := kafka.NewCluster(o.Kafka, clock.System(), o.Log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	l := &once{Log: cluster}
	o.Cluster = l
	run := r.start(o)
	eventually(t, "the first session is shown to have failed", func() bool {
		err := run.Ready()
		return err != nil && err.Error() != errNotJoined.Error()
	})
	eventually(t, "ready", func() bool { return run.Ready() == nil })
}

// Between its assignment and the answer about its offset, a partition is not served yet, and readiness says so.
func TestReadyWaitsForOffsets(t *testing.T) {
	r := newRig(t)
	d, err := New(r.options("one", newCRM(t)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.cluster.Close)
	if d.Ready() == nil {
		t.Error("ready before it joined")
	}
	d.assigned(map[string][]int32{schemas.TopicCommands: {0, 1}})
	if d.Ready() == nil {
		t.Error("ready before the offsets are known")
	}
	d.assign(t.Context(), []kafka.Offset{{Topic: schemas.TopicCommands, At: -1}})
	if d.Ready() == nil {
		t.Error("ready before both offsets are known")
	}
	d.drop([]int32{1})
	if err := d.Ready(); err != nil {
		t.Errorf("got %v, want ready: the other partition went", err)
	}
	d.assigned(map[string][]int32{})
	if err := d.Ready(); err != nil {
		t.Errorf("got %v, want ready after a rebalance that brought nothing", err)
	}
}
