package chserver_test

import (
	"context"
	"testing"

	"github.com/ClickHouse/clickhouse-go/v2"
)

func BenchmarkInsertOf100kRows(b *testing.B) {
	if missing != nil {
		b.Skip(missing)
	}
	client, err := clickhouse.Open(server.Options(""))
	if err != nil {
		b.Fatal(err)
	}
	defer client.Close()
	ctx := context.Background()
	if err := client.Exec(ctx, "CREATE OR REPLACE TABLE bench (id UInt64, status String) ENGINE = MergeTree ORDER BY id"); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		batch, err := client.PrepareBatch(ctx, "INSERT INTO bench")
		if err != nil {
			b.Fatal(err)
		}
		for i := range 100_000 {
			if err := batch.Append(uint64(i), "COMPLETED"); err != nil {
				b.Fatal(err)
			}
		}
		if err := batch.Send(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSmallestQuery(b *testing.B) {
	if missing != nil {
		b.Skip(missing)
	}
	client, err := clickhouse.Open(server.Options(""))
	if err != nil {
		b.Fatal(err)
	}
	defer client.Close()
	for b.Loop() {
		var one uint8
		if err := client.QueryRow(context.Background(), "SELECT 1").Scan(&one); err != nil {
			b.Fatal(err)
		}
	}
}
