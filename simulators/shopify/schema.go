package shopify

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"
)

// costMax is the most that one query may cost.
const costMax = 1000

// level is how full a bucket is.
type level struct {
	bucket Bucket
	used   float64
	at     time.Time
}

// left is what the bucket holds at now.
func (l *level) left(now time.Time) float64 {
	if !l.at.IsZero() {
		l.used = math.Max(0, l.used-now.Sub(l.at).Seconds()*l.bucket.PerSecond)
	}
	l.at = now
	return l.bucket.Size - l.used
}

func (s *Server) serveGraphQL(w http.ResponseWriter, r *http.Request, raw []byte) {
	var in struct {
		Query     string         `json:"query"`
		Variables map[string]any `json:"variables"`
	}
	if err := json.Unmarshal(raw, &in); err != nil || in.Query == "" {
		answer(w, 400, object{"errors": object{"query": "Required parameter missing or invalid"}})
		return
	}
	kind, fields, err := parseQuery(in.Query)
	if err != nil {
		answer(w, 200, object{"errors": []object{{"message": err.Error()}}})
		return
	}
	x := newExecution(in.Variables)
	cost := x.cost(fields)
	s.mu.Lock()
	defer s.mu.Unlock()
	left := s.graphql.left(s.o.Now())
	status := func(actual any) object {
		return object{"cost": object{"requestedQueryCost": cost, "actualQueryCost": actual, "throttleStatus": object{
			"maximumAvailable": s.graphql.bucket.Size, "currentlyAvailable": math.Floor(s.graphql.bucket.Size - s.graphql.used), "restoreRate": s.graphql.bucket.PerSecond,
		}}}
	}
	switch {
	case cost > costMax:
		answer(w, 200, object{"errors": []object{{
			"message":    fmt.Sprintf("Query cost is %v, which exceeds the single query max cost limit (%d).", cost, costMax),
			"extensions": object{"code": "MAX_COST_EXCEEDED", "cost": cost, "maxCost": costMax},
		}}})
		return
	case cost > left:
		answer(w, 200, object{"errors": []object{{"message": "Throttled", "extensions": object{"code": "THROTTLED"}}}, "extensions": status(nil)})
		return
	}
	root := s.query()
	if kind == "mutation" {
		root = s.mutation()
	}
	data, err := x.answer(root, fields)
	actual := cost
	if kind == "query" {
		actual = math.Min(cost, x.objects) // what was asked for and not there is given back
	}
	s.graphql.used += actual
	if err != nil {
		code := "INTERNAL_SERVER_ERROR"
		if e := (*graphError)(nil); errors.As(err, &e) {
			code = e.code
		}
		answer(w, 200, object{"errors": []object{{"message": err.Error(), "extensions": object{"code": code}}}, "extensions": status(actual)})
		return
	}
	out := object{"data": data, "extensions": status(actual)}
	if len(x.denied) > 0 {
		out["errors"] = x.denied
	}
	answer(w, 200, out)
}

func (s *Server) allowed(scope string) error {
	if slices.Contains(s.o.Scopes, scope) {
		return nil
	}
	return &graphError{"ACCESS_DENIED", "Access denied. Required access: `" + scope + "` access scope."}
}

// query is the root of what can be asked for. s.mu is held.
func (s *Server) query() node {
	scopes := make([]node, len(s.o.Scopes))
	for i, sc := range s.o.Scopes {
		scopes[i] = node{"__typename": "AccessScope", "handle": sc}
	}
	return node{
		"__typename": "QueryRoot",
		"shop": node{
			"__typename": "Shop", "name": s.o.Shop, "myshopifyDomain": s.o.Shop,
			"plan": node{"__typename": "ShopPlan", "partnerDevelopment": !s.o.RealMoney},
		},
		"currentAppInstallation": node{"__typename": "AppInstallation", "accessScopes": scopes},
		"webhookSubscriptions": func(args map[string]any) (any, error) {
			var list []node
			for _, h := range s.hooks {
				if !h.admin { // an app sees its own
					list = append(list, node{"__typename": "WebhookSubscription", "id": h.gid(), "topic": h.topic, "uri": h.url, "format": h.format})
				}
			}
			return page(list, func(i int) string { return fmt.Sprintf("hook%09d", i) }, args)
		},
		"orders": func(args map[string]any) (any, error) { return s.graphOrders(args) },
		"order": func(args map[string]any) (any, error) {
			if err := s.allowed("read_orders"); err != nil {
				return nil, err
			}
			text, _ := args["id"].(string)
			id, err := strconv.ParseInt(strings.TrimPrefix(text, "gid://shopify/Order/"), 10, 64)
			if o := s.byID[id]; err == nil && o != nil && s.visible(o) {
				return s.graphOrder(o), nil
			}
			return nil, nil
		},
	}
}

func (h *subscription) gid() string {
	return fmt.Sprintf("gid://shopify/WebhookSubscription/%d", h.id)
}

// visible: deleted orders are gone, and old ones need a scope. s.mu is held.
func (s *Server) visible(o *order) bool {
	return !o.deleted && (slices.Contains(s.o.Scopes, "read_all_orders") || s.o.Now().Sub(o.created) <= AgeMax)
}

// sorted are the visible orders by the time of their last change. s.mu is held.
func (s *Server) sorted() []*order {
	var list []*order
	for _, o := range s.orders {
		if s.visible(o) {
			list = append(list, o)
		}
	}
	sort.Slice(list, func(i, j int) bool { return list[i].place() < list[j].place() })
	return list
}

// place is where an order stands among the others: a cursor that stays good while others change.
func (o *order) place() string { return fmt.Sprintf("%012d-%020d", o.updated.Unix(), o.id) }

var updatedTerm = regexp.MustCompile(`^updated_at:(>=|>|<=|<)'?([^']+)'?$`)

func (s *Server) graphOrders(args map[string]any) (any, error) {
	if err := s.allowed("read_orders"); err != nil {
		return nil, err
	}
	if args["sortKey"] != "UPDATED_AT" {
		return nil, &graphError{"argumentLiteralsIncompatible", "this twin sorts orders by UPDATED_AT only"}
	}
	text, _ := args["query"].(string)
	var list []node
	var keys []string
	for _, o := range s.sorted() {
		in := true
		for _, term := range strings.Fields(text) {
			m := updatedTerm.FindStringSubmatch(term)
			if m == nil {
				return nil, &graphError{"argumentLiteralsIncompatible", "this twin does not know the search term " + term}
			}
			at, err := time.Parse(time.RFC3339, m[2])
			if err != nil {
				return nil, &graphError{"argumentLiteralsIncompatible", "invalid timestamp " + m[2]}
			}
			c := o.updated.Compare(at)
			in = in && (m[1] == ">=" && c >= 0 || m[1] == ">" && c > 0 || m[1] == "<=" && c <= 0 || m[1] == "<" && c < 0)
		}
		if in {
			list, keys = append(list, s.graphOrder(o)), append(keys, o.place())
		}
	}
	return page(list, func(i int) string { return keys[i] }, args)
}

// graphOrder is the order as GraphQL has it. s.mu is held.
func (s *Server) graphOrder(o *order) node {
	address := node{
		"__typename": "MailingAddress", "firstName": orNull(o.in.GivenName), "lastName": orNull(o.in.Surname), "name": orNull(o.fullName()),
		"phone": orNull(o.in.Phone), "company": nil, "address1": "Chestnut Street 92", "address2": "", "city": "Louisville", "zip": "40202",
		"province": "Kentucky", "provinceCode": "KY", "countryCodeV2": "US",
	}
	gateways := []string{}
	for _, t := range o.transactions {
		if t.status == "success" && len(gateways) == 0 {
			gateways = append(gateways, "bogus")
		}
	}
	none := o.total.Sub(o.total)
	return node{
		"__typename": "Order", "id": fmt.Sprintf("gid://shopify/Order/%d", o.id), "name": fmt.Sprintf("#%d", o.number), "test": false,
		"createdAt": utc(o.created), "updatedAt": utc(o.updated), "processedAt": utc(o.created), "cancelledAt": utc(o.cancelled), "closedAt": nil,
		"cancelReason": orNull(strings.ToUpper(o.reason)), "displayFinancialStatus": strings.ToUpper(o.financial), "displayFulfillmentStatus": "UNFULFILLED",
		"email": orNull(o.in.Email), "phone": orNull(o.in.Phone), "note": orNull(o.note), "tags": []string{}, "poNumber": nil, "sourceName": "web",
		"customerLocale": "en", "statusPageUrl": nil, "currencyCode": o.in.Currency, "presentmentCurrencyCode": o.in.Currency,
		"paymentGatewayNames": gateways, "discountCodes": []string{}, "customAttributes": []node{},
		"totalPriceSet": o.graphMoney(o.total), "currentTotalPriceSet": o.graphMoney(o.total.Sub(o.refunded())), "totalOutstandingSet": o.graphMoney(o.total.Sub(o.captured())),
		"totalRefundedSet": o.graphMoney(o.refunded()), "subtotalPriceSet": o.graphMoney(o.total), "totalTaxSet": o.graphMoney(none),
		"totalDiscountsSet": o.graphMoney(none), "totalShippingPriceSet": o.graphMoney(none),
		"customer": func(map[string]any) (any, error) {
			if !slices.Contains(s.o.Scopes, "read_customers") {
				return nil, &graphError{codeField, "Access denied for customer field. Required access: `read_customers` access scope."}
			}
			return node{
				"__typename": "Customer", "id": fmt.Sprintf("gid://shopify/Customer/%d", o.customer), "firstName": orNull(o.in.GivenName), "lastName": orNull(o.in.Surname),
			}, nil
		},
		"billingAddress": address, "shippingAddress": address, "shippingLine": node{"__typename": "ShippingLine", "title": "Free Shipping"},
		"lineItems": func(args map[string]any) (any, error) {
			item := node{"__typename": "LineItem", "name": o.in.Product, "title": o.in.Product, "sku": nil, "quantity": 1}
			return page([]node{item}, strconv.Itoa, args)
		},
		"transactions": func(args map[string]any) (any, error) {
			first, _ := args["first"].(float64)
			list := []node{}
			for _, t := range o.transactions {
				if len(list) < int(first) {
					list = append(list, o.graphTransaction(t))
				}
			}
			return list, nil
		},
	}
}

func (o *order) graphTransaction(t *transaction) node {
	var parent node
	if t.parent != 0 {
		parent = node{"__typename": "OrderTransaction", "id": fmt.Sprintf("gid://shopify/OrderTransaction/%d", t.parent)}
	}
	var code any
	if t.status == "failure" {
		code = "CARD_DECLINED"
	}
	return node{
		"__typename": "OrderTransaction", "id": fmt.Sprintf("gid://shopify/OrderTransaction/%d", t.id), "kind": strings.ToUpper(t.kind), "status": strings.ToUpper(t.status),
		"gateway": "bogus", "createdAt": utc(t.at), "processedAt": utc(t.at), "errorCode": code, "parentTransaction": parent, "amountSet": o.graphMoney(t.amount), "totalUnsettledSet": o.graphMoney(o.unsettled()),
	}
}

// mutation is the root of what can be changed. s.mu is held.
func (s *Server) mutation() node {
	refused := func(name, where, message string) node {
		return node{
			"__typename": name + "Payload", "webhookSubscription": nil, "deletedWebhookSubscriptionId": nil,
			"userErrors": []node{{"__typename": "UserError", "field": []string{where}, "message": message}},
		}
	}
	return node{
		"__typename": "Mutation",
		"webhookSubscriptionCreate": func(args map[string]any) (any, error) {
			const name = "WebhookSubscriptionCreate"
			topic, _ := args["topic"].(string)
			in, _ := args["webhookSubscription"].(map[string]any)
			address, _ := in["uri"].(string)
			format, _ := in["format"].(string)
			if scope := topicScope(topic); scope == "" {
				return nil, &graphError{"INVALID_VARIABLE", "Variable $topic of type WebhookSubscriptionTopic! was provided invalid value"}
			} else if !slices.Contains(s.o.Scopes, scope) && scope != "-" {
				return nil, &graphError{"ACCESS_DENIED", "Access denied for webhookSubscriptionCreate field: the topic needs " + scope}
			}
			u, err := url.Parse(address)
			if err != nil || u.Host == "" || u.Scheme != "https" && !(s.o.LocalWebhooks && u.Scheme == "http") {
				return refused(name, "uri", "Address protocol http:// is not supported"), nil
			}
			for _, h := range s.hooks {
				if h.topic == topic && h.url == address && !h.admin {
					return refused(name, "uri", "Address for this topic has already been taken"), nil
				}
			}
			if format == "" {
				format = "JSON"
			}
			h := &subscription{id: s.nextID(), topic: topic, url: address, format: format}
			s.hooks = append(s.hooks, h)
			return node{
				"__typename": name + "Payload", "userErrors": []node{},
				"webhookSubscription": node{"__typename": "WebhookSubscription", "id": h.gid(), "topic": h.topic, "uri": h.url, "format": h.format},
			}, nil
		},
		"webhookSubscriptionDelete": func(args map[string]any) (any, error) {
			for i, h := range s.hooks {
				if h.gid() == args["id"] && !h.admin {
					s.hooks = append(s.hooks[:i:i], s.hooks[i+1:]...)
					return node{"__typename": "WebhookSubscriptionDeletePayload", "deletedWebhookSubscriptionId": h.gid(), "userErrors": []node{}}, nil
				}
			}
			return refused("WebhookSubscriptionDelete", "id", "Webhook subscription does not exist"), nil
		},
	}
}

// topicScope is what a topic needs; "-": nothing, "": there is no such topic.
func topicScope(topic string) string {
	switch {
	case topic == "APP_UNINSTALLED":
		return "-"
	case slices.Contains([]string{
		"ORDERS_CREATE", "ORDERS_UPDATED", "ORDERS_PAID", "ORDERS_CANCELLED", "ORDERS_FULFILLED", "ORDERS_PARTIALLY_FULFILLED", "ORDERS_EDITED",
		"ORDERS_DELETE", "REFUNDS_CREATE", "ORDER_TRANSACTIONS_CREATE",
	}, topic):
		return "read_orders"
	case topic == "DISPUTES_CREATE" || topic == "DISPUTES_UPDATE":
		return "read_shopify_payments_disputes"
	}
	return ""
}
