package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	connectorsall "github.com/tillstream/tillstream/connectors/all"
	sinksall "github.com/tillstream/tillstream/sinks/all"
)

// The last destination, too, stays connected while a mapping names it.
func TestTheOnlyDestinationIsNotDisconnectedWhileItIsNamed(t *testing.T) {
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("../local/template")); err != nil {
		t.Fatal(err)
	}
	p := Process{Connectors: connectorsall.Connectors(), Sinks: sinksall.Sinks(), Now: time.Now, Getenv: func(string) (string, bool) { return "", false }}
	desk := p.destinationDesk(dir)
	if _, err := desk.Disconnect(t.Context(), "crm", false); err == nil || !strings.Contains(err.Error(), "mappings/orders.yaml") {
		t.Errorf("got %v, want a refusal that names the mapping", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "destinations", "crm.yaml")); err != nil {
		t.Errorf("the file is gone: %v", err)
	}
}
