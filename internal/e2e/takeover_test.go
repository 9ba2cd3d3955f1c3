package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tillstream/tillstream/internal/e2e/parts"
	"github.com/tillstream/tillstream/simulators/story"
)

// takeoverMax is the session timeout, after which a dead owner is noticed, and time for a recovery on a busy machine. What
// waits for anything else than the session, such as a transaction's end, takes longer.
const takeoverMax = 15*time.Second + 15*time.Second

func TestAKilledProcessIsTakenOverOnRealKafka(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	k, r := parts.StartKafka(t), parts.StartRedis(t)
	w.kafka, w.redis = k.Address, r.Address
	w.serve(t, "registry")
	w.serve(t, "clickhouse")
	takeover(t, w, w.run)
}

func TestAKilledProcessIsTakenOverOnEmbeddedKafka(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	takeover(t, w, w.dev)
}

// takeover kills one of two processes that share the partitions, under load, and measures until the other one runs them
// all.
func takeover(t *testing.T, w *world, start func(*testing.T)) {
	t.Helper()
	start(t)
	w.awaitReady(t)
	second, address := w.second(t, "processors")
	w.awaitShared(t, address)
	if code, out, errs := command(t, "status", "--address", w.management, "--address", address); code != 0 {
		t.Errorf("status of two that run: %d\n%s%s", code, out, errs)
	}
	w.askTheOther(t, address)

	events := tell(31, 60)
	half := len(events) / 2
	if took := w.takenOver(t, events[:half], second); took > takeoverMax {
		t.Errorf("taken over after %v, want at most %v", took, takeoverMax)
	}
	if err := w.emit(t.Context(), events[half:]); err != nil {
		t.Fatal(err)
	}
	w.awaitAccepted(t)
	w.awaitReady(t)
	w.awaitAgreement(t, events)
	if code, out, _ := command(t, "status", "--address", w.management, "--address", address); code != 2 || !strings.Contains(out, address+" does not answer") {
		t.Errorf("status with a dead process: %d\n%s", code, out)
	}
}

// awaitShared waits until the program and the second process have a partition of each stage.
func (w *world) awaitShared(t *testing.T, second string) {
	t.Helper()
	w.await(t, "each process has a partition of each stage", func() error {
		_, s := w.status(t, w.management, second)
		owners := map[string]string{}
		for _, p := range s.Partitions {
			owners[p.Stage] += strings.SplitN(p.Owner, "/", 2)[0] + " " + p.State + ","
		}
		for _, stage := range []string{"orders", "automation"} {
			if got := owners[stage]; got != "e2e running,second running," && got != "second running,e2e running," {
				return fmt.Errorf("%v", owners)
			}
		}
		return nil
	})
}

// takenOver kills a process under load and returns how long it took until the program ran every partition.
func (w *world) takenOver(t *testing.T, events []story.Event, second *parts.Process) time.Duration {
	t.Helper()
	w.load(t, events)
	second.Kill()
	killed := time.Now()
	w.await(t, "the other process runs every partition", func() error {
		running, err := w.running()
		if err == nil && (running["stage orders"] < 2 || running["stage automation"] < 2) {
			err = fmt.Errorf("running: %v", running)
		}
		return err
	})
	took := time.Since(killed)
	t.Logf("taken over %v after the kill", took.Round(10*time.Millisecond))
	return took
}

// running is how many partitions of each stage the program runs, asked without a process of its own, which takes time.
func (w *world) running() (map[string]int, error) {
	var answer struct {
		Parts []struct {
			Name   string          `json:"name"`
			Stage  json.RawMessage `json:"stage"`
			Status json.RawMessage `json:"status"`
		} `json:"parts"`
	}
	resp, err := http.Get("http://" + w.management + "/status")
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		return nil, err
	}
	out := map[string]int{}
	for _, p := range answer.Parts {
		if p.Stage == nil {
			continue
		}
		var list []struct {
			State string `json:"state"`
		}
		if err := json.Unmarshal(p.Status, &list); err != nil {
			return nil, err
		}
		for _, s := range list {
			if s.State == "running" {
				out[p.Name]++
			}
		}
	}
	return out, nil
}

// second starts another process with roles of its own on the world's parts.
func (w *world) second(t *testing.T, roles string) (p *parts.Process, management string) {
	t.Helper()
	management = fmt.Sprintf("127.0.0.1:%d", parts.Port(t))
	p = parts.Start(t, parts.Command{
		Name: "tillstream second", Path: binary, Args: []string{"run", "--config", w.config, "--roles", roles}, Dir: t.TempDir(),
		Env: append(w.variables(), "E2E_INSTANCE=second", "E2E_MANAGEMENT="+management),
	})
	return p, management
}

// askTheOther wants a process to say who has a partition that is not its own.
func (w *world) askTheOther(t *testing.T, address string) {
	t.Helper()
	_, s := w.status(t, w.management, address)
	for _, p := range s.Partitions {
		if p.Stage != "orders" {
			continue
		}
		wrong := address
		if strings.HasPrefix(p.Owner, "second/") {
			wrong = w.management
		}
		w.await(t, "its table shows the partition elsewhere", func() error {
			_, s := w.status(t, wrong)
			if got := s.states("orders")[p.Partition]; got != "elsewhere" {
				return fmt.Errorf("%q", got)
			}
			return nil
		})
		code, _, errs := command(t, "resume", "--stage", "orders", "--partition", fmt.Sprint(p.Partition), "--address", wrong)
		if code != 1 || !strings.Contains(errs, "is not at this process") || !strings.Contains(errs, "a process at 127.0.0.1 has it") {
			t.Errorf("resume at a process that has not partition %d: %d %q", p.Partition, code, errs)
		}
	}
}

// A process that is stopped in the way of SIGSTOP, a long pause, is taken over as a dead one; when it goes on it must not
// write what another one owns.
func TestAPausedProcessIsTakenOverAndComesBackHarmless(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.dev(t)
	w.awaitReady(t)
	second, address := w.second(t, "processors")
	w.awaitShared(t, address)
	events := tell(37, 60)
	w.load(t, events)
	second.Signal(t, syscall.SIGSTOP)
	w.awaitStates(t, "orders", map[int]string{0: "running", 1: "running"})
	second.Signal(t, syscall.SIGCONT)
	w.awaitAccepted(t)
	w.awaitStates(t, "orders", map[int]string{0: "running", 1: "running"}, w.management, address)
	w.awaitAgreement(t, events)
}
