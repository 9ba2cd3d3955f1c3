package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"runtime/pprof"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"github.com/tillstream/tillstream/pipeline/kafka"
	"github.com/tillstream/tillstream/pipeline/load"
	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/schemas/codec"
	"github.com/tillstream/tillstream/sinks"
)

// spent is what a program tells of its round.
type spent struct {
	Rows    int64   `json:"rows"`
	Seconds float64 `json:"seconds"` // from the first record decoded to the last row acknowledged
	HeapMB  float64 `json:"heap_mb"` // that Go has from the system
	GC      uint32  `json:"gc"`
}

// watch tells when work began and ended.
type watch struct {
	begin sync.Once
	from  time.Time
	rows  atomic.Int64
	want  int64
	done  chan struct{}
}

func newWatch(o options) *watch { return &watch{want: int64(o.rows), done: make(chan struct{})} }

func (w *watch) began() { w.begin.Do(func() { w.from = time.Now() }) }

func (w *watch) acknowledged(rows int) {
	if w.rows.Add(int64(rows)) == w.want {
		close(w.done)
	}
}

func (w *watch) tell() error {
	var m runtime.MemStats
	s := spent{Rows: w.rows.Load(), Seconds: time.Since(w.from).Seconds()}
	runtime.ReadMemStats(&m)
	s.HeapMB, s.GC = float64(m.Sys)/(1<<20), m.NumGC
	return json.NewEncoder(os.Stdout).Encode(s)
}

// timed tells the watch of decoding.
type timed struct {
	*codec.Codec
	watch *watch
}

func (t timed) Decode(b []byte) (schemas.Record, error) {
	t.watch.began()
	return t.Codec.Decode(b)
}

// counted tells the watch of rows that are stored.
type counted struct {
	sinks.RowWriter
	watch *watch
}

func (c counted) Insert(ctx context.Context, r sinks.Range, rows []sinks.Row) error {
	err := c.RowWriter.Insert(ctx, r, rows)
	if err == nil {
		c.watch.acknowledged(len(rows))
	}
	return err
}

// ours is the product's loader as the product runs it.
func ours(ctx context.Context, o options) error {
	store, err := openStore(ctx, o.clickhouse, o.database)
	if err != nil {
		return err
	}
	defer store.Close()
	c := codec.NewLocal()
	w := newWatch(o)
	l, err := load.New(load.Options{
		Kafka: kafka.Options{Brokers: []string{o.kafka}}, Codec: timed{c, w}, Writer: counted{store, w}, Topics: []string{o.topic}, Group: o.group,
		FlushRows: o.flushRows, SessionTimeout: sessionShort, Log: zerolog.New(os.Stderr).Level(zerolog.WarnLevel).With().Timestamp().Logger(),
		DeadLetters: func(_ context.Context, d schemas.DeadLetter) error {
			return fmt.Errorf("a row was refused: %s", d.Reason)
		},
	})
	if err != nil {
		return err
	}
	if o.cpuProfile != "" {
		f, err := os.Create(o.cpuProfile)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- l.Run(ctx) }()
	if o.forever {
		return <-ended
	}
	select {
	case <-w.done:
	case err := <-ended:
		return fmt.Errorf("the loader ended early: %w", err)
	}
	if err := w.tell(); err != nil {
		return err
	}
	stop()
	return <-ended
}
