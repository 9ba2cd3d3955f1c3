package activecampaign

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

type object map[string]any

// A refusal is an answer in one of the provider's error shapes.
type refusal struct {
	code int
	body any
}

func answer(w http.ResponseWriter, code int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(body)
}

// noResult is the shape that names the provider's class; code is 404, or 403 on some routes.
func noResult(code int, class, id string) *refusal {
	return &refusal{code, object{"message": fmt.Sprintf("No Result found for %s with id %s", class, id)}}
}

// invalid is the shape of validation errors.
func invalid(title, detail, code, attribute string) *refusal {
	row := object{"title": title, "detail": detail, "code": code}
	if attribute != "" {
		row["source"] = object{"pointer": "/data/attributes/" + attribute}
	}
	return &refusal{http.StatusUnprocessableEntity, object{"errors": []object{row}}}
}

// missingAttribute is the shape with a status inside, used by contactTags and lists.
func missingAttribute(attribute string) *refusal {
	return &refusal{http.StatusUnprocessableEntity, object{"errors": []object{{
		"status": http.StatusUnprocessableEntity, "title": "Missing attribute",
		"source": object{"pointer": "/data/attributes/" + attribute},
	}}}}
}

func notFound(detail string) *refusal {
	return &refusal{http.StatusNotFound, object{"errors": []object{{
		"status": http.StatusNotFound, "title": "Not Found", "detail": detail,
	}}}}
}

func emptyRefusal(code int) *refusal { return &refusal{code, object{}} }

// denied is the shape that names what is not permitted.
func denied(area string) *refusal {
	return &refusal{http.StatusForbidden, object{"errors": []object{{
		"status": http.StatusForbidden, "title": "Forbidden", "detail": "You do not have permission to view " + area + ".",
	}}}}
}

func forbidden() *refusal { return &refusal{http.StatusForbidden, object{"message": "Forbidden"}} }

// offset -05:00: the provider answers in the account's time zone.
var zone = time.FixedZone("", -5*60*60)

func stamp(t time.Time) string { return t.In(zone).Format("2006-01-02T15:04:05-07:00") }

func text(id int) string { return strconv.Itoa(id) }

// paged cuts rows as the query says: limit 20 unless asked, at most 100, offset from zero.
func paged[T any](rows []T, q url.Values) []T {
	limit, err := strconv.Atoi(q.Get("limit"))
	if err != nil || limit <= 0 {
		limit = pageDefault
	}
	limit = min(limit, pageMax)
	offset, err := strconv.Atoi(q.Get("offset"))
	if err != nil || offset < 0 {
		offset = 0
	}
	if offset >= len(rows) {
		return nil
	}
	return rows[offset:min(len(rows), offset+limit)]
}

// collection is the envelope of a list: rows, and the total as a string.
func collection[T any](name string, rows []T, total int, more object) object {
	if rows == nil {
		rows = []T{}
	}
	out := object{name: rows, "meta": object{"total": text(total)}}
	for k, v := range more {
		out[k] = v
	}
	return out
}

// number reads an id that may be written as a number or a string.
type number int

// UnmarshalJSON implements json.Unmarshaler.
func (n *number) UnmarshalJSON(b []byte) error {
	var s string
	if json.Unmarshal(b, &s) != nil {
		s = string(b)
	}
	if s == "" || s == "null" {
		return nil
	}
	v, err := strconv.Atoi(s)
	if err != nil {
		return fmt.Errorf("id %q is no number", s)
	}
	*n = number(v)
	return nil
}

// plain reads a value that may be written as a string or a number.
type plain string

// UnmarshalJSON implements json.Unmarshaler.
func (p *plain) UnmarshalJSON(b []byte) error {
	var s string
	if json.Unmarshal(b, &s) == nil {
		*p = plain(s)
		return nil
	}
	if string(b) != "null" {
		*p = plain(b)
	}
	return nil
}

// contactRow is a contact as the API shows it.
type contactRow struct {
	ID           string            `json:"id"`
	Email        string            `json:"email"`
	FirstName    string            `json:"firstName"`
	LastName     string            `json:"lastName"`
	Phone        string            `json:"phone"`
	Created      string            `json:"cdate"`
	Updated      string            `json:"udate"`
	OrgID        string            `json:"orgid"`
	OrgName      string            `json:"orgname"`
	Organization *string           `json:"organization"`
	Deleted      string            `json:"deleted"`
	Anonymized   string            `json:"anonymized"`
	BouncedHard  string            `json:"bounced_hard"`
	BouncedSoft  string            `json:"bounced_soft"`
	BouncedDate  string            `json:"bounced_date"`
	DeletedAt    string            `json:"deleted_at"`
	EDate        *string           `json:"edate"`
	Hash         string            `json:"hash"`
	ScoreValues  []string          `json:"scoreValues"`
	CreatedUTC   string            `json:"created_utc_timestamp"`
	UpdatedUTC   string            `json:"updated_utc_timestamp"`
	Links        map[string]string `json:"links"`
	// Of a contact just written.
	FieldValues []string `json:"fieldValues,omitempty"`
	EmailEmpty  *bool    `json:"email_empty,omitempty"`
}

func (c *contact) row() contactRow {
	id := text(c.id)
	row := contactRow{
		ID: id, Email: c.email, FirstName: c.first, LastName: c.last, Phone: c.phone, Created: stamp(c.created), Updated: stamp(c.updated),
		OrgID: "0", Deleted: "0", Anonymized: "0", BouncedHard: "0", BouncedSoft: "0", BouncedDate: "0000-00-00",
		DeletedAt: "0000-00-00 00:00:00", Hash: ("00000000000000000000000000000000" + id)[len(id):], ScoreValues: []string{},
		CreatedUTC: c.created.UTC().Format(time.DateTime), UpdatedUTC: c.updated.UTC().Format(time.DateTime),
		Links: map[string]string{"contactTags": "/api/3/contacts/" + id + "/contactTags"},
	}
	if c.bounced {
		row.BouncedHard, row.BouncedDate = "1", c.updated.UTC().Format(time.DateOnly)
	}
	return row
}

func (f *field) row() object {
	options := make([]string, len(f.options))
	for i := range f.options {
		options[i] = text(f.id*100 + i)
	}
	return object{
		"id": text(f.id), "title": f.title, "perstag": f.perstag, "type": f.kind, "descript": nil, "isrequired": "0",
		"defval": nil, "visible": "1", "ordernum": text(f.id), "cdate": stamp(f.created), "udate": stamp(f.created),
		"options": options, "relations": []string{}, "show_in_list": "0", "rows": "0", "cols": "0", "service": "",
		"links": object{"options": "/api/3/fields/" + text(f.id) + "/options"},
	}
}

// valueRow is a value as the API shows it.
type valueRow struct {
	ID        string   `json:"id"`
	Contact   string   `json:"contact"`
	Field     string   `json:"field"`
	Value     string   `json:"value"`
	Owner     string   `json:"owner"`
	Created   string   `json:"cdate"`
	Updated   string   `json:"udate"`
	CreatedBy *string  `json:"created_by"`
	UpdatedBy *string  `json:"updated_by"`
	Links     struct{} `json:"links"`
}

func (v *fieldValue) row() valueRow {
	contact := text(v.contact)
	return valueRow{ID: text(v.id), Contact: contact, Field: text(v.field), Value: v.value, Owner: contact, Created: stamp(v.created), Updated: stamp(v.updated)}
}

func (t *tag) row() object {
	return object{
		"id": text(t.id), "tag": t.name, "tagType": t.kind, "description": t.description, "cdate": stamp(t.created),
		"links": object{"contactGoalTags": "/api/3/tags/" + text(t.id) + "/contactGoalTags"},
	}
}

func (l *contactTag) row() object {
	return object{
		"id": text(l.id), "contact": text(l.contact), "tag": text(l.tag), "cdate": stamp(l.created),
		"links": object{"contact": "/" + text(l.contact) + "/contact", "tag": "/" + text(l.tag) + "/tag"},
	}
}

func (m *membership) row() object {
	return object{
		"id": text(m.id), "contact": text(m.contact), "list": text(m.list), "status": text(m.status),
		"created_timestamp": stamp(m.created), "links": object{},
	}
}

func lower(text string) string { return strings.ToLower(text) }
