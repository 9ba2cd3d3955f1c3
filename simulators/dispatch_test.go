package simulators

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// dispatch runs test in a bubble of fake time, with a dispatcher of one worker that does as plan says: the verdicts of
// each delivery, one after the other. tries returns what was tried so far, and when.
func dispatch(t *testing.T, outstandingMax int, plan map[string][]Verdict, test func(t *testing.T, d *Dispatcher[string], tries func() []string)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var list []string
		start, next := time.Now(), map[string]int{}
		d := NewDispatcher(outstandingMax, 1, func(_ context.Context, one string) (Verdict, time.Duration) {
			mu.Lock()
			defer mu.Unlock()
			list = append(list, one+" "+time.Since(start).String())
			v := plan[one][next[one]]
			next[one]++
			return v, time.Second
		})
		defer d.Stop()
		test(t, d, func() []string {
			mu.Lock()
			defer mu.Unlock()
			return append([]string{}, list...)
		})
	})
}

func add(t *testing.T, d *Dispatcher[string], one string, after time.Duration) {
	t.Helper()
	if err := d.Add(t.Context(), one, time.Now().Add(after)); err != nil {
		t.Fatal(err)
	}
}

func wait(t *testing.T, d *Dispatcher[string]) {
	t.Helper()
	if err := d.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestDeliveriesGoOutWhenTheyAreDue(t *testing.T) {
	once := []Verdict{Accepted}
	dispatch(t, 9, map[string][]Verdict{"late": once, "b": once, "a": once, "soon": {Again, Again, Lost}}, func(t *testing.T, d *Dispatcher[string], tries func() []string) {
		for _, x := range []struct {
			one   string
			after time.Duration
		}{{"late", 5 * time.Second}, {"b", 3 * time.Second}, {"a", 3 * time.Second}, {"soon", 2 * time.Second}} {
			add(t, d, x.one, x.after)
		}
		wait(t, d)
		// A delivery that comes again is the last of those of its time.
		want := []string{"soon 2s", "b 3s", "a 3s", "soon 3s", "soon 4s", "late 5s"}
		if diff := cmp.Diff(want, tries()); diff != "" {
			t.Errorf("tries (-want +got):\n%s", diff)
		}
	})
}

func TestCountsFollowADelivery(t *testing.T) {
	dispatch(t, 9, map[string][]Verdict{"x": {Held, Again, Accepted}, "y": {Lost}, "z": {Uncounted}}, func(t *testing.T, d *Dispatcher[string], _ func() []string) {
		check := func(when string, want Counts) {
			t.Helper()
			synctest.Wait()
			if diff := cmp.Diff(want, d.Counts()); diff != "" {
				t.Errorf("%s (-want +got):\n%s", when, diff)
			}
		}
		add(t, d, "x", 0)
		check("held back is not tried", Counts{Queued: 1, Outstanding: 1})
		time.Sleep(time.Second)
		check("tried once", Counts{Outstanding: 1})
		add(t, d, "y", 0)
		check("given up at the first try", Counts{Outstanding: 1, Lost: 1})
		wait(t, d)
		check("accepted", Counts{Accepted: 1, Lost: 1})
		d.Lose()
		check("never sent", Counts{Accepted: 1, Lost: 2})
		add(t, d, "z", 0)
		wait(t, d)
		check("of no account", Counts{Accepted: 1, Lost: 2})
		wait(t, d)
	})
}

// TestAddWaitsForRoom: the place of a delivery is free when its fate is settled, not when it is first tried.
func TestAddWaitsForRoom(t *testing.T) {
	dispatch(t, 1, map[string][]Verdict{"first": {Again, Accepted}, "second": {Accepted}, "third": {Accepted}}, func(t *testing.T, d *Dispatcher[string], tries func() []string) {
		add(t, d, "first", 0)
		short, cancel := context.WithTimeout(t.Context(), time.Second/2)
		defer cancel()
		if err := d.Add(short, "none", time.Now()); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want no room", err)
		}
		d.TryAdd("left out", time.Now())
		if err := d.Wait(short); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want that one is outstanding", err)
		}
		add(t, d, "second", 0)
		wait(t, d)
		d.TryAdd("third", time.Now())
		wait(t, d)
		if diff := cmp.Diff([]string{"first 0s", "first 1s", "second 1s", "third 1s"}, tries()); diff != "" {
			t.Errorf("tries (-want +got):\n%s", diff)
		}
	})
}

// TestWorkersAreBounded: so many tries at once as was said; Stop ends them and counts none of them.
func TestWorkersAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		started := make(chan string, 9)
		d := NewDispatcher(9, 2, func(ctx context.Context, one string) (Verdict, time.Duration) {
			started <- one
			<-ctx.Done()
			return Accepted, 0
		})
		for _, one := range []string{"a", "b", "c"} {
			add(t, d, one, 0)
		}
		synctest.Wait()
		if len(started) != 2 {
			t.Errorf("got %d tries at once, want 2", len(started))
		}
		d.Stop()
		if diff := cmp.Diff(Counts{Queued: 3, Outstanding: 3}, d.Counts()); diff != "" {
			t.Errorf("counts (-want +got):\n%s", diff)
		}
	})
}

func TestPost(t *testing.T) {
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if r.Method != http.MethodPost || r.Header.Get("X-Topic") != "orders" || string(body) != "{}" || err != nil {
			t.Errorf("got %s %v %q, %v", r.Method, r.Header, body, err)
		}
		w.WriteHeader(http.StatusAccepted)
	}))
	header := http.Header{"X-Topic": {"orders"}}
	if status, err := Post(t.Context(), receiver.Client(), receiver.URL, header, []byte("{}")); status != http.StatusAccepted || err != nil {
		t.Errorf("got %d, %v, want 202", status, err)
	}
	receiver.Close()
	for _, url := range []string{receiver.URL, "http://a b/"} {
		if status, err := Post(t.Context(), http.DefaultClient, url, header, nil); status != 0 || err == nil {
			t.Errorf("%s: got %d, %v, want an error", url, status, err)
		}
	}
}
