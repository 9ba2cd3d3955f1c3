package poll

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tillstream/tillstream/connectors"
	"github.com/tillstream/tillstream/outbound"
	"github.com/tillstream/tillstream/pipeline/clock"
	"github.com/tillstream/tillstream/pipeline/ingest"
	"github.com/tillstream/tillstream/pipeline/kafka"
	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/schemas/codec"
)

// memoryLog is Kafka in memory: Log, Appender and Decoder. Values are JSON with their record's name before it.
type memoryLog struct {
	now func() time.Time

	mu     sync.Mutex
	parts  map[string][][]*kgo.Record // by topic
	fail   func(topic, key string) error
	lose   func(topic string) error // after the append: its answer is lost
	unread func(topic string) error
	starts map[string]int64 // what retention removed of each partition, by topic
}

const partitions = 3

func newLog(now func() time.Time) *memoryLog {
	return &memoryLog{now: now, parts: map[string][][]*kgo.Record{}}
}

func (l *memoryLog) of(topic string) [][]*kgo.Record {
	if l.parts[topic] == nil {
		l.parts[topic] = make([][]*kgo.Record, partitions)
	}
	return l.parts[topic]
}

func (l *memoryLog) Describe(context.Context, string) (kafka.TopicInfo, error) {
	return kafka.TopicInfo{Count: partitions}, nil
}

func (l *memoryLog) Bounds(_ context.Context, topic string, n int32) (start, end int64, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.starts[topic], int64(len(l.of(topic)[n])), nil
}

func (l *memoryLog) OffsetAt(_ context.Context, topic string, n int32, at time.Time) (int64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	part := l.of(topic)[n]
	for i, r := range part {
		if !r.Timestamp.Before(at) && int64(i) >= l.starts[topic] {
			return int64(i), nil
		}
	}
	return int64(len(part)), nil
}

func (l *memoryLog) Read(ctx context.Context, r kafka.Range, apply func([]*kgo.Record, int64) error) error {
	for from := r.From; from < r.To; {
		l.mu.Lock()
		var err error
		if l.unread != nil {
			err = l.unread(r.Topic)
		}
		next := min(from+7, r.To)
		batch := slices.Clone(l.of(r.Topic)[r.Partition][from:next])
		l.mu.Unlock()
		if err == nil {
			err = ctx.Err()
		}
		if err == nil {
			err = apply(batch, next)
		}
		if err != nil {
			return err
		}
		from = next
	}
	return nil
}

func (l *memoryLog) Append(ctx context.Context, topic, key string, value []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if l.fail != nil {
		if err := l.fail(topic, key); err != nil {
			return err
		}
	}
	n := kafka.Partition([]byte(key), partitions)
	part := l.of(topic)
	part[n] = append(part[n], &kgo.Record{Key: []byte(key), Value: value, Timestamp: l.now(), Partition: n, Offset: int64(len(part[n]))})
	if l.lose != nil {
		return l.lose(topic)
	}
	return nil
}

func encode(r schemas.Record) ([]byte, error) {
	b, err := json.Marshal(r)
	return append([]byte(r.RecordName()+"\n"), b...), err
}

func (l *memoryLog) Decode(b []byte) (schemas.Record, error) {
	name, body, _ := bytes.Cut(b, []byte("\n"))
	var r schemas.Record
	switch string(name) {
	case "OrderEvent":
		r = &schemas.OrderEvent{}
	case "SourceProgress":
		r = &schemas.SourceProgress{}
	default:
		return nil, codec.ErrNotAvro
	}
	return r, json.Unmarshal(body, r)
}

// events are those of a topic, in no order, with how often each is there.
func (l *memoryLog) events(topic string) map[string]int {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := map[string]int{}
	for _, part := range l.of(topic) {
		for _, rec := range part {
			r, err := l.Decode(rec.Value)
			if e, ok := r.(*schemas.OrderEvent); ok && err == nil {
				out[e.EventID]++
			}
		}
	}
	return out
}

// origins are the origins of each event's copies, in the order of their partition.
func (l *memoryLog) origins(topic string) map[string][]schemas.Origin {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := map[string][]schemas.Origin{}
	for _, part := range l.of(topic) {
		for _, rec := range part {
			r, err := l.Decode(rec.Value)
			if e, ok := r.(*schemas.OrderEvent); ok && err == nil {
				out[e.EventID] = append(out[e.EventID], e.Origin)
			}
		}
	}
	return out
}

// change is what happened at the provider.
type change struct {
	ID     string    `json:"id"`
	Entity string    `json:"entity"`
	Status string    `json:"status"`
	Note   string    `json:"note,omitempty"`
	At     time.Time `json:"at"`
	listed time.Time // when it appears in the list
}

// provider lists changes, oldest first, some to a page. It is a Webhooker too, as most are.
type provider struct {
	now   func() time.Time
	feeds []connectors.Feed

	mu      sync.Mutex
	changes []change
	page    int // rows of a page
	asked   []connectors.Query
	refuse  func(q connectors.Query) error
	during  func(q connectors.Query) // called in the middle of a question
	budget  outbound.Budget
}

func (p *provider) Feeds() []connectors.Feed {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.feeds
}

func (p *provider) Verify(context.Context, *http.Request, []byte) (connectors.Delivery, connectors.Verdict) {
	return connectors.Delivery{}, connectors.Verdict{Kind: connectors.Forged}
}

func (p *provider) Watch() []connectors.Finding { return nil }

func (p *provider) Budget() outbound.Budget {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.budget
}

func (p *provider) happen(c change) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c.listed.IsZero() {
		c.listed = c.At
	}
	p.changes = append(p.changes, c)
}

func (p *provider) Poll(ctx context.Context, q connectors.Query) (connectors.Page, error) {
	if err := ctx.Err(); err != nil {
		return connectors.Page{}, err
	}
	p.mu.Lock()
	p.asked = append(p.asked, q)
	refuse, during := p.refuse, p.during
	p.mu.Unlock()
	if refuse != nil {
		if err := refuse(q); err != nil {
			return connectors.Page{}, err
		}
	}
	if during != nil {
		during(q)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	var rows []change
	for _, c := range p.changes {
		if !c.At.Before(q.From) && c.At.Before(q.To) && !c.listed.After(p.now()) {
			rows = append(rows, c)
		}
	}
	slices.SortStableFunc(rows, func(a, b change) int { return a.At.Compare(b.At) })
	size := p.page
	if size == 0 {
		size = 10
	}
	from := 0
	if q.Cursor != "" {
		from, _ = strconv.Atoi(q.Cursor)
	}
	var page connectors.Page
	for i, c := range rows[min(from, len(rows)):] {
		if i == size {
			page.Next = strconv.Itoa(from + size)
			break
		}
		page.Found = append(page.Found, found(c))
		if i == 0 { // lists repeat themselves
			page.Found = append(page.Found, found(c))
		}
	}
	return page, nil
}

func found(c change) connectors.Found {
	body, err := json.Marshal(c)
	if err != nil {
		panic(err)
	}
	return connectors.Found{Delivery: connectors.Delivery{ID: "list-" + c.ID, Body: body}, Cause: "the endpoint answered 503"}
}

func (p *provider) questions() []connectors.Query {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.asked)
}

var shop = connectors.Connector{Type: "shop", Topic: schemas.TopicStoreOrders, Normalize: func(d connectors.Delivery) ([]schemas.OrderEvent, error) {
	var c change
	if err := json.Unmarshal(d.Body, &c); err != nil || c.ID == "" {
		return nil, errors.New("no change")
	}
	return []schemas.OrderEvent{{
		EventID: c.ID, RootID: c.Entity, EntityID: c.Entity, Status: schemas.PaymentStatus(c.Status), ProviderTime: c.At,
		ReceivedAt: d.ReceivedAt, Origin: d.Origin, Connection: d.Connection, Environment: d.Environment, Body: d.Body,
	}}, nil
}}

// world is a provider, the log, and what polls.
type world struct {
	log      *memoryLog
	provider *provider
	clock    clock.Clock
	metrics  *metrics
	logged   *bytes.Buffer
	lines    zerolog.Logger // into logged
}

func newWorld(t testing.TB, feeds ...connectors.Feed) *world {
	t.Helper()
	m, err := newMetrics(nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(feeds) == 0 {
		feeds = []connectors.Feed{{Name: "events", Every: 5 * time.Minute, WindowMax: 6 * time.Hour, Match: connectors.MatchEvent, History: true}}
	}
	c := clock.System()
	logged := &bytes.Buffer{}
	return &world{
		log: newLog(c.Now), provider: &provider{now: c.Now, feeds: feeds}, clock: c, metrics: m,
		logged: logged, lines: zerolog.New(zerolog.SyncWriter(logged)),
	}
}

func (w *world) connection() Connection {
	return Connection{Name: "till", Environment: schemas.Live, Connector: shop, Poller: w.provider}
}

func (w *world) keeper() ingest.Keeper { return ingest.Keeper{Appender: w.log, Encode: encode} }

func (w *world) worker(c Connection) *worker {
	o := Options{Keeper: w.keeper(), Clock: w.clock, Log: w.lines}
	wk := newWorker(c, o, w.log, w.log, newTail(w.log, shop.Topic, w.log, o.Log), w.metrics, make(chan struct{}, 4))
	wk.jitter = func() float64 { return 0.5 }
	return wk
}

// start runs a process that polls c; stop kills it and waits until nothing of it is left.
func (w *world) start(t testing.TB, c Connection) (wk *worker, stop func()) {
	t.Helper()
	wk = w.worker(c)
	var ctx context.Context
	ctx, wk.stop = context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { wk.run(ctx); close(ended) }()
	return wk, func() { wk.end(); <-ended }
}

// webhook appends a change as the receiver does.
func (w *world) webhook(t testing.TB, c change) {
	t.Helper()
	d := connectors.Delivery{
		Connection: "till", Environment: schemas.Live, ID: "hook-" + c.ID, Body: found(c).Body, ReceivedAt: w.clock.Now(), Origin: schemas.OriginWebhook,
	}
	if _, err := w.keeper().Keep(context.WithoutCancel(t.Context()), shop, d); err != nil {
		t.Fatal(err)
	}
}

// order is the i-th change of a test.
func order(i int, at time.Time) change {
	return change{ID: fmt.Sprintf("E%d", i), Entity: fmt.Sprintf("O%d", i), Status: "PAID", At: at}
}
