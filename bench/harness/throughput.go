package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/tillstream/tillstream/bench/workload"
)

// Settings of the peers: the best that were found on two cores. See bench/README.md.
const (
	memorySettings = "store=memory timers=memory cache-mb=0 commit-ms=1000"
	memoryJVM      = "-Xmx512m -XX:+UseParallelGC"
	rocksSettings  = "store=rocksdb timers=memory cache-mb=256 commit-ms=500"
	rocksJVM       = "-Xmx2g -XX:+UseParallelGC"
)

const (
	input    = "bench.input"
	runLimit = 20 * time.Minute
)

// outcome is one run of one program.
type outcome struct {
	report workload.Report
	redis  memory
}

func megabytes(n int64) float64 { return float64(n) / (1 << 20) }

// plan is the plan's expected output, with its events in the input topic. It is loaded once.
func (h *harness) plan(ctx context.Context) (*workload.Expected, error) {
	if h.want != nil {
		return h.want, nil
	}
	plan, err := workload.NewPlan(h.o.orders, h.o.seed)
	if err != nil {
		return nil, err
	}
	if err := h.createTopics(ctx, false, input); err != nil {
		return nil, err
	}
	folded := make(chan *workload.Expected, 1)
	go func() { folded <- workload.Expect(plan) }()
	l, err := h.newLoader(input)
	if err != nil {
		return nil, err
	}
	err = plan.Messages(func(m workload.Message) error {
		l.add(ctx, m)
		return ctx.Err()
	})
	if closed := l.close(ctx); err == nil {
		err = closed
	}
	want := <-folded
	if err != nil {
		return nil, err
	}
	h.say("loaded %d events of %d orders; to come: %v", l.count, h.o.orders, want.Counts)
	h.want = want
	runtime.GC()
	return want, nil
}

func (h *harness) throughput(ctx context.Context) error {
	want, err := h.plan(ctx)
	if err != nil {
		return err
	}
	programs := strings.Split(h.o.programs, ",")
	best := map[string]outcome{}
	for round := range h.o.rounds {
		for _, program := range programs {
			got, err := h.once(ctx, program, want, round == h.o.rounds-1)
			if err != nil {
				return fmt.Errorf("%s, round %d: %w", program, round+1, err)
			}
			if got.report.EventsPerSecond > best[program].report.EventsPerSecond {
				best[program] = got
			}
		}
	}
	h.engineBest = best["engine"].report.EventsPerSecond
	return h.compare(programs, best)
}

// once runs a program over the whole input, with names of its own and an empty Redis, and checks its output.
func (h *harness) once(ctx context.Context, program string, want *workload.Expected, last bool) (outcome, error) {
	h.run++
	n := names{output: fmt.Sprintf("bench.output.%d", h.run), changelog: fmt.Sprintf("bench.changelog.%d", h.run), group: fmt.Sprintf("bench-%d", h.run)}
	if err := h.createTopics(ctx, false, n.output); err != nil {
		return outcome{}, err
	}
	if err := h.createTopics(ctx, true, n.changelog); err != nil {
		return outcome{}, err
	}
	defer h.deleteTopics(ctx, n.output, n.changelog)
	redis, err := startRedis(ctx, h.dir)
	if err != nil {
		return outcome{}, err
	}
	defer redis.end()
	path, args, err := h.program(program, n, redis.address)
	if err != nil {
		return outcome{}, err
	}
	if program == "engine" && last {
		args = append(args, "-cpuprofile", h.o.cpuProfile, "-memprofile", h.o.memProfile)
	}
	load := h.load()
	p, err := launch(h.dir, program, path, args...)
	if err == nil {
		err = p.wait(ctx, runLimit)
	}
	if err != nil {
		return outcome{}, err
	}
	var got outcome
	if got.report, err = workload.ParseReport(p.out.Bytes()); err != nil {
		return outcome{}, err
	}
	if got.redis, err = redis.taken(ctx); err != nil {
		return outcome{}, err
	}
	if err := h.check(ctx, n.output, want); err != nil {
		return outcome{}, err
	}
	h.say("%s: %.0f events/s, %.0f MB, redis %.0f MB, %.1f us CPU an event; output right (1-min load before: %s)", program,
		got.report.EventsPerSecond, got.report.PeakRSSMB, megabytes(got.redis.rss), cpuMicros(got.report), load)
	if program == "engine" && last {
		err = h.figure("state_overhead_bytes_per_order", float64(got.redis.used-want.StateBytes)/float64(want.Orders), "bytes")
	}
	return got, err
}

// names are what a run has to itself.
type names struct{ output, changelog, group string }

// program is how a program is started.
func (h *harness) program(program string, n names, redis string) (path string, args []string, err error) {
	switch program {
	case "engine":
		path, args = h.engine(input, n, redis)
	case "floor":
		path, args = filepath.Join(h.dir, "floor"), append(h.topology(input, n), strings.Fields(h.o.floor)...)
	case "floor_redis":
		path, args = filepath.Join(h.dir, "floor"), append(append(h.topology(input, n), "-redis", redis), strings.Fields(h.o.floor)...)
	case "kafka_streams_memory":
		path, args = "java", h.kafkaStreams(n, h.o.memoryJVM, h.o.memory)
	case "kafka_streams_rocksdb":
		path, args = "java", h.kafkaStreams(n, h.o.rocksJVM, h.o.rocks)
	default:
		err = fmt.Errorf("%q: %w", program, errNoProgram)
	}
	return path, args, err
}

func (h *harness) topology(input string, n names) []string {
	return []string{"-brokers", h.brokers, "-input", input, "-output", n.output, "-changelog", n.changelog, "-group", n.group}
}

func (h *harness) engine(input string, n names, redis string, more ...string) (path string, args []string) {
	args = append(h.topology(input, n), "-redis", redis)
	return filepath.Join(h.dir, "engine"), append(append(args, strings.Fields(h.o.engine)...), more...)
}

func (h *harness) kafkaStreams(n names, jvm, settings string) []string {
	target := filepath.Join(h.root, "bench", "peers", "kafka-streams", "target")
	args := append(strings.Fields(jvm), "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
		"-cp", filepath.Join(target, "bench-kafka-streams.jar")+string(os.PathListSeparator)+filepath.Join(target, "lib", "*"), "tillstream.bench.Main",
		"brokers="+h.brokers, "input="+input, "output="+n.output, "application="+n.group, "dir="+filepath.Join(h.dir, n.group))
	return append(args, strings.Fields(settings)...)
}

func usesRedis(program string) bool { return program == "engine" || program == "floor_redis" }

func cpuMicros(r workload.Report) float64 { return r.CPUSeconds * 1e6 / float64(r.Events) }

// total is the memory of a program and of the Redis that it uses.
func (o outcome) totalMB(program string) float64 {
	if !usesRedis(program) {
		return o.report.PeakRSSMB
	}
	return o.report.PeakRSSMB + megabytes(o.redis.rss)
}

// compare prints the figures of each program's best run, and the engine's ratios to the others.
func (h *harness) compare(programs []string, best map[string]outcome) error {
	for _, program := range programs {
		o := best[program]
		for _, f := range []struct {
			name  string
			value float64
			unit  string
		}{
			{"events_per_second", o.report.EventsPerSecond, "events/s"},
			{"peak_rss_mb", o.report.PeakRSSMB, "MB"},
			{"redis_mb", megabytes(o.redis.rss), "MB"},
			{"cpu_us_per_event", cpuMicros(o.report), "us"},
		} {
			if f.name == "redis_mb" && !usesRedis(program) {
				continue
			}
			if err := h.figure(program+"_"+f.name, f.value, f.unit); err != nil {
				return err
			}
		}
	}
	engine, ok := best["engine"]
	if !ok {
		return nil
	}
	for _, c := range []struct{ name, program string }{
		{"ratio_vs_kafka_streams_rocksdb", "kafka_streams_rocksdb"},
		{"ratio_vs_kafka_streams_memory", "kafka_streams_memory"},
		{"ratio_vs_floor_redis", "floor_redis"},
	} {
		if peer, ok := best[c.program]; ok {
			if err := h.figure(c.name, engine.report.EventsPerSecond/peer.report.EventsPerSecond, "times"); err != nil {
				return err
			}
		}
	}
	if peer, ok := best["kafka_streams_memory"]; ok {
		return h.figure("memory_with_redis_vs_kafka_streams_memory", engine.totalMB("engine")/peer.totalMB("kafka_streams_memory"), "times")
	}
	return nil
}
