package workload

import (
	"encoding/binary"
	"errors"
)

// headerBytes is the length of the wire header: a zero byte and the schema's id.
const headerBytes = 5

// ErrDamaged is returned for bytes that are not what the function reads.
var ErrDamaged = errors.New("damaged record")

// SchemaID reads the wire header; false where there is none.
func SchemaID(b []byte) (uint32, bool) {
	if len(b) < headerBytes || b[0] != 0 {
		return 0, false
	}
	return binary.BigEndian.Uint32(b[1:]), true
}

// cursor takes Avro values off the front of bytes; bad says that one was not there.
type cursor struct {
	b   []byte
	bad bool
}

func (c *cursor) fail() { c.b, c.bad = nil, true }

func (c *cursor) long() int64 {
	v, n := binary.Varint(c.b)
	if n <= 0 {
		c.fail()
		return 0
	}
	c.b = c.b[n:]
	return v
}

func (c *cursor) bytes() []byte {
	n := c.long()
	if n < 0 || n > int64(len(c.b)) {
		c.fail()
		return nil
	}
	out := c.b[:n]
	c.b = c.b[n:]
	return out
}

// skipLinks passes an array of records of two strings each. A block's count below zero is followed by its bytes.
func (c *cursor) skipLinks() {
	for !c.bad {
		n := c.long()
		switch {
		case n == 0:
			return
		case n < 0:
			c.bytes()
		default:
			for ; n > 0 && !c.bad; n-- {
				c.bytes()
				c.bytes()
			}
		}
	}
}

// The fields of an OrderEvent between those that the job needs, in the order of schemas/OrderEvent.avsc.
const (
	stringsBeforeLinks  = 7 // kind, provider, environment, connection, resource, root_id, entity_id
	stringsBeforeStatus = 2 // event_type, provider_status
)

// DecodeEvent reads what the job needs of an OrderEvent in the wire format, written by today's schema, and leaves the
// rest unread. The event shares no memory with b.
func DecodeEvent(b []byte, into *Event) error {
	if id, ok := SchemaID(b); !ok || id != OrderEventID {
		return ErrDamaged
	}
	c := cursor{b: b[headerBytes:]}
	id := c.bytes()
	for range stringsBeforeLinks {
		c.bytes()
	}
	c.skipLinks()
	for range stringsBeforeStatus {
		c.bytes()
	}
	status := c.bytes()
	into.Time = c.long()
	if c.bad {
		return ErrDamaged
	}
	into.ID, into.Status = string(id), intern(status)
	return nil
}

// AppendTransition appends t in the wire format.
func AppendTransition(dst []byte, t *Transition) []byte {
	dst = append(dst, 0, 0, 0, byte(TransitionID>>8), byte(TransitionID&0xff))
	for _, s := range [...]string{t.Key, t.From, t.To, t.EventID} {
		dst = binary.AppendVarint(dst, int64(len(s)))
		dst = append(dst, s...)
	}
	return binary.AppendVarint(dst, t.Time)
}

// DecodeTransition undoes AppendTransition.
func DecodeTransition(b []byte) (Transition, error) {
	if id, ok := SchemaID(b); !ok || id != TransitionID {
		return Transition{}, ErrDamaged
	}
	c := cursor{b: b[headerBytes:]}
	t := Transition{Key: string(c.bytes()), From: intern(c.bytes()), To: intern(c.bytes()), EventID: string(c.bytes()), Time: c.long()}
	if c.bad || len(c.b) > 0 {
		return Transition{}, ErrDamaged
	}
	return t, nil
}
