package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/mail"
	"slices"
	"strings"
	"text/tabwriter"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/tillstream/tillstream/internal/app"
	"github.com/tillstream/tillstream/internal/local"
	"github.com/tillstream/tillstream/pipeline/config"
	"github.com/tillstream/tillstream/processors"
	"github.com/tillstream/tillstream/processors/automation"
	"github.com/tillstream/tillstream/processors/mapping"
	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/sinks"
)

// previewResult is what a mapping would make of one event.
type previewResult struct {
	Mapping       string           `json:"mapping"`
	Destination   string           `json:"destination"`
	ConfigVersion string           `json:"config_version"`
	Event         previewEvent     `json:"event"`
	Fits          bool             `json:"fits"`          // the mapping is about such events
	Why           string           `json:"why,omitempty"` // it is not, or makes nothing of it
	Fields        []previewField   `json:"fields"`        // in the order of the mapping
	Before        *schemas.Contact `json:"before"`        // as it was last asked of the destination; null: nothing is known
	After         *schemas.Contact `json:"after"`         // null: nothing would be asked
	Effects       []previewEffect  `json:"effects"`       // that would be sent besides
	NotChecked    []string         `json:"not_checked"`   // what could not be looked at
	Masked        bool             `json:"masked"`        // personal data is
	contactKey    string
}

type previewEvent struct {
	ID     string `json:"id"`
	Type   string `json:"type"`
	Source string `json:"connection"`
	Status string `json:"status"`
	Sample bool   `json:"sample"` // made of the samples of the connector's catalogue
}

type previewField struct {
	To    string `json:"to"`
	From  string `json:"from"`
	As    string `json:"as,omitempty"`
	Value string `json:"value"`
	Type  string `json:"type,omitempty"` // of the field at the destination
	// Issue is why there is no value, or why the destination would refuse it.
	Issue string `json:"issue,omitempty"`
	at    string // place in the file
}

type previewEffect struct {
	Type string `json:"type"`
	Name string `json:"name"`
	Data string `json:"data,omitempty"`
}

// previewFlags say what to look at.
type previewFlags struct {
	dir, event                string
	sample, offline, personal bool
	asJSON                    bool
}

func (p Process) previewCommand() *cobra.Command {
	var f previewFlags
	c := &cobra.Command{
		Use:   "preview MAPPING",
		Short: "Show what a mapping would make of a stored event, or of a sample, and send nothing",
		Long: `Shows the value of each field with what is wrong about it, the tags and effects, and the contact before and after, for
one event: a stored one by its id (it needs ClickHouse and Kafka), or one made of the samples of the connector's catalogue.
The contact before is what was last asked of the destination; what people changed there is not seen.

The destination is asked for its fields where it can be reached; nothing is written. Personal data is masked unless
--show-personal-data is said.`,
		Example: "  tillstream preview orders --sample\n  tillstream preview orders --event WH-2WR32451HC0233532-67976317FL4543714",
		Args:    usage(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			if (f.event == "") == !f.sample {
				return &codedError{ExitUsage, errors.New("say either --event ID or --sample")}
			}
			r, err := p.preview(c.Context(), f, strings.TrimSuffix(args[0], ".yaml"))
			if err != nil {
				return err
			}
			if !f.personal {
				r.mask()
			}
			if f.asJSON {
				return json.NewEncoder(c.OutOrStdout()).Encode(r)
			}
			return printPreview(c.OutOrStdout(), r)
		},
	}
	s := c.Flags()
	s.StringVar(&f.dir, "config", "config", "folder of the configuration")
	s.StringVar(&f.event, "event", "", "id of a stored event")
	s.BoolVar(&f.sample, "sample", false, "an event made of the connector's samples")
	s.BoolVar(&f.offline, "offline", false, "do not ask the destination for its fields")
	s.BoolVar(&f.personal, "show-personal-data", false, "personal data unmasked")
	s.BoolVar(&f.asJSON, "json", false, "one JSON object")
	return c
}

func (p Process) preview(ctx context.Context, f previewFlags, name string) (*previewResult, error) {
	cfg, err := p.loadConfig(f.dir, local.CheckEnv(f.dir, local.Environment(f.dir, p.Getenv)))
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(cfg.Documents[app.MappingsFolder], func(d config.Document) bool { return d.Name == name })
	if i < 0 {
		var names []string
		for _, d := range cfg.Documents[app.MappingsFolder] {
			names = append(names, d.Name)
		}
		return nil, &codedError{ExitUsage, fmt.Errorf("there is no mapping %q in %s; there are %s", name, f.dir, strings.Join(names, ", "))}
	}
	doc := cfg.Documents[app.MappingsFolder][i]
	file := doc.Value.(*automation.MappingFile)
	v := &viewer{p: p, cfg: cfg, doc: doc, file: file, offline: f.offline}
	v.r = &previewResult{
		Mapping: name, Destination: file.Destination, ConfigVersion: cfg.Version,
		Fields: []previewField{}, Effects: []previewEffect{}, NotChecked: []string{},
	}
	if f.sample {
		err = v.sample()
	} else {
		err = v.stored(ctx, f.event)
	}
	if err != nil {
		return nil, err
	}
	return v.r, v.look(ctx)
}

// viewer makes one preview.
type viewer struct {
	p       Process
	cfg     *config.Config
	doc     config.Document
	file    *automation.MappingFile
	offline bool
	t       *schemas.Transition
	r       *previewResult
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
	_, out, err := automation.New(only).Apply(automation.State{}, processors.Input{At: v.p.Now(), Key: key, Topic: schemas.TopicAutomationInbox, Record: v.t})
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
			v.r.Effects = append(v.r.Effects, previewEffect{c.Effect.Type, c.Effect.Name, c.Effect.Data})
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

func orNone(text string) string {
	if text == "" {
		return "none"
	}
	return text
}

// fields runs each rule by itself, to tell what became of it.
func (v *viewer) fields() {
	names := fieldNames(v.cfg)
	for i, rule := range v.file.Fields {
		f := previewField{To: rule.To, From: rule.From, As: rule.As, at: fmt.Sprintf("fields.%d", i)}
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
	k := checker{p: v.p, cfg: v.cfg, limits: v.p.beside(func() (*config.Config, error) { return v.cfg, nil })}
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

// mask hides what tells who the customer is.
func (r *previewResult) mask() {
	r.Masked = true
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

func printPreview(w io.Writer, r *previewResult) error {
	what := "event " + r.Event.ID
	if r.Event.Sample {
		what = "a sample"
	}
	fmt.Fprintf(w, "mapping %s (configuration %s) on %s: %s of %s, status %s\nNothing is sent.\n", r.Mapping, r.ConfigVersion, what, r.Event.Type, r.Event.Source, orNone(r.Event.Status))
	if r.Why != "" {
		fmt.Fprintf(w, "\nNothing would be asked of %s: %s\n", r.Destination, r.Why)
	}
	fmt.Fprintln(w)
	tw := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	fmt.Fprintln(tw, "FIELD\tFROM\tAS\tVALUE\tTYPE THERE\tISSUE")
	for _, f := range r.Fields {
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\t%s\n", f.To, f.From, f.As, shorten(f.Value, 60), f.Type, f.Issue)
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	if r.After != nil {
		fmt.Fprintf(w, "\ncontact at %s:\n", r.Destination)
		if r.Before == nil {
			fmt.Fprintln(w, "  nothing is known of it before")
		}
		for _, line := range difference(r.Before, r.After) {
			fmt.Fprintln(w, " ", line)
		}
	}
	for _, e := range r.Effects {
		fmt.Fprintf(w, "\neffect %s %s %s\n", e.Type, e.Name, e.Data)
	}
	for _, n := range r.NotChecked {
		fmt.Fprintln(w, "not checked:", n)
	}
	return nil
}

// difference is a contact line by line: "  " stays, "+ " comes, "- " goes.
func difference(before, after *schemas.Contact) []string {
	old, now := contactLines(before), contactLines(after)
	var lines []string
	for _, l := range now {
		mark := "+ "
		if slices.Contains(old, l) {
			mark = "  "
		}
		lines = append(lines, mark+l)
	}
	for _, l := range old {
		if !slices.Contains(now, l) {
			lines = append(lines, "- "+l)
		}
	}
	return lines
}

func contactLines(c *schemas.Contact) (lines []string) {
	if c == nil {
		return nil
	}
	for _, part := range [][2]string{{"email", c.Email}, {"first name", c.FirstName}, {"last name", c.LastName}, {"phone", c.Phone}} {
		if part[1] != "" {
			lines = append(lines, part[0]+": "+part[1])
		}
	}
	names := make([]string, 0, len(c.Fields))
	for n := range c.Fields {
		names = append(names, n)
	}
	slices.Sort(names)
	for _, n := range names {
		lines = append(lines, "field "+n+": "+c.Fields[n])
	}
	for _, t := range c.Tags {
		lines = append(lines, "tag "+t)
	}
	for _, t := range c.NoTags {
		lines = append(lines, "no tag "+t)
	}
	return lines
}
