// Package jobs does work on what happened before: lets dead letters and uncertain effects be tried again, closes them, and
// sends the desired state of contacts again.
//
// A request on job.requests makes a Job. The job counts first what it is about, by ranges of the log that are fixed then,
// and so meets no work of its own. Then it goes through them. What is sent again, a JobItem for each item, the job's
// progress and the runner's own offset are one Kafka transaction, checked against the group's generation: a crash at any
// moment repeats nothing. One member of the group has the topic's only partition and does all jobs, in turns; another one
// takes over from the records of topics jobs and job.items. A letter that was sent again, or closed, is closed for every
// later job, too: what becomes of it then is a new letter.
package jobs

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tillstream/tillstream/connectors"
	"github.com/tillstream/tillstream/pipeline/clock"
	"github.com/tillstream/tillstream/pipeline/kafka"
	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/schemas/codec"
	"github.com/tillstream/tillstream/sinks"
)

// Codec encodes and decodes records.
type Codec interface {
	Encode(schemas.Record) ([]byte, error)
	Decode([]byte) (schemas.Record, error)
}

// Work is what a kind of job does. It is a value for all jobs of the kind.
type Work interface {
	// Source names the topic that a job reads, and how many times it goes through it. The ranges are the same each time.
	Source(f Filter) (topic string, passes int)
	// Begin makes the worker of one job: before it counts, and again before it goes on after a restart or a takeover. An
	// error that wraps ErrImpossible ends the job; every other is tried again.
	Begin(ctx context.Context, j Job, log Log) (Worker, error)
}

// ErrImpossible is wrapped by what no further try can mend.
var ErrImpossible = errors.New("the job cannot be done")

// Worker does one job. It is asked by one goroutine only.
type Worker interface {
	// Item judges a record and what it decodes to, in a pass, counted from 0; ok is false for what the job is not about.
	// While the job counts, the answers only make the count, and Begin is called again before the first Do.
	Item(pass int, r *kgo.Record, rec schemas.Record) (it Item, ok bool)
	// Do works the first items of a list that is not empty, and returns what became of each of these, in order. It may do
	// fewer than were given, such as when time runs out (DoPatience), and is given the others again. With an error, of
	// something that may pass, nothing of it counts and all are given again after a while: it must be repeatable, and what
	// has to happen exactly once goes into Done.Send.
	Do(ctx context.Context, items []Item) ([]Done, error)
}

// decode is what a record holds; nil: nothing that can be read. Its error says that the registry must be asked first.
func (r *Runner) decode(rec *kgo.Record) (schemas.Record, error) {
	got, err := r.o.Codec.Decode(rec.Value)
	switch {
	case errors.Is(err, codec.ErrUnavailable):
		return nil, fmt.Errorf("the schema of %s/%d offset %d: %w", rec.Topic, rec.Partition, rec.Offset, err)
	case err != nil:
		return nil, nil
	}
	return got, nil
}

// DoPatience is how long one Do should take at the most: so often is a job seen to go on, or cancelled.
const DoPatience = 5 * time.Second

// Item is one thing that a job works on.
type Item struct {
	ID          string // JobItem.Item
	Destination string
	ContactKey  string
	Pass        int
	Value       any // the worker's own
}

// Done is what became of an item.
type Done struct {
	Result schemas.ItemResult
	Detail string // one sentence, without unmasked personal data
	// Send is written in the transaction that says so. Partition -1: by key.
	Send []*kgo.Record
	// Unsaid leaves no JobItem, where it would take the place of the word that counts.
	Unsaid bool
}

// Job is a job as its worker sees it.
type Job struct {
	schemas.Job
	Filter Filter
}

// Options of a runner. Zero values mean the defaults beside them.
type Options struct {
	Kafka kafka.Options
	// Cluster is Kafka; default the one that Kafka names, opened by New and closed at the end of Run.
	Cluster kafka.Log
	Clock   clock.Clock // default clock.System
	Codec   Codec
	Group   string // default GroupDefault
	// Instance names this process among the runners.
	Instance string
	// AutomationGroup is the group of the automation stage: effects are sent after it took what contacts were touched for.
	AutomationGroup string
	// Connector returns the connector of a connection, bound to its configuration; false: there is no such connection now.
	Connector func(env schemas.Environment, connection string) (connectors.Connector, bool)
	// Rows is where a row is stored that ClickHouse refused; nil: such letters cannot be retried here.
	Rows sinks.RowWriter
	// Works are further kinds of job, beside those of this package.
	Works      map[schemas.JobKind]Work
	Log        zerolog.Logger
	Registerer prometheus.Registerer // nil: no metrics

	session time.Duration // of the group; tests shorten it
}

// GroupDefault is the consumer group of runners.
const GroupDefault = "tillstream-jobs"

// Bounds.
const (
	sessionTimeout     = 15 * time.Second
	transactionTimeout = 10 * time.Second
	endTimeout         = 15 * time.Second
	closeTimeout       = 3 * time.Second
	loadTimeout        = 5 * time.Minute // to read what is known of jobs and items
	readPatience       = 30 * time.Second
	requestsPollMax    = 100
	itemsMax           = 500     // of one transaction
	scanRecordsMax     = 20_000  // read between two transactions
	chunkBytesMax      = 8 << 20 // read ahead, of one job
	pollWaitMax        = 500 * time.Millisecond
	retryPause         = 2 * time.Second
	retryPauseMax      = time.Minute
	// wordsKept is how long the word about an item counts: longer than its dead letter is kept.
	wordsKept = 91 * 24 * time.Hour
	// ledgerMax bounds the items whose last word is kept in memory, at less than 100 bytes each.
	ledgerMax = 5_000_000
	// JobsActiveMax bounds the jobs that wait or run; more are refused.
	JobsActiveMax = 1000
	// sendBytesMax bounds what one Do sends again.
	sendBytesMax = 4 << 20
)

// Runner is one member of the group. Several may run, in one process or many; one has the work.
type Runner struct {
	o       Options
	cluster kafka.Log
	own     bool
	clock   clock.Clock
	metrics *metrics
	works   map[schemas.JobKind]Work

	mu sync.Mutex // guards what follows against Status and the group's callbacks
	// assigned: the partition is this member's; next is the offset of the first request that is not taken yet, -1: not known.
	assigned bool
	next     int64
	era      int // counts assignments and losses
	trouble  error
	view     Status

	// The following belong to Run.
	counts map[string]int32
	jobs   map[string]*running
	known  map[string]bool // ids of all jobs, also of those that ended
	ledger *ledger
	loaded int // the era that the state was loaded for

	// crash, set by tests, is called between the steps; its error ends Run on the spot, as a crash would.
	crash func(step string) error
}

// New makes a runner. It talks to nobody: Run does the work.
func New(o Options) (*Runner, error) {
	if o.Codec == nil || o.Instance == "" {
		return nil, errors.New("jobs: codec and instance must be given")
	}
	if o.Group == "" {
		o.Group = GroupDefault
	}
	if o.Clock == nil {
		o.Clock = clock.System()
	}
	if o.session == 0 {
		o.session = sessionTimeout
	}
	r := &Runner{o: o, cluster: o.Cluster, clock: o.Clock, crash: func(string) error { return nil }}
	letters := &lettersWork{r}
	r.works = map[schemas.JobKind]Work{
		schemas.JobRetry: letters, schemas.JobDismiss: letters, schemas.JobSettle: letters, schemas.JobReplay: &replayWork{r},
	}
	for kind, w := range o.Works {
		r.works[kind] = w
	}
	var err error
	if r.metrics, err = newMetrics(o.Registerer); err != nil {
		return nil, fmt.Errorf("jobs: register metrics: %w", err)
	}
	if r.cluster == nil {
		if r.cluster, err = kafka.NewCluster(o.Kafka, o.Clock, o.Log); err != nil {
			return nil, fmt.Errorf("jobs: %w", err)
		}
		r.own = true
	}
	return r, nil
}

// errRenew ends a session and has another one begin.
var errRenew = errors.New("jobs: the session is to be renewed")

// errCrash is what tests end Run with.
var errCrash = errors.New("jobs: crash")

// Run joins the group and works until ctx ends. It returns nil after ctx ended. It may be called once.
func (r *Runner) Run(ctx context.Context) error {
	if r.own {
		defer r.cluster.Close()
	}
	for tries := 0; ctx.Err() == nil; {
		err := r.session(ctx)
		switch {
		case errors.Is(err, errCrash):
			return err
		case err == nil || ctx.Err() != nil:
			return nil
		}
		if r.say(err); !errors.Is(err, errRenew) {
			r.o.Log.Warn().Err(err).Msg("jobs wait: joining the group anew")
		}
		if r.worked() {
			tries = 0
		}
		_ = r.clock.Sleep(ctx, min(retryPauseMax, retryPause<<min(tries, 5))) // ends early only with ctx
		tries++
	}
	return nil
}

// say keeps what is wrong, for Ready.
func (r *Runner) say(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.trouble = err
}

func (r *Runner) worked() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.trouble == nil
}
