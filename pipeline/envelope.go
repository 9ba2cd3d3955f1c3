package pipeline

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"maps"

	"github.com/tillstream/tillstream/processors"
)

// Keys in a changelog: state keys are prefixed, so that none can be the meta key.
const (
	metaKey        = "m"
	stateKeyPrefix = "k"
)

const envelopeVersion = 1

// envelope is an image as it is kept in the changelog and in the store, the same bytes in both: a version byte, the
// earliest deadline, the muted timers, and the state's own bytes.
type envelope struct {
	deadline int64 // Unix milliseconds; 0: no timer is armed
	muted    []mark
	state    []byte
}

// mark names a timer: its deadline in Unix nanoseconds and its id. A muted timer does not fire although the state
// still derives it: firing it failed, or did not clear it.
type mark struct {
	at int64
	id string
}

func markOf(t processors.Timer) mark { return mark{t.At.UnixNano(), t.ID} }

func (e envelope) encode() []byte {
	b := make([]byte, 0, 16+len(e.state))
	b = append(b, envelopeVersion)
	b = binary.AppendVarint(b, e.deadline)
	b = binary.AppendUvarint(b, uint64(len(e.muted)))
	for _, m := range e.muted {
		b = binary.AppendVarint(b, m.at)
		b = binary.AppendUvarint(b, uint64(len(m.id)))
		b = append(b, m.id...)
	}
	return append(b, e.state...)
}

var errEnvelope = errors.New("the image is damaged")

func decodeEnvelope(b []byte) (envelope, error) {
	if len(b) == 0 || b[0] != envelopeVersion {
		return envelope{}, fmt.Errorf("%w: unknown version", errEnvelope)
	}
	r := reader{b: b[1:]}
	e := envelope{deadline: r.varint()}
	count := r.uvarint()
	if count > uint64(len(b)) {
		return envelope{}, errEnvelope
	}
	for range count {
		e.muted = append(e.muted, mark{r.varint(), string(r.bytes())})
	}
	if r.bad {
		return envelope{}, errEnvelope
	}
	e.state = r.b
	return e, nil
}

// reader takes numbers off the front of bytes; bad says that one was not there.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) varint() int64 {
	v, n := binary.Varint(r.b)
	r.skip(n)
	return v
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	r.skip(n)
	return v
}

func (r *reader) bytes() []byte {
	n := r.uvarint()
	if r.bad || n > uint64(len(r.b)) {
		r.bad = true
		return nil
	}
	out := r.b[:n]
	r.b = r.b[n:]
	return out
}

func (r *reader) skip(n int) {
	if n <= 0 {
		r.bad, r.b = true, nil
		return
	}
	r.b = r.b[n:]
}

// meta is the one record per partition and transaction that says how far the state has come.
type meta struct {
	Inputs     map[string]position `json:"inputs"`
	StreamTime int64               `json:"stream_time"` // Unix milliseconds
	Owner      string              `json:"owner"`
	Rules      string              `json:"rules,omitempty"`
	// Config is the version of the configuration that the partition follows, since offset ConfigFrom of the inbox.
	Config     string `json:"config,omitempty"`
	ConfigFrom int64  `json:"config_from,omitempty"`
	// Watermark is up to when receivers were there, in Unix milliseconds; 0: no tick has told.
	Watermark int64 `json:"watermark,omitempty"`
	// Past counts the timers set into the past on behalf of the record at hand, which a cut transaction left unread.
	Past   int    `json:"past,omitempty"`
	Counts Counts `json:"counts"`
}

type position struct {
	TopicID string `json:"topic_id"`
	Next    int64  `json:"next"`
}

// Counts are what a partition has done since it began. They travel in the transactions, so each is exact.
type Counts struct {
	Inputs      int64            `json:"inputs"`  // records read, ticks included
	Skipped     int64            `json:"skipped"` // of these, not for the stage
	Ticks       int64            `json:"ticks"`
	Activations int64            `json:"activations,omitempty"` // of a configuration
	DeadLetters int64            `json:"dead_letters"`
	Timers      int64            `json:"timers"` // fired
	Outputs     map[string]int64 `json:"outputs,omitempty"`
}

func (m meta) clone() meta {
	m.Inputs = maps.Clone(m.Inputs)
	m.Counts.Outputs = maps.Clone(m.Counts.Outputs)
	if m.Counts.Outputs == nil {
		m.Counts.Outputs = map[string]int64{}
	}
	return m
}

func (m meta) encode() []byte {
	b, err := json.Marshal(m)
	if err != nil {
		panic(err) // strings, numbers and maps of them always marshal
	}
	return b
}

func decodeMeta(b []byte) (*meta, error) {
	m := new(meta)
	if err := json.Unmarshal(b, m); err != nil {
		return nil, fmt.Errorf("the meta record is damaged: %w", err)
	}
	return m, nil
}
