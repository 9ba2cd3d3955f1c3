package connections

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/tillstream/tillstream/connectors"
	"github.com/tillstream/tillstream/outbound"
	"github.com/tillstream/tillstream/pipeline/config"
	"github.com/tillstream/tillstream/schemas"
)

// Desk connects, changes and disconnects accounts: it writes the folder of a configuration, and a process that follows
// the folder takes it over. The command line and the API use the same one. Its methods may be called from several
// goroutines.
type Desk struct {
	// Dir is the configuration's folder.
	Dir string
	// Options load it; ReadSecret is the desk's own.
	Options config.Options
	// Check says what is wrong with a loaded configuration in meaning; nil: nothing else is.
	Check func(*config.Config) error
	// Opener opens connections for checks; PublicURL and Address are filled from the configuration.
	Opener Opener
	// AllowPrivate lets a draft name an address inside the network and a file of trusted roots.
	AllowPrivate bool
	// Follow returns true once a process that follows the folder shows what done wants, false where none follows. Nil: none.
	Follow func(ctx context.Context, done func([]View) bool) bool
	// Running tells how the connections of this process stand; nil: it runs none.
	Running func() []Status

	mu sync.Mutex // one change at a time
}

// Result is what a change came to.
type Result struct {
	Connection View          `json:"connection"`
	Findings   []FindingView `json:"findings"` // of the check
	// Next says in sentences what was done and what happens now.
	Next []string `json:"next"`
}

// Load loads the folder as it is.
func (d *Desk) Load() (*config.Config, error) { return d.load(nil, nil) }

// load loads the folder as it would be with other files and secrets, by their paths in it.
func (d *Desk) load(files map[string]*string, secrets map[string]string) (*config.Config, error) {
	if info, err := os.Stat(d.Dir); err != nil || !info.IsDir() {
		return config.LoadDir(d.Dir, d.Options)
	}
	o, read := d.Options, config.SecretReader(d.Dir)
	o.ReadSecret = func(name string) ([]byte, error) {
		if text, ok := secrets[name]; ok {
			return []byte(text), nil
		}
		return read(name)
	}
	c, err := config.Load(overlay{os.DirFS(d.Dir), files}, o)
	if err != nil {
		return nil, err
	}
	if d.Check != nil {
		if err := d.Check(c); err != nil {
			return nil, err
		}
	}
	return c, nil
}

func find(c *config.Config, name string) (config.Connection, bool) {
	i := slices.IndexFunc(c.Connections, func(x config.Connection) bool { return x.Name == name })
	if i < 0 {
		return config.Connection{}, false
	}
	return c.Connections[i], true
}

// opener opens connections of c.
func (d *Desk) opener(c *config.Config) Opener {
	o := d.Opener
	o.PublicURL, o.Address = c.Settings.Ingest.PublicURL, or(o.Address, c.Settings.Ingest.Listen)
	return o
}

// Connectors lists what can be connected.
func (d *Desk) Connectors() ([]ConnectorView, error) {
	return connectorViews(d.Options.Connectors.All(), d.Options)
}

// List shows every connection, those that are disconnected last: from the process that runs them, else from the files.
func (d *Desk) List() ([]View, error) {
	out := []View{}
	if d.Running != nil {
		for _, s := range d.Running() {
			out = append(out, s.show(d.Opener.URL(s.Connection)))
		}
	} else {
		c, err := d.Load()
		if err != nil {
			return nil, err
		}
		for _, x := range c.Connections {
			out = append(out, viewOf(x, d.opener(c).URL(x)))
		}
	}
	files, err := filepath.Glob(filepath.Join(d.Dir, config.ConnectionsFolder, "*"+config.DisconnectedSuffix))
	if err != nil {
		return nil, err
	}
	for _, file := range files {
		if name := nameOf(file); name != "" && !slices.ContainsFunc(out, func(v View) bool { return v.Name == name }) {
			out = append(out, d.disconnected(name))
		}
	}
	return out, nil
}

// nameOf is the connection's name in the path of a disconnected file.
func nameOf(file string) string {
	base := strings.TrimSuffix(filepath.Base(file), config.DisconnectedSuffix)
	return strings.TrimSuffix(base, path.Ext(base))
}

// disconnected shows a kept file, as far as it can be read.
func (d *Desk) disconnected(name string) View {
	file := d.kept(name)
	v := View{Name: name, State: StateDisconnected, File: file + config.DisconnectedSuffix, Resources: []ResourceView{}, Alarms: []Alarm{}}
	if text, err := d.read(file + config.DisconnectedSuffix); err == nil {
		if c, err := d.load(map[string]*string{file: &text}, nil); err == nil {
			if x, ok := find(c, name); ok {
				v = viewOf(x, "")
				v.State, v.File = StateDisconnected, file+config.DisconnectedSuffix
			}
		}
	}
	return v
}

// kept is the path that a disconnected connection's file had; empty: there is none.
func (d *Desk) kept(name string) string {
	if !nameForm.MatchString(name) {
		return ""
	}
	for _, ext := range []string{".yaml", ".yml"} {
		file := path.Join(config.ConnectionsFolder, name+ext)
		if _, err := os.Stat(filepath.Join(d.Dir, file+config.DisconnectedSuffix)); err == nil {
			return file
		}
	}
	return ""
}

func (d *Desk) read(file string) (string, error) {
	b, err := os.ReadFile(filepath.Join(d.Dir, filepath.FromSlash(file)))
	return string(b), err
}

// Show shows one connection.
func (d *Desk) Show(name string) (View, error) {
	list, err := d.List()
	if err != nil {
		return View{}, err
	}
	if i := slices.IndexFunc(list, func(v View) bool { return v.Name == name }); i >= 0 {
		return list[i], nil
	}
	return View{}, unknown(name)
}

func unknown(name string) *Refusal {
	return refuse(NotFound, "there is no connection %q; tillstream connections lists them", name)
}

// CheckConnection tries the credentials and permissions of a connection as its file says.
func (d *Desk) CheckConnection(ctx context.Context, name string) ([]FindingView, error) {
	c, err := d.Load()
	if err != nil {
		return nil, err
	}
	x, ok := find(c, name)
	if !ok {
		return nil, unknown(name)
	}
	found, _, err := d.try(ctx, c, x)
	return findingViews(found), err
}

// CheckDraft tries a draft, and writes nothing.
func (d *Desk) CheckDraft(ctx context.Context, draft Draft) ([]FindingView, error) {
	p, err := d.plan(draft)
	if err != nil {
		return nil, err
	}
	found, _, err := d.try(ctx, p.config, p.connection)
	return findingViews(found), err
}

// try opens a connection and checks it. Without a public address a webhook cannot be registered, which is no reason to
// refuse the account.
func (d *Desk) try(ctx context.Context, c *config.Config, x config.Connection) (found []connectors.Finding, bad bool, err error) {
	o := d.opener(c)
	var src connectors.Source
	if err := safely(func() (err error) { src, err = o.Open(ctx, x); return err }); err != nil {
		return nil, true, refuse(CheckBad, "the connection cannot be opened: %s", outbound.Redact(err.Error()))
	}
	defer func() { _ = safely(src.Close) }()
	found, _ = checkSource(ctx, src)
	for i, f := range found {
		if f.Level == connectors.Bad && kindOf(f) == AlarmWebhook && o.URL(x) == "" {
			found[i].Level = connectors.Warn
		}
		bad = bad || found[i].Level == connectors.Bad
	}
	return found, bad, ctx.Err()
}

// plan is a draft that fits the folder.
type plan struct {
	file, text string
	secrets    map[string]string
	config     *config.Config
	connection config.Connection
}

var (
	nameForm = regexp.MustCompile(`^[a-z0-9_-]{1,63}$`)
	keyForm  = regexp.MustCompile(`^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$`)
)

// plan puts a draft into the folder in thought, so that all of it is validated together.
func (d *Desk) plan(draft Draft) (*plan, error) {
	c, ok := d.Options.Connectors.Get(draft.Type)
	if !ok {
		return nil, refuse(NotFound, "there is no connector %q; tillstream connect lists them", draft.Type)
	}
	if err := d.validDraft(draft, c); err != nil {
		return nil, err
	}
	token := make([]byte, 12)
	if _, err := rand.Read(token); err != nil {
		return nil, fmt.Errorf("make a token: %w", err)
	}
	p := &plan{file: path.Join(config.ConnectionsFolder, draft.Name+".yaml")}
	var err error
	if p.text, p.secrets, err = draft.file(c, hex.EncodeToString(token)); err != nil {
		return nil, err
	}
	if p.config, err = d.load(map[string]*string{p.file: &p.text}, p.secrets); err != nil {
		return nil, err
	}
	if p.connection, ok = find(p.config, draft.Name); !ok {
		return nil, fmt.Errorf("the file of connection %s was written and not read", draft.Name)
	}
	return p, d.fits(p.config, p.connection, draft.Force)
}

func (d *Desk) validDraft(draft Draft, c connectors.Connector) error {
	if !nameForm.MatchString(draft.Name) {
		return refuse(Invalid, "the name %q: use 1 to 63 lower-case letters, digits, - and _", draft.Name)
	}
	if draft.Environment != schemas.Sandbox && draft.Environment != schemas.Live {
		return refuse(Invalid, "the environment %q: it is %s or %s", draft.Environment, schemas.Sandbox, schemas.Live)
	}
	for _, r := range draft.Resources {
		if !slices.ContainsFunc(c.Resources, func(x connectors.Resource) bool { return x.ID == r }) {
			return noResource(c, r)
		}
	}
	for _, m := range []map[string]string{draft.Settings, draft.Secrets, draft.References} {
		for key := range m {
			if !keyForm.MatchString(key) {
				return refuse(Invalid, "setting %q: a path has names between its dots", key)
			}
		}
	}
	if !d.AllowPrivate && (draft.AllowPrivate || draft.TLSRoots != "") {
		return refuse(Invalid, "an address inside the network and roots of one's own are set in the connection's file only")
	}
	return d.free(draft.Name)
}

func noResource(c connectors.Connector, r string) *Refusal {
	var ids []string
	for _, x := range c.Resources {
		ids = append(ids, x.ID)
	}
	return refuse(Invalid, "%s has no resource %q; it has %s", c.Title, r, strings.Join(ids, ", "))
}

// free says whether a name can be taken.
func (d *Desk) free(name string) error {
	for _, ext := range []string{".yaml", ".yml"} {
		_, err := os.Stat(filepath.Join(d.Dir, config.ConnectionsFolder, name+ext))
		if err == nil {
			return refuse(Conflict, "there is a connection %q already: choose another name, or add a resource to it with tillstream connections add-resource", name)
		} else if !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("look for connection %s: %w", name, err)
		}
	}
	if d.kept(name) != "" {
		return refuse(Conflict, "the connection %q is disconnected: tillstream connect --reconnect %s connects it again, tillstream disconnect %s --delete forgets it", name, name, name)
	}
	return nil
}

// fits refuses an account that is connected already: twice in one environment, or in the other one.
func (d *Desk) fits(c *config.Config, x config.Connection, force bool) error {
	for _, y := range c.Connections {
		if y.Name == x.Name || !sameSettings(x, y) || len(Settings(x.Connector)) == 0 {
			continue
		}
		if y.Environment != x.Environment {
			return refuse(Conflict, "the same account is connected as %s in the %s environment, and sandbox and live are never mixed: take the credentials of the %s one", y.Name, y.Environment, x.Environment)
		}
		if !force {
			return refuse(Conflict, "the same account is connected as %s: add the resource there with tillstream connections add-resource %s", y.Name, y.Name)
		}
	}
	return nil
}

// stampFilesMax bounds the files that a folder is looked through for.
const stampFilesMax = 10_000

// Stamp is another text after any change of a file of the configuration or its secrets.
func (d *Desk) Stamp() string {
	var b strings.Builder
	n := 0
	_ = filepath.WalkDir(d.Dir, func(file string, e fs.DirEntry, err error) error {
		n++
		if n > stampFilesMax {
			return fs.SkipAll
		}
		if err != nil || strings.HasPrefix(e.Name(), ".") && file != d.Dir {
			if err == nil && e.IsDir() {
				return fs.SkipDir
			}
			return nil // gone while it was looked at: the next look tells
		}
		info, err := os.Stat(file) // through links, as a mounted folder has them
		if err == nil && !info.IsDir() {
			fmt.Fprintf(&b, "%s %d %d\n", file, info.Size(), info.ModTime().UnixNano())
		}
		return nil
	})
	return b.String()
}
