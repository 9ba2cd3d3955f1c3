package activecampaign

import (
	"fmt"
	"slices"
	"sort"
	"strings"
	"time"
)

// Contact is what the account holds about one person.
type Contact struct {
	ID        int               `json:"id"`
	Email     string            `json:"email"`
	FirstName string            `json:"first_name"`
	LastName  string            `json:"last_name"`
	Phone     string            `json:"phone"`
	Fields    map[string]string `json:"fields"` // by personalisation tag
	Tags      []string          `json:"tags"`   // sorted
	Lists     map[string]int    `json:"lists"`  // list name to status: 1 subscribed, 2 unsubscribed
	Created   time.Time         `json:"created"`
	Updated   time.Time         `json:"updated"`
	// Versions are the states that were written, oldest first, the last 50.
	Versions []Version `json:"versions"`
}

// Version is one written state of a contact.
type Version struct {
	At        time.Time         `json:"at"`
	FirstName string            `json:"first_name"`
	LastName  string            `json:"last_name"`
	Phone     string            `json:"phone"`
	Fields    map[string]string `json:"fields"`
}

// Tracked is one tracked event.
type Tracked struct {
	Email string    `json:"email"`
	Event string    `json:"event"`
	Data  string    `json:"data"`
	At    time.Time `json:"at"`
	// Known is false for an address without a contact: the event was accepted and ignored.
	Known bool `json:"known"`
}

type contact struct {
	id                        int
	email, first, last, phone string
	created, updated          time.Time
	values                    map[int]*fieldValue // by field id
	tags                      map[int]*contactTag // by tag id
	lists                     map[int]*membership // by list id
	versions                  []Version
}

type field struct {
	id                   int
	title, perstag, kind string
	options              []string
	created              time.Time
}

type fieldValue struct {
	id, contact, field int
	value              string
	created, updated   time.Time
}

type tag struct {
	id                      int
	name, kind, description string
	created                 time.Time
}

type contactTag struct {
	id, contact, tag int
	created          time.Time
}

type list struct {
	id             int
	name, stringid string
}

type membership struct {
	id, contact, list, status int
	created                   time.Time
}

type automation struct {
	id           int
	name, status string
	message      string // that it sends to whom is started on it; "": none
}

// account is the state; Server.mu guards it.
type account struct {
	ids         map[string]int // last id by kind of row
	contacts    map[int]*contact
	byEmail     map[string]*contact
	fields      []*field
	values      map[int]*fieldValue
	tags        []*tag
	links       map[int]*contactTag
	lists       []*list
	automations []*automation
	enrolled    []enrolment
	connections []*connection
	orders      map[string]*storeOrder      // by connection and id at the shop
	recurring   map[string]RecurringPayment // the same
	messages    []Message
	tracking    bool
	events      []string // names seen
	tracked     []Tracked
	logs        map[int][]trackingLog // by contact
}

type enrolment struct {
	id, contact, automation int
	at                      time.Time
}

type trackingLog struct {
	id          int
	event, data string
	at          time.Time
}

// paymentFields are what a payment pipeline maps to. They stand behind the third page of 20.
var paymentFields = []struct {
	title, perstag, kind string
	options              []string
}{
	{"Order ID", "ORDER_ID", "text", nil},
	{"Order status", "ORDER_STATUS", "text", nil},
	{"Order amount", "ORDER_AMOUNT", "number", nil},
	{"Order currency", "ORDER_CURRENCY", "text", nil},
	{"Order date", "ORDER_DATE", "datetime", nil},
	{"PayPal payer ID", "PAYPAL_PAYER_ID", "hidden", nil},
	{"Country", "COUNTRY", "text", nil},
	{"City", "CITY", "text", nil},
	{"Plan ID", "PLAN_ID", "text", nil},
	{"Subscription ID", "SUBSCRIPTION_ID", "text", nil},
	{"Subscription status", "SUBSCRIPTION_STATUS", "text", nil},
	{"Next billing", "NEXT_BILLING", "date", nil},
	{"Custom ID", "CUSTOM_ID", "textarea", nil},
	{"Interests", "INTERESTS", "checkbox", []string{"Books", "Music", "Tea"}},
	{"Last payment", "LAST_PAYMENT", "text", nil},
}

// paymentFieldsFrom is how many other fields come first: more than three pages of 20.
const paymentFieldsFrom = 64

func (a *account) init(o Options, now time.Time) {
	a.ids = map[string]int{}
	a.contacts, a.byEmail = map[int]*contact{}, map[string]*contact{}
	a.values, a.links, a.logs = map[int]*fieldValue{}, map[int]*contactTag{}, map[int][]trackingLog{}
	a.orders, a.recurring = map[string]*storeOrder{}, map[string]RecurringPayment{}
	a.tracking = true
	before := min(paymentFieldsFrom, max(0, o.Fields-len(paymentFields)))
	for n := range o.Fields {
		f := &field{id: a.next("field"), kind: "text", created: now}
		if i := n - before; i >= 0 && i < len(paymentFields) {
			p := paymentFields[i]
			f.title, f.perstag, f.kind, f.options = p.title, p.perstag, p.kind, p.options
		} else {
			f.title, f.perstag = fmt.Sprintf("Survey answer %d", n+1), fmt.Sprintf("SURVEY_ANSWER_%d", n+1)
		}
		a.fields = append(a.fields, f)
	}
	a.lists = []*list{{a.next("list"), "Customers", "customers"}, {a.next("list"), "Newsletter", "newsletter"}}
	for n := len(a.lists) + 1; n <= o.Lists; n++ {
		a.lists = append(a.lists, &list{a.next("list"), fmt.Sprintf("List %d", n), fmt.Sprintf("list-%d", n)})
	}
	for _, name := range o.ListNames {
		a.lists = append(a.lists, &list{a.next("list"), name, strings.ToLower(name)})
	}
	a.automations = []*automation{
		{a.next("automation"), "Welcome", "1", "Welcome aboard"},
		{a.next("automation"), "Old welcome", "2", ""},
		{a.next("automation"), "Payment reminder", "1", "Your payment is open"},
		{a.next("automation"), "Score up", "1", ""},
	}
	for n := len(a.automations) + 1; n <= o.Automations; n++ {
		a.automations = append(a.automations, &automation{a.next("automation"), fmt.Sprintf("Automation %d", n), "1", ""})
	}
	for _, name := range o.MessageNames {
		a.automations = append(a.automations, &automation{a.next("automation"), name, "1", name})
	}
}

func (a *account) next(kind string) int {
	a.ids[kind]++
	return a.ids[kind]
}

func (a *account) fieldByID(id int) *field {
	// Ids are dense, from 1, and fields are never deleted here.
	if id < 1 || id > len(a.fields) {
		return nil
	}
	return a.fields[id-1]
}

func (a *account) tagByName(name string) *tag {
	for _, t := range a.tags {
		if strings.EqualFold(t.name, name) {
			return t
		}
	}
	return nil
}

func (a *account) tagByID(id int) *tag {
	if id < 1 || id > len(a.tags) {
		return nil
	}
	return a.tags[id-1]
}

func (a *account) addContact(email string, now time.Time) *contact {
	c := &contact{
		id: a.next("contact"), email: email, created: now,
		values: map[int]*fieldValue{}, tags: map[int]*contactTag{}, lists: map[int]*membership{},
	}
	a.contacts[c.id] = c
	a.byEmail[strings.ToLower(email)] = c
	return c
}

func (a *account) removeContact(c *contact) {
	delete(a.contacts, c.id)
	delete(a.byEmail, strings.ToLower(c.email))
	for _, v := range c.values {
		delete(a.values, v.id)
	}
	for _, l := range c.tags {
		delete(a.links, l.id)
	}
	delete(a.logs, c.id)
}

// setValue creates or replaces the contact's value: one row per contact and field. An empty value clears it.
func (a *account) setValue(c *contact, fieldID int, value string, now time.Time) *fieldValue {
	v := c.values[fieldID]
	if v == nil {
		v = &fieldValue{id: a.next("fieldValue"), contact: c.id, field: fieldID, created: now}
		c.values[fieldID] = v
		a.values[v.id] = v
	}
	v.value, v.updated = value, now
	return v
}

// remember keeps the contact's state as a version.
func (a *account) remember(c *contact, now time.Time) {
	c.updated = now
	c.versions = append(c.versions, Version{now, c.first, c.last, c.phone, a.fieldsOf(c)})
	if len(c.versions) > versionsMax {
		c.versions = slices.Clone(c.versions[1:])
	}
}

func (a *account) fieldsOf(c *contact) map[string]string {
	out := make(map[string]string, len(c.values))
	for id, v := range c.values {
		if v.value != "" {
			out[a.fieldByID(id).perstag] = v.value
		}
	}
	return out
}

func (a *account) sortedContacts() []*contact {
	out := make([]*contact, 0, len(a.contacts))
	for _, c := range a.contacts {
		out = append(out, c)
	}
	sort.Slice(out, func(i, j int) bool { return out[i].id < out[j].id })
	return out
}

// Contacts returns all contacts in the order of their creation.
func (s *Server) Contacts() []Contact {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := &s.account
	var out []Contact
	for _, c := range a.sortedContacts() {
		d := Contact{
			ID: c.id, Email: c.email, FirstName: c.first, LastName: c.last, Phone: c.phone,
			Fields: a.fieldsOf(c), Lists: map[string]int{}, Created: c.created, Updated: c.updated,
			Versions: slices.Clone(c.versions),
		}
		for id := range c.tags {
			d.Tags = append(d.Tags, a.tagByID(id).name)
		}
		sort.Strings(d.Tags)
		for _, l := range a.lists {
			if m := c.lists[l.id]; m != nil {
				d.Lists[l.name] = m.status
			}
		}
		out = append(out, d)
	}
	return out
}

// Tracked returns the events that reached the tracking endpoint, in order.
func (s *Server) Tracked() []Tracked {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.account.tracked)
}
