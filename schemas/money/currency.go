package money

import (
	"fmt"
	"strings"
)

// Currency is an ISO 4217 code, upper case.
type Currency string

// ParseCurrency accepts three letters in any case.
func ParseCurrency(code string) (Currency, error) {
	if len(code) != 3 {
		return "", fmt.Errorf("currency %.20q is no ISO 4217 code", code)
	}
	c := strings.ToUpper(code)
	for _, r := range c {
		if r < 'A' || r > 'Z' {
			return "", fmt.Errorf("currency %.20q is no ISO 4217 code", code)
		}
	}
	return Currency(c), nil
}
