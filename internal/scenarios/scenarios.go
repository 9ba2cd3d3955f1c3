// Package scenarios finds scenario files and the configurations that they run under.
package scenarios

import (
	"embed"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing/fstest"

	"github.com/tillstream/tillstream/connectors"
	"github.com/tillstream/tillstream/internal/app"
	"github.com/tillstream/tillstream/internal/local"
	"github.com/tillstream/tillstream/pipeline/config"
	"github.com/tillstream/tillstream/processors"
	"github.com/tillstream/tillstream/processors/automation"
	"github.com/tillstream/tillstream/processors/orders"
	"github.com/tillstream/tillstream/processors/scenario"
	"github.com/tillstream/tillstream/processors/workflows"
	"github.com/tillstream/tillstream/sinks"
)

// Ending is that of scenario files.
const Ending = ".scenario"

// filesMax bounds the files of one folder of configuration.
const filesMax = 20_000

// base is what a folder gets that has mappings and workflows alone: settings, a PayPal account, a shop and CRMs.
//
//go:embed base
var base embed.FS

// Loader makes worlds for scenarios. It is safe for concurrent use.
type Loader struct {
	Connectors *connectors.Registry
	Sinks      *sinks.Registry
	// Getenv resolves what configurations name; nil: nothing is set.
	Getenv func(string) (string, bool)
	// Dir is the configuration of scenarios that name none. Empty: the folder above the scenario file that has a
	// tillstream.yaml, else none.
	Dir string

	mu    sync.Mutex
	known map[string]*compiled
}

// compiled is one configuration with its rules.
type compiled struct {
	cfg   *config.Config
	rules automation.Rules
	err   error
}

// compiledMax bounds what a Loader remembers.
const compiledMax = 1_000

// Find lists the scenario files of paths: files, and folders with all below them. Sorted, each once.
func Find(paths []string) ([]string, error) {
	var files []string
	for _, path := range paths {
		info, err := os.Stat(path)
		if err != nil {
			return nil, fmt.Errorf("%s: no such file or folder", path)
		}
		if !info.IsDir() {
			files = append(files, filepath.Clean(path))
			continue
		}
		err = filepath.WalkDir(path, func(p string, d fs.DirEntry, err error) error {
			if err == nil && !d.IsDir() && filepath.Ext(p) == Ending {
				files = append(files, filepath.Clean(p))
			}
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	slices.Sort(files)
	return slices.Compact(files), nil
}

// Read parses one file. The error is scenario.Problems, or that the file cannot be read.
func Read(path string) (*scenario.File, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return scenario.Parse(path, string(text))
}

// World is a fresh world for a scenario of this file.
func (l *Loader) World(file string) scenario.World { return &world{l: l, file: file} }

// world implements scenario.World.
type world struct {
	l        *Loader
	file     string
	versions map[string]*compiled
	newest   *compiled
}

// Configure implements scenario.World.
func (w *world) Configure(name string, files map[string]string) (string, error) {
	dir, err := w.l.folder(w.file, name)
	if err != nil {
		return "", err
	}
	all, err := gather(dir, files)
	if err != nil {
		return "", err
	}
	c := w.l.compile(dir, all)
	if c.err != nil {
		return "", fmt.Errorf("the configuration is refused:\n%w", c.err)
	}
	if w.versions == nil {
		w.versions = map[string]*compiled{}
	}
	w.versions[c.cfg.Version], w.newest = c, c
	return c.cfg.Version, nil
}

// folder is where a configuration lies; empty: nowhere.
func (l *Loader) folder(file, name string) (string, error) {
	if name != "" {
		dir := filepath.Join(filepath.Dir(file), filepath.FromSlash(name))
		if info, err := os.Stat(dir); err != nil || !info.IsDir() {
			return "", fmt.Errorf("there is no folder %s with the configuration %q", dir, name)
		}
		return dir, nil
	}
	if l.Dir != "" {
		return l.Dir, nil
	}
	for dir := filepath.Dir(file); ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, config.SettingsFile)); err == nil {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", nil
		}
	}
}

// gather is the configuration of a folder, with files over it, and the base for what neither has.
func gather(dir string, files map[string]string) (map[string]string, error) {
	all := map[string]string{}
	if dir != "" {
		if err := read(os.DirFS(dir), ".", all); err != nil {
			return nil, fmt.Errorf("configuration %s: %w", dir, err)
		}
	}
	for path, text := range files {
		if all[path] = text; text == "" {
			delete(all, path)
		}
	}
	under, err := fs.Sub(base, "base")
	if err != nil {
		return nil, err
	}
	given := map[string]string{}
	if err := read(under, ".", given); err != nil {
		return nil, err
	}
	whole := all[config.SettingsFile] != ""
	for path, text := range given {
		_, said := files[path]
		if _, there := all[path]; !there && !said && !whole {
			all[path] = text
		}
	}
	return all, nil
}

// read takes the YAML files of a configuration folder: those at its top and one folder below.
func read(root fs.FS, dir string, into map[string]string) error {
	entries, err := fs.ReadDir(root, dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		path := e.Name()
		if dir != "." {
			path = dir + "/" + path
		}
		switch ext := filepath.Ext(path); {
		case strings.HasPrefix(e.Name(), "."), e.Name() == config.SecretsFolder:
		case e.IsDir():
			if dir == "." && known(e.Name()) {
				if err := read(root, path, into); err != nil {
					return err
				}
			}
		case ext == ".yaml" || ext == ".yml":
			if dir == "." && e.Name() != config.SettingsFile {
				continue
			}
			if len(into) == filesMax {
				return fmt.Errorf("more than %d files", filesMax)
			}
			text, err := fs.ReadFile(root, path)
			if err != nil {
				return err
			}
			into[path] = string(text)
		}
	}
	return nil
}

func known(folder string) bool {
	return folder == config.ConnectionsFolder || folder == "destinations" ||
		slices.ContainsFunc(app.Kinds(), func(k config.Kind) bool { return k.Folder == folder })
}

// Compile checks the files of a configuration and makes its rules, as scenarios see it: secrets need not be known. What its
// files name is resolved as for the folder dir.
func (l *Loader) Compile(dir string, files map[string]string) (*config.Config, automation.Rules, error) {
	c := l.compile(dir, files)
	return c.cfg, c.rules, c.err
}

// Files reads the configuration in a folder.
func Files(dir string) (map[string]string, error) {
	files := map[string]string{}
	if err := read(os.DirFS(dir), ".", files); err != nil {
		return nil, fmt.Errorf("configuration %s: %w", dir, err)
	}
	return files, nil
}

// compile checks a configuration and makes its rules, once.
func (l *Loader) compile(dir string, files map[string]string) *compiled {
	key := dir + "\x00" + config.Version(files)
	l.mu.Lock()
	defer l.mu.Unlock()
	if c := l.known[key]; c != nil {
		return c
	}
	if l.known == nil || len(l.known) >= compiledMax {
		l.known = map[string]*compiled{}
	}
	c := &compiled{}
	root := fstest.MapFS{}
	for path, text := range files {
		root[path] = &fstest.MapFile{Data: []byte(text)}
	}
	c.cfg, c.err = config.Load(root, config.Options{
		Connectors: l.Connectors, Sinks: l.Sinks, Kinds: app.Kinds(), Getenv: l.getenv(dir), ReadSecret: readSecret(dir), Hostname: "scenario",
		Unseal: func(string) (string, error) { return placeholder, nil },
	})
	if c.err == nil {
		c.rules, c.err = app.Rules(c.cfg)
	}
	l.known[key] = c
	return c
}

// placeholder stands in for secrets, which no scenario needs. It has the form of the strictest.
var placeholder = "whsec_" + base64.StdEncoding.EncodeToString(make([]byte, 32))

const secretVariable = "TILLSTREAM_SCENARIO_SECRET"

func (l *Loader) getenv(dir string) func(string) (string, bool) {
	outer := l.Getenv
	if outer == nil {
		outer = func(string) (string, bool) { return "", false }
	}
	checked := local.CheckEnv(dir, outer)
	return func(name string) (string, bool) {
		if name == secretVariable {
			return placeholder, true
		}
		return checked(name)
	}
}

func readSecret(dir string) func(string) ([]byte, error) {
	return func(path string) ([]byte, error) {
		text, err := config.SecretReader(dir)(path)
		if errors.Is(err, fs.ErrNotExist) {
			return []byte(placeholder), nil
		}
		return text, err
	}
}

// Orders implements scenario.World.
func (w *world) Orders() processors.Stage[orders.State] {
	return orders.New(app.OrdersOptions(w.newest.cfg.Settings.Stages))
}

// Automation implements scenario.World.
func (w *world) Automation() processors.Stage[automation.State] {
	return automation.NewFollowing(book{w})
}

// Connection implements scenario.World.
func (w *world) Connection(name string) (scenario.Connection, bool) {
	for _, c := range w.newest.cfg.Connections {
		if c.Name != name {
			continue
		}
		return scenario.Connection{Name: name, Provider: c.Connector.Type, Environment: c.Environment, Topic: c.Connector.Topic, Resource: func(eventType string) string {
			for _, r := range c.Connector.Resources {
				if slices.ContainsFunc(r.EventTypes, func(p string) bool { return matches(p, eventType) }) {
					return r.ID
				}
			}
			return ""
		}}, true
	}
	return scenario.Connection{}, false
}

func matches(pattern, eventType string) bool {
	rest, open := strings.CutSuffix(pattern, "*")
	return pattern == eventType || open && strings.HasPrefix(eventType, rest)
}

// Workflows lists the workflows of all configurations that the loader compiled, by name and version, for coverage.
func (l *Loader) Workflows() []*workflows.Program {
	l.mu.Lock()
	defer l.mu.Unlock()
	byKey := map[string]*workflows.Program{}
	for _, c := range l.known {
		if c.err == nil {
			for _, p := range c.rules.Workflows() {
				byKey[p.Name+" "+p.Version] = p
			}
		}
	}
	list := make([]*workflows.Program, 0, len(byKey))
	for _, p := range byKey {
		list = append(list, p)
	}
	slices.SortFunc(list, func(a, b *workflows.Program) int {
		return strings.Compare(a.Name+" "+a.Version, b.Name+" "+b.Version)
	})
	return list
}

// book is the versions of one world.
type book struct{ w *world }

// Rules implements automation.Book.
func (b book) Rules(version string) *automation.Rules {
	if c := b.w.versions[version]; c != nil {
		return &c.rules
	}
	return &b.w.newest.rules
}

// Program implements automation.Book.
func (b book) Program(workflow, version string) *workflows.Program {
	for _, c := range b.w.versions {
		if p := c.rules.Workflow(workflow); p != nil && p.Version == version {
			return p
		}
	}
	return nil
}
