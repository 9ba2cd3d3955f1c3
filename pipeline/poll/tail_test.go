package poll

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"github.com/tillstream/tillstream/connectors"
	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/schemas/codec"
)

// faltering is a decoder that cannot reach its registry now and then.
type faltering struct {
	*memoryLog
	calls atomic.Int32
	every int32
}

func (f *faltering) Decode(b []byte) (schemas.Record, error) {
	if f.calls.Add(1)%f.every == 0 {
		return nil, fmt.Errorf("schema 7: %w", codec.ErrUnavailable)
	}
	return f.memoryLog.Decode(b)
}

func counted(b *book) (n int64) {
	hours, _, _ := b.count()
	for _, h := range hours {
		n += h.Events
	}
	return n
}

// TestReadingBreaksOff: wherever reading breaks off, it goes on with the record that it broke off at: each is known, and
// each webhook is counted once.
func TestReadingBreaksOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		d := &faltering{memoryLog: w.log, every: 11}
		tail := newTail(w.log, shop.Topic, d, zerolog.Nop())
		b := newBook(w.connection().key(), newLedger(connectors.MatchEvent, 1000))
		if err := tail.join(t.Context(), b, map[int32]int64{0: 0, 1: 0, 2: 0}); err != nil {
			t.Fatal(err)
		}
		for i := range 200 {
			w.webhook(t, order(i, w.clock.Now()))
		}
		broken := 0
		for tail.catchUp(t.Context()) != nil {
			if broken++; broken > 100 {
				t.Fatal("reading never comes to an end")
			}
		}
		if broken < 5 {
			t.Errorf("reading broke off %d times only", broken)
		}
		for i := range 200 {
			if !b.ledger.holds([]schemas.OrderEvent{{EventID: order(i, time.Time{}).ID}}, connectors.MatchEvent) {
				t.Errorf("event %d was passed over", i)
			}
		}
		if n := counted(b); n != 200 {
			t.Errorf("counted %d webhooks, want 200", n)
		}
	})
}

// TestBooksJoinTogether: connections that are taken over at the same time are read up together, and each gets what is its
// own; one that was given up meanwhile is read no more.
func TestBooksJoinTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		for i := range 300 {
			w.webhook(t, order(i, w.clock.Now()))
		}
		hold, reads := make(chan struct{}), atomic.Int32{}
		w.log.unread = func(string) error { reads.Add(1); return nil }
		slow := &slowLog{w.log, hold}
		tail := newTail(slow, shop.Topic, w.log, zerolog.Nop())
		start := map[int32]int64{0: 0, 1: 0, 2: 0}
		ctx, cancel := context.WithCancel(t.Context())
		books := make([]*book, 20)
		results := make([]error, len(books))
		for i := range books {
			key := w.connection().key()
			if i%2 == 1 {
				key = "live/other"
			}
			books[i] = newBook(key, newLedger(connectors.MatchEvent, 1000))
			joining := t.Context()
			if i == 4 {
				joining = ctx
			}
			go func() { results[i] = tail.join(joining, books[i], start) }()
			synctest.Wait()
		}
		cancel()
		synctest.Wait()
		close(hold)
		synctest.Wait()
		alone := int32(300/7 + 3)
		if n := reads.Load(); n > 3*alone {
			t.Errorf("the log was read in %d pieces, want no more than twice its %d", n, alone)
		}
		w.webhook(t, order(300, w.clock.Now()))
		if err := tail.catchUp(t.Context()); err != nil {
			t.Fatal(err)
		}
		for i, b := range books {
			want := int64(301)
			switch {
			case i%2 == 1:
				want = 0
			case i == 4:
				if want = 0; !errors.Is(results[i], context.Canceled) {
					t.Errorf("the one given up: got %v", results[i])
				}
			}
			if n := counted(b); n != want || i != 4 && results[i] != nil {
				t.Errorf("book %d counted %d with %v, want %d", i, n, results[i], want)
			}
		}
	})
}

// slowLog answers once hold is closed.
type slowLog struct {
	*memoryLog
	hold chan struct{}
}

func (l *slowLog) Bounds(ctx context.Context, topic string, n int32) (start, end int64, err error) {
	select {
	case <-l.hold:
	case <-ctx.Done():
		return 0, 0, ctx.Err()
	}
	return l.memoryLog.Bounds(ctx, topic, n)
}

// TestCountOverALongStop: what came while no process ran, for days, is counted once and no more, whether the connection
// is polled or not.
func TestCountOverALongStop(t *testing.T) {
	for _, polled := range []bool{true, false} {
		t.Run(fmt.Sprintf("polled %t", polled), func(t *testing.T) { countOverALongStop(t, polled) })
	}
}

func countOverALongStop(t *testing.T, polled bool) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		c := w.connection()
		if !polled {
			c.Poller = nil
		}
		n := 0
		receive := func(count int, every time.Duration) {
			for range count {
				n++
				w.webhook(t, order(n, w.clock.Now()))
				pass(every)
			}
		}
		_, stop := w.start(t, c)
		receive(50, time.Hour)
		stop()
		receive(100, time.Hour)
		wk, stop := w.start(t, c)
		defer stop()
		receive(10, time.Hour)
		if got := counted(wk.book); got != int64(n) {
			t.Errorf("counted %d webhooks, want %d", got, n)
		}
	})
}

// TestTopicMadeAnew: offsets of a topic that is no more stop nothing; what the new one has is counted from its start.
func TestTopicMadeAnew(t *testing.T) {
	anew := func(w *world) {
		w.log.mu.Lock()
		defer w.log.mu.Unlock()
		delete(w.log.parts, shop.Topic)
	}
	for _, running := range []bool{true, false} {
		t.Run(fmt.Sprintf("running %t", running), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				wk, stop := w.start(t, w.connection())
				for i := range 60 {
					w.webhook(t, order(i, w.clock.Now()))
					pass(time.Minute)
				}
				if !running {
					stop()
				}
				anew(w)
				w.webhook(t, order(100, w.clock.Now()))
				if !running {
					wk, stop = w.start(t, w.connection())
				}
				defer stop()
				pass(2 * time.Minute)
				w.webhook(t, order(101, w.clock.Now()))
				pass(2 * time.Minute)
				if n := counted(wk.book); n != 62 || wk.status().LastError != "" {
					t.Errorf("counted %d webhooks with error %q, want 62 and none", n, wk.status().LastError)
				}
			})
		})
	}
}

// TestStrangersAreLeftAlone: records that are no events, or another connection's, are neither counted nor matched.
func TestStrangersAreLeftAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		wk, stop := w.start(t, w.connection())
		defer stop()
		pass(time.Second)
		for key, value := range map[string]string{
			"live/till/O1": "garbage", "sandbox/till/O1": `OrderEvent` + "\n" + `{"EventID":"E1","Origin":"WEBHOOK"}`,
			"live/till2/O1": `OrderEvent` + "\n" + `{"EventID":"E1","Origin":"WEBHOOK"}`, "nokey": "x",
		} {
			if err := w.log.Append(t.Context(), shop.Topic, key, []byte(value)); err != nil {
				t.Fatal(err)
			}
		}
		pass(10 * time.Minute)
		if n := counted(wk.book); n != 0 || wk.status().LastError != "" || !wk.status().LastEventAt.IsZero() {
			t.Errorf("counted %d, %+v, want nothing", n, wk.status())
		}
		w.provider.happen(order(1, w.clock.Now().Add(-2*time.Minute)))
		pass(10 * time.Minute)
		if wk.status().Feeds[0].Repairs != 1 {
			t.Error("an event of another connection stood for one of this")
		}
	})
}

// TestProgressOfANewerVersion: progress that this version cannot read is not overwritten by a new begin.
func TestProgressOfANewerVersion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		d := &newer{w.log}
		wk := w.worker(w.connection())
		wk.decode = d
		if err := w.log.Append(t.Context(), schemas.TopicSourceProgress, w.connection().key(), []byte("Newer\n{}")); err != nil {
			t.Fatal(err)
		}
		if err := wk.adopt(t.Context()); !errors.Is(err, codec.ErrUnknownSchema) {
			t.Errorf("got %v, want the unknown schema", err)
		}
	})
}

type newer struct{ *memoryLog }

func (newer) Decode([]byte) (schemas.Record, error) {
	return nil, fmt.Errorf("id 9: %w", codec.ErrUnknownSchema)
}
