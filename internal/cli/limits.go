package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/tillstream/tillstream/api"
	"github.com/tillstream/tillstream/pipeline/limits"
)

func (p Process) limitsCommand() *cobra.Command {
	var a asked
	var asJSON bool
	c := &cobra.Command{
		Use:   "limits",
		Short: "Show the limits of each account: used, left, when they reset, and who waits",
		Long: `Shows each account that destinations and connections use, over all processes: its limits with what is used and left of them
and when they reset, the requests on their way, the silence that the provider asked for, the rate that is made use of (less
than allowed after refusals, beside other programs on the account, or while it answers slowly), and who waits for a turn.
Any running process answers, from Redis.

Exit codes: 0 shown, 2 no process answers.`,
		Args: usage(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			addresses, err := a.resolve(p)
			if err != nil {
				return err
			}
			got, err := askLimits(c.Context(), addresses)
			if err != nil {
				return err
			}
			if asJSON {
				enc := json.NewEncoder(c.OutOrStdout())
				enc.SetIndent("", "  ")
				return enc.Encode(got)
			}
			return printLimits(c.OutOrStdout(), got.Accounts, p.Now())
		},
	}
	a.flags(c)
	c.Flags().BoolVar(&asJSON, "json", false, "one JSON object")
	return c
}

// askLimits is the answer of the first process that gives one: what they share they all tell alike.
func askLimits(ctx context.Context, addresses []string) (api.LimitList, error) {
	var failed error
	for _, address := range addresses {
		var got api.LimitList
		err := (&remote{address: address}).call(ctx, http.MethodGet, "/api/v1/limits", nil, &got)
		if err == nil {
			return got, nil
		}
		if failed == nil {
			failed = err
		}
	}
	return api.LimitList{}, failed
}

func printLimits(out io.Writer, list []limits.View, now time.Time) error {
	if len(list) == 0 {
		fmt.Fprintln(out, "the configuration has no destination, and no connection whose provider's limits are known")
	}
	for i, v := range list {
		if i > 0 {
			fmt.Fprintln(out)
		}
		fmt.Fprintln(out, v.Account)
		if err := printWindows(out, v.Windows, now); err != nil {
			return err
		}
		if v.Parallel > 0 {
			fmt.Fprintf(out, "  on their way: %d of %d\n", v.InParallel, v.Parallel)
		}
		if len(v.Windows) == 0 && v.Parallel == 0 {
			fmt.Fprintln(out, "  no limit")
		}
		if !v.HoldUntil.IsZero() {
			fmt.Fprintf(out, "  held: %s more, until %s (the provider answered: %s)\n", until(v.HoldUntil, now), instant(v.HoldUntil), harmless(v.HoldWhy))
		}
		if v.Share < 1 {
			fmt.Fprintf(out, "  slowed down: %.2f a second, %.0f %% of the rate\n", v.Rate, v.Share*100)
		}
		if v.Others > 0 {
			fmt.Fprintf(out, "  other programs used %d of the last second\n", v.Others)
		}
		var waiting []string
		for _, u := range v.Uses {
			waiting = append(waiting, fmt.Sprintf("%s %d", harmless(u.Use), u.Waiting))
		}
		fmt.Fprintf(out, "  waiting: %s\n", strings.Join(waiting, ", "))
	}
	return nil
}

func printWindows(out io.Writer, list []limits.WindowView, now time.Time) error {
	if len(list) == 0 {
		return nil
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "  LIMIT\tUSED\tLEFT\tRESET IN")
	for _, l := range list {
		reset := "-"
		if !l.Reset.IsZero() {
			reset = until(l.Reset, now)
		}
		if !l.HoldUntil.IsZero() {
			reset += ", held " + until(l.HoldUntil, now)
		}
		fmt.Fprintf(w, "  %s\t%d\t%d\t%s\n", l.Name, l.Used, l.Left, reset)
	}
	return w.Flush()
}

// until is a time that is left, in whole seconds and never less than one.
func until(at, now time.Time) string {
	return max(at.Sub(now).Round(time.Second), time.Second).String()
}
