package intake

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/tillstream/tillstream/schemas/strictjson"
)

const (
	columnsMax = 1000
	// rowBytesMax bounds one row: a quote without an end would make the rest of the file one.
	rowBytesMax = 4 << 20
	// OwnColumns are added to a file of rejected rows, and left out when such a file is read.
	OwnColumns = "tillstream_"
	// LeftOut as a column's field leaves the column out.
	LeftOut = "-"
)

// Required must have a column or a fixed value.
var required = []string{"order_id", "status", "occurred_at"}

// The fields whose text has a form of its own in tables.
var (
	timeFields  = []string{"occurred_at", "created_at", "next_billing_at"}
	moneyFields = []string{"amount", "amount_paid", "amount_refunded", "shipping_total", "tax_total", "discount_total", "items.price"}
	// Those of the envelope rather than of its data.
	envelopeFields = []string{"type", "sequence"}
)

// Table says how to read a table.
type Table struct {
	// Known are the names of fields that a column can hold.
	Known []string
	// Columns maps a column's name to a field, or to LeftOut. A column without an entry whose name is a field is that field;
	// any other is kept as metadata.
	Columns map[string]string
	// Fixed are fields that are the same in each row.
	Fixed map[string]string
	// Delimiter between cells; zero: found in the header.
	Delimiter rune
	// TimeLayouts are Go layouts tried before ISO 8601, "unix" or "unix_ms".
	TimeLayouts []string
	// Zone is that of times without one; nil: such are refused.
	Zone *time.Location
	// DecimalComma reads 1.234,56.
	DecimalComma bool
	// MediaType says of the bodies that they are in the form that the table's fields make.
	MediaType string
}

// Rows reads a table with a header.
type Rows struct {
	t      Table
	in     *csv.Reader
	limit  *rowLimit
	header []string
	fields []string // of each column; empty: left out; "metadata.x": none of ours
}

// NewRows reads the header. The error says what the columns lack.
func NewRows(r io.Reader, t Table) (*Rows, error) {
	limit := &rowLimit{in: r, left: rowBytesMax}
	in := bufio.NewReaderSize(limit, 64<<10)
	if mark, err := in.Peek(len(byteOrderMark)); err == nil && bytes.Equal(mark, byteOrderMark) {
		_, _ = in.Discard(len(byteOrderMark)) // they were peeked
	}
	if t.Delimiter == 0 {
		head, _ := in.Peek(32 << 10) // a shorter file gives what it has
		line, _, _ := bytes.Cut(head, []byte("\n"))
		t.Delimiter = delimiterOf(string(line))
	}
	rows := &Rows{t: t, in: csv.NewReader(in), limit: limit}
	rows.in.Comma, rows.in.FieldsPerRecord = t.Delimiter, -1
	header, err := rows.in.Read()
	if errors.Is(err, io.EOF) {
		return nil, errors.New("the table is empty: it needs a header with the names of its columns")
	}
	if err != nil {
		return nil, fmt.Errorf("the header: %w", err)
	}
	rows.header = header
	return rows, rows.assign()
}

// Header is the table's own.
func (r *Rows) Header() []string { return r.header }

// Delimiter is what stands between cells.
func (r *Rows) Delimiter() rune { return r.t.Delimiter }

// delimiterOf is the one that the header has most of; of equals the first.
func delimiterOf(header string) rune {
	best, most := ',', 0
	for _, d := range []rune{',', ';', '\t', '|'} {
		if n := strings.Count(header, string(d)); n > most {
			best, most = d, n
		}
	}
	return best
}

// assign works out which column is which field.
func (r *Rows) assign() error {
	if len(r.header) > columnsMax {
		return fmt.Errorf("the table has more than %d columns", columnsMax)
	}
	for _, column := range slices.Sorted(maps.Keys(r.t.Columns)) {
		field := r.t.Columns[column]
		if !slices.Contains(r.header, column) {
			return fmt.Errorf("there is no column %q; columns are %s", column, strings.Join(r.header, ", "))
		}
		if field != LeftOut && !slices.Contains(r.t.Known, field) {
			return fmt.Errorf("column %q: %q is no field; fields are %s", column, field, strings.Join(r.t.Known, ", "))
		}
	}
	for _, field := range slices.Sorted(maps.Keys(r.t.Fixed)) {
		if !slices.Contains(r.t.Known, field) {
			return fmt.Errorf("%q is no field; fields are %s", field, strings.Join(r.t.Known, ", "))
		}
	}
	taken := map[string]string{}
	for _, column := range r.header {
		field, mapped := r.t.Columns[column]
		name := strings.ToLower(strings.ReplaceAll(strings.TrimSpace(column), " ", "_"))
		switch {
		case mapped && field == LeftOut, name == "", strings.HasPrefix(name, OwnColumns):
			field = ""
		case mapped:
		case slices.Contains(r.t.Known, name) && !slices.Contains(slices.Collect(maps.Values(r.t.Columns)), name):
			field = name
		default:
			field = "metadata." + strings.ReplaceAll(strings.TrimSpace(column), ".", "_")
		}
		if other, twice := taken[field]; twice && field != "" {
			return fmt.Errorf("columns %q and %q are both %s; leave one out with %s=%s", other, column, field, column, LeftOut)
		}
		if _, fixed := r.t.Fixed[field]; fixed {
			return fmt.Errorf("column %q is %s, which has a fixed value, too", column, field)
		}
		taken[field] = column
		r.fields = append(r.fields, field)
	}
	for _, field := range required {
		_, fixed := r.t.Fixed[field]
		if _, ok := taken[field]; !ok && !fixed {
			return fmt.Errorf("no column is %s; columns are %s", field, strings.Join(r.header, ", "))
		}
	}
	return nil
}

// Read implements Reader.
func (r *Rows) Read() (Item, error) {
	r.limit.left = rowBytesMax
	cells, err := r.in.Read()
	var syntax *csv.ParseError
	switch {
	case errors.As(err, &syntax):
		return Item{Line: syntax.StartLine, Cells: cells, Err: fmt.Errorf("column %d: %w", syntax.Column, syntax.Err)}, nil
	case err != nil:
		return Item{}, err // the end, or the file cannot be read
	}
	line, _ := r.in.FieldPos(0)
	i := Item{Line: line, Cells: cells}
	if len(cells) != len(r.header) {
		i.Err = fmt.Errorf("%d cells, and the header has %d", len(cells), len(r.header))
		return i, nil
	}
	if i.Body, i.Err = r.body(cells); i.Err == nil && r.t.MediaType != "" {
		i.Headers = map[string]string{"Content-Type": r.t.MediaType}
	}
	return i, nil
}

// body is the row as an event: {"type", "data": {...}}. Equal rows give equal bytes.
func (r *Rows) body(cells []string) ([]byte, error) {
	event, data := map[string]any{}, map[string]any{}
	put := func(field, cell string) error {
		if cell = strings.TrimSpace(cell); cell == "" {
			return nil
		}
		if !utf8.ValidString(cell) {
			return fmt.Errorf("%s: not UTF-8; save the table as UTF-8", field)
		}
		text, err := r.text(field, cell)
		if err != nil {
			return fmt.Errorf("%s: %w", field, err)
		}
		if slices.Contains(envelopeFields, field) {
			event[field] = text
			return nil
		}
		nest(data, strings.Split(field, "."), text)
		return nil
	}
	for i, field := range r.fields {
		if field == "" {
			continue
		}
		if err := put(field, cells[i]); err != nil {
			return nil, err
		}
	}
	for _, field := range slices.Sorted(maps.Keys(r.t.Fixed)) {
		if err := put(field, r.t.Fixed[field]); err != nil {
			return nil, err
		}
	}
	event["data"] = data
	return strictjson.AppendCanonical(nil, event), nil
}

// nest puts text at a path. The items of a row are a list of one.
func nest(into map[string]any, path []string, text string) {
	for len(path) > 1 {
		next, ok := into[path[0]].(map[string]any)
		if list, isList := into[path[0]].([]any); isList {
			next, ok = list[0].(map[string]any), true
		}
		if !ok {
			next = map[string]any{}
			into[path[0]] = next
			if path[0] == "items" {
				into[path[0]] = []any{next}
			}
		}
		into, path = next, path[1:]
	}
	into[path[0]] = text
}

// text is a cell in the form that an event has it in.
func (r *Rows) text(field, cell string) (string, error) {
	switch {
	case slices.Contains(timeFields, field):
		t, err := r.time(cell)
		if err != nil {
			return "", err
		}
		return t.UTC().Format(time.RFC3339Nano), nil
	case slices.Contains(moneyFields, field) && r.t.DecimalComma:
		return pointed(cell)
	}
	return cell, nil
}

// isoLayouts are what is read without a layout being given; those after the first have no zone.
var isoLayouts = []string{time.RFC3339, "2006-01-02 15:04:05Z07:00", "2006-01-02T15:04:05", "2006-01-02 15:04:05", "2006-01-02 15:04", "2006-01-02"}

var errNoZone = errors.New("the time has no zone: say which is meant")

func (r *Rows) time(cell string) (time.Time, error) {
	for _, layout := range append(slices.Clone(r.t.TimeLayouts), isoLayouts...) {
		if unit := map[string]time.Duration{"unix": time.Second, "unix_ms": time.Millisecond}[layout]; unit > 0 {
			if n, err := strconv.ParseInt(cell, 10, 64); err == nil && n >= 0 && n < int64(1<<33*time.Second/unit) {
				return time.UnixMilli(n * int64(unit/time.Millisecond)), nil
			}
			continue
		}
		zone, named := r.t.Zone, strings.Contains(layout, "Z07") || strings.Contains(layout, "-07")
		if zone == nil || named {
			zone = time.UTC
		}
		t, err := time.ParseInLocation(layout, cell, zone)
		if err != nil {
			continue
		}
		if r.t.Zone == nil && !named {
			return time.Time{}, fmt.Errorf("%.40q: %w", cell, errNoZone)
		}
		return t, nil
	}
	return time.Time{}, fmt.Errorf("%.40q is no date and time of a known layout", cell)
}

var (
	grouped = regexp.MustCompile(`^-?[0-9]{1,3}([. '\x{a0}\x{202f}][0-9]{3})+(,[0-9]+)?$`)
	simple  = regexp.MustCompile(`^-?[0-9]+(,[0-9]+)?$`)
	groups  = strings.NewReplacer(".", "", " ", "", "'", "", "\u00a0", "", "\u202f", "", ",", ".")
)

// pointed writes an amount that has a decimal comma with a point.
func pointed(cell string) (string, error) {
	if !simple.MatchString(cell) && !grouped.MatchString(cell) {
		return "", fmt.Errorf("%.40q is no amount with a decimal comma", cell)
	}
	return groups.Replace(cell), nil
}

// layoutWords are the parts of a layout as people write them.
var layoutWords = strings.NewReplacer(
	"YYYY", "2006", "YY", "06", "MMM", "Jan", "MM", "01", "DD", "02", "HH", "15", "hh", "03", "mm", "04", "ss", "05", "AM", "PM", "Z", "Z07:00",
	"D", "2", "M", "1", "h", "3",
)

// Layout turns "DD.MM.YYYY HH:mm:ss" into Go's layout. The words unix and unix_ms stay, and so does a layout of Go's.
func Layout(text string) string {
	if text == "unix" || text == "unix_ms" || strings.Contains(text, "2006") {
		return text
	}
	return layoutWords.Replace(text)
}

// rowLimit fails a row that does not end.
type rowLimit struct {
	in   io.Reader
	left int
}

var errRowLong = fmt.Errorf("a row is longer than %d bytes: is a quote without its end before it?", rowBytesMax)

// Read implements io.Reader.
func (l *rowLimit) Read(p []byte) (int, error) {
	if l.left < 0 {
		return 0, errRowLong
	}
	n, err := l.in.Read(p)
	l.left -= n
	return n, err
}
