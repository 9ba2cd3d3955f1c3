// Package local puts a whole Tillstream on one machine: the embedded parts, the simulators of PayPal and the CRM, and a
// configuration folder that connects them.
package local

import (
	"context"
	"crypto/rand"
	"embed"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/rs/zerolog"
	"golang.org/x/sync/errgroup"

	"github.com/tillstream/tillstream/embedded"
	"github.com/tillstream/tillstream/outbound"
	"github.com/tillstream/tillstream/simulators/activecampaign"
	"github.com/tillstream/tillstream/simulators/paypal"
)

//go:embed template
var template embed.FS

// ConfigFolder is the folder of the configuration inside the data folder.
const ConfigFolder = "config"

// simulatorCA is where the simulated PayPal's test roots are written, inside the data folder.
const simulatorCA = "simulator-ca.pem"

// Options of a local set-up. Zero ports are free ones.
type Options struct {
	Dir string // data; made if it does not exist
	Log zerolog.Logger
	Now func() time.Time

	KafkaPort, RegistryPort, RedisPort, ClickHousePort, IngestPort, ManagementPort int
	// Kafka, Registry and Redis are addresses of real parts to use in place of the embedded ones.
	Kafka    []string
	Registry string
	Redis    string

	Simulators bool
	PayPalPort int
	CRMPort    int
	// CRMRate is the simulated account's limit in requests a second; 0 lifts it.
	CRMRate float64
	// PayPalFaults are the simulated provider's habits: duplicates, disorder, late deliveries.
	PayPalFaults paypal.Faults
	Seed         int64
}

// Cluster is what was started.
type Cluster struct {
	Dir        string
	Services   *embedded.Services
	PayPal     *paypal.Server // nil without simulators
	PayPalURL  string
	CRMURL     string
	Shops      []Shop
	env        map[string]string
	group      *errgroup.Group
	cancel     context.CancelFunc
	httpClient *http.Client
}

// Start starts the parts. The caller closes the cluster.
func Start(ctx context.Context, o Options) (*Cluster, error) {
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("the data folder %s cannot be made: %w; choose another folder with --data", o.Dir, err)
	}
	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return nil, fmt.Errorf("data folder: %w", err)
	}
	var without []string
	for name, given := range map[string]bool{"kafka": len(o.Kafka) > 0, "registry": o.Registry != "", "redis": o.Redis != ""} {
		if given {
			without = append(without, name)
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	group, ctx := errgroup.WithContext(ctx)
	c := &Cluster{Dir: dir, group: group, cancel: cancel}
	c.Services, err = embedded.Start(ctx, embedded.Options{
		Dir: dir, KafkaPort: o.KafkaPort, RegistryPort: o.RegistryPort,
		RedisPort: o.RedisPort, ClickHousePort: o.ClickHousePort, Without: without, Log: o.Log,
	})
	if err != nil {
		cancel()
		return nil, err
	}
	c.env = map[string]string{
		"INSTANCE": "dev", "DIR": dir,
		"KAFKA":      orFirst(o.Kafka, c.Services.Brokers),
		"REGISTRY":   or(o.Registry, c.Services.RegistryURL),
		"REDIS":      or(o.Redis, c.Services.RedisAddr),
		"CLICKHOUSE": or(c.Services.ClickHouseURL, "http://127.0.0.1:8123"),
		"INGEST":     fmt.Sprintf("127.0.0.1:%d", o.IngestPort),
		"MANAGEMENT": fmt.Sprintf("127.0.0.1:%d", o.ManagementPort),
		"CRM_KEY":    "simulator-key",
	}
	if o.Simulators {
		if err := c.startSimulators(ctx, o); err != nil {
			c.Close()
			return nil, err
		}
	}
	if err := writeTemplate(filepath.Join(dir, ConfigFolder)); err != nil {
		c.Close()
		return nil, err
	}
	if err := c.leaveEnvironment(); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

func or(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

func orFirst(a, b []string) string {
	if len(a) > 0 {
		return strings.Join(a, ",")
	}
	return strings.Join(b, ",")
}

// Accounts are the two simulated PayPal accounts, as the template's connections name them.
func Accounts(secret string) []paypal.Account {
	return []paypal.Account{
		{Name: "paypal-eu", ClientID: "paypal-eu-client", ClientSecret: secret, MerchantID: "LLCK5GYWKHPE2"},
		{Name: "paypal-us", ClientID: "paypal-us-client", ClientSecret: secret, MerchantID: "TQH5FM4AL52FN"},
	}
}

// CRMLists are the lists that the template's workflows name beside those that the simulated CRM account has anyway.
func CRMLists() []string { return []string{"Payment open"} }

// CRMMessages are the messages of the template's workflows, each sent by an automation of that name.
func CRMMessages() []string { return []string{"Thank you", "Payment problem", "Payment still open"} }

func (c *Cluster) startSimulators(ctx context.Context, o Options) error {
	var err error
	if c.env["PAYPAL_SECRET"], err = randomHex(); err != nil {
		return err
	}
	pp, err := paypal.New(paypal.Options{
		Accounts: Accounts(c.env["PAYPAL_SECRET"]), Seed: o.Seed, Now: o.Now, Faults: o.PayPalFaults,
		LocalWebhooks: true, Log: o.Log.With().Str("simulator", "paypal").Logger(),
	})
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(c.Dir, simulatorCA), pp.TrustPEM(), 0o644); err != nil {
		return fmt.Errorf("write the simulator's roots: %w", err)
	}
	c.PayPal = pp
	urls := make(chan struct{}, 2)
	c.group.Go(func() error {
		return portHint("paypal", pp.ListenAndServe(ctx, fmt.Sprintf("127.0.0.1:%d", o.PayPalPort), func(url string) { c.PayPalURL = url; urls <- struct{}{} }))
	})
	c.group.Go(func() error {
		return portHint("crm", activecampaign.Run(ctx, activecampaign.Options{
			Account: "1000001", Key: c.env["CRM_KEY"], RatePerSecond: o.CRMRate, Seed: uint64(o.Seed), Now: o.Now,
			ListNames: CRMLists(), MessageNames: CRMMessages(),
			Log: o.Log.With().Str("simulator", "activecampaign").Logger(),
		}, fmt.Sprintf("127.0.0.1:%d", o.CRMPort), func(url string) { c.CRMURL = url; urls <- struct{}{} }))
	})
	for range 2 {
		select {
		case <-urls:
		case <-ctx.Done():
			if err := c.group.Wait(); err != nil {
				return err
			}
			return ctx.Err()
		}
	}
	c.env["PAYPAL"], c.env["CRM"] = c.PayPalURL, c.CRMURL
	c.env["PAYPAL_HOST"] = strings.TrimPrefix(c.PayPalURL, "https://")
	if c.httpClient, err = outbound.NewClient(outbound.Options{AllowPrivate: true, RootCAs: filepath.Join(c.Dir, simulatorCA), BodyBytesMax: 1 << 30}); err != nil {
		return err
	}
	return c.startShops(ctx, o)
}

func randomHex() (string, error) {
	secret := make([]byte, 16)
	if _, err := rand.Read(secret); err != nil {
		return "", fmt.Errorf("make a secret: %w", err)
	}
	return hex.EncodeToString(secret), nil
}

// portHint names the flag of a simulator's port where that is in use.
func portHint(name string, err error) error {
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("%w; free the port, or choose another with --%s-port (0 takes a free one)", err, name)
	}
	return err
}

// HTTP is a client that trusts the simulated PayPal.
func (c *Cluster) HTTP() *http.Client { return c.httpClient }

// ClickHouse are the in-process client's options; nil where the embedded engine does not run.
func (c *Cluster) ClickHouse() *clickhouse.Options {
	if c.Services.ClickHouse == nil {
		return nil
	}
	return c.Services.ClickHouse.Options("tillstream")
}

// Getenv resolves what the template's files name, and leaves the rest to outer.
func (c *Cluster) Getenv(outer func(string) (string, bool)) func(string) (string, bool) {
	return func(name string) (string, bool) {
		if short, ok := strings.CutPrefix(name, variablePrefix); ok {
			v, ok := c.env[short]
			return v, ok
		}
		return outer(name)
	}
}

// environmentFile, in the data folder, tells other commands what the template's files name while a cluster runs. It holds
// the secrets of simulators only.
const environmentFile = "dev-environment.json"

const variablePrefix = "TILLSTREAM_DEV_"

func (c *Cluster) leaveEnvironment() error { return c.leave(c.env) }

// Serves tells other commands where the process listens, once it does: a port of 0 is a free one.
func (c *Cluster) Serves(ingest, management string) error {
	env := maps.Clone(c.env)
	env["INGEST"], env["MANAGEMENT"] = ingest, management
	return c.leave(env)
}

func (c *Cluster) leave(env map[string]string) error {
	text, err := json.Marshal(env)
	if err != nil {
		return fmt.Errorf("tell other commands where the parts are: %w", err)
	}
	if err := os.WriteFile(filepath.Join(c.Dir, environmentFile), text, 0o600); err != nil {
		return fmt.Errorf("tell other commands where the parts are: %w", err)
	}
	return nil
}

// Environment resolves what the files of a folder beside a running cluster's data name; outer knows the rest, and
// comes first.
func Environment(configDir string, outer func(string) (string, bool)) func(string) (string, bool) {
	left := sync.OnceValue(func() map[string]string { return leftEnvironment(configDir) })
	return func(name string) (string, bool) {
		if v, ok := outer(name); ok {
			return v, true
		}
		short, ours := strings.CutPrefix(name, variablePrefix)
		if !ours {
			return "", false
		}
		v, ok := left()[short]
		return v, ok
	}
}

// leftEnvironment is what the cluster beside the folder left; nothing while none runs.
func leftEnvironment(configDir string) (env map[string]string) {
	if text, err := os.ReadFile(filepath.Join(filepath.Dir(filepath.Clean(configDir)), environmentFile)); err == nil {
		_ = json.Unmarshal(text, &env) // a file that is cut knows nothing: the configuration then says what it lacks
	}
	return env
}

// CheckEnv is what a running cluster left for other commands, and stands in for one while nothing runs, so that its
// configuration folder can be checked.
func CheckEnv(configDir string, outer func(string) (string, bool)) func(string) (string, bool) {
	c := Cluster{env: map[string]string{
		"INSTANCE": "dev", "DIR": filepath.Dir(filepath.Clean(configDir)), "KAFKA": "127.0.0.1:9092", "REGISTRY": "http://127.0.0.1:8081",
		"REDIS": "127.0.0.1:6379", "CLICKHOUSE": "http://127.0.0.1:8123", "INGEST": "127.0.0.1:8080", "MANAGEMENT": "127.0.0.1:9080",
		"PAYPAL": "https://localhost:9443", "PAYPAL_HOST": "localhost:9443", "PAYPAL_SECRET": "check", "CRM": "http://127.0.0.1:9444", "CRM_KEY": "check",
	}}
	for _, kind := range ShopKinds() {
		variable := shopVariable(kind.Name)
		c.env[variable], c.env[variable+"_KEY"], c.env[variable+"_SECRET"] = "http://127.0.0.1:9445", "check", "0123456789abcdef0123456789abcdef"
		c.env[variable+"_STANDARD_SECRET"] = standardSecret(c.env[variable+"_SECRET"])
	}
	maps.Copy(c.env, leftEnvironment(configDir))
	return c.Getenv(outer)
}

// Close stops what was started, simulators first.
func (c *Cluster) Close() error {
	c.cancel()
	err := c.group.Wait()
	_ = os.Remove(filepath.Join(c.Dir, environmentFile)) // what is left of it names ports that nobody listens on
	c.Services.Close()
	return err
}

// writeTemplate writes the configuration once: a folder that is there is the user's.
func writeTemplate(dir string) error {
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	return fs.WalkDir(template, "template", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		to := filepath.Join(dir, filepath.FromSlash(strings.TrimPrefix(path, "template")))
		if d.IsDir() {
			return os.MkdirAll(to, 0o700)
		}
		b, err := template.ReadFile(path)
		if err != nil {
			return err
		}
		if err := os.WriteFile(to, b, 0o600); err != nil {
			return fmt.Errorf("write the configuration: %w", err)
		}
		return nil
	})
}
