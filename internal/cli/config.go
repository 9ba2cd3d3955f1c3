package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sort"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tillstream/tillstream/api"
	"github.com/tillstream/tillstream/internal/app"
	"github.com/tillstream/tillstream/internal/local"
	"github.com/tillstream/tillstream/pipeline/config"
)

func (p Process) configCommand() *cobra.Command {
	c := &cobra.Command{Use: "config", Short: "Check a configuration, or print its schemas"}
	c.AddCommand(p.configCheckCommand(), p.configSchemaCommand(), p.configVersionsCommand())
	c.AddCommand(p.configVerbs()...)
	return group(c)
}

func (p Process) configCheckCommand() *cobra.Command {
	var a answering
	c := &cobra.Command{
		Use: "check [DIR]", Short: "Say what is wrong with a configuration folder, with file, line and what to do", Args: usage(cobra.MaximumNArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			dir := "config"
			if len(args) == 1 {
				dir = args[0]
			}
			cfg, err := p.loadConfig(dir, local.CheckEnv(dir, p.Getenv))
			var problems config.Problems
			if err != nil && (!a.json || !errors.As(err, &problems)) {
				return err
			}
			v := checkedConfig{Folder: dir, Good: err == nil, Problems: api.ConfigProblems(problems)}
			if err == nil {
				v.Version, v.Connections, v.Destinations, v.Mappings = cfg.Version, len(cfg.Connections), len(cfg.Destinations), len(cfg.Documents[app.MappingsFolder])
			}
			return errors.Join(a.end(c, v, func(w io.Writer) {
				fmt.Fprintf(w, "%s is good: version %s, %d connections, %d destinations, %d mappings\n", dir, v.Version, v.Connections, v.Destinations, v.Mappings)
			}), err)
		},
	}
	a.flag(c)
	return c
}

// checkedConfig is what 'config check --json' prints.
type checkedConfig struct {
	Folder       string              `json:"folder"`
	Good         bool                `json:"good"`
	Version      string              `json:"version,omitempty"`
	Connections  int                 `json:"connections"`
	Destinations int                 `json:"destinations"`
	Mappings     int                 `json:"mappings"`
	Problems     []api.ConfigProblem `json:"problems"`
}

func (p Process) configSchemaCommand() *cobra.Command {
	var dir string
	c := &cobra.Command{
		Use: "schema [KIND]", Short: "Print the JSON Schema of a kind of file, or write all to a folder for an editor", Args: usage(cobra.MaximumNArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			schemas, err := config.Schemas(config.Options{Connectors: p.Connectors, Sinks: p.Sinks, Kinds: app.Kinds()})
			if err != nil {
				return err
			}
			kinds := make([]string, 0, len(schemas))
			for k := range schemas {
				kinds = append(kinds, k)
			}
			sort.Strings(kinds)
			if len(args) == 1 {
				text, ok := schemas[args[0]]
				if !ok {
					return &codedError{ExitUsage, fmt.Errorf("no kind %q; kinds are %s", args[0], strings.Join(kinds, ", "))}
				}
				_, err := c.OutOrStdout().Write(text)
				return err
			}
			if dir == "" {
				fmt.Fprintln(c.OutOrStdout(), strings.Join(kinds, "\n"))
				return nil
			}
			for _, k := range kinds {
				path := filepath.Join(dir, k+".schema.json")
				if err := os.WriteFile(path, schemas[k], 0o644); err != nil {
					return fmt.Errorf("write schema: %w", err)
				}
				fmt.Fprintln(c.OutOrStdout(), path)
			}
			return nil
		},
	}
	c.Flags().StringVar(&dir, "dir", "", "write KIND.schema.json of every kind into this folder")
	return c
}
