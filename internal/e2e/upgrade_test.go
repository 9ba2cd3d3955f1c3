package e2e

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/tillstream/tillstream/simulators/story"
)

// upgradeFile holds what the release before wrote to Kafka and the schema registry: inputs, changelogs with states and
// meta records, group offsets and plans. Redis begins empty, so that every state is read from there.
//
// A clone need not hold that release's source, hence its data are kept. They are written anew, for another release, with
//
//	TILLSTREAM_E2E_FORMER=/path/of/its/tillstream go test ./internal/e2e -run TestUpgrade
const (
	upgradeFile = "testdata/former-release.tar.gz"
	formerEnv   = "TILLSTREAM_E2E_FORMER"
)

// upgradeFileBytesMax bounds one unpacked file.
const upgradeFileBytesMax = 64 << 20

// upgradeStory is the same each time: a repetition must be recognised by the former release's state.
func upgradeStory() (told, next []story.Event) {
	events := story.New(story.Options{Seed: 47, Orders: 40, Accounts: []string{"paypal-eu", "paypal-us"}, Start: time.Date(2025, 3, 1, 12, 0, 0, 0, time.UTC)}).Events()
	return events[:len(events)/2], events[len(events)/2:]
}

// TestUpgradeGoesOnFromTheFormerReleasesData starts the program on the data of the release before. Every state is
// readable, no offset is odd, what that release had processed is recognised when it comes again, and the rest of the
// story is told upon its states.
func TestUpgradeGoesOnFromTheFormerReleasesData(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	data := filepath.Join(w.dir, "data")
	told, next := upgradeStory()
	if former := os.Getenv(formerEnv); former != "" {
		w.program = former
		w.dev(t)
		w.awaitReady(t)
		w.told(t, told)
		w.awaitAgreement(t, told)
		w.stop(t, "its data are about to be kept")
		pack(t, data, upgradeFile, "kafka", "registry")
		t.Logf("%s is written", upgradeFile)
		return
	}
	unpack(t, upgradeFile, data)
	w.forgetLate(t)
	w.dev(t)
	w.awaitReady(t)
	if code, s := w.status(t); code != 0 {
		t.Errorf("status on the former release's data: %d %+v", code, s)
	}
	if got := w.metric(t, "tillstream_recoveries_total", `kind="rebuild"`); got != 4 {
		t.Errorf("%v partitions were rebuilt from the changelogs, want 2 of each stage", got)
	}
	if got := w.metric(t, "tillstream_offset_alarms_total"); got != 0 {
		t.Errorf("%v offset alarms", got)
	}
	if got := w.metric(t, "tillstream_timers_armed", `stage="orders"`); got == 0 {
		t.Error("no wait of the former release is armed")
	}

	w.told(t, told)
	w.awaitDispositions(t, func(got map[string]uint64) bool {
		return got["CHANGED"]+got["RECORDED"]+got["LATE"] == 0 && got["DUPLICATE"] > 0
	})
	w.told(t, next)
	got := w.awaitDispositions(t, func(got map[string]uint64) bool { return got["CHANGED"] > 0 && got["RECORDED"] > 0 })
	t.Logf("dispositions after the upgrade: %v", got)
	if code, s := w.status(t); code != 0 {
		t.Errorf("status in the end: %d %+v", code, s)
	}
}

// forgetLate keeps ended orders for a hundred years: the data grow older than the time after which they are forgotten.
func (w *world) forgetLate(t *testing.T) {
	t.Helper()
	w.edit(t, "tillstream.yaml", "stages:\n", "stages:\n  forget_after: 876000h\n")
}

// awaitDispositions waits until the events delivered since the upgrade have one end each, and wants these to be right.
// ClickHouse is new, and the loader's offsets are the former release's: it holds what came since.
func (w *world) awaitDispositions(t *testing.T, right func(map[string]uint64) bool) (got map[string]uint64) {
	t.Helper()
	sent, err := w.paypal(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	events := sent.Delivered
	db := w.database(t)
	w.await(t, fmt.Sprintf("%d events have an end", events), func() error {
		got = map[string]uint64{}
		rows, err := db.Query(t.Context(), "SELECT toString(disposition), uniqExact(event_id) FROM transitions FINAL WHERE event_id != '' GROUP BY 1 "+
			"UNION ALL SELECT 'DEAD', count() FROM dead_letters FINAL")
		if err != nil {
			return err
		}
		var sum uint64
		for rows.Next() {
			var name string
			var n uint64
			if err := rows.Scan(&name, &n); err != nil {
				return err
			}
			got[name], sum = n, sum+n
		}
		if err := rows.Err(); err != nil || sum < uint64(events) {
			return errors.Join(err, fmt.Errorf("%v", got))
		}
		return nil
	})
	if !right(got) {
		t.Errorf("dispositions of %d events: %v", events, got)
	}
	return got
}

func pack(t *testing.T, dir, path string, folders ...string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	z := gzip.NewWriter(f)
	a := tar.NewWriter(z)
	for _, folder := range folders {
		err := filepath.WalkDir(filepath.Join(dir, folder), func(path string, d fs.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() {
				return err
			}
			name, err := filepath.Rel(dir, path)
			if err != nil {
				return err
			}
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			if err := a.WriteHeader(&tar.Header{Name: filepath.ToSlash(name), Mode: 0o600, Size: int64(len(b))}); err != nil {
				return err
			}
			_, err = a.Write(b)
			return err
		})
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
	}
	if err := errors.Join(a.Close(), z.Close(), f.Close()); err != nil {
		t.Fatal(err)
	}
}

func unpack(t *testing.T, path, dir string) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for a := tar.NewReader(z); ; {
		h, err := a.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil || !filepath.IsLocal(h.Name) {
			t.Fatalf("%s cannot be unpacked: %v", path, err)
		}
		b, err := io.ReadAll(io.LimitReader(a, upgradeFileBytesMax))
		if err != nil {
			t.Fatal(err)
		}
		to := filepath.Join(dir, h.Name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(to), 0o700), os.WriteFile(to, b, 0o600)); err != nil {
			t.Fatal(err)
		}
		names = append(names, h.Name)
	}
	if len(names) < 2 {
		t.Fatalf("%s holds only %v", path, names)
	}
}
