package expressions

import (
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/shopspring/decimal"
	"pgregory.net/rapid"

	"github.com/tillstream/tillstream/schemas/money"
)

// Comparisons are checked against math/big, whose rationals are exact, for numbers on both sides of what fits into an
// int64.
func TestComparisonsAreExact(t *testing.T) {
	text := rapid.OneOf(rapid.StringMatching(`-?[0-9]{1,20}(\.[0-9]{1,18})?`), rapid.StringMatching(`-?[0-9]{0,2}\.[0-9]{1,3}`))
	rapid.Check(t, func(t *rapid.T) {
		x, y := text.Draw(t, "x"), text.Draw(t, "y")
		if rapid.Bool().Draw(t, "the same, written longer") && strings.Contains(x, ".") {
			y = x + "0"
		}
		a, okA := parseNumber(x)
		b, okB := parseNumber(y)
		p, _ := new(big.Rat).SetString(x)
		q, _ := new(big.Rat).SetString(y)
		if !okA || !okB || compare(a, b) != p.Cmp(q) {
			t.Fatalf("%s compared with %s: %v, %v, %d, want %d", x, y, okA, okB, compare(a, b), p.Cmp(q))
		}
		if a.decimal().Rat().Cmp(p) != 0 || a.zero() != (p.Sign() == 0) {
			t.Fatalf("%s reads as %s", x, a)
		}
	})
}

// The short way gives what the library's decimals give, also around what fits into an int64.
func TestTheShortWayIsTheLongOne(t *testing.T) {
	text := rapid.OneOf(rapid.StringMatching(`-?[0-9]{1,18}`), rapid.StringMatching(`-?[0-9]{1,17}\.[0-9]{1,3}`), rapid.StringMatching(`-?[0-9]{1,3}\.[0-9]{1,15}`), rapid.StringMatching(`-?[0-9]{0,2}\.[0-9]{1,3}`), rapid.StringMatching(`-?(4611686018427387903|2147483648|9223372036854775807)`))
	rapid.Check(t, func(t *rapid.T) {
		a, okA := parseNumber(text.Draw(t, "a"))
		b, okB := parseNumber(text.Draw(t, "b"))
		if !okA || !okB {
			t.Fatalf("not read: %v, %v", a, b)
		}
		x, y := a.decimal(), b.decimal()
		for operator, want := range map[string]decimal.Decimal{"+": x.Add(y), "-": x.Sub(y), "*": x.Mul(y)} {
			if got, ok := compute(&run{}, operator, a, b); !ok || !got.decimal().Equal(want) {
				t.Fatalf("%s %s %s = %s, want %s", a, operator, b, got, want)
			}
		}
		places := int32(rapid.IntRange(0, 20).Draw(t, "places"))
		if got, want := a.round(places).decimal(), x.Round(places); !got.Equal(want) {
			t.Fatalf("%s to %d decimals is %s, want %s", a, places, got, want)
		}
	})
}

// What is read as a number is what package money reads as one.
func TestNumbersAreThoseOfMoney(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.OneOf(rapid.StringMatching(`-?-?[0-9]{0,3}\.?[0-9]{0,3}\.?`), rapid.StringMatching(`[0-9]{16,42}`), rapid.StringN(0, 4, 50)).Draw(t, "text")
		n, ok := parseNumber(text)
		a, err := money.Parse(text, "EUR")
		if ok != (err == nil) || ok && !n.decimal().Equal(a.Decimal) {
			t.Fatalf("%q: got %v, %v, money says %v, %v", text, n, ok, a, err)
		}
	})
}

// What is written without big numbers is what the library's decimals write.
func TestTextsOfTheShortWayAreThoseOfTheLongOne(t *testing.T) {
	text := rapid.OneOf(rapid.StringMatching(`-?[0-9]{1,17}`), rapid.StringMatching(`[0-9]{18}`), rapid.StringMatching(`-?[0-9]{1,8}\.[0-9]{1,8}`), rapid.StringMatching(`-?0{0,3}[0-9]{0,2}\.[0-9]{0,2}0{0,5}[0-9]`))
	currencies := rapid.SampledFrom([]string{"", "EUR", "JPY", "KWD", "CLF", "HUF", "eur", "EURO", "E1R"})
	rapid.Check(t, func(t *rapid.T) {
		v, code := text.Draw(t, "text"), currencies.Draw(t, "currency")
		n, ok := parseSmall(v)
		if !ok {
			t.Fatalf("%s is not small", v)
		}
		if got, want := n.String(), n.decimal().String(); got != want {
			t.Fatalf("%s is written %s, want %s", v, got, want)
		}
		places := n.scale + rapid.IntRange(0, 20).Draw(t, "places")
		if got, want := n.fixed(places), n.decimal().StringFixed(int32(places)); got != want {
			t.Fatalf("%s with %d decimals is written %s, want %s", v, places, got, want)
		}
		for _, minor := range []bool{false, true} {
			got, reason := amount(v, amounts{sourceCurrency: code}, minor)
			want, wantReason := amountByDecimals(v, code, minor)
			if got != want || reason != wantReason {
				t.Fatalf("%s %s, minor %v: got %q, %q, want %q, %q", v, code, minor, got, reason, want, wantReason)
			}
		}
	})
}

type amounts map[string]string

func (a amounts) Text(name string) string { return a[name] }
func (amounts) List(string) []string      { return nil }

// amountByDecimals is the function money, in the library's decimals.
func amountByDecimals(v, code string, minor bool) (result, reason string) {
	known := code != ""
	if !known {
		code = "XXX"
	}
	a, err := money.Parse(v, code)
	if err != nil {
		return "", "the value is no decimal amount"
	}
	exponent := money.Exponent(standardProvider, a.Currency)
	switch {
	case !minor:
		return a.Decimal.StringFixed(max(exponent, -a.Decimal.Exponent())), ""
	case !known:
		return "", "the amount has no currency, so its minor unit is not known"
	case !a.Decimal.Shift(exponent).IsInteger():
		return "", "the amount has more decimals than its currency"
	}
	return a.Decimal.Shift(exponent).String(), ""
}

// A day cut out of a text is the day that reading and writing it gives.
func TestDaysAreThoseOfTheTime(t *testing.T) {
	chain, err := ParseChain("date", nil)
	if err != nil {
		t.Fatal(err)
	}
	text := rapid.StringMatching(`[ \x{a0}]?(20|99|00)[0-9]{2}-[01][0-9]-[0-3][0-9][T ][0-2]?[0-9]:[0-5][0-9]:[0-5][0-9](\.[0-9])?Z? ?`)
	rapid.Check(t, func(t *rapid.T) {
		v := text.Draw(t, "time")
		got, reason := chain.Run(v, nil)
		at, ok := parseTime(v)
		if ok != (reason == "") || ok && got != at.UTC().Format(time.DateOnly) {
			t.Fatalf("%q: got %q (%s), want %v", v, got, reason, at)
		}
	})
}

func TestSpans(t *testing.T) {
	for text, want := range map[string]string{
		"90m": "1h30m0s", "36h": "36h0m0s", "3d": "72h0m0s", "2w": "336h0m0s", "1w2d12h": "228h0m0s", " 1d ": "24h0m0s", "1d1ms": "24h0m0.001s", "0s": "0s",
		"": "-", "d": "-", "-1d": "-", "1.5d": "-", "1d-1h": "-", "200y": "-", "99999w": "-", "5201w9999d": "-", "1d1w": "-", "3": "-", "-5m": "-",
	} {
		d, ok := parseSpan(text)
		got := "-"
		if ok {
			got = d.String()
		}
		if got != want {
			t.Errorf("%q: got %s, want %s", text, got, want)
		}
	}
}
