package compose

import (
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
	"github.com/google/go-cmp/cmp"

	connectorsall "github.com/tillstream/tillstream/connectors/all"
	"github.com/tillstream/tillstream/internal/app"
	"github.com/tillstream/tillstream/internal/e2e/parts"
	"github.com/tillstream/tillstream/pipeline/config"
	sinksall "github.com/tillstream/tillstream/sinks/all"
)

const root = "../.."

// dotenv is what a user puts into .env: a value for each secret, none of them real.
const dotenv = `CLICKHOUSE_PASSWORD=made-up-1
PAYPAL_CLIENT_ID=made-up-2
PAYPAL_CLIENT_SECRET=made-up-3
ACTIVECAMPAIGN_URL=https://account.api-us1.com
ACTIVECAMPAIGN_KEY=made-up-4
ACTIVECAMPAIGN_EVENT_ACCOUNT=1000001
ACTIVECAMPAIGN_EVENT_KEY=made-up-5
PUBLIC_URL=https://hooks.example.com
`

func load(t *testing.T, env string) (*types.Project, error) {
	t.Helper()
	file := filepath.Join(t.TempDir(), ".env")
	if err := os.WriteFile(file, []byte(env), 0o600); err != nil {
		t.Fatal(err)
	}
	o, err := cli.NewProjectOptions([]string{filepath.Join(root, "docker-compose.yml")}, cli.WithEnvFiles(file), cli.WithDotEnv)
	if err != nil {
		t.Fatal(err)
	}
	return o.LoadProject(t.Context())
}

func project(t *testing.T) *types.Project {
	t.Helper()
	p, err := load(t, dotenv)
	if err != nil {
		t.Fatalf("docker-compose.yml: %v", err)
	}
	return p
}

func service(t *testing.T, name string) types.ServiceConfig {
	t.Helper()
	s, err := project(t).GetService(name)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestEveryPartIsAService(t *testing.T) {
	p := project(t)
	got := p.ServiceNames()
	slices.Sort(got)
	if diff := cmp.Diff([]string{"clickhouse", "kafka", "redis", "registry", "tillstream"}, got); diff != "" {
		t.Errorf("services (-want +got):\n%s", diff)
	}
	for name, s := range p.Services {
		if s.Build == nil && (s.Image == "" || strings.HasSuffix(s.Image, ":latest") || !strings.Contains(s.Image, ":")) {
			t.Errorf("%s: image %q names no version", name, s.Image)
		}
		if s.Privileged {
			t.Errorf("%s is privileged", name)
		}
	}
}

func TestASecretThatIsNotSetIsToldAtTheStart(t *testing.T) {
	for _, line := range strings.Fields(dotenv) {
		name, _, _ := strings.Cut(line, "=")
		_, err := load(t, strings.Replace(dotenv, line+"\n", "", 1))
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("without %s: got %v, want an error that names it", name, err)
		}
	}
}

func TestTillstreamRunsWithoutRights(t *testing.T) {
	s := service(t, "tillstream")
	if s.User == "" || s.User == "root" || strings.HasPrefix(s.User, "0") {
		t.Errorf("user %q: it must not be root", s.User)
	}
	if !s.ReadOnly {
		t.Error("the root file system can be written")
	}
	if !slices.Contains(s.CapDrop, "ALL") || len(s.CapAdd) > 0 {
		t.Errorf("capabilities: dropped %v, added %v", s.CapDrop, s.CapAdd)
	}
	if !slices.Contains(s.SecurityOpt, "no-new-privileges:true") {
		t.Errorf("security options: %v", s.SecurityOpt)
	}
	b, err := os.ReadFile(filepath.Join(root, "Dockerfile"))
	if err != nil {
		t.Fatal(err)
	}
	users := regexp.MustCompile(`(?m)^USER (\S+)`).FindAllStringSubmatch(string(b), -1)
	if len(users) == 0 || users[len(users)-1][1] == "root" || strings.HasPrefix(users[len(users)-1][1], "0") {
		t.Errorf("Dockerfile: the last USER is %v; it must not be root", users)
	}
}

func TestOnlyWebhooksAreOpenToOtherMachines(t *testing.T) {
	p := project(t)
	for name, s := range p.Services {
		for _, port := range s.Ports {
			switch {
			case name == "tillstream" && port.Target == 8080:
			case port.HostIP != "127.0.0.1" && port.HostIP != "::1":
				t.Errorf("%s: port %d is published on %q, not on loopback", name, port.Target, port.HostIP)
			}
		}
	}
	var targets []uint32
	for _, port := range p.Services["tillstream"].Ports {
		targets = append(targets, port.Target)
	}
	if diff := cmp.Diff([]uint32{8080, 9080}, targets); diff != "" {
		t.Errorf("ports of tillstream (-want +got):\n%s", diff)
	}
}

func TestWhatMustOutliveAContainerIsOnAVolume(t *testing.T) {
	p := project(t)
	mounts := func(name string) map[string]types.ServiceVolumeConfig {
		out := map[string]types.ServiceVolumeConfig{}
		for _, v := range p.Services[name].Volumes {
			out[v.Target] = v
		}
		return out
	}
	kafka := p.Services["kafka"].Environment["KAFKA_LOG_DIRS"]
	for name, target := range map[string]string{"kafka": *kafka, "redis": "/data", "clickhouse": "/var/lib/clickhouse", "tillstream": "/state"} {
		v, ok := mounts(name)[target]
		if !ok || v.Type != types.VolumeTypeVolume {
			t.Errorf("%s: %s is no volume: %+v", name, target, v)
		}
	}
	cfg := mounts("tillstream")["/config"]
	want, err := filepath.Abs(filepath.Join(root, "examples/config"))
	if err != nil {
		t.Fatal(err)
	}
	if !cfg.ReadOnly || cfg.Source != want {
		t.Errorf("/config: got %s (read only: %v), want examples/config, read only", cfg.Source, cfg.ReadOnly)
	}
}

func TestTillstreamWaitsForHealthyParts(t *testing.T) {
	p := project(t)
	for name, d := range p.Services["tillstream"].DependsOn {
		if d.Condition != types.ServiceConditionHealthy {
			t.Errorf("tillstream waits for %s to be %q, not healthy", name, d.Condition)
		}
	}
	for _, name := range []string{"kafka", "redis", "clickhouse"} {
		if _, ok := p.Services["tillstream"].DependsOn[name]; !ok {
			t.Errorf("tillstream does not wait for %s", name)
		}
		if h := p.Services[name].HealthCheck; h == nil || len(h.Test) < 2 || h.Disable {
			t.Errorf("%s has no health check", name)
		}
	}
}

// TestKafkaRunsAsInTheTests: the image turns KAFKA_A_B into a.b; the settings have to be those of parts.KafkaSettings.
func TestKafkaRunsAsInTheTests(t *testing.T) {
	s := service(t, "kafka")
	if want := "apache/kafka:" + parts.KafkaVersion; s.Image != want {
		t.Errorf("image: got %s, want %s", s.Image, want)
	}
	got := map[string]string{}
	for name, value := range s.Environment {
		property, ok := strings.CutPrefix(name, "KAFKA_")
		if !ok || value == nil {
			t.Errorf("environment %s is no setting", name)
			continue
		}
		got[strings.ToLower(strings.ReplaceAll(property, "_", "."))] = *value
	}
	want := parts.KafkaSettings(parts.KafkaAddresses{
		Listen: "0.0.0.0:9092", Advertised: "kafka:9092",
		ControllerListen: "0.0.0.0:9093", ControllerQuorum: "kafka:9093", Dir: "/var/lib/kafka/data",
	})
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("settings (-tests +docker-compose.yml):\n%s", diff)
	}
}

func TestRedisRunsAsInTheTests(t *testing.T) {
	want := append([]string{"redis-server"}, parts.RedisArguments()...)
	if diff := cmp.Diff(want, []string(service(t, "redis").Command)); diff != "" {
		t.Errorf("command (-tests +docker-compose.yml):\n%s", diff)
	}
}

var reference = regexp.MustCompile(`\$\{env:([A-Za-z_][A-Za-z0-9_]*)\}`)

func TestTheExampleNamesOnlyWhatTheServiceSets(t *testing.T) {
	env := service(t, "tillstream").Environment
	named := map[string]bool{}
	err := filepath.WalkDir(filepath.Join(root, "examples/config"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		for _, m := range reference.FindAllStringSubmatch(string(b), -1) {
			named[m[1]] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(named) == 0 {
		t.Fatal("the example names no variable: is the folder the right one?")
	}
	set := slices.Sorted(maps.Keys(env))
	if diff := cmp.Diff(slices.Sorted(maps.Keys(named)), set); diff != "" {
		t.Errorf("variables (-named in examples/config +set in docker-compose.yml):\n%s", diff)
	}
}

func example(t *testing.T, getenv func(string) (string, bool)) (*config.Config, error) {
	t.Helper()
	c, err := config.LoadDir(filepath.Join(root, "examples/config"), config.Options{
		Connectors: connectorsall.Connectors(), Sinks: sinksall.Sinks(),
		Kinds: app.Kinds(), Getenv: getenv, Hostname: "host",
	})
	if err != nil {
		return nil, err
	}
	return c, app.Check(c)
}

func TestTheExampleLoadsInTheService(t *testing.T) {
	p := project(t)
	s := p.Services["tillstream"]
	c, err := example(t, func(name string) (string, bool) {
		v := s.Environment[name]
		if v == nil {
			return "", false
		}
		return *v, true
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := c.Settings.Instance; got != "compose-1" {
		t.Errorf("instance: got %q", got)
	}
	if got := len(c.Connections) * len(c.Destinations) * len(c.Documents[app.MappingsFolder]); got == 0 {
		t.Errorf("got %d connections, %d destinations, %d mappings: the example does nothing", len(c.Connections), len(c.Destinations), len(c.Documents[app.MappingsFolder]))
	}
	// Each address of the example is a service of the file.
	for field, address := range map[string]string{
		"kafka.brokers": c.Settings.Kafka.Brokers[0], "redis.address": c.Settings.Redis.Address,
		"clickhouse.address": c.Settings.ClickHouse.Address, "registry.url": strings.TrimPrefix(c.Settings.Registry.URL, "http://"),
	} {
		host, _, _ := strings.Cut(address, ":")
		if _, ok := p.Services[host]; !ok {
			t.Errorf("%s: %q is no service", field, host)
		}
	}
	if dir := filepath.Dir(c.Settings.Registry.CacheFile); dir != "/state" {
		t.Errorf("registry.cache_file is in %s: the root is read only, the volume is /state", dir)
	}
	for target, listen := range map[string]string{"8080": c.Settings.Ingest.Listen, "9080": c.Settings.Management.Listen} {
		if !strings.HasSuffix(listen, ":"+target) {
			t.Errorf("port %s is published, and %q listened on", target, listen)
		}
	}
}

func TestTheExampleWithoutItsVariablesIsRefusedWithTheirNames(t *testing.T) {
	_, err := example(t, func(string) (string, bool) { return "", false })
	if err == nil {
		t.Fatal("accepted")
	}
	for _, name := range []string{"PAYPAL_CLIENT_SECRET", "ACTIVECAMPAIGN_KEY", "CLICKHOUSE_PASSWORD"} {
		if !strings.Contains(err.Error(), name) {
			t.Errorf("the error does not name %s:\n%v", name, err)
		}
	}
}
