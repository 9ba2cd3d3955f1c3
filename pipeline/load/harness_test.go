package load

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tillstream/tillstream/pipeline/clock"
	"github.com/tillstream/tillstream/pipeline/kafka"
	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/schemas/codec"
	"github.com/tillstream/tillstream/sinks"
)

const topic = schemas.TopicPayPalEvents

// patience bounds every wait of a test; no test passes by waiting.
const patience = 30 * time.Second

// textCodec decodes every value to an event whose id is the text.
type textCodec struct {
	mu   sync.Mutex
	away int // so many calls find the registry away
}

func (c *textCodec) Decode(b []byte) (schemas.Record, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.away > 0 {
		c.away--
		return nil, fmt.Errorf("schema 7: %w", codec.ErrUnavailable)
	}
	if bytes.HasPrefix(b, []byte("garbage")) {
		return nil, codec.ErrNotAvro
	}
	return &schemas.OrderEvent{EventID: string(b), Environment: schemas.Live, Connection: "shop", RootID: "O"}, nil
}

// memoryWriter does what ClickHouse does with tokens, and notes what the protocol must never do.
type memoryWriter struct {
	mu       sync.Mutex
	byToken  map[string][]string // rows in the order stored
	stored   map[string]int      // partition/offset/value to how often it was stored
	repeats  int
	offends  []string
	ranges   []sinks.Range
	fail     func(r sinks.Range, rows []sinks.Row) error // before the insert
	lose     func(r sinks.Range) error                   // after it: the answer is lost
	prepare  func() error
	undecode int
}

func newWriter() *memoryWriter {
	return &memoryWriter{byToken: map[string][]string{}, stored: map[string]int{}}
}

func (w *memoryWriter) Prepare(context.Context) error {
	if w.prepare != nil {
		return w.prepare()
	}
	return nil
}
func (w *memoryWriter) Close() error { return nil }

func (w *memoryWriter) Insert(_ context.Context, r sinks.Range, rows []sinks.Row) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.fail != nil {
		if err := w.fail(r, rows); err != nil {
			return err
		}
	}
	token := fmt.Sprintf("%s/%d/%d/%d/%d", r.TopicID, r.Partition, r.From, r.To, r.Replay)
	if r.TopicID == "" {
		w.offends = append(w.offends, "no topic id in "+token)
	}
	var texts []string
	for _, row := range rows {
		if row.Offset < r.From || row.Offset > r.To {
			w.offends = append(w.offends, fmt.Sprintf("offset %d outside of %s", row.Offset, token))
		}
		texts = append(texts, fmt.Sprintf("%s/%d/%d/%s", r.Topic, r.Partition, row.Offset, row.Value))
	}
	if before, ok := w.byToken[token]; ok {
		w.repeats++
		if !slices.Equal(before, texts) {
			w.offends = append(w.offends, "other rows under the same token "+token)
		}
		return nil
	}
	w.byToken[token] = texts
	w.ranges = append(w.ranges, r)
	for i, text := range texts {
		if w.stored[text]++; w.stored[text] > 1 {
			w.offends = append(w.offends, "stored twice: "+text)
		}
		if rows[i].Record == nil {
			w.undecode++
		}
	}
	if w.lose != nil {
		return w.lose(r)
	}
	return nil
}

func (w *memoryWriter) count() int { w.mu.Lock(); defer w.mu.Unlock(); return len(w.stored) }

// values are the stored values, sorted.
func (w *memoryWriter) values() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var list []string
	for text := range w.stored {
		list = append(list, text[strings.LastIndexByte(text, '/')+1:])
	}
	slices.Sort(list)
	return list
}

// check fails for whatever the writer saw that must not be.
func (w *memoryWriter) check(t *testing.T) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, o := range w.offends {
		t.Error(o)
	}
}

// bench is a broker, a writer and the dead letters.
type bench struct {
	t       *testing.T
	cluster *kfake.Cluster
	kafka   kafka.Options
	writer  *memoryWriter
	codec   *textCodec
	mu      sync.Mutex
	letters []schemas.DeadLetter
}

func newBench(t *testing.T, partitions int32, topics ...string) *bench {
	t.Helper()
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(partitions, topics...),
		kfake.GroupMinSessionTimeout(time.Second))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	return &bench{t: t, cluster: cluster, kafka: kafka.Options{Brokers: cluster.ListenAddrs()}, writer: newWriter(), codec: &textCodec{}}
}

// loader makes one with small flushes; change may be nil.
func (b *bench) loader(change func(*Options)) *Loader {
	b.t.Helper()
	o := Options{
		Kafka: b.kafka, Codec: b.codec, Writer: b.writer, Topics: []string{topic}, FlushInterval: 10 * time.Millisecond, FlushRows: 40,
		Clock: clock.System(), Log: zerolog.New(zerolog.NewTestWriter(b.t)).Level(zerolog.ErrorLevel),
		DeadLetters: func(_ context.Context, d schemas.DeadLetter) error {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.letters = append(b.letters, d)
			return nil
		},
	}
	if change != nil {
		change(&o)
	}
	l, err := New(o)
	if err != nil {
		b.t.Fatal(err)
	}
	return l
}

// start runs a loader; the function stops it and returns Run's error.
func (b *bench) start(l *Loader) (stop func() error) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx) }()
	stopped := false
	stop = func() error {
		if stopped {
			return nil
		}
		stopped = true
		cancel()
		select {
		case err := <-done:
			return err
		case <-time.After(patience):
			b.t.Error("the loader does not end")
			return errors.New("hangs")
		}
	}
	b.t.Cleanup(func() { _ = stop() })
	return stop
}

func (b *bench) produce(topic string, values ...string) {
	b.t.Helper()
	cl, err := b.kafka.Client(kgo.DefaultProduceTopic(topic), kgo.RecordPartitioner(kgo.RoundRobinPartitioner()))
	if err != nil {
		b.t.Fatal(err)
	}
	defer cl.Close()
	var records []*kgo.Record
	for _, v := range values {
		records = append(records, kgo.StringRecord(v))
	}
	if err := cl.ProduceSync(context.Background(), records...).FirstErr(); err != nil {
		b.t.Fatal(err)
	}
}

// produceTxn writes one transaction and ends it as told.
func (b *bench) produceTxn(topic string, commit kgo.TransactionEndTry, values ...string) {
	b.t.Helper()
	cl, err := b.kafka.Client(kgo.DefaultProduceTopic(topic), kgo.TransactionalID("test"), kgo.RecordPartitioner(kgo.RoundRobinPartitioner()))
	if err != nil {
		b.t.Fatal(err)
	}
	defer cl.Close()
	ctx := context.Background()
	if err := cl.BeginTransaction(); err != nil {
		b.t.Fatal(err)
	}
	var records []*kgo.Record
	for _, v := range values {
		records = append(records, kgo.StringRecord(v))
	}
	if err := cl.ProduceSync(ctx, records...).FirstErr(); err != nil {
		b.t.Fatal(err)
	}
	if err := cl.EndTransaction(ctx, commit); err != nil {
		b.t.Fatal(err)
	}
}

// shown is a clock that shows another time.
type shown struct {
	clock.Clock
	now func() time.Time
}

func (c shown) Now() time.Time { return c.now() }

func numbered(prefix string, n int) []string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprintf("%s%05d", prefix, i)
	}
	return list
}

// until polls for a condition.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("did not happen within %s: %s", patience, what)
		}
	}
}

func (b *bench) caughtUp(l *Loader) {
	b.t.Helper()
	until(b.t, "caught up", func() bool {
		ok, err := l.CaughtUp(context.Background())
		if err != nil {
			b.t.Fatal(err)
		}
		return ok
	})
}
