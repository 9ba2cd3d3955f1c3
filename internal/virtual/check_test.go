//go:build synctests

package virtual

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tillstream/tillstream/pipeline/clock"
	"github.com/tillstream/tillstream/pipeline/kafka"
	"github.com/tillstream/tillstream/processors/processorstest"
	"github.com/tillstream/tillstream/schemas"
)

// describe tells records apart by their bytes and lets a person see which they are.
func describe(rec schemas.Record, b []byte) string {
	sum := sha256.Sum256(b)
	text := rec.RecordName()
	switch r := rec.(type) {
	case *schemas.Transition:
		text = fmt.Sprintf("%d %s: %s %s to %s, orphan %v, at %s", r.Number, r.Event.EventID, r.Disposition, r.From, r.To, r.Orphan, r.At.Format(time.RFC3339Nano))
	case *schemas.OrderEvent:
		text = r.EventID
	case *schemas.OrderLink:
		text = "link to " + r.To
	case *schemas.Command:
		text = fmt.Sprintf("%s %d for %s %s", r.Kind, r.Version, r.EventID, r.Trigger)
	}
	return text + " " + hex.EncodeToString(sum[:6])
}

// read returns the committed records of a topic, by partition.
func (w *world) read(topic string) (out [partitions][]*kgo.Record) {
	w.t.Helper()
	for p := range int32(partitions) {
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

// decoded are the records of type R of a topic, with their Kafka records.
func decoded[R schemas.Record](w *world, topic string) (list []R, from []*kgo.Record) {
	w.t.Helper()
	for _, rs := range w.read(topic) {
		for _, r := range rs {
			rec, err := w.codec.Decode(r.Value)
			if err != nil {
				continue
			}
			if x, ok := rec.(R); ok {
				list, from = append(list, x), append(from, r)
			}
		}
	}
	return list, from
}

// outputs are the records of topics, grouped as a fold groups them.
func (w *world) outputs(topics ...string) map[string][]string {
	w.t.Helper()
	out := map[string][]string{}
	for _, topic := range topics {
		for _, rs := range w.read(topic) {
			for _, r := range rs {
				rec, err := w.codec.Decode(r.Value)
				if err != nil {
					w.t.Fatal(err)
				}
				if _, tick := rec.(*schemas.Tick); !tick {
					k := groupOf(topic, string(r.Key), rec)
					out[k] = append(out[k], describe(rec, r.Value))
				}
			}
		}
	}
	return out
}

// report is what a run came to.
type report struct {
	timers, byTick, ticks, transitions, commands, letters int
	digest                                                string
}

// check compares everything that is at rest with the reference. It may be asked once the processes have ended.
func (d *days) check() report {
	w := d.w
	w.t.Helper()
	var r report
	r.letters = len(d.checkStages(&r))
	d.checkOrphans()
	d.checkEnds(&r)
	d.checkStory(&r)
	d.checkDeliveries(&r)
	d.checkContacts(&r)
	return r
}

// checkStages folds both stages' inputs and compares outputs, dead letters, states, Redis and offsets.
func (d *days) checkStages(r *report) map[string]bool {
	w := d.w
	w.t.Helper()
	letters := map[string]bool{}
	var want []string
	outs := map[string][]string{}
	take := func(fs []folded) {
		for _, f := range fs {
			want = append(want, f.letters...)
			r.timers += len(f.fired)
			r.ticks += int(f.tally.Ticks)
			d.parked += f.parked
			for _, t := range f.fired {
				if t.byTick {
					r.byTick++
				}
			}
			for k, list := range f.outs {
				outs[k] = append(outs[k], list...)
			}
			for _, t := range f.pending {
				if due := d.ended.Add(-tickPatience); time.UnixMilli(t.at).Before(due) {
					w.t.Errorf("timer %s of %s was due at %v and has not fired by %v", t.t.ID, t.key, t.t.At, d.ended)
				}
			}
		}
	}
	take(foldStage(w, w.stages.orders, groupOrders, ordersInputs, schemas.TopicOrdersChangelog))
	take(foldStage(w, w.stages.automation, groupAutomation, automationInputs, schemas.TopicAutomationLog))
	got := w.outputs(schemas.TopicTransitions, schemas.TopicOrdersInbox, schemas.TopicAutomationInbox, schemas.TopicCommands)
	if diff := cmp.Diff(outs, got); diff != "" {
		w.t.Errorf("outputs per key (-fold +got):\n%s", diff)
	}
	var buried []string
	list, _ := decoded[*schemas.DeadLetter](w, schemas.TopicDeadLetters)
	for _, l := range list {
		letters[l.ID] = true
		buried = append(buried, l.ID+" "+l.Cause)
	}
	slices.Sort(want)
	slices.Sort(buried)
	if diff := cmp.Diff(want, buried); diff != "" {
		w.t.Errorf("dead letters (-fold +got):\n%s", diff)
	}
	return letters
}

// imagesOf are the newest states of a changelog's partition, as their envelopes, and where they end.
func imagesOf(changelog []*kgo.Record) map[string]string {
	images := map[string]string{}
	for _, r := range changelog {
		if key, ok := strings.CutPrefix(string(r.Key), "k"); ok {
			if images[key] = string(r.Value); r.Value == nil {
				delete(images, key)
			}
		}
	}
	return images
}

// open takes an envelope apart: a version, the earliest deadline, the muted timers, the state.
func open(image string) (deadline int64, muted uint64, state string) {
	b := []byte(image)[1:]
	deadline, n := binary.Varint(b)
	b = b[n:]
	muted, n = binary.Uvarint(b)
	return deadline, muted, string(b[n:])
}

// checkRedis compares Redis with a changelog's partition.
func (w *world) checkRedis(tag string, images map[string]string, last *kgo.Record) {
	w.t.Helper()
	field := func(name string) string { return w.redis.HGet(tag+":fence", name) }
	_, end, err := kafka.Bounds(context.Background(), w.side, last.Topic, last.Partition)
	if err != nil {
		w.t.Fatal(err)
	}
	// A recovery goes to the end, markers included; a transaction's own apply to its last record.
	if applied, err := strconv.ParseInt(field("applied"), 10, 64); err != nil || applied <= last.Offset || applied > end {
		w.t.Errorf("%s: redis stands at %q, want more than %d and at most %d", tag, field("applied"), last.Offset, end)
	}
	if got := field("meta"); got != string(last.Value) {
		w.t.Errorf("%s: redis has the meta record %s, want %s", tag, got, last.Value)
	}
	key := fmt.Sprintf("%s:g%s:", tag, field("gen"))
	got := map[string]string{}
	fields, _ := w.redis.HKeys(key + "images") // an error says that it is not there
	for _, k := range fields {
		got[k] = w.redis.HGet(key+"images", k)
	}
	if diff := cmp.Diff(images, got); diff != "" {
		w.t.Errorf("%s: states (-changelog +redis):\n%s", tag, diff)
	}
	deadlines := map[string]float64{}
	for k, image := range images {
		if at, _, _ := open(image); at != 0 {
			deadlines[k] = float64(at)
		}
	}
	armed, _ := w.redis.SortedSet(key + "timers")
	if diff := cmp.Diff(deadlines, armed, equateEmpty); diff != "" {
		w.t.Errorf("%s: deadlines (-changelog +redis):\n%s", tag, diff)
	}
}

var equateEmpty = cmp.FilterValues(func(a, b map[string]float64) bool { return len(a) == 0 && len(b) == 0 }, cmp.Ignore())

// checkOffsets compares what the group committed with the newest meta record.
func (w *world) checkOffsets(group string, inputs []string, partition int32, m meta) {
	w.t.Helper()
	o := kafka.Options{Brokers: w.kafka.ListenAddrs(), Extra: []kgo.Opt{kgo.Dialer(w.net.DialContext)}}
	c, err := kafka.NewCluster(o, clock.System(), w.log)
	if err != nil {
		w.t.Fatal(err)
	}
	defer c.Close()
	offsets, err := c.Offsets(context.Background(), group, inputs, []int32{partition})
	if err != nil {
		w.t.Fatal(err)
	}
	for _, o := range offsets {
		if next := m.Inputs[o.Topic].Next; o.At != next {
			w.t.Errorf("group %s stands at %s/%d@%d, the meta record at %d", group, o.Topic, partition, o.At, next)
		}
	}
}

// checkOrphans looks at what timers did with no fold at all: an event that waited in vain goes on once, later than its
// patience, and soon after it.
func (d *days) checkOrphans() {
	w := d.w
	w.t.Helper()
	want := map[string]int{}
	for id := range d.story.orphans {
		if at, sent := d.sent[id]; sent && at.Add(orphanAfter+tickPatience).Before(d.ended) {
			want[id] = 1
		}
	}
	got := map[string]int{}
	list, from := decoded[*schemas.Transition](w, schemas.TopicAutomationInbox)
	for i, t := range list {
		if !t.Orphan {
			continue
		}
		id := t.Event.EventID
		got[id]++
		deadline := d.sent[id].Add(orphanAfter)
		if at := from[i].Timestamp; !at.After(deadline) {
			w.t.Errorf("the timer of %s fired at %v, before its deadline %v", id, at, deadline)
		} else if late := at.Sub(deadline); late > outageMax {
			w.t.Errorf("the timer of %s fired %v late, want at most %v", id, late, outageMax)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		w.t.Errorf("events that went on by a timer (-story +got):\n%s", diff)
	}
}

// checkEnds counts: every event that came in is a transition or a dead letter of its own, or still waits.
func (d *days) checkEnds(r *report) {
	w := d.w
	w.t.Helper()
	transitions, _ := decoded[*schemas.Transition](w, schemas.TopicTransitions)
	letters, _ := decoded[*schemas.DeadLetter](w, schemas.TopicDeadLetters)
	r.transitions = len(transitions)
	ends := len(transitions) + d.parked
	for _, l := range letters {
		if l.Topic == schemas.TopicPayPalEvents || l.Topic == schemas.TopicStoreOrders || l.Topic == schemas.TopicOrdersInbox {
			ends++
		}
	}
	if ends != d.appended {
		w.t.Errorf("%d records came in, %d ended or wait", d.appended, ends)
	}
}

// checkStory compares the last transition of each order with a fold that knows neither stages nor engine.
func (d *days) checkStory(r *report) {
	w := d.w
	w.t.Helper()
	var events []*schemas.OrderEvent
	for _, h := range d.story.records {
		if h.event != nil && !d.story.ghosts[h.event.Key()] {
			events = append(events, h.event)
		}
	}
	want, got := map[string]string{}, map[string]string{}
	for key, f := range processorstest.Fold(events) {
		want[key] = fmt.Sprintf("%s paid %s refunded %s", f.Status, f.Paid, f.Refunded)
	}
	newest := map[string]int64{}
	list, _ := decoded[*schemas.Transition](w, schemas.TopicTransitions)
	for _, t := range list {
		if t.Number >= newest[t.RootKey] && !d.story.ghosts[t.RootKey] {
			newest[t.RootKey] = t.Number
			got[t.RootKey] = fmt.Sprintf("%s paid %s refunded %s", t.To, t.Paid, t.Refunded)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		w.t.Errorf("orders in the end (-story +got):\n%s", diff)
	}
	d.note("orders", got)
}

// checkDeliveries wants one end for each command: what was desired is delivered or superseded, an effect happened once.
func (d *days) checkDeliveries(r *report) {
	w := d.w
	w.t.Helper()
	commands, _ := decoded[*schemas.Command](w, schemas.TopicCommands)
	deliveries, _ := decoded[*schemas.Delivery](w, schemas.TopicDeliveries)
	r.commands = len(commands)
	ends := map[string][]schemas.OutcomeWord{}
	for _, e := range deliveries {
		if e.Outcome != schemas.OutcomeIntent && e.Outcome != schemas.OutcomeRetryable {
			ends[e.CommandID] = append(ends[e.CommandID], e.Outcome)
		}
	}
	effects := map[string]int{}
	for _, c := range commands {
		word := ends[c.CommandID]
		delete(ends, c.CommandID)
		good := len(word) == 1 && (word[0] == schemas.OutcomeDelivered || c.Kind == schemas.CommandContact && word[0] == schemas.OutcomeSuperseded)
		if !good {
			w.t.Errorf("command %s, %s %d of %s at %s, ended as %v", c.CommandID, c.Kind, c.Version, c.ContactKey, c.Destination, word)
		}
		if c.Kind == schemas.CommandEffect {
			effects[c.CommandID] = w.crm[c.Destination].happened[c.CommandID]
		}
	}
	for id, n := range effects {
		if n != 1 {
			w.t.Errorf("effect %s happened %d times", id, n)
		}
	}
	for id, word := range ends {
		w.t.Errorf("delivery %s %v is of no command", id, word)
	}
}

// checkContacts lays all desired states over one another and compares with the CRMs.
func (d *days) checkContacts(r *report) {
	w := d.w
	w.t.Helper()
	commands, _ := decoded[*schemas.Command](w, schemas.TopicCommands)
	for _, name := range destinations {
		want := map[string]*contact{}
		for _, c := range commands {
			if c.Destination != name || c.Kind != schemas.CommandContact {
				continue
			}
			if want[c.ContactKey] == nil {
				want[c.ContactKey] = &contact{Fields: map[string]string{}}
			}
			want[c.ContactKey].take(*c)
		}
		if diff := cmp.Diff(want, w.crm[name].contacts, cmp.AllowUnexported(contact{})); diff != "" {
			w.t.Errorf("contacts at %s (-commands +got):\n%s", name, diff)
		}
		final := map[string]string{}
		for key, k := range w.crm[name].contacts {
			if !d.story.shared[k.Email] {
				final[key] = fmt.Sprint(k.Email, k.Fields, k.Tags)
			} else {
				final[key] = fmt.Sprint(k.Email, k.Tags)
			}
		}
		d.note("contacts at "+name, final)
	}
	r.digest = hex.EncodeToString(d.digest.Sum(nil)[:8])
}

// note makes facts part of what a seed is to end with every time.
func (d *days) note(what string, facts map[string]string) {
	fmt.Fprintln(d.digest, what)
	for _, k := range slices.Sorted(maps.Keys(facts)) {
		fmt.Fprintln(d.digest, k, facts[k])
	}
}
