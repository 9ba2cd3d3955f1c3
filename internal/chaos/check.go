package main

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	connectorsall "github.com/tillstream/tillstream/connectors/all"
	"github.com/tillstream/tillstream/internal/app"
	"github.com/tillstream/tillstream/pipeline/config"
	"github.com/tillstream/tillstream/processors/automation"
	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/schemas/codec"
	sinksall "github.com/tillstream/tillstream/sinks/all"
)

const checkLimit = 10 * time.Minute

// checker holds whole histories against folds of the input. It reads what the brokers and the store hold at rest, and
// writes nothing but its findings.
type checker struct {
	found   *findings
	codec   *codec.Codec
	rules   automation.Rules
	past    *history
	decoded map[*kgo.Record]schemas.Record

	// What the folds expect; compared at the end.
	letters map[string]string      // dead letters: id to stage and cause
	autos   map[pairKey][]string   // automation.inbox, of one contact and one order: digests in order
	onward  map[sentKey][]string   // automation.inbox, what automation itself sent on there: digests in order
	links   map[string]int         // automation.inbox, names that automation announced: digests
	inbox   map[string]int         // orders.inbox: digests
	counts  map[stageSpot]metaSeen // newest meta record of each partition of a stage
	fired   map[stageSpot]int64    // timers
	waits   waitsSeen
}

// pairKey is an order as one contact's automation sees it.
type pairKey struct{ contact, root string }

// stageSpot is one partition of a stage.
type stageSpot struct {
	stage     string
	partition int32
}

// stages are the stateful ones, with the topics that hold them.
var stages = []struct {
	name, group, changelog string
	inputs                 []string
	outputs                []string
}{
	{"orders", "tillstream-orders", schemas.TopicOrdersChangelog, reads["tillstream-orders"], []string{schemas.TopicTransitions, schemas.TopicAutomationInbox, schemas.TopicOrdersInbox}},
	{"automation", "tillstream-automation", schemas.TopicAutomationLog, reads["tillstream-automation"], []string{schemas.TopicCommands, schemas.TopicRuns, schemas.TopicAutomationInbox}},
}

func newChecker(f *findings, cd *codec.Codec, rules automation.Rules, past *history) *checker {
	return &checker{
		found: f, codec: cd, rules: rules, past: past, decoded: map[*kgo.Record]schemas.Record{},
		letters: map[string]string{}, autos: map[pairKey][]string{}, onward: map[sentKey][]string{}, links: map[string]int{},
		inbox: map[string]int{}, counts: map[stageSpot]metaSeen{}, fired: map[stageSpot]int64{}, waits: waitsSeen{came: map[string][]moment{}},
	}
}

// check is the whole comparison, after the processes have ended.
func (w *world) check(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, checkLimit)
	defer cancel()
	rules, err := w.rules()
	if err != nil {
		return err
	}
	c := newChecker(w.found, w.codec, rules, w.past)
	if err := c.decode(); err != nil {
		return err
	}
	var images map[stageSpot]map[string][]byte
	w.r.Keys, images = c.compare(w.load.book)
	for _, stage := range stages {
		group, err := c.past.admin.FetchOffsets(ctx, stage.group)
		if err != nil {
			return err
		}
		c.offsets(stage.name, stage.inputs, group)
	}
	if err := c.store(ctx, w.redis.client, images); err != nil {
		return err
	}
	c.outside(w)
	w.logsChecked()
	w.r.RecordsChecked = w.past.count()
	w.r.DeadLetters = len(w.past.of(schemas.TopicDeadLetters))
	w.r.Commands = len(w.past.of(schemas.TopicCommands))
	c.waitsInto(w.r)
	w.summary()
	return nil
}

// compare holds all that the topics tell against the folds. It returns the number of the orders stage's keys, and the
// newest images of every partition.
func (c *checker) compare(book map[string]int) (keys int, images map[stageSpot]map[string][]byte) {
	c.input(book)
	c.offsetsOnce()
	images = map[stageSpot]map[string][]byte{}
	for _, s := range stages {
		for p := range c.past.partitions(s.changelog) {
			at := stageSpot{s.name, p}
			images[at] = c.changelog(s.changelog, at)
			for _, topic := range s.inputs {
				c.leaveUnread(spot{topic, p}, c.counts[at].Inputs[topic].Next)
			}
		}
	}
	keys = c.orders(images)
	c.automation(images)
	c.inboxes()
	c.answers()
	c.runs()
	c.beats()
	c.deadLetters()
	c.conservation()
	return keys, images
}

// leaveUnread takes out ticks at the end of an input that a stage had not come to: of what was written as the last process
// left, nobody is there to read it.
func (c *checker) leaveUnread(at spot, next int64) {
	list := c.past.records[at]
	for len(list) > 0 && list[len(list)-1].Offset >= next {
		if _, tick := c.decoded[list[len(list)-1]].(*schemas.Tick); !tick {
			break
		}
		list = list[:len(list)-1]
	}
	c.past.records[at] = list
}

// summary takes the takeovers into the result.
func (w *world) summary() {
	quiet, all := w.watch.times(true), w.watch.times(false)
	w.r.Takeovers, w.r.TakeoverP99 = len(quiet), quantile(quiet, 0.99)
	w.r.TakeoversAny, w.r.TakeoverAny = len(all), quantile(all, 0.99)
}

// rules are those that the processes ran under.
func (w *world) rules() (automation.Rules, error) {
	return rulesIn(os.DirFS(w.configDir()), w.workers[0].environment())
}

func rulesIn(root fs.FS, env map[string]string) (automation.Rules, error) {
	cfg, err := config.Load(root, config.Options{
		Connectors: connectorsall.Connectors(), Sinks: sinksall.Sinks(), Kinds: app.Kinds(),
		Getenv: func(name string) (string, bool) { v, ok := env[name]; return v, ok },
	})
	if err != nil {
		return automation.Rules{}, err
	}
	rules, err := app.Rules(cfg)
	if err != nil {
		return rules, fmt.Errorf("the run's mappings and workflows: %w", err)
	}
	return rules, nil
}

// decode reads every record but those of the changelogs.
func (c *checker) decode() error {
	for s, list := range c.past.records {
		if s.topic == schemas.TopicOrdersChangelog || s.topic == schemas.TopicAutomationLog {
			continue
		}
		for _, r := range list {
			rec, err := c.codec.Decode(r.Value)
			if err != nil {
				return fmt.Errorf("%s/%d@%d: %w", r.Topic, r.Partition, r.Offset, err)
			}
			c.decoded[r] = rec
		}
	}
	return nil
}

// input: what was appended is there, once, and nothing else is.
func (c *checker) input(sent map[string]int) {
	got := map[string]int{}
	for _, r := range c.past.of(schemas.TopicPayPalEvents) {
		if e, ok := c.decoded[r].(*schemas.OrderEvent); ok {
			got[sendKey(e)]++
		}
	}
	c.compareCounts("input", sent, got)
}

// sendKey tells one sending of an event from another.
func sendKey(e *schemas.OrderEvent) string {
	return fmt.Sprintf("%s %s %s %d", e.Key(), e.EventID, e.BodyHash, e.ReceivedAt.UnixMilli())
}

// offsetsOnce: a record was read once by the checker itself, or all that follows would be wrong.
func (c *checker) offsetsOnce() {
	for s, list := range c.past.records {
		for i := 1; i < len(list); i++ {
			if list[i].Offset <= list[i-1].Offset {
				c.found.add("log", s.String(), "offset %d follows %d", list[i].Offset, list[i-1].Offset)
			}
		}
	}
}

// compareCounts finds what is there too often or not often enough.
func (c *checker) compareCounts(kind string, want, got map[string]int) {
	for _, key := range sortedKeys(want, got) {
		if n, m := want[key], got[key]; n != m {
			c.found.add(kind, mask(key), "%d times, want %d", m, n)
		}
	}
}

func sortedKeys[V any](maps_ ...map[string]V) []string {
	all := map[string]bool{}
	for _, m := range maps_ {
		for k := range m {
			all[k] = true
		}
	}
	return slices.Sorted(maps.Keys(all))
}

// Layout of the changelogs (pipeline/DESIGN.md, "Bytes"), read here a second time on purpose.
const (
	metaKey      = "m"
	statePrefix  = 'k'
	imageVersion = 1
)

// metaSeen is what the checker reads of a meta record.
type metaSeen struct {
	Inputs map[string]struct {
		TopicID string `json:"topic_id"`
		Next    int64  `json:"next"`
	} `json:"inputs"`
	StreamTime int64 `json:"stream_time"`
	Counts     struct {
		Inputs      int64            `json:"inputs"`
		Skipped     int64            `json:"skipped"`
		Ticks       int64            `json:"ticks"`
		DeadLetters int64            `json:"dead_letters"`
		Timers      int64            `json:"timers"`
		Outputs     map[string]int64 `json:"outputs"`
	} `json:"counts"`

	raw    []byte
	offset int64
}

// changelog folds one partition of a changelog into its newest images, and watches that the meta records never go back.
func (c *checker) changelog(topic string, at stageSpot) map[string][]byte {
	images := map[string][]byte{}
	var last metaSeen
	for _, r := range c.past.records[spot{topic, at.partition}] {
		key := string(r.Key)
		where := fmt.Sprintf("%s/%d@%d", topic, at.partition, r.Offset)
		if key == metaKey {
			m := metaSeen{raw: r.Value, offset: r.Offset}
			if err := json.Unmarshal(r.Value, &m); err != nil {
				c.found.add("changelog", where, "its meta record cannot be read: %v", err)
				continue
			}
			for input, pos := range last.Inputs {
				if m.Inputs[input].Next < pos.Next {
					c.found.add("changelog", where, "input %s goes back from %d to %d", input, pos.Next, m.Inputs[input].Next)
				}
			}
			if m.StreamTime < last.StreamTime {
				c.found.add("changelog", where, "stream time goes back from %d to %d", last.StreamTime, m.StreamTime)
			}
			last = m
			continue
		}
		if key == "" || key[0] != statePrefix {
			c.found.add("changelog", where, "an odd key %q", mask(key))
			continue
		}
		if r.Value == nil {
			delete(images, key[1:])
		} else {
			images[key[1:]] = r.Value
		}
	}
	c.counts[at] = last
	return images
}

var errImage = errors.New("no image of the known form")

// openImage takes the state and its earliest deadline out of an image.
func openImage(b []byte) (state []byte, deadline int64, err error) {
	if len(b) == 0 || b[0] != imageVersion {
		return nil, 0, errImage
	}
	b = b[1:]
	deadline, n := binary.Varint(b)
	if n <= 0 {
		return nil, 0, errImage
	}
	b = b[n:]
	muted, n := binary.Uvarint(b)
	if n <= 0 || muted > uint64(len(b)) {
		return nil, 0, errImage
	}
	b = b[n:]
	for range muted {
		_, n := binary.Varint(b)
		if n <= 0 {
			return nil, 0, errImage
		}
		size, m := binary.Uvarint(b[n:])
		if m <= 0 || size > uint64(len(b)-n-m) {
			return nil, 0, errImage
		}
		b = b[n+m+int(size):]
	}
	return b, deadline, nil
}

// streamTime is a record's place in time: the broker's stamp, at most five minutes after its producer's.
func streamTime(r *kgo.Record) int64 {
	at := r.Timestamp.UnixMilli()
	for _, h := range r.Headers {
		if h.Key == "stamp" {
			if ms, err := strconv.ParseInt(string(h.Value), 10, 64); err == nil && ms > 0 {
				at = min(at, ms+(5*time.Minute).Milliseconds())
			}
		}
	}
	return at
}

// digest is the same for equal records, whatever the order of their maps.
func digest(rec schemas.Record) string {
	b, err := json.Marshal(rec)
	if err != nil {
		return "cannot be told: " + err.Error()
	}
	return rec.RecordName() + " " + hex.EncodeToString(sum(b))
}

// asRead is rec as a reader of the topic would get it.
func (c *checker) asRead(rec schemas.Record) (schemas.Record, error) {
	b, err := c.codec.Encode(rec)
	if err != nil {
		return nil, err
	}
	return c.codec.Decode(b)
}

// letterID is how a stage names the dead letter about r.
func letterID(r *kgo.Record) string { return fmt.Sprintf("%s-%d-%d", r.Topic, r.Partition, r.Offset) }

// deadLetters: each is expected, each expected one is there once, and has a reason and a remedy.
func (c *checker) deadLetters() {
	rejected := map[string]bool{}
	for _, r := range c.past.of(schemas.TopicDeliveries) {
		if d, ok := c.decoded[r].(*schemas.Delivery); ok && d.Outcome == schemas.OutcomeRejected {
			rejected[d.CommandID] = true
		}
	}
	commands := map[string]string{}
	for _, r := range c.past.of(schemas.TopicCommands) {
		if cmd, ok := c.decoded[r].(*schemas.Command); ok {
			commands[letterID(r)] = cmd.CommandID
		}
	}
	got := map[string]int{}
	for _, r := range c.past.of(schemas.TopicDeadLetters) {
		d, ok := c.decoded[r].(*schemas.DeadLetter)
		if !ok {
			continue
		}
		got[d.ID]++
		if d.Reason == "" || d.Remedy == "" {
			c.found.add("dead letter", d.ID, "it has no reason or no remedy")
		}
		want := c.letters[d.ID]
		if want == "" && rejected[commands[d.ID]] {
			continue
		}
		if have := d.Stage + " " + d.Cause; have != want {
			c.found.add("dead letter", d.ID, "%s (%s), want %q", have, d.Reason, want)
		}
	}
	for id, n := range got {
		if n > 1 {
			c.found.add("dead letter", id, "%d times", n)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(c.letters)) {
		if got[id] == 0 {
			c.found.add("dead letter", id, "it is missing; want %s", c.letters[id])
		}
	}
}

// conservation: what the transactions counted is what is on the topics.
func (c *checker) conservation() {
	outputs := map[string]int64{} // of all stages: two of them write automation.inbox
	differ := func(stage, what string, got, want int64) {
		if got != want {
			c.found.add("conservation", stage, "%s: the transactions count %d, the topics hold %d", what, got, want)
		}
	}
	for _, s := range stages {
		var inputs, letters int64
		for at, m := range c.counts {
			if at.stage != s.name {
				continue
			}
			inputs, letters = inputs+m.Counts.Inputs, letters+m.Counts.DeadLetters
			for topic, n := range m.Counts.Outputs {
				outputs[topic] += n
				if topic != schemas.TopicDeadLetters && !slices.Contains(s.outputs, topic) {
					c.found.add("conservation", s.name, "%d records were written to %s", n, topic)
				}
			}
		}
		var read int64
		for _, topic := range s.inputs {
			read += int64(len(c.past.of(topic)))
		}
		differ(s.name, "inputs", inputs, read)
		n := int64(0)
		for _, r := range c.past.of(schemas.TopicDeadLetters) {
			if d, ok := c.decoded[r].(*schemas.DeadLetter); ok && d.Stage == s.name {
				n++
			}
		}
		differ(s.name, schemas.TopicDeadLetters, letters, n)
	}
	for _, topic := range []string{schemas.TopicTransitions, schemas.TopicOrdersInbox, schemas.TopicAutomationInbox, schemas.TopicCommands, schemas.TopicRuns} {
		n := int64(0)
		for _, r := range c.past.of(topic) {
			if c.staged(r) {
				n++
			}
		}
		differ("the stages", topic, outputs[topic], n)
	}
	for at, m := range c.counts {
		if n := c.fired[at]; m.Counts.Timers != n {
			c.found.add("timers", fmt.Sprintf("%s/%d", at.stage, at.partition), "the transactions count %d, by the log %d fired", m.Counts.Timers, n)
		}
	}
}

// staged reports whether a stage wrote r as an output: not a tick, an activation, or an answer of a destination.
func (c *checker) staged(r *kgo.Record) bool {
	switch c.decoded[r].(type) {
	case *schemas.Tick, *schemas.ConfigActivation, *schemas.ListAnswer:
		return false
	}
	return true
}

// offsets: the group stands where the state stands (M = N), in every partition of every input.
func (c *checker) offsets(stage string, inputs []string, group kadm.OffsetResponses) {
	for at, m := range c.counts {
		if at.stage != stage {
			continue
		}
		for _, topic := range inputs {
			n := int64(0)
			if o, ok := group.Lookup(topic, at.partition); ok {
				n = max(0, o.At)
			}
			where := fmt.Sprintf("%s of %s/%d", stage, topic, at.partition)
			if next := m.Inputs[topic].Next; next != n {
				c.found.add("offset", where, "the group stands at %d, the state at %d", n, next)
			}
			if last := c.past.last(spot{topic, at.partition}); n < last {
				c.found.add("offset", where, "the group stands at %d, records reach to %d", n, last)
			}
		}
	}
}

// compareSequences holds one key's history against the expected one, and shows both around the first difference.
func (c *checker) compareSequences(kind, key string, want, got []string) {
	if slices.Equal(want, got) {
		return
	}
	i := 0
	for i < len(want) && i < len(got) && want[i] == got[i] {
		i++
	}
	show := func(list []string) string {
		from, to := max(0, i-2), min(len(list), i+4)
		if from > to {
			from = to
		}
		return fmt.Sprintf("%d in all, from no. %d on:\n    %s", len(list), from+1, strings.Join(list[from:to], "\n    "))
	}
	c.found.add(kind, mask(key), "differs from no. %d on\n  want %s\n  got  %s", i+1, show(want), show(got))
}
