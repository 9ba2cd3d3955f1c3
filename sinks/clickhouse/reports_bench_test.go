package clickhouse_test

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/tillstream/tillstream/sinks/clickhouse"
)

// benchEvents is the size of the history of BenchmarkReports: a year of two stores, four events to a root, a fifth of the
// roots subscriptions with failing payments, 100,000 customers, one command and two tries to each second event.
// TILLSTREAM_BENCH_EVENTS changes it, in whole millions.
var benchEvents = cmp.Or(millions(), 1) * 1_000_000

func millions() int {
	n, _ := strconv.Atoi(os.Getenv("TILLSTREAM_BENCH_EVENTS")) // nonsense counts as not said
	return n / 1_000_000
}

// manyEvents generates the history inside ClickHouse.
func manyEvents(b *testing.B, conn driver.Conn) {
	b.Helper()
	const common = `WITH intDiv(number, 4) AS root, number % 4 AS step, root % 5 = 0 AS sub,
		['shop', 'mall'][1 + root % 2] AS store, concat(if(sub, 'S', 'O'), toString(cityHash64(root))) AS id,
		toDateTime64('2025-04-01 00:00:00', 3, 'UTC') + toIntervalSecond(cityHash64(root, 'at') % 31000000 + step * if(sub, 1000000, 600)) AS moment,
		concat('live/buyer', toString(cityHash64(root, 'who') % 100000), '@example.com') AS contact,
		['EUR', 'USD'][1 + root % 2] AS money, toDecimal128(10 + root % 90, 9) AS price, root % 10 = 1 AS back `
	for _, sql := range []string{
		`INSERT INTO transitions (root_key, number, root_kind, environment, connection, root_id, disposition, to_status, legal, event_id, event_kind, event_type, event_status,
			provider_time, received_at, origin, amount, amount_currency, paid, refunded, currency, contact_key, at, _topic, _topic_id, _partition, _offset, _at) ` + common + `
			SELECT concat('live/', store, '/', id), step + 1, if(sub, 'SUBSCRIPTION', 'ORDER'), 'live', store, id, if(sub AND step IN (1, 2) OR NOT sub AND step = 3 AND NOT back, 'RECORDED', 'CHANGED'),
				if(sub, if(step = 3 AND root % 3 = 0, 'CANCELLED', 'ACTIVE'), ['PENDING', 'APPROVED', 'PAID', if(back, 'REFUNDED', 'PAID')][step + 1]), true, concat('E', toString(number)),
				if(sub AND step IN (1, 3) OR NOT sub AND step > 1, 'PAYMENT', 'ORDER'), if(sub AND step = 2, 'BILLING.SUBSCRIPTION.PAYMENT.FAILED', concat('TYPE.', toString(step))),
				if(sub, ['ACTIVE', 'PAID', 'ACTIVE', 'PAID'][step + 1], ['PENDING', 'APPROVED', 'PAID', 'REFUNDED'][step + 1]), moment, moment + toIntervalSecond(2), 'WEBHOOK', price, money,
				if(sub, price * intDiv(step + 1, 2), if(step > 1, price, 0)), if(back AND NOT sub AND step = 3, price, 0), money, contact, moment, 'order.transitions', 'x', root % 8, number, moment
			FROM numbers({from}, {count})`,
		`INSERT INTO events (environment, connection, root_id, event_id, kind, provider, entity_id, event_type, status, provider_time, received_at, origin, amount, currency, contact_key, fields, body,
			_topic, _topic_id, _partition, _offset, _at) ` + common + `
			SELECT 'live', store, id, concat('E', toString(number)), if(number % 200 = 3, 'DISPUTE', 'PAYMENT'), 'paypal', id, if(sub AND step = 2, 'BILLING.SUBSCRIPTION.PAYMENT.FAILED', concat('TYPE.', toString(step))),
				if(number % 200 = 3, 'DISPUTED', 'PAID'), moment, moment + toIntervalSecond(2), 'WEBHOOK', price, money, contact, map('payment.reason', toString(root % 7)), repeat('{"a":1}', 100),
				'paypal.events', 'x', root % 8, number, moment FROM numbers({from}, {count})`,
		`INSERT INTO commands (destination, contact_key, command_id, kind, version, contact_tags, trigger, root_key, event_id, at, _topic, _topic_id, _partition, _offset, _at) ` + common + `
			SELECT 'crm', contact, concat('C', toString(number)), if(step = 2, 'CONTACT', 'EFFECT'), number, ['buyer', concat('tag', toString(root % 20))], concat('trigger', toString(root % 9)), concat('live/', store, '/', id),
				concat('E', toString(number)), moment, 'crm.commands', 'x', 0, number, moment FROM numbers({from}, {count}) WHERE step % 2 = 0`,
		`INSERT INTO deliveries (destination, command_id, attempt, kind, outcome, response_status, request_millis, root_key, event_id, at, _topic, _topic_id, _partition, _offset, _at) ` + common + `, arrayJoin([1, 2]) AS try
			SELECT 'crm', concat('C', toString(number)), try, 'CONTACT', if(try = 1, 'RETRYABLE', 'DELIVERED'), [if(try = 1, 429, 200)], [20 + number % 100], concat('live/', store, '/', id),
				concat('E', toString(number)), moment + toIntervalSecond(5 * try), 'crm.deliveries', 'x', 0, number * 2 + try, moment FROM numbers({from}, {count}) WHERE step % 2 = 0`,
		`INSERT INTO run_steps (workflow, contact_key, run_id, number, workflow_version, config_version, root_key, event_id, step, kind, detail, wait_id, deadline, origin, at,
			_topic, _topic_id, _partition, _offset, _at) ` + common + `
			SELECT concat('workflow', toString(root % 20)), contact, concat('R', toString(root)), step + 1, 'v1', 'cfg1', concat('live/', store, '/', id), concat('E', toString(number)),
				['', 'pay', 'pay', ''][step + 1], ['STARTED', 'WAIT_OPENED', ['WAIT_MET', 'WAIT_NOT_MET'][1 + root % 2], 'ENDED'][step + 1], 'a sentence for a person',
				if(step IN (1, 2), concat('R', toString(root), '.1'), ''), if(step = 1, moment + toIntervalDay(1), fromUnixTimestamp64Milli(0, 'UTC')), 'WEBHOOK', moment,
				'automation.runs', 'x', root % 8, number, moment FROM numbers({from}, {count}) WHERE step < 2 OR root % 10 != 0`,
	} {
		part := min(benchEvents, 250_000)
		for from := 0; from < benchEvents; from += part {
			exec(b, conn, strings.NewReplacer("{from}", fmt.Sprint(from), "{count}", fmt.Sprint(part)).Replace(sql))
		}
	}
}

// BenchmarkReports tells how long each report takes over the whole history, rows in the order in which they came.
//
//	go test -run '^$' -bench Reports -benchtime 3x ./sinks/clickhouse
func BenchmarkReports(b *testing.B) {
	store, conn := prepared(b)
	manyEvents(b, conn)
	list, err := clickhouse.Reports()
	if err != nil {
		b.Fatal(err)
	}
	for _, r := range list {
		b.Run(r.Name, func(b *testing.B) {
			rows := 0
			for b.Loop() {
				res, err := store.Report(context.Background(), r, clickhouse.ReportFilter{Rows: 100_000})
				if err != nil {
					b.Fatal(err)
				}
				rows = len(res.Rows)
			}
			b.ReportMetric(float64(b.Elapsed().Milliseconds())/float64(b.N), "ms/report")
			b.ReportMetric(float64(rows), "rows")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// BenchmarkWaits tells how long it takes to find waits among those of the whole history, of which a tenth are open.
//
//	go test -run '^$' -bench Waits -benchtime 3x ./sinks/clickhouse
func BenchmarkWaits(b *testing.B) {
	store, conn := prepared(b)
	manyEvents(b, conn)
	for _, c := range []struct {
		name   string
		filter clickhouse.WaitFilter
		want   int
	}{
		{"one", clickhouse.WaitFilter{ID: "R10.1"}, 1},
		{"contact", clickhouse.WaitFilter{Contact: "live/buyer1@example.com"}, -1},
		{"workflow", clickhouse.WaitFilter{Workflow: "workflow0", State: clickhouse.WaitOpen}, clickhouse.WaitsPageDefault},
		{"open", clickhouse.WaitFilter{State: clickhouse.WaitOpen}, clickhouse.WaitsPageDefault},
	} {
		b.Run(c.name, func(b *testing.B) {
			for b.Loop() {
				page, err := store.Waits(context.Background(), c.filter)
				if err != nil || c.want >= 0 && len(page.Waits) != c.want {
					b.Fatalf("%d waits, %v", len(page.Waits), err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Milliseconds())/float64(b.N), "ms/page")
			b.ReportMetric(0, "ns/op")
		})
	}
}
