package connections

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"github.com/tillstream/tillstream/connectors"
	"github.com/tillstream/tillstream/pipeline/config"
	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/sinks"
)

const settings = "kafka:\n  brokers: [kafka:9092]\nregistry:\n  url: http://registry:8081\nredis:\n  address: redis:6379\ningest:\n  public_url: https://till.example\n"

// office is a desk with a folder and a provider of its own.
type office struct {
	*Desk
	p *provider
}

func newOffice(t *testing.T, files map[string]string) *office {
	t.Helper()
	dir := t.TempDir()
	all := map[string]string{config.SettingsFile: settings}
	for name, text := range files {
		all[name] = text
	}
	for name, text := range all {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	p := newProvider()
	return &office{p: p, Desk: &Desk{
		Dir: dir, Opener: Opener{Now: time.Now, Log: zerolog.Nop()},
		Options: config.Options{
			Connectors: connectors.NewRegistry(p.connector()), Sinks: sinks.NewRegistry(),
			Getenv: func(name string) (string, bool) { return "right", name == "SECRET" },
		},
	}}
}

// files are the texts in the folder but the settings, by path.
func (o *office) files(t *testing.T) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(o.Dir, func(file string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || d.Name() == config.SettingsFile {
			return err
		}
		b, err := os.ReadFile(file)
		rel, _ := filepath.Rel(o.Dir, file)
		out[filepath.ToSlash(rel)] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func draft(name string) Draft {
	return Draft{
		Type: "fake", Name: name, Environment: schemas.Sandbox, Resources: []string{"orders"},
		Settings: map[string]string{"account": name}, Secrets: map[string]string{"secret": "right"},
	}
}

// refusedAs wants err to be a refusal of a kind that says something, and the folder to be as it was.
func (o *office) refusedAs(t *testing.T, err error, kind RefusalKind, says string, before map[string]string) {
	t.Helper()
	var r *Refusal
	if !errors.As(err, &r) || r.Kind != kind || !strings.Contains(r.Error(), says) {
		t.Errorf("got %v, want a refusal %s that says %q", err, kind, says)
	}
	if diff := cmp.Diff(before, o.files(t)); diff != "" {
		t.Errorf("the folder was changed (-before +after):\n%s", diff)
	}
}

func TestConnectWritesChecksAndRegisters(t *testing.T) {
	o := newOffice(t, nil)
	d := draft("eu")
	d.Settings["hosts"], d.Settings["wait"], d.Settings["strict"], d.Settings["inner.words.paid"] = "[a, b]", "30s", "true", "PAID"
	r, err := o.Connect(t.Context(), d)
	if err != nil {
		t.Fatal(err)
	}
	files := o.files(t)
	if diff := cmp.Diff("right\n", files["secrets/eu.key"]); diff != "" {
		t.Errorf("the secret's file:\n%s", diff)
	}
	info, err := os.Stat(filepath.Join(o.Dir, "secrets/eu.key"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode of the secret: %v, %v", info.Mode(), err)
	}
	text := files["connections/eu.yaml"]
	if strings.Contains(text, "right") || !strings.Contains(text, "${file:secrets/eu.key}") {
		t.Errorf("the file:\n%s", text)
	}
	c, err := o.Load()
	if err != nil {
		t.Fatal(err)
	}
	want := fakeConfig{Account: "eu", Secret: schemas.NewSecret("right"), Hosts: []string{"a", "b"}, Wait: 30 * time.Second, Strict: true}
	want.Inner.Words = map[string]string{"paid": "PAID"}
	if diff := cmp.Diff(want, *c.Connections[0].Settings.(*fakeConfig)); diff != "" {
		t.Errorf("settings as loaded (-want +got):\n%s", diff)
	}
	if c.Connections[0].Token == "" {
		t.Error("the address can be guessed: it has no token")
	}
	w := r.Connection.Webhook
	if w == nil || w.ID == "" || w.Limit != 3 || w.Used != 1 || !strings.HasPrefix(w.Address, "https://till.example/webhooks/eu/") || len(o.p.hooks) != 1 {
		t.Errorf("webhook %+v, hooks %v", w, o.p.hooks)
	}
	if said, _ := json.Marshal(r); strings.Contains(string(said), "right") {
		t.Errorf("the result tells the secret: %s", said)
	}
	if len(o.p.open) != 0 {
		t.Errorf("%d sources are left open", len(o.p.open))
	}
}

func TestConnectRefusesAndChangesNothing(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*Draft, *office)
		kind   RefusalKind
		says   string
	}{
		"an unknown type":               {func(d *Draft, _ *office) { d.Type = "fakr" }, NotFound, `no connector "fakr"`},
		"a bad name":                    {func(d *Draft, _ *office) { d.Name = "../eu" }, Invalid, "lower-case"},
		"no name":                       {func(d *Draft, _ *office) { d.Name = "" }, Invalid, "lower-case"},
		"no environment":                {func(d *Draft, _ *office) { d.Environment = "" }, Invalid, "sandbox or live"},
		"an unknown resource":           {func(d *Draft, _ *office) { d.Resources = []string{"order"} }, Invalid, "orders, refunds"},
		"YAML in a resource":            {func(d *Draft, _ *office) { d.Resources = []string{"orders]\nx: [y"} }, Invalid, "no resource"},
		"YAML in a key":                 {func(d *Draft, _ *office) { d.Settings["a\nb"] = "x" }, Invalid, "between its dots"},
		"a path in a key of a secret":   {func(d *Draft, _ *office) { d.Secrets["../../x"] = "y" }, Invalid, "between its dots"},
		"a reference as a setting":      {func(d *Draft, _ *office) { d.Settings["account"] = "${env:SECRET}" }, Invalid, "reference"},
		"a secret as a setting":         {func(d *Draft, _ *office) { d.Settings["secret"] = "x" }, Invalid, "is a secret"},
		"a secret of two lines":         {func(d *Draft, _ *office) { d.Secrets["secret"] = "a\nb" }, Invalid, "one line"},
		"a value with values below it":  {func(d *Draft, _ *office) { d.Settings["inner"], d.Settings["inner.words.x"] = "y", "z" }, Invalid, "below it"},
		"a reference of another form":   {func(d *Draft, _ *office) { d.References = map[string]string{"more": "SECRET"} }, Invalid, "env:NAME"},
		"a private address by the API":  {func(d *Draft, _ *office) { d.AllowPrivate = true }, Invalid, "inside the network"},
		"roots by the API":              {func(d *Draft, _ *office) { d.TLSRoots = "/etc/passwd" }, Invalid, "inside the network"},
		"a wrong secret":                {func(d *Draft, _ *office) { d.Secrets["secret"] = "oops" }, CheckBad, "the secret is wrong; copy it again"},
		"one that cannot be opened":     {func(d *Draft, o *office) { o.p.broken = d.Name }, CheckBad, "cannot be opened"},
		"one that is there":             {func(d *Draft, _ *office) { d.Name = "there" }, Conflict, "already"},
		"one that is disconnected":      {func(d *Draft, _ *office) { d.Name = "gone" }, Conflict, "--reconnect gone"},
		"an account that is there":      {func(d *Draft, _ *office) { d.Settings["account"] = "there" }, Conflict, "connected as there"},
		"live with a sandbox's account": {func(d *Draft, _ *office) { d.Settings["account"], d.Environment = "there", schemas.Live }, Conflict, "never mixed"},
	} {
		t.Run(name, func(t *testing.T) {
			o := newOffice(t, map[string]string{
				"connections/there.yaml":             "connector: fake\nenvironment: sandbox\nsettings: {account: there, secret: '${env:SECRET}'}\n",
				"connections/gone.yaml.disconnected": "connector: fake\nenvironment: sandbox\nsettings: {account: gone, secret: '${env:SECRET}'}\n",
			})
			before := o.files(t)
			d := draft("eu")
			c.change(&d, o)
			_, err := o.Connect(t.Context(), d)
			o.refusedAs(t, err, c.kind, c.says, before)
			if len(o.p.hooks) != 0 {
				t.Errorf("a webhook was registered: %v", o.p.hooks)
			}
		})
	}
}

func TestADraftThatTheConfigurationRefusesHasItsPlace(t *testing.T) {
	o := newOffice(t, nil)
	d := draft("eu")
	delete(d.Settings, "account")
	d.Settings["acount"] = "eu"
	_, err := o.Connect(t.Context(), d)
	var problems config.Problems
	if !errors.As(err, &problems) || !strings.Contains(err.Error(), `connections/eu.yaml:8: settings.acount: unknown key; did you mean "account"?`) {
		t.Errorf("got %v", err)
	}
}

func TestForceConnectsWhatTheCheckCallsBad(t *testing.T) {
	o := newOffice(t, nil)
	d := draft("eu")
	d.Secrets["secret"], d.Force = "oops", true
	r, err := o.Connect(t.Context(), d)
	if err != nil || len(r.Findings) == 0 || r.Findings[0].Level != connectors.Bad {
		t.Errorf("got %+v, %v", r, err)
	}
}

func TestWithoutAPublicAddressAnAccountCanBeConnected(t *testing.T) {
	o := newOffice(t, map[string]string{config.SettingsFile: strings.ReplaceAll(settings, "  public_url: https://till.example\n", "  listen: :8080\n")})
	r, err := o.Connect(t.Context(), draft("eu"))
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(r.Next, func(s string) bool { return strings.Contains(s, "ingest.public_url") }) || o.p.register != 0 {
		t.Errorf("%d registrations; it says %v", o.p.register, r.Next)
	}
}

func TestSecretsKeptElsewhereAndInLists(t *testing.T) {
	o := newOffice(t, nil)
	d := draft("eu")
	d.Secrets = map[string]string{"more.0": "one", "more.1": "two"}
	d.References = map[string]string{"secret": "env:SECRET"}
	if _, err := o.Connect(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	c, err := o.Load()
	if err != nil {
		t.Fatal(err)
	}
	got := c.Connections[0].Settings.(*fakeConfig)
	if got.Secret.Reveal() != "right" || len(got.More) != 2 || got.More[1].Reveal() != "two" {
		t.Errorf("secrets: %q, %d more", got.Secret.Reveal(), len(got.More))
	}
	if diff := cmp.Diff([]string{"connections/eu.yaml", "secrets/eu.more-0.key", "secrets/eu.more-1.key"}, keys(o.files(t))); diff != "" {
		t.Errorf("files:\n%s", diff)
	}
}

func keys(m map[string]string) (out []string) {
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

func TestMissingNamesWhatADraftLacks(t *testing.T) {
	c := newProvider().connector()
	missing := func(d Draft) (fields []string) {
		for _, f := range d.Missing(c) {
			fields = append(fields, f.Field)
		}
		return fields
	}
	if diff := cmp.Diff([]string{"account", "secret"}, missing(Draft{})); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string(nil), missing(Draft{Settings: map[string]string{"account": "x"}, References: map[string]string{"secret": "env:X"}})); diff != "" {
		t.Error(diff)
	}
}

func TestResourcesAreAddedAndRemoved(t *testing.T) {
	o := newOffice(t, nil)
	ctx := t.Context()
	if _, err := o.Connect(ctx, draft("eu")); err != nil {
		t.Fatal(err)
	}
	hook := func() []string {
		for _, resources := range o.p.hooks {
			return resources
		}
		return nil
	}
	if _, err := o.AddResource(ctx, "eu", "refunds", false); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"orders", "refunds"}, hook()); diff != "" {
		t.Errorf("after a resource was added:\n%s", diff)
	}
	before := o.files(t)
	_, err := o.AddResource(ctx, "eu", "refunds", false)
	o.refusedAs(t, err, Conflict, "already", before)
	_, err = o.AddResource(ctx, "eu", "refund", false)
	o.refusedAs(t, err, Invalid, "orders, refunds", before)
	_, err = o.AddResource(ctx, "us", "refunds", false)
	o.refusedAs(t, err, NotFound, `"us"`, before)
	if _, err := o.RemoveResource(ctx, "eu", "orders"); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"refunds"}, hook()); diff != "" {
		t.Errorf("after a resource was removed:\n%s", diff)
	}
	before = o.files(t)
	_, err = o.RemoveResource(ctx, "eu", "refunds")
	o.refusedAs(t, err, Conflict, "tillstream disconnect eu", before)
	_, err = o.RemoveResource(ctx, "eu", "orders")
	o.refusedAs(t, err, Conflict, "does not receive", before)
	_, err = o.SetResources(ctx, "eu", nil, false)
	o.refusedAs(t, err, Invalid, "at least one", before)
	if _, err := o.SetResources(ctx, "eu", []string{"refunds", "orders"}, false); err != nil {
		t.Fatal(err)
	}
	if v, err := o.Show("eu"); err != nil || len(v.Resources) != 2 {
		t.Errorf("in the end: %+v, %v", v, err)
	}
	// A permission that the new resource needs is told before anything is written.
	o.p.secret = "other"
	if _, err := o.RemoveResource(ctx, "eu", "refunds"); err != nil {
		t.Errorf("an account with a bad secret keeps its resources: %v", err)
	}
	before = o.files(t)
	_, err = o.AddResource(ctx, "eu", "refunds", false)
	o.refusedAs(t, err, CheckBad, "secret is wrong", before)
}

func TestDisconnectAndReconnect(t *testing.T) {
	o := newOffice(t, nil)
	ctx := t.Context()
	if _, err := o.Connect(ctx, draft("eu")); err != nil {
		t.Fatal(err)
	}
	before := o.files(t)
	_, err := o.Disconnect(ctx, "us", false)
	o.refusedAs(t, err, NotFound, `"us"`, before)
	_, err = o.Reconnect(ctx, "eu", false)
	o.refusedAs(t, err, NotFound, "no disconnected", before)

	// A webhook that cannot be removed is said, and the command can be repeated.
	o.p.set(func(p *provider) { p.down = true })
	if _, err = o.Disconnect(ctx, "eu", false); err == nil || !strings.Contains(err.Error(), "tillstream disconnect eu again") {
		t.Errorf("with a provider that is down: %v", err)
	}
	o.p.set(func(p *provider) { p.down = false })
	if _, err = o.Disconnect(ctx, "eu", false); err != nil || len(o.p.hooks) != 0 {
		t.Errorf("again: %v, hooks %v", err, o.p.hooks)
	}
	if diff := cmp.Diff([]string{"connections/eu.yaml.disconnected", "secrets/eu.key"}, keys(o.files(t))); diff != "" {
		t.Errorf("files:\n%s", diff)
	}
	if v, err := o.Show("eu"); err != nil || v.State != StateDisconnected || v.Type != "fake" || len(v.Resources) != 1 {
		t.Errorf("it is shown as %+v, %v", v, err)
	}

	after := o.files(t)
	o.p.secret = "other"
	_, err = o.Reconnect(ctx, "eu", false)
	o.refusedAs(t, err, CheckBad, "secret is wrong", after)
	o.p.secret = "right"
	if _, err := o.Reconnect(ctx, "eu", false); err != nil || len(o.p.hooks) != 1 {
		t.Errorf("reconnect: %v, hooks %v", err, o.p.hooks)
	}
	if diff := cmp.Diff(before, o.files(t)); diff != "" {
		t.Errorf("files after it was connected again:\n%s", diff)
	}
	if _, err := o.Disconnect(ctx, "eu", true); err != nil || len(o.files(t)) != 0 {
		t.Errorf("forgotten: %v, files %v", err, o.files(t))
	}
}

// What names an account may go on doing so while it is put aside, and not once it is forgotten.
func TestAnAccountThatAMappingNamesIsNotForgotten(t *testing.T) {
	o := newOffice(t, nil)
	if _, err := o.Connect(t.Context(), draft("eu")); err != nil {
		t.Fatal(err)
	}
	o.Check = func(c *config.Config) error {
		if _, ok := find(c, "eu"); !ok && !slices.Contains(c.Disconnected, "eu") {
			return config.Problems{{File: "mappings/orders.yaml", Line: 3, Message: "there is no connection eu"}}
		}
		return nil
	}
	refused := func(when string) {
		t.Helper()
		before := o.files(t)
		_, err := o.Disconnect(t.Context(), "eu", true)
		var problems config.Problems
		if !errors.As(err, &problems) || !strings.Contains(err.Error(), "mappings/orders.yaml:3") {
			t.Errorf("%s: got %v", when, err)
		}
		if diff := cmp.Diff(before, o.files(t)); diff != "" {
			t.Errorf("%s: the folder was changed:\n%s", when, diff)
		}
	}
	refused("while it is connected")
	if _, err := o.Disconnect(t.Context(), "eu", false); err != nil {
		t.Error(err)
	}
	refused("while it is disconnected")
	if _, err := o.Reconnect(t.Context(), "eu", false); err != nil {
		t.Error(err)
	}
}

func TestASharedSecretIsNotDeleted(t *testing.T) {
	o := newOffice(t, nil)
	if _, err := o.Connect(t.Context(), draft("eu")); err != nil {
		t.Fatal(err)
	}
	other := "connector: fake\nenvironment: sandbox\nsettings:\n  account: us\n  secret: ${file:secrets/eu.key}\n"
	if err := os.WriteFile(filepath.Join(o.Dir, "connections/us.yaml"), []byte(other), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := o.Disconnect(t.Context(), "eu", true); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"connections/us.yaml", "secrets/eu.key"}, keys(o.files(t))); diff != "" {
		t.Errorf("files:\n%s", diff)
	}
}

// What follows the folder registers; a desk beside it does not.
func TestARunningProcessIsWaitedFor(t *testing.T) {
	o := newOffice(t, nil)
	o.Follow = func(_ context.Context, done func([]View) bool) bool {
		c, err := o.load(nil, nil)
		if err != nil {
			t.Error(err)
			return false
		}
		var list []View
		for _, x := range c.Connections {
			v := viewOf(x, o.opener(c).URL(x))
			v.State, v.Webhook.ID, v.Webhook.Used, v.Webhook.Limit = StateRunning, "from the process", 2, 10
			list = append(list, v)
		}
		return done(list)
	}
	r, err := o.Connect(t.Context(), draft("eu"))
	if err != nil {
		t.Fatal(err)
	}
	if o.p.register != 0 || r.Connection.Webhook.ID != "from the process" || !slices.Contains(r.Next, "the running process has taken it over") {
		t.Errorf("%d registrations; %+v", o.p.register, r)
	}
	if r, err = o.Disconnect(t.Context(), "eu", false); err != nil || !slices.Contains(r.Next, "the running process has dropped it") {
		t.Errorf("disconnect: %+v, %v", r, err)
	}
}

func TestChecksTellWhatIsWrong(t *testing.T) {
	o := newOffice(t, nil)
	found, err := o.CheckDraft(t.Context(), draft("eu"))
	if err != nil || len(found) != 1 || found[0].Level != connectors.OK || len(o.files(t)) != 0 {
		t.Errorf("a good draft: %+v, %v, files %v", found, err, o.files(t))
	}
	if _, err := o.Connect(t.Context(), draft("eu")); err != nil {
		t.Fatal(err)
	}
	o.p.secret = "other"
	found, err = o.CheckConnection(t.Context(), "eu")
	if err != nil || len(found) != 1 || found[0].Level != connectors.Bad || found[0].Hint == "" {
		t.Errorf("a bad connection: %+v, %v", found, err)
	}
	o.p.panics = true
	if found, err = o.CheckConnection(t.Context(), "eu"); err != nil || len(found) != 1 || !strings.Contains(found[0].Message, "panic") {
		t.Errorf("a connector with a fault: %+v, %v", found, err)
	}
}

func TestTheStampChangesWithEveryFile(t *testing.T) {
	o := newOffice(t, nil)
	seen := map[string]string{o.Stamp(): "the empty folder"}
	for _, step := range []struct {
		name string
		do   func() error
	}{
		{"a connection", func() error { return o.write("connections/eu.yaml", "x: y\n") }},
		{"an edit", func() error { return o.write("connections/eu.yaml", "x: yz\n") }},
		{"a secret", func() error { return o.write("secrets/eu.key", "x") }},
		{"a removal", func() error { return os.Remove(o.path("connections/eu.yaml")) }},
	} {
		if err := step.do(); err != nil {
			t.Fatal(err)
		}
		s := o.Stamp()
		if was, ok := seen[s]; ok {
			t.Errorf("%s: the stamp is that of %s", step.name, was)
		}
		seen[s] = step.name
	}
	if first, second := o.Stamp(), o.Stamp(); first != second {
		t.Error("the stamp changes without a change")
	}
}

func TestConnectorsAreShownWithSettingsAndSchema(t *testing.T) {
	list, err := newOffice(t, nil).Connectors()
	if err != nil || len(list) != 1 {
		t.Fatalf("got %+v, %v", list, err)
	}
	want := []Setting{
		{Key: "account", Type: "text"},
		{Key: "secret", Type: "text", Secret: true},
		{Key: "more", Type: "text", Secret: true, List: true},
		{Key: "hosts", Type: "text", List: true},
		{Key: "wait", Type: "duration"},
		{Key: "strict", Type: "yes or no"},
		{Key: "inner.words", Type: "keys and values"},
	}
	if diff := cmp.Diff(want, list[0].Settings); diff != "" {
		t.Errorf("settings (-want +got):\n%s", diff)
	}
	if !strings.Contains(string(list[0].ConfigSchema), `"account"`) || len(list[0].Fields) != 1 || len(list[0].Resources) != 2 {
		t.Errorf("got %+v", list[0])
	}
}
