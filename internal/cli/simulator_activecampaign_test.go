package cli_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	connectorsall "github.com/tillstream/tillstream/connectors/all"
	"github.com/tillstream/tillstream/internal/cli"
	sinksall "github.com/tillstream/tillstream/sinks/all"
)

// The simulated account is what its flags say: key, permissions, automations that start by themselves, and faults.
func TestActiveCampaignSimulator(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	out, in := io.Pipe()
	done := make(chan int, 1)
	go func() {
		defer in.Close()
		done <- cli.Main(ctx, cli.Process{
			Args: []string{
				"simulator", "activecampaign", "--listen", "127.0.0.1:0", "--key", "k", "--rate", "0", "--denied", "deep_data", "--automations", "On vip=tag:vip",
				"--import-after", "0s", "--reject", "no@shop.example", "--server-errors", "0",
			},
			Getenv: os.LookupEnv, Stdin: strings.NewReader(""), Stdout: in, Stderr: io.Discard,
			Connectors: connectorsall.Connectors(), Sinks: sinksall.Sinks(), Now: time.Now,
		})
	}()
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	go func() { _, _ = io.Copy(io.Discard, out) }()
	_, address, ok := strings.Cut(line, " on ")
	if !ok {
		t.Fatalf("got %q, want the address", line)
	}
	base, _, _ := strings.Cut(address, " ")
	ask := func(method, path, body string) string {
		req, err := http.NewRequestWithContext(ctx, method, base+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Api-Token", "k")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprint(resp.StatusCode, " ", string(text))
	}
	for _, c := range []struct{ method, path, body, want string }{
		{"GET", "/api/3/users/me", "", "200 "},
		{"GET", "/api/3/connections", "", "403 "},
		{"GET", "/api/3/automations", "", "On vip"},
		{"POST", "/api/3/contact/sync", `{"contact":{"email":"no@shop.example"}}`, "422 "},
		{"POST", "/api/3/import/bulk_import", `{"contacts":[{"email":"a@shop.example","tags":["vip"]}]}`, "200 "},
		{"GET", "/_simulator/enrolments", "", `"by":"tag:vip"`},
		{"POST", "/_simulator/faults", `{"schedule":[{"from_ms":0,"to_ms":3600000,"faults":{"too_many":1}}]}`, "200 "},
		{"GET", "/api/3/lists", "", "429 "},
		{"GET", "/_simulator/stats", "", `"max_per_second"`},
	} {
		if got := ask(c.method, c.path, c.body); !strings.Contains(got, c.want) {
			t.Errorf("%s %s: got %.300s, want %q", c.method, c.path, got, c.want)
		}
	}
	cancel()
	if code := <-done; code != 0 {
		t.Errorf("got exit code %d", code)
	}
}
