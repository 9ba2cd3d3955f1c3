// Package zones knows the world's time zones from a table inside the binary, so that one history gives the same
// results on every machine and in every year, whatever the system's own files say.
//
// The table is zoneinfo.zip of the Go distribution: compiled files of the IANA Time Zone Database, which is in the
// public domain. A newer table is a new Version, and goes with a new version of the stages that use it.
package zones

import (
	"archive/zip"
	"bytes"
	_ "embed" // the table
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/tillstream/tillstream/processors/spelling"
)

// Version is the release of the time zone database.
const Version = "2025c"

//go:embed zoneinfo.zip
var table []byte

// zoneBytesMax bounds one zone's file; the largest has less than 4 kB.
const zoneBytesMax = 64 << 10

// files is the table's directory.
var files = func() map[string]*zip.File {
	archive, err := zip.NewReader(bytes.NewReader(table), int64(len(table)))
	if err != nil {
		return nil // a test reads every zone
	}
	m := make(map[string]*zip.File, len(archive.File))
	for _, f := range archive.File {
		if !f.FileInfo().IsDir() {
			m[f.Name] = f
		}
	}
	return m
}()

// Load finds a zone by its IANA name, such as Europe/Berlin, or UTC. It reads the zone's file each time: who compiles
// a configuration keeps what it gives. The error of an unknown name proposes the nearest.
func Load(name string) (*time.Location, error) {
	if name == "UTC" {
		return time.UTC, nil
	}
	entry := files[name]
	if entry == nil {
		return nil, unknown(name)
	}
	file, err := entry.Open()
	if err != nil {
		return nil, fmt.Errorf("time zone %s: %w", name, err)
	}
	defer file.Close() //nolint:errcheck // it is read from memory
	data, err := io.ReadAll(io.LimitReader(file, zoneBytesMax))
	if err != nil {
		return nil, fmt.Errorf("time zone %s: %w", name, err)
	}
	zone, err := time.LoadLocationFromTZData(name, data)
	if err != nil {
		return nil, fmt.Errorf("time zone %s: %w", name, err)
	}
	return zone, nil
}

func unknown(name string) error {
	names := Names()
	if near := spelling.Nearest(name, names); near != "" {
		return fmt.Errorf("%.60q is no time zone; did you mean %s?", name, near)
	}
	for _, n := range names { // the town alone: Berlin, new york
		if town := n[strings.LastIndexByte(n, '/')+1:]; strings.EqualFold(town, strings.ReplaceAll(name, " ", "_")) {
			return fmt.Errorf("%.60q is no time zone; did you mean %s?", name, n)
		}
	}
	return fmt.Errorf("%.60q is no time zone; write its IANA name, for example Europe/Berlin, or UTC", name)
}

// Names lists every zone, sorted.
func Names() []string { return slices.Sorted(maps.Keys(files)) }

// At is the moment at which clocks in a zone show this. What they show twice, when they are put back, means the first
// time; what they skip, when they are put forward, means as long after the jump (02:30 becomes 03:30). Package time
// leaves both open.
func At(year int, month time.Month, day, hour, minute int, zone *time.Location) time.Time {
	shown := time.Date(year, month, day, hour, minute, 0, 0, time.UTC)
	// no zone is a day away from UTC, so the offsets a day before and after are those on both sides of a change
	const day24 = 24 * time.Hour
	early := shown.Add(-offset(shown.Add(-day24), zone))
	late := shown.Add(-offset(shown.Add(day24), zone))
	for _, at := range []time.Time{early, late} {
		if local := at.In(zone); local.Hour() == shown.Hour() && local.Minute() == shown.Minute() && local.Day() == shown.Day() {
			return local
		}
	}
	return early.In(zone)
}

func offset(at time.Time, zone *time.Location) time.Duration {
	_, seconds := at.In(zone).Zone()
	return time.Duration(seconds) * time.Second
}
