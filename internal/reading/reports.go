package reading

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"math"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/shopspring/decimal"

	"github.com/tillstream/tillstream/api"
	"github.com/tillstream/tillstream/pipeline/connections"
	"github.com/tillstream/tillstream/schemas"
	chsink "github.com/tillstream/tillstream/sinks/clickhouse"
)

// Reports implements api.Reading.
func (d *Desk) Reports(context.Context) (api.ReportList, error) {
	known, err := chsink.Reports()
	if err != nil {
		return api.ReportList{}, err
	}
	list := api.ReportList{Items: make([]api.ReportInfo, len(known))}
	for i, r := range known {
		list.Items[i] = infoOf(r)
	}
	return list, nil
}

func infoOf(r chsink.Report) api.ReportInfo {
	series := r.Series
	if series == nil {
		series = []string{}
	}
	return api.ReportInfo{
		Name: r.Name, Title: r.Title, Definition: r.Definition, View: r.View, Money: r.Money(),
		Chart: api.ReportChart{Plot: string(r.Plot), X: r.X, Y: r.Y, Series: series},
	}
}

// Report implements api.Reading.
func (d *Desk) Report(ctx context.Context, q api.ReportQuery) (api.ReportAnswer, error) {
	known, err := chsink.Reports()
	if err != nil {
		return api.ReportAnswer{}, err
	}
	i := slices.IndexFunc(known, func(r chsink.Report) bool { return r.Name == q.Name })
	if i < 0 {
		return api.ReportAnswer{}, refuse(connections.NotFound, "there is no report %.40q; GET /reports lists them", q.Name)
	}
	if q.Environment == "" {
		q.Environment = schemas.Live
	}
	switch {
	case q.Environment != schemas.Live && q.Environment != schemas.Sandbox:
		return api.ReportAnswer{}, refuse(connections.Invalid, "environment %.40q: use live or sandbox", q.Environment)
	case !q.Until.IsZero() && !q.Since.Before(q.Until):
		return api.ReportAnswer{}, refuse(connections.Invalid, "since lies after until")
	case len(q.Store) > nameBytesMax || len(q.Currency) > nameBytesMax:
		return api.ReportAnswer{}, refuse(connections.Invalid, "a name is longer than %d bytes", nameBytesMax)
	}
	f := chsink.ReportFilter{Environment: q.Environment, Store: q.Store, Currency: strings.ToUpper(q.Currency), Since: q.Since, Until: q.Until, Rows: q.Limit}
	asOf := d.Now().UTC()
	res, err := d.Store.Report(ctx, known[i], f)
	if err != nil {
		return api.ReportAnswer{}, refused(err)
	}
	a := api.ReportAnswer{ReportInfo: infoOf(known[i]), Truncated: res.Truncated, AsOf: asOf, SQL: known[i].SQL(f), Opens: make([]string, len(res.Rows))}
	a.Columns, a.Rows = columnsOf(res, known[i].Money()), rowsOf(res)
	for n := range res.Rows {
		a.Opens[n] = opens(known[i].Name, q, a.Columns, res.Rows[n])
	}
	return a, nil
}

const nameBytesMax = 200

// Query implements api.Reading.
func (d *Desk) Query(ctx context.Context, q api.QueryRequest) (api.QueryAnswer, error) {
	began := d.Now()
	res, err := d.Store.Query(ctx, q.SQL, chsink.Limits{Rows: min(q.Rows, chsink.RowsDefault), Time: queryTimeout})
	if err != nil {
		return api.QueryAnswer{}, queryRefused(err)
	}
	return api.QueryAnswer{Columns: columnsOf(res, false), Rows: rowsOf(res), Truncated: res.Truncated, Millis: d.Now().Sub(began).Milliseconds()}, nil
}

// queryTimeout is shorter than what a request may take.
const queryTimeout = 25 * time.Second

func columnsOf(r chsink.Result, money bool) []api.ReportColumn {
	list := make([]api.ReportColumn, len(r.Columns))
	for i, c := range r.Columns {
		list[i] = api.ReportColumn{Name: c.Name}
		list[i].Type, list[i].Unit = typeOf(c, money)
	}
	return list
}

// wrapped are types around another one.
var wrapped = strings.NewReplacer("LowCardinality(", "", "Nullable(", "")

// typeOf says what kind of values a column has, and, where its name tells, their unit.
func typeOf(c chsink.Column, money bool) (kind, unit string) {
	t := wrapped.Replace(c.Type)
	switch {
	case strings.HasPrefix(t, "DateTime"):
		return "time", ""
	case strings.HasPrefix(t, "Date"):
		return "day", ""
	case strings.HasPrefix(t, "Bool"):
		return "yes_no", ""
	case strings.HasPrefix(t, "Decimal") && money:
		return "money", "currency"
	case !strings.HasPrefix(t, "Int") && !strings.HasPrefix(t, "UInt") && !strings.HasPrefix(t, "Float") && !strings.HasPrefix(t, "Decimal"):
		return "text", ""
	}
	for _, u := range []struct{ mark, unit string }{{"seconds", "seconds"}, {"hours", "hours"}, {"share", "share"}, {"rate", "share"}, {"ms_", "ms"}, {"millis", "ms"}, {"months", "months"}, {"days", "days"}} {
		if strings.Contains(c.Name, u.mark) {
			return "number", u.unit
		}
	}
	if strings.HasPrefix(t, "UInt") || strings.HasPrefix(t, "Int") {
		return "number", "count"
	}
	return "number", ""
}

func rowsOf(r chsink.Result) [][]any {
	rows := make([][]any, len(r.Rows))
	for n, row := range r.Rows {
		rows[n] = make([]any, len(row))
		for i, v := range row {
			rows[n][i] = valueOf(v, strings.HasPrefix(wrapped.Replace(r.Columns[i].Type), "Date") && !strings.HasPrefix(wrapped.Replace(r.Columns[i].Type), "DateTime"))
		}
	}
	return rows
}

// exactMax is the largest whole number that every reader of JSON keeps.
const exactMax = 1 << 53

// valueOf is a value as JSON has it.
func valueOf(v any, day bool) any {
	switch v := v.(type) {
	case nil, bool:
		return v
	case string:
		return textOf(v)
	case time.Time:
		if day {
			return v.UTC().Format(time.DateOnly)
		}
		return v.UTC().Format(time.RFC3339Nano)
	case decimal.Decimal:
		return amount(v)
	case fmt.Stringer: // 128-bit numbers, addresses, UUIDs
		return v.String()
	}
	r := reflect.ValueOf(v)
	switch r.Kind() {
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		if n := r.Int(); n > exactMax || n < -exactMax {
			return strconv.FormatInt(n, 10)
		}
		return v
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		if n := r.Uint(); n > exactMax {
			return strconv.FormatUint(n, 10)
		}
		return v
	case reflect.Float32, reflect.Float64:
		if f := r.Float(); math.IsNaN(f) || math.IsInf(f, 0) {
			return nil
		}
		return v
	case reflect.Slice, reflect.Array:
		list := make([]any, r.Len())
		for i := range list {
			list[i] = valueOf(r.Index(i).Interface(), false)
		}
		return list
	case reflect.Map:
		object := make(map[string]any, r.Len())
		for each := r.MapRange(); each.Next(); {
			object[fmt.Sprint(each.Key().Interface())] = valueOf(each.Value().Interface(), false)
		}
		return object
	case reflect.Pointer:
		if r.IsNil() {
			return nil
		}
		return valueOf(r.Elem().Interface(), day)
	}
	return fmt.Sprint(v)
}

// textOf is text, or what bytes are that are none.
func textOf(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	return "base64:" + base64.StdEncoding.EncodeToString([]byte(s))
}

// behind says which events are behind the rows of a report, beyond those of its columns; without a row in it: none.
var behind = map[string]url.Values{
	"revenue": {}, "revenue-days": {}, "mrr": {"kind": {"PAYMENT"}}, "recovery": {"status": {"FAILED"}}, "failures": {"status": {"FAILED"}},
	"disputes": {"kind": {"DISPUTE"}}, "disputes-by-product": {"kind": {"DISPUTE"}}, "capture-time": {"status": {"APPROVED"}}, "funnel": {"kind": {"ORDER"}},
	"churn": {"kind": {"SUBSCRIPTION"}}, "crm-delay": {}, "event-quality": {},
}

// received are the reports whose span is one of receipt, not of the provider's time.
var received = []string{"crm-delay", "event-quality"}

// opens is the page that lists what is behind a row.
func opens(report string, q api.ReportQuery, columns []api.ReportColumn, row []any) string {
	cell := func(name string) string {
		for i, c := range columns {
			if c.Name == name && row[i] != nil {
				if at, ok := row[i].(time.Time); ok {
					return at.UTC().Format(time.RFC3339)
				}
				return fmt.Sprint(row[i])
			}
		}
		return ""
	}
	switch report {
	case "given-up":
		return page("/issues", url.Values{"cause": {cell("cause")}, "stage": {cell("stage")}})
	case "delivery", "held":
		return page("/issues", url.Values{"destination": {cell("destination")}})
	case "runs", "branches", "waits":
		return page("/workflows/"+url.PathEscape(cell("workflow")), nil)
	case "rules":
		folder, name, _ := strings.Cut(cell("rule"), "/")
		return page("/"+folder+"/"+url.PathEscape(name), nil)
	}
	extra, ok := behind[report]
	if !ok {
		return ""
	}
	v := url.Values{"environment": {string(q.Environment)}, "store": {cell("store")}, "currency": {cell("currency")}, "type": {cell("event_type")}}
	if v.Get("store") == "" {
		v.Set("store", q.Store)
	}
	for key, value := range extra {
		v[key] = value
	}
	since, until := spanOf(cell, q)
	if !since.IsZero() {
		v.Set("since", since.Format(time.RFC3339))
	}
	if !until.IsZero() {
		v.Set("until", until.Format(time.RFC3339))
	}
	if !slices.Contains(received, report) && (!since.IsZero() || !until.IsZero()) {
		v.Set("time", "provider")
	}
	return page("/events", v)
}

// spanOf is the time that a row is about, within that of the question.
func spanOf(cell func(string) string, q api.ReportQuery) (since, until time.Time) {
	since, until = q.Since.UTC(), q.Until.UTC()
	if q.Since.IsZero() {
		since = time.Time{}
	}
	if q.Until.IsZero() {
		until = time.Time{}
	}
	for _, unit := range []struct {
		column string
		end    func(time.Time) time.Time
	}{
		{"month", func(t time.Time) time.Time { return t.AddDate(0, 1, 0) }},
		{"day", func(t time.Time) time.Time { return t.AddDate(0, 0, 1) }},
		{"hour", func(t time.Time) time.Time { return t.Add(time.Hour) }},
	} {
		begin, err := time.Parse(time.RFC3339, cell(unit.column))
		if err != nil {
			continue
		}
		if end := unit.end(begin); until.IsZero() || end.Before(until) {
			until = end
		}
		if begin.After(since) {
			since = begin
		}
	}
	return since, until
}

// page is an address of the page, without parameters that say nothing.
func page(path string, v url.Values) string {
	for key, value := range v {
		if len(value) == 0 || value[0] == "" {
			delete(v, key)
		}
	}
	if len(v) == 0 {
		return path
	}
	return path + "?" + v.Encode()
}

// queryRefused is refused for a statement that somebody wrote: what the server says of it is his.
func queryRefused(err error) error {
	var said *chsink.ServerError
	if errors.As(err, &said) {
		return refuse(connections.Invalid, "%v", err)
	}
	return refused(err)
}
