package clickhouse_test

import (
	"context"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/tillstream/tillstream/schemas"
)

func TestPrepareTwiceChangesNothing(t *testing.T) {
	database := newDatabase()
	store := openStore(t, database)
	for range 2 {
		if err := store.Prepare(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	conn := client(t, database)
	files, err := os.ReadDir("migrations")
	if err != nil {
		t.Fatal(err)
	}
	if got := count(t, conn, "SELECT count() FROM schema_migrations"); got != uint64(len(files)) {
		t.Errorf("got %d applied migrations, want %d", got, len(files))
	}
	if got := count(t, conn, "SELECT count() FROM system.tables WHERE database = currentDatabase() AND engine = 'ReplacingMergeTree' AND comment = ''"); got != 0 {
		t.Errorf("%d tables have no comment", got)
	}
	if got := count(t, conn, "SELECT count() FROM system.columns WHERE database = currentDatabase() AND comment = '' AND table NOT LIKE 'v\\_%' AND NOT startsWith(table, 'masked_')"); got != 0 {
		t.Errorf("%d columns have no comment", got)
	}
}

// Two new processes start while an old one writes.
func TestPrepareInSeveralProcessesAtOnce(t *testing.T) {
	database := newDatabase()
	first := openStore(t, database)
	if err := first.Prepare(context.Background()); err != nil {
		t.Fatal(err)
	}
	conn := client(t, database)
	exec(t, conn, "TRUNCATE TABLE schema_migrations") // all migrations are to run again, beside each other
	var wg sync.WaitGroup
	errs := make([]error, 3)
	for i := range errs {
		store := openStore(t, database)
		wg.Go(func() { errs[i] = store.Prepare(context.Background()) })
	}
	for offset := int64(0); offset < 20; offset++ {
		rows := rowsOf(offset, anEvent("E"))
		insert(t, first, rangeOf(schemas.TopicPayPalEvents, rows), rows)
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			t.Error(err)
		}
	}
	if got := count(t, conn, "SELECT count() FROM events"); got != 20 {
		t.Errorf("got %d rows written during the migrations, want 20", got)
	}
}

func TestPrepareFindsWhatBreaksExactlyOnce(t *testing.T) {
	for _, c := range []struct{ name, change, want string }{
		{"window shrunk", "ALTER TABLE events MODIFY SETTING non_replicated_deduplication_window = 10", "ALTER TABLE events MODIFY SETTING non_replicated_deduplication_window = 10000"},
		{"table dropped", "DROP TABLE commands", "table commands is missing"},
		{"edited migration", "ALTER TABLE schema_migrations UPDATE checksum = 'x' WHERE version = 1 SETTINGS mutations_sync = 1", "two builds disagree"},
		{"other engine", "CREATE OR REPLACE TABLE deliveries (x Int64) ENGINE = Memory", "engine Memory"},
		{"key not unique", "CREATE OR REPLACE TABLE commands (x Int64) ENGINE = ReplacingMergeTree ORDER BY x SETTINGS non_replicated_deduplication_window = 10000", "not unique per record"},
	} {
		t.Run(c.name, func(t *testing.T) {
			store, conn := prepared(t)
			exec(t, conn, c.change)
			err := store.Prepare(context.Background())
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want it to say %q", err, c.want)
			}
		})
	}
}

func TestANewerDatabaseIsAccepted(t *testing.T) {
	store, conn := prepared(t)
	exec(t, conn, "INSERT INTO schema_migrations VALUES (9000, '9000_later.sql', 'x', now64(3))")
	exec(t, conn, "ALTER TABLE events ADD COLUMN later String DEFAULT 'new'")
	if err := store.Prepare(context.Background()); err != nil {
		t.Fatal(err)
	}
	rows := rowsOf(0, anEvent("E"))
	insert(t, store, rangeOf(schemas.TopicPayPalEvents, rows), rows)
	if got := count(t, conn, "SELECT count() FROM events WHERE later = 'new'"); got != 1 {
		t.Errorf("an older program wrote %d rows into the newer table, want 1", got)
	}
}
