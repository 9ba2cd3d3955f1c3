package clickhouse_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/sinks/clickhouse"
)

// searchable generates events of a year inside ClickHouse: two stores, 100,000 customers with names, four events to an order.
func searchable(t testing.TB, conn driver.Conn, events int) {
	t.Helper()
	const sql = `INSERT INTO events (environment, connection, root_id, event_id, kind, provider, entity_id, event_type, provider_status, status, provider_time, received_at, origin,
			amount, currency, contact_key, payer_email, payer_full_name, payer_given_name, payer_surname, custom_id, invoice_id, body, _topic, _topic_id, _partition, _offset, _at)
		WITH intDiv(number, 4) AS root, number % 4 AS step, upper(substring(lower(hex(cityHash64(root))), 1, 16)) AS id, cityHash64(root, 'who') % 100000 AS who,
			['Ann', 'Bob', 'Carla', 'Dieter', 'Élodie', 'Francesca', 'Giuseppe'][1 + who % 7] AS given, concat('Family', toString(who)) AS surname,
			toDateTime64('2025-04-01 00:00:00', 3, 'UTC') + toIntervalMillisecond(intDiv(number * 31000000000, {events})) AS moment
		SELECT 'live', ['shop', 'mall'][1 + root % 2], id, concat('WH-', toString(sipHash64(number)), '-', toString(number)), if(number % 20000 = 3, 'DISPUTE', 'PAYMENT'), 'paypal', concat(id, '-', toString(step)),
			concat('TYPE.', toString(step)), 'COMPLETED', if(number % 20000 = 3, 'DISPUTED', 'PAID'), moment, moment, 'WEBHOOK', toDecimal128(10 + root % 90, 9), ['EUR', 'USD'][1 + root % 2],
			concat('live/', lower(given), '.', toString(who), '@example.com'), concat(lower(given), '.', toString(who), '@example.com'), concat(given, ' ', surname), given, surname,
			concat('cart-', toString(root)), concat('INV-', toString(2000000 + root)), repeat('{"a":1}', 20), 'paypal.events', 'x', root % 8, number, moment
		FROM numbers({from}, {count})`
	part := min(events, 250_000)
	for from := 0; from < events; from += part {
		exec(t, conn, strings.NewReplacer("{from}", fmt.Sprint(from), "{count}", fmt.Sprint(part), "{events}", fmt.Sprint(events)).Replace(sql))
	}
}

// BenchmarkSearch tells how long a page of each kind of search takes.
//
//	TILLSTREAM_BENCH_EVENTS=5000000 go test -run '^$' -bench Search -benchtime 5x ./sinks/clickhouse
func BenchmarkSearch(b *testing.B) {
	database := newDatabase()
	store := openStoreAt(b, database, time.Now) // a search for a part of a text ends by the clock
	if err := store.Prepare(context.Background()); err != nil {
		b.Fatal(err)
	}
	conn := client(b, database)
	searchable(b, conn, benchEvents)
	rows := func(f clickhouse.EventFilter) []clickhouse.EventRow {
		page, err := store.SearchEvents(context.Background(), f)
		if err != nil {
			b.Fatal(err)
		}
		return page.Rows
	}
	old := rows(clickhouse.EventFilter{Until: time.Date(2025, 6, 1, 0, 0, 0, 0, time.UTC)})[0]
	middle, err := store.SearchEvents(context.Background(), clickhouse.EventFilter{Until: time.Date(2025, 9, 1, 0, 0, 0, 0, time.UTC)})
	if err != nil {
		b.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		filter clickhouse.EventFilter
		least  int
	}{
		{"newest", clickhouse.EventFilter{}, 50},
		{"page in the middle", clickhouse.EventFilter{After: middle.Next}, 50},
		{"store and status", clickhouse.EventFilter{Store: "shop", Status: schemas.StatusPaid, Environment: schemas.Live}, 50},
		{"rare kind", clickhouse.EventFilter{Kind: schemas.KindDispute}, 50},
		{"none of it", clickhouse.EventFilter{Status: schemas.StatusVoided}, 0},
		{"event id", clickhouse.EventFilter{Text: old.EventID}, 1},
		{"order", clickhouse.EventFilter{Order: old.RootID}, 4},
		{"address", clickhouse.EventFilter{Contact: strings.TrimPrefix(old.ContactKey, "live/")}, 1},
		{"text that many have", clickhouse.EventFilter{Text: "giuseppe"}, 50},
		{"text that one has", clickhouse.EventFilter{Text: "INV-2000042"}, 4},
		{"text that none has", clickhouse.EventFilter{Text: "nowhere to be found"}, 0},
	} {
		b.Run(c.name, func(b *testing.B) {
			for b.Loop() {
				if n := len(rows(c.filter)); n < c.least {
					b.Fatalf("%d rows, want %d", n, c.least)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Milliseconds())/float64(b.N), "ms/page")
			b.ReportMetric(0, "ns/op")
		})
	}
}
