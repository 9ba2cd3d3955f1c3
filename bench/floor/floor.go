// Command floor runs the benchmark's job with next to nothing around it: transactional sessions of franz-go, Avro read
// by hand, orders in a Go map, one changelog record for each changed order and transaction, and Redis written by plain
// pipelined commands after each commit. It restores nothing, checks nothing and keeps every order in memory: the
// distance to it is what the engine itself costs.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"runtime/debug"
	"runtime/pprof"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tillstream/tillstream/bench/workload"
)

type options struct {
	brokers, redis, input, output, changelog, group string
	clients                                         int
	commit                                          time.Duration
	async                                           bool
	gcPercent                                       int
	fetchBytes, fetchPartitionBytes                 int
	cpuProfile                                      string
}

func parse() options {
	var o options
	flag.StringVar(&o.brokers, "brokers", "localhost:9092", "host:port of a broker")
	flag.StringVar(&o.redis, "redis", "", "host:port of Redis; empty: none is written")
	flag.StringVar(&o.input, "input", "bench.input", "topic of the order events")
	flag.StringVar(&o.output, "output", "bench.output", "topic of the transitions")
	flag.StringVar(&o.changelog, "changelog", "bench.changelog", "topic of the after-images")
	flag.StringVar(&o.group, "group", "bench-floor", "consumer group")
	flag.IntVar(&o.clients, "clients", 2, "clients, 1 to 3; each has a transaction of its own")
	flag.DurationVar(&o.commit, "commit", 100*time.Millisecond, "least time of a transaction")
	flag.BoolVar(&o.async, "async", true, "write Redis beside the next batch; false: in step")
	flag.IntVar(&o.gcPercent, "gogc", 50, "garbage collector's percentage")
	flag.IntVar(&o.fetchBytes, "fetch-bytes", 8<<20, "most bytes of a fetch")
	flag.IntVar(&o.fetchPartitionBytes, "fetch-partition-bytes", 512<<10, "most bytes of a partition in a fetch")
	flag.StringVar(&o.cpuProfile, "cpuprofile", "", "write a CPU profile")
	flag.Parse()
	return o
}

func main() {
	o := parse()
	debug.SetGCPercent(o.gcPercent)
	if err := run(context.Background(), o); err != nil {
		fmt.Fprintln(os.Stderr, "bench/floor:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) error {
	if o.clients < 1 || o.clients > 3 {
		return fmt.Errorf("%d clients: use 1 to 3", o.clients)
	}
	total, err := count(ctx, o)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var left atomic.Int64
	left.Store(total)
	var clients []*client
	for n := range o.clients {
		c, err := newClient(o, n, &left, cancel)
		if err != nil {
			return err
		}
		defer c.sess.Close()
		clients = append(clients, c)
	}
	if err := settled(ctx, clients); err != nil {
		return err
	}
	for _, c := range clients {
		if err := c.prime(ctx); err != nil {
			return err
		}
	}
	if o.cpuProfile != "" {
		f, err := os.Create(o.cpuProfile)
		if err != nil {
			return err
		}
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	clock := workload.Start()
	var wg sync.WaitGroup
	for _, c := range clients {
		wg.Go(func() {
			if err := c.run(ctx); err != nil {
				cancel(err)
			}
		})
	}
	wg.Wait()
	if left.Load() > 0 {
		return fmt.Errorf("%d records were not committed: %w", left.Load(), context.Cause(ctx))
	}
	return clock.Stop("floor", total).Print(os.Stdout)
}

// count is the number of records in the input.
func count(ctx context.Context, o options) (int64, error) {
	cl, err := kgo.NewClient(kgo.SeedBrokers(o.brokers))
	if err != nil {
		return 0, err
	}
	defer cl.Close()
	ends, err := kadm.NewClient(cl).ListEndOffsets(ctx, o.input)
	if err == nil {
		err = ends.Error()
	}
	if err != nil {
		return 0, fmt.Errorf("ends of topic %s: %w", o.input, err)
	}
	var total int64
	ends.Each(func(l kadm.ListedOffset) { total += l.Offset })
	return total, nil
}

const settleMax = time.Minute

// settled waits until the group has given every partition away, evenly: state would be lost with a partition that moves.
func settled(ctx context.Context, clients []*client) error {
	look := time.NewTicker(10 * time.Millisecond)
	defer look.Stop()
	for began := time.Now(); time.Since(began) < settleMax; {
		sum, least := int32(0), int32(workload.Partitions)
		for _, c := range clients {
			n := c.held.Load()
			sum, least = sum+n, min(least, n)
		}
		if sum == workload.Partitions && least >= workload.Partitions/int32(len(clients)) {
			for _, c := range clients {
				c.started.Store(true)
			}
			return nil
		}
		select {
		case <-look.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return errors.New("the group did not settle")
}
