package getresponse

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tillstream/tillstream/connectors"
	"github.com/tillstream/tillstream/outbound"
	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/schemas/strictjson"
)

// The feeds. GetResponse cannot be asked what changed: an order has no time of its change, and a list can be sorted by
// making only. So orders are read again and again and compared with what they were: the newest ones each minute, which
// is where payments happen, and all of them each hour.
const (
	FeedRecent = "recent"
	FeedAll    = "all"
)

const (
	recentEvery = time.Minute
	allEvery    = time.Hour
	// ordersPerPage bounds the contacts that one page can ask for; GetResponse allows 1000 orders.
	ordersPerPage  = 100
	contactsAtOnce = 3
	// pagesMax bounds a walk: 30,000 requests are all that the account has in ten minutes.
	pagesMax = 20_000
	// rereadsMax bounds how often a walk goes back because orders were deleted before it.
	rereadsMax = 50
)

// Feeds implements connectors.Poller.
func (s *source) Feeds() []connectors.Feed {
	return []connectors.Feed{
		{Name: FeedRecent, Every: recentEvery, Match: connectors.MatchEvent},
		{Name: FeedAll, Every: allEvery, History: true, Match: connectors.MatchEvent},
	}
}

// walk is where the reading of a list stands.
type walk struct{ page, total, rereads int }

func parseCursor(text string) (walk, error) {
	if text == "" {
		return walk{page: 1, total: -1}, nil
	}
	parts := strings.Split(text, ":")
	var n [3]int
	if len(parts) != len(n) {
		return walk{}, fmt.Errorf("cursor %.40q is none", text)
	}
	for i, p := range parts {
		var err error
		if n[i], err = strconv.Atoi(p); err != nil || n[i] < 0 {
			return walk{}, fmt.Errorf("cursor %.40q is none", text)
		}
	}
	if n[0] < 1 || n[0] > pagesMax || n[2] > rereadsMax {
		return walk{}, fmt.Errorf("cursor %.40q: more than %d pages", text, pagesMax)
	}
	return walk{n[0], n[1], n[2]}, nil
}

func (w walk) cursor() string { return fmt.Sprintf("%d:%d:%d", w.page, w.total, w.rereads) }

// after is the page to read next, once a page of n orders told the total. Where orders were deleted since the page
// before, those behind have moved forward, over the edge of this page: it goes back as far as they can have moved.
func (w walk) after(n, total, lastPage int) (next walk, more bool) {
	gone := 0
	if w.total > total {
		gone = w.total - total
	}
	if gone > 0 && w.page > 1 && w.rereads < rereadsMax {
		return walk{max(1, w.page-(gone+ordersPerPage-1)/ordersPerPage), total, w.rereads + 1}, true
	}
	w.page, w.total = w.page+1, total
	return w, n == ordersPerPage && w.page <= lastPage
}

// Poll implements connectors.Poller. An order that is unchanged since a page of an earlier window held it is left out.
func (s *source) Poll(ctx context.Context, q connectors.Query) (connectors.Page, error) {
	sort, lastPage := "ASC", pagesMax // at its end, what is made meanwhile moves nothing
	switch q.Feed {
	case FeedRecent:
		sort, lastPage = "DESC", s.cfg.recentPages()
	case FeedAll:
	default:
		return connectors.Page{}, fmt.Errorf("getresponse connection %s has no feed %q", s.env.Connection, q.Feed)
	}
	w, err := parseCursor(q.Cursor)
	if err != nil {
		return connectors.Page{}, fmt.Errorf("list orders: %w", err)
	}
	var list []json.RawMessage
	header, err := s.api.Call(ctx, http.MethodGet, s.ordersPath(url.Values{
		"page": {strconv.Itoa(w.page)}, "perPage": {strconv.Itoa(ordersPerPage)}, "sort[createdOn]": {sort},
	}), nil, &list)
	if err != nil {
		return connectors.Page{}, s.explained("list orders", err)
	}
	total, err := strconv.Atoi(header.Get("TotalCount"))
	if err != nil || total < 0 { // without it, only a full page says that there is another
		total = max(w.total, 0)
	}
	page, err := s.news(ctx, q, list)
	if err != nil {
		return connectors.Page{}, err
	}
	s.answered()
	if next, more := w.after(len(list), total, lastPage); more {
		page.Next = next.cursor()
	}
	return page, nil
}

// item is a listed order that is news.
type item struct {
	id, contactID string
	raw           []byte
	returned      string
}

// news makes the deliveries of those orders that are news.
func (s *source) news(ctx context.Context, q connectors.Query, list []json.RawMessage) (connectors.Page, error) {
	now := s.env.Now()
	var items []item
	var ids []string
	for _, raw := range list {
		i, ok, err := s.look(q, raw, now)
		if err != nil {
			return connectors.Page{}, fmt.Errorf("list orders: %w", err)
		}
		if ok {
			items, ids = append(items, i), append(ids, i.contactID)
		}
	}
	contacts, err := s.contactsOf(ctx, ids)
	if err != nil {
		return connectors.Page{}, err
	}
	var page connectors.Page
	for _, i := range items {
		page.Found = append(page.Found, connectors.Found{Delivery: connectors.Delivery{
			Connection: s.env.Connection, Environment: s.env.Environment, ID: i.id, Body: envelope(i.raw, contacts[i.contactID], i.returned),
			ReceivedAt: now, Origin: schemas.OriginPoll,
		}})
	}
	return page, nil
}

// look reads what is needed of a listed order; ok is false where it is not news.
func (s *source) look(q connectors.Query, raw json.RawMessage, now time.Time) (i item, ok bool, err error) {
	v, err := strictjson.Parse(raw)
	if err != nil {
		return i, false, err
	}
	m, _ := v.(map[string]any)
	order := object(m)
	i = item{id: order.Text("orderId"), contactID: order.Text("contactId"), raw: raw}
	if !idForm.MatchString(i.id) {
		return i, false, fmt.Errorf("orderId %.40q is no id", i.id)
	}
	if !q.Full {
		hash := sha256.Sum256(strictjson.AppendCanonical(nil, v))
		i.returned, ok = s.memory.look(q.Feed+" "+i.id, hash, q.From, q.To, now)
		return i, ok, nil
	}
	made, err := time.Parse(timeLayout, order.Text("processedAt"))
	return i, err != nil || !made.Before(q.From) && made.Before(q.To), nil // without a time it is in every window
}

// envelope puts both answers together, the bytes of each as they came.
func envelope(order, contact []byte, returned string) []byte {
	var b bytes.Buffer
	b.WriteString(`{"order":`)
	b.Write(order)
	b.WriteString(`,"contact":`)
	if contact == nil {
		contact = []byte("null")
	}
	b.Write(contact)
	if returned != "" {
		b.WriteString(`,"returned":"` + returned + `"`)
	}
	b.WriteByte('}')
	return b.Bytes()
}

// contactsOf reads the contacts of a page's orders, a few at a time: GetResponse allows ten requests at once to all that
// use the account.
func (s *source) contactsOf(ctx context.Context, ids []string) (map[string][]byte, error) {
	var mu sync.Mutex
	out := make(map[string][]byte, len(ids))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(contactsAtOnce)
	slices.Sort(ids)
	for _, id := range slices.Compact(ids) {
		group.Go(func() error {
			raw, err := s.contact(ctx, id)
			mu.Lock()
			defer mu.Unlock()
			out[id] = raw
			return err
		})
	}
	return out, group.Wait()
}

// contact is the order's customer; nil where there is none, or none any more.
func (s *source) contact(ctx context.Context, id string) ([]byte, error) {
	if !idForm.MatchString(id) {
		return nil, nil
	}
	if known, ok := s.contacts.get(id); ok {
		return known, nil
	}
	var raw json.RawMessage
	_, err := s.api.Call(ctx, http.MethodGet, "/contacts/"+url.PathEscape(id), nil, &raw)
	e := (*outbound.StatusError)(nil)
	switch {
	case errors.As(err, &e) && e.Status == http.StatusNotFound:
		raw = nil
	case err != nil:
		return nil, s.explained("read the contact of an order", err)
	default:
		v, err := strictjson.Parse(raw)
		if err != nil {
			return nil, fmt.Errorf("read contact %s: %w", id, err)
		}
		if _, ok := v.(map[string]any); !ok {
			return nil, fmt.Errorf("read contact %s: not a JSON object", id)
		}
	}
	s.contacts.put(id, raw)
	return raw, nil
}
