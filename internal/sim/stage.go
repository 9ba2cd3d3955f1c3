package sim

import (
	"encoding/json"
	"fmt"
	"hash/fnv"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tillstream/tillstream/processors"
	"github.com/tillstream/tillstream/schemas"
)

// Topics of the ledger's world.
const (
	topicIn        = "sim.in"
	topicOut       = "sim.out"
	topicChangelog = "sim.changelog"
	groupLedger    = "sim-ledger"
)

// ledger is a small stage whose every output tells the whole history of its key: how many events were applied, and a
// hash over all of them in order. It dedupes by id and body, arms and cancels timers, and forgets.
type ledger struct{}

type ledgerState struct {
	N      int64         `json:"n"`
	Sum    string        `json:"s"`
	Seen   []seenEvent   `json:"i,omitempty"`
	Timers []ledgerTimer `json:"t,omitempty"`
	Gone   bool          `json:"-"`
}

type seenEvent struct {
	ID   string `json:"i"`
	Body string `json:"b"`
}

type ledgerTimer struct {
	At int64  `json:"a"` // Unix milliseconds
	ID string `json:"i"`
}

// Forget implements processors.Forgetter.
func (s ledgerState) Forget() bool { return s.Gone }

func (ledger) Name() string                             { return "ledger" }
func (ledger) Version() processors.StageVersion         { return 1 }
func (ledger) Encode(s ledgerState) ([]byte, error)     { return json.Marshal(s) }
func (ledger) Decode(b []byte) (s ledgerState, _ error) { return s, json.Unmarshal(b, &s) }

func (ledger) Key(in processors.Input) (string, bool) {
	ev, ok := in.Record.(*schemas.OrderEvent)
	return in.Key, ok && ev.EventType != "skip"
}

func (ledger) Timers(s ledgerState) (out []processors.Timer) {
	for _, t := range s.Timers {
		out = append(out, processors.Timer{At: time.UnixMilli(t.At).UTC(), ID: t.ID})
	}
	return out
}

func (ledger) Apply(s ledgerState, in processors.Input) (ledgerState, []processors.Output, error) {
	if in.Timer != nil {
		at := in.Timer.At.UnixMilli()
		s.Timers = slices.DeleteFunc(slices.Clone(s.Timers), func(t ledgerTimer) bool { return t.ID == in.Timer.ID && t.At == at })
		s = s.count(fmt.Sprintf("timer %s@%d", in.Timer.ID, at))
		return s, s.say(in, fmt.Sprintf("timer %s@%d", in.Timer.ID, at)), nil
	}
	ev := in.Record.(*schemas.OrderEvent)
	for _, e := range s.Seen {
		if e.ID != ev.EventID {
			continue
		}
		if e.Body != ev.BodyHash {
			return s, nil, &processors.Poison{Cause: schemas.CauseQuarantined, Reason: "event " + ev.EventID + " came with another body", Remedy: "compare both"}
		}
		return s, nil, nil
	}
	s.Seen = append(slices.Clip(s.Seen), seenEvent{ev.EventID, ev.BodyHash})
	switch kind, arg, _ := strings.Cut(ev.EventType, " "); kind {
	case "panic":
		panic("asked to")
	case "fail":
		return s, nil, fmt.Errorf("asked to fail")
	case "forget":
		s.Gone = true
	case "arm":
		ms, _ := strconv.ParseInt(arg, 10, 64)
		s.Timers = append(slices.Clip(s.Timers), ledgerTimer{At: in.At.UnixMilli() + ms, ID: ev.EventID})
	case "cancel":
		s.Timers = nil
	}
	s = s.count(ev.EventID + ev.BodyHash)
	return s, s.say(in, "event "+ev.EventID), nil
}

// count adds one step to the history that the state stands for.
func (s ledgerState) count(what string) ledgerState {
	h := fnv.New64a()
	_, _ = h.Write([]byte(s.Sum + "/" + what))
	s.N, s.Sum = s.N+1, strconv.FormatUint(h.Sum64(), 36)
	return s
}

func (s ledgerState) say(in processors.Input, why string) []processors.Output {
	return []processors.Output{{Topic: topicOut, Key: in.Key, Record: &schemas.Transition{RootKey: in.Key, Number: s.N, Why: why, Paid: s.Sum, At: in.At}}}
}
