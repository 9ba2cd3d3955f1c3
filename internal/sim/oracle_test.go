package sim

import (
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tillstream/tillstream/pipeline"
)

// The checks themselves: what they must let pass, and what not.

func TestCompare(t *testing.T) {
	one, two := []string{"a", "b", "c"}, []string{"x", "y"}
	for _, c := range []struct {
		name string
		want [][]string
		got  string
		fine bool
	}{
		{"one source, in order", [][]string{one}, "a b c", true},
		{"lost", [][]string{one}, "a b", false},
		{"twice", [][]string{one}, "a b b c", false},
		{"out of order", [][]string{one}, "a c b", false},
		{"two sources, mixed", [][]string{one, two}, "a x b y c", true},
		{"two sources, one out of order", [][]string{one, two}, "a y x b c", false},
		{"two sources, lost", [][]string{one, two}, "a x b c", false},
		{"nothing wanted", nil, "a", false},
	} {
		if text := compare(c.want, strings.Fields(c.got)); (text == "") != c.fine {
			t.Errorf("%s: %q", c.name, text)
		}
	}
}

func TestStampOf(t *testing.T) {
	at := time.UnixMilli(1_000_000_000)
	for _, c := range []struct {
		name, stamp string
		want        int64
	}{
		{"no stamp", "", 1_000_000_000},
		{"the sender's clock is right", "1000000000", 1_000_000_000},
		{"the sender's clock runs ahead", "2000000000", 1_000_000_000},
		{"the broker's clock runs ahead", "900000000", 900_000_000 + 5*60*1000},
		{"no number", "soon", 1_000_000_000},
	} {
		r := &kgo.Record{Timestamp: at}
		if c.stamp != "" {
			r.Headers = []kgo.RecordHeader{{Key: pipeline.HeaderStamp, Value: []byte(c.stamp)}}
		}
		if got := stampOf(r); got != c.want {
			t.Errorf("%s: got %d, want %d", c.name, got, c.want)
		}
	}
}

func TestEnvelopeState(t *testing.T) {
	// Version 1, deadline 5 (zigzag 10), one muted timer (at 1, id "x"), the state.
	if got, err := envelopeState([]byte("\x01\x0a\x01\x02\x01xstate")); err != nil || got != "state" {
		t.Errorf("got %q, %v", got, err)
	}
	if _, err := envelopeState([]byte("\x02")); err == nil {
		t.Error("another version is read")
	}
}

// TestEveryFaultHasAReasonOrASeed: the matrix is whole.
func TestEveryFaultHasAReasonOrASeed(t *testing.T) {
	sensible := 0
	for _, f := range faultRows {
		for _, p := range partColumns {
			if WhyNot(Cell{f, p}) == "" {
				sensible++
			}
		}
	}
	if got := len(Missing(nil)); got != sensible || sensible < 60 {
		t.Errorf("%d cells are missing of %d that make sense", got, sensible)
	}
}

func TestInsertReport(t *testing.T) {
	doc, err := Insert("before\n"+reportBegin+"\nold\n"+reportEnd+"\nafter\n", "new\n")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := Inserted(doc); err != nil || got != "new\n" || !strings.HasPrefix(doc, "before\n") || !strings.HasSuffix(doc, "\nafter\n") {
		t.Errorf("got %q, %v in %q", got, err, doc)
	}
	if _, err := Insert("nothing", "new"); err == nil {
		t.Error("a document without a place took a report")
	}
}
