package clickhouse

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/shopspring/decimal"

	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/schemas/money"
	"github.com/tillstream/tillstream/sinks"
)

// A cell is one row of a range on its way into a table.
type cell[R any] struct {
	*sinks.Row
	of  sinks.Range
	rec R
}

// A column turns rows into one typed slice, the form in which the client takes a whole column without looking at each
// value.
type column[R any] struct {
	name string
	// values finds what is refused at once. What it returns gives the slice when its turn comes.
	values func([]cell[R]) (lazy, error)
}

// lazy is a column's slice, which is valid until the scratch is used again.
type lazy func(*scratch) any

// scratch is memory for one slice at a time: most columns are of these types.
type scratch struct {
	texts []string
	bytes [][]byte
	ints  []int64
}

// room returns a slice of n values, out of the scratch if that has the type.
func room[V any](s *scratch, n int) []V {
	for _, list := range []any{&s.texts, &s.bytes, &s.ints} {
		if list, ok := list.(*[]V); ok {
			*list = slices.Grow((*list)[:0], n)[:n]
			return *list
		}
	}
	return make([]V, n)
}

// of is a column whose values cannot be refused.
func of[R, V any](name string, get func(cell[R]) V) column[R] {
	return column[R]{name, func(cells []cell[R]) (lazy, error) {
		return func(s *scratch) any {
			values := room[V](s, len(cells))
			for i, c := range cells {
				values[i] = get(c)
			}
			return values
		}, nil
	}}
}

// checked is a column whose values may not fit; the first that does not is a RowError.
func checked[R, V any](name string, get func(cell[R]) (V, error)) column[R] {
	return column[R]{name, func(cells []cell[R]) (lazy, error) {
		values := make([]V, len(cells))
		for i, c := range cells {
			v, err := get(c)
			if err != nil {
				return nil, &sinks.RowError{Offset: c.Offset, Err: fmt.Errorf("column %s: %w", name, err)}
			}
			values[i] = v
		}
		return func(*scratch) any { return values }, nil
	}}
}

// instant is a checked column of times.
func instant[R any](name string, get func(cell[R]) time.Time) column[R] {
	return checked(name, func(c cell[R]) (time.Time, error) { return storable(get(c)) })
}

// DateTime64(3) holds these years; ClickHouse would wrap a time outside them into another one without a word.
const (
	yearMin = 1900
	yearMax = 2299
)

// storable maps "no time" to the epoch and refuses what DateTime64 would wrap.
func storable(t time.Time) (time.Time, error) {
	if t.IsZero() {
		return time.UnixMilli(0).UTC(), nil
	}
	if y := t.UTC().Year(); y < yearMin || y > yearMax {
		return time.Time{}, fmt.Errorf("time of the year %d is outside of %d to %d", y, yearMin, yearMax)
	}
	return t.UTC(), nil
}

// The precision of the Decimal columns. The client would cut further decimals off and accept a few values that have
// one digit too many, so both are checked here.
const (
	decimalScale  = 9
	decimalDigits = 38
)

var decimalLimit = decimal.New(1, decimalDigits-decimalScale)

// exact parses decimal text that a Decimal(38,9) can hold without losing a digit. Empty text is no amount.
func exact(text, currency string) (*decimal.Decimal, error) {
	if text == "" {
		return nil, nil
	}
	if currency == "" {
		currency = "XXX" // ISO 4217 for "no currency": "0" is written before any is known
	}
	a, err := money.Parse(text, currency)
	if err != nil {
		return nil, err
	}
	if !a.Decimal.Equal(a.Decimal.Truncate(decimalScale)) {
		return nil, fmt.Errorf("amount %.50q has more than %d decimals", text, decimalScale)
	}
	if a.Decimal.Abs().GreaterThanOrEqual(decimalLimit) {
		return nil, fmt.Errorf("amount %.50q has more than %d digits before the point", text, decimalDigits-decimalScale)
	}
	return &a.Decimal, nil
}

func exactAmount(a *schemas.Amount) (*decimal.Decimal, error) {
	if a == nil {
		return nil, nil
	}
	if a.Value == "" {
		return nil, fmt.Errorf("amount %q: %w", a.Value, money.ErrNotDecimal)
	}
	return exact(a.Value, a.Currency)
}

func currencyOf(a *schemas.Amount) string {
	if a == nil {
		return ""
	}
	return strings.ToUpper(a.Currency)
}

// payerColumns are those that all tables with a payer have.
func payerColumns[R any](payer func(R) *schemas.Payer) []column[R] {
	text := func(name string, get func(*schemas.Payer) string) column[R] {
		return of(name, func(c cell[R]) string {
			if p := payer(c.rec); p != nil {
				return get(p)
			}
			return ""
		})
	}
	return []column[R]{
		text("payer_email", func(p *schemas.Payer) string { return p.Email }),
		text("payer_given_name", func(p *schemas.Payer) string { return p.GivenName }),
		text("payer_surname", func(p *schemas.Payer) string { return p.Surname }),
		text("payer_full_name", func(p *schemas.Payer) string { return p.FullName }),
		text("payer_phone", func(p *schemas.Payer) string { return p.Phone }),
		text("payer_id", func(p *schemas.Payer) string { return p.PayerID }),
		text("payer_country", func(p *schemas.Payer) string { return p.Address.Country }),
	}
}

// coordinates name the record. They end every table.
func coordinates[R any]() []column[R] {
	return []column[R]{
		of("_topic", func(c cell[R]) string { return c.of.Topic }),
		of("_topic_id", func(c cell[R]) string { return c.of.TopicID }),
		of("_partition", func(c cell[R]) int32 { return c.of.Partition }),
		of("_offset", func(c cell[R]) int64 { return c.Offset }),
		instant("_at", func(c cell[R]) time.Time { return c.At }),
	}
}
