package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	clickhouse "github.com/ClickHouse/clickhouse-go/v2"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tillstream/tillstream/internal/e2e/parts"
	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/schemas/codec"
)

// roundLimit bounds one round of one program.
const roundLimit = 20 * time.Minute

// figure is one line of the result.
type figure struct {
	Bench  string  `json:"bench"`
	Figure string  `json:"figure"`
	Value  float64 `json:"value"`
	Unit   string  `json:"unit"`
}

type figures []figure

func (f *figures) add(name string, value float64, unit string) {
	*f = append(*f, figure{"load", name, value, unit})
}

func (f figures) print(w io.Writer) error {
	enc := json.NewEncoder(w)
	for _, one := range f {
		if err := enc.Encode(one); err != nil {
			return err
		}
	}
	return nil
}

// self is this program.
func self() (parts.Command, error) {
	path, err := os.Executable()
	return parts.Command{Path: path}, err
}

// measure runs both programs in turns over one topic.
func measure(ctx context.Context, o options) error {
	program, err := self()
	if err != nil {
		return err
	}
	services, at, err := startServices(ctx, o, program)
	if err != nil {
		return err
	}
	defer services.Kill()
	cl, err := kgo.NewClient(kgo.SeedBrokers(at.Kafka), kgo.ProducerBatchCompression(kgo.Lz4Compression()), kgo.MaxBufferedRecords(50_000))
	if err != nil {
		return err
	}
	defer cl.Close()
	c := codec.NewLocal()
	started := time.Now()
	if err := produce(ctx, cl, c, o, 0, o.rows); err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "%d records on %s after %s\n", o.rows, o.topic, time.Since(started).Round(time.Second))
	rates, memory := map[string][]float64{}, map[string]float64{}
	for round := range o.rounds {
		order := []string{roleOurs, roleBare}
		if round%2 == 1 {
			slices.Reverse(order)
		}
		for _, role := range order {
			rate, mb, err := oneRound(ctx, o, program, at, role, round)
			if err != nil {
				return fmt.Errorf("%s, round %d: %w", role, round+1, err)
			}
			fmt.Fprintf(os.Stderr, "%s, round %d: %.0f rows/s, %.0f MB, load %s\n", role, round+1, rate, mb, loadAverage())
			rates[role], memory[role] = append(rates[role], rate), max(memory[role], mb)
		}
	}
	var f figures
	for _, role := range []string{roleOurs, roleBare} {
		f.add(role+"_rows_per_second", slices.Max(rates[role]), "rows/s")
		f.add(role+"_memory", memory[role], "MB")
	}
	var ratios []float64
	for i := range rates[roleOurs] {
		ratios = append(ratios, rates[roleOurs][i]/rates[roleBare][i])
	}
	slices.Sort(ratios)
	f.add("ratio_of_best", slices.Max(rates[roleOurs])/slices.Max(rates[roleBare]), "")
	f.add("ratio_median", ratios[len(ratios)/2], "")
	return f.print(os.Stdout)
}

// oneRound loads the whole topic into tables of its own, and looks that every record is there once.
func oneRound(ctx context.Context, o options, program parts.Command, at services, role string, round int) (rate, mb float64, err error) {
	database := fmt.Sprintf("bench_%s_%d", role, round)
	store, err := openStore(ctx, at.ClickHouse, database)
	if err != nil {
		return 0, 0, err
	}
	defer store.Close()
	if err := store.Prepare(ctx); err != nil {
		return 0, 0, err
	}
	program.Name = role
	program.Args = append(slices.Clone(program.Args), "-role", role, "-topic", o.topic, "-rows", fmt.Sprint(o.rows), "-kafka", at.Kafka, "-clickhouse", at.ClickHouse,
		"-database", database, "-group", database, "-flush-rows", fmt.Sprint(o.flushRows))
	if o.gcPercent > 0 {
		program.Env = append(slices.Clone(program.Env), fmt.Sprintf("GOGC=%d", o.gcPercent))
	}
	if o.cpuProfile != "" && role == roleOurs {
		program.Args = append(program.Args, "-cpuprofile", o.cpuProfile)
	}
	p, err := parts.Launch(o.dir, program)
	if err != nil {
		return 0, 0, err
	}
	defer p.Kill()
	ctx, cancel := context.WithTimeout(ctx, roundLimit)
	defer cancel()
	select {
	case <-p.Done():
	case <-ctx.Done():
		return 0, 0, ctx.Err()
	}
	var s spent
	if err := json.Unmarshal([]byte(p.Stdout()), &s); err != nil {
		return 0, 0, fmt.Errorf("%w: %s", err, p.Tail())
	}
	if s.Rows != int64(o.rows) {
		return 0, 0, fmt.Errorf("%d rows were acknowledged, %d records are on the topic", s.Rows, o.rows)
	}
	conn, err := clickhouse.Open(clickhouseAt(at.ClickHouse, database))
	if err != nil {
		return 0, 0, err
	}
	defer conn.Close()
	var rows, distinct uint64
	if err := conn.QueryRow(ctx, "SELECT count(), uniqExact(_partition, _offset) FROM "+tableOf(o.topic)).Scan(&rows, &distinct); err != nil {
		return 0, 0, err
	}
	if rows != uint64(o.rows) || distinct != rows {
		return 0, 0, fmt.Errorf("%d rows, %d distinct, want %d", rows, distinct, o.rows)
	}
	if err := conn.Exec(ctx, "DROP DATABASE "+database+" SYNC"); err != nil {
		return 0, 0, err
	}
	return float64(s.Rows) / s.Seconds, float64(p.PeakMemory()) / (1 << 20), nil
}

func tableOf(topic string) string {
	if topic == schemas.TopicTransitions {
		return "transitions"
	}
	return "events"
}

// loadAverage is the machine's, where it says.
func loadAverage() string {
	b, err := os.ReadFile("/proc/loadavg")
	if errors.Is(err, os.ErrNotExist) {
		return "unknown"
	}
	load, _, _ := strings.Cut(string(b), " ")
	return load
}
