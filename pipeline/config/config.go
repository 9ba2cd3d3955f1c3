// Package config turns a folder of YAML files into one validated, versioned configuration.
//
// The folder holds tillstream.yaml (how this process reaches the outside), connections/ (accounts and stores that
// events come from), destinations/ (CRM accounts) and one folder for each further kind that the caller names, such as
// mappings/. Every problem is told with file, line, field and what to do; one bad file refuses the whole folder, so
// that what runs is always one consistent configuration.
package config

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/tillstream/tillstream/connectors"
	"github.com/tillstream/tillstream/pipeline/kafka"
	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/sinks"
)

// SettingsFile is the one file that a folder must have.
const SettingsFile = "tillstream.yaml"

// fileBytesMax bounds one file: a configuration is written by hand.
const fileBytesMax = 1 << 20

// Config is a validated configuration.
type Config struct {
	Settings     Settings
	Connectors   []connectors.Connector // all that there are
	Connections  []Connection
	Disconnected []string // names of the connections that are put aside
	Destinations []Destination
	// Documents are the decoded files of the caller's kinds, by folder, in the order of their names.
	Documents map[string][]Document
	// Files are the texts as read, by slash path. Secrets are references in them.
	Files map[string]string
	// Version is a short hash of Files: the "config version" that commands carry.
	Version string
}

// Settings is tillstream.yaml: how this process reaches the outside, and its limits.
type Settings struct {
	Instance   string        `yaml:"instance" jsonschema:"description=Name of this process\\, stable over restarts and different for each process (part of its transactional ids). Default: the host name."`
	Kafka      kafka.Options `yaml:"kafka" jsonschema:"description=The brokers that carry every record."`
	Registry   Registry      `yaml:"registry" jsonschema:"description=The schema registry (Confluent compatible)."`
	Redis      Redis         `yaml:"redis" jsonschema:"description=The materialised copy of the stages' state; may be wiped at any moment."`
	ClickHouse ClickHouse    `yaml:"clickhouse" jsonschema:"description=Where every record goes for reports. Left out: no reports\\, no trace."`
	Ingest     Ingest        `yaml:"ingest" jsonschema:"description=The webhook receiver."`
	Management Management    `yaml:"management" jsonschema:"description=Metrics\\, health and readiness; never on the webhook port."`
	Telemetry  Telemetry     `yaml:"telemetry" jsonschema:"description=Logs and traces."`
	Stages     Stages        `yaml:"stages" jsonschema:"description=The stateful stages."`
}

// Registry reaches the schema registry.
type Registry struct {
	URL       string         `yaml:"url" jsonschema:"description=Base address\\, for example http://localhost:8081"`
	User      string         `yaml:"user"`
	Password  schemas.Secret `yaml:"password"`
	CacheFile string         `yaml:"cache_file" jsonschema:"description=Keeps ids and schemas\\, so that a registry that is down stops nothing. Default: registry-cache.json in the working directory."`
}

// Redis reaches one primary.
type Redis struct {
	Address  string         `yaml:"address" jsonschema:"description=host:port of the primary"`
	User     string         `yaml:"user"`
	Password schemas.Secret `yaml:"password"`
	TLS      bool           `yaml:"tls"`
	DB       int            `yaml:"db"`
}

// ClickHouse reaches the reports' database.
type ClickHouse struct {
	Address       string         `yaml:"address" jsonschema:"description=host:port\\, or http://host:port for the HTTP protocol"`
	Database      string         `yaml:"database" jsonschema:"description=Default: tillstream. Created if it does not exist."`
	User          string         `yaml:"user"`
	Password      schemas.Secret `yaml:"password"`
	TLS           bool           `yaml:"tls"`
	FlushInterval time.Duration  `yaml:"flush_interval" jsonschema:"description=How long a row may wait for others. Default: 1s."`
	FlushRows     int            `yaml:"flush_rows" jsonschema:"description=Rows that are inserted at once at the most. Default: 50000."`
	FlushBytes    int            `yaml:"flush_bytes" jsonschema:"description=Bytes of records that are inserted at once at the most. Default: 16 MiB."`
	// Cluster: see the package of the sink for what is made of it.
	Cluster string `yaml:"cluster" jsonschema:"description=Name of the cluster (of the server's remote_servers) over which the tables are spread\\, replicated. Left out: one server."`
	// Retention is a decision of the operator's: nothing is deleted unless it is made.
	Retention map[string]time.Duration `yaml:"retention" jsonschema:"description=How long rows of a table are kept\\, by table\\, in whole days written as hours (9600h is 400 days); 0s is for ever. A table that is not named keeps what it has."`
}

// Ingest is the webhook receiver.
type Ingest struct {
	Listen        string `yaml:"listen" jsonschema:"description=Default: :8080"`
	PublicURL     string `yaml:"public_url" jsonschema:"description=The address under which providers reach this receiver; webhooks are registered under it. PayPal wants https on port 443."`
	BodyBytesMax  int64  `yaml:"body_bytes_max" jsonschema:"description=Default: 1 MiB"`
	ConcurrentMax int    `yaml:"concurrent_max" jsonschema:"description=Requests at a time. Default: 256."`
	// EnrichAfter is the patience with events that say who and what an earlier one is about.
	EnrichAfter time.Duration `yaml:"enrich_after" jsonschema:"description=How long an order may lack its customer\\, or a refund its order\\, before the provider is asked. Default: 30s. Below zero: it is never asked."`
	// TrustedProxies: without them, who connects is who sends.
	TrustedProxies []string `yaml:"trusted_proxies" jsonschema:"description=Addresses or networks (10.0.0.0/8) of proxies whose X-Forwarded-For names the sender."`
	// AllowCardNumbers: such a body would bring its whole way under the rules for card data (PCI DSS).
	AllowCardNumbers bool `yaml:"allow_card_numbers" jsonschema:"description=Lets events in that hold a payment card number. Left out: they are kept out\\, with the number masked."`
}

// Proxies are TrustedProxies as networks.
func (i Ingest) Proxies() ([]netip.Prefix, error) {
	var out []netip.Prefix
	for _, text := range i.TrustedProxies {
		p, err := netip.ParsePrefix(text)
		if err != nil {
			var a netip.Addr
			if a, err = netip.ParseAddr(text); err == nil {
				p, err = a.Prefix(a.BitLen())
			}
		}
		if err != nil {
			return nil, fmt.Errorf("ingest.trusted_proxies: %q is neither an address nor a network", text)
		}
		out = append(out, p)
	}
	return out, nil
}

// Management is the operators' port.
type Management struct {
	Listen string `yaml:"listen" jsonschema:"description=Default: 127.0.0.1:9080. Any address but loopback needs tls and a user\\, or allow_remote."`
	// AllowRemote is needed inside a container, where the port is published on purpose.
	AllowRemote bool `yaml:"allow_remote" jsonschema:"description=The network is closed: without TLS\\, and without sign-in as long as there is no user."`
	// TLS: without it the port speaks HTTP.
	TLS ManagementTLS `yaml:"tls" jsonschema:"description=Certificate of the port."`
	// Hosts: a name that is not listed could be one that somebody else made point here.
	Hosts []string `yaml:"hosts" jsonschema:"description=Names under which the port is asked\\, besides localhost and addresses\\, for example tillstream.example.com."`
}

// ManagementTLS is the certificate of the operators' port, as files in PEM. They are read at the start.
type ManagementTLS struct {
	Cert string `yaml:"cert" jsonschema:"description=File with the certificate and its chain."`
	Key  string `yaml:"key" jsonschema:"description=File with the private key."`
}

// Telemetry says what is told to whom.
type Telemetry struct {
	LogLevel     string `yaml:"log_level" jsonschema:"enum=debug,enum=info,enum=warn,enum=error,description=Default: info"`
	LogFormat    string `yaml:"log_format" jsonschema:"enum=json,enum=text,description=Default: json"`
	OTLPEndpoint string `yaml:"otlp_endpoint" jsonschema:"description=OpenTelemetry collector (OTLP over HTTP)\\, for example http://localhost:4318. Empty: no traces."`
}

// Stages are the limits of the stateful stages.
type Stages struct {
	Lanes        int           `yaml:"lanes" jsonschema:"description=Consumers with a transaction of their own\\, per stage. Default: 1."`
	OrphanAfter  time.Duration `yaml:"orphan_after" jsonschema:"description=How long an event waits for its order or contact before it goes on\\, flagged. Default: 1h."`
	ForgetAfter  time.Duration `yaml:"forget_after" jsonschema:"description=How long an ended order is remembered. Default: 9600h (400 days)."`
	OutageGrace  time.Duration `yaml:"outage_grace" jsonschema:"description=How long after an outage of all receivers no deadline passes\\, so that providers can send again what they could not deliver. Default: 15m. Below zero: deadlines pass although no receiver is there."`
	ClockSkew    time.Duration `yaml:"clock_skew" jsonschema:"description=How far a provider's clock may run ahead before its time is clamped to the receipt. Default: 5m."`
	AliasDomains []string      `yaml:"alias_domains" jsonschema:"description=Domains whose e-mail addresses a provider makes up for one payment: they never become contacts. [] for none. Default: dcc.paypal.com."`
	CustomID     string        `yaml:"custom_id" jsonschema:"description=What the shop puts into a payment's custom id: order (says nothing about the customer) or customer (the shop's own id of the customer\\, by which contacts are found). Default: order.,enum=order,enum=customer"`
}

// The meanings of a merchant's custom id.
const (
	CustomIDOrder    = "order"
	CustomIDCustomer = "customer"
)

// Connection is one file of connections/: an account or store that events come from. Its name is the file's.
type Connection struct {
	Name        string
	File        string
	Connector   connectors.Connector
	Environment schemas.Environment
	Resources   []string
	Token       string
	// AllowPrivate permits a provider address inside the network; TLSRoots is a PEM file of further trusted roots for it.
	AllowPrivate bool
	TLSRoots     string
	// PollEvery replaces the time between two readings of the provider's lists; zero: the connector's own.
	PollEvery time.Duration
	Settings  any // what Connector.Config returned, filled
}

// Destination is one file of destinations/: a CRM account. Its name is the file's.
type Destination struct {
	Name          string
	File          string
	Sink          sinks.Sink
	RatePerSecond float64 // of this account; negative: no limit
	AllowPrivate  bool
	Settings      any // what Sink.Config returned, filled
}

// Document is one decoded file of a caller's kind.
type Document struct {
	Name  string // the file's name without its ending
	File  string
	Value any
	// Line tells where a field (dotted path, "fields.2.from") stands; 0 if it is not in the file.
	Line func(field string) int
}

// Kind is a folder of documents that this package decodes and does not understand.
type Kind struct {
	Folder string
	New    func() any
}

// Problem is one thing that is wrong, and what to do.
type Problem struct {
	File    string
	Line    int // from 1; 0: the file as a whole
	Field   string
	Message string
	Hint    string
}

// String is "file:line: field: message; hint".
func (p Problem) String() string {
	var b strings.Builder
	b.WriteString(p.File)
	if p.Line > 0 {
		fmt.Fprintf(&b, ":%d", p.Line)
	}
	b.WriteString(": ")
	if p.Field != "" {
		b.WriteString(p.Field + ": ")
	}
	b.WriteString(p.Message)
	if p.Hint != "" {
		b.WriteString("; " + p.Hint)
	}
	return b.String()
}

// Problems is the error of a refused configuration: all that is wrong with it.
type Problems []Problem

// Error lists the problems, a line each.
func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// Options say what a configuration may name.
type Options struct {
	Connectors *connectors.Registry
	Sinks      *sinks.Registry
	Kinds      []Kind
	// Getenv resolves ${env:NAME}; nil: nothing is set.
	Getenv func(name string) (string, bool)
	// ReadSecret reads ${file:PATH}; nil: os.ReadFile, and for LoadDir SecretReader of its folder.
	ReadSecret func(path string) ([]byte, error)
	// Unseal decrypts a secret that begins with SealedPrefix; nil: with the keys that Getenv names.
	Unseal   func(sealed string) (string, error)
	Hostname string // default of Settings.Instance
}

// LoadDir loads the folder dir. The error is Problems, or that the folder can't be read.
func LoadDir(dir string, o Options) (*Config, error) {
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return nil, fmt.Errorf("config folder %s: not a folder that can be read; give one with --config, it needs at least a %s", dir, SettingsFile)
	}
	if o.ReadSecret == nil {
		o.ReadSecret = SecretReader(dir)
	}
	return Load(os.DirFS(dir), o)
}

// Load loads a configuration from the root of a file system.
func Load(root fs.FS, o Options) (*Config, error) {
	l := &loader{o: o, root: root, unseal: o.unsealer(), cfg: &Config{Connectors: o.Connectors.All(), Documents: map[string][]Document{}, Files: map[string]string{}}}
	l.settings()
	l.each("connections", l.connection)
	l.each("destinations", l.destination)
	l.kinds(o.Kinds)
	l.strangers()
	if len(l.problems) > 0 {
		return nil, l.sorted()
	}
	l.cfg.Version = versionOf(l.cfg.Files)
	return l.cfg, nil
}

// versionOf hashes the files: any edit, and only an edit, gives another version.
func versionOf(files map[string]string) string {
	names := make([]string, 0, len(files))
	for n := range files {
		names = append(names, n)
	}
	sort.Strings(names)
	h := sha256.New()
	for _, n := range names {
		fmt.Fprintf(h, "%s\x00%d\x00%s", n, len(files[n]), files[n])
	}
	return hex.EncodeToString(h.Sum(nil))[:12]
}

type loader struct {
	o        Options
	root     fs.FS
	unseal   func(string) (string, error)
	cfg      *Config
	problems []Problem
}

func (l *loader) add(p Problem) { l.problems = append(l.problems, p) }

// at adds a problem of one field, with its line.
func (l *loader) at(doc *document, field, message, hint string) {
	l.add(Problem{File: doc.file, Line: doc.line(field), Field: field, Message: message, Hint: hint})
}

// unknown adds that a word names nothing of its kind, with the nearest that does.
func (l *loader) unknown(doc *document, field, word, kind string, known []string) {
	l.at(doc, field, fmt.Sprintf("%q is no %s", word, kind), hintFor(word, known))
}

// each parses every YAML file of a folder, in the order of names.
func (l *loader) each(folder string, take func(file, name string, node *document)) {
	entries, err := fs.ReadDir(l.root, folder)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			l.add(Problem{File: folder, Message: err.Error()})
		}
		return
	}
	for _, e := range entries {
		ext := path.Ext(e.Name())
		if aside, ok := strings.CutSuffix(e.Name(), DisconnectedSuffix); ok && folder == ConnectionsFolder {
			l.cfg.Disconnected = append(l.cfg.Disconnected, strings.TrimSuffix(aside, path.Ext(aside)))
		}
		if e.IsDir() || strings.HasPrefix(e.Name(), ".") || ext != ".yaml" && ext != ".yml" {
			continue
		}
		file := path.Join(folder, e.Name())
		if doc := l.parse(file); doc != nil {
			take(file, strings.TrimSuffix(e.Name(), ext), doc)
		}
	}
}

// strangers refuses folders that no kind owns: a misspelt folder would otherwise be silently without effect.
func (l *loader) strangers() {
	known := []string{"connections", "destinations", SecretsFolder}
	for _, k := range l.o.Kinds {
		known = append(known, k.Folder)
	}
	entries, err := fs.ReadDir(l.root, ".")
	if err != nil {
		return
	}
	for _, e := range entries {
		if !e.IsDir() || strings.HasPrefix(e.Name(), ".") || slices.Contains(known, e.Name()) {
			continue
		}
		l.add(Problem{File: e.Name(), Message: "no such kind of configuration", Hint: hintFor(e.Name(), known)})
	}
}

func (l *loader) settings() {
	doc := l.parse(SettingsFile)
	if doc == nil {
		return
	}
	s := &l.cfg.Settings
	*s = Settings{Instance: l.o.Hostname}
	decoded := l.decode(doc, doc.body, "", s)
	for field, empty := range map[string]bool{
		"kafka.brokers": len(s.Kafka.Brokers) == 0,
		"registry.url":  s.Registry.URL == "",
		"redis.address": s.Redis.Address == "",
	} {
		if _, written := doc.lines[field]; !written || decoded && empty {
			l.add(Problem{File: SettingsFile, Line: doc.line(field), Field: field, Message: "is missing", Hint: "nothing can run without it"})
		}
	}
	def(&s.Registry.CacheFile, "registry-cache.json")
	def(&s.ClickHouse.Database, "tillstream")
	def(&s.ClickHouse.FlushInterval, time.Second)
	def(&s.ClickHouse.FlushRows, 50_000)
	def(&s.Ingest.Listen, ":8080")
	def(&s.Management.Listen, "127.0.0.1:9080")
	def(&s.Telemetry.LogLevel, "info")
	def(&s.Telemetry.LogFormat, "json")
	if _, err := s.Ingest.Proxies(); err != nil {
		l.at(doc, "ingest.trusted_proxies", err.Error(), "write for example 10.0.0.7 or 10.0.0.0/8")
	}
	def(&s.Ingest.EnrichAfter, 30*time.Second)
	def(&s.Stages.Lanes, 1)
	def(&s.Stages.OrphanAfter, time.Hour)
	def(&s.Stages.ClockSkew, 5*time.Minute)
	def(&s.Stages.OutageGrace, 15*time.Minute)
	def(&s.Stages.ForgetAfter, 400*24*time.Hour)
	def(&s.Stages.CustomID, CustomIDOrder)
	def(&s.Kafka.Partitions, 8)
	l.oneOf(doc, "stages.custom_id", s.Stages.CustomID, CustomIDOrder, CustomIDCustomer)
	l.oneOf(doc, "telemetry.log_level", s.Telemetry.LogLevel, "debug", "info", "warn", "error")
	l.oneOf(doc, "telemetry.log_format", s.Telemetry.LogFormat, "json", "text")
}

// def fills what the file left out.
func def[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

func (l *loader) oneOf(doc *document, field, got string, allowed ...string) {
	if !slices.Contains(allowed, got) {
		l.at(doc, field, fmt.Sprintf("%q is not allowed", got), "use one of "+strings.Join(allowed, ", "))
	}
}

// connectionFile is the outer form of connections/NAME.yaml; settings are the connector's own.
type connectionFile struct {
	Connector   string              `yaml:"connector" jsonschema:"required,description=Type of the connector\\, for example paypal"`
	Environment schemas.Environment `yaml:"environment" jsonschema:"required,enum=sandbox,enum=live"`
	Resources   []string            `yaml:"resources" jsonschema:"description=Resources to receive. Empty: all of the connector's."`
	Token       string              `yaml:"token" jsonschema:"description=Last part of the webhook address; makes it hard to guess."`
	// The next two are for a provider's twin inside the network, such as a simulator.
	AllowPrivate bool          `yaml:"allow_private_address" jsonschema:"description=Permits a provider address inside the network (a simulator\\, a proxy)."`
	TLSRoots     string        `yaml:"tls_roots" jsonschema:"description=PEM file of further trusted roots for the provider's address."`
	PollEvery    time.Duration `yaml:"poll_every" jsonschema:"description=Time between two readings of what the provider lists\\, at least 1s. Left out: the connector's own\\, which is kind to the provider."`
	Settings     any           `yaml:"settings"`
}

func (l *loader) connection(file, name string, doc *document) {
	var f connectionFile
	l.decode(doc, doc.body, "", &f, "settings")
	c, ok := l.o.Connectors.Get(f.Connector)
	if !ok {
		var types []string
		for _, known := range l.o.Connectors.All() {
			types = append(types, known.Type)
		}
		l.unknown(doc, "connector", f.Connector, "connector", types)
		return
	}
	l.oneOf(doc, "environment", string(f.Environment), string(schemas.Sandbox), string(schemas.Live))
	l.validName(file, name)
	if slices.ContainsFunc(l.cfg.Connections, func(c Connection) bool { return c.Name == name }) {
		l.add(Problem{File: file, Message: fmt.Sprintf("there are two connections %q", name), Hint: "remove one of the files"})
		return
	}
	var ids []string
	for _, r := range c.Resources {
		ids = append(ids, r.ID)
	}
	for i, r := range f.Resources {
		if !slices.Contains(ids, r) {
			l.unknown(doc, fmt.Sprintf("resources.%d", i), r, "resource of "+c.Type, ids)
		}
	}
	if len(f.Resources) == 0 {
		f.Resources = ids
	}
	settings := c.Config()
	decoded := l.decode(doc, doc.child("settings"), "settings", settings)
	if v, ok := settings.(connectors.Validator); ok && decoded {
		for _, finding := range v.Validate() {
			if finding.Level == connectors.Bad {
				l.at(doc, "settings."+finding.Field, finding.Message, finding.Hint)
			}
		}
	}
	l.cfg.Connections = append(l.cfg.Connections, Connection{
		Name: name, File: file, Connector: c.For(settings),
		Environment: f.Environment, Resources: f.Resources, Token: f.Token,
		AllowPrivate: f.AllowPrivate, TLSRoots: f.TLSRoots, PollEvery: f.PollEvery, Settings: settings,
	})
}

// validName keeps names safe in keys, topics' headers, addresses and file names.
func (l *loader) validName(file, name string) {
	for _, r := range name {
		if (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' && r != '_' {
			l.add(Problem{
				File: file, Message: fmt.Sprintf("the name %q has a character that is not allowed", name),
				Hint: "use lower-case letters, digits, - and _",
			})
			return
		}
	}
}

// destinationFile is the outer form of destinations/NAME.yaml; settings are the sink's own.
type destinationFile struct {
	Sink          string  `yaml:"sink" jsonschema:"required,description=Type of the sink\\, for example activecampaign"`
	RatePerSecond float64 `yaml:"rate_per_second" jsonschema:"description=Requests a second over all processes. Left out: the provider's documented limit. -1: none."`
	AllowPrivate  bool    `yaml:"allow_private_address" jsonschema:"description=Permits an address inside the network (a simulator\\, a proxy)."`
	Settings      any     `yaml:"settings"`
}

func (l *loader) destination(file, name string, doc *document) {
	var f destinationFile
	l.decode(doc, doc.body, "", &f, "settings")
	s, ok := l.o.Sinks.Get(f.Sink)
	if !ok {
		var types []string
		for _, known := range l.o.Sinks.All() {
			types = append(types, known.Type)
		}
		l.unknown(doc, "sink", f.Sink, "sink", types)
		return
	}
	l.validName(file, name)
	if f.RatePerSecond == 0 {
		f.RatePerSecond = s.RatePerSecond
	}
	settings := s.Config()
	decoded := l.decode(doc, doc.child("settings"), "settings", settings)
	if v, ok := settings.(sinks.Validator); ok && decoded {
		for _, finding := range v.Validate() {
			if finding.Bad {
				l.at(doc, "settings."+finding.Field, finding.Message, finding.Hint)
			}
		}
	}
	l.cfg.Destinations = append(l.cfg.Destinations, Destination{
		Name: name, File: file, Sink: s,
		RatePerSecond: f.RatePerSecond, AllowPrivate: f.AllowPrivate, Settings: settings,
	})
}

func (l *loader) document(k Kind, file, name string, doc *document) {
	v := k.New()
	l.decode(doc, doc.body, "", v)
	l.cfg.Documents[k.Folder] = append(l.cfg.Documents[k.Folder], Document{Name: name, File: file, Value: v, Line: doc.line})
}
