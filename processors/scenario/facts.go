package scenario

import (
	"slices"
	"strings"
	"time"

	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/schemas/money"
)

// seen is one thing that a stage wrote, as facts by name.
type seen struct {
	class   class
	line    int // of the statement that it came after
	text    string
	at      time.Time
	facts   map[string]string
	claimed int // line of the statement that expected it; 0: none did
}

// Names of facts that positions in a statement stand for.
const (
	factRoot        = "root"
	factFrom        = "from"
	factTo          = "to"
	factDisposition = "disposition"
	factType        = "type"
	factName        = "name"
	factAt          = "at" // the destination
	factEmail       = "email"
	factKind        = "kind"
	factWorkflow    = "workflow"
	factStep        = "step"
	factUntil       = "until"
	factCause       = "cause"
)

// factsOf are the facts that statements may name, by class. One that ends with a dot stands for all that begin so.
var factsOf = map[class][]string{
	transitions: {factRoot, factFrom, factTo, factDisposition, "paid", "refunded", "currency", "legal", "orphan", "event", "why", "email", "kind"},
	contacts:    {factEmail, factAt, "first", "last", "phone", "tags", "untags", "tag", "untag", "field.", "rule", "why", "issue", "version", "test"},
	commands:    {factType, factName, factAt, factEmail, "data", "arg.", "rule", "origin", "test", "order", "event"},
	waits:       {factWorkflow, factStep, factKind, factUntil, "why", "test", "shadow", "order", "event"},
	steps:       {factWorkflow, factStep, factKind, factUntil, "why", "test", "shadow", "order", "event", factAt},
	letters:     {factCause, "why", "stage", "event", "order", "remedy"},
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

func rootOf(key string) string {
	if _, _, root, ok := schemas.SplitRootKey(key); ok {
		return root
	}
	return key
}

// observe makes a thing seen of a record; false for a record that scenarios do not speak of.
func observe(rec schemas.Record, topic string) (seen, bool) {
	switch r := rec.(type) {
	case *schemas.Transition:
		if topic != schemas.TopicTransitions {
			return seen{}, false
		}
		f := map[string]string{
			factRoot: rootOf(r.RootKey), factFrom: string(r.From), factTo: string(r.To), factDisposition: string(r.Disposition), "paid": plain(r.Paid, r.Currency),
			"refunded": plain(r.Refunded, r.Currency), "currency": r.Currency, "legal": yes(r.Legal), "orphan": yes(r.Orphan), "event": r.Event.EventID, "why": r.Why,
			"kind": string(r.RootKind),
		}
		if r.Payer != nil {
			f["email"] = schemas.NormalizeEmail(r.Payer.Email)
		}
		return seen{class: transitions, at: r.At, facts: f}, true
	case *schemas.Command:
		if r.Kind == schemas.CommandContact {
			return seen{class: contacts, at: r.At, facts: contactFacts(r)}, true
		}
		return seen{class: commands, at: r.At, facts: commandFacts(r)}, true
	case *schemas.RunStep:
		f := map[string]string{
			factWorkflow: r.Workflow, factStep: r.Step, factKind: string(r.Kind), "why": r.Detail, "test": yes(r.Test), "shadow": yes(r.Shadow),
			"order": rootOf(r.RootKey), "event": r.EventID, factAt: r.Destination,
		}
		c := steps
		switch r.Kind {
		case schemas.StepWaitOpened, schemas.StepWaitMet, schemas.StepWaitNotMet, schemas.StepWaitCorrected:
			c = waits
		}
		if r.Kind == schemas.StepWaitOpened {
			f[factUntil] = stamp(r.Deadline)
		}
		return seen{class: c, at: r.At, facts: f}, true
	}
	return seen{}, false
}

func observeLetter(d *schemas.DeadLetter) seen {
	return seen{class: letters, at: d.At, facts: map[string]string{
		factCause: d.Cause, "why": d.Reason, "stage": d.Stage, "event": d.EventID, "order": rootOf(d.RootKey), "remedy": d.Remedy,
	}}
}

func contactFacts(r *schemas.Command) map[string]string {
	f := map[string]string{
		factEmail: r.Contact.Email, factAt: r.Destination, "first": r.Contact.FirstName, "last": r.Contact.LastName, "phone": r.Contact.Phone,
		"tags": list(r.Contact.Tags), "untags": list(r.Contact.NoTags), "why": strings.Join(r.Reasons, "\n"), "issue": strings.Join(r.Issues, "\n"),
		"test": yes(r.Test), "version": r.ConfigVersion,
	}
	for name, value := range r.Contact.Fields {
		f["field."+name] = value
	}
	return f
}

func commandFacts(r *schemas.Command) map[string]string {
	f := map[string]string{
		factAt: r.Destination, factEmail: r.Contact.Email, "rule": r.Rule, "origin": strings.ToLower(string(r.Origin)), "test": yes(r.Test),
		"order": rootOf(r.RootKey), "event": r.EventID,
	}
	if f["rule"] == "" {
		f["rule"] = r.Trigger
	}
	if e := r.Effect; e != nil {
		f[factType], f[factName], f["data"] = e.Type, e.Name, e.Data
		for name, value := range e.Arguments {
			f["arg."+name] = value
		}
	}
	return f
}

func list(words []string) string {
	own := slices.Clone(words)
	slices.Sort(own)
	return strings.Join(own, ",")
}

// plain writes a sum without digits that say nothing: 50, 12.5.
func plain(value, currency string) string {
	if currency == "" {
		currency = "XXX"
	}
	if money.Check(value, currency) != nil || !strings.Contains(value, ".") {
		return value
	}
	return strings.TrimSuffix(strings.TrimRight(value, "0"), ".")
}

// sentence is o in the words of a statement that would expect it.
func (o *seen) sentence() string {
	f := o.facts
	quoted := func(name, fact string) string {
		if v := f[fact]; v != "" {
			if strings.ContainsAny(v, " \t\"#") {
				v = `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", " / ").Replace(v) + `"`
			}
			return " " + name + "=" + v
		}
		return ""
	}
	switch o.class {
	case transitions:
		if f[factDisposition] != string(schemas.Changed) {
			return strings.ToLower(f[factDisposition]) + " " + f[factRoot] + " (" + f[factTo] + quoted("event", "event") + ")"
		}
		return "transition " + f[factRoot] + " " + strings.TrimSpace(f[factFrom]+" -> "+f[factTo]) + quoted("paid", "paid") + quoted("refunded", "refunded")
	case contacts:
		text := "contact " + f[factEmail] + " at " + f[factAt]
		for _, name := range sorted(f) {
			if name == "tags" || name == "untags" || name == "first" || name == "last" || strings.HasPrefix(name, "field.") {
				text += quoted(name, name)
			}
		}
		return text
	case commands:
		return "command " + f[factType] + " " + f[factName] + " to " + f[factAt] + quoted("data", "data") + quoted("rule", "rule")
	case letters:
		return "dead letter " + f[factCause] + quoted("why", "why")
	}
	text := stepVerbs[f[factKind]]
	if text == "" {
		text = "step " + f[factKind]
	}
	text += " " + f[factWorkflow]
	if f[factStep] != "" {
		text += " " + f[factStep]
	}
	if f[factKind] == string(schemas.StepWaitOpened) {
		text += " until " + f[factUntil]
	}
	return text + quoted("why", "why")
}

func sorted(f map[string]string) []string {
	names := make([]string, 0, len(f))
	for n := range f {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}

// stepVerbs are the words of statements for kinds of step.
var stepVerbs = map[string]string{
	string(schemas.StepStarted): "started", string(schemas.StepNotStarted): "not started", string(schemas.StepCondition): "branch",
	string(schemas.StepAsked): "asked", string(schemas.StepWaitOpened): "wait", string(schemas.StepWaitMet): "met",
	string(schemas.StepWaitNotMet): "not met", string(schemas.StepWaitCorrected): "correction", string(schemas.StepAction): "action",
	string(schemas.StepHeld): "held", string(schemas.StepFailed): "failed", string(schemas.StepMigrated): "migrated",
	string(schemas.StepEnded): "ended", string(schemas.StepStopped): "stopped",
}
