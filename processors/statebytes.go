package processors

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// The compact form of a state's bytes.
//
// A state is a version byte and a list of fields, each with a number of its own, in ascending order; a zero byte ends
// the list. A field that holds its zero value is left out. What is inside a list of the same parts has no numbers.
//
// Adding a field: take the next free number, write it with the methods of StateWriter that take one, and read it in
// the switch over StateReader.Field. States without it are read as before; a program that does not know it refuses
// the state (StateReader.Unknown), since dropping it would lose what it says. A number is never used again. Only where
// a part without numbers changes, or the words, the version grows; Decode then reads both.
//
// Texts that come again cost one or two bytes: one of the state's own words (Words), or one of the last textsKept
// texts. Times are written as the distance from the time before.

const (
	textsKept     = 16  // texts that may be referred to
	textBytesMin  = 3   // shorter ones are not worth a reference
	textBytesMax  = 255 // longer ones do not come again
	stateHintMax  = 64  // entries that a list may reserve before they are there
	stateCapacity = 512 // of a new writer, in bytes
)

// Words are texts that one kind of state holds often. Their order belongs to the format: new ones go to the end, with
// a new version of the format.
type Words struct {
	list    []string
	index   map[string]int
	lengths [textBytesMax + 1]bool // that words have; the last one is that of all longer ones
}

// NewWords returns words for a format.
func NewWords(list ...string) *Words {
	w := &Words{list: list, index: make(map[string]int, len(list))}
	for i, s := range list {
		w.index[s] = i
		w.lengths[min(len(s), textBytesMax)] = true
	}
	return w
}

// find is the place of s among the words.
func (w *Words) find(s string) (int, bool) {
	if !w.lengths[min(len(s), textBytesMax)] {
		return 0, false
	}
	i, ok := w.index[s]
	return i, ok
}

// recent are the texts written or read last, in a ring.
type recent struct {
	texts [textsKept]string
	looks [textsKept]uint16 // of each text its length and last byte, which tell most of them apart
	next  uint              // grows without end
}

func (r *recent) note(s string) {
	if len(s) >= textBytesMin && len(s) <= textBytesMax {
		at := r.next % textsKept
		r.texts[at], r.looks[at] = s, look(s)
		r.next++
	}
}

func look(s string) uint16 { return uint16(len(s))<<8 | uint16(s[len(s)-1]) } //nolint:gosec // at most textBytesMax

// back is how many texts ago s, which is not too short, was noted, 1 for the last one; 0: it is not kept.
func (r *recent) back(s string) int {
	if len(s) > textBytesMax {
		return 0
	}
	for i, l := uint(1), look(s); i <= min(r.next, textsKept); i++ {
		if at := (r.next - i) % textsKept; r.looks[at] == l && r.texts[at] == s {
			return int(i) //nolint:gosec // at most textsKept
		}
	}
	return 0
}

// StateWriter writes the compact form of a state. Equal calls give equal bytes.
type StateWriter struct {
	b      []byte
	words  *Words
	clock  int64
	recent recent
}

// NewStateWriter begins a state of this version of its format, which is not '{' (that begins the form before, JSON).
func NewStateWriter(version byte, words *Words) *StateWriter {
	return NewStateWriterFor(version, words, stateCapacity)
}

// NewStateWriterFor is NewStateWriter for a state of about so many bytes; a wrong guess costs time only.
func NewStateWriterFor(version byte, words *Words, bytes int) *StateWriter {
	w := &StateWriter{words: words, b: make([]byte, 0, bytes)}
	w.b = append(w.b, version)
	return w
}

// Bytes ends the state.
func (w *StateWriter) Bytes() []byte { return append(w.b, 0) }

// Field begins a field; one of the methods without a number, or a list of fields and End, follow.
func (w *StateWriter) Field(number byte) { w.b = append(w.b, number) }

// End ends the fields of a part.
func (w *StateWriter) End() { w.b = append(w.b, 0) }

// Uint writes a number that is mostly small and not negative.
func (w *StateWriter) Uint(n uint64) { w.b = binary.AppendUvarint(w.b, n) }

// Int writes a number that may be negative.
func (w *StateWriter) Int(n int64) { w.b = binary.AppendVarint(w.b, n) }

// Time writes a moment in ms as its distance from the one written before.
func (w *StateWriter) Time(ms int64) {
	w.b = binary.AppendVarint(w.b, ms-w.clock)
	w.clock = ms
}

// Text writes a text: a length and the bytes, or a reference. The lowest bit tells which.
func (w *StateWriter) Text(s string) {
	if len(s) >= textBytesMin {
		if back := w.recent.back(s); back > 0 {
			w.Uint(uint64(back-1)<<1 | 1)
			return
		}
		if i, ok := w.words.find(s); ok {
			w.Uint(uint64(textsKept+i)<<1 | 1)
			return
		}
	}
	w.Uint(uint64(len(s)) << 1)
	w.b = append(w.b, s...)
	w.recent.note(s)
}

// Raw writes bytes whose number the reader knows.
func (w *StateWriter) Raw(b []byte) { w.b = append(w.b, b...) }

// FieldInt, FieldTime, FieldText, FieldFlag and FieldBytes write a field, unless it holds its zero value.
func (w *StateWriter) FieldInt(number byte, n int64) {
	if n != 0 {
		w.Field(number)
		w.Int(n)
	}
}

// FieldTime is a moment in ms.
func (w *StateWriter) FieldTime(number byte, ms int64) {
	if ms != 0 {
		w.Field(number)
		w.Time(ms)
	}
}

// FieldText is a text.
func (w *StateWriter) FieldText(number byte, s string) {
	if s != "" {
		w.Field(number)
		w.Text(s)
	}
}

// FieldFlag is set where it is written.
func (w *StateWriter) FieldFlag(number byte, v bool) {
	if v {
		w.Field(number)
	}
}

// FieldBytes are bytes led by their number.
func (w *StateWriter) FieldBytes(number byte, b []byte) {
	if len(b) > 0 {
		w.Field(number)
		w.Uint(uint64(len(b)))
		w.b = append(w.b, b...)
	}
}

// FieldList begins a list of n entries, which follow; an empty one is left out.
func (w *StateWriter) FieldList(number byte, n int) {
	if n > 0 {
		w.Field(number)
		w.Uint(uint64(n))
	}
}

// FieldTexts is a list of texts.
func (w *StateWriter) FieldTexts(number byte, list []string) {
	w.FieldList(number, len(list))
	for _, s := range list {
		w.Text(s)
	}
}

// StateReader reads what StateWriter wrote. After the first fault it reads nothing but zero values, and Close tells.
// It shares no memory with the bytes it was given; what a length claims costs little before the bytes are there.
type StateReader struct {
	s      string
	at     int
	words  *Words
	clock  int64
	recent recent
	bad    error
}

var (
	errStateCut     = errors.New("its bytes are damaged")
	errStateLeft    = errors.New("more bytes after its end")
	errStateUnknown = errors.New("it was written by a newer tillstream: upgrade this one")
)

// NewStateReader begins to read a state, and refuses one whose version is none up to the newest that the caller knows.
func NewStateReader(b []byte, newest byte, words *Words) *StateReader {
	r := &StateReader{s: string(b), at: 1, words: words}
	switch {
	case len(b) == 0 || b[0] == 0:
		r.Fail(errStateCut)
	case b[0] > newest:
		r.Fail(fmt.Errorf("format %d is not known, this program reads up to %d: %w", b[0], newest, errStateUnknown))
	}
	return r
}

// Fail makes the state one that cannot be read.
func (r *StateReader) Fail(err error) {
	if r.bad == nil {
		r.bad = err
	}
	r.s, r.at = "", 0
}

// Unknown refuses a field that the caller does not know.
func (r *StateReader) Unknown(number byte) {
	r.Fail(fmt.Errorf("field %d is not known: %w", number, errStateUnknown))
}

// Close says whether all was read without a fault; what names the state ("the state of an order").
func (r *StateReader) Close(what string) error {
	if r.bad == nil && r.at < len(r.s) {
		r.bad = errStateLeft
	}
	if r.bad != nil {
		return fmt.Errorf("decode %s: %w", what, r.bad)
	}
	return nil
}

// Field is the number of the next field; 0: there is none.
func (r *StateReader) Field() byte {
	if r.at >= len(r.s) {
		r.Fail(errStateCut)
		return 0
	}
	r.at++
	return r.s[r.at-1]
}

// Uint undoes StateWriter.Uint.
func (r *StateReader) Uint() uint64 {
	var u uint64
	for shift := 0; r.at < len(r.s) && shift < 64; shift += 7 {
		c := r.s[r.at]
		r.at++
		if shift == 63 && c > 1 {
			break
		}
		u |= uint64(c&0x7f) << shift
		if c < 0x80 {
			return u
		}
	}
	r.Fail(errStateCut)
	return 0
}

// Int undoes StateWriter.Int.
func (r *StateReader) Int() int64 {
	u := r.Uint()
	return int64(u>>1) ^ -int64(u&1)
}

// Time undoes StateWriter.Time.
func (r *StateReader) Time() int64 {
	r.clock += r.Int()
	return r.clock
}

// span is the next n bytes.
func (r *StateReader) span(n uint64) string {
	if n > uint64(len(r.s)-r.at) {
		r.Fail(errStateCut)
		return ""
	}
	from := r.at
	r.at += int(n)
	return r.s[from:r.at]
}

// Text undoes StateWriter.Text.
func (r *StateReader) Text() string {
	n := r.Uint()
	if n&1 == 0 {
		s := r.span(n >> 1)
		r.recent.note(s)
		return s
	}
	n >>= 1
	switch {
	case n < uint64(min(r.recent.next, textsKept)):
		return r.recent.texts[(r.recent.next-1-uint(n))%textsKept]
	case n >= textsKept && n-textsKept < uint64(len(r.words.list)):
		return r.words.list[n-textsKept]
	}
	r.Fail(errStateCut)
	return ""
}

// Raw fills b.
func (r *StateReader) Raw(b []byte) { copy(b, r.span(uint64(len(b)))) }

// Bytes undoes StateWriter.FieldBytes.
func (r *StateReader) Bytes() []byte { return []byte(r.span(r.Uint())) }

// Count is the number of entries of a list, each of which has bytesMin bytes at least; reserve is how many to make room for.
func (r *StateReader) Count(bytesMin int) (n, reserve int) {
	u := r.Uint()
	if u > uint64((len(r.s)-r.at)/bytesMin) {
		r.Fail(errStateCut)
		return 0, 0
	}
	return int(u), min(int(u), stateHintMax)
}

// Failed reports whether a fault was met: a loop over a list ends then.
func (r *StateReader) Failed() bool { return r.bad != nil }

// Texts undoes StateWriter.FieldTexts.
func (r *StateReader) Texts() []string { return ReadList(r, func(s *string) { *s = r.Text() }) }

// ReadList reads the entries of a list. An empty one is nil.
func ReadList[T any](r *StateReader, read func(*T)) []T {
	n, reserve := r.Count(1)
	if n == 0 {
		return nil
	}
	list := make([]T, 0, reserve)
	for ; n > 0 && r.bad == nil; n-- {
		list = append(list, *new(T))
		read(&list[len(list)-1])
	}
	return list
}
