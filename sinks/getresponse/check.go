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
	var out []sinks.Finding
	account, fail := w.owner(ctx)
	switch {
	case fail == nil:
		out = append(out, sinks.Finding{Field: "key", Message: "the API key is accepted: " + account.named()})
	case fail.code == codePermission:
		out = append(out, sinks.Finding{Field: "key", Message: "the API key is accepted, and may not read the account's name"})
	default:
		return []sinks.Finding{badFinding(fieldOf(fail), fail)}
	}
	list, good := w.checkList(ctx)
	out = append(out, list...)
	fields, tags, fail := w.catalogue.counts(ctx)
	if fail != nil {
		return append(out, badFinding("key", fail))
	}
	out = append(out, sinks.Finding{Field: "key", Message: fmt.Sprintf("%d custom fields and %d tags can be used", fields, tags)})
	out = append(out, w.checkPhone(ctx)...)
	if _, fail := w.search(ctx, noAddress); fail != nil {
		out = append(out, badFinding("key", fail))
	}
	if _, fail := w.standing(ctx, noAddress, w.list); good && fail != nil {
		fail.cause += " (without this search, people who left the list cannot be told from new ones)"
		out = append(out, badFinding("key", fail))
	}
	return append(out, w.checkParts(ctx)...)
}

func badFinding(field string, f *failure) sinks.Finding {
	return sinks.Finding{Bad: true, Field: field, Message: f.cause, Hint: f.remedy}
}

// fieldOf is the setting that a failure of the first request concerns.
func fieldOf(f *failure) string {
	switch {
	case f.code == codeHeaders || f.code == codeDomain:
		return "domain"
	case f.code != 0:
		return "key" // GetResponse itself has answered
	case f.status == 0, f.status < http.StatusBadRequest, f.remedy == remedyAddressOfAPI:
		// No connection, a redirect, or an answer that is not the API's.
		return "url"
	}
	return "key"
}

// named names the account for people.
func (a owner) named() string {
	if a.Company == "" {
		return "account " + a.ID
	}
	return fmt.Sprintf("account %s (%s)", a.ID, shorten(a.Company))
}

// checkParts looks whether the key may use what only some actions need. Custom events and the transactional e-mail that
// the settings ask for have to be there; orders and newsletters need not.
func (w *writer) checkParts(ctx context.Context) []sinks.Finding {
	var out []sinks.Finding
	for _, part := range []struct {
		field, path, without string
		needed               bool
	}{
		{"key", "/custom-events", "custom events cannot be triggered", true},
		{"messages", mailsPath + "/templates", "transactional e-mail cannot be sent", w.transactional},
		{"key", "/newsletters", "messages cannot be sent", !w.transactional},
		{"key", "/shops", "orders cannot be written", false},
	} {
		if part.field == "messages" && !part.needed {
			continue
		}
		r := w.api.call(ctx, http.MethodGet, part.path, url.Values{"perPage": {"1"}}, nil)
		var rows []json.RawMessage
		if r.ok(&rows) {
			continue
		}
		fail := classify(r)
		fail.cause += " (" + part.without + ")"
		f := badFinding(part.field, fail)
		// A part that the plan does not have is no mistake; trouble with it is.
		f.Bad = part.needed && part.path != "/newsletters" || fail.code != codePermission
		out = append(out, f)
	}
	return out
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
