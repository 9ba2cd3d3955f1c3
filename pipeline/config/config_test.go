package config

import (
	"encoding/json"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"
	validator "github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/tillstream/tillstream/connectors"
	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/sinks"
)

type shopConfig struct {
	ClientID string         `yaml:"client_id"`
	Secret   schemas.Secret `yaml:"client_secret"`
	Timeout  time.Duration  `yaml:"timeout"`
	Hosts    []string       `yaml:"hosts"`
}

func (c *shopConfig) Validate() []connectors.Finding {
	if c.ClientID == "" {
		return []connectors.Finding{{Level: connectors.Bad, Field: "client_id", Message: "is missing", Hint: "copy it from the shop"}}
	}
	return nil
}

type crmConfig struct {
	URL string         `yaml:"url"`
	Key schemas.Secret `yaml:"key"`
}

type ruleFile struct {
	Rules []struct {
		To   string            `yaml:"to"`
		Rate float64           `yaml:"rate"`
		More map[string]string `yaml:"more"`
	} `yaml:"rules"`
	Enabled bool `yaml:"enabled"`
}

func options() Options {
	return Options{
		Connectors: connectors.NewRegistry(connectors.Connector{
			Type: "shop", Title: "A shop",
			Resources: []connectors.Resource{{ID: "orders"}, {ID: "refunds"}}, Config: func() any { return &shopConfig{Timeout: 5 * time.Second} },
		}),
		Sinks:    sinks.NewRegistry(sinks.Sink{Type: "crm", Title: "A CRM", RatePerSecond: 5, Config: func() any { return &crmConfig{} }}),
		Kinds:    []Kind{{Folder: "rules", New: func() any { return &ruleFile{} }}},
		Hostname: "host-1",
		Getenv: func(name string) (string, bool) {
			v, ok := map[string]string{"SHOP_SECRET": "s3cret", "CRM_KEY": "k3y", "BROKER": "b1:9092"}[name]
			return v, ok
		},
		ReadSecret: func(path string) ([]byte, error) {
			if path == "/run/key" {
				return []byte("from-file\n"), nil
			}
			return nil, os.ErrNotExist
		},
	}
}

const (
	goodSettings = "kafka:\n  brokers: [\"${env:BROKER}\"]\nregistry:\n  url: http://localhost:8081\nredis:\n  address: localhost:6379\nclickhouse:\n  flush_interval: 250ms\n"
	goodShop     = "connector: shop\nenvironment: sandbox\nresources: [orders]\nsettings:\n  client_id: abc\n  client_secret: ${env:SHOP_SECRET}\n  hosts: [a, b]\n"
	goodCRM      = "sink: crm\nsettings:\n  url: http://crm\n  key: ${file:/run/key}\n"
	goodRules    = "enabled: true\nrules:\n  - to: NAME\n    rate: 1.5\n    more: {a: b}\n"
)

func folder(extra map[string]string) fstest.MapFS {
	files := map[string]string{SettingsFile: goodSettings, "connections/shop-eu.yaml": goodShop, "destinations/main.yaml": goodCRM, "rules/first.yaml": goodRules}
	for k, v := range extra {
		files[k] = v
	}
	root := fstest.MapFS{}
	for k, v := range files {
		if v != "" {
			root[k] = &fstest.MapFile{Data: []byte(v)}
		}
	}
	return root
}

func TestAGoodFolderIsDecodedWithDefaults(t *testing.T) {
	c, err := Load(folder(nil), options())
	if err != nil {
		t.Fatal(err)
	}
	if got, want := c.Settings.Kafka.Brokers, []string{"b1:9092"}; !cmp.Equal(got, want) {
		t.Errorf("brokers: got %v, want %v", got, want)
	}
	if c.Settings.Instance != "host-1" || c.Settings.ClickHouse.FlushInterval != 250*time.Millisecond || c.Settings.Management.Listen != "127.0.0.1:9080" {
		t.Errorf("defaults: got %+v", c.Settings)
	}
	shop := c.Connections[0].Settings.(*shopConfig)
	if shop.Secret.Reveal() != "s3cret" || shop.Timeout != 5*time.Second || len(shop.Hosts) != 2 {
		t.Errorf("connection settings: got %+v with secret %q", shop, shop.Secret.Reveal())
	}
	if got := c.Destinations[0].Settings.(*crmConfig).Key.Reveal(); got != "from-file" {
		t.Errorf("secret from a file: got %q", got)
	}
	if got := c.Destinations[0].RatePerSecond; got != 5 {
		t.Errorf("the provider's own rate: got %v, want 5", got)
	}
	rules := c.Documents["rules"][0]
	if got := rules.Line("rules.0.rate"); got != 4 {
		t.Errorf("line of rules.0.rate: got %d, want 4", got)
	}
	for name, text := range c.Files {
		if strings.Contains(text, "s3cret") {
			t.Errorf("%s: the kept text holds a secret's value", name)
		}
	}
}

func TestTheVersionChangesWithAnyEditAndOnlyThen(t *testing.T) {
	load := func(extra map[string]string) string {
		c, err := Load(folder(extra), options())
		if err != nil {
			t.Fatal(err)
		}
		return c.Version
	}
	same, again, edited := load(nil), load(nil), load(map[string]string{"rules/first.yaml": goodRules + "# a note\n"})
	if same != again {
		t.Errorf("the same files gave versions %s and %s", same, again)
	}
	if same == edited {
		t.Errorf("an edit kept the version %s", same)
	}
}

// TestBadFilesAreRefusedWithTheirPlace reads testdata/*.bad.yaml: the first line is the path in the folder, the second
// the expected problem, the rest the file.
func TestBadFilesAreRefusedWithTheirPlace(t *testing.T) {
	paths, _ := filepath.Glob("testdata/*.bad.yaml")
	if len(paths) < 10 {
		t.Fatalf("only %d bad files found", len(paths))
	}
	for _, p := range paths {
		t.Run(strings.TrimSuffix(filepath.Base(p), ".bad.yaml"), func(t *testing.T) {
			b, err := os.ReadFile(p)
			if err != nil {
				t.Fatal(err)
			}
			first, rest, _ := strings.Cut(string(b), "\n")
			second, body, _ := strings.Cut(rest, "\n")
			file, want := strings.TrimPrefix(first, "# file: "), strings.TrimPrefix(second, "# want: ")
			if body == "" {
				body = "\n"
			}
			_, err = Load(folder(map[string]string{file: body}), options())
			if err == nil {
				t.Fatalf("accepted, want %q", want)
			}
			if got := err.Error(); !strings.Contains(got, want) {
				t.Errorf("got:\n%s\nwant it to hold:\n%s", got, want)
			}
		})
	}
}

func TestAllProblemsAreToldAtOnce(t *testing.T) {
	_, err := Load(folder(map[string]string{
		SettingsFile:               "kafka:\n  brokrs: [x]\nredis:\n  address: a\n",
		"connections/shop-eu.yaml": "connector: shop\nenvironment: live\nsettings:\n  client_id: x\n  client_secret: oops\n",
	}), options())
	var got []string
	for _, p := range err.(Problems) {
		got = append(got, p.File+" "+p.Field)
	}
	sort.Strings(got)
	want := []string{"connections/shop-eu.yaml settings.client_secret", "tillstream.yaml kafka.brokers", "tillstream.yaml kafka.brokrs", "tillstream.yaml registry.url"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}
	if strings.Contains(err.Error(), "oops") {
		t.Error("the problem prints the secret")
	}
}

func TestJSONSchemasAgreeWithTheLoader(t *testing.T) {
	schemas, err := Schemas(options())
	if err != nil {
		t.Fatal(err)
	}
	check := func(kind, text string) error {
		c := validator.NewCompiler()
		doc, err := validator.UnmarshalJSON(strings.NewReader(string(schemas[kind])))
		if err != nil {
			t.Fatal(err)
		}
		if err := c.AddResource(kind, doc); err != nil {
			t.Fatal(err)
		}
		s, err := c.Compile(kind)
		if err != nil {
			t.Fatal(err)
		}
		b, err := yaml.YAMLToJSON([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		var v any
		if err := json.Unmarshal(b, &v); err != nil {
			t.Fatal(err)
		}
		return s.Validate(v)
	}
	for kind, good := range map[string]string{"tillstream": goodSettings, "connections": goodShop, "destinations": goodCRM, "rules": goodRules} {
		if err := check(kind, good); err != nil {
			t.Errorf("%s: the schema refuses a good file: %v", kind, err)
		}
	}
	for kind, bad := range map[string]string{
		"tillstream":   "kafka:\n  brokrs: [x]\n",
		"connections":  strings.Replace(goodShop, "client_id", "clientid", 1),
		"destinations": "sink: other\nsettings: {}\n",
		"rules":        "enabled: maybe\n",
	} {
		if check(kind, bad) == nil {
			t.Errorf("%s: the schema accepts a bad file:\n%s", kind, bad)
		}
	}
}

func FuzzLoad(f *testing.F) {
	f.Add(goodSettings, goodShop)
	f.Add("a: [", "connector: {}")
	f.Add("kafka: 1", "- x")
	f.Fuzz(func(t *testing.T, settings, shop string) {
		c, err := Load(folder(map[string]string{SettingsFile: settings, "connections/shop-eu.yaml": shop}), options())
		if (c == nil) == (err == nil) {
			t.Fatalf("got config %v with error %v", c != nil, err)
		}
	})
}
