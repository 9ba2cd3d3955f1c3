package embedded_test

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tillstream/tillstream/embedded"
)

// A kill may come after a batch was written and before its entry in the index was. What its transaction did not commit is
// not seen then either, and neither is what later transactions abort.
func TestABatchWithoutItsIndexEntryIsNotCommitted(t *testing.T) {
	const topic = "cut"
	without := []string{embedded.ClickHouse, embedded.Redis, embedded.Registry}
	// life begins one transaction with each value and commits it where that ends in "!", and returns what a kill leaves.
	life := func(dir string, values ...string) (killed string) {
		services, err := embedded.Start(t.Context(), embedded.Options{Dir: dir, Without: without, Log: zerolog.Nop()})
		if err != nil {
			t.Fatal(err)
		}
		defer services.Close()
		cl, err := kgo.NewClient(kgo.SeedBrokers(services.Brokers...), kgo.TransactionalID("cut"), kgo.DefaultProduceTopic(topic))
		if err != nil {
			t.Fatal(err)
		}
		defer cl.Close()
		_, _ = kadm.NewClient(cl).CreateTopic(t.Context(), 1, 1, nil, topic) // there from an earlier life
		for _, v := range values {
			if err := cl.BeginTransaction(); err != nil {
				t.Fatal(err)
			}
			if err := cl.ProduceSync(t.Context(), &kgo.Record{Value: []byte(v)}).FirstErr(); err != nil {
				t.Fatal(err)
			}
			if strings.HasSuffix(v, "!") {
				if err := cl.EndTransaction(t.Context(), kgo.TryCommit); err != nil {
					t.Fatal(err)
				}
			}
		}
		killed = t.TempDir()
		if err := os.CopyFS(killed, os.DirFS(dir)); err != nil {
			t.Fatal(err)
		}
		return killed
	}
	committed := func(dir string) (values []string) {
		services := start(t, embedded.Options{Dir: dir, Without: without})
		cl, err := kgo.NewClient(kgo.SeedBrokers(services.Brokers...), kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
			kgo.FetchIsolationLevel(kgo.ReadCommitted()))
		if err != nil {
			t.Fatal(err)
		}
		defer cl.Close()
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		for len(values) == 0 || !strings.HasPrefix(values[len(values)-1], "last") {
			fetches := cl.PollFetches(ctx)
			if err := fetches.Err(); err != nil {
				t.Fatal(err)
			}
			fetches.EachRecord(func(r *kgo.Record) { values = append(values, string(r.Value)) })
		}
		return values
	}

	first := life(t.TempDir(), "kept!", "never committed")
	cutIndex(t, first, topic)
	second := life(first, "next!", "never committed either")
	third := life(second, "last!")
	if got, want := committed(third), []string{"kept!", "next!", "last!"}; !slices.Equal(got, want) {
		t.Errorf("committed are %q, want %q", got, want)
	}
}

// cutIndex takes the last entry of the index of the topic's partition that has any.
func cutIndex(t *testing.T, dir, topic string) {
	t.Helper()
	cut := 0
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(path) != ".idx" || !strings.Contains(path, topic) {
			return err
		}
		info, err := d.Info()
		if err != nil || info.Size() == 0 {
			return err
		}
		cut++
		return os.Truncate(path, info.Size()-15)
	})
	if err != nil || cut != 1 {
		t.Fatalf("cut %d indexes, %v", cut, err)
	}
}
