package expressions

import (
	"cmp"
	"math"
	"strconv"
	"strings"

	"github.com/shopspring/decimal"

	"github.com/tillstream/tillstream/schemas/money"
)

// number is an exact decimal. Amounts of everyday size are held as coefficient / 10^scale, which takes no memory of
// its own; others, and the results of computations, as big.
type number struct {
	coefficient int64
	scale       int
	big         *decimal.Decimal
}

const smallDigitsMax = 18 // so many digits fit into an int64

// parseNumber reads what package money takes as a plain decimal: digits, one point, a minus sign.
func parseNumber(text string) (number, bool) {
	if n, ok := parseSmall(text); ok {
		return n, true
	}
	a, err := money.Parse(text, "XXX") // ISO 4217: no currency
	if err != nil {
		return number{}, false
	}
	return number{big: &a.Decimal}, true
}

func parseSmall(text string) (number, bool) {
	if len(text) == 0 || len(text) > smallDigitsMax {
		return number{}, false
	}
	var n number
	digits, point := 0, false
	for i := range len(text) {
		switch c := text[i]; {
		case c == '-' && i == 0:
		case c == '.' && !point:
			point = true
		case c >= '0' && c <= '9':
			n.coefficient = n.coefficient*10 + int64(c-'0')
			digits++
			if point {
				n.scale++
			}
		default:
			return number{}, false
		}
	}
	if digits == 0 || point && n.scale == 0 {
		return number{}, false
	}
	if text[0] == '-' {
		n.coefficient = -n.coefficient
	}
	return n, true
}

func (n number) decimal() decimal.Decimal {
	if n.big != nil {
		return *n.big
	}
	return decimal.New(n.coefficient, int32(-n.scale)) //nolint:gosec // at most smallDigitsMax
}

func (n number) zero() bool {
	return n.big == nil && n.coefficient == 0 || n.big != nil && n.big.IsZero()
}

// compare gives -1, 0 or 1.
func compare(a, b number) int {
	if a.big == nil && b.big == nil {
		x, okX := scaled(a.coefficient, b.scale-a.scale)
		y, okY := scaled(b.coefficient, a.scale-b.scale)
		if okX && okY {
			return cmp.Compare(x, y)
		}
	}
	return a.decimal().Cmp(b.decimal())
}

// scaled is c * 10^by, where that fits; a negative by leaves c alone.
func scaled(c int64, by int) (int64, bool) {
	for ; by > 0; by-- {
		if c > math.MaxInt64/10 || c < math.MinInt64/10 {
			return 0, false
		}
		c *= 10
	}
	return c, true
}

// So large coefficients may be whose sum or product is made without a big number.
const (
	smallSumMax    = math.MaxInt64 / 2
	smallFactorMax = 1 << 31
)

func smallSum(a, b number) (number, bool) {
	x, okX := scaled(a.coefficient, b.scale-a.scale)
	y, okY := scaled(b.coefficient, a.scale-b.scale)
	if a.big != nil || b.big != nil || !okX || !okY || outside(x, smallSumMax) || outside(y, smallSumMax) {
		return number{}, false
	}
	return number{coefficient: x + y, scale: max(a.scale, b.scale)}, true
}

func smallProduct(a, b number) (number, bool) {
	if a.big != nil || b.big != nil || outside(a.coefficient, smallFactorMax) || outside(b.coefficient, smallFactorMax) || a.scale+b.scale > smallDigitsMax {
		return number{}, false
	}
	return number{coefficient: a.coefficient * b.coefficient, scale: a.scale + b.scale}, true
}

func outside(c, most int64) bool { return c > most || c < -most }

// round keeps so many decimals, half away from zero.
func (n number) round(decimals int32) number {
	if n.big != nil {
		d := n.big.Round(decimals)
		return number{big: &d}
	}
	var dropped int64 // the digit that decides
	for ; n.scale > int(decimals); n.scale-- {
		dropped = n.coefficient % 10
		n.coefficient /= 10
	}
	switch {
	case dropped >= 5:
		n.coefficient++
	case dropped <= -5:
		n.coefficient--
	}
	return n
}

// bounded refuses a computed number that has grown beyond all use.
func bounded(r *run, d decimal.Decimal) (number, bool) {
	if d.Coefficient().BitLen() > numberBitsMax || d.Exponent() < -numberScaleMax || d.Exponent() > numberScaleMax {
		r.fail("the number gets too long")
		return number{}, false
	}
	return number{big: &d}, true
}

// String is the shortest text of the number.
func (n number) String() string {
	if n.big != nil {
		return n.big.String()
	}
	for n.scale > 0 && n.coefficient%10 == 0 {
		n.coefficient /= 10
		n.scale--
	}
	return n.fixed(n.scale)
}

// fixed writes the number with so many decimals, which are no fewer than it has.
func (n number) fixed(decimals int) string {
	if n.big != nil {
		return n.big.StringFixed(int32(decimals)) //nolint:gosec // a few
	}
	var room [64]byte
	b := room[:0]
	c := n.coefficient
	if c < 0 {
		b, c = append(b, '-'), -c
	}
	var of [20]byte
	d := strconv.AppendInt(of[:0], c, 10)
	whole := len(d) - n.scale
	if whole <= 0 {
		b = append(b, '0')
	} else {
		b, d = append(b, d[:whole]...), d[whole:]
	}
	if decimals == 0 {
		return string(b)
	}
	b = append(b, '.')
	for ; whole < 0; whole++ {
		b = append(b, '0')
	}
	b = append(b, d...)
	for range decimals - n.scale {
		b = append(b, '0')
	}
	return string(b)
}

// units is how many of 10^-exponent the number is; ok is false where it is no whole number of them, or too many.
func (n number) units(exponent int) (units int64, ok bool) {
	for ; n.scale > exponent; n.scale-- {
		if n.coefficient%10 != 0 {
			return 0, false
		}
		n.coefficient /= 10
	}
	return scaled(n.coefficient, exponent-n.scale)
}

// canonical reports whether a text that is a small number is written as fixed writes it.
func canonical(text string) bool {
	digits, negative := strings.CutPrefix(text, "-")
	switch {
	case digits[0] == '.', digits[0] == '0' && len(digits) > 1 && digits[1] != '.':
		return false
	case negative:
		return strings.ContainsAny(digits, "123456789") // zero has no sign
	}
	return true
}
