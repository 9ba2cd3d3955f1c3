package getresponse

import (
	"context"
	"encoding/json"
	"fmt"
	"sort"
	"strings"
	"time"

	"github.com/tillstream/tillstream/outbound"
	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/sinks"
)

// writer writes to one account. It is safe for use by several goroutines.
type writer struct {
	api              *client
	list, phoneField string
	now              func() time.Time
	catalogue        *catalogue
	people           *people
	joins            *people // by list and address: who was put on a list and does not show up yet
	// transactional: messages go out as transactional e-mails, from sender; mails are those that are known to be a command's.
	transactional bool
	sender        string
	mails         *idSet
	unnamed       *idSet // keys of contacts that have a mail of a command's whose id is not known
}

// Close implements sinks.Writer; idle connections belong to the client's maker.
func (w *writer) Close() error { return nil }

// Write implements sinks.Writer.
func (w *writer) Write(ctx context.Context, batch []schemas.Command) []sinks.Outcome {
	out := make([]sinks.Outcome, len(batch))
	for i := range batch {
		if err := ctx.Err(); err != nil {
			out[i] = sinks.Outcome{Kind: sinks.Retryable, Err: fmt.Errorf("not tried: %w", err)}
			continue
		}
		out[i] = w.one(ctx, &batch[i])
		if out[i].Account {
			// What the account refuses to this command, it refuses to the rest.
			for j := i + 1; j < len(batch); j++ {
				out[j] = out[i]
				out[j].Exchanges = nil
			}
			break
		}
	}
	return out
}

func (w *writer) one(ctx context.Context, cmd *schemas.Command) sinks.Outcome {
	ctx, rec := outbound.Record(ctx)
	var o sinks.Outcome
	switch {
	case cmd.Kind == schemas.CommandContact:
		o = w.contact(ctx, &cmd.Contact).outcome(false)
	case cmd.Kind == schemas.CommandEffect && cmd.Effect != nil:
		o = w.effect(ctx, cmd)
	default:
		o = reject("report this as a bug", "getresponse has no command of kind %.40q without an effect", cmd.Kind).outcome(false)
	}
	o.Exchanges = w.scrub(rec.Exchanges())
	return o
}

// scrub takes our own key out of recorded exchanges, should an answer repeat it in a form that nobody foresaw.
func (w *writer) scrub(list []schemas.Exchange) []schemas.Exchange {
	for i := range list {
		for _, text := range []*string{&list[i].URL, &list[i].Request, &list[i].Response, &list[i].Error} {
			*text = strings.ReplaceAll(*text, w.api.key.Reveal(), "***")
		}
	}
	return list
}

// desired is a contact's desired state in GetResponse's terms.
type desired struct {
	email, name string
	values      []fieldValue // to be set
	empty       []string     // ids of fields to be emptied
	fields      map[string]field
	add, remove []string          // tag ids
	names       map[string]string // of these tags
	unknown     []string          // tags to be added that the account does not have, where none are made
	scored      bool
	score       json.Number // with scored; empty: the score is to be removed
}

type fieldValue struct {
	ID    string   `json:"customFieldId"`
	Value []string `json:"value"`
}

type tagRef struct {
	ID string `json:"tagId"`
}

// desire looks fields and tags up. A field that does not exist refuses the command: leaving it out would drop data that
// somebody asked for. With create, tags are made where they are missing.
func (w *writer) desire(ctx context.Context, c *schemas.Contact, create bool) (*desired, *failure) {
	d := &desired{email: strings.TrimSpace(c.Email), fields: map[string]field{}, names: map[string]string{}}
	d.name = strings.TrimSpace(strings.TrimSpace(c.FirstName) + " " + strings.TrimSpace(c.LastName))
	if r := []rune(d.name); len(r) > contactNameMax {
		d.name = strings.TrimSpace(string(r[:contactNameMax]))
	}
	if fail := w.fields(ctx, c, d); fail != nil {
		return nil, fail
	}
	set, fail := tagsOf(c.Tags, c.NoTags)
	if fail != nil {
		return nil, fail
	}
	for _, name := range set.add {
		id, fail := w.catalogue.tag(ctx, name, create)
		switch {
		case fail != nil:
			return nil, fail
		case id == "":
			d.unknown = append(d.unknown, name)
		default:
			d.add, d.names[id] = append(d.add, id), name
		}
	}
	for _, name := range set.remove {
		id, fail := w.catalogue.tag(ctx, name, false)
		if fail != nil {
			return nil, fail
		}
		if id != "" {
			d.remove, d.names[id] = append(d.remove, id), name
		}
	}
	return d, nil
}

// fields fills in the mapped values and the phone number. Two mapped names that are one field are refused.
func (w *writer) fields(ctx context.Context, c *schemas.Contact, d *desired) *failure {
	names := make([]string, 0, len(c.Fields))
	for name := range c.Fields {
		names = append(names, name)
	}
	sort.Strings(names)
	var missing, wrong []string
	take := func(f field, value string) {
		values, err := f.format(value)
		_, twice := d.fields[f.id]
		switch {
		case twice:
			wrong = append(wrong, "field "+f.name+" is mapped twice")
			return
		case err != nil:
			wrong = append(wrong, err.Error())
			return
		case values == nil:
			d.empty = append(d.empty, f.id)
		default:
			d.values = append(d.values, fieldValue{f.id, values})
		}
		d.fields[f.id] = f
	}
	for _, name := range names {
		f, ok, fail := w.catalogue.find(ctx, name)
		switch {
		case fail != nil:
			return fail
		case !ok && isScore(name):
			if err := d.setScore(c.Fields[name]); err != nil {
				wrong = append(wrong, err.Error())
			}
		case !ok:
			missing = append(missing, name)
		default:
			take(f, c.Fields[name])
		}
	}
	if c.Phone != "" {
		f, ok, fail := w.phone(ctx)
		if fail != nil {
			return fail
		}
		if _, mapped := d.fields[f.id]; ok && !mapped {
			take(f, c.Phone)
		} else if !ok && w.phoneField != "" {
			missing = append(missing, w.phoneField+" (phone_field)")
		}
	}
	switch {
	case len(missing) > 0:
		return reject("create the custom field in GetResponse or change the mapping, and replay",
			"no such custom field in getresponse: %s", shorten(strings.Join(missing, ", ")))
	case len(wrong) > 0:
		return reject("change the mapping, or the field's type or values in GetResponse, and replay", "%s", shorten(strings.Join(wrong, "; ")))
	}
	return nil
}

// phone is the custom field of phone numbers. The one that is taken without being configured may be missing.
func (w *writer) phone(ctx context.Context) (field, bool, *failure) {
	name := w.phoneField
	if name == "" {
		name = defaultPhone
	}
	return w.catalogue.find(ctx, name)
}
