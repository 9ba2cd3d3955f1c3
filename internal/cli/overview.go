package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/tillstream/tillstream/api"
	"github.com/tillstream/tillstream/internal/app"
	"github.com/tillstream/tillstream/internal/reading"
	"github.com/tillstream/tillstream/schemas"
)

func (p Process) overviewCommand() *cobra.Command {
	var t target
	var environment string
	var asJSON bool
	c := &cobra.Command{
		Use:   "overview",
		Short: "Show today at a glance: the pipeline's steps and their lag, the money, what needs attention",
		Long: `Shows what each step of the pipeline did today (UTC), how far it is behind, up to when the figures are complete, today's money
by currency, and the open issues. 'tillstream status' says how each process and its parts are.`,
		Args: usage(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			e := schemas.Environment(environment)
			if e != schemas.Live && e != schemas.Sandbox {
				return &codedError{ExitUsage, fmt.Errorf("--environment %q: use live or sandbox", environment)}
			}
			return p.withReading(c.Context(), t, func(d *reading.Desk) error {
				if t.address == "" {
					k, _, err := p.kafkaAt(t)
					if err != nil {
						return err
					}
					progress, err := app.OpenProgress(k, p.Now)
					if err != nil {
						return err
					}
					defer progress.Close()
					d.Progress = progress.Look
				}
				o, err := d.Overview(c.Context(), e)
				if err != nil {
					return err
				}
				if asJSON {
					return json.NewEncoder(c.OutOrStdout()).Encode(o)
				}
				return printOverview(c.OutOrStdout(), o)
			})
		},
	}
	t.flags(c)
	c.Flags().StringVar(&environment, "environment", string(schemas.Live), "live or sandbox")
	c.Flags().BoolVar(&asJSON, "json", false, "one JSON object")
	return c
}

func printOverview(out io.Writer, o api.Overview) error {
	complete := "complete up to " + o.CompleteUpTo.Format(time.RFC3339)
	if o.CompleteUpTo.IsZero() {
		complete = "not known up to when it is complete"
	}
	fmt.Fprintf(out, "%s, %s, %s\n", o.Environment, o.Day.Format(time.DateOnly), complete)
	if o.CompleteNote != "" {
		fmt.Fprintf(out, "  %s\n", harmless(o.CompleteNote))
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "\nSTEP\tTODAY\tBEHIND\tWAITING\tNEWEST\t")
	for _, s := range o.Steps {
		behind, waiting := "-", "-"
		if s.LagSeconds != nil {
			behind = fmt.Sprintf("%.1f s", *s.LagSeconds)
		}
		if s.Waiting != nil {
			waiting = fmt.Sprint(*s.Waiting)
		}
		fmt.Fprintf(w, "%s\t%d\t%s\t%s\t%s\t%s\n", s.Step, s.Count, behind, waiting, instant(s.LastAt), s.Note)
	}
	if len(o.Money) > 0 {
		fmt.Fprintln(w, "\nMONEY\tGROSS\tREFUNDS\tNET\tPAYMENTS\t")
	}
	for _, m := range o.Money {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t\n", m.Currency, m.Gross, m.Refunds, m.Net, m.Payments)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if len(o.Attention) > 0 {
		fmt.Fprintln(out, "\nNEEDS ATTENTION")
	}
	for _, a := range o.Attention {
		fmt.Fprintf(out, "  %s: %s (%d): %s\n    %s\n", a.Severity, harmless(a.What), a.Count, harmless(a.Detail), harmless(a.Remedy))
	}
	return nil
}
