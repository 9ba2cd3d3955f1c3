package chserver_test

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/google/go-cmp/cmp"
	"github.com/shopspring/decimal"
)

// overSockets sends a client's requests through a real listener.
func overSockets(t *testing.T) func(*clickhouse.Options) {
	t.Helper()
	listener := httptest.NewServer(needServer(t).Handler())
	t.Cleanup(listener.Close)
	return func(o *clickhouse.Options) {
		o.TransportFunc = nil
		o.Addr = []string{listener.Listener.Addr().String()}
	}
}

func TestClickHouseGoEndToEnd(t *testing.T) {
	for _, way := range []struct {
		name   string
		method clickhouse.CompressionMethod
		socket bool
	}{
		{"in process", clickhouse.CompressionNone, false},
		{"in process, zstd", clickhouse.CompressionZSTD, false},
		{"socket", clickhouse.CompressionNone, true},
		{"socket, lz4", clickhouse.CompressionLZ4, true},
		{"socket, zstd", clickhouse.CompressionZSTD, true},
		{"socket, gzip", clickhouse.CompressionGZIP, true},
	} {
		t.Run(way.name, func(t *testing.T) {
			client := open(t, func(o *clickhouse.Options) {
				if way.socket {
					overSockets(t)(o)
				}
				o.Compression = &clickhouse.Compression{Method: way.method, Level: 1}
				o.Settings = clickhouse.Settings{"max_execution_time": 60}
			})
			endToEnd(t, client)
		})
	}
}

func endToEnd(t *testing.T, client driver.Conn) {
	ctx := context.Background()
	if err := client.Ping(ctx); err != nil {
		t.Fatal(err)
	}
	version, err := client.ServerVersion()
	if err != nil || version.Version.Major < 26 {
		t.Fatalf("got version %v, %v", version, err)
	}
	exec(t, client, `CREATE OR REPLACE TABLE orders (id UInt64, at DateTime64(3, 'UTC'), status LowCardinality(String), amount Decimal(18, 4),
		note Nullable(String), tags Array(String), fields Map(String, String)) ENGINE = MergeTree ORDER BY id SETTINGS non_replicated_deduplication_window = 100`)
	at := time.UnixMilli(1_700_000_000_123).UTC()
	insert := func(ctx context.Context, rows int) error {
		batch, err := client.PrepareBatch(ctx, "INSERT INTO orders (id, at, status, amount, note, tags, fields)")
		if err != nil {
			return err
		}
		for i := range rows {
			var note *string
			if i%2 == 0 {
				text := "with\nline break"
				note = &text
			}
			err := batch.Append(uint64(i), at.Add(time.Duration(i)*time.Millisecond), fmt.Sprintf("S%d", i%5), decimal.New(123456, -4), note, []string{"a\n", "b"}, map[string]string{"k": "v"})
			if err != nil {
				return err
			}
		}
		return batch.Send()
	}
	if err := insert(ctx, 10); err != nil {
		t.Fatal(err)
	}
	withToken := clickhouse.Context(ctx, clickhouse.WithSettings(clickhouse.Settings{"insert_deduplication_token": "range-1"}))
	for range 3 {
		if err := insert(withToken, 5); err != nil {
			t.Fatal(err)
		}
	}
	if got := scalar[uint64](t, client, "SELECT count() FROM orders"); got != 15 {
		t.Errorf("got %d rows, want 15: the token's second and third insert must have no effect", got)
	}
	checkRow(t, client, at)
	if got := scalar[uint64](t, client, "SELECT count() FROM orders WHERE status = ? AND id IN ?", "S2", []int{2, 7}); got != 3 {
		t.Errorf("got %d rows by positional arguments, want 3", got)
	}
	exec(t, client, "INSERT INTO orders (id, status) VALUES (?, ?)", 77, "it's")
	if got := scalar[string](t, client, "SELECT status FROM orders WHERE id = 77"); got != "it's" {
		t.Errorf("got %q", got)
	}
	exec(t, client, "ALTER TABLE orders DELETE WHERE id = 77 SETTINGS mutations_sync = 1")
	if err := client.Exec(clickhouse.Context(ctx, clickhouse.WithAsync(true)), "INSERT INTO orders (id) VALUES (78)"); err != nil {
		t.Error(err)
	}
	checkException(t, client)
}

func checkRow(t *testing.T, client driver.Conn, at time.Time) {
	t.Helper()
	type row struct {
		ID     uint64            `ch:"id"`
		At     time.Time         `ch:"at"`
		Status string            `ch:"status"`
		Amount decimal.Decimal   `ch:"amount"`
		Note   *string           `ch:"note"`
		Tags   []string          `ch:"tags"`
		Fields map[string]string `ch:"fields"`
	}
	ctx := clickhouse.Context(context.Background(), clickhouse.WithParameters(clickhouse.Parameters{"id": "7", "status": "S2"}))
	var got []row
	if err := client.Select(ctx, &got, "SELECT * FROM orders WHERE id = {id:UInt64} AND status = {status:String}"); err != nil {
		t.Fatal(err)
	}
	want := []row{{7, at.Add(7 * time.Millisecond), "S2", decimal.New(123456, -4), nil, []string{"a\n", "b"}, map[string]string{"k": "v"}}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("row differs (-want +got):\n%s", diff)
	}
}

func checkException(t *testing.T, client driver.Conn) {
	t.Helper()
	ctx := context.Background()
	var exception *clickhouse.Exception
	if err := client.Exec(ctx, "SELECT * FROM nosuchtable"); !errors.As(err, &exception) || exception.Code != 60 {
		t.Errorf("got %v, want an exception with code 60", err)
	}
	rows, err := client.Query(ctx, "SELECT throwIf(number = 3000000, 'boom'), number FROM numbers(5000000)")
	read := 0
	if err == nil {
		for rows.Next() {
			read++
		}
		err = rows.Err()
		rows.Close()
	}
	exception = nil
	if !errors.As(err, &exception) || exception.Code != 395 || read == 0 {
		t.Errorf("got %v after %d rows, want an exception with code 395 in mid-stream", err, read)
	}
}

func TestAHundredThousandRowsThereAndBack(t *testing.T) {
	client := open(t, nil)
	ctx := context.Background()
	exec(t, client, "CREATE OR REPLACE TABLE many (id UInt64, text String) ENGINE = MergeTree ORDER BY id")
	batch, err := client.PrepareBatch(ctx, "INSERT INTO many")
	if err != nil {
		t.Fatal(err)
	}
	const rows = 100_000
	for i := range rows {
		if err := batch.Append(uint64(i), fmt.Sprintf("row %d\n", i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := batch.Send(); err != nil {
		t.Fatal(err)
	}
	result, err := client.Query(ctx, "SELECT id, text FROM many ORDER BY id")
	if err != nil {
		t.Fatal(err)
	}
	defer result.Close()
	next := uint64(0)
	for result.Next() {
		var id uint64
		var text string
		if err := result.Scan(&id, &text); err != nil {
			t.Fatal(err)
		}
		if id != next || text != fmt.Sprintf("row %d\n", next) {
			t.Fatalf("row %d came back as %d %q", next, id, text)
		}
		next++
	}
	if err := result.Err(); err != nil || next != rows {
		t.Errorf("read %d rows, %v, want %d", next, err, rows)
	}
}

func TestACancelledQueryStops(t *testing.T) {
	for name, change := range map[string]func(*clickhouse.Options){"in process": nil, "socket": overSockets(t)} {
		t.Run(name, func(t *testing.T) {
			client := open(t, change)
			ctx, cancel := context.WithCancel(context.Background())
			failed := make(chan error, 1)
			const endless = "SELECT count() FROM numbers(300000000000) WHERE NOT ignore(sipHash64(number))"
			go func() {
				var n uint64
				failed <- client.QueryRow(ctx, endless).Scan(&n)
			}()
			running := func() uint64 {
				return scalar[uint64](t, client, "SELECT count() FROM system.processes WHERE query = ?", endless)
			}
			waitFor(t, "the query to run", func() bool { return running() == 1 })
			cancel()
			if err := <-failed; !errors.Is(err, context.Canceled) {
				t.Errorf("got %v", err)
			}
			waitFor(t, "the query to be killed", func() bool { return running() == 0 })
		})
	}
}

func waitFor(t *testing.T, what string, done func() bool) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for !done() {
		if time.Now().After(deadline) {
			t.Fatalf("waited too long for %s", what)
		}
		time.Sleep(20 * time.Millisecond)
	}
}
