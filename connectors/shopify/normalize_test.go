package shopify

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/tillstream/tillstream/connectors"
	"github.com/tillstream/tillstream/schemas"
)

var update = flag.Bool("update", false, "write the golden files")

var received = time.Date(2026, 11, 2, 10, 0, 0, 0, time.UTC)

func delivery(topic, body string) connectors.Delivery {
	return connectors.Delivery{
		Connection: "shop", Environment: schemas.Sandbox, ID: topic + ":b54557e4-bdd9-4b37-8a5f-bf7d70bcd043", Body: []byte(body),
		Headers: map[string]string{headerTopic: topic, headerVersion: "2026-07"}, ReceivedAt: received, Origin: schemas.OriginWebhook,
	}
}

// golden is one file: its comment names the headers, its first part is the body.
func golden(t testing.TB, file string) (*txtar.Archive, connectors.Delivery) {
	t.Helper()
	archive, err := txtar.ParseFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var d connectors.Delivery
	for line := range strings.Lines(string(archive.Comment)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
		switch name {
		case "topic":
			d = delivery(value, string(archive.Files[0].Data))
		case "triggered-at":
			d.Headers[headerTriggered] = value
		default:
			t.Fatalf("%s: unknown header %q", file, name)
		}
	}
	return archive, d
}

// TestGolden: each sample gives the records beside it, or the error.
func TestGolden(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) < 16 {
		t.Fatalf("got %d golden files (%v), want at least 16", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			archive, d := golden(t, file)
			events, err := Connector.Normalize(d)
			got := txtar.File{Name: "records.json"}
			if err != nil {
				got = txtar.File{Name: "error", Data: []byte(err.Error() + "\n")}
			} else {
				got.Data = asJSON(t, events)
			}
			if *update {
				archive.Files = []txtar.File{archive.Files[0], got}
				if err := os.WriteFile(file, txtar.Format(archive), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if len(archive.Files) != 2 {
				t.Fatal("no expectation in the file; run with -update and read what it writes")
			}
			want := archive.Files[1]
			if got.Name != want.Name {
				t.Fatalf("got %s %s, want %s", got.Name, got.Data, want.Name)
			}
			if diff := cmp.Diff(string(got.Data), string(want.Data)); diff != "" {
				t.Errorf("-got +want:\n%s", diff)
			}
		})
	}
}

// asJSON leaves the body out: it stands in the same file.
func asJSON(t *testing.T, events []schemas.OrderEvent) []byte {
	t.Helper()
	for i := range events {
		if len(events[i].Body) == 0 {
			t.Error("record holds no body")
		}
		events[i].Body = nil
	}
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	if err := enc.Encode(events); err != nil {
		t.Fatal(err)
	}
	return []byte(b.String())
}
