package audit

import (
	"fmt"
	"strings"
	"testing"
)

// served is a world with workflows in which all agrees. Ann's order was paid and she was thanked; Bob's failed, he was
// told, nothing came, and he was told again and moved from one list to another. Both were asked about before.
func served() (Outside, *Inside) {
	paid := event("E1", "CHECKOUT.ORDER.APPROVED", `{"id":"O1","status":"COMPLETED","update_time":"2026-01-01T10:00:00Z","payer":{"email_address":"Ann@example.com"}}`)
	tried := event("E2", "CHECKOUT.ORDER.APPROVED", `{"id":"O2","status":"APPROVED","update_time":"2026-01-01T10:00:00Z","payer":{"email_address":"bob@example.com"}}`)
	failed := event("E3", "PAYMENT.CAPTURE.DENIED", `{"id":"C2","status":"DENIED","update_time":"2026-01-01T10:01:00Z","amount":{"value":"10.00"},"supplementary_data":{"related_ids":{"order_id":"O2"}}}`)
	out := Outside{
		MessagesStart: true, Promises: TemplatePromises, Subscribed: []Happened{{"bob@example.com", "Customers"}},
		Contacts: []CRMContact{{Email: "ann@example.com", Lists: []string{"Customers"}}, {Email: "bob@example.com", Lists: []string{"Payment open"}}},
		Messages: []Happened{{"Ann@example.com", "Thank you"}, {"bob@example.com", "Payment problem"}, {"bob@example.com", "Payment still open"}},
		Written:  []string{"O1"},
	}
	out.Starts = append([]Happened{{"ann@example.com", "Welcome"}}, out.Messages...)
	in := &Inside{FinalDeliveries: map[string]int{}, Uncertain: map[string]bool{}, Rejected: map[string]bool{}}
	for i, e := range []struct {
		id, root, to string
		body         []byte
	}{{"E1", "O1", "PAID", paid}, {"E2", "O2", "APPROVED", tried}, {"E3", "O2", "FAILED", failed}} {
		key := "eu/" + hash(e.body)
		out.Sent = append(out.Sent, Sent{"eu", e.id, "CHECKOUT.ORDER.APPROVED", e.body, 1})
		in.Events = append(in.Events, InsideEvent{"eu", e.id, hash(e.body), key})
		in.Transitions = append(in.Transitions, InsideTransition{
			RootKey: "sandbox/eu/" + e.root, Number: int64(i + 1), Disposition: "CHANGED", To: e.to, EventID: e.id, Connection: "eu", BodyHash: hash(e.body), DeliveryKey: key,
		})
	}
	out.Sent[2].Type = "PAYMENT.CAPTURE.DENIED"
	step := func(run, kind string, number int64, rest ...string) {
		s := InsideStep{RunID: run, Kind: kind, Number: number}
		for _, text := range rest {
			if strings.Contains(text, ".") {
				s.WaitID = text
			} else {
				s.CommandID = text
			}
		}
		in.Steps = append(in.Steps, s)
	}
	command := func(id, kind, typ, name, from, email, run string) {
		in.Commands = append(in.Commands, InsideCommand{id, kind, typ, name, from, email, run})
		in.FinalDeliveries[id] = 1
	}
	command("question", "QUESTION", "ON_LIST", "Customers", "", "ann@example.com", "r1")
	command("copy", "EFFECT", "ADD_TO_LIST", "Customers", "", "ann@example.com", "r1")
	command("thanks", "EFFECT", "SEND_MESSAGE", "Thank you", "", "ann@example.com", "r1")
	command("welcome", "EFFECT", "START_AUTOMATION", "Welcome", "", "ann@example.com", "r1")
	command("order", "EFFECT", "WRITE_ORDER", "O1", "", "ann@example.com", "r1")
	command("told", "EFFECT", "SEND_MESSAGE", "Payment problem", "", "bob@example.com", "r2")
	command("reminded", "EFFECT", "SEND_MESSAGE", "Payment still open", "", "bob@example.com", "r2")
	command("moved", "EFFECT", "MOVE_TO_LIST", "Payment open", "Customers", "bob@example.com", "r2")
	for i, s := range [][2]string{{"STARTED"}, {"ASKED", "question"}, {"CONDITION"}, {"ACTION", "copy"}, {"ACTION", "thanks"}, {"ACTION", "welcome"}, {"ACTION", "order"}, {"ENDED"}} {
		step("r1", s[0], int64(i+1), s[1])
	}
	for i, s := range [][2]string{{"STARTED"}, {"ACTION", "told"}, {"WAIT_OPENED", "r2.1"}, {"WAIT_NOT_MET", "r2.1"}, {"ACTION", "reminded"}, {"ACTION", "moved"}, {"ENDED"}} {
		step("r2", s[0], int64(i+1), s[1])
	}
	step("r2", "WAIT_CORRECTED", correctionsFrom, "r2.1")
	step("r3", "STARTED", 1)
	step("r3", "WAIT_OPENED", 2, "r3.1")
	step("r3", "WAIT_MET", 3, "r3.1")
	step("r4", "STARTED", 1)
	step("r4", "WAIT_OPENED", 2, "r4.1")
	step("r5", "NOT_STARTED", 1)
	return out, in
}

func TestAnHonestWorldWithWorkflowsAgrees(t *testing.T) {
	out, in := served()
	r := Compare(out, in)
	if r.Lost+r.Doubled > 0 {
		t.Fatalf("got %d lost, %d doubled:\n%s", r.Lost, r.Doubled, strings.Join(r.Findings, "\n"))
	}
	got := fmt.Sprint(r.Runs, r.WaitsMet, r.WaitsNotMet, r.WaitsOpen, r.Questions, r.Messages, r.ListChanges)
	if want := "4 1 1 1 1 3 2"; got != want {
		t.Errorf("runs, waits met, not met, open, questions, messages, list changes: got %s, want %s", got, want)
	}
}

// without drops the elements that are like this.
func without[T any](list []T, like func(T) bool) (out []T) {
	for _, x := range list {
		if !like(x) {
			out = append(out, x)
		}
	}
	return out
}

func named(name string) func(Happened) bool { return func(h Happened) bool { return h.Name == name } }

func TestEveryEffectThatIsLostOrDoubledIsFound(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(*Outside, *Inside)
		want  string
	}{
		"a message that was not sent": {func(out *Outside, _ *Inside) { out.Messages = out.Messages[:2] }, `lost: message "Payment still open" of b***b@example.com: 0 times`},
		"a message that was sent twice": {
			func(out *Outside, _ *Inside) { out.Messages = append(out.Messages, out.Messages[0]) },
			`doubled: message "Thank you" of a***n@example.com: 2 times at the CRM, and 1 were asked for`,
		},
		"an automation that was not started":   {func(out *Outside, _ *Inside) { out.Starts = without(out.Starts, named("Welcome")) }, `lost: automation "Welcome"`},
		"an automation that was started twice": {func(out *Outside, _ *Inside) { out.Starts = append(out.Starts, out.Starts[0]) }, `doubled: automation "Welcome"`},
		"a message's automation started twice": {func(out *Outside, _ *Inside) { out.Starts = append(out.Starts, out.Starts[1]) }, `doubled: automation "Thank you"`},
		"a message to somebody else": {
			func(out *Outside, _ *Inside) { out.Messages[0].Email = "bob@example.com" },
			`doubled: message "Thank you" of b***b@example.com: 1 times at the CRM, and 0 were asked for`,
		},
		"a rejected message that was sent": {func(_ *Outside, in *Inside) { in.Rejected["thanks"] = true }, `doubled: message "Thank you"`},
		"an order that was not written":    {func(out *Outside, _ *Inside) { out.Written = nil }, "lost: order O1 was not written"},
		"an order that was written twice":  {func(out *Outside, _ *Inside) { out.Written = append(out.Written, "O1") }, "doubled: order O1 is 2 times"},
		"an order that nobody asked for":   {func(out *Outside, _ *Inside) { out.Written = append(out.Written, "O9") }, "doubled: order O9"},
		"a contact that was not put on":    {func(out *Outside, _ *Inside) { out.Contacts[0].Lists = nil }, "lost: contact a***n@example.com is not on the list Customers"},
		"a contact that was not taken off": {func(out *Outside, _ *Inside) { out.Contacts[1].Lists = []string{"Payment open", "Customers"} }, "lost: contact b***b@example.com is still on the list Customers"},
		"a list that nobody asked for":     {func(out *Outside, _ *Inside) { out.Contacts[0].Lists = []string{"Customers", "VIP"} }, "doubled: contact a***n@example.com is on the list VIP"},
		"a step that is missing":           {func(_ *Outside, in *Inside) { in.Steps = in.Steps[1:] }, "lost: step 1 of run r1"},
		"a step that is there twice":       {func(_ *Outside, in *Inside) { in.Steps = append(in.Steps, in.Steps[0]) }, "doubled: step 1 of run r1"},
		"a wait that ended twice": {func(_ *Outside, in *Inside) {
			in.Steps = append(in.Steps, InsideStep{RunID: "r2", Kind: "WAIT_MET", WaitID: "r2.1", Number: 8})
		}, "doubled: wait r2.1 ended 2 times"},
		"a wait that was opened twice": {func(_ *Outside, in *Inside) {
			in.Steps = append(in.Steps, InsideStep{RunID: "r4", Kind: "WAIT_OPENED", WaitID: "r4.1", Number: 3})
		}, "doubled: wait r4.1 was opened 2 times"},
		"a met wait that was corrected": {func(_ *Outside, in *Inside) {
			in.Steps = append(in.Steps, InsideStep{RunID: "r3", Kind: "WAIT_CORRECTED", WaitID: "r3.1", Number: 4})
		}, "doubled: wait r3.1 was met, and corrected"},
		"a correction of an open wait": {func(_ *Outside, in *Inside) {
			in.Steps = append(in.Steps, InsideStep{RunID: "r4", Kind: "WAIT_CORRECTED", WaitID: "r4.1", Number: 3})
		}, "lost: the end of wait r4.1"},
		"an effect that no step made":        {func(_ *Outside, in *Inside) { in.Steps[4].CommandID = "" }, "lost: the step that made effect thanks"},
		"a step whose effect is not there":   {func(_ *Outside, in *Inside) { in.Commands = in.Commands[:7] }, "lost: command moved, which a run's step made"},
		"a question that no step asked":      {func(_ *Outside, in *Inside) { in.Steps[1].CommandID = "" }, "lost: the step that asked question question"},
		"an answer that did not come back":   {func(_ *Outside, in *Inside) { in.Steps = append(in.Steps[:2:2], in.Steps[8:]...) }, "lost: the answer that run r1 waits for"},
		"a payment for which nobody thanked": {func(out *Outside, in *Inside) { unsay(out, in, "thanks", "Thank you") }, `lost: promised message "Thank you" of a***n@example.com: 0 times at the CRM, and 1`},
		"a failure that nobody told":         {func(out *Outside, in *Inside) { unsay(out, in, "told", "Payment problem") }, `lost: promised message "Payment problem"`},
		"a wait after which nobody reminded": {func(out *Outside, in *Inside) { unsay(out, in, "reminded", "Payment still open") }, `lost: promised message "Payment still open"`},
		"thanks for what was not paid": {func(out *Outside, in *Inside) {
			h := Happened{"bob@example.com", "Thank you"}
			out.Messages, out.Starts = append(out.Messages, h), append(out.Starts, h)
			in.Commands = append(in.Commands, InsideCommand{ID: "more", Kind: "EFFECT", Type: "SEND_MESSAGE", Name: h.Name, Email: h.Email})
			in.FinalDeliveries["more"] = 1
		}, `doubled: promised message "Thank you" of b***b@example.com: 1 times at the CRM, and 0`},
	} {
		t.Run(name, func(t *testing.T) {
			out, in := served()
			c.spoil(&out, in)
			r := Compare(out, in)
			if got := strings.Join(r.Findings, "\n"); !strings.Contains(got, c.want) {
				t.Errorf("got %d lost, %d doubled:\n%s\nwant %q", r.Lost, r.Doubled, got, c.want)
			}
		})
	}
}

// unsay takes an effect away inside and outside, as if the stage had never thought of it.
func unsay(out *Outside, in *Inside, id, name string) {
	out.Messages, out.Starts = without(out.Messages, named(name)), without(out.Starts, named(name))
	in.Commands = without(in.Commands, func(c InsideCommand) bool { return c.ID == id })
	delete(in.FinalDeliveries, id)
	for i := range in.Steps {
		if in.Steps[i].CommandID == id {
			in.Steps[i].CommandID = ""
		}
	}
}

func TestAMessageWhoseOutcomeIsNotKnownIsNeitherLostNorDoubled(t *testing.T) {
	for name, sent := range map[string]bool{"it was sent": true, "it was not sent": false} {
		t.Run(name, func(t *testing.T) {
			out, in := served()
			in.Uncertain["thanks"] = true
			if !sent {
				out.Messages, out.Starts = without(out.Messages, named("Thank you")), without(out.Starts, named("Thank you"))
			}
			if r := Compare(out, in); r.Lost+r.Doubled > 0 || r.Uncertain != 1 {
				t.Errorf("got %+v with %v", r.Counts, r.Findings)
			}
		})
	}
}

// A refusal is told as such: the message was promised, and is not lost.
func TestARefusedMessageIsNotLost(t *testing.T) {
	out, in := served()
	in.Rejected["reminded"] = true
	out.Messages, out.Starts = without(out.Messages, named("Payment still open")), without(out.Starts, named("Payment still open"))
	if r := Compare(out, in); r.Lost+r.Doubled > 0 {
		t.Errorf("got %v", r.Findings)
	}
}

// What lies on the way to the last status may have been told, or not: its events may have come in another order.
func TestWhatAnOrderMayHaveBeen(t *testing.T) {
	for _, c := range []struct {
		final      string
		thanks     bounds
		problem    bounds
		remindedOf bounds
	}{
		{"PAID", bounds{1, 1}, bounds{0, 1}, bounds{0, 1}},
		{"REFUNDED", bounds{0, 1}, bounds{0, 1}, bounds{0, 1}},
		{"FAILED", bounds{}, bounds{1, 1}, bounds{1, 1}},
		{"CANCELLED", bounds{}, bounds{0, 1}, bounds{0, 1}},
		{"PENDING", bounds{}, bounds{}, bounds{}},
	} {
		for i, want := range []bounds{c.thanks, c.problem, c.remindedOf} {
			p := TemplatePromises[i]
			for n := range 3 {
				out := Outside{Promises: []Promise{p}, Orders: []ShopOrder{{RootKey: "sandbox/shop/7", Status: c.final, Email: "ann@example.com"}}}
				for range n {
					out.Messages = append(out.Messages, Happened{"ann@example.com", p.Message})
				}
				var r Report
				r.promises(out, nil, &Inside{})
				if got, ok := r.Lost+r.Doubled == 0, n >= want.least && n <= want.most; got != ok {
					t.Errorf("an order that ends %s, and %d of %q: agreed is %v, want %v: %v", c.final, n, p.Message, got, ok, r.Findings)
				}
			}
		}
	}
}
