package e2e

import (
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tillstream/tillstream/internal/e2e/parts"
	"github.com/tillstream/tillstream/simulators/story"
)

// stopMax is how long an orderly stop may take, whatever hangs outside.
const stopMax = 10 * time.Second

// TestReadinessTellsEachTrouble takes one part after the other away, mostly while no record moves, and asks the program to
// stop under load while a part hangs or is gone. Readiness names what is missing, liveness does not mistake it for a
// fault of the process, every stop is in time and in order, and in the end nothing is lost or doubled.
func TestReadinessTellsEachTrouble(t *testing.T) {
	t.Parallel()
	w := newWorld(t, habits...)
	k, r := parts.StartKafka(t), parts.StartRedis(t)
	w.kafka, w.redis = k.Address, r.Address
	w.serve(t, "clickhouse")
	events := tell(29, 120)
	pieces := slices.Collect(slices.Chunk(events, (len(events)+3)/4))

	w.run(t)
	w.awaitReason(t, "start: waiting for the schema registry")
	w.wantHealthy(t)
	w.serve(t, "registry")
	w.awaitReady(t)

	r.Kill()
	w.awaitReason(t, "redis: redis at "+r.Address+" does not answer")
	w.wantHealthy(t)
	r.Start(t)
	w.awaitReady(t)

	// First what makes PayPal wait longest for its next try.
	w.load(t, pieces[0])
	k.Kill()
	w.awaitReason(t, "kafka: kafka at "+k.Address+" does not answer")
	w.wantHealthy(t)
	if !w.stop(t, "Kafka is gone") {
		t.Error("readiness said nothing of the stop while it lasted")
	}
	k.Restart(t)

	w.run(t)
	w.awaitReady(t)
	w.load(t, pieces[1])
	r.Hang(t, true)
	w.stop(t, "Redis hangs")
	r.Hang(t, false)

	w.run(t)
	w.awaitReady(t)
	w.load(t, pieces[2])
	w.crm.Signal(t, syscall.SIGSTOP)
	w.stop(t, "the CRM hangs")
	w.crm.Signal(t, syscall.SIGCONT)

	w.run(t)
	w.awaitReady(t)
	w.load(t, pieces[3])
	w.awaitAccepted(t)
	w.awaitReady(t)
	w.awaitAgreement(t, events)
	w.stop(t, "everything is well")
}

// load has PayPal send the events, and returns once some of them were accepted: the others are on their way.
func (w *world) load(t *testing.T, events []story.Event) {
	t.Helper()
	before, err := w.paypal(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := w.emit(t.Context(), events); err != nil {
		t.Fatal(err)
	}
	w.await(t, "a quarter of the events is accepted", func() error {
		s, err := w.paypal(t.Context())
		if err == nil && s.Delivered < before.Delivered+len(events)/4 {
			err = fmt.Errorf("%d deliveries, %d before", s.Delivered, before.Delivered)
		}
		return err
	})
}

// stop asks the program to end and wants it to be done in time with exit code 0. It reports whether readiness told of it
// meanwhile.
func (w *world) stop(t *testing.T, while string) (told bool) {
	t.Helper()
	began := time.Now()
	w.till.Signal(t, syscall.SIGTERM)
	for !w.till.Ended() && time.Since(began) < stopMax {
		if _, list, err := w.readiness(); err == nil {
			told = told || slices.ContainsFunc(list, func(p part) bool { return p.Name == "start" && strings.HasPrefix(p.Reason, "stopping") })
		}
		if _, err := w.till.Wait(10 * time.Millisecond); err == nil {
			break
		}
	}
	took := time.Since(began).Round(10 * time.Millisecond)
	code, err := w.till.Wait(max(time.Millisecond, stopMax-took))
	if err != nil || code != 0 {
		t.Errorf("while %s: exit code %d, %v, after %v; want 0 within %v\n%s", while, code, err, took, stopMax, w.till.Tail())
		w.till.Kill()
	}
	t.Logf("while %s: stopped after %v, readiness told of it: %v", while, took, told)
	return told
}

// wantHealthy: what is missing outside is no reason to restart the process.
func (w *world) wantHealthy(t *testing.T) {
	t.Helper()
	if !w.healthy(t) {
		t.Error("the process calls itself dead")
	}
}
