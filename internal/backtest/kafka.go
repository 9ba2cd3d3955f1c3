package backtest

import (
	"cmp"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/avro"
	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sync/errgroup"

	"github.com/tillstream/tillstream/pipeline/kafka"
	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/schemas/codec"
)

// Log is Kafka as a backtest reads it. *kafka.Cluster is one.
type Log interface {
	Describe(ctx context.Context, topic string) (kafka.TopicInfo, error)
	Bounds(ctx context.Context, topic string, partition int32) (start, end int64, err error)
	Read(ctx context.Context, r kafka.Range, apply func(records []*kgo.Record, next int64) error) error
}

var _ Log = (*kafka.Cluster)(nil)

const (
	readPatience = 30 * time.Second
	aheadMax     = 4 // fetches of one partition that wait to be taken
	answersMax   = 5_000_000
)

// Recorded is the log of a running Tillstream, as a Source.
type Recorded struct {
	log    Log
	dec    *decoder
	heads  []*head
	cancel context.CancelFunc
	group  *errgroup.Group
	open   bool
}

// head is one partition, or a list of records in memory.
type head struct {
	topic     string
	partition int32
	in        chan []Item
	items     []Item
	done      bool
}

// Schemas knows the text of a schema. *registry.Client is one.
type Schemas interface {
	Schema(id int) (avsc string, err error)
}

// OpenLog prepares to read. Nothing is written anywhere, the registry included.
func OpenLog(log Log, s Schemas) (*Recorded, error) {
	d, err := newDecoder(s)
	if err != nil {
		return nil, err
	}
	return &Recorded{log: log, dec: d}, nil
}

// Facts reads what came from outside into the automation stage: answers about lists, a person's decisions, touches. They
// become part of the source. It returns the ids of the questions that were answered.
func (r *Recorded) Facts(ctx context.Context) (map[string]bool, error) {
	var mu sync.Mutex
	var facts []Item
	answered := map[string]bool{}
	err := r.each(ctx, schemas.TopicAutomationInbox, func(_ int32, list []Item) error {
		mu.Lock()
		defer mu.Unlock()
		for _, it := range list {
			if a, ok := it.Rec.(*schemas.ListAnswer); ok {
				answered[a.CommandID] = true
			}
		}
		if facts = append(facts, list...); len(facts) > answersMax {
			return fmt.Errorf("the log has more than %d answers and decisions: choose a shorter span", answersMax)
		}
		return nil
	}, "ListAnswer", "WaitDecision", "ContactTouch")
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(facts, func(a, b Item) int { return cmp.Or(cmp.Compare(a.At, b.At), cmp.Compare(a.Key, b.Key)) })
	r.heads = append(r.heads, &head{topic: schemas.TopicAutomationInbox, items: facts, done: true})
	return answered, nil
}

// InForce is the newest version on the config topic; nil where there is none.
func (r *Recorded) InForce(ctx context.Context) (*schemas.ConfigVersion, error) {
	var last *schemas.ConfigVersion
	err := r.each(ctx, schemas.TopicConfig, func(_ int32, list []Item) error {
		for _, it := range list {
			if v, ok := it.Rec.(*schemas.ConfigVersion); ok {
				last = v
			}
		}
		return nil
	}, "ConfigVersion")
	return last, err
}

// each reads a topic from its begin to what is its end now. apply is called by one goroutine a partition.
func (r *Recorded) each(ctx context.Context, topic string, apply func(partition int32, list []Item) error, names ...string) error {
	info, err := r.log.Describe(ctx, topic)
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	for p := range info.Count {
		group.Go(func() error {
			return r.partition(ctx, topic, p, func(list []Item) error { return apply(p, list) }, names...)
		})
	}
	return group.Wait()
}

func (r *Recorded) partition(ctx context.Context, topic string, p int32, apply func([]Item) error, names ...string) error {
	start, end, err := r.log.Bounds(ctx, topic, p)
	if err != nil {
		return err
	}
	at := int64(0)
	return r.log.Read(ctx, kafka.Range{Topic: topic, Partition: p, From: start, To: end, Patience: readPatience}, func(records []*kgo.Record, _ int64) error {
		list := make([]Item, 0, len(records))
		for _, rec := range records {
			if rec.Offset >= end {
				break
			}
			value, err := r.dec.decode(rec.Value, names)
			switch {
			case errors.Is(err, codec.ErrUnavailable):
				return err
			case err != nil || value == nil: // a dead letter, or of no interest
				continue
			}
			at = max(at, rec.Timestamp.UnixMilli()) // the stream's time never goes back
			list = append(list, Item{at, topic, string(rec.Key), value})
		}
		if len(list) == 0 {
			return nil
		}
		return apply(list)
	})
}

// begin starts to read the events, and what really was sent.
func (r *Recorded) begin(ctx context.Context) error {
	ctx, r.cancel = context.WithCancel(ctx)
	r.group, ctx = errgroup.WithContext(ctx)
	r.open = true
	for topic, name := range map[string]string{schemas.TopicPayPalEvents: "OrderEvent", schemas.TopicStoreOrders: "OrderEvent", schemas.TopicCommands: "Command"} {
		info, err := r.log.Describe(ctx, topic)
		if err != nil {
			return err
		}
		for p := range info.Count {
			h := &head{topic: topic, partition: p, in: make(chan []Item, aheadMax)}
			r.heads = append(r.heads, h)
			r.group.Go(func() error {
				defer close(h.in)
				return r.partition(ctx, topic, p, func(list []Item) error {
					select {
					case h.in <- list:
						return nil
					case <-ctx.Done():
						return ctx.Err()
					}
				}, name)
			})
		}
	}
	slices.SortFunc(r.heads, func(a, b *head) int {
		return cmp.Or(cmp.Compare(a.topic, b.topic), cmp.Compare(a.partition, b.partition))
	})
	return nil
}

// Next implements Source: the oldest record of all partitions; of several as old, that of the first topic and partition.
func (r *Recorded) Next(ctx context.Context) (Item, bool, error) {
	if !r.open {
		if err := r.begin(ctx); err != nil {
			return Item{}, false, err
		}
	}
	var first *head
	for _, h := range r.heads {
		for len(h.items) == 0 && !h.done {
			select {
			case list, ok := <-h.in:
				h.items, h.done = list, !ok
			case <-ctx.Done():
				return Item{}, false, ctx.Err()
			}
		}
		if len(h.items) > 0 && (first == nil || h.items[0].At < first.items[0].At) {
			first = h
		}
	}
	if first == nil {
		return Item{}, false, r.group.Wait()
	}
	it := first.items[0]
	first.items = first.items[1:]
	return it, true, nil
}

// Close ends the reading.
func (r *Recorded) Close() {
	if r.open {
		r.cancel()
		_ = r.group.Wait() // it was told to stop
	}
}

// decoder reads records without being known to the registry: who only reads must register nothing.
type decoder struct {
	source Schemas
	codec  atomic.Pointer[codec.Codec]
	names  sync.Map // schema id to record name; "" for one that is none of ours

	mu    sync.Mutex
	known map[string]int
}

func newDecoder(s Schemas) (*decoder, error) {
	d := &decoder{source: s, known: map[string]int{}}
	c, err := codec.New(d)
	if err != nil {
		return nil, err
	}
	d.codec.Store(c)
	return d, nil
}

// unknownID stands for a schema that no record was met of.
const unknownID = 1 << 30

// ID implements codec.IDs.
func (d *decoder) ID(name string) (int, error) {
	if id, ok := d.known[name]; ok {
		return id, nil
	}
	for i, rec := range schemas.Records() {
		if rec.RecordName() == name {
			return unknownID + i, nil
		}
	}
	return 0, codec.ErrUnknownSchema
}

// Schema implements codec.IDs.
func (d *decoder) Schema(id int) (string, error) { return d.source.Schema(id) }

// decode reads a record of one of the names; nil: it is another one's.
func (d *decoder) decode(value []byte, names []string) (schemas.Record, error) {
	const header = 5
	if len(value) < header || value[0] != 0 {
		return nil, codec.ErrNotAvro
	}
	id := binary.BigEndian.Uint32(value[1:header])
	name, ok := d.names.Load(id)
	if !ok {
		learned, err := d.learn(int(id))
		if err != nil {
			return nil, err
		}
		name = learned
	}
	if !slices.Contains(names, name.(string)) {
		return nil, nil
	}
	return d.codec.Load().Decode(value)
}

// learn finds out what an id stands for. Where it is our own schema, the codec reads it the fast way from now on.
func (d *decoder) learn(id int) (string, error) {
	text, err := d.source.Schema(id)
	if err != nil {
		return "", err
	}
	var head struct {
		Name string `json:"name"`
	}
	if err := json.Unmarshal([]byte(text), &head); err != nil {
		return "", fmt.Errorf("%w: schema %d is no object", codec.ErrUnknownSchema, id)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if ours, ok := schemas.AVSC(head.Name); ok && same(ours, text) {
		d.known[head.Name] = id
		c, err := codec.New(d)
		if err != nil {
			return "", err
		}
		d.codec.Store(c)
	}
	d.names.Store(uint32(id), head.Name)
	return head.Name, nil
}

func same(a, b string) bool {
	x, err := avro.Parse(a)
	if err != nil {
		return false
	}
	y, err := avro.Parse(b)
	return err == nil && string(x.Canonical()) == string(y.Canonical())
}
