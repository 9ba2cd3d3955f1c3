package cli_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	connectorsall "github.com/tillstream/tillstream/connectors/all"
	"github.com/tillstream/tillstream/internal/cli"
	sinksall "github.com/tillstream/tillstream/sinks/all"
)

// said runs one command in this process, without an environment.
func said(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = cli.Main(t.Context(), cli.Process{
		Args: args, Stdin: strings.NewReader(""), Stdout: &out, Stderr: &errs, Now: time.Now,
		Connectors: connectorsall.Connectors(), Sinks: sinksall.Sinks(), Getenv: func(string) (string, bool) { return "", false },
	})
	return code, out.String(), errs.String()
}

// TestCompletion asks as a shell does, by the hidden command that its script calls.
func TestCompletion(t *testing.T) {
	dir := t.TempDir()
	for _, file := range []string{"connections/paypal-eu.yaml", "connections/paypal-us.yaml", "destinations/crm.yaml", "workflows/win-back.yaml"} {
		path := filepath.Join(dir, file)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("not read\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		line string
		want string // the words, and at the end the directive: 4 offers no files, 0 leaves it to the shell
	}{
		{"reconcile --config DIR paypal-", "paypal-eu paypal-us :4"},
		{"reconcile --config DIR paypal-u", "paypal-us :4"},
		{"reconcile --config DIR paypal-eu ", ":4"},
		{"disconnect --config DIR ", "crm paypal-eu paypal-us :4"},
		{"pause destination --config DIR ", "crm :4"},
		{"waits --config DIR --workflow ", "win-back :4"},
		{"waits --state not", "not_met :4"},
		{"issues --state re", "reopened retried :4"},
		{"issues --config DIR --connection paypal-e", "paypal-eu :4"},
		{"report revenue-d", "revenue-days :4"},
		{"connect pay", "paypal :4"},
		{"connections add-resource --config DIR paypal-eu billing", "billing-subscription :4"},
		{"config schema work", "workflows :4"},
		{"config check ", ":0"},
		{"import --config DIR paypal-eu ", ":0"},
		{"trace ", ":4"},
		{"recon", "reconcile :4"},
		{"jobs ", "cancel list show :4"},
	} {
		args := strings.Split(strings.ReplaceAll(c.line, "DIR", dir), " ")
		code, stdout, stderr := said(t, append([]string{"__complete"}, args...)...)
		var got []string
		for _, line := range strings.Split(strings.TrimSpace(stdout), "\n") {
			word, _, _ := strings.Cut(line, "\t")
			got = append(got, word)
		}
		if have := strings.Join(got, " "); have != c.want || code != 0 {
			t.Errorf("%q: exit code %d, got %q, want %q\n%s", c.line, code, have, c.want, stderr)
		}
	}
}

// TestEveryShellHasItsScript: what is printed is what the shell sources.
func TestEveryShellHasItsScript(t *testing.T) {
	for shell, want := range map[string]string{"bash": "complete -o default", "zsh": "#compdef tillstream", "fish": "complete -c tillstream"} {
		if code, stdout, stderr := said(t, "completion", shell); code != 0 || !strings.Contains(stdout, want) {
			t.Errorf("%s: exit code %d, want %q in %.200s\n%s", shell, code, want, stdout, stderr)
		}
	}
}
