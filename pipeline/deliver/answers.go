package deliver

import (
	"container/list"
	"strings"
	"time"

	"github.com/tillstream/tillstream/schemas"
)

// Bounds of what is remembered of answers.
const (
	answersRememberedMax = 10_000 // people
	listsRememberedMax   = 50     // of one person
)

// remembered is what a destination said.
type remembered struct {
	standing schemas.Standing
	asOf     time.Time
}

// answers remembers for a while what accounts said about people, least recently used out first. Whatever else is sent
// for a person may change what he is to a list, and so makes it forget him. Deliverer.mu guards it.
type answers struct {
	max   int
	order *list.List // of *person, most recent first
	byKey map[string]*list.Element
}

type person struct {
	key string
	// changed is when something was last on its way that may have changed what was said before or meanwhile.
	changed time.Time
	lists   map[string]remembered
}

func newAnswers(max int) *answers {
	return &answers{max: max, order: list.New(), byKey: map[string]*list.Element{}}
}

func personKey(account, email string) string {
	return account + "\x00" + schemas.NormalizeEmail(email)
}

func listKey(name string) string { return strings.ToLower(strings.TrimSpace(name)) }

// get returns what was said no longer than age ago.
func (a *answers) get(account, email string, question *schemas.Effect, now time.Time, age time.Duration) (remembered, bool) {
	el := a.byKey[personKey(account, email)]
	if el == nil || question == nil || question.Type != schemas.QuestionOnList {
		return remembered{}, false
	}
	a.order.MoveToFront(el)
	r, ok := el.Value.(*person).lists[listKey(question.Name)]
	return r, ok && now.Sub(r.asOf) < age && !now.Before(r.asOf)
}

// set remembers an answer, unless something was on its way since it was asked for.
func (a *answers) set(account, email, name string, r remembered) {
	p := a.person(personKey(account, email))
	if !r.asOf.After(p.changed) {
		return
	}
	if len(p.lists) >= listsRememberedMax {
		clear(p.lists)
	}
	p.lists[listKey(name)] = r
}

// forget drops what is known of a person, and what he is being asked at this moment too.
func (a *answers) forget(account, email string, now time.Time) {
	if schemas.NormalizeEmail(email) == "" {
		return
	}
	p := a.person(personKey(account, email))
	p.changed = now
	clear(p.lists)
}

func (a *answers) person(key string) *person {
	if el := a.byKey[key]; el != nil {
		a.order.MoveToFront(el)
		return el.Value.(*person)
	}
	p := &person{key: key, lists: map[string]remembered{}}
	a.byKey[key] = a.order.PushFront(p)
	if a.order.Len() > a.max {
		last := a.order.Back()
		a.order.Remove(last)
		delete(a.byKey, last.Value.(*person).key)
	}
	return p
}
