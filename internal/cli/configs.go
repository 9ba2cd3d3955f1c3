package cli

import (
	"cmp"
	"encoding/json"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/tillstream/tillstream/internal/app"
)

// versionRow is one version as 'tillstream config versions --json' prints it.
type versionRow struct {
	Version string    `json:"version"`
	At      time.Time `json:"at"`
	By      string    `json:"by,omitempty"`
	Files   int       `json:"files"`
	InForce bool      `json:"in_force"`
}

func (p Process) configVersionsCommand() *cobra.Command {
	var dir string
	var asJSON bool
	c := &cobra.Command{
		Use: "versions [--config DIR]", Short: "List the versions of the configuration: when each was put in force last, by whom, and which one is",
		Args: usage(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, err := p.loadConfig(dir, p.Getenv)
			if err != nil {
				return err
			}
			v, err := app.OpenVersions(c.Context(), cfg, p.Now, whoAmI(), p.logger(cfg.Settings.Telemetry))
			if err != nil {
				return err
			}
			defer v.Close()
			rows := []versionRow{}
			for _, e := range v.History.List() {
				rows = append(rows, versionRow{Version: e.Version, At: e.At.UTC(), By: e.By, Files: len(e.Files)})
			}
			if len(rows) > 0 {
				rows[len(rows)-1].InForce = true
			}
			if asJSON {
				return json.NewEncoder(c.OutOrStdout()).Encode(rows)
			}
			tw := tabwriter.NewWriter(c.OutOrStdout(), 0, 4, 2, ' ', 0)
			fmt.Fprintln(tw, "VERSION\tIN FORCE SINCE\tBY\tFILES\t")
			for _, r := range rows {
				mark := ""
				if r.InForce {
					mark = "in force"
				}
				fmt.Fprintf(tw, "%s\t%s\t%s\t%d\t%s\n", r.Version, instant(r.At), cmp.Or(r.By, "-"), r.Files, mark)
			}
			return tw.Flush()
		},
	}
	c.Flags().StringVar(&dir, "config", "config", "folder of the configuration")
	c.Flags().BoolVar(&asJSON, "json", false, "one JSON list")
	return c
}
