package deliver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tillstream/tillstream/pipeline/kafka"
	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/schemas/codec"
	"github.com/tillstream/tillstream/sinks"
)

// recallBefore is how long before a command others' deliveries to its contact are looked for: what was made a little
// earlier may pass for the command's own where clocks differ.
const recallBefore = 5 * time.Minute

// recall has the writer know what others made for the contact of e, before it says whether e happened. An earlier owner
// took its memory along, but its receipts are on crm.deliveries, and there before the intent of any later effect for the
// contact.
func (d *Deliverer) recall(ctx context.Context, w sinks.Writer, e *entry, cmd *schemas.Command) error {
	recaller, ok := w.(sinks.Recaller)
	if !ok || e.recalled {
		return nil
	}
	list, err := d.receipts(ctx, cmd)
	if err != nil {
		err = fmt.Errorf("read what was delivered to the contact of command %s: %w", cmd.CommandID, err)
		d.opts.Log.Warn().Err(err).Str("destination", cmd.Destination).Msg("an effect that may have happened is not asked about yet")
		return err
	}
	recaller.Recall(list)
	e.recalled = true
	return nil
}

// receipts are the deliveries of other commands to the contact of cmd, at the same account, since it was made.
func (d *Deliverer) receipts(ctx context.Context, cmd *schemas.Command) (list []*schemas.Delivery, err error) {
	key := []byte(cmd.ContactKey)
	d.mu.Lock()
	partition := kafka.Partition(key, d.counts[schemas.TopicDeliveries])
	d.mu.Unlock()
	from, err := d.cluster.OffsetAt(ctx, schemas.TopicDeliveries, partition, cmd.At.Add(-recallBefore))
	if err != nil {
		return nil, err
	}
	_, end, err := d.cluster.Bounds(ctx, schemas.TopicDeliveries, partition)
	if err != nil || from >= end {
		return nil, err
	}
	account := d.account(cmd.Destination)
	r := kafka.Range{Topic: schemas.TopicDeliveries, Partition: partition, From: from, To: end, Patience: readPatience}
	err = d.cluster.Read(ctx, r, func(records []*kgo.Record, _ int64) error {
		for _, rec := range records {
			if rec.Attrs.IsControl() || !bytes.Equal(rec.Key, key) {
				continue
			}
			got, err := d.opts.Codec.Decode(rec.Value)
			if errors.Is(err, codec.ErrUnavailable) {
				return err
			}
			if v, ok := got.(*schemas.Delivery); err == nil && ok && v.CommandID != cmd.CommandID && d.account(v.Destination) == account {
				list = append(list, v)
			}
		}
		return nil
	})
	return list, err
}
