package paypal

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
		Connection: "shop", Environment: schemas.Sandbox, ID: "69cd13f0-d67a-11e5-baa3-778b53f4ae55", Body: []byte(body),
		ReceivedAt: time.Date(2026, 11, 2, 10, 0, 0, 0, time.UTC), Origin: schemas.OriginWebhook,
	}
}

// TestGolden: each real payload of PayPal's gives the records beside it, or the error.
func TestGolden(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) < 20 {
		t.Fatalf("got %d golden files (%v), want at least 20", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			body := archive.Files[0]
			d := delivery(string(body.Data))
			d.Test = strings.Contains(file, "mock")
			events, err := Connector.Normalize(d)
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

// asJSON leaves the body out, which stands in the same file, and whatever is empty.
func asJSON(t *testing.T, events []schemas.OrderEvent) []byte {
	t.Helper()
	var list []map[string]any
	for _, e := range events {
		if len(e.Body) == 0 {
			t.Error("record holds no body")
		}
		e.Body = nil
		b, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		var m map[string]any
		if err := json.Unmarshal(b, &m); err != nil {
			t.Fatal(err)
		}
		list = append(list, filled(m))
	}
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	if err := enc.Encode(list); err != nil {
		t.Fatal(err)
	}
	return []byte(b.String())
}

func filled(m map[string]any) map[string]any {
	for k, v := range m {
		switch v := v.(type) {
		case map[string]any:
			if len(filled(v)) == 0 {
				delete(m, k)
			}
		case []any:
			if len(v) == 0 {
				delete(m, k)
			}
		case nil, string, bool, float64:
			if v == nil || v == "" || v == false || v == 0.0 {
				delete(m, k)
			}
		}
	}
	return m
}
