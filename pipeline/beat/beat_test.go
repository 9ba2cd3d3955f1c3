package beat

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tillstream/tillstream/pipeline/kafka"
	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/schemas/codec"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func at(clock string) time.Time {
	d, err := time.Parse("15:04:05", clock)
	if err != nil {
		panic(err)
	}
	return time.Date(2026, 3, 1, d.Hour(), d.Minute(), d.Second(), 0, time.UTC)
}

// A script is receivers' lives: "a 12:00:00-12:10:00" beats every 5 s in that span, both ends included.
func play(t *testing.T, b *Board, grace time.Duration, until time.Time, lives ...string) {
	t.Helper()
	type life struct {
		name     string
		from, to time.Time
		beat     schemas.ReceiverBeat
	}
	var all []*life
	for _, text := range lives {
		name, span, _ := strings.Cut(text, " ")
		from, to, _ := strings.Cut(span, "-")
		all = append(all, &life{name: name, from: at(from), to: at(to)})
	}
	for now := noon; !now.After(until); now = now.Add(Every) {
		for _, l := range all {
			if now.Before(l.from) || now.After(l.to) {
				continue
			}
			if l.beat.Instance == "" {
				l.beat = b.Begin(l.name, now, grace)
			}
			b.Take(l.beat, now)
		}
	}
}

// The watermark in force at a moment, after what receivers did until then.
func TestWatermark(t *testing.T) {
	const grace = 15 * time.Minute
	for _, tt := range []struct {
		name  string
		lives []string
		now   string
		want  string // empty: zero
	}{
		{"never a beat: nothing is held", nil, "13:00:00", ""},
		{"one receiver: its last beat", []string{"a 12:00:00-13:00:00"}, "12:30:02", "12:30:00"},
		{"it is gone: the last beat stays", []string{"a 12:00:00-12:10:00"}, "15:00:00", "12:10:00"},
		{"back after two hours: the outage's begin, until the grace is over", []string{"a 12:00:00-12:10:00", "a 14:10:00-16:00:00"}, "14:24:59", "12:10:00"},
		{"the grace is over", []string{"a 12:00:00-12:10:00", "a 14:10:00-16:00:00"}, "14:25:00", "14:25:00"},
		{"another was there all the time: no outage", []string{"a 12:00:00-12:10:00", "b 12:00:00-16:00:00", "a 14:10:00-16:00:00"}, "14:11:00", "14:11:00"},
		{"a restart within the gap is none", []string{"a 12:00:00-12:10:00", "a 12:10:30-16:00:00"}, "12:11:00", "12:11:00"},
		{"a gap of more than 30 s is one", []string{"a 12:00:00-12:10:00", "a 12:10:35-16:00:00"}, "12:11:00", "12:10:00"},
		{"another comes back first, and both tell one outage", []string{"a 12:00:00-12:10:00", "b 14:00:00-16:00:00", "a 14:00:00-16:00:00"}, "14:10:00", "12:10:00"},
		{"a restart within the grace forgets no outage", []string{"a 12:00:00-12:10:00", "a 14:00:00-14:05:00", "a 14:05:20-16:00:00"}, "14:10:00", "12:10:00"},
		{"and its grace counts from the first return", []string{"a 12:00:00-12:10:00", "a 14:00:00-14:05:00", "a 14:05:20-16:00:00"}, "14:15:00", "14:15:00"},
		{"a second outage within the grace continues the first", []string{"a 12:00:00-12:10:00", "a 14:00:00-14:05:00", "a 15:00:00-16:00:00"}, "15:14:00", "12:10:00"},
		{"and ends with its own grace", []string{"a 12:00:00-12:10:00", "a 14:00:00-14:05:00", "a 15:00:00-16:00:00"}, "15:15:00", "15:15:00"},
		{"who joins after the outage leaves it standing", []string{"a 12:00:00-12:10:00", "a 14:00:00-14:01:00", "b 14:00:30-16:00:00"}, "14:10:00", "12:10:00"},
		{"who is gone in the grace holds nothing longer, while another is there", []string{"a 12:00:00-12:10:00", "a 14:00:00-14:01:00", "b 14:00:30-16:00:00"}, "14:15:00", "14:15:00"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var b Board
			now := at(tt.now)
			play(t, &b, grace, now, tt.lives...)
			want := time.Time{}
			if tt.want != "" {
				want = at(tt.want)
			}
			if got := b.Watermark(grace); !got.Equal(want) {
				t.Errorf("watermark at %s: %v, want %v", tt.now, got.Format(time.TimeOnly), want.Format(time.TimeOnly))
			}
		})
	}
}

// topic is receiver.beats in memory, which can be away.
type topic struct {
	codec   *codec.Codec
	records []*kgo.Record
	start   int64
	down    bool
}

var errDown = errors.New("down")

func (l *topic) Bounds(context.Context, string, int32) (int64, int64, error) {
	if l.down {
		return 0, 0, errDown
	}
	return l.start, int64(len(l.records)), nil
}

func (l *topic) Read(_ context.Context, r kafka.Range, apply func([]*kgo.Record, int64) error) error {
	if l.down {
		return errDown
	}
	return apply(l.records[r.From:r.To], r.To)
}

func (l *topic) append(_ context.Context, b *schemas.ReceiverBeat) error {
	if l.down {
		return errDown
	}
	value, err := l.codec.Encode(b)
	if err != nil {
		return err
	}
	l.records = append(l.records, &kgo.Record{Value: value, Offset: int64(len(l.records)), Timestamp: time.Now()})
	return nil
}

func (l *topic) beats(t *testing.T) (out []string) {
	t.Helper()
	for _, r := range l.records {
		v, err := l.codec.Decode(r.Value)
		if err != nil {
			t.Fatal(err)
		}
		b := v.(*schemas.ReceiverBeat)
		line := fmt.Sprintf("%s +%v up %v", b.Instance, b.At.Sub(noonOfBubble), b.UpSince.Sub(noonOfBubble))
		if !b.OutageFrom.IsZero() {
			line += fmt.Sprintf(" outage from %v", b.OutageFrom.Sub(noonOfBubble))
		}
		if b.Stopped {
			line += " stopped"
		}
		out = append(out, line)
	}
	return out
}

var noonOfBubble = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC) // when a bubble's clock begins

func TestReceiverBeatsSaysItsOutageAndItsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &topic{codec: codec.NewLocal()}
		o := Options{Log: l, Decode: l.codec.Decode, Grace: 10 * time.Second, Lines: zerolog.Nop()}
		live := func(d time.Duration) {
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan struct{})
			go func() { NewReceiver(o, "a", l.append).Run(ctx); close(done) }()
			time.Sleep(d - time.Millisecond)
			cancel()
			<-done
			time.Sleep(time.Millisecond)
		}
		live(10 * time.Second)
		l.down = true // kafka takes nothing for a minute: nor would it take events
		time.AfterFunc(59*time.Second, func() { l.down = false })
		live(70*time.Second - 2*time.Millisecond)
		want := []string{
			"a +0s up 0s", "a +5s up 0s", "a +9.999s up 0s stopped",
			"a +1m10s up 1m10s outage from 9.999s", "a +1m15s up 1m10s outage from 9.999s", "a +1m19.997s up 1m10s outage from 9.999s stopped",
		}
		if diff := cmp.Diff(want, l.beats(t)); diff != "" {
			t.Errorf("beats (-want +got):\n%s", diff)
		}
		f := NewFollower(o)
		if err := f.CatchUp(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got, want := f.Watermark(), noonOfBubble.Add(9999*time.Millisecond); !got.Equal(want) {
			t.Errorf("watermark within the grace: %v, want %v", got, want)
		}
	})
}

// A receiver that can append nothing for a while finds its own outage without a restart.
func TestAReceiverThatIsCutOffTellsAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &topic{codec: codec.NewLocal()}
		o := Options{Log: l, Decode: l.codec.Decode, Grace: time.Minute, Lines: zerolog.Nop()}
		f := NewFollower(o)
		ctx, cancel := context.WithCancel(t.Context())
		go NewReceiver(o, "a", l.append).Run(ctx)
		go f.Run(ctx)
		defer func() { cancel(); synctest.Wait() }()
		time.Sleep(11 * time.Second)
		l.down = true
		time.Sleep(49 * time.Second)
		l.down = false
		time.Sleep(20 * time.Second)
		if got, want := f.Watermark().Sub(noonOfBubble), 10*time.Second; got != want {
			t.Errorf("after the cut: watermark %v, want %v", got, want)
		}
		time.Sleep(time.Minute)
		if got := time.Since(f.Watermark()); got > Every+followEvery {
			t.Errorf("after the grace the watermark is %v behind", got)
		}
	})
}

func TestAFollowerGoesOnWhereTheTopicWasCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &topic{codec: codec.NewLocal()}
		f := NewFollower(Options{Log: l, Decode: l.codec.Decode, Lines: zerolog.Nop()})
		for range 3 {
			_ = l.append(t.Context(), &schemas.ReceiverBeat{Instance: "a"})
			time.Sleep(time.Second)
		}
		l.records[1].Value = []byte("garbage")
		l.start = 1
		if err := f.CatchUp(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got, want := f.Watermark().Sub(noonOfBubble), 2*time.Second; got != want {
			t.Errorf("watermark %v, want %v", got, want)
		}
		l.down = true
		if err := f.CatchUp(t.Context()); !errors.Is(err, errDown) {
			t.Errorf("CatchUp: %v, want that it is down", err)
		}
	})
}
