package stripe

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/schemas/money"
	"github.com/tillstream/tillstream/schemas/strictjson"
)

const (
	// idBytesMax is Stripe's own bound of an id.
	idBytesMax = 255
	// textBytesMax bounds a name, a line of an address, a key of the shop's (Stripe: 500 characters).
	textBytesMax   = 1000
	statusBytesMax = 100
)

func checkID(field, id string) error {
	if id == "" {
		return fmt.Errorf("%s: missing", field)
	}
	if len(id) > idBytesMax || strings.ContainsFunc(id, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
		return fmt.Errorf("%s: %.40q is no id", field, id)
	}
	return nil
}

// Years outside are mistakes, and no store behind us could hold them.
var (
	unixMin = time.Date(1970, 1, 1, 0, 0, 0, 0, time.UTC).Unix()
	unixMax = time.Date(2300, 1, 1, 0, 0, 0, 0, time.UTC).Unix()
)

// unixOf reads a moment in whole seconds since 1970; zero where there is none, an error naming the field where it is
// impossible.
func unixOf(o object, field, name string) (time.Time, error) {
	if !o.Has(name) {
		return time.Time{}, nil
	}
	n, ok := o[name].(strictjson.Number)
	seconds, err := strconv.ParseInt(string(n), 10, 64)
	if !ok || err != nil || seconds < unixMin || seconds >= unixMax {
		return time.Time{}, fmt.Errorf("%s: %.40q is no possible time", field, o.Text(name))
	}
	return time.Unix(seconds, 0).UTC(), nil
}

// units is a count of the currency's smallest units; nil where there is none.
func (b *builder) units(name string) (*int64, error) {
	if !b.o.Has(name) {
		return nil, nil
	}
	n, ok := b.o[name].(strictjson.Number)
	units, err := strconv.ParseInt(string(n), 10, 64)
	if !ok || err != nil {
		return nil, fmt.Errorf("data.object.%s: %.40q is no whole number of the smallest unit", name, b.o.Text(name))
	}
	return &units, nil
}

// amount is units of the object's currency as a decimal.
func (b *builder) amount(name string) (*schemas.Amount, error) {
	units, err := b.units(name)
	if err != nil || units == nil {
		return nil, err
	}
	return b.decimal(name, *units)
}

func (b *builder) decimal(name string, units int64) (*schemas.Amount, error) {
	c, err := money.ParseCurrency(b.o.Text("currency"))
	if err != nil {
		return nil, fmt.Errorf("data.object.currency of %s: %w", name, err)
	}
	return &schemas.Amount{Value: money.FromMinor(Type, units, c).Text(), Currency: string(c)}, nil
}

// positive reports whether a count of units is more than none.
func positive(units string) bool {
	n, err := strconv.ParseInt(units, 10, 64)
	return err == nil && n > 0
}
