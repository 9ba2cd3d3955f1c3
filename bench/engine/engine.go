// Command engine runs the benchmark's job on Tillstream's engine, over a real Kafka and a real Redis, until the input
// is read to the end that it had at the start, and prints one line of JSON.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"runtime/pprof"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"
	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/tillstream/tillstream/bench/workload"
	"github.com/tillstream/tillstream/pipeline"
	"github.com/tillstream/tillstream/pipeline/kafka"
	"github.com/tillstream/tillstream/pipeline/store/redisstore"
)

type options struct {
	brokers, redis, input, output, changelog, group string
	lanes, batch, timers, cache                     int
	commit, tickIdle                                time.Duration
	forever                                         bool
	gcPercent                                       int
	memoryLimitMB                                   int64
	cpuProfile, memProfile, log                     string
	set                                             settings
}

func parse() options {
	var o options
	flag.StringVar(&o.brokers, "brokers", "localhost:9092", "host:port of a broker")
	flag.StringVar(&o.redis, "redis", "localhost:6379", "host:port of Redis")
	flag.StringVar(&o.input, "input", "bench.input", "topic of the order events; ticks go there too")
	flag.StringVar(&o.output, "output", "bench.output", "topic of the transitions")
	flag.StringVar(&o.changelog, "changelog", "bench.changelog", "topic of the after-images")
	flag.StringVar(&o.group, "group", "bench-engine", "consumer group")
	flag.IntVar(&o.lanes, "lanes", 0, "lanes; 0: the engine's default")
	flag.IntVar(&o.batch, "batch-records", 0, "records of a partition in one transaction; 0: the engine's default")
	flag.IntVar(&o.timers, "batch-timers", 0, "timers of a partition in one transaction; 0: the engine's default")
	flag.IntVar(&o.cache, "cache-images", 0, "images kept in memory for each partition; 0: the engine's default")
	flag.DurationVar(&o.commit, "commit", 0, "least time between two transactions of a lane; 0: the engine's default")
	flag.DurationVar(&o.tickIdle, "tick-idle", 24*time.Hour, "idle time before a tick: event times in the past must not be ended by the clock on the wall")
	flag.BoolVar(&o.forever, "forever", false, "go on at the end of the input, until SIGTERM")
	flag.IntVar(&o.gcPercent, "gogc", 0, "garbage collector's percentage; 0: as the environment says")
	flag.Int64Var(&o.memoryLimitMB, "memory-limit-mb", 0, "soft limit of the Go heap; 0: none")
	flag.StringVar(&o.cpuProfile, "cpuprofile", "", "write a CPU profile of the time between the first record and the end")
	flag.StringVar(&o.memProfile, "memprofile", "", "write a heap profile at the end")
	flag.StringVar(&o.log, "log", "warn", "level of the log on standard error")
	flag.Var(&o.set, "set", "an option of the engine by the name of its field, such as BatchTimersMax=2000; may be repeated")
	flag.Parse()
	return o
}

func main() {
	if err := run(parse()); err != nil {
		fmt.Fprintln(os.Stderr, "bench/engine:", err)
		os.Exit(1)
	}
}

func run(o options) error {
	if o.gcPercent != 0 {
		debug.SetGCPercent(o.gcPercent)
	}
	if o.memoryLimitMB != 0 {
		debug.SetMemoryLimit(o.memoryLimitMB << 20)
	}
	level, err := zerolog.ParseLevel(o.log)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	k := kafka.Options{Brokers: []string{o.brokers}, ClientID: "bench-engine"}
	ends, err := endOffsets(ctx, k, o.input)
	if err != nil {
		return err
	}
	rdb := redis.NewClient(&redis.Options{Addr: o.redis, Protocol: 2, DisableIdentity: true, ContextTimeoutEnabled: true})
	defer rdb.Close()
	metrics := prometheus.NewRegistry()
	codec := newCodec()
	engine := pipeline.EngineOptions{
		Kafka: k, Store: redisstore.New(rdb), Codec: codec,
		Topology: pipeline.Topology{
			Stage: pipeline.Bind(stage{output: o.output}), Inputs: []string{o.input}, Inbox: o.input, Changelog: o.changelog, Group: o.group,
		},
		Instance: "bench", Lanes: o.lanes, CommitInterval: o.commit, BatchRecordsMax: o.batch, BatchTimersMax: o.timers,
		CacheImagesMax: o.cache, TickIdle: o.tickIdle, RulesHash: "bench",
		Log: zerolog.New(os.Stderr).Level(level).With().Timestamp().Logger(), Registerer: metrics,
	}
	if err := o.set.apply(&engine); err != nil {
		return err
	}
	e, err := pipeline.NewEngine(engine)
	if err != nil {
		return err
	}
	running, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- e.Run(running) }()
	w := &watch{e: e, input: o.input, ends: ends, codec: codec, metrics: metrics, profile: o.cpuProfile, forever: o.forever, lanes: max(1, engine.Lanes)}
	report, err := w.run(ctx)
	pprof.StopCPUProfile()
	cancel()
	if stopErr := <-done; err == nil {
		err = stopErr
	}
	if err != nil {
		return err
	}
	if o.memProfile != "" {
		if err := writeHeap(o.memProfile); err != nil {
			return err
		}
	}
	return report.Print(os.Stdout)
}

// endOffsets are the ends of the input's partitions.
func endOffsets(ctx context.Context, k kafka.Options, topic string) (map[int32]int64, error) {
	cl, err := k.Client()
	if err != nil {
		return nil, err
	}
	defer cl.Close()
	listed, err := kadm.NewClient(cl).ListEndOffsets(ctx, topic)
	if err == nil {
		err = listed.Error()
	}
	if err != nil {
		return nil, fmt.Errorf("ends of topic %s: %w", topic, err)
	}
	ends := map[int32]int64{}
	listed.Each(func(o kadm.ListedOffset) { ends[o.Partition] = o.Offset })
	return ends, nil
}

// watch follows an engine by its status.
type watch struct {
	e       *pipeline.Engine
	input   string
	ends    map[int32]int64
	codec   *benchCodec
	metrics prometheus.Gatherer
	profile string
	forever bool
	lanes   int

	assigned, ready time.Time
	progress        int64 // records and timers since the stage began
}

// lookEvery is the pause between two looks at the status; it bounds the error of every time measured by it.
const lookEvery = 10 * time.Millisecond

// stuckAfter without any progress the benchmark has failed.
const stuckAfter = 2 * time.Minute

// run returns when the input is committed up to the ends, or ctx ends where the watch is to go on for ever.
func (w *watch) run(ctx context.Context) (workload.Report, error) {
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	first, moved, last := w.codec.first, time.Now(), int64(-1)
	var clock *workload.Stopwatch
	for {
		select {
		case <-ctx.Done():
			if !w.forever {
				return workload.Report{}, ctx.Err()
			}
			if clock == nil {
				clock = workload.Start()
			}
			return w.report(clock)
		case <-first:
			first = nil
			clock = workload.Start()
			if w.profile != "" {
				if err := startProfile(w.profile); err != nil {
					return workload.Report{}, err
				}
			}
		case <-look.C:
		}
		finished, err := w.look()
		if err != nil {
			return workload.Report{}, err
		}
		if finished && !w.forever {
			if clock == nil {
				clock = workload.Start()
			}
			return w.report(clock)
		}
		if w.progress != last || w.forever {
			moved, last = time.Now(), w.progress
		}
		if time.Since(moved) > stuckAfter {
			return workload.Report{}, fmt.Errorf("no progress for %v: %v, %+v", stuckAfter, w.e.Ready(), w.e.Status())
		}
	}
}

// look reads the status; true: everything is committed.
func (w *watch) look() (bool, error) {
	now := time.Now()
	status := w.e.Status()
	if len(status) > 0 && w.assigned.IsZero() {
		w.assigned = now
	}
	if w.ready.IsZero() {
		if len(status) < len(w.ends) || w.e.Ready() != nil {
			return false, nil
		}
		w.ready = now
	}
	finished := len(status) == len(w.ends)
	w.progress = 0
	for _, s := range status {
		if s.State == "stalled" {
			return false, fmt.Errorf("partition %d is stalled: %s: %s", s.Partition, s.Reason, s.Detail)
		}
		next, shown := s.Offsets[w.input]
		if !shown {
			finished = false
			continue
		}
		w.progress += s.Counts.Inputs + s.Counts.Timers
		finished = finished && next >= w.ends[s.Partition]
	}
	return finished, nil
}

// report counts what was committed: more may have been read, where lanes joined one after the other.
func (w *watch) report(clock *workload.Stopwatch) (workload.Report, error) {
	extra := map[string]float64{}
	if err := addMetrics(extra, w.metrics); err != nil {
		return workload.Report{}, err
	}
	r := clock.Stop("engine", int64(extra["tillstream_records_total"]))
	r.Extra = extra
	r.Extra["lanes"] = float64(w.lanes)
	r.Extra["recovery_seconds"] = w.ready.Sub(w.assigned).Seconds()
	return r, nil
}
