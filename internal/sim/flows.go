package sim

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/tillstream/tillstream/pipeline"
	"github.com/tillstream/tillstream/processors/automation"
	"github.com/tillstream/tillstream/processors/workflows"
	"github.com/tillstream/tillstream/schemas"
)

// The versions of the configuration that the world's partitions follow, and one that no process can follow.
const (
	versionFirst   = "v1"
	versionMoves   = "v2" // open runs move to it
	versionRemoves = "v3" // a workflow is gone, another is only watched
	versionBad     = "v4"
)

// The files of the first version. Names and ids that the checks go by are stated in runcheck.go.
var filesFirst = map[string]string{
	"failed": `
destination: crm
once: order
start:
  - {on: payment-status-changed, status: [FAILED]}
steps:
  - send_message: Payment problem
  - id: paid
    wait_for: {status: [PAID], not_met_after: 10s, correct_within: 40s}
    met:
      - send_message: Payment received
    not_met:
      - add_tags: [unpaid]
    corrected:
      - remove_tags: [unpaid]
      - send_message: Sorry
`,
	"welcome": `
destination: crm
start:
  - {on: order-placed, list: Customers}
steps:
  - wait_for: {status: [REFUNDED], same: contact, list: Customers, not_met_after: 25s, correct_within: 60s, once: contact, look_back: 8s}
    met:
      - copy_to_list: Returners
    not_met:
      - score: 1
        field: POINTS
`,
	"pause": `
destination: crm
start:
  - {on: payment-status-changed, status: [PENDING, "in transit"]}
steps:
  - id: rest
    wait: 12s
  - wait_until: {at: "12:01"}
  - on_list: Customers
    then:
      - start_automation: Series
    else:
      - add_tags: [cold]
  - wait: 2s
  - set_field: {LAST: "{{ order.status }}"}
`,
	"tagged": `
destination: crm
start:
  - {on: tag-added, tag: unpaid}
  - {on: tag-added, tag: cold}
steps:
  - wait: 3s
  - if: contact.score > 0
    then:
      - track_event: {name: returning}
  - move_to_workflow: moved
`,
	"moved": `
destination: crm
once: contact
start:
  - {on: moved-here}
steps:
  - wait_for: {on: paypal-event-received, times: 2, window: 30s, same: contact, not_met_after: never}
    met:
      - remove_tags: [unpaid]
      - send_message: Twice
`,
	"daily": `
destination: crm
start:
  - {on: schedule, at: "12:01"}
  - {on: schedule, at: "12:02"}
steps:
  - score: 1
  - wait: 5s
  - track_event: {name: daily}
`,
	"history": `
destination: crm
start:
  - {on: order-placed, history: true}
steps:
  - wait: 4s
  - send_message: Held for history
`,
}

// filesOf changes the first version.
func filesOf(change map[string]string, without ...string) map[string]string {
	files := maps.Clone(filesFirst)
	maps.Copy(files, change)
	for _, name := range without {
		delete(files, name)
	}
	return files
}

// mappingOfTheWorld maps every event to one destination.
var mappingOfTheWorld = automation.MappingFile{
	Destination: "crm",
	Triggers:    []automation.TriggerOptions{{On: "payment-status-changed", TrackEvent: "status", Data: "status"}},
}

func rulesOf(version string, files map[string]string) automation.Rules {
	f := automation.Files{Mappings: map[string]automation.MappingFile{"all": mappingOfTheWorld}, Workflows: map[string]workflows.File{}}
	for name, text := range files {
		var w workflows.File
		if err := yaml.UnmarshalWithOptions([]byte(text), &w, yaml.Strict()); err != nil {
			panic(fmt.Sprint(name, ": ", err))
		}
		f.Workflows[name] = w
	}
	rules, problems := automation.CompileAll(f, automation.Known{})
	if len(problems) > 0 {
		panic(fmt.Sprint(problems))
	}
	rules.ConfigVersion = version
	return rules
}

// book holds all versions that can be followed.
type book struct{ rules map[string]*automation.Rules }

var _ automation.Book = (*book)(nil)

var bookOfTheWorld = func() *book {
	b := &book{rules: map[string]*automation.Rules{}}
	for version, files := range map[string]map[string]string{
		versionFirst: filesFirst,
		versionMoves: filesOf(map[string]string{
			"failed": `
destination: crm
once: order
open_runs: move
start:
  - {on: payment-status-changed, status: [FAILED]}
steps:
  - id: paid
    wait_for: {status: [PAID], not_met_after: 18s, correct_within: 40s}
    met:
      - send_message: Payment received at last
    not_met:
      - add_tags: [unpaid]
`,
			"pause": `
destination: crm
start:
  - {on: payment-status-changed, status: [PENDING]}
steps:
  - id: rest
    wait: 4s
  - clear_field: [LAST]
`,
		}, "daily"),
		versionRemoves: filesOf(map[string]string{"welcome": "mode: shadow" + filesFirst["welcome"]}, "pause", "tagged"),
	} {
		r := rulesOf(version, files)
		b.rules[version] = &r
	}
	return b
}()

// Rules implements automation.Book.
func (b *book) Rules(version string) *automation.Rules {
	if r := b.rules[version]; r != nil {
		return r
	}
	return b.rules[versionFirst]
}

// Program implements automation.Book.
func (b *book) Program(workflow, version string) *workflows.Program {
	for _, r := range b.rules {
		if p := r.Workflow(workflow); p != nil && p.Version == version {
			return p
		}
	}
	return nil
}

// flowTopics makes the automation stage with workflows.
func (w *world) flowTopics(stage *automation.Stage) *stageUse {
	n := int32(w.cfg.Partitions)
	w.b.Create(schemas.TopicAutomationInbox, n, false)
	w.b.Create(schemas.TopicAutomationLog, n, true)
	w.b.Create(schemas.TopicRuns, n, false)
	w.b.Create(schemas.TopicCommands, 1, false)
	return &stageUse{
		topology: pipeline.Topology{
			Stage: pipeline.Bind(stage), Inputs: []string{schemas.TopicAutomationInbox}, Inbox: schemas.TopicAutomationInbox,
			Changelog: schemas.TopicAutomationLog, Group: "tillstream-automation",
		},
		fold: foldWith(stage), outputs: []string{schemas.TopicCommands, schemas.TopicRuns, schemas.TopicAutomationInbox},
	}
}

// flowStatuses are what an order goes through here; the orders' stage has its own checks.
var flowStatuses = []schemas.PaymentStatus{
	schemas.StatusPending, schemas.StatusFailed, schemas.StatusFailed, schemas.StatusFailed, schemas.StatusPaid, schemas.StatusPaid, schemas.StatusPaid, schemas.StatusRefunded,
}

// flowRoot is an order or subscription of one contact, as far as its events told.
type flowRoot struct {
	key, contact string
	kind         schemas.EventKind
	status       schemas.PaymentStatus
	number       int64
}

// transitions plans the events of a few contacts.
func (k *work) transitions(span int64) {
	var roots []*flowRoot
	for i := range k.w.cfg.Keys {
		contact := fmt.Sprintf("canary%d@example.com", i)
		k.w.secret(contact)
		for j := range 1 + k.r.IntN(3) {
			r := &flowRoot{key: fmt.Sprintf("paypal/sandbox/O%d-%d", i, j), contact: contact, kind: schemas.KindOrder}
			if k.r.IntN(4) == 0 {
				r.kind = schemas.KindSubscription
			}
			roots = append(roots, r)
		}
	}
	for range k.w.cfg.Events {
		r := roots[k.r.IntN(len(roots))]
		k.w.s.After(time.Duration(k.r.Int64N(span)), func() { k.transition(r) })
	}
}

// transition sends the next event of a root, which may have happened a while ago.
func (k *work) transition(r *flowRoot) {
	now := k.w.s.Now().Truncate(time.Millisecond)
	k.n++
	r.number++
	t := &schemas.Transition{
		RootKey: r.key, RootKind: r.kind, Number: r.number, Disposition: schemas.Changed, From: r.status, To: flowStatuses[k.r.IntN(len(flowStatuses))],
		Legal: true, Paid: "10.00", Refunded: "0", Currency: "EUR", Payer: &schemas.Payer{Email: r.contact, GivenName: "Ana"},
		ContactKey: "sandbox/" + r.contact, At: now,
	}
	if t.From == t.To {
		t.Disposition = schemas.Recorded
	}
	r.status = t.To
	t.Event = schemas.OrderEvent{
		EventID: fmt.Sprintf("WH-%03d", k.n), Kind: schemas.KindPayment, Provider: "paypal", Environment: schemas.Sandbox, Connection: "eu",
		EventType: "PAYMENT.CAPTURE." + string(t.To), RootID: r.key, EntityID: r.key, ProviderStatus: string(t.To), Status: t.To,
		ProviderTime: now, ReceivedAt: now, Origin: schemas.OriginWebhook, Amount: &schemas.Amount{Value: "10.00", Currency: "EUR"},
	}
	e := &t.Event
	switch k.r.IntN(14) {
	case 0:
		e.Origin = pick(k, schemas.OriginBackfill, schemas.OriginReplay)
	case 1:
		e.Test = true
	case 2:
		t.Disposition = pick(k, schemas.Late, schemas.Duplicate, schemas.Ignored)
		t.To, r.status = t.From, t.From
	case 3:
		e.ProviderStatus = "in transit"
	}
	if k.r.IntN(3) == 0 { // the provider was late to tell
		k.w.hit(Slow, PartIngest)
		e.ProviderTime = now.Add(-time.Duration(k.r.IntN(30_000)) * time.Millisecond)
	}
	k.send(schemas.TopicAutomationInbox, t.ContactKey, t)
}

// hasFlows reports whether the world runs workflows.
func (c config) hasFlows() bool {
	return slices.Contains([]string{kindFlows, kindOrders, kindInputs}, c.Kind)
}
