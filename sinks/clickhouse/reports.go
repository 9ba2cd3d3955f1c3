package clickhouse

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/tillstream/tillstream/schemas"
)

// Plot says which picture suits a report.
type Plot string

// The pictures.
const (
	PlotNone Plot = ""
	PlotLine Plot = "line" // values over time
	PlotBars Plot = "bars" // values of things side by side
)

// A Report answers one question about the history with one parameterised view.
type Report struct {
	Name       string // as the command takes it
	Title      string // the question
	View       string // takes environment, store, since and until
	Definition string // what its columns mean and what it counts
	// Plot with its columns: X along the axis, Y the value, Series tells rows apart that must not be joined (always the
	// currency where Y is money).
	Plot   Plot
	X, Y   string
	Series []string

	order string
}

// reports are in the order in which they are listed: money, orders, subscriptions, the CRM, health.
var reports = []Report{
	{Name: "revenue", Title: "Gross, refunds and net by month", View: "v_revenue", Plot: PlotBars, X: "month", Y: "net", Series: []string{"store", "kind", "currency"}, order: "month, store, kind, currency"},
	{Name: "revenue-days", Title: "Gross, refunds and net by day", View: "v_revenue_days", Plot: PlotLine, X: "day", Y: "net", Series: []string{"store", "currency"}, order: "day, store, currency"},
	{Name: "revenue-by-tag", Title: "Revenue by tag of the customer", View: "v_revenue_by_tag", Plot: PlotBars, X: "tag", Y: "net", Series: []string{"currency"}, order: "currency, net DESC, tag"},
	{Name: "revenue-by-order-tag", Title: "Revenue by tag of the order", View: "v_revenue_by_order_tag", Plot: PlotBars, X: "tag", Y: "net", Series: []string{"currency"}, order: "currency, net DESC, tag"},
	{Name: "mrr", Title: "Monthly recurring revenue: open, new, changed, lost", View: "v_mrr", Plot: PlotLine, X: "month", Y: "mrr_at_end", Series: []string{"store", "currency"}, order: "store, currency, month"},
	{Name: "recovery", Title: "Failed payments that came after all, and the money saved", View: "v_recovery", Plot: PlotBars, X: "month", Y: "saved", Series: []string{"store", "currency"}, order: "month, store, currency"},
	{Name: "failures", Title: "Failed payments by reason", View: "v_failures", Plot: PlotBars, X: "reason", Y: "failures", Series: []string{"month", "store", "currency"}, order: "month, store, failures DESC, reason, currency"},
	{Name: "disputes", Title: "Disputes by reason, and how they ended", View: "v_disputes", Plot: PlotBars, X: "reason", Y: "disputes", Series: []string{"month", "store", "currency"}, order: "month, store, disputes DESC, reason, currency"},
	{Name: "disputes-by-product", Title: "Disputes by product", View: "v_disputes_by_product", Plot: PlotBars, X: "product", Y: "disputes", Series: []string{"store", "currency"}, order: "disputes DESC, product, store, currency"},
	{Name: "capture-time", Title: "Time from approval to capture, and what was never captured", View: "v_capture_time", Plot: PlotBars, X: "month", Y: "seconds_p90", Series: []string{"store"}, order: "month, store"},
	{Name: "funnel", Title: "How far orders come: created, approved, captured, refunded", View: "v_funnel", Plot: PlotBars, X: "name", Y: "orders", Series: []string{"store"}, order: "store, step"},
	{Name: "churn", Title: "Subscriptions that began and ended, by month", View: "v_churn", Plot: PlotLine, X: "month", Y: "active_at_end", Series: []string{"store"}, order: "store, month"},
	{Name: "cohorts", Title: "What buyers pay, by month of their first payment", View: "v_cohorts", Plot: PlotLine, X: "months", Y: "net_per_buyer", Series: []string{"cohort", "currency"}, order: "cohort, currency, months"},
	{Name: "delivery", Title: "How well the CRM takes what it is sent, by hour", View: "v_delivery", Plot: PlotLine, X: "hour", Y: "ms_p95", Series: []string{"destination"}, order: "hour, destination"},
	{Name: "crm-delay", Title: "How long until the customer is in the CRM", View: "v_crm_delay", Plot: PlotLine, X: "day", Y: "seconds_p90", Series: []string{"store", "destination"}, order: "day, store, destination"},
	{Name: "event-quality", Title: "How messy the providers send: repeats, late, out of order", View: "v_event_quality", Plot: PlotBars, X: "event_type", Y: "repeats", Series: []string{"store"}, order: "store, event_type"},
	{Name: "triggers", Title: "Triggers that fired", View: "v_triggers", Plot: PlotBars, X: "trigger", Y: "effects", Series: []string{"destination"}, order: "effects DESC, trigger, destination"},
	{Name: "rules", Title: "Mappings and workflows, and which of them did nothing", View: "v_rules", Plot: PlotBars, X: "rule", Y: "contacts", order: "silent DESC, contacts DESC, rule"},
	{Name: "waits", Title: "How waits ended: met, not met, corrected, overdue, and the time to met", View: "v_wait_outcomes", Plot: PlotBars, X: "workflow", Y: "waits", Series: []string{"day", "store", "step", "shadow"}, order: "day, store, workflow, step, shadow"},
	{Name: "runs", Title: "Runs of workflows, and how they stand", View: "v_workflow_runs", Plot: PlotBars, X: "workflow", Y: "runs", Series: []string{"store", "shadow"}, order: "workflow, store, shadow"},
	{Name: "branches", Title: "How often each branch of a workflow was taken", View: "v_branches", Plot: PlotBars, X: "step", Y: "times", Series: []string{"workflow", "branch", "shadow"}, order: "workflow, step, branch, shadow"},
	{Name: "held", Title: "What workflows held back, or could not do", View: "v_held", Plot: PlotBars, X: "workflow", Y: "times", Series: []string{"step", "kind", "destination"}, order: "times DESC, workflow, step, kind, destination"},
	{Name: "given-up", Title: "What could not be processed, by cause", View: "v_given_up", Plot: PlotBars, X: "cause", Y: "letters", Series: []string{"stage"}, order: "letters DESC, stage, cause"},
}

// comments finds the definition of each view in its migration, the one place where it stands.
var comments = regexp.MustCompile(`(?s)^CREATE OR REPLACE VIEW (\w+)\s+COMMENT '((?:[^']|'')*)' AS`)

// Reports lists every report with its definition. The error says that the binary was built from migrations that lack one.
func Reports() ([]Report, error) {
	all, err := migrations()
	if err != nil {
		return nil, err
	}
	said := map[string]string{}
	for _, m := range all {
		for _, st := range m.list {
			if at := strings.Index(st.text, "CREATE OR REPLACE VIEW"); at >= 0 {
				if found := comments.FindStringSubmatch(st.text[at:]); found != nil {
					said[found[1]] = strings.ReplaceAll(found[2], "''", "'")
				}
			}
		}
	}
	list := slices.Clone(reports)
	for i := range list {
		if list[i].Definition = said[list[i].View]; list[i].Definition == "" {
			return nil, fmt.Errorf("report %s: no migration defines %s with a comment", list[i].Name, list[i].View)
		}
	}
	return list, nil
}

// ErrNoReport is returned for a name that no report has.
var ErrNoReport = errors.New("no such report")

// ReportFilter is what a report is asked about. Times are cut to the second.
type ReportFilter struct {
	Environment schemas.Environment // empty: live
	Store       string              // configured name of the connection; empty: all
	Currency    string              // empty: all, a row each; without effect on reports about no money
	Since       time.Time           // zero: from the beginning
	Until       time.Time           // not part of it; zero: to the end
	Rows        int                 // at the most; 0: RowsDefault
}

// The ends of time as ClickHouse can hold them.
var (
	firstDay = time.Date(1970, 1, 2, 0, 0, 0, 0, time.UTC)
	lastDay  = time.Date(2299, 1, 1, 0, 0, 0, 0, time.UTC)
)

// reportMemoryBytes bounds one report on the server.
const reportMemoryBytes = 3 << 30

// Report runs one report in read-only mode.
func (s *Store) Report(ctx context.Context, r Report, f ReportFilter) (Result, error) {
	res, err := s.Query(ctx, r.SQL(f), Limits{Rows: f.Rows, Time: 2 * TimeDefault, Memory: reportMemoryBytes})
	if c := serverCode(err); c == codeUnknownFunction || c == codeUnknownTable {
		return res, fmt.Errorf("report %s: the database has no view %s: let a process of this version write to it once ('tillstream run'), which makes it: %w", r.Name, r.View, err)
	}
	if err != nil {
		return res, fmt.Errorf("report %s: %w", r.Name, err)
	}
	return res, nil
}

const codeUnknownFunction = 46

func serverCode(err error) int32 {
	var e *ServerError
	if errors.As(err, &e) {
		return e.Code
	}
	return 0
}

// SQL is the statement that Report runs, for whoever wants to go on from it.
func (r Report) SQL(f ReportFilter) string {
	sql := "SELECT * FROM " + r.call(f)
	if f.Currency != "" && r.Money() {
		sql += " WHERE currency = " + literal(f.Currency)
	}
	return sql + " ORDER BY " + r.order
}

// call is the view with its parameters.
func (r Report) call(f ReportFilter) string {
	if f.Environment == "" {
		f.Environment = schemas.Live
	}
	if f.Since.Before(firstDay) {
		f.Since = firstDay
	}
	if f.Until.IsZero() || f.Until.After(lastDay) {
		f.Until = lastDay
	}
	return fmt.Sprintf("%s(environment = %s, store = %s, since = %s, until = %s)", r.View,
		literal(string(f.Environment)), literal(f.Store), literal(f.Since.UTC().Format(time.DateTime)), literal(f.Until.UTC().Format(time.DateTime)))
}

// Money tells whether the report has money in it, and so a column currency.
func (r Report) Money() bool { return slices.Contains(r.Series, "currency") }

var escapes = strings.NewReplacer(`\`, `\\`, `'`, `\'`)

// literal is text as a string of ClickHouse.
func literal(text string) string { return "'" + escapes.Replace(text) + "'" }
