package reading

import (
	"context"
	"crypto/rand"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/tillstream/tillstream/api"
	"github.com/tillstream/tillstream/outbound"
	"github.com/tillstream/tillstream/pipeline/connections"
	"github.com/tillstream/tillstream/schemas"
)

// Bounds of live streams.
const (
	StreamsMax    = 200               // open at a time, of one process
	RatePerSecond = 20                // records that one stream is sent
	waitingMax    = 2 * RatePerSecond // records that a slow reader may leave lying
	rememberedMax = 2000              // records that a stream can go on after
	beatEvery     = 10 * time.Second
	leftOutEvery  = time.Second
	streamAgeMax  = time.Hour        // a browser opens it again, where it ended
	idleFor       = 30 * time.Second // how long the log is read on after the last stream
	retryAfter    = 2 * time.Second
	liveTextMax   = 200 // bytes of a filter's text
)

// Log is the end of Kafka's topics.
type Log interface {
	// Follow reads from the end on, and gives each record to see, until ctx ends or Kafka cannot be read.
	Follow(ctx context.Context, see func(at time.Time, place api.RecordPlace, r schemas.Record)) error
}

// Hub reads the end of the log once, however many follow, and only while somebody does. What comes in is never held back by
// who reads: what a stream does not take is left out of it, and counted.
type Hub struct {
	log   Log
	now   func() time.Time
	epoch string // of the numbers, which begin anew with the process

	mu      sync.Mutex
	streams map[*stream]bool
	ring    []*seen            // the newest, by number, at most rememberedMax
	last    int64              // number
	stop    context.CancelFunc // of the reading; nil: nothing is read
	idle    *time.Timer
	trouble string // why the log cannot be read
	closed  bool
	reading sync.WaitGroup
}

// NewHub returns a hub over log.
func NewHub(log Log, now func() time.Time) *Hub {
	return &Hub{log: log, now: now, epoch: rand.Text()[:8], streams: map[*stream]bool{}}
}

var _ api.Tail = (*Hub)(nil)

// seen is one record in the two forms that streams are sent, made once.
type seen struct {
	number       int64
	open, hidden api.LiveRecord
	search       string // lower case, for filters
	contact      string
}

// Follow implements api.Tail.
func (h *Hub) Follow(q api.LiveQuery) (api.LiveStream, error) {
	if len(q.Text) > liveTextMax || len(q.Order) > liveTextMax || len(q.Email) > liveTextMax {
		return nil, refuse(connections.Invalid, "a text of the filter is longer than %d bytes", liveTextMax)
	}
	for _, kind := range q.Kinds {
		if !slices.Contains([]string{api.LiveEventKind, api.LiveTransition, api.LiveRun, api.LiveCommand, api.LiveDelivery, api.LiveDeadLetter}, kind) {
			return nil, refuse(connections.Invalid, "there is no kind %.40q: use event, transition, run, command, delivery or dead_letter", kind)
		}
	}
	q.Text, q.Email = strings.ToLower(strings.TrimSpace(q.Text)), schemas.NormalizeEmail(q.Email)
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return nil, refuse(connections.NotFound, "this process is stopping")
	}
	if len(h.streams) >= StreamsMax {
		return nil, api.ErrTooManyStreams
	}
	now := h.now()
	s := &stream{hub: h, q: q, begun: now, filled: now, tokens: RatePerSecond, said: now, wake: make(chan struct{}, 1)}
	h.resume(s)
	h.streams[s] = true
	if h.idle != nil {
		h.idle.Stop()
		h.idle = nil
	}
	if h.stop == nil {
		h.read()
	}
	return s, nil
}

// resume gives a stream what came since it ended, or says that it is not known.
func (h *Hub) resume(s *stream) {
	if s.q.After == "" {
		return
	}
	epoch, text, _ := strings.Cut(s.q.After, "-")
	number, err := strconv.ParseInt(text, 10, 64)
	if epoch != h.epoch || err != nil || number > h.last || h.stop == nil && h.last > 0 || len(h.ring) > 0 && number+1 < h.ring[0].number {
		s.gap = true
		return
	}
	for _, one := range h.ring {
		if one.number > number {
			s.offer(one)
		}
	}
}

// read reads the log until nobody follows any more. What cannot be read is tried again.
func (h *Hub) read() {
	ctx, cancel := context.WithCancel(context.Background())
	h.stop = cancel
	h.reading.Go(func() {
		for ctx.Err() == nil {
			err := h.log.Follow(ctx, h.see)
			if ctx.Err() != nil || err == nil {
				continue
			}
			h.mu.Lock()
			h.trouble = outbound.Redact(err.Error())
			for s := range h.streams {
				s.gap = true
			}
			h.mu.Unlock()
			timer := time.NewTimer(retryAfter)
			select {
			case <-ctx.Done():
			case <-timer.C:
			}
			timer.Stop()
		}
	})
}

// see gives one record to every stream that wants it. It waits for nobody.
func (h *Hub) see(at time.Time, place api.RecordPlace, r schemas.Record) {
	one, ok := told(at, place, r)
	if !ok {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.trouble = ""
	h.last++
	one.number = h.last
	if len(h.ring) >= rememberedMax {
		h.ring = append(h.ring[:0], h.ring[rememberedMax/4:]...)
	}
	h.ring = append(h.ring, one)
	for s := range h.streams {
		if s.wants(one) {
			s.offer(one)
		}
	}
}

// leave takes a stream off. The log is read on for a while, so that one that comes again finds where it was.
func (h *Hub) leave(s *stream) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.streams[s] {
		return
	}
	delete(h.streams, s)
	if len(h.streams) > 0 || h.closed {
		return
	}
	h.idle = time.AfterFunc(idleFor, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		if len(h.streams) == 0 && h.stop != nil {
			h.stop()
			h.stop, h.ring = nil, nil
		}
	})
}

// Close ends every stream and waits until nothing is read any more.
func (h *Hub) Close() {
	h.mu.Lock()
	h.closed = true
	for s := range h.streams {
		s.ended = "the process stops"
		s.poke()
	}
	if h.idle != nil {
		h.idle.Stop()
	}
	if h.stop != nil {
		h.stop()
	}
	h.mu.Unlock()
	h.reading.Wait()
}

// Streams is how many are open.
func (h *Hub) Streams() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.streams)
}

// stream is one that follows. What is below wake is guarded by the hub's lock.
type stream struct {
	hub   *Hub
	q     api.LiveQuery
	begun time.Time
	wake  chan struct{}

	tokens  float64
	filled  time.Time
	waiting []*seen
	leftOut int64 // not said yet
	total   int64
	said    time.Time
	gap     bool
	ended   string
	over    bool
}

func (s *stream) poke() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// offer puts a record before the reader, or leaves it out where there are more than a stream is sent.
func (s *stream) offer(one *seen) {
	now := s.hub.now()
	s.tokens = min(RatePerSecond, s.tokens+now.Sub(s.filled).Seconds()*RatePerSecond)
	s.filled = now
	if s.tokens < 1 || len(s.waiting) >= waitingMax {
		s.leftOut++
		s.total++
		return
	}
	s.tokens--
	s.waiting = append(s.waiting, one)
	s.poke()
}

// wants reports whether the record meets the filter.
func (s *stream) wants(one *seen) bool {
	r, q := &one.open, &s.q
	switch {
	case len(q.Kinds) > 0 && !slices.Contains(q.Kinds, r.Kind),
		q.Store != "" && q.Store != r.Store,
		q.Environment != "" && string(q.Environment) != r.Environment,
		q.Status != "" && string(q.Status) != r.Status,
		q.EventKind != "" && string(q.EventKind) != r.EventKind,
		q.Destination != "" && q.Destination != r.Destination,
		q.Bad && r.Good,
		q.Order != "" && r.Order != q.Order && !strings.HasSuffix(r.Order, "/"+q.Order),
		q.Email != "" && one.contact != q.Email && !strings.HasSuffix(one.contact, "/"+q.Email),
		q.Text != "" && !strings.Contains(one.search, q.Text):
		return false
	}
	return true
}

// Next implements api.LiveStream.
func (s *stream) Next(ctx context.Context) (api.LiveMessage, bool) {
	beat := time.NewTimer(beatEvery)
	defer beat.Stop()
	for {
		m, ok, wait := s.next()
		if ok {
			return m, true
		}
		if wait < 0 {
			return api.LiveMessage{}, false
		}
		var left <-chan time.Time
		if wait > 0 {
			timer := time.NewTimer(wait)
			defer timer.Stop()
			left = timer.C
		}
		select {
		case <-ctx.Done():
			return api.LiveMessage{}, false
		case <-s.wake:
		case <-left:
		case <-beat.C:
			s.hub.mu.Lock()
			defer s.hub.mu.Unlock()
			return api.LiveMessage{Event: api.LiveBeatEvent, Data: api.LiveBeat{At: s.hub.now().UTC(), LeftOut: s.total, Problem: s.hub.trouble}}, true
		}
	}
}

// next is what there is to say now. Else wait says when there will be something to say of what was left out: 0 for nothing,
// negative where the stream is over.
func (s *stream) next() (m api.LiveMessage, ok bool, wait time.Duration) {
	s.hub.mu.Lock()
	defer s.hub.mu.Unlock()
	now := s.hub.now()
	switch {
	case s.over:
		return m, false, -1
	case s.ended != "" || now.Sub(s.begun) >= streamAgeMax:
		s.over = true
		if s.ended == "" {
			s.ended = "the stream is an hour old; open it again"
		}
		return api.LiveMessage{Event: api.LiveEndEvent, Data: api.LiveEnd{Why: s.ended}}, true, 0
	case s.gap || s.leftOut > 0 && now.Sub(s.said) >= leftOutEvery:
		said := api.LiveLeftOut{LeftOut: s.leftOut, Total: s.total, At: now.UTC(), Gap: s.gap}
		s.gap, s.leftOut, s.said = false, 0, now
		return api.LiveMessage{Event: api.LiveLeftEvent, Data: said}, true, 0
	case len(s.waiting) > 0:
		one := s.waiting[0]
		s.waiting = slices.Delete(s.waiting, 0, 1)
		data := one.hidden
		if s.q.PersonalData {
			data = one.open
		}
		return api.LiveMessage{Event: api.LiveRecordEvent, ID: s.hub.epoch + "-" + strconv.FormatInt(one.number, 10), Data: data}, true, 0
	case s.leftOut > 0:
		return m, false, max(time.Millisecond, leftOutEvery-now.Sub(s.said))
	}
	return m, false, 0
}

// Close implements api.LiveStream.
func (s *stream) Close() { s.hub.leave(s) }
