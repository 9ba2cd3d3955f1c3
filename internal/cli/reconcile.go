package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/tillstream/tillstream/connectors"
	"github.com/tillstream/tillstream/internal/app"
	"github.com/tillstream/tillstream/pipeline/config"
	"github.com/tillstream/tillstream/pipeline/poll"
)

// gapsShown bounds the gaps that are printed; --json has more.
const gapsShown = 100

// asking is what reconcile and backfill are told alike.
type asking struct {
	config, since, until string
	feeds                []string
	dryRun, json         bool
}

func (a *asking) flags(c *cobra.Command, since string) {
	f := c.Flags()
	f.StringVar(&a.config, "config", "config", "folder of the configuration")
	f.StringVar(&a.since, "since", since, "begin: 24h, 30d, 2026-11-01, or 2026-11-01T12:00:00Z")
	f.StringVar(&a.until, "until", "", "end, like --since (default: now)")
	f.StringSliceVar(&a.feeds, "feeds", nil, "the provider's lists to read, by comma (default: all that serve)")
	f.BoolVar(&a.dryRun, "dry-run", false, "append nothing")
	f.BoolVar(&a.json, "json", false, "one JSON object for each connection, a line each")
}

// span reads --since and --until. day cuts a begin that is given as a duration to the begin of its day (UTC).
func (a *asking) span(now time.Time, day bool) (s poll.Span, err error) {
	if a.since == "" {
		return s, &codedError{ExitUsage, errors.New("say from when on: --since 30d, or --since 2026-11-01")}
	}
	var relative bool
	if s.From, relative, err = parseWhen(a.since, now); err != nil {
		return s, &codedError{ExitUsage, fmt.Errorf("--since %q: %w", a.since, err)}
	}
	if relative && day {
		s.From = s.From.UTC().Truncate(24 * time.Hour)
	}
	if a.until != "" {
		if s.To, _, err = parseWhen(a.until, now); err != nil {
			return s, &codedError{ExitUsage, fmt.Errorf("--until %q: %w", a.until, err)}
		}
	}
	if end := s.To; !s.From.Before(now) || !end.IsZero() && !s.From.Before(end) {
		return s, &codedError{ExitUsage, errors.New("--since lies after the end of the span")}
	}
	return s, nil
}

// agoMax is the longest duration that --since takes: longer ones are surely mistaken.
const agoMax = 100 * 365 * 24 * time.Hour

// parseWhen reads a time: a duration ago (h, m, or d for days), a day (UTC), or RFC 3339.
func parseWhen(text string, now time.Time) (t time.Time, relative bool, err error) {
	for _, layout := range []string{time.DateOnly, time.RFC3339} {
		if t, err := time.Parse(layout, text); err == nil {
			return t, false, nil
		}
	}
	ago, err := time.ParseDuration(text)
	if days, ok := strings.CutSuffix(text, "d"); ok {
		var n int
		if n, err = strconv.Atoi(days); err == nil && n > 0 && n <= int(agoMax.Hours()/24) {
			ago = time.Duration(n) * 24 * time.Hour
		}
	}
	if err != nil || ago <= 0 || ago > agoMax {
		return t, false, errors.New("write 24h, 30d, 2026-11-01, or 2026-11-01T12:00:00Z")
	}
	return now.Add(-ago), true, nil
}

// pick is the connection of that name, or all of that connector type.
func pick(cfg *config.Config, name string) ([]config.Connection, error) {
	var byType []config.Connection
	var names []string
	for _, c := range cfg.Connections {
		if c.Name == name {
			return []config.Connection{c}, nil
		}
		if c.Connector.Type == name {
			byType = append(byType, c)
		}
		names = append(names, c.Name)
	}
	if len(byType) == 0 {
		slices.Sort(names)
		return nil, &codedError{ExitUsage, fmt.Errorf("there is no connection %q, and none of that type; connections are %s", name, strings.Join(names, ", "))}
	}
	return byType, nil
}

// sweep opens one connection and hands what is needed to ask it.
func (p Process) sweep(ctx context.Context, s *app.Sources, c config.Connection, a asking, span poll.Span, run func(poll.Sweep) error) error {
	source, err := s.Connect(ctx, c)
	if err != nil {
		return err
	}
	defer source.Close()
	poller, ok := source.(connectors.Poller)
	if !ok {
		return fmt.Errorf("%s: %s has no list that could be read", c.Name, c.Connector.Title)
	}
	show := p.pollMeter(c.Name)
	defer show.end()
	return run(poll.Sweep{
		Connection: poll.Connection{Name: c.Name, Environment: c.Environment, Connector: c.Connector, Poller: poller},
		Span:       span, Feeds: a.feeds, DryRun: a.dryRun,
		Log: s.Log, Decoder: s.Codec, Keeper: s.Keeper, Lines: p.logger(config.Telemetry{LogLevel: "warn", LogFormat: "text"}), Progress: show.show,
	})
}

func (p Process) openSources(ctx context.Context, cfg *config.Config) (*app.Sources, error) {
	return app.OpenSources(ctx, cfg, p.Now, p.logger(config.Telemetry{LogLevel: "warn", LogFormat: "text"}))
}

// pollMeter shows progress on a terminal, in one line that is written over.
type pollMeter struct {
	out   io.Writer // nil: no terminal
	now   func() time.Time
	name  string
	shown time.Time
	width int
}

const pollMeterEvery = 200 * time.Millisecond

func (p Process) pollMeter(name string) *pollMeter {
	m := &pollMeter{now: p.Now, name: name}
	if isTerminal(p.Stderr) {
		m.out = p.Stderr
	}
	return m
}

func (m *pollMeter) show(p poll.Progress) {
	if m.out == nil || m.now().Sub(m.shown) < pollMeterEvery {
		return
	}
	m.shown = m.now()
	text := m.name + ": " + p.Step
	if p.Feed != "" {
		text += fmt.Sprintf(" %s, through %s, %d listed", p.Feed, p.Through.UTC().Format("2006-01-02 15:04"), p.Listed)
	}
	if p.Of > 0 {
		text += fmt.Sprintf(" of %d", p.Of)
	}
	if p.Kept > 0 {
		text += fmt.Sprintf(", %d appended", p.Kept)
	}
	fmt.Fprintf(m.out, "\r%-*s", m.width, text)
	m.width = len(text)
}

func (m *pollMeter) end() {
	if m.width > 0 {
		fmt.Fprintf(m.out, "\r%*s\r", m.width, "")
	}
}

func (p Process) reconcileCommand() *cobra.Command {
	var a asking
	c := &cobra.Command{
		Use:   "reconcile CONNECTION|TYPE [--since 24h] [--until WHEN] [--dry-run]",
		Short: "Compare what a provider lists with what was received, hour by hour, and mend what is missing",
		Long: `Reads all lists of a connection's provider (of all connections of a type, such as paypal), compares them with the log, and
prints how many changes were listed, received, missing and repaired in each hour, and each gap with its cause where the provider
names one. What is missing is appended like an event that was polled, and then looked for on the log. It may run while
everything else does.

Exit code 0: all that is listed is on the log. 5: something is missing still, or, with --dry-run, at all. 1: a list or the log
could not be read or written.`,
		Args: usage(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) error { return p.reconcile(c.Context(), args[0], a) },
	}
	a.flags(c, "24h")
	return c
}

func (p Process) reconcile(ctx context.Context, name string, a asking) error {
	span, err := a.span(p.Now(), false)
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
	s, err := p.openSources(ctx, cfg)
	if err != nil {
		return err
	}
	defer s.Close()
	var errs []error
	var open int64
	for _, c := range list {
		var r poll.Report
		err := p.sweep(ctx, s, c, a, span, func(o poll.Sweep) (err error) {
			r, err = poll.Reconcile(ctx, o)
			return err
		})
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", c.Name, err))
		}
		open += r.Total.Missing - r.Total.Repaired
		if r.Connection != "" { // it came so far
			if err := printReport(p.Stdout, r, a.json); err != nil {
				return err
			}
		}
	}
	switch {
	case len(errs) > 0:
		return errors.Join(errs...)
	case open > 0 && a.dryRun:
		return &codedError{ExitGaps, fmt.Errorf("%d changes are missing; run it without --dry-run to append them", open)}
	case open > 0:
		return &codedError{ExitGaps, fmt.Errorf("%d changes are still missing; see whether Kafka takes records, and run it again", open)}
	}
	return nil
}

const (
	minuteForm = "2006-01-02 15:04"
	secondForm = "2006-01-02 15:04:05"
)

func printReport(w io.Writer, r poll.Report, asJSON bool) error {
	if asJSON {
		return json.NewEncoder(w).Encode(r)
	}
	fmt.Fprintf(w, "%s (%s), %s to %s UTC\n\n", r.Connection, r.Environment, r.Span.From.UTC().Format(minuteForm), r.Span.To.UTC().Format(minuteForm))
	if r.LogSince != nil {
		fmt.Fprintf(w, "The log reaches back to %s only: what was received before cannot be told from what was not.\n\n", r.LogSince.UTC().Format(minuteForm))
	}
	tw := tabwriter.NewWriter(w, 0, 4, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(tw, "hour (UTC)\tlisted\treceived\tmissing\trepaired\t")
	row := func(name string, c poll.Counts) {
		fmt.Fprintf(tw, "%s\t%d\t%d\t%d\t%d\t\n", name, c.Listed, c.Received, c.Missing, c.Repaired)
	}
	for _, h := range r.Hours {
		row(h.From.UTC().Format(minuteForm), h.Counts)
	}
	row("total", r.Total)
	for _, f := range r.Feeds {
		row("of "+f.Feed, f.Counts)
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	for _, f := range r.Feeds {
		if f.Beyond != nil {
			fmt.Fprintf(w, "%s: the provider lists nothing before %s.\n", f.Feed, f.Beyond.To.UTC().Format(minuteForm))
		}
		if f.Error != "" {
			fmt.Fprintf(w, "%s: not read to the end: %s\n", f.Feed, f.Error)
		}
	}
	return printGaps(w, r)
}

func printGaps(w io.Writer, r poll.Report) error {
	if len(r.Gaps) == 0 {
		return nil
	}
	fmt.Fprintln(w, "\nMissing:")
	tw := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	for i, g := range r.Gaps {
		if i == gapsShown {
			break
		}
		state := "missing"
		if g.Repaired {
			state = "repaired"
		}
		fmt.Fprintf(tw, "  %s\t%s\t%s\t%s\t%s\t%s\n", g.At.UTC().Format(secondForm), state, g.EventID, g.Type, g.Entity, g.Cause)
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	if left := len(r.Gaps) + r.GapsLeftOut - gapsShown; left > 0 {
		fmt.Fprintf(w, "  ... %d more; --json shows %d\n", left, len(r.Gaps))
	}
	return nil
}
