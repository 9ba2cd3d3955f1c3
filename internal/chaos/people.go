package main

import (
	"hash/fnv"
	"time"

	"github.com/tillstream/tillstream/internal/audit"
)

// The list that people join at the CRM by themselves, some of them as soon as the CRM knows them: questions about it have
// either answer.
const (
	peopleList  = "Customers"
	peopleEvery = 500 * time.Millisecond
	peopleShare = 2 // one in so many
	active      = 1
)

// people join the list, until the faults end.
func (h *harm) people() {
	joined := map[string]bool{}
	for pause(h.ctx, peopleEvery) == nil {
		for _, c := range h.w.crm.Contacts() {
			sum := fnv.New32a()
			_, _ = sum.Write([]byte(c.Email))
			if joined[c.Email] || sum.Sum32()%peopleShare != 0 {
				continue
			}
			joined[c.Email] = true
			h.w.crm.Subscribe(c.Email, peopleList, active)
			h.w.joined = append(h.w.joined, audit.Happened{Email: c.Email, Name: peopleList})
		}
	}
}
