package getresponse

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/tillstream/tillstream/sinks"
)

// noAddress is searched for to see whether the key may search: nobody has it (RFC 2606).
const noAddress = "nobody@tillstream.invalid"

// listsNamedMax bounds how many lists a finding names.
const listsNamedMax = 20

// Check implements sinks.Writer: key and account, the list, custom fields and tags, and the permissions that writing
// needs. It writes nothing, so that a key that may read but not write shows up with the first command.
func (w *writer) Check(ctx context.Context) []sinks.Finding {
	bad := func(field string, f *failure) sinks.Finding {
		return sinks.Finding{Bad: true, Field: field, Message: f.cause, Hint: f.remedy}
	}
	var out []sinks.Finding
	account, fail := w.account(ctx)
	switch {
	case fail == nil:
		out = append(out, sinks.Finding{Field: "key", Message: "the API key is accepted" + account})
	case fail.code == codePermission:
		out = append(out, sinks.Finding{Field: "key", Message: "the API key is accepted, and may not read the account's name"})
	case fail.code == codeHeaders || fail.code == codeDomain:
		return []sinks.Finding{bad("domain", fail)}
	case fail.remedy == remedyAddressOfAPI:
		return []sinks.Finding{bad("url", fail)}
	default:
		return []sinks.Finding{bad("key", fail)}
	}
	list, good := w.checkList(ctx)
	out = append(out, list...)
	fields, tags, fail := w.catalogue.counts(ctx)
	if fail != nil {
		return append(out, bad("key", fail))
	}
	out = append(out, sinks.Finding{Field: "key", Message: fmt.Sprintf("%d custom fields and %d tags can be used", fields, tags)})
	out = append(out, w.checkPhone(ctx)...)
	if _, fail := w.search(ctx, noAddress); fail != nil {
		out = append(out, bad("key", fail))
	}
	if _, fail := w.standing(ctx, noAddress, w.list); good && fail != nil {
		fail.cause += " (without this search, people who left the list cannot be told from new ones)"
		out = append(out, bad("key", fail))
	}
	if fail := w.catalogue.mayReadEvents(ctx); fail != nil {
		fail.cause += " (custom events cannot be triggered)"
		out = append(out, bad("key", fail))
	}
	return out
}

// account names the account for people.
func (w *writer) account(ctx context.Context) (string, *failure) {
	r := w.api.call(ctx, http.MethodGet, "/accounts", nil, nil)
	var a struct {
		ID      string `json:"accountId"`
		Company string `json:"companyName"`
	}
	switch {
	case !r.ok(&a):
		return "", classify(r)
	case a.Company != "":
		return fmt.Sprintf(": account %s (%s)", a.ID, shorten(a.Company)), nil
	}
	return ": account " + a.ID, nil
}

// checkList looks at the list that new contacts are created on. good: it is there.
func (w *writer) checkList(ctx context.Context) (out []sinks.Finding, good bool) {
	r := w.api.call(ctx, http.MethodGet, "/campaigns/"+url.PathEscape(w.list), nil, nil)
	var l struct {
		ID     string `json:"campaignId"`
		Name   string `json:"name"`
		Optins struct {
			API string `json:"api"`
		} `json:"optinTypes"`
	}
	if r.ok(&l) && l.ID == w.list {
		out = append(out, sinks.Finding{Field: "list", Message: "new contacts are created on the list " + shorten(l.Name)})
		if l.Optins.API == "double" {
			out = append(out, sinks.Finding{
				Field: "list", Message: "the list has double opt-in for the API: a new contact gets fields, tags and events only after confirming",
				Hint: "switch it off in the list's settings in GetResponse if your customers have agreed already",
			})
		}
		return out, true
	}
	fail := classify(r)
	if fail.code == codeNotFound {
		fail.cause, fail.remedy = "there is no list "+w.list, "set list to the id of one of the account's lists"
		if names, again := w.lists(ctx); again == nil && names != "" {
			fail.remedy += ": " + names
		}
	}
	return []sinks.Finding{{Bad: true, Field: "list", Message: fail.cause, Hint: fail.remedy}}, false
}

// lists names the account's lists with their ids.
func (w *writer) lists(ctx context.Context) (string, *failure) {
	var names []string
	fail := w.api.pages(ctx, "/campaigns", nil, fieldsPerPage, func(body []byte) (int, error) {
		var page []struct {
			ID   string `json:"campaignId"`
			Name string `json:"name"`
		}
		err := json.Unmarshal(body, &page)
		for _, l := range page {
			if len(names) < listsNamedMax {
				names = append(names, fmt.Sprintf("%s (%s)", l.ID, shorten(l.Name)))
			}
		}
		return len(page), err
	})
	return strings.Join(names, ", "), fail
}

func (w *writer) checkPhone(ctx context.Context) []sinks.Finding {
	_, ok, fail := w.phone(ctx)
	switch {
	case fail != nil || ok:
		return nil // the fields were read just before
	case w.phoneField != "":
		return []sinks.Finding{{
			Bad: true, Field: "phone_field", Message: "there is no custom field " + shorten(w.phoneField),
			Hint: "create it in GetResponse with the type phone, or correct phone_field",
		}}
	}
	return []sinks.Finding{{
		Field: "phone_field", Message: "phone numbers are not written: there is no custom field " + defaultPhone,
		Hint: "create one in GetResponse with the type phone, or name another in phone_field",
	}}
}
