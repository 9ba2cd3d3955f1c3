package embedded_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tillstream/tillstream/embedded"
)

const (
	envTransactions = "EMBEDDED_TEST_TRANSACTIONS"
	txnInput        = "txn-input"
	txnOutput       = "txn-output"
	txnPartitions   = 24
	txnGroup        = "txn-group"
)

// transactUntilKilled is the child process: it consumes txnInput one by one, writes a record to each partition of
// txnOutput and notes its number beside the offset, in one transaction, and prints what was committed.
func transactUntilKilled(dir string) error {
	ctx := context.Background()
	services, err := embedded.Start(ctx, embedded.Options{Dir: dir, Without: []string{embedded.ClickHouse, embedded.Redis, embedded.Registry}, Log: zerolog.Nop()})
	if err != nil {
		return err
	}
	feed, err := kgo.NewClient(kgo.SeedBrokers(services.Brokers...))
	if err != nil {
		return err
	}
	admin := kadm.NewClient(feed)
	_, _ = admin.CreateTopic(ctx, 1, 1, nil, txnInput) // there from an earlier life
	_, _ = admin.CreateTopic(ctx, txnPartitions, 1, nil, txnOutput)
	session, err := kgo.NewGroupTransactSession(kgo.SeedBrokers(services.Brokers...), kgo.TransactionalID("txn"), kgo.ConsumerGroup(txnGroup),
		kgo.ConsumeTopics(txnInput), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		return err
	}
	for {
		if err := feed.ProduceSync(ctx, &kgo.Record{Topic: txnInput, Value: []byte("x")}).FirstErr(); err != nil {
			return err
		}
		fetches := session.PollRecords(ctx, 1)
		if fetches.Empty() {
			continue
		}
		n := fetches.Records()[0].Offset
		if err := session.Begin(); err != nil {
			return err
		}
		for p := range int32(txnPartitions) {
			session.Produce(ctx, &kgo.Record{Topic: txnOutput, Partition: p, Value: []byte(strconv.FormatInt(n, 10))}, nil)
		}
		noted := kgo.PreTxnCommitFnContext(ctx, func(r *kmsg.TxnOffsetCommitRequest) error {
			r.Topics[0].Partitions[0].Metadata = kmsg.StringPtr("note " + strconv.FormatInt(n, 10))
			return nil
		})
		if ok, err := session.End(noted, kgo.TryCommit); err != nil || !ok {
			continue
		}
		fmt.Println("committed", n)
	}
}

// Without the journal, kfake tears the transaction that a kill interrupts, hides later ones of the same producer, or
// forgets where it took the group.
func TestTransactionsAreWholeAfterKills(t *testing.T) {
	dir := t.TempDir()
	acknowledged := int64(-1)
	for life := range 12 {
		child := exec.Command(os.Args[0])
		child.Env = append(os.Environ(), envTransactions+"="+dir)
		child.Stderr = os.Stderr
		out, err := child.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		commits := 0
		for lines := bufio.NewScanner(out); lines.Scan(); {
			number, ok := strings.CutPrefix(lines.Text(), "committed ")
			if !ok {
				continue
			}
			if acknowledged, err = strconv.ParseInt(number, 10, 64); err != nil {
				t.Fatal(err)
			}
			if commits++; commits == 5+life {
				// At another moment of a transaction in each life.
				time.AfterFunc(time.Duration(life)*700*time.Microsecond, func() { _ = child.Process.Kill() })
			}
		}
		_ = child.Wait() // killed
		if commits == 0 {
			t.Fatalf("life %d committed nothing", life)
		}
	}
	services := start(t, embedded.Options{Dir: dir, Without: []string{embedded.ClickHouse, embedded.Redis, embedded.Registry}})
	cl, err := kgo.NewClient(kgo.SeedBrokers(services.Brokers...), kgo.ConsumeTopics(txnOutput), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords())
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	ends, err := kadm.NewClient(cl).ListEndOffsets(ctx, txnOutput)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[int64]map[int32]int{}
	for left := txnPartitions; left > 0; {
		fetches := cl.PollFetches(ctx)
		if ctx.Err() != nil {
			t.Fatal("the log cannot be read to its end: a transaction is still open")
		}
		fetches.EachRecord(func(r *kgo.Record) {
			if end, _ := ends.Lookup(txnOutput, r.Partition); r.Offset+1 == end.Offset {
				left--
			}
			if r.Attrs.IsControl() {
				return
			}
			n, err := strconv.ParseInt(string(r.Value), 10, 64)
			if err != nil {
				t.Errorf("a record says %q", r.Value)
			}
			if seen[n] == nil {
				seen[n] = map[int32]int{}
			}
			seen[n][r.Partition]++
		})
	}
	last := int64(-1)
	for n, parts := range seen {
		last = max(last, n)
		for p := range int32(txnPartitions) {
			if parts[p] != 1 {
				t.Errorf("transaction %d has %d records in partition %d, want one in each", n, parts[p], p)
			}
		}
	}
	for n := range acknowledged + 1 {
		if seen[n] == nil {
			t.Errorf("transaction %d was acknowledged and is gone", n)
		}
	}
	offsets, err := kadm.NewClient(cl).FetchOffsets(ctx, txnGroup)
	if err != nil {
		t.Fatal(err)
	}
	o, _ := offsets.Lookup(txnInput, 0)
	if want := "note " + strconv.FormatInt(last, 10); o.At != last+1 || o.Metadata != want {
		t.Errorf("the group stands at %d with %q, want %d with %q: where the last committed transaction took it", o.At, o.Metadata, last+1, want)
	}
}
