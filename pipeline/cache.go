package pipeline

import "strings"

// slot is what the owner of a partition remembers of one key.
type slot struct {
	key   string
	image []byte // the envelope as committed; nil: absent
	known bool   // image is what the store has
	// entry is the state inside the batch at hand, nil where that did not look at it; changed: the batch touched it.
	entry   *entry
	changed bool

	newer, older *slot // by last use
}

// slotBytes is about what a slot costs beside its key and image.
const slotBytes = 176

// deadline is that of the committed image.
func (s *slot) deadline() int64 {
	if s.image == nil {
		return 0
	}
	env, err := decodeEnvelope(s.image)
	if err != nil {
		return 0 // whoever opened the slot was told
	}
	return env.deadline
}

func (s *slot) bytes() int { return slotBytes + len(s.key) + len(s.image) }

// cache keeps the slots used last. It is trimmed between batches only, so that a slot stays for as long as a batch
// may hold it.
type cache struct {
	slots        map[string]*slot
	newest, last *slot
	bytes        int
}

func newCache() *cache { return &cache{slots: map[string]*slot{}} }

// slot returns the key's slot, a new one where there is none. key may share memory with a record.
func (c *cache) slot(key string) *slot {
	s := c.slots[key]
	if s == nil {
		s = &slot{key: strings.Clone(key)}
		c.slots[s.key] = s
		c.bytes += s.bytes()
		c.push(s)
	} else if s != c.newest {
		c.unlink(s)
		c.push(s)
	}
	return s
}

func (c *cache) push(s *slot) {
	s.newer, s.older = nil, c.newest
	if c.newest != nil {
		c.newest.newer = s
	}
	c.newest = s
	if c.last == nil {
		c.last = s
	}
}

func (c *cache) unlink(s *slot) {
	if s.newer != nil {
		s.newer.older = s.older
	} else {
		c.newest = s.older
	}
	if s.older != nil {
		s.older.newer = s.newer
	} else {
		c.last = s.newer
	}
}

// set notes the committed image of a slot.
func (c *cache) set(s *slot, image []byte) {
	c.bytes += len(image) - len(s.image)
	s.image, s.known = image, true
}

// trim forgets the slots that were not used for longest.
func (c *cache) trim(slotsMax, bytesMax int) {
	for c.last != nil && (len(c.slots) > slotsMax || c.bytes > bytesMax) {
		s := c.last
		c.unlink(s)
		c.bytes -= s.bytes()
		delete(c.slots, s.key)
	}
}
