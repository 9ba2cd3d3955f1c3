package automation_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tillstream/tillstream/processors"
	"github.com/tillstream/tillstream/processors/automation"
	"github.com/tillstream/tillstream/processors/mapping"
	"github.com/tillstream/tillstream/processors/processorstest"
	"github.com/tillstream/tillstream/schemas"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

const ana = "sandbox/ana@example.com"

func checkout() automation.MappingFile {
	return automation.MappingFile{
		Resource: "checkout-order-approved", Destination: "crm",
		Fields:   []mapping.Rule{{To: "STATUS", From: "order.status"}, {To: "PAID", From: "order.paid", As: "money"}},
		Triggers: []automation.TriggerOptions{{On: "payment-status-changed", To: []string{"PAID"}, TrackEvent: "paid"}},
	}
}

func rules(t testing.TB, files map[string]automation.MappingFile) automation.Rules {
	t.Helper()
	r, problems := automation.Compile(files, automation.Known{FieldCatalogue: []string{"subscription.plan_id", "subscription.next_billing_time"}})
	if len(problems) > 0 {
		t.Fatalf("rules: %v", problems)
	}
	r.ConfigVersion = "v1"
	return r
}

type mod func(*schemas.Transition)

func transition(number int64, to schemas.PaymentStatus, mods ...mod) *schemas.Transition {
	t := &schemas.Transition{
		RootKey: "sandbox/eu/O1", RootKind: schemas.KindOrder, Number: number, Disposition: schemas.Changed, From: schemas.StatusPending, To: to, Legal: true,
		Event: schemas.OrderEvent{
			EventID: fmt.Sprintf("WH-%d", number), Kind: schemas.KindOrder, Provider: "paypal", Environment: schemas.Sandbox, Connection: "eu",
			Resource: "checkout-order-approved", RootID: "O1", EntityID: "O1", EventType: "CHECKOUT.ORDER." + string(to), Status: to, ProviderTime: noon,
			Origin: schemas.OriginWebhook, Amount: &schemas.Amount{Value: "10.00", Currency: "EUR"},
		},
		Paid: "10", Refunded: "0", Currency: "EUR", At: noon, ContactKey: ana,
		Payer: &schemas.Payer{Email: "Ana@Example.com", FullName: "Ana de la Cruz", Phone: "030 901820", Address: schemas.Address{Country: "DE"}},
	}
	for _, m := range mods {
		m(t)
	}
	return t
}

func subscription(number int64, eventType string, mods ...mod) *schemas.Transition {
	return transition(number, schemas.StatusActive, append([]mod{func(t *schemas.Transition) {
		t.RootKey, t.RootKind = "sandbox/eu/I-1", schemas.KindSubscription
		t.Event.RootID, t.Event.EntityID, t.Event.Kind, t.Event.EventType, t.Event.Resource = "I-1", "I-1", schemas.KindSubscription, eventType, "billing-subscription"
		if strings.HasPrefix(eventType, "PAYMENT") {
			t.Event.Kind = schemas.KindPayment
		}
	}}, mods...)...)
}

func origin(o schemas.Origin) mod { return func(t *schemas.Transition) { t.Event.Origin = o } }
func test(t *schemas.Transition)  { t.Event.Test = true }
func late(t *schemas.Transition)  { t.Disposition = schemas.Late }
func noEmail(t *schemas.Transition) {
	t.Payer = &schemas.Payer{PayerID: "P1"}
	t.ContactKey = "sandbox/payer:P1"
}

// apply runs transitions of one contact and returns the commands of the last one.
func apply(t testing.TB, r automation.Rules, list ...*schemas.Transition) (commands []*schemas.Command, err error) {
	t.Helper()
	st := automation.New(r)
	var s automation.State
	for _, tr := range list {
		in := processors.Input{At: noon, Key: tr.ContactKey, Topic: schemas.TopicAutomationInbox, Record: tr}
		next, out, e := st.Apply(s, in)
		s, err, commands = next, e, nil
		for _, o := range out {
			c := o.Record.(*schemas.Command)
			if o.Topic != schemas.TopicCommands || o.Key != tr.ContactKey || o.PartitionKey != c.Destination {
				t.Errorf("output to %s key %s partitioned by %s", o.Topic, o.Key, o.PartitionKey)
			}
			commands = append(commands, c)
		}
	}
	return commands, err
}

func kinds(commands []*schemas.Command) []string {
	var got []string
	for _, c := range commands {
		text := fmt.Sprintf("%s %s v%d", c.Kind, c.Destination, c.Version)
		if c.Effect != nil {
			text += " " + c.Effect.Name
		}
		if c.Test {
			text += " test"
		}
		got = append(got, text)
	}
	return got
}

func TestDesiredState(t *testing.T) {
	got, err := apply(t, rules(t, map[string]automation.MappingFile{"a.yaml": checkout()}), transition(1, schemas.StatusPaid))
	if err != nil || len(got) != 2 {
		t.Fatalf("commands %v, error %v; want a contact and an effect", kinds(got), err)
	}
	want := schemas.Contact{
		Email: "ana@example.com", FirstName: "Ana", LastName: "de la Cruz", Phone: "+4930901820",
		Fields: map[string]string{"STATUS": "PAID", "PAID": "10.00"}, Tags: []string{"paypal-integration", "paypal-integration-CHECKOUT.ORDER.PAID"},
	}
	if diff := cmp.Diff(want, got[0].Contact); diff != "" {
		t.Errorf("contact (-want +got):\n%s", diff)
	}
	effect := got[1]
	if want := "id=" + effect.CommandID[:12] + " type=CHECKOUT.ORDER.PAID order=O1 status=PAID amount=10.00 EUR"; effect.Effect.Data != want {
		t.Errorf("event data %q, want %q", effect.Effect.Data, want)
	}
	if effect.Contact.Email != "ana@example.com" || effect.Trigger != "a.yaml/payment-status-changed/paid" || effect.ConfigVersion != "v1" || len(effect.CommandID) != 32 {
		t.Errorf("effect %+v", effect)
	}
}

func TestWhatIsCommanded(t *testing.T) {
	recurring := automation.MappingFile{Resource: "billing-subscription", Destination: "crm", Triggers: []automation.TriggerOptions{
		{On: "recurring-payment-created", TrackEvent: "created"}, {On: "recurring-payment-updated", TrackEvent: "updated"},
	}}
	const activated, created, sold = "BILLING.SUBSCRIPTION.ACTIVATED", "BILLING.SUBSCRIPTION.CREATED", "PAYMENT.SALE.COMPLETED"
	two := checkout()
	two.Destination = "another"
	onlySales := recurring
	onlySales.Events = []string{"PAYMENT.SALE.*"}
	foreign := checkout()
	foreign.Connections = []string{"us"}
	one := func(f automation.MappingFile) map[string]automation.MappingFile {
		return map[string]automation.MappingFile{"a.yaml": f}
	}
	list := func(l ...*schemas.Transition) []*schemas.Transition { return l }
	for name, c := range map[string]struct {
		files map[string]automation.MappingFile
		story []*schemas.Transition
		want  []string
	}{
		"contact first, then effects":           {one(checkout()), list(transition(1, schemas.StatusPaid)), []string{"CONTACT crm v1", "EFFECT crm v1 paid"}},
		"nothing new, no command":               {one(checkout()), list(transition(1, schemas.StatusApproved), transition(2, schemas.StatusApproved)), nil},
		"a new status, a new version":           {one(checkout()), list(transition(1, schemas.StatusApproved), transition(2, schemas.StatusPaid)), []string{"CONTACT crm v2", "EFFECT crm v2 paid"}},
		"each destination its own":              {map[string]automation.MappingFile{"b": checkout(), "a": two}, list(transition(1, schemas.StatusApproved)), []string{"CONTACT another v1", "CONTACT crm v1"}},
		"backfill has no effects":               {one(checkout()), list(transition(1, schemas.StatusPaid, origin(schemas.OriginBackfill))), []string{"CONTACT crm v1"}},
		"replay has no effects":                 {one(checkout()), list(transition(1, schemas.StatusPaid, origin(schemas.OriginReplay))), []string{"CONTACT crm v1"}},
		"a late event has no effects":           {one(checkout()), list(transition(1, schemas.StatusPaid, late)), []string{"CONTACT crm v1"}},
		"test events are marked":                {one(checkout()), list(transition(1, schemas.StatusPaid, test)), []string{"CONTACT crm v1 test", "EFFECT crm v1 paid test"}},
		"another connection is no concern":      {one(foreign), list(transition(1, schemas.StatusPaid)), nil},
		"another resource is no concern":        {one(recurring), list(transition(1, schemas.StatusPaid)), nil},
		"the first ACTIVATED creates":           {one(recurring), list(subscription(1, activated)), []string{"CONTACT crm v1", "EFFECT crm v1 created"}},
		"ACTIVATED after CREATED updates":       {one(recurring), list(subscription(1, created), subscription(2, activated)), []string{"EFFECT crm v1 updated"}},
		"a renewal updates":                     {one(recurring), list(subscription(1, created), subscription(2, sold)), []string{"EFFECT crm v1 updated"}},
		"a creation loaded later is known":      {one(recurring), list(subscription(1, created, origin(schemas.OriginBackfill)), subscription(2, activated)), []string{"EFFECT crm v1 updated"}},
		"filtered by the beginning of the type": {one(onlySales), list(subscription(1, created), subscription(2, sold)), []string{"CONTACT crm v1", "EFFECT crm v1 updated"}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := apply(t, rules(t, c.files), c.story...)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, kinds(got)); diff != "" {
				t.Errorf("commands (-want +got):\n%s", diff)
			}
		})
	}
}

func TestEmptyNeverErasesAndUnmappedIsNeverNamed(t *testing.T) {
	r := rules(t, map[string]automation.MappingFile{"a.yaml": checkout()})
	got, err := apply(t, r, transition(1, schemas.StatusPaid), transition(2, schemas.StatusRefunded, func(t *schemas.Transition) {
		t.Payer = &schemas.Payer{Email: "ana@example.com"}
		t.Paid = ""
	}))
	if err != nil || len(got) != 1 {
		t.Fatalf("commands %v, error %v", kinds(got), err)
	}
	c := got[0].Contact
	if c.FirstName != "Ana" || c.Phone != "+4930901820" || c.Fields["PAID"] != "10.00" || c.Fields["STATUS"] != "REFUNDED" || len(c.Fields) != 2 {
		t.Errorf("contact %+v", c)
	}
}

// A value that can't be made is told with the command, and its field is left alone.
func TestAValueThatCannotBeMadeIsTold(t *testing.T) {
	f := checkout()
	f.Fields = append(f.Fields, mapping.Rule{To: "DAY", From: "subscription.next_billing_time", As: "date"})
	got, err := apply(t, rules(t, map[string]automation.MappingFile{"a.yaml": f}), transition(1, schemas.StatusPaid, func(t *schemas.Transition) {
		t.Event.Fields = map[string]string{"subscription.next_billing_time": "some day soon"}
	}))
	if err != nil || len(got) == 0 {
		t.Fatalf("commands %v, error %v", kinds(got), err)
	}
	if _, set := got[0].Contact.Fields["DAY"]; set || len(got[0].Issues) != 1 || !strings.Contains(got[0].Issues[0], "DAY from subscription.next_billing_time: ") {
		t.Errorf("got fields %v and issues %q, want DAY left alone and told", got[0].Contact.Fields, got[0].Issues)
	}
	if strings.Contains(strings.Join(got[0].Issues, ""), "soon") {
		t.Errorf("the issue holds the value: %q", got[0].Issues)
	}
}

func TestTagsAreAddedAndRemoved(t *testing.T) {
	add, remove := checkout(), checkout()
	add.Events, add.Tags = []string{"CHECKOUT.ORDER.APPROVED"}, automation.TagOptions{Disabled: true, Add: []string{"open"}}
	remove.Events, remove.Tags = []string{"CHECKOUT.ORDER.PAID"}, automation.TagOptions{Disabled: true, Add: []string{"customer"}, Remove: []string{"open"}}
	got, err := apply(t, rules(t, map[string]automation.MappingFile{"a": add, "b": remove}), transition(1, schemas.StatusApproved), transition(2, schemas.StatusPaid))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([][]string{{"customer"}, {"open"}}, [][]string{got[0].Contact.Tags, got[0].Contact.NoTags}); diff != "" {
		t.Errorf("tags and unwanted tags (-want +got):\n%s", diff)
	}
}

func TestNobodyToWriteTo(t *testing.T) {
	r := rules(t, map[string]automation.MappingFile{"a.yaml": checkout()})
	for name, tr := range map[string]*schemas.Transition{
		"payer without e-mail": transition(1, schemas.StatusPaid, noEmail),
		"no e-mail but a word": transition(1, schemas.StatusPaid, func(t *schemas.Transition) { t.Payer = &schemas.Payer{Email: "unknown"} }),
		"orphan":               transition(1, schemas.StatusPaid, func(t *schemas.Transition) { t.Payer, t.ContactKey, t.Orphan = nil, "", true }),
	} {
		_, err := apply(t, r, tr)
		var p *processors.Poison
		if !errors.As(err, &p) || p.Cause != schemas.CauseNoContact || p.Remedy == "" {
			t.Errorf("%s: error %v, want NO_CONTACT with a remedy", name, err)
		}
	}
	if got, err := apply(t, rules(t, nil), transition(1, schemas.StatusPaid, noEmail)); err != nil || len(got) > 0 {
		t.Errorf("without a mapping: %v, %v; want nothing", kinds(got), err)
	}
}

func TestCommandIDsTellCausesApart(t *testing.T) {
	f := checkout()
	f.Triggers = append(f.Triggers, automation.TriggerOptions{On: "paypal-event-received", TrackEvent: "any"})
	r := rules(t, map[string]automation.MappingFile{"a.yaml": f})
	first, _ := apply(t, r, transition(1, schemas.StatusPaid))
	again, _ := apply(t, r, transition(1, schemas.StatusPaid))
	if diff := cmp.Diff(first, again); diff != "" {
		t.Errorf("the same cause gave other commands:\n%s", diff)
	}
	next, _ := apply(t, r, transition(1, schemas.StatusPaid), transition(2, schemas.StatusPaid))
	ids := map[string]bool{}
	for _, c := range append(first, next...) {
		if ids[c.CommandID] {
			t.Errorf("command id %s twice", c.CommandID)
		}
		ids[c.CommandID] = true
	}
}

func TestEventDataFitsTheCRM(t *testing.T) {
	f := checkout()
	f.Triggers = []automation.TriggerOptions{{On: "paypal-event-received", TrackEvent: "any", Data: strings.Repeat("ä", 400)}, {On: "paypal-event-received", TrackEvent: "source", Data: "order.id"}}
	got, err := apply(t, rules(t, map[string]automation.MappingFile{"a": f}), transition(1, schemas.StatusPaid))
	if err != nil {
		t.Fatal(err)
	}
	if n := len([]rune(got[1].Effect.Data)); n != 250 || !strings.HasPrefix(got[1].Effect.Data, "id="+got[1].CommandID[:12]+" ä") {
		t.Errorf("data has %d characters: %q", n, got[1].Effect.Data)
	}
	if want := "id=" + got[2].CommandID[:12] + " O1"; got[2].Effect.Data != want {
		t.Errorf("data %q, want %q", got[2].Effect.Data, want)
	}
}

func TestProblemsSayWhatToDo(t *testing.T) {
	_, got := automation.Compile(map[string]automation.MappingFile{"bad.yaml": {
		Connections: []string{"eo"}, Resource: "checkout-order", Destination: "crn", Events: []string{"A*B"},
		Contact: automation.ContactSources{Email: "payer.emial"}, Fields: []mapping.Rule{{To: "X", From: "order.stauts"}},
		Tags:     automation.TagOptions{Add: []string{"a"}, Remove: []string{"a", " "}},
		Triggers: []automation.TriggerOptions{{On: "payment-status-change", From: []string{"PAYED"}}},
	}, "none.yaml": {}}, automation.Known{Connections: []string{"eu"}, Destinations: []string{"crm"}, Resources: []string{"checkout-order-approved"}})
	var lines []string
	for _, p := range got {
		lines = append(lines, p.File+": "+p.Field+": "+p.Message+"; "+p.Hint)
	}
	want := []string{
		`bad.yaml: connections[0]: "eo" is no known connection; did you mean eu?`,
		`bad.yaml: resource: "checkout-order" is no known resource; known are checkout-order-approved`,
		`bad.yaml: destination: "crn" is no known destination; did you mean crm?`,
		`bad.yaml: events[0]: "A*B" is no event type; write an event type, or its beginning and one * at the end`,
		`bad.yaml: tags.remove[0]: "a" is added and removed; keep one of the two`,
		`bad.yaml: tags.remove[1]: a tag must not be empty; remove the line`,
		`bad.yaml: contact.email: "payer.emial" is no known source; did you mean payer.email?`,
		`bad.yaml: fields[0].from: "order.stauts" is no known source; did you mean order.status?`,
		`bad.yaml: triggers[0].on: "payment-status-change" is no known trigger; did you mean payment-status-changed?`,
		`bad.yaml: triggers[0].track_event: a trigger must name the event to track; give the event's name at the CRM`,
		`bad.yaml: triggers[0].from: from is for payment-status-changed only; use events, or that trigger`,
		`bad.yaml: triggers[0].from[0]: "PAYED" is no known status; did you mean PAID?`,
		`none.yaml: destination: a mapping must name its destination; give the name of a CRM connection`,
	}
	if diff := cmp.Diff(want, lines); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}
}

func TestSameHistorySameBytes(t *testing.T) {
	st := automation.New(rules(t, map[string]automation.MappingFile{"a.yaml": checkout(), "b.yaml": {Destination: "other"}}))
	var history []processors.Input
	for i, tr := range []*schemas.Transition{transition(1, schemas.StatusApproved), transition(2, schemas.StatusPaid), transition(3, schemas.StatusPaid, noEmail), subscription(4, "BILLING.SUBSCRIPTION.CREATED")} {
		history = append(history, processors.Input{At: noon.Add(time.Duration(i) * time.Second), Key: ana, Topic: schemas.TopicAutomationInbox, Record: tr})
	}
	processorstest.Determinism(t, st, history)
}

func TestApplyChangesNothingInPlace(t *testing.T) {
	f := checkout()
	f.Tags.Remove = []string{"paypal-integration"}
	st := automation.New(rules(t, map[string]automation.MappingFile{"a.yaml": checkout(), "b.yaml": f}))
	old, _, err := st.Apply(automation.State{}, processors.Input{At: noon, Key: ana, Record: transition(1, schemas.StatusApproved)})
	if err != nil {
		t.Fatal(err)
	}
	before, err := st.Encode(old)
	if err != nil {
		t.Fatal(err)
	}
	for _, tr := range []*schemas.Transition{transition(2, schemas.StatusPaid), subscription(3, "BILLING.SUBSCRIPTION.CREATED")} {
		if _, _, err := st.Apply(old, processors.Input{At: noon, Key: ana, Record: tr}); err != nil {
			t.Fatal(err)
		}
	}
	after, err := st.Encode(old)
	if diff := cmp.Diff(string(before), string(after)); diff != "" || err != nil {
		t.Errorf("the old state changed (-before +after), error %v:\n%s", err, diff)
	}
}

func FuzzDecode(f *testing.F) {
	st := automation.New(rules(f, map[string]automation.MappingFile{"a.yaml": checkout()}))
	s, _, err := st.Apply(automation.State{}, processors.Input{At: noon, Key: ana, Record: transition(1, schemas.StatusPaid)})
	if err != nil {
		f.Fatal(err)
	}
	b, err := st.Encode(s)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte(`{"v":1,"d":[{"n":"crm","v":1,"e":"a@b","t":["z","a"]}],"c":["00112233445566778899aabbccddeeff"]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := st.Decode(b)
		if err != nil {
			return
		}
		first, err := st.Encode(s)
		if err != nil {
			t.Fatal(err)
		}
		again, err := st.Decode(first)
		if err != nil {
			t.Fatalf("its own bytes are refused: %v", err)
		}
		if second, _ := st.Encode(again); string(first) != string(second) {
			t.Fatalf("encoded first %s, then %s", first, second)
		}
		_, _, _ = st.Apply(s, processors.Input{At: noon, Key: ana, Record: transition(2, schemas.StatusRefunded)})
	})
}

func BenchmarkApply(b *testing.B) {
	st := automation.New(rules(b, map[string]automation.MappingFile{"a.yaml": checkout()}))
	s, _, err := st.Apply(automation.State{}, processors.Input{At: noon, Key: ana, Record: transition(1, schemas.StatusApproved)})
	if err != nil {
		b.Fatal(err)
	}
	image, err := st.Encode(s)
	if err != nil {
		b.Fatal(err)
	}
	in := processors.Input{At: noon, Key: ana, Record: transition(2, schemas.StatusPaid)}
	b.ReportAllocs()
	for b.Loop() {
		s, err := st.Decode(image)
		if err != nil {
			b.Fatal(err)
		}
		if s, _, err = st.Apply(s, in); err != nil {
			b.Fatal(err)
		}
		if _, err = st.Encode(s); err != nil {
			b.Fatal(err)
		}
	}
}
