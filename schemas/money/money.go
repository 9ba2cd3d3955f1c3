// Package money holds exact amounts in a currency. No float ever touches one.
package money

import (
	"errors"
	"fmt"
	"regexp"

	"github.com/shopspring/decimal"
)

// ErrNotDecimal is returned for text that is no plain decimal number.
var ErrNotDecimal = errors.New("not a decimal amount")

// digitsMax bounds the text of an amount (PayPal: 32 characters).
const digitsMax = 40

// plain is PayPal's own pattern for money values: no exponent, no sign but minus, no spaces.
var plain = regexp.MustCompile(`^-?([0-9]+|[0-9]*\.[0-9]+)$`)

// Amount is an exact decimal in a currency. The zero value is no amount.
type Amount struct {
	Decimal  decimal.Decimal
	Currency Currency
}

// Parse reads plain decimal text such as "49.99", "-7.0" or ".5" in the currency. Exponents, spaces, separators and
// over-long text are refused with ErrNotDecimal.
func Parse(text, currency string) (Amount, error) {
	if len(text) > digitsMax || !plain.MatchString(text) {
		return Amount{}, fmt.Errorf("amount %.50q: %w", text, ErrNotDecimal)
	}
	c, err := ParseCurrency(currency)
	if err != nil {
		return Amount{}, err
	}
	d, err := decimal.NewFromString(text)
	if err != nil {
		return Amount{}, fmt.Errorf("amount %.50q: %w", text, ErrNotDecimal)
	}
	return Amount{d, c}, nil
}

// Equal compares values, not digits: 5.0 EUR equals 5.00 EUR.
func (a Amount) Equal(b Amount) bool { return a.Currency == b.Currency && a.Decimal.Equal(b.Decimal) }
