package destinations

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/tillstream/tillstream/outbound"
	"github.com/tillstream/tillstream/pipeline/config"
	"github.com/tillstream/tillstream/pipeline/connections"
	"github.com/tillstream/tillstream/sinks"
)

// countFor bounds how long entries are counted when an account is connected or checked: an account has its limit, and a
// catalogue many pages.
const countFor = 15 * time.Second

// Desk connects, changes and disconnects destinations: it writes the folder of a configuration. Its methods may be called
// from several goroutines.
type Desk struct {
	// Folder is the desk whose folder it is: its changes and those of connections never meet.
	Folder *connections.Desk
	Open   Opener
	// Running tells how the destinations of this process stand, none before it delivers; nil: it never does.
	Running func() []Status
	// Adopted tells that a running process has what was written, waiting for it as long as ctx allows; nil: none follows.
	Adopted func(ctx context.Context, name string, gone bool) bool
}

// Draft is a destination that somebody wants.
type Draft struct {
	Type string `json:"type"`
	Name string `json:"name"`
	// Settings are the sink's own, by dotted path, each as it would be written in YAML.
	Settings map[string]string `json:"settings"`
	// Secrets are values by dotted path. They are kept in files of their own and shown to nobody.
	Secrets map[string]string `json:"secrets"`
	// RatePerSecond is the limit to keep to over all processes; 0: the provider's documented one, -1: none.
	RatePerSecond float64 `json:"rate_per_second"`
	AllowPrivate  bool    `json:"allow_private_address"` // for a provider's twin inside the network
	// Force connects although the check found something bad, or the account is connected under another name.
	Force bool `json:"force"`
	// References are secrets that are kept elsewhere, by dotted path: env:NAME or file:PATH.
	References map[string]string `json:"-"`
}

// Change is what is new when a destination is connected again, by dotted paths as in a Draft.
type Change struct {
	Settings   map[string]string `json:"settings"`
	Secrets    map[string]string `json:"secrets"`
	Force      bool              `json:"force"`
	References map[string]string `json:"-"`
}

// View is a destination as people and programs see it. It holds no secret.
type View struct {
	Name          string                    `json:"name"`
	Type          string                    `json:"type"`
	Title         string                    `json:"title"`
	State         string                    `json:"state"`
	File          string                    `json:"file"`
	RatePerSecond float64                   `json:"rate_per_second"` // -1: no limit
	Account       *AccountView              `json:"account,omitempty"`
	CheckedAt     time.Time                 `json:"checked_at,omitzero"`
	Findings      []connections.FindingView `json:"findings,omitempty"` // of the last check
	Alarms        []connections.Alarm       `json:"alarms"`
}

// Result is what a change came to.
type Result struct {
	Destination View `json:"destination"`
	Trial
	// Next says in sentences what was done and what happens now.
	Next []string `json:"next"`
}

// SinkView is a kind of destination that can be connected.
type SinkView struct {
	Type          string                `json:"type"`
	Title         string                `json:"title"`
	Effects       []string              `json:"effects"`
	RatePerSecond float64               `json:"rate_per_second"` // the provider's documented limit of one account; 0: none
	Settings      []connections.Setting `json:"settings"`
}

// Sinks lists what can be connected.
func (d *Desk) Sinks() []SinkView {
	out := []SinkView{}
	for _, s := range d.Folder.Options.Sinks.All() {
		out = append(out, SinkView{s.Type, s.Title, append([]string{}, s.Effects...), s.RatePerSecond, connections.SettingsOf(s.Config())})
	}
	return out
}

func viewOf(x config.Destination) View {
	return View{Name: x.Name, Type: x.Sink.Type, Title: x.Sink.Title, State: connections.StateStopped, File: x.File, RatePerSecond: x.RatePerSecond, Alarms: []connections.Alarm{}}
}

func (s Status) view() View {
	v := viewOf(s.Destination)
	v.State, v.Account, v.CheckedAt, v.Findings = connections.StateRunning, s.Account, s.CheckedAt, s.Findings
	v.Alarms = append(v.Alarms, s.Alarms...)
	return v
}

// List shows every destination, those that are disconnected last: from the process that delivers, else from the files.
func (d *Desk) List() ([]View, error) {
	out := []View{}
	if d.Running != nil {
		for _, s := range d.Running() {
			out = append(out, s.view())
		}
	}
	c, err := d.Folder.Load()
	if err != nil && len(out) == 0 {
		return nil, err
	}
	if err == nil {
		for _, x := range c.Destinations {
			if !slices.ContainsFunc(out, func(v View) bool { return v.Name == x.Name }) {
				out = append(out, viewOf(x))
			}
		}
	}
	files, err := filepath.Glob(d.Folder.Path(Folder + "/*" + config.DisconnectedSuffix))
	if err != nil {
		return nil, err
	}
	for _, file := range files {
		base := strings.TrimSuffix(filepath.Base(file), config.DisconnectedSuffix)
		name := strings.TrimSuffix(base, path.Ext(base))
		if !slices.ContainsFunc(out, func(v View) bool { return v.Name == name }) {
			out = append(out, View{Name: name, State: connections.StateDisconnected, File: path.Join(Folder, filepath.Base(file)), Alarms: []connections.Alarm{}})
		}
	}
	return out, nil
}

// Show shows one destination.
func (d *Desk) Show(name string) (View, error) {
	all, err := d.List()
	if err != nil {
		return View{}, err
	}
	if i := slices.IndexFunc(all, func(v View) bool { return v.Name == name }); i >= 0 {
		return all[i], nil
	}
	return View{}, unknown(name)
}

func unknown(name string) error {
	return connections.Refuse(connections.NotFound, "there is no destination %q; tillstream destinations lists them", name)
}

func find(c *config.Config, name string) (config.Destination, bool) {
	i := slices.IndexFunc(c.Destinations, func(x config.Destination) bool { return x.Name == name })
	if i < 0 {
		return config.Destination{}, false
	}
	return c.Destinations[i], true
}

// Check tries the key and permissions of a destination as its file says.
func (d *Desk) Check(ctx context.Context, name string) (Trial, error) {
	c, err := d.Folder.Load()
	if err != nil {
		return Trial{}, err
	}
	x, ok := find(c, name)
	if !ok {
		return Trial{}, unknown(name)
	}
	return d.try(ctx, x)
}

// try opens a destination and looks at its account.
func (d *Desk) try(ctx context.Context, x config.Destination) (t Trial, err error) {
	var w sinks.Writer
	if err := safely(func() (err error) { w, err = d.Open(ctx, x); return err }); err != nil {
		return t, connections.Refuse(connections.CheckBad, "the destination cannot be opened: %s", outbound.Redact(err.Error()))
	}
	defer func() { _ = safely(w.Close) }()
	t = try(ctx, w, countFor)
	return t, ctx.Err()
}

// approve tries a destination before something is written.
func (d *Desk) approve(ctx context.Context, x config.Destination, force bool) (Trial, error) {
	t, err := d.try(ctx, x)
	if err != nil && !force {
		return t, err
	}
	if t.bad() && !force {
		r := connections.Refuse(connections.CheckBad, "nothing is changed: the check of %s found something bad", x.Name)
		r.Findings = t.Findings
		return t, r
	}
	return t, nil
}

// Connect checks a draft and writes it: the destination's file and its secrets. Where the check finds something bad
// nothing is written, unless the draft forces it.
func (d *Desk) Connect(ctx context.Context, draft Draft) (r *Result, err error) {
	err = d.Folder.Alone(func() error {
		text, secrets, err := d.file(draft)
		if err != nil {
			return err
		}
		file := path.Join(Folder, draft.Name+".yaml")
		c, err := d.Folder.LoadWith(map[string]*string{file: &text}, secrets)
		if err != nil {
			return err
		}
		x, ok := find(c, draft.Name)
		if !ok {
			return fmt.Errorf("the file of destination %s was written and not read", draft.Name)
		}
		if err := fits(c, x, draft.Force); err != nil {
			return err
		}
		t, err := d.approve(ctx, x, draft.Force)
		if err != nil {
			return err
		}
		if err := d.write(file, text, secrets); err != nil {
			return err
		}
		r = &Result{Destination: viewOf(x), Trial: t, Next: []string{fmt.Sprintf("%s is connected: %s", draft.Name, file)}}
		return nil
	})
	if err == nil {
		d.settle(ctx, r, draft.Name)
		r.Next = append(r.Next, "nothing is sent there before a mapping or workflow names it: write one below mappings/, look with tillstream check, and put it in force with tillstream apply")
	}
	return r, err
}

func (d *Desk) write(file, text string, secrets map[string]string) error {
	for _, name := range slices.Sorted(maps.Keys(secrets)) {
		if err := d.Folder.WriteFile(name, secrets[name]+"\n"); err != nil {
			return err
		}
	}
	return d.Folder.WriteFile(file, text)
}

// settleMax is how long a process that follows the folder is waited for.
const settleMax = 15 * time.Second

func (d *Desk) settle(ctx context.Context, r *Result, name string) {
	ctx, cancel := context.WithTimeout(ctx, settleMax)
	defer cancel()
	if d.Adopted != nil && d.Adopted(ctx, name, false) {
		r.Destination.State = connections.StateRunning
		r.Next = append(r.Next, "the running process has taken it over")
		return
	}
	r.Next = append(r.Next, "processes that deliver take it over at their next start")
}

// file is a draft as its files: the destination's text and the secrets' by their path in the folder.
func (d *Desk) file(draft Draft) (text string, secrets map[string]string, err error) {
	s, ok := d.Folder.Options.Sinks.Get(draft.Type)
	if !ok {
		return "", nil, connections.Refuse(connections.NotFound, "there is no sink %q; tillstream connect lists them", draft.Type)
	}
	if !connections.ValidName(draft.Name) {
		return "", nil, connections.Refuse(connections.Invalid, "the name %q: use 1 to 63 lower-case letters, digits, - and _", draft.Name)
	}
	if err := validKeys(draft.Settings, draft.Secrets, draft.References); err != nil {
		return "", nil, err
	}
	if !d.Folder.AllowPrivate && draft.AllowPrivate {
		return "", nil, connections.Refuse(connections.Invalid, "an address inside the network is allowed in the destination's file only")
	}
	if err := d.free(draft.Name); err != nil {
		return "", nil, err
	}
	tree, secrets, err := connections.Draft{Settings: draft.Settings, Secrets: draft.Secrets, References: draft.References}.
		Body(connections.SettingsOf(s.Config()), stem(draft.Name))
	if err != nil {
		return "", nil, err
	}
	body := yaml.MapSlice{{Key: "sink", Value: draft.Type}}
	if draft.RatePerSecond != 0 {
		body = append(body, yaml.MapItem{Key: "rate_per_second", Value: draft.RatePerSecond})
	}
	if draft.AllowPrivate {
		body = append(body, yaml.MapItem{Key: "allow_private_address", Value: true})
	}
	if tree != nil {
		body = append(body, yaml.MapItem{Key: "settings", Value: tree})
	}
	b, err := yaml.MarshalWithOptions(body, yaml.IndentSequence(true))
	if err != nil {
		return "", nil, fmt.Errorf("write the destination: %w", err)
	}
	return "# " + s.Title + ", " + draft.Name + ". The file's name is the destination's name, which mappings and workflows say.\n" + string(b), secrets, nil
}

// stem begins the path of a destination's secrets. A connection of the same name has its own beside the folder.
func stem(name string) string { return "destinations/" + name }

func validKeys(all ...map[string]string) error {
	for _, m := range all {
		for key := range m {
			if key == "" || slices.Contains(strings.Split(key, "."), "") || strings.ContainsAny(key, "/\\ \n:") {
				return connections.Refuse(connections.Invalid, "setting %q: a path has names between its dots", key)
			}
		}
	}
	return nil
}

// free says whether a name can be taken.
func (d *Desk) free(name string) error {
	switch file, aside, err := d.fileOf(name); {
	case err != nil:
		return err
	case file != "":
		return connections.Refuse(connections.Conflict, "there is a destination %q already: choose another name, or give it a new key with tillstream connect --reconnect %s", name, name)
	case aside != "":
		return connections.Refuse(connections.Conflict, "the destination %q is disconnected: tillstream connect --reconnect %s connects it again, tillstream disconnect %s --delete forgets it", name, name, name)
	}
	return nil
}

// fileOf is the file of a destination, or the path that it had before it was put aside.
func (d *Desk) fileOf(name string) (file, aside string, err error) {
	if !connections.ValidName(name) {
		return "", "", nil
	}
	for _, ext := range []string{".yaml", ".yml"} {
		at := path.Join(Folder, name+ext)
		for _, suffix := range []string{"", config.DisconnectedSuffix} {
			_, err := os.Stat(d.Folder.Path(at + suffix))
			switch {
			case err == nil && suffix == "":
				return at, "", nil
			case err == nil && aside == "":
				aside = at
			case err != nil && !errors.Is(err, fs.ErrNotExist):
				return "", "", fmt.Errorf("look for destination %s: %w", name, err)
			}
		}
	}
	return "", aside, nil
}

// fits refuses an account that is connected already: two destinations would write the same contacts.
func fits(c *config.Config, x config.Destination, force bool) error {
	for _, y := range c.Destinations {
		if y.Name != x.Name && AccountOf(y) == AccountOf(x) && !force {
			return connections.Refuse(connections.Conflict, "the same account is connected as %s, and both would write the same contacts: use that one, or say --force; they share the account's limit", y.Name)
		}
	}
	return nil
}
