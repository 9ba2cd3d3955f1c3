package scenario

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestWhatIsNotUnderstoodIsToldWithItsPlace(t *testing.T) {
	for line, want := range map[string]string{
		"evnt PAID order=A1":                   `"evnt" is no statement; did you mean event?`,
		"event PAYED order=A1":                 `"PAYED" is no status; did you mean PAID?`,
		"event PAID":                           "the event is about nothing",
		"event PAID order=A1 emial=x":          `"emial" is no attribute of an event; did you mean email?`,
		"event PAID order=A1 amount=5":         `needs a value and a currency`,
		"event PAID order=A1 subscription=S1":  "keep one",
		"event REFUNDED refund=R1":             "needs the payment",
		"event PAID order=A1 tset":             `"tset" is not understood`,
		"expect transitin A1":                  `did you mean transition?`,
		"expect transition A1 PAYED -> PAID":   `did you mean PAID?`,
		"expect wait w until tomorrow":         "is no day",
		"expect met w until 2026-03-01":        "until is for",
		"expect not command":                   "expect not met",
		"expect no status A1 PAID":             "expect status A1 PAID",
		"expect command X colour=red":          "is no attribute of commands",
		"at 2026-02-30":                        "is no day",
		"at 2026-03-01 10:00 Europe/Atlantis":  "is no time zone",
		"after 5 parsecs":                      "is no duration",
		"after 90000w":                         "is no duration",
		"advance 3h":                           "advance to",
		"answer list=x MAYBE":                  `"MAYBE" is no standing`,
		"decide perhaps":                       "decide met",
		"receivers away":                       "receivers down",
		"ignore everything":                    "is no class of things",
		"file ../secrets.yaml":                 "inside the configuration",
		"file w.yaml":                          "has no text",
		`event PAID order="A1`:                 "not closed",
		"touch":                                "e-mail address",
		"remove":                               "needs a path",
		"zone Mars":                            "needs a time zone",
		"again E1 origin=carrier-pigeon":       "is no origin",
		"scenario:":                            "has no title",
		"scenario: one":                        "already",
		"expect contact ann@example.com tug=x": "did you mean tag",
	} {
		t.Run(line, func(t *testing.T) {
			_, err := Parse("x.scenario", "scenario: one\n\n"+line+"\n")
			var ps Problems
			if !errors.As(err, &ps) || len(ps) != 1 || ps[0].Line != 3 || !strings.Contains(ps[0].Error(), want) {
				t.Errorf("got %v, want one problem in line 3 with %q", err, want)
			}
		})
	}
}

func TestAFileWithoutAScenarioIsRefused(t *testing.T) {
	if _, err := Parse("x.scenario", "# nothing\n"); err == nil || !strings.Contains(err.Error(), "x.scenario:1: the file has no scenario") {
		t.Errorf("got %v", err)
	}
}

func TestTimes(t *testing.T) {
	for text, want := range map[string]string{
		"2026-03-01":                        "2026-03-01 00:00",
		"2026-03-01 10:00":                  "2026-03-01 10:00",
		"2026-03-01 10:00 +01:00":           "2026-03-01 09:00",
		"2026-03-01 10:00 Europe/Rome":      "2026-03-01 09:00",
		"2026-07-01 10:00 Europe/Rome":      "2026-07-01 08:00",
		"2026-03-01 10:00:30.250":           "2026-03-01 10:00:30.250",
		"2026-03-01T10:00:00+02:00":         "2026-03-01 08:00",
		"2026-03-01 America/New_York":       "2026-03-01 05:00",
		"2026-12-31 23:59 Pacific/Auckland": "2026-12-31 10:59",
	} {
		list, err := split(text)
		if err != nil {
			t.Fatal(err)
		}
		w := &words{list: list, zone: time.UTC}
		got, err := w.moment()
		if err != nil || stamp(got) != want || len(w.list) > 0 {
			t.Errorf("%s: got %s (%v), want %s", text, stamp(got), err, want)
		}
	}
}

func TestDurations(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"30s": 30 * time.Second, "15m": 15 * time.Minute, "3h": 3 * time.Hour, "2d": 48 * time.Hour, "1w": 7 * 24 * time.Hour,
		"1d12h": 36 * time.Hour, "1.5h": 90 * time.Minute, "250ms": 250 * time.Millisecond,
	} {
		if got, err := durationOf(text); err != nil || got != want {
			t.Errorf("%s: got %s (%v), want %s", text, got, err, want)
		}
	}
}

func TestFilesAreTakenWithTheirIndent(t *testing.T) {
	f, err := Parse("x.scenario", "file workflows/w.yaml\n  a:\n    - b # kept\n\n  c: d\n\nscenario: one\nevent PAID order=A1 # not kept\n")
	if err != nil {
		t.Fatal(err)
	}
	got := f.Preamble[0].do.(doFile)
	if diff := cmp.Diff("a:\n  - b # kept\n\nc: d\n", got.text); diff != "" || got.path != "workflows/w.yaml" {
		t.Errorf("%s (-want +got):\n%s", got.path, diff)
	}
	if n := len(f.Scenarios[0].Statements); n != 1 {
		t.Errorf("%d statements, want 1", n)
	}
}

func TestAZoneHoldsForItsScenario(t *testing.T) {
	f, err := Parse("x.scenario", "zone Europe/Rome\nscenario: one\nzone UTC\nat 2026-03-01 10:00\nscenario: two\nat 2026-03-01 10:00\n")
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"2026-03-01 10:00", "2026-03-01 09:00"} {
		if got := stamp(f.Scenarios[i].Statements[0].do.(doAt).to); got != want {
			t.Errorf("%s: got %s, want %s", f.Scenarios[i].Name, got, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	files, err := filepath.Glob("../automation/testdata/scenarios/*.scenario")
	if err != nil {
		f.Fatal(err)
	}
	for _, path := range files {
		text, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text))
	}
	for _, text := range []string{"", "scenario:", "file a\n\tb", `event PAID order="\"" amount=`, "at 2026-03-01 10:00 +99:99", "expect no", "expect not", "expect ->", "after 1d1"} {
		f.Add("scenario: x\n" + text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		file, err := Parse("x.scenario", text)
		var ps Problems
		switch {
		case err == nil:
			for _, s := range file.Scenarios {
				if s.Name == "" || s.Line < 1 {
					t.Errorf("a scenario %q in line %d", s.Name, s.Line)
				}
				for _, st := range s.Statements {
					if st.do == nil || st.Line <= s.Line {
						t.Errorf("line %d: a statement that does nothing, or stands before its scenario", st.Line)
					}
				}
			}
		case !errors.As(err, &ps) || len(ps) == 0:
			t.Errorf("an error that tells no place: %v", err)
		default:
			for _, p := range ps {
				if p.Line < 1 || p.Line > strings.Count(text, "\n")+1 || p.Message == "" {
					t.Errorf("a problem in line %d: %q", p.Line, p.Message)
				}
			}
		}
	})
}
