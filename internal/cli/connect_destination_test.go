package cli

import (
	"os"
	"path/filepath"
	"testing"

	connectall "github.com/tillstream/tillstream/connectors/all"
	sinkall "github.com/tillstream/tillstream/sinks/all"
)

// A type, or a name, that is both a source and a destination is what the flags say.
func TestWhatIsConnected(t *testing.T) {
	p := Process{Connectors: connectall.Connectors(), Sinks: sinkall.Sinks()}
	live := func(f *connectFlags) { f.environment = "live" }
	for name, tt := range map[string]struct {
		typ  string
		said func(*connectFlags)
		want string // "": refused
	}{
		"a source":                       {"paypal", nil, asSource},
		"a destination":                  {"activecampaign", nil, asDestination},
		"both":                           {"getresponse", nil, asDestination},
		"both, with what sources have":   {"getresponse", live, asSource},
		"both, as said":                  {"getresponse", func(f *connectFlags) { f.as = asSource }, asSource},
		"not as said":                    {"paypal", func(f *connectFlags) { f.as = asDestination }, ""},
		"said wrongly":                   {"getresponse", func(f *connectFlags) { f.as = "sink" }, ""},
		"unknown, which is told as such": {"paypall", nil, asSource},
	} {
		f := &connectFlags{}
		if tt.said != nil {
			tt.said(f)
		}
		got, err := p.as(f, tt.typ)
		if got != tt.want || (err != nil) != (tt.want == "") {
			t.Errorf("%s: %q, %v, want %q", name, got, err, tt.want)
		}
	}
	dir := t.TempDir()
	for _, file := range []string{"connections/eu.yaml", "connections/both.yaml", "destinations/both.yaml.disconnected", "destinations/crm.yml"} {
		if err := os.MkdirAll(filepath.Join(dir, filepath.Dir(file)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, file), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range [][3]string{{"eu", "", asSource}, {"crm", "", asDestination}, {"nobody", "", asSource}, {"both", "", ""}, {"both", asDestination, asDestination}, {"eu", "x", ""}} {
		if got, err := p.belongs(dir, tt[0], tt[1]); got != tt[2] || (err != nil) != (tt[2] == "") {
			t.Errorf("%s --as %q: %q, %v, want %q", tt[0], tt[1], got, err, tt[2])
		}
	}
}
