package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/tillstream/tillstream/api"
	"github.com/tillstream/tillstream/internal/e2e/parts"
	"github.com/tillstream/tillstream/simulators/story"
	chsink "github.com/tillstream/tillstream/sinks/clickhouse"
)

// asks runs a command about the world's configuration that answers in JSON.
func (w *world) asks(t *testing.T, into any, args ...string) {
	t.Helper()
	out := w.inFolder(t, append(args, "--json")...)
	if err := json.Unmarshal([]byte(out), into); err != nil {
		t.Fatalf("%v: %v: %.500s", args, err, out)
	}
}

// makeField makes a custom field at the CRM, as a person would.
func (w *world) makeField(t *testing.T, tag string) {
	t.Helper()
	body := strings.NewReader(fmt.Sprintf(`{"field":{"title":"Made late","type":"text","perstag":%q}}`, tag))
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.crmURL+"/api/3/fields", body)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Api-Token", "simulator-key")
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode >= http.StatusBadRequest {
		t.Fatalf("the field is not made: %s", resp.Status)
	}
}

// TestLettersOfAMissingFieldAreRetriedOnceItIsThere: a mapping names a field that the CRM does not have, and letters pile up.
// Then the field is made, and one command has all of them tried again: the states of the contacts first, as they should be
// now, then the effects that had to follow them.
func TestLettersOfAMissingFieldAreRetriedOnceItIsThere(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.edit(t, "mappings/orders.yaml", "{to: ORDER_ID,", "{to: NOT_MADE_YET,")
	w.dev(t)
	w.awaitReady(t)
	const customers = 4
	var events []story.Event
	for n := range customers {
		approved, _, _ := order(n+1, fmt.Sprintf("retry%d@example.com", n))
		events = append(events, approved)
	}
	if err := w.emit(t.Context(), events); err != nil {
		t.Fatal(err)
	}
	w.awaitAccepted(t)
	// Of each customer the mapping and a workflow have an event tracked; how many states are refused depends on how many
	// wait for each other.
	const effects = 2 * customers
	var letters uint64
	w.await(t, "every contact and its events are refused", func() error {
		var list api.IssueList
		w.asks(t, &list, "issues", "--state", "open")
		letters = 0
		refused := map[bool]uint64{}
		for _, i := range list.Issues {
			letters += i.Open
			refused[strings.Contains(i.Reason, "this effect was to follow")] += i.Open
		}
		if refused[true] != effects || refused[false] < customers {
			return fmt.Errorf("%d letters: %+v", letters, list.Issues)
		}
		return nil
	})
	if text := w.inFolder(t, "issues"); strings.Contains(text, "retry1@example.com") || !strings.Contains(text, "REJECTED") {
		t.Errorf("issues show an address, or no cause:\n%s", text)
	}
	if said := w.inFolder(t, "retry", "--cause", "rejected", "--dry-run"); !strings.Contains(said, fmt.Sprintf("%d dead letters are meant", letters)) {
		t.Errorf("the dry run says %q", said)
	}

	w.makeField(t, "NOT_MADE_YET")
	var job chsink.Job
	w.asks(t, &job, "retry", "--cause", "rejected", "--yes", "--wait", "--job-id", "mended")
	if job.State != "DONE" || job.Done != int64(letters) || job.Failed != 0 {
		t.Errorf("the job says %+v, want %d done", job, letters)
	}
	// The sink looks for a field that was missing once a minute: what fails again meanwhile is a new letter, tried again.
	parts.Eventually(t, 2*deliverLimit, "everything is delivered", func() error {
		w.asks(t, &job, "retry", "--cause", "rejected", "--yes", "--wait")
		var list api.DeliveryList
		w.asks(t, &list, "deliveries", "--outcome", "rejected")
		for _, d := range list.Deliveries {
			if d.Kind == "EFFECT" {
				return fmt.Errorf("effect %s is still refused: %s", d.CommandID, d.Error)
			}
		}
		w.asks(t, &list, "deliveries", "--outcome", "delivered")
		kinds := map[string]int{}
		for _, d := range list.Deliveries {
			kinds[d.Kind]++
		}
		if kinds["EFFECT"] != effects || kinds["CONTACT"] < customers {
			return fmt.Errorf("delivered are %v, want %d effects and %d contacts", kinds, effects, customers)
		}
		return nil
	})
	if n, err := w.contacts(t.Context()); err != nil || n != customers {
		t.Errorf("the CRM has %d contacts, want %d (%v)", n, customers, err)
	}
	// Asked again, by the same id or by another, it does nothing more.
	w.asks(t, &job, "jobs", "show", "mended")
	var again api.JobPreview
	w.asks(t, &again, "retry", "--cause", "rejected", "--yes")
	w.asks(t, &job, "retry", "--cause", "rejected", "--yes", "--wait") // the preview is all there is, and reads as a job
	if again.Count != 0 || again.Closed < letters {
		t.Errorf("asked again it is about %+v, want none and at least %d before", again, letters)
	}
	var issues api.IssueList
	w.asks(t, &issues, "issues")
	for _, i := range issues.Issues {
		if i.State != chsink.LetterRetried {
			t.Errorf("issue %+v, want it retried", i)
		}
	}
	w.await(t, "the audit agrees", func() error {
		c := exec.CommandContext(t.Context(), binary, "audit", "--since", "1h", "--settle", "1s", "--json", "--config", w.config)
		c.Env, c.Dir = append(os.Environ(), w.variables()...), w.dir
		out, err := c.Output()
		if err != nil {
			return fmt.Errorf("%w: %.2000s", err, out)
		}
		return nil
	})
}
