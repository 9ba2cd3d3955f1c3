package cli

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tillstream/tillstream/api"
	"github.com/tillstream/tillstream/examples"
	"github.com/tillstream/tillstream/internal/manage"
)

// exportCommand is 'tillstream export'.
func (p Process) exportCommand() *cobra.Command {
	var to, version string
	c := verb(p, "export [--to DIR|FILE.tar]", "Write out the configuration, byte for byte; secrets stay references or encrypted", cobra.NoArgs,
		func(ctx context.Context, o *manage.Office, _ []string) (api.ConfigExport, error) {
			e, err := o.ExportConfig(ctx, version)
			if err != nil || to == "" {
				return e, err
			}
			if strings.HasSuffix(to, ".tar") {
				b, err := manage.Archive(e.Files)
				if err == nil {
					err = os.WriteFile(to, b, 0o600)
				}
				return e, err
			}
			return e, writeFiles(to, e.Files)
		}, func(w io.Writer, e api.ConfigExport) {
			if to != "" {
				fmt.Fprintf(w, "version %s, %d files: %s\n", e.Version, len(e.Files), to)
				return
			}
			if b, err := manage.Archive(e.Files); err == nil {
				_, _ = w.Write(b)
			}
		})
	c.Flags().StringVar(&to, "to", "", "folder that is not there yet, or file.tar (default: the archive to standard output)")
	c.Flags().StringVar(&version, "version", "", "a version in the place of the folder")
	return c
}

// writeFiles writes a new folder.
func writeFiles(dir string, files map[string]string) error {
	if entries, err := os.ReadDir(dir); err == nil && len(entries) > 0 {
		return &codedError{ExitUsage, fmt.Errorf("%s is there and not empty: name a folder that is not", dir)}
	}
	for _, file := range slices.Sorted(maps.Keys(files)) {
		path := filepath.Join(dir, filepath.FromSlash(file))
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return fmt.Errorf("write %s: %w", file, err)
		}
		if err := os.WriteFile(path, []byte(files[file]), 0o600); err != nil {
			return fmt.Errorf("write %s: %w", file, err)
		}
	}
	return nil
}

// initCommand is 'tillstream init'.
func (p Process) initCommand() *cobra.Command {
	return &cobra.Command{
		Use: "init [DIR]", Short: "Write a folder of commented example files to begin with (default: config)", Args: usage(cobra.MaximumNArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			dir := "config"
			if len(args) == 1 {
				dir = args[0]
			}
			files := map[string]string{}
			err := fs.WalkDir(examples.Config, "config", func(path string, d fs.DirEntry, err error) error {
				if err != nil || d.IsDir() {
					return err
				}
				b, err := fs.ReadFile(examples.Config, path)
				files[strings.TrimPrefix(path, "config/")] = string(b)
				return err
			})
			if err != nil {
				return err
			}
			if err := writeFiles(dir, files); err != nil {
				return err
			}
			_, err = fmt.Fprintf(c.OutOrStdout(), "%s: %d files. Set the variables that they name, change what is yours, and look: tillstream check --config %s\n", dir, len(files), dir)
			return err
		},
	}
}
