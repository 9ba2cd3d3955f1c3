package e2e

import (
	"fmt"
	"strings"
	"syscall"
	"testing"

	"github.com/tillstream/tillstream/internal/e2e/parts"
)

// TestPartsThatAreDownHoldUpOnlyTheirOwnWork takes everything but Kafka away at the start, then everything in the
// middle, Kafka too and Redis with all its data. Readiness says what is missing, webhooks are accepted whatever else is
// down, and in the end everything was delivered once.
func TestPartsThatAreDownHoldUpOnlyTheirOwnWork(t *testing.T) {
	w := newWorld(t, habits...)
	k, r := parts.StartKafka(t), parts.StartRedis(t)
	w.kafka, w.redis = k.Address, r.Address
	const few = 10
	events := tell(13, 120)
	first, second := events[:len(events)/2], events[len(events)/2:]

	r.Kill()
	w.crm.Signal(t, syscall.SIGSTOP)
	w.run(t)
	w.awaitReason(t, "schema registry")
	w.awaitRegistered(t)
	if err := w.emit(t.Context(), first[:few]); err != nil {
		t.Fatal(err)
	}
	w.awaitRefusals(t) // nothing can be appended yet: they come again
	registry := w.serve(t, "registry")
	w.awaitReason(t, "store_unavailable")
	w.awaitReason(t, "clickhouse")
	if err := w.emit(t.Context(), first[few:]); err != nil {
		t.Fatal(err)
	}
	w.awaitAccepted(t)
	t.Log("without Redis, ClickHouse and the CRM every webhook was accepted")
	r.Start(t)
	clickhouse := w.serve(t, "clickhouse")
	w.crm.Signal(t, syscall.SIGCONT)
	w.awaitReady(t)
	w.awaitAgreement(t, first)

	w.crm.Signal(t, syscall.SIGSTOP)
	clickhouse.Kill()
	registry.Kill()
	r.Kill()
	r.Wipe(t)
	if err := w.emit(t.Context(), second[:len(second)/2]); err != nil {
		t.Fatal(err)
	}
	w.awaitReason(t, "store_unavailable")
	w.awaitAccepted(t)
	t.Log("without Redis, ClickHouse, the registry and the CRM every webhook was accepted")
	k.Kill()
	sent := make(chan error, 1)
	go func() { sent <- w.emit(t.Context(), second[len(second)/2:]) }()
	w.awaitRefusals(t)
	k.Restart(t)
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	w.awaitAccepted(t)
	t.Log("after Kafka was killed and restarted every webhook was accepted")

	// A restart finds the ids of the registry in its cache.
	w.till.Kill()
	w.run(t)
	w.awaitReason(t, "store_unavailable")
	r.Start(t)
	w.serve(t, "clickhouse")
	w.serve(t, "registry")
	w.crm.Signal(t, syscall.SIGCONT)
	w.awaitReady(t)
	w.awaitAgreement(t, events)
}

// awaitRegistered waits until both connections can take deliveries, whatever else is not ready.
func (w *world) awaitRegistered(t *testing.T) {
	t.Helper()
	w.await(t, "both connections are ready", func() error {
		_, list, err := w.readiness()
		n := 0
		for _, p := range list {
			if p.Ready && strings.HasPrefix(p.Name, "connection ") {
				n++
			}
		}
		if err == nil && n != 2 {
			err = fmt.Errorf("parts: %+v", list)
		}
		return err
	})
}

// awaitRefusals waits until a delivery waits for its next try.
func (w *world) awaitRefusals(t *testing.T) {
	t.Helper()
	w.await(t, "a delivery was refused", func() error {
		s, err := w.paypal(t.Context())
		if err == nil && s.Outstanding == s.Queued {
			err = fmt.Errorf("%+v", s)
		}
		return err
	})
}
