package sinkstest

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/sinks"
)

// EffectCase is one effect that a sink performs.
type EffectCase struct {
	// Command is valid, for the contact of Options.Contact.
	Command schemas.Command
	// Writes reports whether the request is the one that performs it.
	Writes func(*http.Request) bool
	// Repeatable: it sets a state, so that after an unknown outcome it may simply be sent again.
	Repeatable bool
	// StatusDecides: an answer of success is one, whatever its body.
	StatusDecides bool
	// Setup brings a fresh twin, reached by a writer, into the state that the effect needs beside the contact; nil: none.
	Setup func(t *testing.T, w sinks.Writer)
}

// QuestionCase is how a sink is asked who is on a list. Backend prepares what is asked for.
type QuestionCase struct {
	List string
	// Standings are what people are to the list, by e-mail address. One of them is active, one absent.
	Standings map[string]schemas.Standing
	// Asks reports whether the request is the one that reads it.
	Asks func(*http.Request) bool
}

// claims checks that the sink says what it performs, that all of it is checked here, and that the rest is refused.
func (o Options) claims(t *testing.T) {
	covered := map[string]bool{}
	if o.Effect != nil {
		covered[o.Effect.Effect.Type] = true
	}
	for _, e := range o.Effects {
		covered[e.Command.Effect.Type] = true
	}
	if o.Question != nil {
		covered[schemas.QuestionOnList] = true
	}
	for _, name := range o.Sink.Effects {
		if !covered[name] {
			t.Errorf("the sink claims %s, which is not checked", name)
		}
	}
	b := o.open(t)
	if _, can := b.writer.(sinks.ListReader); can != o.Sink.Performs(schemas.QuestionOnList) {
		t.Errorf("got a writer that can be asked: %v, and a sink that says so: %v", can, !can)
	}
	o.readings(t, b.writer)
	for _, name := range []string{
		schemas.EffectTrackEvent, schemas.EffectSendMessage, schemas.EffectAddToList, schemas.EffectMoveToList, schemas.EffectStartAutomation,
		schemas.EffectWriteOrder, schemas.EffectWriteRecurring, schemas.EffectNotify, "ADD_NOTE",
	} {
		if covered[name] {
			if len(o.Sink.Effects) > 0 && !o.Sink.Performs(name) {
				t.Errorf("the sink performs %s and does not say so", name)
			}
			continue
		}
		c := o.Contact
		c.CommandID, c.Kind, c.Effect = "unclaimed", schemas.CommandEffect, &schemas.Effect{Type: name, Name: "x"}
		if got := b.write(t.Context(), c)[0]; got.Kind != sinks.Rejected || got.Account {
			t.Errorf("%s, which the sink does not claim: got %d, account %v: %v", name, got.Kind, got.Account, got.Err)
		}
	}
}

// readings checks that what a writer can read is checked here too.
func (o Options) readings(t *testing.T, w sinks.Writer) {
	_, accounts := w.(sinks.Accounter)
	_, lists := w.(sinks.Cataloguer)
	_, verifies := w.(sinks.Verifier)
	for _, one := range []struct {
		what           string
		can, isChecked bool
	}{
		{"tells whose account it is", accounts, o.Account != nil},
		{"lists what the account has", lists, o.Catalogue != nil},
		{"reads contacts back", verifies, o.Verify != nil && o.Twin != nil},
	} {
		if one.can != one.isChecked {
			t.Errorf("the writer %s: %v, checked: %v", one.what, one.can, one.isChecked)
		}
	}
}

// prepared is a bench with the contact, at which the effect can take place.
func (o Options) prepared(t *testing.T, e EffectCase, wait time.Duration) *bench {
	t.Helper()
	b := o.openWith(t, wait)
	b.writes = e.Writes
	if got := b.write(t.Context(), o.Contact)[0]; got.Kind != sinks.Delivered {
		t.Fatalf("contact: got %d: %v", got.Kind, got.Err)
	}
	if e.Setup != nil {
		e.Setup(t, b.writer)
	}
	return b
}

func (o Options) effect(t *testing.T, e EffectCase) {
	t.Run("takes place", func(t *testing.T) { o.takesPlace(t, e) })
	t.Run("a cancelled context tries nothing and says so", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if got := o.prepared(t, e, patience).write(ctx, e.Command)[0]; got.Kind != sinks.Retryable {
			t.Errorf("got %d, want Retryable: %v", got.Kind, got.Err)
		}
	})
	t.Run("nobody", func(t *testing.T) {
		if o.Sink.NoContacts {
			return // its effects need none
		}
		c := e.Command
		c.Contact.Email = ""
		if got := o.prepared(t, e, patience).write(t.Context(), c)[0]; got.Kind != sinks.Rejected {
			t.Errorf("got %d: %v", got.Kind, got.Err)
		}
	})
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			b := o.prepared(t, e, c.patience)
			b.answerWith(c.answer)
			want := c.effect
			if e.Repeatable && slices.Contains(want, sinks.Unknown) {
				want = either
			}
			if e.StatusDecides && c.success {
				want = []sinks.OutcomeKind{sinks.Delivered}
			}
			o.judge(t, "effect", b.write(t.Context(), e.Command)[0], want, c)
			b.answerWith(nil)
			if got := b.write(t.Context(), e.Command)[0]; got.Kind != sinks.Delivered {
				t.Errorf("after the trouble: got %d: %v", got.Kind, got.Err)
			}
		})
	}
}

func (o Options) takesPlace(t *testing.T, e EffectCase) {
	b := o.prepared(t, e, patience)
	before := b.writer.Reconcile(t.Context(), e.Command)
	b.check(before)
	if before.Kind != sinks.NotHappened && before.Kind != sinks.Unknown {
		t.Errorf("an effect that was not sent: got %d: %v", before.Kind, before.Err)
	}
	got := b.write(t.Context(), e.Command)[0]
	if got.Kind != sinks.Delivered || len(got.Exchanges) == 0 {
		t.Fatalf("got %d with %d exchanges: %v", got.Kind, len(got.Exchanges), got.Err)
	}
	after := b.writer.Reconcile(t.Context(), e.Command)
	b.check(after)
	if after.Kind != sinks.Delivered && after.Kind != sinks.Unknown && (after.Kind != sinks.NotHappened || !e.Repeatable) {
		t.Errorf("an effect that was sent: got %d: %v", after.Kind, after.Err)
	}
	if e.Repeatable {
		if got := b.write(t.Context(), e.Command)[0]; got.Kind != sinks.Delivered {
			t.Errorf("sent again: got %d: %v", got.Kind, got.Err)
		}
	}
}

// ask asks and checks what holds for every answer: a standing where it is known, and only there.
func (b *bench) ask(ctx context.Context, email, list string) (schemas.Standing, sinks.Outcome) {
	b.t.Helper()
	reader, ok := b.writer.(sinks.ListReader)
	if !ok {
		b.t.Fatal("the writer cannot be asked")
	}
	s, o := reader.Standing(ctx, email, list)
	b.check(o)
	if (o.Kind == sinks.Delivered) != (s != schemas.StandingUnknown) || s == "" {
		b.t.Errorf("got the standing %q with the outcome %d", s, o.Kind)
	}
	if o.Err != nil && strings.Contains(o.Err.Error(), email) {
		b.t.Errorf("the error names the address: %v", o.Err)
	}
	return s, o
}

func (o Options) question(t *testing.T) {
	q := o.Question
	b := o.open(t)
	b.writes = q.Asks
	somebody, seen := "", map[schemas.Standing]bool{}
	for email, want := range q.Standings {
		got, out := b.ask(t.Context(), email, q.List)
		if got != want {
			t.Errorf("%s: got %s, want %s: %v", email, got, want, out.Err)
		}
		if len(out.Exchanges) == 0 {
			t.Errorf("%s: no exchange is kept", email)
		}
		seen[want] = true
		if want == schemas.StandingActive {
			somebody = email
		}
	}
	if !seen[schemas.StandingActive] || !seen[schemas.StandingAbsent] {
		t.Error("the case has nobody active, or nobody absent")
	}
	if got, out := b.ask(t.Context(), somebody, strings.ToUpper(q.List)); got != schemas.StandingActive {
		t.Errorf("in other letters: got %s: %v", got, out.Err)
	}
	if got, out := b.ask(t.Context(), "nobody@nowhere.example", q.List); got != schemas.StandingAbsent {
		t.Errorf("someone unknown: got %s: %v", got, out.Err)
	}
	if got, out := o.open(t).ask(t.Context(), somebody, "No such list"); out.Kind != sinks.Rejected {
		t.Errorf("a list that does not exist: got %s, %d: %v", got, out.Kind, out.Err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if got, out := b.ask(ctx, somebody, q.List); out.Kind == sinks.Rejected {
		t.Errorf("with a cancelled context: got %s, %d: %v", got, out.Kind, out.Err)
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			b := o.openWith(t, c.patience)
			b.writes = q.Asks
			b.answerWith(c.answer)
			_, out := b.ask(t.Context(), somebody, q.List)
			// A question changes nothing: whatever is not refused may be asked again.
			want := either
			if slices.Equal(c.contact, refused) {
				want = append(slices.Clone(refused), either...)
			}
			o.judge(t, "answer", out, want, trouble{account: c.account, retryAfter: c.retryAfter})
			b.answerWith(nil)
			if got, out := b.ask(t.Context(), somebody, q.List); got != schemas.StandingActive {
				t.Errorf("after the trouble: got %s: %v", got, out.Err)
			}
		})
	}
}
