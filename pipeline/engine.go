package pipeline

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tillstream/tillstream/outbound"
	"github.com/tillstream/tillstream/pipeline/kafka"
	"github.com/tillstream/tillstream/pipeline/store"
)

// Engine runs one stage: its lanes, and what they share.
type Engine struct {
	o     EngineOptions
	m     *metrics
	log   kafka.Log
	lanes []*lane

	owned atomic.Int32 // partitions, over all lanes

	mu     sync.Mutex
	counts map[string]int32 // partitions of output topics; fixed for ever
}

// NewEngine checks the options and opens a client. It talks to nobody yet.
func NewEngine(o EngineOptions) (*Engine, error) {
	if err := o.fill(); err != nil {
		return nil, err
	}
	o.Log = o.Log.With().Str("stage", o.Topology.Stage.Name()).Logger()
	m, err := newMetrics(o.Topology.Stage.Name(), o.Registerer)
	if err != nil {
		return nil, err
	}
	e := &Engine{o: o, m: m, log: o.Cluster, counts: map[string]int32{}}
	if e.log == nil {
		if e.log, err = kafka.NewCluster(o.Kafka, o.Clock, o.Log); err != nil {
			return nil, err
		}
	}
	for n := range o.Lanes {
		e.lanes = append(e.lanes, newLane(e, n))
	}
	return e, nil
}

// Run works until ctx ends, then stops cleanly: the transaction at hand is finished, the store brought up to it, and
// the group left, within 10 s. An engine runs once. What fails meanwhile stalls partitions or renews clients, and is
// told by Status, Ready, the log and the metrics; Run itself returns no error for it.
func (e *Engine) Run(ctx context.Context) error {
	if e.o.Cluster == nil {
		defer e.log.Close()
	}
	lanes := e.o.Clock.NewGroup()
	for _, l := range e.lanes {
		lanes.Go(func() { l.run(ctx) })
	}
	lanes.Wait()
	return nil
}

// PartitionStatus is one partition of the stage at this process.
type PartitionStatus struct {
	Partition int32            `json:"partition"`
	Lane      int              `json:"lane"`
	State     string           `json:"state"` // running, recovering or stalled
	Reason    Reason           `json:"reason,omitempty"`
	Detail    string           `json:"detail,omitempty"`
	Remedy    string           `json:"remedy,omitempty"`
	Offsets   map[string]int64 `json:"offsets"` // next offset of each input, committed
	// Behind is how many offsets of the inputs lie ahead, transaction markers included.
	Behind      int64         `json:"behind"`
	Lag         time.Duration `json:"-"`           // age of the oldest record at hand; 0: none
	LagSeconds  float64       `json:"lag_seconds"` // Lag, as shown
	TimersArmed int64         `json:"timers_armed"`
	StreamTime  time.Time     `json:"stream_time"`
	// Config is the version of the configuration that the partition follows, since offset ConfigFrom of its inbox.
	Config     string `json:"config,omitempty"`
	ConfigFrom int64  `json:"config_from,omitempty"`
	// Watermark is up to when receivers were there, as ticks told; TimersHeld: a timer is due and held until that goes on.
	Watermark  time.Time `json:"watermark,omitzero"`
	TimersHeld bool      `json:"timers_held,omitempty"`
	Counts     Counts    `json:"counts"`
	// RestoreStart, RestorePosition and RestoreTarget are changelog offsets; the last two are equal when restored.
	RestoreStart    int64 `json:"restore_start"`
	RestorePosition int64 `json:"restore_position"`
	RestoreTarget   int64 `json:"restore_target"`
	// Retried says that a stalled partition tries again by itself; the others wait for Resume.
	Retried bool `json:"retried,omitempty"`
}

// Status returns the partitions that this process owns, by number.
func (e *Engine) Status() []PartitionStatus {
	var out []PartitionStatus
	for _, l := range e.lanes {
		l.mu.Lock()
		for _, p := range l.parts {
			s := p.shown
			s.Lane, s.State = l.number, "recovering"
			s.RestoreStart, s.RestorePosition, s.RestoreTarget = p.origin.Load(), p.position.Load(), p.target.Load()
			switch {
			case p.state == stateRunning:
				s.State = "running"
			case p.stalled != nil: // also while it tries again
				s.Retried = !p.stalled.final
				s.State, s.Reason, s.Detail, s.Remedy = "stalled", p.stalled.reason, outbound.Redact(p.stalled.err.Error()), p.stalled.remedy
			}
			s.LagSeconds = s.Lag.Seconds()
			out = append(out, s)
		}
		l.mu.Unlock()
	}
	slices.SortFunc(out, func(a, b PartitionStatus) int { return int(a.Partition - b.Partition) })
	return out
}

// Ready returns nil when every lane has joined and every partition runs, else what is not so.
func (e *Engine) Ready() error {
	var problems []string
	for _, l := range e.lanes {
		l.mu.Lock()
		switch {
		case !l.open:
			problems = append(problems, fmt.Sprintf("lane %d has no kafka session", l.number))
		case !l.joined:
			problems = append(problems, fmt.Sprintf("lane %d has not joined its group", l.number))
		}
		l.mu.Unlock()
	}
	for _, s := range e.Status() {
		if s.State != "running" {
			problems = append(problems, strings.TrimSpace(fmt.Sprintf("partition %d is %s %s", s.Partition, s.State, s.Reason)))
		}
	}
	if len(problems) == 0 {
		return nil
	}
	return errors.New(e.o.Topology.Stage.Name() + ": " + strings.Join(problems, ", "))
}

// Beat is when the loop turned that has not turned for longest, of all lanes; zero before Run. A lane that waits for an
// answer of Kafka or the store turns again within half a minute: each of its calls is bounded.
func (e *Engine) Beat() time.Time {
	oldest := e.lanes[0].turned.Load()
	for _, l := range e.lanes[1:] {
		oldest = min(oldest, l.turned.Load())
	}
	if oldest == 0 {
		return time.Time{}
	}
	return time.Unix(0, oldest)
}

// Resume lets a partition try again that stalled on something which does not pass by itself. It reports whether
// this process has such a partition.
func (e *Engine) Resume(partition int32) bool {
	for _, l := range e.lanes {
		l.mu.Lock()
		p := l.parts[partition]
		stalled := p != nil && p.state == stateStalled
		if stalled {
			p.state, p.stalled = stateAssigned, nil
			l.wake()
		}
		l.mu.Unlock()
		if stalled {
			return true
		}
	}
	return false
}

func (e *Engine) storeID(partition int32) store.ID {
	return store.ID{Stage: e.o.Topology.Stage.Name(), Partition: partition}
}

// inputs names one partition of every input, as the client wants it.
func (e *Engine) inputs(partition int32) map[string][]int32 {
	m := make(map[string][]int32, len(e.o.Topology.Inputs))
	for _, topic := range e.o.Topology.Inputs {
		m[topic] = []int32{partition}
	}
	return m
}

// partitions is the number of partitions of a topic, asked once.
func (e *Engine) partitions(ctx context.Context, topic string) (int32, error) {
	e.mu.Lock()
	n := e.counts[topic]
	e.mu.Unlock()
	if n > 0 {
		return n, nil
	}
	ctx, cancel := e.o.Clock.WithTimeout(ctx, endTimeout)
	defer cancel()
	info, err := e.log.Describe(ctx, topic)
	if err != nil {
		return 0, err
	}
	if info.Count == 0 {
		return 0, errors.New("it has no partitions")
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.counts[topic] = info.Count
	return info.Count, nil
}

// cacheShare is how many bytes a partition's cache may hold.
func (e *Engine) cacheShare() int { return e.o.CacheBytesMax / max(1, int(e.owned.Load())) }

// show copies what Status tells from the lane's goroutine to where others may read it, and sets the gauges.
func (l *lane) show() {
	now := l.e.o.Clock.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, p := range l.parts {
		if p.state != stateRunning {
			continue
		}
		s := &p.shown
		s.Counts, s.StreamTime = p.meta.Counts, time.UnixMilli(p.meta.StreamTime).UTC()
		s.Counts.Outputs = maps.Clone(s.Counts.Outputs)
		s.TimersArmed = p.window.armed
		s.Config, s.ConfigFrom = p.meta.Config, p.meta.ConfigFrom
		s.Watermark, s.TimersHeld = p.reach(now)
		s.Offsets, s.Behind, s.Lag = map[string]int64{}, 0, 0
		for topic, q := range p.queues {
			next := p.meta.Inputs[topic].Next
			s.Offsets[topic] = next
			s.Behind += max(0, q.end-next)
			if len(q.items) > 0 {
				s.Lag = max(s.Lag, now.Sub(q.items[0].r.Timestamp))
			}
		}
	}
	l.e.m.gauges(l)
}
