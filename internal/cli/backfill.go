package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/tillstream/tillstream/pipeline/poll"
)

func (p Process) backfillCommand() *cobra.Command {
	var a asking
	var live bool
	c := &cobra.Command{
		Use:   "backfill CONNECTION --since WHEN [--until WHEN] [--feeds NAMES] [--dry-run] [--live]",
		Short: "Load a connection's history from its provider, without messages to customers",
		Long: `Reads what the provider's lists have of the past, counts it, and appends what is not on the log. The events are marked as
backfill: reports and contacts' fields learn of them, but no message is sent and no list is changed, unless --live asks for that.

It asks the provider slowly and may run while everything else does. One that was broken off goes on where it was when it is run
again with the same --since (30d counts from the begin of that day, so that it is the same all day), --feeds and --live; begun
anew, it skips what is there already.`,
		Args: usage(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) error { return p.backfill(c.Context(), args[0], a, live) },
	}
	a.flags(c, "")
	c.Flags().BoolVar(&live, "live", false, "treat the events as if they happened now: messages are sent, lists are changed")
	return c
}

func (p Process) backfill(ctx context.Context, name string, a asking, live bool) error {
	span, err := a.span(p.Now(), true)
	if err != nil {
		return err
	}
	cfg, err := p.loadConfig(a.config, p.Getenv)
	if err != nil {
		return err
	}
	list, err := pick(cfg, name)
	if err != nil {
		return err
	}
	if len(list) > 1 || list[0].Name != name {
		return &codedError{ExitUsage, fmt.Errorf("%q is a type; name one connection", name)}
	}
	s, err := p.openSources(ctx, cfg)
	if err != nil {
		return err
	}
	defer s.Close()
	return p.sweep(ctx, s, list[0], a, span, func(o poll.Sweep) error {
		r, err := poll.Backfill(ctx, o, live)
		if len(r.Feeds) == 0 {
			return err
		}
		return errors.Join(err, printBackfill(p.Stdout, r, a.json))
	})
}

func printBackfill(w io.Writer, r poll.BackfillReport, asJSON bool) error {
	if asJSON {
		return json.NewEncoder(w).Encode(r)
	}
	fmt.Fprintf(w, "%s (%s), %s to %s UTC\n\n", r.Connection, r.Environment, r.Span.From.UTC().Format(minuteForm), r.Span.To.UTC().Format(minuteForm))
	tw := tabwriter.NewWriter(w, 0, 4, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(tw, "feed\tlisted\ton the log\tappended\t")
	for _, f := range r.Feeds {
		fmt.Fprintf(tw, "%s\t%d\t%d\t%d\t\n", f.Feed, f.Listed, f.OnLog, f.Appended)
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	for _, f := range r.Feeds {
		if f.Resumed != nil {
			fmt.Fprintf(w, "%s: went on from %s, where an earlier run had come to.\n", f.Feed, f.Resumed.UTC().Format(minuteForm))
		}
		if f.Beyond != nil {
			fmt.Fprintf(w, "%s: the provider lists nothing before %s.\n", f.Feed, f.Beyond.To.UTC().Format(minuteForm))
		}
	}
	switch {
	case r.DryRun:
		fmt.Fprintln(w, "Nothing was appended.")
	case r.Live:
		fmt.Fprintln(w, "The events count as if they happened now: messages are sent, lists are changed.")
	}
	return nil
}
