package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/tillstream/tillstream/api"
	"github.com/tillstream/tillstream/internal/recovery"
	chsink "github.com/tillstream/tillstream/sinks/clickhouse"
)

// jobAsked is how a command about jobs answers.
type jobAsked struct {
	target
	json, personal bool
	rows           int
	after          int64
	result, by     string
}

func (a *jobAsked) flags(c *cobra.Command) {
	a.target.flags(c)
	c.Flags().BoolVar(&a.json, "json", false, "one JSON object")
	c.Flags().BoolVar(&a.personal, "show-personal-data", false, "addresses unmasked")
	c.Flags().IntVar(&a.rows, "rows", chsink.PastPageDefault, fmt.Sprintf("rows at the most, up to %d", chsink.PastPageMax))
}

func (p Process) jobsCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "jobs",
		Short: "List jobs (retry, replay, dismiss, settle, verify), look at one with the result of each item, or cancel one",
	}
	c.AddCommand(p.jobListCommand(), p.jobShowCommand(), p.jobCancelCommand())
	return group(c)
}

func (p Process) jobListCommand() *cobra.Command {
	var a jobAsked
	c := &cobra.Command{
		Use: "list", Short: "List jobs, the newest first", Args: usage(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			return p.withRecovery(c.Context(), a.target, func(d *recovery.Desk) error {
				got, err := d.Jobs(c.Context(), a.rows, a.personal)
				if err != nil {
					return err
				}
				if a.json {
					return json.NewEncoder(c.OutOrStdout()).Encode(got)
				}
				return printJobs(c.OutOrStdout(), got.Jobs)
			})
		},
	}
	a.flags(c)
	return c
}

func printJobs(out io.Writer, list []chsink.Job) error {
	if len(list) == 0 {
		fmt.Fprintln(out, "there is no job")
		return nil
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "JOB\tKIND\tSTATE\tDONE\tNEEDED NOTHING\tFAILED\tOF\tASKED AT\tBY\tABOUT")
	for _, j := range list {
		of := fmt.Sprint(j.Count)
		if j.Count < 0 {
			of = "?"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%d\t%d\t%s\t%s\t%s\t%s\n", harmless(j.ID), strings.ToLower(j.Kind), strings.ToLower(j.State), j.Done, j.Skipped, j.Failed, of, instant(j.AskedAt), dash(harmless(j.By)), harmless(about(j.Filter)))
	}
	return w.Flush()
}

// about is the filter of a job, for people.
func about(filter map[string]string) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(filter)) {
		value := filter[name]
		if strings.ContainsAny(value, " \t\"'") {
			value = strconv.Quote(value)
		}
		parts = append(parts, name+"="+value)
	}
	if len(parts) == 0 {
		return "everything"
	}
	return strings.Join(parts, " ")
}

func (p Process) jobShowCommand() *cobra.Command {
	var a jobAsked
	c := &cobra.Command{
		Use: "show JOB", Short: "Show how far a job is, and what became of each item", Args: usage(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			return p.withRecovery(c.Context(), a.target, func(d *recovery.Desk) error {
				got, err := d.Job(c.Context(), args[0], api.ItemsQuery{Result: a.result, After: a.after, Limit: a.rows, PersonalData: a.personal})
				if err != nil {
					return err
				}
				if a.json {
					return json.NewEncoder(c.OutOrStdout()).Encode(got)
				}
				v := got
				if err := printJob(c.OutOrStdout(), &v); err != nil {
					return err
				}
				if v.Next > 0 {
					fmt.Fprintf(c.ErrOrStderr(), "there are more: --after %d\n", v.Next)
				}
				return nil
			})
		},
	}
	a.flags(c)
	c.Flags().StringVar(&a.result, "result", "", "only items with this result: sent, dismissed, settled, skipped, failed, matches or drifted")
	c.Flags().Int64Var(&a.after, "after", 0, "go on after the item of this number")
	return c
}

func printJob(out io.Writer, v *api.JobView) error {
	fmt.Fprintf(out, "job %s: %s, %s\n", harmless(v.ID), strings.ToLower(v.Kind), strings.ToLower(v.State))
	line := func(name, text string) {
		if text != "" {
			fmt.Fprintf(out, "  %-8s %s\n", name, harmless(text))
		}
	}
	line("about", about(v.Filter))
	line("progress", barOf(chsink.Job{Count: v.Count, Done: v.Done, Skipped: v.Skipped, Failed: v.Failed}))
	if v.PerMinute > 0 {
		line("rate", fmt.Sprintf("%d items a minute at the most", v.PerMinute))
	}
	line("detail", v.Detail)
	line("asked", instant(v.AskedAt)+" by "+dash(v.By))
	line("why", v.Why)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NO\tITEM\tRESULT\tDETAIL")
	for _, i := range v.Items {
		fmt.Fprintf(w, "%d\t%s\t%s\t%s\n", i.Number, harmless(i.Item), strings.ToLower(i.Result), harmless(i.Detail))
	}
	return w.Flush()
}

func (p Process) jobCancelCommand() *cobra.Command {
	var a jobAsked
	c := &cobra.Command{
		Use: "cancel JOB", Short: "End a job between two items; what was done stays", Args: usage(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			if a.by == "" {
				a.by = p.user()
			}
			return p.withRecovery(c.Context(), a.target, func(d *recovery.Desk) error {
				requests, err := p.requests(c.Context(), a.target)
				if err != nil {
					return fmt.Errorf("nothing is changed: %w", err)
				}
				defer requests.Close()
				d.Append = requests.Append
				got, err := d.Cancel(c.Context(), args[0], api.CancelRequest{By: a.by})
				if err != nil {
					return err
				}
				if a.json {
					return json.NewEncoder(c.OutOrStdout()).Encode(got)
				}
				fmt.Fprintf(c.OutOrStdout(), "Job %s ends after the item at hand.\n", harmless(args[0]))
				return nil
			})
		},
	}
	a.target.flags(c)
	c.Flags().BoolVar(&a.json, "json", false, "one JSON object")
	c.Flags().StringVar(&a.by, "by", "", "who says it (default: the name of the user)")
	return c
}
