package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/tillstream/tillstream/api"
	"github.com/tillstream/tillstream/internal/recovery"
	"github.com/tillstream/tillstream/pipeline/connections"
	"github.com/tillstream/tillstream/pipeline/jobs"
	"github.com/tillstream/tillstream/schemas"
	chsink "github.com/tillstream/tillstream/sinks/clickhouse"
)

func (p Process) issuesCommand() *cobra.Command {
	a := pastAsked{state: ""}
	c := &cobra.Command{
		Use:   "issues [list] [--state STATE] [--cause C] [--destination D] ...",
		Short: "Show what could not be processed, grouped by cause, with what to do; look at one, or dismiss it",
		Long: `Groups dead letters by cause: how many, first and last seen, how many are open, and what to do. An issue is open; retried or
dismissed where none of its letters is open; reopened where letters came after all earlier ones were retried or dismissed.
'tillstream issues show KEY' lists its letters, 'tillstream retry --issue KEY' has them tried again, 'tillstream issues dismiss KEY'
closes them. It is read from ClickHouse, which is seconds behind. Personal data is masked unless --show-personal-data is said.`,
	}
	list := &cobra.Command{Use: "list", Short: "Show what could not be processed, grouped by cause", Args: usage(cobra.NoArgs)}
	run := func(a *pastAsked) func(*cobra.Command, []string) error {
		return func(c *cobra.Command, _ []string) error {
			q, err := a.query(p.Now())
			if err != nil {
				return err
			}
			return p.withRecovery(c.Context(), a.target, func(d *recovery.Desk) error {
				got, err := d.Issues(c.Context(), q)
				if err != nil {
					return err
				}
				if a.json {
					return json.NewEncoder(c.OutOrStdout()).Encode(got)
				}
				return printIssues(c.OutOrStdout(), got.Issues)
			})
		}
	}
	flags := func(c *cobra.Command, a *pastAsked) {
		a.flags(c)
		c.Flags().StringVar(&a.state, "state", "", "open, reopened, retried or dismissed")
		c.Flags().IntVar(&a.rows, "rows", chsink.PastPageDefault, "issues at the most")
	}
	var again pastAsked
	list.RunE = run(&again)
	flags(list, &again)
	c.AddCommand(list, p.issueShowCommand(), p.issueDismissCommand())
	c = group(c)
	other := c.RunE
	c.RunE = func(c *cobra.Command, args []string) error {
		if len(args) > 0 {
			return other(c, args)
		}
		return run(&a)(c, args)
	}
	flags(c, &a)
	return c
}

func printIssues(out io.Writer, list []chsink.Issue) error {
	if len(list) == 0 {
		fmt.Fprintln(out, "there is no such issue")
		return nil
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ISSUE\tSTATE\tOPEN\tLETTERS\tCAUSE\tWHERE\tFIRST SEEN\tLAST SEEN\tREASON")
	for _, i := range list {
		fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%s\t%s\t%s\t%s\t%s\n", i.Key, strings.ToLower(i.State), i.Open, i.Letters, i.Cause, harmless(i.Stage+" "+i.Place), instant(i.FirstSeen), instant(i.LastSeen), harmless(i.Pattern))
	}
	return w.Flush()
}

func (p Process) issueShowCommand() *cobra.Command {
	var a pastAsked
	c := &cobra.Command{
		Use: "show KEY", Short: "Show one issue: what to do, and its newest letters", Args: usage(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			q := api.PastQuery{Filter: map[string]string{jobs.FilterIssue: args[0]}, Limit: a.rows, PersonalData: a.personal}
			return p.withRecovery(c.Context(), a.target, func(d *recovery.Desk) error {
				found, err := d.Issues(c.Context(), q)
				if err != nil {
					return err
				}
				list := found.Issues
				if len(list) == 0 {
					return connections.Refuse(connections.NotFound, "there is no issue %.40q; 'tillstream issues' lists them", args[0])
				}
				letters, err := d.Letters(c.Context(), q)
				if err != nil {
					return err
				}
				if a.json {
					return json.NewEncoder(c.OutOrStdout()).Encode(struct {
						chsink.Issue
						Letters []chsink.Letter `json:"dead_letters"`
					}{list[0], letters.Letters})
				}
				return printIssue(c.OutOrStdout(), list[0], letters.Letters)
			})
		},
	}
	a.target.flags(c)
	c.Flags().IntVar(&a.rows, "rows", 20, "letters at the most")
	c.Flags().BoolVar(&a.json, "json", false, "one JSON object")
	c.Flags().BoolVar(&a.personal, "show-personal-data", false, "addresses unmasked")
	return c
}

func printIssue(out io.Writer, i chsink.Issue, letters []chsink.Letter) error {
	fmt.Fprintf(out, "issue %s: %s\n", i.Key, strings.ToLower(i.State))
	for _, l := range [][2]string{
		{"cause", i.Cause + " at " + i.Stage + ", " + i.Place},
		{"reason", i.Reason},
		{"remedy", i.Remedy},
		{"letters", fmt.Sprintf("%d: %d open, %d retried, %d dismissed", i.Letters, i.Open, i.Retried, i.Dismissed)},
		{"seen", "first " + instant(i.FirstSeen) + ", last " + instant(i.LastSeen)},
	} {
		fmt.Fprintf(out, "  %-8s %s\n", l[0], harmless(l[1]))
	}
	if i.Open > 0 {
		fmt.Fprintf(out, "  %-8s tillstream retry --issue %s\n", "retry", i.Key)
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "LETTER\tSTATE\tAT\tORDER\tCONTACT\tREASON")
	for _, l := range letters {
		state := strings.ToLower(l.State)
		if l.State == chsink.LetterOpen && l.Word != "" {
			state += " (" + l.Word + ")"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", harmless(l.Item), harmless(state), instant(l.At), dash(harmless(l.RootKey)), dash(harmless(l.ContactKey)), harmless(l.Reason))
	}
	return w.Flush()
}

func (p Process) issueDismissCommand() *cobra.Command {
	var a wanted
	c := &cobra.Command{
		Use:   "dismiss [KEY | --cause C ...] [--why TEXT]",
		Short: "Close an issue, or the dead letters that a filter finds: they are not to be tried again",
		Args:  usage(cobra.MaximumNArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 1 {
				*a.parts[jobs.FilterIssue] = args[0]
			}
			return p.ask(c, a, schemas.JobDismiss)
		},
	}
	a.flags(c)
	return c
}
