package clickhouse

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/shopspring/decimal"
)

// details pairs up names and values, in order, without the empty ones.
func details(namesAndValues ...string) []Pair {
	var pairs []Pair
	for i := 0; i+1 < len(namesAndValues); i += 2 {
		if namesAndValues[i+1] != "" {
			pairs = append(pairs, Pair{namesAndValues[i], namesAndValues[i+1]})
		}
	}
	return pairs
}

func moneyText(d *decimal.Decimal, currency string) string {
	if d == nil {
		return ""
	}
	return strings.TrimSpace(d.String() + " " + currency)
}

// stamp leaves "no time", stored as the epoch, empty.
func stamp(t time.Time) string {
	if t.UnixMilli() == 0 {
		return ""
	}
	return t.UTC().Format(time.RFC3339Nano)
}

func flag(b bool) string {
	if b {
		return "yes"
	}
	return ""
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

func or(s, fallback string) string {
	if s == "" {
		return fallback
	}
	return s
}

func sortedKeys(m map[string]string) []string { return slices.Sorted(maps.Keys(m)) }
