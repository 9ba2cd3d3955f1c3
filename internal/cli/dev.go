package cli

import (
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/tillstream/tillstream/internal/app"
	"github.com/tillstream/tillstream/internal/local"
	"github.com/tillstream/tillstream/pipeline/config"
)

func (p Process) devCommand() *cobra.Command {
	o := local.Options{Simulators: true}
	var dir string
	var bare bool
	c := &cobra.Command{
		Use:   "dev",
		Short: "Run everything embedded in one process, with its data kept on disk",
		Long: `Runs the same code as 'run', with Kafka, schema registry, Redis and ClickHouse embedded in the process and their data under
--data, and with simulators of PayPal and ActiveCampaign. The first start writes a configuration into DATA/config: edit
it and start again. For an account of your own, remove the simulator's keys from its file.`,
		Args: usage(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			if err := checkPorts(c); err != nil {
				return err
			}
			o.Simulators, o.Now = !bare, p.Now
			o.Log = p.logger(config.Telemetry{LogLevel: "warn", LogFormat: "text"})
			cluster, err := local.Start(c.Context(), o)
			if err != nil {
				return err
			}
			defer cluster.Close()
			if dir == "" {
				dir = filepath.Join(cluster.Dir, local.ConfigFolder)
			}
			cfg, err := p.loadConfig(dir, cluster.Getenv(p.Getenv))
			if err != nil {
				return err
			}
			desk := p.desk(dir, cluster.Getenv(p.Getenv))
			desk.AllowPrivate = true // the simulators are inside
			return app.Run(c.Context(), app.Options{
				Config: cfg, Roles: app.AllRoles, Version: version, Now: p.Now, Log: p.logger(cfg.Settings.Telemetry), ClickHouse: cluster.ClickHouse(), Healthy: cluster.Services.Healthy, Desk: desk,
				Manage:    p.managing(dir, cluster.Getenv(p.Getenv), desk.Alone),
				Receiving: cluster.Receive,
				Started: func(a app.Addresses) {
					w := c.OutOrStdout()
					if err := cluster.Serves(a.Ingest, a.Management); err != nil {
						fmt.Fprintf(p.Stderr, "%v; name the addresses below with --address\n", err)
					}
					fmt.Fprintf(w, "tillstream %s runs; configuration %s (version %s)\n", version, dir, cfg.Version)
					for _, line := range addressLines(cluster, a) {
						fmt.Fprintln(w, line)
					}
					fmt.Fprintln(w, "Ctrl-C stops it; the data stay in", cluster.Dir)
				},
			})
		},
	}
	f := c.Flags()
	f.StringVar(&o.Dir, "data", "data", "folder of the data")
	f.StringVar(&dir, "config", "", "folder of the configuration (default: DATA/config)")
	f.BoolVar(&bare, "no-simulators", false, "start no simulators")
	f.Float64Var(&o.CRMRate, "crm-rate", 0, "requests a second that the simulated CRM account allows (the real one: 5; 0: no limit)")
	f.IntVar(&o.IngestPort, "ingest-port", 8080, "webhooks; 0: a free port, as for the others")
	f.IntVar(&o.ManagementPort, "management-port", 9080, "metrics, health, status")
	f.IntVar(&o.KafkaPort, "kafka-port", 9092, "embedded Kafka")
	f.IntVar(&o.RegistryPort, "registry-port", 8081, "embedded schema registry")
	f.IntVar(&o.RedisPort, "redis-port", 6379, "embedded Redis")
	f.IntVar(&o.ClickHousePort, "clickhouse-port", 8123, "embedded ClickHouse (HTTP)")
	f.IntVar(&o.PayPalPort, "paypal-port", 9443, "simulated PayPal")
	f.IntVar(&o.CRMPort, "crm-port", 9444, "simulated ActiveCampaign")
	return c
}

const portMax = 65535

// checkPorts refuses a port that there is not, before anything is started.
func checkPorts(c *cobra.Command) error {
	for _, part := range []string{"ingest", "management", "kafka", "registry", "redis", "clickhouse", "paypal", "crm"} {
		port, err := c.Flags().GetInt(part + "-port")
		if err != nil {
			return err
		}
		if port < 0 || port > portMax {
			return &codedError{ExitUsage, fmt.Errorf("--%s-port %d: a port is 1 to %d, or 0 for a free one", part, port, portMax)}
		}
	}
	return nil
}

// addressLines tell where to look.
func addressLines(c *local.Cluster, a app.Addresses) []string {
	lines := []string{
		fmt.Sprintf("  webhooks    http://%s/webhooks/CONNECTION", a.Ingest),
		fmt.Sprintf("  page        http://%s/", a.Management),
		fmt.Sprintf("  status      http://%s/status   metrics http://%s/metrics", a.Management, a.Management),
	}
	if s := c.Services; s != nil {
		if len(s.Brokers) > 0 {
			lines = append(lines, "  kafka       "+s.Brokers[0])
		}
		if s.ClickHouseURL != "" {
			lines = append(lines, "  clickhouse  "+s.ClickHouseURL+"   (tillstream query 'SELECT ...' --data "+c.Dir+")")
		}
	}
	if c.PayPalURL != "" {
		lines = append(lines, "  simulators  "+c.PayPalURL+"/_simulator/status   "+c.CRMURL+"/_simulator/contacts")
	}
	return lines
}
