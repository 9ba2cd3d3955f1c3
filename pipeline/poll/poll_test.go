package poll

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tillstream/tillstream/connectors"
	"github.com/tillstream/tillstream/outbound"
	"github.com/tillstream/tillstream/pipeline/ingest"
	"github.com/tillstream/tillstream/schemas"
)

// The clock of these tests is a bubble's: it passes when everything waits.

func pass(d time.Duration) { time.Sleep(d); synctest.Wait() }

// TestMissingIsAppendedOnce: what no webhook brought is found and appended once, with its origin; what one brought is not.
func TestMissingIsAppendedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		wk, stop := w.start(t, w.connection())
		defer stop()
		pass(time.Second)
		for i := range 60 {
			c := order(i, w.clock.Now())
			w.provider.happen(c)
			if i%3 > 0 {
				w.webhook(t, c)
			}
			pass(time.Minute)
		}
		pass(30 * time.Minute)
		got := w.log.events(shop.Topic)
		for i := range 60 {
			id := order(i, time.Time{}).ID
			want := schemas.OriginPoll
			if i%3 > 0 {
				want = schemas.OriginWebhook
			}
			if o := w.log.origins(shop.Topic)[id]; !slices.Equal(o, []schemas.Origin{want}) {
				t.Errorf("%s: got origins %q, want one %s", id, o, want)
			}
		}
		if len(got) != 60 {
			t.Errorf("got %d events, want 60", len(got))
		}
		s := wk.status()
		if s.Feeds[0].Repairs != 20 || s.Feeds[0].LastError != "" {
			t.Errorf("got %+v, want 20 repairs and no error", s.Feeds[0])
		}
		if behind := w.clock.Now().Sub(s.CompleteUpTo); behind > 7*time.Minute {
			t.Errorf("complete up to %v ago, want within a reading and the flight of a webhook", behind)
		}
		if got := strings.Count(w.logged.String(), "the endpoint answered 503"); got != 20 {
			t.Errorf("got %d log lines with the cause, want 20", got)
		}
	})
}

// TestAQuarantinedOrderIsAppendedOnce: what is kept apart for the card number in it is known when it is listed again.
func TestAQuarantinedOrderIsAppendedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		_, stop := w.start(t, w.connection())
		defer stop()
		c := order(1, w.clock.Now())
		c.Note = "card 4111 1111 1111 1111"
		w.provider.happen(c)
		pass(3 * time.Hour)
		n := 0
		for id, times := range w.log.events(shop.Topic) {
			if n += times; !strings.HasPrefix(id, "quarantined-") {
				t.Errorf("got event %s, want it kept apart", id)
			}
		}
		if n != 1 {
			t.Errorf("got %d events, want 1", n)
		}
	})
}

// TestWebhookOnItsWayIsNotMissing: a change of this moment is left to its webhook; one that came while a page was read
// is seen before anything is appended.
func TestWebhookOnItsWayIsNotMissing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		_, stop := w.start(t, w.connection())
		defer stop()
		pass(time.Second)
		slow := order(1, w.clock.Now())
		w.provider.happen(slow)
		w.provider.mu.Lock()
		w.provider.during = func(q connectors.Query) {
			if slow.At.Before(q.To) && w.log.events(shop.Topic)["E1"] == 0 {
				w.webhook(t, slow) // just now
			}
		}
		w.provider.mu.Unlock()
		pass(5*time.Minute - 10*time.Second)
		fresh := order(2, w.clock.Now())
		w.provider.happen(fresh)
		pass(30 * time.Second) // a reading lies between
		w.webhook(t, fresh)
		pass(20 * time.Minute)
		want := map[string]int{"E1": 1, "E2": 1}
		if diff := cmp.Diff(want, w.log.events(shop.Topic)); diff != "" {
			t.Errorf("want against got:\n%s", diff)
		}
	})
}

// TestLateRows: what appears in the list only hours after its change is found, and the connection is complete only up to
// that long ago.
func TestLateRows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, connectors.Feed{Name: "transactions", Every: 10 * time.Minute, Late: 3 * time.Hour, WindowMax: 31 * 24 * time.Hour, Match: connectors.MatchEvent})
		wk, stop := w.start(t, w.connection())
		defer stop()
		pass(time.Minute)
		c := order(1, w.clock.Now())
		c.listed = c.At.Add(3*time.Hour - time.Minute)
		w.provider.happen(c)
		pass(2 * time.Hour)
		if n := w.log.events(shop.Topic)["E1"]; n != 0 {
			t.Fatalf("got it %d times before it was listed", n)
		}
		if s := wk.status(); s.CompleteUpTo.After(c.At) {
			t.Errorf("complete up to %v, although what changed at %v may still be listed", s.CompleteUpTo, c.At)
		}
		pass(4 * time.Hour)
		if n := w.log.events(shop.Topic)["E1"]; n != 1 {
			t.Errorf("got it %d times, want once", n)
		}
		if s := wk.status(); !s.CompleteUpTo.After(c.At) {
			t.Errorf("complete up to %v only, want after %v", s.CompleteUpTo, c.At)
		}
	})
}

// TestFirstStart: a new connection begins now, one that received webhooks before begins with the first of them, a day
// back at the most.
func TestFirstStart(t *testing.T) {
	for _, c := range []struct {
		name  string
		hooks []time.Duration // ago
		want  time.Duration   // how far back the first question goes
	}{
		{"new", nil, inFlight + overlap},
		{"received before", []time.Duration{5 * time.Hour, time.Hour}, 5*time.Hour + overlap},
		{"received long ago", []time.Duration{20 * 24 * time.Hour, time.Hour}, 24*time.Hour + overlap},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, connectors.Feed{Name: "events", Every: time.Minute, Late: 3 * time.Hour, Match: connectors.MatchEvent})
				start := w.clock.Now().Add(40 * 24 * time.Hour)
				for i, ago := range c.hooks {
					pass(start.Add(-ago).Sub(w.clock.Now()))
					w.webhook(t, order(i, w.clock.Now()))
				}
				pass(start.Sub(w.clock.Now()))
				_, stop := w.start(t, w.connection())
				pass(0)
				asked := w.provider.questions()
				if len(asked) == 0 || start.Sub(asked[0].From) != c.want {
					t.Errorf("got questions %v at %v, want the first from %v before", asked, start, c.want)
				}
				stop()
				// Whoever goes on, even if nothing was answered, begins where the first began.
				pass(30 * time.Minute)
				before := len(w.provider.questions())
				_, stop = w.start(t, w.connection())
				defer stop()
				pass(0)
				again := w.provider.questions()[before]
				if again.From.Before(asked[0].From) || again.From.After(start) {
					t.Errorf("after a restart it asked from %v, want between %v and %v", again.From, asked[0].From, start)
				}
			})
		})
	}
}

// TestOutageBeyondReach: what the provider forgot is told as a gap, with the remedy; what it still lists is read.
func TestOutageBeyondReach(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, connectors.Feed{Name: "events", Every: 5 * time.Minute, Reach: 30 * 24 * time.Hour, WindowMax: 24 * time.Hour, Match: connectors.MatchEvent})
		_, stop := w.start(t, w.connection())
		pass(time.Hour)
		stop()
		down := w.clock.Now()
		lost, listed := order(1, down.Add(24*time.Hour)), order(2, down.Add(20*24*time.Hour))
		w.provider.happen(lost)
		w.provider.happen(listed)
		pass(35 * 24 * time.Hour)
		horizon := w.clock.Now().Add(-30 * 24 * time.Hour)
		wk, stop := w.start(t, w.connection())
		defer stop()
		pass(time.Hour)
		if diff := cmp.Diff(map[string]int{"E2": 1}, w.log.events(shop.Topic)); diff != "" {
			t.Errorf("want against got:\n%s", diff)
		}
		gap := wk.status().Feeds[0].Gap
		if gap == nil || gap.From.After(down) || gap.To.Sub(horizon) > time.Hour {
			t.Errorf("got gap %v, want from %v to %v", gap, down, horizon)
		}
		if text := w.logged.String(); strings.Count(text, "backfill") != 1 {
			t.Errorf("want the gap told once with its remedy, got:\n%s", text)
		}
		for _, q := range w.provider.questions() {
			if q.To.Sub(q.From) > 24*time.Hour {
				t.Errorf("asked for %v at once, want a day at the most", q.To.Sub(q.From))
			}
		}
	})
}

// TestLimits: a provider that wants to be left alone is, also by the connection's other feeds; one that fails is asked
// ever less often, and one log line is written for each change.
func TestLimits(t *testing.T) {
	t.Run("429", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			feed := connectors.Feed{Name: "a", Every: time.Minute, Match: connectors.MatchEvent}
			other := feed
			other.Name = "b"
			w := newWorld(t, feed, other)
			refused := w.clock.Now()
			w.provider.refuse = func(connectors.Query) error {
				return &outbound.StatusError{Provider: "shop", Status: 429, RetryAfter: 20 * time.Minute}
			}
			wk, stop := w.start(t, w.connection())
			defer stop()
			pass(19 * time.Minute)
			if n := len(w.provider.questions()); n != 1 {
				t.Errorf("got %d questions within the time that the provider asked for, want 1", n)
			}
			if s := wk.status(); s.Feeds[0].NextAt.Sub(refused) < 20*time.Minute || s.Feeds[0].LastError == "" {
				t.Errorf("got %+v, want the pause and its reason", s.Feeds[0])
			}
		})
	})
	t.Run("failing", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			down := true
			w.provider.refuse = func(connectors.Query) error {
				if down {
					return errors.New("connection refused")
				}
				return nil
			}
			wk, stop := w.start(t, w.connection())
			defer stop()
			pass(3 * time.Hour)
			if n := len(w.provider.questions()); n < 10 || n > 40 {
				t.Errorf("got %d questions in 3 h, want pauses that grow to 10 minutes", n)
			}
			w.provider.mu.Lock()
			down = false
			w.provider.mu.Unlock()
			c := order(1, w.clock.Now().Add(-2*time.Hour))
			w.provider.happen(c)
			pass(time.Hour)
			if w.log.events(shop.Topic)["E1"] != 1 || wk.status().Feeds[0].LastError != "" {
				t.Errorf("got %v and %+v, want what happened meanwhile, and no error", w.log.events(shop.Topic), wk.status().Feeds[0])
			}
			text := w.logged.String()
			if a, b := strings.Count(text, "could not be read"), strings.Count(text, "read again"); a != 1 || b != 1 {
				t.Errorf("got %d lines of the failure and %d of its end, want one each:\n%s", a, b, text)
			}
		})
	})
	t.Run("budget nearly used up", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			w.provider.budget = outbound.Budget{Limit: 100, Left: 5}
			w.provider.page = 1
			begin := w.clock.Now()
			_, stop := w.start(t, w.connection())
			pass(time.Second)
			for i := range 20 {
				w.provider.happen(order(i, begin.Add(time.Duration(i)*time.Second)))
			}
			pass(5 * time.Minute)
			before := len(w.provider.questions())
			pass(time.Minute)
			defer stop()
			if n := len(w.provider.questions()) - before; n > 12 {
				t.Errorf("got %d questions in a minute, want one in 5 s at the most", n)
			}
			pass(10 * time.Minute)
			if n := len(w.log.events(shop.Topic)); n != 20 {
				t.Errorf("got %d events, want 20", n)
			}
		})
	})
}

// TestFeedsComeAndGo: a feed that the connection no longer offers, for want of a permission, holds nothing back; once it
// is offered again it goes on where it was, also after a restart.
func TestFeedsComeAndGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		feeds := []connectors.Feed{{Name: "a", Every: 5 * time.Minute, Match: connectors.MatchEvent}, {Name: "b", Every: 5 * time.Minute, Match: connectors.MatchEvent}}
		w := newWorld(t, feeds...)
		offer := func(list []connectors.Feed) {
			w.provider.mu.Lock()
			defer w.provider.mu.Unlock()
			w.provider.feeds = list
		}
		wk, stop := w.start(t, w.connection())
		pass(time.Hour)
		offer(feeds[:1])
		gone := w.clock.Now()
		pass(5 * time.Hour)
		if s := wk.status(); len(s.Feeds) != 1 || w.clock.Now().Sub(s.CompleteUpTo) > 10*time.Minute {
			t.Errorf("got %+v, want the one feed, complete by it", s)
		}
		stop()
		_, stop = w.start(t, w.connection())
		pass(time.Hour)
		stop()
		wk, stop = w.start(t, w.connection())
		defer stop()
		pass(time.Hour)
		offer(feeds)
		before := len(w.provider.questions())
		pass(10 * time.Minute)
		var from time.Time
		for _, q := range w.provider.questions()[before:] {
			if q.Feed == "b" {
				from = q.From
				break
			}
		}
		if s := wk.status(); len(s.Feeds) != 2 || from.IsZero() || from.After(gone) || gone.Sub(from) > 10*time.Minute {
			t.Errorf("got %+v, and a first question from %v, want it from where it was at %v", s, from, gone)
		}
	})
}

// TestEndlessList: a list whose cursor does not move is an error, not a loop.
func TestEndlessList(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		l := newLister(Connection{Name: "till", Poller: looping{}}, w.clock, schemas.OriginPoll, nil, ingest.Keeper{})
		err := l.window(t.Context(), "events", Span{w.clock.Now().Add(-time.Hour), w.clock.Now()}, false, func([]listed) error { return nil })
		if !errors.Is(err, errEndless) {
			t.Errorf("got %v, want that the list does not end", err)
		}
	})
}

type looping struct{}

func (looping) Feeds() []connectors.Feed {
	return []connectors.Feed{{Name: "events", Every: time.Minute}}
}

func (looping) Poll(context.Context, connectors.Query) (connectors.Page, error) {
	return connectors.Page{Next: "same"}, nil
}

// TestPanicIsTheFeedsAlone: a connector that panics is a feed that failed.
func TestPanicIsTheFeedsAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.provider.refuse = func(connectors.Query) error { panic("secret-canary") }
		wk, stop := w.start(t, w.connection())
		defer stop()
		pass(time.Minute)
		if text := wk.status().Feeds[0].LastError; !strings.Contains(text, "panic") || strings.Contains(text+w.logged.String(), "secret-canary") {
			t.Errorf("got %q, want a panic without its value", text)
		}
	})
}

// TestLogAway: while the log cannot be read or written nothing is asked and nothing counts as read; afterwards all is
// made up for.
func TestLogAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		wk, stop := w.start(t, w.connection())
		defer stop()
		pass(time.Minute)
		w.log.mu.Lock()
		w.log.fail = func(topic, _ string) error { return errors.New("not enough replicas for " + topic) }
		w.log.mu.Unlock()
		w.provider.happen(order(1, w.clock.Now()))
		pass(time.Hour)
		s := wk.status()
		if s.LastError == "" || s.CompleteUpTo.After(order(1, w.clock.Now().Add(-time.Hour)).At) {
			t.Errorf("got %+v, want an error and no progress", s)
		}
		w.log.mu.Lock()
		w.log.fail = nil
		w.log.mu.Unlock()
		pass(time.Hour)
		if s := wk.status(); s.LastError != "" || w.log.events(shop.Topic)["E1"] != 1 {
			t.Errorf("got %+v and %v, want the event once and no error", s, w.log.events(shop.Topic))
		}
	})
}

// TestMatch: each way to match, on the log against on the list.
func TestMatch(t *testing.T) {
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	on := schemas.OrderEvent{EventID: "E1", EntityID: "O1", Status: "PAID", ProviderTime: at}
	event := func(change func(*schemas.OrderEvent)) schemas.OrderEvent { e := on; change(&e); return e }
	for _, c := range []struct {
		name   string
		listed schemas.OrderEvent
		want   [3]bool // by event, version, status
	}{
		{"the same", on, [3]bool{true, true, true}},
		{"another id of the same version", event(func(e *schemas.OrderEvent) { e.EventID = "E2" }), [3]bool{false, true, true}},
		{"the same status later", event(func(e *schemas.OrderEvent) { e.EventID, e.ProviderTime = "E2", at.Add(time.Hour) }), [3]bool{false, false, true}},
		{"another status", event(func(e *schemas.OrderEvent) { e.EventID, e.Status = "E2", "REFUNDED" }), [3]bool{}},
		{"a removal", event(func(e *schemas.OrderEvent) { e.EventID, e.Deleted = "E2", true }), [3]bool{}},
		{"another entity", event(func(e *schemas.OrderEvent) { e.EventID, e.EntityID = "E2", "O2" }), [3]bool{}},
		{"no entity", event(func(e *schemas.OrderEvent) { e.EventID, e.EntityID = "E2", "" }), [3]bool{}},
		{"an id that is an entity", event(func(e *schemas.OrderEvent) { e.EventID, e.EntityID = "O1", "E1" }), [3]bool{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := newLedger(connectors.MatchStatus, 100)
			l.add(&on, at)
			for i, m := range []connectors.Match{connectors.MatchEvent, connectors.MatchVersion, connectors.MatchStatus} {
				if got := l.holds([]schemas.OrderEvent{c.listed}, m); got != c.want[i] {
					t.Errorf("match %d: got %t, want %t", m, got, c.want[i])
				}
			}
		})
	}
}

// TestLedgerIsBounded: the oldest falls out first, also where one hour alone is too much, and the newest stays.
func TestLedgerIsBounded(t *testing.T) {
	for name, step := range map[string]time.Duration{"over hours": time.Minute, "in one hour": 0} {
		t.Run(name, func(t *testing.T) {
			l := newLedger(connectors.MatchEvent, 1000)
			at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
			for i := range 5000 {
				e := schemas.OrderEvent{EventID: order(i, at).ID}
				l.add(&e, at.Add(time.Duration(i)*step))
				if len(l.seen) > 1000 {
					t.Fatalf("holds %d, want 1000 at the most", len(l.seen))
				}
			}
			if !l.full() || len(l.seen) < 500 {
				t.Errorf("holds %d, full %t", len(l.seen), l.full())
			}
			if step > 0 && !l.holds([]schemas.OrderEvent{{EventID: "E4999"}, {EventID: "E4500"}}, connectors.MatchEvent) {
				t.Error("the newest fell out")
			}
		})
	}
}
