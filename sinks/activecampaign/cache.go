package activecampaign

import (
	"container/list"
	"sync"
	"time"
)

// Bounds of what is remembered of contacts.
const (
	contactsCachedMax = 50_000
	tagsCachedMax     = 100 // of one contact
	// cachedFor bounds how long a tag that a person removed, or added, by hand stays unnoticed.
	cachedFor = 30 * time.Minute
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
	id      string
	until   time.Time
	version int64 // of the newest state that was written here
	whole   bool  // a tag that is not among tags is not on the contact
	tags    []cachedTag
}

// cachedTag is one tag of a contact; link is the id of the row that joins them, where it is known.
type cachedTag struct {
	tag, link string
	has       bool
}

func newContactCache(max int, now func() time.Time) *contactCache {
	return &contactCache{max: max, now: now, order: list.New(), byID: map[string]*list.Element{}}
}

// tag tells whether the contact has the tag, and by which link; known is false where that was not seen lately.
func (c *contactCache) tag(contactID, tagID string) (link string, has, known bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.byID[contactID]
	if !ok {
		return "", false, false
	}
	cc := e.Value.(*cachedContact)
	if !c.now().Before(cc.until) {
		c.order.Remove(e)
		delete(c.byID, contactID)
		return "", false, false
	}
	c.order.MoveToFront(e)
	for _, t := range cc.tags {
		if t.tag == tagID {
			return t.link, t.has, true
		}
	}
	return "", false, cc.whole
}

// writes notes that a state of this version is being written. Where it does not follow the one written here before,
// another process may have written in between, and what is remembered of the contact is forgotten.
func (c *contactCache) writes(contactID string, version int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.byID[contactID]
	if !ok {
		c.entry(contactID).version = version
		return
	}
	cc := e.Value.(*cachedContact)
	if version != cc.version && version != cc.version+1 {
		cc.whole, cc.tags = false, nil
	}
	cc.version = version
}

// note remembers what was seen of one tag.
func (c *contactCache) note(contactID, tagID, link string, has bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	cc := c.entry(contactID)
	for i := range cc.tags {
		if cc.tags[i].tag == tagID {
			cc.tags[i].link, cc.tags[i].has = link, has
			return
		}
	}
	if len(cc.tags) < tagsCachedMax {
		cc.tags = append(cc.tags, cachedTag{tagID, link, has})
	} else if has {
		cc.whole = false
	}
}

// all remembers all tags of the contact, by id to link.
func (c *contactCache) all(contactID string, links map[string]string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	cc := c.entry(contactID)
	cc.until, cc.whole, cc.tags = c.now().Add(cachedFor), len(links) <= tagsCachedMax, nil
	for tag, link := range links {
		if len(cc.tags) < tagsCachedMax {
			cc.tags = append(cc.tags, cachedTag{tag, link, true})
		}
	}
}

// entry returns what is remembered of the contact, to be added to. The caller holds mu.
func (c *contactCache) entry(contactID string) *cachedContact {
	if e, ok := c.byID[contactID]; ok {
		return e.Value.(*cachedContact)
	}
	cc := &cachedContact{id: contactID, until: c.now().Add(cachedFor)}
	c.byID[contactID] = c.order.PushFront(cc)
	if c.order.Len() > c.max {
		last := c.order.Back()
		c.order.Remove(last)
		delete(c.byID, last.Value.(*cachedContact).id)
	}
	return cc
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
