package intake_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tillstream/tillstream/connectors"
	"github.com/tillstream/tillstream/connectors/generic"
	"github.com/tillstream/tillstream/pipeline/ingest"
	"github.com/tillstream/tillstream/pipeline/intake"
	"github.com/tillstream/tillstream/schemas"
)

var start = time.Date(2026, 11, 2, 10, 0, 0, 0, time.UTC)

func options(keep func(context.Context, connectors.Connector, connectors.Delivery) ([]schemas.OrderEvent, error)) intake.Options {
	return intake.Options{
		Connector: generic.Connector, Connection: "shop", Environment: schemas.Live, Origin: schemas.OriginBackfill,
		Now: func() time.Time { return start }, Keep: keep, Patience: 50 * time.Millisecond,
	}
}

func lines(text string) *intake.Lines { return intake.NewLines(strings.NewReader(text), nil) }

func order(id string) string {
	return `{"order_id":"` + id + `","status":"paid","occurred_at":"2026-11-02T10:00:00Z"}`
}

// log keeps what was sent.
type log struct {
	mu   sync.Mutex
	sent []connectors.Delivery
	fail func(n int, d connectors.Delivery) error
}

func (l *log) keep(_ context.Context, c connectors.Connector, d connectors.Delivery) ([]schemas.OrderEvent, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sent = append(l.sent, d)
	if l.fail != nil {
		if err := l.fail(len(l.sent), d); err != nil {
			return nil, err
		}
	}
	return c.Normalize(d)
}

type outcome struct {
	Line    int
	Outcome intake.Outcome
	Err     string
}

func run(t *testing.T, r intake.Reader, o intake.Options) ([]outcome, intake.Totals, error) {
	t.Helper()
	var got []outcome
	totals, err := intake.Run(t.Context(), r, o, func(r intake.Result) error {
		text := ""
		if r.Err != nil {
			text = r.Err.Error()
		}
		got = append(got, outcome{r.Line, r.Outcome, text})
		return nil
	})
	return got, totals, err
}

func TestRecordsAreReportedInTheirOrder(t *testing.T) {
	var text strings.Builder
	for i := range 500 {
		text.WriteString(order(fmt.Sprint(i%7)) + "\n")
		if i%100 == 50 {
			text.WriteString("\n{\"order_id\":\"x\"}\n")
		}
	}
	l := &log{}
	got, totals, err := run(t, lines(text.String()), options(l.keep))
	if err != nil || totals != (intake.Totals{Read: 505, Kept: 500, Rejected: 5}) || len(l.sent) != 500 {
		t.Fatalf("got %+v, %v, %d sent", totals, err, len(l.sent))
	}
	if !slices.IsSortedFunc(got, func(a, b outcome) int { return a.Line - b.Line }) {
		t.Error("lines are not in their order")
	}
	if want := (outcome{53, intake.Rejected, "occurred_at: missing"}); got[51] != want {
		t.Errorf("got %+v, want %+v", got[51], want)
	}
	if d := l.sent[0]; d.Origin != schemas.OriginBackfill || d.Connection != "shop" || d.Environment != schemas.Live || !d.ReceivedAt.Equal(start) || d.ID != "" {
		t.Errorf("got delivery %+v", d)
	}
}

// TestEventsOfOneOrderKeepTheirOrder also where many are under way at once.
func TestEventsOfOneOrderKeepTheirOrder(t *testing.T) {
	var text strings.Builder
	for i := range 300 {
		fmt.Fprintf(&text, `{"order_id":"%d","status":"paid","occurred_at":"2026-11-02T10:00:00Z","version":%d}`+"\n", i%5, i)
	}
	l := &log{}
	if _, _, err := run(t, lines(text.String()), options(l.keep)); err != nil {
		t.Fatal(err)
	}
	last := map[string]int64{}
	for _, d := range l.sent {
		e, err := generic.Connector.Normalize(d)
		if err != nil {
			t.Fatal(err)
		}
		if n := e[0].Sequence; n < last[e[0].RootID] {
			t.Errorf("order %s: %d was sent after %d", e[0].RootID, n, last[e[0].RootID])
		}
		last[e[0].RootID] = e[0].Sequence
	}
}

func TestNothingIsSentWhereNothingIsToBeKept(t *testing.T) {
	got, totals, err := run(t, lines(order("1")+"\nnonsense\n"), options(nil))
	if err != nil || totals != (intake.Totals{Read: 2, Good: 1, Rejected: 1}) || got[0].Outcome != intake.Good {
		t.Errorf("got %+v, %+v, %v", got, totals, err)
	}
}

// TestAFailureStops: what failed for a moment is sent again; what fails for good ends the intake, and each record's fate
// is told.
func TestAFailureStops(t *testing.T) {
	down := errors.New("broker is away")
	t.Run("for a moment", func(t *testing.T) {
		l := &log{fail: func(n int, _ connectors.Delivery) error {
			if n < 3 {
				return ingest.ErrUnknownResult
			}
			return nil
		}}
		o := options(l.keep)
		o.Patience = 10 * time.Second
		if got, totals, err := run(t, lines(order("1")), o); err != nil || totals.Kept != 1 || len(l.sent) != 3 {
			t.Errorf("got %+v, %+v, %v after %d tries", got, totals, err, len(l.sent))
		}
	})
	for _, c := range []struct {
		err  error
		want intake.Outcome
	}{{down, intake.Unsent}, {fmt.Errorf("append: %w", ingest.ErrUnknownResult), intake.Unsure}} {
		l := &log{fail: func(_ int, d connectors.Delivery) error {
			if strings.Contains(string(d.Body), `"order_id":"2"`) {
				return c.err
			}
			return nil
		}}
		o := options(l.keep)
		o.Parallel = 1
		got, totals, err := run(t, lines(order("1")+"\n"+order("2")+"\n"+order("3")+"\n"+order("4")+"\n"), o)
		if !errors.Is(err, c.err) {
			t.Errorf("got %v, want %v", err, c.err)
		}
		if got[0].Outcome != intake.Kept || got[1].Outcome != c.want || totals.Kept != 1 || totals.Read != len(got) {
			t.Errorf("got %+v, %+v", got, totals)
		}
		for _, r := range got[2:] {
			if r.Outcome != intake.Unsent {
				t.Errorf("got %+v, want it not sent", r)
			}
		}
	}
}

// TestWhatTheKeeperSetsAside is told and stops nothing.
func TestWhatTheKeeperSetsAside(t *testing.T) {
	keep := func(_ context.Context, c connectors.Connector, d connectors.Delivery) ([]schemas.OrderEvent, error) {
		events, err := c.Normalize(d)
		if events[0].RootID == "2" {
			events[0].Problem = "a card number"
		}
		return events, err
	}
	got, totals, err := run(t, lines(order("1")+"\n"+order("2")+"\n"+order("3")), options(keep))
	if err != nil || totals != (intake.Totals{Read: 3, Kept: 2, Rejected: 1}) || got[1].Err != "a card number" {
		t.Errorf("got %+v, %+v, %v", got, totals, err)
	}
}

func TestStopping(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	l := &log{fail: func(n int, _ connectors.Delivery) error {
		if n == 10 {
			cancel()
		}
		return nil
	}}
	text := strings.Repeat(order("1")+"\n", 10_000)
	totals, err := intake.Run(ctx, lines(text), options(l.keep), func(intake.Result) error { return nil })
	if !errors.Is(err, context.Canceled) || totals.Kept < 10 || totals.Read > 1000 {
		t.Errorf("got %+v, %v", totals, err)
	}
	full := errors.New("disk full")
	totals, err = intake.Run(t.Context(), lines(text), options(l.keep), func(intake.Result) error { return full })
	if !errors.Is(err, full) || totals.Read > 1000 {
		t.Errorf("got %+v, %v, want it stopped by the report", totals, err)
	}
}

func TestLines(t *testing.T) {
	long := `{"x":"` + strings.Repeat("a", intake.BodyBytesMax) + `"}`
	exact := strings.Repeat("b", intake.BodyBytesMax)
	r := intake.NewLines(strings.NewReader("\xef\xbb\xbf{1}\r\n\n  \n"+long+"\n"+exact+"\r\n{3}"), func(b []byte) map[string]string { return map[string]string{"L": fmt.Sprint(len(b))} })
	var got []outcome
	var bodies []string
	for {
		i, err := r.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		text := ""
		if i.Err != nil {
			text = i.Err.Error()
		} else if i.Headers["L"] != fmt.Sprint(len(i.Body)) {
			t.Errorf("line %d: headers %v", i.Line, i.Headers)
		}
		got = append(got, outcome{Line: i.Line, Err: text})
		bodies = append(bodies, string(i.Body))
	}
	want := []outcome{{Line: 1}, {Line: 4, Err: "longer than 1048576 bytes"}, {Line: 5}, {Line: 6}}
	if diff := cmp.Diff(got, want); diff != "" {
		t.Errorf("-got +want:\n%s", diff)
	}
	if bodies[0] != "{1}" || bodies[2] != exact || bodies[3] != "{3}" {
		t.Errorf("got bodies %.20q", bodies)
	}
}

func TestReadJSON(t *testing.T) {
	for _, c := range []struct {
		name, text string
		want       []string // "line body"
		err        string
	}{
		{"one object", "\n\n{\n\"a\": 1\n}\n", []string{"3 {\n\"a\": 1\n}"}, ""},
		{"one line", `{"a":1}`, []string{`1 {"a":1}`}, ""},
		{"lines", "{\"a\":1}\n\n{\"a\":2}\r\n", []string{`1 {"a":1}`, `3 {"a":2}`}, ""},
		{"a bad line", "{\"a\":1}\n{\"a\":\n{}", []string{`1 {"a":1}`, `2 {"a":`, `3 {}`}, ""},
		{"a bad first line", "{\"a\":x}\n{\"a\":2}", []string{`1 {"a":x}`, `2 {"a":2}`}, ""},
		{"a bad object of several lines", "{\n\"a\": x\n}", []string{"1 {\n\"a\": x\n}"}, ""},
		{"an array", " [\n{\"a\":1},\n  {\"a\":\n2}, 7]\n", []string{`2 {"a":1}`, "3 {\"a\":\n2}", "4 7"}, ""},
		{"an empty array", "[]", nil, ""},
		{"a broken array", "[{},\n{\"a\":x}]", nil, "line 2: the array cannot be read"},
		{"an array without end", "[{}", nil, "the array"},
		{"an array and more", "[{}] {}", nil, "text after the array"},
		{"nothing", " \n", nil, "empty"},
	} {
		t.Run(c.name, func(t *testing.T) {
			items, err := intake.ReadJSON(strings.NewReader(c.text), nil)
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Fatalf("got %v, want an error with %q", err, c.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if items.Len() != len(c.want) {
				t.Fatalf("got %d records, want %d", items.Len(), len(c.want))
			}
			for _, want := range c.want {
				i, err := items.Read()
				if got := fmt.Sprintf("%d %s", i.Line, i.Body); err != nil || got != want {
					t.Errorf("got %q, %v, want %q", got, err, want)
				}
			}
			if _, err := items.Read(); !errors.Is(err, io.EOF) {
				t.Errorf("got %v after the last, want the end", err)
			}
		})
	}
}
