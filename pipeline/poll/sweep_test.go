package poll

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"github.com/tillstream/tillstream/connectors"
	"github.com/tillstream/tillstream/schemas"
)

func (w *world) sweep(since time.Duration) Sweep {
	return Sweep{
		Connection: w.connection(), Span: Span{From: w.clock.Now().Add(-since)},
		Log: w.log, Decoder: w.log, Keeper: w.keeper(), Clock: w.clock, Lines: zerolog.Nop(),
	}
}

// day lets a change happen each minute for n minutes and withholds the webhook of every tenth.
func (w *world) day(t *testing.T, n int) (withheld int) {
	for i := range n {
		c := order(i, w.clock.Now())
		w.provider.happen(c)
		if i%10 == 3 {
			withheld++
		} else {
			w.webhook(t, c)
		}
		pass(time.Minute)
	}
	return withheld
}

// TestReconcile: what is missing is counted hour by hour, listed with its cause, appended once and found again; a dry run
// counts the same and appends nothing; a second run finds it whole.
func TestReconcile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t,
			connectors.Feed{Name: "events", Every: time.Minute, WindowMax: 2 * time.Hour, Match: connectors.MatchEvent},
			connectors.Feed{Name: "orders", Match: connectors.MatchVersion})
		begin := w.clock.Now()
		withheld := w.day(t, 300)
		pass(time.Hour)
		o := w.sweep(24 * time.Hour)
		o.DryRun = true
		got, err := Reconcile(t.Context(), o)
		if err != nil || got.Whole() {
			t.Fatalf("got %+v, %v", got, err)
		}
		if n := len(w.log.events(shop.Topic)); n != 300-withheld {
			t.Fatalf("a dry run left %d events, want the %d received", n, 300-withheld)
		}
		dry := got
		if got, err = Reconcile(t.Context(), w.sweep(24*time.Hour)); err != nil || !got.Whole() {
			t.Fatalf("got %+v, %v", got.Total, err)
		}
		// The first feed lists all, the second the same: what is missing counts once.
		want := Counts{Listed: 600 - int64(withheld), Received: 2 * int64(300-withheld), Missing: int64(withheld), Repaired: int64(withheld)}
		if got.Total != want {
			t.Errorf("got %+v, want %+v", got.Total, want)
		}
		want.Repaired = 0
		if dry.Total != want || len(dry.Gaps) != withheld || dry.Gaps[0].Repaired {
			t.Errorf("dry run: got %+v with %d gaps, want %+v with %d", dry.Total, len(dry.Gaps), want, withheld)
		}
		if len(got.Hours) != 5 || !got.Hours[0].From.Equal(begin.Truncate(time.Hour)) || got.Hours[0].Missing != 6 || got.Hours[0].Listed != 2*60-6 {
			t.Errorf("got hours %+v, want five with 6 of 60 missing in each", got.Hours)
		}
		g := got.Gaps[0]
		if g.EventID != "E3" || g.Entity != "O3" || g.Status != "PAID" || g.Cause == "" || !g.Repaired || !g.At.Equal(begin.Add(3*time.Minute)) || g.Feed != "events" {
			t.Errorf("got gap %+v", g)
		}
		for id, n := range w.log.events(shop.Topic) {
			if n != 1 {
				t.Errorf("%s is there %d times", id, n)
			}
		}
		if got, err = Reconcile(t.Context(), w.sweep(24*time.Hour)); err != nil || got.Total.Missing != 0 || got.Total.Listed != 600 {
			t.Errorf("a second run: got %+v, %v, want 600 listed and none missing", got.Total, err)
		}
	})
}

// TestReconcileSaysWhatItCouldNot: a feed that fails is named and the others are read all the same; what the provider
// or the log no longer has is said; an append that failed leaves its gap open.
func TestReconcileSaysWhatItCouldNot(t *testing.T) {
	t.Run("a feed fails", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, connectors.Feed{Name: "events", Match: connectors.MatchEvent}, connectors.Feed{Name: "orders", Match: connectors.MatchEvent})
			w.day(t, 20)
			pass(time.Hour)
			w.provider.refuse = func(q connectors.Query) error {
				if q.Feed == "events" {
					return errors.New("no permission")
				}
				return nil
			}
			got, err := Reconcile(t.Context(), w.sweep(24*time.Hour))
			if err == nil || !strings.Contains(err.Error(), "no permission") || got.Feeds[0].Error == "" || got.Feeds[1].Listed != 20 || got.Total.Repaired != 2 {
				t.Errorf("got %+v, %v", got, err)
			}
		})
	})
	t.Run("beyond reach", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, connectors.Feed{Name: "events", Reach: 2 * time.Hour, Match: connectors.MatchEvent})
			w.day(t, 20)
			pass(time.Hour)
			now := w.clock.Now()
			got, err := Reconcile(t.Context(), w.sweep(24*time.Hour))
			if b := got.Feeds[0].Beyond; err != nil || b == nil || now.Sub(b.To) > 2*time.Hour || !b.From.Equal(now.Add(-24*time.Hour)) {
				t.Errorf("got %+v, %v", got, err)
			}
		})
	})
	t.Run("before the log", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			w.day(t, 200)
			pass(time.Hour)
			w.log.starts = map[string]int64{shop.Topic: 20} // about 60 events
			got, err := Reconcile(t.Context(), w.sweep(24*time.Hour))
			if err != nil || got.LogSince == nil || got.Total.Missing > 15 {
				t.Errorf("got %+v since %v, %v, want none called missing that retention removed", got.Total, got.LogSince, err)
			}
		})
	})
	t.Run("an append fails", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			w.day(t, 40)
			pass(time.Hour)
			appended := 0
			w.log.fail = func(string, string) error {
				if appended++; appended > 2 {
					return errors.New("not enough replicas")
				}
				return nil
			}
			got, err := Reconcile(t.Context(), w.sweep(24*time.Hour))
			if err == nil || got.Whole() || got.Total.Repaired != 2 || got.Total.Missing != 3 {
				t.Errorf("got %+v, %v, want two of three repaired and the error", got.Total, err)
			}
		})
	})
	t.Run("no list", func(t *testing.T) {
		w := newWorld(t)
		o := w.sweep(time.Hour)
		o.Connection.Poller = nil
		if _, err := Reconcile(t.Context(), o); err == nil {
			t.Error("got no error for a connection without lists")
		}
		o = w.sweep(time.Hour)
		o.Feeds = []string{"event"}
		if _, err := Reconcile(t.Context(), o); err == nil || !strings.Contains(err.Error(), "events") {
			t.Errorf("got %v for an unknown feed, want those that there are", err)
		}
	})
}

// TestBackfill: history comes in once, marked; what is on the log already does not; a dry run only counts.
func TestBackfill(t *testing.T) {
	for _, live := range []bool{false, true} {
		t.Run(fmt.Sprintf("live %t", live), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, connectors.Feed{Name: "events", Every: time.Minute, Match: connectors.MatchEvent},
					connectors.Feed{Name: "orders", Match: connectors.MatchEvent, History: true, WindowMax: 30 * 24 * time.Hour})
				pass(400 * 24 * time.Hour)
				for i := range 300 {
					w.provider.happen(order(i, w.clock.Now().Add(-time.Duration(300-i)*24*time.Hour)))
				}
				for i := 295; i < 300; i++ {
					w.webhook(t, order(i, w.clock.Now()))
				}
				o := w.sweep(350 * 24 * time.Hour)
				o.DryRun = true
				got, err := Backfill(t.Context(), o, live)
				if diff := cmp.Diff([]BackfillFeed{{Feed: "orders", Listed: 300, OnLog: 5}}, got.Feeds); err != nil || diff != "" || len(w.log.events(shop.Topic)) != 5 {
					t.Fatalf("dry run: %v, %s", err, diff)
				}
				o.DryRun = false
				last := Progress{}
				o.Progress = func(p Progress) { last = p }
				got, err = Backfill(t.Context(), o, live)
				if diff := cmp.Diff([]BackfillFeed{{Feed: "orders", Listed: 300, OnLog: 5, Appended: 295}}, got.Feeds); err != nil || diff != "" {
					t.Fatalf("%v, %s", err, diff)
				}
				if last.Of != 300 || last.Listed != 300 || last.Kept != 295 {
					t.Errorf("got progress %+v, want 300 of 300", last)
				}
				want := map[bool]schemas.Origin{false: schemas.OriginBackfill, true: schemas.OriginPoll}[live]
				for id, origins := range w.log.origins(shop.Topic) {
					if len(origins) != 1 || origins[0] != want && origins[0] != schemas.OriginWebhook {
						t.Errorf("%s: got origins %q, want one %s", id, origins, want)
					}
				}
				full := false
				for _, q := range w.provider.questions() {
					full = full || q.Full
				}
				if !full {
					t.Error("never asked for everything that the list can say")
				}
				if got, err = Backfill(t.Context(), o, live); err != nil || got.Feeds[0].Appended != 0 || got.Feeds[0].OnLog != 300 {
					t.Errorf("again: got %+v, %v, want all on the log", got.Feeds, err)
				}
			})
		})
	}
}

// TestBackfillGoesOn: however often it is broken off, run again it goes on about where it was and ends with every event
// once; then nothing of it is left.
func TestBackfillGoesOn(t *testing.T) {
	for seed := range uint64(10) {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				rnd := rand.New(rand.NewPCG(seed, 3))
				w := newWorld(t, connectors.Feed{Name: "orders", Match: connectors.MatchEvent, History: true})
				pass(100 * 24 * time.Hour)
				for i := range 200 {
					w.provider.happen(order(i, w.clock.Now().Add(-time.Duration(rnd.IntN(90*24*60))*time.Minute)))
				}
				o := w.sweep(95 * 24 * time.Hour)
				resumed := 0
				for run := 0; ; run++ {
					if run == 100 {
						t.Fatal("it never comes to an end")
					}
					ctx, cancel := context.WithCancel(t.Context())
					left := 110 + rnd.IntN(60) // a whole count is 96 windows
					w.provider.during = func(connectors.Query) {
						if left--; left < 0 {
							cancel()
						}
					}
					got, err := Backfill(ctx, o, false)
					cancel()
					if len(got.Feeds) > 0 && got.Feeds[0].Resumed != nil {
						resumed++
					}
					if err == nil {
						break
					}
					if !errors.Is(err, context.Canceled) {
						t.Fatal(err)
					}
				}
				if resumed == 0 {
					t.Error("it was never resumed")
				}
				got := w.log.events(shop.Topic)
				for id, n := range got {
					if n != 1 {
						t.Errorf("%s is there %d times", id, n)
					}
				}
				if len(got) != 200 {
					t.Errorf("got %d events, want 200", len(got))
				}
				key := schemas.SourceKey(schemas.Live, "till/backfill/"+backfillID(o.Span.From, w.provider.feeds, false))
				if p, err := readProgress(t.Context(), w.log, w.log, key); err != nil || p != nil {
					t.Errorf("got %v, %v left at the end", p, err)
				}
			})
		})
	}
}
