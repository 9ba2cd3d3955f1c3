package embedded

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// spaceLimit bounds a request; what is refused is tried again by the client until then.
const spaceLimit = 2 * time.Second

// crowded starts a Kafka whose disk has as many bytes free as the test says.
func crowded(t *testing.T, dir string) (*Services, *kgo.Client, *atomic.Uint64) {
	t.Helper()
	s, err := Start(t.Context(), Options{Dir: dir, Without: []string{ClickHouse, Registry, Redis}, FreeBytesMin: 1 << 10, Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	free := &atomic.Uint64{}
	free.Store(1 << 30)
	s.space.mu.Lock()
	s.space.free = func(string) (uint64, error) { return free.Load(), nil }
	s.space.mu.Unlock()
	cl, err := kgo.NewClient(kgo.SeedBrokers(s.Brokers...), kgo.DefaultProduceTopic("t"), kgo.TransactionalID("x"), kgo.RetryTimeout(spaceLimit))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return s, cl, free
}

func within(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), spaceLimit)
	t.Cleanup(cancel)
	return ctx
}

func TestAFullDiskRefusesWhatWouldBeWritten(t *testing.T) {
	dir := t.TempDir()
	s, cl, free := crowded(t, dir)
	admin := kadm.NewClient(cl)
	if _, err := admin.CreateTopic(t.Context(), 1, 1, nil, "t"); err != nil {
		t.Fatal(err)
	}
	begin := func() {
		t.Helper()
		if err := cl.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
	}
	begin()
	if err := cl.ProduceSync(t.Context(), kgo.StringRecord("committed")).FirstErr(); err != nil {
		t.Fatal(err)
	}
	if err := cl.EndTransaction(t.Context(), kgo.TryCommit); err != nil {
		t.Fatal(err)
	}
	begin()
	if err := cl.ProduceSync(t.Context(), kgo.StringRecord("aborted")).FirstErr(); err != nil {
		t.Fatal(err)
	}

	free.Store(1<<10 - 1)
	var full *SpaceError
	if err := s.Healthy(); !errors.As(err, &full) || full.Dir != dir {
		t.Errorf("got %v, want a *SpaceError of %s", err, dir)
	}
	if err := cl.EndTransaction(within(t), kgo.TryCommit); err == nil {
		t.Error("a commit was taken")
	}
	plain, err := kgo.NewClient(kgo.SeedBrokers(s.Brokers...), kgo.DefaultProduceTopic("t"), kgo.DisableIdempotentWrite())
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	if err := plain.ProduceSync(within(t), kgo.StringRecord("refused")).FirstErr(); err == nil {
		t.Error("a record was taken")
	}
	if answer, err := admin.CreateTopic(within(t), 1, 1, nil, "u"); err == nil && answer.Err == nil {
		t.Error("a topic was made")
	}
	offsets := kadm.OffsetsFromRecords(kgo.Record{Topic: "t", Offset: 1})
	if err := admin.CommitAllOffsets(within(t), "g", offsets); err == nil {
		t.Error("offsets were taken")
	}
	decisions, err := readJournal(filepath.Join(dir, journalFile))
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range decisions {
		if d.Number > 1 {
			t.Errorf("the journal holds the commit that was refused: %+v", d)
		}
	}
	if err := cl.EndTransaction(within(t), kgo.TryAbort); err != nil {
		t.Errorf("an abort, for which there is the reserve, was refused: %v", err)
	}

	free.Store(1 << 30)
	if err := s.Healthy(); err != nil {
		t.Errorf("with space again: %v", err)
	}
	if err := plain.ProduceSync(t.Context(), kgo.StringRecord("taken")).FirstErr(); err != nil {
		t.Errorf("with space again: %v", err)
	}
}

// After a write that failed in spite of the floor only a new start knows what is on disk.
func TestAFailedWriteStopsEverything(t *testing.T) {
	s, cl, _ := crowded(t, t.TempDir())
	kafkaLog{zerolog.Nop(), s.space}.Logf(2, "persist group entry write: %v", errors.New("no space left on device"))
	var damage *DamageError
	if err := s.Healthy(); !errors.As(err, &damage) {
		t.Fatalf("got %v, want a *DamageError", err)
	}
	if answer, err := kadm.NewClient(cl).CreateTopic(within(t), 1, 1, nil, "t"); err == nil && answer.Err == nil {
		t.Error("a topic was made")
	}
}

func TestTheReserveIsGivenUpAndTakenAgain(t *testing.T) {
	s, _, free := crowded(t, t.TempDir())
	path := filepath.Join(s.space.dir, reserveFile)
	there := func() bool { _, err := os.Stat(path); return err == nil }
	if !there() {
		t.Fatal("there is no reserve")
	}
	free.Store(1<<10 - 1)
	if s.Healthy(); !there() {
		t.Error("the reserve was given up while there was room for what is begun")
	}
	free.Store(1)
	if s.Healthy(); there() {
		t.Error("the reserve was not given up")
	}
	free.Store(1 << 30)
	if s.Healthy(); !there() {
		t.Error("the reserve was not taken again")
	}
}

func TestAFullDiskIsToldAtTheStart(t *testing.T) {
	dir := t.TempDir()
	_, err := Start(t.Context(), Options{Dir: dir, Without: []string{ClickHouse}, FreeBytesMin: 1 << 60, Log: zerolog.Nop()})
	var full *SpaceError
	if !errors.As(err, &full) || full.Dir != dir {
		t.Errorf("got %v, want a *SpaceError of %s", err, dir)
	}
}
