package workflows

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/tillstream/tillstream/processors/expressions"
	"github.com/tillstream/tillstream/processors/mapping"
	"github.com/tillstream/tillstream/processors/spelling"
	"github.com/tillstream/tillstream/processors/triggers"
	"github.com/tillstream/tillstream/processors/zones"
	"github.com/tillstream/tillstream/schemas"
)

// The bounds of workflow files.
const (
	FilesMax        = 5_000     // workflows of one configuration
	FileBytesMax    = 256 << 10 // one file, as JSON
	StepsMax        = 500       // steps of one workflow, those of all branches together
	DepthMax        = 10        // branches within branches
	StartsMax       = 50        // ways into one workflow
	EntriesMax      = 200       // of one list: statuses, tags, fields
	NameBytesMax    = 200       // of a list, message, tag or field
	TemplatesMax    = 1_000     // conditions and texts with values, of one workflow
	ProblemsMax     = 50        // told about one file
	TimesMax        = 1_000     // events that one wait takes
	ScoreMax        = 1_000_000 // points of one step, either way
	SpanSecondsMin  = 1         // of a wait
	SpanDaysMax     = 400       // of a wait, a look-back, a correction
	versionHexChars = 12
)

// The spans that hold where a file says nothing.
const (
	NotMetAfterDefault   = 24 * time.Hour
	CorrectWithinDefault = 3 * 24 * time.Hour
)

// Known is what workflow files may refer to. What is nil is not checked.
type Known struct {
	Connections []string
	// Destinations are names with what their sinks can do; see Performs. A destination with nil can do everything.
	Destinations map[string][]ActionKind
	// Triggers are ids of events. Nil: those of package triggers.
	Triggers []string
	// Catalogue are the values that conditions and texts may use. Nil: those of package mapping, and any other name.
	Catalogue expressions.Catalogue
	// Workflows are the names that a run may be moved to. CompileAll fills them in.
	Workflows []string
}

// Performs is what a destination can do whose sink performs these types of effect. contacts says that it keeps
// contacts, and so tags, fields and scores.
func Performs(effects []string, contacts bool) []ActionKind {
	of := map[string]ActionKind{
		schemas.EffectTrackEvent: TrackEvent, schemas.EffectSendMessage: SendMessage, schemas.EffectAddToList: CopyToList,
		schemas.EffectMoveToList: MoveToList, schemas.EffectStartAutomation: StartAutomation, schemas.EffectWriteOrder: WriteOrder,
		schemas.EffectWriteRecurring: WriteRecurringPayment, schemas.EffectNotify: Notify, schemas.QuestionOnList: AskList,
	}
	kinds := []ActionKind{}
	if contacts {
		kinds = append(kinds, Tags, SetField, ClearField, AddScore)
	}
	for _, e := range effects {
		if kind, ok := of[e]; ok {
			kinds = append(kinds, kind)
		}
	}
	return kinds
}

// Problem is a finding about one file, which is not used then.
type Problem struct {
	File    string // the workflow's name
	Field   string // a path, for example steps[2].met[0].send_message; empty: the file as a whole
	Message string
	Hint    string
}

// Set are compiled workflows by name.
type Set map[string]*Program

// List is the programs in the order of their names.
func (s Set) List() []*Program {
	list := make([]*Program, 0, len(s))
	for _, name := range slices.Sorted(maps.Keys(s)) {
		list = append(list, s[name])
	}
	return list
}

// Compile checks one file. The program is nil if there is any problem.
func Compile(name string, f File, k Known) (*Program, []Problem) {
	k = k.lenient()
	return compile(name, &f, &k, map[string]*time.Location{})
}

// CompileAll checks the files, by name; each may move runs to the others. The set is nil if there is any problem.
func CompileAll(files map[string]File, k Known) (Set, []Problem) {
	if len(files) > FilesMax {
		return nil, []Problem{{Message: fmt.Sprintf("%d workflows are more than the %d that one configuration may have", len(files), FilesMax), Hint: "remove those that are off"}}
	}
	names := slices.Sorted(maps.Keys(files))
	if k = k.lenient(); k.Workflows == nil {
		k.Workflows = names
	}
	set, known := make(Set, len(files)), map[string]*time.Location{}
	var problems []Problem
	for _, name := range names {
		f := files[name]
		p, found := compile(name, &f, &k, known)
		set[name] = p
		problems = append(problems, found...)
	}
	if len(problems) > 0 {
		return nil, problems
	}
	return set, nil
}

// lenient puts names in the place of a catalogue that is not there.
func (k Known) lenient() Known {
	if k.Catalogue == nil {
		k.Catalogue = mapping.CatalogueFor([]string{"*"})
	}
	return k
}

type compiler struct {
	file     string
	f        *File
	known    *Known
	triggers []string
	zones    map[string]*time.Location // loaded before, also for other files
	p        *Program
	ids      map[string]string // of a step, to its field
	sources  map[string]bool
	texts    int
	problems []Problem
}

var fileName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*$`)

func compile(name string, f *File, k *Known, zones map[string]*time.Location) (*Program, []Problem) {
	c := compiler{
		file: name, f: f, known: k, triggers: k.Triggers, zones: zones, p: &Program{Name: name},
		ids: map[string]string{}, sources: map[string]bool{},
	}
	if c.triggers == nil {
		c.triggers = triggers.EventIDs()
	}
	if c.bounds() {
		c.head()
		c.starts()
		c.block("steps", "", f.Steps, End)
	}
	if len(c.problems) > 0 {
		return nil, c.problems
	}
	c.p.Sources = slices.Sorted(maps.Keys(c.sources))
	return c.p, nil
}

func (c *compiler) report(field, message, hint string) {
	if len(c.problems) == ProblemsMax {
		c.problems = append(c.problems, Problem{c.file, "", fmt.Sprintf("has more than %d problems", ProblemsMax), "mend these first"})
	}
	if len(c.problems) < ProblemsMax {
		c.problems = append(c.problems, Problem{c.file, field, message, hint})
	}
}

// bounds refuses early what is too large to be looked at, and sets the version.
func (c *compiler) bounds() bool {
	root := FileStep{Then: c.f.Steps}
	if n := root.size(StepsMax+1) - 1; n > StepsMax {
		c.report("steps", fmt.Sprintf("are more than the %d that one workflow may have", StepsMax), "split it: move_to_workflow leads from one to the next")
		return false
	}
	if root.depth(DepthMax+2) > DepthMax+1 {
		c.report("steps", fmt.Sprintf("are nested more than %d deep", DepthMax), "split it: move_to_workflow leads from one to the next")
		return false
	}
	if n := len(c.f.Start); n > StartsMax {
		c.report("start", fmt.Sprintf("has %d entries, more than the %d that one workflow may have", n, StartsMax), "several statuses and connections go into one entry")
		return false
	}
	said := *c.f
	said.Description = "" // is for people: another one makes no other program
	text, err := json.Marshal(said)
	if err != nil {
		c.report("", "can't be written as JSON: "+err.Error(), "")
		return false
	}
	if len(text) > FileBytesMax {
		c.report("", fmt.Sprintf("says %d bytes, more than the %d that one workflow may have", len(text), FileBytesMax), "split it: move_to_workflow leads from one to the next")
		return false
	}
	sum := sha256.Sum256(text)
	c.p.Version = hex.EncodeToString(sum[:])[:versionHexChars]
	return true
}

// head checks what the file says as a whole.
func (c *compiler) head() {
	if !fileName.MatchString(c.file) || len(c.file) > NameBytesMax {
		c.report("", fmt.Sprintf("%.60q is no name for a workflow", c.file), "letters, digits, hyphens, dots and underscores")
	}
	c.p.Destination = c.f.Destination
	if c.f.Destination != "" {
		c.destination("destination", c.f.Destination, "")
	}
	c.p.Mode = word(c, "mode", c.f.Mode, Live, Live, Shadow, Off)
	c.p.OpenRuns = word(c, "open_runs", c.f.OpenRuns, Keep, Keep, Move)
	c.p.Once = word(c, "once", c.f.Once, "", ScopeContact, ScopeOrder, ScopeSubscription)
	c.zone("zone", c.f.Zone)
}

// word is got, or def if it is empty, and a problem if it is none of allowed.
func word[T ~string](c *compiler, field string, got, def T, allowed ...T) T {
	if got == "" {
		return def
	}
	if !slices.Contains(allowed, got) {
		words := make([]string, len(allowed))
		for i, a := range allowed {
			words[i] = string(a)
		}
		c.report(field, fmt.Sprintf("%.60q is not allowed", string(got)), "use one of "+strings.Join(words, ", "))
	}
	return got
}

// oneOf checks a name against what is known; nil: it is not.
func (c *compiler) oneOf(field, name, what string, known []string) {
	if known == nil || slices.Contains(known, name) {
		return
	}
	c.report(field, fmt.Sprintf("%.60q is no known %s", name, what), nearest(name, known))
}

// nearest is a hint: the name that was meant, or all there are.
func nearest(name string, known []string) string {
	const shownMax = 20
	if near := spelling.Nearest(name, known); near != "" {
		return "did you mean " + near + "?"
	}
	switch n := len(known); {
	case n == 0:
		return "there is none yet"
	case n > shownMax:
		return fmt.Sprintf("known are %s and %d more", strings.Join(known[:shownMax], ", "), n-shownMax)
	}
	return "known are " + strings.Join(known, ", ")
}

// destination checks a name, and that the destination can do what is asked of it; an empty kind: nothing yet.
func (c *compiler) destination(field, name string, kind ActionKind) {
	if c.known.Destinations == nil {
		return
	}
	can, ok := c.known.Destinations[name]
	if !ok {
		c.oneOf(field, name, "destination", slices.Sorted(maps.Keys(c.known.Destinations)))
		return
	}
	if kind != "" && can != nil && !slices.Contains(can, kind) {
		c.report(field, fmt.Sprintf("%s can't do %s", name, kind), whoCan(c.known.Destinations, kind))
	}
}

func whoCan(destinations map[string][]ActionKind, kind ActionKind) string {
	var able []string
	for _, name := range slices.Sorted(maps.Keys(destinations)) {
		if can := destinations[name]; can == nil || slices.Contains(can, kind) {
			able = append(able, name)
		}
	}
	if len(able) == 0 {
		return "no destination can; see the table of effects in docs/sinks.md"
	}
	return "give one that can: " + strings.Join(able, ", ")
}

// zone loads a time zone; an empty name is the file's, and there UTC.
func (c *compiler) zone(field, name string) *time.Location {
	if name == "" {
		name = c.f.Zone
	}
	if name == "" {
		return time.UTC
	}
	if z, ok := c.zones[name]; ok && z != nil {
		return z
	}
	z, err := zones.Load(name)
	if err != nil {
		if field == "zone" || name != c.f.Zone { // the file's own is told once
			c.report(field, err.Error(), "zones have names such as Europe/Berlin")
		}
		return time.UTC
	}
	c.zones[name] = z
	return z
}

// span reads a duration within its bounds; an empty one is def.
func (c *compiler) span(field string, d Duration, def, low time.Duration) time.Duration {
	const most = SpanDaysMax * 24 * time.Hour
	if d == "" {
		return def
	}
	span, err := d.Parse()
	if err != nil {
		c.report(field, err.Error(), "write for example 90m, 1h, 3d or 2w")
		return def
	}
	if span < low || span > most {
		c.report(field, fmt.Sprintf("%s is out of bounds", d), fmt.Sprintf("from %s to %dd", spell(low), SpanDaysMax))
		return def
	}
	return span
}

// name checks a name that is taken as it stands.
func (c *compiler) name(field, text, what string) string {
	switch {
	case strings.TrimSpace(text) == "":
		c.report(field, what+" must not be empty", "give its name")
	case len(text) > NameBytesMax:
		c.report(field, fmt.Sprintf("%s is longer than %d bytes", what, NameBytesMax), "")
	case strings.Contains(text, "{{"):
		c.report(field, what+" can't hold a value", "values go into values, set_field, data and body")
	}
	return text
}

// names checks a list of them, each once.
func (c *compiler) names(field string, list []string, what string) []string {
	if len(list) > EntriesMax {
		c.report(field, fmt.Sprintf("has %d entries, more than %d", len(list), EntriesMax), "")
		return nil
	}
	for i, n := range list {
		at := fmt.Sprintf("%s[%d]", field, i)
		c.name(at, n, what)
		if slices.Contains(list[:i], n) {
			c.report(at, fmt.Sprintf("%.60q is there twice", n), "remove one of the two")
		}
	}
	return slices.Clone(list)
}

// condition compiles an expression; nil if there is none.
func (c *compiler) condition(field, text string) *expressions.Expression {
	if text == "" || !c.another(field) {
		return nil
	}
	e, err := expressions.Compile(text, c.known.Catalogue)
	if err != nil {
		c.report(field, err.Error(), "")
		return nil
	}
	return e
}

// template compiles a text with values; nil if there is none.
func (c *compiler) template(field, text string, e expressions.Escape) *expressions.Template {
	if text == "" || !c.another(field) {
		return nil
	}
	t, err := expressions.CompileTemplate(text, c.known.Catalogue, e)
	if err != nil {
		c.report(field, err.Error(), "")
		return nil
	}
	c.uses(t.Sources())
	for _, m := range defaultName.FindAllStringSubmatch(text, -1) {
		if _, open := c.known.Catalogue["*"]; open {
			break // any word would be a value
		}
		if _, value := c.known.Catalogue.Kind(m[1]); value {
			c.report(field, fmt.Sprintf("default takes a text, and would write %q as it stands", m[1]), "put it inside quotes if that is meant; choose between values with a step if")
		}
	}
	return t
}

// defaultName is a default that looks like a value: {{ order.number | default order.id }}.
var defaultName = regexp.MustCompile(`\|\s*default\s+([A-Za-z_]\w*\.[\w.]+)`)

func (c *compiler) uses(names []string) {
	for _, n := range names {
		c.sources[n] = true
	}
}

// another counts the texts to compile.
func (c *compiler) another(field string) bool {
	if c.texts++; c.texts == TemplatesMax+1 {
		c.report(field, fmt.Sprintf("the workflow has more than %d conditions and texts with values", TemplatesMax), "split it: move_to_workflow leads from one to the next")
	}
	return c.texts <= TemplatesMax
}
