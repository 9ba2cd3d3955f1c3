package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/tillstream/tillstream/internal/reading"
	"github.com/tillstream/tillstream/outbound"
	chsink "github.com/tillstream/tillstream/sinks/clickhouse"
)

// eraseAsked is what the command is told.
type eraseAsked struct {
	target
	by                            string
	settle                        time.Duration
	yes, dryRun, lift, json, list bool
}

func (p Process) eraseCommand() *cobra.Command {
	var a eraseAsked
	c := &cobra.Command{
		Use:   "erase EMAIL | --list",
		Short: "Take a person out of ClickHouse for good, with a receipt",
		Long: `Takes what names a person out of every row of every table of ClickHouse: address, names, bodies, what was sent to the CRM. Rows
and money stay under a pseudonym, so that the books and the audit still agree. Records of the person that are stored again later, by
a replay of the log or of the contact, are stored without the name too, until --lift says that the person came back.

The receipt says what was done, when, by whom, the keyed hash of the address, and where else the person is still known: Kafka (until
its retention ends), Redis, the CRM, backups. Keep it; ClickHouse keeps it too, in the table erasures.

  tillstream erase jane@example.com --dry-run
  tillstream erase jane@example.com --by "Data protection" --yes --json > receipt.json

Exit codes: 0 done, 1 failed (run it again: it goes on where it stopped), 2 usage.`,
		Args: usage(cobra.MaximumNArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			switch {
			case a.list && len(args) == 0:
				return p.listErasures(c, a)
			case a.list || len(args) == 0:
				return &codedError{ExitUsage, errors.New("name the address of one person, or say --list alone")}
			}
			return p.erase(c, args[0], a)
		},
	}
	a.target.flags(c)
	f := c.Flags()
	f.StringVar(&a.by, "by", "", "who asks for it, for the receipt")
	f.BoolVar(&a.yes, "yes", false, "do it: what is erased does not come back")
	f.BoolVar(&a.dryRun, "dry-run", false, "only count")
	f.BoolVar(&a.lift, "lift", false, "the person is a customer again: what comes from now on is stored whole")
	f.DurationVar(&a.settle, "settle", chsink.SettleDefault, "wait for running loaders to hear of it, before rows are changed")
	f.BoolVar(&a.list, "list", false, "the receipts that ClickHouse keeps, the newest first")
	f.BoolVar(&a.json, "json", false, "the receipt as one JSON object")
	return c
}

func (p Process) erase(c *cobra.Command, email string, a eraseAsked) error {
	switch {
	case a.dryRun && a.lift:
		return &codedError{ExitUsage, errors.New("--dry-run counts what an erasure would take; it does not go with --lift")}
	case !a.dryRun && !a.yes:
		return &codedError{ExitUsage, errors.New("what is erased does not come back: look first with --dry-run, then say --yes")}
	case !a.dryRun && a.by == "":
		return &codedError{ExitUsage, errors.New("the receipt says who asked for it: add --by")}
	case a.settle < 0:
		return &codedError{ExitUsage, errors.New("--settle is a duration such as 45s")}
	}
	store, err := p.open(c.Context(), a.target)
	if err != nil {
		return err
	}
	defer store.Close()
	var r chsink.Receipt
	if a.lift {
		r, err = store.Lift(c.Context(), email, a.by)
	} else {
		if !a.dryRun && !a.json && a.settle > 0 {
			fmt.Fprintf(c.ErrOrStderr(), "waiting %s for running loaders to hear of it\n", a.settle)
		}
		r, err = store.Erase(c.Context(), chsink.Erasure{Email: email, By: a.by, Settle: a.settle, DryRun: a.dryRun})
	}
	switch {
	case errors.Is(err, chsink.ErrNoEmail):
		return &codedError{ExitUsage, err}
	case err != nil:
		return unreachable(err)
	case a.json:
		return json.NewEncoder(c.OutOrStdout()).Encode(r)
	}
	return printReceipt(c.OutOrStdout(), email, r)
}

func printReceipt(w io.Writer, email string, r chsink.Receipt) error {
	what := "Erased"
	switch {
	case r.DryRun:
		what = "Would be erased"
	case r.Lifted:
		what = "Known again from now on"
	}
	fmt.Fprintf(w, "%s: %s\n\n", what, outbound.MaskEmail(email))
	tw := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	for _, line := range [][2]string{
		{"receipt", r.ErasureID},
		{"subject (keyed hash)", r.Subject},
		{"pseudonym", r.Pseudonym},
		{"asked by", r.By},
		{"asked at", r.At.Format(time.RFC3339)},
		{"done at", r.DoneAt.Format(time.RFC3339)},
	} {
		if line[1] != "" && (!r.DryRun || line[0] == "asked at") {
			fmt.Fprintf(tw, "%s\t%s\n", line[0], harmless(line[1]))
		}
	}
	if !r.Lifted {
		fmt.Fprintf(tw, "orders\t%d\ncontact keys\t%d\n", r.Orders, r.Contacts)
	}
	for _, table := range slices.Sorted(maps.Keys(r.Tables)) {
		fmt.Fprintf(tw, "rows of %s\t%d\n", table, r.Tables[table])
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	if r.Lifted {
		return nil
	}
	fmt.Fprintln(w, "\nStill known:")
	for _, place := range r.Remaining {
		fmt.Fprintf(w, "  %s\n", harmless(place))
	}
	return nil
}

func (p Process) listErasures(c *cobra.Command, a eraseAsked) error {
	return p.withReading(c.Context(), a.target, func(d *reading.Desk) error {
		list, err := d.Erasures(c.Context())
		if err != nil {
			return err
		}
		if a.json {
			return json.NewEncoder(c.OutOrStdout()).Encode(list)
		}
		tw := tabwriter.NewWriter(c.OutOrStdout(), 0, 4, 2, ' ', 0)
		fmt.Fprintln(tw, "RECEIPT\tASKED AT\tDONE AT\tBY\tSUBJECT (KEYED HASH)\tLIFTED")
		for _, e := range list.Items {
			fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\t%t\n", e.ID, e.At.Format(time.RFC3339), e.DoneAt.Format(time.RFC3339), harmless(e.By), harmless(e.Subject), e.Lifted)
		}
		return tw.Flush()
	})
}
