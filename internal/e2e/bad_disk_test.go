//go:build linux

package e2e

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/tillstream/tillstream/internal/e2e/parts"
)

// diskBytes holds what a fresh set-up writes several times over, and is filled in a moment.
const diskBytes = "size=256m,mode=0700"

// TestAFullDiskLosesNothing fills the disk of the embedded parts to the brim in mid-story, twice. While it is full no
// webhook gets a 2xx and readiness says what to do. The first time it is emptied under the running program, which goes
// on by itself; the second time the program is killed, does not start on the full disk, and goes on after that.
func TestAFullDiskLosesNothing(t *testing.T) {
	w := newWorld(t, habits...)
	data := filepath.Join(w.dir, "data")
	mount(t, data)
	events := tell(17, 90)
	third := len(events) / 3
	w.dev(t)
	w.awaitReady(t)
	if err := w.emit(t.Context(), events[:third]); err != nil {
		t.Fatal(err)
	}

	empty := fill(t, data) // while stages, deliveries and the loader are at work
	w.awaitReason(t, "free some space")
	delivered := w.delivered(t)
	if err := w.emit(t.Context(), events[third:2*third]); err != nil {
		t.Fatal(err)
	}
	w.awaitRefusals(t)
	if now := w.delivered(t); now != delivered {
		t.Errorf("%d deliveries got their 2xx on a full disk", now-delivered)
	}
	if !strings.Contains(w.till.Stderr(), "free some space") {
		t.Errorf("the log does not say what to do: %s", w.till.Tail())
	}
	empty()
	w.awaitReady(t)
	w.awaitAccepted(t)
	w.awaitAgreement(t, events[:2*third])

	if err := w.emit(t.Context(), events[2*third:]); err != nil {
		t.Fatal(err)
	}
	empty = fill(t, data)
	w.awaitReason(t, "free some space")
	w.till.Kill()
	w.dev(t)
	code, err := w.till.Wait(startLimit)
	if err != nil {
		t.Fatal(err)
	}
	if said := w.till.Stderr(); code != 1 || !strings.Contains(said, "free some space") || !strings.Contains(said, data) {
		t.Errorf("started on a full disk it ended with code %d and said %s", code, said)
	}
	empty()
	w.dev(t)
	w.awaitReady(t)
	w.awaitAccepted(t)
	w.awaitAgreement(t, events)
}

// A stop in order cannot write its last notes on a full disk. The next start does without them.
func TestAStopOnAFullDiskLosesNothing(t *testing.T) {
	w := newWorld(t)
	data := filepath.Join(w.dir, "data")
	mount(t, data)
	events := tell(29, 30)
	half := len(events) / 2
	w.dev(t)
	w.awaitReady(t)
	if err := w.emit(t.Context(), events[:half]); err != nil {
		t.Fatal(err)
	}
	empty := fill(t, data)
	w.awaitReason(t, "free some space")
	if code := w.till.Stop(t); code != 0 {
		t.Errorf("asked to stop, it ended with code %d: %s", code, w.till.Tail())
	}
	empty()
	w.dev(t)
	w.awaitReady(t)
	if err := w.emit(t.Context(), events[half:]); err != nil {
		t.Fatal(err)
	}
	w.awaitAccepted(t)
	w.awaitAgreement(t, events)
}

// delivered is how many deliveries got their 2xx.
func (w *world) delivered(t *testing.T) int {
	t.Helper()
	s, err := w.paypal(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return s.Delivered
}

// mount makes dir a small disk of its own. Only root can.
func mount(t *testing.T, dir string) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, diskBytes); err != nil {
		parts.Missing(t, "mount", "a disk that can be filled needs the right to mount one (root): "+err.Error())
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
}

// fill takes every byte that dir's disk still has, and again what is given up under it, until nothing comes.
func fill(t *testing.T, dir string) (empty func()) {
	t.Helper()
	path := filepath.Join(dir, "filled")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for size := 1 << 20; size > 0; {
		switch _, err := f.Write(make([]byte, size)); {
		case errors.Is(err, syscall.ENOSPC):
			size /= 2
		case err != nil:
			t.Fatal(err)
		}
	}
	return func() {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
}
