package getresponse

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

func delivery(body string) connectors.Delivery {
	return connectors.Delivery{
		Connection: "shop", Environment: schemas.Sandbox, ID: "fOh", Body: []byte(body),
		ReceivedAt: time.Date(2026, 11, 2, 10, 0, 0, 0, time.UTC), Origin: schemas.OriginPoll,
	}
}

// TestGolden: each payload gives the records beside it, or the error.
func TestGolden(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) < 7 {
		t.Fatalf("got %d golden files (%v), want at least 7", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			body := archive.Files[0]
			events, err := Connector.Normalize(delivery(string(body.Data)))
			got := txtar.File{Name: "records.json"}
			if err != nil {
				got = txtar.File{Name: "error", Data: []byte(err.Error() + "\n")}
			} else {
				got.Data = asJSON(t, events)
			}
			if *update {
				archive.Files = []txtar.File{body, got}
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
