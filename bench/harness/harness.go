// Command harness runs the engine's benchmark: the engine, a floor and the peers one after the other, on one Kafka and
// an empty Redis each, over one topic; then restore, waits and latency of the engine. Every output is checked, and a
// wrong one has no figure. Figures are lines of JSON on standard output; what happens is told on standard error.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/tillstream/tillstream/bench/workload"
	"github.com/tillstream/tillstream/internal/e2e/parts"
	"github.com/tillstream/tillstream/schemas"
)

type options struct {
	parts, programs                       string
	orders, rounds, waits, pairs, restore int
	seed                                  uint64
	engine, floor, memory, rocks          string
	memoryJVM, rocksJVM                   string
	latencyRate                           float64
	latencySeconds                        int
	kafkaDir, dir, cpuProfile, memProfile string
	keep                                  bool
}

func parse() options {
	var o options
	flag.StringVar(&o.parts, "parts", "throughput,restore,latency,waits", "what to measure, in this order")
	flag.StringVar(&o.programs, "programs", "engine,floor_redis,floor,kafka_streams_memory,kafka_streams_rocksdb", "programs of the throughput part")
	flag.IntVar(&o.orders, "orders", 500_000, "orders; 3.9 events each. Small numbers favour what has no JIT to warm up")
	flag.IntVar(&o.rounds, "rounds", 2, "runs of each program; the best counts")
	flag.Uint64Var(&o.seed, "seed", 1, "seed of the plan")
	flag.IntVar(&o.restore, "restore-orders", 1_000_000, "orders of the restore part")
	flag.IntVar(&o.waits, "waits", 10_000_000, "open waits of the waits part")
	flag.IntVar(&o.pairs, "wait-pairs", 150_000, "waits armed, and ended, for one measurement of the arming cost")
	flag.Float64Var(&o.latencyRate, "latency-rate", 0, "events a second of the latency part; 0: a tenth of what the engine reached, or 5,000")
	flag.IntVar(&o.latencySeconds, "latency-seconds", 20, "seconds that are measured in the latency part")
	flag.StringVar(&o.engine, "engine", "-lanes 3 -gogc 200 -memory-limit-mb 215", "flags of the engine program, in all parts")
	flag.StringVar(&o.floor, "floor", "", "flags of the floor program")
	flag.StringVar(&o.memory, "kafka-streams-memory", memorySettings, "settings of Kafka Streams with stores in memory")
	flag.StringVar(&o.rocks, "kafka-streams-rocksdb", rocksSettings, "settings of Kafka Streams with RocksDB")
	flag.StringVar(&o.memoryJVM, "kafka-streams-memory-jvm", memoryJVM, "its JVM's flags")
	flag.StringVar(&o.rocksJVM, "kafka-streams-rocksdb-jvm", rocksJVM, "its JVM's flags")
	flag.StringVar(&o.kafkaDir, "kafka", "", "folder of Kafka's jars; default .cache/kafka/"+parts.KafkaVersion)
	flag.StringVar(&o.dir, "dir", "", "empty folder for data and logs; default a temporary one")
	flag.BoolVar(&o.keep, "keep", false, "keep the folder")
	flag.StringVar(&o.cpuProfile, "cpuprofile", "", "CPU profile of the engine program's last run of the throughput part")
	flag.StringVar(&o.memProfile, "memprofile", "", "allocation profile of the same")
	flag.Parse()
	return o
}

// harness is one run of the benchmark.
type harness struct {
	o       options
	root    string // of the module
	dir     string
	brokers string
	figures *json.Encoder
	run     int // counts the runs, for names of their own

	want       *workload.Expected // of the plan, once it is loaded
	engineBest float64            // events a second
}

func main() {
	o := parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := bench(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "bench/harness:", err)
		os.Exit(1)
	}
}

func bench(ctx context.Context, o options) (err error) {
	h := &harness{o: o, figures: json.NewEncoder(os.Stdout)}
	if h.root, err = parts.Root(); err != nil {
		return err
	}
	if h.o.kafkaDir == "" {
		h.o.kafkaDir = filepath.Join(h.root, ".cache", "kafka", parts.KafkaVersion)
	}
	if jars, _ := filepath.Glob(filepath.Join(h.o.kafkaDir, "kafka_2.13-*.jar")); len(jars) == 0 {
		return fmt.Errorf("there are no jars of Kafka in %s: run 'make install-kafka', or name their folder by -kafka", h.o.kafkaDir)
	}
	var jobs []func(context.Context) error
	for part := range strings.SplitSeq(o.parts, ",") {
		job := map[string]func(context.Context) error{
			"throughput": h.throughput, "restore": h.restore, "latency": h.latency, "waits": h.waits,
		}[part]
		if job == nil {
			return fmt.Errorf("part %q: use throughput, restore, latency or waits", part)
		}
		jobs = append(jobs, job)
	}
	if h.dir = o.dir; h.dir == "" {
		if h.dir, err = os.MkdirTemp("", "tillstream-bench-"); err != nil {
			return err
		}
		if !o.keep {
			defer os.RemoveAll(h.dir)
		}
	}
	h.say("data and logs in %s", h.dir)
	if err := h.build(ctx); err != nil {
		return err
	}
	var broker *process
	if broker, h.brokers, err = startKafka(ctx, h.dir, h.o.kafkaDir); err != nil {
		return err
	}
	defer broker.kill()
	if err := h.createTopics(ctx, false, schemas.TopicDeadLetters); err != nil {
		return err
	}
	for _, job := range jobs {
		if err := job(ctx); err != nil {
			return err
		}
	}
	return nil
}

// build makes the programs. Maven asks the network only for what it has not.
func (h *harness) build(ctx context.Context) error {
	for _, name := range []string{"engine", "floor"} {
		if err := h.command(ctx, h.root, "go", "build", "-o", filepath.Join(h.dir, name), "./bench/"+name); err != nil {
			return err
		}
	}
	if !slices.ContainsFunc(strings.Split(h.o.programs, ","), isKafkaStreams) || !strings.Contains(h.o.parts, "throughput") {
		return nil
	}
	peer := filepath.Join(h.root, "bench", "peers", "kafka-streams")
	if err := h.command(ctx, peer, "mvn", "-q", "-B", "-o", "package"); err == nil {
		return nil
	}
	h.say("maven lacks something: once more, with the network")
	return h.command(ctx, peer, "mvn", "-q", "-B", "package")
}

func (h *harness) command(ctx context.Context, dir, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, out)
	}
	return nil
}

func (h *harness) say(format string, args ...any) {
	fmt.Fprintf(os.Stderr, time.Now().Format(time.TimeOnly)+" "+format+"\n", args...)
}

// figure prints one figure.
func (h *harness) figure(name string, value float64, unit string) error {
	return h.figures.Encode(struct {
		Bench  string  `json:"bench"`
		Figure string  `json:"figure"`
		Value  float64 `json:"value"`
		Unit   string  `json:"unit"`
	}{"engine", name, round(value), unit})
}

// round keeps four digits: more would be noise.
func round(v float64) float64 {
	scale := 1.0
	for ; v*scale < 1000 && v*scale > -1000 && scale < 1e6; scale *= 10 {
	}
	n := v * scale
	if n < 0 {
		return float64(int64(n-0.5)) / scale
	}
	return float64(int64(n+0.5)) / scale
}

// load says how busy the machine is.
func (h *harness) load() string {
	b, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	first, _, _ := strings.Cut(string(b), " ")
	return first
}

var errNoProgram = errors.New("no such program")

func isKafkaStreams(program string) bool { return strings.HasPrefix(program, "kafka_streams_") }
