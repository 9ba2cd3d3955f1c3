package main

import (
	"bufio"
	"encoding/json"
	"os"
	"slices"
	"strings"

	"github.com/tillstream/tillstream/internal/audit"
	"github.com/tillstream/tillstream/schemas"
)

const (
	logLineMax = 4 << 20
	// sessionAnew is the one error that killed brokers and cut connections bring about; every other one says that
	// something happened which must not.
	sessionAnew = "delivery starts a new session with kafka"
)

// outside compares by rules of its own, of package audit: each order's final status from the sent bodies, each
// command's one end, and what the CRM holds.
func (c *checker) outside(w *world) {
	in := &audit.Inside{Desired: map[string]audit.DesiredContact{}, FinalDeliveries: map[string]int{}, Uncertain: map[string]bool{}, Rejected: map[string]bool{}}
	events := map[string]string{} // coordinates to delivery key
	for _, r := range c.past.of(schemas.TopicPayPalEvents) {
		if e, ok := c.decoded[r].(*schemas.OrderEvent); ok {
			key := e.Connection + "/" + e.BodyHash
			events[letterID(r)] = key
			in.Events = append(in.Events, audit.InsideEvent{Connection: e.Connection, EventID: e.EventID, BodyHash: e.BodyHash, DeliveryKey: key})
		}
	}
	for _, r := range c.past.of(schemas.TopicOrdersInbox) {
		if e, ok := c.decoded[r].(*schemas.OrderEvent); ok {
			events[letterID(r)] = e.Connection + "/" + e.BodyHash
		}
	}
	for _, r := range c.past.of(schemas.TopicTransitions) {
		if t, ok := c.decoded[r].(*schemas.Transition); ok {
			e := t.Event
			in.Transitions = append(in.Transitions, audit.InsideTransition{
				RootKey: t.RootKey, Number: t.Number, Disposition: string(t.Disposition), To: string(t.To), EventID: e.EventID,
				Connection: e.Connection, BodyHash: e.BodyHash, DeliveryKey: e.Connection + "/" + e.BodyHash,
			})
		}
	}
	for _, r := range c.past.of(schemas.TopicDeadLetters) {
		if d, ok := c.decoded[r].(*schemas.DeadLetter); ok {
			in.DeadLetters = append(in.DeadLetters, audit.InsideDeadLetter{Stage: d.Stage, Cause: d.Cause, EventID: d.EventID, DeliveryKey: events[d.ID]})
		}
	}
	c.commandsInto(in)
	c.stepsInto(in)
	report := audit.Compare(w.outsideNow(), in)
	w.r.Uncertain = report.Uncertain
	for _, f := range report.Findings {
		kind, text, _ := strings.Cut(f, ": ")
		c.found.add("audit", kind, "%s", text)
	}
}

func (c *checker) commandsInto(in *audit.Inside) {
	versions := map[string]int64{}
	for _, r := range c.past.of(schemas.TopicCommands) {
		cmd, ok := c.decoded[r].(*schemas.Command)
		if !ok {
			continue
		}
		email := strings.ToLower(cmd.Contact.Email)
		one := audit.InsideCommand{ID: cmd.CommandID, Kind: string(cmd.Kind), Email: email, RunID: cmd.RunID}
		if e := cmd.Effect; e != nil {
			one.Type, one.Name, one.From = e.Type, e.Name, e.Arguments[schemas.ArgumentFrom]
		}
		in.Commands = append(in.Commands, one)
		if old, seen := versions[email]; cmd.Kind == schemas.CommandContact && (!seen || cmd.Version > old) {
			versions[email] = cmd.Version
			in.Desired[email] = audit.DesiredContact{
				First: cmd.Contact.FirstName, Last: cmd.Contact.LastName, Phone: cmd.Contact.Phone, Fields: cmd.Contact.Fields, Tags: cmd.Contact.Tags,
			}
		}
	}
	for _, r := range c.past.of(schemas.TopicDeliveries) {
		d, ok := c.decoded[r].(*schemas.Delivery)
		if !ok || d.Outcome == schemas.OutcomeIntent || d.Outcome == schemas.OutcomeRetryable {
			continue
		}
		in.FinalDeliveries[d.CommandID]++
		in.Uncertain[d.CommandID] = in.Uncertain[d.CommandID] || d.Outcome == schemas.OutcomeUncertain
		in.Rejected[d.CommandID] = in.Rejected[d.CommandID] || d.Outcome == schemas.OutcomeRejected
	}
	for _, m := range []map[string]bool{in.Uncertain, in.Rejected} {
		for id, is := range m {
			if !is {
				delete(m, id)
			}
		}
	}
}

// outsideNow is what the load sent and the CRM holds.
func (w *world) outsideNow() audit.Outside {
	out := audit.Outside{Subscribed: w.joined}
	place := map[string]int{}
	for _, s := range w.load.sends {
		id := s.event.Account + "/" + s.event.ID + "/" + string(sum(s.event.Body))
		i, ok := place[id]
		if !ok {
			i = len(out.Sent)
			place[id] = i
			out.Sent = append(out.Sent, audit.Sent{Account: s.event.Account, EventID: s.event.ID, Type: s.event.Type, Body: s.event.Body})
		}
		out.Sent[i].Accepted++
	}
	for _, c := range w.crm.Contacts() {
		held := audit.CRMContact{Email: c.Email, First: c.FirstName, Last: c.LastName, Phone: c.Phone, Fields: c.Fields, Tags: c.Tags}
		for list, status := range c.Lists {
			if status == audit.ActiveOnList {
				held.Lists = append(held.Lists, list)
			}
		}
		out.Contacts = append(out.Contacts, held)
	}
	out.MessagesStart = true
	for _, e := range w.crm.Enrolments() {
		out.Starts = append(out.Starts, audit.Happened{Email: e.Email, Name: e.Automation})
	}
	for _, m := range w.crm.Messages() {
		out.Messages = append(out.Messages, audit.Happened{Email: m.Email, Name: m.Automation})
	}
	for _, t := range w.crm.Tracked() {
		out.Tracked = append(out.Tracked, audit.Tracked{Email: t.Email, Name: t.Event, Data: t.Data})
	}
	return out
}

// logsChecked reads what the processes logged: how long restores took, what they say must not be, and whether a
// person or a secret is in it.
func (w *world) logsChecked() {
	var tails, rebuilds []float64
	for _, k := range w.workers {
		for _, path := range k.logs {
			f, err := os.Open(path)
			if err != nil {
				w.found.add("logs", k.name, "%v", err)
				continue
			}
			lines := bufio.NewScanner(f)
			lines.Buffer(nil, logLineMax)
			for lines.Scan() {
				line := lines.Text()
				if strings.Contains(line, paypalSecret) || leaksAddress(line) {
					w.found.add("logs", k.name, "a secret or an address in %s: %.200s", path, mask(line))
				}
				var l struct {
					Level, Message, Kind, Reason string
					Msg                          string `json:"msg"`
					Seconds                      float64
				}
				if json.Unmarshal([]byte(line), &l) != nil {
					continue
				}
				switch text := l.Message + l.Msg; {
				case text == "partition recovered" && l.Kind == "tail":
					tails = append(tails, l.Seconds)
				case text == "partition recovered":
					rebuilds = append(rebuilds, l.Seconds)
				case strings.HasPrefix(text, "the outcome of a transaction is not known"):
					w.r.Unknown++
				case text == sessionAnew:
					w.r.Sessions++
				case l.Level == "error", l.Level == "fatal", l.Level == "panic":
					w.found.add("logs", k.name, "%.600s", line)
				}
			}
			f.Close()
		}
	}
	slices.Sort(tails)
	slices.Sort(rebuilds)
	w.r.Restores, w.r.Rebuilds = len(tails), len(rebuilds)
	w.r.RestoreTail = quantile(tails, 0.99)
	w.r.RestoreWhole = quantile(rebuilds, 1)
}

// leaksAddress reports an address of the story's people that is not masked. All of them live at example.com.
func leaksAddress(line string) bool {
	for rest := line; ; {
		i := strings.Index(rest, "@example.com")
		if i < 0 {
			return false
		}
		if i > 0 && rest[i-1] != '*' && !(i > 1 && rest[i-2] == '*') {
			return true
		}
		rest = rest[i+1:]
	}
}
