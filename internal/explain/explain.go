// Package explain tells in plain sentences why an order or a contact stands as it does: what happened, who it is, why a tag
// is there, why a message was or was not sent, what is waited for, and what the CRM said. It reads records and the files of
// configurations; it asks nobody.
package explain

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/tillstream/tillstream/api"
	"github.com/tillstream/tillstream/outbound"
	"github.com/tillstream/tillstream/schemas"
	chsink "github.com/tillstream/tillstream/sinks/clickhouse"
)

// The sections, in the order in which they are told. One without lines is left out.
const (
	SectionWay      = "way"
	SectionIdentity = "identity"
	SectionTags     = "tags"
	SectionRuns     = "runs"
	SectionWaits    = "waits"
	SectionIdle     = "idle"
	SectionCRM      = "crm"
	SectionGivenUp  = "given_up"
)

// Options say how it is told.
type Options struct {
	Now time.Time
	// PersonalData shows e-mail addresses and telephone numbers; they are masked otherwise.
	PersonalData bool
}

// teller tells one story.
type teller struct {
	chsink.Story
	Options
	books books
}

// Explain tells a story. Its result is the same for the same story and options.
func Explain(st chsink.Story, o Options) api.Explanation {
	t := teller{st, o, newBooks(st.Configs)}
	e := api.Explanation{ID: st.ID, As: st.As, At: o.Now.UTC(), Contacts: t.contacts(), Orders: slices.Clone(st.RootKeys), Truncated: st.Truncated}
	slices.Sort(e.Orders)
	for _, s := range []struct {
		id, title string
		tell      func() []api.ExplanationLine
	}{
		{SectionWay, "What happened", t.way},
		{SectionIdentity, "Who it is", t.identity},
		{SectionTags, "Tags and fields", t.tags},
		{SectionRuns, "Workflows", t.runs},
		{SectionWaits, "What is waited for", t.waits},
		{SectionIdle, "Workflows that did not run", t.idle},
		{SectionCRM, "What the CRM was asked, and answered", t.crm},
		{SectionGivenUp, "What was given up", t.givenUp},
	} {
		if lines := s.tell(); len(lines) > 0 {
			e.Sections = append(e.Sections, api.ExplanationSection{ID: s.id, Title: s.title, Lines: lines})
		}
	}
	if !o.PersonalData {
		mask(&e)
	}
	return e
}

// mask masks what names a person in every text.
func mask(e *api.Explanation) {
	e.ID = outbound.Redact(e.ID)
	for _, list := range [][]string{e.Contacts, e.Orders} {
		for i := range list {
			list[i] = outbound.Redact(list[i])
		}
	}
	for _, s := range e.Sections {
		for i := range s.Lines {
			s.Lines[i].Text = outbound.Redact(s.Lines[i].Text)
		}
	}
}

// contacts are the keys of everyone who is part of it.
func (t *teller) contacts() []string {
	keys := map[string]bool{}
	for _, k := range t.ContactKeys {
		keys[k] = true
	}
	for i := range t.Transitions {
		keys[t.Transitions[i].ContactKey] = true
	}
	for i := range t.Steps {
		keys[t.Steps[i].ContactKey] = true
	}
	delete(keys, "")
	return slices.Sorted(maps.Keys(keys))
}

// way tells what happened to the order; of several orders, a line each with how it stands.
func (t *teller) way() (lines []api.ExplanationLine) {
	byRoot := map[string][]*schemas.Transition{}
	for i := range t.Transitions {
		tr := &t.Transitions[i]
		byRoot[tr.RootKey] = append(byRoot[tr.RootKey], tr)
	}
	for _, root := range slices.Sorted(maps.Keys(byRoot)) {
		list := byRoot[root]
		last := list[len(list)-1]
		lines = append(lines, api.ExplanationLine{At: last.At, Text: standing(last, root)})
		if len(byRoot) > wayOrdersMax {
			continue
		}
		repeats := 0
		for _, tr := range list {
			if tr.Disposition == schemas.Duplicate {
				repeats++
				continue
			}
			lines = append(lines, api.ExplanationLine{At: tr.At, Depth: 1, Text: transitionText(tr), EventID: tr.Event.EventID})
		}
		if repeats > 0 {
			lines = append(lines, api.ExplanationLine{Depth: 1, Text: fmt.Sprintf("%s came again; a repetition has no effect.", times(repeats, "event"))})
		}
	}
	return lines
}

// wayOrdersMax is up to how many orders each is told in full.
const wayOrdersMax = 3

func standing(tr *schemas.Transition, root string) string {
	text := fmt.Sprintf("The %s %s is %s", strings.ToLower(string(tr.RootKind)), root, tr.To)
	if tr.Paid != "" && tr.Currency != "" {
		text += fmt.Sprintf("; %s %s paid", tr.Paid, tr.Currency)
		if tr.Refunded != "" && tr.Refunded != "0" {
			text += fmt.Sprintf(", %s refunded", tr.Refunded)
		}
	}
	return text + "."
}

func transitionText(tr *schemas.Transition) string {
	var text string
	switch {
	case tr.Disposition == schemas.Late:
		text = "came late and changed no status"
	case tr.Disposition == schemas.Ignored:
		text = "has no effect"
	case tr.Disposition == schemas.Changed && tr.From == "":
		text = "began it as " + string(tr.To)
	case tr.Disposition == schemas.Changed:
		text = fmt.Sprintf("changed it from %s to %s", tr.From, tr.To)
	default:
		text = "was recorded; it stays " + string(tr.To)
	}
	text = orDash(tr.Event.EventType) + " " + text
	if tr.Why != "" {
		text += ": " + strings.TrimSuffix(tr.Why, ".")
	}
	if from := originText(tr.Event.Origin, tr.Event.Test); from != "" {
		text += " (" + from + ")"
	}
	return text + "."
}

func originText(o schemas.Origin, test bool) string {
	switch {
	case test:
		return "a test event: it sends no message and changes no list"
	case o == schemas.OriginBackfill || o == schemas.OriginReplay:
		return "loaded from the past: it sends no message and changes no list"
	case o == schemas.OriginPoll:
		return "found by asking the provider"
	}
	return ""
}

// identity tells under which names the contact is known.
func (t *teller) identity() (lines []api.ExplanationLine) {
	for _, key := range t.contacts() {
		lines = append(lines, api.ExplanationLine{Text: "The contact is " + key + "."})
	}
	for _, a := range t.Aliases {
		lines = append(lines, api.ExplanationLine{Text: fmt.Sprintf("%s and %s were seen with the same payer id %s: they are linked, never merged.", a.ContactKey, a.Other, a.PayerID)})
	}
	return lines
}

// givenUp tells of dead letters.
func (t *teller) givenUp() (lines []api.ExplanationLine) {
	for _, l := range t.DeadLetters {
		text := fmt.Sprintf("%s (%s, stage %s)", strings.TrimSuffix(l.Reason, "."), l.Cause, orDash(l.Stage))
		if l.Remedy != "" {
			text += "; what to do: " + strings.TrimSuffix(l.Remedy, ".")
		}
		lines = append(lines, api.ExplanationLine{At: l.At, Text: text + ".", EventID: l.EventID})
	}
	return lines
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func times(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
