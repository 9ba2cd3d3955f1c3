package activecampaign_test

import (
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tillstream/tillstream/schemas"
	twin "github.com/tillstream/tillstream/simulators/activecampaign"
	"github.com/tillstream/tillstream/sinks"
)

// TestNextTryGoesOnWithTheTags: a contact whose tag was refused is not written again by the next try, unless something
// else than the account's condition was the matter, or time passed.
func TestNextTryGoesOnWithTheTags(t *testing.T) {
	for name, c := range map[string]struct {
		status  int // of the first answer about a tag
		later   time.Duration
		another bool // the next try is of a newer state
		syncs   int64
	}{
		"the server failed":    {status: 500, later: 5 * time.Hour, syncs: 1},
		"too many requests":    {status: 429, later: time.Second, syncs: 1},
		"a newer state":        {status: 500, later: time.Second, another: true, syncs: 2},
		"it is too long ago":   {status: 500, later: 24 * time.Hour, syncs: 2},
		"the contact was gone": {status: 404, later: time.Second, syncs: 2},
	} {
		t.Run(name, func(t *testing.T) {
			var past atomic.Int64
			began := time.Now()
			now := func() time.Time { return began.Add(time.Duration(past.Load())) }
			s := twin.New(twin.Options{Key: apiKey, EventKey: eventKey, Now: now})
			var syncs, refused atomic.Int64
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				switch {
				case posts("/contact/sync")(r):
					syncs.Add(1)
				case posts("/contactTags")(r) && refused.Add(1) == 1:
					w.WriteHeader(c.status)
					_, _ = w.Write([]byte(`{"message":"No Result found for Subscriber with id 1"}`))
					return
				}
				s.Handler().ServeHTTP(w, r)
			}))
			defer srv.Close()
			w := openedAt(t, srv.URL, now)
			cmd := ada()
			if o := w.Write(t.Context(), []schemas.Command{cmd})[0]; o.Kind != sinks.Retryable {
				t.Fatalf("got %d: %v, want another try", o.Kind, o.Err)
			}
			past.Add(int64(c.later))
			if c.another {
				cmd.CommandID, cmd.Version = "another", 2
			}
			write(t, w, cmd)
			if got := syncs.Load(); got != c.syncs {
				t.Errorf("the contact was written %d times, want %d", got, c.syncs)
			}
			if got, _ := s.Contact("ada@shop.example"); len(got.Tags) != len(cmd.Contact.Tags) {
				t.Errorf("got the tags %q, want %q", got.Tags, cmd.Contact.Tags)
			}
			// The next state begins with the contact, as ever.
			cmd.CommandID, cmd.Version = "the next", 3
			write(t, w, cmd)
			if got := syncs.Load(); got != c.syncs+1 {
				t.Errorf("the contact was written %d times, want %d", got, c.syncs+1)
			}
		})
	}
}
