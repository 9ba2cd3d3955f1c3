package scenario

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tillstream/tillstream/processors/mapping"
	"github.com/tillstream/tillstream/schemas"
)

// Bounds of one file.
const (
	fileBytesMax  = 4 << 20
	scenariosMax  = 10_000
	problemsMax   = 50
	statementsMax = 100_000
)

// Parse reads a scenario file. The error is Problems.
func Parse(name, text string) (*File, error) {
	p := &parser{f: &File{Name: name}, zone: time.UTC, common: time.UTC, titles: map[string]int{}}
	if len(text) > fileBytesMax {
		p.report(1, fmt.Sprintf("the file is longer than %d bytes", fileBytesMax), "split it")
		return nil, p.problems
	}
	p.lines = strings.Split(strings.TrimPrefix(text, "\ufeff"), "\n")
	for p.at < len(p.lines) && len(p.problems) < problemsMax {
		p.line()
	}
	if len(p.f.Scenarios) == 0 && len(p.problems) == 0 {
		p.report(1, "the file has no scenario", "begin one with a line such as: scenario: payment fails")
	}
	if len(p.problems) > 0 {
		return nil, p.problems
	}
	return p.f, nil
}

type parser struct {
	f        *File
	lines    []string
	at       int // index of the next line
	zone     *time.Location
	common   *time.Location // of the preamble: each scenario begins with it
	problems Problems
	titles   map[string]int
	count    int
}

func (p *parser) report(line int, message, hint string) {
	p.problems = append(p.problems, &Problem{p.f.Name, line, message, hint})
}

// line reads one statement, with its block.
func (p *parser) line() {
	raw := p.lines[p.at]
	p.at++
	number := p.at
	tokens, err := split(raw)
	if err != nil {
		p.report(number, err.Error(), `close it, or write \" for a quotation mark inside`)
		return
	}
	if len(tokens) == 0 {
		return
	}
	verb := strings.TrimSuffix(tokens[0].text, ":")
	text := strings.TrimSpace(raw)
	if verb == "scenario" {
		p.scenario(number, strings.TrimSpace(strings.TrimPrefix(strings.TrimPrefix(text, "scenario"), ":")))
		return
	}
	w := &words{list: tokens[1:], zone: p.zone}
	do, err := p.statement(verb, w, raw)
	if err == nil && len(w.list) > 0 {
		err = fmt.Errorf("%q is not understood here", w.list[0].text)
	}
	if err != nil {
		p.report(number, err.Error(), "")
		return
	}
	if do == nil {
		return // it concerned the parser alone
	}
	if p.count++; p.count > statementsMax {
		p.report(number, fmt.Sprintf("the file has more than %d statements", statementsMax), "split it")
		p.at = len(p.lines)
		return
	}
	s := Statement{Line: number, Text: text, do: do}
	if n := len(p.f.Scenarios); n > 0 {
		p.f.Scenarios[n-1].Statements = append(p.f.Scenarios[n-1].Statements, s)
	} else {
		p.f.Preamble = append(p.f.Preamble, s)
	}
}

func (p *parser) scenario(line int, title string) {
	switch first, again := p.titles[title]; {
	case title == "":
		p.report(line, "the scenario has no title", "write what it shows: scenario: payment fails, then succeeds")
	case again:
		p.report(line, fmt.Sprintf("there is a scenario %q already, in line %d", title, first), "give each its own title")
	case len(p.f.Scenarios) == scenariosMax:
		p.report(line, fmt.Sprintf("the file has more than %d scenarios", scenariosMax), "split it")
		p.at = len(p.lines)
	default:
		p.titles[title], p.zone = line, p.common
		p.f.Scenarios = append(p.f.Scenarios, Scenario{Name: title, Line: line})
	}
}

// verbs are the beginnings of statements, for the hint.
var verbs = []string{
	"scenario", "config", "file", "remove", "connection", "zone", "apply", "at", "advance", "after", "event", "again", "answer", "decide",
	"touch", "receivers", "ignore", "strict", "expect",
}

func (p *parser) statement(verb string, w *words, raw string) (any, error) {
	switch verb {
	case "config":
		name := w.next()
		if name == "" {
			return nil, fmt.Errorf("config needs a name: config: NAME of a folder beside this file")
		}
		return doConfig{name}, nil
	case "file":
		return p.file(w, raw)
	case "connection":
		name := w.next()
		if name == "" {
			return nil, fmt.Errorf("connection needs a name: connection paypal-eu")
		}
		return doConnection{name}, nil
	case "zone":
		zone, ok, err := zoneOf(w.next())
		if err != nil || !ok {
			return nil, fmt.Errorf("zone needs a time zone, such as Europe/Rome or +01:00")
		}
		if p.zone = zone; len(p.f.Scenarios) == 0 {
			p.common = zone
		}
		return nil, nil
	case "apply":
		w.take("config")
		return doApply{w.next()}, nil
	case "at", "advance":
		if verb == "advance" && !w.take("to") {
			return nil, fmt.Errorf("write: advance to 2026-03-05 10:00")
		}
		t, err := w.moment()
		return doAt{t}, err
	case "after":
		d, err := durationOf(w.next())
		return doAfter{d}, err
	case "event":
		e, err := parseEvent(w)
		return doEvent{e}, err
	case "expect":
		x, err := parseExpect(w)
		return doExpect{x}, err
	}
	return p.further(verb, w)
}

// further are the rarer statements.
func (p *parser) further(verb string, w *words) (any, error) {
	switch verb {
	case "again":
		do := doAgain{id: w.next()}
		for {
			name, value, _, ok := w.attribute()
			if !ok {
				return do, nil
			}
			if name != "origin" {
				return nil, unknownWord(name, "attribute of again", []string{"origin"})
			}
			var err error
			if do.origin, err = originOf(value); err != nil {
				return nil, err
			}
		}
	case "answer":
		return parseAnswer(w)
	case "decide":
		do := doDecide{met: !w.take("not")}
		if !w.take("met") {
			return nil, fmt.Errorf("write: decide met, or: decide not met")
		}
		do.workflow = w.next()
		return do, nil
	case "remove":
		path := w.next()
		if path == "" {
			return nil, fmt.Errorf("remove needs a path inside the configuration, such as workflows/failed.yaml")
		}
		return doFile{path: path}, nil
	case "touch":
		email := w.next()
		if email == "" {
			return nil, fmt.Errorf("touch needs the contact's e-mail address")
		}
		return doTouch{email}, nil
	case "receivers":
		word := w.next()
		if word != "up" && word != "down" {
			return nil, fmt.Errorf("write: receivers down, or: receivers up")
		}
		return doReceivers{word == "up"}, nil
	case "ignore", "strict":
		c, err := w.class()
		return doIgnore{c, verb == "strict"}, err
	}
	return nil, unknownWord(verb, "statement", verbs)
}

// file takes the indented lines below as the file's text.
func (p *parser) file(w *words, raw string) (any, error) {
	path := w.next()
	if path == "" || strings.HasPrefix(path, "/") || strings.Contains(path, "..") {
		return nil, fmt.Errorf("file needs a path inside the configuration, such as workflows/failed.yaml, and its text in indented lines below")
	}
	own := indent(raw)
	var block []string
	for ; p.at < len(p.lines); p.at++ {
		if l := strings.TrimRight(p.lines[p.at], " \t\r"); l != "" && indent(l) <= own {
			break
		}
		block = append(block, strings.TrimRight(p.lines[p.at], " \t\r"))
	}
	for len(block) > 0 && block[len(block)-1] == "" {
		block = block[:len(block)-1]
	}
	cut := -1
	for _, l := range block {
		if l != "" && (cut < 0 || indent(l) < cut) {
			cut = indent(l)
		}
	}
	if cut < 0 {
		return nil, fmt.Errorf("file %s has no text: indent its lines below", path)
	}
	for i, l := range block {
		block[i] = l[min(cut, len(l)):]
	}
	return doFile{path, strings.Join(block, "\n") + "\n"}, nil
}

func indent(l string) int { return len(l) - len(strings.TrimLeft(l, " \t")) }

// class takes the plural name of a class.
func (w *words) class() (class, error) {
	word := w.next()
	if word == "dead" && w.take("letters") {
		return letters, nil
	}
	if c := class(word); slices.Contains(classes, c) {
		return c, nil
	}
	names := make([]string, len(classes))
	for i, c := range classes {
		names[i] = string(c)
	}
	return "", unknownWord(word, "class of things", names)
}

func parseAnswer(w *words) (any, error) {
	do := doAnswer{}
	for {
		name, value, _, ok := w.attribute()
		if !ok {
			word := w.next()
			if word == "" {
				break
			}
			do.standing = schemas.Standing(word)
			continue
		}
		switch name {
		case "list":
			do.list = value
		case "at":
			do.destination = value
		case "error":
			do.why = value
		default:
			return nil, unknownWord(name, "attribute of answer", []string{"list", "at", "error"})
		}
	}
	standings := []string{"ACTIVE", "UNCONFIRMED", "UNSUBSCRIBED", "BOUNCED", "ABSENT", "UNKNOWN"}
	if !slices.Contains(standings, string(do.standing)) {
		return nil, unknownWord(string(do.standing), "standing", standings)
	}
	return do, nil
}

func originOf(word string) (schemas.Origin, error) {
	o := schemas.Origin(strings.ToUpper(word))
	switch o {
	case schemas.OriginWebhook, schemas.OriginPoll, schemas.OriginBackfill, schemas.OriginReplay:
		return o, nil
	}
	return "", unknownWord(word, "origin", []string{"webhook", "poll", "backfill", "replay"})
}

// unknownWord is the error about a word that names nothing.
func unknownWord(word, what string, known []string) error {
	if word == "" {
		return fmt.Errorf("a %s is missing: one of %s", what, strings.Join(known, ", "))
	}
	if near := mapping.Nearest(word, known); near != "" {
		return fmt.Errorf("%q is no %s; did you mean %s?", word, what, near)
	}
	return fmt.Errorf("%q is no %s; there are %s", word, what, strings.Join(known, ", "))
}
