package automation

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/tillstream/tillstream/processors/mapping"
	"github.com/tillstream/tillstream/processors/tags"
	"github.com/tillstream/tillstream/processors/triggers"
	"github.com/tillstream/tillstream/processors/workflows"
	"github.com/tillstream/tillstream/schemas"
)

// Rules are what the stage follows. Commands carry ConfigVersion, which the caller sets.
type Rules struct {
	ConfigVersion string
	Mappings      []Mapping // by file name
	// CustomIDIsCustomer says that a merchant's custom id names the customer, so that it finds his contact.
	CustomIDIsCustomer bool

	workflows []*workflows.Program // by name
	indexed   index
	// fills are the fields of each destination that some mapping or workflow fills, in order; nil: not known.
	fills map[string][]string
}

// Mapping is one compiled mapping file.
type Mapping struct {
	Name        string // the file's
	Destination string

	rule                string // what commands say of it
	connections, events []string
	resource            string
	contact, fields     *mapping.Program
	tagRules            []tags.Rule
	tagProgram          *tags.Program
	seesContact         bool // some expression may read the contact's state
	noTags              bool
	addTags, removeTags []string
	triggers            []trigger
}

type trigger struct {
	id         string
	when       triggers.When
	name       string
	source     mapping.Source
	fromSource bool // else text
	text       string
}

// MappingFile is one document of the folder mappings/: what the events of a resource do to contacts at a destination.
type MappingFile struct {
	// Connections are names of provider connections. Empty: all.
	Connections []string `yaml:"connections,omitempty" json:"connections,omitempty"`
	// Resource is the resource's id, for example checkout-order-approved. Empty: the events of every resource, and
	// those of none.
	Resource string `yaml:"resource,omitempty" json:"resource,omitempty"`
	// Events limits the mapping to event types; a * at the end stands for any rest. Empty: all of the resource.
	Events []string `yaml:"events,omitempty" json:"events,omitempty"`
	// Destination is the name of a CRM connection.
	Destination string `yaml:"destination" json:"destination"`
	// Contact says where the contact's own parts come from.
	Contact ContactSources `yaml:"contact,omitempty" json:"contact,omitempty"`
	// Fields fill further fields, which must exist at the CRM.
	Fields []mapping.Rule `yaml:"fields,omitempty" json:"fields,omitempty"`
	// Tags are put on the contact.
	Tags TagOptions `yaml:"tags,omitempty" json:"tags,omitempty"`
	// Triggers track events at the CRM, where automations can start on them.
	Triggers []TriggerOptions `yaml:"triggers,omitempty" json:"triggers,omitempty"`
}

// ContactSources are source names. The defaults are payer.email, payer.given_name, payer.surname (both split from
// payer.full_name where they are missing) and payer.phone.
type ContactSources struct {
	Email     string `yaml:"email,omitempty" json:"email,omitempty"`
	FirstName string `yaml:"first_name,omitempty" json:"first_name,omitempty"`
	LastName  string `yaml:"last_name,omitempty" json:"last_name,omitempty"`
	Phone     string `yaml:"phone,omitempty" json:"phone,omitempty"`
}

// TagOptions change the tags. By default a contact gets the two tags of its resource.
type TagOptions struct {
	// Prefix replaces paypal-integration.
	Prefix string `yaml:"prefix,omitempty" json:"prefix,omitempty"`
	// Suffix replaces the end of the second tag: the event type, or the fixed words of the billing resource.
	Suffix string `yaml:"suffix,omitempty" json:"suffix,omitempty"`
	// Add and Remove are tags of the user's own.
	Add    []string `yaml:"add,omitempty" json:"add,omitempty"`
	Remove []string `yaml:"remove,omitempty" json:"remove,omitempty"`
	// Rules add and remove tags where a condition holds.
	Rules []tags.Conditional `yaml:"rules,omitempty" json:"rules,omitempty"`
	// Disabled leaves the two tags of the resource out; Add, Remove and Rules still hold.
	Disabled bool `yaml:"disabled,omitempty" json:"disabled,omitempty"`
}

// TriggerOptions track an event at the CRM when something happens.
type TriggerOptions struct {
	// On is a trigger of the catalogue, for example payment-status-changed.
	On string `yaml:"on" json:"on"`
	// Events limits it to event types; a * at the end stands for any rest.
	Events []string `yaml:"events,omitempty" json:"events,omitempty"`
	// From and To limit payment-status-changed to statuses.
	From []string `yaml:"from,omitempty" json:"from,omitempty"`
	To   []string `yaml:"to,omitempty" json:"to,omitempty"`
	// TrackEvent is the name of the event at the CRM.
	TrackEvent string `yaml:"track_event" json:"track_event"`
	// Data is a source, whose value is sent, or a text. Empty: type, order, status and amount.
	Data string `yaml:"data,omitempty" json:"data,omitempty"`
}

// Known is what mappings may refer to. Of the first three, a nil list is not checked.
type Known struct {
	Connections, Destinations, Resources []string
	// FieldCatalogue lists the connectors' names of OrderEvent.Fields; no others but mapping.Sources may be used.
	FieldCatalogue []string
	// TagName is, by destination, the form in which it keeps a tag's name, "" where it cannot keep it. One that is missing
	// keeps it as it is.
	TagName map[string]func(tag string) string
	// Performs says what each destination can do; see workflows.Performs. Nil: not checked.
	Performs map[string][]workflows.ActionKind
}

// The folders that rules are made of.
const (
	FolderMappings  = "mappings"
	FolderWorkflows = "workflows"
)

// Files are the documents that make the rules, by name.
type Files struct {
	Mappings  map[string]MappingFile
	Workflows map[string]workflows.File
}

// Problem is a finding about a mapping or workflow file. Rules with problems are not used.
type Problem struct {
	Folder  string // FolderMappings or FolderWorkflows
	File    string
	Field   string // a path, for example triggers[0].on
	Message string
	Hint    string
}

// The parts of a contact, as targets of its own small mapping.
const (
	partEmail = "email"
	partFirst = "first_name"
	partLast  = "last_name"
	partPhone = "phone"
)

// CompileAll checks mappings and workflows. The rules are empty if there is any problem.
func CompileAll(files Files, known Known) (Rules, []Problem) {
	rules, problems := Compile(files.Mappings, known)
	set, found := workflows.CompileAll(files.Workflows, workflows.Known{
		Connections: known.Connections, Destinations: known.Performs, Catalogue: mapping.CatalogueFor(known.FieldCatalogue),
	})
	for _, p := range found {
		problems = append(problems, Problem{FolderWorkflows, p.File, p.Field, p.Message, p.Hint})
	}
	if len(problems) == 0 {
		problems = tagNames(files, set, known.TagName)
	}
	if len(problems) > 0 {
		return Rules{}, problems
	}
	return rules.WithWorkflows(set.List()), nil
}

// Compile checks mapping files, by name. The rules are empty if there is any problem.
func Compile(files map[string]MappingFile, known Known) (Rules, []Problem) {
	var rules Rules
	var problems []Problem
	for _, name := range slices.Sorted(maps.Keys(files)) {
		c := compiler{file: name, known: known}
		rules.Mappings = append(rules.Mappings, c.mapping(files[name]))
		problems = append(problems, c.problems...)
	}
	if len(problems) > 0 {
		return Rules{}, problems
	}
	rules.fills = fillsOf(&rules)
	return rules, nil
}

type compiler struct {
	file     string
	known    Known
	problems []Problem
}

func (c *compiler) report(field, message, hint string) {
	c.problems = append(c.problems, Problem{FolderMappings, c.file, field, message, hint})
}

// oneOf checks a name against what is known.
func (c *compiler) oneOf(field, name, what string, known []string) {
	if known == nil || slices.Contains(known, name) {
		return
	}
	hint := "there is none yet"
	if near := mapping.Nearest(name, known); near != "" {
		hint = "did you mean " + near + "?"
	} else if len(known) > 0 {
		hint = "known are " + strings.Join(known, ", ")
	}
	c.report(field, fmt.Sprintf("%q is no known %s", name, what), hint)
}

func (c *compiler) mapping(f MappingFile) Mapping {
	m := Mapping{
		Name: c.file, Destination: f.Destination, rule: "mappings/" + c.file, connections: slices.Clone(f.Connections), events: slices.Clone(f.Events),
		resource: f.Resource, noTags: f.Tags.Disabled, addTags: slices.Clone(f.Tags.Add), removeTags: slices.Clone(f.Tags.Remove),
	}
	for i, name := range f.Connections {
		c.oneOf(fmt.Sprintf("connections[%d]", i), name, "connection", c.known.Connections)
	}
	if f.Resource != "" {
		c.oneOf("resource", f.Resource, "resource", c.known.Resources)
	}
	if f.Destination == "" {
		c.report("destination", "a mapping must name its destination", "give the name of a CRM connection")
	} else {
		c.oneOf("destination", f.Destination, "destination", c.known.Destinations)
	}
	c.patterns("events", f.Events)
	c.tags(f, &m)
	m.contact = c.contact(f.Contact)
	fields, problems := mapping.Compile(mapping.Mapping{Fields: f.Fields}, c.known.FieldCatalogue)
	m.fields = fields
	for _, p := range problems {
		c.report(p.Field, p.Message, p.Hint)
	}
	m.seesContact = slices.ContainsFunc(f.Fields, func(r mapping.Rule) bool { return r.Expr != "" || r.If != "" })
	for i, t := range f.Triggers {
		tr := c.trigger(fmt.Sprintf("triggers[%d]", i), t)
		if slices.ContainsFunc(m.triggers, func(o trigger) bool { return o.id == tr.id }) {
			c.report(fmt.Sprintf("triggers[%d].track_event", i), fmt.Sprintf("%s tracks %q already", t.On, t.TrackEvent), "give it another name, or put both conditions into one")
		}
		m.triggers = append(m.triggers, tr)
	}
	return m
}

func (c *compiler) tags(f MappingFile, m *Mapping) {
	m.tagRules = tags.WithPrefix(tags.Defaults(), f.Tags.Prefix)
	if f.Tags.Suffix != "" {
		for i := range m.tagRules {
			m.tagRules[i].Suffix = f.Tags.Suffix
		}
	}
	program, problems := tags.Compile(f.Tags.Rules, mapping.CatalogueFor(c.known.FieldCatalogue))
	if m.tagProgram = program; len(f.Tags.Rules) == 0 {
		m.tagProgram = nil
	}
	for _, p := range problems {
		c.report("tags."+p.Field, p.Message, p.Hint)
	}
	for i, t := range f.Tags.Add {
		if strings.TrimSpace(t) == "" {
			c.report(fmt.Sprintf("tags.add[%d]", i), "a tag must not be empty", "remove the line")
		}
	}
	for i, t := range f.Tags.Remove {
		if strings.TrimSpace(t) == "" {
			c.report(fmt.Sprintf("tags.remove[%d]", i), "a tag must not be empty", "remove the line")
		}
		if slices.Contains(f.Tags.Add, t) {
			c.report(fmt.Sprintf("tags.remove[%d]", i), fmt.Sprintf("%q is added and removed", t), "keep one of the two")
		}
	}
}

// contact compiles the sources of the contact's parts into a mapping; a later rule wins, hence the split names first.
func (c *compiler) contact(s ContactSources) *mapping.Program {
	var rules []mapping.Rule
	var paths []string
	add := func(path, from, as string) {
		rules = append(rules, mapping.Rule{To: path, From: from, As: as})
		paths = append(paths, path)
	}
	name := func(part, given, standard, as string) {
		if given == "" {
			add(part, "payer.full_name", as)
			given = standard
		}
		add(part, given, "trim")
	}
	add(partEmail, cmp.Or(s.Email, "payer.email"), "trim")
	name(partFirst, s.FirstName, "payer.given_name", "name first")
	name(partLast, s.LastName, "payer.surname", "name last")
	add(partPhone, cmp.Or(s.Phone, "payer.phone"), "phone")
	p, problems := mapping.CompileLayers(mapping.Mapping{Fields: rules}, c.known.FieldCatalogue)
	for _, f := range problems {
		var i int
		if _, err := fmt.Sscanf(f.Field, "fields[%d]", &i); err == nil && i < len(paths) {
			c.report("contact."+paths[i], f.Message, f.Hint)
		}
	}
	return p
}

func (c *compiler) trigger(at string, t TriggerOptions) trigger {
	out := trigger{
		id: c.file + "/" + t.On + "/" + t.TrackEvent, name: t.TrackEvent,
		when: triggers.When{ID: t.On, Events: slices.Clone(t.Events)},
	}
	c.oneOf(at+".on", t.On, "trigger", triggers.EventIDs())
	if strings.TrimSpace(t.TrackEvent) == "" {
		c.report(at+".track_event", "a trigger must name the event to track", "give the event's name at the CRM")
	}
	c.patterns(at+".events", t.Events)
	statuses := func(field string, words []string) (list []schemas.PaymentStatus) {
		if len(words) > 0 && t.On != triggers.StatusChanged {
			c.report(at+"."+field, field+" is for "+triggers.StatusChanged+" only", "use events, or that trigger")
		}
		for i, w := range words {
			c.oneOf(fmt.Sprintf("%s.%s[%d]", at, field, i), w, "status", triggers.Statuses())
			list = append(list, schemas.PaymentStatus(w))
		}
		return list
	}
	out.when.From, out.when.To = statuses("from", t.From), statuses("to", t.To)
	if mapping.Known(t.Data, mapping.Sources()) || mapping.Known(t.Data, c.known.FieldCatalogue) {
		out.source, out.fromSource = mapping.NewSource(t.Data), true
	} else {
		out.text = t.Data
	}
	return out
}

func (c *compiler) patterns(field string, list []string) {
	for i, p := range list {
		if p == "" || strings.Contains(strings.TrimSuffix(p, "*"), "*") {
			c.report(fmt.Sprintf("%s[%d]", field, i), fmt.Sprintf("%q is no event type", p), "write an event type, or its beginning and one * at the end")
		}
	}
}
