package cli

import (
	"cmp"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/tillstream/tillstream/connectors/generic"
	"github.com/tillstream/tillstream/pipeline/intake"
	"github.com/tillstream/tillstream/schemas"
)

// imported is what the flags of import say.
type imported struct {
	file, dir, format, delimiter, zone, rejects string
	columns, fixed, layouts                     []string
	decimalComma, dryRun, live                  bool
}

const (
	formatCSV    = "csv"
	formatNDJSON = "ndjson"
	// reasonsShown is how many wrong records are shown; the file of rejected ones has all.
	reasonsShown = 10
	progressRest = 200 * time.Millisecond
)

func (p Process) importCommand() *cobra.Command {
	var i imported
	c := &cobra.Command{
		Use:   "import CONNECTION FILE [--format csv|ndjson] [--map COLUMN=FIELD]... [--dry-run] [--live]",
		Short: "Load a shop's history from a table or from lines of JSON",
		Long: `Reads a table (CSV with a header) or one JSON object a line and keeps each record as the connection's webhooks are kept. The
connection must be one of the connector generic; its statuses and ordering hold here, too. Columns whose names are fields
(order_id, status, occurred_at, amount, currency, customer.email, ...) need no --map; others are kept as data.metadata.NAME.

The records are counted and checked first. Each that is wrong is written to a file with its line and the reason, and the
others are kept. The events are marked as history: no message is sent for them and no list changed, unless --live is
given. Importing the same again doubles nothing, so that an import that was cut short is simply begun anew.`,
		Args: usage(cobra.ExactArgs(2)),
		RunE: func(c *cobra.Command, args []string) error {
			i.file = args[1]
			b, err := p.bringer(i.dir, args[0])
			if err != nil {
				return err
			}
			if b.o.Origin = schemas.OriginBackfill; i.live {
				b.o.Origin = schemas.OriginWebhook
			}
			return b.importFile(c.Context(), i)
		},
	}
	f := c.Flags()
	f.StringVar(&i.dir, "config", "config", "folder of the configuration")
	f.StringVar(&i.format, "format", "", "csv or ndjson (default: by the file's ending)")
	f.StringArrayVar(&i.columns, "map", nil, "COLUMN=FIELD: what a column holds; COLUMN=- leaves it out")
	f.StringArrayVar(&i.fixed, "set", nil, "FIELD=VALUE: what is the same in each row, for example currency=EUR")
	f.StringVar(&i.delimiter, "delimiter", "", "between the cells of a table (default: found in the header)")
	f.StringArrayVar(&i.layouts, "time-layout", nil, "how times are written, for example \"DD.MM.YYYY HH:mm\", unix or unix_ms (ISO 8601 is always read)")
	f.StringVar(&i.zone, "time-zone", "", "zone of times that are written without one, for example Europe/Warsaw or UTC")
	f.BoolVar(&i.decimalComma, "decimal-comma", false, "amounts are written as 1.234,56")
	f.StringVar(&i.rejects, "rejects", "", "file for the records that are wrong (default: beside FILE)")
	f.BoolVar(&i.dryRun, "dry-run", false, "only count and check")
	f.BoolVar(&i.live, "live", false, "treat the events as happening now: messages are sent, lists changed")
	return c
}

func usageError(format string, args ...any) error {
	return &codedError{ExitUsage, fmt.Errorf(format, args...)}
}

// complete fills in the defaults, and says what makes no sense.
func (i *imported) complete() error {
	if i.format == "" {
		switch strings.ToLower(filepath.Ext(i.file)) {
		case ".csv", ".tsv":
			i.format = formatCSV
		case ".ndjson", ".jsonl":
			i.format = formatNDJSON
		default:
			return usageError("the name of %s does not say what it is; give --format csv or --format ndjson", i.file)
		}
	}
	if i.format != formatCSV && i.format != formatNDJSON {
		return usageError("--format %q: use csv or ndjson", i.format)
	}
	table := len(i.columns)+len(i.fixed)+len(i.layouts) > 0 || i.delimiter != "" || i.zone != "" || i.decimalComma
	if i.format == formatNDJSON && table {
		return usageError("--map, --set, --delimiter, --time-layout, --time-zone and --decimal-comma are for tables; where a JSON holds what is for the connection's fields to say")
	}
	return nil
}

// table is how the flags want a table read.
func (i *imported) table() (intake.Table, error) {
	t := intake.Table{
		Known: generic.Names(), Columns: map[string]string{}, Fixed: map[string]string{}, DecimalComma: i.decimalComma, MediaType: generic.OrderMediaType,
	}
	for flag, pairs := range map[string]struct {
		list []string
		into map[string]string
	}{"map": {i.columns, t.Columns}, "set": {i.fixed, t.Fixed}} {
		for _, text := range pairs.list {
			// A column's name may hold an equals sign, a field's none: the last one divides a map, the first one a set.
			at := strings.LastIndex(text, "=")
			if flag == "set" {
				at = strings.Index(text, "=")
			}
			if at <= 0 || at == len(text)-1 {
				return t, usageError("--%s %q: write NAME=VALUE", flag, text)
			}
			pairs.into[text[:at]] = text[at+1:]
		}
	}
	if d, size := utf8.DecodeRuneInString(strings.NewReplacer(`\t`, "\t").Replace(i.delimiter)); i.delimiter != "" {
		if d == utf8.RuneError || d == '"' || d == '\n' || d == '\r' || size < len(i.delimiter) && i.delimiter != `\t` {
			return t, usageError("--delimiter %q: give one character, or \\t", i.delimiter)
		}
		t.Delimiter = d
	}
	for _, layout := range i.layouts {
		t.TimeLayouts = append(t.TimeLayouts, intake.Layout(layout))
	}
	if i.zone != "" {
		zone, err := time.LoadLocation(i.zone)
		if err != nil {
			return t, usageError("--time-zone %q is none that this machine knows; write it as Europe/Warsaw, or UTC", i.zone)
		}
		t.Zone = zone
	}
	return t, nil
}

// historyFile is the file, opened anew for each pass.
type historyFile struct {
	intake.Reader
	file *os.File
	rows *intake.Rows // nil: lines
}

func (i *imported) open() (historyFile, error) {
	f, err := os.Open(i.file)
	if err != nil {
		return historyFile{}, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is no file; it is read twice, first to count", i.file)
	}
	if err != nil {
		f.Close()
		return historyFile{}, err
	}
	if i.format == formatNDJSON {
		return historyFile{intake.NewLines(f, bodyHeaders), f, nil}, nil
	}
	t, err := i.table()
	if err != nil {
		f.Close()
		return historyFile{}, err
	}
	rows, err := intake.NewRows(f, t)
	if err != nil {
		f.Close()
		return historyFile{}, fmt.Errorf("%s: %w; say what columns hold with --map COLUMN=FIELD or --set FIELD=VALUE", i.file, err)
	}
	return historyFile{rows, f, rows}, nil
}

// counted is what counting found.
type counted struct {
	intake.Totals
	statuses    map[string]int
	first, last time.Time
	reasons     []string
}

func (f *counted) add(r intake.Result) {
	if r.Err != nil {
		if len(f.reasons) < reasonsShown {
			f.reasons = append(f.reasons, fmt.Sprintf("line %d: %v", r.Line, r.Err))
		}
		return
	}
	for _, e := range r.Events {
		word := string(e.Status)
		if e.Status == schemas.StatusUnknown && !e.Deleted {
			word += fmt.Sprintf(" (%q: say what it means under statuses)", e.ProviderStatus)
		}
		if _, known := f.statuses[word]; known || len(f.statuses) < 100 {
			f.statuses[word]++
		}
		if f.first.IsZero() || e.ProviderTime.Before(f.first) {
			f.first = e.ProviderTime
		}
		if e.ProviderTime.After(f.last) {
			f.last = e.ProviderTime
		}
	}
}

// print tells what an import would do.
func (f *counted) print(w io.Writer, file string) {
	fmt.Fprintf(w, "%s: %d records, %d good, %d wrong\n", file, f.Read, f.Good, f.Rejected)
	if f.Good > 0 {
		fmt.Fprintf(w, "  from %s to %s\n", f.first.Format(time.DateOnly), f.last.Format(time.DateOnly))
	}
	words := slices.SortedFunc(maps.Keys(f.statuses), func(a, b string) int {
		return cmp.Or(f.statuses[b]-f.statuses[a], strings.Compare(a, b))
	})
	for _, word := range words {
		fmt.Fprintf(w, "  %7d %s\n", f.statuses[word], word)
	}
	for _, reason := range f.reasons {
		fmt.Fprintln(w, "  "+reason)
	}
	if more := f.Rejected - len(f.reasons); more > 0 {
		fmt.Fprintf(w, "  and %d more\n", more)
	}
}

func (b *bringer) importFile(ctx context.Context, i imported) error {
	if err := i.complete(); err != nil {
		return err
	}
	src, err := i.open()
	if err != nil {
		return err
	}
	f := counted{statuses: map[string]int{}}
	shown := b.rowMeter("checked", 0)
	f.Totals, err = intake.Run(ctx, src, b.o, func(r intake.Result) error {
		f.add(r)
		shown.step()
		return nil
	})
	shown.end()
	src.file.Close()
	if err != nil {
		return fmt.Errorf("%s: %w; nothing was sent", i.file, err)
	}
	f.print(b.Stdout, i.file)
	switch {
	case i.dryRun && f.Rejected > 0:
		return fmt.Errorf("%d of %d records are wrong; nothing was sent", f.Rejected, f.Read)
	case i.dryRun || f.Read == 0:
		fmt.Fprintln(b.Stdout, "nothing was sent")
		return nil
	}
	closer, err := b.keeping(ctx)
	if err != nil {
		return fmt.Errorf("nothing was sent: %w", err)
	}
	defer closer()
	return b.land(ctx, i, f.Totals)
}

// land keeps the records.
func (b *bringer) land(ctx context.Context, i imported, counted intake.Totals) error {
	src, err := i.open()
	if err != nil {
		return err
	}
	defer src.file.Close()
	rejects := &rejectFile{imported: i, rows: src.rows}
	if counted.Rejected > 0 {
		if err := rejects.create(); err != nil {
			return fmt.Errorf("nothing was sent: %w", err)
		}
	}
	shown := b.rowMeter("done", counted.Read)
	done, err := intake.Run(ctx, src, b.o, func(r intake.Result) error {
		shown.step()
		if r.Outcome == intake.Rejected {
			return rejects.add(r)
		}
		return nil
	})
	shown.end()
	err = errors.Join(err, rejects.close())
	if err != nil {
		return fmt.Errorf("%d of %d records are kept; import the same again, what is kept is recognised: %w", done.Kept, counted.Read, err)
	}
	word := "as history"
	if i.live {
		word = "as happening now"
	}
	fmt.Fprintf(b.Stdout, "%d records are kept %s\n", done.Kept, word)
	if done.Rejected > 0 {
		return fmt.Errorf("%d records are wrong and were left out; mend them in %s and import that file", done.Rejected, rejects.file.Name())
	}
	return nil
}

// rejectFile takes the records that are wrong, with line and reason, in the form in which they came: mended, it can be
// imported.
type rejectFile struct {
	imported
	rows  *intake.Rows // nil: lines of JSON
	file  *os.File
	table *csv.Writer
}

// rejectFilesMax bounds the search for a name that is free.
const rejectFilesMax = 1000

// create never writes over a file: an earlier one may have been mended by hand.
func (f *rejectFile) create() error {
	base := strings.TrimSuffix(f.imported.file, filepath.Ext(f.imported.file)) + ".rejected"
	for n := 1; f.file == nil; n++ {
		name := fmt.Sprintf("%s-%d.%s", base, n, f.format)
		switch {
		case f.rejects != "":
			name = f.rejects
		case n == 1:
			name = base + "." + f.format
		}
		var err error
		// What stands in it is personal.
		f.file, err = os.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o600)
		if err != nil && (!errors.Is(err, os.ErrExist) || f.rejects != "" || n == rejectFilesMax) {
			return fmt.Errorf("file for rejected records: %w; name another with --rejects", err)
		}
	}
	if f.rows == nil {
		return nil
	}
	f.table = csv.NewWriter(f.file)
	f.table.Comma = f.rows.Delimiter()
	return f.table.Write(append(f.own(f.rows.Header()), intake.OwnColumns+"line", intake.OwnColumns+"reason"))
}

func (f *rejectFile) add(r intake.Result) error {
	reason := r.Err.Error()
	if f.file == nil {
		if err := f.create(); err != nil {
			return err
		}
	}
	if f.rows != nil {
		cells := f.own(r.Cells)
		for len(cells) < len(f.own(f.rows.Header())) {
			cells = append(cells, "")
		}
		return f.table.Write(append(cells, strconv.Itoa(r.Line), reason))
	}
	line, err := json.Marshal(map[string]any{intake.OwnColumns + "line": r.Line, intake.OwnColumns + "reason": reason})
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(f.file, "%s\n%s\n", line, r.Raw)
	return err
}

// own are the cells without those that an earlier file of rejected rows had added.
func (f *rejectFile) own(cells []string) []string {
	var out []string
	header := f.rows.Header()
	for i, cell := range cells {
		if i >= len(header) || !strings.HasPrefix(header[i], intake.OwnColumns) {
			out = append(out, cell)
		}
	}
	return out
}

func (f *rejectFile) close() error {
	if f.file == nil {
		return nil
	}
	var err error
	if f.table != nil {
		f.table.Flush()
		err = f.table.Error()
	}
	return errors.Join(err, f.file.Close())
}

// rowMeter shows on a terminal how far it is.
type rowMeter struct {
	p           Process
	word        string
	done, total int
	shown       time.Time
	terminal    bool
}

func (p Process) rowMeter(word string, total int) *rowMeter {
	return &rowMeter{p: p, word: word, total: total, terminal: isTerminal(p.Stderr)}
}

func (g *rowMeter) step() {
	g.done++
	if !g.terminal || g.p.Now().Sub(g.shown) < progressRest {
		return
	}
	g.shown = g.p.Now()
	of := ""
	if g.total > 0 {
		of = fmt.Sprintf(" of %d (%d %%)", g.total, 100*g.done/g.total)
	}
	fmt.Fprintf(g.p.Stderr, "\r\x1b[K%d%s %s", g.done, of, g.word)
}

// end clears the line.
func (g *rowMeter) end() {
	if g.terminal && !g.shown.IsZero() {
		fmt.Fprint(g.p.Stderr, "\r\x1b[K")
	}
}
