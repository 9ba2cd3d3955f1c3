package activecampaign

import (
	"slices"
	"time"
)

// fire starts the contact on the automations that wait for this.
func (a *account) fire(to *contact, on string, now time.Time) {
	if len(a.triggers) == 0 {
		return
	}
	for _, x := range a.triggers[lower(on)] {
		a.start(to, x, on, now)
	}
}

// start puts the contact on the automation, once more where it was on it before.
func (a *account) start(to *contact, x *automation, by string, now time.Time) *enrolment {
	e := &enrolment{id: a.next("contactAutomation"), contact: to.id, automation: x.id, at: now, email: to.email, by: by}
	a.enrolled[e.id] = e
	delete(a.enrolled, e.id-rowsMax)
	if to.starts = append(to.starts, e); len(to.starts) > rowsOfContactMax {
		to.starts = slices.Delete(to.starts, 0, 1)
	}
	x.entered++
	if x.message != "" {
		a.messages = newest(append(a.messages, Message{to.email, x.name, x.message, a.fieldsOf(to), now}))
	}
	return e
}

// newest bounds a log: once it is a half over rowsMax, its oldest rows go.
func newest[T any](rows []T) []T {
	if len(rows) < rowsMax+rowsMax/2 {
		return rows
	}
	return append([]T(nil), rows[len(rows)-rowsMax:]...)
}
