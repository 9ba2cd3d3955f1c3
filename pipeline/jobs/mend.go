package jobs

import (
	"fmt"

	"github.com/tillstream/tillstream/connectors"
	"github.com/tillstream/tillstream/pipeline/ingest"
	"github.com/tillstream/tillstream/schemas"
)

// normalize gives the events that the connector of today makes of the bytes of e; why says why it cannot.
func (l *letters) normalize(e *schemas.OrderEvent) (events []schemas.OrderEvent, topic, why string) {
	if l.r.o.Connector == nil {
		return nil, "", "this process knows no connections to normalise the bytes with"
	}
	c, ok := l.r.o.Connector(e.Environment, e.Connection)
	if !ok || c.Normalize == nil || c.Topic == "" {
		return nil, "", fmt.Sprintf("there is no connection %s (%s) to normalise the bytes with: configure it again, then retry", e.Connection, e.Environment)
	}
	d := connectors.Delivery{
		Connection: e.Connection, Environment: e.Environment, Body: e.Body, Headers: e.Headers, ReceivedAt: e.ReceivedAt, Origin: e.Origin, Test: e.Test,
	}
	if len(e.DeliveryIDs) > 0 {
		d.ID = e.DeliveryIDs[0]
	}
	events = ingest.Events(c, d, nil)
	for i := range events {
		if p := events[i].Problem; p != "" {
			return nil, "", "the connector still does not understand it: " + p
		}
	}
	return events, c.Topic, ""
}
