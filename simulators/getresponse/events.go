package getresponse

import (
	"encoding/json"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"
)

// customEvent is a defined custom event. Server.mu guards it.
type customEvent struct {
	id, name   string
	created    time.Time
	attributes []eventAttribute
}

type eventAttribute struct {
	Name string `json:"name"`
	Type string `json:"type"`
}

// Triggered is one triggered custom event.
type Triggered struct {
	Event      string            `json:"event"`
	ContactID  string            `json:"contact_id"`
	Email      string            `json:"email"`
	Attributes map[string]string `json:"attributes"` // values as JSON shows them
	At         time.Time         `json:"at"`
}

// Triggered returns the custom events that were triggered, in order.
func (s *Server) Triggered() []Triggered {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.triggered)
}

func (e *customEvent) show() object {
	attributes := []object{}
	for i, a := range e.attributes {
		attributes = append(attributes, object{"customEventAttributeId": e.id + strconv.Itoa(i), "name": a.Name, "type": a.Type})
	}
	return object{
		"customEventId": e.id, "name": e.name, "attributes": attributes, "createdOn": stamp(e.created),
		"href": "https://api.getresponse.com/v3/custom-events/" + e.id,
	}
}

func (s *Server) listEvents(r *http.Request, _ []byte) (answerTo, error) {
	if err := known(r, "query[name]", "query[hasAttributes]", "sort[name]"); err != nil {
		return answerTo{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return paged(r, named(r, s.events, func(e *customEvent) string { return e.name }), (*customEvent).show)
}

var eventName = regexp.MustCompile(`^[a-z0-9_]{3,64}$`)

// eventValueCharsMax bounds the text of an attribute.
const eventValueCharsMax = 255

func (s *Server) createEvent(_ *http.Request, body []byte) (answerTo, error) {
	var in struct {
		Name       string            `json:"name"`
		Attributes *[]eventAttribute `json:"attributes"`
	}
	if err := read(body, &in); err != nil {
		return answerTo{}, err
	}
	if !eventName.MatchString(in.Name) || in.Attributes == nil {
		return answerTo{}, invalid("name", "Value does not match the pattern, or attributes are missing")
	}
	for _, a := range *in.Attributes {
		if !eventName.MatchString(a.Name) || !slices.Contains([]string{"string", "number", "datetime", "boolean"}, a.Type) {
			return answerTo{}, invalid("attributes", "An attribute's name or type is not valid")
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.eventByName(in.Name) != nil {
		return answerTo{}, taken(in.Name)
	}
	e := &customEvent{id: s.id(), name: in.Name, created: s.o.Now(), attributes: *in.Attributes}
	s.events = append(s.events, e)
	return answerTo{status: 201, body: e.show()}, nil
}

func (s *Server) eventByName(name string) *customEvent {
	for _, e := range s.events {
		if e.name == name {
			return e
		}
	}
	return nil
}

// triggerEvent answers 201 with nothing, and GetResponse shows nobody that it happened: the log is the twin's own.
func (s *Server) triggerEvent(_ *http.Request, body []byte) (answerTo, error) {
	var in struct {
		Name       string `json:"name"`
		ContactID  string `json:"contactId"`
		Attributes []struct {
			Name  string          `json:"name"`
			Value json.RawMessage `json:"value"`
		} `json:"attributes"`
	}
	if err := read(body, &in); err != nil {
		return answerTo{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	e, c := s.eventByName(in.Name), s.contacts[in.ContactID]
	if e == nil {
		return answerTo{}, notFound("name", in.Name)
	}
	if c == nil || !c.shown(s.o.Now()) {
		return answerTo{}, notFound("contactId", in.ContactID)
	}
	values := map[string]string{}
	for _, a := range in.Attributes {
		var text string
		defined := slices.ContainsFunc(e.attributes, func(x eventAttribute) bool { return x.Name == a.Name })
		if !defined || json.Unmarshal(a.Value, &text) == nil && (text == "" || utf8.RuneCountInString(text) > eventValueCharsMax) {
			return answerTo{}, invalid("attributes", "The attribute "+a.Name+" is not defined or its value is not valid")
		}
		values[a.Name] = string(a.Value)
		if text != "" {
			values[a.Name] = text
		}
	}
	s.triggered = append(s.triggered, Triggered{Event: in.Name, ContactID: c.id, Email: c.email, Attributes: values, At: s.o.Now()})
	s.enterWorkflows(in.Name, c.email)
	return answerTo{status: 201}, nil
}

// DefineEvent has a person define a custom event; attributes are texts.
func (s *Server) DefineEvent(name string, attributes ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := &customEvent{id: s.id(), name: name, created: s.o.Now()}
	for _, a := range attributes {
		e.attributes = append(e.attributes, eventAttribute{a, "string"})
	}
	s.events = append(s.events, e)
}

// DeleteEvent has a person delete the definition of a custom event.
func (s *Server) DeleteEvent(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.events = slices.DeleteFunc(s.events, func(e *customEvent) bool { return e.name == name })
}
