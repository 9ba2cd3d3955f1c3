package shopify

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/tillstream/tillstream/connectors"
	"github.com/tillstream/tillstream/outbound"
	"github.com/tillstream/tillstream/schemas"
)

const (
	feedOrders = "orders"

	// Orders of one page. Both are halved where it turns out too costly for Shopify, or too large for our own bound of an
	// answer: REST takes up to 250, but a long order has 60 kB.
	pageSizeGraphQL = 10
	pageSizeREST    = 50
	// ordersLate: a list by the time of change is fresh, but for searches that lag behind a little.
	ordersLate  = 5 * time.Minute
	ordersEvery = 15 * time.Minute

	cursorBytesMax = 4096
)

// orderNode is what is asked of an order. More of its items and transactions would make a page too costly.
var orderNode = fmt.Sprintf(`
    __typename id name createdAt updatedAt processedAt cancelledAt closedAt cancelReason test
    displayFinancialStatus displayFulfillmentStatus email phone note tags poNumber sourceName customerLocale statusPageUrl
    currencyCode presentmentCurrencyCode paymentGatewayNames discountCodes
    customAttributes { key value }
    totalPriceSet { shopMoney { amount currencyCode } }
    currentTotalPriceSet { shopMoney { amount currencyCode } }
    totalOutstandingSet { shopMoney { amount currencyCode } }
    totalRefundedSet { shopMoney { amount currencyCode } }
    subtotalPriceSet { shopMoney { amount currencyCode } }
    totalTaxSet { shopMoney { amount currencyCode } }
    totalDiscountsSet { shopMoney { amount currencyCode } }
    totalShippingPriceSet { shopMoney { amount currencyCode } }
    customer { id firstName lastName }
    billingAddress { firstName lastName name phone company address1 address2 city provinceCode province zip countryCodeV2 }
    shippingAddress { firstName lastName name phone company address1 address2 city provinceCode province zip countryCodeV2 }
    shippingLine { title }
    lineItems(first: %[1]d) { nodes { name title sku quantity } }
    transactions(first: %[1]d) {
      id kind status gateway createdAt processedAt errorCode
      parentTransaction { id }
      amountSet { shopMoney { amount currencyCode } }
      totalUnsettledSet { shopMoney { amount currencyCode } }
    }
`, nodeListMax)

var (
	listOrders = `query Orders($first: Int!, $after: String, $query: String!) {
  orders(first: $first, after: $after, sortKey: UPDATED_AT, query: $query) {
    nodes {` + orderNode + `}
    pageInfo { hasNextPage endCursor }
  }
}`
	oneOrder = `query Order($id: ID!) {
  order(id: $id) {` + orderNode + `}
}`
)

// Feeds implements connectors.Poller. How far back Shopify shows orders depends on a permission: Check says so.
func (s *source) Feeds() []connectors.Feed {
	if s.api == nil {
		return nil
	}
	return []connectors.Feed{{Name: feedOrders, Every: ordersEvery, Late: ordersLate, History: true, Match: connectors.MatchVersion}}
}

// Poll implements connectors.Poller. Both lists go by the time of the last change with a cursor that names a place in
// it, so that an order that changes while pages are read can only move behind the window, into the next one.
func (s *source) Poll(ctx context.Context, q connectors.Query) (connectors.Page, error) {
	if s.api == nil {
		return connectors.Page{}, errors.New("list orders: no access to Shopify's API is configured")
	}
	if q.Feed != feedOrders {
		return connectors.Page{}, fmt.Errorf("list orders: there is no feed %.40q", q.Feed)
	}
	if len(q.Cursor) > cursorBytesMax {
		return connectors.Page{}, errors.New("list orders: the cursor is too long")
	}
	if s.cfg.API == APIREST {
		return s.pollREST(ctx, q)
	}
	return s.pollGraphQL(ctx, q)
}

// found wraps one listed body. It reads as the event that a webhook would have brought.
func (s *source) found(topic string, body []byte) connectors.Delivery {
	return connectors.Delivery{
		Connection: s.env.Connection, Environment: s.env.Environment, Body: body, ReceivedAt: s.env.Now(), Origin: schemas.OriginPoll,
		Headers: map[string]string{headerTopic: topic, headerVersion: s.cfg.APIVersion}, Test: isTest(body),
	}
}

// isTest: an order paid through a gateway in test mode says so itself; on a webhook it is a header.
func isTest(body []byte) bool {
	var o struct {
		Test bool `json:"test"`
	}
	return json.Unmarshal(body, &o) == nil && o.Test
}

func (s *source) pollGraphQL(ctx context.Context, q connectors.Query) (connectors.Page, error) {
	var a struct {
		Orders struct {
			Nodes []json.RawMessage `json:"nodes"`
			Page  struct {
				More bool   `json:"hasNextPage"`
				End  string `json:"endCursor"`
			} `json:"pageInfo"`
		} `json:"orders"`
	}
	variables := map[string]any{
		"query": fmt.Sprintf("updated_at:>='%s' updated_at:<'%s'", second(q.From), secondUp(q.To)),
	}
	if q.Cursor != "" {
		variables["after"] = q.Cursor
	}
	for {
		variables["first"] = s.page()
		err := s.api.graphql(ctx, listOrders, variables, &a)
		if (is(err, codeTooCostly) || errors.Is(err, outbound.ErrTooLarge)) && s.smallerPage() {
			continue
		}
		if err != nil {
			return connectors.Page{}, fmt.Errorf("list orders: %w", s.explained(err))
		}
		break
	}
	var page connectors.Page
	for _, node := range a.Orders.Nodes {
		page.Found = append(page.Found, connectors.Found{Delivery: s.found(topicUpdated, node)})
	}
	if a.Orders.Page.More {
		if a.Orders.Page.End == "" || a.Orders.Page.End == q.Cursor {
			return connectors.Page{}, errors.New("list orders: more pages are said to follow, and no cursor leads to them")
		}
		page.Next = a.Orders.Page.End
	}
	return page, nil
}

func (s *source) page() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pageSize
}

// smallerPage halves the page; false where it cannot be any smaller.
func (s *source) smallerPage() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pageSize == 1 {
		return false
	}
	s.pageSize /= 2
	return true
}

// second is t in the whole seconds in which Shopify counts, before or at it; secondUp at it or after.
func second(t time.Time) string { return t.UTC().Truncate(time.Second).Format(time.RFC3339) }

func secondUp(t time.Time) string { return second(t.Add(time.Second - time.Nanosecond)) }

func (s *source) pollREST(ctx context.Context, q connectors.Query) (connectors.Page, error) {
	// With page_info Shopify takes limit and nothing else; the first question's filter stays in it.
	params := url.Values{}
	if q.Cursor != "" {
		params.Set("page_info", q.Cursor)
	} else {
		params.Set("status", "any")
		params.Set("order", "updated_at asc")
		params.Set("updated_at_min", second(q.From))
		params.Set("updated_at_max", secondUp(q.To))
	}
	var a struct {
		Orders []json.RawMessage `json:"orders"`
	}
	var header http.Header
	for {
		params.Set("limit", strconv.Itoa(s.page()))
		var err error
		if header, err = s.api.get(ctx, s.api.prefix+"/orders.json?"+params.Encode(), &a); err == nil {
			break
		}
		if !errors.Is(err, outbound.ErrTooLarge) || !s.smallerPage() {
			return connectors.Page{}, fmt.Errorf("list orders: %w", s.explained(err))
		}
	}
	var page connectors.Page
	for _, body := range a.Orders {
		page.Found = append(page.Found, connectors.Found{Delivery: s.found(topicUpdated, body)})
		more, err := s.payments(ctx, body, q.Full)
		if err != nil {
			return connectors.Page{}, err
		}
		page.Found = append(page.Found, more...)
	}
	next, err := nextPage(header)
	if err != nil {
		return connectors.Page{}, fmt.Errorf("list orders: %w", err)
	}
	if next != "" && next == q.Cursor {
		return connectors.Page{}, errors.New("list orders: the next page is said to be this one")
	}
	page.Next = next
	return page, nil
}

// payments reads an order's transactions where the order alone does not say how much was received. Each costs a request,
// of which REST gives few.
func (s *source) payments(ctx context.Context, order []byte, full bool) ([]connectors.Found, error) {
	var o struct {
		ID       json.Number `json:"id"`
		Status   string      `json:"financial_status"`
		Gateways []string    `json:"payment_gateway_names"`
	}
	if err := json.Unmarshal(order, &o); err != nil || !idForm.MatchString(o.ID.String()) {
		return nil, nil // normalize says what is wrong with it
	}
	if o.Status != "partially_paid" && (len(o.Gateways) < 2 || !full) {
		return nil, nil
	}
	var a struct {
		Transactions []json.RawMessage `json:"transactions"`
	}
	_, err := s.api.get(ctx, s.api.prefix+"/orders/"+o.ID.String()+"/transactions.json", &a)
	if e := (*outbound.StatusError)(nil); errors.As(err, &e) && e.Status == http.StatusNotFound {
		return nil, nil // deleted since it was listed
	}
	if err != nil {
		return nil, fmt.Errorf("list transactions of order %s: %w", o.ID, s.explained(err))
	}
	var out []connectors.Found
	for _, body := range a.Transactions {
		out = append(out, connectors.Found{Delivery: s.found(topicTransaction, body)})
	}
	return out, nil
}

// nextPage is the page_info of the Link header's next page; empty: this was the last.
func nextPage(h http.Header) (string, error) {
	for _, part := range strings.Split(strings.Join(h.Values("Link"), ","), ",") {
		address, rest, ok := strings.Cut(strings.TrimSpace(part), ">")
		if !ok || !strings.Contains(strings.ReplaceAll(rest, `"`, ""), "rel=next") {
			continue
		}
		u, err := url.Parse(strings.TrimPrefix(address, "<"))
		if err != nil || u.Query().Get("page_info") == "" {
			return "", errors.New("the link to the next page has no page_info")
		}
		return u.Query().Get("page_info"), nil
	}
	return "", nil
}

// Fetch implements connectors.Fetcher: the order that e is about or belongs to, as it stands now.
func (s *source) Fetch(ctx context.Context, e *schemas.OrderEvent) (connectors.Delivery, error) {
	id := e.Linked(schemas.LinkOrder)
	if id == "" && e.Kind == schemas.KindOrder {
		id = e.RootID
	}
	if !idForm.MatchString(id) {
		return connectors.Delivery{}, fmt.Errorf("fetch the order of %.80s: %w", e.EventID, connectors.ErrNotThere)
	}
	if s.api == nil {
		return connectors.Delivery{}, fmt.Errorf("fetch order %s: no access to Shopify's API is configured", id)
	}
	body, err := s.fetch(ctx, id)
	switch {
	case errors.Is(err, connectors.ErrNotThere):
		return connectors.Delivery{}, fmt.Errorf("fetch order %s: %w", id, err)
	case err != nil:
		return connectors.Delivery{}, fmt.Errorf("fetch order %s: %w", id, s.explained(err))
	}
	return s.found(topicUpdated, body), nil
}

func (s *source) fetch(ctx context.Context, id string) ([]byte, error) {
	var a struct {
		Order json.RawMessage `json:"order"`
	}
	var err error
	if s.cfg.API == APIREST {
		_, err = s.api.get(ctx, s.api.prefix+"/orders/"+id+".json", &a)
		if e := (*outbound.StatusError)(nil); errors.As(err, &e) && e.Status == http.StatusNotFound {
			return nil, connectors.ErrNotThere
		}
	} else {
		err = s.api.graphql(ctx, oneOrder, map[string]any{"id": gidOrder + id}, &a)
	}
	if err == nil && (len(a.Order) == 0 || string(a.Order) == "null") {
		return nil, connectors.ErrNotThere
	}
	return a.Order, err
}
