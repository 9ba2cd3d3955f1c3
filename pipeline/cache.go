package pipeline

import "container/list"

// cache keeps the entries used last, at most limit with at most cacheBytesMax of images.
type cache struct {
	limit   int
	bytes   int
	order   *list.List // of *entry, the one used last in front
	entries map[string]*list.Element
}

func newCache(limit int) *cache {
	return &cache{limit: limit, order: list.New(), entries: map[string]*list.Element{}}
}

func (c *cache) get(key string) *entry {
	el := c.entries[key]
	if el == nil {
		return nil
	}
	c.order.MoveToFront(el)
	return el.Value.(*entry)
}

func (c *cache) put(e *entry) {
	c.bytes += len(e.image)
	if el := c.entries[e.key]; el != nil {
		c.bytes -= len(el.Value.(*entry).image)
		el.Value = e
		c.order.MoveToFront(el)
	} else {
		c.entries[e.key] = c.order.PushFront(e)
	}
	for c.order.Len() > c.limit || c.bytes > cacheBytesMax && c.order.Len() > 1 {
		oldest := c.order.Remove(c.order.Back()).(*entry)
		c.bytes -= len(oldest.image)
		delete(c.entries, oldest.key)
	}
}
