package clickhouse_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	ch "github.com/ClickHouse/clickhouse-go/v2"
	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/sinks"
	"github.com/tillstream/tillstream/sinks/clickhouse"
)

func TestTheEngineParsesWhatAClusterGets(t *testing.T) {
	_, conn := prepared(t)
	for _, text := range clickhouse.ClusterStatements(t) {
		rows, err := conn.Query(context.Background(), "EXPLAIN AST "+text)
		if err != nil {
			t.Errorf("%.200s: %v", text, err)
			continue
		}
		for rows.Next() { // only that it ends well
		}
		if err := errors.Join(rows.Err(), rows.Close()); err != nil {
			t.Errorf("%.200s: %v", text, err)
		}
	}
}

func TestAClusterThatTheServerDoesNotKnowIsNamed(t *testing.T) {
	needEngine(t)
	options := engine.Options("")
	options.Auth.Database = newDatabase()
	// The database is there: what is asked of the cluster comes after it.
	openStore(t, options.Auth.Database)
	exec(t, client(t, "system"), "CREATE DATABASE "+options.Auth.Database)
	store, err := clickhouse.Open(context.Background(), clickhouse.Options{Client: options, Cluster: "nowhere", Log: zerolog.Nop(), Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	if err := store.Prepare(context.Background()); err == nil || !strings.Contains(err.Error(), `knows no cluster "nowhere"`) || !strings.Contains(err.Error(), "remote_servers") {
		t.Errorf("got %v, want the cluster's name and a remedy", err)
	}
}

func TestColumnsChangedByHand(t *testing.T) {
	rows := rowsOf(0, anEvent("E1"))
	r := rangeOf(schemas.TopicPayPalEvents, rows)
	t.Run("dropped under a running writer", func(t *testing.T) {
		store, conn := prepared(t)
		exec(t, conn, "ALTER TABLE events DROP COLUMN problem")
		err := store.Insert(context.Background(), r, rows)
		var refused *sinks.RowError
		if err == nil || errors.As(err, &refused) {
			t.Fatalf("got %v, want an error that is tried again", err)
		}
		insert(t, store, r, rows)
		if got := count(t, conn, "SELECT count() FROM events WHERE problem = ''"); got != 1 {
			t.Errorf("%d rows after the column was made again, want 1", got)
		}
		if got := count(t, conn, "SELECT count() FROM system.columns WHERE database = currentDatabase() AND table = 'events' AND name = 'problem' AND comment != ''"); got != 1 {
			t.Error("the column came back without its comment")
		}
	})
	t.Run("dropped before the start", func(t *testing.T) {
		store, conn := prepared(t)
		exec(t, conn, "DROP VIEW masked_events")
		exec(t, conn, "ALTER TABLE events DROP COLUMN body")
		if err := store.Prepare(context.Background()); err != nil {
			t.Fatal(err)
		}
		insert(t, store, r, rows)
		if got := count(t, conn, "SELECT count() FROM events WHERE body != ''"); got != 1 {
			t.Errorf("%d rows have a body, want 1", got)
		}
	})
	t.Run("of another type", func(t *testing.T) {
		store, conn := prepared(t)
		exec(t, conn, "ALTER TABLE events MODIFY COLUMN sequence String")
		for name, err := range map[string]error{"start": store.Prepare(context.Background()), "insert": store.Insert(context.Background(), r, rows)} {
			if err == nil || !strings.Contains(err.Error(), "ALTER TABLE events MODIFY COLUMN sequence Int64") {
				t.Errorf("%s: got %v, want the column and how to mend it", name, err)
			}
		}
	})
	t.Run("of the operator's own", func(t *testing.T) {
		store, conn := prepared(t)
		exec(t, conn, "ALTER TABLE events ADD COLUMN day Date MATERIALIZED toDate(_at)")
		if err := store.Prepare(context.Background()); err != nil {
			t.Fatal(err)
		}
		insert(t, store, r, rows)
	})
}

func TestRetentionIsKeptByTable(t *testing.T) {
	_, conn := prepared(t)
	var database string
	if err := conn.QueryRow(context.Background(), "SELECT currentDatabase()").Scan(&database); err != nil {
		t.Fatal(err)
	}
	prepare := func(kept map[string]time.Duration) *clickhouse.Store {
		t.Helper()
		options := engine.Options("")
		options.Auth.Database = database
		store, err := clickhouse.Open(context.Background(), clickhouse.Options{Client: options, Retention: kept, Log: zerolog.Nop(), Now: func() time.Time { return epoch }})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = store.Close() })
		if err := store.Prepare(context.Background()); err != nil {
			t.Fatal(err)
		}
		return store
	}
	kept := func(topic string) string {
		t.Helper()
		since, err := prepare(nil).KeptSince(context.Background(), topic)
		if err != nil {
			t.Fatal(err)
		}
		if since.IsZero() {
			return "for ever"
		}
		return epoch.Sub(since).String()
	}
	exec(t, conn, "ALTER TABLE commands MODIFY TTL toDateTime(_at) + INTERVAL 3 MONTH") // an operator's own
	store := prepare(map[string]time.Duration{"events": 400 * 24 * time.Hour, "deliveries": 30 * 24 * time.Hour})
	got := []string{kept(schemas.TopicPayPalEvents), kept(schemas.TopicDeliveries), kept(schemas.TopicTransitions)}
	if diff := cmp.Diff([]string{"9600h0m0s", "720h0m0s", "for ever"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if n := count(t, conn, "SELECT count() FROM system.tables WHERE database = currentDatabase() AND name = 'commands' AND engine_full LIKE '%toIntervalMonth(3)%'"); n != 1 {
		t.Error("a TTL that an operator set by hand is gone")
	}
	rows := rowsOf(0, anEvent("young"), anEvent("old"))
	rows[0].At, rows[1].At = time.Now(), time.Now().AddDate(-2, 0, 0)
	insert(t, store, rangeOf(schemas.TopicPayPalEvents, rows), rows)
	exec(t, conn, "OPTIMIZE TABLE events FINAL")
	if n := count(t, conn, "SELECT count() FROM events"); n != 1 {
		t.Errorf("%d rows after their time, want 1", n)
	}
	prepare(map[string]time.Duration{"events": 0, "deliveries": 60 * 24 * time.Hour})
	got = []string{kept(schemas.TopicPayPalEvents), kept(schemas.TopicDeliveries)}
	if diff := cmp.Diff([]string{"for ever", "1440h0m0s"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestTooManyPartsAsksForAPauseAndLosesNothing(t *testing.T) {
	store, conn := prepared(t)
	exec(t, conn, "SYSTEM STOP MERGES events")
	exec(t, conn, "ALTER TABLE events MODIFY SETTING parts_to_delay_insert = 2, parts_to_throw_insert = 2")
	var busy *clickhouse.BusyError
	var err error
	inserted := int64(0)
	for ; inserted < 5 && err == nil; inserted++ {
		rows := rowsOf(inserted, anEvent("E"))
		err = store.Insert(context.Background(), rangeOf(schemas.TopicPayPalEvents, rows), rows)
	}
	if !errors.As(err, &busy) || busy.RetryAfter() < time.Second {
		t.Fatalf("got %v after %d inserts, want one that asks for a pause", err, inserted)
	}
	exec(t, conn, "ALTER TABLE events RESET SETTING parts_to_delay_insert, parts_to_throw_insert")
	exec(t, conn, "SYSTEM START MERGES events")
	for offset := range inserted { // all of them again, as after a crash
		rows := rowsOf(offset, anEvent("E"))
		insert(t, store, rangeOf(schemas.TopicPayPalEvents, rows), rows)
	}
	if got := count(t, conn, "SELECT count() FROM events FINAL"); got != uint64(inserted) {
		t.Errorf("%d rows, want %d", got, inserted)
	}
}

// What the server or its user's profile has set is outranked by what an insert needs.
func TestAServerThatGathersInsertsByItself(t *testing.T) {
	_, conn := prepared(t)
	var database string
	if err := conn.QueryRow(context.Background(), "SELECT currentDatabase()").Scan(&database); err != nil {
		t.Fatal(err)
	}
	options := engine.Options("")
	options.Auth.Database = database
	options.Settings = ch.Settings{"async_insert": 1, "wait_for_async_insert": 0, "insert_deduplicate": 0, "session_timezone": "America/St_Johns"}
	store, err := clickhouse.Open(context.Background(), clickhouse.Options{Client: options, Log: zerolog.Nop(), Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	exec(t, conn, "SYSTEM STOP MERGES events")
	e := anEvent("E1")
	e.ProviderTime = epoch.In(time.FixedZone("far", 14*3600))
	rows := rowsOf(0, e)
	rows[0].At = time.Date(2026, 3, 1, 1, 30, 0, 0, time.FixedZone("far", 14*3600)) // still February in UTC
	for range 2 {
		insert(t, store, rangeOf(schemas.TopicPayPalEvents, rows), rows)
		// What an insert has acknowledged is there at once.
		if got := count(t, conn, "SELECT count() FROM events"); got != 1 {
			t.Errorf("%d rows, want 1", got)
		}
	}
	var provider, at time.Time
	var partition string
	if err := conn.QueryRow(context.Background(), "SELECT provider_time, _at, _partition_id FROM events").Scan(&provider, &at, &partition); err != nil {
		t.Fatal(err)
	}
	if !provider.Equal(epoch) || !at.Equal(rows[0].At) || partition != "202602" {
		t.Errorf("stored %s, %s in %s; want %s, %s in 202602", provider, at, partition, epoch, rows[0].At)
	}
}

// A server that answers inserts with an error of its own for a while.
func TestTroublesOfTheServer(t *testing.T) {
	needEngine(t)
	for _, c := range []struct {
		name string
		code int
		want string
		busy bool
	}{
		{"disk full", 243, "fewer inserts", true},
		{"memory", 241, "fewer inserts", true},
		{"no rights", 497, "grant", false},
		{"read only", 164, "grant", false},
		{"database dropped", 81, "may create tables", false},
		{"what nobody knows", 999, "code 999", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			database := newDatabase()
			var sick atomic.Bool
			handler := engine.Handler()
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if sick.Load() && strings.HasPrefix(r.URL.Query().Get("query"), "INSERT INTO events") {
					w.Header().Set("X-ClickHouse-Exception-Code", strconv.Itoa(c.code))
					w.WriteHeader(http.StatusInternalServerError)
					_, _ = w.Write([]byte("Code: " + strconv.Itoa(c.code) + ". DB::Exception: trouble. (NAME)"))
					return
				}
				handler.ServeHTTP(w, r)
			}))
			t.Cleanup(server.Close)
			store, err := clickhouse.Open(context.Background(), clickhouse.Options{
				Client: &ch.Options{Protocol: ch.HTTP, Addr: []string{strings.TrimPrefix(server.URL, "http://")}, Auth: ch.Auth{Database: database}}, Log: zerolog.Nop(), Now: time.Now,
			})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = store.Close() })
			if err := store.Prepare(context.Background()); err != nil {
				t.Fatal(err)
			}
			rows := rowsOf(0, anEvent("E1"))
			sick.Store(true)
			err = store.Insert(context.Background(), rangeOf(schemas.TopicPayPalEvents, rows), rows)
			var busy *clickhouse.BusyError
			var refused *sinks.RowError
			if err == nil || errors.As(err, &refused) || errors.As(err, &busy) != c.busy || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v (busy %v), want one to try again that says %q", err, errors.As(err, &busy), c.want)
			}
			sick.Store(false)
			insert(t, store, rangeOf(schemas.TopicPayPalEvents, rows), rows)
			if got := count(t, client(t, database), "SELECT count() FROM events"); got != 1 {
				t.Errorf("%d rows when the trouble was over, want 1", got)
			}
		})
	}
}

func TestRowsAreCountedOnceHoweverOftenTheyWereInserted(t *testing.T) {
	store, conn := prepared(t)
	rows := rowsOf(10, anEvent("E1"), anEvent("E2"), anEvent("E3"))
	rows = append(rows, sinks.Row{Offset: 13, At: epoch, Value: []byte("no avro")})
	r := rangeOf(schemas.TopicPayPalEvents, rows)
	for replay := range int64(3) {
		r.Replay = replay
		insert(t, store, r, rows)
	}
	counted := func(from, until int64) int64 {
		t.Helper()
		n, err := store.CountOffsets(context.Background(), r.Topic, r.TopicID, r.Partition, from, until)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	if got := counted(10, 14); got != 4 {
		t.Errorf("%d rows, want 4", got)
	}
	if got := counted(11, 13); got != 2 {
		t.Errorf("%d rows of two offsets, want 2", got)
	}
	exec(t, conn, "ALTER TABLE events DELETE WHERE _offset = 11 SETTINGS mutations_sync = 1")
	if got := counted(10, 14); got != 3 {
		t.Errorf("%d rows after one was lost, want 3", got)
	}
}
