package paypal

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	subscriptionPageDefault = 10
	subscriptionPageMax     = 20
)

func (s *Server) createPlan(a *account, r *http.Request, body []byte) (int, any, error) {
	in, err := decode(body)
	if err != nil {
		return 0, nil, err
	}
	for _, field := range []string{"product_id", "name", "billing_cycles", "payment_preferences"} {
		if in[field] == nil {
			return 0, nil, invalidRequest("/"+field, "MISSING_REQUIRED_PARAMETER", "A required field is missing.")
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return a.once(s.o.Now(), r, func() (any, error) {
		id := "P-" + s.id(24)
		if in["status"] == nil {
			in["status"] = "ACTIVE"
		}
		self := s.publicURL + "/v1/billing/plans/" + id
		in["id"], in["create_time"], in["update_time"] = id, s.stamp(), s.stamp()
		in["links"] = []object{link(self, "self", "GET"), link(self, "edit", "PATCH"), link(self+"/deactivate", "self", "POST")}
		a.plans[id] = in
		return rawJSON(encode(in)), nil
	})
}

func (s *Server) getPlan(a *account, r *http.Request, _ []byte) (int, any, error) {
	return s.lookup(a.plans, r)
}

func (s *Server) listPlans(a *account, _ *http.Request, _ []byte) (int, any, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := []object{}
	for _, id := range sortedKeys(a.plans) {
		list = append(list, a.plans[id])
	}
	return 200, rawJSON(encode(object{"plans": list, "links": []object{link(s.publicURL+"/v1/billing/plans", "self", "GET")}})), nil
}

func sortedKeys(m map[string]object) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

func (s *Server) createSubscription(a *account, r *http.Request, body []byte) (int, any, error) {
	in, err := decode(body)
	if err != nil {
		return 0, nil, err
	}
	var made object
	s.mu.Lock()
	code, out, err := a.once(s.o.Now(), r, func() (any, error) {
		plan := text(in, "plan_id")
		if a.plans[plan] == nil {
			return nil, notFound("INVALID_RESOURCE_ID")
		}
		id := "I-" + s.id(12)
		made = object{
			"id": id, "plan_id": plan, "status": "APPROVAL_PENDING", "status_update_time": s.stamp(), "quantity": "1",
			"plan_overridden": false, "create_time": s.stamp(), "start_time": s.stamp(),
		}
		for _, k := range []string{"quantity", "start_time", "custom_id", "subscriber", "shipping_amount"} {
			if in[k] != nil {
				made[k] = in[k]
			}
		}
		self := s.publicURL + "/v1/billing/subscriptions/" + id
		made["links"] = []object{
			link("https://www.sandbox.paypal.com/webapps/billing/subscriptions?ba_token=BA-"+s.id(17), "approve", "GET"),
			link(self, "edit", "PATCH"), link(self, "self", "GET"),
		}
		a.subscriptions[id] = made
		return shaped(r, made), nil
	})
	s.mu.Unlock()
	if err != nil {
		return 0, nil, err
	}
	if made != nil {
		if err := s.announce(r.Context(), a, "BILLING.SUBSCRIPTION.CREATED", "subscription", "Subscription created", normal(made)); err != nil {
			return 0, nil, err
		}
	}
	return code, out, nil
}

// getSubscription shows the plan only where fields asks for it.
func (s *Server) getSubscription(a *account, r *http.Request, _ []byte) (int, any, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o := a.subscriptions[r.PathValue("id")]
	if o == nil {
		return 0, nil, notFound("INVALID_RESOURCE_ID")
	}
	out := normal(o)
	if strings.Contains(r.URL.Query().Get("fields"), "plan") && a.plans[text(out, "plan_id")] != nil {
		out["plan"] = a.plans[text(out, "plan_id")]
	}
	return 200, rawJSON(encode(out)), nil
}

// listSubscriptions pages without a total: a reader follows next, or stops at a short page.
func (s *Server) listSubscriptions(a *account, r *http.Request, _ []byte) (int, any, error) {
	q := r.URL.Query()
	size, page := subscriptionPageDefault, 1
	for name, into := range map[string]*int{"page_size": &size, "page": &page} {
		if v := q.Get(name); v != "" {
			n, err := strconv.Atoi(v)
			if err != nil || n < 1 || name == "page_size" && n > subscriptionPageMax {
				return 0, nil, invalidRequest("/"+name, "INVALID_PARAMETER_VALUE", "The value of a field is invalid.")
			}
			*into = n
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []object
	for _, id := range sortedKeys(a.subscriptions) {
		o := a.subscriptions[id]
		if v := q.Get("statuses"); v != "" && !slices.Contains(strings.Split(v, ","), text(o, "status")) {
			continue
		}
		if v := q.Get("plan_ids"); v != "" && !slices.Contains(strings.Split(v, ","), text(o, "plan_id")) {
			continue
		}
		if !within(text(o, "create_time"), q.Get("created_after"), q.Get("created_before")) ||
			!within(text(o, "status_update_time"), q.Get("status_updated_after"), q.Get("status_updated_before")) {
			continue
		}
		list = append(list, o)
	}
	from, to := min((page-1)*size, len(list)), min(page*size, len(list))
	links := []object{link(s.publicURL+r.URL.RequestURI(), "self", "GET")}
	if to < len(list) {
		q.Set("page", strconv.Itoa(page+1))
		links = append(links, link(s.publicURL+r.URL.Path+"?"+q.Encode(), "next", "GET"))
	}
	return 200, rawJSON(encode(object{"subscriptions": append([]object{}, list[from:to]...), "links": links})), nil
}

func within(at, after, before string) bool {
	t, err := time.Parse(time.RFC3339, at)
	if err != nil {
		return after == "" && before == ""
	}
	lo, errLo := time.Parse(time.RFC3339, after)
	hi, errHi := time.Parse(time.RFC3339, before)
	return (errLo != nil || t.After(lo)) && (errHi != nil || t.Before(hi))
}

// actions say from which statuses an action leads where, and which event tells of it.
var actions = map[string]struct {
	from      []string
	to, event string
}{
	"suspend":  {[]string{"ACTIVE"}, "SUSPENDED", "BILLING.SUBSCRIPTION.SUSPENDED"},
	"cancel":   {[]string{"ACTIVE", "SUSPENDED"}, "CANCELLED", "BILLING.SUBSCRIPTION.CANCELLED"},
	"activate": {[]string{"SUSPENDED", "APPROVED"}, "ACTIVE", "BILLING.SUBSCRIPTION.ACTIVATED"},
}

func (s *Server) actOnSubscription(a *account, r *http.Request, body []byte) (int, any, error) {
	in, err := decode(body)
	if err != nil {
		return 0, nil, err
	}
	act, ok := actions[r.PathValue("action")]
	if !ok {
		return 0, nil, notFound("INVALID_RESOURCE_ID")
	}
	if reason := text(in, "reason"); len(reason) > 128 || len(reason) < 1 && r.PathValue("action") != "activate" {
		return 0, nil, invalidRequest("/reason", "INVALID_STRING_LENGTH", "The value of a field is either too short or too long.")
	}
	s.mu.Lock()
	o := a.subscriptions[r.PathValue("id")]
	if o == nil {
		s.mu.Unlock()
		return 0, nil, notFound("INVALID_RESOURCE_ID")
	}
	if !slices.Contains(act.from, text(o, "status")) {
		s.mu.Unlock()
		return 0, nil, unprocessable("SUBSCRIPTION_STATUS_INVALID", "Invalid subscription status for "+r.PathValue("action")+" action.")
	}
	o["status"], o["status_update_time"], o["update_time"] = act.to, s.stamp(), s.stamp()
	if reason := text(in, "reason"); reason != "" {
		o["status_change_note"] = reason
	}
	out := normal(o)
	if info, ok := out["billing_info"].(object); ok && act.to == "CANCELLED" {
		delete(info, "next_billing_time") // as recorded
	}
	s.mu.Unlock()
	summary := "Subscription " + strings.ToLower(act.to)
	if act.to == "ACTIVE" {
		summary = "Subscription activated"
	}
	if err := s.announce(r.Context(), a, act.event, "subscription", summary, out); err != nil {
		return 0, nil, err
	}
	return http.StatusNoContent, nil, nil
}

// Activate is the subscriber's approval: APPROVAL_PENDING becomes ACTIVE with that subscriber.
func (s *Server) Activate(r *http.Request, accountName, id string, subscriber map[string]any) error {
	s.mu.Lock()
	a := s.accounts[accountName]
	if a == nil || a.subscriptions[id] == nil {
		s.mu.Unlock()
		return notFound("INVALID_RESOURCE_ID")
	}
	o := a.subscriptions[id]
	if o["status"] != "APPROVAL_PENDING" {
		s.mu.Unlock()
		return unprocessable("SUBSCRIPTION_STATUS_INVALID", "The subscription was approved before.")
	}
	o["status"], o["status_update_time"], o["update_time"] = "ACTIVE", s.stamp(), s.stamp()
	if subscriber != nil {
		o["subscriber"] = subscriber
	}
	out := normal(o)
	s.mu.Unlock()
	return s.announce(r.Context(), a, "BILLING.SUBSCRIPTION.ACTIVATED", "subscription", "Subscription activated", out)
}

func (s *Server) subscriptionTransactions(a *account, r *http.Request, _ []byte) (int, any, error) {
	q := r.URL.Query()
	for _, name := range []string{"start_time", "end_time"} {
		if _, err := time.Parse(time.RFC3339, q.Get(name)); err != nil {
			return 0, nil, invalidRequest("/"+name, "MISSING_REQUIRED_PARAMETER", "A required field is missing.")
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	id := r.PathValue("id")
	sub := a.subscriptions[id]
	if sub == nil {
		return 0, nil, notFound("INVALID_RESOURCE_ID")
	}
	list := []object{}
	for _, saleID := range a.payments[id] {
		sale := a.sales[saleID]
		if !within(text(sale, "create_time"), q.Get("start_time"), q.Get("end_time")) {
			continue
		}
		currency := text(sale, "amount", "currency")
		part := func(v string) object { return object{"currency_code": currency, "value": v} }
		fee := orElse(text(sale, "transaction_fee", "value"), "0.00")
		list = append(list, object{
			"id": saleID, "status": strings.ToUpper(text(sale, "state")), "time": sale["create_time"],
			"payer_email": text(sub, "subscriber", "email_address"), "payer_name": nested(sub, "subscriber", "name"),
			"amount_with_breakdown": object{
				"gross_amount": part(text(sale, "amount", "total")), "fee_amount": part(fee),
				"net_amount": part(minus(text(sale, "amount", "total"), fee)),
			},
		})
	}
	return 200, rawJSON(encode(object{
		"transactions": list, "total_items": len(list), "total_pages": 1,
		"links": []object{link(s.publicURL+r.URL.RequestURI(), "self", "GET")},
	})), nil
}

func nested(o object, path ...string) object {
	for _, p := range path {
		o, _ = o[p].(object)
	}
	return o
}
