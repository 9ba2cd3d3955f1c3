package local_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/tillstream/tillstream/internal/local"
)

// Commands beside a running cluster find its parts where they are, not where they would be by default.
func TestWhatARunningClusterLeftCountsBeforeTheDefaults(t *testing.T) {
	dir := t.TempDir()
	config := filepath.Join(dir, local.ConfigFolder)
	none := func(string) (string, bool) { return "", false }
	for _, tt := range []struct{ name, left, want string }{
		{"nothing runs", "", "http://127.0.0.1:9444"},
		{"a cluster on other ports", `{"CRM":"http://127.0.0.1:4711"}`, "http://127.0.0.1:4711"},
		{"a file that is cut", `{"CRM":"http`, "http://127.0.0.1:9444"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.left != "" {
				if err := os.WriteFile(filepath.Join(dir, "dev-environment.json"), []byte(tt.left), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if got, _ := local.CheckEnv(config, none)("TILLSTREAM_DEV_CRM"); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}
