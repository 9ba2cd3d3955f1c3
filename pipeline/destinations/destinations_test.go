package destinations

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"github.com/tillstream/tillstream/connectors"
	"github.com/tillstream/tillstream/pipeline/config"
	"github.com/tillstream/tillstream/pipeline/connections"
	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/sinks"
)

// crm is a made-up CRM: the accounts that its keys open.
type crm struct {
	accounts map[string]string // key to the account's name
	lists    []sinks.Entry
	open     int
}

type crmConfig struct {
	URL  string         `yaml:"url"`
	Key  schemas.Secret `yaml:"key"`
	Side struct {
		Key schemas.Secret `yaml:"key"`
	} `yaml:"side"`
}

func (c *crmConfig) Account() string { return c.URL }
func (c *crmConfig) Validate() (out []sinks.Finding) {
	if c.URL == "" {
		out = append(out, sinks.Finding{Bad: true, Field: "url", Message: "is missing"})
	}
	if c.Key.Empty() {
		out = append(out, sinks.Finding{Bad: true, Field: "key", Message: "is missing"})
	}
	return out
}

type crmWriter struct {
	crm *crm
	key string
}

func (c *crm) sink() sinks.Sink {
	return sinks.Sink{
		Type: "crm", Title: "CRM", RatePerSecond: 5, Config: func() any { return &crmConfig{} }, Effects: []string{schemas.EffectTrackEvent},
		Open: func(_ context.Context, cfg any, _ sinks.Env) (sinks.Writer, error) {
			c.open++
			return &crmWriter{c, cfg.(*crmConfig).Key.Reveal()}, nil
		},
	}
}

func (w *crmWriter) Write(context.Context, []schemas.Command) []sinks.Outcome { return nil }
func (w *crmWriter) Reconcile(context.Context, schemas.Command) sinks.Outcome {
	return sinks.Outcome{Kind: sinks.Unknown}
}
func (w *crmWriter) Close() error { w.crm.open--; return nil }
func (w *crmWriter) Check(context.Context) []sinks.Finding {
	if w.crm.accounts[w.key] == "" {
		return []sinks.Finding{{Bad: true, Field: "key", Message: "the key is refused (403)", Hint: "copy it anew"}}
	}
	return []sinks.Finding{{Field: "key", Message: "the key is accepted"}}
}

func (w *crmWriter) Account(context.Context) (sinks.Account, sinks.Outcome) {
	return sinks.Account{ID: "7", Name: w.crm.accounts[w.key], User: "ann@example.com"}, sinks.Outcome{Kind: sinks.Delivered}
}

func (w *crmWriter) Catalogue(_ context.Context, kind sinks.EntryKind) ([]sinks.Entry, sinks.Outcome) {
	if kind != sinks.EntryList {
		return nil, sinks.Outcome{Kind: sinks.Rejected, Err: errors.New("none of these")}
	}
	return w.crm.lists, sinks.Outcome{Kind: sinks.Delivered}
}

const settings = "kafka:\n  brokers: [kafka:9092]\nregistry:\n  url: http://registry:8081\nredis:\n  address: redis:6379\n"

type namer struct {
	Destination string `yaml:"destination"`
}

// office is a desk with a folder and a CRM of its own. Files of the folder rules name destinations.
func newOffice(t *testing.T, files map[string]string) (*Desk, *crm) {
	t.Helper()
	c := &crm{accounts: map[string]string{"right": "Shop", "other": "Other shop"}, lists: []sinks.Entry{{ID: "1", Names: []string{"News"}}}}
	dir := t.TempDir()
	all := map[string]string{config.SettingsFile: settings}
	for name, text := range files {
		all[name] = text
	}
	for name, text := range all {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	folder := &connections.Desk{
		Dir: dir, AllowPrivate: true,
		Options: config.Options{
			Connectors: connectors.NewRegistry(), Sinks: sinks.NewRegistry(c.sink()),
			Kinds:  []config.Kind{{Folder: "rules", New: func() any { return &namer{} }}},
			Getenv: func(name string) (string, bool) { return "right", name == "KEY" },
		},
		Check: func(c *config.Config) error {
			for _, d := range c.Documents["rules"] {
				if _, ok := find(c, d.Value.(*namer).Destination); !ok {
					return config.Problems{{File: d.File, Field: "destination", Message: "is not there"}}
				}
			}
			return nil
		},
	}
	return &Desk{Folder: folder, Open: func(ctx context.Context, d config.Destination) (sinks.Writer, error) {
		return d.Sink.Open(ctx, d.Settings, sinks.Env{})
	}}, c
}

func texts(t *testing.T, d *Desk) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(d.Folder.Dir, func(file string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() || e.Name() == config.SettingsFile {
			return err
		}
		b, err := os.ReadFile(file)
		rel, _ := filepath.Rel(d.Folder.Dir, file)
		out[filepath.ToSlash(rel)] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func draft(name, url, key string) Draft {
	return Draft{Type: "crm", Name: name, Settings: map[string]string{"url": url}, Secrets: map[string]string{"key": key}}
}

func refusedAs(t *testing.T, err error, kind connections.RefusalKind, says string) {
	t.Helper()
	var r *connections.Refusal
	if !errors.As(err, &r) || r.Kind != kind || !strings.Contains(r.Error(), says) {
		t.Errorf("got %v, want a refusal %s that says %q", err, kind, says)
	}
}

func TestConnectWritesWhatWasChecked(t *testing.T) {
	d, c := newOffice(t, nil)
	r, err := d.Connect(t.Context(), draft("main", "https://a.example", "right"))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"destinations/main.yaml": "# CRM, main. The file's name is the destination's name, which mappings and workflows say.\n" +
			"sink: crm\nsettings:\n  url: https://a.example\n  key: ${file:secrets/destinations/main.key}\n",
		"secrets/destinations/main.key": "right\n",
	}
	if diff := cmp.Diff(want, texts(t, d)); diff != "" {
		t.Errorf("folder (-want +got):\n%s", diff)
	}
	if r.Account == nil || r.Account.Name != "Shop" || strings.Contains(r.Account.User, "ann@") {
		t.Errorf("account %+v, want Shop with a masked user", r.Account)
	}
	if diff := cmp.Diff([]Count{{sinks.EntryList, 1}}, r.Counts); diff != "" {
		t.Errorf("counts (-want +got):\n%s", diff)
	}
	before := texts(t, d)
	for says, x := range map[string]Draft{
		"the key is refused (403)":  draft("second", "https://b.example", "wrong"),
		"already":                   draft("main", "https://b.example", "other"),
		"connected as main":         draft("second", "https://a.example", "other"),
		"lower-case":                draft("../x", "https://b.example", "other"),
		"a path has names":          {Type: "crm", Name: "x", Settings: map[string]string{"url..": "b"}},
		"there is no sink \"crmm\"": {Type: "crmm", Name: "x"},
		"a secret is one line":      draft("x", "https://b.example", "other\nsink: y"),
		"give it as one":            {Type: "crm", Name: "x", Settings: map[string]string{"url": "https://b.example", "key": "right"}},
		"where the secret is kept":  {Type: "crm", Name: "x", Settings: map[string]string{"url": "https://b.example"}, References: map[string]string{"key": "vault"}},
		"no other text may hold ${": {Type: "crm", Name: "x", Settings: map[string]string{"url": "${env:KEY}"}},
	} {
		_, err := d.Connect(t.Context(), x)
		var r *connections.Refusal
		if !errors.As(err, &r) || !strings.Contains(r.Error(), says) {
			t.Errorf("got %v, want a refusal that says %q", err, says)
		}
	}
	if diff := cmp.Diff(before, texts(t, d)); diff != "" {
		t.Errorf("a refusal changed the folder (-before +after):\n%s", diff)
	}
	if _, err := d.Connect(t.Context(), draft("second", "https://b.example", "other")); err != nil {
		t.Errorf("a second account of the kind: %v", err)
	}
	if c.open != 0 {
		t.Errorf("%d writers are left open", c.open)
	}
}

func TestANewKeyLeavesTheRestOfTheFile(t *testing.T) {
	file := "# ours\nsink: crm   # the main one\nsettings:\n  # who pays\n  key: \"${env:KEY}\"  # of ann\n  url: https://ä.example\n  side: {key: '${env:KEY}'}\n"
	d, _ := newOffice(t, map[string]string{"destinations/main.yaml": file})
	_, err := d.Reconnect(t.Context(), "main", Change{Secrets: map[string]string{"key": "wrong"}})
	refusedAs(t, err, connections.CheckBad, "403")
	if got := texts(t, d)["destinations/main.yaml"]; got != file {
		t.Errorf("a refused key changed the file:\n%s", got)
	}
	if _, err := d.Reconnect(t.Context(), "main", Change{Secrets: map[string]string{"key": "other"}}); err != nil {
		t.Fatal(err)
	}
	want := strings.Replace(file, `"${env:KEY}"`, "${file:secrets/destinations/main.key.key}", 1)
	got := texts(t, d)
	if diff := cmp.Diff(want, got["destinations/main.yaml"]); diff != "" {
		t.Errorf("file (-want +got):\n%s", diff)
	}
	if _, err := d.Reconnect(t.Context(), "main", Change{Secrets: map[string]string{"key": "right"}, Settings: map[string]string{"url": "https://it's.example"}}); err != nil {
		t.Fatal(err)
	}
	got = texts(t, d)
	if got["secrets/destinations/main.key.key"] != "right\n" || !strings.Contains(got["destinations/main.yaml"], "url: 'https://it''s.example'\n") || len(got) != 2 {
		t.Errorf("folder %v, want the same secret's file with the new key, and the new address", got)
	}
	_, err = d.Reconnect(t.Context(), "main", Change{Settings: map[string]string{"list": "x"}})
	refusedAs(t, err, connections.Conflict, "by hand")
	_, err = d.Reconnect(t.Context(), "nobody", Change{})
	refusedAs(t, err, connections.NotFound, "no destination")
}

func TestDisconnectSaysWhatStays(t *testing.T) {
	d, _ := newOffice(t, map[string]string{"rules/a.yaml": "destination: main\n", "destinations/main.yaml": "sink: crm\nsettings: {url: https://a.example, key: '${env:KEY}'}\n"})
	_, err := d.Disconnect(t.Context(), "main", false)
	refusedAs(t, err, connections.Conflict, "rules/a.yaml")
	if err := os.Remove(d.Folder.Path("rules/a.yaml")); err != nil {
		t.Fatal(err)
	}
	r, err := d.Disconnect(t.Context(), "main", false)
	if err != nil || !strings.Contains(strings.Join(r.Next, "\n"), "stays in the CRM") {
		t.Fatalf("disconnect: %+v, %v", r, err)
	}
	list, err := d.List()
	if err != nil || len(list) != 1 || list[0].State != connections.StateDisconnected {
		t.Errorf("list %+v (%v), want main as disconnected", list, err)
	}
	if _, err := d.Reconnect(t.Context(), "main", Change{}); err != nil {
		t.Fatal(err)
	}
	if got := texts(t, d); len(got) != 1 || got["destinations/main.yaml"] == "" {
		t.Errorf("folder after the reconnect: %v", got)
	}
	if _, err := d.Disconnect(t.Context(), "main", true); err != nil {
		t.Fatal(err)
	}
	if got := texts(t, d); len(got) != 0 {
		t.Errorf("folder after it was forgotten: %v", got)
	}
}

func TestWhatVanishedIsTold(t *testing.T) {
	noon := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	entry := func(id string, names ...string) sinks.Entry { return sinks.Entry{ID: id, Names: names} }
	first := next(Snapshot{}, "crm", sinks.EntryList, []sinks.Entry{entry("1", "News"), entry("2", "Buyers"), entry("3", "Old")}, noon)
	mentions := []Mention{
		{"workflows/a.yaml", "steps.0", "crm", sinks.EntryList, "buyers"},
		{"workflows/b.yaml", "steps.1", "crm", sinks.EntryList, "News"},
		{"workflows/b.yaml", "steps.2", "crm", sinks.EntryList, "Never there"},
		{"workflows/c.yaml", "steps.0", "other", sinks.EntryList, "Buyers"},
		{"mappings/c.yaml", "fields.0.to", "crm", sinks.EntryField, "Buyers"},
	}
	if got := vanished(first, mentions); got != nil {
		t.Errorf("at the first look: %q, want nothing", got)
	}
	second := next(first, "crm", sinks.EntryList, []sinks.Entry{entry("1", "Newsletter")}, noon.Add(time.Hour))
	got := strings.Join(vanished(second, mentions), "\n")
	want := `the list "buyers", which workflows/a.yaml names (steps.0), is gone; it was there last at 2026-03-01T12:00:00Z` + "\n" +
		`the list "News", which workflows/b.yaml names (steps.1), is gone; it was there last at 2026-03-01T12:00:00Z`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	back := next(second, "crm", sinks.EntryList, []sinks.Entry{entry("1", "News"), entry("9", "Buyers")}, noon.Add(2*time.Hour))
	if got := vanished(back, mentions); got != nil {
		t.Errorf("made again: %q, want nothing", got)
	}
	late := next(second, "crm", sinks.EntryList, []sinks.Entry{entry("1", "Newsletter")}, noon.Add(goneFor+time.Hour))
	if len(late.Gone) != 0 {
		t.Errorf("remembered after %v: %+v", goneFor, late.Gone)
	}
	many := make([]sinks.Entry, entriesMax+1)
	if s := next(first, "crm", sinks.EntryList, many, noon); !s.Truncated || len(s.Entries) != entriesMax || vanished(s, mentions) != nil {
		t.Errorf("%d entries: truncated %v with %d, want true with %d and nothing told", len(many), s.Truncated, len(s.Entries), entriesMax)
	}
}

func TestSearch(t *testing.T) {
	list := []Entry{{ID: "7", Names: []string{"Colour"}, Options: []string{"Red"}}, {ID: "8", Names: []string{"Size"}}}
	for text, want := range map[string]int{"": 2, "colo": 1, "RED": 1, "8": 1, "blue": 0} {
		if got := Search(list, text); len(got) != want {
			t.Errorf("%q finds %d, want %d", text, len(got), want)
		}
	}
}

func TestAKeyThatIsRevokedRaisesAnAlarmAndEndsIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &crm{accounts: map[string]string{"right": "Shop"}}
		x := config.Destination{Name: "main", Sink: c.sink()}
		k := NewKeeper(KeeperOptions{Served: []Served{{x, &crmWriter{c, "right"}}}, Log: zerolog.Nop()})
		ctx, cancel := context.WithCancel(t.Context())
		defer func() { cancel(); synctest.Wait() }()
		go k.Run(ctx)
		synctest.Wait()
		if s := k.Status()[0]; len(s.Alarms) > 0 || s.Account == nil || s.Account.Name != "Shop" {
			t.Fatalf("at the start: %+v, want no alarm at Shop", s)
		}
		delete(c.accounts, "right")
		time.Sleep(checkEvery)
		synctest.Wait()
		s := k.Standing()
		if len(s.Alarms) != 1 || s.Alarms[0].Kind != AlarmCredentials || !strings.Contains(s.Alarms[0].What, "403") || s.Alarms[0].Remedy != "copy it anew" {
			t.Fatalf("after the key was revoked: %+v", s)
		}
		c.accounts["right"] = "Shop"
		time.Sleep(checkAgain)
		synctest.Wait()
		if s := k.Standing(); len(s.Alarms) > 0 {
			t.Errorf("after the key was good again: %+v", s)
		}
	})
}

func FuzzWithSetting(f *testing.F) {
	f.Add("sink: crm\nsettings:\n  key: a\n", "key", "b")
	f.Add("settings: {side: {key: 'x'}} # c\n", "side.key", "y")
	f.Fuzz(func(t *testing.T, text, key, value string) {
		got, err := withSetting(text, key, value)
		if err != nil && got != "" {
			t.Errorf("an error and a text: %q", got)
		}
		if err == nil && strings.Count(got, "\n") < strings.Count(text, "\n") {
			t.Errorf("lines are lost: %q of %q", got, text)
		}
	})
}
