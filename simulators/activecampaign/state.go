package activecampaign

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Enrolment is one start of a contact on an automation.
type Enrolment struct {
	Email      string    `json:"email"`
	Automation string    `json:"automation"`
	At         time.Time `json:"at"`
	By         string    `json:"by"` // "api", or what fired it: "tag:vip"
}

// Message is one that an automation sent.
type Message struct {
	Email      string            `json:"email"`
	Automation string            `json:"automation"`
	Subject    string            `json:"subject"`
	Fields     map[string]string `json:"fields"` // of the contact, as the message could show them
	At         time.Time         `json:"at"`
}

// Enrolments returns all starts on automations, in order, those that were ended excepted.
func (s *Server) Enrolments() []Enrolment {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := &s.account
	a.settle(s.opts.Now())
	out := make([]Enrolment, 0, len(a.enrolled))
	for _, id := range slices.Sorted(maps.Keys(a.enrolled)) {
		e := a.enrolled[id]
		row := Enrolment{At: e.at, Email: e.email, By: e.by}
		for _, x := range a.automations {
			if x.id == e.automation {
				row.Automation = x.name
			}
		}
		out = append(out, row)
	}
	return out
}

// Messages returns what automations sent, in order.
func (s *Server) Messages() []Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.account.settle(s.opts.Now())
	return slices.Clone(s.account.messages)
}

// Subscribe sets what a contact is to a list, as if he or a form had done it: 0 unconfirmed, 1 active, 2 unsubscribed,
// 3 bounced. Contact and list are made where there are none.
func (s *Server) Subscribe(email, listName string, status int) {
	if status < statusUnconfirmed || status > statusBounced {
		panic(fmt.Sprintf("simulated activecampaign: %d is no status of a contact on a list", status))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	a, now := &s.account, s.opts.Now()
	to := a.byEmail[strings.ToLower(email)]
	if to == nil {
		to = a.addContact(email, now)
		a.remember(to, now, nil)
		s.noteContact(now)
	}
	i := slices.IndexFunc(a.lists, func(l *list) bool { return strings.EqualFold(l.name, listName) })
	if i < 0 {
		i = len(a.lists)
		a.lists = append(a.lists, &list{a.next("list"), listName, strings.ToLower(listName)})
	}
	l := a.lists[i]
	if to.lists[l.id] == nil {
		to.lists[l.id] = &membership{id: a.next("contactList"), contact: to.id, list: l.id, created: now}
	}
	to.lists[l.id].status = status
}
