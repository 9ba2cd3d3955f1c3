package deliver

import (
	"math/bits"
	"slices"
)

// stand is how far a command is.
type stand byte

const (
	open     stand = iota // to be done
	finished              // its final delivery is committed
	intended              // an effect whose intent is committed: it may have been sent
	void                  // no record has this offset; only in memory
)

const (
	bitsPerOffset  = 2
	offsetsPerWord = 64 / bitsPerOffset
	chunkOffsets   = 4096
	chunkWords     = chunkOffsets / offsetsPerWord
	everyOffset    = 0x5555555555555555 // times a stand: a word full of it
)

// marks say of consecutive offsets how far their commands are. Long stretches of one stand cost nothing, the others
// two bits for each offset.
type marks struct{ segs []segment }

// segment is a stretch of offsets, of one stand or of chunkOffsets at most with bits for each.
type segment struct {
	at, n int64
	stand stand
	bits  *[chunkWords]uint64 // nil: all of it has stand
	base  int64               // offset of the first bits
}

func (s *segment) end() int64 { return s.at + s.n }

func (s *segment) get(offset int64) stand {
	if s.bits == nil {
		return s.stand
	}
	i := offset - s.base
	return stand(s.bits[i/offsetsPerWord] >> (i % offsetsPerWord * bitsPerOffset) & 3)
}

func (s *segment) put(offset int64, to stand) {
	i := offset - s.base
	w, shift := &s.bits[i/offsetsPerWord], i%offsetsPerWord*bitsPerOffset
	*w = *w&^(3<<shift) | uint64(to)<<shift
}

// run returns how many offsets from one on have its stand, within the segment.
func (s *segment) run(offset int64) (st stand, n int64) {
	st = s.get(offset)
	if s.bits == nil {
		return st, s.end() - offset
	}
	for at := offset; at < s.end(); {
		i := at - s.base
		within := i % offsetsPerWord
		same := int64(bits.TrailingZeros64((s.bits[i/offsetsPerWord]^uint64(st)*everyOffset)>>(within*bitsPerOffset))) / bitsPerOffset
		same = min(same, offsetsPerWord-within)
		at += same
		if same < offsetsPerWord-within {
			return st, min(at, s.end()) - offset
		}
	}
	return st, s.end() - offset
}

// dense gives a segment of one stand bits.
func (s *segment) dense() {
	if s.bits != nil {
		return
	}
	s.bits, s.base = new([chunkWords]uint64), s.at
	for i := range s.bits {
		s.bits[i] = uint64(s.stand) * everyOffset
	}
}

// from is the first offset; ok is false where there is none.
func (m *marks) from() (offset int64, ok bool) {
	if len(m.segs) == 0 {
		return 0, false
	}
	return m.segs[0].at, true
}

// end is the offset after the last one; 0 where there is none.
func (m *marks) end() int64 {
	if len(m.segs) == 0 {
		return 0
	}
	return m.segs[len(m.segs)-1].end()
}

// index is that of the segment with offset, or -1.
func (m *marks) index(offset int64) int {
	i, found := slices.BinarySearchFunc(m.segs, offset, func(s segment, o int64) int {
		switch {
		case o < s.at:
			return 1
		case o >= s.end():
			return -1
		}
		return 0
	})
	if !found {
		return -1
	}
	return i
}

// get returns finished for what lies before the first offset, and open for what lies behind the last.
func (m *marks) get(offset int64) stand {
	if i := m.index(offset); i >= 0 {
		return m.segs[i].get(offset)
	}
	if from, ok := m.from(); ok && offset < from {
		return finished
	}
	return open
}

// add appends n offsets; at is where they begin if they are the first.
func (m *marks) add(at, n int64, s stand) {
	if n <= 0 {
		return
	}
	if len(m.segs) == 0 {
		m.segs = append(m.segs, segment{at: at, n: n, stand: s})
		return
	}
	last := &m.segs[len(m.segs)-1]
	switch {
	case last.bits == nil && last.stand == s:
		last.n += n
	case last.n+n <= chunkOffsets && (last.bits == nil || last.end()-last.base+n <= chunkOffsets):
		last.dense()
		for o := last.end(); o < last.end()+n; o++ {
			last.put(o, s)
		}
		last.n += n
	default:
		m.segs = append(m.segs, segment{at: last.end(), n: n, stand: s})
	}
}

// set changes one offset that is there.
func (m *marks) set(offset int64, s stand) { m.fill(offset, offset+1, s) }

// fill changes the offsets from one up to, and without, another, as far as they are there.
func (m *marks) fill(from, to int64, s stand) {
	if first, ok := m.from(); !ok || from < first {
		from = first
	}
	for to = min(to, m.end()); from < to; {
		i := m.index(from)
		seg := &m.segs[i]
		until := min(to, seg.end())
		switch {
		case seg.bits == nil && seg.stand == s:
		case seg.bits == nil && from == seg.at && until == seg.end():
			seg.stand = s
		case seg.bits == nil && until-from > chunkOffsets:
			m.split(i, from, until, segment{at: from, n: until - from, stand: s})
		default:
			if seg.bits == nil {
				low := max(seg.at, from-from%chunkOffsets)
				until = min(until, low+chunkOffsets)
				piece := segment{at: low, n: min(seg.end(), low+chunkOffsets) - low, stand: seg.stand}
				piece.dense()
				i = m.split(i, piece.at, piece.end(), piece)
				seg = &m.segs[i]
			}
			for o := from; o < until; o++ {
				seg.put(o, s)
			}
		}
		from = until
	}
}

// split puts piece in place of a part of segment i, which has one stand, and returns the piece's index.
func (m *marks) split(i int, from, to int64, piece segment) int {
	whole := m.segs[i]
	parts := make([]segment, 0, 3)
	if whole.at < from {
		parts = append(parts, segment{at: whole.at, n: from - whole.at, stand: whole.stand})
	}
	at := i + len(parts)
	parts = append(parts, piece)
	if to < whole.end() {
		parts = append(parts, segment{at: to, n: whole.end() - to, stand: whole.stand})
	}
	m.segs = slices.Replace(m.segs, i, i+1, parts...)
	return at
}

// trim drops what is finished, or no record, from the front, and joins what is alike. It returns the first offset that
// is left, or the end.
func (m *marks) trim() int64 {
	end := m.end()
	for len(m.segs) > 0 {
		s := &m.segs[0]
		st, n := s.run(s.at)
		if st != finished && st != void {
			break
		}
		if s.at, s.n = s.at+n, s.n-n; s.n == 0 {
			m.segs = m.segs[1:]
		}
	}
	kept := m.segs[:0:0]
	for _, s := range m.segs {
		if st, n := s.run(s.at); n == s.n {
			s.stand, s.bits = st, nil
		}
		if k := len(kept); k > 0 && s.bits == nil && kept[k-1].bits == nil && kept[k-1].stand == s.stand {
			kept[k-1].n += s.n
			continue
		}
		kept = append(kept, s)
	}
	m.segs = kept
	if len(kept) == 0 {
		return end
	}
	return kept[0].at
}

// runs hands out the stretches of one stand. What is no record counts as what lies before it.
func (m *marks) runs(yield func(run) bool) {
	var last run
	for i := range m.segs {
		for s, at := &m.segs[i], m.segs[i].at; at < s.end(); {
			st, n := s.run(at)
			at += n
			if st == void {
				st = last.stand
			}
			if st == last.stand || last.n == 0 {
				last.stand = st
				last.n += n
				continue
			}
			if !yield(last) {
				return
			}
			last = run{st, n}
		}
	}
	if last.n > 0 {
		yield(last)
	}
}

// move makes the first offset another one.
func (m *marks) move(to int64) {
	from, _ := m.from()
	for i := range m.segs {
		m.segs[i].at += to - from
		m.segs[i].base += to - from
	}
}

// run is a number of consecutive offsets of one stand.
type run struct {
	stand stand
	n     int64
}
