package orders_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/tillstream/tillstream/processors"
	"github.com/tillstream/tillstream/processors/orders"
	"github.com/tillstream/tillstream/processors/processorstest"
	"github.com/tillstream/tillstream/schemas"
)

func TestSameHistorySameBytes(t *testing.T) {
	events := []*schemas.OrderEvent{
		order(approved, 0), capture(paid, 1), capture(paid, 1), order(paid, 3, payer(nil)),
		refund("R1", "4", refunded, 4), order(approved, 9, fingerprint("changed")),
	}
	var history []processors.Input
	for i, e := range events {
		e.Fields = map[string]string{"b": "2", "a": "1", "c": fmt.Sprint(i)}
		history = append(history, processors.Input{At: noon.Add(time.Duration(i) * time.Second), Key: "sandbox/eu/O1", Topic: schemas.TopicOrdersInbox, Record: e})
	}
	history = append(history, processors.Input{At: noon.Add(500 * 24 * time.Hour), Timer: &processors.Timer{At: noon.Add(401 * 24 * time.Hour), ID: "forget"}})
	processorstest.Determinism(t, orders.New(orders.Options{}), history)
}
