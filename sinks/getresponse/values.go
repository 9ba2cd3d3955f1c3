package getresponse

import (
	"fmt"
	"math/big"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode"
)

// field is one custom field of the account.
type field struct {
	id, name string
	kind     string // of the value: string, number, date, datetime, country, currency, phone, gender, ip, url
	widget   string // text, textarea, radio, checkbox, single_select, multi_select
	// options are the allowed values, in the account's spelling; nil: not limited.
	options []string
}

// kinds are the types of values in the documentation. Older fields name their widget in "type" instead.
var kinds = []string{"string", "number", "date", "datetime", "country", "currency", "phone", "gender", "ip", "url"}

// newField reads both forms of a field.
func newField(id, name, typ, valueType, format, fieldType string, values []string) field {
	f := field{id: id, name: name, kind: "string", widget: "text"}
	for _, k := range []string{valueType, typ} {
		if k = strings.ToLower(k); slices.Contains(kinds, k) {
			f.kind = k
			break
		}
	}
	for _, w := range []string{format, fieldType, typ} {
		if w = strings.ToLower(w); w != "" && !slices.Contains(kinds, w) {
			f.widget = w
			break
		}
	}
	switch f.widget {
	case "single_select", "multi_select", "radio", "checkbox":
		if len(values) > 0 {
			f.options = values
		}
	}
	return f
}

// format turns a mapped value into what a field of this type takes. An empty value gives none: it empties the field.
func (f field) format(value string) ([]string, error) {
	value = strings.TrimSpace(value)
	if value == "" {
		return nil, nil
	}
	switch f.widget {
	case "multi_select", "checkbox":
		return f.choices(value)
	}
	if f.options != nil {
		one, err := f.option(value)
		return []string{one}, err
	}
	one, err := f.single(value)
	if err != nil {
		return nil, fmt.Errorf("field %s takes %s", f.name, err)
	}
	return []string{one}, nil
}

// wanted is an error that says what a field takes.
type wanted string

func (w wanted) Error() string { return string(w) }

func (f field) single(value string) (string, error) {
	switch f.kind {
	case "number":
		if _, ok := decimal(value); !ok {
			return "", wanted("a number")
		}
		return strings.TrimPrefix(value, "+"), nil
	case "date":
		t, err := moment(value)
		if err != nil {
			return "", wanted("a date such as 2026-01-31")
		}
		return t.Format(time.DateOnly), nil
	case "datetime":
		t, err := moment(value)
		if err != nil {
			return "", wanted("a time such as 2026-01-31T10:00:00Z")
		}
		return t.UTC().Format(time.DateTime), nil
	case "currency":
		code := strings.ToUpper(value)
		if len(code) != 3 || strings.ContainsFunc(code, func(r rune) bool { return r < 'A' || r > 'Z' }) {
			return "", wanted("a currency code such as EUR")
		}
		return code, nil
	case "gender":
		for _, g := range []string{"Male", "Female", "Prefer not to say"} {
			if strings.EqualFold(g, value) {
				return g, nil
			}
		}
		return "", wanted("Male, Female or Prefer not to say")
	case "phone":
		return phone(value)
	case "ip":
		a, err := netip.ParseAddr(value)
		if err != nil {
			return "", wanted("an IP address")
		}
		return a.String(), nil
	case "url":
		if u, err := url.Parse(value); err != nil || u.Host == "" {
			return "", wanted("an address such as https://example.com/")
		}
	}
	return value, nil
}

// decimal reads digits with a point. The letters of exponents and bases are kept from the parser, which would compute
// a number of a billion digits if asked.
func decimal(text string) (*big.Rat, bool) {
	if text == "" || strings.Trim(text, "+-.0123456789") != "" {
		return nil, false
	}
	return new(big.Rat).SetString(text)
}

// phone leaves out what people write between digits.
func phone(value string) (string, error) {
	out := strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) || strings.ContainsRune("-./()", r) {
			return -1
		}
		return r
	}, value)
	if digits := strings.TrimPrefix(out, "+"); digits == "" || strings.Trim(digits, "0123456789") != "" {
		return "", wanted("a phone number such as +48123456789")
	}
	return out, nil
}

// moment reads the forms that payment providers write.
func moment(value string) (time.Time, error) {
	var err error
	for _, form := range []string{time.RFC3339Nano, time.DateOnly, time.DateTime, "2006-01-02T15:04:05", "2006-01-02T15:04:05-0700"} {
		var t time.Time
		if t, err = time.Parse(form, value); err == nil {
			return t, nil
		}
	}
	return time.Time{}, err
}

// option returns the account's spelling of one option.
func (f field) option(value string) (string, error) {
	if f.options == nil {
		return value, nil
	}
	i := slices.IndexFunc(f.options, func(o string) bool { return strings.EqualFold(strings.TrimSpace(o), value) })
	if i < 0 {
		return "", fmt.Errorf("field %s has no option like the mapped value", f.name)
	}
	return f.options[i], nil
}

// choices reads one option, or options with commas or || between.
func (f field) choices(value string) ([]string, error) {
	if one, err := f.option(value); err == nil && f.options != nil {
		return []string{one}, nil
	}
	between := ","
	if strings.Contains(value, "||") {
		between = "||"
	}
	var out []string
	for _, p := range strings.Split(value, between) {
		if p = strings.TrimSpace(p); p == "" {
			continue
		}
		o, err := f.option(p)
		if err != nil {
			return nil, err
		}
		if !slices.Contains(out, o) {
			out = append(out, o)
		}
	}
	return out, nil
}

// same reports whether the contact has these values already. GetResponse may write a number in another way.
func (f field) same(have, want []string) bool {
	if f.kind == "number" && len(have) == 1 && len(want) == 1 {
		a, ok1 := decimal(have[0])
		b, ok2 := decimal(want[0])
		return ok1 && ok2 && a.Cmp(b) == 0
	}
	if f.widget == "multi_select" || f.widget == "checkbox" {
		have, want = slices.Sorted(slices.Values(have)), slices.Sorted(slices.Values(want))
	}
	return slices.Equal(have, want)
}
