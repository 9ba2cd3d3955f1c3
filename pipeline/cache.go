package pipeline

import (
	"encoding/binary"

	"github.com/cespare/xxhash/v2"
)

// cache keeps the images that were written or read last, as bytes in a few large pieces: what a partition remembers would
// otherwise be most of the heap's objects, and the collector would look at each of them again and again.
type cache struct {
	index  map[uint64]place // by the key's hash; the record itself tells whether it is the key's
	pieces []*piece         // oldest first; the last one is written to
	first  int              // number of pieces[0]
	bytes  int
	count  int // records, newer ones of the same key included
}

// piece holds records: the key's hash, the lengths of key and image (0: absent, else the length plus 1), key, image.
type piece struct {
	b       []byte
	records int
}

// place is where a record begins.
type place struct{ piece, offset int32 }

const (
	pieceBytes = 256 << 10
	// indexBytes is about what a record costs in the index.
	indexBytes = 32
)

func newCache() *cache { return &cache{index: map[uint64]place{}} }

// get returns the image that was put last for key, nil for one that is absent; known is false where the cache cannot
// tell. The image must not be changed.
func (c *cache) get(key string) (image []byte, known bool) {
	at, ok := c.index[xxhash.Sum64String(key)]
	if !ok {
		return nil, false
	}
	k, image, _ := c.pieces[int(at.piece)-c.first].record(int(at.offset))
	if string(k) != key {
		return nil, false // another key with the same hash
	}
	return image, true
}

// put notes the image of key; nil: absent.
func (c *cache) put(key string, image []byte) {
	hash := xxhash.Sum64String(key)
	need := 8 + 2*binary.MaxVarintLen32 + len(key) + len(image)
	last := len(c.pieces) - 1
	if last < 0 || cap(c.pieces[last].b)-len(c.pieces[last].b) < need {
		c.pieces = append(c.pieces, &piece{b: make([]byte, 0, max(pieceBytes, need))})
		last++
		c.bytes += cap(c.pieces[last].b)
	}
	p := c.pieces[last]
	c.index[hash] = place{int32(c.first + last), int32(len(p.b))}
	p.b = binary.LittleEndian.AppendUint64(p.b, hash)
	p.b = binary.AppendUvarint(p.b, uint64(len(key)))
	stands := 0
	if image != nil {
		stands = len(image) + 1
	}
	p.b = binary.AppendUvarint(p.b, uint64(stands))
	p.b = append(append(p.b, key...), image...)
	p.records++
	c.count++
}

// record reads the record at offset; next is the offset of the one after it.
func (p *piece) record(offset int) (key, image []byte, next int) {
	at := offset + 8
	n, size := binary.Uvarint(p.b[at:])
	at += size
	stands, size := binary.Uvarint(p.b[at:])
	at += size
	key = p.b[at : at+int(n) : at+int(n)]
	at += int(n)
	if stands == 0 {
		return key, nil, at
	}
	end := at + int(stands) - 1
	return key, p.b[at:end:end], end
}

// trim forgets the oldest pieces until at most recordsMax records in at most bytesMax bytes are left, and one piece in any
// case.
func (c *cache) trim(recordsMax, bytesMax int) {
	for len(c.pieces) > 1 && (c.count > recordsMax || c.bytes+indexBytes*c.count > bytesMax) {
		c.forget()
	}
	if len(c.pieces) == 1 && c.count > recordsMax {
		c.forget()
	}
}

func (c *cache) forget() {
	p := c.pieces[0]
	for offset := 0; offset < len(p.b); {
		hash := binary.LittleEndian.Uint64(p.b[offset:])
		_, _, next := p.record(offset)
		if c.index[hash] == (place{int32(c.first), int32(offset)}) {
			delete(c.index, hash)
		}
		offset = next
	}
	c.bytes -= cap(p.b)
	c.count -= p.records
	c.pieces[0] = nil
	c.pieces = c.pieces[1:]
	c.first++
}
