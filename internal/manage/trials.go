package manage

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/tillstream/tillstream/api"
	"github.com/tillstream/tillstream/internal/app"
	"github.com/tillstream/tillstream/outbound"
	"github.com/tillstream/tillstream/pipeline/config"
	"github.com/tillstream/tillstream/processors"
	"github.com/tillstream/tillstream/processors/automation"
	"github.com/tillstream/tillstream/processors/orders"
	"github.com/tillstream/tillstream/processors/trial"
	"github.com/tillstream/tillstream/processors/triggers"
	"github.com/tillstream/tillstream/processors/workflows"
	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/schemas/money"
)

// Bounds of a test.
const (
	testEventsMax   = 100
	testOutcomesMax = 2_000 // steps and effects that are told
	testSpanMax     = 400 * 24 * time.Hour
	testRoundsMax   = 1_000 // steps of time
)

// trialRun is one test: the stages in memory, and what came out of them.
type trialRun struct {
	line   *trial.Line
	now    time.Time
	lists  []string
	steps  []*schemas.RunStep
	effect []*schemas.Command
	asked  []*schemas.Command
	dead   []string
	cut    bool
}

func newTrial(c *config.Config, rules automation.Rules, begin time.Time, lists []string) *trialRun {
	t := &trialRun{now: begin, lists: lists}
	o := trial.Options{Check: true}
	t.line = trial.NewLine(t, begin,
		trial.Part{Lane: trial.NewLane[orders.State](orders.New(app.OrdersOptions(c.Settings.Stages)), o, t), Topics: []string{schemas.TopicPayPalEvents, schemas.TopicStoreOrders, schemas.TopicOrdersInbox}},
		trial.Part{Lane: trial.NewLane[automation.State](automation.New(rules), o, t), Topics: []string{schemas.TopicAutomationInbox}})
	return t
}

// Output implements trial.Sink.
func (t *trialRun) Output(_ time.Time, o processors.Output) error {
	switch rec := o.Record.(type) {
	case *schemas.RunStep:
		if t.room(len(t.steps)) {
			t.steps = append(t.steps, rec)
		}
	case *schemas.Command:
		if rec.Kind == schemas.CommandQuestion {
			t.asked = append(t.asked, rec)
		} else if t.room(len(t.effect)) {
			t.effect = append(t.effect, rec)
		}
	}
	return nil
}

func (t *trialRun) room(n int) bool {
	t.cut = t.cut || n >= testOutcomesMax
	return n < testOutcomesMax
}

// DeadLetter implements trial.Sink.
func (t *trialRun) DeadLetter(d schemas.DeadLetter) error {
	t.dead = append(t.dead, d.Reason)
	return nil
}

func (t *trialRun) put(topic, key string, rec schemas.Record) error {
	if err := t.line.Put(processors.Input{At: t.line.Now(), Topic: topic, Key: key, Record: rec}); err != nil {
		return err
	}
	return t.answer()
}

// answer answers what was asked about lists.
func (t *trialRun) answer() error {
	for range testRoundsMax {
		if len(t.asked) == 0 {
			return nil
		}
		q := t.asked[0]
		t.asked = t.asked[1:]
		standing := schemas.StandingAbsent
		if slices.Contains(t.lists, q.Effect.Name) {
			standing = schemas.StandingActive
		}
		now := t.line.Now()
		err := t.line.Put(processors.Input{At: now, Topic: schemas.TopicAutomationInbox, Key: q.ContactKey, Record: &schemas.ListAnswer{
			CommandID: q.CommandID, ContactKey: q.ContactKey, Destination: q.Destination, List: q.Effect.Name, Standing: standing, AsOf: now, At: now,
		}})
		if err != nil {
			return err
		}
	}
	return fmt.Errorf("more than %d questions about lists", testRoundsMax)
}

// pass lets time go by, in steps, so that questions are answered when they are asked.
func (t *trialRun) pass(ctx context.Context, until time.Time, quiet func() bool) error {
	step := max(time.Minute, until.Sub(t.line.Now())/testRoundsMax)
	for t.line.Now().Before(until) && !quiet() {
		if err := ctx.Err(); err != nil {
			return err
		}
		next := t.line.Now().Add(step)
		if next.After(until) {
			next = until
		}
		if err := t.line.Advance(next); err != nil {
			return err
		}
		if err := t.answer(); err != nil {
			return err
		}
	}
	return nil
}

// open are the waits that nothing has ended yet.
func (t *trialRun) open() []*schemas.RunStep {
	var list []*schemas.RunStep
	for _, s := range t.steps {
		switch s.Kind {
		case schemas.StepWaitOpened:
			list = append(list, s)
		case schemas.StepWaitMet, schemas.StepWaitNotMet:
			list = slices.DeleteFunc(list, func(o *schemas.RunStep) bool { return o.WaitID == s.WaitID })
		case schemas.StepStopped, schemas.StepEnded:
			list = slices.DeleteFunc(list, func(o *schemas.RunStep) bool { return o.RunID == s.RunID })
		}
	}
	return list
}

func span(text, what string) (time.Duration, error) {
	if text == "" {
		return 0, nil
	}
	d, err := workflows.Duration(text).Parse()
	if err != nil || d < 0 || d > testSpanMax {
		return 0, api.Refuse(api.CodeInvalid, "%s %.40q: write a time such as 90m, 1h or 3d, of 400 days at the most", what, text)
	}
	return d, nil
}

// made is a test's event as its topic has it.
func (o *Office) made(ctx context.Context, c *config.Config, e api.TestEvent, number int, at time.Time, test bool) (topic string, rec *schemas.OrderEvent, err error) {
	if e.Stored != "" {
		v := &viewer{now: o.Now, cfg: c}
		if err := v.stored(ctx, e.Stored); err != nil {
			return "", nil, api.Refuse(api.CodeConflict, "%s", outbound.Redact(err.Error()))
		}
		copied := v.t.Event
		copied.ReceivedAt, copied.ProviderTime, copied.Test = at, at, test || copied.Test
		for _, x := range c.Connections {
			if x.Name == copied.Connection {
				return x.Connector.Topic, &copied, nil
			}
		}
		return "", nil, api.Refuse(api.CodeConflict, "the stored event is of the connection %s, which the configuration lacks", copied.Connection)
	}
	i := slices.IndexFunc(c.Connections, func(x config.Connection) bool { return e.Connection == "" || x.Name == e.Connection })
	if i < 0 {
		return "", nil, api.Refuse(api.CodeInvalid, "there is no connection %.80q in the configuration", e.Connection)
	}
	conn := c.Connections[i]
	status := cmp.Or(strings.ToUpper(e.Status), string(schemas.StatusPending))
	if !slices.Contains(triggers.Statuses(), status) {
		return "", nil, api.Refuse(api.CodeInvalid, "the status %.40q: use one of %s", e.Status, strings.Join(triggers.Statuses(), ", "))
	}
	amount, err := money.Parse(cmp.Or(e.Amount, "10.00"), cmp.Or(e.Currency, "EUR"))
	if err != nil {
		return "", nil, api.Refuse(api.CodeInvalid, "the amount: %s", err.Error())
	}
	order := cmp.Or(e.Order, "TEST-1")
	email := cmp.Or(e.Email, "test@example.com")
	fields := map[string]string{}
	maps.Copy(fields, e.Fields)
	rec = &schemas.OrderEvent{
		EventID: fmt.Sprintf("test-%s-%d", order, number), Kind: schemas.KindOrder, Provider: conn.Connector.Type, Environment: conn.Environment, Connection: conn.Name,
		RootID: order, EntityID: order, EventType: e.Type, Resource: e.Resource, ProviderStatus: status, Status: schemas.PaymentStatus(status), ProviderTime: at, ReceivedAt: at,
		Origin: schemas.OriginWebhook, Payer: &schemas.Payer{Email: email, GivenName: "Test", Surname: "Person", FullName: "Test Person"},
		Amount: &schemas.Amount{Value: amount.String(), Currency: cmp.Or(e.Currency, "EUR")}, Fields: fields, Test: test, DeliveryIDs: []string{fmt.Sprintf("test-delivery-%d", number)},
	}
	for _, r := range conn.Connector.Resources {
		if e.Resource != "" && r.ID != e.Resource || rec.EventType != "" && !slices.Contains(r.EventTypes, rec.EventType) || len(r.EventTypes) == 0 {
			continue
		}
		rec.Resource, rec.EventType = r.ID, cmp.Or(rec.EventType, strings.TrimSuffix(r.EventTypes[0], "*"))
		break
	}
	rec.EventType = cmp.Or(rec.EventType, "test."+strings.ToLower(status))
	return conn.Connector.Topic, rec, nil
}

// TestWorkflow implements api.Managing.
func (o *Office) TestWorkflow(ctx context.Context, name string, w api.WorkflowTest) (out api.WorkflowTested, err error) {
	if n := len(w.Events); n == 0 || n > testEventsMax {
		return out, api.Refuse(api.CodeInvalid, "a test has 1 to %d events", testEventsMax)
	}
	c, err := o.withWorkflow(name, w)
	if err != nil {
		return out, err
	}
	rules, err := app.Rules(c)
	if err != nil {
		return out, err
	}
	p := rules.Workflow(name)
	if p == nil {
		return out, api.Refuse(api.CodeNotFound, "there is no workflow %s", name)
	}
	t := newTrial(c, rules, o.Now().UTC().Truncate(time.Second), w.Lists)
	out = api.WorkflowTested{Workflow: name, Version: p.Version, Began: t.now}
	for i, e := range w.Events {
		after, err := span(e.After, "after")
		if err != nil {
			return out, err
		}
		if err := t.pass(ctx, t.line.Now().Add(after), func() bool { return false }); err != nil {
			return out, err
		}
		topic, rec, err := o.made(ctx, c, e, i+1, t.line.Now(), false)
		if err != nil {
			return out, err
		}
		if err := t.put(topic, rec.Key(), rec); err != nil {
			return out, err
		}
	}
	rest, err := span(w.For, "for")
	if err != nil {
		return out, err
	}
	quiet := func() bool { return false }
	if w.For == "" {
		rest, quiet = testSpanMax, func() bool { return len(t.open()) == 0 }
	}
	if err := t.pass(ctx, t.line.Now().Add(rest), quiet); err != nil {
		return out, err
	}
	out.Ended = t.line.Now().UTC()
	t.tell(&out, p)
	return out, nil
}

// withWorkflow is the configuration of the folder, with a workflow as it stands in the editor.
func (o *Office) withWorkflow(name string, w api.WorkflowTest) (*config.Config, error) {
	if w.Text != nil && w.Form != nil {
		return nil, api.Refuse(api.CodeInvalid, "say one of text and form")
	}
	texts, err := o.folderTexts()
	if err != nil {
		return nil, err
	}
	path, was, err := o.target(app.WorkflowsFolder, name)
	if err != nil {
		return nil, err
	}
	text := w.Text
	if w.Form != nil {
		next, err := formOf(w.Form)
		if err != nil {
			return nil, err
		}
		if text, err = o.changed(app.WorkflowsFolder, path, was, nil, next); err != nil {
			return nil, err
		}
	}
	if text != nil {
		texts[path] = *text
	}
	return o.load(texts)
}

// tell puts what came out into the answer.
func (t *trialRun) tell(out *api.WorkflowTested, p *workflows.Program) {
	out.Steps, out.Effects = t.outcomes(p)
	out.Nodes, out.Edges, out.Open = []string{}, []string{}, []api.TestedWait{}
	g := Graph(p, &workflows.File{}, func(string) int { return 0 })
	mark := func(list *[]string, s string) {
		if s != "" && !slices.Contains(*list, s) {
			*list = append(*list, s)
		}
	}
	held := ""
	for i, s := range out.Steps {
		if s.Workflow != p.Name {
			continue
		}
		mark(&out.Nodes, s.Node)
		switch s.Kind {
		case string(schemas.StepStarted):
			out.Started = true
		case string(schemas.StepNotStarted):
			held = s.Detail
		case string(schemas.StepEnded):
			out.Steps[i].Node = endNode
			mark(&out.Nodes, endNode)
		}
		for _, e := range g.Edges {
			if e.From == s.Node && s.Node != "" && (e.Branch == s.Branch && s.Branch != "" || e.Branch == "" && s.Kind == string(schemas.StepAction)) {
				mark(&out.Edges, strings.TrimSpace(e.From+" "+e.To+" "+e.Branch))
			}
		}
	}
	for _, w := range t.open() {
		out.Open = append(out.Open, api.TestedWait{Step: w.Step, Deadline: w.Deadline.UTC(), Detail: w.Detail})
	}
	switch {
	case out.Started:
	case held != "":
		out.Why = held
	case len(t.dead) > 0:
		out.Why = "an event is refused: " + t.dead[0]
	default:
		out.Why = "no event matched a start of the workflow"
	}
}

// outcomes are the steps and effects. p may be nil: no node is told then.
func (t *trialRun) outcomes(p *workflows.Program) (steps []api.TestedStep, effects []api.TestedEffect) {
	steps, effects = []api.TestedStep{}, []api.TestedEffect{}
	for _, s := range t.steps {
		one := api.TestedStep{At: s.At.UTC(), Workflow: s.Workflow, Run: s.RunID, Step: s.Step, Kind: string(s.Kind), Branch: branchOf(s), Detail: s.Detail}
		if p != nil && s.Workflow == p.Name && s.Step != "" && p.StepIndex(s.Step) != workflows.End {
			one.Node = "step:" + s.Step
		}
		steps = append(steps, one)
	}
	for _, c := range t.effect {
		e := api.TestedEffect{At: c.At.UTC(), Rule: c.Rule, Destination: c.Destination, Type: "contact", Name: c.Contact.Email}
		if c.Effect != nil {
			e.Type, e.Name, e.Data = c.Effect.Type, c.Effect.Name, c.Effect.Data
		} else if len(c.Contact.Tags) > 0 {
			e.Data = "tags " + strings.Join(c.Contact.Tags, ", ")
		}
		effects = append(effects, e)
	}
	return steps, effects
}

// branchOf is the branch that a step took, by the words that v_branches reads.
func branchOf(s *schemas.RunStep) string {
	switch s.Kind {
	case schemas.StepWaitMet:
		return "met"
	case schemas.StepWaitNotMet:
		return "not_met"
	case schemas.StepWaitCorrected:
		return "corrected"
	case schemas.StepCondition:
		switch {
		case strings.HasPrefix(s.Detail, "yes"), s.Detail == "the contact is on the list":
			return "then"
		case strings.HasPrefix(s.Detail, "no:"), strings.HasPrefix(s.Detail, "the contact is "):
			return "else"
		}
	}
	return ""
}

// Appender puts an event on its topic.
type Appender func(ctx context.Context, topic string, e *schemas.OrderEvent) error

// SendTestEvent implements api.Managing.
func (o *Office) SendTestEvent(ctx context.Context, r api.TestEventRequest, by string) (out api.TestEventTaken, err error) {
	texts, err := o.folderTexts()
	if err != nil {
		return out, err
	}
	c, err := o.load(texts)
	if err != nil {
		return out, err
	}
	rules, err := app.Rules(c)
	if err != nil {
		return out, err
	}
	if r.Order == "" {
		r.Order = "TEST-" + rand.Text()[:10] // an order of its own: it meets no real one
	} else if !strings.HasPrefix(r.Order, "TEST-") && r.Send {
		return out, api.Refuse(api.CodeInvalid, "the order of a test event that is sent begins with TEST-, so that it meets no real one")
	}
	if r.Stored != "" && r.Send {
		return out, api.Refuse(api.CodeInvalid, "a stored event is shown, not sent again: 'tillstream replay' sends what happened")
	}
	now := o.Now().UTC()
	topic, rec, err := o.made(ctx, c, r.TestEvent, 1, now, true)
	if err != nil {
		return out, err
	}
	t := newTrial(c, rules, now.Truncate(time.Second), nil)
	if err := t.put(topic, rec.Key(), rec); err != nil {
		return out, err
	}
	out = api.TestEventTaken{EventID: rec.EventID, Order: rec.RootID, Test: true}
	out.Steps, out.Effects = t.outcomes(nil)
	if out.Event, err = shown(rec); err != nil {
		return out, err
	}
	if !r.Send {
		return out, nil
	}
	if o.Append == nil {
		return out, api.Refuse(api.CodeNotHere, "this process appends no events: ask one that receives webhooks")
	}
	if err := o.Append(ctx, topic, rec); err != nil {
		return out, fmt.Errorf("append the test event: %w", err)
	}
	o.Log.Info().Str("event", rec.EventID).Str("by", by).Msg("a test event was sent")
	out.Sent = true
	return out, nil
}
