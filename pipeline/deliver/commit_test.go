package deliver

import (
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tillstream/tillstream/pipeline/kafka"
	"github.com/tillstream/tillstream/schemas"
)

// loseEnds makes the broker do what EndTxn says and answer that something went wrong, as often as the number says.
func (r *rig) loseEnds() *atomic.Int64 {
	var left atomic.Int64
	forwarding := false
	r.cluster.ControlKey(int16(kmsg.EndTxn), func(req kmsg.Request) (kmsg.Response, error, bool) {
		r.cluster.KeepControl()
		if forwarding || left.Load() == 0 {
			return nil, nil, false
		}
		left.Add(-1)
		asked := req.(*kmsg.EndTxnRequest)
		again := kmsg.NewPtrEndTxnRequest()
		again.TransactionalID, again.ProducerID, again.ProducerEpoch, again.Commit = asked.TransactionalID, asked.ProducerID, asked.ProducerEpoch, asked.Commit
		forwarding = true
		var did *kmsg.EndTxnResponse
		var err error
		r.cluster.SleepControl(func() { did, err = again.RequestWith(r.t.Context(), r.client) })
		forwarding = false
		if err != nil || did.ErrorCode != 0 {
			r.t.Errorf("the transaction was to be ended: %v, code %d", err, did.ErrorCode)
		}
		resp := req.ResponseKind().(*kmsg.EndTxnResponse)
		resp.ErrorCode = kerr.UnknownServerError.Code
		return resp, nil, true
	})
	return &left
}

// The group's offset passes over what an earlier owner finished, even before it is read here.
func TestOffsetAheadOfReadingIsNoRewind(t *testing.T) {
	r := newRig(t)
	var cmds []schemas.Command
	for i := range 6 {
		cmds = append(cmds, r.contact(fmt.Sprintf("c%d@x.example", i), 1))
	}
	r.produce(cmds...)
	d, err := New(r.options("one", newCRM(t)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.cluster.Close)
	text := r.progress(progress{topicID: r.topicID(), owner: 1, seq: 1, marks: marksOf(run{open, 1}, run{finished, 3})})
	d.assign(t.Context(), []kafka.Offset{{Topic: schemas.TopicCommands, At: 1, Metadata: text}})
	d.inspect(t.Context())
	d.lock()
	defer d.mu.Unlock()
	d.admit(fetched(kgo.FetchPartition{Records: []*kgo.Record{{Topic: schemas.TopicCommands, Offset: 1}}}))
	w := d.windows[0]
	w.finish(w.inOrder()[0])
	batch, p, err := d.plan()
	if err != nil {
		t.Fatal(err)
	}
	d.applied(batch, p)
	if w.floor != 5 {
		t.Fatalf("committed up to %d, want 5", w.floor)
	}
	d.admit(fetched(kgo.FetchPartition{Records: []*kgo.Record{{Topic: schemas.TopicCommands, Offset: 2}, {Topic: schemas.TopicCommands, Offset: 5}}}))
	if w.stalled != nil {
		t.Errorf("stalled: %s: %v", w.stalled.reason, w.stalled.err)
	}
	if w.next != 6 || w.unfinished() != 1 {
		t.Errorf("next %d with %d to be done, want 6 and 1", w.next, w.unfinished())
	}
}

// After a transaction that happened although nobody vouches for it, the client reads again what it has read. That is no
// sign of a log cut short.
func TestCommitThatNobodyVouchesForStopsNothing(t *testing.T) {
	r, c := newRig(t), newCRM(t)
	o := r.options("one", c)
	reg := prometheus.NewRegistry()
	o.Registerer = reg
	run := r.start(o)
	first := r.contact("a@x.example", 1)
	r.produce(first)
	r.ended(first)
	all := []schemas.Command{first}
	left := r.loseEnds()
	for round := range 3 {
		left.Store(1)
		for i := range 4 {
			cmd := r.contact(fmt.Sprintf("c%d-%d@x.example", round, i), 1)
			r.produce(cmd)
			all = append(all, cmd)
		}
		r.ended(all...)
		if left.Load() != 0 {
			t.Error("no answer was lost")
		}
	}
	if err := run.Ready(); err != nil {
		t.Errorf("got %v, want it ready", err)
	}
	for _, cmd := range all {
		if n := c.triesOf(cmd); n != 1 {
			t.Errorf("command %s was sent %d times, want once", cmd.CommandID, n)
		}
	}
	if got := metric(t, reg, "tillstream_deliver_aborts_total", nil); got == 0 {
		t.Error("every transaction was vouched for")
	}
}
