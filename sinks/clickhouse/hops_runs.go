package clickhouse

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/tillstream/tillstream/schemas"
)

// runSteps adds the steps of runs. Those that an order's events caused belong to its way also where the run is about
// another order of the same contact.
func (s *Store) runSteps(ctx context.Context, sc scope, t *Trace) error {
	const columns = `run_id, workflow, workflow_version, config_version, contact_key, root_key, event_id, number, step, kind, detail, wait_id, deadline,
		command_id, destination, origin, test, shadow, at`
	where := sc.orRuns(sc.conditions("root_key IN @roots", "contact_key IN @contacts", "event_id IN @events"))
	return s.hops(ctx, t, "run_steps", columns, where, sc, func(rows driver.Rows, coordinates ...any) (Hop, error) {
		var r schemas.RunStep
		var kind, origin string
		err := rows.Scan(append([]any{
			&r.RunID, &r.Workflow, &r.WorkflowVersion, &r.ConfigVersion, &r.ContactKey, &r.RootKey, &r.EventID, &r.Number, &r.Step, &kind, &r.Detail,
			&r.WaitID, &r.Deadline, &r.CommandID, &r.Destination, &origin, &r.Test, &r.Shadow, &r.At,
		}, coordinates...)...)
		title := "Workflow " + r.Workflow + ": " + strings.ToLower(strings.ReplaceAll(kind, "_", " "))
		if r.Step != "" {
			title += " at step " + r.Step
		}
		return Hop{At: r.At, Kind: HopRun, Title: title, Detail: details(
			"detail", r.Detail, "run", r.RunID, "number", strconv.FormatInt(r.Number, 10), "workflow version", r.WorkflowVersion,
			"config version", r.ConfigVersion, "contact", r.ContactKey, "order", r.RootKey, "event", r.EventID, "wait", r.WaitID,
			"deadline", stamp(r.Deadline), "command", r.CommandID, "destination", r.Destination, "origin", origin,
			"test", flag(r.Test), "shadow", flag(r.Shadow))}, err
	})
}

// unset undoes what storable does: a time that stands for none is the zero time again.
func unset(t time.Time) time.Time {
	if t.UnixMilli() == 0 {
		return time.Time{}
	}
	return t.UTC()
}
