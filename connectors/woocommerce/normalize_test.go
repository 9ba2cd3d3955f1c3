package woocommerce

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

// delivery is a webhook as Verify gives it.
func delivery(topic, body string) connectors.Delivery {
	d := connectors.Delivery{
		Connection: "shop", Environment: schemas.Live, ID: "of the content", Body: []byte(body), Headers: map[string]string{headerTopic: topic},
		ReceivedAt: time.Date(2026, 11, 2, 10, 0, 0, 0, time.UTC), Origin: schemas.OriginWebhook,
	}
	if topic == topicDeleted {
		d.Headers[headerDelivery] = "9c5b94b1f7a24f0db2d3a1c07f0e6b11"
	}
	return d
}

// goldens are the files of testdata as deliveries: the topic stands before the two hyphens of the name; what was
// listed is read item by item, as the poller does.
func goldens(t testing.TB, file string) (*txtar.Archive, []connectors.Delivery) {
	t.Helper()
	archive, err := txtar.ParseFile(file)
	if err != nil {
		t.Fatal(err)
	}
	body := archive.Files[0].Data
	topic, _, _ := strings.Cut(strings.TrimSuffix(filepath.Base(file), ".txtar"), "--")
	if topic != "listed" {
		return archive, []connectors.Delivery{delivery(topic, string(body))}
	}
	var items []json.RawMessage
	if err := json.Unmarshal(body, &items); err != nil {
		t.Fatal(err)
	}
	var out []connectors.Delivery
	for _, item := range items {
		d := delivery(topicUpdated, string(item))
		d.ID, d.Origin = "", schemas.OriginPoll
		out = append(out, d)
	}
	return archive, out
}

// TestGolden: each real payload of WooCommerce's gives the records beside it, or the error.
func TestGolden(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) < 14 {
		t.Fatalf("got %d golden files (%v), want at least 14", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			archive, list := goldens(t, file)
			var events []schemas.OrderEvent
			got := txtar.File{Name: "records.json"}
			for _, d := range list {
				some, err := Connector.Normalize(d)
				if err != nil {
					got = txtar.File{Name: "error", Data: append(got.Data, err.Error()+"\n"...)}
				}
				events = append(events, some...)
			}
			if got.Name != "error" {
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
