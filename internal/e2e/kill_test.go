package e2e

import (
	"fmt"
	"syscall"
	"testing"

	"github.com/tillstream/tillstream/internal/e2e/parts"
	"github.com/tillstream/tillstream/simulators/story"
)

// habits are what the simulated PayPal does besides: doubles, disorder, late ones.
var habits = []string{"--duplicates", "0.08", "--disorder", "0.15", "--late", "0.03"}

func TestKilledInMidStoryTheEmbeddedProgramLosesAndDoublesNothing(t *testing.T) {
	w := newWorld(t, habits...)
	killedStory(t, w, w.dev)
	if code := w.till.Stop(t); code != 0 {
		t.Errorf("asked to stop, it ended with code %d: %s", code, w.till.Tail())
	}
}

func TestKilledInMidStoryTheProgramOnRealPartsLosesAndDoublesNothing(t *testing.T) {
	w := newWorld(t, habits...)
	k, r := parts.StartKafka(t), parts.StartRedis(t)
	w.kafka, w.redis = k.Address, r.Address
	w.serve(t, "registry")
	w.serve(t, "clickhouse")
	killedStory(t, w, w.run)
	if code := w.till.Stop(t); code != 0 {
		t.Errorf("asked to stop, it ended with code %d: %s", code, w.till.Tail())
	}
}

// killedStory plays a story in pieces. In each piece the program is killed: once half of the piece's deliveries were
// accepted (so that records are at every step), or, every other time, again as soon as it answers after its restart,
// in the midst of its recovery.
func killedStory(t *testing.T, w *world, start func(*testing.T)) {
	t.Helper()
	const pieces = 5
	events := tell(7, 150)
	start(t)
	w.awaitReady(t)
	for i := range pieces {
		piece := events[i*len(events)/pieces : (i+1)*len(events)/pieces]
		before, err := w.paypal(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		sent := make(chan error, 1)
		go func(piece []story.Event) { sent <- w.emit(t.Context(), piece) }(piece)
		w.await(t, fmt.Sprintf("half of piece %d is accepted", i+1), func() error {
			s, err := w.paypal(t.Context())
			if want := before.Delivered + len(piece)/2; err == nil && s.Delivered < want {
				err = fmt.Errorf("%d deliveries of %d", s.Delivered, want)
			}
			return err
		})
		w.till.Kill()
		start(t)
		if i%2 == 1 {
			w.await(t, "the restarted program answers", func() error { _, _, err := w.readiness(); return err })
			w.till.Kill()
			start(t)
		}
		if err := <-sent; err != nil {
			t.Fatalf("send piece %d: %v", i+1, err)
		}
	}
	w.awaitReady(t)
	w.awaitAccepted(t)
	w.awaitAgreement(t, events)
}

// A stop that is asked for ends in order also while the outside hangs.
func TestAStopIsInOrderWhileTheCRMHangs(t *testing.T) {
	w := newWorld(t)
	w.dev(t)
	w.awaitReady(t)
	events := tell(11, 20)
	w.crm.Signal(t, syscall.SIGSTOP)
	if err := w.emit(t.Context(), events); err != nil {
		t.Fatal(err)
	}
	w.awaitAccepted(t)
	if code := w.till.Stop(t); code != 0 {
		t.Errorf("asked to stop, it ended with code %d: %s", code, w.till.Tail())
	}
	w.crm.Signal(t, syscall.SIGCONT)
	w.dev(t)
	w.awaitReady(t)
	w.awaitAgreement(t, events)
}
