package scenario

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tillstream/tillstream/processors/triggers"
	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/schemas/money"
)

// eventAttributes are the names that an event takes, besides field.NAME.
var eventAttributes = []string{
	"order", "subscription", "payment", "refund", "dispute", "id", "connection", "type", "provider-status", "amount", "total",
	"email", "given", "surname", "name", "phone", "payer-id", "country", "origin", "time", "sequence", "custom-id", "invoice", "problem",
}

// parseEvent reads: STATUS name=value ... [test] [deleted].
func parseEvent(w *words) (event, error) {
	e := event{fields: map[string]string{}}
	if word := w.next(); word == "OTHER" {
		e.kind = schemas.KindOther
	} else if e.status = schemas.PaymentStatus(word); e.status != schemas.StatusUnknown && !slices.Contains(triggers.Statuses(), word) {
		return e, unknownWord(word, "status", append(triggers.Statuses(), "UNKNOWN", "OTHER"))
	}
	for len(w.list) > 0 {
		name, value, _, ok := w.attribute()
		if !ok {
			switch word := w.next(); word {
			case "test":
				e.test = true
			case "deleted":
				e.deleted = true
			case "versioned":
				e.versioned = true
			case "anonymous":
				e.anonymous = true
			default:
				return e, fmt.Errorf("%q is not understood: write name=value, test, deleted, versioned or anonymous", word)
			}
			continue
		}
		if (name == "amount" || name == "total") && !strings.Contains(value, " ") && isCurrency(w.peek()) {
			value += " " + w.next()
		}
		if err := e.set(name, value, w.zone); err != nil {
			return e, err
		}
	}
	return e, e.complete()
}

func isCurrency(word string) bool {
	return len(word) == 3 && strings.ToUpper(word) == word && word[0] >= 'A' && word[0] <= 'Z'
}

func (e *event) set(name, value string, zone *time.Location) (err error) {
	texts := map[string]*string{
		"order": &e.order, "subscription": &e.subscription, "payment": &e.payment, "refund": &e.refund, "dispute": &e.issue, "id": &e.id,
		"connection": &e.connection, "type": &e.eventType, "provider-status": &e.providerStatus, "email": &e.payer.Email,
		"given": &e.payer.GivenName, "surname": &e.payer.Surname, "name": &e.payer.FullName, "phone": &e.payer.Phone,
		"payer-id": &e.payer.PayerID, "country": &e.payer.Address.Country, "custom-id": &e.customID, "invoice": &e.invoice, "problem": &e.problem,
	}
	if to := texts[name]; to != nil {
		*to = value
		return nil
	}
	if field, ok := strings.CutPrefix(name, "field."); ok && field != "" {
		e.fields[field] = value
		return nil
	}
	switch name {
	case "amount":
		e.amount, err = amountOf(value)
	case "total":
		e.total, err = amountOf(value)
	case "origin":
		e.origin, err = originOf(value)
	case "sequence":
		if e.sequence, err = strconv.ParseInt(value, 10, 64); err != nil {
			err = fmt.Errorf("sequence=%s is no number", value)
		}
	case "time":
		if ago, ok := strings.CutPrefix(value, "-"); ok {
			e.ago, err = durationOf(ago)
			break
		}
		list, splitErr := split(value)
		if splitErr != nil {
			return splitErr
		}
		w := &words{list: list, zone: zone}
		var t time.Time
		if t, err = w.moment(); err == nil {
			e.at = &t
		}
	default:
		return unknownWord(name, "attribute of an event", eventAttributes)
	}
	return err
}

func amountOf(text string) (*schemas.Amount, error) {
	value, currency, ok := strings.Cut(text, " ")
	if !ok || !isCurrency(currency) {
		return nil, fmt.Errorf("amount %q needs a value and a currency: amount=50.00 EUR", text)
	}
	if err := money.Check(value, currency); err != nil {
		return nil, err
	}
	return &schemas.Amount{Value: value, Currency: currency}, nil
}

// complete finds out what the event is about.
func (e *event) complete() error {
	switch {
	case e.kind == schemas.KindOther:
	case e.refund != "":
		e.kind = schemas.KindRefund
	case e.issue != "":
		e.kind = schemas.KindDispute
	case e.payment != "":
		e.kind = schemas.KindPayment
	case e.subscription != "":
		e.kind = schemas.KindSubscription
	case e.order != "":
		e.kind = schemas.KindOrder
	default:
		return fmt.Errorf("the event is about nothing: add order=A1, subscription=S1, payment=C1 or refund=R1")
	}
	if e.order != "" && e.subscription != "" {
		return fmt.Errorf("the event names an order and a subscription: keep one")
	}
	if (e.kind == schemas.KindRefund || e.kind == schemas.KindDispute) && e.payment == "" && e.order == "" && e.subscription == "" {
		return fmt.Errorf("a refund or dispute needs the payment it is about: add payment=C1")
	}
	return nil
}

// record makes the event whole. number tells the events of a scenario apart.
func (e *event) record(c Connection, now time.Time, number int) *schemas.OrderEvent {
	out := &schemas.OrderEvent{
		EventID: e.id, Kind: e.kind, Provider: c.Provider, Environment: c.Environment, Connection: c.Name, EventType: e.eventType,
		ProviderStatus: e.providerStatus, Status: e.status, ProviderTime: now.Add(-e.ago), ReceivedAt: now, Sequence: e.sequence,
		Origin: e.origin, Amount: e.amount, RefundedTotal: e.total, CustomID: e.customID, InvoiceID: e.invoice, Test: e.test,
		Problem: e.problem, Deleted: e.deleted, Versioned: e.versioned, Body: []byte("{}"),
		DeliveryIDs: []string{fmt.Sprintf("delivery-%d", number)},
	}
	if out.EventID == "" {
		out.EventID = fmt.Sprintf("E%d", number)
	}
	out.Fingerprint = "content-" + out.EventID
	if e.at != nil {
		out.ProviderTime = *e.at
	}
	if out.Origin == "" {
		out.Origin = schemas.OriginWebhook
	}
	if out.ProviderStatus == "" {
		out.ProviderStatus = string(e.status)
	}
	if len(e.fields) > 0 {
		out.Fields = e.fields
	}
	if p := e.payer; p != (schemas.Payer{}) && !e.anonymous {
		out.Payer = &p
	}
	e.relate(out)
	if out.EventType == "" {
		out.EventType = typeOf(c.Provider, out.Kind, e.status, out.Linked(schemas.LinkSubscription) != "")
	}
	if c.Resource != nil {
		out.Resource = c.Resource(out.EventType)
	}
	return out
}

// relate sets what the event is about, and to what that belongs.
func (e *event) relate(out *schemas.OrderEvent) {
	for _, id := range []string{e.refund, e.issue, e.payment, e.subscription, e.order} {
		if id != "" {
			out.EntityID = id
			break
		}
	}
	for _, id := range []string{e.subscription, e.order, e.payment, e.refund, e.issue} {
		if id != "" {
			out.RootID = id
			break
		}
	}
	if e.kind == schemas.KindOther && out.RootID == "" {
		out.RootID, out.EntityID = "other", "other"
	}
	link := func(rel schemas.LinkRelation, id string) {
		if id != "" && id != out.EntityID {
			out.Links = append(out.Links, schemas.Link{Relation: rel, ID: id})
		}
	}
	link(schemas.LinkOrder, e.order)
	link(schemas.LinkSubscription, e.subscription)
	if e.kind == schemas.KindRefund || e.kind == schemas.KindDispute {
		rel := schemas.LinkCapture
		if e.subscription != "" {
			rel = schemas.LinkSale
		}
		link(rel, e.payment)
	}
}

// paypalTypes are what PayPal calls such an event, by what it is about and its status; "" stands for any other status.
var paypalTypes = map[schemas.EventKind]map[schemas.PaymentStatus]string{
	schemas.KindOrder: {
		schemas.StatusApproved: "CHECKOUT.ORDER.APPROVED", schemas.StatusPaid: "CHECKOUT.ORDER.COMPLETED",
		schemas.StatusCancelled: "CHECKOUT.PAYMENT-APPROVAL.REVERSED", "": "CHECKOUT.ORDER.APPROVED",
	},
	schemas.KindPayment: {
		schemas.StatusPaid: "PAYMENT.CAPTURE.COMPLETED", schemas.StatusPending: "PAYMENT.CAPTURE.PENDING",
		schemas.StatusFailed: "PAYMENT.CAPTURE.DENIED", schemas.StatusAuthorized: "PAYMENT.AUTHORIZATION.CREATED",
		schemas.StatusVoided: "PAYMENT.AUTHORIZATION.VOIDED", "": "PAYMENT.CAPTURE.COMPLETED",
	},
	schemas.KindRefund:  {schemas.StatusChargedBack: "PAYMENT.CAPTURE.REVERSED", "": "PAYMENT.CAPTURE.REFUNDED"},
	schemas.KindDispute: {schemas.StatusDisputed: "CUSTOMER.DISPUTE.CREATED", "": "CUSTOMER.DISPUTE.RESOLVED"},
	schemas.KindSubscription: {
		schemas.StatusPending: "BILLING.SUBSCRIPTION.CREATED", schemas.StatusApproved: "BILLING.SUBSCRIPTION.CREATED",
		schemas.StatusActive: "BILLING.SUBSCRIPTION.ACTIVATED", schemas.StatusSuspended: "BILLING.SUBSCRIPTION.SUSPENDED",
		schemas.StatusCancelled: "BILLING.SUBSCRIPTION.CANCELLED", schemas.StatusExpired: "BILLING.SUBSCRIPTION.EXPIRED",
		"": "BILLING.SUBSCRIPTION.UPDATED",
	},
}

// typeOf is the event type that such an event usually has.
func typeOf(provider string, kind schemas.EventKind, status schemas.PaymentStatus, recurring bool) string {
	if provider != "paypal" {
		return strings.ToLower(string(kind) + "." + string(status))
	}
	byStatus := paypalTypes[kind]
	name, ok := byStatus[status]
	if !ok {
		name = byStatus[""]
	}
	if recurring {
		name = strings.Replace(name, "PAYMENT.CAPTURE.", "PAYMENT.SALE.", 1)
	}
	if name == "" {
		return "UNKNOWN.TYPE"
	}
	return name
}
