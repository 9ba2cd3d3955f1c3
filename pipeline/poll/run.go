package poll

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/time/rate"

	"github.com/tillstream/tillstream/pipeline/clock"
	"github.com/tillstream/tillstream/pipeline/kafka"
	"github.com/tillstream/tillstream/schemas"
)

const (
	// questionsMax is how many questions may be open at a time in one process, of all connections. Each is bounded in time
	// and by the connector in size; a connection that waits has none open, so that a slow provider holds up no other.
	questionsMax   = 64
	sessionTimeout = 15 * time.Second
	leaveTimeout   = 3 * time.Second
)

// Run polls until ctx ends. Kafka that is away is waited for: Ready says so.
func (r *Runner) Run(ctx context.Context) error {
	cluster, err := kafka.NewCluster(r.o.Kafka, r.o.Clock, r.o.Log)
	if err != nil {
		return err
	}
	defer cluster.Close()
	for pause := logPause; ; pause = min(2*pause, logPauseMax) {
		info, err := cluster.Describe(ctx, schemas.TopicSourceProgress)
		if err == nil {
			r.mu.Lock()
			r.count = info.Count
			r.mu.Unlock()
			break
		}
		r.tell(err)
		if r.o.Clock.Sleep(ctx, pause) != nil {
			return nil
		}
	}
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	session, err := cluster.Join(r.member(life))
	if err != nil {
		return err
	}
	group := r.o.Clock.NewGroup()
	group.Go(func() { r.listen(ctx, session) })
	p := &pool{r: r, log: cluster, group: group, slots: make(chan struct{}, questionsMax), tails: map[string]*tail{}}
	for {
		p.arrange(ctx)
		if r.changed.Wait(ctx) != nil {
			break
		}
	}
	group.Wait()
	p.arrange(ctx) // nothing is polled any more, and nothing shown
	leave, cancel := r.o.Clock.WithTimeout(life, leaveTimeout)
	defer cancel()
	if err := session.Leave(leave); err != nil {
		r.o.Log.Warn().Err(err).Msg("the polling group was not left in order: its partitions are taken over later")
	}
	end()
	session.Close()
	return nil
}

func (r *Runner) member(life context.Context) kafka.Member {
	own := func(partitions map[string][]int32, mine bool) {
		r.mu.Lock()
		for _, n := range partitions[schemas.TopicSourceProgress] {
			if mine {
				r.owned[n] = true
			} else {
				delete(r.owned, n)
			}
		}
		if mine {
			r.trouble = nil
		}
		r.mu.Unlock()
		r.changed.Notify()
	}
	return kafka.Member{
		Group: r.o.Group, Topics: []string{schemas.TopicSourceProgress}, SessionTimeout: sessionTimeout, Life: life, Log: r.o.Log,
		// The group only says who polls what; progress is read where a connection is taken over.
		Assigned: func(s kafka.Session, p map[string][]int32) { s.Pause(p); own(p, true) },
		Revoked:  func(s kafka.Session, p map[string][]int32) { own(p, false); s.Resume(p) },
	}
}

// listen hears of errors that the client meets, such as a missing permission.
func (r *Runner) listen(ctx context.Context, s kafka.Session) {
	for ctx.Err() == nil {
		for _, e := range s.Poll(ctx, 1, true).Errors() {
			if ctx.Err() != nil || errors.Is(e.Err, context.Canceled) || errors.Is(e.Err, kgo.ErrClientClosed) {
				return
			}
			r.tell(e.Err)
		}
	}
}

// tell shows why nothing can be polled, and logs it once.
func (r *Runner) tell(err error) {
	r.mu.Lock()
	same := r.trouble != nil && r.trouble.Error() == err.Error()
	r.trouble = err
	r.mu.Unlock()
	if !same {
		r.o.Log.Warn().Err(err).Msg("the polling group cannot be joined")
	}
}

// pool runs the workers of the connections that are this process's.
type pool struct {
	r     *Runner
	log   Log
	group clock.Group
	slots chan struct{}
	tails map[string]*tail // by topic
}

// arrange ends the workers of connections that went, and starts those that came. One that ends may still be in its
// last step while another begins, here or elsewhere: that is harmless, as the package comment says.
func (p *pool) arrange(ctx context.Context) {
	r := p.r
	r.mu.Lock()
	defer r.mu.Unlock()
	mine := map[string]Connection{}
	for key, c := range r.wanted {
		if ctx.Err() == nil && r.owned[kafka.Partition([]byte(key), r.count)] {
			mine[key] = c
		}
	}
	for key, w := range r.workers {
		if c, ok := mine[key]; ok && w.c.same(c) {
			continue
		}
		w.end()
		delete(r.workers, key)
	}
	for key, c := range mine {
		if r.workers[key] == nil {
			r.workers[key] = p.start(ctx, c)
		}
	}
}

func (p *pool) start(ctx context.Context, c Connection) *worker {
	t := p.tails[c.Connector.Topic]
	if t == nil {
		t = newTail(p.log, c.Connector.Topic, p.r.o.Codec, p.r.o.Log)
		p.tails[c.Connector.Topic] = t
	}
	w := newWorker(c, p.r.o, p.log, p.r.o.Codec, t, p.r.metrics, p.slots)
	ctx, w.stop = context.WithCancel(ctx)
	p.group.Go(func() { w.run(ctx) })
	return w
}

func newWorker(c Connection, o Options, l Log, d Decoder, t *tail, m *metrics, slots chan struct{}) *worker {
	w := &worker{
		c: c, o: o, source: l, decode: d, clock: o.Clock, tail: t, metrics: m, jitter: rand.Float64,
		log:   o.Log.With().Str("connection", c.Name).Logger(),
		lines: rate.NewLimiter(linesPerSecond, linesBurst),
		list:  newLister(c, o.Clock, schemas.OriginPoll, slots, o.Keeper),
	}
	if c.hooked() {
		w.grace = inFlight
	}
	return w
}

// end stops the worker without waiting for it, and takes what it shows away.
func (w *worker) end() {
	w.stop()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ending = true
	w.metrics.forget(w.c.Name)
}

// Status tells how every connection stands, in the order of their names.
func (r *Runner) Status() []Status {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make([]Status, 0, len(r.wanted))
	for key, c := range r.wanted {
		s := Status{Connection: c.Name, Environment: c.Environment, Feeds: []FeedStatus{}}
		if w := r.workers[key]; w != nil {
			s = w.status()
		}
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, b Status) int { return strings.Compare(a.Connection, b.Connection) })
	return out
}
