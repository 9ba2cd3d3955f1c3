package pipeline

import (
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tillstream/tillstream/schemas"
)

// arena makes the records of a batch and the bytes in them from few larger pieces: a transaction holds thousands, which
// live and end together.
type arena struct {
	records []kgo.Record
	bytes   []byte
	slots   []slot
	made    []*kgo.Record // scratch of batch.outputs
}

const (
	arenaRecords = 256 // and slots
	arenaBytes   = 32 << 10
)

func (a *arena) record() *kgo.Record {
	if len(a.records) == cap(a.records) {
		a.records = make([]kgo.Record, 0, arenaRecords)
	}
	a.records = append(a.records, kgo.Record{})
	return &a.records[len(a.records)-1]
}

func (a *arena) slot() *slot {
	if len(a.slots) == cap(a.slots) {
		a.slots = make([]slot, 0, arenaRecords)
	}
	a.slots = append(a.slots, slot{})
	return &a.slots[len(a.slots)-1]
}

// copy returns prefix and s as bytes.
func (a *arena) copy(prefix, s string) []byte {
	n := len(prefix) + len(s)
	a.room(n)
	at := len(a.bytes)
	a.bytes = append(append(a.bytes, prefix...), s...)
	return a.bytes[at : at+n : at+n]
}

func (a *arena) room(n int) {
	if cap(a.bytes)-len(a.bytes) < n {
		a.bytes = make([]byte, 0, max(arenaBytes, n))
	}
}

// appendEncoder is a Codec that can write into memory given to it.
type appendEncoder interface {
	AppendEncode(dst []byte, rec schemas.Record) ([]byte, error)
}

// encode returns rec's bytes.
func (a *arena) encode(c Codec, rec schemas.Record) ([]byte, error) {
	appender, ok := c.(appendEncoder)
	if !ok {
		return c.Encode(rec)
	}
	const usual = 2 << 10
	a.room(usual)
	at := len(a.bytes)
	out, err := appender.AppendEncode(a.bytes, rec)
	if err != nil {
		return nil, err
	}
	if cap(out) == cap(a.bytes) { // it had room
		a.bytes = out
	}
	return out[at:len(out):len(out)], nil
}
