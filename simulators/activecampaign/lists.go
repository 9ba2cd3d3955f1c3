package activecampaign

import (
	"net/http"
	"strings"
)

// Statuses of a contact on a list.
const (
	statusUnconfirmed  = 0
	statusActive       = 1
	statusUnsubscribed = 2
	statusBounced      = 3
)

func (l *list) row() object {
	return object{"id": text(l.id), "name": l.name, "stringid": l.stringid, "userid": "1", "sender_url": "https://example.com", "links": object{}}
}

func listLists(c *call) (int, any, *refusal) {
	var rows []*list
	for _, l := range c.a.lists {
		if v := c.q.Get("filters[name]"); v != "" && !strings.Contains(strings.ToLower(l.name), strings.ToLower(v)) {
			continue
		}
		rows = append(rows, l)
	}
	var out []object
	for _, l := range paged(rows, c.q) {
		out = append(out, l.row())
	}
	return http.StatusOK, collection("lists", out, len(rows), nil), nil
}

func createList(c *call) (int, any, *refusal) {
	var in struct {
		List *struct {
			Name           string `json:"name"`
			StringID       string `json:"stringid"`
			SenderURL      string `json:"sender_url"`
			SenderReminder string `json:"sender_reminder"`
		} `json:"list"`
	}
	if no := c.read(&in); no != nil {
		return 0, nil, no
	}
	if in.List == nil || in.List.Name == "" || in.List.StringID == "" || in.List.SenderURL == "" || in.List.SenderReminder == "" {
		return 0, nil, missingAttribute("name")
	}
	l := &list{c.a.next("list"), in.List.Name, in.List.StringID}
	c.a.lists = append(c.a.lists, l)
	return http.StatusOK, object{"list": l.row()}, nil
}

func (a *account) listByID(id int) *list {
	for _, l := range a.lists {
		if l.id == id {
			return l
		}
	}
	return nil
}

// deleteList answers 403 for a list that does not exist, as the provider does.
func deleteList(c *call) (int, any, *refusal) {
	l := c.a.listByID(c.id("id"))
	if l == nil {
		return 0, nil, noResult(http.StatusForbidden, "_List", c.path("id"))
	}
	kept := c.a.lists[:0]
	for _, other := range c.a.lists {
		if other != l {
			kept = append(kept, other)
		}
	}
	c.a.lists = kept
	for _, to := range c.a.contacts {
		delete(to.lists, l.id)
	}
	return http.StatusOK, object{}, nil
}

// setMembership subscribes (1) or unsubscribes (2). One who left stays away unless sourceid 4 says otherwise.
func setMembership(c *call) (int, any, *refusal) {
	var in struct {
		ContactList *struct {
			List     number `json:"list"`
			Contact  number `json:"contact"`
			Status   number `json:"status"`
			SourceID number `json:"sourceid"`
		} `json:"contactList"`
	}
	if no := c.read(&in); no != nil {
		return 0, nil, no
	}
	if in.ContactList == nil || in.ContactList.Status == 0 {
		return 0, nil, missingAttribute("status")
	}
	to, l := c.a.contacts[int(in.ContactList.Contact)], c.a.listByID(int(in.ContactList.List))
	if to == nil {
		return 0, nil, invalid("The related contact does not exist.", "", "related_missing", "contact")
	}
	if l == nil {
		return 0, nil, invalid("The related list does not exist.", "", "related_missing", "list")
	}
	m := to.lists[l.id]
	if m == nil {
		m = &membership{id: c.a.next("contactList"), contact: to.id, list: l.id, created: c.now}
		to.lists[l.id] = m
	}
	left := m.status == statusUnsubscribed || m.status == statusBounced
	if !left || in.ContactList.Status != statusActive || in.ContactList.SourceID == 4 {
		m.status = int(in.ContactList.Status)
	}
	return http.StatusOK, object{"contacts": []object{to.row()}, "contactList": m.row()}, nil
}

func contactLists(c *call) (int, any, *refusal) {
	to, no := c.contact()
	if no != nil {
		return 0, nil, no
	}
	var rows []object
	for _, l := range c.a.lists {
		if m := to.lists[l.id]; m != nil {
			rows = append(rows, m.row())
		}
	}
	return http.StatusOK, collection("contactLists", paged(rows, c.q), len(rows), nil), nil
}

func listAutomations(c *call) (int, any, *refusal) {
	var rows []object
	for _, a := range c.a.automations {
		entered := 0
		for _, e := range c.a.enrolled {
			if e.automation == a.id {
				entered++
			}
		}
		rows = append(rows, object{
			"id": text(a.id), "name": a.name, "status": a.status, "entered": text(entered), "exited": "0", "hidden": "0", "userid": "1",
		})
	}
	return http.StatusOK, collection("automations", paged(rows, c.q), len(rows), nil), nil
}

// enrol answers 403 for an automation that is not active.
func enrol(c *call) (int, any, *refusal) {
	var in struct {
		ContactAutomation *struct {
			Contact    number `json:"contact"`
			Automation number `json:"automation"`
		} `json:"contactAutomation"`
	}
	if no := c.read(&in); no != nil {
		return 0, nil, no
	}
	if in.ContactAutomation == nil {
		return 0, nil, emptyRefusal(http.StatusBadRequest)
	}
	to := c.a.contacts[int(in.ContactAutomation.Contact)]
	if to == nil {
		return 0, nil, noResult(http.StatusNotFound, "Subscriber", text(int(in.ContactAutomation.Contact)))
	}
	for _, a := range c.a.automations {
		if a.id == int(in.ContactAutomation.Automation) && a.status == "1" {
			e := enrolment{c.a.next("contactAutomation"), to.id, a.id, c.now}
			c.a.enrolled = append(c.a.enrolled, e)
			if a.message != "" {
				c.a.messages = append(c.a.messages, Message{to.email, a.name, a.message, c.a.fieldsOf(to), c.now})
			}
			return http.StatusCreated, object{"contacts": []object{to.row()}, "contactAutomation": e.row()}, nil
		}
	}
	return 0, nil, &refusal{http.StatusForbidden, object{"message": "Could not create SubscriberSeries"}}
}

func (e enrolment) row() object {
	return object{
		"id": text(e.id), "contact": text(e.contact), "automation": text(e.automation), "seriesid": text(e.automation),
		"status": "1", "adddate": stamp(e.at), "remdate": nil, "links": object{},
	}
}

func (a *account) enrolments(to *contact) []object {
	rows := []object{}
	for _, e := range a.enrolled {
		if e.contact == to.id {
			rows = append(rows, e.row())
		}
	}
	return rows
}

func contactAutomations(c *call) (int, any, *refusal) {
	to, no := c.contact()
	if no != nil {
		return 0, nil, no
	}
	rows := c.a.enrolments(to)
	return http.StatusOK, collection("contactAutomations", paged(rows, c.q), len(rows), nil), nil
}

// endEnrolment answers 403 for one that does not exist.
func endEnrolment(c *call) (int, any, *refusal) {
	for i, e := range c.a.enrolled {
		if e.id == c.id("id") {
			c.a.enrolled = append(c.a.enrolled[:i], c.a.enrolled[i+1:]...)
			return http.StatusOK, object{}, nil
		}
	}
	return 0, nil, noResult(http.StatusForbidden, "SubscriberSeries", c.path("id"))
}
