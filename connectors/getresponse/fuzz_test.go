package getresponse

import (
	"path/filepath"
	"reflect"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/tillstream/tillstream/connectors"
	"github.com/tillstream/tillstream/schemas"
)

// FuzzNormalize: no body panics; what is understood has an id, a root, valid money and bounded fields. There is no
// FuzzVerify: GetResponse sends nothing.
func FuzzNormalize(f *testing.F) {
	files, _ := filepath.Glob("testdata/*.txtar")
	for _, name := range files {
		archive, err := txtar.ParseFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(archive.Files[0].Data)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		events, err := Connector.Normalize(delivery(string(body)))
		if err != nil {
			return
		}
		if len(events) != 1 {
			t.Fatalf("got %d events, want 1", len(events))
		}
		e := events[0]
		if e.EventID == "" || e.RootID == "" || e.Kind != schemas.KindOrder || e.Status == "" || e.ProviderTime.IsZero() {
			t.Fatalf("incomplete: %+v", e)
		}
		size := 0
		for k, v := range e.Fields {
			size += len(k) + len(v)
		}
		if len(e.Fields) > fieldsMax || size > connectors.FieldsBytesTotal {
			t.Fatalf("got %d fields of %d bytes", len(e.Fields), size)
		}
		for _, a := range []*schemas.Amount{e.Amount, e.RefundedTotal} {
			if a == nil {
				continue
			}
			if _, err := a.Money(); err != nil {
				t.Fatal(err)
			}
		}
		again, err := Connector.Normalize(delivery(string(body)))
		if err != nil || !reflect.DeepEqual(again, events) {
			t.Fatalf("a second time: %v %v, want %v", again, err, events)
		}
	})
}
