package paypal

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/tillstream/tillstream/connectors"
	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/schemas/strictjson"
)

// Where the objects are read.
const (
	ordersPath         = "/v2/checkout/orders"
	capturesPath       = "/v2/payments/captures"
	authorizationsPath = "/v2/payments/authorizations"
	salesPath          = "/v1/payments/sale"
	subscriptionsPath  = "/v1/billing/subscriptions"
	subscriptionFields = "?fields=plan,last_failed_payment"
)

// Fetch implements connectors.Fetcher: the order or subscription, which know the customer, where e or what is read on the
// way names one; else the payment, which says where it belongs. At most three requests.
func (s *source) Fetch(ctx context.Context, e *schemas.OrderEvent) (connectors.Delivery, error) {
	body, err := s.fetch(ctx, e)
	if err != nil {
		return connectors.Delivery{}, fmt.Errorf("read %s of event %s at PayPal: %w", e.EntityID, e.EventID, err)
	}
	return s.delivered(body), nil
}

// delivered is what was read or listed, as a delivery.
func (s *source) delivered(body []byte) connectors.Delivery {
	return connectors.Delivery{
		Connection: s.env.Connection, Environment: s.env.Environment, Body: body, ReceivedAt: s.env.Now(), Origin: schemas.OriginPoll,
	}
}

func (s *source) fetch(ctx context.Context, e *schemas.OrderEvent) ([]byte, error) {
	switch {
	case e.Kind == schemas.KindOrder:
		return s.read(ctx, ordersPath, e.EntityID, "")
	case e.Kind == schemas.KindSubscription:
		return s.read(ctx, subscriptionsPath, e.EntityID, subscriptionFields)
	case e.Linked(schemas.LinkOrder) != "":
		return s.read(ctx, ordersPath, e.Linked(schemas.LinkOrder), "")
	case e.Linked(schemas.LinkSubscription) != "":
		return s.read(ctx, subscriptionsPath, e.Linked(schemas.LinkSubscription), subscriptionFields)
	case e.Linked(schemas.LinkSale) != "":
		return s.read(ctx, salesPath, e.Linked(schemas.LinkSale), "")
	case e.Linked(schemas.LinkCapture) != "":
		return s.payment(ctx, e.Linked(schemas.LinkCapture))
	case e.Linked(schemas.LinkAuthorization) != "":
		return s.toOrder(ctx, authorizationsPath, e.Linked(schemas.LinkAuthorization))
	case e.Kind == schemas.KindPayment && strings.HasPrefix(e.EventType, "PAYMENT.SALE."):
		return s.read(ctx, salesPath, e.EntityID, "")
	case e.Kind == schemas.KindPayment:
		return s.payment(ctx, e.EntityID)
	}
	return nil, fmt.Errorf("%w: the event names nothing that could be read", connectors.ErrNotThere)
}

// payment reads what may be a capture or a sale: a dispute or a listed transaction does not say which.
func (s *source) payment(ctx context.Context, id string) ([]byte, error) {
	body, err := s.toOrder(ctx, capturesPath, id)
	if errors.Is(err, connectors.ErrNotThere) {
		return s.read(ctx, salesPath, id, "")
	}
	return body, err
}

// toOrder reads a payment and then its order, which holds the payment too. Where the order cannot be read any more the
// payment serves: it still says which one it is.
func (s *source) toOrder(ctx context.Context, path, id string) ([]byte, error) {
	body, err := s.read(ctx, path, id, "")
	if err != nil {
		return nil, err
	}
	events, err := normalize(s.delivered(body))
	if err != nil {
		return body, nil // kept, and shown as not understood
	}
	order := events[0].Linked(schemas.LinkOrder)
	if order == "" {
		return body, nil
	}
	whole, err := s.read(ctx, ordersPath, order, "")
	if err != nil {
		if errors.Is(err, connectors.ErrNotThere) || statusOf(err) == http.StatusForbidden {
			return body, nil
		}
		return nil, err
	}
	if !holds(whole, id) {
		return body, nil
	}
	return whole, nil
}

// holds reports whether an order names that payment, so that reading the order links the two.
func holds(order []byte, id string) bool {
	v, err := strictjson.Parse(order)
	if err != nil {
		return false
	}
	m, _ := v.(map[string]any)
	captures, authorizations := unitPayments(object(m).Objects("purchase_units"))
	for _, p := range append(captures, authorizations...) {
		if p.Text("id") == id {
			return true
		}
	}
	return false
}

// read returns an object's bytes as PayPal wrote them.
func (s *source) read(ctx context.Context, path, id, query string) ([]byte, error) {
	if err := checkID("id", id); err != nil {
		return nil, fmt.Errorf("%w: %w", connectors.ErrNotThere, err)
	}
	var body json.RawMessage
	err := s.api.call(ctx, http.MethodGet, path+"/"+url.PathEscape(id)+query, nil, &body)
	if statusOf(err) == http.StatusNotFound {
		return nil, fmt.Errorf("%w: %w", connectors.ErrNotThere, err)
	}
	if err == nil && len(body) == 0 {
		err = errors.New("empty answer")
	}
	return body, err
}
