package load

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/sinks"
)

func (b *bench) wantStored(want []string) {
	b.t.Helper()
	want = slices.Sorted(slices.Values(want))
	if diff := cmp.Diff(want, b.writer.values()); diff != "" {
		b.t.Errorf("stored values differ (-want +got):\n%s", diff)
	}
	b.writer.check(b.t)
}

func TestEveryRecordIsStoredOnce(t *testing.T) {
	b := newBench(t, 3, topic)
	want := numbered("plain", 100)
	b.produce(topic, want...)
	b.produceTxn(topic, kgo.TryCommit, numbered("kept", 50)...)
	b.produceTxn(topic, kgo.TryAbort, numbered("aborted", 50)...)
	b.produce(topic, "garbage")
	registry := prometheus.NewRegistry()
	l := b.loader(func(o *Options) { o.Registerer = registry })
	stop := b.start(l)
	b.caughtUp(l)
	b.produceTxn(topic, kgo.TryAbort, numbered("aborted", 10)...) // the end of the log holds nothing but holes and markers
	b.caughtUp(l)
	if err := l.Ready(); err != nil {
		t.Errorf("not ready at rest: %v", err)
	}
	if err := stop(); err != nil {
		t.Errorf("Run ended with %v", err)
	}
	b.wantStored(slices.Concat(want, numbered("kept", 50), []string{"garbage"}))
	if b.writer.undecode != 1 {
		t.Errorf("got %d rows without a record, want 1", b.writer.undecode)
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "tillstream_load_rows_total" && f.GetMetric()[0].GetCounter().GetValue() != 151 {
			t.Errorf("got %v rows in the metrics, want 151", f.GetMetric()[0].GetCounter().GetValue())
		}
	}
}

// A crash at any step, the first or a later time that it is reached, loses and doubles nothing: the successor repeats the
// planned range with the same rows.
func TestACrashAtAnyStep(t *testing.T) {
	for _, step := range []string{"before plan commit", "after plan commit", "after insert", "before final commit", "after final commit", "after dead letter"} {
		for _, nth := range []int{1, 3} {
			t.Run(fmt.Sprintf("%s, time %d", step, nth), func(t *testing.T) {
				b := newBench(t, 2, topic)
				values := numbered("v", 300)
				values[17], values[95], values[231] = "refused17", "refused95", "refused231"
				b.writer.fail = refuseWhatSaysSo
				b.produce(topic, values...)
				crashed := errors.New("crash")
				first := b.loader(nil)
				reached := 0
				first.crash = func(s string) error {
					if s != step {
						return nil
					}
					if reached++; reached == nth {
						return crashed
					}
					return nil
				}
				ctx, cancel := context.WithTimeout(context.Background(), patience)
				defer cancel()
				if err := first.Run(ctx); !errors.Is(err, crashed) {
					t.Fatalf("got %v, want the crash", err)
				}
				before := len(b.writer.byToken)
				second := b.loader(func(o *Options) { o.FlushRows = 77 }) // another cut than the first one's
				b.start(second)
				b.caughtUp(second)
				b.wantStored(slices.DeleteFunc(values, func(v string) bool { return strings.HasPrefix(v, "refused") }))
				if step == "after insert" && b.writer.repeats == 0 {
					t.Errorf("nothing was repeated after the crash (%d ranges stored before it): the test tests nothing", before)
				}
				b.wantLetters(3)
			})
		}
	}
}

func refuseWhatSaysSo(_ sinks.Range, rows []sinks.Row) error {
	for _, r := range rows {
		if strings.HasPrefix(string(r.Value), "refused") {
			return &sinks.RowError{Offset: r.Offset, Err: errors.New("no such number")}
		}
	}
	return nil
}

// wantLetters checks the dead letters by id: a crash may publish one twice, under the same id.
func (b *bench) wantLetters(n int) {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	ids := map[string]bool{}
	for _, d := range b.letters {
		ids[d.ID] = true
		if d.Cause != schemas.CauseUnwritable || !strings.HasPrefix(string(d.Value), "refused") || d.ID != fmt.Sprintf("%s-%d-%d", d.Topic, d.Partition, d.Offset) || d.EventID != string(d.Value) {
			b.t.Errorf("dead letter %+v is not about a refused row", d)
		}
	}
	if len(ids) != n {
		b.t.Errorf("got %d dead letters, want %d", len(ids), n)
	}
}

func TestRefusedRowsAreCutOut(t *testing.T) {
	b := newBench(t, 1, topic)
	values := numbered("v", 100)
	for _, i := range []int{0, 1, 50, 98, 99} {
		values[i] = fmt.Sprint("refused", i)
	}
	b.writer.fail = refuseWhatSaysSo
	b.produce(topic, values...)
	l := b.loader(func(o *Options) { o.FlushRows = 1000 })
	b.start(l)
	b.caughtUp(l)
	b.wantStored(slices.DeleteFunc(slices.Clone(values), func(v string) bool { return strings.HasPrefix(v, "refused") }))
	b.wantLetters(5)
	for _, r := range b.writer.ranges {
		for _, offset := range []int64{0, 1, 50, 98, 99} {
			if r.From <= offset && offset <= r.To {
				t.Errorf("range %d-%d spans the refused offset %d", r.From, r.To, offset)
			}
		}
	}
}

func TestDeadLettersThatCannotBePublishedHoldTheOffset(t *testing.T) {
	b := newBench(t, 1, topic)
	b.writer.fail = refuseWhatSaysSo
	b.produce(topic, "v1", "refused", "v2")
	var down atomic.Bool
	down.Store(true)
	l := b.loader(nil)
	publish := l.o.DeadLetters
	l.o.DeadLetters = func(ctx context.Context, d schemas.DeadLetter) error {
		if down.Load() {
			return errors.New("no broker")
		}
		return publish(ctx, d)
	}
	b.start(l)
	until(t, "not ready", func() bool { err := l.Ready(); return err != nil && strings.Contains(err.Error(), "dead letter") })
	if n := b.writer.count(); n != 0 {
		t.Errorf("%d rows were stored beside the row that was not safe", n)
	}
	down.Store(false)
	b.caughtUp(l)
	b.wantStored([]string{"v1", "v2"})
	b.wantLetters(1)
}

func TestRebalances(t *testing.T) {
	b := newBench(t, 6, topic)
	// Every fifth answer of the writer is lost, so that repetitions meet rebalances.
	calls := 0
	b.writer.lose = func(sinks.Range) error {
		if calls++; calls%5 == 0 {
			return errors.New("connection reset")
		}
		return nil
	}
	var want []string
	more := func(prefix string) {
		values := numbered(prefix, 200)
		want = append(want, values...)
		b.produce(topic, values...)
	}
	more("a")
	first := b.loader(nil)
	stopFirst := b.start(first)
	until(t, "first rows", func() bool { return b.writer.count() > 50 })
	second := b.loader(nil)
	b.start(second)
	more("b")
	until(t, "the second has partitions", func() bool { return len(second.Status().Partitions) > 0 })
	more("c")
	third := b.loader(nil)
	stopThird := b.start(third)
	more("d")
	if err := stopFirst(); err != nil {
		t.Error(err)
	}
	more("e")
	until(t, "the third has partitions", func() bool { return len(third.Status().Partitions) > 0 })
	if err := stopThird(); err != nil {
		t.Error(err)
	}
	more("f")
	b.caughtUp(second)
	b.wantStored(want)
	if b.writer.repeats == 0 {
		t.Error("nothing was repeated: the test tests nothing")
	}
}

func TestAWriterThatIsDownHoldsOffsetsAndBoundsMemory(t *testing.T) {
	b := newBench(t, 2, topic)
	var down atomic.Bool
	down.Store(true)
	b.writer.fail = func(sinks.Range, []sinks.Row) error {
		if down.Load() {
			return errors.New("connection refused")
		}
		return nil
	}
	values := numbered(strings.Repeat("x", 1000), 2000)
	b.produce(topic, values...)
	l := b.loader(func(o *Options) { o.FlushBytes = 50_000; o.BufferBytesMax = 100_000; o.FlushRows = 1000 })
	b.start(l)
	until(t, "fetching paused", func() bool {
		s := l.Status()
		return len(s.Partitions) == 2 && s.Partitions[0].Paused && s.Partitions[1].Paused && s.Partitions[0].Tries > 1
	})
	if err := l.Ready(); err == nil || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("ready says %v, want the writer's error", err)
	}
	if ok, err := l.CaughtUp(context.Background()); ok || err != nil {
		t.Errorf("caught up is %v, %v with nothing stored", ok, err)
	}
	down.Store(false)
	b.caughtUp(l)
	b.wantStored(values)
	if err := l.Ready(); err != nil {
		t.Errorf("not ready after the outage: %v", err)
	}
}

type busyError struct{ error }

func (busyError) RetryAfter() time.Duration { return time.Hour }

func TestAWriterThatAsksForAPauseGetsIt(t *testing.T) {
	b := newBench(t, 1, topic)
	var calls atomic.Int32
	b.writer.fail = func(sinks.Range, []sinks.Row) error {
		calls.Add(1)
		return fmt.Errorf("insert: %w", busyError{errors.New("too many parts")})
	}
	b.produce(topic, "v")
	l := b.loader(nil)
	stop := b.start(l)
	until(t, "a failed try", func() bool { return l.Ready() != nil && calls.Load() > 0 })
	until(t, "its status", func() bool { return len(l.Status().Partitions) == 1 })
	retryAt := l.Status().Partitions[0].RetryAt
	if pause := time.Until(retryAt); pause < 50*time.Minute {
		t.Errorf("the next try is in %s, want an hour", pause)
	}
	_ = stop() // tries once more, for nothing
}

func TestARegistryThatIsAwayIsWaitedFor(t *testing.T) {
	b := newBench(t, 1, topic)
	b.codec.away = 2
	b.produce(topic, "v1", "v2")
	l := b.loader(nil)
	b.start(l)
	b.caughtUp(l)
	b.wantStored([]string{"v1", "v2"})
	if b.writer.undecode != 0 {
		t.Errorf("%d rows lost their record because the registry was away", b.writer.undecode)
	}
}

func TestFlushBySize(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*Options)
		rows   int // in each of the first ranges
	}{
		{"rows", func(o *Options) { o.FlushRows = 25 }, 25},
		{"bytes", func(o *Options) { o.FlushRows = 1000; o.FlushBytes = 10 * (1000 + 5 + rowBytes) }, 10},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t, 1, topic)
			values := numbered(strings.Repeat("x", 1000), 100)
			b.produce(topic, values...)
			l := b.loader(func(o *Options) { o.FlushInterval = time.Hour; c.change(o) })
			stop := b.start(l)
			until(t, "all full ranges", func() bool { return b.writer.count() == 100 })
			for _, r := range b.writer.ranges {
				if got := int(r.To - r.From + 1); got != c.rows {
					t.Errorf("got a range of %d rows, want %d", got, c.rows)
				}
			}
			// Half a flush has to wait for its hour, or for the end.
			b.produce(topic, "last")
			until(t, "the last is held", func() bool { s := l.Status(); return s.Partitions[0].Rows == 1 })
			if b.writer.count() != 100 {
				t.Error("a small range was inserted before its time")
			}
			if err := stop(); err != nil {
				t.Error(err)
			}
			b.wantStored(append(values, "last"))
		})
	}
}

func TestFlushByTime(t *testing.T) {
	b := newBench(t, 1, topic)
	var clock atomic.Int64
	start := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	l := b.loader(func(o *Options) {
		o.FlushInterval = time.Minute
		o.FlushRows = 1000
		o.Clock = shown{o.Clock, func() time.Time { return start.Add(time.Duration(clock.Load())) }}
	})
	b.start(l)
	b.produce(topic, "v1", "v2")
	until(t, "rows are held", func() bool { s := l.Status(); return len(s.Partitions) == 1 && s.Partitions[0].Rows == 2 })
	clock.Store(int64(59 * time.Second))
	b.produce(topic, "v3")
	until(t, "one more is held", func() bool { return l.Status().Partitions[0].Rows == 3 })
	if b.writer.count() != 0 {
		t.Fatal("rows were inserted before their time")
	}
	clock.Store(int64(time.Minute))
	b.caughtUp(l)
	b.wantStored([]string{"v1", "v2", "v3"})
	if len(b.writer.ranges) != 1 {
		t.Errorf("got %d inserts, want one for all that waited", len(b.writer.ranges))
	}
}

func TestReplayGenerationIsKept(t *testing.T) {
	b := newBench(t, 1, topic)
	b.produce(topic, "v1")
	l := b.loader(nil)
	stop := b.start(l)
	b.caughtUp(l)
	_ = stop()
	// An operator's replay: back to the start, under the next generation.
	until(t, "rewound (a group can be while nobody is in it)", func() bool { return b.rewind(mark{0, metadata{Replay: 1}}) == nil })
	for range 2 { // the second start goes on under the same generation
		b.produce(topic, "more")
		l = b.loader(nil)
		stop = b.start(l)
		b.caughtUp(l)
		_ = stop()
	}
	var got []int64
	for _, r := range b.writer.ranges {
		got = append(got, r.Replay)
	}
	if diff := cmp.Diff([]int64{0, 1, 1}, got); diff != "" {
		t.Errorf("replay generations (-want +got):\n%s", diff)
	}
}

func (b *bench) rewind(m mark) error { return b.commitAs(m.offset, m.String()) }

func (b *bench) commitAs(offset int64, text string) error {
	client, err := b.kafka.Client()
	if err != nil {
		return err
	}
	defer client.Close()
	var offsets kadm.Offsets
	offsets.Add(kadm.Offset{Topic: topic, Partition: 0, At: offset, LeaderEpoch: -1, Metadata: text})
	committed, err := kadm.NewClient(client).CommitOffsets(context.Background(), GroupDefault, offsets)
	if err != nil {
		return err
	}
	return committed.Error()
}

func TestOptionsAreChecked(t *testing.T) {
	b := newBench(t, 1, topic)
	for _, c := range []struct {
		want   string
		change func(*Options)
	}{
		{"codec", func(o *Options) { o.Codec = nil }},
		{"no topics", func(o *Options) { o.Topics = nil }},
		{"flush rows", func(o *Options) { o.FlushRows = 1_000_000 }},
		{"buffer", func(o *Options) { o.BufferBytesMax = 1 }},
		{"insert timeout", func(o *Options) { o.InsertTimeout = time.Hour }},
	} {
		o := b.loader(nil).o
		c.change(&o)
		if _, err := New(o); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %v, want it to say %q", err, c.want)
		}
	}
}

// sickWriter fails until it is healed, and notes which partitions were tried after that.
type sickWriter struct {
	*memoryWriter
	healed atomic.Bool
	tried  [16]atomic.Bool
}

func (w *sickWriter) Insert(ctx context.Context, r sinks.Range, rows []sinks.Row) error {
	if !w.healed.Load() {
		return errors.New("no route to host")
	}
	w.tried[r.Partition].Store(true)
	return w.memoryWriter.Insert(ctx, r, rows)
}

// A member whose inserts fail holds planned rows of all partitions when half of them move to another member. It must
// not insert them any more: the new owner repeats their plans, and goes on.
func TestHeldRowsOfALostPartitionAreDropped(t *testing.T) {
	b := newBench(t, 4, topic)
	values := numbered("v", 400)
	b.produce(topic, values...)
	sick := &sickWriter{memoryWriter: b.writer}
	first := b.loader(func(o *Options) { o.Writer = sick })
	b.start(first)
	until(t, "all partitions were tried in vain", func() bool {
		s := first.Status()
		return len(s.Partitions) == 4 && !slices.ContainsFunc(s.Partitions, func(p PartitionStatus) bool { return p.Tries == 0 || p.Rows == 0 })
	})
	second := b.loader(nil)
	b.start(second)
	until(t, "the second has stored what moved to it", func() bool {
		s := second.Status()
		return len(s.Partitions) > 0 && b.writer.count() > 0 && !slices.ContainsFunc(s.Partitions, func(p PartitionStatus) bool { return p.LagRecords > 0 || p.Next <= 0 })
	})
	for _, p := range second.Status().Partitions {
		if slices.ContainsFunc(first.Status().Partitions, func(q PartitionStatus) bool { return q.Partition == p.Partition }) {
			t.Errorf("the first member still holds partition %d, which is the second's", p.Partition)
		}
	}
	sick.healed.Store(true)
	b.caughtUp(second)
	for _, p := range second.Status().Partitions {
		if sick.tried[p.Partition].Load() {
			t.Errorf("the first member inserted into partition %d, which is the second's", p.Partition)
		}
	}
	more := numbered("w", 100)
	b.produce(topic, more...)
	b.caughtUp(second)
	b.wantStored(slices.Concat(values, more))
}

func TestAWriterThatIsDownAtTheStart(t *testing.T) {
	b := newBench(t, 1, topic)
	var up atomic.Bool
	b.writer.prepare = func() error {
		if !up.Load() {
			return errors.New("dial: connection refused")
		}
		return nil
	}
	b.produce(topic, "v")
	l := b.loader(nil)
	b.start(l)
	until(t, "not ready for that reason", func() bool {
		err := l.Ready()
		return err != nil && strings.Contains(err.Error(), "connection refused")
	})
	if b.writer.count() != 0 {
		t.Error("rows were inserted into a writer that is not prepared")
	}
	up.Store(true)
	b.caughtUp(l)
	b.wantStored([]string{"v"})
	until(t, "ready", func() bool { return l.Ready() == nil })
}
