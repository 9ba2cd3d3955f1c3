package cli_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestManPages writes all pages, and has man(1)'s formatter read each where the machine has one.
func TestManPages(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "man1")
	if code, _, stderr := said(t, "man", dir); code != 0 {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	pages, _ := filepath.Glob(filepath.Join(dir, "*.1"))
	if len(pages) < 50 {
		t.Errorf("only %d pages", len(pages))
	}
	for name, wants := range map[string][]string{
		"tillstream":                   {".SH COMMANDS", ".BR tillstream\\-connect (1)", ".B 130"},
		"tillstream-status":            {"\\fB\\-\\-watch\\fR", "nobody has a partition", ".BR tillstream (1)"},
		"tillstream-connections-check": {".SH NAME\ntillstream\\-connections\\-check \\- Try a connection"},
		"tillstream-connect":           {".SH EXAMPLES\n.nf\n  tillstream connect activecampaign", "crm \\-\\-set url=https"},
	} {
		text, err := os.ReadFile(filepath.Join(dir, name+".1"))
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range wants {
			if !strings.Contains(string(text), want) {
				t.Errorf("%s.1 has no %q", name, want)
			}
		}
	}
	formatter, err := exec.LookPath("groff")
	if err != nil {
		return // the pages were written; that they are well formed is seen where groff is
	}
	for _, page := range pages {
		if out, err := exec.Command(formatter, "-man", "-Tutf8", "-ww", "-z", page).CombinedOutput(); err != nil || len(out) > 0 {
			t.Errorf("%s: %v\n%s", page, err, out)
		}
	}
}

// TestManPageHidesNothingFromTroff: a line that begins with a dot is text, and an option's hyphens can be copied.
func TestManPageHidesNothingFromTroff(t *testing.T) {
	code, page, stderr := said(t, "man")
	if code != 0 {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	for n, line := range strings.Split(page, "\n") {
		if !strings.HasPrefix(line, ".") {
			continue
		}
		switch word, _, _ := strings.Cut(line, " "); word {
		case ".TH", ".SH", ".TP", ".B", ".BR", ".nf", ".fi":
		default:
			t.Errorf("line %d is a request that we do not write: %q", n+1, line)
		}
	}
}
