package deliver

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tillstream/tillstream/pipeline"
	"github.com/tillstream/tillstream/pipeline/kafka"
	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/schemas/codec"
	"github.com/tillstream/tillstream/sinks"
)

// recreate deletes the commands and makes the topic anew, with n commands for each of its partitions.
func (r *rig) recreate(n int) (cmds []schemas.Command) {
	r.t.Helper()
	adm := kadm.NewClient(r.client)
	if _, err := adm.DeleteTopic(r.t.Context(), schemas.TopicCommands); err != nil {
		r.t.Fatal(err)
	}
	if _, err := adm.CreateTopic(r.t.Context(), 2, 1, nil, schemas.TopicCommands); err != nil {
		r.t.Fatal(err)
	}
	r.client.PurgeTopicsFromClient(schemas.TopicCommands)
	for p := range int32(2) {
		for i := range n {
			c := r.contact(fmt.Sprintf("new%d-%d@x.example", p, i), 1)
			r.produceTo(p, c)
			cmds = append(cmds, c)
		}
	}
	return cmds
}

// commit sets the group's offset of partition 0, which nobody must hold.
func (r *rig) commit(at int64, metadata string) {
	r.t.Helper()
	o := kadm.Offsets{}
	o.Add(kadm.Offset{Topic: schemas.TopicCommands, Partition: 0, At: at, LeaderEpoch: -1, Metadata: metadata})
	resp, err := kadm.NewClient(r.client).CommitOffsets(r.t.Context(), "deliver", o)
	if err == nil {
		err = resp.Error()
	}
	if err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) topicID() [16]byte {
	r.t.Helper()
	info, err := kafka.DescribeTopic(r.t.Context(), r.client, schemas.TopicCommands)
	if err != nil {
		r.t.Fatal(err)
	}
	return info.ID
}

func (r *rig) progress(p progress) string {
	r.t.Helper()
	text, err := p.encode()
	if err != nil {
		r.t.Fatal(err)
	}
	return text
}

// window is the status of a partition.
func (r *running) window(p int32) WindowStatus {
	for _, w := range r.Status().Windows {
		if w.Partition == p {
			return w
		}
	}
	return WindowStatus{}
}

// stalledBy waits until a partition is stalled for good, in the status, in readiness and in the metric.
func (r *running) stalledBy(p int32, reason pipeline.Reason, reg *prometheus.Registry) {
	r.t.Helper()
	eventually(r.t, fmt.Sprintf("partition %d is stalled: %s", p, reason), func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		w := r.windows[p]
		return w != nil && w.dropped && w.stalled.reason == reason
	})
	if s := r.window(p); s.State != "stalled" || s.Reason != reason || s.Remedy == "" || s.Detail == "" {
		r.t.Errorf("got %+v", s)
	}
	if err := r.Ready(); err == nil || !strings.Contains(err.Error(), string(reason)) {
		r.t.Errorf("readiness: got %v, want %s", err, reason)
	}
	if got := metric(r.t, reg, "tillstream_deliver_partitions_stalled", map[string]string{"partition": fmt.Sprint(p), "reason": string(reason)}); got != 1 {
		r.t.Errorf("metric: got %v, want 1", got)
	}
}

// metric is the value of a counter or gauge with these labels, 0 where there is none.
func metric(t testing.TB, reg *prometheus.Registry, name string, labels map[string]string) (value float64) {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.Metric {
			got := map[string]string{}
			for _, l := range m.Label {
				got[l.GetName()] = l.GetValue()
			}
			if f.GetName() == name && (labels == nil || maps.Equal(got, labels)) {
				value += m.GetGauge().GetValue() + m.GetCounter().GetValue()
			}
		}
	}
	return value
}

// Offsets of a topic that is gone mean nothing in the one of its name: nothing of it is delivered, or skipped, before
// somebody says so.
func TestRecreatedTopicStops(t *testing.T) {
	for _, live := range []bool{true, false} {
		for name, n := range map[string]int{"shorter": 3, "longer": 30} {
			t.Run(fmt.Sprintf("live=%v/%s", live, name), func(t *testing.T) {
				r, c := newRig(t), newCRM(t)
				o := r.options("one", c)
				reg := prometheus.NewRegistry()
				o.Registerer, o.inspect = reg, 100*time.Millisecond
				run := r.start(o)
				was := r.topicID()
				var all []schemas.Command
				for i := range 20 {
					cmd := r.contact(fmt.Sprintf("c%d@x.example", i), 1)
					r.produceTo(int32(i%2), cmd)
					all = append(all, cmd)
				}
				r.ended(all...)
				eventually(t, "nothing unfinished", func() bool { return run.window(0).Unfinished+run.window(1).Unfinished == 0 })
				if !live {
					run.stop()
				}
				fresh := r.recreate(n)
				if !live { // brokers drop the offsets with the topic; those that are restored or mirrored outlive it
					r.commit(10, r.progress(progress{topicID: was, owner: 1, seq: 1}))
					run = r.start(o)
				}
				run.stalledBy(0, pipeline.ReasonInputRecreated, reg)
				if live {
					run.stalledBy(1, pipeline.ReasonInputRecreated, reg)
				} else {
					fresh = fresh[:n] // of partition 0
				}
				for _, cmd := range fresh {
					if n := c.triesOf(cmd); n > 0 {
						t.Fatalf("a command of the new topic was sent %d times", n)
					}
				}
				run.stop()
				if _, err := kadm.NewClient(r.client).DeleteOffsets(t.Context(), "deliver", kadm.TopicsSet{schemas.TopicCommands: {0: {}}}); err != nil {
					t.Fatal(err)
				}
				r.start(o)
				r.ended(fresh...)
			})
		}
	}
}

// A log that ends before what was read of it lost data.
func TestTruncatedTopicStops(t *testing.T) {
	for name, p := range map[string]struct {
		at       int64
		progress progress
	}{
		"offset beyond the end":   {at: 50},
		"finished beyond the end": {at: 2, progress: progress{marks: marksOf(run{open, 1}, run{finished, 40})}},
	} {
		t.Run(name, func(t *testing.T) {
			r, c := newRig(t), newCRM(t)
			var cmds []schemas.Command
			for i := range 5 {
				cmds = append(cmds, r.contact(fmt.Sprintf("c%d@x.example", i), 1))
			}
			r.produce(cmds...)
			p.progress.topicID, p.progress.owner, p.progress.seq = r.topicID(), 1, 1
			r.commit(p.at, r.progress(p.progress))
			o := r.options("one", c)
			reg := prometheus.NewRegistry()
			o.Registerer, o.truncated = reg, 50*time.Millisecond
			run := r.start(o)
			run.stalledBy(0, pipeline.ReasonInputTruncated, reg)
			other := r.contact("other@x.example", 1)
			r.produceTo(1, other)
			r.ended(other) // a partition that is well goes on
			for _, cmd := range cmds {
				if n := c.triesOf(cmd); n > 0 {
					t.Errorf("a command was sent %d times", n)
				}
			}
			run.stop()
			r.commit(0, "") // as the remedy says
			r.start(o)
			r.ended(cmds...)
		})
	}
}

// A log may seem too short for a moment, after its leader moved.
func TestShortLogGetsTime(t *testing.T) {
	r := newRig(t)
	d, err := New(r.options("one", newCRM(t)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.cluster.Close)
	d.assign(t.Context(), []kafka.Offset{{Topic: schemas.TopicCommands, At: 3}})
	d.inspect(t.Context())
	if s := d.Status().Windows[0]; s.Reason != pipeline.ReasonInputTruncated || d.windows[0].dropped {
		t.Errorf("got %+v, want a stall that may pass", s)
	}
	r.produce(r.contact("a@x.example", 1), r.contact("b@x.example", 1), r.contact("c@x.example", 1))
	d.windows[0].inspectAt = time.Time{}
	d.inspect(t.Context())
	if s := d.Status().Windows[0]; s.State != "running" || d.Ready() != nil {
		t.Errorf("got %+v and %v, want it running", s, d.Ready())
	}
}

// What the client says of lost data, and a record from before the group's offset, stop the partition; a new session does
// not forget it.
func TestLossWhileReadingStops(t *testing.T) {
	for name, read := range map[string]func(d *Deliverer) error{
		"client": func(d *Deliverer) error {
			return d.fetchErrors(context.Background(), fetched(kgo.FetchPartition{Err: &kgo.ErrDataLoss{Topic: schemas.TopicCommands, ConsumedTo: 9, ResetTo: 2}}))
		},
		"rewound": func(d *Deliverer) error {
			d.lock()
			defer d.mu.Unlock()
			d.admit(fetched(kgo.FetchPartition{Records: []*kgo.Record{{Topic: schemas.TopicCommands, Offset: 4}}}))
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			var cmds []schemas.Command
			for i := range 5 {
				cmds = append(cmds, r.contact(fmt.Sprintf("c%d@x.example", i), 1))
			}
			r.produce(cmds...)
			d, err := New(r.options("one", newCRM(t)))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(d.cluster.Close)
			committed := kafka.Offset{Topic: schemas.TopicCommands, At: 5}
			d.assign(t.Context(), []kafka.Offset{committed})
			d.inspect(t.Context())
			if err := d.Ready(); err != nil {
				t.Fatal(err)
			}
			if err := read(d); err != nil {
				t.Errorf("got %v, want no end of the session", err)
			}
			for range 2 {
				if s := d.Status().Windows[0]; s.Reason != pipeline.ReasonInputTruncated {
					t.Fatalf("got %+v", s)
				}
				d.drop([]int32{0})
				d.assign(t.Context(), []kafka.Offset{committed})
				d.inspect(t.Context())
			}
			d.drop([]int32{0})
			committed.At = 2 // somebody decided
			d.assign(t.Context(), []kafka.Offset{committed})
			d.inspect(t.Context())
			if err := d.Ready(); err != nil {
				t.Errorf("got %v, want ready", err)
			}
		})
	}
}

func fetched(p kgo.FetchPartition) kgo.Fetches {
	return kgo.Fetches{{Topics: []kgo.FetchTopic{{Topic: schemas.TopicCommands, Partitions: []kgo.FetchPartition{p}}}}}
}

// What a version without the topic's id wrote goes on, and gets the id.
func TestProgressOfAnOlderVersionGoesOn(t *testing.T) {
	r, c := newRig(t), newCRM(t)
	cmds := []schemas.Command{r.contact("a@x.example", 1), r.contact("b@x.example", 1), r.contact("c@x.example", 1)}
	r.produce(cmds...)
	r.commit(0, r.progress(progress{owner: 7, seq: 3, marks: marksOf(run{open, 1}, run{finished, 1})}))
	r.start(r.options("one", c))
	r.ended(cmds[0], cmds[2])
	if c.triesOf(cmds[1]) != 0 {
		t.Error("what was finished was sent again")
	}
	eventually(t, "the id beside the offset", func() bool {
		offsets, err := kadm.NewClient(r.client).FetchOffsets(t.Context(), "deliver")
		if err != nil {
			t.Fatal(err)
		}
		o, _ := offsets.Lookup(schemas.TopicCommands, 0)
		p, err := decodeProgress(o.Metadata)
		return err == nil && p.topicID == r.topicID()
	})
}

func TestProgressOfALaterVersionStops(t *testing.T) {
	r, c := newRig(t), newCRM(t)
	cmd := r.contact("a@x.example", 1)
	r.produce(cmd)
	r.commit(0, "ts9.AAAA")
	o := r.options("one", c)
	reg := prometheus.NewRegistry()
	o.Registerer = reg
	r.start(o).stalledBy(0, ReasonProgressUnreadable, reg)
	if c.triesOf(cmd) != 0 {
		t.Error("a command was sent")
	}
}

// Commands that expired unread are told, and the rest is delivered.
func TestExpiredCommandsAreTold(t *testing.T) {
	r, c := newRig(t), newCRM(t)
	var cmds []schemas.Command
	for i := range 6 {
		cmds = append(cmds, r.contact(fmt.Sprintf("c%d@x.example", i), 1))
	}
	r.produce(cmds...)
	r.commit(1, r.progress(progress{topicID: r.topicID(), owner: 1, seq: 1}))
	o := kadm.Offsets{}
	o.Add(kadm.Offset{Topic: schemas.TopicCommands, Partition: 0, At: 4})
	if _, err := kadm.NewClient(r.client).DeleteRecords(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	opts := r.options("one", c)
	reg := prometheus.NewRegistry()
	opts.Registerer = reg
	r.start(opts)
	r.ended(cmds[4:]...)
	if got := metric(t, reg, "tillstream_deliver_offset_alarms_total", nil); got != 1 {
		t.Errorf("alarms: got %v, want 1", got)
	}
}

// What a destination has no room for is seen by people.
func TestDeferredCommandsAreSeen(t *testing.T) {
	r, c := newRig(t), newCRM(t)
	var open atomic.Bool
	c.answer = func(schemas.Command, int) (sinks.Outcome, bool) {
		if !open.Load() {
			return retryable(), false
		}
		return sinks.Outcome{}, true
	}
	o := r.options("one", c)
	o.WindowMax, o.Parallel = 5, 100
	run := r.start(o)
	var cmds []schemas.Command
	for i := range 20 {
		cmds = append(cmds, r.contact(fmt.Sprintf("c%d@x.example", i), 1))
	}
	r.produce(cmds...)
	eventually(t, "full", func() bool {
		w := run.window(0)
		return w.State == "running" && w.Unfinished == 20 && w.UnfinishedMax == 5 && w.Deferred == 15 && w.Next == 20
	})
	if s := run.Status().Destinations[0]; s.Unfinished != 20 || s.Deferred != 15 {
		t.Errorf("got %+v, want 20 unfinished, 15 of them deferred", s)
	}
	open.Store(true)
	r.ended(cmds...)
	eventually(t, "running", func() bool { w := run.window(0); return w.State == "running" && w.Unfinished == 0 })
}

// down is a codec whose registry does not answer as to one schema.
type down struct {
	Codec
	up    atomic.Bool
	asked atomic.Int64
}

const foreignID = 9 // in the highest byte of the schema's id

func (d *down) Decode(b []byte) (schemas.Record, error) {
	if b[1] != foreignID {
		return d.Codec.Decode(b)
	}
	if !d.up.Load() {
		d.asked.Add(1)
		return nil, fmt.Errorf("schema: %w", codec.ErrUnavailable)
	}
	b = slices.Clone(b)
	b[1] = 0
	return d.Codec.Decode(b)
}

// Without the registry no more is held than the window takes, others go on, and it is asked little.
func TestRegistryDownHoldsNoMoreThanTheWindow(t *testing.T) {
	r, c := newRig(t), newCRM(t)
	dc := &down{Codec: r.codec}
	o := r.options("one", c)
	o.Codec, o.WindowMax, o.RetryBase = dc, 5, 200*time.Millisecond
	run := r.start(o)
	var foreign []schemas.Command
	for i := range 40 {
		cmd := r.contact(fmt.Sprintf("foreign%d@x.example", i), 1)
		value, err := r.codec.Encode(&cmd)
		if err != nil {
			t.Fatal(err)
		}
		value[1] = foreignID
		if err := r.client.ProduceSync(t.Context(), &kgo.Record{Topic: schemas.TopicCommands, Value: value}).FirstErr(); err != nil {
			t.Fatal(err)
		}
		foreign = append(foreign, cmd)
	}
	own := r.contact("own@x.example", 1)
	r.produceTo(1, own)
	r.ended(own)
	eventually(t, "the window is full of them", func() bool {
		w := run.window(0)
		return w.State == "full" && w.Undecoded == 5 && w.Unfinished == 5 && w.Reason == pipeline.ReasonRegistry
	})
	run.mu.Lock()
	began, before := run.now, dc.asked.Load()
	run.mu.Unlock()
	eventually(t, "it is asked again", func() bool { return dc.asked.Load() >= before+3 })
	run.mu.Lock()
	took := run.now.Sub(began)
	waiting, paused := len(run.undecoded), run.windows[0].paused
	run.mu.Unlock()
	if waiting > 5 || !paused {
		t.Errorf("%d commands wait, paused: %v", waiting, paused)
	}
	if took < 2*o.RetryBase {
		t.Errorf("asked three times within %v, want once in %v", took, o.RetryBase)
	}
	dc.up.Store(true)
	r.ended(foreign...)
}
