package explain

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/tillstream/tillstream/api"
	"github.com/tillstream/tillstream/outbound"
	"github.com/tillstream/tillstream/pipeline/connections"
	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/schemas/past"
	chsink "github.com/tillstream/tillstream/sinks/clickhouse"
)

// Store is where runs and waits are looked up.
type Store interface {
	Story(ctx context.Context, id string) (chsink.Story, error)
	Waits(ctx context.Context, f chsink.WaitFilter) (chsink.WaitPage, error)
	CountWaits(ctx context.Context, f chsink.WaitFilter) (uint64, error)
	Runs(ctx context.Context, f chsink.RunsFilter) ([]chsink.WorkflowRuns, error)
	Configs(ctx context.Context, versions []string) (map[string]schemas.ConfigVersion, error)
}

// Desk answers about workflows, and passes on what people decide.
type Desk struct {
	Store Store
	// Append puts decisions on automation.inbox, all or an error; nil: this desk only tells.
	Append func(ctx context.Context, decisions []*schemas.WaitDecision) error
	Now    func() time.Time
}

var _ api.Automation = (*Desk)(nil)

// Bounds of what a person says.
const (
	byBytesMax     = 100
	reasonBytesMax = 300
)

func refuse(kind connections.RefusalKind, format string, args ...any) error {
	return &connections.Refusal{Kind: kind, Detail: fmt.Sprintf(format, args...)}
}

// refused turns findings about the question into refusals.
func refused(err error) error {
	switch {
	case errors.Is(err, chsink.ErrFilter):
		return refuse(connections.Invalid, "%v", err)
	case errors.Is(err, chsink.ErrNoRuns):
		return refuse(connections.NotFound, "%v", err)
	}
	return err
}

// Waits implements api.Automation.
func (d *Desk) Waits(ctx context.Context, q api.WaitsQuery) (past.WaitPage, error) {
	page, err := d.Store.Waits(ctx, chsink.WaitFilter{
		Workflow: q.Workflow, Contact: q.Contact, Order: q.Order, State: chsink.WaitState(q.State), DueBefore: q.DueBefore, After: q.After, Limit: q.Limit,
	})
	if err != nil {
		return past.WaitPage{}, refused(err)
	}
	if !q.PersonalData {
		MaskWaits(page.Waits)
	}
	return page, nil
}

// MaskWaits masks what names a person.
func MaskWaits(list []chsink.Wait) {
	for i := range list {
		w := &list[i]
		w.ContactKey, w.RootKey = outbound.Redact(w.ContactKey), outbound.Redact(w.RootKey)
		w.OpenedDetail, w.DecidedDetail = outbound.Redact(w.OpenedDetail), outbound.Redact(w.DecidedDetail)
	}
}

// One finds a wait by its id. The error is a *connections.Refusal where there is none.
func (d *Desk) One(ctx context.Context, id string) (api.WaitView, error) {
	if strings.TrimSpace(id) == "" {
		return api.WaitView{}, refuse(connections.Invalid, "which wait? its id is that of the run and a number, as 'tillstream waits' lists them")
	}
	page, err := d.Store.Waits(ctx, chsink.WaitFilter{ID: id, Limit: 1})
	if err != nil {
		return api.WaitView{}, refused(err)
	}
	if len(page.Waits) == 0 {
		return api.WaitView{}, refuse(connections.NotFound, "there is no wait %.80q; 'tillstream waits' lists those that are open, and one that was just opened is there after a moment", id)
	}
	v := api.WaitView{Wait: page.Waits[0]}
	if v.State != chsink.WaitOpen {
		return v, nil
	}
	configs, err := d.Store.Configs(ctx, []string{v.ConfigVersion})
	if err != nil {
		return api.WaitView{}, err
	}
	e := EndingOf(v.Wait, configs, d.Now())
	v.Ending = &e
	return v, nil
}

// Wait implements api.Automation.
func (d *Desk) Wait(ctx context.Context, id string, personalData bool) (api.WaitView, error) {
	v, err := d.One(ctx, id)
	if err != nil {
		return api.WaitView{}, err
	}
	if !personalData {
		maskWait(&v)
	}
	return v, nil
}

// maskWait masks what names a person.
func maskWait(v *api.WaitView) {
	list := []chsink.Wait{v.Wait}
	MaskWaits(list)
	if v.Wait = list[0]; v.Ending != nil {
		e := *v.Ending
		for _, text := range []*string{&e.Met, &e.NotMet, &e.ThenMet, &e.ThenNot, &e.Corrects} {
			*text = outbound.Redact(*text)
		}
		v.Ending = &e
	}
}

// Closable says why a wait cannot be decided; nil: it can.
func Closable(w chsink.Wait) error {
	switch w.State {
	case chsink.WaitOpen:
		return nil
	case chsink.WaitStopped:
		return refuse(connections.Conflict, "the wait %s is not open: its run was stopped at %s", w.ID, stamp(w.ClosedAt))
	}
	text := map[string]string{"person": outbound.Redact(w.DecidedDetail), "event": "by the event " + w.DecidedEvent, "deadline": "by its deadline"}[w.DecidedBy]
	return refuse(connections.Conflict, "the wait %s is not open: it ended as %s at %s, %s", w.ID, strings.ToLower(strings.ReplaceAll(string(w.State), "_", " ")), stamp(w.ClosedAt), text)
}

// Who is how a decision names its author: who decides and, where it was said, why.
func Who(by, reason string) (string, error) {
	by, reason = strings.TrimSpace(by), strings.TrimSpace(reason)
	if by == "" {
		return "", refuse(connections.Invalid, "say who decides")
	}
	for _, text := range []struct {
		what, text string
		most       int
	}{{"by", by, byBytesMax}, {"reason", reason, reasonBytesMax}} {
		if len(text.text) > text.most || !utf8.ValidString(text.text) || strings.ContainsFunc(text.text, func(r rune) bool { return !unicode.IsPrint(r) }) {
			return "", refuse(connections.Invalid, "%s: write one line of at most %d bytes", text.what, text.most)
		}
	}
	if reason != "" {
		by += ": " + reason
	}
	return by, nil
}

// Decide implements api.Automation.
func (d *Desk) Decide(ctx context.Context, id string, said api.Decision) (api.Decided, error) {
	who, err := Who(said.By, said.Reason)
	if err != nil {
		return api.Decided{}, err
	}
	if said.Met == nil {
		return api.Decided{}, refuse(connections.Invalid, "say met: true or false")
	}
	v, err := d.One(ctx, id)
	if err != nil {
		return api.Decided{}, err
	}
	if err := Closable(v.Wait); err != nil {
		return api.Decided{}, err
	}
	if err := d.Close(ctx, []chsink.Wait{v.Wait}, *said.Met, who); err != nil {
		return api.Decided{}, err
	}
	return api.Decided{WaitID: v.ID, Met: *said.Met, Then: outbound.Redact(Then(v.Ending, *said.Met))}, nil
}

// Then is what the run does after a decision.
func Then(e *api.Ending, met bool) string {
	then := e.ThenNot
	if met || then == "" { // a wait for time goes one way only
		then = e.ThenMet
	}
	if then == "" {
		return "what its workflow says; the text of that version is not known here"
	}
	return then
}

// Close appends the decision about each of the waits. One that has ended meanwhile is left alone by the stage.
func (d *Desk) Close(ctx context.Context, waits []chsink.Wait, met bool, who string) error {
	if d.Append == nil {
		return errors.New("nothing can be decided here: Kafka is not known")
	}
	list := make([]*schemas.WaitDecision, len(waits))
	for i, w := range waits {
		list[i] = &schemas.WaitDecision{WaitID: w.ID, ContactKey: w.ContactKey, Met: met, By: who, At: d.Now().UTC()}
	}
	if err := d.Append(ctx, list); err != nil {
		return fmt.Errorf("append the decision to topic %s: %w", schemas.TopicAutomationInbox, err)
	}
	return nil
}

// Of explains an order or contact. as, where it is given, is what id must be. The error is a *connections.Refusal where
// nothing is known of it.
func (d *Desk) Of(ctx context.Context, as, id string, personalData bool) (api.Explanation, error) {
	st, err := d.Store.Story(ctx, id)
	if err != nil {
		return api.Explanation{}, refused(err)
	}
	if st.As == "" || as != "" && st.As != as {
		what := "order or contact"
		if as != "" {
			what = as
		}
		return api.Explanation{}, refuse(connections.NotFound, "nothing is known of the %s %.80q; ids are those of the provider, contacts are e-mail addresses or keys such as live/ann@example.com", what, outbound.Redact(id))
	}
	return Explain(st, Options{Now: d.Now(), PersonalData: personalData}), nil
}

// Explain implements api.Automation.
func (d *Desk) Explain(ctx context.Context, as, id string, personalData bool) (api.Explanation, error) {
	return d.Of(ctx, as, id, personalData)
}

// Runs implements api.Automation.
func (d *Desk) Runs(ctx context.Context, q api.RunsQuery) (api.RunList, error) {
	list, err := d.Store.Runs(ctx, chsink.RunsFilter{Workflow: q.Workflow, Store: q.Store, Environment: q.Environment, Since: q.Since, Until: q.Until})
	if err != nil {
		return api.RunList{}, refused(err)
	}
	return api.RunList{Workflows: list}, nil
}
