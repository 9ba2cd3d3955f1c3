package sim

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"github.com/tillstream/tillstream/internal/sim/broker"
	"github.com/tillstream/tillstream/pipeline/kafka"
	"github.com/tillstream/tillstream/pipeline/store"
	"github.com/tillstream/tillstream/schemas"
)

// The keys of a changelog: the meta record's, and the prefix of the states'.
const (
	metaKey  = "m"
	stateKey = "k"
)

// changelogHistory is what the committed transactions said about one partition, in their order.
type changelogHistory struct {
	metas     []metaRecord
	streamMax int64
	readTo    map[string]int64
}

func (w *world) note(parts ...string) {
	for _, p := range parts {
		_, _ = w.hash.Write([]byte(p))
		_, _ = w.hash.Write([]byte{0})
	}
}

func (w *world) noteInts(ns ...int64) {
	var b [8]byte
	for _, n := range ns {
		binary.LittleEndian.PutUint64(b[:], uint64(n))
		_, _ = w.hash.Write(b[:])
	}
}

// appended notes every record that any log ever got.
func (w *world) appended(e *broker.Entry) {
	r := e.Record
	w.note(r.Topic, string(r.Key), string(r.Value))
	w.noteInts(int64(r.Partition), r.Offset, r.Timestamp.UnixMilli(), int64(w.s.Elapsed()))
	if w.o.Trace != nil && !e.Marker {
		w.trace("append %s/%d@%d key %q by %s", r.Topic, r.Partition, r.Offset, r.Key, e.By)
	}
}

// decided checks each transaction when it commits: invariants 4, 7 and 9, and that nobody's progress goes back.
func (w *world) decided(t *broker.Txn) {
	w.noteInts(int64(t.Number), int64(t.State))
	w.trace("%v of %s, offsets %v", t, t.Process, t.Offsets)
	if t.State != broker.Committed {
		return
	}
	w.commits++
	u := w.stageByTransaction(t)
	if u == nil {
		w.decidedElsewhere(t)
		return
	}
	if len(t.Offsets) == 0 {
		w.violate(7, "%v commits no offsets", t)
		return
	}
	for _, o := range t.Offsets {
		if by := o.By; !by.Known || by.Generation != by.GroupGeneration || by.Generation <= 0 {
			w.violate(7, "%v commits offsets as %s of generation %d; the group had %d", t, by.Member, by.Generation, by.GroupGeneration)
		}
	}
	w.decidedMetas(t, u)
	if w.others != nil {
		w.others.see(t)
	}
}

// stageByTransaction finds the stage whose changelog the transaction wrote.
func (w *world) stageByTransaction(t *broker.Txn) *stageUse {
	for _, u := range w.stages {
		if strings.HasPrefix(t.ID, "tillstream-"+u.topology.Group+"-") {
			return u
		}
	}
	return nil
}

func (w *world) decidedMetas(t *broker.Txn, u *stageUse) {
	group := map[kafka.TopicPartition]int64{}
	for _, o := range t.Offsets {
		for _, x := range o.Offsets {
			group[kafka.TopicPartition{Topic: x.Topic, Partition: x.Partition}] = x.At
		}
	}
	metas := map[int32]int{}
	for _, e := range t.Records {
		r := e.Record
		if r.Topic != u.topology.Changelog || string(r.Key) != metaKey {
			continue
		}
		metas[r.Partition]++
		id := store.ID{Stage: u.topology.Stage.Name(), Partition: r.Partition}
		if at := w.store.view(id).applied; r.Offset < at {
			w.violate(5, "%v commits %s/%d@%d, and the store stands at %d already", t, r.Topic, r.Partition, r.Offset, at)
		}
		m, err := parseMeta(r.Value)
		if err != nil {
			w.violate(4, "the meta record of %s/%d@%d: %v", r.Topic, r.Partition, r.Offset, err)
			continue
		}
		for _, topic := range u.topology.Inputs {
			k := kafka.TopicPartition{Topic: topic, Partition: r.Partition}
			if at, ok := group[k]; !ok || at != m.Inputs[topic].Next {
				w.violate(4, "%v: the meta record of %s/%d says %d, the group's offset %d (named %v)", t, topic, r.Partition, m.Inputs[topic].Next, at, ok)
			}
		}
		w.follow(u, r.Partition, m)
	}
	for _, e := range t.Records {
		if e.Record.Topic == u.topology.Changelog && metas[e.Record.Partition] != 1 {
			w.violate(4, "%v has %d meta records in %s/%d", t, metas[e.Record.Partition], e.Record.Topic, e.Record.Partition)
			return
		}
	}
}

// follow compares a committed meta record with the one before it: offsets and stream time never go back, and stream
// time is no more than the stamps that were read.
func (w *world) follow(u *stageUse, n int32, m metaRecord) {
	k := historyKey(u.topology.Changelog, n)
	h := w.history[k]
	if h == nil {
		h = &changelogHistory{readTo: map[string]int64{}}
		w.history[k] = h
	}
	ahead := int64(0) // stamps of records for which timers fire while the transaction is cut
	for _, topic := range u.topology.Inputs {
		next := m.Inputs[topic].Next
		if next < h.readTo[topic] {
			w.violate(2, "%s/%d was read to %d and now to %d", topic, n, h.readTo[topic], next)
		}
		all := w.b.Topic(topic).Parts[n].All
		i, _ := slices.BinarySearchFunc(all, h.readTo[topic], func(e *broker.Entry, at int64) int { return int(e.Record.Offset - at) })
		for _, e := range all[i:] {
			if e.Marker || e.Txn != nil && e.Txn.State != broker.Committed {
				continue
			}
			if e.Record.Offset >= next {
				ahead = max(ahead, stampOf(e.Record))
				break
			}
			h.streamMax = max(h.streamMax, stampOf(e.Record))
		}
		h.readTo[topic] = next
	}
	if k := len(h.metas); k > 0 && m.StreamTime < h.metas[k-1].StreamTime {
		w.violate(9, "stream time of %s/%d went back from %d to %d", u.topology.Changelog, n, h.metas[k-1].StreamTime, m.StreamTime)
	}
	h.streamMax = max(h.streamMax, min(ahead, m.StreamTime))
	if m.StreamTime > h.streamMax {
		w.violate(9, "stream time of %s/%d is %d, beyond every stamp read, %d", u.topology.Changelog, n, m.StreamTime, h.streamMax)
	}
	h.metas = append(h.metas, m)
}

// offsetsSet checks commits outside of transactions too.
func (w *world) offsetsSet(group string, offsets []kafka.Offset, by broker.Asker) {
	w.note(group, by.Member)
	if w.o.Trace != nil && !by.InTransaction {
		w.trace("offsets of %s by %s, generation %d: %+v", group, by.Member, by.Generation, offsets)
	}
	for _, o := range offsets {
		w.noteInts(int64(o.Partition), o.At)
	}
	if !by.InTransaction && (by.Generation != by.GroupGeneration || !by.Known || by.Generation <= 0) {
		w.violate(7, "offsets of %s are set as generation %d; the group has %d", group, by.Generation, by.GroupGeneration)
	}
}

// checkOwner is invariant 6: nobody whose claim was followed by another is heard.
func (w *world) checkOwner(id store.ID, owner, what string) {
	v := w.store.view(id)
	w.note(id.String(), owner, what)
	if i := slices.Index(v.claims, owner); i >= 0 && i < len(v.claims)-1 {
		w.violate(6, "%s of %v by %s was accepted after the claim of %s", what, id, owner, v.claims[len(v.claims)-1])
	}
}

// checkApplied is invariants 5 and 6, at every accepted write.
func (w *world) checkApplied(id store.ID, f store.Fence, b store.Batch) {
	w.checkOwner(id, f.Owner, "apply")
	w.noteInts(b.To, int64(len(b.Images)))
	w.trace("apply %v %d to %d by %s", id, f.Applied, b.To, f.Owner)
	part := w.changelog(id)
	if b.To > part.End() {
		w.violate(5, "%v stands at %d, beyond the end of the changelog, %d", id, b.To, part.End())
	}
	f.Applied = b.To
	if v := w.store.view(id); v.serving[f.Owner] && !f.Building {
		v.applied = max(v.applied, b.To)
		w.compareStore(id, f.Applied)
	}
}

// checkServed is invariant 5 where the owner reads what it will go on from.
func (w *world) checkServed(id store.ID, f store.Fence) { w.compareStore(id, f.Applied) }

func (w *world) changelog(id store.ID) *broker.Part {
	for _, u := range w.stages {
		if u.topology.Stage.Name() == id.Stage {
			return w.b.Topic(u.topology.Changelog).Parts[id.Partition]
		}
	}
	panic("no such stage: " + id.Stage)
}

// foldTo brings the fold of a changelog to an offset.
func (v *storeView) foldTo(part *broker.Part, to int64) map[string]*broker.Entry {
	f := v.fold
	if f == nil || f.next > to {
		f = &changelogFold{state: map[string]*broker.Entry{}}
		v.fold = f
	}
	for f.place < len(part.All) && part.All[f.place].Record.Offset < to {
		e := part.All[f.place]
		f.place++ // one that is undecided is a zombie's: it must not commit any more, see decidedMetas
		if !e.Marker && (e.Txn == nil || e.Txn.State == broker.Committed) && strings.HasPrefix(string(e.Record.Key), stateKey) {
			f.state[string(e.Record.Key[len(stateKey):])] = e
		}
	}
	f.next = to
	return f.state
}

// changelogFold is the state of one partition as its changelog tells it, up to an offset.
type changelogFold struct {
	next  int64
	place int
	state map[string]*broker.Entry
}

// compareStore compares the store with the fold of the changelog to where the store stands. A key may be older where
// compaction removed its record because a later one, at or beyond that place, took over.
func (w *world) compareStore(id store.ID, applied int64) {
	part, v := w.changelog(id), w.store.view(id)
	want, got := v.foldTo(part, applied), w.store.mem.Images(id)
	for k, e := range want {
		if !bytes.Equal(got[k], e.Record.Value) && !superseded(part, e, applied) {
			w.violate(5, "%v at %d: key %q is not what the changelog says at offset %d", id, applied, k, e.Record.Offset)
			return
		}
	}
	for k := range got {
		if want[k] == nil {
			w.violate(5, "%v at %d: key %q is in no changelog", id, applied, k)
			return
		}
	}
}

func superseded(part *broker.Part, e *broker.Entry, applied int64) bool {
	if part.Has(e) {
		return false
	}
	for i := len(part.All) - 1; i >= 0 && part.All[i].Record.Offset >= applied; i-- {
		o := part.All[i]
		if !o.Marker && o.Txn != nil && o.Txn.State == broker.Committed && bytes.Equal(o.Record.Key, e.Record.Key) {
			return true
		}
	}
	return false
}

// checkAtRest compares whole histories once everything stands still.
func (w *world) checkAtRest() {
	for _, u := range w.stages {
		w.checkStage(u)
	}
	w.checkElsewhere()
	if live := w.s.Live(); live > coroutinesMax*len(w.slots) {
		w.violate(15, "%d coroutines are left", live)
	}
}

func (w *world) checkStage(u *stageUse) {
	want := map[string][][]string{} // by topic and key, one sequence for each partition that it comes from
	var letters []string
	for n := range int32(w.cfg.Partitions) {
		f := u.fold(w, u, n)
		for _, k := range sorted(f.outs) {
			want[k] = append(want[k], f.outs[k])
		}
		letters = append(letters, f.letters...)
		for _, text := range f.failures {
			w.violate(2, "the fold of %s/%d failed: %s", u.topology.Stage.Name(), n, text)
		}
		w.checkCopy(u, n)
		w.checkState(u, n, f)
		w.checkCounts(u, n, f)
		for key, at := range f.pending {
			if late := w.stopped.UnixMilli() - w.cfg.Skew.Milliseconds() - 5000; at < late {
				w.violate(8, "the timer of %q in %s/%d was due %d ms before the end and did not fire", key, u.topology.Stage.Name(), n, late-at)
			}
		}
	}
	w.checkOutputs(u, want)
	if u.topology.Inbox == schemas.TopicAutomationInbox {
		w.checkFlows(u)
	}
	w.checkLetters(u, letters)
}

// checkOutputs is invariant 2.
func (w *world) checkOutputs(u *stageUse, want map[string][][]string) {
	got := map[string][]string{}
	for _, topic := range u.outputs {
		for _, p := range w.b.Topic(topic).Parts {
			for _, e := range p.All {
				if !e.Marker && e.Txn != nil && e.Txn.State == broker.Committed && w.stageByTransaction(e.Txn) == u { // two stages may write one topic
					k := topic + " " + string(e.Record.Key)
					got[k] = append(got[k], string(e.Record.Value))
				}
			}
		}
	}
	for k, sequences := range want {
		if text := compare(sequences, got[k]); text != "" {
			w.violate(2, "outputs to %s: %s", k, text)
			return
		}
		delete(got, k)
	}
	for k, list := range got {
		w.violate(2, "%d outputs to %s that no input explains: %s", len(list), k, show(list[0]))
		return
	}
}

// compare reports how got differs from an interleaving of sequences; empty: it does not.
func compare(sequences [][]string, got []string) string {
	total := 0
	at := make([]int, len(sequences))
	for _, s := range sequences {
		total += len(s)
	}
	if len(sequences) == 1 {
		for i := range min(total, len(got)) {
			if got[i] != sequences[0][i] {
				return fmt.Sprintf("number %d is %s, want %s", i, show(got[i]), show(sequences[0][i]))
			}
		}
	} else {
		for i, g := range got {
			found := false
			for j, s := range sequences {
				if at[j] < len(s) && s[at[j]] == g {
					at[j]++
					found = true
					break
				}
			}
			if !found && i < total {
				return fmt.Sprintf("number %d, %s, is not the next of any source", i, show(g))
			}
		}
	}
	if len(got) != total {
		return fmt.Sprintf("%d records, want %d", len(got), total)
	}
	return ""
}

func show(value string) string {
	rec, err := shared.Decode([]byte(value))
	if err != nil {
		return fmt.Sprintf("%q", value)
	}
	text := fmt.Sprintf("%+v", rec)
	return text[:min(len(text), 400)]
}

// left is what a changelog holds at the end.
func (w *world) left(u *stageUse, n int32) map[string][]byte {
	left := map[string][]byte{}
	for _, r := range w.b.Topic(u.topology.Changelog).Parts[n].Log() {
		if k, ok := strings.CutPrefix(string(r.Key), stateKey); ok {
			if left[k] = r.Value; r.Value == nil {
				delete(left, k)
			}
		}
	}
	return left
}

// checkCopy is the first half of invariant 3: the store is what the changelog says.
func (w *world) checkCopy(u *stageUse, n int32) {
	left, images := w.left(u, n), w.store.mem.Images(store.ID{Stage: u.topology.Stage.Name(), Partition: n})
	for k, v := range left {
		if !bytes.Equal(images[k], v) {
			w.violate(3, "%s/%d: key %q in the store is not what the changelog says", u.topology.Changelog, n, k)
			return
		}
	}
	if len(images) != len(left) {
		w.violate(3, "%s/%d: %d states in the changelog, %d in the store", u.topology.Changelog, n, len(left), len(images))
	}
}

// checkState is the second half: the changelog is what the fold says.
func (w *world) checkState(u *stageUse, n int32, f *folded) {
	left := w.left(u, n)
	for k, v := range left {
		state, err := envelopeState(v)
		if want, ok := f.states[k]; err != nil || !ok || state != want {
			w.violate(3, "%s/%d: the state of key %q is %q, want %q (%v)", u.topology.Changelog, n, k, state, want, err)
			return
		}
	}
	if len(f.states) != len(left) {
		w.violate(3, "%s/%d: %d states in the changelog, %d in the fold", u.topology.Changelog, n, len(left), len(f.states))
	}
}

// checkCounts is invariant 13: what was read is what was applied, skipped, ticked or refused.
func (w *world) checkCounts(u *stageUse, n int32, f *folded) {
	m := w.meta(u, n)
	c := m.Counts
	if c.Inputs != f.inputs || c.Skipped != f.skipped || c.Ticks != f.ticks || c.Activations != f.activations || c.Timers != f.timers || c.DeadLetters != int64(len(f.letters)) {
		w.violate(13, "%s/%d counts %+v; the fold has %d inputs, %d skipped, %d ticks, %d activations, %d timers, %d dead letters",
			u.topology.Stage.Name(), n, c, f.inputs, f.skipped, f.ticks, f.activations, f.timers, len(f.letters))
	}
}
