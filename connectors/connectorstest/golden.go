package connectorstest

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/tillstream/tillstream/schemas"
)

var update = flag.Bool("update", false, "write the golden files")

// The parts of a golden file that say what is expected; every other part is given.
const (
	partRecords = "records.json"
	partError   = "error"
)

// Golden checks each txtar file of testdata, which hold a payload first: normalize returns what becomes of it, in a form
// that JSON shows, and the file's last part holds just that, or the error's text. -update writes that part. filesMin is
// how many files there are at least.
func Golden(t *testing.T, filesMin int, normalize func(t *testing.T, file string) (any, error)) {
	for _, file := range GoldenFiles(t, filesMin) {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			archive := archiveOf(t, file)
			got := txtar.File{Name: partRecords}
			if records, err := normalize(t, file); err != nil {
				got = txtar.File{Name: partError, Data: []byte(err.Error() + "\n")}
			} else {
				got.Data = JSON(t, records)
			}
			at := slices.IndexFunc(archive.Files, func(f txtar.File) bool { return f.Name == partRecords || f.Name == partError })
			if *update {
				if at >= 0 {
					archive.Files = slices.Delete(archive.Files, at, at+1)
				}
				archive.Files = append(archive.Files, got)
				write(t, file, txtar.Format(archive))
				return
			}
			if at < 0 || at != len(archive.Files)-1 {
				t.Fatal("the last part is no expectation; run with -update and read what it writes")
			}
			want := archive.Files[at]
			if got.Name != want.Name {
				t.Fatalf("got %s %s, want %s", got.Name, got.Data, want.Name)
			}
			if diff := cmp.Diff(string(got.Data), string(want.Data)); diff != "" {
				t.Errorf("-got +want:\n%s", diff)
			}
		})
	}
}

// GoldenFiles are the txtar files of testdata, at least filesMin.
func GoldenFiles(t testing.TB, filesMin int) []string {
	t.Helper()
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) < filesMin {
		t.Fatalf("got %d golden files (%v), want at least %d", len(files), err, filesMin)
	}
	return files
}

// GoldenBody is the payload of a golden file: its first part.
func GoldenBody(t testing.TB, file string) []byte {
	t.Helper()
	archive := archiveOf(t, file)
	if len(archive.Files) == 0 {
		t.Fatalf("%s has no part", file)
	}
	return archive.Files[0].Data
}

// GoldenBodies are the payloads of all golden files, in the order of the files' names.
func GoldenBodies(t testing.TB) [][]byte {
	t.Helper()
	var out [][]byte
	for _, file := range GoldenFiles(t, 1) {
		out = append(out, GoldenBody(t, file))
	}
	return out
}

// GoldenFile checks got against a file of its own, or writes it with -update.
func GoldenFile(t *testing.T, file string, got []byte) {
	t.Helper()
	if *update {
		write(t, file, got)
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(got), string(want)); diff != "" {
		t.Errorf("-got +want:\n%s", diff)
	}
}

// WithoutBodies takes the body out of each record: in a golden file it stands beside them. A record without one fails.
func WithoutBodies(t testing.TB, records []schemas.OrderEvent) []schemas.OrderEvent {
	t.Helper()
	for i := range records {
		if len(records[i].Body) == 0 {
			t.Error("record holds no body")
		}
		records[i].Body = nil
	}
	return records
}

// JSON is v as golden files show it.
func JSON(t testing.TB, v any) []byte {
	t.Helper()
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		t.Fatal(err)
	}
	return []byte(b.String())
}

func archiveOf(t testing.TB, file string) *txtar.Archive {
	t.Helper()
	archive, err := txtar.ParseFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return archive
}

func write(t testing.TB, file string, data []byte) {
	t.Helper()
	if err := os.WriteFile(file, data, 0o644); err != nil {
		t.Fatal(err)
	}
}
