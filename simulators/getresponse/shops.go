package getresponse

import (
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/shopspring/decimal"
)

// shop is a shop of the account. Server.mu guards it.
type shop struct {
	id, name, currency string
	created            time.Time
	orders             []*order // in order of making
	products           []*product
}

// order is one order: body is what the API shows.
type order struct {
	body    object
	created time.Time
	story   storyPart
}

func (o *order) id() string { return text(o.body, "orderId") }

func text(o object, name string) string {
	t, _ := o[name].(string)
	return t
}

// Change is one change of a billing status, as a workflow's condition would see it.
type Change struct {
	OrderID string    `json:"order_id"`
	From    string    `json:"from"`
	To      string    `json:"to"`
	At      time.Time `json:"at"`
}

// Changes are all changes of billing statuses, in order.
func (s *Server) Changes() []Change {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.changes)
}

func (s *shop) show() object {
	return object{
		"shopId": s.id, "href": "https://api.getresponse.com/v3/shops/" + s.id, "name": s.name, "locale": "PL", "currency": s.currency,
		"createdOn": stamp(s.created), "updatedOn": stamp(s.created),
	}
}

func (s *Server) listShops(r *http.Request, _ []byte) (answerTo, error) {
	if err := known(r, "query[name]", "sort[name]", "sort[createdOn]"); err != nil {
		return answerTo{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return paged(r, s.shops, (*shop).show)
}

// shopOf is the shop of the path. s.mu is held.
func (s *Server) shopOf(r *http.Request) (*shop, error) {
	for _, x := range s.shops {
		if x.id == r.PathValue("shop") {
			return x, nil
		}
	}
	return nil, notFound("shopId", r.PathValue("shop"))
}

func (s *Server) getShop(r *http.Request, _ []byte) (answerTo, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	x, err := s.shopOf(r)
	if err != nil {
		return answerTo{}, err
	}
	out := x.show()
	out["productCount"], out["productRevenue"], out["revenueCurrency"] = 0, 0, x.currency
	return answerTo{status: 200, body: out}, nil
}

// listed is an order as lists show it: its variants stand in the order itself only.
func (o *order) listed() object {
	out := maps.Clone(o.body)
	delete(out, "selectedVariants")
	return out
}

// listOrders sorts by making only, and filters by no time of change: there is none.
func (s *Server) listOrders(r *http.Request, _ []byte) (answerTo, error) {
	if err := known(r, "query[description]", "query[status]", "query[externalId]", "query[processedAt][from]", "query[processedAt][to]", "sort[createdOn]"); err != nil {
		return answerTo{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	x, err := s.shopOf(r)
	if err != nil {
		return answerTo{}, err
	}
	q := r.URL.Query()
	var list []*order
	for _, o := range x.orders {
		made := text(o.body, "processedAt") // in UTC and of one form: comparable as it is
		switch {
		case q.Has("query[status]") && text(o.body, "status") != q.Get("query[status]"):
		case q.Has("query[externalId]") && text(o.body, "externalId") != q.Get("query[externalId]"):
		case !strings.Contains(text(o.body, "description"), q.Get("query[description]")):
		case q.Has("query[processedAt][from]") && made < q.Get("query[processedAt][from]"):
		case q.Has("query[processedAt][to]") && made > q.Get("query[processedAt][to]"):
		default:
			list = append(list, o)
		}
	}
	switch q.Get("sort[createdOn]") {
	case "", "ASC":
	case "DESC":
		slices.Reverse(list)
	default:
		return answerTo{}, invalid("sort[createdOn]", "ASC or DESC")
	}
	return paged(r, list, (*order).listed)
}

// orderOf is the order of the path. s.mu is held.
func (s *Server) orderOf(r *http.Request) (*shop, *order, error) {
	x, err := s.shopOf(r)
	if err != nil {
		return nil, nil, err
	}
	for _, o := range x.orders {
		if o.id() == r.PathValue("id") {
			return x, o, nil
		}
	}
	return nil, nil, notFound("orderId", r.PathValue("id"))
}

func (s *Server) getOrder(r *http.Request, _ []byte) (answerTo, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, o, err := s.orderOf(r)
	if err != nil {
		return answerTo{}, err
	}
	return answerTo{status: 200, body: maps.Clone(o.body)}, nil
}

// settable are the members that a client may write.
var settable = []string{
	"contactId", "orderUrl", "externalId", "totalPrice", "totalPriceTax", "currency", "status", "cartId", "description", "shippingPrice",
	"shippingAddress", "billingStatus", "billingAddress", "processedAt", "metaFields", "selectedVariants",
}

// parse checks what the API requires of an order.
func parse(body []byte, whole bool) (object, error) {
	var in object
	d := json.NewDecoder(strings.NewReader(string(body)))
	d.UseNumber()
	if err := d.Decode(&in); err != nil {
		return nil, invalid("body", "not a JSON object")
	}
	for _, name := range []string{"contactId", "totalPrice", "currency", "selectedVariants"} {
		if whole && in[name] == nil {
			return nil, invalid(name, "required")
		}
	}
	for name := range in {
		if !slices.Contains(settable, name) {
			return nil, invalid(name, "not allowed")
		}
	}
	for _, name := range []string{"totalPrice", "totalPriceTax", "shippingPrice"} {
		if n, ok := in[name].(json.Number); in[name] != nil && (!ok || strings.HasPrefix(n.String(), "-")) {
			return nil, invalid(name, "must be a number of 0 or more")
		}
	}
	for name, most := range map[string]int{"status": 64, "billingStatus": 64, "externalId": 255, "orderUrl": 2048} {
		if len(text(in, name)) > most {
			return nil, refuse(400, 1007, "The value is too long", "The value is too long", object{"fieldName": name})
		}
	}
	return in, nil
}

func (s *Server) createOrder(r *http.Request, body []byte) (answerTo, error) {
	in, err := parse(body, true)
	if err != nil {
		return answerTo{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	x, err := s.shopOf(r)
	if err != nil {
		return answerTo{}, err
	}
	if err := x.variantsKnown(in); err != nil {
		return answerTo{}, err
	}
	if s.contacts[text(in, "contactId")] == nil {
		return answerTo{}, refuse(400, 1001, "Related resource not found", "The related resource does not exist", object{"contactId": text(in, "contactId")})
	}
	o := s.add(x, in)
	return answerTo{status: 201, body: maps.Clone(o.body)}, nil
}

// add puts an order into a shop. s.mu is held.
func (s *Server) add(x *shop, in object) *order {
	o := &order{body: in, created: s.o.Now()}
	id := s.id()
	o.body["orderId"], o.body["href"] = id, "https://api.getresponse.com/v3/shops/"+x.id+"/orders/"+id
	x.orders = append(x.orders, o)
	return o
}

func (s *Server) updateOrder(r *http.Request, body []byte) (answerTo, error) {
	in, err := parse(body, false)
	if err != nil {
		return answerTo{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	x, o, err := s.orderOf(r)
	if err == nil {
		err = x.variantsKnown(in)
	}
	if err != nil {
		return answerTo{}, err
	}
	s.update(x, o, in, r.URL.Query().Get("additionalFlags") == "skipAutomation")
	return answerTo{status: 200, body: maps.Clone(o.body)}, nil
}

// update changes the members that are named; addresses, variants and fields are replaced whole. quiet: no workflow runs.
// s.mu is held.
func (s *Server) update(x *shop, o *order, in object, quiet bool) {
	if before, after := text(o.body, "billingStatus"), text(in, "billingStatus"); in["billingStatus"] != nil && before != after {
		change := Change{o.id(), before, after, s.o.Now()}
		s.changes = append(s.changes, change)
		if !quiet {
			s.fire(x, o, change)
		}
	}
	next := maps.Clone(o.body) // what was shown stays as it was
	maps.Copy(next, in)
	o.body = next
}

func (s *Server) deleteOrder(r *http.Request, _ []byte) (answerTo, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	x, o, err := s.orderOf(r)
	if err != nil {
		return answerTo{}, err
	}
	x.orders = slices.DeleteFunc(x.orders, func(y *order) bool { return y == o })
	return answerTo{status: http.StatusNoContent}, nil
}

// number is an amount as the API writes it: in units of the currency, without needless digits.
func number(amount string) (json.Number, error) {
	d, err := decimal.NewFromString(amount)
	if err != nil {
		return "", err
	}
	return json.Number(d.String()), nil
}
