package cli_test

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tillstream/tillstream/internal/cli"
	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/sinks"
	chsink "github.com/tillstream/tillstream/sinks/clickhouse"
)

// erasesAPerson erases one of two by the command.
func erasesAPerson(t *testing.T, address string, store *chsink.Store) {
	for i, email := range []string{"zoe@erase.example", "kai@erase.example"} {
		e := &schemas.OrderEvent{
			EventID: "X" + email, Environment: schemas.Live, Connection: "shop", RootID: "ER" + email[:3],
			Payer: &schemas.Payer{Email: email}, Body: []byte(email), ReceivedAt: reportDay, ProviderTime: reportDay,
		}
		offset := int64(1000 + i)
		r := sinks.Range{Topic: schemas.TopicStoreOrders, TopicID: "erase", From: offset, To: offset}
		if err := store.Insert(context.Background(), r, []sinks.Row{{Offset: offset, At: reportDay, Record: e}}); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		name string
		args []string
		want int
	}{
		{"not confirmed", []string{"zoe@erase.example", "--by", "me"}, cli.ExitUsage},
		{"nobody asks", []string{"zoe@erase.example", "--yes"}, cli.ExitUsage},
		{"no address", []string{"zoe", "--yes", "--by", "me", "--settle", "0s"}, cli.ExitUsage},
		{"nobody to lift", []string{"zoe@erase.example", "--yes", "--by", "me", "--lift"}, cli.ExitUsage},
		{"both", []string{"zoe@erase.example", "--dry-run", "--lift"}, cli.ExitUsage},
	} {
		if code, stdout, stderr := tillstream(t, append([]string{"erase", "--clickhouse", address}, c.args...)...); code != c.want {
			t.Errorf("%s: exit code %d\n%s%s", c.name, code, stdout, stderr)
		}
	}
	said := func(args ...string) (r chsink.Receipt, text string) {
		t.Helper()
		code, stdout, stderr := tillstream(t, append([]string{"erase", "--clickhouse", address, "--settle", "0s"}, args...)...)
		if code != cli.ExitOK {
			t.Fatalf("%v: exit code %d: %s", args, code, stderr)
		}
		if slices.Contains(args, "--json") {
			if err := json.Unmarshal([]byte(stdout), &r); err != nil {
				t.Fatalf("%v: %v: %s", args, err, stdout)
			}
		}
		if strings.Contains(stdout+stderr, "zoe@") {
			t.Errorf("%v: the address is shown: %s%s", args, stdout, stderr)
		}
		return r, stdout
	}
	if _, text := said("zoe@erase.example", "--dry-run"); !strings.Contains(text, "Would be erased: z***@erase.example") || !strings.Contains(text, "rows of events") {
		t.Errorf("dry run: %s", text)
	}
	r, _ := said("Zoe@Erase.example", "--by", "data protection", "--yes", "--json")
	if r.Tables["events"] != 1 || r.By != "data protection" || r.DoneAt.IsZero() || time.Since(r.At) < 0 || len(r.Remaining) == 0 {
		t.Errorf("receipt: %+v", r)
	}
	for email, want := range map[string]string{"zoe@erase.example": "0", "kai@erase.example": "2"} {
		code, stdout, stderr := tillstream(t, "query", "--clickhouse", address, "--format", "csv",
			"SELECT toString(countIf(payer_email = '"+email+"') + countIf(position(body, '"+email+"') > 0)) FROM events")
		if lines := strings.Fields(stdout); code != cli.ExitOK || lines[len(lines)-1] != want {
			t.Errorf("%s is in %s rows (%s), want %s", email, stdout, stderr, want)
		}
	}
	if _, text := said("zoe@erase.example", "--lift", "--by", "data protection", "--yes"); !strings.Contains(text, "Known again from now on") {
		t.Errorf("lifted: %s", text)
	}
}
