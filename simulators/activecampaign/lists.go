package activecampaign

import (
	"net/http"
	"slices"
	"strings"
	"time"
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
	m := c.a.member(to, l.id, int(in.ContactList.Status), in.ContactList.SourceID == 4, c.now)
	return http.StatusOK, object{"contacts": []contactRow{to.row()}, "contactList": m.row()}, nil
}

// member sets what the contact is to the list; who left it is brought back only on purpose.
func (a *account) member(to *contact, listID, status int, back bool, now time.Time) *membership {
	m := to.lists[listID]
	if m == nil {
		m = &membership{id: a.next("contactList"), contact: to.id, list: listID, created: now}
		to.lists[listID] = m
	}
	left := m.status == statusUnsubscribed || m.status == statusBounced
	if !left || status != statusActive || back {
		m.status = status
	}
	return m
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
		rows = append(rows, object{
			"id": text(a.id), "name": a.name, "status": a.status, "entered": text(a.entered), "exited": "0", "hidden": "0", "userid": "1",
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
			e := c.a.start(to, a, "api", c.now)
			return http.StatusCreated, object{"contacts": []contactRow{to.row()}, "contactAutomation": e.row()}, nil
		}
	}
	return 0, nil, &refusal{http.StatusForbidden, object{"message": "Could not create SubscriberSeries"}}
}

func (e *enrolment) row() object {
	return object{
		"id": text(e.id), "contact": text(e.contact), "automation": text(e.automation), "seriesid": text(e.automation),
		"startid": "0", "status": "1", "batchid": nil, "adddate": stamp(e.at), "remdate": nil, "timespan": nil, "lastblock": "0",
		"lastdate": stamp(e.at), "completedElements": "0", "totalElements": "1", "completed": 0, "completeValue": 0, "links": object{},
	}
}

func enrolments(to *contact) []object {
	rows := make([]object, 0, len(to.starts))
	for _, e := range to.starts {
		rows = append(rows, e.row())
	}
	return rows
}

func contactAutomations(c *call) (int, any, *refusal) {
	to, no := c.contact()
	if no != nil {
		return 0, nil, no
	}
	rows := enrolments(to)
	return http.StatusOK, collection("contactAutomations", paged(rows, c.q), len(rows), nil), nil
}

// endEnrolment answers 403 for one that does not exist.
func endEnrolment(c *call) (int, any, *refusal) {
	e := c.a.enrolled[c.id("id")]
	if e == nil {
		return 0, nil, noResult(http.StatusForbidden, "SubscriberSeries", c.path("id"))
	}
	delete(c.a.enrolled, e.id)
	if to := c.a.contacts[e.contact]; to != nil {
		to.starts = slices.DeleteFunc(to.starts, func(other *enrolment) bool { return other == e })
	}
	return http.StatusOK, object{}, nil
}

// listMessages are what automations send; each has a message of its own.
func listMessages(c *call) (int, any, *refusal) {
	var rows []object
	for _, a := range c.a.automations {
		if a.message != "" {
			rows = append(rows, object{"id": text(a.id), "name": a.name, "subject": a.message, "userid": "1", "links": object{}})
		}
	}
	return http.StatusOK, collection("messages", paged(rows, c.q), len(rows), nil), nil
}
