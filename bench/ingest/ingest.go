// Command ingest measures the receiver of webhooks: for every source, in one run and on one broker, Tillstream's receiver
// against a bare program that checks the same signature and appends the same bytes, and what is left of it in a flood of
// badly signed requests. Figures are lines of JSON on standard output, then a table; what happens is told on standard
// error. A run that loses a webhook, or lets a forged one through, has no figures: it ends with an error.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/tillstream/tillstream/connectors/all"
)

type options struct {
	brokers, sources      string
	rounds                int
	seconds, warm         time.Duration
	connections, messages int
	floodRate, floodConns int
	flood, redis          bool
	kafkaDir, dir         string
	profile               string
	linger                time.Duration
	gcPercent             int

	// Of the programs that the command starts.
	role, source, setup         string
	broker, redisAddress, topic string
}

func parse() options {
	var o options
	flag.StringVar(&o.brokers, "brokers", "memory", "brokers, one after the other: memory (the embedded Kafka without its disk), synced (as under 'tillstream dev'), kafka (Apache Kafka)")
	flag.StringVar(&o.sources, "sources", "", "connectors to measure; default all that receive webhooks")
	flag.IntVar(&o.rounds, "rounds", 5, "rounds of each program, in turns")
	flag.DurationVar(&o.seconds, "seconds", 4*time.Second, "length of a round")
	flag.DurationVar(&o.warm, "warm", time.Second, "length of the warm-up before each round")
	flag.IntVar(&o.connections, "connections", 64, "connections of the load generator, each with one request under way")
	flag.IntVar(&o.messages, "messages", 4000, "different webhooks that are signed beforehand")
	flag.BoolVar(&o.flood, "flood", true, "measure beside a flood of badly signed requests, too")
	flag.IntVar(&o.floodRate, "flood-rate", 20_000, "badly signed requests that are offered a second")
	flag.IntVar(&o.floodConns, "flood-connections", 512, "connections of the flood")
	flag.BoolVar(&o.redis, "redis", true, "remember delivery ids in Redis where the source asks for it, as in production")
	flag.StringVar(&o.kafkaDir, "kafka", "", "folder of Kafka's jars; default .cache/kafka")
	flag.StringVar(&o.dir, "dir", "", "folder for data and logs; default a temporary one")
	flag.StringVar(&o.profile, "cpuprofile", "", "CPU profile of Tillstream's receiver, over its last source")
	flag.DurationVar(&o.linger, "linger", 0, "how long Tillstream's receiver lets a batch fill, where the default is to be changed")
	flag.IntVar(&o.gcPercent, "gogc", 0, "GOGC of both programs; default Go's own")
	flag.StringVar(&o.role, "role", "", "internal: the program to be")
	flag.StringVar(&o.source, "source", "", "internal: its source")
	flag.StringVar(&o.setup, "setup", "", "internal: the source's keys")
	flag.StringVar(&o.broker, "broker", "", "internal: the broker's address")
	flag.StringVar(&o.redisAddress, "redis-address", "", "internal: Redis")
	flag.StringVar(&o.topic, "topic", "", "internal: the topic")
	flag.Parse()
	return o
}

func main() {
	o := parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var err error
	switch o.role {
	case "":
		err = measure(ctx, o)
	case roleOurs, roleBare:
		err = receive(ctx, o)
	case roleBroker:
		err = serveBroker(ctx, o)
	default:
		err = fmt.Errorf("role %q", o.role)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench/ingest:", err)
		os.Exit(1)
	}
}

// The programs that the command starts of itself.
const (
	roleOurs   = "ours"
	roleBare   = "bare"
	roleBroker = "broker"
)

// chosen are the sources to measure. A connector that receives webhooks and has no driver here is an error: it would
// be left out without a word.
func chosen(names string) ([]source, error) {
	var out []source
	for _, c := range all.Connectors().All() {
		if slices.Contains(pollOnly, c.Type) || names != "" && !slices.Contains(strings.Split(names, ","), c.Type) {
			continue
		}
		s, ok := find(c.Type)
		if !ok {
			return nil, fmt.Errorf("connector %s has no driver in bench/ingest", c.Type)
		}
		out = append(out, s)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("no connector is among %q", names)
	}
	return out, nil
}

// measure runs everything.
func measure(ctx context.Context, o options) (err error) {
	sources, err := chosen(o.sources)
	if err != nil {
		return err
	}
	if o.dir == "" {
		if o.dir, err = os.MkdirTemp("", "tillstream-bench-"); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(o.dir)) }()
	}
	var all []result
	for broker := range strings.SplitSeq(o.brokers, ",") {
		got, err := onBroker(ctx, o, broker, sources)
		if err != nil {
			return fmt.Errorf("on broker %s: %w", broker, err)
		}
		all = append(all, got...)
	}
	table(os.Stdout, all)
	return nil
}

func onBroker(ctx context.Context, o options, broker string, sources []source) ([]result, error) {
	b, err := startBroker(ctx, o, broker)
	if err != nil {
		return nil, err
	}
	defer b.end()
	var out []result
	for _, s := range sources {
		say("%s on %s, load %s", s.name, broker, machineLoad())
		r, err := measureSource(ctx, o, b, s)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", s.name, err)
		}
		r.Broker = broker
		for _, f := range r.figures() {
			if err := json.NewEncoder(os.Stdout).Encode(f); err != nil {
				return nil, err
			}
		}
		out = append(out, r)
	}
	return out, nil
}

func say(format string, args ...any) {
	fmt.Fprintf(os.Stderr, time.Now().Format(time.TimeOnly)+" "+format+"\n", args...)
}

// machineLoad says how busy the machine is.
func machineLoad() string {
	b, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	first, _, _ := strings.Cut(string(b), " ")
	return first
}
