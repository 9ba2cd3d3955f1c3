package explain

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tillstream/tillstream/api"
	"github.com/tillstream/tillstream/schemas"
)

// tags tells of the newest desired state at each destination: why each tag is there or was taken away.
func (t *teller) tags() (lines []api.ExplanationLine) {
	newest := map[string]*schemas.Command{}
	var keys []string
	for i := range t.Commands {
		c := &t.Commands[i]
		if c.Kind != schemas.CommandContact {
			continue
		}
		key := c.Destination + "\x00" + c.ContactKey
		if newest[key] == nil {
			keys = append(keys, key)
		}
		if newest[key] == nil || c.Version >= newest[key].Version {
			newest[key] = c
		}
	}
	slices.Sort(keys)
	for _, key := range keys {
		c := newest[key]
		lines = append(lines, api.ExplanationLine{At: c.At, CommandID: c.CommandID, ConfigVersion: c.ConfigVersion, Text: fmt.Sprintf(
			"At %s the contact %s should be as its version %d says (configuration %s).", c.Destination, c.ContactKey, c.Version, orDash(c.ConfigVersion))})
		for _, tag := range c.Contact.Tags {
			lines = append(lines, t.why(c, tag, true))
		}
		for _, tag := range c.Contact.NoTags {
			lines = append(lines, t.why(c, tag, false))
		}
		for _, issue := range c.Issues {
			lines = append(lines, api.ExplanationLine{Depth: 1, Text: "Not mapped, the field was left alone: " + strings.TrimSuffix(issue, ".") + ".", ConfigVersion: c.ConfigVersion})
		}
	}
	return lines
}

// why finds the newest version of the desired state, at the destination and for the contact of c, that says which rule
// added or removed the tag.
func (t *teller) why(c *schemas.Command, tag string, present bool) api.ExplanationLine {
	sign, verb := "+", "is there"
	if !present {
		sign, verb = "-", "was taken away"
	}
	var found *schemas.Command
	rule := ""
	for i := range t.Commands {
		x := &t.Commands[i]
		if x.Kind != schemas.CommandContact || x.Destination != c.Destination || x.ContactKey != c.ContactKey || x.Version > c.Version || found != nil && x.Version < found.Version {
			continue
		}
		for _, reason := range x.Reasons {
			if by, ok := strings.CutPrefix(reason, sign+tag+" by "); ok {
				found, rule = x, by
			}
		}
	}
	if found == nil {
		return api.ExplanationLine{Depth: 1, Text: fmt.Sprintf("The tag %s %s; which rule did it is older than what is shown here.", tag, verb)}
	}
	text := fmt.Sprintf("The tag %s %s because of %s (configuration %s)", tag, verb, rule, orDash(found.ConfigVersion))
	if found.EventID != "" {
		text += ", at the event " + found.EventID
	}
	if found.RootKey != "" {
		text += " of " + found.RootKey
	}
	return api.ExplanationLine{At: found.At, Depth: 1, Text: text + ".", Rule: rule, ConfigVersion: found.ConfigVersion, EventID: found.EventID, CommandID: found.CommandID}
}

// crm tells what became of each effect and question, and of the newest desired state of each contact and destination.
func (t *teller) crm() (lines []api.ExplanationLine) {
	last := map[string]*schemas.Delivery{}
	for i := range t.Deliveries {
		last[t.Deliveries[i].CommandID] = &t.Deliveries[i]
	}
	newest := map[string]int64{}
	for i := range t.Commands {
		if c := &t.Commands[i]; c.Kind == schemas.CommandContact {
			newest[c.Destination+"\x00"+c.ContactKey] = max(newest[c.Destination+"\x00"+c.ContactKey], c.Version)
		}
	}
	older := 0
	for i := range t.Commands {
		c := &t.Commands[i]
		if c.Kind == schemas.CommandContact && c.Version < newest[c.Destination+"\x00"+c.ContactKey] {
			older++
			continue
		}
		lines = append(lines, api.ExplanationLine{At: c.At, Text: subject(c) + " " + outcome(last[c.CommandID]), Rule: c.Rule, ConfigVersion: c.ConfigVersion, EventID: c.EventID, RunID: c.RunID, CommandID: c.CommandID})
	}
	if older > 0 {
		lines = append(lines, api.ExplanationLine{Text: times(older, "older version") + " of the contact came before; a newer one replaces it."})
	}
	return lines
}

// subject is what a command asks for.
func subject(c *schemas.Command) string {
	text := fmt.Sprintf("The contact's version %d for %s", c.Version, c.Destination)
	switch {
	case c.Effect == nil:
	case c.Kind == schemas.CommandQuestion:
		text = fmt.Sprintf("The question to %s whether the contact is on the list %s", c.Destination, c.Effect.Name)
	default:
		text = fmt.Sprintf("%s %s at %s", strings.ToLower(strings.ReplaceAll(c.Effect.Type, "_", " ")), quoted(c.Effect.Name), c.Destination)
		text = strings.ToUpper(text[:1]) + text[1:]
	}
	if c.Rule != "" {
		text += " (by " + c.Rule + ", configuration " + orDash(c.ConfigVersion) + ")"
	}
	return text
}

// outcome is what became of it.
func outcome(d *schemas.Delivery) string {
	if d == nil {
		return "is not sent yet."
	}
	text := ""
	switch d.Outcome {
	case schemas.OutcomeDelivered:
		text = "was taken"
	case schemas.OutcomeSuperseded:
		text = "was left out: a newer version was sent instead"
	case schemas.OutcomeRejected:
		text = "was refused for good"
	case schemas.OutcomeRetryable:
		text = "did not get through yet and is tried again"
	case schemas.OutcomeIntent:
		text = "is on its way"
	default:
		text = "may have happened or not; a person has to look"
	}
	if n := len(d.Requests); n > 0 && d.Requests[n-1].Status > 0 {
		text += fmt.Sprintf(" (HTTP %d)", d.Requests[n-1].Status)
	}
	if d.Error != "" {
		text += ": " + strings.TrimSuffix(d.Error, ".")
	}
	if d.Remedy != "" {
		text += "; what to do: " + strings.TrimSuffix(d.Remedy, ".")
	}
	return text + "."
}

func quoted(name string) string {
	if name == "" {
		return ""
	}
	return `"` + name + `"`
}
