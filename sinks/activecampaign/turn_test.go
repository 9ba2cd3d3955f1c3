package activecampaign_test

import (
	"context"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/sinks"
	"github.com/tillstream/tillstream/sinks/activecampaign"
)

// silent is an account that answers nothing.
type silent struct{ asked atomic.Int64 }

func (s *silent) RoundTrip(r *http.Request) (*http.Response, error) {
	s.asked.Add(1)
	<-r.Context().Done()
	return nil, r.Context().Err()
}

// TestWaitingForAnothersQuestion: a writer that waits for what another one asks the account stops when its context ends,
// whatever becomes of the question, and has tried nothing.
func TestWaitingForAnothersQuestion(t *testing.T) {
	for name, cmd := range map[string]schemas.Command{
		"a field":       ada(),
		"a list":        effect(schemas.EffectAddToList, "List 229"),
		"an automation": effect(schemas.EffectStartAutomation, "Automation 149"),
		"a shop":        order("PAID"),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { waitInVain(t, cmd) })
		})
	}
}

func waitInVain(t *testing.T, cmd schemas.Command) {
	account := new(silent)
	w, err := activecampaign.Sink.Open(t.Context(), config("https://1000.api.example"), sinks.Env{
		Destination: "crm", Now: time.Now, HTTP: &http.Client{Transport: account},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	write := func(ctx context.Context) <-chan sinks.Outcome {
		out := make(chan sinks.Outcome, 1)
		go func() { out <- w.Write(ctx, []schemas.Command{cmd})[0] }()
		synctest.Wait()
		return out
	}
	first, stop := context.WithCancel(t.Context())
	asks := write(first)
	second, stopSecond := context.WithTimeout(t.Context(), time.Minute)
	defer stopSecond()
	waits := write(second)
	if n := account.asked.Load(); n != 1 {
		t.Fatalf("got %d requests, want the first writer's alone", n)
	}
	began := time.Now()
	if o := <-waits; o.Kind != sinks.Retryable || o.Account || o.Err == nil || !strings.Contains(o.Err.Error(), "not tried") {
		t.Errorf("got %d: %v; want Retryable, not tried", o.Kind, o.Err)
	}
	if d := time.Since(began); d != time.Minute {
		t.Errorf("it waited for %s, and its context for a minute", d)
	}
	if n := account.asked.Load(); n != 1 || len(asks) > 0 {
		t.Errorf("got %d requests, want the first writer's alone and under way", n)
	}
	stop()
	if o := <-asks; o.Kind != sinks.Retryable && o.Kind != sinks.Unknown {
		t.Errorf("the question that was cut: got %d: %v", o.Kind, o.Err)
	}
}
