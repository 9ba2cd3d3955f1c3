package paypal

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tillstream/tillstream/connectors"
	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/schemas/strictjson"
)

// The feeds.
const (
	feedEvents        = "events"
	feedSubscriptions = "subscriptions"
	feedTransactions  = "transactions"
)

const (
	day = 24 * time.Hour
	// eventsReach is how far back PayPal shows events; asking for older ones is an error.
	eventsReach = 30 * day
	// reachMargin keeps a question away from the edge, which moves while the question travels.
	reachMargin = 10 * time.Minute
	// eventsLate: an event can be sent before it is listed.
	eventsLate        = 15 * time.Minute
	subscriptionsLate = 15 * time.Minute
	// transactionsLate, WindowMax and Reach are PayPal's: three hours, 31 days, three years.
	transactionsLate   = 3 * time.Hour
	transactionsWindow = 31 * day
	transactionsReach  = 3 * 365 * day

	// feedEvery is slow, as PayPal wants lists asked for, and quick enough to find a gap within the hour.
	feedEvery = time.Hour
)

// feed is a list with the permission that it needs.
type feed struct {
	connectors.Feed
	scope string
}

// feeds are those of the chosen resources, whether they may be read or not.
func (s *source) feeds() []feed {
	every := feedEvery
	if s.cfg.SharedAccount {
		every = 0
	}
	out := []feed{{connectors.Feed{
		Name: feedEvents, Every: feedEvery, Late: eventsLate, Reach: eventsReach, Match: connectors.MatchEvent,
	}, scopeWebhooks}}
	if s.takes(ResourceBilling) {
		out = append(out, feed{connectors.Feed{
			Name: feedSubscriptions, Every: every, Late: subscriptionsLate, History: true, Match: connectors.MatchStatus,
		}, scopeSubscriptions})
	}
	return append(out, feed{connectors.Feed{
		Name: feedTransactions, Every: every, Late: transactionsLate, WindowMax: transactionsWindow, Reach: transactionsReach, History: true,
		Match: connectors.MatchStatus,
	}, scopeReporting})
}

// Feeds implements connectors.Poller. A feed whose permission is known to be missing is left out: Watch names it.
func (s *source) Feeds() []connectors.Feed {
	out := []connectors.Feed{}
	for _, f := range s.feeds() {
		if has, known := s.api.granted(f.scope); has || !known {
			out = append(out, f.Feed)
		}
	}
	return out
}

// Poll implements connectors.Poller. A page of events is newest first, as PayPal lists them; the others go forward in
// time.
func (s *source) Poll(ctx context.Context, q connectors.Query) (connectors.Page, error) {
	at := slices.IndexFunc(s.feeds(), func(f feed) bool { return f.Name == q.Feed })
	if at < 0 {
		return connectors.Page{}, fmt.Errorf("poll: there is no feed %q", q.Feed)
	}
	var page connectors.Page
	var err error
	switch q.Feed {
	case feedEvents:
		page, err = s.pollEvents(ctx, q)
	case feedSubscriptions:
		page, err = s.pollSubscriptions(ctx, q)
	default:
		page, err = s.pollTransactions(ctx, q)
	}
	if statusOf(err) == http.StatusForbidden {
		scope := s.feeds()[at].scope
		s.api.deny(scope)
		err = fmt.Errorf("%w (the app lacks the permission %s: %s)", err, scope, hintScope)
	}
	if err == nil && page.Next != "" && page.Next == q.Cursor {
		err = errors.New("the page names itself as the next one")
	}
	if err != nil {
		return connectors.Page{}, fmt.Errorf("poll %s: %w", q.Feed, err)
	}
	return page, nil
}

const (
	eventsPath = "/v1/notifications/webhooks-events"
	// eventsPageSize events with their transmissions stay far below the bound of an answer. PayPal names no maximum; where
	// it refuses, its default is asked for.
	eventsPageSize    = 50
	eventsPageDefault = 10
	cursorBytesMax    = 4096
)

type listLink struct {
	Href string `json:"href"`
	Rel  string `json:"rel"`
}

// nextQuery is the query of the link to the next page, empty where there is none. Only the query is taken: a link's
// host is not ours to call.
func nextQuery(links []listLink) (string, error) {
	for _, l := range links {
		if l.Rel != "next" {
			continue
		}
		_, query, _ := strings.Cut(strings.ReplaceAll(l.Href, "&amp;", "&"), "?")
		if query == "" || len(query) > cursorBytesMax {
			return "", errors.New("the link to the next page is not understood")
		}
		return query, nil
	}
	return "", nil
}

func (s *source) pollEvents(ctx context.Context, q connectors.Query) (connectors.Page, error) {
	query := q.Cursor
	if query == "" {
		from := q.From
		if edge := s.env.Now().Add(reachMargin - eventsReach); from.Before(edge) {
			from = edge
		}
		if !from.Before(q.To) {
			return connectors.Page{}, nil
		}
		query = url.Values{
			"start_time": {from.UTC().Truncate(time.Second).Format(time.RFC3339)}, "end_time": {ceil(q.To).Format(time.RFC3339)},
			"page_size": {strconv.FormatInt(s.eventsPage.Load(), 10)},
		}.Encode()
	}
	var list struct {
		Events []json.RawMessage `json:"events"`
		Links  []listLink        `json:"links"`
	}
	err := s.api.call(ctx, http.MethodGet, eventsPath+"?"+query, nil, &list)
	if e := (*apiError)(nil); errors.As(err, &e) && e.is("page_size") && q.Cursor == "" && s.eventsPage.Swap(eventsPageDefault) != eventsPageDefault {
		return s.pollEvents(ctx, q)
	}
	if err != nil {
		return connectors.Page{}, err
	}
	var page connectors.Page
	if page.Next, err = nextQuery(list.Links); err != nil {
		return page, err
	}
	for _, raw := range list.Events {
		if found, ok := s.foundEvent(raw); ok {
			page.Found = append(page.Found, found)
		}
	}
	return page, nil
}

// ceil is the next whole second.
func ceil(t time.Time) time.Time {
	return t.UTC().Add(time.Second - time.Nanosecond).Truncate(time.Second)
}

// foundEvent is an event of the list, unless it is of a resource that was not chosen. One that is not understood is kept: it
// is to be seen.
func (s *source) foundEvent(raw []byte) (connectors.Found, bool) {
	found := connectors.Found{Delivery: s.delivered(raw)}
	v, err := strictjson.Parse(raw)
	if err != nil {
		return found, true
	}
	m, _ := v.(map[string]any)
	event := object(m)
	if typ := event.Text("event_type"); typ != "" && !s.takes(resourceOf(typ)) {
		return found, false
	}
	found.Cause = causeOf(event, s.env.PublicURL)
	return found, true
}

// causeOf says in PayPal's words what became of the deliveries of an event to this connection's address.
func causeOf(event object, address string) string {
	sends := event.Objects("transmissions")
	if address != "" {
		sends = slices.DeleteFunc(sends, func(t object) bool { return t.Text("webhook_url") != address })
	}
	if len(sends) == 0 {
		return "PayPal names no delivery of it to this address"
	}
	// The newest says how it stands. PayPal keeps the time of the first try while it repeats.
	last := sends[0]
	for _, t := range sends[1:] {
		if t.Text("timestamp") > last.Text("timestamp") {
			last = t
		}
	}
	first := ""
	if t, err := parseTime(last.Text("timestamp")); err == nil {
		first = ", first at " + t.Format(time.RFC3339)
	}
	answered := "the endpoint was not reached"
	if code, err := strconv.Atoi(last.Text("http_status")); err == nil && code >= 100 && code <= 599 {
		answered = "the endpoint answered " + strconv.Itoa(code)
	}
	switch last.Text("status") {
	case "SUCCESS":
		return "PayPal says that it was delivered" + first + "; " + answered
	case "PENDING":
		return answered + first + "; PayPal tries again"
	}
	return answered + first + "; PayPal gave up"
}

// spot is how far a list was read that is asked for by spans of time. Spans are halved where too much is in one, and grow
// again behind it.
type spot struct {
	from  time.Time
	width time.Duration
	page  int
}

// Bounds of a span. In one of the shortest, pages are turned instead.
const (
	spanMin     = 2 * time.Second
	halvingsMax = 32
	pagesMax    = 10_000
)

// spotOf reads a cursor; the first is the beginning of the question.
func spotOf(q connectors.Query) (spot, error) {
	if q.Cursor == "" {
		return spot{q.From, q.To.Sub(q.From), 1}, nil
	}
	parts := strings.Split(q.Cursor, " ")
	if len(parts) != 3 {
		return spot{}, fmt.Errorf("cursor %.60q is none", q.Cursor)
	}
	from, err1 := time.Parse(time.RFC3339Nano, parts[0])
	width, err2 := time.ParseDuration(parts[1])
	page, err3 := strconv.Atoi(parts[2])
	if err := errors.Join(err1, err2, err3); err != nil || width <= 0 || page < 1 || page > pagesMax {
		return spot{}, fmt.Errorf("cursor %.60q is none", q.Cursor)
	}
	return spot{from, width, page}, nil
}

// cursor is p as text, empty at the end of the question.
func (p spot) cursor(q connectors.Query) string {
	if !p.from.Before(q.To) {
		return ""
	}
	return p.from.UTC().Format(time.RFC3339Nano) + " " + p.width.String() + " " + strconv.Itoa(p.page)
}

// end is the end of the span.
func (p spot) end(q connectors.Query) time.Time {
	if end := p.from.Add(p.width); end.Before(q.To) {
		return end
	}
	return q.To
}

// after is the span behind p, twice as long.
func (p spot) after(q connectors.Query) spot { return spot{p.end(q), 2 * p.width, 1} }

// halved is p with half the span; ok is false where it is short enough.
func (p spot) halved(q connectors.Query) (spot, bool) {
	width := p.end(q).Sub(p.from)
	if width <= spanMin || p.page > 1 {
		return p, false
	}
	return spot{p.from, max(width/2, spanMin), 1}, true
}

// subscriptionsPageSize is PayPal's maximum.
const subscriptionsPageSize = 20

// pollSubscriptions reads spans that fit on one page: whoever turns pages of a list that changes meanwhile can miss what
// moves up a page.
func (s *source) pollSubscriptions(ctx context.Context, q connectors.Query) (connectors.Page, error) {
	at, err := spotOf(q)
	for range halvingsMax {
		if err != nil || !at.from.Before(q.To) {
			break
		}
		var list struct {
			Subscriptions []json.RawMessage `json:"subscriptions"`
			Links         []listLink        `json:"links"`
		}
		// Both bounds are meant without the moment itself.
		query := url.Values{
			"status_updated_after":  {at.from.UTC().Truncate(time.Second).Add(-time.Second).Format(time.RFC3339)},
			"status_updated_before": {ceil(at.end(q)).Add(time.Second).Format(time.RFC3339)},
			"page_size":             {strconv.Itoa(subscriptionsPageSize)}, "page": {strconv.Itoa(at.page)},
		}
		if err = s.api.call(ctx, http.MethodGet, subscriptionsPath+"?"+query.Encode(), nil, &list); err != nil {
			break
		}
		full := len(list.Subscriptions) >= subscriptionsPageSize || slices.ContainsFunc(list.Links, func(l listLink) bool { return l.Rel == "next" })
		if half, ok := at.halved(q); full && ok {
			at = half
			continue
		}
		next := at.after(q)
		if full && len(list.Subscriptions) > 0 {
			next = spot{at.from, at.width, at.page + 1}
		}
		page := connectors.Page{Next: next.cursor(q)}
		page.Found, err = s.foundSubscriptions(ctx, list.Subscriptions, q)
		return page, err
	}
	return connectors.Page{}, err
}

// foundSubscriptions are the listed ones. Where everything is wanted each is read, since the list leaves the plan and the
// last failure out, and so are its payments where the transaction search, which has them all, is not allowed.
func (s *source) foundSubscriptions(ctx context.Context, list []json.RawMessage, q connectors.Query) ([]connectors.Found, error) {
	var out []connectors.Found
	has, known := s.api.granted(scopeReporting)
	for _, raw := range list {
		out = append(out, connectors.Found{Delivery: s.delivered(raw)})
		var head struct {
			ID string `json:"id"`
		}
		if err := json.Unmarshal(raw, &head); err != nil || checkID("id", head.ID) != nil || !q.Full {
			continue // kept as it was listed
		}
		whole, err := s.read(ctx, subscriptionsPath, head.ID, subscriptionFields)
		if errors.Is(err, connectors.ErrNotThere) {
			continue
		} else if err != nil {
			return nil, err
		}
		out[len(out)-1].Body = whole
		if has || !known {
			continue
		}
		charges, err := s.charges(ctx, head.ID, q.From)
		if err != nil {
			return nil, err
		}
		out = append(out, charges...)
	}
	return out, nil
}

// charges are the payments of one subscription since a moment.
func (s *source) charges(ctx context.Context, subscription string, from time.Time) ([]connectors.Found, error) {
	var out []connectors.Found
	for page, pages := 1, 1; page <= min(pages, chargePagesMax); page++ {
		var list struct {
			Transactions []json.RawMessage `json:"transactions"`
			Pages        int               `json:"total_pages"`
		}
		query := url.Values{"start_time": {from.UTC().Format(time.RFC3339)}, "end_time": {ceil(s.env.Now()).Format(time.RFC3339)}}
		if page > 1 {
			query.Set("page", strconv.Itoa(page))
		}
		path := subscriptionsPath + "/" + url.PathEscape(subscription) + "/transactions?" + query.Encode()
		if err := s.api.call(ctx, http.MethodGet, path, nil, &list); err != nil {
			return nil, err
		}
		pages = list.Pages
		for _, raw := range list.Transactions {
			d := s.delivered(raw)
			d.Headers = map[string]string{headerSubscription: subscription}
			out = append(out, connectors.Found{Delivery: d})
		}
	}
	return out, nil
}

// chargePagesMax bounds the pages of one subscription's payments.
const chargePagesMax = 100

const (
	transactionsPath = "/v1/reporting/transactions"
	// transactionsPageSize details stay far below the bound of an answer; PayPal would give 500.
	transactionsPageSize = 100
	transactionFields    = "transaction_info,payer_info,shipping_info,cart_info"
	// reportTime is how reporting writes dates: an offset without colon, which RFC 3339 does not allow.
	reportTime = "2006-01-02T15:04:05-0700"
)

func (s *source) pollTransactions(ctx context.Context, q connectors.Query) (connectors.Page, error) {
	if edge := s.env.Now().Add(reachMargin - transactionsReach); q.From.Before(edge) {
		q.From = edge
	}
	at, err := spotOf(q)
	for range halvingsMax {
		if err != nil || !at.from.Before(q.To) {
			break
		}
		at.width = min(at.width, transactionsWindow)
		var list struct {
			Details   []json.RawMessage `json:"transaction_details"`
			Pages     int               `json:"total_pages"`
			Refreshed string            `json:"last_refreshed_datetime"`
		}
		query := url.Values{
			"start_date": {at.from.UTC().Truncate(time.Second).Format(reportTime)}, "end_date": {at.end(q).UTC().Format(reportTime)},
			"fields": {transactionFields}, "page_size": {strconv.Itoa(transactionsPageSize)}, "page": {strconv.Itoa(at.page)},
		}
		err = s.api.call(ctx, http.MethodGet, transactionsPath+"?"+query.Encode(), nil, &list)
		if e := (*apiError)(nil); errors.As(err, &e) && e.is("RESULTSET_TOO_LARGE") {
			if half, ok := at.halved(q); ok {
				at, err = half, nil
				continue
			}
		}
		if s.ahead(err, at.from) {
			return connectors.Page{Next: at.after(q).cursor(q)}, nil
		}
		if err != nil {
			break
		}
		if err := refreshed(list.Refreshed, at.end(q)); err != nil {
			return connectors.Page{}, err
		}
		next := at.after(q)
		if at.page < list.Pages {
			next = spot{at.from, at.width, at.page + 1}
		}
		return connectors.Page{Next: next.cursor(q), Found: s.foundTransactions(list.Details, q.Full)}, nil
	}
	return connectors.Page{}, err
}

// ahead reports whether PayPal refused a span because it begins after the last refresh of its books. Within the time that
// transactions may take to appear this is usual, and that much is read again.
func (s *source) ahead(err error, from time.Time) bool {
	e := (*apiError)(nil)
	return errors.As(err, &e) && e.status == http.StatusBadRequest && from.After(s.env.Now().Add(-transactionsLate)) &&
		(e.is("INVALID_DATE_RANGE") || strings.Contains(e.message, "not available") || e.is("not available"))
}

// refreshed is an error where PayPal's own books are further behind than it promises: the span has to be asked for again.
func refreshed(text string, end time.Time) error {
	at, err := parseTime(text)
	if err == nil && at.Before(end.Add(-transactionsLate)) {
		return fmt.Errorf("PayPal's transactions are complete only up to %s", at.Format(time.RFC3339))
	}
	return nil
}

// foundTransactions leaves out what concerns no order of the chosen resources, and, unless everything is wanted, what no
// app's checkout makes.
func (s *source) foundTransactions(list []json.RawMessage, full bool) []connectors.Found {
	var out []connectors.Found
	for _, raw := range list {
		d := s.delivered(raw)
		events, err := normalize(d)
		if err == nil {
			e := &events[0]
			if e.Kind == schemas.KindOther || !s.takes(e.Resource) && e.Kind != schemas.KindRefund || !full && !ofApp(codeOf(raw)) {
				continue
			}
		}
		out = append(out, connectors.Found{Delivery: d})
	}
	return out
}

func codeOf(raw []byte) string {
	var detail struct {
		Info struct {
			Code string `json:"transaction_event_code"`
		} `json:"transaction_info"`
	}
	_ = json.Unmarshal(raw, &detail) // it was understood before
	return detail.Info.Code
}
