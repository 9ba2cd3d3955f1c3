package backtest

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/tillstream/tillstream/processors"
	"github.com/tillstream/tillstream/processors/automation"
	"github.com/tillstream/tillstream/processors/mapping"
	"github.com/tillstream/tillstream/processors/orders"
	"github.com/tillstream/tillstream/processors/trial"
	"github.com/tillstream/tillstream/processors/workflows"
	"github.com/tillstream/tillstream/schemas"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// list is a source in memory.
type list []Item

func (l *list) Next(context.Context) (Item, bool, error) {
	if len(*l) == 0 {
		return Item{}, false, nil
	}
	it := (*l)[0]
	*l = (*l)[1:]
	return it, true, nil
}

// paid is an event that says that an order is paid, so many hours after noon.
func paid(hour int, order, email string) Item {
	return event(hour, order, email, schemas.StatusPaid, "PAYMENT.CAPTURE.COMPLETED")
}

func event(hour int, order, email string, status schemas.PaymentStatus, eventType string) Item {
	at := noon.Add(time.Duration(hour) * time.Hour)
	e := &schemas.OrderEvent{
		EventID: fmt.Sprintf("WH-%s-%d-%s", order, hour, status), Kind: schemas.KindOrder, Provider: "paypal", Environment: schemas.Sandbox, Connection: "eu",
		Resource: "checkout-order-approved", RootID: order, EntityID: order, EventType: eventType, ProviderStatus: string(status), Status: status,
		ProviderTime: at, ReceivedAt: at, Origin: schemas.OriginWebhook, Amount: &schemas.Amount{Value: "50.00", Currency: "EUR"},
		Payer: &schemas.Payer{Email: email}, Fingerprint: order + string(status), Body: []byte("{}"),
	}
	return Item{at.UnixMilli(), schemas.TopicPayPalEvents, e.Key(), e}
}

func rulesOf(t testing.TB, version string, files automation.Files, workflowFiles map[string]string) Rules {
	t.Helper()
	files.Workflows = map[string]workflows.File{}
	for name, text := range workflowFiles {
		var f workflows.File
		if err := yaml.UnmarshalWithOptions([]byte(text), &f, yaml.Strict()); err != nil {
			t.Fatal(err)
		}
		files.Workflows[name] = f
	}
	rules, problems := automation.CompileAll(files, automation.Known{})
	if len(problems) > 0 {
		t.Fatalf("%+v", problems)
	}
	rules.ConfigVersion = version
	return Rules{Version: version, Rules: rules}
}

func mappingWith(f automation.MappingFile) automation.Files {
	f.Destination = "crm"
	return automation.Files{Mappings: map[string]automation.MappingFile{"orders": f}}
}

var current = automation.MappingFile{
	Fields:   []mapping.Rule{{To: "ORDER_ID", From: "order.id"}},
	Triggers: []automation.TriggerOptions{{On: "payment-status-changed", To: []string{"PAID"}, TrackEvent: "paid"}, {On: "payment-status-changed", To: []string{"REFUNDED"}, TrackEvent: "refunded"}},
}

func run(t testing.TB, o Options, items ...Item) *Report {
	t.Helper()
	src := list(items)
	r, err := Run(t.Context(), o, &src)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// lines are the groups that differ, in a few words.
func lines(r *Report) (out []string) {
	for _, g := range r.Groups {
		if g.Added+g.Removed+g.Changed+g.Elsewhere == 0 {
			continue
		}
		out = append(out, strings.TrimSpace(fmt.Sprintf("%s: %s: %d/%d/%d +%d -%d ~%d !%d %d %s", g.Rule, g.Effect, g.Really, g.Current, g.New, g.Added, g.Removed, g.Changed, g.Elsewhere, g.Contacts, g.Money["EUR"])))
	}
	return out
}

func TestWhatAnotherConfigurationWouldHaveDone(t *testing.T) {
	history := []Item{
		paid(0, "A1", "ann@example.com"), // before the span
		paid(10, "A2", "ann@example.com"), paid(11, "A3", "bo@example.com"),
		event(12, "A2", "ann@example.com", schemas.StatusRefunded, "PAYMENT.CAPTURE.REFUNDED"),
	}
	since, until := noon.Add(5*time.Hour), noon.Add(100*time.Hour)
	for name, c := range map[string]struct {
		change func(f *automation.MappingFile)
		flows  map[string]string
		want   []string
	}{
		"nothing, where nothing differs": {func(*automation.MappingFile) {}, nil, nil},
		"a trigger that is gone": {
			func(f *automation.MappingFile) { f.Triggers = f.Triggers[:1] }, nil,
			[]string{"mappings/orders: TRACK_EVENT refunded: 1/1/0 +0 -1 ~0 !0 1 50"},
		},
		"an event under another name": {
			func(f *automation.MappingFile) {
				f.Triggers = []automation.TriggerOptions{{On: "payment-status-changed", To: []string{"PAID"}, TrackEvent: "bought"}, f.Triggers[1]}
			}, nil,
			[]string{"mappings/orders: TRACK_EVENT bought: 0/0/2 +2 -0 ~0 !0 2 100", "mappings/orders: TRACK_EVENT paid: 2/2/0 +0 -2 ~0 !0 2 100"},
		},
		"an event with other data": {
			func(f *automation.MappingFile) {
				f.Triggers = []automation.TriggerOptions{f.Triggers[0], {On: "payment-status-changed", To: []string{"REFUNDED"}, TrackEvent: "refunded", Data: "order.id"}}
			}, nil,
			[]string{"mappings/orders: TRACK_EVENT refunded: 1/1/1 +0 -0 ~1 !0 1 50"},
		},
		"a tag and a field, for those who came by within the span": {
			func(f *automation.MappingFile) {
				f.Fields = append(f.Fields[:1:1], mapping.Rule{To: "STATUS", From: "order.status"})
				f.Tags.Add = []string{"vip"}
			}, nil,
			[]string{"contact: field STATUS: 0/0/2 +2 -0 ~0 !0 2 100", "contact: tag vip: 0/0/2 +2 -0 ~0 !0 2 100"},
		},
		"a workflow, whose waits end in virtual time": {
			func(*automation.MappingFile) {},
			map[string]string{"w": "destination: crm\nstart: [{on: payment-status-changed, status: [PAID]}]\nsteps:\n  - wait_for: {status: [REFUNDED], not_met_after: 1d}\n    not_met: [{track_event: {name: kept}}]\n"},
			[]string{"workflows/w: TRACK_EVENT kept: 0/0/1 +1 -0 ~0 !0 1 50"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			next := current
			c.change(&next)
			o := Options{Current: rulesOf(t, "v1", mappingWith(current), nil), New: rulesOf(t, "v2", mappingWith(next), c.flows), Since: since, Until: until}
			// What really happened is what the current configuration does.
			really := really(t, o, history)
			got := run(t, o, really...)
			if diff := cmp.Diff(c.want, lines(got)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if got.Elsewhere != 0 {
				t.Errorf("%d effects differ from what happened, want none", got.Elsewhere)
			}
		})
	}
}

// really is the history with the commands that the current configuration makes of it, as they are on the log.
func really(t testing.TB, o Options, history []Item) []Item {
	t.Helper()
	s := &serial{}
	s.play(t, o.Current, o.Until, history)
	var out []Item
	for len(history) > 0 || len(s.commands) > 0 {
		if len(s.commands) == 0 || len(history) > 0 && history[0].At <= s.commands[0].At {
			out, history = append(out, history[0]), history[1:]
		} else {
			out, s.commands = append(out, s.commands[0]), s.commands[1:]
		}
	}
	return out
}

// serial runs both stages in one goroutine, in the checking mode.
type serial struct{ commands []Item }

func (s *serial) Output(at time.Time, o processors.Output) error {
	if c, ok := o.Record.(*schemas.Command); ok {
		s.commands = append(s.commands, Item{at.UnixMilli(), schemas.TopicCommands, o.Key, c})
	}
	return nil
}

func (*serial) DeadLetter(schemas.DeadLetter) error { return nil }

func (s *serial) play(t testing.TB, r Rules, until time.Time, history []Item) {
	t.Helper()
	o := trial.Options{Check: true}
	line := trial.NewLine(s, time.UnixMilli(0),
		trial.Part{Lane: trial.NewLane[orders.State](orders.New(r.Orders), o, nil), Topics: []string{schemas.TopicPayPalEvents, schemas.TopicOrdersInbox}},
		trial.Part{Lane: trial.NewLane[automation.State](automation.New(r.Rules), o, nil), Topics: []string{schemas.TopicAutomationInbox}})
	for _, it := range history {
		if err := line.Put(processors.Input{At: time.UnixMilli(it.At).UTC(), Topic: it.Topic, Key: it.Key, Record: it.Rec}); err != nil {
			t.Fatal(err)
		}
	}
	if err := line.Advance(until); err != nil {
		t.Fatal(err)
	}
}

func TestWhatHappenedOtherwiseIsToldApart(t *testing.T) {
	o := Options{Current: rulesOf(t, "v1", mappingWith(current), nil), New: rulesOf(t, "v1", mappingWith(current), nil), Since: noon, Until: noon.Add(9 * time.Hour)}
	items := really(t, o, []Item{paid(1, "A1", "ann@example.com"), paid(2, "A2", "bo@example.com")})
	for i, it := range items {
		if c, ok := it.Rec.(*schemas.Command); ok && c.Kind == schemas.CommandEffect { // it was never sent
			items = append(items[:i:i], items[i+1:]...)
			break
		}
	}
	got := run(t, o, items...)
	want := []string{"mappings/orders: TRACK_EVENT paid: 1/2/2 +0 -0 ~0 !1 0"}
	if diff := cmp.Diff(want, lines(got)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestOtherLimitsOfTheOrdersStageAreTriedToo(t *testing.T) {
	o := Options{Current: rulesOf(t, "v1", mappingWith(current), nil), New: rulesOf(t, "v2", mappingWith(current), nil), Since: noon, Until: noon.Add(9 * time.Hour)}
	o.New.Orders.AliasDomains = []string{"example.com"}
	got := run(t, o, paid(1, "A1", "ann@example.com"))
	if got.Contacts != 1 || got.DeadLetters != [2]int{0, 1} {
		t.Errorf("%d contacts differ, dead letters %v; want 1 and [0 1]", got.Contacts, got.DeadLetters)
	}
}

// Stages side by side give what one goroutine gives: against the serial run of the same rules nothing happened elsewhere.
func TestSideBySideIsAsOneByOne(t *testing.T) {
	flows := map[string]string{"w": "destination: crm\nstart: [{on: payment-status-changed, status: [PAID]}]\nsteps:\n  - wait_for: {status: [REFUNDED], not_met_after: 2h, same: contact}\n    met: [{track_event: {name: back}}]\n    not_met: [{add_tags: [kept]}, {track_event: {name: kept}}]\n"}
	rapid.Check(t, func(rt *rapid.T) {
		var history []Item
		hour := 0
		for range rapid.IntRange(1, 30).Draw(rt, "events") {
			hour += rapid.IntRange(0, 3).Draw(rt, "hours")
			status := rapid.SampledFrom([]schemas.PaymentStatus{schemas.StatusApproved, schemas.StatusPaid, schemas.StatusRefunded, schemas.StatusFailed}).Draw(rt, "status")
			email := rapid.SampledFrom([]string{"ann@example.com", "bo@example.com", ""}).Draw(rt, "email")
			history = append(history, event(hour, rapid.SampledFrom([]string{"A1", "A2", "A3", "A4"}).Draw(rt, "order"), email, status, "X."+string(status)))
		}
		r := rulesOf(t, "v1", mappingWith(current), flows)
		since := noon.Add(time.Duration(rapid.IntRange(0, hour+3).Draw(rt, "since")) * time.Hour)
		o := Options{Current: r, New: r, Since: since, Until: noon.Add(time.Duration(hour+48) * time.Hour)}
		got := run(t, o, really(t, o, history)...)
		if got.Elsewhere != 0 || got.Contacts != 0 {
			rt.Fatalf("differs: %v", lines(got))
		}
		// A new configuration that begins as a copy finds what one finds that plays the whole log by itself.
		o.New = rulesOf(t, "v2", mappingWith(automation.MappingFile{Fields: current.Fields, Tags: automation.TagOptions{Add: []string{"vip"}}}), map[string]string{"w": strings.Replace(flows["w"], "2h", "1h", 1)})
		copied := run(t, o, history...)
		o.New.Orders.SeenMax = orders.DefaultSeenMax // the same, and yet not known to be
		if diff := cmp.Diff(run(t, o, history...), copied); diff != "" {
			rt.Fatalf("(-alone +copied):\n%s", diff)
		}
	})
}
