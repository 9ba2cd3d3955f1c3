package activecampaign

import (
	"context"
	"fmt"
	"math/big"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/tillstream/tillstream/outbound"
	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/sinks"
)

var _ sinks.Verifier = (*writer)(nil)

// Verify implements sinks.Verifier with two requests, and a third where tags are meant.
func (w *writer) Verify(ctx context.Context, want schemas.Contact) (sinks.Comparison, sinks.Outcome) {
	ctx, rec := outbound.Record(ctx)
	got, fail := w.compare(ctx, &want)
	o := fail.outcome(false)
	o.Exchanges = w.scrub(rec.Exchanges())
	if fail != nil {
		got = sinks.Comparison{}
	}
	return got, o
}

// person is a contact as GET /contacts/{id} shows it.
type person struct {
	Contact struct {
		FirstName   string   `json:"firstName"`
		LastName    string   `json:"lastName"`
		Phone       string   `json:"phone"`
		BouncedHard flexible `json:"bounced_hard"`
	} `json:"contact"`
	FieldValues []struct {
		Field flexible `json:"field"`
		Value *string  `json:"value"`
	} `json:"fieldValues"`
	ContactLists []struct {
		Status flexible `json:"status"`
	} `json:"contactLists"`
}

func (w *writer) compare(ctx context.Context, want *schemas.Contact) (out sinks.Comparison, fail *failure) {
	if strings.TrimSpace(want.Email) == "" {
		return out, noAddress()
	}
	if _, fail := w.values(ctx, want.Fields); fail != nil {
		return out, fail // what Write would refuse cannot be there
	}
	absent := sinks.Comparison{Absent: true, Standing: schemas.StandingAbsent}
	id, fail := w.find(ctx, want.Email)
	if fail != nil {
		return out, fail
	}
	if id == "" {
		return absent, nil
	}
	var p person
	switch r := w.api.call(ctx, http.MethodGet, "/contacts/"+url.PathEscape(id), nil, nil); {
	case r.ok(&p):
	case r.status() == http.StatusNotFound:
		if fail := classify(r); fail.kind != failReject {
			return out, fail
		}
		return absent, nil // deleted meanwhile
	default:
		return out, classify(r)
	}
	out.Standing = p.standing()
	for _, n := range [][3]string{
		{"first name", want.FirstName, p.Contact.FirstName}, {"last name", want.LastName, p.Contact.LastName}, {"phone", want.Phone, p.Contact.Phone},
	} {
		if wanted, got := strings.TrimSpace(n[1]), strings.TrimSpace(n[2]); wanted != "" && wanted != got {
			out.Differences = append(out.Differences, sinks.Difference{Part: n[0], Want: wanted, Got: got})
		}
	}
	if fail := w.compareFields(ctx, want, &p, &out); fail != nil {
		return out, fail
	}
	return out, w.compareTags(ctx, want, id, &out)
}

// standing is that of all lists together.
func (p *person) standing() schemas.Standing {
	if n := string(p.Contact.BouncedHard); n != "" && n != "0" {
		return schemas.StandingBounced
	}
	all := map[schemas.Standing]bool{}
	for _, l := range p.ContactLists {
		all[statuses[string(l.Status)]] = true
	}
	switch {
	case len(all) != 1:
	case all[schemas.StandingUnsubscribed]:
		return schemas.StandingUnsubscribed
	case all[schemas.StandingBounced]:
		return schemas.StandingBounced
	}
	return schemas.StandingActive
}

func (w *writer) compareFields(ctx context.Context, want *schemas.Contact, p *person, out *sinks.Comparison) *failure {
	values := map[string]string{}
	for _, v := range p.FieldValues {
		if v.Value != nil {
			values[string(v.Field)] = *v.Value
		}
	}
	names := make([]string, 0, len(want.Fields))
	for name := range want.Fields {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		f, ok, fail := w.catalogue.find(ctx, name)
		if fail != nil {
			return fail
		}
		if !ok {
			return &failure{kind: failReject, cause: fmt.Sprintf("no such field in activecampaign: %.80s", name), remedy: "create the field in ActiveCampaign or change the mapping"}
		}
		wanted, err := f.format(want.Fields[name])
		if err != nil {
			return &failure{kind: failReject, cause: shorten(err.Error()), remedy: "change the mapping"}
		}
		if got := values[f.id]; !f.same(wanted, got) {
			out.Differences = append(out.Differences, sinks.Difference{Part: "field " + f.name(), Want: wanted, Got: got})
		}
	}
	return nil
}

// same compares two values in the field's own form: instants, numbers and sets of options may be written in several ways.
func (f field) same(want, got string) bool {
	want, got = tidy(want), tidy(got)
	if want == got {
		return true
	}
	switch f.kind {
	case "number":
		a, ok := new(big.Rat).SetString(want)
		b, ok2 := plainNumber(got)
		return ok && ok2 && a.Cmp(b) == 0
	case "date":
		a, err := moment(want)
		b, err2 := moment(got)
		return err == nil && err2 == nil && a.Format("2006-01-02") == b.Format("2006-01-02")
	case "datetime":
		a, err := moment(want)
		b, err2 := moment(got)
		return err == nil && err2 == nil && a.Equal(b)
	case "dropdown", "radio":
		return strings.EqualFold(strings.Trim(want, "|"), strings.Trim(got, "|"))
	case "checkbox", "listbox":
		return slices.Equal(chosen(want), chosen(got))
	}
	return false
}

// tidy takes away what an account does to texts: other ends of lines, and blanks around.
func tidy(text string) string {
	text = strings.TrimSpace(strings.ReplaceAll(text, "\r\n", "\n"))
	if text == "0000-00-00" || text == "0000-00-00 00:00:00" { // how empty dates are written
		return ""
	}
	return text
}

// plainNumber reads digits; an exponent could make a number of any size.
func plainNumber(text string) (*big.Rat, bool) {
	if strings.Trim(text, "+-.0123456789") != "" {
		return nil, false
	}
	return new(big.Rat).SetString(text)
}

// chosen are the options of ||a||b||, sorted, in small letters.
func chosen(value string) []string {
	var out []string
	for p := range strings.SplitSeq(value, "||") {
		if p = strings.ToLower(strings.TrimSpace(p)); p != "" {
			out = append(out, p)
		}
	}
	slices.Sort(out)
	return out
}

func (w *writer) compareTags(ctx context.Context, want *schemas.Contact, id string, out *sinks.Comparison) *failure {
	if len(want.Tags)+len(want.NoTags) == 0 {
		return nil
	}
	has, fail := w.links(ctx, id)
	if fail != nil && fail.status == http.StatusNotFound && fail.kind == failRetry {
		*out = sinks.Comparison{Absent: true, Standing: schemas.StandingAbsent}
		return nil
	}
	if fail != nil {
		return fail
	}
	w.contacts.all(id, has) // the next write repairs what people changed
	for _, list := range []struct {
		names []string
		meant bool
	}{{want.Tags, true}, {want.NoTags, false}} {
		for _, name := range list.names {
			tagID, fail := w.catalogue.tag(ctx, name, false)
			if fail != nil {
				return fail
			}
			d := sinks.Difference{Part: "tag " + name}
			switch there := tagID != "" && has[tagID] != ""; {
			case list.meant && !there:
				d.Want = name
			case !list.meant && there:
				d.Got = name
			default:
				continue
			}
			out.Differences = append(out.Differences, d)
		}
	}
	return nil
}
