package cli

import (
	"encoding/csv"
	"io"
	"strings"

	chsink "github.com/tillstream/tillstream/sinks/clickhouse"
)

// writeCSV writes RFC 4180. A cell that a spreadsheet would run as a formula gets an apostrophe in front.
func writeCSV(w io.Writer, r chsink.Result) error {
	out := csv.NewWriter(w)
	header := make([]string, len(r.Columns))
	for i, c := range r.Columns {
		header[i] = c.Name
	}
	if err := out.Write(header); err != nil {
		return err
	}
	for _, row := range r.Rows {
		cells := make([]string, len(row))
		for i, v := range row {
			cells[i] = cell(v)
			if _, text := v.(string); text && strings.IndexAny(cells[i], "=+-@\t\r") == 0 {
				cells[i] = "'" + cells[i]
			}
		}
		if err := out.Write(cells); err != nil {
			return err
		}
	}
	out.Flush()
	return out.Error()
}
