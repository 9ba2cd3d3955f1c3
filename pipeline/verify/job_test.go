package verify

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tillstream/tillstream/pipeline/clock"
	"github.com/tillstream/tillstream/pipeline/jobs"
	"github.com/tillstream/tillstream/pipeline/kafka"
	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/schemas/codec"
	"github.com/tillstream/tillstream/sinks"
)

// patience bounds every wait; nothing waits for it when all goes well.
const patience = 60 * time.Second

// jobRig is a Kafka with the world's commands on it, and a CRM.
type jobRig struct {
	t       *testing.T
	brokers []string
	codec   *codec.Codec
	client  *kgo.Client
	cluster *kafka.Cluster

	mu  sync.Mutex // guards the CRM
	crm *crm
}

func newJobRig(t *testing.T) *jobRig {
	t.Helper()
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.GroupMinSessionTimeout(100*time.Millisecond),
		kfake.SeedTopics(1, schemas.TopicJobRequests, schemas.TopicJobs),
		kfake.SeedTopics(2, schemas.TopicJobItems, schemas.TopicDeadLetters, schemas.TopicDeliveries, schemas.TopicCommands, schemas.TopicAutomationInbox))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	r := &jobRig{t: t, brokers: c.ListenAddrs(), codec: codec.NewLocal()}
	if r.client, err = kgo.NewClient(kgo.SeedBrokers(r.brokers...), kgo.RecordPartitioner(kgo.ManualPartitioner())); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.client.Close)
	if r.cluster, err = kafka.NewCluster(kafka.Options{Brokers: r.brokers}, clock.System(), zerolog.Nop()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.cluster.Close)
	memory, account := world()
	r.crm = account
	for topic, parts := range memory.parts {
		for p, list := range parts {
			for _, rec := range list {
				r.put(&kgo.Record{Topic: topic, Partition: int32(p), Key: rec.Key, Value: rec.Value})
			}
		}
	}
	return r
}

func (r *jobRig) put(rec *kgo.Record) {
	r.t.Helper()
	if err := r.client.ProduceSync(context.Background(), rec).FirstErr(); err != nil {
		r.t.Fatal(err)
	}
}

// Verify is the CRM's, for the runner's goroutine and the test's.
func (r *jobRig) Verify(ctx context.Context, want schemas.Contact) (sinks.Comparison, sinks.Outcome) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.crm.Verify(ctx, want)
}

// start has a runner work until stop.
func (r *jobRig) start(open func(context.Context, string) (sinks.Verifier, error)) (stop func()) {
	r.t.Helper()
	w := Work{Log: r.cluster, Decode: r.codec.Decode, Encode: r.codec.Encode, Open: open}
	run, err := jobs.New(jobs.Options{
		Kafka: kafka.Options{Brokers: r.brokers}, Codec: r.codec, Instance: "one", Works: map[schemas.JobKind]jobs.Work{schemas.JobVerify: w}, Log: zerolog.Nop(),
	})
	if err != nil {
		r.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- run.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			r.t.Error(err)
		}
	})
	r.t.Cleanup(stop)
	return stop
}

// crmAccount opens the one destination that there is.
func (r *jobRig) crmAccount(_ context.Context, destination string) (sinks.Verifier, error) {
	if destination != "crm" {
		return nil, fmt.Errorf("%w: there is no destination %q", jobs.ErrImpossible, destination)
	}
	return r, nil
}

func (r *jobRig) ask(id string, action schemas.JobAction, filter map[string]string, perMinute int64) {
	r.t.Helper()
	value, err := r.codec.Encode(&schemas.JobRequest{JobID: id, Action: action, Kind: schemas.JobVerify, Filter: filter, PerMinute: perMinute, By: "ann", At: noon})
	if err != nil {
		r.t.Fatal(err)
	}
	r.put(&kgo.Record{Topic: schemas.TopicJobRequests, Key: []byte(id), Value: value})
}

// each decodes what is committed on a topic.
func (r *jobRig) each(topic string, f func(schemas.Record)) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	info, err := r.cluster.Describe(ctx, topic)
	if err != nil {
		r.t.Fatal(err)
	}
	for p := range info.Count {
		from, to, err := r.cluster.Bounds(ctx, topic, p)
		if err == nil && from < to {
			err = r.cluster.Read(ctx, kafka.Range{Topic: topic, Partition: p, From: from, To: to, Patience: patience}, func(list []*kgo.Record, _ int64) error {
				for _, rec := range list {
					got, err := r.codec.Decode(rec.Value)
					if err != nil {
						return err
					}
					f(got)
				}
				return nil
			})
		}
		if err != nil {
			r.t.Fatal(err)
		}
	}
}

// stands polls for how a job stands until ok holds.
func (r *jobRig) stands(id, what string, ok func(*schemas.Job) bool) (last *schemas.Job) {
	r.t.Helper()
	tick, deadline := time.NewTicker(20*time.Millisecond), time.Now().Add(patience)
	defer tick.Stop()
	for {
		last = nil
		r.each(schemas.TopicJobs, func(rec schemas.Record) {
			if j, is := rec.(*schemas.Job); is && j.JobID == id {
				last = j
			}
		})
		if last != nil && ok(last) {
			return last
		}
		if time.Now().After(deadline) {
			r.t.Fatalf("waited %s in vain until job %s %s; it stands as %+v", patience, id, what, last)
		}
		<-tick.C
	}
}

func (r *jobRig) ends(id string) *schemas.Job {
	r.t.Helper()
	return r.stands(id, "ends", func(j *schemas.Job) bool {
		return j.State == schemas.JobDone || j.State == schemas.JobFailed || j.State == schemas.JobCancelled
	})
}

// said are a job's words by contact.
func (r *jobRig) said(id string) map[string]string {
	r.t.Helper()
	out := map[string]string{}
	r.each(schemas.TopicJobItems, func(rec schemas.Record) {
		if it, ok := rec.(*schemas.JobItem); ok && it.JobID == id {
			if out[it.Item] != "" {
				r.t.Errorf("two words about %s by job %s", it.Item, id)
			}
			out[it.Item] = string(it.Result) + ": " + it.Detail
		}
	})
	return out
}

func (r *jobRig) touched() (out []string) {
	r.t.Helper()
	r.each(schemas.TopicAutomationInbox, func(rec schemas.Record) {
		if touch, ok := rec.(*schemas.ContactTouch); ok && touch.Resend && touch.Destination == "crm" {
			out = append(out, touch.ContactKey)
		}
	})
	return out
}

// A comparison as a job says of each contact what it found, and has what differs sent again only where that is asked.
func TestAComparisonIsAJob(t *testing.T) {
	r := newJobRig(t)
	r.start(r.crmAccount)
	filter := map[string]string{jobs.FilterDestination: "crm"}
	r.ask("look", schemas.JobStart, filter, 0)
	j := r.ends("look")
	if j.State != schemas.JobDone || j.Count != 5 || j.Done+j.Skipped != 5 || j.Failed != 0 {
		t.Errorf("got %+v, want five contacts compared", j)
	}
	want := map[string]string{
		"live/ann@example.com":  "MATCHES: it has what is meant",
		"live/bob@example.com":  "DRIFTED: other than meant: first name",
		"live/cleo@example.com": "DRIFTED: the destination does not know the person",
		"live/dora@example.com": "MATCHES: it has what is meant, and the person is unsubscribed",
		"live/fay@example.com":  "DRIFTED: other than meant: first name",
	}
	if diff := cmp.Diff(want, r.said("look")); diff != "" {
		t.Errorf("words (-want +got):\n%s", diff)
	}
	if got := r.touched(); len(got) != 0 {
		t.Errorf("a comparison sent again: %v", got)
	}

	filter[jobs.FilterRepair] = "true"
	for range 2 { // asked for twice, it is done once
		r.ask("mend", schemas.JobStart, filter, 0)
	}
	if j := r.ends("mend"); j.State != schemas.JobDone || j.Failed != 0 {
		t.Errorf("got %+v, want a job that is done", j)
	}
	for _, name := range []string{"bob", "fay"} {
		want["live/"+name+"@example.com"] += "; its desired state is sent again"
	}
	if diff := cmp.Diff(want, r.said("mend")); diff != "" {
		t.Errorf("words of the repair (-want +got):\n%s", diff)
	}
	mended := map[string]int{}
	for _, key := range r.touched() {
		mended[key]++
	}
	if diff := cmp.Diff(map[string]int{"live/bob@example.com": 1, "live/fay@example.com": 1}, mended); diff != "" {
		t.Errorf("sent again (-want +got):\n%s", diff)
	}

	r.ask("one", schemas.JobStart, map[string]string{jobs.FilterDestination: "crm", jobs.FilterContact: "BOB@example.com"}, 0)
	if j := r.ends("one"); j.Count != 1 || j.State != schemas.JobDone {
		t.Errorf("one contact: got %+v", j)
	}
}

// What can't be compared ends as failed, with the reason; nothing is asked of the CRM.
func TestAJobThatCannotBeSaysWhy(t *testing.T) {
	r := newJobRig(t)
	r.start(r.crmAccount)
	for id, tt := range map[string]struct {
		filter map[string]string
		want   string
	}{
		"no-destination": {nil, "say of which destination"},
		"unknown":        {map[string]string{jobs.FilterDestination: "nobody"}, `no destination "nobody"`},
		"by-cause":       {map[string]string{jobs.FilterDestination: "crm", jobs.FilterCause: "rejected"}, "chosen by destination, contact and since"},
	} {
		r.ask(id, schemas.JobStart, tt.filter, 0)
		if j := r.ends(id); j.State != schemas.JobFailed || !strings.Contains(j.Detail, tt.want) {
			t.Errorf("%s: got %s, %q, want it failed for %q", id, j.State, j.Detail, tt.want)
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.crm.asked) > 0 {
		t.Errorf("the CRM was asked about %v", r.crm.asked)
	}
}

// A key that is refused keeps the job waiting, with the reason to be seen; a new one lets it go on, and no contact has two
// words. A job can be cancelled where it stands.
func TestAJobWaitsForTheAccountAndCanBeCancelled(t *testing.T) {
	r := newJobRig(t)
	refused := true
	r.crm.outcome = func(string, int) sinks.Outcome {
		if refused {
			return sinks.Outcome{Kind: sinks.Retryable, Account: true, Err: errors.New("403 of ann@example.com"), Remedy: "give it a new key"}
		}
		return sinks.Outcome{Kind: sinks.Delivered}
	}
	r.start(r.crmAccount)
	filter := map[string]string{jobs.FilterDestination: "crm"}
	r.ask("waits", schemas.JobStart, filter, 0)
	j := r.stands("waits", "says why it waits", func(j *schemas.Job) bool { return strings.Contains(j.Detail, "403") })
	if j.State != schemas.JobRunning || strings.Contains(j.Detail, "ann@") || !strings.Contains(j.Detail, "new key") {
		t.Errorf("got %s, %q, want a job that runs and says what to do, with no address", j.State, j.Detail)
	}
	r.mu.Lock()
	refused = false
	r.mu.Unlock()
	if j := r.ends("waits"); j.State != schemas.JobDone || len(r.said("waits")) != 5 {
		t.Errorf("got %+v and %d words, want all five compared", j, len(r.said("waits")))
	}

	r.ask("slow", schemas.JobStart, filter, 1)
	r.stands("slow", "runs", func(j *schemas.Job) bool { return j.State == schemas.JobRunning && j.Count == 5 })
	r.ask("slow", schemas.JobCancel, nil, 0)
	if j := r.ends("slow"); j.State != schemas.JobCancelled {
		t.Errorf("got %+v, want a cancelled job", j)
	}
	if n := len(r.said("slow")); n >= 5 {
		t.Errorf("%d contacts compared in a job of one a minute that was cancelled", n)
	}
}

// Another runner goes on where one stopped: each contact has one word.
func TestAnotherRunnerGoesOn(t *testing.T) {
	r := newJobRig(t)
	begun := make(chan struct{})
	var once sync.Once
	r.crm.meant = func(string) { once.Do(func() { close(begun) }) }
	stop := r.start(r.crmAccount)
	r.ask("long", schemas.JobStart, map[string]string{jobs.FilterDestination: "crm", jobs.FilterRepair: "true"}, 600)
	select {
	case <-begun:
	case <-time.After(patience):
		t.Fatal("nothing was compared")
	}
	stop()
	r.start(r.crmAccount)
	if j := r.ends("long"); j.State != schemas.JobDone || j.Count != 5 || j.Done+j.Skipped != 5 || len(r.said("long")) != 5 {
		t.Errorf("got %+v and %d words, want five", j, len(r.said("long")))
	}
	if got := r.touched(); len(got) != 2 {
		t.Errorf("sent again: %v, want bob and fay once each", got)
	}
}
