package connections

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/tillstream/tillstream/connectors"
	"github.com/tillstream/tillstream/outbound"
	"github.com/tillstream/tillstream/pipeline/config"
)

// followMax is how long a process that follows the folder is waited for. Events lose nothing by it: it adopts what is
// written when it comes to it.
const followMax = 15 * time.Second

// Connect checks a draft and writes it: the connection's file, its secrets, and its webhook at the provider where a
// public address is set. Where the check finds something bad nothing is written, unless the draft forces it.
func (d *Desk) Connect(ctx context.Context, draft Draft) (*Result, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	p, err := d.plan(draft)
	if err != nil {
		return nil, err
	}
	found, err := d.approve(ctx, p.config, p.connection, draft.Force)
	if err != nil {
		return nil, err
	}
	for file, secret := range p.secrets {
		if err := d.write(file, secret+"\n"); err != nil {
			return nil, err
		}
	}
	if err := d.write(p.file, p.text); err != nil {
		return nil, err
	}
	r := &Result{Findings: findingViews(found), Next: []string{fmt.Sprintf("%s is connected: %s", draft.Name, p.file)}}
	d.settle(ctx, p.config, p.connection, r)
	return r, nil
}

// approve checks a connection before something is written.
func (d *Desk) approve(ctx context.Context, c *config.Config, x config.Connection, force bool) ([]connectors.Finding, error) {
	found, bad, err := d.try(ctx, c, x)
	if err != nil && !force {
		return nil, err
	}
	if bad && !force {
		return nil, &Refusal{Kind: CheckBad, Detail: "nothing is changed: the check of " + x.Name + " found something bad", Findings: findingViews(found)}
	}
	return found, nil
}

func (d *Desk) write(file, text string) error {
	if err := writeFile(filepath.Join(d.Dir, filepath.FromSlash(file)), []byte(text), 0o600); err != nil {
		return refuse(Failed, "%s", err.Error())
	}
	return nil
}

// settle waits until x runs as it was written, or, where nothing follows the folder, brings its webhook in order; and
// says what happens now.
func (d *Desk) settle(ctx context.Context, c *config.Config, x config.Connection, r *Result) {
	url := d.opener(c).URL(x)
	r.Connection = viewOf(x, url)
	want := resourceIDs(r.Connection.Resources)
	if d.follow(ctx, func(list []View) bool {
		i := slices.IndexFunc(list, func(v View) bool { return v.Name == x.Name })
		if i < 0 || list[i].State != StateRunning || !slices.Equal(resourceIDs(list[i].Resources), want) || !list[i].tried() {
			return false
		}
		r.Connection = list[i]
		return true
	}) {
		r.Next = append(r.Next, "the running process has taken it over")
	} else {
		r.Next = append(r.Next, "a process that runs with this folder takes it over within a few seconds; else start one with tillstream run --config "+d.Dir)
		d.register(ctx, c, x, url, r)
	}
	r.Next = append(r.Next, webhookWords(r.Connection)...)
}

// tried reports whether the outcome of the registration, where there is one, is known.
func (v View) tried() bool {
	return v.Webhook == nil || v.Webhook.ID != "" || v.Webhook.Error != errNotTried.Error()
}

func resourceIDs(list []ResourceView) (out []string) {
	for _, r := range list {
		out = append(out, r.ID)
	}
	return out
}

func (d *Desk) follow(ctx context.Context, done func([]View) bool) bool {
	if d.Follow == nil {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, followMax)
	defer cancel()
	return d.Follow(ctx, done)
}

// register brings x's webhook at the provider to what is wanted.
func (d *Desk) register(ctx context.Context, c *config.Config, x config.Connection, url string, r *Result) {
	if url == "" {
		return
	}
	err := d.atProvider(ctx, c, x, func(ctx context.Context, reg connectors.Registrar) error {
		got, err := reg.Register(ctx)
		r.Connection.Webhook = &WebhookView{Address: url, ID: got.ID, Used: got.Used, Limit: got.Limit}
		if err == nil {
			r.Connection.Webhook.RegisteredAt = d.Opener.Now()
		}
		return err
	})
	if err != nil && r.Connection.Webhook != nil {
		r.Connection.Webhook.Error = outbound.Redact(err.Error())
	}
}

// atProvider calls f with x's registrar; nothing where it has none.
func (d *Desk) atProvider(ctx context.Context, c *config.Config, x config.Connection, f func(context.Context, connectors.Registrar) error) error {
	return safely(func() error {
		src, err := d.opener(c).Open(ctx, x)
		if err != nil {
			return err
		}
		defer func() { _ = safely(src.Close) }()
		if reg, ok := src.(connectors.Registrar); ok {
			return f(ctx, reg)
		}
		return nil
	})
}

func webhookWords(v View) []string {
	w := v.Webhook
	switch {
	case w == nil || w.Address == "":
		return []string{"no public address is set (ingest.public_url): without one no webhook can come, and events are found by polling only, where the provider offers that"}
	case w.Error != "":
		return []string{"its webhook is not registered: " + w.Error + "; a running process tries it again by itself"}
	case w.ID != "":
		text := "its webhook is registered as " + w.ID
		if w.Limit > 0 {
			text += fmt.Sprintf("; the provider has room for %d, %d in use", w.Limit, w.Used)
		}
		return []string{text}
	}
	return []string{"enter its address at the provider: " + w.Address}
}

// AddResource has a connection receive a resource too.
func (d *Desk) AddResource(ctx context.Context, name, resource string, force bool) (*Result, error) {
	return d.change(ctx, name, force, func(x config.Connection) ([]string, error) {
		if !slices.ContainsFunc(x.Connector.Resources, func(r connectors.Resource) bool { return r.ID == resource }) {
			return nil, noResource(x.Connector, resource)
		}
		if slices.Contains(x.Resources, resource) {
			return nil, refuse(Conflict, "%s receives %s already", name, resource)
		}
		return append(slices.Clone(x.Resources), resource), nil
	})
}

// RemoveResource has a connection no longer receive a resource. What was received stays, and so does the account.
func (d *Desk) RemoveResource(ctx context.Context, name, resource string) (*Result, error) {
	return d.change(ctx, name, true, func(x config.Connection) ([]string, error) {
		if !slices.Contains(x.Resources, resource) {
			return nil, refuse(Conflict, "%s does not receive %s", name, resource)
		}
		if len(x.Resources) == 1 {
			return nil, refuse(Conflict, "%s is the only resource of %s: disconnect the account with tillstream disconnect %s", resource, name, name)
		}
		return slices.DeleteFunc(slices.Clone(x.Resources), func(r string) bool { return r == resource }), nil
	})
}

// SetResources replaces the resources of a connection; at least one stays.
func (d *Desk) SetResources(ctx context.Context, name string, resources []string, force bool) (*Result, error) {
	return d.change(ctx, name, force, func(x config.Connection) ([]string, error) {
		if len(resources) == 0 {
			return nil, refuse(Invalid, "a connection has at least one resource: to receive nothing, disconnect it")
		}
		for _, r := range resources {
			if !slices.ContainsFunc(x.Connector.Resources, func(have connectors.Resource) bool { return have.ID == r }) {
				return nil, noResource(x.Connector, r)
			}
		}
		return resources, nil
	})
}

// change writes other resources into a connection's file.
func (d *Desk) change(ctx context.Context, name string, force bool, want func(config.Connection) ([]string, error)) (*Result, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	c, err := d.Load()
	if err != nil {
		return nil, err
	}
	x, ok := find(c, name)
	if !ok {
		return nil, unknown(name)
	}
	resources, err := want(x)
	if err != nil {
		return nil, err
	}
	text, err := withResources(c.Files[x.File], resources)
	if err != nil {
		return nil, refuse(Conflict, "%s: %s", x.File, err.Error())
	}
	if c, err = d.load(map[string]*string{x.File: &text}, nil); err != nil {
		return nil, err
	}
	x, _ = find(c, name)
	if got := slices.Sorted(slices.Values(x.Resources)); !slices.Equal(got, slices.Sorted(slices.Values(resources))) {
		return nil, refuse(Conflict, "%s: %s", x.File, errByHand.Error())
	}
	found, err := d.approve(ctx, c, x, force)
	if err != nil {
		return nil, err
	}
	if err := d.write(x.File, text); err != nil {
		return nil, err
	}
	r := &Result{Findings: findingViews(found), Next: []string{fmt.Sprintf("%s receives %s from now on; what was received before stays", name, strings.Join(resources, ", "))}}
	d.settle(ctx, c, x, r)
	return r, nil
}

// Disconnect stops a connection: its file is put aside (forget: deleted, with its secrets), running processes drop it,
// and its webhook is removed at the provider. Nothing that was received or synced is removed. A disconnected one can be
// disconnected again, where its webhook could not be removed, or to forget it.
func (d *Desk) Disconnect(ctx context.Context, name string, forget bool) (*Result, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	c, x, err := d.leaving(name)
	if err != nil {
		return nil, err
	}
	aside := x.File + config.DisconnectedSuffix
	if err := d.spared(c, x, aside, forget); err != nil {
		return nil, err
	}
	if d.kept(name) == "" {
		if err := os.Rename(d.path(x.File), d.path(aside)); err != nil {
			return nil, refuse(Failed, "put the file of %s aside: %s", name, err.Error())
		}
	}
	r := &Result{Connection: viewOf(x, ""), Findings: []FindingView{}}
	r.Connection.State, r.Connection.File = StateDisconnected, aside
	r.Next = append(r.Next, name+" is disconnected: its events are no longer received; what was received and synced stays")
	if d.follow(ctx, func(list []View) bool {
		return !slices.ContainsFunc(list, func(v View) bool { return v.Name == name && v.State != StateDisconnected })
	}) {
		r.Next = append(r.Next, "the running process has dropped it")
	}
	err = d.atProvider(ctx, c, x, func(ctx context.Context, reg connectors.Registrar) error { return reg.Unregister(ctx) })
	if err != nil {
		return r, refuse(Failed, "%s is disconnected, but its webhook could not be removed: %s; say tillstream disconnect %s again, or remove it at the provider", name, outbound.Redact(err.Error()), name)
	}
	r.Next = append(r.Next, "its webhook is removed at the provider, where Tillstream had registered it")
	if forget {
		if err := d.forget(c, x, aside); err != nil {
			return r, err
		}
		r.Connection.File = ""
		r.Next = append(r.Next, "its file and the secrets that Tillstream had written for it are deleted")
	} else {
		r.Next = append(r.Next, fmt.Sprintf("its file is kept as %s; tillstream connect --reconnect %s connects it again", aside, name))
	}
	r.Next = append(r.Next, "revoke the access at the provider, too, if it is not to come back: delete the app or its secret there")
	return r, nil
}

// spared says whether the rest of the configuration is good without x: what names it may go on naming it while it is put
// aside, and no longer once it is forgotten.
func (d *Desk) spared(c *config.Config, x config.Connection, aside string, forget bool) error {
	text := c.Files[x.File]
	files := map[string]*string{x.File: nil, aside: &text}
	if forget {
		files[aside] = nil
	}
	_, err := d.load(files, nil)
	return err
}

func (d *Desk) path(file string) string { return filepath.Join(d.Dir, filepath.FromSlash(file)) }

// leaving is the connection that is to be disconnected, or is already.
func (d *Desk) leaving(name string) (*config.Config, config.Connection, error) {
	files := map[string]*string{}
	if file := d.kept(name); file != "" {
		text, err := d.read(file + config.DisconnectedSuffix)
		if err != nil {
			return nil, config.Connection{}, fmt.Errorf("disconnect %s: %w", name, err)
		}
		files[file] = &text
	}
	c, err := d.load(files, nil)
	if err != nil {
		return nil, config.Connection{}, err
	}
	x, ok := find(c, name)
	if !ok {
		return nil, x, unknown(name)
	}
	return c, x, nil
}

// forget deletes a disconnected connection's file, and the secrets that were written for it.
func (d *Desk) forget(c *config.Config, x config.Connection, aside string) error {
	secrets, err := filepath.Glob(d.path(config.SecretsFolder + "/" + x.Name + ".*"))
	for _, file := range append(secrets, d.path(aside)) {
		// A secret that another file names as well is that one's, too.
		shared := false
		for other, text := range c.Files {
			shared = shared || other != x.File && strings.Contains(text, "secrets/"+filepath.Base(file))
		}
		if shared {
			continue
		}
		if gone := os.Remove(file); gone != nil && !errors.Is(gone, fs.ErrNotExist) {
			err = errors.Join(err, gone)
		}
	}
	if err != nil {
		return refuse(Failed, "%s is disconnected, but not all of its files could be deleted: %s", x.Name, err.Error())
	}
	return nil
}

// Reconnect connects a disconnected account again, as its file says.
func (d *Desk) Reconnect(ctx context.Context, name string, force bool) (*Result, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	file := d.kept(name)
	if file == "" {
		return nil, refuse(NotFound, "there is no disconnected connection %q; tillstream connections lists them", name)
	}
	if _, err := os.Stat(d.path(file)); err == nil {
		return nil, refuse(Conflict, "there is a connection %q already", name)
	}
	text, err := d.read(file + config.DisconnectedSuffix)
	if err != nil {
		return nil, fmt.Errorf("reconnect %s: %w", name, err)
	}
	c, err := d.load(map[string]*string{file: &text}, nil)
	if err != nil {
		return nil, err
	}
	x, ok := find(c, name)
	if !ok {
		return nil, unknown(name)
	}
	if err := d.fits(c, x, force); err != nil {
		return nil, err
	}
	found, err := d.approve(ctx, c, x, force)
	if err != nil {
		return nil, err
	}
	if err := os.Rename(d.path(file+config.DisconnectedSuffix), d.path(file)); err != nil {
		return nil, refuse(Failed, "take up the file of %s: %s", name, err.Error())
	}
	r := &Result{Findings: findingViews(found), Next: []string{name + " is connected again; what was received before is as it was"}}
	d.settle(ctx, c, x, r)
	return r, nil
}
