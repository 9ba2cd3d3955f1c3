package cli_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tillstream/tillstream/internal/cli"
)

// screen is an output that is read while it is written.
type screen struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write implements io.Writer.
func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *screen) text() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

var addressShown = regexp.MustCompile(`simulator on (http://\S+[0-9])`)

// simulated runs a simulator until the test ends, and returns its address.
func simulated(t *testing.T, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var out screen
	code := make(chan int, 1)
	go func() {
		code <- cli.Main(ctx, cli.Process{
			Args: append([]string{"simulator"}, append(args, "--listen", "127.0.0.1:0")...), Stdin: strings.NewReader(""), Stdout: &out, Stderr: io.Discard, Now: time.Now,
			Getenv: func(string) (string, bool) { return "", false },
		})
	}()
	t.Cleanup(func() {
		cancel()
		if got := <-code; got != cli.ExitOK {
			t.Errorf("exit code %d when it was stopped", got)
		}
	})
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	late := time.After(30 * time.Second)
	for {
		if found := addressShown.FindStringSubmatch(out.text()); found != nil {
			return found[1]
		}
		select {
		case <-tick.C:
		case got := <-code:
			code <- got
			t.Fatalf("it ended with %d: %s", got, out.text())
		case <-late:
			t.Fatalf("no address was shown: %s", out.text())
		}
	}
}

func answerOf(t *testing.T, method, url, body string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Auth-Token", "api-key simulatorkey")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(text)
}

// TestGetResponseSimulator: the flags furnish the account and strike its requests; the panel is there.
func TestGetResponseSimulator(t *testing.T) {
	url := simulated(t, "getresponse", "--rate", "0", "--messages", "Hello", "--templates", "Receipt", "--workflow", "PAID", "--tags", "3", "--reject", "no@shop.example", "--create-delay", "0s")
	for path, want := range map[string]string{
		"/v3/newsletters": `"name":"Hello"`, "/v3/transactional-emails/templates": `"subject":"Receipt"`, "/v3/workflow": "Payment status changed to PAID", "/v3/tags": `"name":"tag_3"`,
	} {
		if status, text := answerOf(t, "GET", url+path, ""); status != http.StatusOK || !strings.Contains(text, want) {
			t.Errorf("%s: got %d, want %s in %s", path, status, want, text)
		}
	}
	if status, text := answerOf(t, "POST", url+"/v3/contacts", `{"email":"no@shop.example","campaign":{"campaignId":"C"}}`); status != http.StatusBadRequest || !strings.Contains(text, "1002") {
		t.Errorf("a blocked address: got %d: %s", status, text)
	}
	answerOf(t, "POST", url+"/_simulator/panel", `{"do":"suspend"}`)
	if status, _ := answerOf(t, "GET", url+"/v3/tags", ""); status != http.StatusForbidden {
		t.Errorf("suspended: got %d", status)
	}
	broken := simulated(t, "getresponse", "--server-errors", "1")
	if status, _ := answerOf(t, "GET", broken+"/v3/tags", ""); status != http.StatusInternalServerError {
		t.Errorf("with errors only: got %d", status)
	}
}

// TestWebhookSimulator takes notices, and refuses what is not signed.
func TestWebhookSimulator(t *testing.T) {
	url := simulated(t, "webhook")
	if status, _ := answerOf(t, "POST", url+"/hook", `{}`); status != http.StatusUnauthorized {
		t.Errorf("without a signature: got %d", status)
	}
	if status, text := answerOf(t, "GET", url+"/_simulator/refusals", ""); status != http.StatusOK || !strings.Contains(text, "missing") {
		t.Errorf("refusals: got %d: %s", status, text)
	}
}

func TestSimulatorFlags(t *testing.T) {
	for _, args := range [][]string{{"getresponse", "--plugin", "x"}, {"getresponse", "more"}, {"webhook", "--no-such"}} {
		var errs bytes.Buffer
		if code := cli.Main(t.Context(), cli.Process{
			Args: append([]string{"simulator"}, args...), Stdin: strings.NewReader(""), Stdout: io.Discard, Stderr: &errs, Now: time.Now, Getenv: func(string) (string, bool) { return "", false },
		}); code != cli.ExitUsage {
			t.Errorf("%v: got exit code %d: %s", args, code, errs.String())
		}
	}
}
