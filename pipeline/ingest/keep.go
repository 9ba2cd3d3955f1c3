package ingest

import (
	"context"
	"fmt"

	"github.com/tillstream/tillstream/connectors"
	"github.com/tillstream/tillstream/schemas"
)

// Keeper appends deliveries to their connector's topic, whichever way they came in.
type Keeper struct {
	Appender Appender
	// Encode turns a record into the value to append.
	Encode func(schemas.Record) ([]byte, error)
	// AllowCardNumbers lets deliveries pass in which a payment card number stands. Otherwise they are quarantined, and
	// kept with all but its last four digits masked: such numbers must not be stored.
	AllowCardNumbers bool
}

// Events are the records that Keep would append of d.
func (k Keeper) Events(c connectors.Connector, d connectors.Delivery) []schemas.OrderEvent {
	if e, found := k.cardNumber(c, d); found {
		return []schemas.OrderEvent{e}
	}
	return Events(c, d, nil)
}

// cardNumber is the quarantined event of a delivery in which a payment card number stands.
func (k Keeper) cardNumber(c connectors.Connector, d connectors.Delivery) (e schemas.OrderEvent, found bool) {
	if k.AllowCardNumbers {
		return e, false
	}
	masked, n := maskCardNumbers(d.Body)
	if n == 0 {
		return e, false
	}
	d.Body = masked
	return quarantined(c, d, "a payment card number stands in it, which is masked here and must not be sent"), true
}

// Keep turns d into records and appends all of them; it returns them once every replica has them. Where one of several
// fails, those before it come again with the repetition and are recognised. A delivery that is not understood is kept
// as one record with a Problem: that is no error.
func (k Keeper) Keep(ctx context.Context, c connectors.Connector, d connectors.Delivery) ([]schemas.OrderEvent, error) {
	if e, found := k.cardNumber(c, d); found {
		return k.quarantine(ctx, c, e)
	}
	events, values, err := k.records(c, d)
	if err != nil {
		return nil, fmt.Errorf("encode: %w", err)
	}
	return k.append(ctx, c, events, values)
}

// quarantine keeps e where it has no effect. It holds no card number any more.
func (k Keeper) quarantine(ctx context.Context, c connectors.Connector, e schemas.OrderEvent) ([]schemas.OrderEvent, error) {
	events := []schemas.OrderEvent{e}
	values, err := k.encode(events)
	if err != nil {
		return nil, fmt.Errorf("encode: %w", err)
	}
	return k.append(ctx, c, events, values)
}

func (k Keeper) append(ctx context.Context, c connectors.Connector, events []schemas.OrderEvent, values [][]byte) ([]schemas.OrderEvent, error) {
	for i := range events {
		if err := k.Appender.Append(ctx, c.Topic, events[i].Key(), values[i]); err != nil {
			return nil, err
		}
	}
	return events, nil
}

// records are the delivery's events and their encoded values. Where they cannot be encoded, the fault is theirs only if
// the problem form can be, and they still cannot afterwards: otherwise it is the schema registry's, and passes.
func (k Keeper) records(c connectors.Connector, d connectors.Delivery) ([]schemas.OrderEvent, [][]byte, error) {
	events := Events(c, d, nil)
	values, err := k.encode(events)
	if err == nil {
		return events, values, nil
	}
	kept := Events(c, d, err)
	keptValues, err := k.encode(kept)
	if err != nil {
		return nil, nil, err
	}
	if values, err = k.encode(events); err == nil {
		return events, values, nil
	}
	return kept, keptValues, nil
}

func (k Keeper) encode(events []schemas.OrderEvent) ([][]byte, error) {
	values := make([][]byte, len(events))
	for i := range events {
		var err error
		if values[i], err = k.Encode(&events[i]); err != nil {
			return nil, err
		}
	}
	return values, nil
}
