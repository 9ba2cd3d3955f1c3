package mapping

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash/crc32"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"time"
	"unicode"

	"github.com/nyaruka/phonenumbers"

	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/schemas/money"
)

// function is one compiled step of a rule.
type function struct {
	name string
	from []string // source types that it takes; empty: all
	run  func(value string, t *schemas.Transition) (result, reason string)
}

func (f function) takes(kind string) bool {
	return len(f.from) == 0 || kind == typeAny || slices.Contains(f.from, kind)
}

type asError struct{ message, hint string }

// builder makes a step from its arguments.
type builder func(args []string, r Rule) (function, *asError)

var builders = map[string]builder{
	"text":    plain("text", nil, func(v string) string { return v }),
	"trim":    plain("trim", nil, strings.TrimSpace),
	"lower":   plain("lower", nil, strings.ToLower),
	"upper":   plain("upper", nil, strings.ToUpper),
	"hash":    plain("hash", nil, hash),
	"name":    buildName,
	"date":    buildDate,
	"money":   buildMoney,
	"phone":   buildPhone,
	"country": buildCountry,
	"lookup":  buildLookup,
}

// Functions lists the names that Rule.As may hold.
func Functions() []string { return slices.Sorted(maps.Keys(builders)) }

func parseAs(r Rule) ([]function, *asError) {
	if strings.TrimSpace(r.As) == "" {
		if len(r.Table) > 0 {
			f, err := buildLookup(nil, r)
			return []function{f}, err
		}
		return nil, nil
	}
	var steps []function
	for text := range strings.SplitSeq(r.As, "|") {
		words := strings.Fields(text)
		if len(words) == 0 {
			return nil, &asError{"a function is missing beside |", "write for example: trim | lower"}
		}
		build, ok := builders[words[0]]
		if !ok {
			hint := "the functions are " + strings.Join(Functions(), ", ")
			if near := Nearest(words[0], Functions()); near != "" {
				hint = "did you mean " + near + "?"
			}
			return nil, &asError{fmt.Sprintf("%q is no known function", words[0]), hint}
		}
		f, err := build(words[1:], r)
		if err != nil {
			return nil, err
		}
		steps = append(steps, f)
	}
	return steps, nil
}

func plain(name string, from []string, do func(string) string) builder {
	return func(args []string, _ Rule) (function, *asError) {
		if len(args) > 0 {
			return function{}, &asError{name + " takes no argument", "remove " + strings.Join(args, " ")}
		}
		return function{name, from, func(v string, _ *schemas.Transition) (string, string) { return do(v), "" }}, nil
	}
}

func hash(v string) string {
	h := sha256.Sum256([]byte(v))
	return hex.EncodeToString(h[:])
}

// particles begin a family name of several words.
var particles = []string{"van", "von", "de", "der", "den", "del", "della", "di", "da", "dos", "du", "la", "le", "ter", "ten", "zu", "bin", "al", "el"}

func buildName(args []string, _ Rule) (function, *asError) {
	if len(args) != 1 || args[0] != "first" && args[0] != "last" {
		return function{}, &asError{"name must say which part", "write name first, or name last"}
	}
	return function{"name", []string{typeText}, func(v string, _ *schemas.Transition) (string, string) {
		first, last := splitName(v)
		if args[0] == "first" {
			return first, ""
		}
		return last, ""
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

// buildDate takes "day" (default: YYYY-MM-DD) or "full" (RFC 3339), and a zone as an offset. Names of zones are
// refused: their tables differ between machines and years, and a replay must give the same value.
func buildDate(args []string, _ Rule) (function, *asError) {
	layout, zone := time.DateOnly, time.UTC
	for i, a := range args {
		switch {
		case i == 0 && a == "day":
		case i == 0 && a == "full":
			layout = time.RFC3339
		default:
			z, ok := offset(a)
			if !ok {
				return function{}, &asError{fmt.Sprintf("date knows no %q", a), "write date day or date full, then a zone as an offset such as UTC or +02:00"}
			}
			zone = z
		}
	}
	return function{"date", []string{typeTime}, func(v string, _ *schemas.Transition) (string, string) {
		t, ok := parseTime(v)
		if !ok {
			return "", "the value is no time"
		}
		return t.In(zone).Format(layout), ""
	}}, nil
}

func offset(a string) (*time.Location, bool) {
	if a == "UTC" || a == "Z" {
		return time.UTC, true
	}
	t, err := time.Parse("-07:00", a)
	if err != nil {
		return nil, false
	}
	_, seconds := t.Zone()
	return time.FixedZone(a, seconds), true
}

// timeLayouts are the forms in which PayPal and the stores write times; the last three name no zone and mean UTC.
var timeLayouts = []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999-0700", "2006-01-02T15:04:05.999999999", time.DateTime, time.DateOnly}

func parseTime(v string) (time.Time, bool) {
	for _, layout := range timeLayouts {
		if t, err := time.Parse(layout, strings.TrimSpace(v)); err == nil {
			return t, true
		}
	}
	return time.Time{}, false
}

// digitsOf is the number of decimals of the currencies that do not have two. HUF and TWD have none at PayPal.
var digitsOf = map[string]int32{
	"HUF": 0, "JPY": 0, "TWD": 0, "BIF": 0, "CLP": 0, "DJF": 0, "GNF": 0, "ISK": 0, "KMF": 0, "KRW": 0, "PYG": 0, "RWF": 0,
	"UGX": 0, "VND": 0, "VUV": 0, "XAF": 0, "XOF": 0, "XPF": 0, "BHD": 3, "IQD": 3, "JOD": 3, "KWD": 3, "LYD": 3, "OMR": 3, "TND": 3,
}

func buildMoney(args []string, _ Rule) (function, *asError) {
	minor := len(args) == 1 && args[0] == "minor"
	if len(args) > 1 || len(args) == 1 && !minor && args[0] != "decimal" {
		return function{}, &asError{"money knows decimal and minor only", "write money decimal (10.00), or money minor (1000)"}
	}
	return function{"money", []string{typeMoney}, func(v string, t *schemas.Transition) (string, string) {
		code := currency(t)
		a, err := money.Parse(v, orElse(code, "ZZZ"))
		if err != nil {
			return "", "the value is no decimal amount"
		}
		digits, special := digitsOf[string(a.Currency)]
		if !special {
			digits = 2
		}
		if !minor {
			return a.Decimal.StringFixed(max(digits, -a.Decimal.Exponent())), ""
		}
		if code == "" {
			return "", "the amount has no currency, so its minor unit is not known"
		}
		if shifted := a.Decimal.Shift(digits); shifted.IsInteger() {
			return shifted.String(), ""
		}
		return "", "the amount has more decimals than its currency"
	}}, nil
}

func orElse(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// buildPhone takes a country to assume where the payer's is not known.
func buildPhone(args []string, _ Rule) (function, *asError) {
	if len(args) > 1 || len(args) == 1 && !isCountry(args[0]) {
		return function{}, &asError{"phone takes one country at most", "write for example phone DE"}
	}
	return function{"phone", []string{typeText}, func(v string, t *schemas.Transition) (string, string) {
		region := regionOf(country.Get(t))
		if region == "" && len(args) == 1 {
			region = regionOf(args[0])
		}
		return phone(v, region), ""
	}}, nil
}

var country = NewSource("payer.address.country")

// phone is e164, which takes a dozen regular expressions: the numbers written last are remembered, since the events of
// one order carry the same number and follow each other.
func phone(v, region string) string {
	if len(v) > phoneBytesMax {
		return e164(v, region)
	}
	place := &phones[crc32.Update(crc32.ChecksumIEEE([]byte(v)), crc32.IEEETable, []byte(region))%phonesKept]
	if known := place.Load(); known != nil && known.value == v && known.region == region {
		return known.result
	}
	result := e164(v, region)
	place.Store(&writtenPhone{strings.Clone(v), strings.Clone(region), strings.Clone(result)})
	return result
}

type writtenPhone struct{ value, region, result string }

const (
	phonesKept    = 1024
	phoneBytesMax = 40 // a longer text is no number, and is not remembered
)

var phones [phonesKept]atomic.Pointer[writtenPhone]

// e164 writes a number in E.164. Without a usable country the digits stay as they are: PayPal gives national numbers
// only, and a guessed country would reach a stranger.
func e164(v, region string) string {
	if n, err := phonenumbers.Parse(v, region); err == nil && phonenumbers.IsValidNumber(n) {
		return phonenumbers.Format(n, phonenumbers.E164)
	}
	plus := strings.HasPrefix(strings.TrimSpace(v), "+")
	digits := strings.Map(func(r rune) rune {
		if r < unicode.MaxASCII && unicode.IsDigit(r) {
			return r
		}
		return -1
	}, v)
	if plus && digits != "" {
		return "+" + digits
	}
	return digits
}

func isCountry(code string) bool {
	return len(code) == 2 && strings.IndexFunc(code, func(r rune) bool { return r > unicode.MaxASCII || !unicode.IsLetter(r) }) < 0
}

// regionOf is an ISO 3166 code; PayPal writes C2 for China outside its domestic site.
func regionOf(code string) string {
	code = strings.ToUpper(strings.TrimSpace(code))
	if code == "C2" {
		return "CN"
	}
	if !isCountry(code) {
		return ""
	}
	return code
}

func buildCountry(args []string, _ Rule) (function, *asError) {
	if len(args) > 0 {
		return function{}, &asError{"country takes no argument", "use lookup with a table to write names"}
	}
	return function{"country", []string{typeText}, func(v string, _ *schemas.Transition) (string, string) {
		if code := regionOf(v); code != "" {
			return code, ""
		}
		return "", "the value is no ISO 3166 country code"
	}}, nil
}

func buildLookup(args []string, r Rule) (function, *asError) {
	if len(args) > 0 || len(r.Table) == 0 {
		return function{}, &asError{"lookup needs a table", "add table: with one line for each value"}
	}
	return function{"lookup", nil, func(v string, _ *schemas.Transition) (string, string) { return r.Table[v], "" }}, nil
}
