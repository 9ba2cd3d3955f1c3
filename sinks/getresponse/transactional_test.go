package getresponse_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tillstream/tillstream/schemas"
	twin "github.com/tillstream/tillstream/simulators/getresponse"
	"github.com/tillstream/tillstream/sinks"
	"github.com/tillstream/tillstream/sinks/getresponse"
)

func transactional(c *getresponse.Config) { c.Messages = getresponse.MessagesTransactional }

// receipt is a message to ada, wanted now.
func (b *bench) receipt(id, word string, arguments ...string) schemas.Command {
	cmd := action(schemas.EffectSendMessage, word, arguments...)
	cmd.CommandID, cmd.At = id, b.clock()
	cmd.Contact.FirstName, cmd.Contact.LastName = "Ada", "L"
	return cmd
}

// TestMail: a template with its values goes to the address, which is on no list and is put on none.
func TestMail(t *testing.T) {
	b := open(t, twin.Options{}, transactional)
	b.AddTemplate("Receipt for %%order%%", `<p>%%order%%</p>`, "%%order%%")
	b.AddDraft(twin.Draft{Name: "Thanks", Subject: "Thank you", Plain: "x"})
	receipt := b.receipt("m1", "receipt for %%ORDER%%", "order", "<5>")
	if o := b.w.Reconcile(t.Context(), receipt); o.Kind != sinks.NotHappened {
		t.Errorf("before: got %d: %v", o.Kind, o.Err)
	}
	b.deliver(t, receipt)
	if o := b.write(t.Context(), b.receipt("m2", "Thanks")); o.Kind != sinks.Delivered {
		t.Errorf("a message of the account: got %d: %v", o.Kind, o.Err)
	}
	got := b.Mails()
	for i := range got {
		got[i].ID, got[i].At = "", time.Time{}
	}
	want := []twin.Mail{
		{Email: email, Name: "Ada L", Subject: "Receipt for <5>", HTML: "<p>&lt;5&gt;</p>", Plain: "<5>"},
		{Email: email, Name: "Ada L", Subject: "Thank you", Plain: "x"},
	}
	if d := cmp.Diff(got, want); d != "" {
		t.Errorf("got - want:\n%s", d)
	}
	if list := b.Contacts(); len(list) != 0 || len(b.Messages()) != 0 {
		t.Errorf("got contacts %+v and newsletters %+v", list, b.Messages())
	}
}

// TestMailOfUnknownOutcome: what is listed since the command was made, and is no other command's, was sent.
func TestMailOfUnknownOutcome(t *testing.T) {
	lost := func(t *testing.T, b *bench, f twin.Faults, cmd schemas.Command) {
		t.Helper()
		// Everything before the sending goes well.
		b.onTheWay(func(r *http.Request) {
			if r.Method == http.MethodPost {
				b.SetFaults(f)
			}
		})
		if o := b.write(t.Context(), cmd); o.Kind != sinks.Unknown {
			t.Fatalf("got %d: %v", o.Kind, o.Err)
		}
		b.onTheWay(nil)
		b.SetFaults(twin.Faults{})
	}
	prepare := func(t *testing.T) *bench {
		b := open(t, twin.Options{}, transactional)
		b.AddTemplate("Receipt", "", "%%order%%")
		return b
	}
	other := func(t *testing.T, b *bench, subject string) {
		t.Helper()
		if status := b.api("POST", "/transactional-emails", `{"fromField":{"fromFieldId":"F1"},"contentType":"direct","subject":"`+subject+`",
			"content":{"plain":"x"},"recipients":{"to":{"email":"`+email+`"}}}`); status != http.StatusCreated {
			t.Fatal(status)
		}
	}
	applied, lostBefore := twin.Faults{Cut: 1}, twin.Faults{TimeoutBefore: 1, HangMillis: 1}
	for name, c := range map[string]struct {
		before func(t *testing.T, b *bench)
		faults twin.Faults
		after  func(t *testing.T, b *bench)
		want   sinks.OutcomeKind
	}{
		"applied":     {nil, applied, nil, sinks.Delivered},
		"not applied": {nil, lostBefore, nil, sinks.NotHappened},
		"an earlier one is not": {
			func(t *testing.T, b *bench) { other(t, b, "Receipt"); b.wait(time.Hour) }, lostBefore, nil, sinks.NotHappened,
		},
		"one with another subject is not": {nil, lostBefore, func(t *testing.T, b *bench) { other(t, b, "Password reset") }, sinks.NotHappened},
		"one that this process sent just before is not": {
			func(t *testing.T, b *bench) { b.deliver(t, b.receipt("m0", "Receipt", "order", "1")) }, lostBefore, nil, sinks.NotHappened,
		},
		"a second one of another program": {
			nil, applied, func(t *testing.T, b *bench) { other(t, b, "Receipt") }, sinks.Unknown,
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := prepare(t)
			if c.before != nil {
				c.before(t, b)
			}
			cmd := b.receipt("m1", "Receipt", "order", "1")
			lost(t, b, c.faults, cmd)
			if c.after != nil {
				c.after(t, b)
			}
			o := b.w.Reconcile(t.Context(), cmd)
			if o.Kind != c.want || c.want == sinks.Unknown && (o.Err == nil || o.Remedy == "") {
				t.Errorf("got %d, want %d: %v (%s)", o.Kind, c.want, o.Err, o.Remedy)
			}
		})
	}
	t.Run("a command without a time", func(t *testing.T) {
		b := prepare(t)
		cmd := b.receipt("m1", "Receipt", "order", "1")
		cmd.At = time.Time{}
		if o := b.w.Reconcile(t.Context(), cmd); o.Kind != sinks.Unknown {
			t.Errorf("got %d: %v", o.Kind, o.Err)
		}
	})
	t.Run("a template that is gone", func(t *testing.T) {
		b := prepare(t)
		if o := b.w.Reconcile(t.Context(), b.receipt("m1", "Another", "order", "1")); o.Kind != sinks.Unknown || o.Remedy == "" {
			t.Errorf("got %d: %v", o.Kind, o.Err)
		}
	})
}

// TestMailAfterTrouble: what may have gone out is unknown, all else is told or tried again.
func TestMailAfterTrouble(t *testing.T) {
	for _, c := range []struct {
		name, path   string
		method       string
		status, code int
		want         sinks.OutcomeKind
		account      bool
		says         string // of the remedy
	}{
		{"gateway", "/transactional-emails", "POST", 502, 1, sinks.Unknown, false, ""},
		{"internal", "/transactional-emails", "POST", 500, 1, sinks.Unknown, false, ""},
		{"maintenance", "/transactional-emails", "POST", 503, 1019, sinks.Retryable, true, ""},
		{"too many", "/transactional-emails", "POST", 429, 1015, sinks.Retryable, true, ""},
		{"address refused", "/transactional-emails", "POST", 400, 1002, sinks.Rejected, false, "blocklist"},
		{"sender gone", "/transactional-emails", "POST", 400, 1001, sinks.Rejected, false, "sender"},
		{"not paid for", "/transactional-emails", "", 403, 1023, sinks.Rejected, false, "add-on"},
		{"account blocked", "/transactional-emails", "", 403, 1017, sinks.Retryable, true, "support"},
		{"senders not to be read", "/from-fields", "", 500, 1, sinks.Retryable, false, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := open(t, twin.Options{}, transactional)
			b.AddTemplate("Receipt", "", "x")
			b.Break(twin.Failure{Method: c.method, Path: c.path, Status: c.status, Code: c.code})
			o := b.write(t.Context(), b.receipt("m1", "Receipt"))
			if o.Kind != c.want || o.Account != c.account || !strings.Contains(o.Remedy, c.says) {
				t.Errorf("got %d, account %v, want %d, %v: %v (%s)", o.Kind, o.Account, c.want, c.account, o.Err, o.Remedy)
			}
			if n := len(b.Mails()); n != 0 {
				t.Errorf("%d mails went out", n)
			}
		})
	}
}

func TestMailRefused(t *testing.T) {
	for name, prepare := range map[string]func(*bench) schemas.Command{
		"no such message":      func(b *bench) schemas.Command { return b.receipt("m1", "No, none") },
		"no name":              func(b *bench) schemas.Command { return b.receipt("m1", " ") },
		"two templates":        func(b *bench) schemas.Command { b.AddTemplate("receipt", "", "x"); return b.receipt("m1", "Receipt") },
		"a value that is none": func(b *bench) schemas.Command { b.AddTemplate("Bill", "", "%%total%%"); return b.receipt("m1", "Bill") },
		"nothing in it":        func(b *bench) schemas.Command { b.AddTemplate("Bill", "", ""); return b.receipt("m1", "Bill") },
		"nobody":               func(b *bench) schemas.Command { c := b.receipt("m1", "Receipt"); c.Contact.Email = ""; return c },
		"attachments of a message": func(b *bench) schemas.Command {
			b.AddDraft(twin.Draft{Name: "Bill", Subject: "Bill", Plain: "x", Attachments: []string{"a.pdf"}})
			return b.receipt("m1", "Bill")
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := open(t, twin.Options{}, transactional)
			b.AddTemplate("Receipt", "", "x")
			if o := b.write(t.Context(), prepare(b)); o.Kind != sinks.Rejected || o.Remedy == "" || len(b.Mails()) != 0 {
				t.Errorf("got %d: %v (%s)", o.Kind, o.Err, o.Remedy)
			}
		})
	}
}

// TestMailSender: the setting goes before the message's own sender.
func TestMailSender(t *testing.T) {
	b := open(t, twin.Options{}, transactional, func(c *getresponse.Config) { c.Sender = "Zz" })
	b.AddTemplate("Receipt", "", "x")
	if o := b.write(t.Context(), b.receipt("m1", "Receipt")); o.Kind != sinks.Rejected || !strings.Contains(o.Err.Error(), "1001") {
		t.Errorf("an unknown sender: got %d: %v", o.Kind, o.Err)
	}
	if n := b.asked("GET /v3/from-fields"); n != 0 {
		t.Errorf("the default sender was asked for %d times", n)
	}
}

// TestMailPermission: an account without the add-on is told with the check, not with the first message.
func TestMailPermission(t *testing.T) {
	b := open(t, twin.Options{WithoutTransactional: true}, transactional)
	var bad []sinks.Finding
	for _, f := range b.w.Check(t.Context()) {
		if f.Bad {
			bad = append(bad, f)
		}
	}
	if len(bad) != 1 || bad[0].Field != "messages" || !strings.Contains(bad[0].Message, "transactional e-mail cannot be sent") {
		t.Errorf("got %+v", bad)
	}
}

// TestMailsOfAnotherProcessAreRecalled: another process may have sent the same e-mail for a command of before, and its
// receipt says which it was: that one is not taken for the command that is asked about. Where the receipt does not know
// it, nobody can say.
func TestMailsOfAnotherProcessAreRecalled(t *testing.T) {
	told := func(cmd schemas.Command, o sinks.Outcome) []*schemas.Delivery {
		return []*schemas.Delivery{{
			CommandID: cmd.CommandID, Kind: cmd.Kind, ContactKey: cmd.ContactKey, Outcome: schemas.OutcomeDelivered, Requests: o.Exchanges,
		}}
	}
	prepare := func(t *testing.T) (b *bench, first, second schemas.Command) {
		b = open(t, twin.Options{}, transactional)
		b.AddTemplate("Receipt", "", "%%order%%")
		return b, b.receipt("m1", "Receipt", "order", "1"), b.receipt("m2", "Receipt", "order", "2")
	}
	t.Run("by its id", func(t *testing.T) {
		b, first, second := prepare(t)
		receipt := told(first, b.deliver(t, first))
		next := b.open()
		next.(sinks.Recaller).Recall(receipt)
		if o := next.Reconcile(t.Context(), second); o.Kind != sinks.NotHappened {
			t.Errorf("got %d, want that it did not happen: %v", o.Kind, o.Err)
		}
		b.deliver(t, second)
		if o := next.Reconcile(t.Context(), second); o.Kind != sinks.Delivered {
			t.Errorf("got %d, want delivered: %v", o.Kind, o.Err)
		}
	})
	t.Run("without its id", func(t *testing.T) {
		b, first, second := prepare(t)
		b.deliver(t, first)
		other := b.open()
		receipt := told(first, other.Reconcile(t.Context(), first))
		next := b.open()
		next.(sinks.Recaller).Recall(receipt)
		if o := next.Reconcile(t.Context(), second); o.Kind != sinks.Unknown || o.Remedy == "" {
			t.Errorf("got %d, want unknown: %v", o.Kind, o.Err)
		}
		for range 2 { // the process that found it
			if a, b := other.Reconcile(t.Context(), first), other.Reconcile(t.Context(), second); a.Kind != sinks.Delivered || b.Kind != sinks.NotHappened {
				t.Errorf("got %d and %d, want delivered and not happened", a.Kind, b.Kind)
			}
		}
	})
}
