package jobs

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tillstream/tillstream/outbound"
	"github.com/tillstream/tillstream/pipeline/kafka"
	"github.com/tillstream/tillstream/schemas"
)

// errWait is wrapped by what a worker waits for, where nothing is wrong.
var errWait = errors.New("waits")

// step goes on with the job that is due first.
func (r *Runner) step(ctx context.Context, s kafka.Session) error {
	turns := r.turns()
	if len(turns) == 0 || turns[0].due.After(r.clock.Now()) {
		return nil
	}
	j := turns[0]
	out, words, err := r.advance(ctx, j)
	if errors.Is(err, errCrash) {
		return err
	}
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		if out, err = r.troubled(j, err); err != nil || out == nil {
			return err
		}
	} else {
		j.tries, j.trouble = 0, ""
	}
	j.job.At = r.clock.Now().UTC()
	rec, err := r.record(schemas.TopicJobs, j.job.JobID, &j.job)
	if err != nil {
		return err
	}
	r.mu.Lock()
	next := r.next
	r.mu.Unlock()
	if err := r.commit(ctx, s, append(out, rec), next); err != nil {
		return err
	}
	for _, w := range words {
		if w.record != nil && closes(j.job.Kind) {
			at := w.record.Timestamp // this process's clock, which may be behind the brokers'
			if at.Before(w.about) {
				at = w.about
			}
			r.ledger.set(w.item, w.result, at)
		}
		r.metrics.items.WithLabelValues(string(j.job.Kind), string(w.result)).Inc()
	}
	if ended(j.job.State) {
		r.end(j.job.JobID)
	}
	r.show()
	return nil
}

// troubled notes why a job does not go on. It is written where that is news.
func (r *Runner) troubled(j *running, err error) ([]*kgo.Record, error) {
	text := outbound.Redact(err.Error())
	if errors.Is(err, ErrImpossible) {
		j.job.State, j.job.Detail = schemas.JobFailed, text
		return []*kgo.Record{}, nil
	}
	pause := min(retryPauseMax, retryPause<<min(j.tries, 5))
	if errors.Is(err, errWait) {
		pause = pollWaitMax
	} else {
		j.tries++
		r.o.Log.Warn().Err(err).Str("job", j.job.JobID).Dur("pause", pause).Msg("a job cannot go on yet")
	}
	j.due = r.clock.Now().Add(pause)
	if j.trouble == text {
		return nil, nil
	}
	j.trouble, j.job.Detail = text, text
	r.show()
	return []*kgo.Record{}, nil
}

// advance does the next piece of a job: all of the counting, or some items. It changes nothing outside of j.
func (r *Runner) advance(ctx context.Context, j *running) ([]*kgo.Record, []said, error) {
	if err := r.words(ctx); err != nil {
		return nil, nil, err
	}
	if j.worker == nil {
		if err := r.begin(ctx, j); err != nil {
			return nil, nil, err
		}
	}
	if j.job.State == schemas.JobCounting {
		return nil, nil, r.count(ctx, j)
	}
	return r.work(ctx, j)
}

// begin makes the worker of a job.
func (r *Runner) begin(ctx context.Context, j *running) error {
	f, err := ParseFilter(j.job.Filter)
	if err != nil { // it was checked when the job was taken, perhaps by another version
		return fmt.Errorf("%w: %w", ErrImpossible, err)
	}
	w, ok := r.works[j.job.Kind]
	if !ok {
		return fmt.Errorf("%w: the kind of job %q is not known here", ErrImpossible, j.job.Kind)
	}
	worker, err := w.Begin(ctx, Job{j.job, f}, reading{r.cluster})
	if err != nil {
		return err
	}
	j.topic, j.passes = w.Source(f)
	j.worker, j.read, j.queue, j.chunk = worker, slices.Clone(j.job.Positions), nil, nil
	return nil
}

// count fixes the ranges and counts what the job is about in them.
func (r *Runner) count(ctx context.Context, j *running) error {
	log := reading{r.cluster}
	n, err := log.Partitions(ctx, j.topic)
	if err != nil {
		return err
	}
	var once []schemas.JobPosition
	found := int64(0)
	for p := range n {
		start, end, err := log.Bounds(ctx, j.topic, p)
		if err != nil {
			return err
		}
		once = append(once, schemas.JobPosition{Partition: int64(p), Offset: start, Until: end})
		err = log.scan(ctx, j.topic, p, start, end, func(rec *kgo.Record) error {
			got, err := r.decode(rec)
			if err != nil || got == nil {
				return err
			}
			for pass := range j.passes {
				if _, ok := j.worker.Item(pass, rec, got); ok {
					found++
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	j.job.Positions = nil
	for range j.passes {
		j.job.Positions = append(j.job.Positions, once...)
	}
	j.job.State, j.job.Count, j.job.Detail, j.worker = schemas.JobRunning, found, "", nil
	return nil
}

// work does the next items.
func (r *Runner) work(ctx context.Context, j *running) ([]*kgo.Record, []said, error) {
	most := atOnce(j.job.PerMinute)
	if err := r.gather(ctx, j, most); err != nil {
		return nil, nil, err
	}
	var out []*kgo.Record
	var words []said
	if len(j.queue) > 0 {
		items := make([]Item, 0, most)
		for _, q := range j.queue[:min(most, len(j.queue))] {
			if q.Pass == j.queue[0].Pass { // a pass ends before the next one begins
				items = append(items, q.Item)
			}
		}
		done, err := j.worker.Do(ctx, items)
		if err != nil {
			return nil, nil, err
		}
		if len(done) == 0 || len(done) > len(items) {
			return nil, nil, fmt.Errorf("%w: the worker did %d items of %d", ErrImpossible, len(done), len(items))
		}
		if out, words, err = r.results(j, done); err != nil {
			return nil, nil, err
		}
		last := j.queue[len(done)-1]
		j.queue = j.queue[len(done):]
		j.settle(last)
		j.due = r.clock.Now().Add(spell(j.job.PerMinute, len(done)))
	}
	if len(j.queue) == 0 {
		j.job.Positions = slices.Clone(j.read)
		if j.open() < 0 && len(j.chunk) == 0 {
			j.job.State = schemas.JobDone
			// What was counted, and is not met any more, another job sent again or closed meanwhile.
			j.job.Skipped = max(j.job.Skipped, j.job.Count-j.job.Done-j.job.Failed)
		}
	}
	j.job.Detail = ""
	return out, words, nil
}

// settle moves the job's positions up to behind an item.
func (j *running) settle(q queued) {
	p := slices.Clone(j.job.Positions)
	for i := range q.position {
		p[i].Offset = p[i].Until
	}
	p[q.position].Offset = q.next
	j.job.Positions = p
}

// open is the first range that is not read to its end; -1: none.
func (j *running) open() int {
	return slices.IndexFunc(j.read, func(p schemas.JobPosition) bool { return p.Offset < p.Until })
}

// gather reads on until so many items wait, all is read, or enough was looked at for one go.
func (r *Runner) gather(ctx context.Context, j *running, most int) error {
	for looked := 0; len(j.queue) < most && looked < scanRecordsMax; {
		i := j.open()
		if i < 0 {
			return nil
		}
		if len(j.chunk) == 0 {
			c, err := reading{r.cluster}.chunk(ctx, j.topic, j.read[i])
			if err != nil {
				return err
			}
			if j.chunk, j.until = c.records, c.next; len(c.records) == 0 {
				j.read[i].Offset = c.next
				continue
			}
		}
		rec := j.chunk[0]
		got, err := r.decode(rec)
		if err != nil {
			return err
		}
		j.chunk = j.chunk[1:]
		looked++
		if pass := i / (len(j.read) / j.passes); got != nil {
			if it, ok := j.worker.Item(pass, rec, got); ok {
				it.Pass = pass
				j.queue = append(j.queue, queued{it, i, rec.Offset + 1, rec.Timestamp})
			}
		}
		if j.read[i].Offset = rec.Offset + 1; len(j.chunk) == 0 {
			j.read[i].Offset = j.until
		}
	}
	return nil
}

// results are the records that say what became of the first items that wait.
func (r *Runner) results(j *running, done []Done) (out []*kgo.Record, words []said, err error) {
	now := r.clock.Now().UTC()
	for i, d := range done {
		it := j.queue[i]
		number := j.job.Done + j.job.Skipped + j.job.Failed + 1
		switch d.Result {
		case schemas.ItemFailed:
			j.job.Failed++
		case schemas.ItemSkipped:
			j.job.Skipped++
		default:
			j.job.Done++
		}
		out = append(out, d.Send...)
		w := said{item: it.ID, result: d.Result, about: it.at}
		if !d.Unsaid {
			w.record, err = r.record(schemas.TopicJobItems, it.ID, &schemas.JobItem{
				JobID: j.job.JobID, Kind: j.job.Kind, Item: it.ID, Number: number, Result: d.Result, Detail: d.Detail,
				Destination: it.Destination, ContactKey: it.ContactKey, By: j.job.By, At: now,
			})
			if err != nil {
				return nil, nil, err
			}
			out = append(out, w.record)
		}
		words = append(words, w)
	}
	return out, words, nil
}

// Status is a snapshot for people.
type Status struct {
	// Working: this process has the work; else another one has, or nobody yet.
	Working bool        `json:"working"`
	Jobs    []JobStatus `json:"jobs"`
}

// JobStatus says how a job that has not ended does.
type JobStatus struct {
	ID      string           `json:"id"`
	Kind    schemas.JobKind  `json:"kind"`
	State   schemas.JobState `json:"state"`
	Count   int64            `json:"count"` // -1: not counted yet
	Done    int64            `json:"done"`
	Skipped int64            `json:"skipped"`
	Failed  int64            `json:"failed"`
	Detail  string           `json:"detail,omitempty"` // why it waits
	AskedAt time.Time        `json:"asked_at"`
}

// show makes the state visible.
func (r *Runner) show() {
	var list []JobStatus
	states := map[[2]string]int{}
	for _, j := range r.turns() {
		b := &j.job
		list = append(list, JobStatus{ID: b.JobID, Kind: b.Kind, State: b.State, Count: b.Count, Done: b.Done, Skipped: b.Skipped, Failed: b.Failed, Detail: j.trouble, AskedAt: b.AskedAt})
		states[[2]string{string(b.Kind), string(b.State)}]++
	}
	r.metrics.running.Reset()
	for k, n := range states {
		r.metrics.running.WithLabelValues(k[0], k[1]).Set(float64(n))
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.view = Status{Jobs: list}
}

// Status says which jobs wait or run here.
func (r *Runner) Status() Status {
	r.mu.Lock()
	defer r.mu.Unlock()
	v := r.view
	v.Working = r.assigned
	return v
}

// Ready says why no job goes on; nil: they do, here or elsewhere.
func (r *Runner) Ready() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.trouble != nil && !errors.Is(r.trouble, errRenew) {
		return fmt.Errorf("jobs: %s", outbound.Redact(r.trouble.Error()))
	}
	return nil
}
