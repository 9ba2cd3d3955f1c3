package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/tillstream/tillstream/internal/app"
	"github.com/tillstream/tillstream/internal/local"
	"github.com/tillstream/tillstream/pipeline/config"
	"github.com/tillstream/tillstream/simulators/paypal"
)

type demoOptions struct {
	local.Options
	orders     int
	rate       float64
	exit, json bool
	timeout    time.Duration
}

func (p Process) demoCommand() *cobra.Command {
	var o demoOptions
	var brokers string
	c := &cobra.Command{
		Use:   "demo",
		Short: "Play a story on one machine and show what happened",
		Long: `Starts everything (embedded unless --kafka, --registry or --redis name real parts), plays the events of two PayPal accounts
with duplicates and disorder, and ends with the counts of every step, one order's trace and a report. lost and doubled
compare the CRM and ClickHouse with an independent fold of what the simulator sent.`,
		Args: usage(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			if o.orders < 1 {
				return &codedError{ExitUsage, fmt.Errorf("--orders %d: a story has 1 order or more", o.orders)}
			}
			if o.rate < 0 || o.CRMRate < 0 {
				return &codedError{ExitUsage, errors.New("--rate and --crm-rate are 0 (no limit) or more")}
			}
			if brokers != "" {
				o.Kafka = strings.Split(brokers, ",")
			}
			return p.demo(c, o)
		},
	}
	f := c.Flags()
	f.IntVar(&o.orders, "orders", 300, "orders and subscriptions in the story (about four events each)")
	f.Float64Var(&o.rate, "rate", 0, "events a second; 0: as fast as they are taken")
	f.BoolVar(&o.exit, "exit", false, "stop at the end of the story")
	f.BoolVar(&o.json, "json", false, "the last line is one JSON object with every count")
	f.Float64Var(&o.CRMRate, "crm-rate", 0, "requests a second that the simulated CRM account allows (a real one: 5; 0: no limit)")
	f.Int64Var(&o.Seed, "seed", 1, "seed of the story")
	f.StringVar(&o.Dir, "data", "", "folder of the data (default: a new temporary one, removed at the end)")
	f.StringVar(&brokers, "kafka", "", "addresses of a real Kafka, by comma")
	f.StringVar(&o.Registry, "registry", "", "address of a real schema registry")
	f.StringVar(&o.Redis, "redis", "", "address of a real Redis")
	f.DurationVar(&o.timeout, "timeout", 10*time.Minute, "give up when the story is not through by then")
	return c
}

// demoFaults are the habits of the simulated provider: what PayPal is known to do, more often.
var demoFaults = paypal.Faults{DuplicateRate: 0.08, DisorderRate: 0.15, LateRate: 0.03, DisorderDelay: 300 * time.Millisecond, LateDelay: 4 * time.Second}

func (p Process) demo(c *cobra.Command, o demoOptions) error {
	began := p.Now()
	o.Simulators, o.Now, o.PayPalFaults = true, p.Now, demoFaults
	o.Log = p.logger(config.Telemetry{LogLevel: "error", LogFormat: "text"})
	if o.Dir == "" {
		dir, err := os.MkdirTemp("", "tillstream-demo-")
		if err != nil {
			return fmt.Errorf("data folder: %w", err)
		}
		defer os.RemoveAll(dir)
		o.Dir = dir
	}
	s := &show{out: p.Stdout, now: p.Now, began: began}
	if o.json && o.exit {
		s.out = p.Stderr // stdout holds the result alone
	}
	s.line("Starting Kafka, schema registry, Redis and ClickHouse in this process, and simulators of PayPal and ActiveCampaign ...")
	cluster, err := local.Start(c.Context(), o.Options)
	if err != nil {
		return err
	}
	defer cluster.Close()
	cfg, err := p.loadConfig(filepath.Join(cluster.Dir, local.ConfigFolder), cluster.Getenv(p.Getenv))
	if err != nil {
		return err
	}
	for i := range cfg.Destinations {
		if cfg.Destinations[i].RatePerSecond = o.CRMRate; o.CRMRate == 0 {
			cfg.Destinations[i].RatePerSecond = -1
		}
	}
	if o.CRMRate == 0 {
		s.line("The simulated CRM account's limit is lifted, so that the story ends soon; --crm-rate 5 shows the real one.")
	}
	ctx, stop := context.WithCancel(c.Context())
	defer stop()
	group, ctx := errgroup.WithContext(ctx)
	started := make(chan app.Addresses, 1)
	group.Go(func() error {
		return app.Run(ctx, app.Options{
			Config: cfg, Roles: app.AllRoles, Version: version, Now: p.Now, Log: p.logger(cfg.Settings.Telemetry),
			ClickHouse: cluster.ClickHouse(), Healthy: cluster.Services.Healthy, Receiving: cluster.Receive,
			Started: func(a app.Addresses) { started <- a },
		})
	})
	var outcome error
	group.Go(func() error {
		defer stop()
		d := demo{o: o, cluster: cluster, cfg: cfg, show: s, process: p}
		select {
		case d.addresses = <-started:
		case <-ctx.Done():
			return ctx.Err()
		}
		outcome = d.play(ctx)
		return outcome
	})
	err = group.Wait()
	if outcome != nil && !errors.Is(outcome, context.Canceled) {
		return outcome
	}
	if c.Context().Err() != nil || errors.Is(err, context.Canceled) {
		return nil // Ctrl-C is how a demo ends
	}
	return err
}

// result is the last line of --json.
func (d *demo) result(r demoResult) error {
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(d.process.Stdout, string(b))
	return err
}
