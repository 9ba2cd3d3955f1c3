package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/schemas/codec"
)

// anEvent is the n-th event of a shop whose orders have four events each.
func anEvent(n int, bodyBytes int) *schemas.OrderEvent {
	order, at := n/4, time.UnixMilli(1_780_000_000_000+int64(n)*250).UTC()
	id := fmt.Sprintf("5O%09d", order)
	e := &schemas.OrderEvent{
		EventID: fmt.Sprintf("WH-%016x", n*2_654_435_761), Kind: schemas.KindPayment, Provider: "paypal", Environment: schemas.Live, Connection: "shop", Resource: "orders",
		RootID: id, EntityID: fmt.Sprintf("CAP%09d", n), Links: []schemas.Link{{Relation: schemas.LinkOrder, ID: id}}, EventType: "PAYMENT.CAPTURE.COMPLETED",
		ProviderStatus: "COMPLETED", Status: schemas.StatusPaid, ProviderTime: at, ReceivedAt: at.Add(time.Second), DeliveryIDs: []string{fmt.Sprintf("%08x-d", n)},
		Origin: schemas.OriginWebhook, Amount: &schemas.Amount{Value: fmt.Sprintf("%d.%02d", order%500, order%100), Currency: "EUR"},
		Payer: &schemas.Payer{
			Email: fmt.Sprintf("customer%d@shop%d.example", order, order%97), GivenName: "Jane", Surname: fmt.Sprintf("Doe %d", order%5000), FullName: fmt.Sprintf("Jane Doe %d", order%5000),
			PayerID: fmt.Sprintf("P%010d", order), Address: schemas.Address{Line1: fmt.Sprintf("Street %d", order%300), City: "Bonn", PostalCode: "53111", Country: "DE"},
		},
		Fields: map[string]string{"fee": "1.23", "note": "thanks"}, BodyHash: fmt.Sprintf("%064x", n), Fingerprint: fmt.Sprintf("%032x", n),
	}
	if bodyBytes > 0 {
		text := fmt.Sprintf(`{"id":%q,"resource":{"id":%q,"amount":{"value":%q},"payer":{"email_address":%q},"links":[`, e.EventID, e.EntityID, e.Amount.Value, e.Payer.Email)
		for i := 0; len(text) < bodyBytes; i++ {
			text += fmt.Sprintf(`{"href":"https://api.example/v2/%s/%d","rel":"self"},`, e.EntityID, i)
		}
		e.Body = []byte(strings.TrimSuffix(text, ",") + "]}}")
	}
	return e
}

// record is the n-th record of a topic.
func record(topic string, n, bodyBytes int) schemas.Record {
	if topic != schemas.TopicTransitions {
		return anEvent(n, bodyBytes)
	}
	e := anEvent(n, 0)
	return &schemas.Transition{
		RootKey: e.Key(), RootKind: schemas.KindOrder, Number: int64(n%4 + 1), Disposition: schemas.Changed, From: schemas.StatusPending, To: schemas.StatusPaid, Legal: true,
		Why: "the capture was completed", Event: *e, Paid: e.Amount.Value, Refunded: "0", Currency: "EUR", Payer: e.Payer,
		ContactKey: schemas.ContactKey(e.Environment, e.Payer), At: e.ReceivedAt,
	}
}

// produce appends records from to before until.
func produce(ctx context.Context, cl *kgo.Client, c *codec.Codec, o options, from, until int) error {
	var failed error
	for n := from; n < until && ctx.Err() == nil; n++ {
		rec := record(o.topic, n, o.bodyBytes)
		value, err := c.Encode(rec)
		if err != nil {
			return err
		}
		cl.Produce(ctx, &kgo.Record{Topic: o.topic, Key: fmt.Appendf(nil, "%d", n/4), Value: value}, func(_ *kgo.Record, err error) {
			if err != nil {
				failed = err // told one after the other
			}
		})
	}
	if err := cl.Flush(ctx); err != nil {
		return fmt.Errorf("produce: %w", err)
	}
	if failed != nil {
		return fmt.Errorf("produce: %w", failed)
	}
	return nil
}
