package orders

import (
	"testing"

	"github.com/shopspring/decimal"
	"pgregory.net/rapid"
)

var amounts = rapid.OneOf(
	rapid.StringMatching(`-?[0-9]{1,4}(\.[0-9]{1,3})?`),
	rapid.StringMatching(`-?[0-9]{1,22}(\.[0-9]{1,22})?`),
	rapid.StringMatching(`-?[09.]{0,4}e?[0-9]{0,2}`),
	rapid.SampledFrom([]string{
		"", "-", ".", "0", "-0", "0.0", "-0.00", "00", "007.50", ".5", "5.", "-.5", "1.2.3", "1e3", "+1", "999999999999999999", "9999999999999999999",
		"0.000000000000000001", "0.0000000000000000001", "-1000000000000000000",
	}),
)

// exact is decimal.Decimal, only cheaper.
func TestExactAgreesWithDecimal(t *testing.T) {
	read := func(text string) decimal.Decimal {
		d, err := decimal.NewFromString(text)
		if err != nil {
			return decimal.Zero
		}
		return d
	}
	rapid.Check(t, func(t *rapid.T) {
		texts := rapid.SliceOfN(amounts, 2, 6).Draw(t, "amounts")
		sum, want := parsed(texts[0]), read(texts[0])
		for _, text := range texts[1:] {
			x, d := parsed(text), read(text)
			if sum.compare(x) != want.Cmp(d) || sum.positive() != want.IsPositive() {
				t.Fatalf("%s compares with %s as %d, want %d", sum, text, sum.compare(x), want.Cmp(d))
			}
			if x.abs().String() != d.Abs().String() {
				t.Fatalf("|%s| = %s, want %s", text, x.abs(), d.Abs())
			}
			if rapid.Bool().Draw(t, "add") {
				sum, want = sum.add(x), want.Add(d)
			} else {
				sum, want = sum.sub(x), want.Sub(d)
			}
			if sum.String() != want.String() {
				t.Fatalf("after %q: got %s, want %s", text, sum, want)
			}
		}
	})
}

func TestCanonicalText(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := amounts.Draw(t, "amount")
		want := ""
		d, err := decimal.NewFromString(text)
		if err == nil {
			want = d.String()
		}
		if got, ok := canonicalText(text); got != want || ok != (err == nil) {
			t.Fatalf("%q: got %q, %v, want %q, %v", text, got, ok, want, err)
		}
	})
}
