package cli

import (
	"github.com/spf13/cobra"

	"github.com/tillstream/tillstream/internal/app"
)

func (p Process) runCommand() *cobra.Command {
	var dir string
	var roles []string
	c := &cobra.Command{
		Use:   "run --config DIR",
		Short: "Run against the Kafka, registry, Redis and ClickHouse that the configuration names",
		Long: `Runs all roles in one process, or those named: connectors (webhooks in), processors (the stateful stages), sinks (CRM and
ClickHouse). Start as many processes as you like, each with an instance name of its own: they share the partitions.
SIGTERM stops in order within 10 s; a kill loses nothing.`,
		Args: usage(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			chosen, err := app.ParseRoles(roles)
			if err != nil {
				return &codedError{ExitUsage, err}
			}
			cfg, err := p.loadConfig(dir, p.Getenv)
			if err != nil {
				return err
			}
			desk := p.desk(dir, p.Getenv)
			return app.Run(c.Context(), app.Options{
				Config: cfg, Roles: chosen, Version: version, Now: p.Now, Log: p.logger(cfg.Settings.Telemetry), Desk: desk, Manage: p.managing(dir, p.Getenv, desk.Alone),
			})
		},
	}
	c.Flags().StringVar(&dir, "config", "config", "folder of the configuration")
	c.Flags().StringSliceVar(&roles, "roles", nil, "connectors, processors, sinks (default: all)")
	return c
}
