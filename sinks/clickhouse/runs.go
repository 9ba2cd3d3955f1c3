package clickhouse

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	clickhouse "github.com/ClickHouse/clickhouse-go/v2"

	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/schemas/past"
)

// WaitState is what package past tells.
type WaitState = past.WaitState

// The states of a wait.
const (
	WaitOpen    WaitState = "OPEN"
	WaitMet     WaitState = "MET"
	WaitNotMet  WaitState = "NOT_MET"
	WaitCorrect WaitState = "CORRECTED" // counted as not met; what came late had happened in time
	WaitStopped WaitState = "STOPPED"   // its run ended before it
)

// WaitStates are all of them.
var WaitStates = []WaitState{WaitOpen, WaitMet, WaitNotMet, WaitCorrect, WaitStopped}

// Wait is what package past tells.
type Wait = past.Wait

// WaitFilter says which waits are meant. Empty parts mean any.
type WaitFilter struct {
	ID       string
	Workflow string
	// Contact is an e-mail address or a contact key; Order an order's id or root key.
	Contact, Order string
	State          WaitState
	DueBefore      time.Time // deadline; waits without end are none of them
	// After is the cursor of the page before; Limit at most WaitsPageMax, 0: WaitsPageDefault.
	After string
	Limit int

	runs []string // of these runs only
}

// Bounds of pages.
const (
	WaitsPageDefault = 100
	WaitsPageMax     = 1000
)

// WaitPage is what package past tells.
type WaitPage = past.WaitPage

// ErrFilter is returned for a filter that cannot be; its message says why.
var ErrFilter = errors.New("filter")

// ErrNoRuns is returned where the database has no table of runs yet.
var ErrNoRuns = errors.New("the database has no runs: let a process of this version write to it once ('tillstream run'), which makes the table")

// never stands for the deadline of a wait without end, so that it sorts behind all others.
const never = int64(1) << 60

// condition renders the filter.
func (f WaitFilter) condition() (where string, params []any, err error) {
	parts := []string{"1"}
	add := func(part, name string, value any) {
		parts, params = append(parts, part), append(params, clickhouse.Named(name, value))
	}
	for _, text := range []string{f.ID, f.Workflow, f.Contact, f.Order, f.After} {
		if len(text) > idBytesMax {
			return "", nil, fmt.Errorf("%w: an id or name is longer than %d bytes", ErrFilter, idBytesMax)
		}
	}
	if f.ID != "" {
		add("run_id IN (SELECT run_id FROM run_steps WHERE wait_id = @wait) AND wait_id = @wait", "wait", f.ID)
	}
	if f.Workflow != "" {
		add("workflow = @workflow", "workflow", f.Workflow)
	}
	if f.Contact != "" {
		keys := contactKeys(strings.TrimSpace(f.Contact))
		if len(keys) == 0 {
			return "", nil, fmt.Errorf("%w: contact %q is no e-mail address and no contact key such as live/ann@example.com", ErrFilter, f.Contact)
		}
		add("contact_key IN @contacts", "contacts", set(keys))
	}
	if f.Order != "" {
		add("run_id IN (SELECT run_id FROM run_steps WHERE root_key = @order OR endsWith(root_key, @ending))", "order", f.Order)
		params = append(params, clickhouse.Named("ending", "/"+f.Order))
	}
	if len(f.runs) > 0 {
		add("run_id IN @runs", "runs", set(f.runs))
	}
	if f.State != "" {
		if !slices.Contains(WaitStates, f.State) {
			return "", nil, fmt.Errorf("%w: state %q: use open, met, not_met, corrected or stopped", ErrFilter, f.State)
		}
		add("state = @state", "state", string(f.State))
		if f.State == WaitOpen { // only a run that is not over has an open wait; looking for those first reads two columns
			parts = append(parts, "run_id IN (SELECT run_id FROM run_steps GROUP BY run_id HAVING NOT max(kind IN ('ENDED', 'STOPPED')))")
		}
	}
	if !f.DueBefore.IsZero() {
		add("due < @due", "due", f.DueBefore.UnixMilli())
	}
	if f.After != "" {
		due, id, err := cursorOf(f.After)
		if err != nil {
			return "", nil, err
		}
		add("(due, wait_id) > (@afterdue, @afterid)", "afterdue", due)
		params = append(params, clickhouse.Named("afterid", id))
	}
	return strings.Join(parts, " AND "), params, nil
}

func cursor(due int64, id string) string {
	return base64.RawURLEncoding.EncodeToString([]byte(strconv.FormatInt(due, 10) + "," + id))
}

func cursorOf(text string) (due int64, id string, err error) {
	b, err := base64.RawURLEncoding.DecodeString(text)
	first, id, ok := strings.Cut(string(b), ",")
	due, numberErr := strconv.ParseInt(first, 10, 64)
	if err != nil || !ok || numberErr != nil {
		return 0, "", fmt.Errorf("%w: the cursor is none that was given out; begin without one", ErrFilter)
	}
	return due, id, nil
}

// Waits lists waits. An error about the filter is ErrFilter.
func (s *Store) Waits(ctx context.Context, f WaitFilter) (WaitPage, error) {
	where, params, err := f.condition()
	if err != nil {
		return WaitPage{}, err
	}
	if f.Limit <= 0 {
		f.Limit = WaitsPageDefault
	}
	f.Limit = min(f.Limit, WaitsPageMax)
	ctx, cancel := context.WithTimeout(ctx, TraceTimeout)
	defer cancel()
	rows, err := s.conn.Query(ctx, fmt.Sprintf(`SELECT wait_id, run_id, workflow, workflow_version, config_version, step, contact_key, root_key, origin, test, shadow,
		state, opened_at, opened_detail, deadline, closed_at, decided_by, decided_event, decided_detail, corrected_at,
		if(toUnixTimestamp64Milli(deadline) = 0, toInt64(%d), toUnixTimestamp64Milli(deadline)) AS due
		FROM v_waits WHERE %s ORDER BY due, wait_id LIMIT %d`, never, where, f.Limit+1), params...)
	if err != nil {
		return WaitPage{}, explainRuns(err)
	}
	defer func() { _ = rows.Close() }()
	page := WaitPage{Waits: []Wait{}}
	var last int64
	for rows.Next() {
		if len(page.Waits) == f.Limit {
			page.Next = cursor(last, page.Waits[f.Limit-1].ID)
			break
		}
		var w Wait
		var origin, state string
		if err := rows.Scan(&w.ID, &w.RunID, &w.Workflow, &w.WorkflowVersion, &w.ConfigVersion, &w.Step, &w.ContactKey, &w.RootKey, &origin, &w.Test, &w.Shadow,
			&state, &w.OpenedAt, &w.OpenedDetail, &w.Deadline, &w.ClosedAt, &w.DecidedBy, &w.DecidedEvent, &w.DecidedDetail, &w.CorrectedAt, &last); err != nil {
			return WaitPage{}, fmt.Errorf("read waits: %w", err)
		}
		w.Origin, w.State = schemas.Origin(origin), WaitState(state)
		w.OpenedAt, w.Deadline, w.ClosedAt, w.CorrectedAt = unset(w.OpenedAt), unset(w.Deadline), unset(w.ClosedAt), unset(w.CorrectedAt)
		page.Waits = append(page.Waits, w)
	}
	return page, rows.Err()
}

// CountWaits counts the waits of a filter, whatever its page.
func (s *Store) CountWaits(ctx context.Context, f WaitFilter) (n uint64, err error) {
	f.After = ""
	where, params, err := f.condition()
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, TraceTimeout)
	defer cancel()
	err = s.conn.QueryRow(ctx, fmt.Sprintf(`SELECT count() FROM (SELECT wait_id, if(toUnixTimestamp64Milli(deadline) = 0, toInt64(%d), toUnixTimestamp64Milli(deadline)) AS due
		FROM v_waits WHERE %s)`, never, where), params...).Scan(&n)
	return n, explainRuns(err)
}

func explainRuns(err error) error {
	if c := code(err); c == codeUnknownTable || c == codeUnknownFunction {
		return ErrNoRuns
	}
	if err != nil {
		return explain(err, "run_steps")
	}
	return nil
}

// WorkflowRuns is what package past tells.
type WorkflowRuns = past.WorkflowRuns

// BranchCount is what package past tells.
type BranchCount = past.BranchCount

// RunsFilter says which runs are counted. Empty parts mean any, but for Environment: live.
type RunsFilter struct {
	Workflow     string
	Environment  schemas.Environment
	Store        string // configured name of the connection
	Since, Until time.Time
}

// WorkflowsMax bounds the workflows, and their branches, that Runs tells of.
const WorkflowsMax = 10_000

// Runs counts runs and branches by workflow, in the order of their names. Test events are never part of it.
func (s *Store) Runs(ctx context.Context, f RunsFilter) ([]WorkflowRuns, error) {
	ctx, cancel := context.WithTimeout(ctx, TraceTimeout)
	defer cancel()
	where := ""
	if f.Workflow != "" {
		where = " WHERE workflow = " + literal(f.Workflow)
	}
	of := func(view string) string {
		return Report{View: view}.call(ReportFilter{Environment: f.Environment, Store: f.Store, Since: f.Since, Until: f.Until}) + where
	}
	list := []WorkflowRuns{}
	rows, err := s.conn.Query(ctx, fmt.Sprintf(`SELECT workflow, shadow, sum(runs), sum(open), sum(ended), sum(stopped), sum(not_started), sum(contacts), max(last_at)
		FROM %s GROUP BY workflow, shadow ORDER BY workflow, shadow LIMIT %d`, of("v_workflow_runs"), WorkflowsMax))
	if err != nil {
		return nil, explainRuns(err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		w := WorkflowRuns{Branches: []BranchCount{}}
		if err := rows.Scan(&w.Workflow, &w.Shadow, &w.Runs, &w.Open, &w.Ended, &w.Stopped, &w.NotStarted, &w.Contacts, &w.LastAt); err != nil {
			return nil, fmt.Errorf("read runs: %w", err)
		}
		w.LastAt = w.LastAt.UTC()
		list = append(list, w)
	}
	if err := rows.Err(); err != nil {
		return nil, explainRuns(err)
	}
	return list, s.branches(ctx, list, of("v_branches"))
}

// branches fills in the branches of the workflows in list.
func (s *Store) branches(ctx context.Context, list []WorkflowRuns, from string) error {
	rows, err := s.conn.Query(ctx, fmt.Sprintf("SELECT workflow, shadow, step, branch, times, runs, contacts FROM %s ORDER BY workflow, shadow, step, branch LIMIT %d", from, WorkflowsMax))
	if err != nil {
		return explainRuns(err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var workflow string
		var shadow bool
		var b BranchCount
		if err := rows.Scan(&workflow, &shadow, &b.Step, &b.Branch, &b.Times, &b.Runs, &b.Contacts); err != nil {
			return fmt.Errorf("read branches: %w", err)
		}
		// A run that began before the span may have taken a branch in it; without runs in the span it is not told of.
		if i := slices.IndexFunc(list, func(w WorkflowRuns) bool { return w.Workflow == workflow && w.Shadow == shadow }); i >= 0 {
			list[i].Branches = append(list[i].Branches, b)
		}
	}
	return rows.Err()
}
