package e2e

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tillstream/tillstream/internal/app"
	"github.com/tillstream/tillstream/internal/audit"
	"github.com/tillstream/tillstream/internal/e2e/parts"
	"github.com/tillstream/tillstream/pipeline/config"
	"github.com/tillstream/tillstream/pipeline/kafka"
	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/simulators/story"
)

// A webhook that somebody subscribed to everything brings events of types that the connector does not know.
func TestAnUnknownEventTypeIsKeptAndTracedWithoutEffect(t *testing.T) {
	w := newWorld(t)
	w.dev(t)
	w.awaitReady(t)
	w.subscribeToEverything(t, "paypal-eu-client")
	const id, kind = "WH-5TRANGE0000000001", "VAULT.PAYMENT-TOKEN.CREATED"
	at := time.Now().Add(-time.Hour).UTC().Truncate(time.Second)
	body := fmt.Sprintf(`{"id":%q,"event_version":"1.0","create_time":%q,"resource_type":"payment_token","event_type":%q,`+
		`"summary":"A payment token has been saved.","resource":{"id":"8kk8451t","customer":{"id":"4029352050"}}}`, id, at.Format(time.RFC3339), kind)
	if err := w.emit(t.Context(), []story.Event{{Account: "paypal-eu", ID: id, Type: kind, Body: []byte(body), Time: at}}); err != nil {
		t.Fatal(err)
	}
	w.awaitAccepted(t)
	if s, err := w.paypal(t.Context()); err != nil || s.Delivered != 1 {
		t.Fatalf("PayPal delivered %+v, %v; want the one event", s, err)
	}

	var said string
	w.await(t, "the event is traced to its end", func() error {
		out, err := exec.Command(binary, "trace", id, "--clickhouse", w.clickhouse).CombinedOutput()
		if said = string(out); err == nil && !strings.Contains(said, string(schemas.Ignored)) {
			err = fmt.Errorf("trace: %s", said)
		}
		return err
	})
	if !strings.Contains(said, kind) {
		t.Errorf("the trace does not name the type %s:\n%s", kind, said)
	}
	db := w.database(t)
	got := map[string]uint64{}
	for what, q := range map[string]string{
		"event with its bytes":  "SELECT count() FROM events FINAL WHERE event_type = '" + kind + "' AND body = '" + body + "'",
		"ignored":               "SELECT count() FROM transitions FINAL WHERE event_id = '" + id + "' AND disposition = 'IGNORED'",
		"any other disposition": "SELECT count() FROM transitions FINAL WHERE disposition != 'IGNORED'",
		"commands":              "SELECT count() FROM commands FINAL",
		"dead letters":          "SELECT count() FROM dead_letters FINAL",
	} {
		got[what] = count(t, db, q)
	}
	want := map[string]uint64{"event with its bytes": 1, "ignored": 1, "any other disposition": 0, "commands": 0, "dead letters": 0}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
	if n, err := w.contacts(t.Context()); err != nil || n != 0 {
		t.Errorf("the CRM has %d contacts, %v; want none", n, err)
	}
}

// strays are records that somebody else could put on a topic, by what is wrong with them.
var strays = map[string][]byte{
	"no Avro":           []byte("no avro at all"),
	"unknown schema id": {0, 0, 0x0f, 0x42, 0x3f, 2, 'x'},
}

// Each stray becomes one dead letter with its bytes, whoever reads the topic, and one row of the undecodable; the story
// around them is told as if they were not there.
func TestForeignRecordsOnTopicsAreDeadLettersAndHoldUpNobody(t *testing.T) {
	w := newWorld(t, habits...)
	w.dev(t)
	w.awaitReady(t)
	events := tell(19, 40)
	half := len(events) / 2
	if err := w.emit(t.Context(), events[:half]); err != nil {
		t.Fatal(err)
	}
	w.append(t, schemas.TopicPayPalEvents, strays)
	w.append(t, schemas.TopicCommands, strays)
	if err := w.emit(t.Context(), events[half:]); err != nil {
		t.Fatal(err)
	}
	w.awaitAccepted(t)

	db := w.database(t)
	want := map[string]int{}
	for _, topic := range []string{schemas.TopicPayPalEvents, schemas.TopicCommands} {
		for _, value := range strays {
			want["dead letter of "+topic+" UNDECODABLE "+base64.StdEncoding.EncodeToString(value)] = 1
			want["row of "+topic+" "+base64.StdEncoding.EncodeToString(value)] = 1
		}
	}
	parts.Eventually(t, settleLimit, "the strays are dead letters and rows", func() error {
		got, err := foreign(t.Context(), db)
		if diff := cmp.Diff(want, got); err == nil && diff != "" {
			err = fmt.Errorf("(-want +got):\n%s", diff)
		}
		return err
	})
	parts.Eventually(t, settleLimit, "the story is told whole", func() error {
		out, err := audit.ReadOutside(t.Context(), w.client, w.paypalURL, w.crmURL)
		if err != nil {
			return err
		}
		records, err := audit.Records(t.Context(), kafka.Options{Brokers: []string{w.kafka}})
		if err != nil {
			return err
		}
		in, err := audit.Read(t.Context(), db, records)
		if err != nil {
			return err
		}
		// The strays' rows are in a table of their own.
		for i, table := range in.Tables {
			if table.Name == "events" || table.Name == "commands" {
				in.Tables[i].Records -= len(strays)
			}
		}
		if r := audit.Compare(out, in); r.Lost > 0 || r.Doubled > 0 || r.Contacts != r.Expected || r.Contacts == 0 {
			return fmt.Errorf("%+v", r)
		}
		return nil
	})
	out, err := exec.Command(binary, "query", "SELECT reason, remedy FROM dead_letters WHERE cause = 'UNDECODABLE'", "--clickhouse", w.clickhouse).CombinedOutput()
	if err != nil || strings.Count(string(out), "replay") < 4 {
		t.Errorf("the operator asks for the letters and gets %v:\n%s", err, out)
	}
}

// foreign counts what became of the records that are none of ours.
func foreign(ctx context.Context, db driver.Conn) (map[string]int, error) {
	got := map[string]int{}
	for _, q := range []string{
		"SELECT 'dead letter of ' || topic || ' ' || cause || ' ' || base64Encode(value) FROM dead_letters FINAL WHERE cause = 'UNDECODABLE' AND reason != '' AND remedy != ''",
		"SELECT 'row of ' || _topic || ' ' || base64Encode(value) FROM undecodable FINAL",
	} {
		rows, err := db.Query(ctx, q)
		if err != nil {
			return nil, err
		}
		for rows.Next() {
			var line string
			if err := rows.Scan(&line); err != nil {
				return nil, err
			}
			got[line]++
		}
		if err := rows.Err(); err != nil {
			return nil, err
		}
	}
	return got, nil
}

// append puts records on a topic by hand.
func (w *world) append(t *testing.T, topic string, values map[string][]byte) {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(w.kafka), kgo.DefaultProduceTopic(topic))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	for value := range maps.Values(values) {
		if err := cl.ProduceSync(t.Context(), &kgo.Record{Key: []byte("stray"), Value: value}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
}

// database is a connection to ClickHouse for the test's own questions.
func (w *world) database(t *testing.T) driver.Conn {
	t.Helper()
	db, err := clickhouse.Open(app.ClickHouseOptions(config.ClickHouse{Address: w.clickhouse, Database: "tillstream"}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

func count(t *testing.T, db driver.Conn, query string) (n uint64) {
	t.Helper()
	if err := db.QueryRow(t.Context(), query).Scan(&n); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return n
}

// subscribeToEverything changes the account's webhook at PayPal, as somebody could by hand.
func (w *world) subscribeToEverything(t *testing.T, client string) {
	t.Helper()
	bearer := w.bearer(t, client)
	var list struct {
		Webhooks []struct {
			ID string `json:"id"`
		} `json:"webhooks"`
	}
	w.ask(t, "GET", "/v1/notifications/webhooks", "", bearer, &list)
	if len(list.Webhooks) != 1 {
		t.Fatalf("the account has webhooks %+v, want one", list.Webhooks)
	}
	w.ask(t, "PATCH", "/v1/notifications/webhooks/"+list.Webhooks[0].ID, `[{"op":"replace","path":"/event_types","value":[{"name":"*"}]}]`, bearer, &struct{}{})
}

func (w *world) ask(t *testing.T, method, path, body string, with func(*http.Request), answer any) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, w.paypalURL+path, bytes.NewBufferString(body))
	if err != nil {
		t.Fatal(err)
	}
	with(req)
	resp, err := w.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s %s: %s %v: %s", method, path, resp.Status, err, text)
	}
	if err := json.Unmarshal(text, answer); err != nil {
		t.Fatal(err)
	}
}
