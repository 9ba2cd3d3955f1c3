package getresponse

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
)

// scoreField is what a mapping names to write the contact's own score, unless the account has a custom field of that
// name.
const scoreField = "scoring"

func isScore(name string) bool { return strings.EqualFold(strings.TrimSpace(name), scoreField) }

// setScore takes the mapped score; an empty one removes it.
func (d *desired) setScore(value string) error {
	value = strings.TrimSpace(value)
	if d.scored {
		return fmt.Errorf("field %s is mapped twice", scoreField)
	}
	if value != "" {
		n, ok := decimal(value)
		if !ok {
			return fmt.Errorf("field %s takes a number", scoreField)
		}
		if value = plain(strings.TrimPrefix(value, "-")); n.Sign() < 0 {
			value = "-" + value
		}
	}
	d.scored, d.score = true, json.Number(value)
	return nil
}

// score is the contact's as the API writes it; "": none.
func (h *details) score() string {
	text := string(bytes.Trim(h.Scoring, `"`))
	if text == "null" {
		return ""
	}
	return text
}

// sameScore reports whether the contact has the score. None counts as zero, as GetResponse shows some that have none.
func (d *desired) sameScore(have *details) bool {
	zero := func(text string) string {
		if text == "" {
			return "0"
		}
		return text
	}
	a, ok1 := decimal(zero(have.score()))
	b, ok2 := decimal(zero(string(d.score)))
	return ok1 && ok2 && a.Cmp(b) == 0
}
