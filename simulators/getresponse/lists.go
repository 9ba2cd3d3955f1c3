package getresponse

import (
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Bounds of the CRM part.
const (
	// DefaultFields is how many custom fields an account has unless told otherwise.
	DefaultFields = 137
	tagsShownMax  = 500 // of one contact
	// paymentFieldsFrom is how many other fields come before those of a payment: more than a page of 100.
	paymentFieldsFrom = 110
)

// list is a contact list, which the API calls a campaign.
type list struct {
	id, name string
	double   bool // contacts added by API have to confirm
}

func (l *list) reference() object {
	return object{"campaignId": l.id, "href": "https://api.getresponse.com/v3/campaigns/" + l.id, "name": l.name}
}

func (l *list) show() object {
	api := "single"
	if l.double {
		api = "double"
	}
	out := l.reference()
	out["languageCode"], out["isDefault"], out["createdOn"] = "EN", strconv.FormatBool(l.id == "C"), "2020-01-02T03:04:05+0000"
	out["optinTypes"] = object{"email": "single", "api": api, "import": "single", "webform": "single"}
	return out
}

// field is a custom field; kind is the valueType, format the widget.
type field struct {
	id, name, kind, format string
	values                 []string
	// legacy fields name their widget in type, as older ones do in real answers.
	legacy bool
}

func (f *field) show() object {
	values := f.values
	if values == nil {
		values = []string{}
	}
	out := object{
		"customFieldId": f.id, "href": "https://api.getresponse.com/v3/custom-fields/" + f.id, "name": f.name, "fieldType": f.format,
		"valueType": f.kind, "type": f.kind, "format": f.format, "hidden": "false", "values": values,
	}
	if f.legacy {
		out["type"] = f.format
		delete(out, "format")
	}
	return out
}

type tag struct {
	id, name string
	created  time.Time
}

func (t *tag) show() object {
	return object{"tagId": t.id, "href": "https://api.getresponse.com/v3/tags/" + t.id, "createdAt": stamp(t.created), "name": t.name, "color": ""}
}

// paymentFields are what a payment pipeline maps to.
var paymentFields = []field{
	{name: "order_id", kind: "string", format: "text", legacy: true},
	{name: "order_status", kind: "string", format: "text"},
	{name: "order_amount", kind: "number", format: "text"},
	{name: "order_currency", kind: "currency", format: "text"},
	{name: "order_date", kind: "datetime", format: "text"},
	{name: "next_billing", kind: "date", format: "text"},
	{name: "phone", kind: "phone", format: "text"},
	{name: "age", kind: "string", format: "single_select", legacy: true, values: []string{"18-29", "30-44", "45-59", "60+", "<18"}},
	{name: "interests", kind: "string", format: "multi_select", values: []string{"Books", "Music", "Tea"}},
	{name: "gender", kind: "gender", format: "single_select", values: []string{"Male", "Female", "Prefer not to say"}},
	{name: "last_ip", kind: "ip", format: "text"},
	{name: "invoice_url", kind: "url", format: "text"},
	{name: "notes", kind: "string", format: "textarea"},
}

// initCRM makes lists and fields. Their ids are not drawn, so that those of orders do not depend on them.
func (s *Server) initCRM() {
	s.lists = []*list{{"C", "Promo campaign", false}, {"V", "Newsletter", false}, {"D", "Confirmed only", true}}
	s.tagsByKey = map[string]*tag{}
	for i := range s.o.Lists {
		s.lists = append(s.lists, &list{id: "L" + itoa(int64(i+1)), name: fmt.Sprintf("List %d", i+1)})
	}
	for i := range s.o.Tags {
		s.addTag(fmt.Sprintf("tag_%d", i+1))
	}
	n := s.o.Fields
	if n <= 0 {
		n = DefaultFields
	}
	before := min(paymentFieldsFrom, max(0, n-len(paymentFields)))
	for i := range n {
		f := field{name: fmt.Sprintf("survey_answer_%d", i+1), kind: "string", format: "text"}
		if j := i - before; j >= 0 && j < len(paymentFields) {
			f = paymentFields[j]
		}
		f.id = "cf" + strconv.FormatInt(int64(i+1), 36)
		s.fields = append(s.fields, &f)
	}
}

func itoa(n int64) string { return strconv.FormatInt(n, 10) }

func (s *Server) listByID(id string) *list {
	for _, l := range s.lists {
		if l.id == id {
			return l
		}
	}
	return nil
}

func (s *Server) fieldByID(id string) *field {
	for _, f := range s.fields {
		if f.id == id {
			return f
		}
	}
	return nil
}

func (s *Server) tagByID(id string) *tag { return s.tagsByKey[id] }

// AddField has a person make a custom field of texts.
func (s *Server) AddField(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fields = append(s.fields, &field{id: s.id(), name: name, kind: "string", format: "text"})
}

// DeleteField has a person delete a custom field; contacts lose its values.
func (s *Server) DeleteField(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fields = slices.DeleteFunc(s.fields, func(f *field) bool { return f.name == name })
}

// DeleteTag has a person delete a tag; contacts lose it.
func (s *Server) DeleteTag(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.tagsByKey["/"+strings.ToLower(name)]
	if t == nil {
		return
	}
	delete(s.tagsByKey, t.id)
	delete(s.tagsByKey, "/"+strings.ToLower(name))
	s.tags = slices.DeleteFunc(s.tags, func(x *tag) bool { return x == t })
	for _, c := range s.contacts {
		c.tags = slices.DeleteFunc(c.tags, func(id string) bool { return id == t.id })
	}
}

func (s *Server) listCampaigns(r *http.Request, _ []byte) (answerTo, error) {
	if err := known(r, "query[name]", "query[isDefault]", "sort[name]", "sort[createdOn]"); err != nil {
		return answerTo{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return paged(r, named(r, s.lists, func(l *list) string { return l.name }), (*list).show)
}

func (s *Server) getCampaign(r *http.Request, _ []byte) (answerTo, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.listByID(r.PathValue("id"))
	if l == nil {
		return answerTo{}, notFound("campaignId", r.PathValue("id"))
	}
	return answerTo{status: 200, body: l.show()}, nil
}

// named are the entries whose name holds what the query asks for.
func named[T any](r *http.Request, all []T, name func(T) string) []T {
	want := strings.ToLower(r.URL.Query().Get("query[name]"))
	var out []T
	for _, x := range all {
		if strings.Contains(strings.ToLower(name(x)), want) {
			out = append(out, x)
		}
	}
	return out
}

func (s *Server) listFields(r *http.Request, _ []byte) (answerTo, error) {
	if err := known(r, "query[name]", "sort[name]"); err != nil {
		return answerTo{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return paged(r, named(r, s.fields, func(f *field) string { return f.name }), (*field).show)
}

func (s *Server) listTags(r *http.Request, _ []byte) (answerTo, error) {
	if err := known(r, "query[name]", "sort[name]", "sort[createdAt]"); err != nil {
		return answerTo{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return paged(r, named(r, s.tags, func(t *tag) string { return t.name }), (*tag).show)
}

var tagName = regexp.MustCompile(`^[_a-zA-Z0-9]{2,64}$`)

// createTag treats names that differ by case only as the same: the documentation does not say.
func (s *Server) createTag(_ *http.Request, body []byte) (answerTo, error) {
	var in struct {
		Name  string `json:"name"`
		Color string `json:"color"`
	}
	if err := read(body, &in); err != nil {
		return answerTo{}, err
	}
	if !tagName.MatchString(in.Name) {
		return answerTo{}, invalid("name", "Value does not match the pattern")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.tagsByKey["/"+strings.ToLower(in.Name)] != nil {
		return answerTo{}, taken(in.Name)
	}
	return answerTo{status: 201, body: s.addTag(in.Name).show()}, nil
}

// addTag makes a tag. s.mu is held.
func (s *Server) addTag(name string) *tag {
	t := &tag{id: s.id(), name: name, created: s.o.Now()}
	s.tags, s.tagsByKey[t.id], s.tagsByKey["/"+strings.ToLower(name)] = append(s.tags, t), t, t
	return t
}

// AddTag has a person make a tag.
func (s *Server) AddTag(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.addTag(name)
}

func taken(value string) error {
	return refuse(409, 1008, "There is another resource with the same value of unique property", "Property value is already taken", object{"value": value})
}

// related says that something that the body names does not exist.
func related(name, id string) error {
	return refuse(400, 1001, "There was a problem with a related resource", "Related resource not found", object{"resourceType": name, "id": id})
}
