package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/shopspring/decimal"
	"github.com/spf13/cobra"

	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/schemas/money"
	chsink "github.com/tillstream/tillstream/sinks/clickhouse"
)

// reportAsked is what the command is told.
type reportAsked struct {
	target
	since, until, store, environment, currency, format string
	list, all, noPlot                                  bool
	rows                                               int
}

func (p Process) reportCommand() *cobra.Command {
	var a reportAsked
	c := &cobra.Command{
		Use:   "report NAME",
		Short: "Answer one of the usual questions: revenue, recovery, churn, funnel, delivery ... (--list names them)",
		Long: `Answers one question about the history; --list names them with what each counts. Sandbox and test events never count as live ones,
and money is never added over currencies. --all --format html writes one page that needs nothing else:

  tillstream report revenue --since 2026-01-01 --currency EUR
  tillstream report --all --since 90d --format html > reports.html`,
		Args: usage(cobra.MaximumNArgs(1)),
		RunE: func(c *cobra.Command, args []string) error { return p.report(c, args, a) },
	}
	a.target.flags(c)
	f := c.Flags()
	f.BoolVar(&a.list, "list", false, "name the reports, with what each counts")
	f.BoolVar(&a.all, "all", false, "every report")
	f.StringVar(&a.since, "since", "", "begin: 24h, 30d, 2026-11-01, or 2026-11-01T12:00:00Z (default: the first event)")
	f.StringVar(&a.until, "until", "", "end, like --since, not part of it (default: the last event)")
	f.StringVar(&a.store, "store", "", "name of one connection (default: all, told apart)")
	f.StringVar(&a.environment, "environment", string(schemas.Live), "live or sandbox")
	f.StringVar(&a.currency, "currency", "", "one currency, for example EUR (default: all, told apart)")
	f.StringVar(&a.format, "format", "table", "table, csv, json (a line per row) or html")
	f.BoolVar(&a.noPlot, "no-plot", false, "the table without its picture")
	f.IntVar(&a.rows, "rows", chsink.RowsDefault, "rows at the most, of each report")
	return c
}

// filter checks what was asked.
func (a reportAsked) filter(now time.Time) (f chsink.ReportFilter, err error) {
	wrong := func(format string, args ...any) (chsink.ReportFilter, error) {
		return f, &codedError{ExitUsage, fmt.Errorf(format, args...)}
	}
	f = chsink.ReportFilter{Environment: schemas.Environment(a.environment), Store: a.store, Currency: strings.ToUpper(a.currency), Rows: a.rows}
	if f.Environment != schemas.Live && f.Environment != schemas.Sandbox {
		return wrong("--environment %q: use live or sandbox", a.environment)
	}
	if !slices.Contains([]string{"table", "csv", "json", "html"}, a.format) {
		return wrong("--format %q: use table, csv, json or html", a.format)
	}
	if a.all && (a.format == "csv" || a.format == "json") {
		return wrong("--all has no one %s: reports have different columns; ask for one by name, or use --format html", a.format)
	}
	for _, end := range []struct {
		flag, text string
		into       *time.Time
	}{{"since", a.since, &f.Since}, {"until", a.until, &f.Until}} {
		if end.text == "" {
			continue
		}
		if *end.into, _, err = parseWhen(end.text, now); err != nil {
			return wrong("--%s %q: %w", end.flag, end.text, err)
		}
	}
	if !f.Until.IsZero() && !f.Since.Before(f.Until) {
		return wrong("--since lies after --until")
	}
	return f, nil
}

func (p Process) report(c *cobra.Command, args []string, a reportAsked) error {
	known, err := chsink.Reports()
	if err != nil {
		return err
	}
	if a.list {
		return listReports(c.OutOrStdout(), known, a.format)
	}
	f, err := a.filter(p.Now())
	if err != nil {
		return err
	}
	switch {
	case a.all && len(args) > 0:
		return &codedError{ExitUsage, errors.New("name one report, or say --all")}
	case !a.all && len(args) == 0:
		return &codedError{ExitUsage, errors.New("which report? 'tillstream report --list' names them; --all takes every one")}
	case !a.all:
		i := slices.IndexFunc(known, func(r chsink.Report) bool { return r.Name == args[0] })
		if i < 0 {
			return &codedError{ExitUsage, fmt.Errorf("there is no report %q; 'tillstream report --list' names them", args[0])}
		}
		known = known[i : i+1]
	}
	store, err := p.open(c.Context(), a.target)
	if err != nil {
		return err
	}
	defer store.Close()
	var answers []answer
	for _, r := range known {
		res, err := store.Report(c.Context(), r, f)
		if err != nil {
			return unreachable(err)
		}
		days(res)
		answers = append(answers, answer{r, res})
	}
	return a.write(c, p.Now(), f, answers)
}

// answer is a report with its rows.
type answer struct {
	chsink.Report
	chsink.Result
}

func (a reportAsked) write(c *cobra.Command, now time.Time, f chsink.ReportFilter, answers []answer) error {
	out := c.OutOrStdout()
	for _, one := range answers {
		if one.Truncated && a.format != "html" {
			fmt.Fprintf(c.ErrOrStderr(), "report %s has more rows; raise --rows\n", one.Name)
		}
	}
	if a.format == "table" || a.format == "html" {
		for _, one := range answers {
			amounts(one.Result)
		}
	}
	switch a.format {
	case "html":
		return writePage(out, now, f, answers)
	case "csv", "json":
		return printResult(out, chsink.Result{Columns: answers[0].Columns, Rows: answers[0].Rows}, a.format)
	}
	for i, one := range answers {
		if i > 0 {
			fmt.Fprintln(out)
		}
		if err := printAnswer(out, one, !a.noPlot); err != nil {
			return err
		}
	}
	return nil
}

// days turns values of days, which have no time, into their text.
func days(r chsink.Result) {
	for i, c := range r.Columns {
		if c.Type != "Date" && c.Type != "Date32" {
			continue
		}
		for _, row := range r.Rows {
			if at, ok := row[i].(time.Time); ok {
				row[i] = at.UTC().Format(time.DateOnly)
			}
		}
	}
}

// amount is money as people write it: with all digits of its currency.
type amount struct {
	value  decimal.Decimal
	digits int32
}

func (a amount) String() string {
	if a.value.Equal(a.value.Round(a.digits)) {
		return a.value.StringFixed(a.digits)
	}
	return a.value.String()
}

// amounts gives money the digits of its row's currency.
func amounts(r chsink.Result) {
	of := column(r, "currency")
	if of < 0 {
		return
	}
	for _, row := range r.Rows {
		currency, err := money.ParseCurrency(cell(row[of]))
		if err != nil {
			continue
		}
		for i, v := range row {
			if d, ok := v.(decimal.Decimal); ok {
				row[i] = amount{d, money.Exponent("", currency)}
			}
		}
	}
}

func listReports(w io.Writer, known []chsink.Report, format string) error {
	if format == "json" {
		enc := json.NewEncoder(w)
		for _, r := range known {
			if err := enc.Encode(map[string]string{"name": r.Name, "title": r.Title, "definition": r.Definition, "view": r.View}); err != nil {
				return err
			}
		}
		return nil
	}
	for _, r := range known {
		fmt.Fprintf(w, "%-15s %s\n", r.Name, r.Title)
		for _, line := range folded(r.Definition, reportWidth-16) {
			fmt.Fprintf(w, "%-15s %s\n", "", line)
		}
	}
	return nil
}

// reportWidth is the width of text and pictures in characters.
const reportWidth = 100

func folded(text string, width int) (lines []string) {
	line := ""
	for _, word := range strings.Fields(text) {
		if line != "" && len(line)+1+len(word) > width {
			lines, line = append(lines, line), ""
		}
		line = strings.TrimSpace(line + " " + word)
	}
	return append(lines, line)
}

func printAnswer(w io.Writer, a answer, plot bool) error {
	fmt.Fprintf(w, "%s: %s\n", a.Name, a.Title)
	for _, line := range folded(a.Definition, reportWidth) {
		fmt.Fprintln(w, line)
	}
	if len(a.Rows) == 0 {
		_, err := fmt.Fprintln(w, "\nThere is nothing of it in this span. (--environment sandbox looks at the other world; --store and --currency may leave everything out.)")
		return err
	}
	fmt.Fprintln(w)
	tw := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	for i, c := range a.Columns {
		fmt.Fprintf(tw, "%s%s", tab(i), c.Name)
	}
	for _, row := range a.Rows {
		fmt.Fprintln(tw)
		for i, v := range row {
			fmt.Fprintf(tw, "%s%s", tab(i), printable(v))
		}
	}
	fmt.Fprintln(tw)
	if err := tw.Flush(); err != nil {
		return err
	}
	if plot {
		return plotText(w, a)
	}
	return nil
}

func tab(i int) string {
	if i == 0 {
		return ""
	}
	return "\t"
}

// printable is a value for a terminal: what a provider wrote must not steer it.
func printable(v any) string {
	if v == nil {
		return "-"
	}
	return shorten(harmless(cell(v)), 60)
}

// harmless replaces what a terminal would obey.
func harmless(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return unicode.ReplacementChar
	}, text)
}
