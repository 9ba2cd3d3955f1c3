package jobs

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tillstream/tillstream/schemas"
)

// Invariant 14: a letter is retried once, however often it is asked, by one request that comes twice, or by two jobs.
func TestRetryTwiceIsRetryOnce(t *testing.T) {
	r := newRig(t)
	for n := range 20 {
		r.letter(r.refused(n, schemas.CommandEffect))
	}
	filter := map[string]string{FilterCause: "rejected"}
	first := r.ask(schemas.JobRetry, filter)
	r.asked--
	r.ask(schemas.JobRetry, filter)           // the same job again
	second := r.ask(schemas.JobRetry, filter) // another one, which counts what the first one did not do yet, or nothing
	r.start(r.options("a"))
	one, two := r.ends(first), r.ends(second)
	if one.State != schemas.JobDone || two.State != schemas.JobDone || one.Done+two.Done != 20 || one.Failed+two.Failed != 0 {
		t.Errorf("got %+v and %+v, want 20 letters retried by both together", one, two)
	}
	third := r.ends(r.ask(schemas.JobRetry, filter))
	if third.Count != 0 || third.Done != 0 {
		t.Errorf("a job after them found %d letters and did %d, want none", third.Count, third.Done)
	}
	sent := map[string]int{}
	for _, c := range all[*schemas.Command](r, schemas.TopicCommands) {
		sent[c.CommandID]++
	}
	for n := range 20 {
		if id := fmt.Sprintf("%024x", n); sent[id] != 1 {
			t.Errorf("effect %s was sent %d times, want once", id, sent[id])
		}
	}
}

// A runner dies at random steps, over and over; others take over. Every letter is sent again once, every word said once.
func TestCrashesRepeatNothing(t *testing.T) {
	r := newRig(t)
	const letters = 400
	for n := range letters {
		kind := schemas.CommandEffect
		if n%2 == 0 {
			kind = schemas.CommandContact
		}
		r.letter(r.refused(n, kind))
	}
	// 12,000 a minute is 200 at once: some transactions.
	job := r.ask(schemas.JobRetry, map[string]string{FilterDestination: "crm"}, func(q *schemas.JobRequest) { q.PerMinute = 3000 })
	rng := rand.New(rand.NewPCG(1, 2))
	var mu sync.Mutex
	crashes := 0
	for life := 0; ; life++ {
		w := r.start(r.options(fmt.Sprint("i", life%2)), func(step string) error {
			mu.Lock()
			defer mu.Unlock()
			if crashes < 12 && rng.IntN(3) == 0 {
				crashes++
				return errCrash
			}
			return nil
		})
		r.until("the job ends or its runner dies", func() bool {
			select {
			case err := <-w.done:
				w.done <- err
				return true
			default:
			}
			j := r.job(job)
			return j != nil && ended(j.State)
		})
		w.stop()
		if j := r.job(job); j != nil && ended(j.State) {
			break
		}
	}
	if j := r.job(job); j.State != schemas.JobDone || j.Count != letters || j.Done != letters || crashes == 0 {
		t.Errorf("got %+v after %d crashes, want %d letters done", j, crashes, letters)
	}
	if got := len(r.said(job)); got != letters {
		t.Errorf("%d letters have a word, want %d", got, letters)
	}
	times := map[string]int{}
	for _, c := range all[*schemas.Command](r, schemas.TopicCommands) {
		times[c.ContactKey]++
	}
	for _, c := range all[*schemas.ContactTouch](r, schemas.TopicAutomationInbox) {
		times[c.ContactKey]++
	}
	for n := range letters {
		if key := fmt.Sprintf("live/c%d@example.com", n); times[key] != 1 {
			t.Errorf("%s was sent again %d times, want once", key, times[key])
		}
	}
}

// All that match are retried, not a page of them (row 32).
func TestTenThousandLettersAreOneJob(t *testing.T) {
	r := newRig(t)
	var list []*schemas.DeadLetter
	for n := range 10_000 {
		list = append(list, r.refused(n, schemas.CommandContact))
	}
	r.letter(list...)
	other := r.refused(10_001, schemas.CommandContact)
	other.Cause = schemas.CauseGaveUp
	r.letter(other)
	r.start(r.options("a"))
	j := r.ends(r.ask(schemas.JobRetry, map[string]string{FilterCause: "REJECTED"}))
	if j.Count != 10_000 || j.Done != 10_000 {
		t.Errorf("counted %d and did %d, want 10000", j.Count, j.Done)
	}
	if got := len(all[*schemas.ContactTouch](r, schemas.TopicAutomationInbox)); got != 10_000 {
		t.Errorf("%d contacts were touched, want 10000", got)
	}
}

func TestCancelEndsAJobBetweenItems(t *testing.T) {
	r := newRig(t)
	for n := range 50 {
		r.letter(r.refused(n, schemas.CommandContact))
	}
	r.start(r.options("a"))
	job := r.ask(schemas.JobRetry, map[string]string{FilterStage: "deliver"}, func(q *schemas.JobRequest) { q.PerMinute = 60 })
	r.until("some items are done", func() bool { j := r.job(job); return j != nil && j.Done > 0 })
	r.ask("", nil, func(q *schemas.JobRequest) { q.JobID, q.Action, q.By = job, schemas.JobCancel, "bob" })
	j := r.ends(job)
	if j.State != schemas.JobCancelled || j.Done == 0 || j.Done == 50 || j.Detail != "cancelled by bob" {
		t.Errorf("got %+v, want a part done and cancelled by bob", j)
	}
	if got := int64(len(r.said(job))); got != j.Done {
		t.Errorf("%d items have a word, and the job says %d", got, j.Done)
	}
	rest := r.ends(r.ask(schemas.JobRetry, map[string]string{FilterStage: "deliver"}))
	if rest.Count != 50-j.Done || rest.Done != rest.Count {
		t.Errorf("the rest counted %d and did %d, want %d", rest.Count, rest.Done, 50-j.Done)
	}
}

// The rate holds over a restart: what is written says when things happened.
func TestRateIsKept(t *testing.T) {
	r := newRig(t)
	for n := range 6 {
		r.letter(r.refused(n, schemas.CommandContact))
	}
	w := r.start(r.options("a"))
	job := r.ask(schemas.JobRetry, nil, func(q *schemas.JobRequest) { q.PerMinute = 120 })
	r.until("the first two are done", func() bool { j := r.job(job); return j != nil && j.Done >= 2 })
	w.stop()
	r.start(r.options("b"))
	r.ends(job)
	var last time.Time
	for n := range 6 {
		it := r.said(job)[fmt.Sprintf("crm.commands-1-%d", n)]
		if it == nil {
			t.Fatalf("letter %d has no word", n)
		}
		last = later(last, it.At)
	}
	began := last
	for _, it := range r.said(job) {
		if it.At.Before(began) {
			began = it.At
		}
	}
	// 2 in a second: the sixth comes 2 s after the first pair at the earliest.
	if took := last.Sub(began); took < 1900*time.Millisecond {
		t.Errorf("6 items at 120 a minute took %s, want 2 s at least", took)
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func TestARunnerThatStopsIsFollowedByAnother(t *testing.T) {
	r := newRig(t)
	for n := range 30 {
		r.letter(r.refused(n, schemas.CommandEffect))
	}
	a := r.start(r.options("a"))
	job := r.ask(schemas.JobRetry, nil, func(q *schemas.JobRequest) { q.PerMinute = 300 })
	r.until("a began", func() bool { j := r.job(job); return j != nil && j.Done > 0 })
	b := r.start(r.options("b"))
	a.stop()
	if j := r.ends(job); j.Done != 30 {
		t.Errorf("got %+v, want 30 done", j)
	}
	if !b.Status().Working || b.Ready() != nil {
		t.Errorf("b has the work and is not ready: %+v, %v", b.Status(), b.Ready())
	}
	if got := len(all[*schemas.Command](r, schemas.TopicCommands)); got != 30 {
		t.Errorf("%d effects were sent, want 30", got)
	}
}

func TestWhatCannotBeAskedFails(t *testing.T) {
	r := newRig(t)
	r.start(r.options("a"))
	for name, c := range map[string]struct {
		kind   schemas.JobKind
		filter map[string]string
		want   string
	}{
		"kind":    {"MAGIC", nil, `the kind of job "MAGIC" is not known here`},
		"filter":  {schemas.JobRetry, map[string]string{"colour": "red"}, "filter: colour: there is no such part"},
		"settle":  {schemas.JobSettle, nil, "the job cannot be done: only effects that are uncertain are settled"},
		"dismiss": {schemas.JobDismiss, map[string]string{FilterUncertain: "true"}, "the job cannot be done: an uncertain effect is retried or settled, it cannot be dismissed"},
	} {
		t.Run(name, func(t *testing.T) {
			if j := r.ends(r.ask(c.kind, c.filter)); j.State != schemas.JobFailed || j.Detail != c.want {
				t.Errorf("got %s: %q, want FAILED: %q", j.State, j.Detail, c.want)
			}
		})
	}
	r.put(schemas.TopicJobRequests, &kgo.Record{Key: []byte("x"), Value: []byte("no avro")}) // is left out
	if j := r.ends(r.ask(schemas.JobDismiss, nil)); j.State != schemas.JobDone || j.Count != 0 {
		t.Errorf("a job behind a record that is none: %+v", j)
	}
}

func TestDismissedLettersAreClosed(t *testing.T) {
	r := newRig(t)
	r.letter(r.refused(1, schemas.CommandContact), r.refused(2, schemas.CommandContact))
	r.start(r.options("a"))
	j := r.ends(r.ask(schemas.JobDismiss, map[string]string{FilterContact: "c1@example.com"}))
	if j.Done != 1 {
		t.Errorf("dismissed %d, want 1", j.Done)
	}
	retried := r.ends(r.ask(schemas.JobRetry, nil))
	if retried.Count != 1 || retried.Done != 1 {
		t.Errorf("retried %d of %d, want only the other one", retried.Done, retried.Count)
	}
	got := []string{}
	for _, c := range all[*schemas.ContactTouch](r, schemas.TopicAutomationInbox) {
		got = append(got, fmt.Sprint(c.ContactKey, " ", c.Destination, " ", c.Resend))
	}
	if diff := cmp.Diff([]string{"live/c2@example.com crm true"}, got); diff != "" {
		t.Errorf("touched (-want +got):\n%s", diff)
	}
}
