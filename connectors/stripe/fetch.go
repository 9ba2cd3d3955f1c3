package stripe

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"github.com/tillstream/tillstream/connectors"
	"github.com/tillstream/tillstream/outbound"
	"github.com/tillstream/tillstream/schemas"
)

// Fetch implements connectors.Fetcher: the payment intent, subscription or lone charge that e is about, with its
// customer, whom most events name by id only.
func (s *source) Fetch(ctx context.Context, e *schemas.OrderEvent) (connectors.Delivery, error) {
	if s.api == nil {
		return connectors.Delivery{}, fmt.Errorf("read the customer of event %s: %w: no api_key is set", e.EventID, connectors.ErrNotThere)
	}
	path, id := target(e)
	if checkID("", id) != nil {
		return connectors.Delivery{}, fmt.Errorf("event %s: %w: it names nothing that could be read", e.EventID, connectors.ErrNotThere)
	}
	expand := url.Values{"expand[]": {"customer"}}
	if path == readable["payment_intent"] {
		expand.Add("expand[]", "latest_charge")
	}
	var raw json.RawMessage
	_, err := s.api.Call(ctx, http.MethodGet, path+url.PathEscape(id)+"?"+expand.Encode(), nil, &raw)
	refused := (*outbound.StatusError)(nil)
	switch {
	case errors.As(err, &refused) && refused.Status == http.StatusNotFound:
		return connectors.Delivery{}, fmt.Errorf("read %s of event %s: %w", id, e.EventID, connectors.ErrNotThere)
	case err != nil:
		return connectors.Delivery{}, fmt.Errorf("read %s of event %s: %w", id, e.EventID, explain(err))
	}
	return connectors.Delivery{
		Connection: s.env.Connection, Environment: s.env.Environment, ID: id, Body: raw, ReceivedAt: s.env.Now(), Origin: schemas.OriginPoll,
	}, nil
}

// target is what to read for e: the root that it belongs to.
func target(e *schemas.OrderEvent) (path, id string) {
	intent, subscription, charge := e.Linked(schemas.LinkOrder), e.Linked(schemas.LinkSubscription), e.Linked(schemas.LinkCapture)
	switch {
	case e.Kind == schemas.KindSubscription:
		return readable["subscription"], e.RootID
	case subscription != "":
		return readable["subscription"], subscription
	case intent != "":
		return readable["payment_intent"], intent
	case e.Kind == schemas.KindOrder && e.Fields["checkout.id"] == "": // a session without an intent says all that there is
		return readable["payment_intent"], e.EntityID
	case e.Kind == schemas.KindPayment:
		return readable["charge"], e.EntityID
	case charge != "":
		return readable["charge"], charge
	}
	return "", ""
}
