package zones_test

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tillstream/tillstream/processors/zones"
)

func load(t testing.TB, name string) *time.Location {
	t.Helper()
	zone, err := zones.Load(name)
	if err != nil {
		t.Fatal(err)
	}
	return zone
}

// The table and its version go together: whoever puts in another one says which.
func TestTheTableIsOfThisVersion(t *testing.T) {
	table, err := os.ReadFile("zoneinfo.zip")
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(table)
	const want = "2025c 8f55634d05f8bca1f7bc7c69c5933428c69357e0bdf565e5ba224e3f88ff12e8"
	if got := zones.Version + " " + hex.EncodeToString(sum[:]); got != want {
		t.Errorf("the table is %s, want %s", got, want)
	}
}

// Local times at both ends of daylight saving, on leap days, and where the rules are unusual.
func TestTimesInZones(t *testing.T) {
	for _, c := range []struct{ zone, utc, want string }{
		{"Europe/Berlin", "2026-03-29T00:59:59Z", "2026-03-29 01:59:59 +0100"},
		{"Europe/Berlin", "2026-03-29T01:00:00Z", "2026-03-29 03:00:00 +0200"}, // 02:30 does not exist
		{"Europe/Berlin", "2026-10-25T00:30:00Z", "2026-10-25 02:30:00 +0200"}, // 02:30 is twice
		{"Europe/Berlin", "2026-10-25T01:30:00Z", "2026-10-25 02:30:00 +0100"},
		{"Europe/Berlin", "2028-02-28T23:30:00Z", "2028-02-29 00:30:00 +0100"},
		{"Europe/Berlin", "2028-02-29T23:30:00Z", "2028-03-01 00:30:00 +0100"},
		{"Europe/Berlin", "2060-07-01T00:00:00Z", "2060-07-01 02:00:00 +0200"}, // beyond the listed years, by the rule
		{"America/New_York", "2026-03-08T07:00:00Z", "2026-03-08 03:00:00 -0400"},
		{"America/New_York", "2026-11-01T06:30:00Z", "2026-11-01 01:30:00 -0500"},
		{"Australia/Lord_Howe", "2026-07-01T00:00:00Z", "2026-07-01 10:30:00 +1030"},
		{"Australia/Lord_Howe", "2026-01-01T00:00:00Z", "2026-01-01 11:00:00 +1100"}, // half an hour of daylight saving
		{"Asia/Kathmandu", "2026-01-01T00:00:00Z", "2026-01-01 05:45:00 +0545"},
		{"America/Sao_Paulo", "2026-01-01T12:00:00Z", "2026-01-01 09:00:00 -0300"}, // daylight saving given up in 2019
		{"America/Sao_Paulo", "2019-01-01T12:00:00Z", "2019-01-01 10:00:00 -0200"},
		{"Africa/Casablanca", "2026-02-25T12:00:00Z", "2026-02-25 12:00:00 +0000"}, // Ramadan
		{"Pacific/Kiritimati", "2026-01-01T12:00:00Z", "2026-01-02 02:00:00 +1400"},
		{"UTC", "2026-03-29T01:00:00Z", "2026-03-29 01:00:00 +0000"},
	} {
		at, err := time.Parse(time.RFC3339, c.utc)
		if err != nil {
			t.Fatal(err)
		}
		if got := at.In(load(t, c.zone)).Format("2006-01-02 15:04:05 -0700"); got != c.want {
			t.Errorf("%s in %s is %s, want %s", c.utc, c.zone, got, c.want)
		}
	}
}

// A local time that is not there, or is there twice, has one defined moment.
func TestLocalTimesInGapsAndFolds(t *testing.T) {
	for _, c := range []struct {
		zone         string
		month        time.Month
		day          int
		hour, minute int
		want         string
	}{
		{"Europe/Berlin", time.March, 29, 1, 59, "2026-03-29T00:59:00Z"},
		{"Europe/Berlin", time.March, 29, 2, 30, "2026-03-29T01:30:00Z"}, // shown as 03:30
		{"Europe/Berlin", time.March, 29, 3, 0, "2026-03-29T01:00:00Z"},
		{"Europe/Berlin", time.October, 25, 2, 30, "2026-10-25T00:30:00Z"}, // the first of the two
		{"Europe/Berlin", time.October, 25, 3, 0, "2026-10-25T02:00:00Z"},
		{"America/New_York", time.March, 8, 2, 30, "2026-03-08T07:30:00Z"},
		{"America/New_York", time.November, 1, 1, 30, "2026-11-01T05:30:00Z"},
		{"Australia/Lord_Howe", time.October, 4, 2, 15, "2026-10-03T15:45:00Z"}, // half an hour is skipped
		{"Pacific/Kiritimati", time.January, 1, 0, 0, "2025-12-31T10:00:00Z"},
		{"UTC", time.February, 29, 12, 0, "2026-03-01T12:00:00Z"}, // no leap year: the day after the 28th
	} {
		if got := zones.At(2026, c.month, c.day, c.hour, c.minute, load(t, c.zone)).UTC().Format(time.RFC3339); got != c.want {
			t.Errorf("%s, %s %d, %02d:%02d: got %s, want %s", c.zone, c.month, c.day, c.hour, c.minute, got, c.want)
		}
	}
}

// Whatever the zone and the day: the moment shows the wanted time, and is the first that does; or the time is skipped,
// and the moment lies less than a day's change behind it.
func TestAtIsTheFirstMomentThatShowsTheTime(t *testing.T) {
	list := []*time.Location{load(t, "Europe/Berlin"), load(t, "America/New_York"), load(t, "Australia/Lord_Howe"), load(t, "Africa/Casablanca"), load(t, "America/Santiago"), load(t, "Asia/Kathmandu")}
	rapid.Check(t, func(t *rapid.T) {
		zone := rapid.SampledFrom(list).Draw(t, "zone")
		start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).AddDate(0, 0, rapid.IntRange(0, 1500).Draw(t, "day"))
		hour, minute := rapid.IntRange(0, 23).Draw(t, "hour"), rapid.IntRange(0, 59).Draw(t, "minute")
		got := zones.At(start.Year(), start.Month(), start.Day(), hour, minute, zone)
		shows := func(at time.Time) bool {
			local := at.In(zone)
			return local.Day() == start.Day() && local.Hour() == hour && local.Minute() == minute
		}
		for _, change := range []time.Duration{30 * time.Minute, time.Hour} {
			if shows(got.Add(-change)) {
				t.Fatalf("%s shows the time as well, %s before", got.Add(-change), change)
			}
		}
		if !shows(got) {
			shown := time.Date(start.Year(), start.Month(), start.Day(), hour, minute, 0, 0, time.UTC)
			local := time.Date(got.Year(), got.Month(), got.Day(), got.Hour(), got.Minute(), 0, 0, time.UTC)
			if skipped := local.Sub(shown); skipped != time.Hour && skipped != 30*time.Minute {
				t.Fatalf("got %s for %s", got, shown.Format(time.DateTime))
			}
		}
	})
}

func TestUnknownZones(t *testing.T) {
	const forms = `write its IANA name, for example Europe/Berlin, or UTC`
	for name, want := range map[string]string{
		"Europe/Berln":        `"Europe/Berln" is no time zone; did you mean Europe/Berlin?`,
		"europe/berlin":       `"europe/berlin" is no time zone; did you mean Europe/Berlin?`,
		"Berlin":              `"Berlin" is no time zone; did you mean Europe/Berlin?`,
		"new york":            `"new york" is no time zone; did you mean America/New_York?`,
		"Mars/Olympus":        `"Mars/Olympus" is no time zone; ` + forms,
		"Local":               `"Local" is no time zone; ` + forms,
		"":                    `"" is no time zone; ` + forms,
		"../../../etc/passwd": `"../../../etc/passwd" is no time zone; ` + forms,
	} {
		if zone, err := zones.Load(name); err == nil || err.Error() != want {
			t.Errorf("Load(%q) = %v, %v, want %s", name, zone, err, want)
		}
	}
}

func TestEveryZoneLoads(t *testing.T) {
	names := zones.Names()
	if len(names) < 500 || !slices.IsSorted(names) || !slices.Contains(names, "Europe/Berlin") {
		t.Fatalf("%d names", len(names))
	}
	for _, name := range names {
		if zone := load(t, name); zone.String() != name {
			t.Errorf("%s calls itself %s", name, zone)
		}
	}
}

func BenchmarkLoad(b *testing.B) {
	for b.Loop() {
		load(b, "Europe/Berlin")
	}
}
