package main

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tillstream/tillstream/connectors"
	"github.com/tillstream/tillstream/connectors/paypal"
	"github.com/tillstream/tillstream/embedded"
	"github.com/tillstream/tillstream/pipeline/ingest"
	"github.com/tillstream/tillstream/pipeline/kafka"
	"github.com/tillstream/tillstream/pipeline/store"
	"github.com/tillstream/tillstream/pipeline/store/redisstore"
	"github.com/tillstream/tillstream/processors"
	"github.com/tillstream/tillstream/processors/automation"
	"github.com/tillstream/tillstream/processors/orders"
	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/schemas/codec"
	"github.com/tillstream/tillstream/schemas/registry"
)

const testPartitions = 2

// told is a history that a faultless engine could have left, made by the plainest engine: one record at a time.
type told struct {
	t     *testing.T
	codec *codec.Codec
	rules automation.Rules
	past  *history
	book  map[string]int
	now   int64

	metas  map[stageSpot]*metaSeen
	times  map[stageSpot]int64
	orders map[string]orders.State
	people map[string]automation.State
	armed  map[int32]map[string]bool // contacts with timers, by partition
}

func newTold(t *testing.T) *told {
	t.Helper()
	services, err := embedded.Start(t.Context(), embedded.Options{
		Dir: t.TempDir(), Without: []string{embedded.Kafka, embedded.Redis, embedded.ClickHouse}, Log: zerolog.Nop(),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { services.Close() })
	client := registry.New(registry.Options{URL: services.RegistryURL})
	if err := client.Register(t.Context()); err != nil {
		t.Fatal(err)
	}
	w := &told{
		t: t, past: &history{records: map[spot][]*kgo.Record{}, ends: map[spot]int64{}}, book: map[string]int{}, now: storyStart.AddDate(1, 0, 0).UnixMilli(),
		metas: map[stageSpot]*metaSeen{}, times: map[stageSpot]int64{}, orders: map[string]orders.State{}, people: map[string]automation.State{},
		armed: map[int32]map[string]bool{0: {}, 1: {}},
	}
	if w.codec, err = codec.New(client); err != nil {
		t.Fatal(err)
	}
	root, err := fs.Sub(configFiles, "config")
	if err != nil {
		t.Fatal(err)
	}
	if w.rules, err = rulesIn(root, map[string]string{
		"CHAOS_INSTANCE": "x", "CHAOS_DIR": "x", "CHAOS_MANAGEMENT": "127.0.0.1:1", "CHAOS_REDIS": "127.0.0.1:1", "CHAOS_REGISTRY": "http://127.0.0.1:1",
		"CHAOS_CRM": "http://127.0.0.1:1", "CHAOS_CRM_KEY": "x", "CHAOS_PAYPAL_SECRET": "x",
		"CHAOS_BROKER_1": "127.0.0.1:1", "CHAOS_BROKER_2": "127.0.0.1:2", "CHAOS_BROKER_3": "127.0.0.1:3",
	}); err != nil {
		t.Fatal(err)
	}
	for _, topic := range topics {
		for p := range int32(testPartitions) {
			w.past.ends[spot{topic, p}] = 0
		}
	}
	w.play()
	return w
}

// play takes a story to its end. The inbox is read now and then, so that its records meet the events in any order.
func (w *told) play() {
	read := map[spot]int{}
	catchUp := func(topic string, take func(*kgo.Record)) {
		for p := range int32(testPartitions) {
			s := spot{topic, p}
			for ; read[s] < len(w.past.records[s]); read[s]++ {
				take(w.past.records[s][read[s]])
			}
		}
	}
	for i, s := range schedule(5, 400) {
		d := connectors.Delivery{
			Connection: s.event.Account, Environment: schemas.Sandbox, ID: fmt.Sprintf("%s-%d", s.event.ID, s.copy),
			Body: s.event.Body, ReceivedAt: time.UnixMilli(w.now + int64(i)).UTC(), Origin: schemas.OriginWebhook,
		}
		for _, e := range ingest.Events(paypal.Connector, d, nil) {
			w.book[sendKey(&e)]++
			w.append(schemas.TopicPayPalEvents, e.Key(), e.Key(), &e)
		}
		catchUp(schemas.TopicPayPalEvents, w.order)
		if i%3 == 0 {
			catchUp(schemas.TopicOrdersInbox, w.order)
			catchUp(schemas.TopicAutomationInbox, w.automate)
		}
		if i%20 == 0 {
			w.tick()
		}
	}
	for range 4 { // links lead to events sent on, and those to further links
		catchUp(schemas.TopicOrdersInbox, w.order)
		catchUp(schemas.TopicAutomationInbox, w.automate)
	}
	for range 60 { // until every wait has ended
		w.now += time.Second.Milliseconds()
		w.tick()
		catchUp(schemas.TopicAutomationInbox, w.automate)
	}
}

// tick appends a tick to each partition of automation's inbox; its watermark is a second old.
func (w *told) tick() {
	for p := range int32(testPartitions) {
		value, err := w.codec.Encode(&schemas.Tick{Owner: "x", At: time.UnixMilli(w.now).UTC(), Watermark: time.UnixMilli(w.now - 1000).UTC()})
		if err != nil {
			w.t.Fatal(err)
		}
		w.put(schemas.TopicAutomationInbox, p, "", value)
	}
}

func (w *told) append(topic, key, by string, rec schemas.Record) {
	w.t.Helper()
	value, err := w.codec.Encode(rec)
	if err != nil {
		w.t.Fatal(err)
	}
	w.put(topic, kafka.Partition([]byte(by), testPartitions), key, value)
}

func (w *told) put(topic string, partition int32, key string, value []byte) {
	s := spot{topic, partition}
	w.now += 7
	w.past.records[s] = append(w.past.records[s], &kgo.Record{
		Topic: topic, Partition: partition, Offset: 2 * w.past.ends[s], Key: []byte(key), Value: value, Timestamp: time.UnixMilli(w.now).UTC(),
	})
	w.past.ends[s]++
}

func (w *told) order(r *kgo.Record) {
	stage := orders.New(orders.Options{})
	in := w.input(stage.Name(), r)
	key, _ := stage.Key(in)
	next, outs, err := stage.Apply(w.orders[key], in)
	if err == nil {
		w.orders[key] = next
	}
	state, encodeErr := stage.Encode(next)
	w.close(stage.Name(), schemas.TopicOrdersChangelog, r, key, state, encodeErr, stage.Timers(next), outs, err)
}

func (w *told) automate(r *kgo.Record) {
	stage := automation.New(w.rules)
	in := w.input(stage.Name(), r)
	apply := func(key string, in processors.Input, timers int64) {
		next, outs, err := stage.Apply(w.people[key], in)
		if err == nil {
			w.people[key] = next
		}
		state, encodeErr := stage.Encode(w.people[key])
		list := stage.Timers(w.people[key])
		if w.armed[r.Partition][key] = true; len(list) == 0 {
			delete(w.armed[r.Partition], key)
		}
		w.answerAll(outs)
		w.meta(stageSpot{stage.Name(), r.Partition}).Counts.Timers += timers
		w.close(stage.Name(), schemas.TopicAutomationLog, r, key, state, encodeErr, list, outs, err)
	}
	for {
		var first *processors.Timer
		whose := ""
		for key := range w.armed[r.Partition] {
			for _, t := range stage.Timers(w.people[key]) {
				before := first == nil || t.At.Before(first.At) || t.At.Equal(first.At) && (key < whose || key == whose && t.ID < first.ID)
				if t.At.Before(in.At) && before {
					first, whose = &t, key
				}
			}
		}
		if first == nil {
			break
		}
		apply(whose, processors.Input{At: in.At, Key: whose, Topic: r.Topic, Timer: first}, 1)
		w.meta(stageSpot{stage.Name(), r.Partition}).Counts.Inputs-- // of close: the record is still to come
	}
	key, ok := stage.Key(in)
	if !ok {
		w.close(stage.Name(), schemas.TopicAutomationLog, r, "", nil, nil, nil, nil, nil)
		return
	}
	apply(key, in, 0)
}

// answerAll answers questions as a destination would, some with yes.
func (w *told) answerAll(outs []processors.Output) {
	for _, o := range outs {
		if q, ok := o.Record.(*schemas.Command); ok && q.Kind == schemas.CommandQuestion {
			standing := schemas.StandingAbsent
			if len(q.CommandID) > 0 && q.CommandID[0] < '8' {
				standing = schemas.StandingActive
			}
			w.append(schemas.TopicAutomationInbox, q.ContactKey, q.ContactKey, &schemas.ListAnswer{
				CommandID: q.CommandID, ContactKey: q.ContactKey, Destination: q.Destination, List: q.Effect.Name, Standing: standing,
			})
		}
	}
}

func (w *told) input(stage string, r *kgo.Record) processors.Input {
	at := stageSpot{stage, r.Partition}
	w.times[at] = max(w.times[at], r.Timestamp.UnixMilli())
	rec, err := w.codec.Decode(r.Value)
	if err != nil {
		w.t.Fatal(err)
	}
	return processors.Input{At: time.UnixMilli(w.times[at]).UTC(), Key: string(r.Key), Topic: r.Topic, Record: rec}
}

func (w *told) meta(at stageSpot) *metaSeen {
	m := w.metas[at]
	if m == nil {
		m = &metaSeen{Inputs: map[string]struct {
			TopicID string `json:"topic_id"`
			Next    int64  `json:"next"`
		}{}}
		m.Counts.Outputs = map[string]int64{}
		w.metas[at] = m
	}
	return m
}

// close is one transaction: outputs or a dead letter, the after-image, and the meta record.
func (w *told) close(stage, changelog string, r *kgo.Record, key string, state []byte, encodeErr error, timers []processors.Timer, outs []processors.Output, finding error) {
	at := stageSpot{stage, r.Partition}
	m := w.meta(at)
	if encodeErr != nil {
		w.t.Fatal(encodeErr)
	}
	if finding != nil {
		poison := finding.(*processors.Poison)
		w.append(schemas.TopicDeadLetters, letterID(r), letterID(r), &schemas.DeadLetter{
			ID: letterID(r), Stage: stage, Cause: poison.Cause, Reason: poison.Reason, Remedy: poison.Remedy, Topic: r.Topic, Offset: r.Offset,
		})
		m.Counts.DeadLetters++
	} else {
		for _, o := range outs {
			by := o.PartitionKey
			if by == "" {
				by = o.Key
			}
			w.append(o.Topic, o.Key, by, o.Record)
			m.Counts.Outputs[o.Topic]++
		}
		if key != "" {
			w.put(changelog, r.Partition, "k"+key, sealImage(state, timers))
		}
	}
	pos := m.Inputs[r.Topic]
	pos.Next = r.Offset + 1
	m.Inputs[r.Topic] = pos
	m.StreamTime = w.times[at]
	m.Counts.Inputs++
	raw, err := json.Marshal(m)
	if err != nil {
		w.t.Fatal(err)
	}
	w.put(changelog, r.Partition, metaKey, raw)
}

func sealImage(state []byte, timers []processors.Timer) []byte {
	deadline := int64(0)
	for _, t := range timers {
		if ms := t.At.UnixMilli(); deadline == 0 || ms < deadline {
			deadline = ms
		}
	}
	b := binary.AppendVarint([]byte{imageVersion}, deadline)
	return append(binary.AppendUvarint(b, 0), state...)
}

// check runs all comparisons of the topics.
func (w *told) check() (*checker, map[stageSpot]map[string][]byte) {
	w.t.Helper()
	c := newChecker(&findings{}, w.codec, w.rules, w.past)
	if err := c.decode(); err != nil {
		w.t.Fatal(err)
	}
	keys, images := c.compare(w.book)
	if keys < 50 {
		w.t.Fatalf("only %d keys", keys)
	}
	return c, images
}

func TestAFaultlessHistoryHasNoFindings(t *testing.T) {
	w := newTold(t)
	c, _ := w.check()
	if n := c.found.count(); n != 0 {
		t.Errorf("%d findings:\n%s", n, c.found)
	}
	for _, topic := range []string{schemas.TopicOrdersInbox, schemas.TopicTransitions, schemas.TopicAutomationInbox, schemas.TopicRuns, schemas.TopicCommands, schemas.TopicDeadLetters} {
		if len(w.past.of(topic)) == 0 {
			t.Errorf("nothing is on %s: the history proves nothing about it", topic)
		}
	}
	if s := c.waits; s.met == 0 || s.notMet == 0 || s.corrected == 0 || s.fired == 0 || s.answers == 0 || s.open != 0 || len(c.links) == 0 {
		t.Errorf("the history proves less than it should of waits, names and answers: %d met, %d not, %d corrected, %d open, %d timers, %d answers, %d names",
			s.met, s.notMet, s.corrected, s.open, s.fired, s.answers, len(c.links))
	}
}

// offsets are those of a stage's group, where its state stands.
func (w *told) offsets(stage string) kadm.OffsetResponses {
	all := kadm.OffsetResponses{}
	for at, m := range w.metas {
		for topic, pos := range m.Inputs {
			if at.stage == stage {
				all.Add(kadm.OffsetResponse{Offset: kadm.Offset{Topic: topic, Partition: at.partition, At: pos.Next}})
			}
		}
	}
	return all
}

// The last process may write a tick as it leaves, which nobody reads any more.
func TestAnUnreadTickAtTheEndIsNoFinding(t *testing.T) {
	w := newTold(t)
	w.tick()
	checked, _ := w.check()
	checked.offsets("automation", reads["tillstream-automation"], w.offsets("automation"))
	if n := checked.found.count(); n != 0 {
		t.Errorf("%d findings:\n%s", n, checked.found)
	}
}

func TestOffsetsThatDifferFromTheStateAreFound(t *testing.T) {
	w := newTold(t)
	for name, c := range map[string]struct {
		spoil func(kadm.OffsetResponses)
		want  bool
	}{
		"equal":      {func(kadm.OffsetResponses) {}, false},
		"one behind": {func(o kadm.OffsetResponses) { shift(o, -1) }, true},
		"one ahead":  {func(o kadm.OffsetResponses) { shift(o, 1) }, true},
		"gone":       {func(o kadm.OffsetResponses) { delete(o, schemas.TopicPayPalEvents) }, true},
	} {
		checked, _ := w.check()
		group := w.offsets("orders")
		c.spoil(group)
		checked.offsets("orders", reads["tillstream-orders"], group)
		if got := checked.found.count() > 0; got != c.want {
			t.Errorf("%s: found %v, want %v: %s", name, got, c.want, checked.found)
		}
	}
}

func shift(o kadm.OffsetResponses, by int64) {
	p := o[schemas.TopicPayPalEvents][0]
	p.At += by
	o[schemas.TopicPayPalEvents][0] = p
}

func TestAStoreThatDiffersFromTheChangelogIsFound(t *testing.T) {
	w := newTold(t)
	for name, spoil := range map[string]func(*miniredis.Miniredis, string){
		"":                     func(*miniredis.Miniredis, string) {},
		"an image is lost":     func(m *miniredis.Miniredis, key string) { fields, _ := m.HKeys(key); m.HDel(key, fields[0]) },
		"an image is another":  func(m *miniredis.Miniredis, key string) { fields, _ := m.HKeys(key); m.HSet(key, fields[0], "x") },
		"an image is too many": func(m *miniredis.Miniredis, key string) { m.HSet(key, "nobody", "x") },
		"a timer is lost": func(m *miniredis.Miniredis, key string) {
			timers := strings.TrimSuffix(key, "images") + "timers"
			members, _ := m.ZMembers(timers)
			_, _ = m.ZRem(timers, members[0])
		},
		"it stands elsewhere": func(m *miniredis.Miniredis, key string) {
			m.HSet(key[:strings.Index(key, "}")+1]+":fence", "applied", "3")
		},
	} {
		checked, images := w.check()
		m := miniredis.RunT(t)
		client := redis.NewClient(&redis.Options{Addr: m.Addr()})
		t.Cleanup(func() { client.Close() })
		for at, list := range images {
			fillStore(t, redisstore.New(client).Partition(store.ID{Stage: at.stage, Partition: at.partition}), list, checked.counts[at].raw,
				w.past.last(spot{changelogOf(at.stage), at.partition}))
		}
		// Offsets of the made-up logs are two apart, as if a marker followed each record.
		for s := range w.past.ends {
			w.past.ends[s] = w.past.last(s) + 1
		}
		keys, err := client.Keys(t.Context(), "{orders:0}:*:images").Result()
		if err != nil || len(keys) != 1 {
			t.Fatalf("the images of orders/0 are in %v, %v", keys, err)
		}
		spoil(m, keys[0])
		if err := checked.store(t.Context(), client, images); err != nil {
			t.Fatal(err)
		}
		if got, want := checked.found.count() > 0, name != ""; got != want {
			t.Errorf("%q: found %v, want %v: %s", name, got, want, checked.found)
		}
	}
}

func fillStore(t *testing.T, part store.Partition, images map[string][]byte, meta []byte, applied int64) {
	t.Helper()
	claim, err := part.Claim(t.Context(), "test")
	if err != nil {
		t.Fatal(err)
	}
	fence, err := part.Rebuild(t.Context(), claim.Fence, "chg", 0)
	if err != nil {
		t.Fatal(err)
	}
	b := store.Batch{To: applied, Meta: meta, At: time.Now()}
	for _, key := range sortedKeys(images) {
		_, deadline, err := openImage(images[key])
		if err != nil {
			t.Fatal(err)
		}
		b.Images = append(b.Images, store.Image{Key: key, Value: images[key], Deadline: deadline})
	}
	if fence, err = part.Apply(t.Context(), fence, b); err == nil {
		_, err = part.Switch(t.Context(), fence)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func FuzzOpenImage(f *testing.F) {
	f.Add(sealImage([]byte("state"), nil))
	f.Add(sealImage(nil, []processors.Timer{{At: storyStart, ID: "x"}}))
	f.Add([]byte{imageVersion, 0, 1, 2, 200, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		state, _, err := openImage(b)
		if err == nil && len(state) > len(b) {
			t.Errorf("%d bytes hold a state of %d", len(b), len(state))
		}
	})
}
