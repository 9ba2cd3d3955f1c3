package workflows

import (
	"fmt"
	"math"
	"strings"
	"time"
)

// Duration is a span as a user writes it: 90m, 1h, 3d, 2w, or several such parts, 1d12h. A day is 24 hours.
type Duration string

// Never is the Duration of a wait without a deadline.
const Never Duration = "never"

var units = map[byte]time.Duration{'s': time.Second, 'm': time.Minute, 'h': time.Hour, 'd': 24 * time.Hour, 'w': 7 * 24 * time.Hour}

// Parse reads d; 0 alone needs no unit, and a minus in front turns it round. An error says what is wrong.
func (d Duration) Parse() (time.Duration, error) {
	text, minus := strings.CutPrefix(string(d), "-")
	if text == "0" {
		return 0, nil
	}
	var total time.Duration
	wrong := fmt.Errorf("%.40q is no duration", string(d))
	for rest := text; rest != ""; {
		var n int64
		i := 0
		for ; i < len(rest) && rest[i] >= '0' && rest[i] <= '9'; i++ {
			if n = n*10 + int64(rest[i]-'0'); n > math.MaxInt32 {
				return 0, fmt.Errorf("%.40q is too long a time", string(d))
			}
		}
		if i == 0 || i == len(rest) || units[rest[i]] == 0 {
			return 0, wrong
		}
		part := time.Duration(n) * units[rest[i]]
		if part/units[rest[i]] != time.Duration(n) || total > math.MaxInt64-part {
			return 0, fmt.Errorf("%.40q is too long a time", string(d))
		}
		total += part
		rest = rest[i+1:]
	}
	if text == "" {
		return 0, wrong
	}
	if minus {
		total = -total
	}
	return total, nil
}

// spell writes a span the way Duration reads it.
func spell(d time.Duration) string {
	for _, u := range []byte("wdhm") {
		if d != 0 && d%units[u] == 0 {
			return fmt.Sprintf("%d%c", d/units[u], u)
		}
	}
	return fmt.Sprintf("%ds", d/time.Second)
}
