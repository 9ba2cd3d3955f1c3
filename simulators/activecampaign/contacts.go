package activecampaign

import (
	"maps"
	"net/http"
	"net/mail"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"
)

type contactInput struct {
	Contact *struct {
		Email       *string `json:"email"`
		FirstName   *string `json:"firstName"`
		LastName    *string `json:"lastName"`
		Phone       *plain  `json:"phone"`
		FieldValues []struct {
			Field number `json:"field"`
			Value plain  `json:"value"`
		} `json:"fieldValues"`
	} `json:"contact"`
}

// check reads and judges a contact. The exact code of an invalid address is not documented.
func (in *contactInput) check(c *call, emailNeeded bool) *refusal {
	if no := c.read(in); no != nil {
		return no
	}
	if in.Contact == nil {
		return emptyRefusal(http.StatusBadRequest)
	}
	if in.Contact.Email == nil {
		if emailNeeded {
			return invalid("The contact email address was not provided.", "", "field_missing", "email")
		}
	} else {
		*in.Contact.Email = strings.TrimSpace(*in.Contact.Email)
		addr, err := mail.ParseAddress(*in.Contact.Email)
		if err != nil || addr.Address != *in.Contact.Email || c.a.refused(*in.Contact.Email) {
			return invalid("Contact Email Address is not valid.", "", "field_invalid", "email")
		}
	}
	for i, v := range in.Contact.FieldValues {
		if c.a.fieldByID(int(v.Field)) == nil {
			// Not documented for contact writes; taken from other relations.
			return invalid("The related field does not exist.", "", "related_missing", "field")
		}
		if len(v.Value) > c.s.opts.ValueCharsMax {
			return invalid("The value is too long.", "Field "+text(int(v.Field))+" takes at most "+text(c.s.opts.ValueCharsMax)+" characters.",
				"field_invalid", "fieldValues/"+text(i)+"/value")
		}
	}
	return nil
}

// apply writes what is named and leaves the rest.
func (in *contactInput) apply(c *call, to *contact) []valueRow {
	if in.Contact.FirstName != nil {
		to.first = *in.Contact.FirstName
	}
	if in.Contact.LastName != nil {
		to.last = *in.Contact.LastName
	}
	if in.Contact.Phone != nil {
		to.phone = string(*in.Contact.Phone)
	}
	var wrote []wroteValue
	for _, v := range in.Contact.FieldValues {
		c.a.setValue(to, int(v.Field), string(v.Value), c.now)
		wrote = append(wrote, wroteValue{int(v.Field), string(v.Value)})
	}
	c.a.remember(to, c.now, wrote)
	return c.a.valueRows(to)
}

// valueRows are the contact's values in the order of their fields.
func (a *account) valueRows(c *contact) []valueRow {
	rows := make([]valueRow, 0, len(c.values))
	for _, id := range slices.Sorted(maps.Keys(c.values)) {
		rows = append(rows, c.values[id].row())
	}
	return rows
}

func (s *Server) noteContact(now time.Time) {
	if s.stats.FirstContact.IsZero() {
		s.stats.FirstContact = now
	}
}

// writtenContact is what a write of a contact answers.
type writtenContact struct {
	FieldValues []valueRow `json:"fieldValues"`
	Contact     contactRow `json:"contact"`
}

func written(c *contact, rows []valueRow) writtenContact {
	row, empty := c.row(), c.email == ""
	row.FieldValues, row.EmailEmpty = make([]string, len(rows)), &empty
	for i, r := range rows {
		row.FieldValues[i] = r.ID
	}
	return writtenContact{rows, row}
}

// syncContact is the upsert by address.
func syncContact(c *call) (int, any, *refusal) {
	var in contactInput
	if no := in.check(c, true); no != nil {
		return 0, nil, no
	}
	code := c.s.opts.SyncUpdateStatus
	to := c.a.byEmail[lower(*in.Contact.Email)]
	if to == nil {
		code = http.StatusCreated
		to = c.a.addContact(*in.Contact.Email, c.now)
		c.s.noteContact(c.now)
	}
	return code, written(to, in.apply(c, to)), nil
}

func createContact(c *call) (int, any, *refusal) {
	var in contactInput
	if no := in.check(c, true); no != nil {
		return 0, nil, no
	}
	if c.a.byEmail[strings.ToLower(*in.Contact.Email)] != nil {
		return 0, nil, invalid("Email address already exists in the system", "", "duplicate", "email")
	}
	to := c.a.addContact(*in.Contact.Email, c.now)
	c.s.noteContact(c.now)
	return http.StatusCreated, written(to, in.apply(c, to)), nil
}

func updateContact(c *call) (int, any, *refusal) {
	to, no := c.contact()
	if no != nil {
		return 0, nil, no
	}
	var in contactInput
	if no := in.check(c, false); no != nil {
		return 0, nil, no
	}
	if e := in.Contact.Email; e != nil {
		if other := c.a.byEmail[strings.ToLower(*e)]; other != nil && other != to {
			return 0, nil, invalid("Email address already exists in the system", "", "duplicate", "email")
		}
		delete(c.a.byEmail, strings.ToLower(to.email))
		to.email = *e
		c.a.byEmail[strings.ToLower(*e)] = to
	}
	return http.StatusOK, written(to, in.apply(c, to)), nil
}

// contact finds the contact of the path.
func (c *call) contact() (*contact, *refusal) {
	if to := c.a.contacts[c.id("id")]; to != nil {
		return to, nil
	}
	return nil, noResult(http.StatusNotFound, "Subscriber", c.path("id"))
}

func deleteContact(c *call) (int, any, *refusal) {
	to, no := c.contact()
	if no != nil {
		return 0, nil, no
	}
	c.a.removeContact(to)
	return http.StatusOK, object{}, nil
}

func getContact(c *call) (int, any, *refusal) {
	to, no := c.contact()
	if no != nil {
		return 0, nil, no
	}
	lists := make([]object, 0, len(to.lists))
	for _, l := range c.a.lists {
		if m := to.lists[l.id]; m != nil {
			lists = append(lists, m.row())
		}
	}
	return http.StatusOK, object{
		"contact": to.row(), "fieldValues": c.a.valueRows(to), "contactLists": lists, "contactAutomations": enrolments(to),
		"deals": []object{}, "geoAddresses": []object{}, "geoIps": []object{},
	}, nil
}

func listContacts(c *call) (int, any, *refusal) {
	var rows []*contact
	candidates := []*contact{}
	if email := c.q.Get("email"); email == "" {
		candidates = c.a.sortedContacts()
	} else if to := c.a.byEmail[lower(email)]; to != nil {
		candidates = append(candidates, to)
	}
	for _, to := range candidates {
		if c.matches(to) {
			rows = append(rows, to)
		}
	}
	c.order(rows)
	var out []contactRow
	for _, to := range paged(rows, c.q) {
		out = append(out, to.row())
	}
	return http.StatusOK, collection("contacts", out, len(rows), object{"scoreValues": []object{}}), nil
}

// matches applies the filters of GET /contacts but the address, which is compared whole, before.
func (c *call) matches(to *contact) bool {
	has := func(text, part string) bool { return strings.Contains(strings.ToLower(text), strings.ToLower(part)) }
	q := c.q
	if v := q.Get("email_like"); v != "" && !has(to.email, v) {
		return false
	}
	if v := q.Get("phone"); v != "" && v != to.phone {
		return false
	}
	if v := q.Get("search"); v != "" && !has(to.email+" "+to.first+" "+to.last+" "+to.phone, v) {
		return false
	}
	if n, err := strconv.Atoi(q.Get("tagid")); err == nil && to.tags[n] == nil {
		return false
	}
	if n, err := strconv.Atoi(q.Get("listid")); err == nil && to.lists[n] == nil {
		return false
	}
	if n, err := strconv.Atoi(q.Get("id_greater")); err == nil && to.id <= n {
		return false
	}
	if n, err := strconv.Atoi(q.Get("id_less")); err == nil && to.id >= n {
		return false
	}
	if ids := q["ids[]"]; len(ids) > 0 && !slices.Contains(ids, text(to.id)) {
		return false
	}
	if t, err := time.Parse(time.RFC3339, q.Get("filters[created_after]")); err == nil && !to.created.After(t) {
		return false
	}
	if t, err := time.Parse(time.RFC3339, q.Get("filters[updated_after]")); err == nil && !to.updated.After(t) {
		return false
	}
	return true
}

func (c *call) order(rows []*contact) {
	for name, key := range map[string]func(*contact) string{
		"email": func(x *contact) string { return x.email }, "first_name": func(x *contact) string { return x.first },
		"last_name": func(x *contact) string { return x.last },
	} {
		if dir := c.q.Get("orders[" + name + "]"); dir != "" {
			desc := strings.EqualFold(dir, "DESC")
			sort.SliceStable(rows, func(i, j int) bool { return (key(rows[i]) < key(rows[j])) != desc })
			return
		}
	}
	if strings.EqualFold(c.q.Get("orders[id]"), "DESC") || strings.EqualFold(c.q.Get("orders[cdate]"), "DESC") {
		slices.Reverse(rows)
	}
}

func me(c *call) (int, any, *refusal) {
	return http.StatusOK, object{"user": object{
		"id": "1", "username": "admin", "firstName": "Account", "lastName": "Owner", "email": "admin@" + c.s.opts.Account + ".example",
		"phone": "", "signature": nil, "links": object{"lists": "https://" + c.s.opts.Account + ".api-us1.com/api/3/users/1/lists"},
	}}, nil
}
