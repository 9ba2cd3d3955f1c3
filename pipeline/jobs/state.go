package jobs

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tillstream/tillstream/outbound"
	"github.com/tillstream/tillstream/pipeline/kafka"
	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/schemas/codec"
)

// running is one job that has not ended.
type running struct {
	job    schemas.Job
	worker Worker
	topic  string
	passes int

	read    []schemas.JobPosition // up to where the queue reaches
	chunk   []*kgo.Record         // read and not looked at
	until   int64                 // the offset up to which chunk reaches
	queue   []queued
	due     time.Time
	tries   int
	trouble string
}

// queued is an item that waits for its turn.
type queued struct {
	Item
	position int       // index in running.read
	next     int64     // the offset behind it
	at       time.Time // broker's, of the record that it is about
}

// ledger is the last word about each letter and uncertain effect.
type ledger struct{ words map[[16]byte]entry }

type entry struct {
	result schemas.ItemResult
	at     time.Time // broker's
}

func ledgerKey(item string) (k [16]byte) {
	sum := sha256.Sum256([]byte(item))
	copy(k[:], sum[:])
	return k
}

// closed reports whether item was sent again or closed, and when.
func (l *ledger) closed(item string) (at time.Time, ok bool) {
	e, ok := l.words[ledgerKey(item)]
	return e.at, ok && e.result != schemas.ItemFailed
}

func (l *ledger) set(item string, result schemas.ItemResult, at time.Time) {
	l.words[ledgerKey(item)] = entry{result, at}
}

// closes reports whether items of a kind of job end by it.
func closes(kind schemas.JobKind) bool {
	return kind == schemas.JobRetry || kind == schemas.JobDismiss || kind == schemas.JobSettle
}

// load reads what is known of jobs: all of topic jobs, up to where it ends once what may still be undecided is counted in.
func (r *Runner) load(ctx context.Context, era int) error {
	ctx, cancel := r.clock.WithTimeout(ctx, loadTimeout)
	defer cancel()
	r.drop()
	r.loaded = era
	all := map[string]*schemas.Job{}
	err := reading{r.cluster}.Scan(ctx, schemas.TopicJobs, 0, -1, func(rec *kgo.Record) error {
		if rec.Value == nil {
			delete(all, string(rec.Key))
			return nil
		}
		got, err := r.o.Codec.Decode(rec.Value)
		if err != nil {
			return fmt.Errorf("a record of topic %s at offset %d: %w", schemas.TopicJobs, rec.Offset, err)
		}
		if j, ok := got.(*schemas.Job); ok {
			all[j.JobID] = j
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("read the jobs: %w", err)
	}
	for id, j := range all {
		r.known[id] = true
		if !ended(j.State) {
			r.jobs[id] = &running{job: *j, due: resumed(j)}
		}
	}
	r.mu.Lock()
	next := r.next
	r.mu.Unlock()
	if next < 0 { // nothing was ever committed
		start, _, err := r.cluster.Bounds(ctx, schemas.TopicJobRequests, 0)
		if err != nil {
			return err
		}
		r.mu.Lock()
		if r.era == era {
			r.next = start
		}
		r.mu.Unlock()
	}
	r.say(nil)
	r.show()
	return nil
}

// resumed is when a job that another life began may go on without passing its rate.
func resumed(j *schemas.Job) time.Time {
	if j.State != schemas.JobRunning || j.PerMinute <= 0 {
		return time.Time{}
	}
	return j.At.Add(spell(j.PerMinute, atOnce(j.PerMinute)))
}

// atOnce is how many items a job does in one go: about a second's worth.
func atOnce(perMinute int64) int {
	if perMinute <= 0 {
		return itemsMax
	}
	return int(min(itemsMax, max(1, perMinute/60)))
}

// spell is how long n items take at a rate.
func spell(perMinute int64, n int) time.Duration {
	if perMinute <= 0 {
		return 0
	}
	return time.Duration(n) * time.Minute / time.Duration(perMinute)
}

func ended(s schemas.JobState) bool {
	return s == schemas.JobDone || s == schemas.JobCancelled || s == schemas.JobFailed
}

// words reads the last word about each item, once in a life that has use for it.
func (r *Runner) words(ctx context.Context) error {
	if r.ledger != nil {
		return nil
	}
	l := &ledger{words: map[[16]byte]entry{}}
	log := reading{r.cluster}
	n, err := log.Partitions(ctx, schemas.TopicJobItems)
	if err != nil {
		return err
	}
	oldest := r.clock.Now().Add(-wordsKept)
	for p := range n {
		err := log.Scan(ctx, schemas.TopicJobItems, p, -1, func(rec *kgo.Record) error {
			if rec.Value == nil || rec.Timestamp.Before(oldest) {
				return nil
			}
			got, err := r.o.Codec.Decode(rec.Value)
			if err != nil {
				return fmt.Errorf("a record of topic %s at %d/%d: %w", schemas.TopicJobItems, p, rec.Offset, err)
			}
			if it, ok := got.(*schemas.JobItem); ok && closes(it.Kind) {
				l.set(it.Item, it.Result, rec.Timestamp)
			}
			if len(l.words) > ledgerMax {
				return fmt.Errorf("more than %d items were worked on within %s", ledgerMax, wordsKept)
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("read the items of jobs: %w", err)
		}
	}
	r.ledger = l
	return nil
}

// take makes jobs of requests, and ends those that are cancelled.
func (r *Runner) take(ctx context.Context, s kafka.Session, requests []*kgo.Record) error {
	r.mu.Lock()
	next := r.next
	r.mu.Unlock()
	changed := map[string]bool{}
	for _, rec := range requests {
		if rec.Offset < next {
			continue
		}
		next = rec.Offset + 1
		got, err := r.o.Codec.Decode(rec.Value)
		q, ok := got.(*schemas.JobRequest)
		if errors.Is(err, codec.ErrUnavailable) {
			return fmt.Errorf("the schema of %s/%d offset %d: %w", rec.Topic, rec.Partition, rec.Offset, err)
		}
		if err != nil || !ok {
			r.o.Log.Error().Err(err).Int64("offset", rec.Offset).Msg("a record of topic job.requests is none: left out")
			continue
		}
		if id := r.asked(q, rec.Timestamp); id != "" {
			changed[id] = true
		}
	}
	var out []*kgo.Record
	var over []string
	for _, id := range slices.Sorted(maps.Keys(changed)) {
		j := r.jobs[id]
		j.job.At = r.clock.Now().UTC()
		rec, err := r.record(schemas.TopicJobs, id, &j.job)
		if err != nil {
			return err
		}
		if out = append(out, rec); ended(j.job.State) {
			over = append(over, id)
		}
	}
	if err := r.commit(ctx, s, out, next); err != nil {
		return err
	}
	for _, id := range over {
		r.end(id)
	}
	r.show()
	return nil
}

// asked takes one request, and returns the job that it changes.
func (r *Runner) asked(q *schemas.JobRequest, at time.Time) string {
	log := r.o.Log.Info().Str("job", q.JobID).Str("by", outbound.Redact(q.By))
	if q.Action == schemas.JobCancel {
		j := r.jobs[q.JobID]
		if j == nil || ended(j.job.State) {
			log.Msg("a job that is not there, or over, was to be cancelled")
			return ""
		}
		j.job.State = schemas.JobCancelled
		j.job.Detail = "cancelled by " + cmp.Or(q.By, "somebody")
		log.Msg("job cancelled")
		return q.JobID
	}
	if r.known[q.JobID] || q.JobID == "" {
		log.Msg("a job was asked for again")
		return ""
	}
	j := schemas.Job{
		JobID: q.JobID, Kind: q.Kind, Filter: q.Filter, PerMinute: max(0, q.PerMinute), State: schemas.JobCounting, Count: -1, Why: q.Why, By: q.By, AskedAt: at.UTC(),
	}
	_, err := ParseFilter(q.Filter)
	switch _, ok := r.works[q.Kind]; {
	case q.Action != schemas.JobStart:
		j.State, j.Detail = schemas.JobFailed, fmt.Sprintf("the action %q is not known: use %s or %s", q.Action, schemas.JobStart, schemas.JobCancel)
	case !ok:
		j.State, j.Detail = schemas.JobFailed, fmt.Sprintf("the kind of job %q is not known here", q.Kind)
	case err != nil:
		j.State, j.Detail = schemas.JobFailed, outbound.Redact(err.Error())
	case len(r.jobs) >= JobsActiveMax:
		j.State, j.Detail = schemas.JobFailed, fmt.Sprintf("%d jobs wait already: cancel some, or wait", len(r.jobs))
	}
	r.known[j.JobID] = true
	r.jobs[j.JobID] = &running{job: j}
	log.Str("kind", string(j.Kind)).Msg("job taken")
	return j.JobID
}

// end lets a job go.
func (r *Runner) end(id string) {
	j := r.jobs[id]
	delete(r.jobs, id)
	r.metrics.ended.WithLabelValues(string(j.job.Kind), string(j.job.State)).Inc()
	r.o.Log.Info().Str("job", id).Str("state", string(j.job.State)).Int64("done", j.job.Done).Int64("skipped", j.job.Skipped).
		Int64("failed", j.job.Failed).Str("detail", j.job.Detail).Msg("job ended")
	if len(r.jobs) == 0 {
		r.ledger = nil
	}
}

// turns are the jobs in the order in which they are to go on.
func (r *Runner) turns() []*running {
	list := make([]*running, 0, len(r.jobs))
	for _, j := range r.jobs {
		list = append(list, j)
	}
	slices.SortFunc(list, func(a, b *running) int {
		return cmp.Or(a.due.Compare(b.due), a.job.AskedAt.Compare(b.job.AskedAt), cmp.Compare(a.job.JobID, b.job.JobID))
	})
	return list
}
