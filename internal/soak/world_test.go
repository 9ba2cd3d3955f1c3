package soak

import (
	"bytes"
	"context"
	"embed"
	"encoding/json"
	"flag"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tillstream/tillstream/embedded"
	"github.com/tillstream/tillstream/internal/e2e/parts"
	"github.com/tillstream/tillstream/pipeline/kafka"
	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/schemas/codec"
	"github.com/tillstream/tillstream/schemas/registry"
	"github.com/tillstream/tillstream/simulators/activecampaign"
)

//go:embed config
var configFiles embed.FS

// What makes a run longer.
var (
	seedFlag     = flag.Uint64("seed", 0, "seed of commands, faults and kills; 0: any")
	contactsFlag = flag.Int("contacts", 100, "contacts of TestSoak")
	killsFlag    = flag.Int("kills", 2, "SIGKILLs of delivering processes in TestSoak")
	rateFlag     = flag.Int("rate", 60, "requests a second that the account of TestSoak allows")
	gapFlag      = flag.Duration("gap", 6*time.Second, "mean time between two kills")
)

// The shares of the proof: a tenth is refused for the rate, a tenth times out after applying, a twentieth fails before or
// after applying.
var faults = activecampaign.Faults{TooMany: 0.10, ServerError: 0.025, TimeoutAfter: 0.10, Cut: 0.025, Tracking: true, RetryAfterSeconds: 1, HangMillis: 60_000}

const (
	workers      = 2
	versions     = 3 // desired states of each contact, on average
	account      = "1000001"
	key          = "simulator-key"
	partitions   = 2 // as the configuration says
	destination  = "crm"
	restartMax   = 3 * time.Second // a killed process is away so long at most
	lookEvery    = time.Second
	quietMax     = 3 * time.Minute // without the end of any command
	sendTogether = 5_000           // commands that are appended at once
)

// TestSoak is the whole way with real processes.
func TestSoak(t *testing.T) {
	t.Parallel()
	r := &result{Seed: seed(), Contacts: *contactsFlag, Rate: *rateFlag}
	w := newWorld(t, r)
	began := time.Now()
	w.play(t)
	r.Seconds = time.Since(began).Seconds()
	for _, p := range w.process {
		p.Kill()
		r.PeakMB = max(r.PeakMB, p.PeakMemory()>>20)
	}
	check(t, w.plan, w.crm, w.finals, r)
	// A process reads the account's fields, tags and lists when it starts: of few contacts and many starts that is a share.
	r.Ratio = float64(r.Requests-r.Faults-int64(workers+r.Kills)*startRequests) / float64(w.plan.least)
	line, _ := json.Marshal(r)
	t.Logf("%s", line)
	if r.Ratio > ratioMax {
		t.Errorf("%d requests that no fault struck, %.2f times the %d that are needed; want at most %.1f times", r.Requests-r.Faults, r.Ratio, r.Least, ratioMax)
	}
	if r.Kills != *killsFlag || r.Faults == 0 || r.Superseded == 0 || r.Effects == 0 {
		t.Errorf("it proves less than it should: %s", line)
	}
}

func seed() uint64 {
	if *seedFlag != 0 {
		return *seedFlag
	}
	return rand.Uint64N(1 << 53)
}

// startRequests are those with which a process gets to know the account.
const startRequests = 12

// result is what a run shows.
type result struct {
	Seed       uint64  `json:"seed"`
	Contacts   int     `json:"contacts"`
	Commands   int     `json:"commands"`
	Effects    int     `json:"effects"`
	Kills      int     `json:"kills"`
	Requests   int64   `json:"requests"`
	Faults     int64   `json:"faults"`   // requests that a fault struck
	TooMany    int64   `json:"too_many"` // requests that the account refused for its limit
	Least      int64   `json:"least"`    // requests that the merged states and the effects need without faults
	Ratio      float64 `json:"ratio"`    // of the requests that no fault struck to the least
	MaxSecond  int     `json:"max_per_second"`
	Rate       int     `json:"rate"`
	Superseded int     `json:"superseded"`
	Uncertain  int     `json:"uncertain"`
	Seconds    float64 `json:"seconds"`
	PeakMB     int64   `json:"peak_mb,omitempty"` // of the largest delivering process
}

// world is everything that runs.
type world struct {
	r       *result
	dir     string
	binary  string
	random  *rand.Rand
	parts   *embedded.Services // the schema registry
	redis   *parts.Redis
	kafka   kafka.Options
	client  *kgo.Client
	codec   *codec.Codec
	crm     *activecampaign.Server
	crmURL  string
	process [workers]*parts.Process
	address [workers]string // of the management port
	plan    *plan
	finals  finals
}

func newWorld(t *testing.T, r *result) *world {
	t.Helper()
	w := &world{r: r, dir: t.TempDir(), finals: finals{}, random: rand.New(rand.NewPCG(r.Seed, 0x50a4))}
	t.Logf("-seed %d", r.Seed)
	broker := parts.StartKafka(t)
	w.redis = parts.StartRedis(t)
	if err := w.start(t.Context(), broker.Address); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		w.client.Close()
		_ = w.parts.Close()
	})
	w.crm = activecampaign.New(activecampaign.Options{
		Account: account, Key: key, Seed: r.Seed, RatePerSecond: float64(r.Rate), Faults: faults, Now: time.Now, Log: zerolog.Nop(),
	})
	srv := httptest.NewServer(w.crm.Handler())
	t.Cleanup(srv.Close)
	w.crmURL = srv.URL
	for i := range workers {
		w.address[i] = fmt.Sprintf("127.0.0.1:%d", parts.Port(t))
	}
	return w
}

func (w *world) start(ctx context.Context, broker string) (err error) {
	if err := w.build(ctx); err != nil {
		return err
	}
	config, err := fs.Sub(configFiles, "config")
	if err != nil {
		return err
	}
	if err := os.CopyFS(filepath.Join(w.dir, "config"), config); err != nil {
		return err
	}
	if err := w.setRate(filepath.Join(w.dir, "config", "destinations", destination+".yaml")); err != nil {
		return err
	}
	if w.parts, err = embedded.Start(ctx, embedded.Options{
		Dir: filepath.Join(w.dir, "registry"), Without: []string{embedded.Kafka, embedded.Redis, embedded.ClickHouse}, Log: zerolog.Nop(),
	}); err != nil {
		return err
	}
	w.kafka = kafka.Options{Brokers: []string{broker}, ClientID: "soak", Partitions: partitions}
	if err := kafka.EnsureTopics(ctx, w.kafka, kafka.Topics(w.kafka)); err != nil {
		return err
	}
	known := registry.New(registry.Options{URL: w.parts.RegistryURL})
	if err := known.Register(ctx); err != nil {
		return err
	}
	if w.codec, err = codec.New(known); err != nil {
		return err
	}
	w.client, err = w.kafka.Client(kgo.RecordPartitioner(kgo.ManualPartitioner()))
	return err
}

func (w *world) build(ctx context.Context) error {
	root, err := parts.Root()
	if err != nil {
		return err
	}
	w.binary = filepath.Join(w.dir, "tillstream")
	c := exec.CommandContext(ctx, "go", "build", "-o", w.binary, "./cmd/tillstream")
	c.Dir, c.Env = root, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("go build: %w\n%s", err, out)
	}
	return nil
}

// setRate writes the run's rate in place of the documented one; a variable of the environment is text only.
func (w *world) setRate(file string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	text = bytes.Replace(text, []byte("rate_per_second: 5"), fmt.Appendf(nil, "rate_per_second: %d", w.r.Rate), 1)
	return os.WriteFile(file, text, 0o600)
}

func (w *world) startWorker(t *testing.T, i int) {
	t.Helper()
	name := fmt.Sprintf("soak-%d", i+1)
	var env []string
	for k, v := range map[string]string{
		"INSTANCE": name, "DIR": w.dir, "BROKER": w.kafka.Brokers[0], "REGISTRY": w.parts.RegistryURL, "REDIS": w.redis.Address,
		"MANAGEMENT": w.address[i], "CRM": w.crmURL, "CRM_KEY": key,
	} {
		env = append(env, "SOAK_"+k+"="+v)
	}
	w.process[i] = parts.Start(t, parts.Command{
		Name: name, Path: w.binary, Dir: w.dir, Env: env,
		Args: []string{"run", "--config", filepath.Join(w.dir, "config"), "--roles", "sinks"},
	})
}

// kill ends a process at once, and starts it again a moment later.
func (w *world) kill(t *testing.T, i int) {
	t.Helper()
	w.process[i].Kill()
	w.r.Kills++
	w.r.PeakMB = max(w.r.PeakMB, w.process[i].PeakMemory()>>20)
	t.Logf("soak-%d killed after %d of %d commands", i+1, len(w.finals), w.r.Commands)
	away := time.NewTimer(time.Duration(w.random.Int64N(int64(restartMax))))
	defer away.Stop()
	select {
	case <-away.C:
	case <-t.Context().Done():
		t.Fatal(t.Context().Err())
	}
	w.startWorker(t, i)
}

// play sends all commands, lets the processes work, kills them as planned, and returns when every command has its end.
func (w *world) play(t *testing.T) {
	t.Helper()
	ctx := t.Context()
	w.plan = newPlan(w.r.Seed, w.r.Contacts, versions)
	w.r.Commands, w.r.Effects, w.r.Least = len(w.plan.commands), len(w.plan.effects), w.plan.least
	if err := send(ctx, w.client, w.codec, w.plan); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d commands to %d contacts are on the log, %d of them effects", w.r.Commands, w.r.Contacts, w.r.Effects)
	for i := range workers {
		w.startWorker(t, i)
	}
	words, err := w.kafka.Client(
		kgo.ConsumeTopics(schemas.TopicDeliveries), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
	)
	if err != nil {
		t.Fatal(err)
	}
	defer words.Close()
	next, quiet := w.gap(), time.Now()
	for len(w.finals) < w.r.Commands {
		before := len(w.finals)
		if err := w.finals.read(ctx, t, words, w.codec, lookEvery); err != nil {
			t.Fatal(err)
		}
		if len(w.finals) > before {
			quiet = time.Now()
		}
		if time.Since(quiet) > quietMax {
			t.Fatalf("nothing came to its end for %v; %d of %d commands have theirs", quietMax, len(w.finals), w.r.Commands)
		}
		for _, p := range w.process {
			if p.Ended() {
				t.Fatalf("%s ended by itself: %s\n%s", p.Name, p.State(), p.Tail())
			}
		}
		// The first kill waits for work to be under way.
		if next--; next <= 0 && w.r.Kills < *killsFlag && len(w.finals) > 0 {
			w.kill(t, w.random.IntN(workers))
			next = w.gap()
		}
	}
}

// gap is after how many looks the next process is killed.
func (w *world) gap() int { return 1 + w.random.IntN(max(1, int(2**gapFlag/lookEvery))) }
