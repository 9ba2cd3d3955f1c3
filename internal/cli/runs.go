package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/tillstream/tillstream/api"
	"github.com/tillstream/tillstream/internal/explain"
	"github.com/tillstream/tillstream/schemas"
	chsink "github.com/tillstream/tillstream/sinks/clickhouse"
)

func (p Process) runsCommand() *cobra.Command {
	var t target
	var workflow, store, environment, since, until string
	var asJSON bool
	c := &cobra.Command{
		Use:   "runs [--workflow W] [--since T] [--until T]",
		Short: "Count the runs of workflows, and how often each branch was taken",
		Long: `Counts the runs that began in the span, by workflow: open, ended, stopped, and those that a rule held back. Below each workflow
stands how often each branch of each step was taken. Test events never count, and sandbox is not added to live.`,
		Args: usage(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			f := chsink.RunsFilter{Workflow: workflow, Store: store, Environment: schemas.Environment(environment)}
			if f.Environment != schemas.Live && f.Environment != schemas.Sandbox {
				return &codedError{ExitUsage, fmt.Errorf("--environment %q: use live or sandbox", environment)}
			}
			for _, end := range []struct {
				flag, text string
				into       *time.Time
			}{{"since", since, &f.Since}, {"until", until, &f.Until}} {
				if end.text == "" {
					continue
				}
				at, _, err := parseWhen(end.text, p.Now())
				if err != nil {
					return &codedError{ExitUsage, fmt.Errorf("--%s %q: %w", end.flag, end.text, err)}
				}
				*end.into = at
			}
			return p.withDesk(c.Context(), t, func(d *explain.Desk) error {
				list, err := d.Store.Runs(c.Context(), f)
				if err != nil {
					return err
				}
				if asJSON {
					return json.NewEncoder(c.OutOrStdout()).Encode(api.RunList{Workflows: list})
				}
				return printRuns(c.OutOrStdout(), list)
			})
		},
	}
	t.flags(c)
	f := c.Flags()
	f.StringVar(&workflow, "workflow", "", "this workflow only")
	f.StringVar(&store, "store", "", "name of one connection (default: all)")
	f.StringVar(&environment, "environment", string(schemas.Live), "live or sandbox")
	f.StringVar(&since, "since", "", "begin: 24h, 30d, 2026-11-01, or 2026-11-01T12:00:00Z (default: the first run)")
	f.StringVar(&until, "until", "", "end, like --since, not part of it (default: the last run)")
	f.BoolVar(&asJSON, "json", false, "one JSON object")
	return c
}

func printRuns(out io.Writer, list []chsink.WorkflowRuns) error {
	if len(list) == 0 {
		_, err := fmt.Fprintln(out, "no run began in this span")
		return err
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "WORKFLOW\tRUNS\tOPEN\tENDED\tSTOPPED\tNOT STARTED\tCONTACTS\tLAST")
	for _, r := range list {
		name := harmless(r.Workflow)
		if r.Shadow {
			name += " (only watched)"
		}
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\t%d\t%d\t%s\n", name, r.Runs, r.Open, r.Ended, r.Stopped, r.NotStarted, r.Contacts, instant(r.LastAt))
		for _, b := range r.Branches {
			fmt.Fprintf(w, "  %s: %s\t%d\t\t\t\t\t%d\t\n", harmless(b.Step), b.Branch, b.Runs, b.Contacts)
		}
	}
	return w.Flush()
}
