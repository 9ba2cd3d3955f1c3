package scenario

import (
	"fmt"
	"strings"
	"time"

	"github.com/tillstream/tillstream/processors/zones"
)

// token is one word of a line, or a quoted text.
type token struct {
	text   string
	quoted bool
}

// split cuts a line into words. A # before a word begins a comment; "..." holds blanks, with \" and \\ inside.
func split(line string) (tokens []token, err error) {
	var b strings.Builder
	inWord, inQuotes, quoted := false, false, false
	end := func() {
		if inWord {
			tokens = append(tokens, token{b.String(), quoted})
		}
		b.Reset()
		inWord, quoted = false, false
	}
	for i := 0; i < len(line); i++ {
		switch c := line[i]; {
		case inQuotes && c == '\\' && i+1 < len(line) && (line[i+1] == '"' || line[i+1] == '\\'):
			i++
			b.WriteByte(line[i])
		case c == '"':
			if inQuotes = !inQuotes; !inWord {
				quoted = true
			}
			inWord = true
		case inQuotes:
			b.WriteByte(c)
		case c == ' ' || c == '\t' || c == '\r':
			end()
		case c == '#' && !inWord:
			return tokens, nil
		default:
			inWord = true
			b.WriteByte(c)
		}
	}
	if inQuotes {
		return nil, fmt.Errorf("a text is opened by \" and not closed")
	}
	end()
	return tokens, nil
}

// words is what is left to read of a statement.
type words struct {
	list []token
	zone *time.Location
}

func (w *words) peek() string {
	if len(w.list) == 0 || w.list[0].quoted {
		return ""
	}
	return w.list[0].text
}

// next takes one word; "" where none is left, or where an attribute comes.
func (w *words) next() string {
	if len(w.list) == 0 || !w.list[0].quoted && isAttribute(w.list[0].text) {
		return ""
	}
	t := w.list[0].text
	w.list = w.list[1:]
	return t
}

// take takes the next word if it is that.
func (w *words) take(text string) bool {
	if w.peek() != text {
		return false
	}
	w.list = w.list[1:]
	return true
}

// isAttribute reports NAME=VALUE and NAME~VALUE.
func isAttribute(t string) bool {
	i := strings.IndexAny(t, "=~")
	if i <= 0 {
		return false
	}
	for _, c := range t[:i] {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && !strings.ContainsRune("._-", c) {
			return false
		}
	}
	return true
}

// attribute takes NAME=VALUE or NAME~VALUE.
func (w *words) attribute() (name, value string, contains, ok bool) {
	if len(w.list) == 0 || w.list[0].quoted || !isAttribute(w.list[0].text) {
		return "", "", false, false
	}
	t := w.list[0].text
	w.list = w.list[1:]
	i := strings.IndexAny(t, "=~")
	return t[:i], t[i+1:], t[i] == '~', true
}

// moment takes a time: 2026-03-01, 2026-03-01 10:00, 2026-03-01 10:00:00.250, each with a zone behind it (+01:00, UTC,
// Europe/Rome), or RFC 3339.
func (w *words) moment() (time.Time, error) {
	day := w.next()
	if t, err := time.Parse(time.RFC3339Nano, day); err == nil {
		return t.UTC(), nil
	}
	if _, err := time.Parse(time.DateOnly, day); err != nil {
		return time.Time{}, fmt.Errorf("%q is no day: write a time such as 2026-03-01 10:00, or 2026-03-01 10:00 +01:00", day)
	}
	clock, layout := "00:00", "15:04"
	if t := w.peek(); len(t) > 0 && t[0] >= '0' && t[0] <= '9' && strings.Contains(t, ":") {
		clock = w.next()
		if strings.Count(clock, ":") == 2 {
			layout = "15:04:05"
		}
	}
	zone := w.zone
	if z, ok, err := zoneOf(w.peek()); err != nil {
		return time.Time{}, err
	} else if ok {
		w.next()
		zone = z
	}
	t, err := time.ParseInLocation(time.DateOnly+" "+layout, day+" "+clock, zone)
	if err != nil {
		return time.Time{}, fmt.Errorf("%q is no time of day: write 10:00 or 10:00:30", clock)
	}
	return t.UTC(), nil
}

// zoneOf reads a zone; false: the word is none.
func zoneOf(word string) (*time.Location, bool, error) {
	switch {
	case word == "UTC", word == "Z":
		return time.UTC, true, nil
	case len(word) == 6 && (word[0] == '+' || word[0] == '-'):
		t, err := time.Parse("-07:00", word)
		if err != nil {
			return nil, false, fmt.Errorf("%q is no zone: write +01:00, UTC or Europe/Rome", word)
		}
		return t.Location(), true, nil
	case strings.Contains(word, "/") && !isAttribute(word):
		z, err := zones.Load(word)
		if err != nil {
			return nil, false, err
		}
		return z, true, nil
	}
	return nil, false, nil
}

// durationMax bounds a pause: a longer one is surely mistaken.
const durationMax = 20 * 365 * 24 * time.Hour

// durationOf reads 90s, 3h, 2d, 1w2d12h.
func durationOf(text string) (time.Duration, error) {
	bad := fmt.Errorf("%q is no duration: write 30s, 15m, 3h, 2d, 1w or 1d12h", text)
	var total time.Duration
	rest := text
	for rest != "" {
		i := strings.IndexFunc(rest, func(c rune) bool { return (c < '0' || c > '9') && c != '.' })
		if i <= 0 || i > 9 {
			return 0, bad
		}
		j := strings.IndexFunc(rest[i:], func(c rune) bool { return c >= '0' && c <= '9' })
		if j < 0 {
			j = len(rest) - i
		}
		number, unit := rest[:i], rest[i:i+j]
		rest = rest[i+j:]
		times := time.Duration(1)
		switch unit {
		case "d":
			unit, times = "h", 24
		case "w":
			unit, times = "h", 7*24
		}
		d, err := time.ParseDuration(number + unit)
		if err != nil || d > durationMax/times {
			return 0, bad
		}
		if total += d * times; total > durationMax {
			return 0, bad
		}
	}
	if text == "" {
		return 0, bad
	}
	return total, nil
}

// stamp shows a time in UTC, as short as it can be.
func stamp(t time.Time) string {
	t = t.UTC()
	switch {
	case t.IsZero():
		return "never"
	case t.Nanosecond() != 0:
		return t.Format("2006-01-02 15:04:05.000")
	case t.Second() != 0:
		return t.Format("2006-01-02 15:04:05")
	}
	return t.Format("2006-01-02 15:04")
}
