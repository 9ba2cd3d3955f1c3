package woocommerce

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
	"github.com/tillstream/tillstream/outbound"
	"github.com/tillstream/tillstream/schemas/strictjson"
)

// The feeds. Orders in the trash are in no other list.
const (
	feedOrders = "orders"
	feedTrash  = "trash"
)

const (
	pollEvery = 5 * time.Minute
	// pollLate covers commits that take their time: a change becomes visible after the second it is dated with.
	pollLate = 2 * time.Minute
	// excludedMax bounds the ids in one question, for the length of its address.
	excludedMax = 400
	gmtForm     = "2006-01-02T15:04:05"
)

// pageSizes are how many orders are asked for at once; fewer where the answer would be too large.
var pageSizes = []int{100, 20, 4}

// Feeds implements connectors.Poller. A removed order matches by its status whenever: a webhook dates its removal by
// its reception, the list by its last change.
func (s *source) Feeds() []connectors.Feed {
	return []connectors.Feed{
		{Name: feedOrders, Every: pollEvery, Late: pollLate, History: true, Match: connectors.MatchVersion},
		{Name: feedTrash, Every: pollEvery, Late: pollLate, Match: connectors.MatchStatus},
	}
}

// cursor is how far a window was read: every order that changed before Second is known, and of those that changed in
// it the ones in Seen. Pages by number would skip an order whenever one before it changes and moves to the end.
type cursor struct {
	Second int64   `json:"s"`
	Seen   []int64 `json:"x,omitempty"`
	// Crowd: more orders changed in Second than a question can exclude. They are read by id; Offset is where the next
	// page begins, and Last is the id before it.
	Crowd  bool  `json:"c,omitempty"`
	Last   int64 `json:"l,omitempty"`
	Offset int   `json:"o,omitempty"`
	// Size counts the page sizes that were too large for the orders of this list.
	Size int `json:"n,omitempty"`
}

// Poll implements connectors.Poller.
func (s *source) Poll(ctx context.Context, q connectors.Query) (connectors.Page, error) {
	if q.Feed != feedOrders && q.Feed != feedTrash {
		return connectors.Page{}, fmt.Errorf("poll: there is no feed %q", q.Feed)
	}
	at := cursor{Second: max(1, q.From.Unix())} // WordPress knows no year before 1970
	if q.Cursor != "" {
		if err := json.Unmarshal([]byte(q.Cursor), &at); err != nil || len(at.Seen) > excludedMax || at.Offset < 0 || at.Size < 0 || at.Size >= len(pageSizes) {
			return connectors.Page{}, fmt.Errorf("poll %s: cursor %.60q is none", q.Feed, q.Cursor)
		}
	}
	ask := s.byTime
	if at.Crowd {
		ask = s.crowd
	}
	page, err := ask(ctx, q, at)
	if err != nil {
		return connectors.Page{}, fmt.Errorf("poll %s: %w", q.Feed, err)
	}
	return page, nil
}

// row is one listed order.
type row struct {
	body     json.RawMessage
	id       int64
	modified int64 // second
}

// readRow reads what paging hangs on. A row without is passed on all the same: its bytes are kept and looked at.
func readRow(body json.RawMessage) row {
	r := row{body: body}
	v, err := strictjson.Parse(body)
	if err != nil {
		return r
	}
	m, _ := v.(map[string]any)
	o := object(m)
	t, err := versionTime(o)
	if id, bad := orderID(o); bad == nil && err == nil {
		r.id, _ = strconv.ParseInt(id, 10, 64)
		r.modified = t.Unix()
	}
	return r
}

// listing is one page of rows.
type listing struct {
	rows    []row
	perPage int
	size    int // which of pageSizes it is
	total   int // how many orders the question is about; -1: the store does not say
}

// more reports whether orders follow after those that come before the page and those in it. Rows may be hidden from a
// page, so that a short one is not the last for that.
func (l listing) more(before int) bool {
	if l.total < 0 {
		return len(l.rows) == l.perPage
	}
	return len(l.rows) > 0 && before+len(l.rows) < l.total
}

// hidden is how many orders a page left out of those that it should have held.
func (l listing) hidden(before int) int {
	return max(0, min(l.perPage, l.total-before)-len(l.rows))
}

// ask reads one page from where at stands.
func (s *source) ask(ctx context.Context, feed string, at cursor, query url.Values) (listing, error) {
	query.Set("dates_are_gmt", "true") // and no zone in the times: with both, WordPress compares in the wrong zone
	if feed == feedTrash {
		query.Set("status", statusTrash)
	}
	var err error
	for size := at.Size; size < len(pageSizes); size++ {
		var list []json.RawMessage
		var header http.Header
		query.Set("per_page", strconv.Itoa(pageSizes[size]))
		if header, err = s.call(ctx, http.MethodGet, "/orders?"+query.Encode(), nil, &list); err == nil {
			l := listed(list, size, header)
			s.noteHidden(l.hidden(at.Offset))
			return l, nil
		}
		if !errors.Is(err, outbound.ErrTooLarge) {
			break
		}
	}
	return listing{}, explained(err)
}

func listed(list []json.RawMessage, size int, h http.Header) listing {
	l := listing{rows: make([]row, len(list)), perPage: pageSizes[size], size: size, total: -1}
	for i, body := range list {
		l.rows[i] = readRow(body)
	}
	if total, err := strconv.Atoi(h.Get("X-WP-Total")); err == nil && total >= 0 {
		l.total = total
	}
	return l
}

// noteHidden remembers that the key's user may not see all orders: what is hidden, nothing else will tell.
func (s *source) noteHidden(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.hidden = nil; n > 0 {
		s.hidden = &connectors.Finding{
			Level: connectors.Warn, Field: "consumer_key", Message: fmt.Sprintf("the store hides %d orders of the newest list from this key", n),
			Hint: "make a key for a user with the role Shop manager or Administrator",
		}
	}
}

func gmt(second int64) string { return time.Unix(second, 0).UTC().Format(gmtForm) }

// end is the first second that is not asked for.
func end(to time.Time) int64 {
	second := to.Unix()
	if to.Nanosecond() > 0 {
		second++
	}
	return second
}

// byTime reads the next page in the order of changes: always the first page of what is after the watermark.
func (s *source) byTime(ctx context.Context, q connectors.Query, at cursor) (connectors.Page, error) {
	query := url.Values{
		"orderby": {"modified"}, "order": {"asc"}, "page": {"1"},
		"modified_after":  {gmt(at.Second - 1)}, // strictly after
		"modified_before": {gmt(end(q.To))},     // strictly before
	}
	if len(at.Seen) > 0 {
		ids := make([]string, len(at.Seen))
		for i, id := range at.Seen {
			ids[i] = strconv.FormatInt(id, 10)
		}
		query.Set("exclude", strings.Join(ids, ","))
	}
	list, err := s.ask(ctx, q.Feed, at, query)
	if err != nil {
		return connectors.Page{}, err
	}
	page, next, progress := s.found(q.Feed, list.rows), at, false
	for _, r := range list.rows {
		if r.id == 0 || r.modified < next.Second || r.modified == next.Second && slices.Contains(next.Seen, r.id) {
			continue
		}
		if r.modified > next.Second {
			next = cursor{Second: r.modified}
		}
		next.Seen, progress = append(next.Seen[:len(next.Seen):len(next.Seen)], r.id), true
	}
	switch {
	case !list.more(0):
		return page, nil
	case !progress:
		return connectors.Page{}, fmt.Errorf("a page of %d orders after %s names no id or time that leads on", len(list.rows), gmt(at.Second))
	case len(next.Seen) > excludedMax:
		next = cursor{Second: next.Second, Crowd: true}
	}
	next.Size = list.size
	return turned(page, next)
}

// crowd reads the orders of one second by id. An order that changes leaves the second, so that the list only shrinks:
// where the page no longer begins at or before the last known id, an earlier one is read.
func (s *source) crowd(ctx context.Context, q connectors.Query, at cursor) (connectors.Page, error) {
	query := url.Values{
		"orderby": {"id"}, "order": {"asc"}, "offset": {strconv.Itoa(at.Offset)},
		"modified_after": {gmt(at.Second - 1)}, "modified_before": {gmt(at.Second + 1)},
	}
	list, err := s.ask(ctx, q.Feed, at, query)
	if err != nil {
		return connectors.Page{}, err
	}
	rows := list.rows
	if at.Offset > 0 && (len(rows) == 0 && list.hidden(at.Offset) == 0 || len(rows) > 0 && rows[0].id > at.Last) {
		at.Offset = max(0, at.Offset-pageSizes[0])
		return turned(connectors.Page{}, at)
	}
	page := s.found(q.Feed, rows)
	if !list.more(at.Offset) {
		if at.Second+1 >= end(q.To) {
			return page, nil
		}
		return turned(page, cursor{Second: at.Second + 1, Size: list.size})
	}
	// The next page begins with the last row of this one, to see that nothing moved.
	last := max(at.Last, rows[len(rows)-1].id)
	return turned(page, cursor{Second: at.Second, Crowd: true, Last: last, Offset: at.Offset + max(1, len(rows)-1), Size: list.size})
}

func turned(p connectors.Page, next cursor) (connectors.Page, error) {
	text, err := json.Marshal(next)
	if err != nil {
		return connectors.Page{}, fmt.Errorf("write cursor: %w", err)
	}
	p.Next = string(text)
	return p, nil
}

// found are the rows as deliveries, with the topic that a webhook would have had.
func (s *source) found(feed string, rows []row) connectors.Page {
	topic := topicUpdated
	if feed == feedTrash {
		topic = topicDeleted
	}
	p := connectors.Page{Found: make([]connectors.Found, len(rows))}
	for i, r := range rows {
		p.Found[i].Delivery = s.read(r.body, topic)
	}
	return p
}
