package cli

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"sync/atomic"
	"time"

	clickhouse "github.com/ClickHouse/clickhouse-go/v2"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/tillstream/tillstream/internal/app"
	"github.com/tillstream/tillstream/internal/history"
	"github.com/tillstream/tillstream/internal/local"
	"github.com/tillstream/tillstream/internal/scenarios"
	"github.com/tillstream/tillstream/pipeline/config"
	"github.com/tillstream/tillstream/schemas"
)

// generated is what the command is told.
type generated struct {
	target
	events, days    int
	seed            int64
	until, rules    string
	kafka, intoCH   bool
	base            int
	whateverIsThere bool
}

// Bounds of a past. One beyond baseEventsMax is made of copies.
const (
	generateEventsMax = 200_000_000
	generateDaysMax   = 3_650
	baseEventsMax     = 200_000
)

// keepersMax is how many deliveries wait for Kafka at once; those of one account and root go one after the other.
const keepersMax = 64

func (p Process) generateCommand() *cobra.Command {
	var g generated
	c := &cobra.Command{
		Use:   "generate --events N --days D (--clickhouse-tables | --kafka)",
		Short: "Make up a realistic history, to try reports, dashboards and loads on",
		Long: `Makes up the past of several shops: orders and subscriptions of returning customers in several currencies, more in the
evening than at night and before Christmas than in summer, failed payments that come after all or never, refunds, disputes,
churn, webhooks that come twice or late, and a CRM that is slow, full or away. The same seed makes the same history.

  --clickhouse-tables  fills the tables: events, transitions, runs, commands, deliveries and dead letters, as the real stages make
                       them of the events. Beyond 200,000 events the history happens to further people at the same moments.
                       It refuses tables that hold anything else.
  --kafka              puts the deliveries on Kafka as the receiver would; running processes do the rest, and the CRM
                       that they are configured for is written to. Needs --config with PayPal connections of the environment sandbox.

  tillstream generate --events 2000000 --days 365 --clickhouse-tables --data ./data`,
		Args: usage(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error { return p.generate(c, g) },
	}
	g.target.flags(c)
	f := c.Flags()
	f.IntVar(&g.events, "events", 100_000, "events of providers, about")
	f.IntVar(&g.days, "days", 365, "days that the history is long")
	f.Int64Var(&g.seed, "seed", 1, "the same seed makes the same history")
	f.StringVar(&g.until, "until", "", "its end: 2026-11-01, or 2026-11-01T12:00:00Z (default: the last midnight, UTC)")
	f.StringVar(&g.rules, "rules", "", "folder of a configuration whose accounts, mappings and workflows to go by, with --clickhouse-tables (default: three accounts, three workflows)")
	f.BoolVar(&g.kafka, "kafka", false, "put deliveries on Kafka")
	f.BoolVar(&g.intoCH, "clickhouse-tables", false, "fill the tables of ClickHouse")
	f.BoolVar(&g.whateverIsThere, "whatever-is-there", false, "with --clickhouse-tables: also where the tables hold other rows")
	f.IntVar(&g.base, "base-events", baseEventsMax, "events that are made up one by one; the rest are copies")
	_ = f.MarkHidden("base-events") // for tests
	return c
}

func (g generated) options(now time.Time) (o history.Options, err error) {
	wrong := func(format string, args ...any) (history.Options, error) {
		return o, &codedError{ExitUsage, fmt.Errorf(format, args...)}
	}
	switch {
	case g.kafka == g.intoCH:
		return wrong("say where to: --clickhouse-tables or --kafka")
	case g.events < 1 || g.events > generateEventsMax:
		return wrong("--events %d: use 1 to %d", g.events, generateEventsMax)
	case g.days < 1 || g.days > generateDaysMax:
		return wrong("--days %d: use 1 to %d", g.days, generateDaysMax)
	case g.base < 1:
		return wrong("--base-events %d: use 1 or more", g.base)
	case g.kafka && g.config == "":
		return wrong("--kafka needs --config: the configuration whose Kafka and connections to use")
	}
	end := now.UTC().Truncate(24 * time.Hour)
	if g.until != "" {
		if end, _, err = parseWhen(g.until, now); err != nil {
			return wrong("--until %q: %w", g.until, err)
		}
	}
	return history.Options{Seed: g.seed, Events: g.events, Start: end.AddDate(0, 0, -g.days), End: end}, nil
}

func (p Process) generate(c *cobra.Command, g generated) error {
	o, err := g.options(p.Now())
	if err != nil {
		return err
	}
	if g.kafka {
		return p.generateKafka(c.Context(), c.OutOrStdout(), g, o)
	}
	return p.generateTables(c, g, o)
}

func (p Process) generateTables(c *cobra.Command, g generated, o history.Options) error {
	ctx := c.Context()
	files, err := history.Files()
	if g.rules != "" {
		files, err = scenarios.Files(g.rules)
	}
	if err != nil {
		return err
	}
	if err := o.Follow(&scenarios.Loader{Connectors: p.Connectors, Sinks: p.Sinks, Getenv: local.Environment(g.rules, p.Getenv)}, g.rules, files); err != nil {
		return err
	}
	if len(o.Connections) == 0 {
		return &codedError{ExitUsage, fmt.Errorf("%s has no connection of the connector paypal", g.rules)}
	}
	where, err := p.where(g.target)
	if err != nil {
		return err
	}
	store, err := p.open(ctx, g.target)
	if err != nil {
		return err
	}
	defer store.Close()
	if err := store.Prepare(ctx); err != nil {
		return unreachable(err)
	}
	conn, err := clickhouse.Open(longQueries(app.ClickHouseOptions(where)))
	if err != nil {
		return err
	}
	defer conn.Close()
	others, err := history.Strangers(ctx, conn)
	switch {
	case err != nil:
		return err
	case others > 0 && !g.whateverIsThere:
		return fmt.Errorf("the tables hold %d rows of a real log, which would no longer be told apart in reports: use another database, or say --whatever-is-there", others)
	}
	began := p.Now()
	copies := max(1, (o.Events+g.base/2)/g.base) - 1
	o.Events /= copies + 1
	records, err := history.Make(o)
	if err != nil {
		return err
	}
	placed := history.Place(records)
	rows := 0
	count := func(n int) { rows += n }
	fmt.Fprintf(c.ErrOrStderr(), "%d records are made up (%s)\n", len(records), p.Now().Sub(began).Round(time.Second))
	if err := placed.Insert(ctx, store, o.Seed, count); err != nil {
		return err
	}
	if copies > 0 {
		fmt.Fprintf(c.ErrOrStderr(), "%d rows are in ClickHouse (%s); they happen to %d times as many people now\n", rows, p.Now().Sub(began).Round(time.Second), copies+1)
		if err := placed.Copy(ctx, conn, o.Seed, copies, count); err != nil {
			return err
		}
	}
	events := 0
	for _, r := range records {
		if _, ok := r.Rec.(*schemas.OrderEvent); ok {
			events += copies + 1
		}
	}
	_, err = fmt.Fprintf(c.OutOrStdout(), "%d events, %d rows in all, from %s to %s, in %s\n", events, rows, o.Start.Format(time.DateOnly), o.End.Format(time.DateOnly), p.Now().Sub(began).Round(time.Second))
	return err
}

// copyTimeout bounds one statement that copies rows.
const copyTimeout = 10 * time.Minute

func longQueries(o *clickhouse.Options) *clickhouse.Options {
	o.ReadTimeout = copyTimeout
	return o
}

// generateKafka keeps deliveries as the receiver does. Those of one root go in their order.
func (p Process) generateKafka(ctx context.Context, out io.Writer, g generated, o history.Options) error {
	cfg, err := p.loadConfig(g.config, p.Getenv)
	if err != nil {
		return err
	}
	for _, c := range history.Connections(cfg) {
		if c.Environment == schemas.Sandbox {
			o.Connections = append(o.Connections, c)
		}
	}
	if len(o.Connections) == 0 {
		return &codedError{ExitUsage, errors.New("the configuration has no PayPal connection of the environment sandbox; made-up events are not put among live ones")}
	}
	s, err := app.OpenSources(ctx, cfg, p.Now, p.logger(config.Telemetry{LogLevel: "error", LogFormat: "text"}))
	if err != nil {
		return err
	}
	defer s.Close()
	began := p.Now()
	list := history.Arrivals(o)
	var lanes [keepersMax]chan history.Arrival
	var kept atomic.Int64
	group, ctx := errgroup.WithContext(ctx)
	for i := range lanes {
		lanes[i] = make(chan history.Arrival, 16)
		group.Go(func() error {
			for a := range lanes[i] {
				events, err := s.Keeper.Keep(ctx, a.Connection.Connector, a.Delivery)
				if err != nil {
					return fmt.Errorf("%d of %d deliveries are kept; generate the same again, what is kept is recognised: %w", kept.Load(), len(list), err)
				}
				kept.Add(int64(min(1, len(events))))
			}
			return nil
		})
	}
	group.Go(func() error {
		defer func() {
			for _, l := range lanes {
				close(l)
			}
		}()
		for _, a := range list {
			h := fnv.New32a()
			_, _ = h.Write([]byte(a.Root)) // a hash does not fail
			select {
			case lanes[h.Sum32()%keepersMax] <- a:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return nil
	})
	if err := group.Wait(); err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "%d deliveries are on Kafka, from %s to %s, in %s\n", kept.Load(), o.Start.Format(time.DateOnly), o.End.Format(time.DateOnly), p.Now().Sub(began).Round(time.Second))
	return err
}
