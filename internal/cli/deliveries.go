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
	"github.com/tillstream/tillstream/pipeline/jobs"
	"github.com/tillstream/tillstream/schemas"
	chsink "github.com/tillstream/tillstream/sinks/clickhouse"
)

func (p Process) deliveriesCommand() *cobra.Command {
	var a pastAsked
	c := &cobra.Command{
		Use:   "deliveries [--destination D] [--outcome O] [--contact C] [--order O] [--since T] ...",
		Short: "Show what became of commands at the CRMs; look at one with its requests and answers, or settle what is uncertain",
		Long: `Lists commands by the last word about each, the newest first. --outcome is delivered, superseded (a newer state went instead),
rejected, retryable (to be tried again), intent (under way), uncertain (an effect of which nobody knows whether it happened),
settled (a person says that it did) or resent. 'tillstream deliveries show COMMAND' shows all tries with requests and answers.

It is read from ClickHouse, which is seconds behind. Personal data is masked unless --show-personal-data is said.`,
	}
	c.AddCommand(p.deliveryShowCommand(), p.deliverySettleCommand())
	c = group(c)
	other := c.RunE
	c.RunE = func(c *cobra.Command, args []string) error {
		if len(args) > 0 {
			return other(c, args)
		}
		q, err := a.query(p.Now())
		if err != nil {
			return err
		}
		return p.withRecovery(c.Context(), a.target, func(d *recovery.Desk) error {
			got, err := d.Deliveries(c.Context(), q)
			if err != nil {
				return err
			}
			if a.json {
				return json.NewEncoder(c.OutOrStdout()).Encode(got)
			}
			return printDeliveries(c.OutOrStdout(), got.Deliveries)
		})
	}
	a.flags(c, jobs.FilterIssue, jobs.FilterCause, jobs.FilterStage)
	c.Flags().StringVar(&a.state, "outcome", "", "delivered, superseded, rejected, retryable, intent, uncertain, settled or resent")
	c.Flags().IntVar(&a.rows, "rows", chsink.PastPageDefault, fmt.Sprintf("commands at the most, up to %d", chsink.PastPageMax))
	return c
}

func printDeliveries(out io.Writer, list []chsink.Delivery) error {
	if len(list) == 0 {
		fmt.Fprintln(out, "there is no such delivery; a command that waits for its turn has none yet: 'tillstream status' and 'tillstream pauses' say how many wait, and why")
		return nil
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "COMMAND\tWHAT\tDESTINATION\tCONTACT\tOUTCOME\tTRIES\tSTATUS\tAT\tERROR")
	for _, d := range list {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%d\t%s\t%s\t%s\n", harmless(d.CommandID), harmless(what(d)), harmless(d.Destination), harmless(d.ContactKey), strings.ToLower(d.State), d.Attempts, status(d.Status), instant(d.At), dash(harmless(d.Error)))
	}
	return w.Flush()
}

func what(d chsink.Delivery) string {
	if d.Effect == "" {
		return strings.ToLower(d.Kind)
	}
	return strings.TrimSpace(strings.ToLower(d.Effect) + " " + d.EffectName)
}

func status(code int64) string {
	if code == 0 {
		return "-"
	}
	return fmt.Sprint(code)
}

func (p Process) deliveryShowCommand() *cobra.Command {
	var a pastAsked
	c := &cobra.Command{
		Use: "show COMMAND", Short: "Show all tries of one command, with requests and answers", Args: usage(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			return p.withRecovery(c.Context(), a.target, func(d *recovery.Desk) error {
				got, err := d.Delivery(c.Context(), args[0], a.personal)
				if err != nil {
					return err
				}
				if a.json {
					return json.NewEncoder(c.OutOrStdout()).Encode(got)
				}
				v := got
				printDelivery(c.OutOrStdout(), &v)
				return nil
			})
		},
	}
	a.target.flags(c)
	c.Flags().BoolVar(&a.json, "json", false, "one JSON object")
	c.Flags().BoolVar(&a.personal, "show-personal-data", false, "addresses unmasked")
	return c
}

func printDelivery(out io.Writer, v *api.DeliveryView) {
	fmt.Fprintf(out, "command %s: %s\n", harmless(v.CommandID), strings.ToLower(v.State))
	fmt.Fprintf(out, "  %s at %s for %s, order %s\n", harmless(what(v.Delivery)), harmless(v.Destination), harmless(v.ContactKey), dash(harmless(v.RootKey)))
	for _, t := range v.Tries {
		fmt.Fprintf(out, "%s  %s, try %d\n", instant(t.At), strings.ToLower(t.Outcome), t.Attempt)
		for _, text := range []string{t.Error, t.Remedy} {
			if text != "" {
				fmt.Fprintf(out, "    %s\n", harmless(text))
			}
		}
		for _, x := range t.Requests {
			fmt.Fprintf(out, "    %s %s -> %s (%d ms) %s\n", x.Method, harmless(x.URL), status(x.Status), x.Millis, harmless(x.Error))
			for name, body := range map[string]string{">": x.Request, "<": x.Response} {
				if body != "" {
					fmt.Fprintf(out, "      %s %s\n", name, harmless(body))
				}
			}
		}
	}
}

func (p Process) deliverySettleCommand() *cobra.Command {
	var a wanted
	c := &cobra.Command{
		Use:   "settle [COMMAND | --destination D ...]",
		Short: "Note that an uncertain effect did happen, or all that a filter finds",
		Args:  usage(cobra.MaximumNArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 1 {
				*a.parts[jobs.FilterItem] = args[0]
			}
			a.uncertain = true
			return p.ask(c, a, schemas.JobSettle)
		},
	}
	a.flags(c, jobs.FilterIssue, jobs.FilterCause, jobs.FilterStage)
	return c
}
