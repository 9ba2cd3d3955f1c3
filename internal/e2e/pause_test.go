package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tillstream/tillstream/api"
	"github.com/tillstream/tillstream/internal/e2e/parts"
	"github.com/tillstream/tillstream/pipeline/verify"
)

// ends runs a command about the world's configuration, and returns what it printed and its exit code.
func (w *world) ends(t *testing.T, args ...string) (string, int) {
	t.Helper()
	c := exec.CommandContext(t.Context(), binary, append(args, "--config", w.config)...)
	c.Env, c.Dir = append(os.Environ(), w.variables()...), w.dir
	var out, problems bytes.Buffer
	c.Stdout, c.Stderr = &out, &problems
	err := c.Run()
	var exited *exec.ExitError
	if err != nil && !errors.As(err, &exited) {
		t.Fatal(err)
	}
	t.Logf("tillstream %s: exit code %d\n%.2000s%.2000s", strings.Join(args, " "), c.ProcessState.ExitCode(), out.String(), problems.String())
	return out.String(), c.ProcessState.ExitCode()
}

// atCRM calls the API of the simulated CRM.
func (w *world) atCRM(t *testing.T, method, path, body string, out any) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, w.crmURL+"/api/3"+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Api-Token", "simulator-key")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(out); err != nil || resp.StatusCode >= http.StatusMultipleChoices {
		t.Fatalf("%s %s: %s, %v", method, path, resp.Status, err)
	}
}

// paused is what is paused, as the commands tell.
func (w *world) paused(t *testing.T) (list api.PauseList) {
	t.Helper()
	if err := json.Unmarshal([]byte(w.inFolder(t, "pauses", "--json")), &list); err != nil {
		t.Fatal(err)
	}
	return list
}

// tally is the last line of a verify.
func tally(t *testing.T, out string) (n verify.Tally) {
	t.Helper()
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &n); err != nil {
		t.Fatalf("%v in %q", err, lines[len(lines)-1])
	}
	return n
}

// TestACRMIsConnectedPausedAndCompared leads one CRM account through what an operator does with it: it is connected by the
// command line, paused while events come, resumed, and compared with what was meant after somebody changed a contact there.
func TestACRMIsConnectedPausedAndCompared(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	if err := os.Remove(filepath.Join(w.config, "destinations/crm.yaml")); err != nil {
		t.Fatal(err)
	}
	connect := []string{
		"connect", "activecampaign", "--name", "crm", "--set", "url=" + w.crmURL, "--allow-private-address", "--rate-per-second=-1",
		"--set", "event_tracking.account_id=1000001", "--set", "event_tracking.url=" + w.crmURL + "/event", "--secret", "event_tracking.key=env:E2E_CRM_KEY",
	}
	if out, code := w.ends(t, append(connect, "--secret", "key=env:E2E_NO_SUCH_KEY")...); code == 0 || strings.Contains(out, "is connected") {
		t.Fatalf("a key that is not there was taken: exit code %d", code)
	}
	if out := w.inFolder(t, append(connect, "--secret", "key=env:E2E_CRM_KEY")...); !strings.Contains(out, "account: 1000001") || !strings.Contains(out, "crm is connected") {
		t.Errorf("connect said:\n%s", out)
	}

	w.dev(t)
	w.awaitReady(t)
	w.inFolder(t, "pause", "destination", "crm", "--why", "lists are moved", "--by", "ann")
	w.await(t, "the process knows of the pause", func() error {
		if got := w.metric(t, "tillstream_paused", `name="crm"`); got != 1 {
			return fmt.Errorf("metric tillstream_paused is %v", got)
		}
		return nil
	})
	events := tell(77, 40)
	w.told(t, events)
	var waiting int64
	w.await(t, "commands wait", func() error {
		list := w.paused(t)
		if len(list.Pauses) != 1 || list.Pauses[0].Name != "crm" || list.Pauses[0].By != "ann" || list.Pauses[0].Why != "lists are moved" {
			t.Fatalf("paused are %+v, want crm by ann", list)
		}
		if n := list.Pauses[0].Waiting; n == nil || *n == 0 || *n > waiting {
			if n != nil {
				waiting = *n
			}
			return fmt.Errorf("%d commands wait, and more may come", waiting)
		}
		return nil
	})
	if n, err := w.contacts(t.Context()); err != nil || n != 0 {
		t.Errorf("%d contacts at the CRM while it was paused (%v), want none", n, err)
	}
	w.inFolder(t, "resume", "destination", "crm")
	w.awaitAgreement(t, events)
	if list := w.paused(t); len(list.Pauses) != 0 {
		t.Errorf("after the resume these are paused: %+v", list.Pauses)
	}

	out, code := w.ends(t, "verify", "crm", "--json")
	if n := tally(t, out); code != 0 || n.Drifted+n.Absent+n.Failed > 0 || n.Compared == 0 {
		t.Fatalf("verify ends with %d and %+v, want that all is as meant", code, n)
	}
	w.changeAndMend(t)
}

// changeAndMend changes a contact at the CRM, and wants it to be found and mended.
func (w *world) changeAndMend(t *testing.T) {
	t.Helper()
	var list struct {
		Contacts []struct{ ID, Email, FirstName string }
	}
	w.atCRM(t, http.MethodGet, "/contacts?limit=1", "", &list)
	if len(list.Contacts) != 1 || list.Contacts[0].FirstName == "" {
		t.Fatalf("the first contact is %+v, want one with a first name", list.Contacts)
	}
	was := list.Contacts[0]
	var is struct{ Contact struct{ FirstName string } }
	w.atCRM(t, http.MethodPut, "/contacts/"+was.ID, `{"contact":{"firstName":"Changed By Hand"}}`, &is)

	out, code := w.ends(t, "verify", "crm", "--contact", was.Email)
	if code != 4 || !strings.Contains(out, "first name") || strings.Contains(out, was.Email) || strings.Contains(out, "Changed By Hand") {
		t.Errorf("verify ends with %d, want 4, the first name named, and nothing personal shown:\n%s", code, out)
	}
	out, code = w.ends(t, "verify", "crm", "--json", "--repair")
	if n := tally(t, out); code != 4 || n.Drifted != 1 || n.Mended != 1 {
		t.Errorf("verify --repair ends with %d and %+v, want 4, one that differs and is sent again", code, n)
	}
	w.await(t, "the contact is as meant again", func() error {
		w.atCRM(t, http.MethodGet, "/contacts/"+was.ID, "", &is)
		if is.Contact.FirstName != was.FirstName {
			return fmt.Errorf("the first name is %q, want %q", is.Contact.FirstName, was.FirstName)
		}
		return nil
	})
	parts.Eventually(t, deliverLimit, "all is as meant", func() error {
		out, code := w.ends(t, "verify", "crm", "--json")
		if n := tally(t, out); code != 0 || n.Unfinished > 0 {
			return fmt.Errorf("verify ends with %d and %+v", code, n)
		}
		return nil
	})
}
