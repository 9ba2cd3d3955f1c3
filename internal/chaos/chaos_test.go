package main

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tillstream/tillstream/internal/e2e/parts"
)

// seedEnv repeats the run of a seed that failed.
const seedEnv = "TILLSTREAM_CHAOS_SEED"

// testLog sends what a run says to the test's log.
type testLog struct{ t *testing.T }

func (l testLog) Write(b []byte) (int, error) {
	l.t.Logf("%s", b[:max(0, len(b)-1)])
	return len(b), nil
}

// TestAShortRunHasNoViolations is the chaos of CI: few kills, every kind of fault, another seed each time. How long a
// takeover takes is measured by the long run, on a machine that does nothing else. The drain's limit is for what never
// ends: the run leaves thousands of effects, of which a transaction lets eight go, and on a busy machine with three
// brokers each may take over a second.
func TestAShortRunHasNoViolations(t *testing.T) {
	if _, err := exec.LookPath("java"); err != nil {
		parts.Missing(t, "kafka", "there is no java in PATH; scripts/install.sh kafka brings it")
	}
	if _, err := parts.KafkaJars(); err != nil {
		parts.Missing(t, "kafka", err.Error())
	}
	if _, err := exec.LookPath("redis-server"); err != nil {
		parts.Missing(t, "redis", "there is no redis-server in PATH; scripts/install.sh redis brings it")
	}
	seed, _ := strconv.ParseUint(os.Getenv(seedEnv), 10, 64)
	r, err := run(t.Context(), options{
		Seed: seed, Kills: 8, QuietKills: 1, Records: 3000, PauseMax: 8 * time.Second, Gap: 2 * time.Second,
		Drain: 15 * time.Minute, TakeoverMax: 2 * time.Minute, Log: testLog{t},
	})
	line, _ := json.Marshal(r)
	t.Logf("%s", line)
	if err != nil {
		t.Fatalf("%v\n%s=%d plans the same faults again", err, seedEnv, r.Seed)
	}
	if r.Kills != 8 || r.Records == 0 || r.RecordsChecked <= r.Records || r.Keys == 0 || r.Commands == 0 ||
		r.WaitsMet == 0 || r.WaitsNotMet == 0 || r.WaitsCorrected == 0 || r.TimersFired == 0 || r.TimersHeld == 0 || r.Answers == 0 {
		t.Errorf("it proves less than it should: %s", line)
	}
}

func TestAPlanIsItsSeeds(t *testing.T) {
	o := options{Seed: 7, Kills: 100, QuietKills: 10, PauseMax: time.Minute, Gap: 3 * time.Second}
	a, b := plan(o), plan(o)
	if diff := cmp.Diff(a, b); diff != "" {
		t.Errorf("the same seed gives another plan:\n%s", diff)
	}
	o.Seed = 8
	if cmp.Equal(a, plan(o)) {
		t.Error("another seed gives the same plan")
	}
	count := map[string]int{}
	for _, s := range a {
		count[s.Fault]++
		if s.For < 0 || s.For > time.Minute || s.Gap <= 0 {
			t.Errorf("%+v", s)
		}
	}
	if count[faultKill] != 90 {
		t.Errorf("%d kills beside 10 quiet ones, want 90", count[faultKill])
	}
	for _, fault := range []string{faultPause, faultRollback, faultWipe, faultFlush, faultBroker, faultCut, faultHalfOpen, faultSlow, faultRebalance} {
		if count[fault] == 0 {
			t.Errorf("no %s in a plan of 100 kills", fault)
		}
	}
}

func TestALoadHasDuplicatesAndDisorder(t *testing.T) {
	sends := schedule(3, 2000)
	if n := len(sends); n < 1800 || n > 2200 {
		t.Errorf("%d records, want about 2000", n)
	}
	copies, late := 0, 0
	for i, s := range sends {
		if s.copy > 0 {
			copies++
		}
		if i > 0 && s.event.Time.Before(sends[i-1].event.Time) {
			late++
		}
	}
	if copies < 100 || late < 200 {
		t.Errorf("%d copies and %d out of order", copies, late)
	}
}

// The watcher takes a partition for taken over once its offset has passed where it stood a second after the kill.
func TestATakeoverEndsWithTheNextCommit(t *testing.T) {
	v := &watcher{owners: map[slot]string{{"g", 0}: "chaos-1", {"g", 1}: "chaos-1", {"g", 2}: "chaos-2"}}
	k := v.expect("chaos-1", true)
	start := k.at
	look := func(after time.Duration, zero, one int64) {
		v.settle(map[slot]int64{{"g", 0}: zero, {"g", 1}: one, {"g", 2}: 99}, start.Add(after))
	}
	look(500*time.Millisecond, 5, 5) // the dead owner's last commit may still come
	look(1200*time.Millisecond, 6, 5)
	look(9*time.Second, 6, 5)
	if got := v.missing(k); !slices.Equal(got, []string{"g/0", "g/1"}) {
		t.Fatalf("missing: got %v", got)
	}
	look(12*time.Second, 6, 8)
	look(14*time.Second, 7, 8)
	<-k.done
	if got := v.times(true); !slices.Equal(got, []float64{12, 14}) {
		t.Errorf("got %v, want 12 and 14 s", got)
	}
	if got := v.expect("nobody", false); len(got.slots) != 0 {
		t.Errorf("a process without partitions: %v", got.slots)
	}
}

func TestPartitionsAreReadFromEachFormOfStatus(t *testing.T) {
	for raw, want := range map[string][]int32{
		`[{"partition":2,"state":"running"},{"partition":0}]`: {0, 2},
		`{"partitions":[5,3],"destinations":[]}`:              {3, 5},
		`{"partitions":[{"partition":4}]}`:                    {4},
		`{"partitions":[]}`:                                   nil,
		`null`:                                                nil,
	} {
		got, err := partitionsIn(json.RawMessage(raw))
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: got %v, %v; want %v", raw, got, err, want)
		}
	}
}

func TestPeopleAreMasked(t *testing.T) {
	for key, want := range map[string]string{
		"sandbox/ann.lee@example.com": "sandbox/a***e@example.com",
		"sandbox/a@example.com":       "sandbox/***@example.com",
		"sandbox/paypal-eu/O1":        "sandbox/paypal-eu/O1",
	} {
		if got := mask(key); got != want {
			t.Errorf("%s: got %s, want %s", key, got, want)
		}
		if leaksAddress(mask(key)) {
			t.Errorf("%s counts as a leak", mask(key))
		}
	}
	if !leaksAddress(`{"contact":"ann.lee@example.com"}`) {
		t.Error("an address in a log is not seen")
	}
}

func TestAwaitEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := await(ctx, time.Hour, "never", func(context.Context) error { return os.ErrNotExist }); err != context.Canceled {
		t.Errorf("got %v", err)
	}
}
