package getresponse

import (
	"net/http"
	"slices"
	"strings"
	"time"
)

// contact is one person on one list. Server.mu guards it.
type contact struct {
	id, email, name  string
	created, changed time.Time
	scoring          int
}

// campaign is the list that all contacts of the twin are on.
var campaign = object{"campaignId": "C", "href": "https://api.getresponse.com/v3/campaigns/C", "name": "Promo campaign"}

func (c *contact) show() object {
	return object{
		"contactId": c.id, "name": c.name, "origin": "api", "timeZone": "", "activities": "https://api.getresponse.com/v3/contacts/" + c.id + "/activities",
		"changedOn": stamp(c.changed), "createdOn": stamp(c.created), "campaign": campaign, "email": c.email, "dayOfCycle": nil, "scoring": c.scoring,
		"engagementScore": 3, "href": "https://api.getresponse.com/v3/contacts/" + c.id, "note": nil, "ipAddress": nil,
	}
}

// contactOf finds or makes the contact of an address. s.mu is held.
func (s *Server) contactOf(email, name string) *contact {
	for _, c := range s.contacts {
		if strings.EqualFold(c.email, email) {
			return c
		}
	}
	c := &contact{id: s.id(), email: email, name: name, created: s.o.Now(), changed: s.o.Now()}
	s.contacts[c.id] = c
	return c
}

func (s *Server) listContacts(r *http.Request, _ []byte) (answerTo, error) {
	if err := known(r, "query[email]", "query[name]", "query[campaignId]", "sort[createdOn]"); err != nil {
		return answerTo{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	q := r.URL.Query()
	exact := q.Get("additionalFlags") == "exactMatch"
	var list []*contact
	for _, c := range s.contacts {
		// Filters are patterns unless an exact match is asked for.
		matches := func(have, want string) bool {
			return exact && strings.EqualFold(have, want) || !exact && strings.Contains(strings.ToLower(have), strings.ToLower(want))
		}
		if matches(c.email, q.Get("query[email]")) || !q.Has("query[email]") {
			if matches(c.name, q.Get("query[name]")) || !q.Has("query[name]") {
				list = append(list, c)
			}
		}
	}
	slices.SortFunc(list, func(a, b *contact) int { return strings.Compare(a.id, b.id) })
	return paged(r, list, (*contact).show)
}

func (s *Server) getContact(r *http.Request, _ []byte) (answerTo, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.contacts[r.PathValue("id")]
	if c == nil {
		return answerTo{}, notFound("contactId", r.PathValue("id"))
	}
	out := c.show()
	out["geolocation"], out["tags"], out["customFieldValues"] = object{}, []object{}, []object{}
	return answerTo{status: 200, body: out}, nil
}

// RemoveContact deletes a contact; orders keep its id.
func (s *Server) RemoveContact(email string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, c := range s.contacts {
		if strings.EqualFold(c.email, email) {
			delete(s.contacts, id)
		}
	}
}

// Score changes a contact's score, as every opened message does.
func (s *Server) Score(email string, by int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.contacts {
		if strings.EqualFold(c.email, email) {
			c.scoring += by
			c.changed = s.o.Now()
		}
	}
}
