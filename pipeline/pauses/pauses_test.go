package pauses

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
	"github.com/twmb/franz-go/pkg/kgo"
	"pgregory.net/rapid"

	"github.com/tillstream/tillstream/pipeline/kafka"
	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/schemas/codec"
)

var errDown = errors.New("down")

// topic is pauses in memory. It can be away, and compacted away from its start.
type topic struct {
	codec   *codec.Codec
	records []*kgo.Record
	start   int64
	down    bool
	batch   int64 // records that a reading hands over at once; 0: all
}

func newTopic() *topic { return &topic{codec: codec.NewLocal()} }

func (l *topic) Bounds(context.Context, string, int32) (int64, int64, error) {
	if l.down {
		return 0, 0, errDown
	}
	return l.start, int64(len(l.records)), nil
}

func (l *topic) Read(_ context.Context, r kafka.Range, apply func([]*kgo.Record, int64) error) error {
	for at := r.From; at < r.To; {
		to := r.To
		if l.batch > 0 {
			to = min(to, at+l.batch)
		}
		if err := apply(l.records[at:to], to); err != nil {
			return err
		}
		at = to
	}
	return nil
}

func (l *topic) Append(_ context.Context, rec *kgo.Record, promise func(*kgo.Record, error)) {
	if l.down {
		promise(rec, errDown)
		return
	}
	rec.Offset = int64(len(l.records))
	l.records = append(l.records, rec)
	promise(rec, nil)
}

func (l *topic) say(t *testing.T, subject schemas.PauseSubject, name string, paused bool) {
	t.Helper()
	p := schemas.Pause{Subject: subject, Name: name, Paused: paused, Why: "moving lists", By: "ann", At: time.Now().UTC()}
	if err := Write(t.Context(), l, l.codec.Encode, p); err != nil {
		t.Fatal(err)
	}
}

func (l *topic) follower() *Follower {
	return New(Options{Log: l, Decode: l.codec.Decode, Lines: zerolog.Nop()})
}

func names(list []schemas.Pause) []string {
	out := []string{}
	for _, p := range list {
		out = append(out, p.Key())
	}
	return out
}

func TestEverythingIsPausedUntilThePausesAreKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newTopic()
		l.say(t, schemas.PauseDestination, "crm", true)
		l.down = true
		f := l.follower()
		ctx, cancel := context.WithCancel(t.Context())
		defer func() { cancel(); synctest.Wait() }()
		go f.Run(ctx)
		synctest.Wait()
		p, paused := f.Paused(schemas.PauseDestination, "other")
		if !paused || p.Why != WhyUnknown || p.Name != "other" {
			t.Errorf("before Kafka was read: %+v (%v), want paused because it is not known", p, paused)
		}
		if err := f.Ready(); !errors.Is(err, errDown) {
			t.Errorf("ready: %v, want that Kafka is down", err)
		}
		changed := f.Changed()
		l.down = false
		time.Sleep(FollowEvery)
		synctest.Wait()
		select {
		case <-changed:
		default:
			t.Error("that the pauses became known was no change")
		}
		if err := f.Ready(); err != nil {
			t.Errorf("ready: %v, want nil", err)
		}
		if _, paused := f.Paused(schemas.PauseDestination, "other"); paused {
			t.Error("a destination that nobody paused is paused")
		}
		if p, paused := f.Paused(schemas.PauseDestination, "crm"); !paused || p.Why != "moving lists" || p.By != "ann" {
			t.Errorf("crm: %+v (%v), want the pause of ann", p, paused)
		}
		if _, paused := f.Paused(schemas.PauseConnection, "crm"); paused {
			t.Error("a pause of a destination paused the connection of its name")
		}
	})
}

func TestAPauseHoldsEverywhereWithinASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newTopic()
		a, b := l.follower(), l.follower()
		ctx, cancel := context.WithCancel(t.Context())
		defer func() { cancel(); synctest.Wait() }()
		go a.Run(ctx)
		time.Sleep(FollowEvery / 2)
		go b.Run(ctx)
		synctest.Wait()
		for _, paused := range []bool{true, false, true} {
			changed := a.Changed()
			l.say(t, schemas.PauseConnection, "paypal-eu", paused)
			time.Sleep(FollowEvery)
			synctest.Wait()
			for i, f := range []*Follower{a, b} {
				if p, got := f.Paused(schemas.PauseConnection, "paypal-eu"); got != paused || time.Since(p.At) > FollowEvery {
					t.Errorf("process %d: paused %v since %v, want %v since a second ago", i, got, p.At, paused)
				}
			}
			select {
			case <-changed:
			default:
				t.Errorf("paused %v was no change", paused)
			}
		}
		changed := a.Changed()
		time.Sleep(10 * FollowEvery)
		synctest.Wait()
		select {
		case <-changed:
			t.Error("a change was told where there was none")
		default:
		}
		l.down = true
		time.Sleep(time.Hour)
		if _, got := a.Paused(schemas.PauseConnection, "paypal-eu"); !got {
			t.Error("what was known is forgotten while Kafka is away")
		}
	})
}

func TestWhatIsOnTheTopicBesides(t *testing.T) {
	l := newTopic()
	l.say(t, schemas.PauseDestination, "a", true)
	l.say(t, schemas.PauseDestination, "b", true)
	l.say(t, schemas.PauseDestination, "never-paused", false)
	l.records = append(l.records, &kgo.Record{Key: []byte("x"), Value: []byte("garbage"), Offset: 3})
	other, err := l.codec.Encode(&schemas.ReceiverBeat{Instance: "a"})
	if err != nil {
		t.Fatal(err)
	}
	l.records = append(l.records, &kgo.Record{Key: []byte("y"), Value: other, Offset: 4})
	l.records = append(l.records, &kgo.Record{Key: []byte("DESTINATION/a"), Offset: 5})
	f := l.follower()
	if err := f.CatchUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"DESTINATION/b"}, names(f.List())); diff != "" {
		t.Errorf("paused (-want +got):\n%s", diff)
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(f)
	got, err := registry.Gather()
	if err != nil || len(got) != 1 || len(got[0].Metric) != 1 || got[0].GetName() != "tillstream_paused" {
		t.Fatalf("metrics %v (%v), want one value of tillstream_paused", got, err)
	}
	m := got[0].Metric[0]
	if text := m.Label[0].GetValue() + "/" + m.Label[1].GetValue(); text != "b/destination" || m.Gauge.GetValue() != 1 {
		t.Errorf("metric %s is %v, want b/destination to be 1", text, m.Gauge.GetValue())
	}
}

// A record whose schema the registry cannot be asked for may be a pause: nothing counts as known before it is read.
func TestARecordThatCannotBeDecodedYetIsWaitedFor(t *testing.T) {
	l := newTopic()
	l.say(t, schemas.PauseDestination, "a", true)
	l.say(t, schemas.PauseDestination, "b", true)
	away := true
	f := New(Options{Log: l, Lines: zerolog.Nop(), Decode: func(b []byte) (schemas.Record, error) {
		if away && string(b) == string(l.records[1].Value) {
			return nil, fmt.Errorf("schema 7: %w", codec.ErrUnavailable)
		}
		return l.codec.Decode(b)
	}})
	if err := f.CatchUp(t.Context()); !errors.Is(err, codec.ErrUnavailable) {
		t.Fatalf("CatchUp: %v, want that the registry is away", err)
	}
	if _, paused := f.Paused(schemas.PauseDestination, "c"); !paused || f.Ready() == nil {
		t.Error("the pauses count as known before all was read")
	}
	away = false
	if err := f.CatchUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"DESTINATION/a", "DESTINATION/b"}, names(f.List())); diff != "" {
		t.Errorf("paused (-want +got):\n%s", diff)
	}
}

func TestATopicThatWasMadeAnewHasNoPauses(t *testing.T) {
	l := newTopic()
	l.say(t, schemas.PauseDestination, "a", true)
	l.say(t, schemas.PauseDestination, "a", true)
	f := l.follower()
	if err := f.CatchUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	l.records = nil
	l.say(t, schemas.PauseDestination, "b", true)
	changed := f.Changed()
	if err := f.CatchUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"DESTINATION/b"}, names(f.List())); diff != "" {
		t.Errorf("paused (-want +got):\n%s", diff)
	}
	select {
	case <-changed:
	default:
		t.Error("that was no change")
	}
}

// Whatever is said in whatever order, and read in whatever steps, the last word about each name counts.
func TestTheLastWordCounts(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		l := newTopic()
		l.batch = rapid.Int64Range(1, 4).Draw(r, "batch")
		f := l.follower()
		want := map[string]bool{}
		for range rapid.IntRange(0, 30).Draw(r, "words") {
			p := schemas.Pause{
				Subject: rapid.SampledFrom([]schemas.PauseSubject{schemas.PauseDestination, schemas.PauseConnection}).Draw(r, "subject"),
				Name:    rapid.SampledFrom([]string{"a", "b", "c"}).Draw(r, "name"),
				Paused:  rapid.Bool().Draw(r, "paused"), Why: "w", By: "b",
			}
			if err := Write(context.Background(), l, l.codec.Encode, p); err != nil {
				r.Fatal(err)
			}
			want[p.Key()] = p.Paused
			if rapid.Bool().Draw(r, "read") {
				if err := f.CatchUp(context.Background()); err != nil {
					r.Fatal(err)
				}
			}
		}
		if err := f.CatchUp(context.Background()); err != nil {
			r.Fatal(err)
		}
		for _, subject := range []schemas.PauseSubject{schemas.PauseDestination, schemas.PauseConnection} {
			for _, name := range []string{"a", "b", "c"} {
				p := schemas.Pause{Subject: subject, Name: name}
				if _, got := f.Paused(subject, name); got != want[p.Key()] {
					r.Fatalf("%s: paused %v, want %v", p.Key(), got, want[p.Key()])
				}
			}
		}
	})
}

func TestWhatCannotBeAPauseIsRefused(t *testing.T) {
	good := schemas.Pause{Subject: schemas.PauseDestination, Name: "crm", Paused: true, Why: "w", By: "b"}
	for name, spoil := range map[string]func(*schemas.Pause){
		"no subject":    func(p *schemas.Pause) { p.Subject = "TOPIC" },
		"no name":       func(p *schemas.Pause) { p.Name = "" },
		"long name":     func(p *schemas.Pause) { p.Name = strings.Repeat("n", nameBytesMax+1) },
		"no why":        func(p *schemas.Pause) { p.Why = " " },
		"endless why":   func(p *schemas.Pause) { p.Why = strings.Repeat("w", whyBytesMax+1) },
		"nobody":        func(p *schemas.Pause) { p.By = "" },
		"a long nobody": func(p *schemas.Pause) { p.By = strings.Repeat("b", nameBytesMax+1) },
	} {
		p := good
		spoil(&p)
		l := newTopic()
		if err := Write(t.Context(), l, l.codec.Encode, p); !errors.Is(err, ErrInvalid) || len(l.records) > 0 {
			t.Errorf("%s: %v with %d records, want ErrInvalid and none", name, err, len(l.records))
		}
	}
	resume := good
	resume.Paused, resume.Why = false, ""
	if err := Validate(resume); err != nil {
		t.Errorf("a resume without a reason: %v, want nil", err)
	}
	l := newTopic()
	l.down = true
	if err := Write(t.Context(), l, l.codec.Encode, good); !errors.Is(err, errDown) {
		t.Errorf("Write: %v, want that Kafka is down", err)
	}
}
