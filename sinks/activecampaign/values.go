package activecampaign

import (
	"fmt"
	"math/big"
	"slices"
	"strings"
	"time"
)

// datetimeForm is what datetime fields take: ISO 8601 with offset.
const datetimeForm = "2006-01-02T15:04:05-07:00"

// format turns a mapped value into what a field of this type takes. An empty value clears the field.
func (f field) format(value string) (string, error) {
	if value == "" {
		return "", nil
	}
	switch f.kind {
	case "number":
		if strings.Trim(value, "+-.0123456789") != "" { // an exponent could make a number of any size
			return "", fmt.Errorf("field %s takes a number", f.name())
		}
		if _, ok := new(big.Rat).SetString(value); !ok {
			return "", fmt.Errorf("field %s takes a number", f.name())
		}
		return value, nil
	case "dropdown", "radio":
		return f.option(strings.Trim(value, "|"))
	case "checkbox", "listbox":
		return f.choices(value)
	case "date":
		t, err := moment(value)
		if err != nil {
			return "", fmt.Errorf("field %s takes a date such as 2026-01-31", f.name())
		}
		return t.Format(time.DateOnly), nil
	case "datetime":
		t, err := moment(value)
		if err != nil {
			return "", fmt.Errorf("field %s takes a time such as 2026-01-31T10:00:00Z", f.name())
		}
		return t.Format(datetimeForm), nil
	}
	return value, nil
}

func (f field) name() string {
	if f.perstag != "" {
		return f.perstag
	}
	return f.title
}

// moment reads the forms that payment providers write. A date's clock and zone stay as they were written.
func moment(value string) (time.Time, error) {
	var err error
	for _, form := range []string{time.RFC3339Nano, time.DateOnly, time.DateTime, "2006-01-02T15:04:05"} {
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
	i := slices.IndexFunc(f.options, func(o string) bool { return strings.EqualFold(o, value) })
	if i < 0 {
		return "", fmt.Errorf("field %s has no option like the mapped value; it has %s", f.name(), shorten(strings.Join(f.options, ", ")))
	}
	return f.options[i], nil
}

// choices writes ||a||b||, from the same form, from one option, or from options with commas between.
func (f field) choices(value string) (string, error) {
	var parts []string
	if one, err := f.option(value); err == nil && f.options != nil {
		parts = []string{one}
	} else if strings.Contains(value, "||") {
		parts = strings.Split(value, "||")
	} else {
		parts = strings.Split(value, ",")
	}
	var out []string
	for _, p := range parts {
		if p = strings.TrimSpace(p); p == "" {
			continue
		}
		o, err := f.option(p)
		if err != nil {
			return "", err
		}
		out = append(out, o)
	}
	if len(out) == 0 {
		return "", nil
	}
	return "||" + strings.Join(out, "||") + "||", nil
}
