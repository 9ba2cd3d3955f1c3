package clickhouse_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/sinks"
	"github.com/tillstream/tillstream/sinks/clickhouse"
)

// aPast is a person in every table, beside another one whose address looks alike.
func aPast(email, root, payer string) map[string][]sinks.Row {
	person := &schemas.Payer{Email: email, GivenName: "Ann", PayerID: payer, Address: schemas.Address{City: "Bonn"}}
	key := schemas.ContactKey(schemas.Live, person)
	e := anEvent("E-" + root)
	e.RootID, e.Payer, e.Body = root, person, []byte(`{"email":"`+email+`"}`)
	later := anEvent("L-" + root) // of the same order, without an address
	later.RootID, later.Payer, later.Body = root, nil, []byte(`{"shipping":"Ann"}`)
	rootKey := e.Key()
	return map[string][]sinks.Row{
		schemas.TopicPayPalEvents: rowsOf(0, e, later),
		schemas.TopicTransitions:  rowsOf(0, &schemas.Transition{RootKey: rootKey, Number: 1, Paid: "49.99", Currency: "EUR", Payer: person, ContactKey: key, Event: *e}),
		schemas.TopicRuns:         rowsOf(0, &schemas.RunStep{RunID: "R-" + root, Workflow: "w", ContactKey: key, RootKey: rootKey, Detail: "wrote to " + email, At: epoch}),
		schemas.TopicCommands: rowsOf(0, &schemas.Command{CommandID: "C-" + root, Destination: "crm", ContactKey: key, RootKey: rootKey, At: epoch, Contact: schemas.Contact{Email: email, Fields: map[string]string{"f": "Ann"}}},
			&schemas.Command{CommandID: "P-" + root, Destination: "crm", ContactKey: schemas.PayerKey(schemas.Live, payer), At: epoch}),
		schemas.TopicDeliveries: rowsOf(0, &schemas.Delivery{
			CommandID: "C-" + root, ContactKey: key, At: epoch, StartedAt: epoch,
			Requests: []schemas.Exchange{{Method: "GET", URL: "https://crm/c?email=" + strings.Replace(email, "@", "%40", 1)}, {Method: "PUT", Request: "{}"}},
		}),
		schemas.TopicDeadLetters: rowsOf(0, &schemas.DeadLetter{ID: "D-" + root, Value: []byte("\x00\x00\x0824" + email + "x"), At: epoch}),
	}
}

// everything is all that the tables hold, as text.
func everything(t *testing.T, store *clickhouse.Store) string {
	t.Helper()
	var all strings.Builder
	for _, table := range []string{"events", "transitions", "run_steps", "commands", "deliveries", "dead_letters", "undecodable", "erased_subjects", "erasures"} {
		res, err := store.Query(context.Background(), "SELECT toJSONString(tuple(*)) FROM "+table, clickhouse.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		for _, row := range res.Rows {
			fmt.Fprintln(&all, table, row[0])
		}
	}
	return all.String()
}

func TestAnErasedPersonIsGoneAndStaysGone(t *testing.T) {
	store, conn := prepared(t)
	ann, jo := aPast("Ann@Example.com", "5O1", "PAYANN"), aPast("joann@example.com", "5O2", "PAYJO")
	load := func(topic string, rows []sinks.Row, partition int32, replay int64) {
		t.Helper()
		r := rangeOf(topic, rows)
		r.Partition, r.Replay = partition, replay
		insert(t, store, r, rows)
	}
	for topic := range ann {
		load(topic, ann[topic], 1, 0)
		load(topic, jo[topic], 2, 0)
	}
	load(schemas.TopicCommands, []sinks.Row{{Offset: 9, At: epoch, Value: []byte("2ann@example.com0")}}, 1, 0)
	joBefore := count(t, conn, "SELECT sum(cityHash64(*)) FROM events WHERE _partition = 2")

	dry, err := store.Erase(context.Background(), clickhouse.Erasure{Email: "ann@example.com", DryRun: true})
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(everything(t, store), "Bonn") {
		t.Fatal("a dry run erased something")
	}
	got, err := store.Erase(context.Background(), clickhouse.Erasure{Email: " ANN@example.com", By: "dpo"})
	if err != nil {
		t.Fatal(err)
	}
	// Two dead letters: in a raw record nobody can say where an address begins, so that joann's goes with ann's.
	want := map[string]uint64{"events": 2, "transitions": 1, "run_steps": 1, "commands": 2, "deliveries": 1, "dead_letters": 2, "undecodable": 1, "config_versions": 0}
	for table, n := range want {
		if got.Tables[table] != n || dry.Tables[table] != n {
			t.Errorf("%s: erased %d rows, the dry run counted %d, want %d", table, got.Tables[table], dry.Tables[table], n)
		}
	}
	if got.Orders != 1 || got.By != "dpo" || len(got.Subject) != 64 || len(got.Remaining) < 4 || !strings.Contains(strings.Join(got.Remaining, "\n"), "destination crm") {
		t.Errorf("receipt: %+v", got)
	}
	receipt, err := json.Marshal(got)
	if err != nil {
		t.Fatal(err)
	}
	gone := func(when string) {
		t.Helper()
		for line := range strings.Lines(everything(t, store) + string(receipt)) {
			for _, name := range []string{"ann@example.com", "ann%40example.com", "PAYANN"} {
				if at := strings.Index(strings.ToLower(line), strings.ToLower(name)); at >= 0 && !strings.Contains(line, "joann") {
					t.Errorf("%s: %s is in %s", when, name, line)
				}
			}
		}
		if n := count(t, conn, "SELECT count() FROM events WHERE _partition = 1 AND (body != '' OR payer_city != '' OR contact_key NOT IN ('', 'live/"+got.Pseudonym+"'))"); n != 0 {
			t.Errorf("%s: %d events still tell of the person", when, n)
		}
	}
	gone("after the erasure")
	if n := count(t, conn, "SELECT sum(cityHash64(*)) FROM events WHERE _partition = 2"); n != joBefore {
		t.Error("another person's events were changed")
	}
	// The log is stored again: under the tokens of before, under a new replay generation, and by another process.
	var database string
	if err := conn.QueryRow(context.Background(), "SELECT currentDatabase()").Scan(&database); err != nil {
		t.Fatal(err)
	}
	store = openStore(t, database)
	for topic := range ann {
		load(topic, ann[topic], 1, 0)
		load(topic, ann[topic], 1, 7)
	}
	load(schemas.TopicCommands, []sinks.Row{{Offset: 9, At: epoch, Value: []byte("2ann@example.com0")}}, 1, 7)
	gone("after a replay of the log")
	for _, table := range []string{"events", "transitions", "run_steps", "commands", "deliveries", "dead_letters"} {
		exec(t, conn, "OPTIMIZE TABLE "+table+" FINAL")
	}
	// Rows stay one per record, and money stays.
	if n := count(t, conn, "SELECT count() FROM transitions WHERE _partition = 1 AND paid = 49.99 AND payer_email = ''"); n != 1 {
		t.Errorf("%d transitions of the person after merges, want 1 with its money", n)
	}
	if n := count(t, conn, "SELECT count() FROM commands WHERE _partition = 1"); n != 2 {
		t.Errorf("%d commands of the person after merges, want 2", n)
	}
	if twice, err := store.Erase(context.Background(), clickhouse.Erasure{Email: "ann@example.com"}); err != nil || twice.Tables["events"] != 0 || twice.Pseudonym != got.Pseudonym {
		t.Errorf("erased again: %+v, %v; want nothing left to erase and the same pseudonym", twice, err)
	}
}

func TestAWriterThatRanBeforeTheErasureHearsOfIt(t *testing.T) {
	database := newDatabase()
	eraser := openStore(t, database)
	if err := eraser.Prepare(context.Background()); err != nil {
		t.Fatal(err)
	}
	now := epoch
	loader := openStoreAt(t, database, func() time.Time { return now })
	if err := loader.Prepare(context.Background()); err != nil {
		t.Fatal(err)
	}
	past := aPast("ann@example.com", "5O1", "P")[schemas.TopicPayPalEvents]
	waited := time.Duration(0)
	_, err := eraser.Erase(context.Background(), clickhouse.Erasure{Email: "ann@example.com", Settle: clickhouse.SettleDefault, Wait: func(_ context.Context, d time.Duration) error {
		// The loader goes by what it knew, and stores the person once more; then it has to ask.
		insert(t, loader, rangeOf(schemas.TopicPayPalEvents, past), past)
		now, waited = now.Add(d), d
		return nil
	}})
	if err != nil || waited != clickhouse.SettleDefault {
		t.Fatal(waited, err)
	}
	r := rangeOf(schemas.TopicPayPalEvents, past)
	r.Replay = 1
	insert(t, loader, r, past)
	if all := everything(t, eraser); strings.Contains(strings.ToLower(all), "ann@example.com") {
		t.Errorf("the person is back:\n%s", all)
	}
}

func TestAnErasureCanBeLifted(t *testing.T) {
	store, conn := prepared(t)
	if _, err := store.Lift(context.Background(), "ann@example.com", "dpo"); err == nil {
		t.Error("nobody's erasure was lifted")
	}
	if _, err := store.Erase(context.Background(), clickhouse.Erasure{Email: "ann@example.com", By: "dpo"}); err != nil {
		t.Fatal(err)
	}
	if r, err := store.Lift(context.Background(), "Ann@example.com", "dpo"); err != nil || !r.Lifted || r.Subject == "" {
		t.Fatal(r, err)
	}
	rows := aPast("ann@example.com", "5O9", "P9")[schemas.TopicPayPalEvents]
	insert(t, store, rangeOf(schemas.TopicPayPalEvents, rows), rows)
	if n := count(t, conn, "SELECT count() FROM events WHERE payer_email = 'ann@example.com'"); n != 1 {
		t.Errorf("%d events of the person who came back, want 1", n)
	}
	if n := count(t, conn, "SELECT count() FROM erasures WHERE lifted"); n != 1 {
		t.Errorf("%d receipts of the lifting, want 1", n)
	}
}

func TestOnlyAddressesAreErased(t *testing.T) {
	store, _ := prepared(t)
	for _, text := range []string{"", "ann", "@", "a b@c", "ann@", "a@b'c", "a@b/c"} {
		if _, err := store.Erase(context.Background(), clickhouse.Erasure{Email: text}); err == nil {
			t.Errorf("%q was accepted", text)
		}
	}
}

func TestMaskedViewsShowNobody(t *testing.T) {
	store, conn := prepared(t)
	for topic, rows := range aPast("ann@example.com", "5O1", "PAYANN") {
		insert(t, store, rangeOf(topic, rows), rows)
	}
	for _, grant := range clickhouse.Grants("tillstream", "viewer")[1:] {
		_, view, _ := strings.Cut(strings.Fields(grant)[3], ".")
		res, err := store.Query(context.Background(), "SELECT toJSONString(tuple(*)) FROM "+view, clickhouse.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		for _, row := range res.Rows {
			for _, name := range []string{"ann@", "Ann", "PAYANN", "Bonn"} {
				if strings.Contains(fmt.Sprint(row), name) {
					t.Errorf("%s shows %q: %v", view, name, row)
				}
			}
		}
	}
	res, err := store.Query(context.Background(), "SELECT contact_key, payer_email, payer_given_name, mapKeys(fields), fields['a'], toString(amount) FROM masked_events WHERE payer_email != ''", clickhouse.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	want := [][]any{{"live/a***@example.com", "a***@example.com", "***", []string{"a"}, "***", "49.99"}}
	if diff := cmp.Diff(want, res.Rows); diff != "" {
		t.Errorf("masked row (-want +got):\n%s", diff)
	}
	exec(t, conn, "ALTER TABLE events ADD COLUMN later String DEFAULT 'secret' COMMENT 'PII: of a newer version'")
	if err := store.Prepare(context.Background()); err != nil {
		t.Fatal(err)
	}
	if n := count(t, conn, "SELECT count() FROM masked_events WHERE later = '***'"); n != 2 {
		t.Errorf("%d rows mask the column of a newer version, want 2", n)
	}
}
