package sim

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tillstream/tillstream/pipeline/jobs"
	"github.com/tillstream/tillstream/schemas"
)

const groupJobs = "sim-jobs"

// retrying is a world of runners of jobs. What they send again is read by nobody here: invariant 14 is that it is sent once.
type retrying struct {
	w       *world
	letters []*madeLetter
	asked   map[string]*schemas.JobRequest // by job
	order   []string                       // of the jobs
	numbers int
}

// madeLetter is one dead letter, with what would be sent again because of it.
type madeLetter struct {
	item     string
	topic    string // where it is sent again
	id       string // by which it is known there: a command's, an event's, or a contact's key
	contact  bool   // several letters of one contact are one sending
	released bool   // only by who names its cause
}

func newRetrying(w *world) *retrying { return &retrying{w: w, asked: map[string]*schemas.JobRequest{}} }

func (r *retrying) groups() []string { return []string{groupJobs} }

func (r *retrying) topics() {
	n := int32(r.w.cfg.Partitions)
	for _, t := range []string{schemas.TopicCommands, schemas.TopicDeliveries, schemas.TopicAutomationInbox, schemas.TopicPayPalEvents} {
		r.w.b.Create(t, n, false)
	}
	r.w.b.Create(schemas.TopicJobRequests, 1, false)
	r.w.b.Create(schemas.TopicJobs, 1, true)
	r.w.b.Create(schemas.TopicJobItems, n, true)
}

func (r *retrying) begin(span int64) {
	for range r.w.cfg.Events {
		what := r.letter
		if r.w.work.r.IntN(6) == 0 {
			what = r.request
		}
		r.w.s.After(time.Duration(r.w.work.r.Int64N(span)), what)
	}
}

// put appends what somebody else writes.
func (r *retrying) put(topic string, partition int32, key string, rec schemas.Record) {
	value, err := shared.Encode(rec)
	if err != nil {
		panic(err)
	}
	r.w.b.Put(topic, partition, &kgo.Record{Key: []byte(key), Value: value})
}

// letter is one more dead letter: of an effect, of a contact's state, or of an event that a stage refused.
func (r *retrying) letter() {
	w, k := r.w, r.w.work.r
	w.events++
	r.numbers++
	if k.IntN(40) == 0 {
		w.hit(Garbage, PartLog)
		w.b.Put(schemas.TopicDeadLetters, 0, &kgo.Record{Key: []byte("x"), Value: []byte("garbage")})
		return
	}
	contact := fmt.Sprintf("sandbox/canary%d@example.com", k.IntN(w.cfg.Keys))
	w.secret(strings.TrimPrefix(contact, "sandbox/"))
	m := &madeLetter{id: fmt.Sprint("x", r.numbers)}
	d := schemas.DeadLetter{Stage: "deliver", Cause: schemas.CauseRejected, Topic: schemas.TopicCommands, Key: []byte(contact), At: w.s.Now()}
	c := schemas.Command{CommandID: m.id, Kind: schemas.CommandEffect, Destination: "crm0", ContactKey: contact, At: w.s.Now()}
	var about schemas.Record = &c
	switch k.IntN(4) {
	case 0:
		c.Kind, c.Version = schemas.CommandContact, int64(r.numbers)
		m.topic, m.id, m.contact = schemas.TopicAutomationInbox, contact, true
	case 1:
		e := schemas.OrderEvent{EventID: m.id, Environment: schemas.Sandbox, Connection: "shop", RootID: fmt.Sprint("o", k.IntN(w.cfg.Keys))}
		d.Stage, d.Cause, d.Topic, d.Key = "orders", schemas.CauseStageFailed, schemas.TopicPayPalEvents, []byte(e.Key())
		if m.released = k.IntN(6) == 0; m.released {
			d.Cause = schemas.CauseQuarantined
		}
		about, m.topic = &e, schemas.TopicPayPalEvents
	default:
		c.Effect = &schemas.Effect{Type: schemas.EffectTrackEvent, Name: "paid"}
		m.topic = schemas.TopicCommands
	}
	value, err := shared.Encode(about)
	if err != nil {
		panic(err)
	}
	d.Partition, d.Offset, d.Value = int64(k.IntN(w.cfg.Partitions)), int64(r.numbers), value
	d.ID = fmt.Sprintf("%s-%d-%d", d.Topic, d.Partition, d.Offset)
	if c.Effect != nil || c.Kind == schemas.CommandContact {
		d.Destination, d.ContactKey = c.Destination, contact
	}
	m.item = jobs.ItemOf(&d)
	r.letters = append(r.letters, m)
	r.put(schemas.TopicDeadLetters, 0, d.ID, &d)
}

// request asks for a job, asks for one again, or cancels one.
func (r *retrying) request() {
	k := r.w.work.r
	r.w.events++
	if n := len(r.order); n > 0 && k.IntN(4) == 0 {
		again := *r.asked[r.order[k.IntN(n)]]
		if k.IntN(2) == 0 {
			again.Action = schemas.JobCancel
		} else {
			r.w.hit(Duplicate, PartLog)
		}
		r.put(schemas.TopicJobRequests, 0, again.JobID, &again)
		return
	}
	q := &schemas.JobRequest{
		JobID: fmt.Sprint("job", len(r.order)), Action: schemas.JobStart, Kind: schemas.JobRetry, Filter: map[string]string{}, By: "somebody", At: r.w.s.Now(),
	}
	if k.IntN(5) == 0 {
		q.Kind = schemas.JobDismiss
	}
	switch k.IntN(4) {
	case 0:
		q.Filter[jobs.FilterCause] = schemas.CauseRejected
	case 1:
		q.Filter[jobs.FilterStage] = "orders"
	case 2:
		q.PerMinute = int64(60 + k.IntN(600))
	}
	r.ask(q)
}

func (r *retrying) ask(q *schemas.JobRequest) {
	r.asked[q.JobID] = q
	r.order = append(r.order, q.JobID)
	r.put(schemas.TopicJobRequests, 0, q.JobID, q)
}

// calm: when the faults end, all that is left is let through.
func (r *retrying) calm() {
	for _, cause := range []string{"", schemas.CauseQuarantined} {
		q := &schemas.JobRequest{JobID: "last" + cause, Action: schemas.JobStart, Kind: schemas.JobRetry, Filter: map[string]string{}, By: "somebody", At: r.w.s.Now()}
		if cause != "" {
			q.Filter[jobs.FilterCause] = cause
		}
		r.ask(q)
	}
}

func (r *retrying) run(env roleEnv) error {
	n, err := jobs.New(jobs.Options{
		Cluster: env.cluster, Clock: env.clock, Codec: &procCodec{w: r.w, p: env.p}, Group: groupJobs, Instance: env.s.name, Log: env.log,
	})
	if err != nil {
		return err
	}
	env.s.ready = n.Ready
	return n.Run(env.ctx)
}

// told are the committed records of a topic.
func (r *retrying) told(topic string, f func(schemas.Record)) {
	for n := range r.w.b.Topic(topic).Parts {
		for _, rec := range r.w.b.Topic(topic).Parts[n].Committed() {
			got, err := shared.Decode(rec.Value)
			if err != nil {
				if string(rec.Value) != "garbage" {
					r.w.violate(14, "a record of %s cannot be read: %v", topic, err)
				}
				continue
			}
			f(got)
		}
	}
}

// stand is the last word about each job.
func (r *retrying) stand() map[string]*schemas.Job {
	last := map[string]*schemas.Job{}
	r.told(schemas.TopicJobs, func(rec schemas.Record) {
		j := rec.(*schemas.Job)
		if was := last[j.JobID]; was != nil && ended(was.State) && (j.State != was.State || j.Done != was.Done) {
			r.w.violate(14, "%s was %s with %d done, and then %s with %d", j.JobID, was.State, was.Done, j.State, j.Done)
		}
		last[j.JobID] = j
	})
	return last
}

func ended(s schemas.JobState) bool {
	return s == schemas.JobDone || s == schemas.JobCancelled || s == schemas.JobFailed
}

func (r *retrying) behind() string {
	stand := r.stand()
	for _, id := range r.order {
		if j := stand[id]; j == nil || !ended(j.State) {
			return "jobs that have not ended"
		}
	}
	return ""
}

// check is invariant 14: whatever is asked how often, and whoever dies meanwhile, a letter is closed once, and what it is
// about is sent again once or not at all.
func (r *retrying) check() {
	items, perJob := map[string][]schemas.ItemResult{}, map[string]int64{}
	r.told(schemas.TopicJobItems, func(rec schemas.Record) {
		i := rec.(*schemas.JobItem)
		if i.Result == schemas.ItemSent || i.Result == schemas.ItemDismissed {
			items[i.Item] = append(items[i.Item], i.Result)
			perJob[i.JobID]++
		}
		if i.Result == schemas.ItemFailed {
			r.w.violate(14, "%s failed at %s, and nothing is wrong with it: %s", i.JobID, i.Item, i.Detail)
		}
	})
	sent := r.sent()
	want := map[string]int{} // sendings, of contacts at most
	for _, m := range r.letters {
		got := items[m.item]
		if len(got) != 1 {
			r.w.violate(14, "letter %s was closed as %v, want once", m.item, got)
			continue
		}
		if got[0] == schemas.ItemSent {
			want[m.topic+" "+m.id]++
		}
	}
	for _, m := range r.letters {
		key := m.topic + " " + m.id
		n, most := sent[key], want[key]
		if least := min(1, most); n < least || n > most || !m.contact && n != most {
			r.w.violate(14, "%s was sent again %d times for %d letters", key, n, most)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(sent)) {
		if want[key] == 0 {
			r.w.violate(14, "%s was sent again, and no letter asked for it", key)
		}
	}
	for _, j := range r.stand() {
		if j.State == schemas.JobDone && j.Done+j.Skipped+j.Failed != j.Count {
			r.w.violate(14, "%s is done with %d done, %d skipped and %d failed of %d", j.JobID, j.Done, j.Skipped, j.Failed, j.Count)
		}
		if j.Done != perJob[j.JobID] {
			r.w.violate(14, "%s says %d done, and %d items say so", j.JobID, j.Done, perJob[j.JobID])
		}
	}
}

// sent counts what was sent again, by topic and id.
func (r *retrying) sent() map[string]int {
	n := map[string]int{}
	r.told(schemas.TopicCommands, func(rec schemas.Record) { n[schemas.TopicCommands+" "+rec.(*schemas.Command).CommandID]++ })
	r.told(schemas.TopicAutomationInbox, func(rec schemas.Record) {
		t := rec.(*schemas.ContactTouch)
		if !t.Resend || t.Destination != "crm0" {
			r.w.violate(14, "contact %s is touched without that its state is sent again to its destination", t.ContactKey)
		}
		n[schemas.TopicAutomationInbox+" "+t.ContactKey]++
	})
	r.told(schemas.TopicPayPalEvents, func(rec schemas.Record) {
		id, _, _ := strings.Cut(rec.(*schemas.OrderEvent).EventID, "~") // let through under an id of its own
		n[schemas.TopicPayPalEvents+" "+id]++
	})
	return n
}
