package codec

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"time"
)

// encoder writes an Avro body. bad is the first value that Avro has no form for.
type encoder struct {
	b   []byte
	bad error
}

func (e *encoder) long(n int64) { e.b = binary.AppendVarint(e.b, n) }

func (e *encoder) text(s string) {
	if len(s) < 64 { // the zigzag number of a short length is one byte
		e.b = append(e.b, byte(len(s)<<1))
	} else {
		e.long(int64(len(s)))
	}
	e.b = append(e.b, s...)
}

func (e *encoder) bytes(s []byte) {
	e.long(int64(len(s)))
	e.b = append(e.b, s...)
}

func (e *encoder) boolean(v bool) {
	if v {
		e.b = append(e.b, 1)
		return
	}
	e.b = append(e.b, 0)
}

// secondsMax is the last second since 1970 whose milliseconds an int64 holds.
const secondsMax = math.MaxInt64/1000 - 1

func (e *encoder) time(t time.Time) {
	if s := t.Unix(); (s > secondsMax || s < -secondsMax) && e.bad == nil {
		e.bad = fmt.Errorf("the time %v is too far from 1970", t)
	}
	e.long(t.UnixMilli())
}

// some writes the branch of a union of null and a record.
func (e *encoder) some(v bool) {
	if v {
		e.b = append(e.b, 2)
		return
	}
	e.b = append(e.b, 0)
}

// count begins an array or map; one that is not empty is one block, and ends with a zero.
func (e *encoder) count(n int) { e.long(int64(n)) }

func (e *encoder) texts(list []string) {
	if len(list) > 0 {
		e.count(len(list))
	}
	for _, s := range list {
		e.text(s)
	}
	e.count(0)
}

// tableRoom is the number of keys that are sorted without an allocation.
const tableRoom = 16

// table writes the entries by key: equal records are equal bytes.
func (e *encoder) table(m map[string]string) {
	if len(m) > 0 {
		var room [tableRoom]string
		keys := room[:0]
		for key := range m {
			keys = append(keys, key)
		}
		slices.Sort(keys)
		e.count(len(m))
		for _, key := range keys {
			e.text(key)
			e.text(m[key])
		}
	}
	e.count(0)
}

func putList[T any](e *encoder, list []T, put func(*T)) {
	if len(list) > 0 {
		e.count(len(list))
	}
	for i := range list {
		put(&list[i])
	}
	e.count(0)
}
