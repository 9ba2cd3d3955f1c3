package orders

import (
	"strconv"
	"strings"

	"github.com/shopspring/decimal"
)

// exact is a decimal number. All but absurd amounts fit a machine word, and cost no allocation; the rest are kept as
// decimal.Decimal. The zero value is zero.
type exact struct {
	n      int64 // the number, times ten to the power of places
	places int   // at most digitsMax
	wide   *decimal.Decimal
}

// digitsMax is the number of decimal digits that surely fit an int64.
const digitsMax = 18

var powers = func() (p [digitsMax + 1]int64) {
	p[0] = 1
	for i := 1; i < len(p); i++ {
		p[i] = p[i-1] * 10
	}
	return p
}()

// parsed reads a decimal that was canonical when it was stored; what is none counts as zero.
func parsed(text string) exact {
	if x, ok := narrow(text); ok {
		return x
	}
	d, err := decimal.NewFromString(text)
	if err != nil {
		return exact{}
	}
	return exact{wide: &d}
}

// narrow reads the usual form: digits, perhaps with a minus before them and a point between them.
func narrow(text string) (x exact, ok bool) {
	digits, negative := strings.CutPrefix(text, "-")
	point := -1
	for i := range len(digits) {
		switch c := digits[i]; {
		case '0' <= c && c <= '9':
			if i > digitsMax {
				return exact{}, false
			}
			x.n = x.n*10 + int64(c-'0')
		case c == '.' && point < 0 && i > 0:
			point = i
		default:
			return exact{}, false
		}
	}
	if point >= 0 {
		x.places = len(digits) - 1 - point
	}
	if digits == "" || point >= 0 && x.places == 0 || point < 0 && len(digits) > digitsMax {
		return exact{}, false
	}
	if negative {
		x.n = -x.n
	}
	return x, true
}

func (x exact) decimal() decimal.Decimal {
	if x.wide != nil {
		return *x.wide
	}
	return decimal.New(x.n, -int32(x.places))
}

func wideOf(d decimal.Decimal) exact { return exact{wide: &d} }

// alike brings both numbers to the same places; ok is false where that takes a wide one.
func alike(a, b exact) (m, n int64, places int, ok bool) {
	if a.wide != nil || b.wide != nil {
		return 0, 0, 0, false
	}
	places = max(a.places, b.places)
	m, ok1 := a.scaled(places)
	n, ok2 := b.scaled(places)
	return m, n, places, ok1 && ok2
}

// scaled keeps well below the largest int64, so that a sum of two cannot overflow.
func (x exact) scaled(places int) (n int64, ok bool) {
	by := powers[places-x.places]
	limit := powers[digitsMax] / by
	return x.n * by, -limit <= x.n && x.n <= limit
}

func (x exact) add(y exact) exact {
	if m, n, places, ok := alike(x, y); ok {
		return exact{n: m + n, places: places}
	}
	return wideOf(x.decimal().Add(y.decimal()))
}

func (x exact) sub(y exact) exact {
	if m, n, places, ok := alike(x, y); ok {
		return exact{n: m - n, places: places}
	}
	return wideOf(x.decimal().Sub(y.decimal()))
}

func (x exact) compare(y exact) int {
	if m, n, _, ok := alike(x, y); ok {
		switch {
		case m < n:
			return -1
		case m > n:
			return 1
		}
		return 0
	}
	return x.decimal().Cmp(y.decimal())
}

func (x exact) positive() bool {
	if x.wide != nil {
		return x.wide.IsPositive()
	}
	return x.n > 0
}

func (x exact) abs() exact {
	switch {
	case x.wide != nil:
		return wideOf(x.wide.Abs())
	case x.n < 0:
		x.n = -x.n
	}
	return x
}

// String is the canonical text: no zero at the end of the decimals, no point without them.
func (x exact) String() string {
	if x.wide != nil {
		return x.wide.String()
	}
	for x.places > 0 && x.n%10 == 0 {
		x.n, x.places = x.n/10, x.places-1
	}
	if x.places == 0 {
		return strconv.FormatInt(x.n, 10)
	}
	var room [32]byte
	b := room[:0]
	if x.n < 0 {
		b, x.n = append(b, '-'), -x.n
	}
	b = strconv.AppendInt(b, x.n/powers[x.places], 10)
	b = append(b, '.')
	decimals := x.n % powers[x.places]
	for p := x.places - 1; p >= 0; p-- {
		b = append(b, '0'+byte(decimals/powers[p]%10))
	}
	return string(b)
}

// canonicalText is the text of the same number as exact.String gives it, mostly a part of the given one; ok is false
// where it is no decimal.
func canonicalText(text string) (string, bool) {
	whole, decimals, point := strings.Cut(text, ".")
	if x, ok := narrow(text); ok {
		if whole != "0" && (whole[0] == '0' || whole[0] == '-') {
			return x.String(), true
		}
		if !point {
			return text, true
		}
		if decimals = strings.TrimRight(decimals, "0"); decimals == "" {
			return whole, true
		}
		return text[:len(whole)+1+len(decimals)], true
	}
	d, err := decimal.NewFromString(text)
	if err != nil {
		return "", false
	}
	return d.String(), true
}
