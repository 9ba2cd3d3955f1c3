package workflows_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/tillstream/tillstream/processors/workflows"
	"github.com/tillstream/tillstream/schemas"
)

// facts are those of a small installation: a live PayPal account and a shop, also live.
var facts = workflows.Facts{
	Connections: map[string]workflows.Source{
		"paypal-eu": {Provider: "paypal", Environment: schemas.Live, Statuses: []string{"APPROVED", "PAID", "FAILED", "REFUNDED", "CANCELLED", "ACTIVE", "VOIDED", "EXPIRED", "Denied"}},
		"shop":      {Provider: "woocommerce", Environment: schemas.Live, Statuses: []string{"PENDING", "PAID", "CANCELLED", "processing"}},
	},
}

func compileSet(t testing.TB, files map[string]string) workflows.Set {
	t.Helper()
	decoded := map[string]workflows.File{}
	for name, text := range files {
		decoded[name] = parse(t, text)
	}
	set, problems := workflows.CompileAll(decoded, known)
	if len(problems) > 0 {
		t.Fatalf("problems: %v", problems)
	}
	return set
}

// in is a set of one workflow, of the steps that follow a payment, and of others by name and text.
func in(steps string, others ...string) map[string]string {
	files := map[string]string{"test": begin + "steps:\n" + steps}
	for i := 0; i+1 < len(others); i += 2 {
		files[others[i]] = others[i+1]
	}
	return files
}

const does = "\nsteps: [{add_tags: [x]}]\n"

// seen are the statuses of an installation that has run for a while.
var seen = []string{"PAID", "FAILED", "Denied"}

// Every rule, by a set of workflows that breaks it and the findings that it gives; nothing else is found.
func TestCheck(t *testing.T) {
	withSeen, withTags := facts, facts
	withSeen.SeenStatuses = seen
	withTags.Mappings = []workflows.MappingTags{{Name: "orders", Destination: "crm", Connections: []string{"shop"}, Add: []string{"customer"}, Remove: []string{"lead"}}}
	for _, test := range []struct {
		name  string
		files map[string]string
		facts workflows.Facts
		want  []string // "severity rule workflow field: part of the message"
	}{
		{"all is well", in("  - {add_tags: [x]}\n"), facts, nil},

		{
			"after a stop", in("  - {add_tags: [x]}\n  - {stop: true}\n  - {add_tags: [y]}\n  - {add_tags: [z]}\n"), facts,
			[]string{"error unreachable-step test steps[2]: is never reached"},
		},
		{
			"behind branches that all stop", in("  - {add_tags: [x]}\n  - {if: order.amount > 1, then: [{stop: true}], else: [{move_to_workflow: next}]}\n  - {add_tags: [y]}\n", "next", "destination: crm\nstart: [{on: moved-here}]"+does), facts,
			[]string{"error unreachable-step test steps[2]: is never reached"},
		},
		{
			"not met without a deadline", in("  - {wait_for: {status: [REFUNDED], not_met_after: never}, met: [{add_tags: [x]}], not_met: [{add_tags: [y]}], corrected: [{add_tags: [z]}]}\n"), facts,
			[]string{"error unreachable-step test steps[0].not_met[0]: is never reached: not_met_after of steps[0] is never", "error unreachable-step test steps[0].corrected[0]: is never reached: not_met_after"},
		},
		{
			"corrected without a time for it", in("  - {wait_for: {status: [REFUNDED], correct_within: 0}, met: [{add_tags: [x]}], corrected: [{add_tags: [z]}]}\n"), facts,
			[]string{"error unreachable-step test steps[0].corrected[0]: is never reached: correct_within of steps[0] is 0"},
		},

		{
			"a wait that nothing ends", in("  - {add_tags: [x]}\n  - {wait_for: {status: [SUSPENDED], same: contact, not_met_after: never}}\n  - {add_tags: [y]}\n"), facts,
			[]string{"error endless-wait test steps[1].wait_for: waits for ever: no event can end it (shop knows no status SUSPENDED)", "error unreachable-step test steps[2]: is never reached"},
		},
		{
			"a wait that only its deadline ends", in("  - {wait_for: {status: [SUSPENDED], same: contact}}\n  - {add_tags: [y]}\n"), facts,
			[]string{"warning futile-wait test steps[0].wait_for: can only end as not met: shop knows no status SUSPENDED"},
		},
		{
			"a wait for one connection", in("  - {wait_for: {status: [FAILED], connections: [shop], same: contact}}\n  - {add_tags: [y]}\n"), facts,
			[]string{"warning futile-wait test steps[0].wait_for: can only end as not met: shop knows no status FAILED"},
		},
		{
			"a wait for another world", in("  - {wait_for: {status: [FAILED], environment: sandbox, same: contact}}\n  - {add_tags: [y]}\n"), facts,
			[]string{"warning futile-wait test steps[0].wait_for: can only end as not met: shop is of the live environment"},
		},
		{
			"a wait of an order that has ended",
			map[string]string{"test": "destination: crm\nstart: [{on: payment-status-changed, status: [VOIDED]}]\nsteps: [{wait_for: {status: [PAID]}}, {add_tags: [x]}]"},
			facts,
			[]string{"warning futile-wait test steps[0].wait_for: an order that is VOIDED never becomes PAID"},
		},
		{"the same wait, for another order", map[string]string{"test": "destination: crm\nstart: [{on: payment-status-changed, status: [VOIDED]}]\nsteps: [{wait_for: {status: [PAID], same: contact}}, {add_tags: [x]}]"}, facts, nil},
		{"a wait of an order that may go on", in("  - {wait_for: {status: [REFUNDED]}}\n  - {add_tags: [x]}\n"), facts, nil},
		{
			"a subscription that was cancelled",
			map[string]string{"test": "destination: crm\nstart: [{on: payment-status-changed, status: [CANCELLED]}]\nsteps: [{wait_for: {status: [ACTIVE]}}, {add_tags: [x]}]"},
			facts,
			[]string{"warning futile-wait test steps[0].wait_for: an order that is CANCELLED never becomes ACTIVE"},
		},
		{
			"a condition of a wait that never holds", in("  - {wait_for: {if: 1 > 2}}\n  - {add_tags: [x]}\n"), facts,
			[]string{"warning constant-condition test steps[0].wait_for.if: never holds", "warning futile-wait test steps[0].wait_for: can only end as not met: its condition never holds"},
		},

		{
			"a start of another provider",
			map[string]string{"test": "destination: crm\nstart: [{on: paypal-event-received, connections: [shop]}]" + does},
			facts,
			[]string{"error futile-start test start[0]: nothing can set this off: shop is no PayPal account"},
		},
		{
			"a start at a step that no order takes",
			map[string]string{"test": "destination: crm\nstart: [{on: payment-status-changed, from: [VOIDED], status: [PENDING]}]" + does},
			workflows.Facts{},
			[]string{"error futile-start test start[0]: nothing can set this off: no order goes from VOIDED to PENDING"},
		},
		{
			"a start without connections",
			map[string]string{"test": begin + does},
			workflows.Facts{Connections: map[string]workflows.Source{}},
			[]string{"error futile-start test start[0]: nothing can set this off: there is no connection"},
		},

		{
			"a status that nobody is known to send", in("  - {wait_for: {status: [PAYED], same: contact}}\n  - {add_tags: [x]}\n"),
			workflows.Facts{},
			[]string{"warning status-never-seen test steps[0].wait_for.status[0]: \"PAYED\" is none of our statuses"},
		},
		{
			"a text that no followed connection has", in("  - {wait_for: {status: [on-hold], same: contact, connections: [shop]}}\n  - {add_tags: [x]}\n"), facts,
			[]string{"warning status-never-seen test steps[0].wait_for.status[0]: \"on-hold\" is none of our statuses", "warning futile-wait test steps[0].wait_for: shop knows no status on-hold"},
		},
		{"a text of who knows which", in("  - {wait_for: {status: [on-hold], same: contact}}\n  - {add_tags: [x]}\n"), workflows.Facts{Connections: map[string]workflows.Source{"shop": {Provider: "woocommerce"}}}, nil},
		{"a provider's own text", in("  - {wait_for: {status: [processing, Denied], same: contact}}\n  - {add_tags: [x]}\n"), facts, nil},
		{
			"a status that was never seen",
			map[string]string{"test": "destination: crm\nstart: [{on: payment-status-changed, status: [PAID, REFUNDED]}]" + does},
			withSeen,
			[]string{"warning status-never-seen test start[0].status[1]: \"REFUNDED\" was never seen"},
		},

		{
			"two workflows and one tag",
			map[string]string{"a": begin + "steps: [{add_tags: [VIP]}]", "b": begin + "steps: [{add_tags: [x]}, {remove_tags: [vip]}]"},
			facts,
			[]string{`warning tag-fight b steps[1]: removes the tag "vip", which workflow a (steps[0]) adds at the same start`},
		},
		{"the same after a wait", map[string]string{"a": begin + "steps: [{add_tags: [VIP]}]", "b": begin + "steps: [{wait: 1d}, {remove_tags: [vip]}]"}, facts, nil},
		{"the same at other starts", map[string]string{"a": begin + "steps: [{add_tags: [VIP]}]", "b": strings.Replace(begin, "PAID", "FAILED", 1) + "steps: [{remove_tags: [vip]}]"}, facts, nil},
		{"the same at other destinations", map[string]string{"a": begin + "steps: [{add_tags: [VIP]}]", "b": begin + "steps: [{remove_tags: [vip], destination: second-crm}]"}, facts, nil},
		{"the same in one that is off", map[string]string{"a": begin + "mode: off\nsteps: [{add_tags: [VIP]}]", "b": begin + "steps: [{remove_tags: [vip]}]"}, facts, nil},
		{
			"a mapping and a workflow", in("  - {add_tags: [lead]}\n  - {remove_tags: [customer]}\n"), withTags,
			[]string{`warning tag-fight test steps[0]: adds the tag "lead", which mapping orders removes at the same start`, `warning tag-fight test steps[1]: removes the tag "customer", which mapping orders adds at the same start`},
		},
		{"a mapping of another connection", map[string]string{"test": "destination: crm\nstart: [{on: order-placed, connections: [paypal-eu]}]\nsteps: [{add_tags: [lead]}]"}, withTags, nil},

		{"a circle of moves", map[string]string{
			"a": begin[:len(begin)-2] + ", {on: moved-here}]\nsteps: [{add_tags: [x]}, {move_to_workflow: b}]",
			"b": "destination: crm\nstart: [{on: moved-here}]\nsteps: [{if: order.amount > 1, then: [{move_to_workflow: c}], else: [{add_tags: [x]}]}]",
			"c": "destination: crm\nstart: [{on: moved-here}]\nsteps: [{move_to_workflow: a}]",
		}, facts, []string{"error loop a steps[1]: workflows start each other in a circle without a wait: a -> b (move_to_workflow, steps[1]) -> c (move_to_workflow, steps[0].then[0]) -> a (move_to_workflow, steps[0])"}},
		{"a circle with a wait", map[string]string{
			"a": begin[:len(begin)-2] + ", {on: moved-here}]\nsteps: [{add_tags: [x]}, {wait: 30d}, {move_to_workflow: a}]",
		}, facts, []string{"warning loop a steps[2]: workflows start each other in a circle: a -> a (move_to_workflow, steps[2])"}},
		{"a circle that runs once", map[string]string{
			"a": "once: contact\n" + begin[:len(begin)-2] + ", {on: moved-here}]\nsteps: [{add_tags: [x]}, {move_to_workflow: a}]",
		}, facts, nil},
		{"a circle of tags", map[string]string{
			"a": "destination: crm\nstart: [{on: tag-added, tag: A}]\nsteps: [{add_tags: [b]}]",
			"b": "destination: crm\nstart: [{on: tag-added, tag: b}]\nsteps: [{add_tags: [a]}]",
		}, facts, []string{"warning loop a steps[0]: workflows start each other in a circle: a -> b (tag b, steps[0]) -> a (tag a, steps[0])"}},

		{
			"moved to without a start for it",
			map[string]string{"a": begin + "steps: [{move_to_workflow: b}]", "b": begin + does},
			facts,
			[]string{"error no-moved-here a steps[0].move_to_workflow: b can't be moved to"},
		},
		{
			"moved to while off",
			map[string]string{"a": begin + "steps: [{move_to_workflow: b}]", "b": "mode: off\ndestination: crm\nstart: [{on: moved-here}]" + does},
			facts,
			[]string{"warning moves-to-off a steps[0].move_to_workflow: b is off"},
		},
		{
			"nobody moves there",
			map[string]string{"a": "destination: crm\nstart: [{on: moved-here}]" + does},
			facts,
			[]string{"warning nobody-moves-here a start[0]: no workflow moves its runs here"},
		},

		{
			"a message for history",
			map[string]string{"a": "destination: crm\nstart: [{on: order-placed, history: true}]\nsteps: [{add_tags: [x]}, {send_message: m}]"},
			facts,
			[]string{"warning held-for-history a steps[1]: send_message is held back for runs that history starts (start[0].history)"},
		},

		{
			"orders of a schedule",
			map[string]string{"a": "destination: crm\nonce: order\nstart: [{on: schedule, at: 09:00}]\nsteps:\n  - {wait_for: {}}\n  - {write_order: {shop: Main}}\n  - {set_field: {A: '{{ order.amount }}'}}"},
			facts,
			[]string{
				"warning no-order a once: it runs once for each contact", "warning no-order a steps: use order.amount",
				"warning no-order a steps[0].wait_for.same: events of all the contact's orders count", "error no-order a steps[1]: has no order for write_order",
			},
		},

		{
			"a condition that always holds", in("  - {if: 2 > 1, then: [{add_tags: [x]}]}\n"), facts,
			[]string{"warning constant-condition test steps[0].if: holds always"},
		},
		{
			"a condition that never holds", in("  - {if: 1 > 2, then: [{add_tags: [x]}], else: [{add_tags: [y]}]}\n"), facts,
			[]string{"warning constant-condition test steps[0].if: never holds", "error unreachable-step test steps[0].then[0]: is never reached"},
		},
		{
			"a start that never holds",
			map[string]string{"test": "destination: crm\nstart: [{on: order-placed, if: 1 > 2}]" + does},
			facts,
			[]string{"warning constant-condition test start[0].if: never holds, whatever the values: nothing starts here"},
		},
		{"nothing is done", in("  - {wait: 1d}\n"), facts, []string{"warning does-nothing test steps: no action is ever reached"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			found := workflows.Check(compileSet(t, test.files), test.facts)
			var got []string
			for _, f := range found {
				got = append(got, fmt.Sprintf("%s %s %s %s: %s", f.Severity, f.Rule, f.Workflow, f.Field, f.Message))
				if f.Hint == "" {
					t.Errorf("no hint: %+v", f)
				}
			}
			ok := len(got) == len(test.want)
			for i := 0; ok && i < len(got); i++ {
				head, part, _ := strings.Cut(test.want[i], ": ")
				ok = strings.HasPrefix(got[i], head+": ") && strings.Contains(got[i], part)
			}
			if !ok {
				t.Errorf("got\n  %s\nwant\n  %s", strings.Join(got, "\n  "), strings.Join(test.want, "\n  "))
			}
		})
	}
}

// Findings name the step by its id, which traces use too.
func TestFindingsNameSteps(t *testing.T) {
	found := workflows.Check(compileSet(t, in("  - {add_tags: [x]}\n  - {id: never, stop: true}\n  - {id: after, add_tags: [y]}\n")), facts)
	if len(found) != 1 || found[0].Step != "after" {
		t.Errorf("got %+v", found)
	}
}

// Check is the same for the same set, in whatever order maps give it.
func TestCheckIsRepeatable(t *testing.T) {
	files := map[string]string{}
	for i := range 30 {
		files[fmt.Sprintf("w%02d", i)] = begin + fmt.Sprintf("steps: [{wait_for: {status: [SUSPENDED], same: contact}}, {remove_tags: [a%d]}, {add_tags: [a%d]}, {move_to_workflow: w%02d}]", i, (i+1)%30, (i+7)%30)
	}
	set := compileSet(t, files)
	first := workflows.Check(set, facts)
	if len(first) == 0 {
		t.Fatal("nothing found")
	}
	for range 5 {
		if again := workflows.Check(set, facts); !slices.Equal(first, again) {
			t.Fatalf("found once\n%v\nand then\n%v", first, again)
		}
	}
}

// tangle is a thousand workflows that all fight and all move to each other.
func tangle(t testing.TB) workflows.Set {
	files := map[string]string{}
	for i := range 1_000 {
		files[fmt.Sprintf("w%04d", i)] = begin + fmt.Sprintf("steps: [{add_tags: [a]}, {if: order.amount > 1, then: [{remove_tags: [b]}]}, {add_tags: [b], remove_tags: [a]}, {move_to_workflow: w%04d}]", (i+1)%1_000)
	}
	return compileSet(t, files)
}

func TestCheckIsBounded(t *testing.T) {
	if found := workflows.Check(tangle(t), facts); len(found) != workflows.FindingsMax {
		t.Errorf("%d findings, want %d", len(found), workflows.FindingsMax)
	}
}

func BenchmarkCheck(b *testing.B) {
	set := tangle(b)
	for b.Loop() {
		workflows.Check(set, facts)
	}
}
