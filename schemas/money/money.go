// Package money holds exact amounts in a currency. No float ever touches one.
package money

import (
	"errors"
	"fmt"
	"strings"

	"github.com/shopspring/decimal"
)

// ErrNotDecimal is returned for text that is no plain decimal number.
var ErrNotDecimal = errors.New("not a decimal amount")

// ErrUnlikeCurrencies is returned for a sum or comparison of amounts in different currencies.
var ErrUnlikeCurrencies = errors.New("unlike currencies")

// ErrNotMinor is returned for an amount that is no whole number of the currency's smallest units, or too many of them.
var ErrNotMinor = errors.New("no whole number of the smallest unit")

// digitsMax bounds the text of an amount (PayPal: 32 characters).
const digitsMax = 40

// plain checks for PayPal's own pattern of money values, ^-?([0-9]+|[0-9]*\.[0-9]+)$: no exponent, no sign but minus,
// no spaces.
func plain(text string) bool {
	text = strings.TrimPrefix(text, "-")
	whole, decimals, point := strings.Cut(text, ".")
	return digits(whole) && digits(decimals) && (decimals != "" || !point && whole != "")
}

func digits(text string) bool {
	for i := range len(text) {
		if text[i] < '0' || text[i] > '9' {
			return false
		}
	}
	return true
}

// Amount is an exact decimal in a currency. The zero value is no amount.
type Amount struct {
	Decimal  decimal.Decimal
	Currency Currency
}

// Parse reads plain decimal text such as "49.99", "-7.0" or ".5" in the currency. Exponents, spaces, separators and
// over-long text are refused with ErrNotDecimal.
func Parse(text, currency string) (Amount, error) {
	c, err := check(text, currency)
	if err != nil {
		return Amount{}, err
	}
	d, err := decimal.NewFromString(text)
	if err != nil {
		return Amount{}, fmt.Errorf("amount %.50q: %w", text, ErrNotDecimal)
	}
	return Amount{d, c}, nil
}

// Check gives the error that Parse would, at a small part of its cost.
func Check(text, currency string) error {
	_, err := check(text, currency)
	return err
}

func check(text, currency string) (Currency, error) {
	if len(text) > digitsMax || !plain(text) {
		return "", fmt.Errorf("amount %.50q: %w", text, ErrNotDecimal)
	}
	return ParseCurrency(currency)
}

// Equal compares values, not digits: 5.0 EUR equals 5.00 EUR.
func (a Amount) Equal(b Amount) bool { return a.Currency == b.Currency && a.Decimal.Equal(b.Decimal) }

// Zero is nothing, in the currency: where a sum starts.
func Zero(c Currency) Amount { return Amount{decimal.Zero, c} }

// IsZero reports whether the amount is nothing.
func (a Amount) IsZero() bool { return a.Decimal.IsZero() }

// Negative reports whether the amount is below zero.
func (a Amount) Negative() bool { return a.Decimal.IsNegative() }

// Neg returns the amount with the other sign.
func (a Amount) Neg() Amount { return Amount{a.Decimal.Neg(), a.Currency} }

// Add returns a plus b, or ErrUnlikeCurrencies.
func (a Amount) Add(b Amount) (Amount, error) {
	if err := a.like(b); err != nil {
		return Amount{}, fmt.Errorf("add %s to %s: %w", b, a, err)
	}
	return Amount{a.Decimal.Add(b.Decimal), a.Currency}, nil
}

// Sub returns a minus b, or ErrUnlikeCurrencies.
func (a Amount) Sub(b Amount) (Amount, error) {
	if err := a.like(b); err != nil {
		return Amount{}, fmt.Errorf("subtract %s from %s: %w", b, a, err)
	}
	return Amount{a.Decimal.Sub(b.Decimal), a.Currency}, nil
}

// Cmp returns -1, 0 or 1 for a less than, equal to or greater than b, or ErrUnlikeCurrencies.
func (a Amount) Cmp(b Amount) (int, error) {
	if err := a.like(b); err != nil {
		return 0, fmt.Errorf("compare %s with %s: %w", a, b, err)
	}
	return a.Decimal.Cmp(b.Decimal), nil
}

func (a Amount) like(b Amount) error {
	if a.Currency != b.Currency {
		return ErrUnlikeCurrencies
	}
	return nil
}

// Minor returns the amount in the currency's smallest units at the provider (see Exponent): 49.99 EUR is 4999, 500 JPY
// is 500. It never rounds: 0.001 EUR and what no int64 can hold are refused with ErrNotMinor.
func (a Amount) Minor(provider string) (int64, error) {
	units := a.Decimal.Shift(Exponent(provider, a.Currency))
	if !units.IsInteger() || !units.BigInt().IsInt64() {
		return 0, fmt.Errorf("%s: %w", a, ErrNotMinor)
	}
	return units.IntPart(), nil
}

// FromMinor is the inverse of Minor.
func FromMinor(provider string, units int64, c Currency) Amount {
	return Amount{decimal.New(units, -Exponent(provider, c)), c}
}

// Text returns the decimal with the digits that it was given: 5.0 stays "5.0".
func (a Amount) Text() string { return a.Decimal.StringFixed(max(0, -a.Decimal.Exponent())) }

// Format returns the decimal with as many decimals as the currency has at the provider: "5.0" EUR becomes "5.00" and
// "500.00" JPY becomes "500". It never rounds: digits beyond that stay.
func (a Amount) Format(provider string) string {
	_, decimals, _ := strings.Cut(a.Decimal.String(), ".")
	return a.Decimal.StringFixed(max(Exponent(provider, a.Currency), int32(len(decimals))))
}

// String returns the text and the currency: "49.99 EUR".
func (a Amount) String() string { return a.Text() + " " + string(a.Currency) }
