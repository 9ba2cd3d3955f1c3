package expressions_test

import (
	"testing"
	"time"

	"github.com/tillstream/tillstream/processors/expressions"
)

func TestDates(t *testing.T) {
	for _, c := range []struct{ as, value, want string }{
		{"date", "2026-03-01T23:30:00Z", "2026-03-01"},
		{"date day", "2026-03-01T23:30:00-01:00", "2026-03-02"},
		{"date +01:00", "2026-03-01T23:30:00Z", "2026-03-02"},
		{"date UTC", "2026-03-01T23:30:00Z", "2026-03-01"},
		{"date Europe/Berlin", "2026-03-01T23:30:00Z", "2026-03-02"},
		{"date full Z", "2026-03-01T23:30:00.123Z", "2026-03-01T23:30:00Z"},
		{"date full in Europe/Berlin", "2026-03-29T00:59:59Z", "2026-03-29T01:59:59+01:00"}, // clocks are put forward
		{"date full in Europe/Berlin", "2026-03-29T01:00:00Z", "2026-03-29T03:00:00+02:00"},
		{"date full in Europe/Berlin", "2026-10-25T00:30:00Z", "2026-10-25T02:30:00+02:00"}, // and back
		{"date full in Europe/Berlin", "2026-10-25T01:30:00Z", "2026-10-25T02:30:00+01:00"},
		{"date in Pacific/Auckland", "2028-02-28T12:00:00Z", "2028-02-29"}, // a leap day
		{"date DD/MM/YYYY", "2026-03-01", "01/03/2026"},
		{"date M/D/YY", "2026-03-01", "3/1/26"},
		{"date D.M.YYYY HH:mm:ss", "2026-03-01 07:08:09", "1.3.2026 07:08:09"},
		{"date h:mm A", "2026-03-01T23:30:00Z", "11:30 PM"},
		{"date ddd, D MMM YYYY in Asia/Kathmandu", "2026-03-01T23:30:00Z", "Mon, 2 Mar 2026"},
		{"date dddd", "2026-03-01T23:30:00Z", "Sunday"},
		{"date 'YYYY-MM-DD [at 1 of 2006] HH' in Europe/Berlin", "2026-03-01T23:30:00Z", "2026-03-02 at 1 of 2006 00"}, // digits are no layout
		{"date 20YY Z in -05:30", "2026-03-01T23:30:00Z", "2026 -05:30"},
		{"date time in America/New_York", "2026-03-01T23:30:00Z", "18:30"},
		{"date", "2026-03-01T10:00:00+0000", "2026-03-01"}, // PayPal's other form
		{"date", "2026-02-30", "-"},
		{"date", "1772407800", "-"},
		{"date", "soon", "-"},
	} {
		chain, err := expressions.ParseChain(c.as, nil)
		if err != nil {
			t.Errorf("%s: %v", c.as, err)
			continue
		}
		got, reason := chain.Run(c.value, values{})
		if reason != "" {
			got = "-"
		}
		if got != c.want {
			t.Errorf("%s of %s: got %q, %s, want %q", c.as, c.value, got, reason, c.want)
		}
	}
}

func TestNoSuchDate(t *testing.T) {
	const forms = "write date day, date full, date time, or a pattern such as date YYYY-MM-DD HH:mm, then in and a zone such as Europe/Berlin or +02:00"
	for as, want := range map[string]string{
		"date dd.mm.yyyy":                    `date knows no "dd.mm.yyyy"; ` + forms,
		"date 2006-01-02":                    `date knows no "2006-01-02"; ` + forms,
		"date in Europe/Berlin Europe/Paris": `date needs one zone behind in; ` + forms,
		"date day in CEST":                   `"CEST" is no time zone; did you mean CET?`,
		"date full +25:00":                   `date knows no "full +25:00"; ` + forms,
		"date YYYYYYYYYYYYYYYYYYYYYYYYYYYYYYYYYYYYYYYYYYYYYYYYYYYYYYYYYYYYYYYYYYYY": `the pattern of date is longer than 64 characters; ` + forms,
	} {
		if _, err := expressions.ParseChain(as, nil); err == nil || err.Error() != want {
			t.Errorf("%s:\ngot  %v\nwant %s", as, err, want)
		}
	}
}

// Days in a zone follow each other without gap or repetition, through four years of hours.
func TestDaysFollowEachOther(t *testing.T) {
	for _, zone := range []string{"Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Africa/Casablanca"} {
		chain, err := expressions.ParseChain("date in "+zone, nil)
		if err != nil {
			t.Fatal(err)
		}
		last := ""
		for at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC); at.Year() < 2030; at = at.Add(time.Hour) {
			day, reason := chain.Run(at.Format(time.RFC3339), values{})
			if reason != "" || day < last {
				t.Fatalf("%s: %s is %q, %s, after %s", zone, at, day, reason, last)
			}
			if last != "" && day != last {
				before, err := time.Parse(time.DateOnly, last)
				if err != nil || before.AddDate(0, 0, 1).Format(time.DateOnly) != day {
					t.Fatalf("%s: %s follows %s", zone, day, last)
				}
			}
			last = day
		}
	}
}
