package codec

import (
	"fmt"
	"time"
	"unsafe"
)

// sizeHintMax bounds what a length that an array or map claims may reserve before its entries are there.
const sizeHintMax = 64

// decoder reads an Avro body whose writer's schema is our own. It answers hostile bytes as the resolving path does: the
// same bodies are refused, and what a length claims costs nothing before the bytes are there. After the first fault
// it reads nothing but zero values, and bad says what was wrong.
//
// Texts and byte strings point into the body.
type decoder struct {
	b   []byte
	at  int // of the next byte
	bad error
}

// left is the number of bytes not read yet.
func (d *decoder) left() int { return len(d.b) - d.at }

// corrupt keeps the first fault; what follows has nothing left to read.
func (d *decoder) corrupt(what string) {
	if d.bad == nil {
		d.bad = fmt.Errorf("%s, %d bytes before the end", what, d.left())
	}
	d.b, d.at = nil, 0
}

// long reads a zigzag number of at most ten bytes.
func (d *decoder) long() int64 {
	if d.at < len(d.b) && d.b[d.at] < 0x80 {
		u := uint64(d.b[d.at])
		d.at++
		return int64(u>>1) ^ -int64(u&1)
	}
	return d.longLong()
}

func (d *decoder) longLong() int64 {
	var u uint64
	for i, c := range d.b[d.at:] {
		if i == 9 && c > 1 {
			d.corrupt("a number above 64 bits")
			return 0
		}
		u |= uint64(c&0x7f) << (7 * i)
		if c < 0x80 {
			d.at += i + 1
			return int64(u>>1) ^ -int64(u&1)
		}
	}
	d.corrupt("a number without end")
	return 0
}

// span reads a length and the bytes that follow it.
func (d *decoder) span() []byte {
	n := d.long()
	if n < 0 || n > int64(d.left()) {
		d.corrupt("a length beyond the end")
		return nil
	}
	if n == 0 {
		return nil
	}
	from := d.at
	d.at += int(n)
	return d.b[from:d.at:d.at]
}

// text reads most texts by itself: those shorter than 64 bytes, whose length is one byte.
func (d *decoder) text() string {
	if d.at < len(d.b) {
		if n := d.b[d.at]; n&0x81 == 0 {
			from := d.at + 1
			if end := from + int(n>>1); end <= len(d.b) {
				d.at = end
				return unsafe.String(unsafe.SliceData(d.b[from:]), int(n>>1))
			}
		}
	}
	s := d.span()
	return unsafe.String(unsafe.SliceData(s), len(s))
}

func (d *decoder) bytes() []byte { return d.span() }

// boolean is true for a one and false for every other byte, as the Java reference and the resolving path read it.
func (d *decoder) boolean() bool {
	if d.left() == 0 {
		d.corrupt("a missing boolean")
		return false
	}
	v := d.b[d.at] == 1
	d.at++
	return v
}

func (d *decoder) time() time.Time { return time.UnixMilli(d.long()).UTC() }

// some reads the branch of a union of null and a record. Its number is an int, of at most five bytes.
func (d *decoder) some() bool {
	from := d.at
	switch n := d.long(); {
	case d.at-from > 5 || n < 0 || n > 1:
		d.corrupt("a branch that the union does not have")
		return false
	default:
		return n == 1
	}
}

// block reads the head of a block of an array or map whose entries have min bytes at least; 0 is the end. A negative
// count is followed by the block's size in bytes, which is of use to those only who skip it.
func (d *decoder) block(min int) int {
	n := d.long()
	if n < 0 {
		n = -n
		d.long()
	}
	if n < 0 || n > int64(d.left()/min) {
		d.corrupt("a count beyond the end")
		return 0
	}
	return int(n)
}

func (d *decoder) texts() []string {
	var list []string
	for n := d.block(1); n > 0; n = d.block(1) {
		if list == nil {
			list = make([]string, 0, min(n, sizeHintMax))
		}
		for ; n > 0 && d.bad == nil; n-- {
			list = append(list, d.text())
		}
	}
	return list
}

func (d *decoder) table() map[string]string {
	var m map[string]string
	for n := d.block(2); n > 0; n = d.block(2) {
		if m == nil {
			m = make(map[string]string, min(n, sizeHintMax))
		}
		for ; n > 0 && d.bad == nil; n-- {
			key := d.text()
			m[key] = d.text()
		}
	}
	return m
}

// getList reads an array of records; each has one byte at least.
func getList[T any](d *decoder, get func(*T)) []T {
	var list []T
	for n := d.block(1); n > 0; n = d.block(1) {
		if list == nil {
			list = make([]T, 0, min(n, sizeHintMax))
		}
		for ; n > 0 && d.bad == nil; n-- {
			list = append(list, *new(T))
			get(&list[len(list)-1])
		}
	}
	return list
}
