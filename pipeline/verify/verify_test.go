package verify

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tillstream/tillstream/pipeline/kafka"
	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/schemas/codec"
	"github.com/tillstream/tillstream/sinks"
)

// log is Kafka in memory, of two partitions.
type log struct {
	codec *codec.Codec
	parts map[string][2][]*kgo.Record
}

func newLog() *log { return &log{codec: codec.NewLocal(), parts: map[string][2][]*kgo.Record{}} }

func (l *log) Describe(context.Context, string) (kafka.TopicInfo, error) {
	return kafka.TopicInfo{Count: 2}, nil
}

func (l *log) Bounds(_ context.Context, topic string, p int32) (int64, int64, error) {
	return 0, int64(len(l.parts[topic][p])), nil
}

func (l *log) Read(_ context.Context, r kafka.Range, apply func([]*kgo.Record, int64) error) error {
	for at := r.From; at < r.To; at++ { // one record at a time: every place to stop is met
		if err := apply(l.parts[r.Topic][r.Partition][at:at+1], at+1); err != nil {
			return err
		}
	}
	return nil
}

func (l *log) add(topic string, p int32, key string, rec schemas.Record) {
	value, err := l.codec.Encode(rec)
	if err != nil {
		panic(err)
	}
	parts := l.parts[topic]
	parts[p] = append(parts[p], &kgo.Record{Topic: topic, Partition: p, Offset: int64(len(parts[p])), Key: []byte(key), Value: value})
	l.parts[topic] = parts
}

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// state appends a desired state, and what became of it; "": nothing yet.
func (l *log) state(name string, version int64, destination string, outcomes ...schemas.OutcomeWord) {
	key, id := "live/"+name+"@example.com", fmt.Sprintf("%s-%d-%s", name, version, destination)
	l.add(schemas.TopicCommands, int32(len(name)%2), key, &schemas.Command{
		CommandID: id, Kind: schemas.CommandContact, Destination: destination, ContactKey: key, Version: version,
		Contact: schemas.Contact{Email: name + "@example.com", FirstName: fmt.Sprint(version)}, At: noon.Add(time.Duration(version) * time.Hour),
	})
	for _, o := range outcomes {
		l.add(schemas.TopicDeliveries, int32(len(name)%2), key, &schemas.Delivery{CommandID: id, Destination: destination, ContactKey: key, Outcome: o})
	}
}

// crm has a first name of each e-mail address; its answers can be told.
type crm struct {
	names    map[string]string
	standing map[string]schemas.Standing
	asked    []string
	outcome  func(email string, n int) sinks.Outcome
	meant    func(email string) // called while a contact is read
}

func (c *crm) Verify(_ context.Context, want schemas.Contact) (sinks.Comparison, sinks.Outcome) {
	c.asked = append(c.asked, want.Email)
	if c.meant != nil {
		c.meant(want.Email)
	}
	if c.outcome != nil {
		if o := c.outcome(want.Email, len(c.asked)); o.Kind != sinks.Delivered {
			return sinks.Comparison{}, o
		}
	}
	name, known := c.names[want.Email]
	got := sinks.Comparison{Absent: !known, Standing: c.standing[want.Email]}
	if known && name != want.FirstName {
		got.Differences = []sinks.Difference{{Part: "first name", Want: want.FirstName, Got: name}}
	}
	return got, sinks.Outcome{Kind: sinks.Delivered}
}

// world: ann is as meant, bob differs, cleo is absent, dora has left, erik's newest state is on its way, fay was refused,
// and gus is another destination's.
func world() (*log, *crm) {
	l := newLog()
	l.state("ann", 1, "crm", schemas.OutcomeDelivered)
	l.state("ann", 2, "crm", schemas.OutcomeRetryable, schemas.OutcomeDelivered)
	l.state("ann", 9, "other", schemas.OutcomeDelivered)
	l.state("bob", 3, "crm", schemas.OutcomeDelivered)
	l.state("cleo", 1, "crm", schemas.OutcomeDelivered)
	l.state("dora", 1, "crm", schemas.OutcomeDelivered)
	l.state("erik", 1, "crm", schemas.OutcomeDelivered)
	l.state("erik", 2, "crm", schemas.OutcomeRetryable)
	l.state("fay", 1, "crm", schemas.OutcomeRejected)
	l.state("gus", 1, "other", schemas.OutcomeDelivered)
	l.parts[schemas.TopicCommands] = [2][]*kgo.Record{
		append(l.parts[schemas.TopicCommands][0], &kgo.Record{Key: []byte("live/ann@example.com"), Value: []byte("garbage"), Offset: int64(len(l.parts[schemas.TopicCommands][0]))}),
		l.parts[schemas.TopicCommands][1],
	}
	return l, &crm{
		names:    map[string]string{"ann@example.com": "2", "bob@example.com": "by hand", "dora@example.com": "1", "fay@example.com": "older"},
		standing: map[string]schemas.Standing{"dora@example.com": schemas.StandingUnsubscribed},
	}
}

func open(t *testing.T, l *log, a Asked) *Book {
	t.Helper()
	a.Destination = "crm"
	b, err := Open(t.Context(), l, l.codec.Decode, a)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestEachContactIsComparedWithItsNewestState(t *testing.T) {
	l, c := world()
	got := map[string]string{}
	var mended []string
	tally, err := Run(t.Context(), open(t, l, Asked{}), RunOptions{
		Verifier: c, Why: "test",
		Repair: func(_ context.Context, touch *schemas.ContactTouch) error {
			if !touch.Resend || touch.Destination != "crm" {
				t.Errorf("touch %+v, want a resend to crm", touch)
			}
			mended = append(mended, touch.ContactKey)
			return nil
		},
		Told: func(r Result) error { got[r.ContactKey] = string(r.Result) + ": " + r.Detail; return nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"live/ann@example.com":  "MATCHES: it has what is meant",
		"live/bob@example.com":  "DRIFTED: other than meant: first name; its desired state is sent again",
		"live/cleo@example.com": "DRIFTED: the destination does not know the person",
		"live/dora@example.com": "MATCHES: it has what is meant, and the person is unsubscribed",
		"live/fay@example.com":  "DRIFTED: other than meant: first name; its desired state is sent again",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("results (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(Tally{Compared: 5, Matches: 2, Drifted: 2, Absent: 1, Unsubscribed: 1, Unfinished: 1, Mended: 2}, tally); diff != "" {
		t.Errorf("counts (-want +got):\n%s", diff)
	}
	if len(mended) != 2 || strings.Contains(strings.Join(mended, ""), "cleo") {
		t.Errorf("sent again: %v, want bob and fay, and nobody whom the CRM does not know", mended)
	}
}

func TestWhoIsMeant(t *testing.T) {
	l, c := world()
	for name, tt := range map[string]struct {
		asked Asked
		want  int
	}{
		"all":          {Asked{}, 5},
		"an address":   {Asked{Contact: " ANN@example.com"}, 1},
		"a key":        {Asked{Contact: "live/ann@example.com"}, 1},
		"nobody":       {Asked{Contact: "sandbox/ann@example.com"}, 0},
		"since a time": {Asked{Since: noon.Add(2 * time.Hour)}, 2},
		"a sample":     {Asked{Sample: 3, Seed: "x"}, 3},
		"a big sample": {Asked{Sample: 30, Seed: "x"}, 5},
	} {
		if got := open(t, l, tt.asked).Selected(); got != tt.want {
			t.Errorf("%s: %d contacts, want %d", name, got, tt.want)
		}
	}
	draw := func(seed string) string {
		c.asked = nil
		if _, err := Run(t.Context(), open(t, l, Asked{Sample: 2, Seed: seed}), RunOptions{Verifier: c}); err != nil {
			t.Fatal(err)
		}
		return strings.Join(c.asked, " ")
	}
	if a, b := draw("one"), draw("one"); a != b {
		t.Errorf("one seed draws %q and %q", a, b)
	}
	drawn := map[string]bool{}
	for i := range 20 {
		drawn[draw(fmt.Sprint(i))] = true
	}
	if len(drawn) < 2 {
		t.Error("every seed draws the same")
	}
}

// A state that comes while its contact is read makes the contact other than the older state: that is no drift.
func TestANewerStateMeanwhileIsNoDrift(t *testing.T) {
	l, c := world()
	c.meant = func(email string) {
		if email == "bob@example.com" {
			l.state("bob", 4, "crm")
		}
	}
	tally, err := Run(t.Context(), open(t, l, Asked{Contact: "bob@example.com"}), RunOptions{Verifier: c})
	if err != nil || tally != (Tally{Changed: 1}) {
		t.Errorf("got %+v, %v, want one that changed meanwhile", tally, err)
	}
}

func TestTroubleAtTheDestination(t *testing.T) {
	errDown := errors.New("502 bad gateway")
	for name, tt := range map[string]struct {
		outcome func(string, int) sinks.Outcome
		want    Tally
		fails   string
	}{
		"it answers at the third try": {func(_ string, n int) sinks.Outcome {
			if n < 3 {
				return sinks.Outcome{Kind: sinks.Retryable, Err: errDown}
			}
			return sinks.Outcome{Kind: sinks.Delivered}
		}, Tally{Compared: 1, Matches: 1}, ""},
		"one contact is refused": {func(string, int) sinks.Outcome {
			return sinks.Outcome{Kind: sinks.Rejected, Err: errors.New("no such address")}
		}, Tally{Compared: 1, Failed: 1}, ""},
		"it never answers": {func(string, int) sinks.Outcome { return sinks.Outcome{Kind: sinks.Retryable, Err: errDown} }, Tally{Compared: 1, Failed: 1}, ""},
		"the key is revoked": {func(string, int) sinks.Outcome {
			return sinks.Outcome{Kind: sinks.Retryable, Account: true, Err: errors.New("403")}
		}, Tally{}, "403"},
		"it panics": {func(string, int) sinks.Outcome { panic("ann@example.com") }, Tally{Compared: 1, Failed: 1}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l, c := world()
				c.outcome = tt.outcome
				got, err := Run(t.Context(), open(t, l, Asked{Contact: "ann@example.com"}), RunOptions{Verifier: c, Told: func(r Result) error {
					if strings.Contains(r.Detail, "ann@") {
						t.Errorf("the detail tells an address: %s", r.Detail)
					}
					return nil
				}})
				if got != tt.want || (err != nil) != (tt.fails != "") || err != nil && (!errors.Is(err, ErrAccount) || !strings.Contains(err.Error(), tt.fails)) {
					t.Errorf("got %+v, %v, want %+v, %q", got, err, tt.want, tt.fails)
				}
			})
		})
	}
}

func TestTheRateIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, c := world()
		begin := time.Now()
		if _, err := Run(t.Context(), open(t, l, Asked{}), RunOptions{Verifier: c, PerMinute: 6}); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(begin); took != 40*time.Second {
			t.Errorf("five contacts at 6 a minute took %v, want 40s", took)
		}
	})
}

func TestNothingPersonalIsShownUnasked(t *testing.T) {
	r := Result{ContactKey: "live/ann@example.com", Differences: []Difference{{"first name", "Ann", "Bob"}, {"tag vip", "vip", ""}}}
	got := r.Masked(func(string) string { return "live/a***" })
	want := Result{ContactKey: "live/a***", Differences: []Difference{{"first name", "***", "***"}, {"tag vip", "***", ""}}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("masked (-want +got):\n%s", diff)
	}
}
