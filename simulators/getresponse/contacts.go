package getresponse

import (
	"encoding/json"
	"net/http"
	"slices"
	"sort"
	"strings"
	"time"
)

// contact is one person on one list. Server.mu guards it.
type contact struct {
	id, email, name  string
	created, changed time.Time
	scoring          json.Number
	list             *list
	// visible is when the API begins to show the contact: creating is a queue at GetResponse.
	visible time.Time
	// unconfirmed: the person has not yet confirmed to be on a list with double opt-in. Only a search for such shows it.
	unconfirmed bool
	tags        []string            // ids, in order of assignment
	values      map[string][]string // by id of the custom field
	// gone is why the contact is on its list no more ("unsubscribe", "api", ...); "" while it is.
	gone     string
	goneAt   time.Time
	versions []Version
	writes   int
}

func (c *contact) shown(now time.Time) bool { return !c.unconfirmed && !now.Before(c.visible) }

func (c *contact) show() object {
	return object{
		"contactId": c.id, "name": c.name, "origin": "api", "timeZone": "", "activities": "https://api.getresponse.com/v3/contacts/" + c.id + "/activities",
		"changedOn": stamp(c.changed), "createdOn": stamp(c.created), "campaign": c.list.reference(), "email": c.email, "dayOfCycle": nil, "scoring": c.scoring,
		"engagementScore": 3, "href": "https://api.getresponse.com/v3/contacts/" + c.id, "note": nil, "ipAddress": nil,
	}
}

// details is what the API shows of one contact alone. s.mu is held.
func (s *Server) details(c *contact) object {
	out := c.show()
	tags, values := []object{}, []object{}
	for _, id := range c.tags[:min(len(c.tags), tagsShownMax)] {
		if t := s.tagByID(id); t != nil {
			tags = append(tags, object{"tagId": t.id, "name": t.name, "href": "https://api.getresponse.com/v3/tags/" + t.id, "color": ""})
		}
	}
	for _, f := range s.fields {
		if v := c.values[f.id]; len(v) > 0 {
			values = append(values, object{
				"customFieldId": f.id, "name": f.name, "value": v, "values": v, "type": f.format, "fieldType": f.format, "valueType": f.kind,
			})
		}
	}
	out["geolocation"], out["tags"], out["customFieldValues"] = object{}, tags, values
	return out
}

// onList is the address's contact on a list, shown or not yet; nil: there is none. s.mu is held.
func (s *Server) onList(email string, l *list) *contact {
	for _, c := range s.byEmail[strings.ToLower(email)] {
		if c.gone == "" && c.list == l {
			return c
		}
	}
	return nil
}

// contactOf finds or makes the contact of an address, as a shop's plugin does. s.mu is held.
func (s *Server) contactOf(email, name string) *contact {
	for _, c := range s.byEmail[strings.ToLower(email)] {
		if c.gone == "" {
			return c
		}
	}
	return s.addContact(email, name, s.lists[0])
}

func (s *Server) addContact(email, name string, l *list) *contact {
	now := s.o.Now()
	c := &contact{id: s.id(), email: email, name: name, created: now, changed: now, scoring: "0", list: l, visible: now, values: map[string][]string{}}
	s.contacts[c.id] = c
	s.byEmail[strings.ToLower(email)] = append(s.byEmail[strings.ToLower(email)], c)
	return c
}

// remove takes a contact off its list: its id is gone, and a search for removed ones finds it. s.mu is held.
func (s *Server) remove(c *contact, why string) {
	delete(s.contacts, c.id)
	c.gone, c.goneAt = why, s.o.Now()
}

func (s *Server) listContacts(r *http.Request, _ []byte) (answerTo, error) {
	if err := known(r, "query[email]", "query[name]", "query[campaignId]", "sort[createdOn]", "sort[email]", "sort[name]"); err != nil {
		return answerTo{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	q := r.URL.Query()
	exact := q.Get("additionalFlags") == "exactMatch"
	among := func(yield func(*contact)) {
		if exact && q.Has("query[email]") {
			for _, c := range s.byEmail[strings.ToLower(q.Get("query[email]"))] {
				yield(c)
			}
			return
		}
		for _, c := range s.contacts {
			yield(c)
		}
	}
	// Filters are patterns unless an exact match is asked for.
	matches := func(have, name string) bool {
		want := q.Get(name)
		return !q.Has(name) || exact && strings.EqualFold(have, want) || !exact && strings.Contains(strings.ToLower(have), strings.ToLower(want))
	}
	var found []*contact
	among(func(c *contact) {
		if c.gone == "" && c.shown(s.o.Now()) && matches(c.email, "query[email]") && matches(c.name, "query[name]") &&
			(!q.Has("query[campaignId]") || c.list.id == q.Get("query[campaignId]")) && (r.PathValue("id") == "" || c.list.id == r.PathValue("id")) {
			found = append(found, c)
		}
	})
	slices.SortFunc(found, func(a, b *contact) int { return strings.Compare(a.id, b.id) })
	return paged(r, found, (*contact).show)
}

// live is the contact of the path, if the API shows it. s.mu is held.
func (s *Server) live(r *http.Request) (*contact, error) {
	c := s.contacts[r.PathValue("id")]
	if c == nil || !c.shown(s.o.Now()) {
		return nil, notFound("contactId", r.PathValue("id"))
	}
	return c, nil
}

func (s *Server) getContact(r *http.Request, _ []byte) (answerTo, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, err := s.live(r)
	if err != nil {
		return answerTo{}, err
	}
	return answerTo{status: 200, body: s.details(c)}, nil
}

// RemoveContact has the account's owner delete a person from all lists; orders keep the id.
func (s *Server) RemoveContact(email string) { s.TakeOff(email, "user") }

// TakeOff takes an address off all lists for a reason of GetResponse's: unsubscribe, user, api, bounce, complaint,
// blacklisted.
func (s *Server) TakeOff(email, reason string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.byEmail[strings.ToLower(email)] {
		if c.gone == "" {
			s.remove(c, reason)
		}
	}
}

// Score changes a contact's score, as every opened message does.
func (s *Server) Score(email string, by int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.byEmail[strings.ToLower(email)] {
		if c.gone == "" {
			n, _ := c.scoring.Int64() // written as a whole number
			c.scoring = json.Number(itoa(n + int64(by)))
			c.changed = s.o.Now()
		}
	}
}

// Contact is what the account holds about one person on one list.
type Contact struct {
	ID      string              `json:"id"`
	Email   string              `json:"email"`
	Name    string              `json:"name"`
	List    string              `json:"list"`   // id
	Fields  map[string][]string `json:"fields"` // by name of the custom field
	Tags    []string            `json:"tags"`   // names, sorted
	Visible bool                `json:"visible"`
	Gone    string              `json:"gone,omitempty"` // why it is on its list no more
	Created time.Time           `json:"created"`
	Updated time.Time           `json:"updated"`
	// Versions are the states that were written, oldest first, the last 50.
	Versions []Version `json:"versions"`
	// Writes is how often the contact was written.
	Writes int    `json:"writes"`
	Score  string `json:"score"`
}

// Version is one written state of a contact.
type Version struct {
	At     time.Time           `json:"at"`
	Name   string              `json:"name"`
	Fields map[string][]string `json:"fields"`
	Tags   []string            `json:"tags"`
}

// versionsMax bounds the remembered versions of one contact.
const versionsMax = 50

// version is the state of a contact by names. s.mu is held.
func (s *Server) version(c *contact) Version {
	v := Version{At: c.changed, Name: c.name, Fields: map[string][]string{}, Tags: []string{}}
	for _, f := range s.fields {
		if values := c.values[f.id]; len(values) > 0 {
			v.Fields[f.name] = slices.Clone(values)
		}
	}
	for _, id := range c.tags {
		if t := s.tagByID(id); t != nil {
			v.Tags = append(v.Tags, t.name)
		}
	}
	sort.Strings(v.Tags)
	return v
}

// changed keeps a contact's new state as a version. s.mu is held.
func (s *Server) changed(c *contact) {
	c.changed = s.o.Now()
	c.writes++
	s.stats.Writes++
	c.versions = append(c.versions, s.version(c))
	if len(c.versions) > versionsMax {
		c.versions = slices.Clone(c.versions[1:])
	}
}

// Contacts returns all contacts, removed ones too, in the order of their creation.
func (s *Server) Contacts() []Contact {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := []Contact{}
	for _, list := range s.byEmail {
		for _, c := range list {
			v := s.version(c)
			out = append(out, Contact{
				ID: c.id, Email: c.email, Name: c.name, List: c.list.id, Fields: v.Fields, Tags: v.Tags, Visible: c.gone == "" && c.shown(s.o.Now()),
				Gone: c.gone, Created: c.created, Updated: c.changed, Versions: slices.Clone(c.versions),
				Writes: c.writes, Score: c.scoring.String(),
			})
		}
	}
	slices.SortFunc(out, func(a, b Contact) int {
		if d := a.Created.Compare(b.Created); d != 0 {
			return d
		}
		return strings.Compare(a.ID, b.ID)
	})
	return out
}
