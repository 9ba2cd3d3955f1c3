package reading

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/tillstream/tillstream/api"
	"github.com/tillstream/tillstream/outbound"
	"github.com/tillstream/tillstream/pipeline/connections"
	"github.com/tillstream/tillstream/schemas"
	chsink "github.com/tillstream/tillstream/sinks/clickhouse"
)

// tracedAs is what an id must be found to be, by the kind of a timeline.
var tracedAs = map[string]string{
	api.TimelineEvents: "event", api.TimelineOrders: "order", api.TimelinePayments: "order", api.TimelineSubscriptions: "order", api.TimelineContacts: "contact",
}

// Timeline implements api.Reading.
func (d *Desk) Timeline(ctx context.Context, q api.TimelineQuery) (api.Timeline, error) {
	as, ok := tracedAs[q.Kind]
	if !ok {
		return api.Timeline{}, refuse(connections.NotFound, "there is no timeline of %.40q: use events, orders, contacts, payments or subscriptions", q.Kind)
	}
	if strings.TrimSpace(q.ID) == "" {
		return api.Timeline{}, refuse(connections.Invalid, "say which: /timeline/%s/ID", q.Kind)
	}
	t, err := d.Store.TraceOf(ctx, as, q.ID)
	if err != nil {
		return api.Timeline{}, refused(err)
	}
	if len(t.Hops) == 0 {
		return api.Timeline{}, refuse(connections.NotFound, "nothing is known of %.80q as one of the %s; what was just received is there after a moment", outbound.Redact(q.ID), q.Kind)
	}
	return TimelineOf(t, q.PersonalData), nil
}

// TimelineOf tells a trace hop by hop, each with what went in and what came out.
func TimelineOf(t chsink.Trace, personalData bool) api.Timeline {
	line := api.Timeline{ID: redacted(personalData, t.ID), As: t.As, Orders: []string{}, Contacts: []string{}, Hops: make([]api.Hop, 0, len(t.Hops)), Truncated: t.Truncated}
	for _, key := range t.RootKeys {
		line.Orders = append(line.Orders, redacted(personalData, key))
	}
	for _, key := range t.ContactKeys {
		line.Contacts = append(line.Contacts, masked(personalData, key))
	}
	for i, h := range t.Hops {
		hop := hopOf(h, personalData)
		if i > 0 {
			hop.AfterMillis = h.At.Sub(t.Hops[i-1].At).Milliseconds()
		}
		line.Hops = append(line.Hops, hop)
	}
	return line
}

// How the details of a hop are shown.
type shown uint8

const (
	into      shown = iota + 1 // what went in
	out                        // what came out
	elsewhere                  // in a field of its own
)

// hopForm says how the details of one kind of hop are shown; a detail that is not named goes into rest.
type hopForm struct {
	stage string
	names map[string]shown
	rest  shown
	tell  func(h chsink.Hop, hop *api.Hop)
}

var common = map[string]shown{
	"contact": elsewhere, "order": elsewhere, "event": elsewhere, "config version": elsewhere, "command": elsewhere, "run": elsewhere, "destination": elsewhere,
	"remedy": elsewhere, "attempt": elsewhere,
}

var hopForms = map[string]hopForm{
	chsink.HopReceived: {
		stage: api.StageReceipt, rest: into, names: map[string]shown{"status": out, "problem": out, "order": out, "contact": out},
		tell: func(h chsink.Hop, hop *api.Hop) {
			hop.Outcome, hop.Good = "ACCEPTED", true
			if h.Get("problem") != "" {
				hop.Outcome, hop.Good = "UNREADABLE", false
			}
		},
	},
	chsink.HopTransition: {
		stage: api.StageOrders, rest: out, names: map[string]shown{"from": into, "event type": into},
		tell: func(h chsink.Hop, hop *api.Hop) {
			hop.Outcome, hop.Good = h.Get("disposition"), h.Get("legal") != "no" && h.Get("orphan") == ""
		},
	},
	chsink.HopRun: {
		stage: api.StageWorkflow, rest: into, names: map[string]shown{"detail": out, "wait": out, "deadline": out},
		tell: func(h chsink.Hop, hop *api.Hop) {
			_, word, _ := strings.Cut(h.Title, ": ")
			word, _, _ = strings.Cut(word, " at step ")
			hop.Outcome = strings.ToUpper(strings.ReplaceAll(word, " ", "_"))
			hop.Good = hop.Outcome != string(schemas.StepFailed)
		},
	},
	chsink.HopCommand: {
		stage: api.StageCommand, rest: out, names: map[string]shown{"rule": into, "trigger": into, "reasons": into},
		tell: func(h chsink.Hop, hop *api.Hop) {
			hop.Outcome, hop.Good = string(schemas.CommandContact), h.Get("not mapped") == ""
			if h.Get("effect") != "" {
				hop.Outcome = string(schemas.CommandEffect)
			}
			if strings.HasPrefix(h.Title, "Question ") {
				hop.Outcome = string(schemas.CommandQuestion)
			}
			hop.Destination = destinationOf(h.Title)
		},
	},
	chsink.HopDelivery: {
		stage: api.StageCRM, rest: out, names: map[string]shown{"started": into},
		tell: func(h chsink.Hop, hop *api.Hop) {
			word, destination, _ := strings.Cut(h.Title, " at ")
			hop.Outcome, hop.Destination = word, destination
			switch schemas.OutcomeWord(word) {
			case schemas.OutcomeDelivered, schemas.OutcomeSuperseded, schemas.OutcomeIntent:
				hop.Good = true
			}
		},
	},
	chsink.HopDeadLetter: {
		stage: api.StageDeadLetter, rest: into, names: map[string]shown{"reason": out},
		tell: func(h chsink.Hop, hop *api.Hop) { hop.Outcome = strings.TrimPrefix(h.Title, "Dead letter ") },
	},
}

// destinationOf is the last word of a command's title: names of destinations have no spaces.
func destinationOf(title string) string { return title[strings.LastIndexByte(title, ' ')+1:] }

func hopOf(h chsink.Hop, personalData bool) api.Hop {
	form := hopForms[h.Kind]
	hop := api.Hop{
		At: h.At.UTC(), Stage: form.stage, What: redacted(personalData, h.Title), Input: []api.NamedText{}, Output: []api.NamedText{},
		Event: h.Get("event"), Order: redacted(personalData, h.Get("order")), Contact: masked(personalData, h.Get("contact")), Destination: h.Get("destination"),
		Command: h.Get("command"), Run: h.Get("run"), Config: h.Get("config version"), Remedy: redacted(personalData, h.Get("remedy")),
		Place: api.RecordPlace{Topic: h.Coordinates.Topic, Partition: h.Coordinates.Partition, Offset: h.Coordinates.Offset},
	}
	hop.Attempt, _ = strconv.ParseInt(h.Get("attempt"), 10, 64) // none: 0
	form.tell(h, &hop)
	hop.Exchanges = exchanges(h, personalData)
	for _, p := range h.Detail {
		where := form.names[p.Name]
		if where == 0 {
			where = common[p.Name]
		}
		if where == 0 && isExchange(p.Name) {
			where = elsewhere
		}
		if where == 0 {
			where = form.rest
		}
		text := api.NamedText{Name: p.Name, Value: detail(p, personalData)}
		switch where {
		case into:
			hop.Input = append(hop.Input, text)
		case out:
			hop.Output = append(hop.Output, text)
		}
	}
	return hop
}

// personal are the details that name a person as a whole; in the others there may be an address.
func personal(name string) bool {
	switch name {
	case "contact", "email", "first name", "last name", "phone", "effect data":
		return true
	}
	return strings.HasPrefix(name, "field ") || strings.HasPrefix(name, "argument ")
}

func detail(p chsink.Pair, personalData bool) string {
	if personal(p.Name) {
		return masked(personalData, p.Value)
	}
	return redacted(personalData, p.Value)
}

func isExchange(name string) bool {
	word, rest, ok := strings.Cut(name, " ")
	number, _, _ := strings.Cut(rest, " ")
	if _, err := strconv.Atoi(number); !ok || err != nil {
		return false
	}
	return word == "request" || word == "answer" || word == "error"
}

// exchangesMax bounds the exchanges of one try.
const exchangesMax = 1000

// exchanges gathers what a delivery's details say of its requests.
func exchanges(h chsink.Hop, personalData bool) []api.HopExchange {
	if h.Kind != chsink.HopDelivery {
		return nil
	}
	var list []api.HopExchange
	for n := 1; n <= exchangesMax; n++ {
		request := h.Get(fmt.Sprintf("request %d", n))
		if request == "" {
			break
		}
		var e api.HopExchange
		method, url, _ := strings.Cut(request, " ")
		e.Method, e.URL = method, redacted(personalData, url)
		e.RequestBody, e.ResponseBody = body(h.Get(fmt.Sprintf("request %d body", n)), personalData), body(h.Get(fmt.Sprintf("answer %d body", n)), personalData)
		e.Error = redacted(personalData, h.Get(fmt.Sprintf("error %d", n)))
		// "200 in 31 ms", or "no answer"
		_, _ = fmt.Sscanf(h.Get(fmt.Sprintf("answer %d", n)), "%d in %d ms", &e.Status, &e.Millis)
		list = append(list, e)
	}
	return list
}

// body is one of an exchange. Names stand anywhere in it, so that it is shown to those only who may see persons.
func body(text string, personalData bool) string {
	if personalData || text == "" {
		return text
	}
	return hidden
}
