package stripe

import (
	"net/http"
	"reflect"
	"testing"
	"time"

	"github.com/tillstream/tillstream/connectors"
	"github.com/tillstream/tillstream/connectors/connectorstest"
)

// FuzzNormalize: no body panics; what is understood has an id, a root, valid money and bounded fields.
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
		if e.EventID == "" || e.RootID == "" || e.Kind == "" || e.Status == "" || e.ProviderTime.IsZero() {
			t.Fatalf("incomplete: %+v", e)
		}
		connectorstest.Bounded(t, &e, connectors.FieldsMax)
		again, err := Connector.Normalize(delivery(string(body)))
		if err != nil || !reflect.DeepEqual(again, events) {
			t.Fatalf("a second time: %v %v, want %v", again, err, events)
		}
	})
}

// FuzzVerify: nothing but the signature of the secret passes, whatever the header.
func FuzzVerify(f *testing.F) {
	at := time.Unix(1492774577, 0)
	f.Add(vectorHeader, []byte(vectorBody))
	f.Add("t=1492774577,v1=00,v0=11", []byte("{}"))
	f.Add("t=,v1", []byte("x"))
	f.Add("v1="+vectorMAC+",t=+1492774577", []byte(vectorBody))
	f.Fuzz(func(t *testing.T, header string, body []byte) {
		s := sourceAt(t, at, vectorSecret)
		req := &http.Request{Header: http.Header{headerSignature: {header}}}
		d, v := s.Verify(t.Context(), req, body)
		if v.Kind == connectors.Genuine && string(body) != vectorBody {
			t.Fatalf("%q passes for %q", header, body)
		}
		if v.Kind != connectors.Genuine && (v.Kind != connectors.Forged || v.Reason == "" || d.Body != nil) {
			t.Fatalf("got %+v and a delivery %+v", v, d)
		}
	})
}
