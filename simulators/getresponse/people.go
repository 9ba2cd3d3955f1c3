package getresponse

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// Bounds of a contact's parts. That of a text is not documented.
const (
	nameCharsMax  = 128
	noteCharsMax  = 255
	valueCharsMax = 255
)

type tagRef struct {
	TagID string `json:"tagId"`
}

type valueOf struct {
	CustomFieldID string   `json:"customFieldId"`
	Value         []string `json:"value"`
}

type listRef struct {
	CampaignID string `json:"campaignId"`
}

// contactBody is what creating and updating take.
type contactBody struct {
	Email      *string         `json:"email"`
	Name       *string         `json:"name"`
	Campaign   *listRef        `json:"campaign"`
	DayOfCycle json.RawMessage `json:"dayOfCycle"`
	Scoring    json.RawMessage `json:"scoring"`
	IPAddress  string          `json:"ipAddress"`
	Note       *string         `json:"note"`
	Tags       *[]tagRef       `json:"tags"`
	Values     *[]valueOf      `json:"customFieldValues"`
}

// read decodes a body. A member that the API does not have is refused: whether GetResponse does, is not documented.
func read(body []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return invalid("body", "The body is not understood: "+err.Error())
	}
	return nil
}

func tooLong(field string) error {
	return refuse(400, 1007, "Value is too long", "Value is too long", object{"fieldName": field})
}

// decimalForm and the others are the forms of values by type; those of datetime and phone are not documented.
var (
	emailForm   = regexp.MustCompile(`^[^@\s]+@[^@\s]+\.[^@\s.]+$`)
	decimalForm = regexp.MustCompile(`^-?[0-9]+(\.[0-9]+)?$`)
	phoneForm   = regexp.MustCompile(`^\+?[0-9]{5,15}$`)
	isoForm     = regexp.MustCompile(`^[A-Z]{3}$`)
)

// check refuses values that the field does not take.
func (f *field) check(values []string) error {
	wrong := func(why string) error { return invalid(f.name, why) }
	if len(values) == 0 {
		return wrong("Value is required")
	}
	if len(values) > 1 && f.format != "multi_select" && f.format != "checkbox" {
		return wrong("The field takes one value")
	}
	for _, v := range values {
		if utf8.RuneCountInString(v) > valueCharsMax && f.format != "textarea" {
			return tooLong(f.name)
		}
		var err error
		good := v != ""
		switch f.kind {
		case "number":
			good = decimalForm.MatchString(v)
		case "date":
			_, err = time.Parse(time.DateOnly, v)
		case "datetime":
			_, err = time.Parse(time.DateTime, v)
		case "currency":
			good = isoForm.MatchString(v)
		case "phone":
			good = phoneForm.MatchString(v)
		case "ip":
			_, err = netip.ParseAddr(v)
		case "url":
			var u *url.URL
			u, err = url.Parse(v)
			good = err == nil && u.Host != ""
		}
		if !good || err != nil {
			return wrong("Value is not valid for the type of the field")
		}
		if len(f.values) > 0 && !slices.Contains(f.values, v) {
			return wrong("Value is not on the list of the field's values")
		}
	}
	return nil
}

// checkParts refuses tags, fields and texts that cannot be written. s.mu is held.
func (s *Server) checkParts(in *contactBody) error {
	if in.Name != nil && (*in.Name == "" || utf8.RuneCountInString(*in.Name) > nameCharsMax) {
		return tooLong("name")
	}
	if in.Note != nil && utf8.RuneCountInString(*in.Note) > noteCharsMax {
		return tooLong("note")
	}
	if n := string(in.Scoring); n != "" && n != "null" && !decimalForm.MatchString(n) {
		return refuse(400, 1006, "Wrong type", "The score is no number", object{"fieldName": "scoring"})
	}
	if in.Tags != nil {
		for _, t := range *in.Tags {
			if s.tagByID(t.TagID) == nil {
				return related("tag", t.TagID)
			}
		}
	}
	if in.Values != nil {
		for _, v := range *in.Values {
			f := s.fieldByID(v.CustomFieldID)
			if f == nil {
				return related("customField", v.CustomFieldID)
			}
			if err := f.check(v.Value); err != nil {
				return err
			}
		}
	}
	return nil
}

// createContact answers 202 with nothing: the contact shows up after the queue, if ever.
func (s *Server) createContact(_ *http.Request, body []byte) (answerTo, error) {
	var in contactBody
	if err := read(body, &in); err != nil {
		return answerTo{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	accepted := answerTo{status: http.StatusAccepted}
	switch {
	case in.Email == nil || !emailForm.MatchString(*in.Email):
		return answerTo{}, invalid("email", "Value is not a valid email address")
	case in.Campaign == nil || in.Campaign.CampaignID == "":
		return answerTo{}, refuse(400, 1005, "Value is missing", "Required value is missing", object{"fieldName": "campaign"})
	}
	l := s.listByID(in.Campaign.CampaignID)
	if l == nil {
		return answerTo{}, related("campaign", in.Campaign.CampaignID)
	}
	if err := s.checkParts(&in); err != nil {
		return answerTo{}, err
	}
	email := strings.ToLower(*in.Email)
	switch {
	case s.full():
		return answerTo{}, refuse(400, 1027, "Contacts limit reached", "The limit of contacts of your plan is reached", nil)
	case s.blocklisted(email):
		return answerTo{}, refuse(400, 1002, "State of the resource does not allow the action", "The contact cannot be added", object{"fieldName": "email"})
	case s.onList(email, l) != nil:
		if s.onList(email, l).shown(s.o.Now()) {
			return answerTo{}, taken(*in.Email)
		}
		return accepted, nil // still in the queue, or waiting for a confirmation: queued again, which changes nothing
	case s.dropped(email):
		return accepted, nil
	}
	c := s.addContact(*in.Email, "", l)
	c.visible, c.unconfirmed = s.o.Now().Add(s.o.CreateDelay), l.double
	s.apply(c, &in)
	return accepted, nil
}

// blocklisted reports whether an address is refused. Whether people who left may be added again is open: GetResponse
// documents a refusal without its conditions. The twin refuses for bounces and complaints, and lets the rest in, so that a
// client has to see to it for itself. s.mu is held.
func (s *Server) blocklisted(email string) bool {
	return among(s.faults.Reject, email) || slices.ContainsFunc(s.byEmail[email], func(c *contact) bool {
		return slices.Contains([]string{"bounce", "complaint", "blacklisted"}, c.gone)
	})
}

// dropped reports whether the queue loses a creation that it accepted. s.mu is held.
func (s *Server) dropped(email string) bool {
	return among(s.faults.Drop, email) || s.faults.DropRate > 0 && s.chance.Float64() < s.faults.DropRate
}

// full reports whether the plan has room for no further contact. s.mu is held.
func (s *Server) full() bool {
	return s.faults.ContactsMax > 0 && len(s.contacts) >= s.faults.ContactsMax
}

// apply writes what the body names; tags and values replace all. s.mu is held.
func (s *Server) apply(c *contact, in *contactBody) {
	if in.Name != nil {
		c.name = *in.Name
	}
	if n := string(in.Scoring); n == "null" {
		c.scoring = "0"
	} else if n != "" {
		c.scoring = json.Number(n)
	}
	if in.Tags != nil {
		c.tags = nil
		addTags(c, *in.Tags)
	}
	if in.Values != nil {
		clear(c.values)
		setValues(c, *in.Values)
	}
	s.changed(c)
}

func addTags(c *contact, tags []tagRef) {
	for _, t := range tags {
		if !slices.Contains(c.tags, t.TagID) {
			c.tags = append(c.tags, t.TagID)
		}
	}
}

func setValues(c *contact, values []valueOf) {
	for _, v := range values {
		c.values[v.CustomFieldID] = slices.Clone(v.Value)
	}
}

func (s *Server) updateContact(r *http.Request, body []byte) (answerTo, error) {
	var in contactBody
	if err := read(body, &in); err != nil {
		return answerTo{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	c, err := s.live(r)
	if err == nil {
		err = s.checkParts(&in)
	}
	if err != nil {
		return answerTo{}, err
	}
	if in.Campaign != nil {
		l := s.listByID(in.Campaign.CampaignID)
		if l == nil {
			return answerTo{}, related("campaign", in.Campaign.CampaignID)
		}
		if other := s.onList(c.email, l); other != nil && other != c {
			return answerTo{}, taken(c.email)
		}
		c.list = l
	}
	s.apply(c, &in)
	return answerTo{status: 200, body: s.details(c)}, nil
}

func (s *Server) deleteContact(r *http.Request, _ []byte) (answerTo, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, err := s.live(r)
	if err != nil {
		return answerTo{}, err
	}
	s.remove(c, "api")
	return answerTo{status: http.StatusNoContent}, nil
}

// upsertFields sets the values that it names and leaves the others.
func (s *Server) upsertFields(r *http.Request, body []byte) (answerTo, error) {
	var in struct {
		Values []valueOf `json:"customFieldValues"`
	}
	if err := read(body, &in); err != nil {
		return answerTo{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	c, err := s.live(r)
	if err == nil {
		err = s.checkParts(&contactBody{Values: &in.Values})
	}
	if err != nil {
		return answerTo{}, err
	}
	setValues(c, in.Values)
	s.changed(c)
	out := []object{}
	for _, v := range in.Values {
		out = append(out, object{"customFieldId": v.CustomFieldID, "values": v.Value})
	}
	return answerTo{status: 200, body: out}, nil
}

// upsertTags adds tags and leaves the others.
func (s *Server) upsertTags(r *http.Request, body []byte) (answerTo, error) {
	var in struct {
		Tags []tagRef `json:"tags"`
	}
	if err := read(body, &in); err != nil {
		return answerTo{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	c, err := s.live(r)
	if err == nil {
		err = s.checkParts(&contactBody{Tags: &in.Tags})
	}
	if err != nil {
		return answerTo{}, err
	}
	addTags(c, in.Tags)
	s.changed(c)
	out := []object{}
	for _, id := range c.tags {
		if t := s.tagByID(id); t != nil {
			out = append(out, t.show())
		}
	}
	return answerTo{status: 200, body: out}, nil
}

// searchContacts knows conditions on the address only.
func (s *Server) searchContacts(r *http.Request, body []byte) (answerTo, error) {
	var in struct {
		Types    []string `json:"subscribersType"`
		Operator string   `json:"sectionLogicOperator"`
		Section  []struct {
			Lists      []string `json:"campaignIdsList"`
			Operator   string   `json:"logicOperator"`
			Cycle      []string `json:"subscriberCycle"`
			Date       string   `json:"subscriptionDate"`
			Conditions []struct {
				Type         string `json:"conditionType"`
				OperatorType string `json:"operatorType"`
				Operator     string `json:"operator"`
				Value        string `json:"value"`
			} `json:"conditions"`
		} `json:"section"`
	}
	if err := read(body, &in); err != nil {
		return answerTo{}, err
	}
	if len(in.Types) == 0 || in.Operator == "" || len(in.Section) != 1 || len(in.Section[0].Cycle) == 0 || in.Section[0].Date != "all_time" ||
		len(in.Section[0].Conditions) != 1 || in.Section[0].Operator == "" {
		return answerTo{}, invalid("section", "The twin knows one section with one condition, of all time")
	}
	sec := in.Section[0]
	c0 := sec.Conditions[0]
	if c0.Type != "email" || c0.OperatorType != "string_operator" || c0.Operator != "is" {
		return answerTo{}, invalid("conditions", "The twin knows conditions on the email only")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var found []*contact
	for _, c := range s.byEmail[strings.ToLower(c0.Value)] {
		if slices.Contains(sec.Lists, c.list.id) && slices.Contains(in.Types, c.state(s.o.Now())) {
			found = append(found, c)
		}
	}
	return paged(r, found, func(c *contact) object {
		out := object{
			"contactId": c.id, "name": c.name, "email": c.email, "origin": "api", "dayOfCycle": nil, "createdOn": stamp(c.created),
			"campaign": c.list.reference(), "score": nil, "reason": nil, "deletedOn": nil,
		}
		if c.gone != "" {
			out["reason"], out["deletedOn"] = c.gone, stamp(c.goneAt)
		}
		return out
	})
}

// state is the contact's kind among subscribers: "" while it is in the queue.
func (c *contact) state(now time.Time) string {
	switch {
	case c.gone == "bounce":
		return "undelivered"
	case c.gone != "":
		return "removed"
	case now.Before(c.visible):
		return ""
	case c.unconfirmed:
		return "unconfirmed"
	}
	return "subscribed"
}

// Confirm has a person confirm to be on a list with double opt-in.
func (s *Server) Confirm(email string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.byEmail[strings.ToLower(email)] {
		c.unconfirmed = false
	}
}

// Subscribe has a person sign up for a list by themselves.
func (s *Server) Subscribe(email, name, listID string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.listByID(listID)
	if l == nil {
		return fmt.Errorf("getresponse simulator: there is no list %q", listID)
	}
	if s.onList(email, l) == nil {
		s.changed(s.addContact(email, name, l))
	}
	return nil
}

// ChangeEmail has a person change their address on all lists.
func (s *Server) ChangeEmail(from, to string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	moved := s.byEmail[strings.ToLower(from)]
	delete(s.byEmail, strings.ToLower(from))
	for _, c := range moved {
		c.email = to
	}
	s.byEmail[strings.ToLower(to)] = append(s.byEmail[strings.ToLower(to)], moved...)
}
