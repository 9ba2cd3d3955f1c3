package money

import (
	"errors"
	"fmt"
	"math/big"
	"regexp"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func amount(t testing.TB, text, currency string) Amount {
	t.Helper()
	a, err := Parse(text, currency)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestParse(t *testing.T) {
	for _, tt := range []struct{ text, currency, want string }{
		{"49.99", "EUR", "49.99 EUR"},
		{"5.0", "eur", "5.0 EUR"},
		{"0.00", "USD", "0.00 USD"},
		{"-7.0", "USD", "-7.0 USD"},
		{".5", "USD", "0.5 USD"},
		{"007", "JPY", "7 JPY"},
		{"99999999999999999999999999999999.99", "EUR", "99999999999999999999999999999999.99 EUR"},
	} {
		if got := amount(t, tt.text, tt.currency).String(); got != tt.want {
			t.Errorf("Parse(%q, %q) = %s, want %s", tt.text, tt.currency, got, tt.want)
		}
	}
}

func TestParseRefusesWhatIsNoDecimal(t *testing.T) {
	for _, text := range []string{
		"", ".", "-", "5.", "abc", "1e3", "1E-2", "+5", " 5", "5 ", "5\n", "1,000.00", "1,5", "1_000", "0x10", "NaN", "Inf", "--5", "1.2.3", "5€", "٥",
		strings.Repeat("9", digitsMax+1),
	} {
		_, err := Parse(text, "EUR")
		if !errors.Is(err, ErrNotDecimal) {
			t.Errorf("Parse(%q) = %v, want ErrNotDecimal", text, err)
		} else if !strings.Contains(err.Error(), "amount") || len(err.Error()) > 300 {
			t.Errorf("Parse(%q): the error %q does not say shortly what is wrong", text, err)
		}
	}
	for _, currency := range []string{"", "EU", "EURO", "E R", "€", "12A", "ÄÖÜ"} {
		if a, err := Parse("1", currency); err == nil {
			t.Errorf("Parse in currency %q = %s, want an error", currency, a)
		}
	}
}

// pattern is PayPal's own of money values.
var pattern = regexp.MustCompile(`^-?([0-9]+|[0-9]*\.[0-9]+)$`)

func TestCheckIsThatOfParse(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.OneOf(rapid.StringMatching(`-?-?[0-9]{0,3}\.?[0-9]{0,3}\.?`), rapid.StringN(0, 4, 50)).Draw(t, "text")
		if got, want := Check(text, "EUR") == nil, len(text) <= digitsMax && pattern.MatchString(text); got != want {
			t.Fatalf("Check(%q) says %v, the pattern %v", text, got, want)
		}
		for _, currency := range []string{"EUR", "eu", "€"} {
			_, err := Parse(text, currency)
			if got := Check(text, currency); fmt.Sprint(got) != fmt.Sprint(err) {
				t.Fatalf("Check(%q, %q) = %v, Parse says %v", text, currency, got, err)
			}
		}
	})
}

func TestExponent(t *testing.T) {
	for _, tt := range []struct {
		provider string
		c        Currency
		want     int32
	}{
		{"paypal", "EUR", 2},
		{"paypal", "USD", 2},
		{"paypal", "JPY", 0},
		{"paypal", "HUF", 0},
		{"paypal", "TWD", 0},
		{"", "HUF", 2},
		{"shopify", "TWD", 2},
		{"", "JPY", 0},
		{"", "KRW", 0},
		{"", "VND", 0},
		{"", "CLP", 0},
		{"", "ISK", 0},
		{"", "KWD", 3},
		{"", "BHD", 3},
		{"", "OMR", 3},
		{"", "JOD", 3},
		{"", "TND", 3},
		{"", "CLF", 4},
		{"", "ZZZ", 2},
	} {
		if got := Exponent(tt.provider, tt.c); got != tt.want {
			t.Errorf("Exponent(%q, %s) = %d, want %d", tt.provider, tt.c, got, tt.want)
		}
	}
}

func TestMinorAndFormat(t *testing.T) {
	for _, tt := range []struct {
		text, currency, provider string
		minor                    int64
		format                   string
	}{
		{"49.99", "EUR", "paypal", 4999, "49.99"},
		{"5.0", "USD", "paypal", 500, "5.00"},
		{"-0.01", "USD", "", -1, "-0.01"},
		{"500.00", "JPY", "", 500, "500"},
		{"500", "HUF", "paypal", 500, "500"},
		{"500", "HUF", "", 50000, "500.00"},
		{"1.5", "KWD", "", 1500, "1.500"},
		{"92233720368547758.07", "EUR", "", 1<<63 - 1, "92233720368547758.07"},
	} {
		a := amount(t, tt.text, tt.currency)
		got, err := a.Minor(tt.provider)
		if err != nil || got != tt.minor {
			t.Errorf("%s at %q: Minor = %d, %v, want %d", a, tt.provider, got, err, tt.minor)
		}
		if got := a.Format(tt.provider); got != tt.format {
			t.Errorf("%s at %q: Format = %q, want %q", a, tt.provider, got, tt.format)
		}
	}
	for _, a := range []Amount{amount(t, "0.001", "EUR"), amount(t, "0.5", "JPY"), amount(t, "92233720368547758.08", "EUR"), amount(t, "-92233720368547758.09", "EUR")} {
		if got, err := a.Minor(""); !errors.Is(err, ErrNotMinor) {
			t.Errorf("%s: Minor = %d, %v, want ErrNotMinor", a, got, err)
		}
	}
	if got, want := amount(t, "49.999", "EUR").Format("paypal"), "49.999"; got != want {
		t.Errorf("Format = %q, want %q: it must not round", got, want)
	}
}

func TestUnlikeCurrenciesAreRefused(t *testing.T) {
	a, b := amount(t, "1", "EUR"), amount(t, "1", "USD")
	if got, err := a.Add(b); !errors.Is(err, ErrUnlikeCurrencies) {
		t.Errorf("Add = %s, %v", got, err)
	}
	if got, err := a.Sub(b); !errors.Is(err, ErrUnlikeCurrencies) {
		t.Errorf("Sub = %s, %v", got, err)
	}
	if got, err := a.Cmp(b); !errors.Is(err, ErrUnlikeCurrencies) {
		t.Errorf("Cmp = %d, %v", got, err)
	}
	if a.Equal(b) {
		t.Error("1 EUR equals 1 USD")
	}
	if !a.Equal(amount(t, "1.00", "EUR")) {
		t.Error("1 EUR does not equal 1.00 EUR")
	}
}

// Sums are checked against math/big, whose rationals are exact.
func TestArithmeticIsExact(t *testing.T) {
	text := rapid.StringMatching(`-?[0-9]{1,15}(\.[0-9]{1,6})?`)
	rapid.Check(t, func(t *rapid.T) {
		x, y := text.Draw(t, "x"), text.Draw(t, "y")
		a, err := Parse(x, "EUR")
		if err != nil {
			t.Fatal(err)
		}
		b, err := Parse(y, "EUR")
		if err != nil {
			t.Fatal(err)
		}
		p, _ := new(big.Rat).SetString(x)
		q, _ := new(big.Rat).SetString(y)
		sum, err := a.Add(b)
		if want := new(big.Rat).Add(p, q); err != nil || sum.Decimal.Rat().Cmp(want) != 0 {
			t.Fatalf("%s + %s = %s, %v, want %s", a, b, sum, err, want)
		}
		difference, err := a.Sub(b)
		if want := new(big.Rat).Sub(p, q); err != nil || difference.Decimal.Rat().Cmp(want) != 0 {
			t.Fatalf("%s - %s = %s, %v, want %s", a, b, difference, err, want)
		}
		if got, err := a.Cmp(b); err != nil || got != p.Cmp(q) {
			t.Fatalf("%s compared with %s = %d, %v, want %d", a, b, got, err, p.Cmp(q))
		}
		for _, text := range []string{a.Text(), a.Format("paypal")} {
			if back, err := Parse(text, "EUR"); err != nil || !back.Equal(a) {
				t.Fatalf("%s written as %q reads as %s, %v", a, text, back, err)
			}
		}
	})
}

func TestMinorRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		units := rapid.Int64().Draw(t, "units")
		c := rapid.SampledFrom([]Currency{"EUR", "JPY", "KWD", "HUF", "CLF"}).Draw(t, "currency")
		provider := rapid.SampledFrom([]string{"", "paypal"}).Draw(t, "provider")
		if got, err := FromMinor(provider, units, c).Minor(provider); err != nil || got != units {
			t.Fatalf("%d units of %s come back as %d, %v", units, c, got, err)
		}
	})
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{"49.99", "-7.0", ".5", "1e9", "", "-", "5.", "0000", "99999999999999999999999999999999.99", "٣"} {
		f.Add(seed, "EUR")
	}
	f.Fuzz(func(t *testing.T, text, currency string) {
		a, err := Parse(text, currency)
		if err != nil {
			return
		}
		want, ok := new(big.Rat).SetString(text)
		if !ok || a.Decimal.Rat().Cmp(want) != 0 {
			t.Errorf("Parse(%q) = %s", text, a)
		}
		if len(a.Text()) > digitsMax {
			return // ".5" became "0.5", one digit longer than what is read
		}
		if back, err := Parse(a.Text(), string(a.Currency)); err != nil || !back.Equal(a) {
			t.Errorf("%s written as %q reads as %s, %v", a, a.Text(), back, err)
		}
	})
}
