package enrich

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tillstream/tillstream/connectors"
	"github.com/tillstream/tillstream/pipeline/ingest"
	"github.com/tillstream/tillstream/pipeline/kafka"
	"github.com/tillstream/tillstream/schemas"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func event(kind schemas.EventKind, root, entity string, links ...schemas.Link) schemas.OrderEvent {
	return schemas.OrderEvent{
		EventID: "E-" + entity, Kind: kind, Environment: schemas.Sandbox, Connection: "eu", RootID: root, EntityID: entity,
		Links: links, Body: []byte("{}"),
	}
}

func refund() *schemas.OrderEvent {
	e := event(schemas.KindRefund, "C1", "R1", schemas.Link{Relation: schemas.LinkCapture, ID: "C1"})
	return &e
}

// applied is what the orders stage says about an event; contact "" where it knows none.
func applied(e *schemas.OrderEvent, d schemas.Disposition, contact string) *schemas.Transition {
	return &schemas.Transition{RootKey: e.Key(), Disposition: d, Event: *e, ContactKey: contact}
}

func TestWhatIsMissing(t *testing.T) {
	capture := event(schemas.KindPayment, "O1", "C1", schemas.Link{Relation: schemas.LinkOrder, ID: "O1"})
	order := event(schemas.KindOrder, "O1", "O1")
	foreign := *refund()
	foreign.Connection = "cannot-be-asked"
	broken := *refund()
	broken.Problem = "no JSON"
	for name, c := range map[string]struct {
		records []schemas.Record
		want    []string
	}{
		"a refund that names only its payment": {[]schemas.Record{refund()}, []string{"order of sandbox/eu/E-R1"}},
		"until it was applied":                 {[]schemas.Record{refund(), applied(refund(), schemas.Changed, "sandbox/ana@example.com")}, nil},
		"a capture that names its order":       {[]schemas.Record{&capture}, nil},
		"an order without a customer":          {[]schemas.Record{applied(&capture, schemas.Changed, "")}, []string{"customer of sandbox/eu/O1"}},
		"until any event of it says who":       {[]schemas.Record{applied(&capture, schemas.Changed, ""), applied(&order, schemas.Late, "sandbox/ana@example.com")}, nil},
		"once, however many events lack it":    {[]schemas.Record{applied(&capture, schemas.Changed, ""), applied(&capture, schemas.Recorded, "")}, []string{"customer of sandbox/eu/O1"}},
		"a repetition lacks nothing":           {[]schemas.Record{applied(&capture, schemas.Duplicate, "")}, nil},
		"a connection that cannot be asked":    {[]schemas.Record{&foreign}, nil},
		"a body that was not understood":       {[]schemas.Record{&broken}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBook(time.Minute, 10, func(_ schemas.Environment, name string) bool { return name == "eu" })
			for i, r := range c.records {
				b.see(r, position{"t", 0, int64(i)}, noon)
			}
			if early := b.due(noon.Add(time.Minute - 1)); len(early) > 0 {
				t.Errorf("asked for %s within the grace", early[0].key)
			}
			var got []string
			for _, l := range b.due(noon.Add(time.Minute)) {
				got = append(got, l.key)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("missing (-want +got):\n%s", diff)
			}
		})
	}
}

func TestOffsetsStayBehindWhatIsMissing(t *testing.T) {
	b := newBook(time.Minute, 10, func(schemas.Environment, string) bool { return true })
	b.see(refund(), position{"t", 0, 7}, noon)
	if got := b.safe("t", 0, 20); got != 7 {
		t.Errorf("got %d, want 7: the refund at 7 lacks its order", got)
	}
	if got := b.safe("t", 1, 20); got != 20 {
		t.Errorf("another partition: got %d, want 20", got)
	}
	b.settle(b.due(noon.Add(time.Hour))[0], noon)
	if got := b.safe("t", 0, 20); got != 20 {
		t.Errorf("answered: got %d, want 20", got)
	}
	b.see(refund(), position{"t", 0, 8}, noon)
	if len(b.lacks) != 0 {
		t.Error("what was answered a moment ago is asked for again")
	}
	other := event(schemas.KindRefund, "C2", "R2")
	b.see(&other, position{"t", 3, 1}, noon)
	b.forget(func(_ string, partition int32) bool { return partition == 3 })
	if len(b.lacks) != 0 {
		t.Error("a partition that went to somebody else is still asked for")
	}
}

func TestTheBookIsBounded(t *testing.T) {
	b := newBook(time.Minute, 3, func(schemas.Environment, string) bool { return true })
	for i := range 5 {
		e := event(schemas.KindRefund, "C", fmt.Sprint(i))
		b.see(&e, position{"t", 0, int64(i)}, noon)
	}
	if len(b.lacks) != 3 || b.dropped != 2 {
		t.Errorf("got %d kept and %d dropped, want 3 and 2", len(b.lacks), b.dropped)
	}
}

// provider answers for payments; the first answers fail.
type provider struct {
	mu    sync.Mutex
	fails int
	asked []string
}

func (p *provider) Fetch(_ context.Context, e *schemas.OrderEvent) (connectors.Delivery, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked = append(p.asked, e.EventID)
	switch {
	case e.EntityID == "gone":
		return connectors.Delivery{}, fmt.Errorf("payment C9: %w", connectors.ErrNotThere)
	case len(p.asked) <= p.fails:
		return connectors.Delivery{}, errors.New("connection reset")
	}
	return connectors.Delivery{ID: "fetched", Body: []byte(`{"order":"O1"}`)}, nil
}

// TestWhatIsMissingIsFetchedAndKept: over Kafka, from the event that lacks its order to the fetched record on the topic.
func TestWhatIsMissingIsFetchedAndKept(t *testing.T) {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(2, schemas.TopicPayPalEvents, schemas.TopicStoreOrders, schemas.TopicTransitions))
	if err != nil {
		t.Fatal(err)
	}
	defer cluster.Close()
	o := kafka.Options{Brokers: cluster.ListenAddrs()}
	cl, err := o.Client(kgo.ConsumeTopics(schemas.TopicPayPalEvents))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	encode := func(r schemas.Record) ([]byte, error) { return json.Marshal(r) }
	keeper := ingest.Keeper{Appender: ingest.KafkaAppender{Client: cl}, Encode: encode}
	c := connectors.Connector{
		Type: "twin", Topic: schemas.TopicPayPalEvents,
		Normalize: func(d connectors.Delivery) ([]schemas.OrderEvent, error) {
			e := event(schemas.KindPayment, "O1", "C1", schemas.Link{Relation: schemas.LinkOrder, ID: "O1"})
			e.EventID, e.Origin, e.Body = "fetched", d.Origin, d.Body
			return []schemas.OrderEvent{e}, nil
		},
	}
	gone := event(schemas.KindRefund, "C9", "gone")
	for _, e := range []*schemas.OrderEvent{refund(), &gone} {
		v, _ := encode(e)
		if err := keeper.Appender.Append(t.Context(), schemas.TopicPayPalEvents, e.Key(), v); err != nil {
			t.Fatal(err)
		}
	}
	p := &provider{}
	e, err := New(Options{
		Kafka: o, Group: "enrich", Keeper: keeper, Grace: time.Millisecond, Log: zerolog.Nop(),
		Decode: func(b []byte) (schemas.Record, error) {
			var e schemas.OrderEvent
			return &e, json.Unmarshal(b, &e)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	e.Set([]Connection{{Name: "eu", Environment: schemas.Sandbox, Connector: c, Fetcher: p}})
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second) // the bound of the test
	done := make(chan error, 1)
	go func() { done <- e.Run(ctx) }()
	for found := false; !found; {
		fetches := cl.PollFetches(ctx)
		if ctx.Err() != nil {
			t.Fatalf("nothing was fetched; asked: %v", p.asked)
		}
		fetches.EachRecord(func(rec *kgo.Record) {
			var got schemas.OrderEvent
			if json.Unmarshal(rec.Value, &got) == nil && got.EventID == "fetched" {
				found = true
				if got.Origin != schemas.OriginPoll || string(rec.Key) != "sandbox/eu/O1" {
					t.Errorf("got %s under %s, want origin POLL under the order's key", got.Origin, rec.Key)
				}
			}
		})
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v at the end", err)
	}
}

func TestFailuresAreTriedAgainAndGivenUp(t *testing.T) {
	e, err := New(Options{Decode: func([]byte) (schemas.Record, error) { return nil, nil }, Group: "g", Log: zerolog.Nop(), Grace: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	e.Set([]Connection{{Name: "eu", Environment: schemas.Sandbox, Fetcher: &provider{}}})
	e.book.see(refund(), position{"t", 0, 1}, noon)
	now := noon
	var waits []time.Duration
	for range TriesMax {
		now = now.Add(time.Second)
		due := e.book.due(now)
		if len(due) != 1 {
			t.Fatalf("got %d due after %v", len(due), waits)
		}
		due[0].tries++
		e.results <- result{due[0], errors.New("connection reset")}
		e.take(now)
		if len(e.book.lacks) == 0 {
			break
		}
		waits = append(waits, due[0].due.Sub(now))
		now = due[0].due
	}
	want := []time.Duration{30 * time.Second, time.Minute, 2 * time.Minute, 4 * time.Minute, 8 * time.Minute, 15 * time.Minute, 15 * time.Minute}
	if diff := cmp.Diff(want, waits); diff != "" {
		t.Errorf("waits (-want +got):\n%s", diff)
	}
	if len(e.book.lacks) != 0 {
		t.Error("it is never given up")
	}
}

// TestAStopWaitsForNobodyElse: another member holds up the group's rebalance, so that this one is joining still.
func TestAStopWaitsForNobodyElse(t *testing.T) {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, schemas.TopicPayPalEvents, schemas.TopicStoreOrders, schemas.TopicTransitions))
	if err != nil {
		t.Fatal(err)
	}
	defer cluster.Close()
	o := kafka.Options{Brokers: cluster.ListenAddrs()}
	other, err := o.Client(kgo.ConsumerGroup("enrich"), kgo.ConsumeTopics(schemas.TopicPayPalEvents), kgo.BlockRebalanceOnPoll(), kgo.RebalanceTimeout(5*time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	defer other.CloseAllowingRebalance()
	if err := other.ProduceSync(t.Context(), &kgo.Record{Topic: schemas.TopicPayPalEvents, Value: []byte("x")}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	other.PollFetches(t.Context()) // and never AllowRebalance
	joining := make(chan struct{}, 8)
	cluster.ControlKey(int16(kmsg.JoinGroup), func(kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		joining <- struct{}{}
		return nil, nil, false
	})
	e, err := New(Options{Kafka: o, Group: "enrich", Log: zerolog.Nop(), Decode: func([]byte) (schemas.Record, error) { return nil, errors.New("none") }})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- e.Run(ctx) }()
	<-joining
	cancel()
	bound, release := context.WithTimeout(t.Context(), 30*time.Second) // far below the rebalance's five minutes
	defer release()
	select {
	case err := <-done:
		if !errors.Is(err, context.Canceled) {
			t.Errorf("got %v at the end", err)
		}
	case <-bound.Done():
		t.Error("it still waits for the group")
	}
}
