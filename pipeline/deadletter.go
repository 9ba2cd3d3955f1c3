package pipeline

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tillstream/tillstream/outbound"
	"github.com/tillstream/tillstream/pipeline/kafka"
	"github.com/tillstream/tillstream/processors"
	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/schemas/codec"
)

var remedies = map[string]string{
	schemas.CauseUndecodable: "find who writes this topic without a registered schema, then replay the record",
	schemas.CauseStageFailed: "repair the stage or its configuration, then replay the record",
}

// letterOf is the dead letter about r. Where the stage itself says what is wrong with the record, its words stand.
func letterOf(r *kgo.Record, rec schemas.Record, cause string, finding error) *schemas.DeadLetter {
	d := &schemas.DeadLetter{
		ID:    fmt.Sprintf("%s-%d-%d", r.Topic, r.Partition, r.Offset),
		Cause: cause, Reason: finding.Error(), Remedy: remedies[cause],
		Topic: r.Topic, Partition: int64(r.Partition), Offset: r.Offset, Key: r.Key, Value: r.Value,
	}
	if poison := (*processors.Poison)(nil); errors.As(finding, &poison) {
		d.Cause, d.Reason, d.Remedy = poison.Cause, poison.Reason, poison.Remedy
	}
	switch rec := rec.(type) {
	case *schemas.OrderEvent:
		d.EventID, d.RootKey = rec.EventID, rec.Key()
	case *schemas.Transition:
		d.EventID, d.RootKey, d.ContactKey = rec.Event.EventID, rec.RootKey, rec.ContactKey
	}
	return d
}

// deadLetter writes a finding in the same transaction as the record that it is about.
func (b *batch) deadLetter(ctx context.Context, d *schemas.DeadLetter) error {
	d.Stage, d.ConfigVersion = b.l.e.o.Topology.Stage.Name(), b.l.e.o.RulesHash
	d.At = time.UnixMilli(b.meta.StreamTime).UTC()
	if len(d.Value) > valueBytesMax {
		d.Value = d.Value[:valueBytesMax]
		d.Reason += fmt.Sprintf(" (value cut to %d bytes; the record itself stays at its coordinates)", valueBytesMax)
	}
	value, err := b.l.e.o.Codec.Encode(d)
	if errors.Is(err, codec.ErrUnavailable) {
		return registryStall(err)
	}
	if err != nil {
		return &stall{reason: ReasonOutputRefused, err: fmt.Errorf("encode the dead letter %s: %w", d.ID, err), final: true, remedy: "report this: a dead letter can always be encoded"}
	}
	count, err := b.l.e.partitions(ctx, schemas.TopicDeadLetters)
	if err != nil {
		return outputStall(schemas.TopicDeadLetters, err)
	}
	r := &kgo.Record{Topic: schemas.TopicDeadLetters, Partition: kafka.Partition([]byte(d.ID), count), Key: []byte(d.ID), Value: value}
	b.stampRecord(r, nil)
	b.write(r)
	b.letters++
	b.meta.Counts.DeadLetters++
	b.l.e.o.Log.Warn().Str("id", d.ID).Str("cause", d.Cause).Str("reason", outbound.Redact(d.Reason)).Msg("dead letter")
	return nil
}

// poisoned reports whether so many of the last minute's records were dead letters that the fault is not theirs.
func (p *partition) poisoned(now time.Time, records, letters int) bool {
	p.letters = append(p.letters, minuteCount{now, records, letters})
	for len(p.letters) > 0 && now.Sub(p.letters[0].at) > poisonWindow {
		p.letters = p.letters[1:]
	}
	records, letters = 0, 0
	for _, c := range p.letters {
		records, letters = records+c.records, letters+c.letters
	}
	return letters >= poisonLetters && letters*poisonShare > records
}
