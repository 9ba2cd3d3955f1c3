package jobs

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tillstream/tillstream/schemas"
)

// replayWork sends what contacts should look like again. In a first pass it touches each contact once for each destination,
// in a second one, where the filter says so, it sends the effects.
type replayWork struct{ r *Runner }

// Source implements Work.
func (w *replayWork) Source(f Filter) (string, int) {
	if f.Effects {
		return schemas.TopicCommands, 2
	}
	return schemas.TopicCommands, 1
}

// ContactItem is the name of a contact at a destination as an item of jobs.
func ContactItem(destination, contactKey string) string { return destination + "/" + contactKey }

// Begin implements Work.
func (w *replayWork) Begin(ctx context.Context, j Job, log Log) (Worker, error) {
	p := &replay{r: w.r, job: j, seen: map[string]bool{}, barrier: barrier{r: w.r, log: log}}
	if j.State == schemas.JobCounting || len(j.Positions) == 0 {
		return p, nil
	}
	_, passes := w.Source(j.Filter)
	for _, pos := range j.Positions[:len(j.Positions)/passes] { // what it touched before
		err := log.Scan(ctx, schemas.TopicCommands, int32(pos.Partition), pos.Offset, func(rec *kgo.Record) error {
			got, err := w.r.decode(rec)
			if err == nil && got != nil {
				p.Item(0, rec, got)
			}
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return p, nil
}

type replay struct {
	r       *Runner
	job     Job
	seen    map[string]bool // contacts at destinations
	barrier barrier
}

// contactsMax bounds the contacts of one job.
const contactsMax = 5_000_000

// Item implements Worker.
func (p *replay) Item(pass int, _ *kgo.Record, got schemas.Record) (Item, bool) {
	c, ok := got.(*schemas.Command)
	if !ok || !p.job.Filter.Command(c) {
		return Item{}, false
	}
	it := Item{ID: ContactItem(c.Destination, c.ContactKey), Destination: c.Destination, ContactKey: c.ContactKey}
	switch {
	case pass == 0 && c.Kind == schemas.CommandContact:
		if p.seen[it.ID] || len(p.seen) >= contactsMax {
			return Item{}, false
		}
		p.seen[it.ID] = true
		return it, true
	case pass == 1 && c.Kind == schemas.CommandEffect && c.Effect != nil && c.Origin != schemas.OriginReplay:
		it.ID, it.Value = c.CommandID, c
		return it, true
	}
	return Item{}, false
}

// Do implements Worker.
func (p *replay) Do(ctx context.Context, items []Item) ([]Done, error) {
	var done []Done
	bytes := 0
	for _, it := range items {
		c, effect := it.Value.(*schemas.Command)
		var d Done
		var err error
		if !effect {
			d, err = p.r.touch(it.Destination, it.ContactKey, "replay by job "+p.job.JobID)
		} else if err = p.barrier.wait(ctx); err == nil {
			d, err = p.again(ctx, c)
		}
		switch {
		case err != nil && len(done) > 0: // what was done so far need not wait
			return done, nil
		case err != nil:
			return nil, err
		}
		done = append(done, d)
		if bytes += size(d); bytes > sendBytesMax {
			break
		}
	}
	return done, nil
}

// again is an effect as a new command.
func (p *replay) again(ctx context.Context, old *schemas.Command) (Done, error) {
	c, effect := *old, *old.Effect
	sum := sha256.Sum256([]byte(old.CommandID + "/" + p.job.JobID))
	c.CommandID = hex.EncodeToString(sum[:max(12, len(old.CommandID)/2)])
	// The head of an event's data is what it is found by at the CRM: it names the command.
	if head, short := "id="+first(old.CommandID, idShown), first(c.CommandID, idShown); strings.HasPrefix(effect.Data, head) {
		effect.Data = "id=" + short + effect.Data[len(head):]
	}
	c.Effect, c.Origin, c.RunID, c.At = &effect, schemas.OriginReplay, "", p.r.clock.Now().UTC()
	rec, err := p.r.record(schemas.TopicCommands, c.ContactKey, &c)
	if err != nil {
		return Done{}, err
	}
	if err := p.r.toDestination(ctx, rec, c.Destination); err != nil {
		return Done{}, err
	}
	return Done{Result: schemas.ItemSent, Detail: "sent again as command " + c.CommandID, Send: []*kgo.Record{rec}}, nil
}

// idShown is how much of a command's id leads the data of an event.
const idShown = 12

func first(text string, n int) string { return text[:min(n, len(text))] }

func size(d Done) (n int) {
	for _, rec := range d.Send {
		n += len(rec.Value) + len(rec.Key)
	}
	return n
}

// touch has the automation stage send a contact's newest desired state again.
func (r *Runner) touch(destination, contactKey, why string) (Done, error) {
	rec, err := r.record(schemas.TopicAutomationInbox, contactKey, &schemas.ContactTouch{
		ContactKey: contactKey, Why: why, Resend: true, Destination: destination, At: r.clock.Now().UTC(),
	})
	if err != nil {
		return Done{}, err
	}
	return Done{Result: schemas.ItemSent, Detail: "its newest state is sent again", Send: []*kgo.Record{rec}}, nil
}

// barrier holds effects back until the automation stage took the contacts that were touched before: what it sends for them
// then stands before the effects.
type barrier struct {
	r      *Runner
	log    Log
	until  map[int32]int64
	passed bool
}

// wait returns an error that wraps errWait until it is so.
func (b *barrier) wait(ctx context.Context) error {
	if b.passed || b.r.o.AutomationGroup == "" {
		return nil
	}
	n, err := b.log.Partitions(ctx, schemas.TopicAutomationInbox)
	if err != nil {
		return err
	}
	parts := make([]int32, n)
	for p := range n {
		parts[p] = p
	}
	if b.until == nil {
		until := map[int32]int64{}
		for _, p := range parts {
			if _, until[p], err = b.r.cluster.Bounds(ctx, schemas.TopicAutomationInbox, p); err != nil {
				return err
			}
		}
		b.until = until
	}
	offsets, err := b.r.cluster.Offsets(ctx, b.r.o.AutomationGroup, []string{schemas.TopicAutomationInbox}, parts)
	switch {
	case errors.Is(err, kerr.GroupIDNotFound):
		return fmt.Errorf("%w for the automation stage, which never ran", errWait)
	case err != nil:
		return err
	}
	for _, o := range offsets {
		behind, err := b.behind(ctx, o.Partition, o.At)
		if err != nil {
			return err
		}
		if behind {
			return fmt.Errorf("%w for the automation stage: effects are sent after the state of their contacts, and it has not taken up to offset %d of partition %d yet", errWait, b.until[o.Partition], o.Partition)
		}
	}
	b.passed = true
	return nil
}

// behind reports whether a record lies between what the stage took and what it has to take.
func (b *barrier) behind(ctx context.Context, partition int32, at int64) (bool, error) {
	if at >= b.until[partition] {
		return false, nil
	}
	from, _, err := b.r.cluster.Bounds(ctx, schemas.TopicAutomationInbox, partition)
	if err != nil {
		return false, err
	}
	err = reading{b.r.cluster}.scan(ctx, schemas.TopicAutomationInbox, partition, max(at, from), b.until[partition], func(*kgo.Record) error { return errEnough })
	if errors.Is(err, errEnough) {
		return true, nil
	}
	return false, err
}
