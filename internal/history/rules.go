package history

import (
	"embed"
	"io/fs"
	"strings"

	"github.com/tillstream/tillstream/internal/app"
	"github.com/tillstream/tillstream/internal/scenarios"
)

// rules are the configuration that a past goes by where no other is named: three accounts, a CRM, two mappings and three
// workflows.
//
//go:embed config
var rules embed.FS

// Files are those of the configuration that a past goes by where no other is named.
func Files() (map[string]string, error) {
	files := map[string]string{}
	err := fs.WalkDir(rules, "config", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := rules.ReadFile(path)
		files[strings.TrimPrefix(path, "config/")] = string(text)
		return err
	})
	return files, err
}

// Follow makes a past go by these files, as a folder dir would hold them.
func (o *Options) Follow(l *scenarios.Loader, dir string, files map[string]string) error {
	cfg, compiled, err := l.Compile(dir, files)
	if err != nil {
		return err
	}
	o.Version, o.Files, o.Orders, o.Rules = cfg.Version, files, app.OrdersOptions(cfg.Settings.Stages), compiled
	o.Connections = Connections(cfg)
	return nil
}
