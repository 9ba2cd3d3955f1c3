package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
)

// findingsShown bounds what is printed; all of them are in the run's folder.
const (
	findingsShown = 12
	findingsKept  = 2000
)

// findings are the violations of a run.
type findings struct {
	mu   sync.Mutex
	n    int
	kept []string
}

// add notes that kind was violated by key. Keys of contacts come masked.
func (f *findings) add(kind, key, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.n++
	if len(f.kept) < findingsKept {
		f.kept = append(f.kept, fmt.Sprintf("%s: %s: %s", kind, key, text))
	}
}

func (f *findings) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.n
}

// String is the first ones.
func (f *findings) String() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := strings.Join(f.kept[:min(findingsShown, len(f.kept))], "\n")
	if f.n > findingsShown {
		s += fmt.Sprintf("\n... and %d more", f.n-findingsShown)
	}
	return s
}

// writeFindings puts all of them, and what ended the run, into its folder.
func (w *world) writeFindings(err error) {
	w.found.mu.Lock()
	defer w.found.mu.Unlock()
	text := err.Error() + "\n\n" + strings.Join(w.found.kept, "\n") + "\n"
	_ = os.WriteFile(filepath.Join(w.dir, "findings.txt"), []byte(text), 0o600)
}

// mask shows enough of a contact's key, or of an address, to tell two apart.
func mask(key string) string {
	at := strings.IndexByte(key, '@')
	if at < 0 {
		return key
	}
	from := strings.LastIndexByte(key[:at], '/') + 1
	if at-from < 2 {
		return key[:from] + "***" + key[at:]
	}
	return key[:from] + key[from:from+1] + "***" + key[at-1:]
}
