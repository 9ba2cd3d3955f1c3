package jobs

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tillstream/tillstream/schemas"
)

func event(id, body string) *schemas.OrderEvent {
	return &schemas.OrderEvent{
		EventID: id, Kind: schemas.KindOther, Provider: "shop", Environment: schemas.Live, Connection: "shop", RootID: id, Status: schemas.StatusUnknown,
		ProviderTime: now, ReceivedAt: now, DeliveryIDs: []string{"d-" + id}, Origin: schemas.OriginWebhook, Body: []byte(body), BodyHash: "h", Fingerprint: "f-" + id,
	}
}

// What a retry does with a letter, by cause; the table is that of docs/recovery.md.
func TestRetryByCause(t *testing.T) {
	r := newRig(t)
	at := func(cause, stage, topic string, n int, value []byte) *schemas.DeadLetter {
		return &schemas.DeadLetter{
			ID: fmt.Sprintf("%s-1-%d", topic, n), Stage: stage, Cause: cause, Reason: "because", Topic: topic, Partition: 1, Offset: int64(n), Key: []byte("k"), Value: value, At: now,
		}
	}
	broken := func(id, body string) []byte {
		e := event(id, body)
		e.Problem = "it was not understood"
		return r.encode(e)
	}
	// Records that a letter holds a part of only, or nothing.
	kept := r.put(schemas.TopicPayPalEvents, &kgo.Record{Key: []byte("whole"), Value: r.encode(event("whole", "{}"))})[0]
	cut := at(schemas.CauseStageFailed, "orders", schemas.TopicPayPalEvents, 0, []byte("wh"))
	cut.ID, cut.Partition, cut.Offset, cut.Key, cut.Reason = "cut", int64(kept.Partition), kept.Offset, kept.Key, "failed (value cut to 2 bytes; the record itself stays at its coordinates)"
	gone := at(schemas.CauseGaveUp, "deliver", schemas.TopicCommands, 900, nil)
	timer := at(schemas.CauseStageFailed, "orders", schemas.TopicOrdersInbox, 1, nil)
	timer.ID += "-timer-abc-orphan-1"
	quarantined := event("twin", `{"twin":1}`)
	quarantined.Problem, quarantined.ProblemCause = "its delivery id came with another body before", schemas.CauseQuarantined
	question := r.refused(30, schemas.CommandQuestion)
	unwritable := at(schemas.CauseUnwritable, StageLoader, schemas.TopicTransitions, 5, r.encode(&schemas.Transition{RootKey: "live/shop/O5"}))
	refusedRow := at(schemas.CauseUnwritable, StageLoader, schemas.TopicTransitions, 6, r.encode(&schemas.Transition{RootKey: "live/shop/O6"}))
	r.rows.refuse = map[int64]bool{6: true}
	elsewhere := event("elsewhere", "{}")
	elsewhere.Connection, elsewhere.Problem = "closed-shop", "?"

	cases := []struct {
		name   string
		letter *schemas.DeadLetter
		result schemas.ItemResult
		detail string // part of it
	}{
		{"contact", r.refused(1, schemas.CommandContact), schemas.ItemSent, "newest state"},
		{"effect", r.refused(2, schemas.CommandEffect), schemas.ItemSent, "the effect is sent again"},
		{"question", question, schemas.ItemFailed, "a question is not asked again"},
		{"command that is no Avro", at(schemas.CauseUndecodable, "deliver", schemas.TopicCommands, 40, []byte("no avro")), schemas.ItemSent, "sent again to crm.commands"},
		{"stage failed", at(schemas.CauseStageFailed, "orders", schemas.TopicPayPalEvents, 41, r.encode(event("E41", "{}"))), schemas.ItemSent, "sent again to paypal.events"},
		{"no contact", at(schemas.CauseNoContact, "automation", schemas.TopicAutomationInbox, 42, r.encode(&schemas.Transition{RootKey: "live/shop/O42"})), schemas.ItemSent, "sent again to automation.inbox"},
		{"park overflow", at(schemas.CauseParkOverflow, "orders", schemas.TopicOrdersInbox, 43, r.encode(event("E43", "{}"))), schemas.ItemSent, "sent again to orders.inbox"},
		{"cut", cut, schemas.ItemSent, "sent again to paypal.events"},
		{"gone", gone, schemas.ItemFailed, "no longer on topic crm.commands"},
		{"timer", timer, schemas.ItemFailed, "a timer that failed"},
		{"understood now", at(schemas.CauseUnparseable, "orders", schemas.TopicPayPalEvents, 44, broken("E44", `{"fine":1}`)), schemas.ItemSent, "understood now"},
		{"still not", at(schemas.CauseUnparseable, "orders", schemas.TopicPayPalEvents, 45, broken("E45", "garbage")), schemas.ItemFailed, "no JSON at byte 0"},
		{"connection gone", at(schemas.CauseUnparseable, "orders", schemas.TopicPayPalEvents, 46, r.encode(elsewhere)), schemas.ItemFailed, "there is no connection closed-shop"},
		{"quarantined by the receiver", at(schemas.CauseQuarantined, "orders", schemas.TopicPayPalEvents, 47, r.encode(quarantined)), schemas.ItemSent, "event id of its own"},
		{"quarantined by the stage", at(schemas.CauseQuarantined, "orders", schemas.TopicPayPalEvents, 48, r.encode(event("E48", "{}"))), schemas.ItemSent, "event id of its own"},
		{"row", unwritable, schemas.ItemSent, "the row is stored"},
		{"row again", refusedRow, schemas.ItemFailed, "clickhouse refuses the row again"},
		{"unknown topic", at(schemas.CauseStageFailed, "enrich", schemas.TopicDeliveries, 49, []byte("x")), schemas.ItemFailed, "nothing reads topic crm.deliveries"},
	}
	for _, c := range cases {
		r.letter(c.letter)
	}
	r.start(r.options("a"))
	job := r.ends(r.ask(schemas.JobRetry, nil))
	named := r.ends(r.ask(schemas.JobRetry, map[string]string{FilterCause: "quarantined"}))
	words := r.said(job.JobID)
	for item, it := range r.said(named.JobID) {
		if words[item] != nil {
			t.Errorf("%s was let through without being named", item)
		}
		words[item] = it
	}
	for _, c := range cases {
		it := words[ItemOf(c.letter)]
		if it == nil {
			t.Errorf("%s: no word", c.name)
			continue
		}
		if it.Result != c.result || !strings.Contains(it.Detail, c.detail) {
			t.Errorf("%s: got %s %q, want %s %q", c.name, it.Result, it.Detail, c.result, c.detail)
		}
	}
	r.checkSent(t, kept)
	if len(r.rows.ranges) != 1 || r.rows.ranges[0].From != 5 || r.rows.ranges[0].To != 5 || r.rows.ranges[0].Replay == 0 || r.rows.ranges[0].TopicID == "" {
		t.Errorf("stored ranges %+v, want offset 5 under a generation of its own", r.rows.ranges)
	}
	if n := len(all[*schemas.DeadLetter](r, schemas.TopicDeadLetters)); n != len(cases) {
		t.Errorf("a retry wrote %d letters itself", n-len(cases))
	}
}

// checkSent looks at what stands on the inputs after TestRetryByCause.
func (r *rig) checkSent(t *testing.T, kept *kgo.Record) {
	t.Helper()
	got := map[string]bool{}
	for _, rec := range r.read(schemas.TopicPayPalEvents) {
		e, err := r.codec.Decode(rec.Value)
		if err != nil {
			t.Fatal(err)
		}
		ev := e.(*schemas.OrderEvent)
		got[fmt.Sprintf("%s problem=%t deliveries=%d body=%s", ev.EventID, ev.Problem != "", len(ev.DeliveryIDs), ev.Body)] = true
		if ev.EventID == "whole" && rec.Offset != kept.Offset && string(rec.Key) != "whole" {
			t.Errorf("the whole record has the key %q", rec.Key)
		}
	}
	want := map[string]bool{
		"whole problem=false deliveries=1 body={}": true, "E41 problem=false deliveries=1 body={}": true,
		`mended-{"fine":1} problem=false deliveries=0 body={"fine":1}`:                    true,
		`mended-{"twin":1}~paypal.events-1-47 problem=false deliveries=0 body={"twin":1}`: true,
		"E48~paypal.events-1-48 problem=false deliveries=0 body={}":                       true,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	for _, c := range r.read(schemas.TopicCommands) {
		if c.Partition != 1 || string(c.Value) != "no avro" && string(c.Key) != "live/c2@example.com" {
			t.Errorf("a command went to partition %d under the key %q", c.Partition, c.Key)
		}
	}
	effects := all2[*schemas.Command](r, schemas.TopicCommands)
	if len(effects) != 1 || effects[0].CommandID != fmt.Sprintf("%024x", 2) || time.Since(effects[0].At) > time.Hour {
		t.Errorf("effects %+v, want the one of old with a time of now", effects)
	}
}

// all2 is all, where some records cannot be decoded.
func all2[T schemas.Record](r *rig, topic string) (list []T) {
	for _, rec := range r.read(topic) {
		if got, err := r.codec.Decode(rec.Value); err == nil {
			if one, ok := got.(T); ok {
				list = append(list, one)
			}
		}
	}
	return list
}

func (r *rig) deliver(c *schemas.Command, word schemas.OutcomeWord) {
	r.t.Helper()
	r.put(schemas.TopicDeliveries, &kgo.Record{Key: []byte(c.ContactKey), Value: r.encode(&schemas.Delivery{
		CommandID: c.CommandID, Kind: c.Kind, Destination: c.Destination, ContactKey: c.ContactKey, RootKey: c.RootKey, Outcome: word, StartedAt: now, At: now,
	})})
}

func (r *rig) command(n int, kind schemas.CommandKind, change ...func(*schemas.Command)) *schemas.Command {
	r.t.Helper()
	d := r.refused(n, kind)
	got, err := r.codec.Decode(d.Value)
	if err != nil {
		r.t.Fatal(err)
	}
	c := got.(*schemas.Command)
	for _, f := range change {
		f(c)
	}
	r.put(schemas.TopicCommands, &kgo.Record{Key: []byte(c.ContactKey), Value: r.encode(c)})
	return c
}

// An effect is uncertain by its last delivery: it can be settled, or sent again, and again where it is uncertain anew.
func TestUncertainEffects(t *testing.T) {
	r := newRig(t)
	one, two, three := r.command(1, schemas.CommandEffect), r.command(2, schemas.CommandEffect), r.command(3, schemas.CommandEffect)
	for _, c := range []*schemas.Command{one, two, three} {
		r.deliver(c, schemas.OutcomeIntent)
		r.deliver(c, schemas.OutcomeUncertain)
	}
	r.deliver(three, schemas.OutcomeDelivered)
	r.start(r.options("a"))
	uncertain := map[string]string{FilterUncertain: "true"}
	if j := r.ends(r.ask(schemas.JobRetry, nil)); j.Count != 0 {
		t.Errorf("a retry that does not name them counted %d", j.Count)
	}
	if j := r.ends(r.ask(schemas.JobSettle, map[string]string{FilterUncertain: "true", FilterItem: one.CommandID})); j.Done != 1 {
		t.Errorf("settled %+v, want the one", j)
	}
	j := r.ends(r.ask(schemas.JobRetry, uncertain))
	if word := r.said(j.JobID)[two.CommandID]; j.Done != 1 || word == nil || word.Result != schemas.ItemSent {
		t.Errorf("retried %+v with %+v, want the other one", j, word)
	}
	if j := r.ends(r.ask(schemas.JobRetry, uncertain)); j.Count != 0 {
		t.Errorf("asked again it counted %d, want none", j.Count)
	}
	sent := 0
	for _, c := range all[*schemas.Command](r, schemas.TopicCommands) {
		if c.CommandID == two.CommandID {
			sent++
		}
	}
	if sent != 2 {
		t.Errorf("the effect is on the log %d times, want 2", sent)
	}
	r.deliver(two, schemas.OutcomeUncertain) // its second try
	if j := r.ends(r.ask(schemas.JobRetry, map[string]string{FilterUncertain: "true", FilterEffect: "track_event"})); j.Count != 1 || j.Done != 1 {
		t.Errorf("uncertain anew: %+v, want it retried", j)
	}
}

// A replay touches each contact once for each destination, and sends effects only where it is told to, as new commands.
func TestReplay(t *testing.T) {
	r := newRig(t)
	other := func(c *schemas.Command) { c.Destination = "other" }
	first := func(c *schemas.Command) { c.ContactKey = "live/c1@example.com" }
	r.command(1, schemas.CommandContact)
	r.command(2, schemas.CommandContact, first)
	r.command(3, schemas.CommandContact, first, other)
	r.command(4, schemas.CommandContact)
	effect := r.command(5, schemas.CommandEffect, first)
	r.command(6, schemas.CommandEffect, first, func(c *schemas.Command) { c.Origin = schemas.OriginReplay })
	r.start(r.options("a"))
	touched := func() map[string]int {
		m := map[string]int{}
		for _, c := range all[*schemas.ContactTouch](r, schemas.TopicAutomationInbox) {
			if c.Resend {
				m[ContactItem(c.Destination, c.ContactKey)]++
			}
		}
		return m
	}
	j := r.ends(r.ask(schemas.JobReplay, map[string]string{FilterContact: "C1@example.com"}))
	if diff := cmp.Diff(map[string]int{"crm/live/c1@example.com": 1, "other/live/c1@example.com": 1}, touched()); diff != "" || j.Count != 2 || j.Done != 2 {
		t.Errorf("touched (-want +got):\n%s%+v", diff, j)
	}
	if n := len(all[*schemas.Command](r, schemas.TopicCommands)); n != 6 {
		t.Errorf("%d commands are there, want the 6 of before: no effect was asked for", n)
	}
	j = r.ends(r.ask(schemas.JobReplay, map[string]string{FilterContact: "c1@example.com", FilterEffects: "true", FilterDestination: "crm"}))
	if j.Count != 2 || j.Done != 2 {
		t.Errorf("got %+v, want a contact and an effect", j)
	}
	list := all[*schemas.Command](r, schemas.TopicCommands)
	var again *schemas.Command
	for _, c := range list {
		if c.Origin == schemas.OriginReplay && c.RootKey == effect.RootKey {
			again = c
		}
	}
	if len(list) != 7 || again == nil || again.CommandID == effect.CommandID || len(again.CommandID) != len(effect.CommandID) || again.Effect.Data != "id="+again.CommandID[:12]+" paid" {
		t.Errorf("got %d commands and %+v, want the effect as a new command that its data names", len(list), again)
	}
}

// Effects wait until the automation stage took what contacts were touched for.
func TestEffectsFollowTheirContacts(t *testing.T) {
	r := newRig(t)
	r.letter(r.refused(2, schemas.CommandEffect), r.refused(1, schemas.CommandContact))
	o := r.options("a")
	o.AutomationGroup = "automation"
	r.start(o)
	job := r.ask(schemas.JobRetry, nil)
	r.until("the job waits for the stage", func() bool {
		j := r.job(job)
		return j != nil && strings.Contains(j.Detail, "waits for the automation stage")
	})
	if n := len(all[*schemas.Command](r, schemas.TopicCommands)); n != 0 {
		t.Fatalf("%d effects were sent before", n)
	}
	group, err := kgo.NewClient(kgo.SeedBrokers(r.brokers...), kgo.ConsumerGroup("automation"), kgo.ConsumeTopics(schemas.TopicAutomationInbox), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.DisableAutoCommit())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(group.Close)
	for read := 0; read == 0; {
		read = group.PollFetches(t.Context()).NumRecords()
	}
	if err := group.CommitUncommittedOffsets(t.Context()); err != nil {
		t.Fatal(err)
	}
	if j := r.ends(job); j.State != schemas.JobDone || j.Done != 2 || j.Detail != "" {
		t.Errorf("got %+v, want both done", j)
	}
}

func TestFilter(t *testing.T) {
	d := &schemas.DeadLetter{
		ID: "crm.commands-0-7", Stage: "deliver", Cause: schemas.CauseRejected, Reason: `Field "CITY" is not there`, Topic: schemas.TopicCommands,
		RootKey: "live/shop/O/7", Destination: "crm", ContactKey: "live/ann@example.com", At: now,
	}
	for _, c := range []struct {
		part, value string
		want        bool
	}{
		{FilterCause, "rejected", true},
		{FilterCause, "gave-up", false},
		{FilterStage, "deliver", true},
		{FilterStage, "orders", false},
		{FilterDestination, "crm", true},
		{FilterDestination, "other", false},
		{FilterConnection, "shop", true},
		{FilterConnection, "live", false},
		{FilterEnvironment, "live", true},
		{FilterEnvironment, "sandbox", false},
		{FilterContact, " Ann@Example.com ", true},
		{FilterContact, "live/ann@example.com", true},
		{FilterContact, "sandbox/ann@example.com", false},
		{FilterOrder, "O/7", true},
		{FilterOrder, "live/shop/O/7", true},
		{FilterOrder, "7", false},
		{FilterItem, "crm.commands-0-7", true},
		{FilterItem, "crm.commands-0-8", false},
		{FilterSince, "2026-03-01T10:00:00Z", true},
		{FilterSince, "2026-03-01T10:00:01Z", false},
		{FilterUntil, "2026-03-01T10:00:00Z", false},
		{FilterUntil, "2026-03-01T10:00:01Z", true},
		{FilterEffect, "send-message", true},
		{FilterEffect, "notify", false},
		{FilterText, "city", true},
		{FilterText, "town", false},
		{FilterUncertain, "true", false},
		{FilterIssue, IssueKey(d), true},
		{FilterIssue, "0000000000", false},
	} {
		m := map[string]string{c.part: c.value}
		f, err := ParseFilter(m)
		if err != nil {
			t.Errorf("%s=%s: %v", c.part, c.value, err)
			continue
		}
		if got := f.Letter(d, schemas.EffectSendMessage); got != c.want {
			t.Errorf("%s=%s: got %t", c.part, c.value, got)
		}
		if again, err := ParseFilter(f.Map()); err != nil || again != f {
			t.Errorf("%s=%s: the map form gives %+v, %v", c.part, c.value, again, err)
		}
	}
	for part, value := range map[string]string{
		FilterCause: "odd", FilterEffect: "odd", FilterEnvironment: "test", FilterSince: "yesterday", FilterUntil: "2026", FilterUncertain: "yes", FilterText: strings.Repeat("x", 600), "colour": "red",
	} {
		if _, err := ParseFilter(map[string]string{part: value}); !errors.Is(err, ErrFilter) || !strings.Contains(err.Error(), part) {
			t.Errorf("%s=%.20s: got %v, want an error that names it", part, value, err)
		}
	}
	for _, m := range []map[string]string{{FilterSince: "2026-03-02T00:00:00Z", FilterUntil: "2026-03-01T00:00:00Z"}, {FilterUncertain: "true", FilterCause: "rejected"}} {
		if _, err := ParseFilter(m); !errors.Is(err, ErrFilter) {
			t.Errorf("%v: got %v, want ErrFilter", m, err)
		}
	}
}

func TestOneCauseIsOneIssue(t *testing.T) {
	key := func(reason string, change ...func(*schemas.DeadLetter)) string {
		d := &schemas.DeadLetter{Stage: "deliver", Cause: schemas.CauseRejected, Reason: reason, Destination: "crm", RootKey: "live/shop/O1", Topic: "crm.commands"}
		for _, c := range change {
			c(d)
		}
		return IssueKey(d)
	}
	a := key(`ann@example.com: the value "Rome" of field 17 is too long, see https://crm.example/help?x=y`)
	if b := key(`bob@example.org: the value "" of field 4711 is too long, see http://crm.example/`); a != b {
		t.Error("what differs between two letters of one cause makes them two issues")
	}
	for name, other := range map[string]string{
		"reason":      key("the contact is suspended"),
		"destination": key("x", func(d *schemas.DeadLetter) { d.Destination = "other" }), "cause": key("x", func(d *schemas.DeadLetter) { d.Cause = schemas.CauseGaveUp }),
		"connection": key("x", func(d *schemas.DeadLetter) { d.Destination = "" }),
	} {
		if other == a || other == key("x") {
			t.Errorf("another %s is the same issue", name)
		}
	}
}

func FuzzParseFilter(f *testing.F) {
	f.Add("cause", "gave-up", "since", "2026-03-01T10:00:00Z")
	f.Add("uncertain", "true", "effect", "send_message")
	f.Add("text", " \x00\xff", "item", "a\nb")
	f.Fuzz(func(t *testing.T, a, x, b, y string) {
		got, err := ParseFilter(map[string]string{a: x, b: y})
		if err != nil {
			return
		}
		again, err := ParseFilter(got.Map())
		if err != nil || again != got {
			t.Errorf("%+v came back as %+v, %v", got, again, err)
		}
	})
}
