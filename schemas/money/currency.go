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

// usualExponent is the number of decimals of a currency that no table names.
const usualExponent = 2

// isoExponents holds the currencies whose number of decimals is not two in ISO 4217.
var isoExponents = map[Currency]int32{
	"BIF": 0, "CLP": 0, "DJF": 0, "GNF": 0, "ISK": 0, "JPY": 0, "KMF": 0, "KRW": 0, "PYG": 0, "RWF": 0, "UGX": 0,
	"UYI": 0, "VND": 0, "VUV": 0, "XAF": 0, "XOF": 0, "XPF": 0,
	"BHD": 3, "IQD": 3, "JOD": 3, "KWD": 3, "LYD": 3, "OMR": 3, "TND": 3,
	"CLF": 4, "UYW": 4,
}

// providerExponents holds, by connector type, where a provider differs from ISO 4217. PayPal refuses decimals in HUF
// and TWD, which have two in ISO; Stripe counts ISK and UGX in hundredths, as before ISO dropped them, and MGA in whole ones.
var providerExponents = map[string]map[Currency]int32{
	"paypal": {"HUF": 0, "JPY": 0, "TWD": 0},
	"stripe": {"ISK": 2, "MGA": 0, "UGX": 2},
}

// Exponent is the number of decimals that amounts in c have at the provider, a connector type such as "paypal". An
// unknown or empty provider goes by ISO 4217, a currency that is in no table has two.
func Exponent(provider string, c Currency) int32 {
	if e, ok := providerExponents[provider][c]; ok {
		return e
	}
	if e, ok := isoExponents[c]; ok {
		return e
	}
	return usualExponent
}
