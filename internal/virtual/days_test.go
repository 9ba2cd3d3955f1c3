//go:build synctests

package virtual

import (
	"context"
	"crypto/sha256"
	"flag"
	"fmt"
	"hash"
	"math/rand/v2"
	"runtime/debug"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"
	"github.com/twmb/franz-go/pkg/kgo"
)

var (
	daysFlag = flag.Int("days", 3, "how many days a story takes")
	seedFlag = flag.Uint64("seed", 1, "which story, and which restarts")
	logFlag  = flag.Bool("log", false, "show what the processes log")
)

const (
	// outageMax is the longest that nobody may be at work, the takeover included.
	outageMax = time.Hour
	// tickPatience is how late a timer may fire while somebody is at work.
	tickPatience = 2 * time.Minute
	calmMax      = 12 * time.Hour
)

// Days of a shop's life, most of them idle, with two processes that are stopped, killed and started again, a Redis that
// is emptied once a day and a CRM that is slow, refuses and loses answers. In the end everything is what a plain fold of
// what came in makes of it.
func TestDays(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(400))
	run(t, *seedFlag, *daysFlag)
}

// The same story ends the same, however its work was scheduled.
func TestTheSameSeedEndsTheSame(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(400))
	first, second := run(t, *seedFlag, 1), run(t, *seedFlag, 1)
	if first != second {
		t.Errorf("seed %d ended as %s, then as %s", *seedFlag, first, second)
	}
}

func run(t *testing.T, seed uint64, length int) (digest string) {
	t.Helper()
	began := time.Now()
	synctest.Test(t, func(t *testing.T) {
		d := &days{
			w: newWorld(t, seed), story: newStory(seed, length), dice: rand.New(rand.NewPCG(seed, 3)), digest: sha256.New(),
			sent: map[string]time.Time{}, began: time.Now(),
		}
		d.live()
		hours := d.ended.Sub(d.began).Hours()
		if want := float64(length * 24); hours < want {
			t.Errorf("%.1f hours were simulated, want at least %.0f", hours, want)
		}
		r := d.check()
		digest = r.digest
		if r.byTick == 0 || r.timers == 0 || r.commands == 0 || d.kills == 0 || d.stops == 0 || d.flushes != length {
			t.Errorf("a dull story: %+v, %d kills, %d stops, %d flushes", r, d.kills, d.stops, d.flushes)
		}
		t.Logf("seed %d: %.1f hours, %d events, %d ticks, %d timers (%d by ticks), %d transitions, %d commands, %d dead letters", seed, hours, d.appended, r.ticks, r.timers, r.byTick, r.transitions, r.commands, r.letters)
		t.Logf("%d starts, %d stops, %d kills, %d flushes of redis, %d answers of kafka lost", d.starts, d.stops, d.kills, d.flushes, d.w.lost.Load())
		for _, name := range destinations {
			t.Logf("%s: %+v", name, d.w.crm[name].count)
		}
		t.Logf("ended as %s", digest)
		if t.Failed() {
			t.Logf("again: go test -tags synctests ./internal/virtual -run %s -days %d -seed %d", t.Name(), length, seed)
		}
	})
	t.Logf("%.1f s of real time", time.Since(began).Seconds())
	return digest
}

// days is one run.
type days struct {
	w      *world
	story  *story
	dice   *rand.Rand // of the restarts
	procs  [2]*process
	digest hash.Hash
	sent   map[string]time.Time // when an event was first appended, by id

	began, ended                  time.Time
	appended, parked              int
	starts, stops, kills, flushes int
}

func (d *days) live() {
	if *logFlag {
		d.w.log = zerolog.New(zerolog.NewTestWriter(d.w.t)).Level(zerolog.InfoLevel).With().Timestamp().Logger()
	}
	d.start(0)
	told := make(chan struct{})
	go func() {
		defer close(told)
		d.tell()
	}()
	d.disturb()
	<-told
	d.w.calm()
	for i, p := range d.procs {
		if p == nil {
			d.start(i)
		}
	}
	d.settle()
	for i := range d.procs {
		d.procs[i].stop()
	}
}

// tell lets the story happen.
func (d *days) tell() {
	for _, h := range d.story.records {
		time.Sleep(time.Until(d.began.Add(h.at)))
		if h.flush {
			d.flushes++
			d.w.redis.FlushAll()
			continue
		}
		r := &kgo.Record{Topic: h.topic, Value: h.garbage}
		if h.event != nil {
			var err error
			if r.Value, err = d.w.codec.Encode(h.event); err != nil {
				d.w.t.Error(err)
				return
			}
			r.Key = []byte(h.event.Key())
		}
		if err := d.w.side.ProduceSync(context.Background(), r).FirstErr(); err != nil {
			d.w.t.Error(err)
			return
		}
		d.appended++
		if h.event != nil && d.sent[h.event.EventID].IsZero() {
			d.sent[h.event.EventID] = r.Timestamp
		}
	}
}

func (d *days) start(i int) {
	d.starts++
	d.procs[i] = d.w.start(string(rune('a' + i)))
}

// disturb stops, kills and starts processes until the story ends.
func (d *days) disturb() {
	for time.Since(d.began) < d.story.end {
		i := d.dice.IntN(2)
		switch p, x := d.procs[i], d.dice.IntN(8); {
		case p == nil && x < 4:
			d.start(i)
		case p == nil:
		case x < 2:
			d.kills++
			p.kill()
			d.procs[i] = nil
		case x < 5:
			d.stops++
			p.stop()
			d.procs[i] = nil
		}
		rest := d.between(10*time.Minute, 100*time.Minute)
		if d.procs[0] == nil && d.procs[1] == nil {
			time.Sleep(d.between(time.Second, 20*time.Minute))
			d.start(i)
		}
		time.Sleep(min(rest, d.story.end-time.Since(d.began)+time.Second))
	}
}

func (d *days) between(a, b time.Duration) time.Duration {
	return a + time.Duration(d.dice.Int64N(int64(b-a)))
}

// settle waits until nothing is left to do but timers of the future.
func (d *days) settle() {
	limit := time.Now().Add(calmMax)
	for quiet := 0; quiet < 3; time.Sleep(2 * time.Minute) {
		err := d.busy()
		if quiet++; err != nil {
			quiet = 0
		}
		if time.Now().After(limit) {
			d.w.t.Fatalf("not at rest %v after the story: %v", calmMax, err)
		}
	}
	d.ended = time.Now()
}

// busy says what is still to be done; nil: nothing.
func (d *days) busy() error {
	running, windows := 0, 0
	for _, p := range d.procs {
		if err := p.ready(); err != nil {
			return err
		}
		for _, e := range p.engines {
			for _, s := range e.Status() {
				running++
				if s.Lag > 0 {
					return fmt.Errorf("%s: %+v", p.name, s)
				}
			}
		}
		for _, s := range p.deliver.Status().Windows {
			if windows++; s.State != "running" || s.Unfinished > 0 {
				return fmt.Errorf("%s: %+v", p.name, s)
			}
		}
	}
	if running != 2*partitions || windows != partitions {
		return fmt.Errorf("%d partitions run and %d are delivered, want %d and %d", running, windows, 2*partitions, partitions)
	}
	return nil
}
