package cli

import (
	"io"

	"github.com/tillstream/tillstream/api"
	chsink "github.com/tillstream/tillstream/sinks/clickhouse"
)

// writeCSV writes RFC 4180. A cell that a spreadsheet would run as a formula gets an apostrophe in front.
func writeCSV(w io.Writer, r chsink.Result) error {
	header := make([]string, len(r.Columns))
	for i, c := range r.Columns {
		header[i] = c.Name
	}
	return api.WriteCSV(w, header, len(r.Rows), func(row, column int) (string, bool) {
		_, text := r.Rows[row][column].(string)
		return cell(r.Rows[row][column]), text
	})
}
