package main

import (
	"context"
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"time"

	clickhouse "github.com/ClickHouse/clickhouse-go/v2"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tillstream/tillstream/internal/e2e/parts"
	"github.com/tillstream/tillstream/schemas/codec"
	chsink "github.com/tillstream/tillstream/sinks/clickhouse"
)

const (
	killDatabase = "bench_kills"
	killGroup    = "bench-kills"
	loaders      = 2
	// rowsPerHarm are produced before each harm; a few are in transactions that are aborted.
	rowsPerHarm = 400
)

// kill loads while records come, harms o.kills inserts, and audits what is there in the end. args go before the program's
// own, for tests.
func kill(ctx context.Context, o options, testRun string) (figures, error) {
	program, err := self()
	if err != nil {
		return nil, err
	}
	if testRun != "" {
		program.Args = []string{"-test.run=" + testRun, "--"}
		program.Env = []string{asProgram + "=1"}
	}
	running, at, err := startServices(ctx, o, program)
	if err != nil {
		return nil, err
	}
	defer running.Kill()
	through, err := newProxy(at.ClickHouse)
	if err != nil {
		return nil, err
	}
	defer through.listener.Close()
	store, err := openStore(ctx, at.ClickHouse, killDatabase)
	if err != nil {
		return nil, err
	}
	defer store.Close()
	if err := store.Prepare(ctx); err != nil {
		return nil, err
	}
	conn, err := clickhouse.Open(clickhouseAt(at.ClickHouse, killDatabase))
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	// Without merges each row that was inserted twice is seen twice.
	if err := conn.Exec(ctx, "SYSTEM STOP MERGES "+tableOf(o.topic)); err != nil {
		return nil, err
	}
	k := &killer{o: o, program: program, at: at, through: through, random: rand.New(rand.NewPCG(o.seed, o.seed))}
	defer k.endAll()
	if err := k.work(ctx); err != nil {
		return nil, err
	}
	return k.audit(ctx, store)
}

type killer struct {
	o       options
	program parts.Command
	at      services
	through *proxy
	random  *rand.Rand
	running []*parts.Process
	done    map[harm]int
	rows    int
	aborted int
}

func (k *killer) endAll() {
	for _, p := range k.running {
		p.Kill()
	}
}

// start starts loaders until there are as many as there should be.
func (k *killer) start() error {
	k.running = slices.DeleteFunc(k.running, (*parts.Process).Ended)
	for len(k.running) < loaders {
		program := k.program
		program.Name = roleOurs
		program.Args = append(slices.Clone(program.Args), "-role", roleOurs, "-forever", "-topic", k.o.topic, "-kafka", k.at.Kafka, "-clickhouse", k.through.address(),
			"-database", killDatabase, "-group", killGroup)
		p, err := parts.Launch(k.o.dir, program)
		if err != nil {
			return err
		}
		k.running = append(k.running, p)
	}
	return nil
}

// work harms one insert after the other.
func (k *killer) work(ctx context.Context) error {
	k.done = map[harm]int{}
	for i := range k.o.kills {
		if err := k.start(); err != nil {
			return err
		}
		h := harm(k.random.IntN(int(harms)))
		order := k.through.arm(h)
		if err := k.append(ctx, i); err != nil {
			return err
		}
		select {
		case <-order.met:
		case <-time.After(k.o.storms):
			return fmt.Errorf("harm %d (%s): no insert came within %s: %s", i+1, h, k.o.storms, k.running[0].Tail())
		case <-ctx.Done():
			return ctx.Err()
		}
		if h == killInside || h == killAfter {
			// Whose insert it was is not known to the proxy: both go, as when a machine goes.
			k.endAll()
		}
		k.done[h]++
		fmt.Fprintf(os.Stderr, "%d of %d: %s\n", i+1, k.o.kills, h)
	}
	return k.start()
}

// append produces records in transactions, some of which are aborted: their offsets must stay without rows.
func (k *killer) append(ctx context.Context, number int) error {
	c := codec.NewLocal()
	cl, err := kgo.NewClient(kgo.SeedBrokers(k.at.Kafka), kgo.TransactionalID(fmt.Sprintf("bench-%d", number)))
	if err != nil {
		return err
	}
	defer cl.Close()
	for _, commit := range []kgo.TransactionEndTry{kgo.TryCommit, kgo.TryAbort, kgo.TryCommit} {
		if err := cl.BeginTransaction(); err != nil {
			return err
		}
		n := rowsPerHarm / 2
		if commit == kgo.TryAbort {
			n = rowsPerHarm / 20
		}
		if err := produce(ctx, cl, c, k.o, k.rows+k.aborted, k.rows+k.aborted+n); err != nil {
			return err
		}
		if err := cl.EndTransaction(ctx, commit); err != nil {
			return fmt.Errorf("end a transaction: %w", err)
		}
		if commit == kgo.TryCommit {
			k.rows += n
		} else {
			k.aborted += n
		}
	}
	return nil
}

// audit waits until all is loaded, and counts. Every committed record must be one row, and no other row be there.
func (k *killer) audit(ctx context.Context, store *chsink.Store) (figures, error) {
	ids, ends, err := k.topicNow(ctx)
	if err != nil {
		return nil, err
	}
	var stored, repeated int64
	err = until(ctx, k.o.storms, func() error {
		stored, repeated = 0, 0
		for partition := range int32(partitions) {
			s, err := store.StoredOffsets(ctx, k.o.topic, ids, partition, 0, ends[partition])
			if err != nil {
				return err
			}
			for _, r := range s.Runs {
				stored += r.To - r.From + 1
			}
			repeated += int64(s.Repeated)
		}
		if stored < int64(k.rows) {
			return fmt.Errorf("%d of %d committed records are rows: %s", stored, k.rows, k.running[0].Tail())
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	var f figures
	f.add("kills", float64(k.done[killInside]+k.done[killAfter]), "")
	f.add("cuts", float64(k.done[cutInside]+k.done[cutAfter]), "")
	f.add("records_committed", float64(k.rows), "records")
	f.add("records_aborted", float64(k.aborted), "records")
	f.add("rows_missing", float64(int64(k.rows)-min(stored, int64(k.rows))), "rows")
	f.add("rows_foreign", float64(max(0, stored-int64(k.rows))), "rows")
	f.add("rows_doubled", float64(repeated), "rows")
	if stored != int64(k.rows) || repeated != 0 {
		return f, fmt.Errorf("%d committed records, %d rows, %d of them doubled", k.rows, stored, repeated)
	}
	return f, nil
}

// topicNow is the topic's id, as tokens and rows hold it, and its ends.
func (k *killer) topicNow(ctx context.Context) (id string, ends map[int32]int64, err error) {
	cl, err := kgo.NewClient(kgo.SeedBrokers(k.at.Kafka))
	if err != nil {
		return "", nil, err
	}
	defer cl.Close()
	admin := kadm.NewClient(cl)
	described, err := admin.ListTopics(ctx, k.o.topic)
	if err != nil {
		return "", nil, err
	}
	listed, err := admin.ListEndOffsets(ctx, k.o.topic)
	if err != nil {
		return "", nil, err
	}
	ends = map[int32]int64{}
	listed.Each(func(o kadm.ListedOffset) { ends[o.Partition] = o.Offset })
	return topicID(described[k.o.topic].ID), ends, listed.Error()
}

// asProgram makes a test binary one of the programs that the command starts of itself.
const asProgram = "TILLSTREAM_BENCH_PROGRAM"

func topicID(id kadm.TopicID) string { return base64.StdEncoding.EncodeToString(id[:]) }
