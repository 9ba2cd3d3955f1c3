package activecampaign

import (
	"container/list"
	"sync"
	"time"
)

// Bounds of what is remembered of contacts.
const (
	contactsCachedMax = 10_000
	tagsCachedMax     = 200 // of one contact
	// cachedFor bounds how long a tag that a person removed by hand stays unnoticed.
	cachedFor = 10 * time.Minute
)

// contactCache remembers which tags contacts were seen to have or not to have, least recently used out first.
type contactCache struct {
	mu    sync.Mutex
	max   int
	now   func() time.Time
	order *list.List // of *cachedContact, most recent first
	byID  map[string]*list.Element
}

type cachedContact struct {
	id    string
	until time.Time
	tags  map[string]bool // tag id to presence
}

func newContactCache(max int, now func() time.Time) *contactCache {
	return &contactCache{max: max, now: now, order: list.New(), byID: map[string]*list.Element{}}
}

// tag tells whether the contact has the tag; known is false where that was not seen lately.
func (c *contactCache) tag(contactID, tagID string) (has, known bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.byID[contactID]
	if !ok {
		return false, false
	}
	if cc := e.Value.(*cachedContact); c.now().Before(cc.until) {
		c.order.MoveToFront(e)
		has, known = cc.tags[tagID]
		return has, known
	}
	c.order.Remove(e)
	delete(c.byID, contactID)
	return false, false
}

// note remembers what was seen.
func (c *contactCache) note(contactID, tagID string, has bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.byID[contactID]
	if !ok {
		e = c.order.PushFront(&cachedContact{id: contactID, until: c.now().Add(cachedFor), tags: map[string]bool{}})
		c.byID[contactID] = e
		if c.order.Len() > c.max {
			last := c.order.Back()
			c.order.Remove(last)
			delete(c.byID, last.Value.(*cachedContact).id)
		}
	}
	if cc := e.Value.(*cachedContact); len(cc.tags) < tagsCachedMax {
		cc.tags[tagID] = has
	}
}

// forget drops a contact.
func (c *contactCache) forget(contactID string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e, ok := c.byID[contactID]; ok {
		c.order.Remove(e)
		delete(c.byID, contactID)
	}
}
