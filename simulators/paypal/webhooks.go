package paypal

import (
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// webhook is one registration of an app.
type webhook struct {
	id, url  string
	types    []string
	disabled map[string]bool // types that PayPal switched off; subscribing anew switches them on
}

// DisableTypes switches event types of all webhooks of an account off, as PayPal may: they stay listed, with another
// status, and are not sent.
func (s *Server) DisableTypes(accountName string, types ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.accounts[accountName]
	if a == nil {
		return
	}
	for _, h := range a.webhooks {
		h.disabled = map[string]bool{}
		for _, t := range types {
			h.disabled[t] = true
		}
	}
}

// urlBytesMax and typesMax are PayPal's bounds of a registration.
const (
	urlBytesMax = 2048
	typesMax    = 500
)

// eventTypes are those that can be subscribed to, with PayPal's descriptions.
var eventTypes = []struct{ name, description string }{
	{"BILLING.PLAN.ACTIVATED", "A billing plan was activated."},
	{"BILLING.PLAN.CREATED", "A billing plan was created."},
	{"BILLING.PLAN.DEACTIVATED", "A billing plan was deactivated."},
	{"BILLING.PLAN.PRICING-CHANGE.ACTIVATED", "A price change for the plan was activated."},
	{"BILLING.PLAN.UPDATED", "A billing plan was updated."},
	{"BILLING.SUBSCRIPTION.ACTIVATED", "A subscription was activated."},
	{"BILLING.SUBSCRIPTION.CANCELLED", "A subscription was cancelled."},
	{"BILLING.SUBSCRIPTION.CREATED", "A subscription was created."},
	{"BILLING.SUBSCRIPTION.EXPIRED", "A subscription expired."},
	{"BILLING.SUBSCRIPTION.PAYMENT.FAILED", "Payment failed on a subscription."},
	{"BILLING.SUBSCRIPTION.RE-ACTIVATED", "A subscription was reactivated."},
	{"BILLING.SUBSCRIPTION.SUSPENDED", "A subscription was suspended."},
	{"BILLING.SUBSCRIPTION.UPDATED", "A subscription was updated."},
	{"CATALOG.PRODUCT.CREATED", "A product was created."},
	{"CATALOG.PRODUCT.UPDATED", "A product was updated."},
	{"CHECKOUT.ORDER.APPROVED", "A buyer approved a checkout order."},
	{"CHECKOUT.ORDER.COMPLETED", "A checkout order was processed."},
	{"CHECKOUT.PAYMENT-APPROVAL.REVERSED", "A payment was reversed after approval."},
	{"CUSTOMER.DISPUTE.CREATED", "A dispute was created."},
	{"CUSTOMER.DISPUTE.RESOLVED", "A dispute was resolved."},
	{"CUSTOMER.DISPUTE.UPDATED", "A dispute was updated."},
	{"PAYMENT.AUTHORIZATION.CREATED", "A payment authorization was created."},
	{"PAYMENT.AUTHORIZATION.VOIDED", "A payment authorization was voided."},
	{"PAYMENT.CAPTURE.COMPLETED", "A capture payment was completed."},
	{"PAYMENT.CAPTURE.DECLINED", "A capture payment was declined."},
	{"PAYMENT.CAPTURE.DENIED", "A capture payment was denied."},
	{"PAYMENT.CAPTURE.PENDING", "The state of a capture payment changed to pending."},
	{"PAYMENT.CAPTURE.REFUNDED", "A merchant refunded a capture payment."},
	{"PAYMENT.CAPTURE.REVERSED", "PayPal reversed a capture payment."},
	{"PAYMENT.SALE.COMPLETED", "A sale was completed."},
	{"PAYMENT.SALE.DENIED", "A sale was denied."},
	{"PAYMENT.SALE.PENDING", "The state of a sale changed to pending."},
	{"PAYMENT.SALE.REFUNDED", "A merchant refunded a sale."},
	{"PAYMENT.SALE.REVERSED", "PayPal reversed a sale."},
	{"VAULT.PAYMENT-TOKEN.CREATED", "A payment token was saved."},
	{"VAULT.PAYMENT-TOKEN.DELETED", "A payment token was deleted."},
}

func description(name string) (string, bool) {
	if name == "*" {
		return "ALL", true
	}
	for _, t := range eventTypes {
		if t.name == name {
			return t.description, true
		}
	}
	return "", false
}

func invalidData(field, issue string) error {
	return refuse(400, "VALIDATION_ERROR", "Invalid data provided", object{"field": field, "issue": issue})
}

func unknownID() error { return refuse(404, "INVALID_RESOURCE_ID", "Resource id is invalid") }

// checkURL is PayPal's rule (https, port 443, a public name), relaxed for local runs where the options say so.
func (s *Server) checkURL(raw string) error {
	bad := invalidData("url", "Not a valid webhook URL")
	u, err := url.Parse(raw)
	if err != nil || len(raw) > urlBytesMax || u.Hostname() == "" || u.User != nil {
		return bad
	}
	host := u.Hostname()
	ip := net.ParseIP(host)
	local := host == "localhost" || ip != nil && ip.IsLoopback() || ip == nil && !strings.Contains(host, ".")
	if s.o.LocalWebhooks && local && (u.Scheme == "http" || u.Scheme == "https") {
		return nil
	}
	if u.Scheme != "https" || local || u.Port() != "" && u.Port() != "443" {
		return bad
	}
	return nil
}

func parseTypes(v any) ([]string, error) {
	list, ok := v.([]any)
	if !ok || len(list) == 0 || len(list) > typesMax {
		return nil, invalidData("event_types", "Event types are missing or too many")
	}
	var out []string
	for _, x := range list {
		o, _ := x.(object)
		name := text(o, "name")
		if _, ok := description(name); !ok {
			return nil, invalidData("event_types", "Not a valid event type: "+name)
		}
		if !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	return out, nil
}

func (s *Server) createWebhook(a *account, _ *http.Request, body []byte) (int, any, error) {
	in, err := decode(body)
	if err != nil {
		return 0, nil, err
	}
	target := text(in, "url")
	if err := s.checkURL(target); err != nil {
		return 0, nil, err
	}
	types, err := parseTypes(in["event_types"])
	if err != nil {
		return 0, nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, h := range a.webhooks {
		if h.url == target {
			return 0, nil, refuse(400, "WEBHOOK_URL_ALREADY_EXISTS", "Webhook URL already exists")
		}
	}
	if len(a.webhooks) >= WebhooksMax {
		return 0, nil, refuse(400, "WEBHOOK_NUMBER_LIMIT_EXCEEDED", "Webhook number exceeds limit")
	}
	h := &webhook{id: s.id(17), url: target, types: types}
	a.webhooks = append(a.webhooks, h)
	return 201, s.show(h, false), nil
}

// show is a webhook as the API prints it. Types carry a status where one webhook is read. s.mu is held.
func (s *Server) show(h *webhook, status bool) object {
	types := make([]object, len(h.types))
	for i, name := range h.types {
		d, _ := description(name)
		types[i] = object{"name": name, "description": d}
		if status {
			types[i]["status"] = "ENABLED"
			if h.disabled[name] {
				types[i]["status"] = "DISABLED"
			}
		}
	}
	self := s.publicURL + "/v1/notifications/webhooks/" + h.id
	return object{
		"id": h.id, "url": h.url, "event_types": types,
		"links": []object{link(self, "self", "GET"), link(self, "update", "PATCH"), link(self, "delete", "DELETE")},
	}
}

func (s *Server) listWebhooks(a *account, r *http.Request, _ []byte) (int, any, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := []object{}
	if r.URL.Query().Get("anchor_type") != "ACCOUNT" {
		for _, h := range a.webhooks {
			list = append(list, s.show(h, false))
		}
	}
	return 200, object{"webhooks": list}, nil
}

// find returns the webhook of the path. s.mu is held.
func (a *account) find(r *http.Request) (*webhook, error) {
	for _, h := range a.webhooks {
		if h.id == r.PathValue("id") {
			return h, nil
		}
	}
	return nil, unknownID()
}

func (s *Server) getWebhook(a *account, r *http.Request, _ []byte) (int, any, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	h, err := a.find(r)
	if err != nil {
		return 0, nil, err
	}
	return 200, s.show(h, true), nil
}

// patchWebhook takes a JSON Patch of replacements of /url and /event_types. All of it is applied, or nothing.
func (s *Server) patchWebhook(a *account, r *http.Request, body []byte) (int, any, error) {
	ops, err := decode([]byte(`{"ops":` + string(body) + `}`))
	if err != nil {
		return 0, nil, err
	}
	list, ok := ops["ops"].([]any)
	if !ok {
		return 0, nil, invalidRequest("/", "MALFORMED_REQUEST_JSON", "A JSON Patch is an array of operations.")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	h, err := a.find(r)
	if err != nil {
		return 0, nil, err
	}
	next := *h
	for _, op := range list {
		o, _ := op.(object)
		if text(o, "op") != "replace" {
			return 0, nil, invalidData("op", "Only replace is supported")
		}
		switch text(o, "path") {
		case "/url":
			next.url = text(o, "value")
			if err := s.checkURL(next.url); err != nil {
				return 0, nil, err
			}
		case "/event_types":
			if next.types, err = parseTypes(o["value"]); err != nil {
				return 0, nil, err
			}
			next.disabled = nil
		default:
			return 0, nil, invalidData("path", "Not a valid patch path")
		}
	}
	for _, other := range a.webhooks {
		if other != h && other.url == next.url {
			return 0, nil, refuse(400, "WEBHOOK_URL_ALREADY_EXISTS", "Webhook URL already exists")
		}
	}
	*h = next
	return 200, s.show(h, true), nil
}

func (s *Server) deleteWebhook(a *account, r *http.Request, _ []byte) (int, any, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	h, err := a.find(r)
	if err != nil {
		return 0, nil, err
	}
	a.webhooks = slices.DeleteFunc(a.webhooks, func(x *webhook) bool { return x == h })
	return 204, nil, nil
}

func (s *Server) webhookTypes(a *account, r *http.Request, _ []byte) (int, any, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	h, err := a.find(r)
	if err != nil {
		return 0, nil, err
	}
	return 200, object{"event_types": s.show(h, true)["event_types"]}, nil
}

func (s *Server) allTypes(*account, *http.Request, []byte) (int, any, error) {
	list := make([]object, len(eventTypes))
	for i, t := range eventTypes {
		list[i] = object{"name": t.name, "description": t.description, "status": "ENABLED", "resource_versions": []string{"1.0", "2.0"}}
	}
	return 200, object{"event_types": list}, nil
}
