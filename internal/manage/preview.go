package manage

import (
	"context"
	"errors"
	"fmt"
	"net/mail"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/tillstream/tillstream/api"
	"github.com/tillstream/tillstream/internal/app"
	"github.com/tillstream/tillstream/pipeline/config"
	"github.com/tillstream/tillstream/processors"
	"github.com/tillstream/tillstream/processors/automation"
	"github.com/tillstream/tillstream/processors/mapping"
	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/sinks"
)

// PreviewResult is what a mapping would make of one event.
type PreviewResult struct {
	Mapping       string                   `json:"mapping"`
	Destination   string                   `json:"destination"`
	ConfigVersion string                   `json:"config_version"`
	Event         PreviewEvent             `json:"event"`
	Fits          bool                     `json:"fits"`          // the mapping is about such events
	Why           string                   `json:"why,omitempty"` // it is not, or makes nothing of it
	Fields        []PreviewField           `json:"fields"`        // in the order of the mapping
	Before        *schemas.Contact         `json:"before"`        // as it was last asked of the destination; null: nothing is known
	After         *schemas.Contact         `json:"after"`         // null: nothing would be asked
	Effects       []PreviewEffect          `json:"effects"`       // that would be sent besides
	Requests      []api.PreviewRequestBody `json:"requests"`      // that the destination would get for the contact
	NotChecked    []string                 `json:"not_checked"`   // what could not be looked at
	Masked        bool                     `json:"masked"`        // personal data is
	contactKey    string
}

type PreviewEvent struct {
	ID     string `json:"id"`
	Type   string `json:"type"`
	Source string `json:"connection"`
	Status string `json:"status"`
	Sample bool   `json:"sample"` // made of the samples of the connector's catalogue
}

type PreviewField struct {
	To    string `json:"to"`
	From  string `json:"from"`
	As    string `json:"as,omitempty"`
	Value string `json:"value"`
	Type  string `json:"type,omitempty"` // of the field at the destination
	// Issue is why there is no value, or why the destination would refuse it.
	Issue string `json:"issue,omitempty"`
	at    string // place in the file
}

type PreviewEffect struct {
	Type string `json:"type"`
	Name string `json:"name"`
	Data string `json:"data,omitempty"`
}

// ErrNoMapping is returned by Preview for a mapping that the configuration lacks.
var ErrNoMapping = errors.New("there is no such mapping")

// PreviewOptions say what to look at.
type PreviewOptions struct {
	Config  *config.Config
	Mapping string
	// Event is the id of a stored event; empty: a sample.
	Event   string
	Offline bool // do not ask the destination for its fields
	Limits  *app.Beside
	Now     func() time.Time
}

// Preview shows what a mapping makes of one event, and sends nothing.
func Preview(ctx context.Context, o PreviewOptions) (*PreviewResult, error) {
	docs := o.Config.Documents[app.MappingsFolder]
	i := slices.IndexFunc(docs, func(d config.Document) bool { return d.Name == o.Mapping })
	if i < 0 {
		var names []string
		for _, d := range docs {
			names = append(names, d.Name)
		}
		return nil, fmt.Errorf("%w as %q; there are %s", ErrNoMapping, o.Mapping, strings.Join(names, ", "))
	}
	file := docs[i].Value.(*automation.MappingFile)
	v := &viewer{now: o.Now, limits: o.Limits, cfg: o.Config, doc: docs[i], file: file, offline: o.Offline}
	v.r = &PreviewResult{
		Mapping: o.Mapping, Destination: file.Destination, ConfigVersion: o.Config.Version,
		Fields: []PreviewField{}, Effects: []PreviewEffect{}, Requests: []api.PreviewRequestBody{}, NotChecked: []string{},
	}
	var err error
	if o.Event == "" {
		err = v.sample()
	} else {
		err = v.stored(ctx, o.Event)
	}
	if err != nil {
		return nil, err
	}
	return v.r, v.look(ctx)
}

// viewer makes one preview.
type viewer struct {
	now     func() time.Time
	limits  *app.Beside
	cfg     *config.Config
	doc     config.Document
	file    *automation.MappingFile
	offline bool
	t       *schemas.Transition
	r       *PreviewResult
}

// look applies the mapping alone, as the automation stage would, to a contact of which nothing is known, and lays the
// outcome over what is.
func (v *viewer) look(ctx context.Context) error {
	rules, err := app.Rules(v.cfg)
	if err != nil {
		return err
	}
	only := automation.Rules{ConfigVersion: rules.ConfigVersion, CustomIDIsCustomer: rules.CustomIDIsCustomer}
	for _, m := range rules.Mappings {
		if m.Name == v.r.Mapping {
			only.Mappings = append(only.Mappings, m)
		}
	}
	v.r.Event.ID, v.r.Event.Type, v.r.Event.Source, v.r.Event.Status = v.t.Event.EventID, v.t.Event.EventType, v.t.Event.Connection, string(v.t.To)
	v.fields()
	key := v.t.ContactKey
	if key == "" {
		key = v.t.RootKey
	}
	_, out, err := automation.New(only).Apply(automation.State{}, processors.Input{At: v.now(), Key: key, Topic: schemas.TopicAutomationInbox, Record: v.t})
	var poison *processors.Poison
	switch {
	case errors.As(err, &poison):
		v.r.Fits, v.r.Why = true, poison.Reason+"; "+poison.Remedy
		return nil
	case err != nil:
		return err
	}
	var made *schemas.Command
	for _, o := range out {
		c, ok := o.Record.(*schemas.Command)
		switch {
		case !ok:
		case c.Kind == schemas.CommandContact:
			made = c
		case c.Effect != nil:
			v.r.Effects = append(v.r.Effects, PreviewEffect{c.Effect.Type, c.Effect.Name, c.Effect.Data})
		}
	}
	if made == nil {
		v.r.Why = v.strange()
		return nil
	}
	v.r.Fits, v.r.contactKey = true, key
	if !v.r.Event.Sample {
		v.before(ctx)
	}
	after := laid(v.r.Before, made.Contact)
	v.r.After = &after
	v.account(ctx)
	v.requests(ctx, *made)
	return nil
}

// strange says why the mapping makes nothing of the event.
func (v *viewer) strange() string {
	e, f := &v.t.Event, v.file
	switch {
	case len(f.Connections) > 0 && !slices.Contains(f.Connections, e.Connection):
		return fmt.Sprintf("the mapping is for %s, the event is of %s", strings.Join(f.Connections, ", "), e.Connection)
	case f.Resource != "" && f.Resource != e.Resource:
		return fmt.Sprintf("the mapping is for the resource %s, the event is of %s", f.Resource, orNone(e.Resource))
	case len(f.Events) > 0:
		return fmt.Sprintf("the mapping is for the events %s, this one is %s", strings.Join(f.Events, ", "), e.EventType)
	}
	return "the event goes on to its contact under another name, where the mapping is applied"
}

// fields runs each rule by itself, to tell what became of it.
func (v *viewer) fields() {
	names := fieldNames(v.cfg)
	for i, rule := range v.file.Fields {
		f := PreviewField{To: rule.To, From: rule.From, As: rule.As, at: fmt.Sprintf("fields.%d", i)}
		program, problems := mapping.Compile(mapping.Mapping{Fields: []mapping.Rule{rule}}, names)
		if len(problems) > 0 {
			f.Issue = problems[0].Message
		} else {
			values, issues := program.Run(v.t)
			switch {
			case len(issues) > 0:
				f.Issue = issues[0].Reason
			case len(values) == 0 && rule.From != "" && mapping.Lookup(*v.t, rule.From) == "":
				f.Issue = "the event has no " + rule.From + ": the field is left alone"
			case len(values) == 0:
				f.Issue = "the rule makes nothing of this event: the field is left alone"
			}
			if len(values) > 0 {
				f.Value = values[0].Value
			}
		}
		v.r.Fields = append(v.r.Fields, f)
	}
}

// fieldNames are the provider fields that a mapping may use as sources.
func fieldNames(cfg *config.Config) []string {
	var names []string
	for _, c := range cfg.Connectors {
		for _, x := range c.Fields {
			names = append(names, x.Name)
		}
	}
	return names
}

// account looks at what the destination says of the fields.
func (v *viewer) account(ctx context.Context) {
	i := slices.IndexFunc(v.cfg.Destinations, func(d config.Destination) bool { return d.Name == v.file.Destination })
	if v.offline || i < 0 {
		return
	}
	k := checker{now: v.now, cfg: v.cfg, limits: v.limits}
	k.destinations(ctx, k.mapped(v.doc, v.file))
	v.r.NotChecked = append(v.r.NotChecked, k.r.NotChecked...)
	for _, found := range k.r.Findings {
		for j := range v.r.Fields {
			if f := &v.r.Fields[j]; strings.HasPrefix(found.Field, f.at+".") {
				f.Issue = strings.TrimPrefix(f.Issue+"; "+found.Message, "; ")
			}
		}
	}
	for j := range v.r.Fields {
		if e, ok := sinks.FindEntry(k.fieldsOf[v.file.Destination], v.r.Fields[j].To); ok {
			v.r.Fields[j].Type = string(e.Type)
		}
	}
}

// laid is before with what made says: fields and tags that it does not name stay.
func laid(before *schemas.Contact, made schemas.Contact) schemas.Contact {
	if before == nil {
		return made
	}
	after := *before
	for _, part := range []struct {
		to   *string
		from string
	}{{&after.Email, made.Email}, {&after.FirstName, made.FirstName}, {&after.LastName, made.LastName}, {&after.Phone, made.Phone}} {
		if part.from != "" {
			*part.to = part.from
		}
	}
	after.Fields = map[string]string{}
	for name, value := range before.Fields {
		after.Fields[name] = value
	}
	for name, value := range made.Fields {
		after.Fields[name] = value
	}
	after.Tags = union(before.Tags, made.Tags, made.NoTags)
	after.NoTags = union(before.NoTags, made.NoTags, made.Tags)
	return after
}

// union is a and b without those in not, sorted.
func union(a, b, not []string) []string {
	all := slices.Sorted(slices.Values(slices.Concat(a, b)))
	return slices.DeleteFunc(slices.Compact(all), func(t string) bool { return slices.Contains(not, t) })
}

// Mask hides what tells who the customer is.
func (r *PreviewResult) Mask() {
	r.Masked = true
	for i := range r.Requests {
		r.Requests[i].Body = maskedBody(r.Requests[i].Body, r.After)
	}
	personal := map[string]bool{}
	for i := range r.Fields {
		if f := &r.Fields[i]; strings.HasPrefix(f.From, "payer.") || strings.Contains(f.From, "contact.") || looksPersonal(f.Value) {
			f.Value = masked(f.Value)
			personal[f.To] = true
		}
	}
	for _, c := range []*schemas.Contact{r.Before, r.After} {
		if c == nil {
			continue
		}
		c.Email, c.FirstName, c.LastName, c.Phone = masked(c.Email), masked(c.FirstName), masked(c.LastName), masked(c.Phone)
		fields := map[string]string{}
		for name, value := range c.Fields {
			if personal[name] || looksPersonal(value) {
				value = masked(value)
			}
			fields[name] = value
		}
		c.Fields = fields
	}
	for i := range r.Effects {
		if looksPersonal(r.Effects[i].Data) {
			r.Effects[i].Data = masked(r.Effects[i].Data)
		}
	}
}

// looksPersonal reports an e-mail address anywhere in the text.
func looksPersonal(text string) bool { return strings.Contains(text, "@") }

// masked keeps the first character, and the domain of an e-mail address.
func masked(text string) string {
	if text == "" {
		return ""
	}
	_, size := utf8.DecodeRuneInString(text)
	if a, err := mail.ParseAddress(text); err == nil && a.Address == text {
		return text[:size] + "***" + text[strings.LastIndexByte(text, '@'):]
	}
	return text[:size] + "***"
}
