package expressions

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/tillstream/tillstream/schemas/money"
)

func plain(name string, to Kind, do func(string) string) builder {
	return func(args []string, _ map[string]string) (step, *ChainError) {
		if len(args) > 0 {
			return step{}, &ChainError{name + " takes no argument", "remove " + oneLine(strings.Join(args, " "))}
		}
		return step{name: name, to: to, run: func(v string, _ Values) (string, string) { return do(v), "" }}, nil
	}
}

func hash(v string) string {
	h := sha256.Sum256([]byte(v))
	return hex.EncodeToString(h[:])
}

// digits keeps 0 to 9.
func digits(v string) string {
	return strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' {
			return r
		}
		return -1
	}, v)
}

// particles begin a family name of several words.
var particles = []string{"van", "von", "de", "der", "den", "del", "della", "di", "da", "dos", "du", "la", "le", "ter", "ten", "zu", "bin", "al", "el"}

func buildName(args []string, _ map[string]string) (step, *ChainError) {
	if len(args) != 1 || args[0] != "first" && args[0] != "last" {
		return step{}, &ChainError{"name must say which part", "write name first, or name last"}
	}
	first := args[0] == "first"
	return step{name: "name", from: []Kind{Text}, to: Text, run: func(v string, _ Values) (string, string) {
		given, family := splitName(v)
		if first {
			return given, ""
		}
		return family, ""
	}}, nil
}

// splitName splits at the last word, or before the particle that begins the family name: "Ana de la Cruz". "Cruz, Ana"
// is read the other way round. One word alone is a first name.
func splitName(full string) (first, last string) {
	if l, f, ok := strings.Cut(full, ","); ok {
		return strings.Join(strings.Fields(f), " "), strings.Join(strings.Fields(l), " ")
	}
	words := strings.Fields(full)
	if len(words) < 2 {
		return strings.Join(words, " "), ""
	}
	at := len(words) - 1
	for at > 1 && slices.Contains(particles, strings.ToLower(words[at-1])) {
		at--
	}
	return strings.Join(words[:at], " "), strings.Join(words[at:], " ")
}

// Sources that functions read beside their value.
const (
	sourceCurrency = "order.currency"
	sourceProvider = "event.provider"
	sourceCountry  = "payer.address.country"
)

// standardProvider is whose numbers of decimals hold where the provider is not known.
const standardProvider = "paypal"

func buildMoney(args []string, _ map[string]string) (step, *ChainError) {
	minor := len(args) == 1 && args[0] == "minor"
	if len(args) > 1 || len(args) == 1 && !minor && args[0] != "decimal" {
		return step{}, &ChainError{"money knows decimal and minor only", "write money decimal (10.00), or money minor (1000)"}
	}
	return step{
		name: "money", from: []Kind{Number}, to: Number, needs: []string{sourceCurrency, sourceProvider},
		run: func(v string, values Values) (string, string) { return amount(v, values, minor) },
	}, nil
}

func amount(v string, values Values, minor bool) (result, reason string) {
	code := values.Text(sourceCurrency)
	provider := values.Text(sourceProvider)
	if provider == "" {
		provider = standardProvider
	}
	known := code != ""
	if !known {
		code = "XXX" // ISO 4217: no currency
	}
	if n, ok := parseSmall(v); ok && (known || !minor) {
		if result, ok := smallAmount(v, n, code, provider, minor); ok {
			return result, ""
		}
	}
	a, err := money.Parse(v, code)
	switch {
	case err != nil:
		return "", "the value is no decimal amount"
	case !minor:
		return a.Decimal.StringFixed(max(money.Exponent(provider, a.Currency), -a.Decimal.Exponent())), ""
	case !known:
		return "", "the amount has no currency, so its minor unit is not known"
	}
	if shifted := a.Decimal.Shift(money.Exponent(provider, a.Currency)); shifted.IsInteger() {
		return shifted.String(), ""
	}
	return "", "the amount has more decimals than its currency"
}

// smallAmount is amount for numbers of everyday size, without big numbers: v is n's text. ok is false where the long way
// is needed, if only to say what is wrong.
func smallAmount(v string, n number, code, provider string, minor bool) (result string, ok bool) {
	currency, err := money.ParseCurrency(code)
	if err != nil {
		return "", false
	}
	exponent := int(money.Exponent(provider, currency))
	switch {
	case minor:
		units, whole := n.units(exponent)
		return strconv.FormatInt(units, 10), whole
	case n.scale >= exponent && canonical(v):
		return v, true
	}
	return n.fixed(max(exponent, n.scale)), true
}

// decimalsMax is the most decimals that number may be asked for.
const decimalsMax = 20

// buildNumber takes how many decimals to round to, half away from zero; without it the number is only tidied.
func buildNumber(args []string, _ map[string]string) (step, *ChainError) {
	places := -1
	if len(args) > 0 {
		n, err := strconv.Atoi(args[0])
		if err != nil || len(args) > 1 || n < 0 || n > decimalsMax {
			return step{}, &ChainError{"number takes how many decimals to keep, at most " + strconv.Itoa(decimalsMax), "write for example number 2"}
		}
		places = n
	}
	return step{name: "number", from: []Kind{Text, Number}, to: Number, run: func(v string, _ Values) (string, string) {
		n, ok := parseNumber(strings.TrimSpace(v))
		switch {
		case !ok:
			return "", "the value is no plain decimal number"
		case places < 0:
			return n.String(), ""
		}
		return n.round(int32(places)).fixed(places), "" //nolint:gosec // at most decimalsMax
	}}, nil
}

func buildCountry(args []string, _ map[string]string) (step, *ChainError) {
	if len(args) > 0 {
		return step{}, &ChainError{"country takes no argument", "use lookup with a table to write names"}
	}
	return step{name: "country", from: []Kind{Text}, to: Text, run: func(v string, _ Values) (string, string) {
		if code := regionOf(v); code != "" {
			return code, ""
		}
		return "", "the value is no ISO 3166 country code"
	}}, nil
}

func buildDefault(args []string, _ map[string]string) (step, *ChainError) {
	if len(args) != 1 {
		return step{}, &ChainError{"default takes one text", `write for example default "friend"`}
	}
	return step{name: "default", absent: true, run: func(v string, _ Values) (string, string) {
		if v == "" {
			return args[0], ""
		}
		return v, ""
	}}, nil
}

func buildLookup(args []string, table map[string]string) (step, *ChainError) {
	if len(args) > 0 || len(table) == 0 {
		return step{}, &ChainError{"lookup needs a table", "add table: with one line for each value"}
	}
	return step{name: lookup, to: Any, run: func(v string, _ Values) (string, string) { return table[v], "" }}, nil
}

func unknownWord(function, word, hint string) *ChainError {
	return &ChainError{fmt.Sprintf("%s knows no %.60q", function, word), hint}
}
