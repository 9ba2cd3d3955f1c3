package woocommerce

import (
	"cmp"
	"encoding/json"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	perPageDefault = 10
	perPageMax     = 100
)

// filter is what a question for orders asks.
type filter struct {
	query   url.Values
	gmt     bool
	bounds  []bound
	refused *apiError

	exclude, include, status map[string]bool
}

// bound is a limit on one of the two columns of a time: the site's wall clock, or UTC. Both are compared as text.
type bound struct {
	modified, after bool
	text            string
}

// zoned matches a time that names its zone.
var zoned = regexp.MustCompile(`(Z|[+-][0-9]{2}:?[0-9]{2})$`)

// wallOf is what WordPress compares with: a time with a zone becomes the site's wall clock, whatever column it is then
// compared with; one without stays as it is.
func (s *Server) wallOf(value string) (string, bool) {
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05-0700"} {
		if t, err := time.Parse(layout, value); err == nil {
			return t.In(s.o.Zone).Format(wallForm), true
		}
	}
	t, err := time.Parse(wallForm, value)
	return t.Format(wallForm), err == nil && !zoned.MatchString(value)
}

func (s *Server) readFilter(r *http.Request) filter {
	f := filter{query: r.URL.Query()}
	f.gmt = f.query.Get("dates_are_gmt") == "true" || f.query.Get("dates_are_gmt") == "1"
	for _, name := range []string{"after", "before", "modified_after", "modified_before"} {
		value := f.query.Get(name)
		if value == "" {
			continue
		}
		wall, ok := s.wallOf(value)
		if !ok {
			f.refused = invalidParam(name)
		}
		f.bounds = append(f.bounds, bound{strings.HasPrefix(name, "modified"), strings.HasSuffix(name, "after"), wall})
	}
	f.exclude, f.include, f.status = f.set("exclude"), f.set("include"), f.set("status")
	return f
}

// number reads a whole number within its range.
func (f *filter) number(name string, initial, from, to int) int {
	value := f.query.Get(name)
	if value == "" {
		return initial
	}
	n, err := strconv.Atoi(value)
	if err != nil || n < from || n > to {
		f.refused = invalidParam(name)
	}
	return n
}

// set reads a, b and c of name=a,b&name[]=c.
func (f *filter) set(name string) map[string]bool {
	out := map[string]bool{}
	for _, v := range append(f.query[name], f.query[name+"[]"]...) {
		for part := range strings.SplitSeq(v, ",") {
			if part = strings.TrimSpace(part); part != "" {
				out[part] = true
			}
		}
	}
	return out
}

// takes reports whether the question is for o. Without a status, and with any, the trash and drafts of the checkout
// stay hidden.
func (s *Server) takes(f *filter, o *order) bool {
	for _, b := range f.bounds {
		at := o.created
		if b.modified {
			at = o.modified
		}
		column := at.UTC().Format(wallForm)
		if !f.gmt {
			column = at.In(s.o.Zone).Format(wallForm)
		}
		if b.after && column <= b.text || !b.after && column >= b.text {
			return false
		}
	}
	id := strconv.FormatInt(o.id, 10)
	if f.exclude[id] || len(f.include) > 0 && !f.include[id] {
		return false
	}
	if len(f.status) == 0 || f.status["any"] {
		return o.status != "trash" && o.status != "checkout-draft" || f.status[o.status]
	}
	return f.status[o.status]
}

func (s *Server) listOrders(c call) (int, any, *apiError) {
	f := s.readFilter(c.r)
	perPage := f.number("per_page", perPageDefault, 1, perPageMax)
	offset := f.number("offset", (f.number("page", 1, 1, 1<<30)-1)*perPage, 0, 1<<30)
	compare, ok := sortings[cmp.Or(f.query.Get("orderby"), "date")]
	if !ok {
		return 0, nil, invalidParam("orderby")
	}
	if f.refused != nil {
		return 0, nil, f.refused
	}
	var found []*order
	for _, o := range s.orders {
		if s.takes(&f, o) {
			found = append(found, o)
		}
	}
	slices.SortFunc(found, func(a, b *order) int {
		if f.query.Get("order") != "asc" {
			a, b = b, a
		}
		return cmp.Or(compare(a, b), cmp.Compare(a.tie, b.tie))
	})
	pages := (len(found) + perPage - 1) / perPage
	c.w.Header().Set("X-WP-Total", strconv.Itoa(len(found)))
	c.w.Header().Set("X-WP-TotalPages", strconv.Itoa(pages))
	found = found[min(offset, len(found)):]
	found = found[:min(perPage, len(found))]
	items := make([]json.RawMessage, len(found))
	for i, o := range found {
		items[i] = s.render(o)
	}
	return 200, raw(assembled(items)), nil
}

var sortings = map[string]func(a, b *order) int{
	"date":     func(a, b *order) int { return a.created.Compare(b.created) },
	"modified": func(a, b *order) int { return a.modified.Compare(b.modified) },
	"id":       func(a, b *order) int { return cmp.Compare(a.id, b.id) },
}

// assembled is a list of what is written already, to the byte.
func assembled(items []json.RawMessage) []byte {
	out := []byte{'['}
	for i, item := range items {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(out, item...)
	}
	return append(out, ']')
}

func (s *Server) getOrder(c call) (int, any, *apiError) {
	o := s.find(c.r.PathValue("id"))
	if o == nil {
		return 0, nil, refuse(404, "woocommerce_rest_shop_order_invalid_id", "Invalid ID.")
	}
	return 200, raw(s.render(o)), nil
}

func (s *Server) getRefunds(c call) (int, any, *apiError) {
	o := s.find(c.r.PathValue("id"))
	if o == nil {
		return 0, nil, refuse(404, "woocommerce_rest_shop_order_invalid_id", "Invalid order ID.")
	}
	out := make([]object, len(o.refunds))
	for i, r := range o.refunds {
		out[i] = object{"id": r.id, "amount": r.amount.StringFixed(2), "reason": r.reason, "date_created": s.wall(r.at), "date_created_gmt": gmt(r.at), "line_items": []any{}}
	}
	return 200, out, nil
}
