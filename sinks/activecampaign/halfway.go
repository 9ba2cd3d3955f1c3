package activecampaign

import (
	"sync"
	"time"
)

// Bounds of what is remembered of commands that are half done.
const (
	halfwayMax = 10_000
	// halfwayFor bounds how long that is of use. In a backlog the next try may have thousands of other contacts before it,
	// at 5 requests a second.
	halfwayFor = 24 * time.Hour
)

// halfway remembers the commands whose contact was written and whose tags did not all arrive, so that the next try does
// not write the contact again: while the account refuses much, those are many requests. A contact that was deleted or
// merged since answers so to its tags, and the command begins anew.
type halfway struct {
	now func() time.Time

	mu    sync.Mutex
	known map[string]written // by command
}

// written is the contact that a command was written to.
type written struct {
	contactID string
	made      bool
	since     time.Time
}

func newHalfway(now func() time.Time) *halfway {
	return &halfway{now: now, known: map[string]written{}}
}

// take returns how far the command came, once; ok is false where it has to begin anew.
func (h *halfway) take(commandID string) (at written, ok bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	at, ok = h.known[commandID]
	delete(h.known, commandID)
	if !ok || h.now().Sub(at.since) >= halfwayFor {
		return written{}, false
	}
	return at, true
}

// note remembers how far the command came. Where too many are known one of them is forgotten, and begins anew.
func (h *halfway) note(commandID string, at written) {
	if commandID == "" {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.known) >= halfwayMax {
		for any := range h.known {
			delete(h.known, any)
			break
		}
	}
	h.known[commandID] = at
}
