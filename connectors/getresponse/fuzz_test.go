package getresponse

import (
	"reflect"
	"testing"

	"github.com/tillstream/tillstream/connectors/connectorstest"
	"github.com/tillstream/tillstream/schemas"
)

// FuzzNormalize: no body panics; what is understood has an id, a root, valid money and bounded fields. There is no
// FuzzVerify: GetResponse sends nothing.
func FuzzNormalize(f *testing.F) {
	for _, body := range connectorstest.GoldenBodies(f) {
		f.Add(body)
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
		connectorstest.Bounded(t, &e, fieldsMax)
		again, err := Connector.Normalize(delivery(string(body)))
		if err != nil || !reflect.DeepEqual(again, events) {
			t.Fatalf("a second time: %v %v, want %v", again, err, events)
		}
	})
}
