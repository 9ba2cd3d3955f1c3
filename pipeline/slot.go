package pipeline

// slot is one key inside the batch at hand.
type slot struct {
	key   string
	image []byte // the envelope as committed; nil: absent
	known bool   // image is what the store has
	// entry is the state as the batch has it, nil where it did not look at it; changed: the batch touched it.
	entry   *entry
	changed bool
}

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

// slot returns the key's slot in this batch. key may share memory with a record.
func (b *batch) slot(key string) *slot {
	if s := b.p.slots[key]; s != nil {
		return s
	}
	s := b.memory.slot()
	s.key = text(b.memory.copy("", key))
	s.image, s.known = b.p.cache.get(key)
	b.p.slots[s.key] = s
	return s
}
