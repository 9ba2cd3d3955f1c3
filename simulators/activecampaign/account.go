package activecampaign

import (
	"fmt"
	"maps"
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
	// Bounced: messages to the address come back for good.
	Bounced bool `json:"bounced"`
	// Versions are the states that were written, oldest first: the last 50 of a contact, or 5 once the account keeps
	// 500,000 of them.
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
	bounced                   bool
	values                    map[int]*fieldValue // by field id
	tags                      map[int]*contactTag // by tag id
	lists                     map[int]*membership // by list id
	starts                    []*enrolment
	base                      map[int]string // values before the oldest version
	versions                  []version
}

// version is one write: the names as they were after it, and the values that it wrote.
type version struct {
	at                 time.Time
	first, last, phone string
	wrote              []wroteValue
}

type wroteValue struct {
	field int
	value string
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
	entered      int
}

// account is the state; Server.mu guards it.
type account struct {
	ids         map[string]int // last id by kind of row
	contacts    map[int]*contact
	byEmail     map[string]*contact
	fields      []*field // by id
	values      map[int]*fieldValue
	tags        []*tag          // by id
	tagNames    map[string]*tag // by lower-case name
	links       map[int]*contactTag
	lists       []*list
	automations []*automation
	enrolled    map[int]*enrolment
	connections []*connection
	orders      map[string]*storeOrder      // by connection and id at the shop
	recurring   map[string]RecurringPayment // the same
	messages    []Message
	tracking    bool
	events      []string // names seen
	tracked     []Tracked
	logs        map[int][]trackingLog // by contact
	imports     []*batch
	importsEnd  string // as Options.ImportStatus
	refused     func(email string) bool
	triggers    map[string][]*automation // by what fires them
	versions    int                      // kept, over all contacts
}

type enrolment struct {
	id, contact, automation int
	at                      time.Time
	email, by               string // "api", or the trigger
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
	a.triggers = map[string][]*automation{}
	a.tagNames, a.enrolled = map[string]*tag{}, map[int]*enrolment{}
	a.orders, a.recurring = map[string]*storeOrder{}, map[string]RecurringPayment{}
	a.tracking, a.importsEnd = true, o.ImportStatus
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
	for _, x := range []automation{
		{name: "Welcome", status: "1", message: "Welcome aboard"},
		{name: "Old welcome", status: "2"},
		{name: "Payment reminder", status: "1", message: "Your payment is open"},
		{name: "Score up", status: "1"},
	} {
		a.addAutomation(x)
	}
	for n := len(a.automations) + 1; n <= o.Automations; n++ {
		a.addAutomation(automation{name: fmt.Sprintf("Automation %d", n), status: "1"})
	}
	for _, name := range o.MessageNames {
		a.addAutomation(automation{name: name, status: "1", message: name})
	}
	for _, name := range slices.Sorted(maps.Keys(o.Triggers)) {
		a.addAutomation(automation{name: name, status: "1"})
		on := strings.ToLower(o.Triggers[name])
		a.triggers[on] = append(a.triggers[on], a.automations[len(a.automations)-1])
	}
}

func (a *account) next(kind string) int {
	a.ids[kind]++
	return a.ids[kind]
}

func (a *account) addAutomation(x automation) {
	x.id = a.next("automation")
	a.automations = append(a.automations, &x)
}

func (a *account) fieldByID(id int) *field {
	i, ok := slices.BinarySearchFunc(a.fields, id, func(f *field, id int) int { return f.id - id })
	if !ok {
		return nil
	}
	return a.fields[i]
}

func (a *account) tagByName(name string) *tag { return a.tagNames[strings.ToLower(name)] }

func (a *account) tagByID(id int) *tag {
	i, ok := slices.BinarySearchFunc(a.tags, id, func(t *tag, id int) int { return t.id - id })
	if !ok {
		return nil
	}
	return a.tags[i]
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
	a.versions -= len(c.versions)
}

// setValue creates or replaces the contact's value: one row per contact and field. An empty value clears it.
func (a *account) setValue(c *contact, fieldID int, value string, now time.Time) *fieldValue {
	v := c.values[fieldID]
	if v == nil {
		v = &fieldValue{id: a.next("fieldValue"), contact: c.id, field: fieldID, created: now}
		c.values[fieldID] = v
		a.values[v.id] = v
	}
	changed := v.value != value
	v.value, v.updated = value, now
	if f := a.fieldByID(fieldID); changed && len(a.triggers) > 0 && f != nil {
		a.fire(c, "field:"+f.perstag, now)
	}
	return v
}

// remember keeps what was written as a version.
func (a *account) remember(c *contact, now time.Time, wrote []wroteValue) {
	c.updated = now
	c.versions = append(c.versions, version{now, c.first, c.last, c.phone, wrote})
	a.versions++
	keep := versionsMax
	if a.versions > versionsAllMax {
		keep = versionsFew
	}
	for len(c.versions) > keep {
		if c.base == nil {
			c.base = map[int]string{}
		}
		for _, v := range c.versions[0].wrote {
			c.base[v.field] = v.value
		}
		c.versions = slices.Delete(c.versions, 0, 1)
		a.versions--
	}
}

// history is the contact's versions as whole states.
func (a *account) history(c *contact) []Version {
	now := maps.Clone(c.base)
	if now == nil {
		now = map[int]string{}
	}
	out := make([]Version, 0, len(c.versions))
	for _, v := range c.versions {
		for _, w := range v.wrote {
			now[w.field] = w.value
		}
		fields := make(map[string]string, len(now))
		for id, value := range now {
			if f := a.fieldByID(id); f != nil && value != "" {
				fields[f.perstag] = value
			}
		}
		out = append(out, Version{v.at, v.first, v.last, v.phone, fields})
	}
	return out
}

func (a *account) fieldsOf(c *contact) map[string]string {
	out := make(map[string]string, len(c.values))
	for id, v := range c.values {
		if f := a.fieldByID(id); f != nil && v.value != "" {
			out[f.perstag] = v.value
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
	s.account.settle(s.opts.Now())
	var out []Contact
	for _, c := range s.account.sortedContacts() {
		out = append(out, s.account.show(c))
	}
	return out
}

// Contact returns the contact with this address, whatever the case.
func (s *Server) Contact(email string) (Contact, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.account.settle(s.opts.Now())
	c := s.account.byEmail[strings.ToLower(email)]
	if c == nil {
		return Contact{}, false
	}
	return s.account.show(c), true
}

func (a *account) show(c *contact) Contact {
	d := Contact{
		ID: c.id, Email: c.email, FirstName: c.first, LastName: c.last, Phone: c.phone, Bounced: c.bounced,
		Fields: a.fieldsOf(c), Lists: map[string]int{}, Created: c.created, Updated: c.updated, Versions: a.history(c),
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
	return d
}

// Tracked returns the events that reached the tracking endpoint, in order.
func (s *Server) Tracked() []Tracked {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.account.tracked)
}
