package main

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io/fs"
	"slices"
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
		t: t, past: &history{records: map[spot][]*kgo.Record{}, ends: map[spot]int64{}}, book: map[string]int{}, now: storyStart.UnixMilli(),
		metas: map[stageSpot]*metaSeen{}, times: map[stageSpot]int64{}, orders: map[string]orders.State{}, people: map[string]automation.State{},
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
		}
	}
	for range 4 { // links lead to events sent on, and those to further links
		catchUp(schemas.TopicOrdersInbox, w.order)
	}
	catchUp(schemas.TopicAutomationInbox, w.automate)
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
	key, _ := stage.Key(in)
	next, outs, err := stage.Apply(w.people[key], in)
	if err == nil {
		w.people[key] = next
	}
	state, encodeErr := stage.Encode(next)
	w.close(stage.Name(), schemas.TopicAutomationLog, r, key, state, encodeErr, nil, outs, err)
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

// close is one transaction: outputs or a dead letter, the after-image, and the meta record.
func (w *told) close(stage, changelog string, r *kgo.Record, key string, state []byte, encodeErr error, timers []processors.Timer, outs []processors.Output, finding error) {
	at := stageSpot{stage, r.Partition}
	m := w.metas[at]
	if m == nil {
		m = &metaSeen{Inputs: map[string]struct {
			TopicID string `json:"topic_id"`
			Next    int64  `json:"next"`
		}{}}
		m.Counts.Outputs = map[string]int64{}
		w.metas[at] = m
	}
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
		w.put(changelog, r.Partition, "k"+key, sealImage(state, timers))
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
	for _, topic := range []string{schemas.TopicOrdersInbox, schemas.TopicTransitions, schemas.TopicAutomationInbox, schemas.TopicCommands, schemas.TopicDeadLetters} {
		if len(w.past.of(topic)) == 0 {
			t.Errorf("nothing is on %s: the history proves nothing about it", topic)
		}
	}
}

// Each spoils a faultless history in one way that a broken engine could, and names the check that must see it.
func TestEverySpoiltHistoryIsFound(t *testing.T) {
	drop := func(topic string) func(*told) {
		return func(w *told) {
			s := w.longest(topic)
			w.past.records[s] = slices.Delete(slices.Clone(w.past.records[s]), 5, 6)
		}
	}
	double := func(topic string) func(*told) {
		return func(w *told) {
			s := w.longest(topic)
			again := *w.past.records[s][5]
			again.Offset = w.past.records[s][len(w.past.records[s])-1].Offset + 1
			w.past.records[s] = append(slices.Clone(w.past.records[s]), &again)
		}
	}
	swap := func(topic string) func(*told) {
		return func(w *told) {
			s := w.longest(topic)
			list := slices.Clone(w.past.records[s])
			for i := range list {
				for j := i + 1; j < len(list); j++ {
					if string(list[i].Key) == string(list[j].Key) && string(list[i].Value) != string(list[j].Value) {
						a, b := *list[i], *list[j]
						a.Value, b.Value = b.Value, a.Value
						list[i], list[j] = &a, &b
						w.past.records[s] = list
						return
					}
				}
			}
			w.t.Fatalf("no key is twice on %s", topic)
		}
	}
	for name, c := range map[string]struct {
		spoil func(*told)
		kind  string
	}{
		"an input is lost":                     {drop(schemas.TopicPayPalEvents), "input:"},
		"an input is there twice":              {double(schemas.TopicPayPalEvents), "input:"},
		"a transition is lost":                 {drop(schemas.TopicTransitions), "orders:"},
		"a transition is there twice":          {double(schemas.TopicTransitions), "orders:"},
		"two transitions changed places":       {swap(schemas.TopicTransitions), "transition:"},
		"a record for automation is lost":      {drop(schemas.TopicAutomationInbox), "automation.inbox:"},
		"a record for automation is doubled":   {double(schemas.TopicAutomationInbox), "automation.inbox:"},
		"a link or an event sent on is lost":   {drop(schemas.TopicOrdersInbox), "conservation:"},
		"a command is lost":                    {drop(schemas.TopicCommands), "commands:"},
		"a command is there twice":             {double(schemas.TopicCommands), "commands:"},
		"two commands changed places":          {swap(schemas.TopicCommands), "commands:"},
		"a dead letter is lost":                {dropLetter, "dead letter:"},
		"a dead letter that nobody expects":    {strangeLetter, "dead letter:"},
		"the newest image of an order is lost": {loseImage(schemas.TopicOrdersChangelog), "orders:"},
		"the newest image of a contact is old": {loseImage(schemas.TopicAutomationLog), "state:"},
		"the meta record went back":            {metaBack, "changelog:"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newTold(t)
			c.spoil(w)
			checked, _ := w.check()
			if !slices.ContainsFunc(checked.found.kept, func(f string) bool { return strings.HasPrefix(f, c.kind) }) {
				t.Errorf("no finding %q among %d:\n%s", c.kind, checked.found.count(), checked.found)
			}
		})
	}
}

// longest is the partition of a topic with the most records.
func (w *told) longest(topic string) spot {
	best := spot{topic, 0}
	for p := range int32(testPartitions) {
		if s := (spot{topic, p}); len(w.past.records[s]) > len(w.past.records[best]) {
			best = s
		}
	}
	if len(w.past.records[best]) < 7 {
		w.t.Fatalf("%s has %d records", best, len(w.past.records[best]))
	}
	return best
}

func dropLetter(w *told) {
	for p := range int32(testPartitions) {
		s := spot{schemas.TopicDeadLetters, p}
		if len(w.past.records[s]) > 0 {
			w.past.records[s] = w.past.records[s][1:]
			return
		}
	}
}

func strangeLetter(w *told) {
	id := letterID(w.past.of(schemas.TopicPayPalEvents)[9])
	w.append(schemas.TopicDeadLetters, id, id, &schemas.DeadLetter{ID: id, Stage: "orders", Cause: schemas.CauseStageFailed, Reason: "r", Remedy: "r"})
}

// loseImage drops the last after-image of a key that has several.
func loseImage(topic string) func(*told) {
	return func(w *told) {
		s := w.longest(topic)
		list := slices.Clone(w.past.records[s])
		seen := map[string]int{}
		for i, r := range list {
			if before, ok := seen[string(r.Key)]; ok && string(r.Key) != metaKey && string(list[before].Value) != string(r.Value) {
				last := i
				for j := i; j < len(list); j++ {
					if string(list[j].Key) == string(r.Key) {
						last = j
					}
				}
				older := *list[last]
				older.Value = list[before].Value
				list[last] = &older
				w.past.records[s] = list
				return
			}
			seen[string(r.Key)] = i
		}
		w.t.Fatalf("no key is twice on %s", topic)
	}
}

func metaBack(w *told) {
	s := w.longest(schemas.TopicOrdersChangelog)
	for _, r := range w.past.records[s] {
		if string(r.Key) == metaKey {
			w.put(s.topic, s.partition, metaKey, r.Value)
			return
		}
	}
}

func TestOffsetsThatDifferFromTheStateAreFound(t *testing.T) {
	w := newTold(t)
	offsets := func() kadm.OffsetResponses {
		all := kadm.OffsetResponses{}
		for at, m := range w.metas {
			for topic, pos := range m.Inputs {
				if at.stage == "orders" {
					all.Add(kadm.OffsetResponse{Offset: kadm.Offset{Topic: topic, Partition: at.partition, At: pos.Next}})
				}
			}
		}
		return all
	}
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
		group := offsets()
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
