package activecampaign

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
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
func collection(name string, rows []object, total int, more object) object {
	if rows == nil {
		rows = []object{}
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

func (c *contact) row() object {
	return object{
		"id": text(c.id), "email": c.email, "firstName": c.first, "lastName": c.last, "phone": c.phone,
		"cdate": stamp(c.created), "udate": stamp(c.updated), "orgid": "0", "orgname": "", "organization": nil,
		"deleted": "0", "anonymized": "0", "bounced_hard": "0", "bounced_soft": "0", "bounced_date": "0000-00-00",
		"deleted_at": "0000-00-00 00:00:00", "edate": nil, "hash": fmt.Sprintf("%032x", c.id), "scoreValues": []object{},
		"created_utc_timestamp": c.created.UTC().Format(time.DateTime),
		"updated_utc_timestamp": c.updated.UTC().Format(time.DateTime),
		"links":                 object{"contactTags": "/api/3/contacts/" + text(c.id) + "/contactTags"},
	}
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

func (v *fieldValue) row() object {
	return object{
		"id": text(v.id), "contact": text(v.contact), "field": text(v.field), "value": v.value, "owner": text(v.contact),
		"cdate": stamp(v.created), "udate": stamp(v.updated), "created_by": nil, "updated_by": nil, "links": object{},
	}
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
