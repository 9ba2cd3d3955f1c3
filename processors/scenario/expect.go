package scenario

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/tillstream/tillstream/processors/triggers"
	"github.com/tillstream/tillstream/schemas"
)

// things are the words that follow expect, for the hint.
var things = []string{
	"transition", "changed", "recorded", "late", "duplicate", "ignored", "status", "contact", "command", "wait", "met", "correction", "started", "branch",
	"asked", "action", "held", "failed", "migrated", "ended", "stopped", "step", "run", "dead",
}

// parseExpect reads what follows expect.
func parseExpect(w *words) (x expectation, err error) {
	x.not = w.take("no")
	if w.take("not") { // not met, not started; but "no not met" and "not command" are nothing
		switch {
		case w.peek() == "met", w.peek() == "started":
			err = x.step(w, "not "+w.next())
		default:
			err = fmt.Errorf("write: expect no %s, expect not met, or expect not started", cmp.Or(w.peek(), "command"))
		}
	} else {
		w.take("state")
		err = x.thing(w, w.next())
	}
	if err != nil {
		return x, err
	}
	for {
		name, value, contains, ok := w.attribute()
		if !ok {
			return x, nil
		}
		if !slices.ContainsFunc(factsOf[x.class], func(f string) bool {
			return f == name || strings.HasSuffix(f, ".") && strings.HasPrefix(name, f) && len(name) > len(f)
		}) {
			return x, unknownWord(name, "attribute of "+string(x.class), factsOf[x.class])
		}
		switch name {
		case "tags", "untags":
			var words []string
			for t := range strings.SplitSeq(value, ",") {
				if t != "" {
					words = append(words, t)
				}
			}
			value = list(words)
		case "paid", "refunded":
			value = plain(value, "")
		}
		x.wants = append(x.wants, want{name, value, contains})
	}
}

func (x *expectation) want(fact, value string) {
	if value != "" {
		x.wants = append(x.wants, want{fact: fact, value: value})
	}
}

func (x *expectation) thing(w *words, word string) error {
	switch word {
	case "transition":
		x.class = transitions
		x.want(factDisposition, string(schemas.Changed))
		return x.move(w)
	case "changed", "recorded", "late", "duplicate", "ignored":
		x.class = transitions
		x.want(factDisposition, strings.ToUpper(word))
		x.want(factRoot, w.next())
	case "status":
		x.class, x.state = transitions, true
		root, status := w.next(), w.next()
		if root == "" || x.not {
			return fmt.Errorf("write: expect status A1 PAID")
		}
		x.want(factRoot, root)
		if err := known(status); err != nil {
			return err
		}
		x.want(factTo, status)
	case "contact":
		x.class, x.state = contacts, !x.not
		if w.peek() != "at" {
			x.want(factEmail, schemas.NormalizeEmail(w.next()))
		}
		if w.take("at") {
			x.want(factAt, w.next())
		}
	case "command":
		x.class = commands
		if w.peek() != "to" {
			x.want(factType, w.next())
		}
		if w.peek() != "to" {
			x.want(factName, w.next())
		}
		if w.take("to") {
			x.want(factAt, w.next())
		}
	case "dead":
		if !w.take("letter") {
			return fmt.Errorf("write: expect dead letter, or: expect no dead letter")
		}
		x.class = letters
		x.want(factCause, w.next())
	default:
		return x.step(w, word)
	}
	return nil
}

// move reads [ROOT] [FROM] -> TO.
func (x *expectation) move(w *words) error {
	var before []string
	for w.peek() != "->" {
		word := w.next()
		if word == "" {
			x.want(factRoot, strings.Join(before, " "))
			return nil
		}
		before = append(before, word)
	}
	w.next()
	if len(before) > 2 || len(before) == 0 {
		return fmt.Errorf("write: expect transition A1 APPROVED -> FAILED")
	}
	x.want(factRoot, before[0])
	to := w.next()
	if len(before) == 2 {
		if err := known(before[1]); err != nil {
			return err
		}
		x.want(factFrom, before[1])
	}
	if err := known(to); err != nil {
		return err
	}
	x.want(factTo, to)
	return nil
}

func known(status string) error {
	if all := append(triggers.Statuses(), string(schemas.StatusUnknown)); !slices.Contains(all, status) {
		return unknownWord(status, "status", all)
	}
	return nil
}

// step reads WORKFLOW [STEP] [until TIME|never] after a kind of step.
func (x *expectation) step(w *words, word string) error {
	x.class = steps
	kind := ""
	switch {
	case word == "run":
		kind = string(schemas.StepStarted)
	case word == "step":
		kind = strings.ToUpper(w.next())
		if stepVerbs[kind] == "" {
			return unknownWord(kind, "kind of step", sorted(stepVerbs))
		}
	default:
		for k, verb := range stepVerbs {
			if verb == word {
				kind = k
			}
		}
	}
	switch kind {
	case "":
		return unknownWord(word, "thing to expect", things)
	case string(schemas.StepWaitOpened), string(schemas.StepWaitMet), string(schemas.StepWaitNotMet), string(schemas.StepWaitCorrected):
		x.class = waits
	}
	x.want(factKind, kind)
	if w.peek() != "until" {
		x.want(factWorkflow, w.next())
	}
	if w.peek() != "until" {
		x.want(factStep, w.next())
	}
	if !w.take("until") {
		return nil
	}
	if kind != string(schemas.StepWaitOpened) {
		return fmt.Errorf("until is for: expect wait WORKFLOW until TIME")
	}
	if w.take("never") {
		x.want(factUntil, "never")
		return nil
	}
	t, err := w.moment()
	x.want(factUntil, stamp(t))
	return err
}

// differences say where o is not as x wants it; empty: it is.
func (x *expectation) differences(o *seen) (list []string) {
	for _, m := range x.wants {
		got, there := o.facts[m.fact]
		switch m.fact {
		case "tag", "untag":
			if !slices.Contains(strings.Split(o.facts[m.fact+"s"], ","), m.value) {
				list = append(list, fmt.Sprintf("%ss are %q, without %q", m.fact, o.facts[m.fact+"s"], m.value))
			}
		case "version":
			if got != m.value {
				list = append(list, fmt.Sprintf("version is %s, not %s", got, m.value))
			}
		default:
			switch {
			case m.contains && !strings.Contains(strings.ToLower(got), strings.ToLower(m.value)):
				list = append(list, fmt.Sprintf("%s is %q, without %q", m.fact, got, m.value))
			case !m.contains && got != m.value && !there:
				list = append(list, fmt.Sprintf("it has no %s, wanted is %q", m.fact, m.value))
			case !m.contains && got != m.value:
				list = append(list, fmt.Sprintf("%s is %q, wanted is %q", m.fact, got, m.value))
			}
		}
	}
	return list
}
