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

// Load finds a zone by its IANA name, such as Europe/Berlin, or UTC. It reads the table each time (some tenths of a
// millisecond): who compiles a configuration keeps what it gives. The error of an unknown name proposes the nearest.
func Load(name string) (*time.Location, error) {
	if name == "UTC" {
		return time.UTC, nil
	}
	archive, err := zip.NewReader(bytes.NewReader(table), int64(len(table)))
	if err != nil {
		return nil, fmt.Errorf("table of time zones: %w", err)
	}
	at := slices.IndexFunc(archive.File, func(f *zip.File) bool { return f.Name == name && !f.FileInfo().IsDir() })
	if at < 0 {
		return nil, unknown(name, archive)
	}
	file, err := archive.File[at].Open()
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

func unknown(name string, archive *zip.Reader) error {
	names := namesOf(archive)
	if near := spelling.Nearest(name, names); near != "" {
		return fmt.Errorf("%.60q is no time zone; did you mean %s?", name, near)
	}
	// "Berlin" alone, or "berlin": the town of a zone
	for _, n := range names {
		if town := n[strings.LastIndexByte(n, '/')+1:]; strings.EqualFold(town, strings.ReplaceAll(name, " ", "_")) {
			return fmt.Errorf("%.60q is no time zone; did you mean %s?", name, n)
		}
	}
	return fmt.Errorf("%.60q is no time zone; write its IANA name, for example Europe/Berlin, or UTC", name)
}

// Names lists every zone, sorted.
func Names() []string {
	archive, err := zip.NewReader(bytes.NewReader(table), int64(len(table)))
	if err != nil {
		return nil
	}
	return namesOf(archive)
}

func namesOf(archive *zip.Reader) []string {
	names := make([]string, 0, len(archive.File))
	for _, f := range archive.File {
		if !f.FileInfo().IsDir() {
			names = append(names, f.Name)
		}
	}
	slices.Sort(names)
	return names
}
