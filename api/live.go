package api

import (
	"context"
	"errors"
	"time"

	"github.com/tillstream/tillstream/schemas"
)

// Tail lets many follow what comes in.
type Tail interface {
	// Follow begins a stream. An error says why there is none: ErrTooManyStreams, or a *connections.Refusal.
	Follow(q LiveQuery) (LiveStream, error)
}

// ErrTooManyStreams is returned where as many streams are open as a process serves.
var ErrTooManyStreams = errors.New("as many live streams are open as one process serves")

// LiveStream is one stream. Only one goroutine may call Next.
type LiveStream interface {
	// Next waits for the next message, a heartbeat at the latest. false: the stream or ctx has ended.
	Next(ctx context.Context) (LiveMessage, bool)
	Close()
}

// LiveMessage is one message of a stream.
type LiveMessage struct {
	Event string // one of the Live...Event constants
	ID    string // for Last-Event-ID; empty: none
	Data  any
}

// LiveQuery says what a stream is to hold. Empty parts mean any.
type LiveQuery struct {
	Text        string // part of an id, an address, a type or a sentence
	Kinds       []string
	Store       string
	Order       string
	Email       string
	Status      schemas.PaymentStatus
	EventKind   schemas.EventKind
	Environment schemas.Environment
	Destination string
	Bad         bool   // only what somebody should look at
	After       string // Last-Event-ID
	// PersonalData leaves addresses unmasked.
	PersonalData bool
}

// The kinds of what a live stream tells: one for each topic that it follows.
const (
	LiveEventKind  = "event"
	LiveTransition = "transition"
	LiveRun        = "run"
	LiveCommand    = "command"
	LiveDelivery   = "delivery"
	LiveDeadLetter = "dead_letter"
)

// The events of the stream of GET /events/live, as the browser's EventSource names them.
const (
	LiveRecordEvent = "record"    // data: a LiveRecord
	LiveLeftEvent   = "left_out"  // data: a LiveLeftOut
	LiveBeatEvent   = "heartbeat" // data: a LiveBeat; every 10 s while nothing else is sent
	LiveEndEvent    = "end"       // data: a LiveEnd; the server closes the stream, reconnect after it
)

// LiveRecord is one record as it came, in short. Its SSE id goes into Last-Event-ID.
type LiveRecord struct {
	Kind        string      `json:"kind"` // one of the Live kinds
	At          time.Time   `json:"at"`   // when Kafka had it
	What        string      `json:"what"` // a short sentence in English
	Outcome     string      `json:"outcome,omitempty"`
	Good        bool        `json:"good"`
	Environment string      `json:"environment,omitempty"`
	Store       string      `json:"store,omitempty"`
	Event       string      `json:"event,omitempty"`
	EventKind   string      `json:"event_kind,omitempty"`
	Type        string      `json:"type,omitempty"`
	Status      string      `json:"status,omitempty"`
	Order       string      `json:"order,omitempty"` // key
	Contact     string      `json:"contact,omitempty"`
	Destination string      `json:"destination,omitempty"`
	Amount      *MoneyText  `json:"amount,omitempty"`
	Place       RecordPlace `json:"place"`
}

// LiveLeftOut says that more met the filter than one stream is sent, or than it took in time.
type LiveLeftOut struct {
	LeftOut int64     `json:"left_out"` // since the message of this kind before
	Total   int64     `json:"total"`    // since the stream began
	At      time.Time `json:"at"`
	// Gap says that it is not known how many: the stream could not go on where Last-Event-ID ended.
	Gap bool `json:"gap,omitempty"`
}

// LiveBeat says that the stream lives.
type LiveBeat struct {
	At      time.Time `json:"at"`
	LeftOut int64     `json:"left_out"` // since the stream began
	Problem string    `json:"problem,omitempty"`
}

// LiveEnd says why the server ends the stream.
type LiveEnd struct {
	Why string `json:"why"`
}
