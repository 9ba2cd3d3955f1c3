package cli

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/tillstream/tillstream/api"
	"github.com/tillstream/tillstream/internal/app"
	"github.com/tillstream/tillstream/internal/explain"
	"github.com/tillstream/tillstream/outbound"
	"github.com/tillstream/tillstream/pipeline/connections"
	chsink "github.com/tillstream/tillstream/sinks/clickhouse"
)

// waitsAsked is which waits a command is about.
type waitsAsked struct {
	target
	workflow, contact, order, due, state, after string
	rows                                        int
	json, personal                              bool
}

func (a *waitsAsked) selection(c *cobra.Command) {
	f := c.Flags()
	f.StringVar(&a.workflow, "workflow", "", "of this workflow")
	f.StringVar(&a.contact, "contact", "", "of this contact: an e-mail address, or a key such as live/ann@example.com")
	f.StringVar(&a.order, "order", "", "of runs about this order or subscription")
	f.StringVar(&a.due, "due-before", "", "whose deadline lies before: 24h or 3d from now, 2026-11-01, or 2026-11-01T12:00:00Z")
}

// filter checks what was asked.
func (a *waitsAsked) filter(now time.Time) (chsink.WaitFilter, error) {
	f := chsink.WaitFilter{Workflow: a.workflow, Contact: a.contact, Order: a.order, After: a.after, Limit: a.rows}
	if state := strings.ToUpper(strings.ReplaceAll(a.state, "-", "_")); state != "ALL" {
		f.State = chsink.WaitState(state)
		if !slices.Contains(chsink.WaitStates, f.State) {
			return f, &codedError{ExitUsage, fmt.Errorf("--state %q: use open, met, not_met, corrected, stopped or all", a.state)}
		}
	}
	if a.due != "" {
		due, err := parseDue(a.due, now)
		if err != nil {
			return f, &codedError{ExitUsage, fmt.Errorf("--due-before %q: %w", a.due, err)}
		}
		f.DueBefore = due
	}
	return f, nil
}

// parseDue reads what parseWhen does, but a duration is one from now on.
func parseDue(text string, now time.Time) (time.Time, error) {
	at, relative, err := parseWhen(text, now)
	if relative {
		at = now.Add(now.Sub(at))
	}
	return at, err
}

func (p Process) waitsCommand() *cobra.Command {
	a := waitsAsked{state: "open"}
	c := &cobra.Command{
		Use:   "waits [--workflow W] [--contact C] [--order O] [--due-before T] [--state STATE]",
		Short: "List what workflows wait for, with deadlines; look at one, or close it as met or not met",
		Long: `Lists waits of workflows, what is due first standing first: open ones, or those of --state (met, not_met, corrected, stopped, all).
'tillstream waits show WAIT' says what would end one, and what comes then; 'tillstream waits close WAIT' ends it by hand.
It is read from ClickHouse, which is seconds behind. Addresses are masked unless --show-personal-data is said.`,
	}
	c.AddCommand(p.waitShowCommand(), p.waitCloseCommand())
	c = group(c)
	other := c.RunE
	c.RunE = func(c *cobra.Command, args []string) error {
		if len(args) > 0 {
			return other(c, args)
		}
		f, err := a.filter(p.Now())
		if err != nil {
			return err
		}
		return p.withDesk(c.Context(), a.target, func(d *explain.Desk) error { return p.listWaits(c, d, f, a) })
	}
	a.target.flags(c)
	a.selection(c)
	f := c.Flags()
	f.StringVar(&a.state, "state", "open", "open, met, not_met, corrected, stopped or all")
	f.IntVar(&a.rows, "rows", chsink.WaitsPageDefault, fmt.Sprintf("waits at the most, up to %d", chsink.WaitsPageMax))
	f.StringVar(&a.after, "after", "", "go on after the page that gave this cursor")
	f.BoolVar(&a.json, "json", false, "one JSON object")
	f.BoolVar(&a.personal, "show-personal-data", false, "addresses unmasked")
	return c
}

// withDesk opens ClickHouse and has f answer.
func (p Process) withDesk(ctx context.Context, t target, f func(*explain.Desk) error) error {
	store, err := p.open(ctx, t)
	if err != nil {
		return err
	}
	defer store.Close()
	return told(f(&explain.Desk{Store: store, Now: p.Now}))
}

// told gives what was asked wrongly the usage exit code, and says what to do where ClickHouse does not answer.
func told(err error) error {
	var refused *connections.Refusal
	if errors.Is(err, chsink.ErrFilter) || errors.As(err, &refused) && refused.Kind == connections.Invalid {
		return &codedError{ExitUsage, err}
	}
	return unreachable(err)
}

func (p Process) listWaits(c *cobra.Command, d *explain.Desk, f chsink.WaitFilter, a waitsAsked) error {
	page, err := d.Store.Waits(c.Context(), f)
	if err != nil {
		return err
	}
	if !a.personal {
		explain.MaskWaits(page.Waits)
	}
	if a.json {
		return json.NewEncoder(c.OutOrStdout()).Encode(page)
	}
	if len(page.Waits) == 0 {
		fmt.Fprintln(c.OutOrStdout(), "there is no such wait")
		return nil
	}
	if err := printWaits(c.OutOrStdout(), page.Waits, p.Now()); err != nil {
		return err
	}
	if page.Next != "" {
		fmt.Fprintf(c.ErrOrStderr(), "there are more: --after %s\n", page.Next)
	}
	return nil
}

func printWaits(out io.Writer, list []chsink.Wait, now time.Time) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "WAIT\tWORKFLOW\tSTEP\tSTATE\tDEADLINE\tTIME LEFT\tORDER\tCONTACT")
	for _, v := range list {
		left := "-"
		if v.State == chsink.WaitOpen {
			left = explain.Countdown(v.Deadline, now)
		}
		state := strings.ToLower(string(v.State))
		if v.DecidedBy != "" {
			state += " (" + v.DecidedBy + ")"
		}
		for i, cell := range []string{v.ID, v.Workflow, v.Step, state, instant(v.Deadline), left, dash(v.RootKey), v.ContactKey} {
			fmt.Fprintf(w, "%s%s", tab(i), harmless(cell))
		}
		fmt.Fprintln(w)
	}
	return w.Flush()
}

func (p Process) waitShowCommand() *cobra.Command {
	var a waitsAsked
	c := &cobra.Command{
		Use: "show WAIT", Short: "Show one wait: what would end it, when, and what comes then", Args: usage(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			return p.withDesk(c.Context(), a.target, func(d *explain.Desk) error {
				got, err := d.Wait(c.Context(), args[0], a.personal)
				if err != nil {
					return err
				}
				if a.json {
					return json.NewEncoder(c.OutOrStdout()).Encode(got)
				}
				v := got
				printWait(c.OutOrStdout(), v)
				return nil
			})
		},
	}
	a.target.flags(c)
	c.Flags().BoolVar(&a.json, "json", false, "one JSON object")
	c.Flags().BoolVar(&a.personal, "show-personal-data", false, "addresses unmasked")
	return c
}

func printWait(w io.Writer, v api.WaitView) {
	line := func(name, text string) {
		if text != "" {
			fmt.Fprintf(w, "  %-14s %s\n", name, harmless(text))
		}
	}
	fmt.Fprintf(w, "wait %s: %s\n", harmless(v.ID), strings.ToLower(string(v.State)))
	line("workflow", v.Workflow+", step "+v.Step+", version "+v.WorkflowVersion+", configuration "+v.ConfigVersion)
	line("contact", v.ContactKey)
	line("order", v.RootKey)
	line("opened", instant(v.OpenedAt))
	line("deadline", instant(v.Deadline))
	if v.Shadow {
		line("only watched", "its actions are written down, and nothing is sent")
	}
	if e := v.Ending; e != nil {
		line("ends when", e.Met)
		line("time", e.NotMet)
		line("then", e.ThenMet)
		line("if not", e.ThenNot)
		line("afterwards", e.Corrects)
		return
	}
	line("ended", instant(v.ClosedAt)+" by "+dash(v.DecidedBy))
	line("", v.DecidedDetail)
	line("event", v.DecidedEvent)
	if !v.CorrectedAt.IsZero() {
		line("corrected", instant(v.CorrectedAt))
	}
}

// closing is what 'waits close' was told.
type closing struct {
	waitsAsked
	met, notMet, yes bool
	by, reason       string
	told             answering
}

func (p Process) waitCloseCommand() *cobra.Command {
	var a closing
	c := &cobra.Command{
		Use:   "close [WAIT | --workflow W [--due-before T] ...] --met|--not-met [--reason TEXT]",
		Short: "End an open wait by hand, as met or not met; or all that a filter finds",
		Long: `Ends an open wait as if what it waits for had come (--met) or its time were up (--not-met): the run goes on with that branch.
It says first what will happen, and asks on a terminal; elsewhere it needs --yes. With --workflow, --contact, --order or
--due-before instead of a wait's id it counts what they find and ends all of them.

The decision goes to Kafka and takes effect when the automation stage reads it. A wait that has ended meanwhile is left alone.`,
		Args: usage(cobra.MaximumNArgs(1)),
		RunE: func(c *cobra.Command, args []string) error { return p.closeWaits(c, args, a) },
	}
	a.target.flags(c)
	a.selection(c)
	a.told.flag(c)
	f := c.Flags()
	f.BoolVar(&a.met, "met", false, "as met")
	f.BoolVar(&a.notMet, "not-met", false, "as not met")
	f.BoolVar(&a.yes, "yes", false, "do not ask")
	f.StringVar(&a.by, "by", "", "who decides (default: the name of the user)")
	f.StringVar(&a.reason, "reason", "", "why; it is told beside the name")
	f.BoolVar(&a.personal, "show-personal-data", false, "addresses unmasked")
	return c
}

// waitsCloseMax bounds the waits that one command closes.
const waitsCloseMax = 100_000

func (p Process) closeWaits(c *cobra.Command, args []string, a closing) error {
	bulk := a.workflow != "" || a.contact != "" || a.order != "" || a.due != ""
	switch {
	case a.met == a.notMet:
		return &codedError{ExitUsage, errors.New("say one of --met and --not-met")}
	case len(args) == 1 && bulk:
		return &codedError{ExitUsage, errors.New("name one wait, or say by --workflow, --contact, --order and --due-before which")}
	case len(args) == 0 && !bulk:
		return &codedError{ExitUsage, errors.New("which wait? 'tillstream waits' lists the open ones")}
	}
	if a.by == "" {
		a.by = p.user()
	}
	who, err := explain.Who(a.by, a.reason)
	if err != nil {
		return told(err)
	}
	return p.withDesk(c.Context(), a.target, func(d *explain.Desk) error {
		list, err := p.toClose(c, d, args, a)
		if err == nil && len(list) == 0 {
			return a.told.end(c, closedWaits{Waits: []string{}, Met: a.met}, func(io.Writer) {})
		}
		if err != nil {
			return err
		}
		if err := p.agreed(a.told.people(c), len(list), a.yes); err != nil {
			return err
		}
		decisions, err := p.decisions(c.Context(), a.target)
		if err != nil {
			return fmt.Errorf("nothing is changed: %w", err)
		}
		defer decisions.Close()
		d.Append = decisions.Append
		for part := range slices.Chunk(list, chsink.WaitsPageMax) {
			if err := d.Close(c.Context(), part, a.met, who); err != nil {
				return fmt.Errorf("%w; give the same command again, what ended is left alone", err)
			}
		}
		said := closedWaits{Met: a.met}
		for _, w := range list {
			said.Waits = append(said.Waits, w.ID)
		}
		return a.told.end(c, said, func(w io.Writer) {
			fmt.Fprintf(w, "The decision about %d waits is on its way; 'tillstream waits' shows it after a moment.\n", len(list))
		})
	})
}

// closedWaits is what 'waits close --json' prints.
type closedWaits struct {
	Waits []string `json:"waits"` // whose decision is on its way
	Met   bool     `json:"met"`
}

// toClose finds the open waits that are meant, and says what will happen to them.
func (p Process) toClose(c *cobra.Command, d *explain.Desk, args []string, a closing) ([]chsink.Wait, error) {
	word := "not met"
	if a.met {
		word = "met"
	}
	out := a.told.people(c)
	if len(args) == 1 {
		v, err := d.One(c.Context(), args[0])
		if err != nil {
			return nil, err
		}
		if err := explain.Closable(v.Wait); err != nil {
			return nil, err
		}
		shown := []chsink.Wait{v.Wait}
		if !a.personal {
			explain.MaskWaits(shown)
		}
		printWait(out, api.WaitView{Wait: shown[0], Ending: v.Ending})
		fmt.Fprintf(out, "It will end as %s. Then: %s.\n", word, harmless(outbound.Redact(explain.Then(v.Ending, a.met))))
		return []chsink.Wait{v.Wait}, nil
	}
	a.state = string(chsink.WaitOpen)
	f, err := a.filter(p.Now())
	if err != nil {
		return nil, err
	}
	n, err := d.Store.CountWaits(c.Context(), f)
	switch {
	case err != nil:
		return nil, err
	case n == 0:
		fmt.Fprintln(out, "No open wait is like that; nothing is changed.")
		return nil, nil
	case n > waitsCloseMax:
		return nil, fmt.Errorf("%d open waits are like that; at most %d are closed at once: narrow the choice, for example by --due-before", n, waitsCloseMax)
	}
	fmt.Fprintf(out, "%d open waits will end as %s.\n", n, word)
	var list []chsink.Wait
	for f.Limit = chsink.WaitsPageMax; len(list) <= waitsCloseMax; {
		page, err := d.Store.Waits(c.Context(), f)
		if err != nil {
			return nil, err
		}
		list = append(list, page.Waits...)
		if f.After = page.Next; f.After == "" {
			break
		}
	}
	// What was opened since it was counted is not part of it.
	return list[:min(len(list), int(n))], nil
}

// agreed asks on a terminal.
func (p Process) agreed(out io.Writer, n int, yes bool) error {
	if yes {
		return nil
	}
	in := p.terminal()
	if in == nil {
		return &codedError{ExitUsage, errors.New("nothing is changed: there is no terminal to ask on; say --yes")}
	}
	fmt.Fprintf(out, "Close %d? [y/N] ", n)
	answer, err := readLine(bufio.NewReader(in))
	if err != nil || answer != "y" && answer != "yes" {
		return errors.Join(err, errors.New("nothing is changed"))
	}
	return nil
}

// user is the name of who runs the command.
func (p Process) user() string {
	for _, key := range []string{"USER", "LOGNAME", "USERNAME"} {
		if name, ok := p.Getenv(key); ok && name != "" {
			return name
		}
	}
	return "somebody at the command line"
}

// decisions reaches Kafka where ClickHouse is found.
func (p Process) decisions(ctx context.Context, t target) (*app.Decisions, error) {
	k, r, err := p.kafkaAt(t)
	if err != nil {
		return nil, err
	}
	return app.OpenDecisions(ctx, k, r)
}
