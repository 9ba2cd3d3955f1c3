package expressions

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tillstream/tillstream/processors/zones"
)

const dateHint = "write date day, date full, date time, or a pattern such as date YYYY-MM-DD HH:mm, then in and a zone such as Europe/Berlin or +02:00"

// buildDate takes a layout (day by default, full for RFC 3339, time, or a pattern) and a zone, which is UTC by default:
// "date", "date full +02:00", "date DD.MM.YYYY in Europe/Berlin".
func buildDate(args []string, _ map[string]string) (step, *ChainError) {
	zone := time.UTC
	zoneText, given := "", false
	switch n := len(args); {
	case slices.Contains(args, "in"):
		at := slices.Index(args, "in")
		if n != at+2 {
			return step{}, &ChainError{"date needs one zone behind in", dateHint}
		}
		args, zoneText, given = args[:at], args[at+1], true
	case n > 0 && (n > 1 || isOffset(args[0]) || strings.Contains(args[0], "/")) && looksLikeZone(args[n-1]):
		args, zoneText, given = args[:n-1], args[n-1], true
	}
	if given {
		z, err := zoneOf(zoneText)
		if err != nil {
			return step{}, err
		}
		zone = z
	}
	layout, kind, err := layoutOf(strings.Join(args, " "))
	if err != nil {
		return step{}, err
	}
	day := kind == Date && zone == time.UTC
	return step{name: "date", from: []Kind{Time, Date}, to: kind, run: func(v string, _ Values) (string, string) {
		t, ok := parseTime(v)
		switch {
		case !ok:
			return "", "the value is no time"
		case day && len(v) == len("2006-01-02T15:04:05Z") && v[len(v)-1] == 'Z' && v[0] >= '0' && v[0] <= '9':
			return v[:len(time.DateOnly)], "" // as every layout that is read begins
		}
		return layout(t.In(zone)), ""
	}}, nil
}

func isOffset(a string) bool {
	_, ok := offset(a)
	return ok
}

// looksLikeZone tells a zone at the end, without in before it, from a word of a pattern.
func looksLikeZone(a string) bool {
	if isOffset(a) {
		return true
	}
	head, _, ok := strings.Cut(a, "/")
	return ok && len(head) > 2 && strings.ContainsFunc(head, func(r rune) bool { return r >= 'a' && r <= 'z' })
}

func zoneOf(text string) (*time.Location, *ChainError) {
	if z, ok := offset(text); ok {
		return z, nil
	}
	z, err := zones.Load(text)
	if err != nil {
		message, hint, _ := strings.Cut(err.Error(), "; ")
		return nil, &ChainError{message, hint}
	}
	return z, nil
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

// patternTokens are the parts of a pattern, longest first, with Go's words for them.
var patternTokens = []struct{ token, layout string }{
	{"YYYY", "2006"},
	{"MMMM", "January"},
	{"dddd", "Monday"},
	{"MMM", "Jan"},
	{"ddd", "Mon"},
	{"YY", "06"},
	{"MM", "01"},
	{"DD", "02"},
	{"HH", "15"},
	{"hh", "03"},
	{"mm", "04"},
	{"ss", "05"},
	{"M", "1"},
	{"D", "2"},
	{"h", "3"},
	{"A", "PM"},
	{"Z", "-07:00"},
}

const patternLettersMax = 64

// layoutOf gives a function that writes a time, and the kind of what it writes.
func layoutOf(text string) (func(time.Time) string, Kind, *ChainError) {
	switch text {
	case "", "day":
		return func(t time.Time) string { return t.Format(time.DateOnly) }, Date, nil
	case "full":
		return func(t time.Time) string { return t.Format(time.RFC3339) }, Time, nil
	case "time":
		return func(t time.Time) string { return t.Format("15:04") }, Text, nil
	}
	if len(text) > patternLettersMax {
		return nil, 0, &ChainError{"the pattern of date is longer than " + strconv.Itoa(patternLettersMax) + " characters", dateHint}
	}
	// literal parts never go through Format, which would read digits in them as a layout
	type part struct{ literal, layout string }
	var parts []part
	tokens := 0
	for rest := text; rest != ""; {
		if inner, behind, ok := bracketed(rest); ok {
			parts, rest = append(parts, part{literal: inner}), behind
			continue
		}
		at := slices.IndexFunc(patternTokens, func(p struct{ token, layout string }) bool { return strings.HasPrefix(rest, p.token) })
		switch {
		case at >= 0:
			parts, rest = append(parts, part{layout: patternTokens[at].layout}), rest[len(patternTokens[at].token):]
			tokens++
		case isLetter(rest[0]):
			return nil, 0, unknownWord("date", text, dateHint)
		default:
			parts, rest = append(parts, part{literal: rest[:1]}), rest[1:]
		}
	}
	if tokens == 0 {
		return nil, 0, unknownWord("date", text, dateHint)
	}
	kind := Text
	if text == "YYYY-MM-DD" {
		kind = Date
	}
	return func(t time.Time) string {
		var b strings.Builder
		for _, p := range parts {
			if p.layout != "" {
				b.WriteString(t.Format(p.layout))
			} else {
				b.WriteString(p.literal)
			}
		}
		return b.String()
	}, kind, nil
}

// bracketed takes [words] off the beginning, which a pattern writes as they are.
func bracketed(text string) (inner, rest string, ok bool) {
	if text[0] != '[' {
		return "", "", false
	}
	inner, rest, ok = strings.Cut(text[1:], "]")
	return inner, rest, ok
}

func isLetter(c byte) bool { return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' }
