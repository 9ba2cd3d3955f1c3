package sinkstest

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/sinks"
)

// EntryKinds are all kinds of entry that an account may have.
var EntryKinds = []sinks.EntryKind{
	sinks.EntryField, sinks.EntryTag, sinks.EntryList, sinks.EntryMessage, sinks.EntryAutomation, sinks.EntryShop,
}

// AccountCase is whose account the twin plays.
type AccountCase struct {
	ID, Name string
	// Asks reports whether the request is the one that reads it.
	Asks func(*http.Request) bool
}

// CatalogueCase is what the twin has of one kind.
type CatalogueCase struct {
	Least int // of entries: more than a page of them, where the twin can have so many
	// Asks reports whether the request reads the list.
	Asks func(*http.Request) bool
}

// A Panel is what people do in the account, and the CRM by itself, without the sink. Addresses are of contacts; fields
// and tags are named as the account names them.
type Panel struct {
	SetField                    func(email, name, value string)
	Untag                       func(email, name string)
	Unsubscribe, Bounce, Delete func(email string) // from, or of, all lists
}

// VerifyCase is how a contact is read back. Field and Tag are of Options.Contact, Value is what somebody else writes into
// the field.
type VerifyCase struct {
	Field, Value, Tag string
	// Reads reports whether the request reads the contact.
	Reads func(*http.Request) bool
}

// hostile is what may come of a question that changes nothing, by a kind of trouble: never an answer.
func hostile(c trouble) []sinks.OutcomeKind {
	if slices.Equal(c.contact, refused) {
		return append(slices.Clone(refused), either...)
	}
	return either
}

func (o Options) account(t *testing.T) {
	b := o.open(t)
	got, out := b.writer.(sinks.Accounter).Account(t.Context())
	b.check(out)
	if out.Kind != sinks.Delivered || got.ID != o.Account.ID || got.Name != o.Account.Name {
		t.Errorf("got %+v with %d: %v", got, out.Kind, out.Err)
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			b := o.openWith(t, c.patience)
			b.writes = o.Account.Asks
			b.answerWith(c.answer)
			got, out := b.writer.(sinks.Accounter).Account(t.Context())
			b.check(out)
			if got.ID != "" {
				t.Errorf("an account without an answer: %+v", got)
			}
			o.judge(t, "account", out, hostile(c), trouble{account: c.account, retryAfter: c.retryAfter})
		})
	}
}

func (o Options) catalogue(t *testing.T) {
	for _, kind := range EntryKinds {
		t.Run(string(kind), func(t *testing.T) { o.entries(t, kind) })
	}
}

func (o Options) entries(t *testing.T, kind sinks.EntryKind) {
	b := o.open(t)
	list, out := b.writer.(sinks.Cataloguer).Catalogue(t.Context(), kind)
	b.check(out)
	c, has := o.Catalogue[kind]
	if !has {
		if out.Kind != sinks.Rejected || out.Account || list != nil {
			t.Errorf("what the sink does not list: got %d entries with %d: %v", len(list), out.Kind, out.Err)
		}
		return
	}
	if out.Kind != sinks.Delivered || len(list) < c.Least {
		t.Fatalf("got %d entries with %d, want at least %d: %v", len(list), out.Kind, c.Least, out.Err)
	}
	seen := map[string]bool{}
	for _, e := range list {
		switch {
		case e.ID == "" || len(e.Names) == 0 || e.Names[0] == "":
			t.Errorf("%+v has no id or no name", e)
		case seen[e.ID]:
			t.Errorf("%s is listed twice", e.ID)
		}
		seen[e.ID] = true
		if found, ok := sinks.FindEntry(list, strings.ToUpper(e.Names[0])); !ok {
			t.Errorf("%s cannot be found by its name: %+v", e.ID, found)
		}
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			b := o.openWith(t, c.patience)
			b.writes = o.Catalogue[kind].Asks
			b.answerWith(c.answer)
			list, out := b.writer.(sinks.Cataloguer).Catalogue(t.Context(), kind)
			b.check(out)
			if list != nil {
				t.Errorf("got %d entries without an answer", len(list))
			}
			o.judge(t, "catalogue", out, hostile(c), trouble{account: c.account, retryAfter: c.retryAfter})
		})
	}
}

// compared reads the contact back, and checks what holds for every comparison.
func (b *bench) compared(ctx context.Context, want schemas.Contact) (sinks.Comparison, sinks.Outcome) {
	b.t.Helper()
	got, out := b.writer.(sinks.Verifier).Verify(ctx, want)
	b.check(out)
	if out.Kind != sinks.Delivered && (got.Absent || got.Standing != "" || got.Differences != nil) {
		b.t.Errorf("got a comparison with the outcome %d: %+v", out.Kind, got)
	}
	if out.Kind == sinks.Delivered && got.Standing == "" {
		b.t.Errorf("got no standing: %+v", got)
	}
	return got, out
}

// settled fails unless the contact is at the destination as it is meant.
func (b *bench) settled(want schemas.Contact) {
	b.t.Helper()
	if got, out := b.compared(b.t.Context(), want); out.Kind != sinks.Delivered || got.Absent || len(got.Differences) > 0 {
		b.t.Errorf("the contact is not as it is meant: %+v, %d: %v", got, out.Kind, out.Err)
	}
}

// differs fails unless exactly this part is other than meant.
func (b *bench) differs(want schemas.Contact, part string, d sinks.Difference) {
	b.t.Helper()
	got, out := b.compared(b.t.Context(), want)
	if out.Kind != sinks.Delivered || len(got.Differences) != 1 {
		b.t.Fatalf("got %+v with %d, want one difference: %v", got, out.Kind, out.Err)
	}
	is := got.Differences[0]
	if !strings.EqualFold(is.Part, part) || is.Got != d.Got || (is.Want == "") != (d.Want == "") {
		b.t.Errorf("got %+v, want the %s to be %q", is, part, d.Got)
	}
}

func (o Options) verify(t *testing.T) {
	want := o.Contact.Contact
	t.Run("nobody", func(t *testing.T) {
		b := o.open(t)
		stranger := want
		stranger.Email = "nobody@nowhere.example"
		if got, out := b.compared(t.Context(), stranger); out.Kind != sinks.Delivered || !got.Absent || len(got.Differences) > 0 {
			t.Errorf("someone unknown: got %+v with %d: %v", got, out.Kind, out.Err)
		}
		stranger.Email = ""
		if _, out := b.compared(t.Context(), stranger); out.Kind != sinks.Rejected {
			t.Errorf("no address: got %d: %v", out.Kind, out.Err)
		}
	})
	t.Run("what Write has written is no difference, and what others change is", func(t *testing.T) {
		b := o.open(t)
		b.mustWrite(o.Contact)
		b.settled(want)
		b.panel.SetField(want.Email, o.Verify.Field, o.Verify.Value)
		b.differs(want, "field "+o.Verify.Field, sinks.Difference{Want: "something", Got: o.Verify.Value})
		b.mustWrite(o.Contact)
		b.settled(want)
		b.panel.Untag(want.Email, o.Verify.Tag)
		b.differs(want, "tag "+o.Verify.Tag, sinks.Difference{Want: o.Verify.Tag})
		b.mustWrite(o.Contact)
		b.settled(want)
		unwanted := want
		unwanted.Tags, unwanted.NoTags = nil, []string{o.Verify.Tag}
		b.differs(unwanted, "tag "+o.Verify.Tag, sinks.Difference{Got: o.Verify.Tag})
	})
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			b := o.openWith(t, c.patience)
			b.mustWrite(o.Contact)
			b.writes = o.Verify.Reads
			b.answerWith(c.answer)
			_, out := b.compared(t.Context(), want)
			o.judge(t, "comparison", out, hostile(c), trouble{account: c.account, retryAfter: c.retryAfter})
			b.answerWith(nil)
			b.settled(want)
		})
	}
}

// people checks what becomes of someone whom the CRM itself has changed.
func (o Options) people(t *testing.T) {
	email := o.Contact.Contact.Email
	for name, c := range map[string]struct {
		change   func(*Panel)
		standing schemas.Standing // afterwards; "": it does not matter
	}{
		"unsubscribed in the CRM": {func(p *Panel) { p.Unsubscribe(email) }, schemas.StandingUnsubscribed},
		"bounced in the CRM":      {func(p *Panel) { p.Bounce(email) }, schemas.StandingBounced},
		"deleted in the CRM":      {func(p *Panel) { p.Delete(email) }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			b := o.open(t)
			b.mustWrite(o.Contact)
			c.change(b.panel)
			if c.standing == "" { // made again, or refused because people may have left: never lost without a word
				got := b.eventually(o.Contact)
				if got.Kind == sinks.Delivered {
					b.settled(o.Contact.Contact)
				}
				return
			}
			before, out := b.compared(t.Context(), o.Contact.Contact)
			if out.Kind != sinks.Delivered || before.Standing != c.standing {
				t.Errorf("got %+v with %d, want the standing %s: %v", before, out.Kind, c.standing, out.Err)
			}
			b.eventually(o.Contact)
			// Whatever was written, nobody was subscribed again.
			if after, out := b.compared(t.Context(), o.Contact.Contact); after.Standing != c.standing {
				t.Errorf("a write made the standing %s of %s: %v", after.Standing, c.standing, out.Err)
			}
		})
	}
}
