package api

import (
	"encoding/csv"
	"fmt"
	"io"
	"strings"
)

// WriteCSV writes RFC 4180. cell gives the text of a cell, and whether it is free text: what a spreadsheet would run as a
// formula then gets an apostrophe in front.
func WriteCSV(w io.Writer, header []string, rows int, cell func(row, column int) (text string, free bool)) error {
	out := csv.NewWriter(w)
	cells := make([]string, len(header))
	for i, name := range header {
		cells[i] = harmlessCell(name)
	}
	if err := out.Write(cells); err != nil {
		return err
	}
	for n := range rows {
		for i := range header {
			text, free := cell(n, i)
			if free {
				text = harmlessCell(text)
			}
			cells[i] = text
		}
		if err := out.Write(cells); err != nil {
			return err
		}
	}
	out.Flush()
	return out.Error()
}

// harmlessCell keeps a spreadsheet from running text as a formula.
func harmlessCell(text string) string {
	if strings.IndexAny(text, "=+-@\t\r\n") == 0 {
		return "'" + text
	}
	return text
}

// csvValue is a value of a report as a cell.
func csvValue(v any) string {
	if v == nil {
		return ""
	}
	return fmt.Sprint(v)
}
