package jobs

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tillstream/tillstream/schemas"
)

// uncertain works on effects of which nobody knows whether they happened: sends them again, or notes that they did.
type uncertain struct {
	letters
	open map[string]place // by command: whose last delivery says so
}

// place is where the delivery that says so stands, and the command.
type place struct {
	partition int32
	offset    int64
	at        time.Time // broker's
	command   *place
	effect    string
}

// uncertainMax bounds the effects that one job looks at.
const uncertainMax = 200_000

// find reads all deliveries, for the effects that are uncertain by their last one, and where their commands stand.
func (u *uncertain) find(ctx context.Context) error {
	n, err := u.log.Partitions(ctx, schemas.TopicDeliveries)
	if err != nil {
		return err
	}
	for p := range n {
		err := u.log.Scan(ctx, schemas.TopicDeliveries, p, -1, func(rec *kgo.Record) error {
			got, err := u.r.decode(rec)
			d := delivery(got)
			switch {
			case err != nil:
				return err
			case d == nil:
			case d.Outcome == schemas.OutcomeUncertain:
				if u.open[d.CommandID] = (place{partition: p, offset: rec.Offset, at: rec.Timestamp}); len(u.open) > uncertainMax {
					return fmt.Errorf("%w: more than %d effects are uncertain", ErrImpossible, uncertainMax)
				}
			default:
				delete(u.open, d.CommandID)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	if len(u.open) == 0 || u.job.Kind == schemas.JobSettle && u.job.Filter.Effect == "" {
		return nil
	}
	if n, err = u.log.Partitions(ctx, schemas.TopicCommands); err != nil {
		return err
	}
	for p := range n {
		err := u.log.Scan(ctx, schemas.TopicCommands, p, -1, func(rec *kgo.Record) error {
			got, err := u.r.decode(rec)
			c, ok := got.(*schemas.Command)
			if err != nil || !ok || c.Effect == nil {
				return err
			}
			if o, ok := u.open[c.CommandID]; ok {
				o.command, o.effect = &place{partition: p, offset: rec.Offset}, c.Effect.Type
				u.open[c.CommandID] = o
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// delivery is that of an effect; nil: it is none.
func delivery(rec schemas.Record) *schemas.Delivery {
	if d, ok := rec.(*schemas.Delivery); ok && d.Kind == schemas.CommandEffect {
		return d
	}
	return nil
}

// Item implements Worker.
func (u *uncertain) Item(_ int, rec *kgo.Record, got schemas.Record) (Item, bool) {
	d := delivery(got)
	if d == nil {
		return Item{}, false
	}
	o, ok := u.open[d.CommandID]
	if !ok || o.partition != rec.Partition || o.offset != rec.Offset || !u.job.Filter.uncertain(d) || u.job.Filter.Effect != "" && u.job.Filter.Effect != o.effect {
		return Item{}, false
	}
	return Item{ID: d.CommandID, Destination: d.Destination, ContactKey: d.ContactKey, Value: o}, u.due(d.CommandID, o.at)
}

// Do implements Worker.
func (u *uncertain) Do(ctx context.Context, items []Item) ([]Done, error) {
	var done []Done
	until := u.r.clock.Now().Add(DoPatience)
	for _, it := range items {
		d, err := u.one(ctx, it)
		if err != nil {
			return nil, err
		}
		if done = append(done, d); u.r.clock.Now().After(until) {
			break
		}
	}
	return done, nil
}

func (u *uncertain) one(ctx context.Context, it Item) (Done, error) {
	o := it.Value.(place)
	if at, closed := u.r.ledger.closed(it.ID); closed && !at.Before(o.at) {
		return Done{Result: schemas.ItemSkipped, Unsaid: true}, nil
	}
	if u.job.Kind == schemas.JobSettle {
		return Done{Result: schemas.ItemSettled, Detail: "it did happen, says " + u.job.By}, nil
	}
	if o.command == nil {
		return failed("its command is no longer on topic %s: do by hand what it asked for, then settle it", schemas.TopicCommands)
	}
	rec, err := u.log.At(ctx, schemas.TopicCommands, o.command.partition, o.command.offset)
	if err != nil {
		return Done{}, err
	}
	if rec == nil {
		return failed("its command is no longer on topic %s: do by hand what it asked for, then settle it", schemas.TopicCommands)
	}
	got, err := u.r.o.Codec.Decode(rec.Value)
	c, ok := got.(*schemas.Command)
	if err != nil || !ok {
		return Done{}, fmt.Errorf("read command %s: %w", it.ID, err)
	}
	c.At = u.r.clock.Now().UTC()
	out, err := u.r.record(schemas.TopicCommands, string(rec.Key), c)
	if err != nil {
		return Done{}, err
	}
	out.Partition = o.command.partition
	return sent("a person says that it did not happen: the effect is sent again", out)
}
