package pipeline

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tillstream/tillstream/embedded/linger"
	"github.com/tillstream/tillstream/pipeline/kafka"
	"github.com/tillstream/tillstream/pipeline/store"
	"github.com/tillstream/tillstream/pipeline/store/memstore"
	"github.com/tillstream/tillstream/processors"
	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/schemas/codec"
)

const (
	testIn, testInbox, testChangelog = "in", "inbox", "chg"
	testOut                          = "out"
)

// tally counts the events of a key, remembers their ids, and arms timers on request. What an event does is its
// EventType; "arm" takes CustomID "id@delay".
type tally struct{}

type tallyState struct {
	N      int          `json:"n"`
	Seen   []string     `json:"seen,omitempty"`
	Timers []tallyTimer `json:"timers,omitempty"`
	Done   bool         `json:"done,omitempty"`
}

type tallyTimer struct {
	At time.Time `json:"at"`
	ID string    `json:"id"`
}

func (s tallyState) Forget() bool { return s.Done }

func (tally) Name() string                            { return "tally" }
func (tally) Version() processors.StageVersion        { return 1 }
func (tally) Encode(s tallyState) ([]byte, error)     { return json.Marshal(s) }
func (tally) Decode(b []byte) (s tallyState, _ error) { return s, json.Unmarshal(b, &s) }
func (tally) Key(in processors.Input) (key string, _ bool) {
	ev, ok := in.Record.(*schemas.OrderEvent)
	if !ok || ev.EventType == "ignore" {
		return "", false
	}
	return in.Key, true
}

func (tally) Timers(s tallyState) (out []processors.Timer) {
	for _, t := range s.Timers {
		out = append(out, processors.Timer{At: t.At, ID: t.ID})
	}
	return out
}

func (tally) Apply(s tallyState, in processors.Input) (tallyState, []processors.Output, error) {
	say := func(why string) []processors.Output {
		return []processors.Output{{Topic: testOut, Key: in.Key, Record: &schemas.Transition{RootKey: in.Key, Number: int64(s.N), Why: why, At: in.At}}}
	}
	s.N++
	if t := in.Timer; t != nil {
		switch {
		case strings.HasPrefix(t.ID, "bad"):
			return s, nil, errors.New("bad timer")
		case strings.HasPrefix(t.ID, "chain"):
			s.Timers = []tallyTimer{{At: t.At.Add(time.Millisecond), ID: "chain"}}
		case !strings.HasPrefix(t.ID, "stuck"):
			s.Timers = slices.DeleteFunc(slices.Clone(s.Timers), func(o tallyTimer) bool { return o.ID == t.ID && o.At.Equal(t.At) })
		}
		return s, say("timer " + t.ID), nil
	}
	ev := in.Record.(*schemas.OrderEvent)
	if slices.Contains(s.Seen, ev.EventID) {
		s.N--
		return s, nil, nil
	}
	s.Seen = append(slices.Clip(s.Seen), ev.EventID)
	switch ev.EventType {
	case "panic":
		panic("asked to")
	case "refuse":
		return s, nil, &processors.Poison{Cause: schemas.CauseQuarantined, Reason: "seen before", Remedy: "compare both"}
	case "fail":
		return s, nil, errors.New("asked to fail")
	case "forget":
		s.Done = true
	case "arm":
		id, delay, _ := strings.Cut(ev.CustomID, "@")
		d, err := time.ParseDuration(delay)
		if err != nil {
			return s, nil, err
		}
		s.Timers = append(slices.Clip(s.Timers), tallyTimer{At: in.At.Add(d), ID: id})
	}
	return s, say(ev.EventID), nil
}

// world is a Kafka, a store and the engines on them, all in virtual time: use it inside synctest.Test.
type world struct {
	t       testing.TB
	net     *kfake.VirtualNetwork
	at      time.Time // when set, what the next events are stamped
	kafka   *kfake.Cluster
	store   *memstore.Store
	codec   *codec.Codec
	side    *kgo.Client
	inputs  []string
	options func(*EngineOptions)
	lose    func() bool
	n       int
}

func newWorld(t testing.TB, partitions int32) *world {
	t.Helper()
	w := &world{t: t, store: memstore.New(), codec: codec.NewLocal(), inputs: []string{testIn}}
	w.startKafka(partitions)
	return w
}

func (w *world) startKafka(partitions int32) {
	w.t.Helper()
	w.net = new(kfake.VirtualNetwork)
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.ListenFn(linger.Listen(w.net.Listen)))
	if err != nil {
		w.t.Fatal(err)
	}
	w.kafka = c
	w.t.Cleanup(c.Close)
	o := kafka.Options{Brokers: c.ListenAddrs(), Extra: []kgo.Opt{kgo.Dialer(w.net.DialContext)}}
	specs := []kafka.TopicSpec{
		{Name: testIn, Partitions: partitions, Retention: kafka.InputRetention, Together: "t"},
		{Name: testInbox, Partitions: partitions, Retention: kafka.InputRetention, Together: "t"},
		{Name: testChangelog, Partitions: partitions, Compacted: true, Together: "t"},
		{Name: testOut, Partitions: partitions, Retention: kafka.InputRetention},
		{Name: schemas.TopicDeadLetters, Partitions: 1, Retention: kafka.InputRetention},
	}
	if err := kafka.EnsureTopics(w.t.Context(), o, specs); err != nil {
		w.t.Fatal(err)
	}
	if w.side, err = o.Client(); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(w.side.Close)
}

// wire is the network of one process: cutting it is what the others see of a kill.
type wire struct {
	dial  func(context.Context, string, string) (net.Conn, error)
	lose  func() bool // whether to lose the answer to an EndTxn
	mu    sync.Mutex
	conns []net.Conn
	cut   bool
}

// lossy closes a connection after an EndTxn went out on it, before the answer.
type lossy struct {
	net.Conn
	lose func() bool
}

func (c lossy) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	const key = 26 // EndTxn; the frame is length (4), key (2)
	if err == nil && len(b) > 6 && binary.BigEndian.Uint16(b[4:]) == key && c.lose() {
		c.Close()
	}
	return n, err
}

func (n *wire) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.cut {
		return nil, &net.OpError{Op: "dial", Err: errors.New("the process is dead")}
	}
	c, err := n.dial(ctx, network, addr)
	if err == nil {
		n.conns = append(n.conns, c)
		if n.lose != nil {
			c = lossy{c, n.lose}
		}
	}
	return c, err
}

func (n *wire) kill() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cut = true
	for _, c := range n.conns {
		c.Close()
	}
}

// mortal is the store as one process sees it.
type mortal struct {
	store.Store
	n *wire
}

func (m mortal) Partition(id store.ID) store.Partition { return mortalPart{m.Store.Partition(id), m.n} }

type mortalPart struct {
	store.Partition
	n *wire
}

func (p mortalPart) Apply(ctx context.Context, f store.Fence, b store.Batch) (store.Fence, error) {
	p.n.mu.Lock()
	dead := p.n.cut
	p.n.mu.Unlock()
	if dead {
		return f, fmt.Errorf("%w: the process is dead", store.ErrUnavailable)
	}
	return p.Partition.Apply(ctx, f, b)
}

type process struct {
	*Engine
	w      *world
	wire   *wire
	cancel context.CancelFunc
	done   chan struct{}
}

func (w *world) start(instance string) *process {
	w.t.Helper()
	wr := &wire{dial: w.net.DialContext, lose: w.lose}
	o := EngineOptions{
		Kafka: kafka.Options{Brokers: w.kafka.ListenAddrs(), Extra: []kgo.Opt{kgo.Dialer(wr.DialContext)}},
		Store: mortal{w.store, wr}, Codec: w.codec, Instance: instance, RulesHash: "r1", Log: zerolog.Nop(),
		Topology: Topology{Stage: Bind(tally{}), Inputs: w.inputs, Inbox: w.inputs[len(w.inputs)-1], Changelog: testChangelog, Group: "g"},
	}
	if testing.Verbose() {
		o.Log = zerolog.New(zerolog.NewTestWriter(w.t)).Level(zerolog.InfoLevel).With().Str("instance", instance).Logger()
	}
	if w.options != nil {
		w.options(&o)
	}
	e, err := NewEngine(o)
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	p := &process{Engine: e, w: w, wire: wr, cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(p.done)
		if err := e.Run(ctx); err != nil {
			w.t.Errorf("Run: %v", err)
		}
	}()
	return p
}

// stop ends the process cleanly, within 10 s.
func (p *process) stop() {
	p.w.t.Helper()
	began := time.Now()
	p.cancel()
	select {
	case <-p.done:
	case <-time.After(10 * time.Second):
		stacks := make([]byte, 1<<20)
		for g := range strings.SplitSeq(string(stacks[:runtime.Stack(stacks, true)]), "\n\n") {
			if strings.Contains(g, "(*lane)") {
				p.w.t.Logf("still at work: %s", g)
			}
		}
	}
	<-p.done
	if took := time.Since(began); took > 10*time.Second {
		p.w.t.Errorf("stopping took %v, want at most 10 s", took)
	}
}

// kill ends the process without a farewell.
func (p *process) kill() {
	p.wire.kill()
	p.cancel()
	<-p.done
}

// send appends events, one per "key type [custom]" line, in order.
func (w *world) send(topic string, lines ...string) {
	w.t.Helper()
	for _, line := range lines {
		f := strings.Fields(line)
		w.n++
		ev := &schemas.OrderEvent{EventID: fmt.Sprintf("e%d", w.n), EventType: f[1]}
		if len(f) > 2 {
			ev.CustomID = f[2]
		}
		if ev.EventType == "again" {
			ev.EventID = f[2]
		}
		b, err := w.codec.Encode(ev)
		if err != nil {
			w.t.Fatal(err)
		}
		w.append(topic, f[0], b)
	}
}

func (w *world) append(topic, key string, value []byte) {
	w.t.Helper()
	r := &kgo.Record{Topic: topic, Key: []byte(key), Value: value}
	if !w.at.IsZero() { // the broker's clock is far ahead: the stamp and its slack decide
		r.Headers = []kgo.RecordHeader{{Key: HeaderStamp, Value: strconv.AppendInt(nil, w.at.Add(-stampSlack).UnixMilli(), 10)}}
	}
	if err := w.side.ProduceSync(context.Background(), r).FirstErr(); err != nil {
		w.t.Fatal(err)
	}
}

// read returns the committed records of a topic, by partition.
func (w *world) read(topic string) map[int32][]*kgo.Record {
	w.t.Helper()
	info, err := kafka.DescribeTopic(context.Background(), w.side, topic)
	if err != nil {
		w.t.Fatal(err)
	}
	out := map[int32][]*kgo.Record{}
	for p := range info.Count {
		start, end, err := kafka.Bounds(context.Background(), w.side, topic, p)
		if err != nil {
			w.t.Fatal(err)
		}
		err = kafka.NewReader(w.side, topic, p, start).ReadTo(context.Background(), end, time.Minute, time.Now, func(rs []*kgo.Record, _ int64) error {
			out[p] = append(out[p], rs...)
			return nil
		})
		if err != nil {
			w.t.Fatal(err)
		}
	}
	return out
}

// history is what was committed to the output, per key: "number why".
func (w *world) history() map[string][]string {
	w.t.Helper()
	out := map[string][]string{}
	for _, rs := range w.read(testOut) {
		for _, r := range rs {
			rec, err := w.codec.Decode(r.Value)
			if err != nil {
				w.t.Fatal(err)
			}
			tr := rec.(*schemas.Transition)
			out[string(r.Key)] = append(out[string(r.Key)], fmt.Sprintf("%d %s", tr.Number, tr.Why))
		}
	}
	return out
}

func (w *world) letters() (out []*schemas.DeadLetter) {
	w.t.Helper()
	for _, r := range w.read(schemas.TopicDeadLetters)[0] {
		rec, err := w.codec.Decode(r.Value)
		if err != nil {
			w.t.Fatal(err)
		}
		out = append(out, rec.(*schemas.DeadLetter))
	}
	return out
}

// fold is the reference: every input partition read from its start by the plainest code that can be right. Only for
// a single input.
func (w *world) fold() (history map[string][]string, states map[string]string) {
	w.t.Helper()
	history, states = map[string][]string{}, map[string]string{}
	for _, rs := range w.read(w.inputs[0]) {
		live := map[string]tallyState{}
		step := func(key string, in processors.Input) {
			defer func() { _ = recover() }()
			s, outs, err := tally{}.Apply(live[key], in)
			if err != nil {
				return
			}
			if live[key] = s; s.Done {
				delete(live, key)
			}
			for _, o := range outs {
				tr := o.Record.(*schemas.Transition)
				history[o.Key] = append(history[o.Key], fmt.Sprintf("%d %s", tr.Number, tr.Why))
			}
		}
		var now time.Time
		for _, r := range rs {
			at := time.UnixMilli(stamp(r)).UTC()
			if at.Before(now) {
				at = now
			}
			for {
				key, t, ok := earliest(live)
				if !ok || !t.At.Before(at) {
					break
				}
				step(key, processors.Input{At: at, Key: key, Timer: &t})
			}
			now = at
			rec, err := w.codec.Decode(r.Value)
			if err != nil {
				continue
			}
			in := processors.Input{At: at, Key: string(r.Key), Topic: r.Topic, Record: rec}
			if key, ok := (tally{}).Key(in); ok {
				step(key, in)
			}
		}
		for k, s := range live {
			b, _ := tally{}.Encode(s)
			states[k] = string(b)
		}
	}
	return history, states
}

func earliest(live map[string]tallyState) (key string, first processors.Timer, ok bool) {
	for k, s := range live {
		for _, t := range (tally{}).Timers(s) {
			c := t.At.Compare(first.At)
			if !ok || c < 0 || c == 0 && (k < key || k == key && t.ID < first.ID) {
				key, first, ok = k, t, true
			}
		}
	}
	return key, first, ok
}

// settle waits until every partition runs and nothing is left to read.
func (w *world) settle(ps ...*process) {
	w.t.Helper()
	for deadline := time.Now().Add(5 * time.Minute); ; time.Sleep(100 * time.Millisecond) {
		err := w.behind(ps...)
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			w.t.Fatalf("not settled within 5 virtual minutes: %v", err)
		}
	}
}

func (w *world) behind(ps ...*process) error {
	parts := map[int32]PartitionStatus{}
	for _, p := range ps {
		if err := p.Ready(); err != nil {
			return err
		}
		for _, s := range p.Status() {
			parts[s.Partition] = s
		}
	}
	info, err := kafka.DescribeTopic(context.Background(), w.side, w.inputs[0])
	if err != nil {
		return err
	}
	for p := range info.Count {
		for _, topic := range w.inputs {
			_, end, err := kafka.Bounds(context.Background(), w.side, topic, p)
			if err != nil {
				return err
			}
			if s, ok := parts[p]; !ok || s.Offsets[topic] != end {
				return fmt.Errorf("%s/%d ends at %d, status %+v", topic, p, end, s)
			}
		}
	}
	return nil
}

// check compares outputs and states with the fold, byte for byte, and the store with the changelog.
func (w *world) check() {
	w.t.Helper()
	history, states := w.fold()
	if diff := cmp.Diff(history, w.history()); diff != "" {
		w.t.Errorf("output history per key (-fold +got):\n%s", diff)
	}
	got := map[string]string{}
	for p, rs := range w.read(testChangelog) {
		last := map[string][]byte{}
		for _, r := range rs {
			if k, ok := strings.CutPrefix(string(r.Key), stateKeyPrefix); ok {
				last[k] = r.Value
			}
		}
		for k, v := range last {
			if v == nil {
				delete(last, k)
				continue
			}
			env, err := decodeEnvelope(v)
			if err != nil {
				w.t.Fatal(err)
			}
			got[k] = string(env.state)
		}
		if diff := cmp.Diff(last, w.store.Images(store.ID{Stage: "tally", Partition: p}), equateEmpty); diff != "" {
			w.t.Errorf("partition %d (-changelog +store):\n%s", p, diff)
		}
	}
	if diff := cmp.Diff(states, got); diff != "" {
		w.t.Errorf("states (-fold +changelog):\n%s", diff)
	}
}

var equateEmpty = cmp.FilterValues(func(a, b map[string][]byte) bool { return len(a) == 0 && len(b) == 0 }, cmp.Ignore())

func lines(format string, n int) (out []string) {
	for i := range n {
		out = append(out, strings.ReplaceAll(format, "#", strconv.Itoa(i)))
	}
	return out
}
