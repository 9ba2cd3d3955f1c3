package pipeline

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tillstream/tillstream/pipeline/kafka"
	"github.com/tillstream/tillstream/pipeline/store"
	"github.com/tillstream/tillstream/processors"
	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/schemas/codec"
)

// stalledBy waits until a partition of p stalls for reason.
func (w *world) stalledBy(p *process, reason Reason) PartitionStatus {
	w.t.Helper()
	var last []PartitionStatus
	for range 6000 {
		last = p.Status()
		for _, s := range last {
			if s.Reason == reason {
				return s
			}
		}
		time.Sleep(50 * time.Millisecond)
	}
	p.stop()
	w.t.Fatalf("status: got %+v, want a partition stalled by %s", last, reason)
	return PartitionStatus{}
}

// letterless is a codec that cannot encode dead letters for a while.
type letterless struct {
	Codec
	off atomic.Bool
}

func (o *letterless) Encode(rec schemas.Record) ([]byte, error) {
	if _, ok := rec.(*schemas.DeadLetter); ok && o.off.Load() {
		return nil, fmt.Errorf("encode: %w", codec.ErrUnavailable)
	}
	return o.Codec.Encode(rec)
}

func TestTimerIsNotMutedWithoutItsDeadLetter(t *testing.T) {
	for _, id := range []string{"bad", "stuck"} {
		t.Run(id, func(t *testing.T) {
			virtual(t, 1, func(t *testing.T, w *world) {
				c := &letterless{Codec: w.codec}
				w.options = func(o *EngineOptions) { o.Codec = c }
				p := w.start("a")
				w.send(testIn, "x arm "+id+"@5s")
				w.settle(p)
				c.off.Store(true)
				w.stalledBy(p, ReasonRegistry)
				c.off.Store(false)
				time.Sleep(time.Minute)
				w.settle(p)
				p.stop()
				want(t, "letters", len(w.letters()), 1)
			})
		})
	}
}

// hooked is a store whose calls pass by a hook first.
type hooked struct {
	store.Store
	read, apply func(ctx context.Context) error
}

func (h hooked) Partition(id store.ID) store.Partition { return hookedPart{h.Store.Partition(id), h} }

type hookedPart struct {
	store.Partition
	h hooked
}

func (p hookedPart) Read(ctx context.Context, f store.Fence, keys []string) ([][]byte, error) {
	if err := p.h.read(ctx); err != nil {
		return nil, err
	}
	return p.Partition.Read(ctx, f, keys)
}

func (p hookedPart) Apply(ctx context.Context, f store.Fence, b store.Batch) (store.Fence, error) {
	if err := p.h.apply(ctx); err != nil {
		return f, err
	}
	return p.Partition.Apply(ctx, f, b)
}

func nothing(context.Context) error { return nil }

// A store that needs longer for the reading ahead than a batch may take slows the partition down, and no more.
func TestSlowStoreStillMakesProgress(t *testing.T) {
	virtual(t, 1, func(t *testing.T, w *world) {
		slow := func(context.Context) error {
			time.Sleep(computeMax + time.Second/2)
			return nil
		}
		w.options = func(o *EngineOptions) { o.Store = hooked{o.Store, slow, nothing} }
		p := w.start("a")
		w.send(testIn, lines("k# add", 20)...)
		w.settle(p)
		p.stop()
		w.check()
	})
}

func TestStopIsBoundedWhileTheStoreHangs(t *testing.T) {
	virtual(t, 1, func(t *testing.T, w *world) {
		var hang atomic.Bool
		stuck := make(chan struct{}, 100)
		w.options = func(o *EngineOptions) {
			o.Store = hooked{o.Store, nothing, func(ctx context.Context) error {
				if !hang.Load() {
					return nil
				}
				stuck <- struct{}{}
				<-ctx.Done()
				return fmt.Errorf("%w: %w", store.ErrUnavailable, ctx.Err())
			}}
		}
		p := w.start("a")
		w.settle(p)
		hang.Store(true)
		w.send(testIn, "x add")
		<-stuck
		p.stop()
		hang.Store(false)
		p = w.start("a")
		w.settle(p)
		p.stop()
		w.check()
	})
}

// A record that the brokers will never take must not make the lane go round for ever without a word.
func TestRefusedOutputStallsItsPartitionOnly(t *testing.T) {
	virtual(t, 2, func(t *testing.T, w *world) {
		var refuse atomic.Bool
		w.kafka.ControlKey(int16(kmsg.Produce), func(raw kmsg.Request) (kmsg.Response, error, bool) {
			w.kafka.KeepControl()
			req := raw.(*kmsg.ProduceRequest)
			if !refuse.Load() || req.TransactionID == nil {
				return nil, nil, false
			}
			letters := false
			for _, rt := range req.Topics {
				for _, rp := range rt.Partitions {
					letters = letters || bytes.Contains(rp.Records, []byte("asked to fail"))
				}
			}
			if !letters {
				return nil, nil, false
			}
			resp := req.ResponseKind().(*kmsg.ProduceResponse)
			for _, rt := range req.Topics {
				st := kmsg.NewProduceResponseTopic()
				st.Topic, st.TopicID = rt.Topic, rt.TopicID
				for _, rp := range rt.Partitions {
					sp := kmsg.NewProduceResponseTopicPartition()
					sp.Partition, sp.ErrorCode = rp.Partition, kerr.MessageTooLarge.Code
					st.Partitions = append(st.Partitions, sp)
				}
				resp.Topics = append(resp.Topics, st)
			}
			return resp, nil, true
		})
		p := w.start("a")
		w.settle(p)
		in := map[int32]string{}
		for i := 0; len(in) < 2; i++ {
			k := fmt.Sprintf("k%d", i)
			w.send(testIn, k+" ignore")
			for n, rs := range w.read(testIn) {
				for _, r := range rs {
					in[n] = string(r.Key)
				}
			}
		}
		refuse.Store(true)
		w.send(testIn, in[0]+" fail")
		if s := w.stalledBy(p, ReasonOutputRefused); s.Partition != 0 || s.Remedy == "" {
			t.Errorf("status: got %+v, want partition 0 stalled with a remedy", s)
		}
		w.send(testIn, in[1]+" add")
		for began := time.Now(); len(w.history()[in[1]]) == 0; time.Sleep(time.Second) {
			if time.Since(began) > time.Minute {
				t.Fatal("the other partition of the lane does not go on")
			}
		}
		refuse.Store(false)
		w.settle(p)
		p.stop()
		w.check()
	})
}

// Only one of the inputs got more partitions: nobody can have the new one, and somebody must say so.
func TestPartitionAddedToOneInputIsRefusedAloud(t *testing.T) {
	virtual(t, 1, func(t *testing.T, w *world) {
		w.inputs = []string{testIn, testInbox}
		p := w.start("a")
		w.send(testIn, "x add")
		w.settle(p)
		if _, err := kadm.NewClient(w.side).CreatePartitions(t.Context(), 1, testIn); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Minute)
		if s := w.stalledBy(p, ReasonPartitionsChanged); s.Partition != 1 {
			t.Errorf("status: got %+v, want partition 1 stalled", s)
		}
		p.stop()
		w.check()
	})
}

// later is tally under rules that derive other timers from the same state.
type later struct {
	tally
	by time.Duration
}

func (l later) Timers(s tallyState) (out []processors.Timer) {
	for _, t := range l.tally.Timers(s) {
		if l.by != 0 {
			t.At = t.At.Add(l.by)
			out = append(out, t)
		}
	}
	return out
}

func TestNewRulesMayDeriveOtherTimers(t *testing.T) {
	for name, by := range map[string]time.Duration{"later": time.Hour, "none": 0} {
		t.Run(name, func(t *testing.T) {
			virtual(t, 1, func(t *testing.T, w *world) {
				p := w.start("a")
				w.send(testIn, "x arm t@1m", "y arm t@2m")
				w.settle(p)
				p.stop()
				w.options = func(o *EngineOptions) { o.Topology.Stage = Bind(later{by: by}) }
				p = w.start("a")
				time.Sleep(10 * time.Minute)
				w.send(testIn, "x add")
				w.settle(p)
				want(t, "too early", w.history()["x"], []string{"1 e1", "2 e3"})
				time.Sleep(2 * time.Hour)
				w.settle(p)
				s := p.Status()[0]
				p.stop()
				want(t, "armed", s.TimersArmed, int64(0))
				if by > 0 && (len(w.history()["x"]) != 3 || len(w.history()["y"]) != 2) {
					t.Errorf("the timers did not fire at their new deadlines: %v", w.history())
				}
			})
		})
	}
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(b)
}

// big is tally with states above the limit for keys that begin with "big".
type big struct{ tally }

func (big) Encode(s tallyState) ([]byte, error) {
	b, err := tally{}.Encode(s)
	if s.N > 1 {
		b = append(b, bytes.Repeat([]byte(" "), valueBytesMax)...)
	}
	return b, err
}

func TestKeysAreNotInLogsAndReasons(t *testing.T) {
	virtual(t, 1, func(t *testing.T, w *world) {
		const canary = "ann.canary@example.com"
		var log syncBuffer
		w.options = func(o *EngineOptions) {
			o.Topology.Stage, o.Log = Bind(big{}), zerolog.New(&log)
		}
		p := w.start("a")
		w.send(testIn, canary+" arm bad@5s", canary+" add")
		w.settle(p)
		time.Sleep(time.Minute)
		w.settle(p)
		p.stop()
		letters := w.letters()
		want(t, "letters", len(letters), 2)
		for _, d := range letters {
			if strings.Contains(d.ID+d.Reason, canary) {
				t.Errorf("the letter tells the key: %s: %s", d.ID, d.Reason)
			}
		}
		if strings.Contains(log.b.String(), canary) {
			t.Errorf("the log tells the key:\n%s", log.b.String())
		}
	})
}

func TestInputRecreatedInMidRunStopsThePartition(t *testing.T) {
	for name, n := range map[string]int{"shorter": 1, "longer": 30} {
		t.Run(name, func(t *testing.T) {
			virtual(t, 1, func(t *testing.T, w *world) {
				p := w.start("a")
				w.send(testIn, lines("k# add", 10)...)
				w.settle(p)
				adm := kadm.NewClient(w.side)
				if _, err := adm.DeleteTopic(t.Context(), testIn); err != nil {
					t.Fatal(err)
				}
				logAppend := "LogAppendTime"
				if _, err := adm.CreateTopic(t.Context(), 1, 1, map[string]*string{"message.timestamp.type": &logAppend}, testIn); err != nil {
					t.Fatal(err)
				}
				w.side.PurgeTopicsFromClient(testIn)
				w.send(testIn, lines("new# add", n)...)
				w.stalledBy(p, ReasonInputRecreated)
				p.stop()
				for k := range w.history() {
					if strings.HasPrefix(k, "new") {
						t.Errorf("a record of the new topic was processed: %s", k)
					}
				}
			})
		})
	}
}

// The number of the dead letters' partitions is asked once; brokers that hang just then must not hold up the end.
func TestStopIsBoundedWhileTheBrokersHang(t *testing.T) {
	virtual(t, 1, func(t *testing.T, w *world) {
		asked := make(chan struct{}, 100)
		var hang atomic.Bool
		w.kafka.ControlKey(int16(kmsg.Metadata), func(raw kmsg.Request) (kmsg.Response, error, bool) {
			w.kafka.KeepControl()
			for _, rt := range raw.(*kmsg.MetadataRequest).Topics {
				if rt.Topic != nil && *rt.Topic == schemas.TopicDeadLetters && hang.Load() {
					asked <- struct{}{}
					w.kafka.SleepControl(func() { time.Sleep(time.Minute) })
				}
			}
			return nil, nil, false
		})
		p := w.start("a")
		w.settle(p)
		hang.Store(true)
		w.send(testIn, "x fail")
		<-asked
		p.stop()
		time.Sleep(2 * time.Minute) // until the brokers have let go of every question
	})
}

func TestTransactionsAreBoundedInBytes(t *testing.T) {
	virtual(t, 1, func(t *testing.T, w *world) {
		var bytesMax int
		w.options = func(o *EngineOptions) {
			o.Topology.Stage = Bind(padded{})
			o.Store = counting{o.Store, &bytesMax}
		}
		w.send(testIn, lines("k# add", 30)...)
		p := w.start("a")
		w.settle(p)
		p.stop()
		want(t, "keys", len(w.history()), 30)
		if limit := batchBytesMax + 2*padding; bytesMax < padding || bytesMax > limit {
			t.Errorf("the largest transaction held %d bytes of images, want at most %d", bytesMax, limit)
		}
	})
}

const padding = 2 << 20

// padded is tally with large states.
type padded struct{ tally }

func (padded) Encode(s tallyState) ([]byte, error) {
	b, err := tally{}.Encode(s)
	return append(b, bytes.Repeat([]byte(" "), padding)...), err
}

// counting counts the bytes applied up to each meta record, hence per transaction.
type counting struct {
	store.Store
	most *int
}

func (c counting) Partition(id store.ID) store.Partition {
	return &countingPart{c.Store.Partition(id), c.most, 0}
}

type countingPart struct {
	store.Partition
	most *int
	sum  int
}

func (p *countingPart) Apply(ctx context.Context, f store.Fence, b store.Batch) (store.Fence, error) {
	for _, im := range b.Images {
		p.sum += len(im.Value)
	}
	*p.most = max(*p.most, p.sum)
	if b.Meta != nil {
		p.sum = 0
	}
	return p.Partition.Apply(ctx, f, b)
}

func TestInputDeletedUnderARunningPartitionIsAlarmed(t *testing.T) {
	virtual(t, 1, func(t *testing.T, w *world) {
		registry := prometheus.NewRegistry()
		w.options = func(o *EngineOptions) { o.Registerer = registry }
		p := w.start("a")
		w.send(testIn, lines("k# add", 5)...)
		w.settle(p)
		var late atomic.Bool
		late.Store(true)
		w.kafka.ControlKey(int16(kmsg.Fetch), func(raw kmsg.Request) (kmsg.Response, error, bool) {
			w.kafka.KeepControl()
			return nil, errors.New("the broker is slow"), late.Load()
		})
		time.Sleep(time.Minute)
		w.send(testIn, lines("k# add", 5)...)
		deleted := kadm.Offsets{}
		deleted.AddOffset(testIn, 0, 8, -1)
		if _, err := kadm.NewClient(w.side).DeleteRecords(t.Context(), deleted); err != nil {
			t.Fatal(err)
		}
		late.Store(false)
		w.settle(p)
		p.stop()
		got, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		alarms := 0.0
		for _, f := range got {
			if f.GetName() == "tillstream_offset_alarms_total" {
				alarms = f.GetMetric()[0].GetCounter().GetValue()
			}
		}
		want(t, "alarms for three records deleted unread", alarms, 1.0)
		want(t, "the rest is read", len(w.history()["k4"]), 2)
	})
}

// A damaged after-image stops its partition with the place of the record, and no other; nothing is overwritten.
func TestDamagedImageInTheChangelogStopsItsPartition(t *testing.T) {
	virtual(t, 2, func(t *testing.T, w *world) {
		p := w.start("a")
		w.send(testIn, lines("k# add", 20)...)
		w.settle(p)
		p.stop()
		bad := &kgo.Record{Topic: testChangelog, Partition: 1, Key: []byte(stateKeyPrefix + "k1"), Value: []byte("rubbish")}
		cl, err := kafka.Options{Brokers: w.kafka.ListenAddrs(), Extra: []kgo.Opt{kgo.Dialer(w.net.DialContext)}}.Client(kgo.RecordPartitioner(kgo.ManualPartitioner()))
		if err != nil {
			t.Fatal(err)
		}
		defer cl.Close()
		if err := cl.ProduceSync(t.Context(), bad).FirstErr(); err != nil {
			t.Fatal(err)
		}
		w.store.Wipe()
		p = w.start("a")
		s := w.stalledBy(p, ReasonStateUnreadable)
		if place := fmt.Sprintf("%s/1 offset %d", testChangelog, bad.Offset); s.Partition != 1 || !strings.Contains(s.Detail, place) || s.Remedy == "" {
			t.Errorf("got %+v, want partition 1 with the place %s and a remedy", s, place)
		}
		other := w.statusOf(p, 0)
		if other.State != "running" {
			t.Errorf("partition 0 is %s %s, want running", other.State, other.Reason)
		}
		p.stop()
	})
}

func (w *world) statusOf(p *process, partition int32) (s PartitionStatus) {
	for range 600 {
		for _, s = range p.Status() {
			if s.Partition == partition && s.State != "recovering" {
				return s
			}
		}
		time.Sleep(50 * time.Millisecond)
	}
	return s
}
