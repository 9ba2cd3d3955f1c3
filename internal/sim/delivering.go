package sim

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tillstream/tillstream/internal/sim/broker"
	"github.com/tillstream/tillstream/internal/sim/sched"
	"github.com/tillstream/tillstream/pipeline/deliver"
	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/sinks"
)

const groupDeliver = "sim-deliver"

// delivering is a world of deliverers and two accounts of a CRM.
type delivering struct {
	w        *world
	accounts []*account
	newest   map[string]*schemas.Command // by account and contact
	sent     map[place]*sentCommand
	numbers  int
}

// sentCommand is one record of the commands' topic.
type sentCommand struct {
	cmd     *schemas.Command // nil: not a command
	refused bool
}

// account is one destination: it has contacts with the version that they were brought to, and effects with how often
// they happened.
type account struct {
	w       *world
	name    string
	version map[string]int64
	// members are the effects that took place, by contact: their number is what the contact is to a list. said is which
	// numbers the account gave for an answer.
	members  map[string]map[string]bool
	said     map[string]map[int]bool
	effects  map[string]int
	unknowns map[string]int
	// limited and refused: until then it answers 429 and 401.
	limited, refused, down time.Duration
	flying                 map[string]int // requests under way, by contact
	total                  int
}

func newDelivering(w *world) *delivering {
	d := &delivering{w: w, newest: map[string]*schemas.Command{}, sent: map[place]*sentCommand{}}
	for _, name := range []string{"crm0", "crm1"} {
		d.accounts = append(d.accounts, &account{w: w, name: name, version: map[string]int64{}, effects: map[string]int{}, members: map[string]map[string]bool{}, said: map[string]map[int]bool{}, unknowns: map[string]int{}, flying: map[string]int{}})
	}
	return d
}

func (d *delivering) groups() []string { return []string{groupDeliver} }

func (d *delivering) topics() {
	n := int32(d.w.cfg.Partitions)
	d.w.b.Create(schemas.TopicCommands, n, false)
	d.w.b.Create(schemas.TopicDeliveries, n, false)
	d.w.b.Create(schemas.TopicAutomationInbox, n, false)
	d.w.b.Create(schemas.TopicProgress, n, true)
}

// persons pause a destination and a connection now and then, for a while.
type persons struct {
	w       *world
	changes map[int64]chan struct{} // by spell; those of the past are closed
}

var _ deliver.Pauses = (*persons)(nil)

const (
	pausedConnection = "shop"
	spellOfPause     = 20 * time.Second
)

// spell counts the spells, of which one in two has a pause; -1: there are none any more.
func (p *persons) spell() int64 {
	if p.w.calm {
		return -1
	}
	return int64(p.w.s.Elapsed() / spellOfPause)
}

func (p *persons) Paused(subject schemas.PauseSubject, name string) (schemas.Pause, bool) {
	switch n := p.spell(); subject {
	case schemas.PauseDestination:
		return schemas.Pause{}, name == "crm0" && n%4 == 1
	default:
		return schemas.Pause{}, name == pausedConnection && n%4 == 3
	}
}

func (p *persons) Changed() <-chan struct{} {
	now := p.spell()
	for n, c := range p.changes {
		if n != now && c != nil {
			close(c)
			p.changes[n] = nil
		}
	}
	if p.changes[now] == nil {
		p.changes[now] = make(chan struct{})
	}
	return p.changes[now]
}

func (d *delivering) begin(span int64) {
	var at []time.Duration
	for range d.w.cfg.Events {
		at = append(at, time.Duration(d.w.work.r.Int64N(span)))
	}
	for _, t := range at {
		d.w.s.After(t, d.send)
	}
}

// send appends one command: a contact's next state, or an effect.
func (d *delivering) send() {
	w, r := d.w, d.w.work.r
	w.events++
	a := d.accounts[r.IntN(len(d.accounts))]
	n := partitionOf(a.name, w.cfg.Partitions)
	if r.IntN(40) == 0 {
		w.hit(Garbage, PartLog)
		e := w.b.Put(schemas.TopicCommands, n, &kgo.Record{Key: []byte("x"), Value: []byte("garbage")})
		d.sent[place{schemas.TopicCommands, n, e.Record.Offset}] = &sentCommand{refused: true}
		return
	}
	contact := fmt.Sprintf("canary%d@example.com", r.IntN(w.cfg.Keys))
	w.secret(contact)
	d.numbers++
	cmd := &schemas.Command{
		CommandID: fmt.Sprint("c", d.numbers), Kind: schemas.CommandContact, Destination: a.name, ContactKey: "sandbox/" + contact,
		Contact: schemas.Contact{Email: contact}, At: w.s.Now(),
	}
	if d.numbers%3 == 0 {
		cmd.RootKey = schemas.RootKey(schemas.Sandbox, pausedConnection, "x")
	}
	refused := r.IntN(20) == 0
	if refused {
		cmd.Contact.FirstName = poison
	}
	switch x := r.IntN(12); {
	case x < 2:
		cmd.Kind, cmd.Effect = schemas.CommandQuestion, &schemas.Effect{Type: schemas.QuestionOnList, Name: "customers"}
	case x < 5:
		cmd.Kind, cmd.Effect = schemas.CommandEffect, &schemas.Effect{Type: schemas.EffectTrackEvent, Name: "paid"}
	default:
		cmd.Version = int64(d.numbers)
		d.newest[a.name+" "+cmd.ContactKey] = cmd
	}
	value, err := shared.Encode(cmd)
	if err != nil {
		panic(err)
	}
	e := w.b.Put(schemas.TopicCommands, n, &kgo.Record{Key: []byte(cmd.ContactKey), Value: value})
	d.sent[place{schemas.TopicCommands, n, e.Record.Offset}] = &sentCommand{cmd, refused}
}

// crmWriter is one account as one process reaches it.
type crmWriter struct {
	a *account
	p *sched.Proc
	// told: until then the account asked this process for silence. Requests that were about to leave at that moment are
	// counted in after.
	told  time.Duration
	after int
	// deaf and hasty are mutants: the first forgets what 429 asked for, the second says "done" before it is.
	deaf, hasty bool
}

var _ sinks.Writer = (*crmWriter)(nil)

func (c *crmWriter) Check(context.Context) []sinks.Finding { return nil }
func (c *crmWriter) Close() error                          { return nil }

func (c *crmWriter) Write(ctx context.Context, batch []schemas.Command) (out []sinks.Outcome) {
	if n := len(batch); n > parallelMax {
		c.a.w.violate(15, "a batch of %d commands", n)
	}
	for _, cmd := range batch {
		if c.hasty && cmd.Kind == schemas.CommandContact {
			c.p.Go(func() {
				_ = c.p.Sleep(context.Background(), c.a.w.nemesis.between(0, 3*time.Second))
				c.one(context.Background(), cmd)
			})
			out = append(out, sinks.Outcome{Kind: sinks.Delivered})
			continue
		}
		o := c.one(ctx, cmd)
		out = append(out, o)
		if o.Account { // the rest is not tried
			for len(out) < len(batch) {
				out = append(out, sinks.Outcome{Kind: sinks.Retryable, Account: true, RetryAfter: o.RetryAfter, Err: o.Err})
			}
			return out
		}
	}
	return out
}

const (
	parallelMax = 4
	// stepMax is how far a fault may set a process's clock ahead, and so how much too early it may take silence for over.
	stepMax = 2 * time.Second
)

// one is one request.
func (c *crmWriter) one(ctx context.Context, cmd schemas.Command) sinks.Outcome {
	a, w := c.a, c.a.w
	if ctx.Err() != nil {
		return sinks.Outcome{Kind: sinks.Retryable, Err: ctx.Err()}
	}
	if now := w.s.Elapsed(); c.told <= now+stepMax {
		c.after = 0
	} else if c.after++; c.after >= parallelMax {
		w.violate(11, "%s asked %s for silence for %v more, and it goes on sending", a.name, c.p.Name, c.told-now)
	}
	if a.flying[cmd.ContactKey]++; a.flying[cmd.ContactKey] > 1 && !c.hasty {
		w.trace("two requests for %s at %s are under way", cmd.ContactKey, a.name)
	}
	if a.total++; a.total > parallelMax*len(w.slots)*2 {
		w.violate(15, "%d requests are under way at %s", a.total, a.name)
	}
	var o sinks.Outcome
	ended := false
	end := func() {
		if !ended {
			ended = true
			a.flying[cmd.ContactKey]--
			a.total--
		}
	}
	defer end()
	sent, err := w.remote(ctx, c.p, "crm-write", func() { o = a.answer(cmd) })
	if err != nil {
		if !sent {
			return sinks.Outcome{Kind: sinks.Retryable, Err: err}
		}
		a.unknowns[cmd.CommandID]++
		return sinks.Outcome{Kind: sinks.Unknown, Err: err}
	}
	if o.Account && o.RetryAfter > 0 {
		c.told = max(c.told, w.s.Elapsed()+o.RetryAfter)
		if c.deaf {
			o.Account, o.RetryAfter = false, 0
		}
	}
	return o
}

// answer is what the account does with a request.
func (a *account) answer(cmd schemas.Command) sinks.Outcome {
	w, n, now := a.w, a.w.nemesis, a.w.s.Elapsed()
	switch {
	case n.chance("crm-429"):
		w.hit(Slow, PartCRM)
		a.limited = max(a.limited, now+n.between(time.Second, 15*time.Second))
	case n.chance("crm-401"):
		w.hit(DiskFull, PartCRM) // the account is closed, over its quota
		a.refused = max(a.refused, now+n.between(time.Second, 10*time.Second))
	}
	switch {
	case now < a.down, n.chance("crm-500"):
		w.hit(Crash, PartCRM)
		return sinks.Outcome{Kind: sinks.Retryable, Err: errors.New("answered 503")}
	case now < a.limited:
		return sinks.Outcome{Kind: sinks.Retryable, Account: true, RetryAfter: a.limited - now, Err: errors.New("answered 429")}
	case now < a.refused:
		return sinks.Outcome{Kind: sinks.Retryable, Account: true, Err: errors.New("answered 401")}
	case cmd.Contact.FirstName == poison:
		return sinks.Outcome{Kind: sinks.Rejected, Err: errors.New("answered 422")}
	}
	w.note(a.name, cmd.CommandID)
	w.trace("%s applies %s of %s, version %d", a.name, cmd.CommandID, cmd.ContactKey, cmd.Version)
	if cmd.Kind == schemas.CommandEffect {
		a.effects[cmd.CommandID]++
		if a.members[cmd.ContactKey] == nil {
			a.members[cmd.ContactKey] = map[string]bool{}
		}
		a.members[cmd.ContactKey][cmd.CommandID] = true
		if got, most := a.effects[cmd.CommandID], 1+a.unknowns[cmd.CommandID]+a.flying[cmd.ContactKey]-1; got > max(1, most) {
			w.violate(11, "effect %s happened %d times at %s, with %d unknown outcomes", cmd.CommandID, got, a.name, a.unknowns[cmd.CommandID])
		}
	} else {
		if was := a.version[cmd.ContactKey]; cmd.Version < was {
			w.violate(11, "%s was at version %d of %s, and now is at %d", a.name, was, cmd.ContactKey, cmd.Version)
		}
		a.version[cmd.ContactKey] = cmd.Version
	}
	if n.chance("crm-garbage") {
		w.hit(Garbage, PartCRM)
		a.unknowns[cmd.CommandID]++
		return sinks.Outcome{Kind: sinks.Unknown, Err: errors.New("answered 200 with something other than JSON")}
	}
	return sinks.Outcome{Kind: sinks.Delivered}
}

// memberships are what a contact can be, by how many effects it had.
var memberships = []schemas.Standing{schemas.StandingAbsent, schemas.StandingActive, schemas.StandingUnconfirmed, schemas.StandingUnsubscribed, schemas.StandingBounced}

// Standing says what a contact is to the list: something else after each effect.
func (c *crmWriter) Standing(ctx context.Context, email, _ string) (s schemas.Standing, o sinks.Outcome) {
	a, w, key := c.a, c.a.w, "sandbox/"+email
	s = schemas.StandingUnknown
	_, err := w.remote(ctx, c.p, "crm-list", func() {
		switch now := w.s.Elapsed(); {
		case now < a.down, w.nemesis.chance("crm-500"):
			w.hit(Crash, PartCRM)
			o = sinks.Outcome{Kind: sinks.Retryable, Err: errors.New("answered 503")}
		case now < a.limited:
			o = sinks.Outcome{Kind: sinks.Retryable, Account: true, RetryAfter: a.limited - now, Err: errors.New("answered 429")}
		default:
			n := len(a.members[key])
			if a.said[key] == nil {
				a.said[key] = map[int]bool{}
			}
			a.said[key][n] = true
			s, o = memberships[n%len(memberships)], sinks.Outcome{Kind: sinks.Delivered}
		}
	})
	if err != nil {
		return schemas.StandingUnknown, sinks.Outcome{Kind: sinks.Retryable, Err: err}
	}
	return s, o
}

// Reconcile asks whether an effect happened.
func (c *crmWriter) Reconcile(ctx context.Context, cmd schemas.Command) (o sinks.Outcome) {
	_, err := c.a.w.remote(ctx, c.p, "crm-ask", func() {
		switch {
		case c.a.w.s.Elapsed() < c.a.down:
			o = sinks.Outcome{Kind: sinks.Retryable, Err: errors.New("answered 503")}
		case c.a.effects[cmd.CommandID] > 0:
			o = sinks.Outcome{Kind: sinks.Delivered}
		default:
			o = sinks.Outcome{Kind: sinks.NotHappened}
		}
	})
	if err != nil {
		return sinks.Outcome{Kind: sinks.Retryable, Err: err}
	}
	return o
}

func (d *delivering) run(env roleEnv) error {
	writers := map[string]sinks.Writer{}
	for _, a := range d.accounts {
		c := &crmWriter{a: a, p: env.p}
		if m := d.w.mutant; m != nil {
			c.deaf, c.hasty = m.deaf, m.hasty
		}
		writers[a.name] = c
	}
	r, err := deliver.New(deliver.Options{
		Cluster: env.cluster, Clock: env.clock, Random: env.random, Codec: &procCodec{w: d.w, p: env.p}, Group: groupDeliver, Instance: env.s.name,
		Writers: writers, Parallel: 1 + d.w.cfg.BatchTimers%parallelMax, BatchMax: 1 + d.w.cfg.CacheImages%2, Settle: 6 * time.Second, WindowMax: 2 + d.w.cfg.CacheImages%4, Pauses: &persons{d.w, map[int64]chan struct{}{}},
		RetryBase: 200 * time.Millisecond, RetryMax: 5 * time.Second, AnswerFor: answerFor, AnswerAge: 20 * time.Second, Log: env.log,
	})
	if err != nil {
		return err
	}
	env.s.ready = r.Ready
	return r.Run(env.ctx)
}

func (d *delivering) calm() {
	for _, a := range d.accounts {
		a.limited, a.refused, a.down = 0, 0, 0
	}
}

// finals counts the last words about each command, by id, and the dead letters, by place.
func (d *delivering) finals() (words map[string][]schemas.OutcomeWord, letters map[string]int) {
	words, letters = map[string][]schemas.OutcomeWord{}, map[string]int{}
	for _, p := range d.w.b.Topic(schemas.TopicDeliveries).Parts {
		for _, e := range p.All {
			if e.Marker || e.Txn != nil && e.Txn.State != broker.Committed {
				continue
			}
			rec, err := shared.Decode(e.Record.Value)
			if err != nil {
				d.w.violate(11, "a delivery cannot be read: %v", err)
				continue
			}
			v := rec.(*schemas.Delivery)
			if v.Outcome != schemas.OutcomeIntent && v.Outcome != schemas.OutcomeRetryable {
				words[v.CommandID] = append(words[v.CommandID], v.Outcome)
			}
		}
	}
	for _, l := range d.w.deadLetters("deliver") {
		letters[l.ID]++
	}
	return words, letters
}

func (d *delivering) behind() string {
	words, letters := d.finals()
	for at, s := range d.sent {
		switch {
		case s.cmd == nil && letters[fmt.Sprintf("%s-%d-%d", at.topic, at.partition, at.offset)] == 0:
			return "garbage has no dead letter"
		case s.cmd != nil && len(words[s.cmd.CommandID]) == 0:
			return "commands have no final delivery"
		}
	}
	return ""
}

// check is invariant 11, and 13 for commands.
func (d *delivering) check() {
	words, letters := d.finals()
	places := make([]place, 0, len(d.sent))
	for at := range d.sent {
		places = append(places, at)
	}
	slices.SortFunc(places, func(a, b place) int { return int(a.partition-b.partition)*1_000_000 + int(a.offset-b.offset) })
	for _, at := range places {
		s := d.sent[at]
		id := fmt.Sprintf("%s-%d-%d", at.topic, at.partition, at.offset)
		if s.cmd == nil {
			if letters[id] != 1 {
				d.w.violate(13, "the garbage at %s has %d dead letters, want 1", id, letters[id])
			}
			continue
		}
		got := words[s.cmd.CommandID]
		if len(got) != 1 {
			d.w.violate(11, "command %s at %s has the final deliveries %v, want one", s.cmd.CommandID, id, got)
			continue
		}
		if rejected := got[0] == schemas.OutcomeRejected; rejected != (letters[id] == 1) || letters[id] > 1 {
			d.w.violate(13, "command %s ended as %s and has %d dead letters", s.cmd.CommandID, got[0], letters[id])
		}
		d.checkEffect(s, got[0])
	}
	d.checkAnswers(places)
	for key, cmd := range d.newest {
		for _, a := range d.accounts {
			if a.name == cmd.Destination && cmd.Contact.FirstName != poison && a.version[cmd.ContactKey] != cmd.Version {
				d.w.violate(11, "%s ended at version %d, want %d", key, a.version[cmd.ContactKey], cmd.Version)
				return
			}
		}
	}
}

// answerFor is long for what a destination does here and short for a run: some questions stay unanswered.
const answerFor = 90 * time.Second

// checkAnswers: each question has one answer, which the account gave after all that was sent before the question.
func (d *delivering) checkAnswers(places []place) {
	got := map[string][]*schemas.ListAnswer{}
	for n := range d.w.b.Topic(schemas.TopicAutomationInbox).Parts {
		for _, r := range d.w.b.Topic(schemas.TopicAutomationInbox).Parts[n].Committed() {
			rec, err := shared.Decode(r.Value)
			if err != nil {
				d.w.violate(11, "an answer cannot be read: %v", err)
				continue
			}
			v := rec.(*schemas.ListAnswer)
			got[v.CommandID] = append(got[v.CommandID], v)
		}
	}
	before := map[string]int{} // effects that took place, by account and contact
	for _, at := range places {
		s := d.sent[at]
		if s.cmd == nil {
			continue
		}
		for _, a := range d.accounts {
			switch key := a.name + " " + s.cmd.ContactKey; {
			case a.name != s.cmd.Destination:
			case s.cmd.Kind == schemas.CommandEffect && a.effects[s.cmd.CommandID] > 0:
				before[key]++
			case s.cmd.Kind == schemas.CommandQuestion:
				d.checkAnswer(a, s.cmd, got[s.cmd.CommandID], before[key])
			}
		}
	}
}

func (d *delivering) checkAnswer(a *account, q *schemas.Command, got []*schemas.ListAnswer, before int) {
	if len(got) != 1 {
		d.w.violate(11, "question %s has %d answers, want one", q.CommandID, len(got))
		return
	}
	v := got[0]
	if v.Standing == schemas.StandingUnknown {
		if waited := v.At.Sub(q.At); v.Error == "" || waited < answerFor-stepMax-d.w.cfg.Skew {
			d.w.violate(11, "question %s was given up after %v: %s", q.CommandID, waited, v.Error)
		}
		return
	}
	for n := before; n <= len(a.members[q.ContactKey]); n++ {
		if a.said[q.ContactKey][n] && memberships[n%len(memberships)] == v.Standing {
			return
		}
	}
	d.w.violate(11, "question %s was answered with %s, which %s did not say after the %d effects before it", q.CommandID, v.Standing, a.name, before)
}

func (d *delivering) checkEffect(s *sentCommand, word schemas.OutcomeWord) {
	if s.cmd.Kind != schemas.CommandEffect {
		return
	}
	for _, a := range d.accounts {
		if a.name != s.cmd.Destination {
			continue
		}
		n := a.effects[s.cmd.CommandID]
		if word == schemas.OutcomeDelivered && n == 0 || word == schemas.OutcomeRejected && n > 0 {
			d.w.violate(11, "effect %s ended as %s and happened %d times", s.cmd.CommandID, word, n)
		}
	}
}
