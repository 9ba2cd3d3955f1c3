package getresponse

import (
	"container/list"
	"strings"
	"sync"
	"time"
)

// personAge bounds how long an address's contact is taken for known. A contact that is gone or has another address is
// noticed at once all the same, because its details are read before it is written.
const personAge = 30 * time.Minute

// queueSteps are the pauses after which a created contact is looked for, as GetResponse's own guide advises; the last
// one is repeated until queuePatience is over.
var queueSteps = []time.Duration{
	5 * time.Second, 15 * time.Second, 30 * time.Second, time.Minute, 2 * time.Minute, 5 * time.Minute,
}

// queuePatience is how long a created contact may take to show up: twice what the guide's pauses come to.
const queuePatience = 20 * time.Minute

// people remembers addresses: which contact one is, or that its creation is in GetResponse's queue. The least recently
// used go first.
type people struct {
	mu      sync.Mutex
	max     int
	now     func() time.Time
	order   *list.List // of *person, most recent first
	byEmail map[string]*list.Element
}

type person struct {
	email string
	id    string    // of the contact; "" while it is in the queue
	until time.Time // for id
	// created is when the creation was accepted, and looks how often it was looked for since.
	created time.Time
	looks   int
}

func newPeople(max int, now func() time.Time) *people {
	return &people{max: max, now: now, order: list.New(), byEmail: map[string]*list.Element{}}
}

// get returns what is known of the address; the zero person: nothing.
func (p *people) get(email string) person {
	p.mu.Lock()
	defer p.mu.Unlock()
	e, ok := p.byEmail[strings.ToLower(email)]
	if !ok {
		return person{}
	}
	x := e.Value.(*person)
	if x.id != "" && !p.now().Before(x.until) {
		p.drop(e)
		return person{}
	}
	p.order.MoveToFront(e)
	return *x
}

// is notes the address's contact.
func (p *people) is(email, id string) {
	p.put(person{email: strings.ToLower(email), id: id, until: p.now().Add(personAge)})
}

// queued notes that the creation of the address's contact was accepted, and returns when to look for it.
func (p *people) queued(email string) time.Duration {
	p.put(person{email: strings.ToLower(email), created: p.now()})
	return queueSteps[0]
}

// looked counts a look in vain, and returns when to look again.
func (p *people) looked(email string) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	e, ok := p.byEmail[strings.ToLower(email)]
	if !ok {
		return queueSteps[0]
	}
	x := e.Value.(*person)
	x.looks = min(x.looks+1, len(queueSteps)-1)
	return queueSteps[x.looks]
}

// forget drops what is known of the address.
func (p *people) forget(email string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if e, ok := p.byEmail[strings.ToLower(email)]; ok {
		p.drop(e)
	}
}

func (p *people) put(x person) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if e, ok := p.byEmail[x.email]; ok {
		p.drop(e)
	}
	p.byEmail[x.email] = p.order.PushFront(&x)
	if p.order.Len() > p.max {
		p.drop(p.order.Back())
	}
}

func (p *people) drop(e *list.Element) {
	p.order.Remove(e)
	delete(p.byEmail, e.Value.(*person).email)
}
