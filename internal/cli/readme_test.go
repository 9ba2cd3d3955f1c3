package cli

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	connectorsall "github.com/tillstream/tillstream/connectors/all"
	"github.com/tillstream/tillstream/internal/local"
	sinksall "github.com/tillstream/tillstream/sinks/all"
)

var sample = regexp.MustCompile("(?s)```yaml\n(.*?)```")

var samplePath = regexp.MustCompile(`(?m)^# ((?:connections|destinations|mappings)/[a-z-]+\.yaml)$`)

// TestSamplesInREADMEsAreAccepted: a user copies them.
func TestSamplesInREADMEsAreAccepted(t *testing.T) {
	files, _ := filepath.Glob("../../*/*/README.md")
	found := 0
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range sample.FindAllSubmatch(text, -1) {
			path := samplePath.FindSubmatch(m[1])
			if path == nil {
				continue
			}
			found++
			dir := t.TempDir()
			write(t, filepath.Join(dir, "tillstream.yaml"), "kafka: {brokers: [b]}\nregistry: {url: http://r}\nredis: {address: a:1}\n")
			write(t, filepath.Join(dir, string(path[1])), string(m[1]))
			p := Process{Connectors: connectorsall.Connectors(), Sinks: sinksall.Sinks(), Now: time.Now}
			secret := func(string) (string, bool) { return "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", true } // in a form that every kind of secret may have
			if _, err := p.loadConfig(dir, secret); err != nil {
				t.Errorf("%s: the sample %s is refused:\n%v", file, path[1], err)
			}
		}
	}
	if found < 2 {
		t.Errorf("only %d samples found in %d READMEs", found, len(files))
	}
}

// TestTheFolderOfDevPassesTheCheck: also while nothing runs that its files could name.
func TestTheFolderOfDevPassesTheCheck(t *testing.T) {
	const dir = "../local/template"
	p := Process{Connectors: connectorsall.Connectors(), Sinks: sinksall.Sinks(), Now: time.Now}
	c, err := p.loadConfig(dir, local.CheckEnv(dir, func(string) (string, bool) { return "", false }))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := len(c.Connections), 2+len(local.ShopKinds()); got != want {
		t.Errorf("got %d connections, want %d: two of PayPal and one of each shop that is simulated", got, want)
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
