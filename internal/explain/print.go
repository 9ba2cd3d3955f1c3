package explain

import (
	"fmt"
	"io"
	"strings"
	"unicode"

	"github.com/tillstream/tillstream/api"
)

// Print writes it for a terminal; what providers and people wrote cannot steer it.
func Print(w io.Writer, e api.Explanation) {
	fmt.Fprintf(w, "%s (%s), as of %s\n", harmless(e.ID), e.As, stamp(e.At))
	for _, s := range e.Sections {
		fmt.Fprintf(w, "\n%s\n", s.Title)
		for _, l := range s.Lines {
			when := strings.Repeat(" ", len(printForm))
			if !l.At.IsZero() {
				when = l.At.UTC().Format(printForm)
			}
			fmt.Fprintf(w, "  %s  %s%s\n", when, strings.Repeat("  ", l.Depth), harmless(l.Text))
		}
	}
	if e.Truncated {
		fmt.Fprintln(w, "\nThere is more than is told here; the newest is.")
	}
}

const printForm = "2006-01-02 15:04:05"

// harmless replaces what a terminal would obey.
func harmless(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return unicode.ReplacementChar
	}, text)
}
