package workload

import (
	"encoding/binary"
	"strings"
)

// State is what the job keeps of an order. It is never changed: Apply and TimeOut return the next one.
type State struct {
	Status   string
	Time     int64  // of the newest event applied, by the provider's clock; Unix milliseconds
	Deadline int64  // when the wait for the payment ends; 0: nothing is awaited
	Seen     string // ids of events, oldest first, each behind a byte with its length
	SeenIDs  int
}

// Apply applies an event at stream time at. changed says that the status did, so that there is a transition to write.
func (s State) Apply(e *Event, at int64) (next State, changed bool) {
	if s.saw(e.ID) {
		return s, false
	}
	next = s.see(e.ID)
	if e.Time < s.Time {
		return next, false
	}
	if s.Status == "" {
		next.Deadline = at + PayWithin.Milliseconds()
	}
	next.Time = e.Time
	if e.Status == Paid {
		next.Deadline = 0
	}
	changed = e.Status != s.Status
	next.Status = e.Status
	return next, changed
}

// TimeOut ends the wait of a state whose deadline passed.
func (s State) TimeOut() State {
	s.Status, s.Deadline = TimedOut, 0
	return s
}

// TimeOutOf is the transition that TimeOut brings.
func (s State) TimeOutOf(key string) Transition {
	return Transition{Key: key, From: s.Status, To: TimedOut, Time: s.Deadline}
}

func (s State) saw(id string) bool {
	for rest := s.Seen; rest != ""; {
		n := 1 + int(rest[0])
		if rest[1:n] == id {
			return true
		}
		rest = rest[n:]
	}
	return false
}

// see adds an id. Ids longer than a length byte can say are cut; this workload has none.
func (s State) see(id string) State {
	id = id[:min(len(id), 255)]
	seen := s.Seen
	if s.SeenIDs == SeenMax {
		seen = seen[1+int(seen[0]):]
		s.SeenIDs--
	}
	var b strings.Builder
	b.Grow(len(seen) + 1 + len(id))
	b.WriteString(seen)
	b.WriteByte(byte(len(id)))
	b.WriteString(id)
	s.Seen = b.String()
	s.SeenIDs++
	return s
}

const stateVersion = 1

// fixedBytes of a state: version, time, deadline, length of the status, number of ids.
const fixedBytes = 1 + 8 + 8 + 1 + 1

// Append appends the state's bytes. Every program of the benchmark keeps an order in this form.
func (s State) Append(dst []byte) []byte {
	dst = append(dst, stateVersion)
	dst = binary.BigEndian.AppendUint64(dst, uint64(s.Time))
	dst = binary.BigEndian.AppendUint64(dst, uint64(s.Deadline))
	dst = append(dst, byte(len(s.Status)))
	dst = append(dst, s.Status...)
	dst = append(dst, byte(s.SeenIDs))
	return append(dst, s.Seen...)
}

// Encode is Append to a slice of the right size.
func (s State) Encode() []byte {
	return s.Append(make([]byte, 0, fixedBytes+len(s.Status)+len(s.Seen)))
}

// DecodeState undoes Encode. The state shares no memory with b.
func DecodeState(b []byte) (State, error) {
	if len(b) < fixedBytes || b[0] != stateVersion {
		return State{}, ErrDamaged
	}
	s := State{Time: int64(binary.BigEndian.Uint64(b[1:])), Deadline: int64(binary.BigEndian.Uint64(b[9:]))}
	n := int(b[17])
	if len(b) < fixedBytes+n {
		return State{}, ErrDamaged
	}
	s.Status = intern(b[18 : 18+n])
	s.SeenIDs = int(b[18+n])
	b = b[19+n:]
	ids := 0
	for rest := b; len(rest) > 0; ids++ {
		l := 1 + int(rest[0])
		if len(rest) < l {
			return State{}, ErrDamaged
		}
		rest = rest[l:]
	}
	if ids != s.SeenIDs || ids > SeenMax {
		return State{}, ErrDamaged
	}
	s.Seen = string(b)
	return s, nil
}
