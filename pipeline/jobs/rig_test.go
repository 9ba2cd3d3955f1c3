package jobs

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tillstream/tillstream/connectors"
	"github.com/tillstream/tillstream/pipeline/kafka"
	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/schemas/codec"
	"github.com/tillstream/tillstream/sinks"
)

// patience bounds every wait of a test; nothing waits for it when all goes well.
const patience = 60 * time.Second

var now = time.Date(2026, 3, 1, 10, 0, 0, 0, time.UTC)

// rig is a Kafka with the topics of jobs.
type rig struct {
	t       *testing.T
	brokers []string
	codec   *codec.Codec
	client  *kgo.Client
	rows    *rowStore
	asked   int
}

func newRig(t *testing.T) *rig {
	t.Helper()
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.GroupMinSessionTimeout(100*time.Millisecond),
		kfake.SeedTopics(1, schemas.TopicJobRequests, schemas.TopicJobs),
		kfake.SeedTopics(2, schemas.TopicJobItems, schemas.TopicDeadLetters, schemas.TopicDeliveries, schemas.TopicCommands,
			schemas.TopicAutomationInbox, schemas.TopicPayPalEvents, schemas.TopicOrdersInbox, schemas.TopicTransitions))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	r := &rig{t: t, brokers: c.ListenAddrs(), codec: codec.NewLocal(), rows: &rowStore{}}
	if r.client, err = kgo.NewClient(kgo.SeedBrokers(r.brokers...), kgo.RecordPartitioner(kgo.StickyKeyPartitioner(nil))); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.client.Close)
	return r
}

// rowStore takes rows, but for those of the offsets that it refuses.
type rowStore struct {
	mu     sync.Mutex
	ranges []sinks.Range
	refuse map[int64]bool
}

func (s *rowStore) Prepare(context.Context) error { return nil }
func (s *rowStore) Close() error                  { return nil }
func (s *rowStore) Insert(_ context.Context, r sinks.Range, rows []sinks.Row) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refuse[r.From] {
		return &sinks.RowError{Offset: r.From, Err: errors.New("amount out of range")}
	}
	s.ranges = append(s.ranges, r)
	return nil
}

func (r *rig) options(instance string) Options {
	shop := connectors.Connector{Type: "shop", Topic: schemas.TopicPayPalEvents, Normalize: func(d connectors.Delivery) ([]schemas.OrderEvent, error) {
		if string(d.Body) == "garbage" {
			return nil, errors.New("no JSON at byte 0")
		}
		return []schemas.OrderEvent{{
			EventID: "mended-" + string(d.Body), Kind: schemas.KindOrder, Provider: "shop", Environment: d.Environment, Connection: d.Connection, RootID: "O1",
			Status: schemas.StatusPaid, ProviderTime: now, ReceivedAt: d.ReceivedAt, Origin: d.Origin, Body: d.Body, BodyHash: "h", Fingerprint: "f",
		}}, nil
	}}
	return Options{
		Kafka: kafka.Options{Brokers: r.brokers}, Codec: r.codec, Instance: instance, Rows: r.rows, Log: zerolog.Nop(), session: 1500 * time.Millisecond,
		Connector: func(_ schemas.Environment, connection string) (connectors.Connector, bool) {
			return shop, connection == "shop"
		},
	}
}

func (r *rig) encode(rec schemas.Record) []byte {
	r.t.Helper()
	b, err := r.codec.Encode(rec)
	if err != nil {
		r.t.Fatal(err)
	}
	return b
}

// put appends records, and returns them with their places.
func (r *rig) put(topic string, list ...*kgo.Record) []*kgo.Record {
	r.t.Helper()
	for _, rec := range list {
		rec.Topic = topic
	}
	if err := r.client.ProduceSync(context.Background(), list...).FirstErr(); err != nil {
		r.t.Fatal(err)
	}
	return list
}

func (r *rig) letter(list ...*schemas.DeadLetter) {
	r.t.Helper()
	var recs []*kgo.Record
	for _, d := range list {
		if d.At.IsZero() {
			d.At = now
		}
		recs = append(recs, &kgo.Record{Key: []byte(d.ID), Value: r.encode(d)})
	}
	r.put(schemas.TopicDeadLetters, recs...)
}

// refused is the letter about a command that the CRM rejected.
func (r *rig) refused(n int, kind schemas.CommandKind) *schemas.DeadLetter {
	c := &schemas.Command{
		CommandID: fmt.Sprintf("%024x", n), Kind: kind, Destination: "crm", ContactKey: fmt.Sprintf("live/c%d@example.com", n),
		RootKey: fmt.Sprintf("live/shop/O%d", n), Version: 1, At: now.Add(-time.Hour),
	}
	if kind == schemas.CommandEffect {
		c.Effect = &schemas.Effect{Type: schemas.EffectTrackEvent, Name: "paid", Data: "id=" + c.CommandID[:12] + " paid"}
	}
	return &schemas.DeadLetter{
		ID: fmt.Sprintf("crm.commands-1-%d", n), Stage: "deliver", Cause: schemas.CauseRejected, Reason: fmt.Sprintf("field 17 of c%d@example.com is not there", n),
		Topic: schemas.TopicCommands, Partition: 1, Offset: int64(n), Key: []byte(c.ContactKey), Value: r.encode(c), RootKey: c.RootKey,
		Destination: c.Destination, ContactKey: c.ContactKey, At: now,
	}
}

// ask requests a job and returns its id.
func (r *rig) ask(kind schemas.JobKind, filter map[string]string, change ...func(*schemas.JobRequest)) string {
	r.t.Helper()
	r.asked++
	q := &schemas.JobRequest{JobID: fmt.Sprintf("job-%d", r.asked), Action: schemas.JobStart, Kind: kind, Filter: filter, By: "ann", At: now}
	for _, c := range change {
		c(q)
	}
	r.put(schemas.TopicJobRequests, &kgo.Record{Key: []byte(q.JobID), Value: r.encode(q)})
	return q.JobID
}

// working is a runner at work.
type working struct {
	*Runner
	cancel context.CancelFunc
	done   chan error
}

func (r *rig) start(o Options, crash ...func(string) error) *working {
	r.t.Helper()
	run, err := New(o)
	if err != nil {
		r.t.Fatal(err)
	}
	if len(crash) > 0 {
		run.crash = crash[0]
	}
	ctx, cancel := context.WithCancel(context.Background())
	w := &working{Runner: run, cancel: cancel, done: make(chan error, 1)}
	go func() { w.done <- run.Run(ctx) }()
	r.t.Cleanup(w.stop)
	return w
}

func (w *working) stop() {
	if w.cancel != nil {
		w.cancel()
		<-w.done
		w.cancel = nil
	}
}

// read returns all committed records of a topic, by partition.
func (r *rig) read(topic string) (list []*kgo.Record) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	info, err := kafka.DescribeTopic(ctx, r.client, topic)
	if err != nil {
		r.t.Fatal(err)
	}
	for p := range info.Count {
		start, end, err := kafka.Bounds(ctx, r.client, topic, p)
		if err != nil {
			r.t.Fatal(err)
		}
		err = kafka.NewReader(r.client, topic, p, start).ReadTo(ctx, end, patience, time.Now, func(records []*kgo.Record, _ int64) error {
			list = append(list, records...)
			return nil
		})
		if err != nil {
			r.t.Fatal(err)
		}
	}
	return list
}

// all decodes the records of one type on a topic.
func all[T schemas.Record](r *rig, topic string) (list []T) {
	r.t.Helper()
	for _, rec := range r.read(topic) {
		got, err := r.codec.Decode(rec.Value)
		if err != nil {
			r.t.Fatal(err)
		}
		if one, ok := got.(T); ok {
			list = append(list, one)
		}
	}
	return list
}

// job is how a job stands.
func (r *rig) job(id string) (last *schemas.Job) {
	r.t.Helper()
	for _, j := range all[*schemas.Job](r, schemas.TopicJobs) {
		if j.JobID == id {
			last = j
		}
	}
	return last
}

// until polls for a condition.
func (r *rig) until(what string, ok func() bool) {
	r.t.Helper()
	deadline := time.Now().Add(patience)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		if time.Now().After(deadline) {
			r.t.Fatalf("waited %s in vain until %s", patience, what)
		}
		<-tick.C
	}
}

// ends waits for the end of a job.
func (r *rig) ends(id string) *schemas.Job {
	r.t.Helper()
	var j *schemas.Job
	r.until("job "+id+" ends", func() bool {
		j = r.job(id)
		return j != nil && ended(j.State)
	})
	return j
}

// said are the words about items in a job's own order.
func (r *rig) said(job string) map[string]*schemas.JobItem {
	r.t.Helper()
	m := map[string]*schemas.JobItem{}
	for _, it := range all[*schemas.JobItem](r, schemas.TopicJobItems) {
		if it.JobID == job {
			if m[it.Item] != nil {
				r.t.Errorf("item %s has two words by job %s", it.Item, job)
			}
			m[it.Item] = it
		}
	}
	return m
}
