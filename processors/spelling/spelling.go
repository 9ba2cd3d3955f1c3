// Package spelling finds the name that a mistyped one was meant to be.
package spelling

import "strings"

const (
	wrongLettersMax = 3   // with more, a name counts as unknown rather than mistyped
	nameBytesMax    = 200 // nobody mistypes a longer name
)

// Nearest is the known name that differs least from name, or "" where none is near. The first of equals wins.
func Nearest(name string, known []string) string {
	if len(name) > nameBytesMax {
		return ""
	}
	best, distance := "", min(wrongLettersMax, len(name)/2)+1
	for _, k := range known {
		if gap := len(name) - len(k); gap >= distance || -gap >= distance {
			continue
		}
		if d := edits(strings.ToLower(name), strings.ToLower(k)); d < distance {
			best, distance = k, d
		}
	}
	if best == "" && name != "" { // a part of a longer name: "email" for payer.email
		for _, k := range known {
			if strings.HasSuffix(strings.ToLower(k), "."+strings.ToLower(name)) {
				return k
			}
		}
	}
	return best
}

// edits counts the insertions, deletions and replacements that turn a into b (Levenshtein).
func edits(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
