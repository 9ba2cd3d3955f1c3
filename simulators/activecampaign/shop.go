package activecampaign

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"
)

// Order is what the account holds about one order of a shop.
type Order struct {
	Shop     string    `json:"shop"` // external id of its connection
	ID       string    `json:"id"`   // at the shop
	Email    string    `json:"email"`
	Number   string    `json:"number"`
	Status   string    `json:"status"` // normalised
	Amount   float64   `json:"amount"`
	Currency string    `json:"currency"`
	Created  time.Time `json:"created"`
	// Historical orders start no automation.
	Historical bool `json:"historical"`
	Writes     int  `json:"writes"`
}

// RecurringPayment is what the account holds about one subscription of a shop.
type RecurringPayment struct {
	Shop     string  `json:"shop"`
	ID       string  `json:"id"`
	Email    string  `json:"email"`
	Status   string  `json:"status"`
	Amount   float64 `json:"amount"`
	Currency string  `json:"currency"`
	Silent   bool    `json:"silent"` // starts no automation
	Writes   int     `json:"writes"`
}

type connection struct {
	id                                          int
	service, externalid, name, logoURL, linkURL string
	created                                     time.Time
}

type storeOrder struct {
	Order
	id, connection int
	updated        time.Time
}

// Statuses that the shop endpoint takes.
var (
	orderStatuses     = []string{"PENDING", "PENDING_PAYMENT", "COMPLETED", "ABANDONED", "RECOVERED", "WAITING", "CANCELLED", "REFUNDED", "FAILED", "RETURNED"}
	recurringStatuses = []string{"ACTIVE", "CANCELLED", "EXPIRED", "PAYMENT_FAILED", "PAUSED", "PENDING"}
)

func (n *connection) row() object {
	return object{
		"id": text(n.id), "service": n.service, "externalid": n.externalid, "name": n.name, "logoUrl": n.logoURL, "linkUrl": n.linkURL,
		"isInternal": "0", "status": "1", "syncStatus": "0", "lastSync": nil, "cdate": stamp(n.created), "udate": stamp(n.created), "links": object{},
	}
}

func listConnections(c *call) (int, any, *refusal) {
	var rows []object
	for _, n := range c.a.connections {
		if v := c.q.Get("filters[service]"); v != "" && v != n.service {
			continue
		}
		if v := c.q.Get("filters[externalid]"); v != "" && v != n.externalid {
			continue
		}
		rows = append(rows, n.row())
	}
	return http.StatusOK, collection("connections", paged(rows, c.q), len(rows), nil), nil
}

// createConnection refuses a second one of the same service and external id; the code of that refusal is not documented.
func createConnection(c *call) (int, any, *refusal) {
	var in struct {
		Connection *struct{ Service, ExternalID, Name, LogoURL, LinkURL string }
	}
	if no := c.read(&in); no != nil {
		return 0, nil, no
	}
	if in.Connection == nil || in.Connection.Service == "" || in.Connection.ExternalID == "" || in.Connection.Name == "" ||
		in.Connection.LogoURL == "" || in.Connection.LinkURL == "" {
		return 0, nil, missingAttribute("service")
	}
	for _, n := range c.a.connections {
		if n.service == in.Connection.Service && n.externalid == in.Connection.ExternalID {
			return 0, nil, invalid("The integration already exists in the system.", "", "duplicate", "externalid")
		}
	}
	n := &connection{c.a.next("connection"), in.Connection.Service, in.Connection.ExternalID, in.Connection.Name, in.Connection.LogoURL, in.Connection.LinkURL, c.now}
	c.a.connections = append(c.a.connections, n)
	return http.StatusOK, object{"connection": n.row()}, nil
}

// listOrders is the copy of the shop's data, in cents, which follows a write after a while.
func listOrders(c *call) (int, any, *refusal) {
	rows := []*storeOrder{}
	for _, o := range c.a.orders {
		filters := map[string]string{"connectionid": text(o.connection), "externalid": o.ID, "email": o.Email}
		match := !c.now.Before(o.updated.Add(c.s.opts.OrderCopyAfter))
		for name, is := range filters {
			if v := c.q.Get("filters[" + name + "]"); v != "" && v != is {
				match = false
			}
		}
		if match {
			rows = append(rows, o)
		}
	}
	sort.Slice(rows, func(i, j int) bool { return rows[i].id < rows[j].id })
	var out []object
	for _, o := range paged(rows, c.q) {
		out = append(out, object{
			"id": text(o.id), "externalid": o.ID, "connectionid": text(o.connection), "email": o.Email, "currency": strings.ToUpper(o.Currency),
			"totalPrice": int(o.Amount*100 + 0.5), "orderNumber": o.Number, "externalCreatedDate": stamp(o.Created), "externalUpdatedDate": stamp(o.updated),
			"source": map[bool]string{true: "0", false: "1"}[o.Historical], "links": object{},
		})
	}
	return http.StatusOK, collection("ecomOrders", out, len(rows), nil), nil
}

// shopMutation takes orders and recurring payments. A record that is wrong spoils its own writing only, which the
// documentation leaves open.
func shopMutation(c *call) (int, any, *refusal) {
	var in struct {
		Query     string
		Variables map[string]any
	}
	if no := c.read(&in); no != nil {
		return 0, nil, no
	}
	refuse := func(message string, extensions object) (int, any, *refusal) {
		row := object{"message": message}
		if extensions != nil {
			row["extensions"] = extensions
		}
		return http.StatusOK, object{"errors": []object{row}}, nil
	}
	m, err := parseMutation(in.Query, in.Variables)
	if err != nil {
		return refuse(err.Error(), nil)
	}
	argument, kind, write := "orders", "order-storeOrderId", c.writeOrder
	switch m.field {
	case "bulkUpsertOrdersAsync", "bulkUpsertOrders":
	case "bulkUpsertRecurringPayments":
		argument, kind, write = "recurringPayments", "recurringPayment-storeRecurringPaymentId", c.writeRecurring
	default:
		return refuse(fmt.Sprintf("Cannot query field %q on type \"Mutation\".", m.field), nil)
	}
	rows, ok := m.arguments[argument].([]any)
	if !ok || len(rows) == 0 || len(rows) > 200 {
		return refuse(fmt.Sprintf("Argument %q is required and holds 1 to 200 records.", argument), nil)
	}
	bad, made := object{}, []object{}
	for _, row := range rows {
		r := record(map[string]any{})
		if fields, ok := row.(map[string]any); ok {
			r = fields
		}
		id, wrong := write(r)
		if wrong != "" {
			bad[kind+"-"+id] = wrong
			continue
		}
		made = append(made, object{"recordId": "record-" + id})
	}
	if len(bad) > 0 {
		return refuse("Validation errors", bad)
	}
	return http.StatusOK, object{"data": object{m.field: made}}, nil
}

// record is one row of a mutation.
type record map[string]any

func (r record) text(name string) string {
	switch v := r[name].(type) {
	case string:
		return v
	case enum:
		return string(v)
	}
	return ""
}

func (r record) number(name string) (float64, bool) {
	f, ok := r[name].(float64)
	return f, ok
}

// common checks what both kinds share and returns the connection.
func (r record) common(c *call, id, amount string, statuses []string) (*connection, string) {
	at, _ := r.number("legacyConnectionId")
	i := slices.IndexFunc(c.a.connections, func(n *connection) bool { return float64(n.id) == at })
	total, ok := r.number(amount)
	switch status := r.text("normalizedStatus"); {
	case i < 0:
		return nil, "legacyConnectionId names no connection"
	case r.text(id) == "":
		return nil, id + " is required"
	case !strings.Contains(r.text("email"), "@"):
		return nil, "email is not valid"
	case !ok || total < 0:
		return nil, amount + " is required"
	case status != "" && !slices.Contains(statuses, status):
		return nil, "normalizedStatus is unknown"
	}
	email := r.text("email")
	if c.a.byEmail[strings.ToLower(email)] == nil {
		c.a.remember(c.a.addContact(email, c.now), c.now, nil)
		c.s.noteContact(c.now)
	}
	return c.a.connections[i], ""
}

func (c *call) writeOrder(r record) (id, wrong string) {
	id = r.text("storeOrderId")
	n, wrong := r.common(c, "storeOrderId", "finalAmount", orderStatuses)
	if wrong != "" {
		return id, wrong
	}
	created, err := time.Parse(time.RFC3339, r.text("storeCreatedDate"))
	switch source := r.text("creationSource"); {
	case err != nil:
		return id, "storeCreatedDate is required"
	case source != "REAL_TIME" && source != "HISTORICAL":
		return id, "creationSource is required"
	case r.text("orderNumber") == "", len(r.text("currency")) != 3:
		return id, "orderNumber and currency are required"
	}
	key := text(n.id) + "/" + id
	o := c.a.orders[key]
	if o == nil {
		o = &storeOrder{id: c.a.next("ecomOrder"), connection: n.id}
		c.a.orders[key] = o
	}
	amount, _ := r.number("finalAmount")
	o.Order = Order{
		Shop: n.externalid, ID: id, Email: r.text("email"), Number: r.text("orderNumber"), Status: r.text("normalizedStatus"), Amount: amount,
		Currency: r.text("currency"), Created: created.UTC(), Historical: r.text("creationSource") == "HISTORICAL", Writes: o.Writes + 1,
	}
	o.updated = c.now
	if !o.Historical {
		c.a.fire(c.a.byEmail[lower(o.Email)], "order:"+o.Status, c.now)
	}
	return id, ""
}

func (c *call) writeRecurring(r record) (id, wrong string) {
	id = r.text("storeRecurringPaymentId")
	n, wrong := r.common(c, "storeRecurringPaymentId", "paymentAmount", recurringStatuses)
	if wrong != "" {
		return id, wrong
	}
	amount, _ := r.number("paymentAmount")
	silent, _ := r["suppressAutomations"].(bool)
	key := text(n.id) + "/" + id
	c.a.recurring[key] = RecurringPayment{
		Shop: n.externalid, ID: id, Email: r.text("email"), Status: r.text("normalizedStatus"), Amount: amount, Currency: r.text("currency"),
		Silent: silent, Writes: c.a.recurring[key].Writes + 1,
	}
	if !silent {
		c.a.fire(c.a.byEmail[lower(r.text("email"))], "recurring:"+r.text("normalizedStatus"), c.now)
	}
	return id, ""
}

// Orders returns the shops' orders, by shop and id.
func (s *Server) Orders() []Order {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]Order, 0, len(s.account.orders))
	for _, key := range slices.Sorted(maps.Keys(s.account.orders)) {
		out = append(out, s.account.orders[key].Order)
	}
	return out
}

// RecurringPayments returns the shops' subscriptions, by shop and id.
func (s *Server) RecurringPayments() []RecurringPayment {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]RecurringPayment, 0, len(s.account.recurring))
	for _, key := range slices.Sorted(maps.Keys(s.account.recurring)) {
		out = append(out, s.account.recurring[key])
	}
	return out
}

// entryCounts says how often the contact was started on each automation.
func entryCounts(c *call) (int, any, *refusal) {
	to, no := c.contact()
	if no != nil {
		return 0, nil, no
	}
	rows := []object{}
	for _, a := range c.a.automations {
		n := 0
		for _, e := range to.starts {
			if e.automation == a.id {
				n++
			}
		}
		if n > 0 {
			rows = append(rows, object{"id": text(a.id), "name": a.name, "status": a.status, "hidden": "0", "contactEntryCount": strconv.Itoa(n)})
		}
	}
	return http.StatusOK, object{"automationEntryCounts": rows}, nil
}
