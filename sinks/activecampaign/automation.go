package activecampaign

import (
	"container/list"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/sinks"
)

const (
	// clockSkewMax is how far the account's clock may be behind the one that stamps commands.
	clockSkewMax = 2 * time.Minute
	// startWithin is how long after a command its start is believed to be its own, where it is not known when it was sent.
	// Beyond, a person or another program may have made it, and a person has to say.
	startWithin = 10 * time.Minute
	// startSpan is the same from when it was sent: its answer came, or was given up, by then.
	startSpan           = 3 * time.Minute
	startsRememberedMax = 10_000
	startsPath          = "/contactAutomations"
)

// startAnswer is what is read of the answer to a start.
type startAnswer struct {
	ContactAutomation struct {
		ID flexible `json:"id"`
	} `json:"contactAutomation"`
}

// startAutomation is EffectStartAutomation. Each call is one more start, so it must not be repeated unless it is known
// not to have happened.
func (w *writer) startAutomation(ctx context.Context, cmd *schemas.Command) *failure {
	automationID, fail := w.automations.id(ctx, cmd.Effect.Name)
	if fail != nil {
		return before(fail)
	}
	contactID, fail := w.made(ctx, &cmd.Contact)
	if fail != nil {
		return before(fail)
	}
	return w.enrol(ctx, cmd, contactID, automationID)
}

// sendMessage is EffectSendMessage. The API sends no message to one contact: POST /campaign makes drafts for whole lists
// only. What sends one is an automation, so the message's name is that of the automation that sends it. Its arguments are
// written into the contact's fields of these names first, where the message finds them.
func (w *writer) sendMessage(ctx context.Context, cmd *schemas.Command) *failure {
	automationID, fail := w.automations.id(ctx, cmd.Effect.Name)
	if fail != nil {
		if fail.kind == failReject {
			fail.remedy = "create an automation of this name in ActiveCampaign that sends the message, since its API sends none by itself, and replay"
		}
		return before(fail)
	}
	values, fail := w.values(ctx, cmd.Effect.Arguments)
	if fail != nil {
		return before(fail)
	}
	contactID, fail := w.find(ctx, cmd.Contact.Email)
	if fail != nil {
		return before(fail)
	}
	if contactID != "" {
		now, fail := w.standings(ctx, contactID)
		if fail != nil {
			return before(fail)
		}
		if fail := consent(now); fail != nil {
			return fail
		}
	}
	if contactID == "" || len(values) > 0 {
		if contactID, _, fail = w.sync(ctx, &cmd.Contact, values); fail != nil {
			return before(fail)
		}
	}
	return w.enrol(ctx, cmd, contactID, automationID)
}

// consent refuses a message to someone who left every list that he was on, or whose address does not take any.
func consent(now map[string]schemas.Standing) *failure {
	active, gone := false, false
	for _, s := range now {
		switch s {
		case schemas.StandingBounced:
			return &failure{kind: failReject, cause: "messages to the contact bounced, so none is sent", remedy: "correct the contact's e-mail address"}
		case schemas.StandingUnsubscribed:
			gone = true
		default:
			active = true
		}
	}
	if gone && !active {
		return &failure{
			kind: failReject, cause: "the contact is unsubscribed from all lists, so no message is sent",
			remedy: "nothing: the contact asked for it",
		}
	}
	return nil
}

// before marks a failure of what comes before the one request that must not be repeated: the whole may be tried again.
func before(f *failure) *failure {
	if f.kind == failUnknown {
		f.kind = failRetry
	}
	return f
}

// enrol starts the contact on the automation.
func (w *writer) enrol(ctx context.Context, cmd *schemas.Command, contactID, automationID string) *failure {
	contact, err := strconv.ParseInt(contactID, 10, 64)
	automation, err2 := strconv.ParseInt(automationID, 10, 64)
	if err != nil || err2 != nil {
		return &failure{kind: failRetry, cause: "activecampaign gave an id that is no number", remedy: "nothing: it is tried again"}
	}
	var answer startAnswer
	w.starts.sent(cmd.CommandID, w.api.now())
	r := w.api.call(ctx, http.MethodPost, startsPath, nil, map[string]any{
		"contactAutomation": map[string]int64{"contact": contact, "automation": automation},
	})
	if r.ok(&answer) && answer.ContactAutomation.ID != "" {
		w.starts.note(string(answer.ContactAutomation.ID), cmd.CommandID)
		return nil
	}
	fail := classify(r)
	switch {
	case fail.kind == failRetry && fail.status >= 500 && fail.status != http.StatusServiceUnavailable:
		// The server failed after it had the request; whether before or after the start, it does not say.
		fail.kind = failUnknown
	case fail.kind == failReject && (fail.code == "related_missing" || fail.status == http.StatusNotFound):
		w.automations.gone(ctx)
		fail.kind = failRetry
	case fail.kind == failReject && aboutRow(fail.said):
		w.automations.gone(ctx)
		fail.remedy = "switch the automation on in ActiveCampaign, or correct its name in the workflow, and replay"
	}
	return fail
}

// started asks the contact's own starts whether one of them is this command's. The API gives starts no name of ours, so
// it goes by their time, and by what is known to be another command's, of this process or recalled. From when this process sent it, or else from when
// the command was made (its intent, where the caller sets that): none since, and it did not happen; one soon after, and it
// did; anything else is for a person to say.
func (w *writer) started(ctx context.Context, cmd *schemas.Command) sinks.Outcome {
	automationID, fail := w.automations.id(ctx, cmd.Effect.Name)
	if fail != nil {
		return asked(fail)
	}
	contactID, fail := w.find(ctx, cmd.Contact.Email)
	if fail != nil {
		return asked(fail)
	}
	if contactID == "" {
		return sinks.Outcome{Kind: sinks.NotHappened}
	}
	rows, fail := w.startsOf(ctx, contactID, automationID)
	if fail != nil && !slices.ContainsFunc(rows, func(s start) bool { return w.starts.is(s.id, cmd.CommandID) }) {
		return asked(fail)
	}
	from, within := cmd.At, startWithin
	sentAt, known := w.starts.sentAt(cmd.CommandID)
	if known {
		from, within = sentAt, startSpan
	}
	var soon, unclear int
	var own string
	for _, s := range rows {
		if w.starts.is(s.id, cmd.CommandID) {
			return sinks.Outcome{Kind: sinks.Delivered}
		}
		at, err := time.Parse(time.RFC3339, s.added)
		switch begin := from.Truncate(time.Second); {
		case w.starts.known(s.id), err == nil && !at.After(from.Add(-clockSkewMax)):
			// of another command, or long before
		case err == nil && !at.Before(begin) && !at.After(from.Add(within)):
			soon, own = soon+1, s.id
		case err == nil && known && at.After(from.Add(within+clockSkewMax)):
			// long after the request was over
		default:
			unclear++
		}
	}
	switch {
	case soon == 1 && unclear == 0 && !w.starts.unnamed(cmd.ContactKey):
		w.starts.note(own, cmd.CommandID)
		return sinks.Outcome{Kind: sinks.Delivered}
	case soon == 0 && unclear == 0:
		return sinks.Outcome{Kind: sinks.NotHappened}
	}
	return sinks.Outcome{
		Kind: sinks.Unknown, Err: fmt.Errorf("the contact was started on the automation %d times around this command; activecampaign does not say by what", soon+unclear),
		Remedy: "look at the contact's automations in ActiveCampaign; replay the command if one start is missing",
	}
}

// Recall implements sinks.Recaller: the starts that other processes made for a contact are known by the ids that their
// receipts tell. A receipt that tells of a start without its id, because its answer was lost, leaves a doubt about every
// start of the contact that is not known.
func (w *writer) Recall(deliveries []*schemas.Delivery) {
	for _, d := range deliveries {
		if d.Kind != schemas.CommandEffect || d.Outcome != schemas.OutcomeDelivered && d.Outcome != schemas.OutcomeUncertain {
			continue
		}
		id, about := "", false
		for _, x := range d.Requests {
			if path, _, _ := strings.Cut(x.URL, "?"); !strings.HasSuffix(path, startsPath) {
				continue
			}
			about = true
			var answer startAnswer
			if x.Method == http.MethodPost && json.Unmarshal([]byte(x.Response), &answer) == nil && answer.ContactAutomation.ID != "" {
				id = string(answer.ContactAutomation.ID)
			}
		}
		switch {
		case id != "":
			w.starts.note(id, d.CommandID)
		case about:
			w.starts.doubt(d.ContactKey)
		}
	}
}

// receipt leaves of the answer to a start what Recall looks for. The answer repeats the whole contact, and what is kept of
// it would end before the start's id.
func (w *writer) receipt(commandID string, list []schemas.Exchange) {
	id := w.starts.startOf(commandID)
	for i := range list {
		if x := &list[i]; id != "" && x.Method == http.MethodPost && x.Status < 300 && strings.HasSuffix(x.URL, startsPath) {
			x.Response = fmt.Sprintf(`{"contactAutomation":{"id":%q}}`, id)
		}
	}
}

// start is one row of a contact's starts on automations.
type start struct{ id, added string }

// startsOf reads the contact's starts on the automation. Those read before a failure are returned with it.
func (w *writer) startsOf(ctx context.Context, contactID, automationID string) (out []start, fail *failure) {
	seen := map[string]bool{}
	fail = w.api.pages(ctx, "/contacts/"+url.PathEscape(contactID)+startsPath, nil, func(body []byte) (int, error) {
		var page struct {
			ContactAutomations []struct {
				ID         flexible `json:"id"`
				Automation flexible `json:"automation"`
				AddDate    string   `json:"adddate"`
			} `json:"contactAutomations"`
		}
		err := json.Unmarshal(body, &page)
		fresh := 0
		for _, s := range page.ContactAutomations {
			if seen[string(s.ID)] {
				continue
			}
			seen[string(s.ID)] = true
			fresh++
			if string(s.Automation) == automationID {
				out = append(out, start{string(s.ID), s.AddDate})
			}
		}
		return fresh, err
	})
	return out, fail
}

// asked is the outcome of a question about an effect that failed itself.
func asked(f *failure) sinks.Outcome {
	if f.kind == failReject {
		return sinks.Outcome{Kind: sinks.Unknown, Err: f, Remedy: "look at the contact in ActiveCampaign"}
	}
	return f.outcome(false)
}

var errNoLog = errors.New("activecampaign keeps no log of this kind of effect")

// starts remembers which start on an automation was which command's, so that another's is not taken for it, when commands
// were sent, and of which contacts a start is not known by its id. The oldest of each are forgotten.
type starts struct {
	mu       sync.Mutex
	commands memory[string] // by start
	ids      memory[string] // of starts, by command
	at       memory[time.Time]
	doubts   memory[bool] // by contact key
}

func newStarts() *starts {
	return &starts{commands: newMemory[string](), ids: newMemory[string](), at: newMemory[time.Time](), doubts: newMemory[bool]()}
}

// memory keeps the values of the keys that were set first of late.
type memory[V any] struct {
	order  *list.List // of keys, newest first
	values map[string]V
}

func newMemory[V any]() memory[V] { return memory[V]{list.New(), map[string]V{}} }

func (m memory[V]) set(key string, v V) {
	if _, ok := m.values[key]; !ok {
		m.order.PushFront(key)
	}
	if m.values[key] = v; m.order.Len() > startsRememberedMax {
		oldest, _ := m.order.Remove(m.order.Back()).(string)
		delete(m.values, oldest)
	}
}

// note says which command's a start is.
func (s *starts) note(id, commandID string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.commands.set(id, commandID)
	s.ids.set(commandID, id)
}

// sent notes when the command's request left, or is about to.
func (s *starts) sent(commandID string, at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.at.set(commandID, at)
}

// doubt says that the contact has a start of a command's whose id is not known.
func (s *starts) doubt(contactKey string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.doubts.set(contactKey, true)
}

func (s *starts) sentAt(commandID string) (time.Time, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	at, ok := s.at.values[commandID]
	return at, ok
}

func (s *starts) known(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.commands.values[id]
	return ok
}

func (s *starts) is(id, commandID string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.commands.values[id] == commandID
}

// startOf is the id of the command's start; empty: not known.
func (s *starts) startOf(commandID string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ids.values[commandID]
}

func (s *starts) unnamed(contactKey string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.doubts.values[contactKey]
}
