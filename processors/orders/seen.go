package orders

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"slices"

	"github.com/tillstream/tillstream/processors"
	"github.com/tillstream/tillstream/schemas"
)

// seen remembers one event by digests: of its id, of its content and of the deliveries that brought it.
type seen struct {
	Event       mark   `json:"e"`
	Fingerprint mark   `json:"f"`
	Deliveries  []mark `json:"d,omitempty"`
	At          int64  `json:"a"`
}

// deliveriesMax bounds the delivery ids kept of one event; PayPal tries 25 times, with the same id.
const deliveriesMax = 32

// mark is a digest of 96 bits: ids of all lengths cost the same, and chance never makes two meet.
type mark [12]byte

func digest(text string) (m mark) {
	h := sha256.Sum256([]byte(text))
	copy(m[:], h[:])
	return m
}

// UnmarshalText reads a mark of a state in JSON.
func (m *mark) UnmarshalText(text []byte) error {
	b, err := base64.RawURLEncoding.DecodeString(string(text))
	if err != nil || len(b) != len(m) {
		return fmt.Errorf("%.40q is no digest", text)
	}
	copy(m[:], b)
	return nil
}

func seenOf(e *schemas.OrderEvent, at int64) seen {
	n := seen{Event: digest(e.EventID), Fingerprint: digest(fingerprint(e)), At: at}
	if len(e.DeliveryIDs) > 0 {
		n.Deliveries = make([]mark, 0, len(e.DeliveryIDs))
	}
	for _, d := range e.DeliveryIDs {
		if d != "" {
			n.Deliveries = append(n.Deliveries, digest(d))
		}
	}
	return n
}

func fingerprint(e *schemas.OrderEvent) string {
	if e.Fingerprint != "" {
		return e.Fingerprint
	}
	return e.BodyHash
}

// repeated compares a new event with one seen before. why is not empty for a repetition of it.
func (old *seen) repeated(n *seen, e *schemas.OrderEvent) (why string, err error) {
	same := old.Fingerprint == n.Fingerprint
	switch {
	case old.Event == n.Event && same:
		return "The same event was applied before.", nil
	case old.Event == n.Event:
		return "", quarantined("event id " + e.EventID)
	}
	for i, d := range n.Deliveries {
		if !slices.Contains(old.Deliveries, d) {
			continue
		}
		if same {
			return "The same delivery was applied before.", nil
		}
		return "", quarantined(fmt.Sprintf("the delivery id no. %d of event %s", i+1, e.EventID))
	}
	return "", nil
}

func quarantined(what string) error {
	return &processors.Poison{
		Cause:  schemas.CauseQuarantined,
		Reason: what + " was seen before with another content",
		Remedy: "compare both bodies; if this one is right, replay it under a new event id",
	}
}

// repetition looks e up among the events that ended here and those that wait here.
func (w *work) repetition(n seen, e *schemas.OrderEvent) (why string, err error) {
	for i := range w.s.Seen {
		if why, err = w.s.Seen[i].repeated(&n, e); err != nil {
			return "", err
		}
		if why != "" {
			w.remember(i, n.Deliveries)
			return why, nil
		}
	}
	for i := range w.s.Parked {
		parked := w.s.Parked[i].Event.event()
		old := seenOf(&parked, 0)
		if why, err = old.repeated(&n, e); err != nil {
			return "", err
		}
		if why != "" {
			return "The same event waits here for its order.", nil
		}
	}
	return "", nil
}

// remember adds deliveries to the event seen as number i.
func (w *work) remember(i int, deliveries []mark) {
	known := slices.Clip(w.s.Seen[i].Deliveries)
	before := len(known)
	for _, d := range deliveries {
		if len(known) < deliveriesMax && !slices.Contains(known, d) {
			known = append(known, d)
		}
	}
	if len(known) > before {
		w.s.Seen = slices.Clone(w.s.Seen)
		w.s.Seen[i].Deliveries = known
	}
}

// markSeen remembers an event, and drops what is older than any sender's retry once there are more than SeenMax.
func (w *work) markSeen(n seen) {
	w.s.Seen = append(slices.Clip(w.s.Seen), n)
	if len(w.s.Seen) > w.st.opt.SeenMax {
		w.s.Seen = slices.DeleteFunc(w.s.Seen, func(o seen) bool { return n.At-o.At > seenKeep.Milliseconds() })
	}
}
