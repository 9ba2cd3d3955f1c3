package deliver

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tillstream/tillstream/pipeline"
	"github.com/tillstream/tillstream/pipeline/kafka"
	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/sinks"
)

// asked is a crm that can be asked.
type asked struct {
	*crm
	// say is asked for each question; try counts the questions about this person and list from 1.
	say func(email, list string, try int) (schemas.Standing, sinks.Outcome)

	lists sync.Mutex
	n     map[string]int
}

func newAsked(t *testing.T, say func(email, list string, try int) (schemas.Standing, sinks.Outcome)) *asked {
	return &asked{crm: newCRM(t), say: say, n: map[string]int{}}
}

// Standing implements sinks.ListReader.
func (a *asked) Standing(_ context.Context, email, list string) (schemas.Standing, sinks.Outcome) {
	a.lists.Lock()
	a.n[email+" "+list]++
	try := a.n[email+" "+list]
	a.lists.Unlock()
	return a.say(email, list, try)
}

func (a *asked) asks(email, list string) int {
	a.lists.Lock()
	defer a.lists.Unlock()
	return a.n[email+" "+list]
}

func said(s schemas.Standing) (schemas.Standing, sinks.Outcome) {
	return s, sinks.Outcome{Kind: sinks.Delivered, Exchanges: []schemas.Exchange{{Method: "GET", URL: "https://crm.example", At: time.Unix(1, 0).UTC()}}}
}

func (r *rig) question(who, list string) schemas.Command {
	c := r.contact(who, 0)
	c.Kind, c.Effect = schemas.CommandQuestion, &schemas.Effect{Type: schemas.QuestionOnList, Name: list}
	return c
}

// answered waits for n answers.
func (r *rig) answered(n int) []schemas.ListAnswer {
	r.t.Helper()
	return readAll[schemas.ListAnswer](r, schemas.TopicAutomationInbox, func(l []schemas.ListAnswer) bool { return len(l) >= n })
}

var sameAnswer = cmpopts.IgnoreFields(schemas.ListAnswer{}, "At", "AsOf")

func TestQuestionIsAnsweredWithItsDelivery(t *testing.T) {
	r := newRig(t)
	c := newAsked(t, func(string, string, int) (schemas.Standing, sinks.Outcome) { return said(schemas.StandingActive) })
	r.start(r.options("one", c))
	q := r.question("a@x.example", "Customers")
	value, err := r.codec.Encode(&q)
	if err != nil {
		t.Fatal(err)
	}
	before := time.Now().Add(-time.Second)
	rec := &kgo.Record{Topic: schemas.TopicCommands, Key: []byte(q.ContactKey), Value: value, Headers: []kgo.RecordHeader{{Key: pipeline.HeaderTrace, Value: []byte("00-abc-def-01")}}}
	if err := r.client.ProduceSync(t.Context(), rec).FirstErr(); err != nil {
		t.Fatal(err)
	}
	got := r.answered(1)[0]
	want := schemas.ListAnswer{CommandID: q.CommandID, ContactKey: q.ContactKey, Destination: "crm", List: "Customers", Standing: schemas.StandingActive}
	if d := cmp.Diff(got, want, sameAnswer); d != "" {
		t.Errorf("answer, got - want:\n%s", d)
	}
	if got.AsOf.Before(before) || got.AsOf.After(got.At) {
		t.Errorf("got as of %s, at %s", got.AsOf, got.At)
	}
	list := r.receipts(func(l []schemas.Delivery) bool { return len(l) >= 1 })
	if len(list) != 1 || list[0].Outcome != schemas.OutcomeDelivered || list[0].Kind != schemas.CommandQuestion || len(list[0].Requests) != 1 {
		t.Errorf("got %+v, want one delivery, no intent, with its request", list)
	}
	if n := c.triesOf(q); n != 0 {
		t.Errorf("the question was written %d times", n)
	}
	if got := r.headerOfAnswer(); got != "00-abc-def-01" {
		t.Errorf("got trace %q on the answer", got)
	}
}

func (r *rig) headerOfAnswer() (trace string) {
	cl, err := kgo.NewClient(kgo.SeedBrokers(r.brokers...), kgo.ConsumeTopics(schemas.TopicAutomationInbox), kgo.Dialer(r.dial))
	if err != nil {
		r.t.Fatal(err)
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(r.t.Context(), patience)
	defer cancel()
	cl.PollFetches(ctx).EachRecord(func(rec *kgo.Record) { trace = traceOf(rec) })
	return trace
}

// Whatever stands in the way, a question is answered, with why it is not known, and its delivery ends.
func TestQuestionIsAnsweredInAnyCase(t *testing.T) {
	refuse := func(o sinks.Outcome) func(string, string, int) (schemas.Standing, sinks.Outcome) {
		return func(string, string, int) (schemas.Standing, sinks.Outcome) { return schemas.StandingUnknown, o }
	}
	deaf := func(t *testing.T) sinks.Writer { return newCRM(t) }
	for _, c := range []struct {
		name   string
		writer func(t *testing.T) sinks.Writer
		change func(*schemas.Command)
		want   string // part of the answer's error
	}{
		{
			name: "the destination fails until the deadline", want: "answered 500; wait",
			writer: func(t *testing.T) sinks.Writer {
				return newAsked(t, refuse(sinks.Outcome{Kind: sinks.Retryable, Err: errors.New("answered 500"), Remedy: "wait"}))
			},
		},
		{
			name: "the account is refused until the deadline", want: "answered 401; correct the key",
			writer: func(t *testing.T) sinks.Writer {
				return newAsked(t, refuse(sinks.Outcome{Kind: sinks.Retryable, Account: true, Err: errors.New("answered 401"), Remedy: "correct the key"}))
			},
		},
		{
			name: "the list does not exist", want: "no such list; correct the name",
			writer: func(t *testing.T) sinks.Writer {
				return newAsked(t, refuse(sinks.Outcome{Kind: sinks.Rejected, Err: errors.New("no such list"), Remedy: "correct the name"}))
			},
		},
		{
			name: "a standing that is none", want: "without saying what the contact is",
			writer: func(t *testing.T) sinks.Writer {
				return newAsked(t, refuse(sinks.Outcome{Kind: sinks.Delivered}))
			},
		},
		{
			name: "the writer panics", want: "writer panicked",
			writer: func(t *testing.T) sinks.Writer {
				return newAsked(t, func(string, string, int) (schemas.Standing, sinks.Outcome) { panic("no") })
			},
		},
		{name: "a destination without lists", want: "cannot be asked who is on a list", writer: deaf},
		{
			name: "a destination that is not in the configuration", want: "destination gone is not in the configuration", writer: deaf,
			change: func(q *schemas.Command) { q.Destination = "gone" },
		},
		{name: "nobody to ask about", want: "no e-mail address", writer: deaf, change: func(q *schemas.Command) { q.Contact.Email = " " }},
		{name: "another question", want: "of a type that nobody answers", writer: deaf, change: func(q *schemas.Command) { q.Effect.Type = "OPENED" }},
		{name: "a question without its words", want: "of a type that nobody answers", writer: deaf, change: func(q *schemas.Command) { q.Effect = nil }},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t)
			o := r.options("one", c.writer(t))
			o.AnswerFor = 60 * time.Millisecond
			r.start(o)
			q := r.question("a@x.example", "Customers")
			if c.change != nil {
				c.change(&q)
			}
			r.produce(q)
			got := r.answered(1)[0]
			if got.CommandID != q.CommandID || got.Standing != schemas.StandingUnknown || !strings.Contains(got.Error, c.want) || !got.AsOf.IsZero() {
				t.Errorf("got %+v, want UNKNOWN with %q", got, c.want)
			}
			list := r.receipts(func(l []schemas.Delivery) bool {
				return slices.ContainsFunc(l, func(d schemas.Delivery) bool { return d.Outcome == schemas.OutcomeDelivered })
			})
			if last := list[len(list)-1]; last.Error == "" || last.Remedy == "" {
				t.Errorf("got delivery %+v, want the error and what to do", last)
			}
		})
	}
}

// A question waits for what was sent before it, for its own deadline at most, and holds up nobody else.
func TestQuestionBehindAnEffectThatWaits(t *testing.T) {
	r := newRig(t)
	c := newAsked(t, func(string, string, int) (schemas.Standing, sinks.Outcome) { return said(schemas.StandingActive) })
	stuck := r.effect("a@x.example")
	c.answer = func(cmd schemas.Command, _ int) (sinks.Outcome, bool) {
		if cmd.CommandID == stuck.CommandID {
			return retryable(), false
		}
		return sinks.Outcome{}, true
	}
	o := r.options("one", c)
	o.AnswerFor = 150 * time.Millisecond
	r.start(o)
	behind, other := r.question("a@x.example", "Customers"), r.question("b@x.example", "Customers")
	r.produce(stuck, behind, other)
	got := map[string]schemas.ListAnswer{}
	for _, a := range r.answered(2) {
		got[a.CommandID] = a
	}
	if got[other.CommandID].Standing != schemas.StandingActive {
		t.Errorf("another contact's question: got %+v", got[other.CommandID])
	}
	if a := got[behind.CommandID]; a.Standing != schemas.StandingUnknown || !strings.Contains(a.Error, "earlier commands of the contact wait") {
		t.Errorf("the question behind: got %+v", a)
	}
	if n := c.asks("a@x.example", "Customers"); n != 0 {
		t.Errorf("it was asked %d times before the effect that it follows", n)
	}
}

// A question is tried again, and is answered when the destination does.
func TestQuestionIsTriedAgain(t *testing.T) {
	r := newRig(t)
	c := newAsked(t, func(_, _ string, try int) (schemas.Standing, sinks.Outcome) {
		if try < 4 {
			return schemas.StandingUnknown, sinks.Outcome{Kind: []sinks.OutcomeKind{sinks.Retryable, sinks.Unknown}[try%2], Err: errors.New("cut"), Remedy: "wait"}
		}
		return said(schemas.StandingUnsubscribed)
	})
	r.start(r.options("one", c))
	q := r.question("a@x.example", "Customers")
	r.produce(q)
	if got := r.answered(1)[0]; got.Standing != schemas.StandingUnsubscribed || got.Error != "" {
		t.Errorf("got %+v", got)
	}
	if n := c.asks("a@x.example", "Customers"); n != 4 {
		t.Errorf("got asked %d times, want 4", n)
	}
}

// An answer serves further questions for a while, whatever the case of the list's name, but not past an effect.
func TestAnswersAreReusedUntilSomethingIsSent(t *testing.T) {
	r := newRig(t)
	c := newAsked(t, func(_, _ string, try int) (schemas.Standing, sinks.Outcome) {
		if try == 1 {
			return said(schemas.StandingAbsent)
		}
		return said(schemas.StandingActive)
	})
	add := r.effect("a@x.example")
	add.Effect = &schemas.Effect{Type: schemas.EffectAddToList, Name: "Customers"}
	sandbox := r.question("a@x.example", "customers")
	sandbox.ContactKey = "sandbox/a@x.example"
	r.start(r.options("one", c))
	all := []schemas.Command{
		r.question("a@x.example", "Customers"), r.question("A@x.example ", " customers"), sandbox, add, r.question("a@x.example", "Customers"),
	}
	var got []string
	for i, cmd := range all { // one after the other, so that each finds what the one before left
		r.produce(cmd)
		r.ended(cmd)
		got = append(got, fmt.Sprint(i, ":", c.asks("a@x.example", "Customers")+c.asks("A@x.example ", " customers")+c.asks("a@x.example", "customers")))
	}
	if d := cmp.Diff(got, []string{"0:1", "1:1", "2:1", "3:1", "4:2"}); d != "" {
		t.Errorf("questions that reached the destination, got - want:\n%s", d)
	}
	answers := map[string]schemas.ListAnswer{}
	for _, a := range r.answered(4) {
		answers[a.CommandID] = a
	}
	if first, second := answers[all[0].CommandID], answers[all[1].CommandID]; !second.AsOf.Equal(first.AsOf) || second.At.Before(second.AsOf) {
		t.Errorf("a reused answer: got as of %s at %s, want as of %s", second.AsOf, second.At, first.AsOf)
	}
	if last := answers[all[4].CommandID]; last.Standing != schemas.StandingActive {
		t.Errorf("after the effect: got %s", last.Standing)
	}
}

func TestRememberedAnswers(t *testing.T) {
	noon := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	ask := &schemas.Effect{Type: schemas.QuestionOnList, Name: "Customers"}
	active := func(asOf time.Time) remembered { return remembered{schemas.StandingActive, asOf} }
	for _, c := range []struct {
		name string
		do   func(a *answers)
		at   time.Duration
		want bool
	}{
		{"fresh", func(a *answers) { a.set("crm", "a@x.example", "customers", active(noon)) }, 59 * time.Second, true},
		{"too old", func(a *answers) { a.set("crm", "a@x.example", "customers", active(noon)) }, time.Minute, false},
		{"another list", func(a *answers) { a.set("crm", "a@x.example", "news", active(noon)) }, 0, false},
		{"another account", func(a *answers) { a.set("other", "a@x.example", "customers", active(noon)) }, 0, false},
		{"something was sent since", func(a *answers) {
			a.set("crm", "a@x.example", "customers", active(noon))
			a.forget("crm", "A@x.example", noon.Add(time.Second))
		}, time.Second, false},
		{"something was sent while it was asked", func(a *answers) {
			a.forget("crm", "a@x.example", noon.Add(time.Second))
			a.set("crm", "a@x.example", "customers", active(noon))
		}, time.Second, false},
		{"asked after something was sent", func(a *answers) {
			a.forget("crm", "a@x.example", noon.Add(-time.Second))
			a.set("crm", "a@x.example", "customers", active(noon))
		}, time.Second, true},
		{"the clock went back", func(a *answers) { a.set("crm", "a@x.example", "customers", active(noon)) }, -time.Second, false},
		{"too many people", func(a *answers) {
			a.set("crm", "a@x.example", "customers", active(noon))
			for i := range 3 {
				a.set("crm", fmt.Sprint(i), "customers", active(noon))
			}
		}, 0, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := newAnswers(3)
			c.do(a)
			if _, ok := a.get("crm", " a@X.example", ask, noon.Add(c.at), DefaultAnswerAge); ok != c.want {
				t.Errorf("got %v, want %v", ok, c.want)
			}
			if a.order.Len() > 3 || len(a.byKey) != a.order.Len() {
				t.Errorf("remembers %d people, want 3 at most", a.order.Len())
			}
		})
	}
}

// Two destinations of one account are one: what is sent through one is seen in the answers of the other.
func TestAnswersOfOneAccount(t *testing.T) {
	r := newRig(t)
	say := func(_, _ string, try int) (schemas.Standing, sinks.Outcome) {
		return said([]schemas.Standing{schemas.StandingAbsent, schemas.StandingActive}[min(try, 2)-1])
	}
	c := newAsked(t, say)
	o := r.options("one", c)
	o.Writers["twin"] = c
	o.Accounts = map[string]string{"crm": "account", "twin": "account"}
	r.start(o)
	first, add, second := r.question("a@x.example", "Customers"), r.effect("a@x.example"), r.question("a@x.example", "Customers")
	add.Destination = "twin"
	for _, cmd := range []schemas.Command{first, add, second} {
		r.produce(cmd)
		r.ended(cmd)
	}
	if got := c.asks("a@x.example", "Customers"); got != 2 {
		t.Errorf("asked %d times, want again after the other destination's effect", got)
	}
}

// A state that is refused takes its effects with it, but a question about the contact can be answered all the same.
func TestQuestionAfterARefusedState(t *testing.T) {
	r := newRig(t)
	c := newAsked(t, func(string, string, int) (schemas.Standing, sinks.Outcome) { return said(schemas.StandingBounced) })
	bad := r.contact("a@x.example", 1)
	c.answer = func(cmd schemas.Command, _ int) (sinks.Outcome, bool) {
		if cmd.CommandID == bad.CommandID {
			return sinks.Outcome{Kind: sinks.Rejected, Err: errors.New("no such field"), Remedy: "create it"}, false
		}
		return sinks.Outcome{}, true
	}
	r.start(r.options("one", c))
	q, late := r.question("a@x.example", "Customers"), r.question("a@x.example", "News")
	r.produce(bad, q)
	r.ended(bad, q)
	r.produce(late)
	got := r.ended(bad, q, late)
	want := map[string]schemas.OutcomeWord{bad.CommandID: schemas.OutcomeRejected, q.CommandID: schemas.OutcomeDelivered, late.CommandID: schemas.OutcomeDelivered}
	if d := cmp.Diff(got, want); d != "" {
		t.Errorf("outcomes, got - want:\n%s", d)
	}
	for _, a := range r.answered(2) {
		if a.Standing != schemas.StandingBounced {
			t.Errorf("got %+v", a)
		}
	}
}

// However often the deliverer dies, each question has one answer in the log, with its delivery, although the
// destination says something else each time that it is asked.
func TestAnswerIsNeitherLostNorDoubled(t *testing.T) {
	r := newRig(t)
	standings := []schemas.Standing{schemas.StandingActive, schemas.StandingUnsubscribed, schemas.StandingAbsent}
	c := newAsked(t, func(_, _ string, try int) (schemas.Standing, sinks.Outcome) { return said(standings[try%3]) })
	start := func() *running {
		o := r.options("one", c)
		o.AnswerAge = time.Nanosecond // each question goes out
		o.Kafka.Extra = append(o.Kafka.Extra, kgo.RebalanceTimeout(2*time.Second))
		return r.start(o)
	}
	const people, rounds = 40, 3
	var all []schemas.Command
	run := start()
	for n := range rounds {
		for i := range people {
			who := fmt.Sprintf("c%d@x.example", i)
			cmds := []schemas.Command{r.effect(who), r.question(who, "Customers")}
			r.produceTo(int32(i%2), cmds...)
			all = append(all, cmds...)
		}
		want := n*people + people/3
		eventually(t, "some questions", func() bool {
			c.lists.Lock()
			defer c.lists.Unlock()
			total := 0
			for _, k := range c.n {
				total += k
			}
			return total >= want
		})
		run.kill()
		run = start()
	}
	words := r.ended(all...)
	last := r.question("end@x.example", "Customers")
	r.produce(last)
	r.ended(last)
	got := map[string][]schemas.Standing{}
	for _, a := range r.answered(people*rounds + 1) {
		got[a.CommandID] = append(got[a.CommandID], a.Standing)
	}
	for _, cmd := range all {
		switch {
		case cmd.Kind == schemas.CommandEffect && words[cmd.CommandID] != schemas.OutcomeDelivered:
			t.Errorf("effect %s ended as %s", cmd.CommandID, words[cmd.CommandID])
		case cmd.Kind == schemas.CommandQuestion && (len(got[cmd.CommandID]) != 1 || words[cmd.CommandID] != schemas.OutcomeDelivered):
			t.Errorf("question %s ended as %s with the answers %v, want one", cmd.CommandID, words[cmd.CommandID], got[cmd.CommandID])
		}
	}
}

// What was said is forgotten when something leaves for the person, when its outcome comes, and when another owner may
// have sent something: each by itself.
func TestAnswersAreForgotten(t *testing.T) {
	r := newRig(t)
	d, err := New(r.options("one", newCRM(t)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.cluster.Close)
	noon := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	cmd, ask := r.effect("a@x.example"), r.question("a@x.example", "Customers")
	w := newWindow(t.Context(), schemas.TopicCommands, 0, 1, 0, progress{})
	e := w.admit(0)
	e.cmd, e.at, e.intent = &cmd, cmd.At, intentCommitted
	known := func() bool {
		_, ok := d.answers.get("crm", "a@x.example", ask.Effect, d.now, DefaultAnswerAge)
		return ok
	}
	learn := func() {
		d.now = d.now.Add(time.Second)
		d.answers.set("crm", "a@x.example", "Customers", remembered{schemas.StandingActive, d.now})
		if !known() {
			t.Fatal("what was said now is not known")
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.now = noon
	for _, step := range []struct {
		name string
		do   func()
	}{
		{"a request leaves", func() { d.start(d.lane("crm"), []*entry{e}, false) }},
		{"its outcome comes", func() { d.judge(result{entry: e, started: d.now, outcome: sinks.Outcome{Kind: sinks.Delivered}}) }},
		{"a partition is assigned", func() {
			d.mu.Unlock()
			d.assign(t.Context(), []kafka.Offset{{Topic: schemas.TopicCommands, Partition: 0, At: 0}})
			d.mu.Lock()
			d.now = noon.Add(3 * time.Second) // assign took the clock's
		}},
	} {
		learn()
		step.do()
		if known() {
			t.Errorf("%s: what was said before is still known", step.name)
		}
	}
}

// A question is asked after the effects before it have ended, however many there are on their way.
func TestQuestionSeesWhatWasSentBefore(t *testing.T) {
	r := newRig(t)
	var c *asked
	c = newAsked(t, func(email, _ string, _ int) (schemas.Standing, sinks.Outcome) {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.versions["live/"+email]+int64(c.effects[email]) >= 2 {
			return said(schemas.StandingActive)
		}
		return said(schemas.StandingAbsent)
	})
	c.answer = func(cmd schemas.Command, _ int) (sinks.Outcome, bool) {
		if cmd.Kind == schemas.CommandEffect {
			c.mu.Lock()
			c.effects[cmd.Contact.Email]++
			c.mu.Unlock()
		}
		return sinks.Outcome{}, true
	}
	var all []schemas.Command
	for i := range 20 {
		who := fmt.Sprintf("c%d@x.example", i)
		all = append(all, r.contact(who, 1), r.effect(who), r.question(who, "Customers"))
	}
	r.produce(all...)
	r.start(r.options("one", c))
	for _, a := range r.answered(20) {
		if a.Standing != schemas.StandingActive {
			t.Errorf("%s was asked about before its state and its effect were there: %s", a.ContactKey, a.Standing)
		}
	}
}
