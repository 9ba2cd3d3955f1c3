package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/tillstream/tillstream/embedded"
	"github.com/tillstream/tillstream/internal/app"
	"github.com/tillstream/tillstream/internal/backtest"
	"github.com/tillstream/tillstream/internal/local"
	"github.com/tillstream/tillstream/internal/scenarios"
	"github.com/tillstream/tillstream/pipeline/clock"
	"github.com/tillstream/tillstream/pipeline/config"
	"github.com/tillstream/tillstream/pipeline/kafka"
	"github.com/tillstream/tillstream/schemas/registry"
)

// backtestGC is the garbage collector's percentage while a backtest runs: nothing else does, so memory may pay for time.
const backtestGC = 300

// backtestAsked is what the command is told.
type backtestAsked struct {
	config, against, data string
	since, until, format  string
	all, json             bool
}

func (p Process) backtestCommand() *cobra.Command {
	var a backtestAsked
	c := &cobra.Command{
		Use:   "backtest --config NEW [--since 30d]",
		Short: "Say what a configuration would have done with the events of the last days, before it goes live; sends nothing",
		Long: `Reads the recorded events from Kafka and runs them through the stages in memory, under virtual time: with the configuration
that is in force, and with the new one in its place from --since on. It prints the effects that the new one adds, removes and
changes, with the contacts and the money concerned, and beside them what really happened in that time.

"elsewhere" counts effects in which the configuration in force, run again, differs from what really happened. That is not the new
configuration's doing: the configuration was edited meanwhile, the log no longer has the beginning, or a list was answered for
at another time. What new questions about lists ask is answered by what was last known of the contact; what nobody knows is told.

Where Kafka is: --against names the configuration of the running system; without it, the running 'dev' in --data; without that,
the new configuration's own ` + config.SettingsFile + `.`,
		Args: usage(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error { return p.backtest(c, a) },
	}
	f := c.Flags()
	f.StringVar(&a.config, "config", "", "folder of the new configuration")
	f.StringVar(&a.against, "against", "", "folder of the running system's configuration (default: that of the topic config)")
	f.StringVar(&a.data, "data", "data", "data folder of a running 'tillstream dev'")
	f.StringVar(&a.since, "since", "30d", "begin: 24h, 30d, 2026-11-01, or 2026-11-01T12:00:00Z")
	f.StringVar(&a.until, "until", "", "end, like --since (default: now)")
	f.StringVar(&a.format, "format", "table", "table or json")
	f.BoolVar(&a.json, "json", false, "the same as --format json")
	f.BoolVar(&a.all, "all", false, "list what does not change, too")
	return c
}

func (p Process) backtest(c *cobra.Command, a backtestAsked) error {
	o, err := p.backtestSpan(&a)
	if err != nil {
		return err
	}
	l := &scenarios.Loader{Connectors: p.Connectors, Sinks: p.Sinks, Getenv: local.Environment(a.config, p.Getenv)}
	if o.New, _, err = p.rulesOf(l, a.config, nil); err != nil {
		return err
	}
	where, err := p.logOf(a)
	if err != nil {
		return err
	}
	cluster, err := kafka.NewCluster(where.kafka, clock.System(), p.logger(config.Telemetry{LogLevel: "warn", LogFormat: "text"}))
	if err != nil {
		return err
	}
	defer cluster.Close()
	where.registry.HTTP = &http.Client{Timeout: askTimeout}
	source, err := backtest.OpenLog(cluster, registry.New(where.registry))
	if err != nil {
		return err
	}
	defer source.Close()
	if err := p.current(c.Context(), l, a, source, &o); err != nil {
		return err
	}
	if o.Answers, err = source.Facts(c.Context()); err != nil {
		return fmt.Errorf("read the answers about lists: %w", err)
	}
	began := p.Now()
	meter := p.rowMeter("events", 0)
	seen := 0
	o.Progress = func(events int, _ time.Time) {
		for ; seen < events; seen++ {
			meter.step()
		}
	}
	defer debug.SetGCPercent(debug.SetGCPercent(backtestGC))
	report, err := backtest.Run(c.Context(), o, source)
	meter.end()
	if err != nil {
		return err
	}
	took := p.Now().Sub(began)
	if a.format == "json" {
		enc := json.NewEncoder(c.OutOrStdout())
		enc.SetIndent("", "  ")
		return enc.Encode(report)
	}
	if err := printBacktest(c.OutOrStdout(), report, a.all); err != nil {
		return err
	}
	_, err = fmt.Fprintf(c.ErrOrStderr(), "%d events in %s\n", report.Events, took.Round(time.Millisecond))
	return err
}

func (p Process) backtestSpan(a *backtestAsked) (o backtest.Options, err error) {
	if a.json {
		a.format = "json"
	}
	if !slices.Contains([]string{"table", "json"}, a.format) {
		return o, &codedError{ExitUsage, fmt.Errorf("--format %q: use table or json", a.format)}
	}
	if a.config == "" {
		return o, &codedError{ExitUsage, errors.New("say which configuration to try: --config DIR")}
	}
	now := p.Now()
	if o.Since, _, err = parseWhen(a.since, now); err != nil {
		return o, &codedError{ExitUsage, fmt.Errorf("--since %q: %w", a.since, err)}
	}
	if o.Until = now; a.until != "" {
		if o.Until, _, err = parseWhen(a.until, now); err != nil {
			return o, &codedError{ExitUsage, fmt.Errorf("--until %q: %w", a.until, err)}
		}
	}
	if !o.Since.Before(o.Until) {
		return o, &codedError{ExitUsage, errors.New("--since lies after the end of the span")}
	}
	return o, nil
}

// rulesOf compiles a configuration: that of a folder, or the files of a version.
func (p Process) rulesOf(l *scenarios.Loader, dir string, files map[string]string) (backtest.Rules, *config.Config, error) {
	if files == nil {
		if info, err := os.Stat(dir); err != nil || !info.IsDir() {
			return backtest.Rules{}, nil, &codedError{ExitUsage, fmt.Errorf("%s: no such folder", dir)}
		}
		var err error
		if files, err = scenarios.Files(dir); err != nil {
			return backtest.Rules{}, nil, err
		}
	}
	cfg, rules, err := l.Compile(dir, files)
	if err != nil {
		return backtest.Rules{}, nil, err
	}
	return backtest.Rules{Version: cfg.Version, Orders: app.OrdersOptions(cfg.Settings.Stages), Rules: rules}, cfg, nil
}

// current is the configuration to compare with: that of --against, or the one in force.
func (p Process) current(ctx context.Context, l *scenarios.Loader, a backtestAsked, source *backtest.Recorded, o *backtest.Options) error {
	var err error
	if a.against != "" {
		o.Current, _, err = p.rulesOf(l, a.against, nil)
	} else {
		inForce, readErr := source.InForce(ctx)
		switch {
		case readErr != nil:
			return fmt.Errorf("read which configuration is in force: %w", readErr)
		case inForce == nil:
			return errors.New("no configuration was ever in force there; name one to compare with: --against DIR")
		}
		o.Current, _, err = p.rulesOf(l, a.config, inForce.Files)
	}
	if err != nil {
		return fmt.Errorf("the configuration to compare with: %w", err)
	}
	return nil
}

// logAt is where the recorded log is.
type logAt struct {
	kafka    kafka.Options
	registry registry.Options
}

func (p Process) logOf(a backtestAsked) (logAt, error) {
	dir := a.against
	if dir == "" {
		found, err := embedded.Discover(a.data)
		switch {
		case err == nil && len(found.Kafka) > 0:
			return logAt{kafka.Options{Brokers: found.Kafka}, registry.Options{URL: found.Registry}}, nil
		case err != nil && !errors.Is(err, embedded.ErrNotRunning):
			return logAt{}, err
		}
		dir = a.config
	}
	cfg, err := p.loadConfig(dir, p.Getenv)
	if err != nil {
		return logAt{}, fmt.Errorf("where Kafka is, %s does not say: %w", filepath.Join(dir, config.SettingsFile), err)
	}
	r := cfg.Settings.Registry
	return logAt{cfg.Settings.Kafka, registry.Options{URL: r.URL, User: r.User, Password: r.Password}}, nil
}

func printBacktest(w io.Writer, r *backtest.Report, all bool) error {
	fmt.Fprintf(w, "Configuration %s in the place of %s, %s to %s UTC; %d events on the log.\n\n", r.New, r.Current,
		r.Since.Format(minuteForm), r.Until.Format(minuteForm), r.Events)
	tw := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	fmt.Fprintln(tw, "rule\teffect\tat\treally\tnow\tnew\tadded\tremoved\tchanged\telsewhere\tcontacts\tmoney")
	shown := 0
	for _, g := range r.Groups {
		if !all && g.Added+g.Removed+g.Changed == 0 {
			continue
		}
		shown++
		fmt.Fprintf(tw, "%s\t%s\t%s\t%d\t%d\t%d\t%s\t%s\t%s\t%s\t%d\t%s\n", harmless(g.Rule), harmless(g.Effect), harmless(g.Destination), g.Really, g.Current, g.New,
			signed("+", g.Added), signed("-", g.Removed), signed("~", g.Changed), signed("", g.Elsewhere), g.Contacts, sums(g.Money))
	}
	if shown > 0 {
		if err := tw.Flush(); err != nil {
			return err
		}
	} else {
		fmt.Fprintln(w, "No effect differs.")
	}
	printSamples(w, r)
	printWorkflows(w, r)
	if r.Contacts > 0 {
		fmt.Fprintf(w, "\nAll in all: %s, orders worth %s.\n", numbered(r.Contacts, "contact"), orNothing(sums(r.Money)))
	}
	if n := r.DeadLetters; n[0] != n[1] {
		fmt.Fprintf(w, "Dead letters: %d now, %d with the new configuration.\n", n[0], n[1])
	}
	if n := r.Unanswered[1]; n > 0 {
		fmt.Fprintf(w, "%s about lists have no recorded answer: there the runs went on as if the CRM had not answered.\n", numbered(n, "question"))
	}
	if r.Elsewhere > 0 {
		fmt.Fprintf(w, "In %d effects the configuration in force, run again, differs from what really happened; see 'tillstream backtest --help'.\n", r.Elsewhere)
	}
	return nil
}

func printSamples(w io.Writer, r *backtest.Report) {
	for _, g := range r.Groups {
		if len(g.Samples) == 0 {
			continue
		}
		fmt.Fprintf(w, "\n%s  %s\n", harmless(g.Rule), harmless(g.Effect))
		tw := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
		for _, s := range g.Samples {
			fmt.Fprintf(tw, "  %s\t%s\torder %s\t%s\tevent %s\n", s.Kind, s.At.Format(minuteForm), harmless(s.Order), s.Contact, harmless(s.Event))
		}
		_ = tw.Flush() // the next line of w fails, too
	}
}

func printWorkflows(w io.Writer, r *backtest.Report) {
	if len(r.Workflows) == 0 {
		return
	}
	fmt.Fprintln(w)
	tw := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	fmt.Fprintln(tw, "workflow (now > new)\tstarted\tmet\tnot met\tcorrected\theld\tfailed")
	for _, f := range r.Workflows {
		pair := func(a, b int) string { return fmt.Sprintf("%d > %d", a, b) }
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", harmless(f.Name), pair(f.Current.Started, f.New.Started), pair(f.Current.Met, f.New.Met),
			pair(f.Current.NotMet, f.New.NotMet), pair(f.Current.Corrected, f.New.Corrected), pair(f.Current.Held, f.New.Held), pair(f.Current.Failed, f.New.Failed))
	}
	_ = tw.Flush() // the next line of w fails, too
}

func signed(sign string, n int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf("%s%d", sign, n)
}

// sums are amounts by currency, in the order of its name.
func sums(money map[string]string) string {
	parts := make([]string, 0, len(money))
	for currency, value := range money {
		parts = append(parts, value+" "+currency)
	}
	slices.SortFunc(parts, func(a, b string) int { return strings.Compare(a[len(a)-3:], b[len(b)-3:]) })
	return strings.Join(parts, ", ")
}

func orNothing(text string) string {
	if text == "" {
		return "nothing known"
	}
	return text
}
