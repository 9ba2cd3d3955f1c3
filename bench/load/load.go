// Command load measures the way from Kafka into ClickHouse: Tillstream's loader against a bare at-least-once program on the
// same topic, in turns, in one run; and, with -kills, what is left of the loader's promise when its processes are killed and
// its connections cut in the midst of inserts. Figures are lines of JSON on standard output; what happens is told on
// standard error. A run that loses or doubles a row has no figures: it ends with an error.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"
)

type options struct {
	topic        string
	rows, rounds int
	bodyBytes    int
	kills        int
	dir          string
	seed         uint64
	cpuProfile   string
	flushRows    int
	gcPercent    int
	connections  int
	storms       time.Duration // patience with one kill
	role         string        // internal: the program to be
	kafka        string
	clickhouse   string
	database     string
	group        string
	forever      bool
}

// The programs that the command starts of itself.
const (
	roleServices = "services"
	roleOurs     = "ours"
	roleBare     = "bare"
)

func parse() options {
	var o options
	flag.StringVar(&o.topic, "topic", "order.transitions", "what is loaded: order.transitions, or paypal.events with their bodies")
	flag.IntVar(&o.rows, "rows", 1_000_000, "records on the topic")
	flag.IntVar(&o.rounds, "rounds", 3, "rounds of each program, in turns")
	flag.IntVar(&o.bodyBytes, "body-bytes", 1500, "bytes of an event's body")
	flag.IntVar(&o.kills, "kills", 0, "instead of measuring: kill or cut this many times, then audit")
	flag.StringVar(&o.dir, "dir", "", "folder for data and logs; default a temporary one")
	flag.Uint64Var(&o.seed, "seed", 1, "of the harm that -kills does")
	flag.StringVar(&o.cpuProfile, "cpuprofile", "", "CPU profile of the loader's last round")
	flag.IntVar(&o.flushRows, "flush-rows", 50_000, "rows of an insert, of both programs")
	flag.IntVar(&o.gcPercent, "gogc", 0, "GOGC of both programs; default Go's own")
	flag.IntVar(&o.connections, "connections", 2, "statements that the engine runs at once")
	flag.DurationVar(&o.storms, "patience", 2*time.Minute, "longest wait for one insert that can be harmed, and for the end")
	flag.StringVar(&o.role, "role", "", "internal: the program to be")
	flag.StringVar(&o.kafka, "kafka", "", "internal: the broker's address")
	flag.StringVar(&o.clickhouse, "clickhouse", "", "internal: ClickHouse's address")
	flag.StringVar(&o.database, "database", "", "internal: the database")
	flag.StringVar(&o.group, "group", "", "internal: the consumer group")
	flag.BoolVar(&o.forever, "forever", false, "internal: load until told to end")
	flag.Parse()
	return o
}

func main() {
	o := parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "bench/load:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) error {
	switch o.role {
	case roleServices:
		return serve(ctx, o)
	case roleOurs:
		return ours(ctx, o)
	case roleBare:
		return bare(ctx, o)
	case "":
	default:
		return fmt.Errorf("role %q", o.role)
	}
	if o.dir == "" {
		dir, err := os.MkdirTemp("", "bench-load-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		o.dir = dir
	}
	if o.rows < 1 || o.rounds < 1 {
		return errors.New("-rows and -rounds are at least 1")
	}
	if o.kills > 0 {
		f, err := kill(ctx, o, "")
		if err != nil {
			return err
		}
		return f.print(os.Stdout)
	}
	return measure(ctx, o)
}
