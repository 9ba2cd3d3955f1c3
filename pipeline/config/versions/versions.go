// Package versions keeps the history of the configuration: every version that was ever in force is on the topic config,
// the last record there names the one in force, and a record in each partition of a stage's inbox says from where on that
// partition follows it.
package versions

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/rs/zerolog"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tillstream/tillstream/pipeline/clock"
	"github.com/tillstream/tillstream/pipeline/kafka"
	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/schemas/codec"
)

// Log is Kafka as the history is read. *kafka.Cluster is one.
type Log interface {
	Describe(ctx context.Context, topic string) (kafka.TopicInfo, error)
	Bounds(ctx context.Context, topic string, partition int32) (start, end int64, err error)
	Read(ctx context.Context, r kafka.Range, apply func(records []*kgo.Record, next int64) error) error
}

var _ Log = (*kafka.Cluster)(nil)

const (
	followEvery  = time.Second
	readTimeout  = 20 * time.Second
	readPatience = 10 * time.Second // versions are in no transaction
)

// HeaderBy names who put a version in force.
const HeaderBy = "by"

// Entry is one version.
type Entry struct {
	Version string
	// Files are the texts by slash path. They are not to be changed.
	Files map[string]string
	By    string
	At    time.Time // when it was put in force last
	// Offset of its last record: the entry with the greatest is in force.
	Offset int64
}

// Options of a History.
type Options struct {
	Log    Log
	Decode func(b []byte) (schemas.Record, error)
	Clock  clock.Clock // default clock.System
	Lines  zerolog.Logger
}

// History is the versions on the topic, as far as they were read. It is safe for concurrent use.
type History struct {
	o Options

	reading sync.Mutex // one reader at a time

	mu      sync.Mutex
	entries map[string]Entry
	inForce string
	next    int64
	texts   map[string]string // one copy of each text that several versions have
}

// New has read nothing yet.
func New(o Options) *History {
	if o.Clock == nil {
		o.Clock = clock.System()
	}
	return &History{o: o, entries: map[string]Entry{}, texts: map[string]string{}}
}

// CatchUp reads to the end of the topic.
func (h *History) CatchUp(ctx context.Context) error {
	h.reading.Lock()
	defer h.reading.Unlock()
	ctx, cancel := h.o.Clock.WithTimeout(ctx, readTimeout)
	defer cancel()
	start, end, err := h.o.Log.Bounds(ctx, schemas.TopicConfig, 0)
	if err != nil {
		return fmt.Errorf("read topic %s: %w", schemas.TopicConfig, err)
	}
	h.mu.Lock()
	if h.next > end { // the topic was made anew: what was known is still right
		h.next = start
	}
	r := kafka.Range{Topic: schemas.TopicConfig, From: max(h.next, start), To: end, Patience: readPatience}
	h.mu.Unlock()
	if r.From >= r.To {
		return nil
	}
	if err := h.o.Log.Read(ctx, r, h.take); err != nil {
		return fmt.Errorf("read topic %s: %w", schemas.TopicConfig, err)
	}
	return nil
}

func (h *History) take(records []*kgo.Record, next int64) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, r := range records {
		v, err := h.o.Decode(r.Value)
		if errors.Is(err, codec.ErrUnavailable) {
			return fmt.Errorf("offset %d: %w", r.Offset, err)
		}
		c, ok := v.(*schemas.ConfigVersion)
		if err != nil || !ok {
			continue // none of ours
		}
		e := Entry{Version: c.Version, Files: make(map[string]string, len(c.Files)), At: c.At, Offset: r.Offset}
		for name, text := range c.Files {
			if known, ok := h.texts[text]; ok {
				text = known
			} else {
				h.texts[text] = text
			}
			e.Files[name] = text
		}
		for _, header := range r.Headers {
			if header.Key == HeaderBy {
				e.By = string(header.Value)
			}
		}
		h.entries[e.Version], h.inForce = e, e.Version
	}
	h.next = next
	return nil
}

// Run follows the topic until ctx ends, and calls changed after something new came. What cannot be read now is read
// later.
func (h *History) Run(ctx context.Context, changed func()) {
	said := ""
	for h.o.Clock.Sleep(ctx, followEvery) == nil {
		was := h.end()
		err := h.CatchUp(ctx)
		switch {
		case err != nil && ctx.Err() == nil && err.Error() != said:
			said = err.Error()
			h.o.Lines.Warn().Err(err).Msg("new versions of the configuration are not seen until it can be read again")
		case err == nil:
			said = ""
		}
		if h.end() != was {
			changed()
		}
	}
}

func (h *History) end() int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.next
}

// InForce is the version that was put in force last; false: there is none.
func (h *History) InForce() (Entry, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	e, ok := h.entries[h.inForce]
	return e, ok
}

// Get finds a version.
func (h *History) Get(version string) (Entry, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	e, ok := h.entries[version]
	return e, ok
}

// List is every version, the one in force last.
func (h *History) List() []Entry {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.SortedFunc(maps.Values(h.entries), func(a, b Entry) int { return int(a.Offset - b.Offset) })
}
