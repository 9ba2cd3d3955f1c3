package pipeline

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tillstream/tillstream/pipeline/kafka"
	"github.com/tillstream/tillstream/pipeline/store"
	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/schemas/codec"
)

// virtual runs a test in a bubble of virtual time.
func virtual(t *testing.T, partitions int32, test func(t *testing.T, w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { test(t, newWorld(t, partitions)) })
}

// several is virtual for tests with several processes. In a rebalance the client may wait for a mutex, which stops
// virtual time unless it is built with the tag synctests; without the tag such a test takes real time.
func several(t *testing.T, partitions int32, test func(t *testing.T, w *world)) {
	t.Helper()
	if clientInBubble {
		virtual(t, partitions, test)
		return
	}
	t.Parallel()
	test(t, newWorld(t, partitions))
}

func want(t *testing.T, what string, got, want any) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func TestEventsOfAKeyAreAppliedOnceInOrder(t *testing.T) {
	virtual(t, 4, func(t *testing.T, w *world) {
		p := w.start("a")
		w.send(testIn, "x add", "y add", "x add", "x again e1", "y forget", "y add", "z ignore")
		w.settle(p)
		var c Counts
		for _, s := range p.Status() {
			c.Inputs, c.Skipped = c.Inputs+s.Counts.Inputs, c.Skipped+s.Counts.Skipped
		}
		p.stop()
		want(t, "history", w.history(), map[string][]string{"x": {"1 e1", "2 e3"}, "y": {"1 e2", "2 e5", "1 e6"}})
		want(t, "inputs", c, Counts{Inputs: 7, Skipped: 1})
		w.check()
	})
}

func TestRestartGoesOnWhereItStopped(t *testing.T) {
	virtual(t, 2, func(t *testing.T, w *world) {
		for range 3 {
			p := w.start("a")
			w.send(testIn, lines("k# add", 20)...)
			w.settle(p)
			p.stop()
			w.check()
		}
	})
}

func TestKilledProcessIsTakenOver(t *testing.T) {
	several(t, 4, func(t *testing.T, w *world) {
		a := w.start("a")
		w.settle(a)
		w.send(testIn, lines("k# add", 50)...)
		time.Sleep(15 * time.Millisecond)
		a.kill()
		w.send(testIn, lines("k# add", 50)...)
		began := time.Now()
		b := w.start("b")
		w.settle(b)
		// On the wall's clock a busy machine proves nothing.
		if took := time.Since(began); clientInBubble && took > sessionTimeout+2*time.Second {
			t.Errorf("takeover took %v, want at most the session timeout and 2 s", took)
		}
		b.stop()
		w.check()
	})
}

func TestChangelogTailIsAppliedAfterAKillBeforeTheStore(t *testing.T) {
	virtual(t, 1, func(t *testing.T, w *world) {
		a := w.start("a")
		w.send(testIn, "x add")
		w.settle(a)
		restore := w.store.Snapshot() // as if the applies after this had never happened
		w.send(testIn, "x add", "y add", "x forget", "y add")
		w.settle(a)
		a.kill()
		restore()
		b := w.start("a")
		w.settle(b)
		w.check()
		w.send(testIn, "x add", "y add")
		w.settle(b)
		b.stop()
		w.check()
	})
}

func TestStoreFaultsInMidRun(t *testing.T) {
	var restore func()
	for name, fault := range map[string]func(w *world){
		"wiped":       func(w *world) { w.store.Wipe() },
		"rolled back": func(*world) { restore() },
		"wrong type":  func(w *world) { w.store.Spoil(store.ID{Stage: "tally"}) },
		"fenced by a zombie": func(w *world) {
			_, _ = w.store.Partition(store.ID{Stage: "tally"}).Claim(w.t.Context(), "zombie")
		},
		"down and back": func(w *world) {
			w.store.SetDown(true)
			w.send(testIn, "k1 add", "new add")
			time.Sleep(20 * time.Second)
			w.store.SetDown(false)
		},
	} {
		t.Run(name, func(t *testing.T) {
			virtual(t, 1, func(t *testing.T, w *world) {
				p := w.start("a")
				w.send(testIn, lines("k# add", 5)...)
				w.settle(p)
				restore = w.store.Snapshot()
				w.send(testIn, lines("k# add", 9)...)
				w.settle(p)
				fault(w)
				w.send(testIn, lines("k# add", 12)...)
				w.settle(p)
				p.stop()
				w.check()
			})
		})
	}
}

func TestStoreDownStallsWithReasonAndRemedy(t *testing.T) {
	virtual(t, 1, func(t *testing.T, w *world) {
		w.store.SetDown(true)
		p := w.start("a")
		time.Sleep(10 * time.Second)
		s := p.Status()
		if len(s) != 1 || s[0].State != "stalled" || s[0].Reason != ReasonStoreUnavailable || s[0].Remedy == "" {
			t.Errorf("status: got %+v, want stalled by %s with a remedy", s, ReasonStoreUnavailable)
		}
		if err := p.Ready(); err == nil || !strings.Contains(err.Error(), "STORE_UNAVAILABLE") {
			t.Errorf("Ready: got %v, want the reason", err)
		}
		w.store.SetDown(false)
		w.send(testIn, "x add")
		w.settle(p)
		p.stop()
		w.check()
	})
}

// The broker commits, but its answer is an error: the client must believe the broker's offsets, not the answer.
func TestCommittedButAnsweredWithAnError(t *testing.T) {
	for _, code := range []*kerr.Error{kerr.UnknownServerError, kerr.RequestTimedOut, kerr.InvalidTxnState} {
		t.Run(code.Message, func(t *testing.T) {
			virtual(t, 2, func(t *testing.T, w *world) {
				p := w.start("a")
				w.settle(p)
				var left atomic.Int32
				left.Store(2)
				w.kafka.ControlKey(int16(kmsg.EndTxn), func(raw kmsg.Request) (kmsg.Response, error, bool) {
					w.kafka.KeepControl()
					req := raw.(*kmsg.EndTxnRequest)
					if !req.Commit || left.Add(-1) < 0 {
						return nil, nil, false
					}
					cp := *req
					w.kafka.SleepControl(func() { _, _ = cp.RequestWith(t.Context(), w.side) })
					resp := req.ResponseKind().(*kmsg.EndTxnResponse)
					resp.ErrorCode = code.Code
					return resp, nil, true
				})
				for range 5 {
					w.send(testIn, lines("k# add", 10)...)
					w.settle(p)
				}
				if left.Load() >= 0 {
					t.Error("the fault was not met")
				}
				p.stop()
				w.check()
			})
		})
	}
}

func TestAbortedTransactionsAreDoneAgain(t *testing.T) {
	virtual(t, 2, func(t *testing.T, w *world) {
		p := w.start("a")
		w.settle(p)
		var seen atomic.Int32
		w.kafka.ControlKey(int16(kmsg.TxnOffsetCommit), func(raw kmsg.Request) (kmsg.Response, error, bool) {
			w.kafka.KeepControl()
			if seen.Add(1)%3 != 1 {
				return nil, nil, false
			}
			req := raw.(*kmsg.TxnOffsetCommitRequest)
			resp := req.ResponseKind().(*kmsg.TxnOffsetCommitResponse)
			for _, rt := range req.Topics {
				st := kmsg.NewTxnOffsetCommitResponseTopic()
				st.Topic, st.TopicID = rt.Topic, rt.TopicID
				for _, rp := range rt.Partitions {
					sp := kmsg.NewTxnOffsetCommitResponseTopicPartition()
					sp.Partition, sp.ErrorCode = rp.Partition, kerr.RebalanceInProgress.Code
					st.Partitions = append(st.Partitions, sp)
				}
				resp.Topics = append(resp.Topics, st)
			}
			return resp, nil, true
		})
		for range 5 {
			w.send(testIn, lines("k# add", 10)...)
			w.settle(p)
		}
		if seen.Load() < 7 {
			t.Errorf("only %d commits were tried", seen.Load())
		}
		p.stop()
		w.check()
	})
}

func TestEveryCommitNamesItsOffsetsAndGeneration(t *testing.T) {
	virtual(t, 2, func(t *testing.T, w *world) {
		var offsets, ends atomic.Int32
		w.kafka.ControlKey(int16(kmsg.TxnOffsetCommit), func(raw kmsg.Request) (kmsg.Response, error, bool) {
			w.kafka.KeepControl()
			req := raw.(*kmsg.TxnOffsetCommitRequest)
			if req.Generation < 0 || len(req.Topics) == 0 {
				t.Errorf("offset commit with generation %d and %d topics", req.Generation, len(req.Topics))
			}
			offsets.Add(1)
			return nil, nil, false
		})
		w.kafka.ControlKey(int16(kmsg.EndTxn), func(raw kmsg.Request) (kmsg.Response, error, bool) {
			w.kafka.KeepControl()
			if raw.(*kmsg.EndTxnRequest).Commit {
				ends.Add(1)
			}
			return nil, nil, false
		})
		w.inputs = []string{testIn, testInbox}
		p := w.start("a")
		w.send(testIn, "x arm t@3s", "y add")
		w.settle(p)
		time.Sleep(10 * time.Second)
		w.settle(p)
		p.stop()
		if offsets.Load() == 0 || offsets.Load() != ends.Load() {
			t.Errorf("%d offset commits for %d commits", offsets.Load(), ends.Load())
		}
	})
}

func TestTwoProcessesShareAndTakeOver(t *testing.T) {
	several(t, 8, func(t *testing.T, w *world) {
		w.inputs = []string{testIn, testInbox}
		a := w.start("a")
		w.send(testIn, lines("k# add", 30)...)
		w.settle(a)
		b := w.start("b")
		for range 20 {
			w.send(testIn, lines("k# add", 10)...)
			time.Sleep(300 * time.Millisecond)
		}
		w.settle(a, b)
		if n, m := len(a.Status()), len(b.Status()); n != 4 || m != 4 {
			t.Errorf("partitions: %d and %d, want 4 and 4", n, m)
		}
		a.stop()
		w.send(testIn, lines("k# add", 30)...)
		w.settle(b)
		b.stop()
		w.check()
	})
}

func TestPoisonRecordsBecomeDeadLetters(t *testing.T) {
	virtual(t, 1, func(t *testing.T, w *world) {
		p := w.start("a")
		w.send(testIn, "x add", "x panic", "x fail")
		w.append(testIn, "x", []byte("no avro"))
		w.append(testIn, "x", nil)
		w.send(testIn, "x add")
		w.settle(p)
		p.stop()
		want(t, "history", w.history(), map[string][]string{"x": {"1 e1", "2 e4"}})
		var got []string
		for _, d := range w.letters() {
			if d.Stage != "tally" || d.Remedy == "" || d.Reason == "" || string(d.Key) != "x" {
				t.Errorf("dead letter is not complete: %+v", d)
			}
			got = append(got, d.ID+" "+d.Cause)
		}
		want(t, "letters", got, []string{"in-0-1 STAGE_FAILED", "in-0-2 STAGE_FAILED", "in-0-3 UNDECODABLE", "in-0-4 UNDECODABLE"})
		want(t, "bytes are kept", string(w.letters()[2].Value), "no avro")
		w.check()
	})
}

// A stage that knows what is wrong with a record says so with a code of its own, and the letter keeps its words.
func TestTheStagesOwnCauseStands(t *testing.T) {
	virtual(t, 1, func(t *testing.T, w *world) {
		p := w.start("a")
		w.send(testIn, "x refuse")
		w.settle(p)
		p.stop()
		letters := w.letters()
		if len(letters) != 1 {
			t.Fatalf("got %d dead letters, want 1", len(letters))
		}
		d := letters[0]
		want(t, "letter", []string{d.Cause, d.Reason, d.Remedy, d.EventID}, []string{schemas.CauseQuarantined, "seen before", "compare both", "e1"})
	})
}

func TestMassPoisonPausesThePartition(t *testing.T) {
	virtual(t, 1, func(t *testing.T, w *world) {
		p := w.start("a")
		w.send(testIn, lines("k# fail", 120)...)
		time.Sleep(30 * time.Second)
		s := p.Status()
		if len(s) != 1 || s[0].Reason != ReasonPoison {
			t.Fatalf("status: got %+v, want stalled by %s", s, ReasonPoison)
		}
		w.send(testIn, "x add")
		time.Sleep(time.Minute)
		if got := w.history()["x"]; got != nil {
			t.Errorf("the paused partition went on by itself: %v", got)
		}
		if !p.Resume(0) {
			t.Error("Resume(0): got false, want true")
		}
		w.settle(p)
		p.stop()
		want(t, "letters", len(w.letters()), 120)
		w.check()
	})
}

// offline is a codec whose registry goes away.
type offline struct {
	Codec
	off atomic.Bool
}

func (o *offline) Decode(b []byte) (schemas.Record, error) {
	if o.off.Load() {
		return nil, fmt.Errorf("decode: %w", codec.ErrUnavailable)
	}
	return o.Codec.Decode(b)
}

func TestRegistryDownWaitsAndMakesNoDeadLetters(t *testing.T) {
	virtual(t, 1, func(t *testing.T, w *world) {
		c := &offline{Codec: w.codec}
		w.options = func(o *EngineOptions) { o.Codec = c }
		p := w.start("a")
		w.send(testIn, "x add")
		w.settle(p)
		c.off.Store(true)
		w.send(testIn, "x add")
		for began := time.Now(); p.Status()[0].Reason != ReasonRegistry; time.Sleep(10 * time.Millisecond) {
			if time.Since(began) > time.Minute {
				t.Fatalf("status: got %+v, want stalled by %s", p.Status(), ReasonRegistry)
			}
		}
		time.Sleep(20 * time.Second)
		c.off.Store(false)
		w.settle(p)
		p.stop()
		want(t, "letters", len(w.letters()), 0)
		w.check()
	})
}

func TestOutputsGoWhereTheDefaultPartitionerSendsTheirKey(t *testing.T) {
	virtual(t, 5, func(t *testing.T, w *world) {
		p := w.start("a")
		w.send(testIn, lines("key-# add", 40)...)
		r := &kgo.Record{Topic: testIn, Key: []byte("traced"), Headers: []kgo.RecordHeader{{Key: HeaderTrace, Value: []byte("00-abc-def-01")}}}
		r.Value, _ = w.codec.Encode(&schemas.OrderEvent{EventID: "t", EventType: "add"})
		if err := w.side.ProduceSync(t.Context(), r).FirstErr(); err != nil {
			t.Fatal(err)
		}
		w.settle(p)
		p.stop()
		in := map[string]int32{}
		for n, rs := range w.read(testIn) { // partitioned by the client itself
			for _, r := range rs {
				in[string(r.Key)] = n
			}
		}
		out := map[string]int32{}
		for n, rs := range w.read(testOut) {
			for _, r := range rs {
				out[string(r.Key)] = n
				if header(r, HeaderStamp) == "" {
					t.Errorf("output of %s has no stamp", r.Key)
				}
				if got := header(r, HeaderTrace); (got != "") != (string(r.Key) == "traced") {
					t.Errorf("output of %s has trace %q", r.Key, got)
				}
			}
		}
		want(t, "partition of each key", out, in)
	})
}

func TestTombstonesRemoveStates(t *testing.T) {
	virtual(t, 1, func(t *testing.T, w *world) {
		p := w.start("a")
		w.send(testIn, "x add", "y add", "x arm t@1h")
		w.settle(p)
		w.send(testIn, "x forget")
		w.settle(p)
		if s := p.Status(); s[0].TimersArmed != 0 {
			t.Errorf("timers armed: got %d, want 0", s[0].TimersArmed)
		}
		p.stop()
		w.check()
		if got := w.store.Images(store.ID{Stage: "tally"}); len(got) != 1 || got["y"] == nil {
			t.Errorf("images: got %d, want y only", len(got))
		}
		w.store.Wipe()
		w.kafka.Compact()
		p = w.start("a")
		w.send(testIn, "x add")
		w.settle(p)
		p.stop()
		want(t, "x begins anew", w.history()["x"], []string{"1 e1", "2 e3", "3 e4", "1 e5"})
	})
}

// Redis outlives Kafka: everything in it belongs to a changelog that is gone.
func TestImagesOfAnotherChangelogAreRebuilt(t *testing.T) {
	virtual(t, 2, func(t *testing.T, w *world) {
		p := w.start("a")
		w.send(testIn, lines("k# add", 10)...)
		w.settle(p)
		p.stop()
		w.startKafka(2)
		p = w.start("a")
		w.send(testIn, lines("k# add", 10)...)
		w.settle(p)
		p.stop()
		for k, h := range w.history() {
			if len(h) != 1 || !strings.HasPrefix(h[0], "1 ") {
				t.Errorf("history of %s: got %v, want one event, counted from 1", k, h)
			}
		}
		w.check()
	})
}

func TestLostChangelogStopsThePartition(t *testing.T) {
	virtual(t, 1, func(t *testing.T, w *world) {
		p := w.start("a")
		w.send(testIn, "x add")
		w.settle(p)
		p.stop()
		del := kmsg.NewPtrDeleteTopicsRequest()
		dt := kmsg.NewDeleteTopicsRequestTopic()
		dt.Topic = kmsg.StringPtr(testChangelog)
		del.Topics, del.TopicNames = append(del.Topics, dt), []string{testChangelog}
		if _, err := del.RequestWith(t.Context(), w.side); err != nil {
			t.Fatal(err)
		}
		o := kafka.Options{Brokers: w.kafka.ListenAddrs(), Extra: []kgo.Opt{kgo.Dialer(w.net.DialContext)}}
		if err := kafka.EnsureTopics(t.Context(), o, []kafka.TopicSpec{{Name: testChangelog, Partitions: 1, Compacted: true}}); err != nil {
			t.Fatal(err)
		}
		p = w.start("a")
		time.Sleep(30 * time.Second)
		if s := p.Status(); len(s) != 1 || s[0].Reason != ReasonChangelogLost {
			t.Errorf("status: got %+v, want stalled by %s", s, ReasonChangelogLost)
		}
		p.stop()
	})
}
