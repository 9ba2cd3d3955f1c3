package activecampaign

import (
	"net/http"
	"slices"
	"sort"
	"strconv"
	"strings"
)

func listFields(c *call) (int, any, *refusal) {
	var rows []*field
	for _, f := range c.a.fields {
		if v := c.q.Get("filters[perstag]"); v != "" && !strings.EqualFold(v, f.perstag) {
			continue
		}
		if v := c.q.Get("filters[title]"); v != "" && !strings.EqualFold(v, f.title) {
			continue
		}
		rows = append(rows, f)
	}
	var out, options []object
	for _, f := range paged(rows, c.q) {
		out = append(out, f.row())
		options = append(options, f.optionRows()...)
	}
	if options == nil {
		options = []object{}
	}
	return http.StatusOK, collection("fields", out, len(rows), object{"fieldOptions": options, "fieldRels": []object{}}), nil
}

func (f *field) optionRows() []object {
	var rows []object
	for i, o := range f.options {
		rows = append(rows, object{
			"id": text(f.id*100 + i), "field": text(f.id), "value": o, "label": o, "orderid": text(i), "isdefault": "0",
		})
	}
	return rows
}

func getField(c *call) (int, any, *refusal) {
	f := c.a.fieldByID(c.id("id"))
	if f == nil {
		return 0, nil, noResult(http.StatusNotFound, "Field", c.path("id"))
	}
	return http.StatusOK, object{"field": f.row(), "fieldOptions": f.optionRows()}, nil
}

func fieldOptions(c *call) (int, any, *refusal) {
	f := c.a.fieldByID(c.id("id"))
	if f == nil {
		return 0, nil, noResult(http.StatusNotFound, "Field", c.path("id"))
	}
	return http.StatusOK, collection("fieldOptions", f.optionRows(), len(f.options), nil), nil
}

func createField(c *call) (int, any, *refusal) {
	var in struct {
		Field *struct{ Title, Type, Perstag string }
	}
	if no := c.read(&in); no != nil {
		return 0, nil, no
	}
	if in.Field == nil || in.Field.Title == "" || in.Field.Type == "" {
		return 0, nil, &refusal{http.StatusBadRequest, object{"errors": []string{"Field title is required", "Field type must be of type string"}}}
	}
	for _, f := range c.a.fields {
		if strings.EqualFold(f.title, in.Field.Title) {
			return 0, nil, invalid("There is already a field with this title",
				"There is already a field named '"+in.Field.Title+"' -- choose another name", "duplicate", "")
		}
	}
	f := &field{id: c.a.next("field"), title: in.Field.Title, kind: in.Field.Type, perstag: in.Field.Perstag, created: c.now}
	if f.perstag == "" {
		f.perstag = perstagOf(f.title)
	}
	c.a.fields = append(c.a.fields, f)
	return http.StatusCreated, object{"field": f.row()}, nil
}

// perstagOf derives a tag; the provider's rule is not documented.
func perstagOf(title string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z':
			return r - 'a' + 'A'
		case r >= 'A' && r <= 'Z', r >= '0' && r <= '9':
			return r
		}
		return '_'
	}, title)
}

// deleteField takes the field and its values away.
func deleteField(c *call) (int, any, *refusal) {
	f := c.a.fieldByID(c.id("id"))
	if f == nil {
		return 0, nil, noResult(http.StatusNotFound, "Field", c.path("id"))
	}
	c.a.fields = slices.DeleteFunc(c.a.fields, func(other *field) bool { return other == f })
	for _, to := range c.a.contacts {
		if v := to.values[f.id]; v != nil {
			delete(to.values, f.id)
			delete(c.a.values, v.id)
		}
	}
	return http.StatusOK, object{}, nil
}

func createFieldOptions(c *call) (int, any, *refusal) {
	var in struct {
		FieldOptions []struct {
			Field number `json:"field"`
			Value plain  `json:"value"`
		} `json:"fieldOptions"`
	}
	if c.read(&in) != nil || len(in.FieldOptions) == 0 {
		return 0, nil, &refusal{http.StatusUnprocessableEntity, object{
			"errors": "Bulk operation failed. Request must contain an array of fieldOption objects.",
		}}
	}
	rows := []object{}
	for _, o := range in.FieldOptions {
		f := c.a.fieldByID(int(o.Field))
		if f == nil {
			return 0, nil, invalid("The related field does not exist.", "", "related_missing", "field")
		}
		f.options = append(f.options, string(o.Value))
		all := f.optionRows()
		rows = append(rows, all[len(all)-1])
	}
	return http.StatusCreated, object{"fieldOptions": rows}, nil
}

type valueInput struct {
	FieldValue *struct {
		Contact number `json:"contact"`
		Field   number `json:"field"`
		Value   *plain `json:"value"`
	} `json:"fieldValue"`
}

func setFieldValue(c *call) (int, any, *refusal) {
	var in valueInput
	if no := c.read(&in); no != nil {
		return 0, nil, no
	}
	if in.FieldValue == nil || in.FieldValue.Value == nil {
		return 0, nil, missingAttribute("value")
	}
	to := c.a.contacts[int(in.FieldValue.Contact)]
	if to == nil {
		return 0, nil, invalid("The related contact does not exist.", "", "related_missing", "contact")
	}
	if c.a.fieldByID(int(in.FieldValue.Field)) == nil {
		return 0, nil, invalid("The related field does not exist.", "", "related_missing", "field")
	}
	v := c.a.setValue(to, int(in.FieldValue.Field), string(*in.FieldValue.Value), c.now)
	c.a.remember(to, c.now, []wroteValue{{v.field, v.value}})
	return http.StatusOK, object{"contacts": []contactRow{to.row()}, "fieldValue": v.row()}, nil
}

func updateFieldValue(c *call) (int, any, *refusal) {
	if c.a.values[c.id("id")] == nil {
		return 0, nil, noResult(http.StatusNotFound, "FieldValue", c.path("id"))
	}
	return setFieldValue(c)
}

// getFieldValue answers 403 for a row that does not exist, as the provider does.
func getFieldValue(c *call) (int, any, *refusal) {
	v := c.a.values[c.id("id")]
	if v == nil {
		return 0, nil, noResult(http.StatusForbidden, "FieldValue", c.path("id"))
	}
	return http.StatusOK, object{"fieldValue": v.row()}, nil
}

func listFieldValues(c *call) (int, any, *refusal) {
	var rows []*fieldValue
	for _, v := range c.a.values {
		if n, err := strconv.Atoi(c.q.Get("filters[fieldid]")); err == nil && n != v.field {
			continue
		}
		if want := c.q.Get("filters[val]"); want != "" && want != v.value {
			continue
		}
		rows = append(rows, v)
	}
	sort.Slice(rows, func(i, j int) bool { return rows[i].id < rows[j].id })
	var out []valueRow
	for _, v := range paged(rows, c.q) {
		out = append(out, v.row())
	}
	return http.StatusOK, collection("fieldValues", out, len(rows), nil), nil
}

func contactFieldValues(c *call) (int, any, *refusal) {
	to, no := c.contact()
	if no != nil {
		return 0, nil, no
	}
	rows := c.a.valueRows(to)
	return http.StatusOK, collection("fieldValues", paged(rows, c.q), len(rows), nil), nil
}
