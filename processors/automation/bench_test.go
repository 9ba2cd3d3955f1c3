//go:build unix

package automation_test

import (
	"fmt"
	"strings"
	"syscall"
	"testing"

	"github.com/tillstream/tillstream/processors"
	"github.com/tillstream/tillstream/processors/automation"
	"github.com/tillstream/tillstream/processors/mapping"
	"github.com/tillstream/tillstream/schemas"
)

// twenty are workflows of the usual kinds. Those beyond the first near watch other stores than the benchmark's.
func twenty(b testing.TB, near int) automation.Rules {
	file := checkout()
	for i := range 30 {
		from := []string{"order.id", "order.amount", "payer.address.city", "event.time", "payer.full_name"}[i%5]
		as := []string{"upper", "money", "", "date", "trim | lower"}[i%5]
		file.Fields = append(file.Fields, mapping.Rule{To: fmt.Sprintf("FIELD_%02d", i), From: from, As: as})
	}
	files := map[string]string{}
	for i := range 20 {
		text, stores := "", "eu"
		if i >= near {
			stores = fmt.Sprintf("store-%02d", i)
		}
		switch i % 4 {
		case 0:
			text = paymentFailed
		case 1:
			text = `
destination: crm
once: order
start: [{on: payment-status-changed, status: [PAID], if: 'order.amount >= 5 && order.currency == "EUR"'}]
steps: [{add_tags: [large]}, {set_field: {LAST: "{{ order.amount | money }} {{ order.currency }}"}}]
`
		case 2:
			text = `
destination: crm
start: [{on: payment-status-changed, status: [APPROVED]}]
steps:
  - wait_for: {status: [PAID], not_met_after: 1h}
    not_met: [{send_message: come-back}]
`
		default:
			text = `
destination: crm
start: [{on: payment-status-changed, status: [REFUNDED]}]
steps: [{remove_tags: [large]}, {score: -5}]
`
		}
		files[fmt.Sprintf("workflow-%02d", i)] = strings.Replace(text, "{on: payment-status-changed,", "{on: payment-status-changed, connections: ["+stores+"],", 1)
	}
	return rules(b, map[string]automation.MappingFile{"orders": file}).WithWorkflows(workflowsOf(b, files))
}

// BenchmarkTransitions is the stage as the engine runs it, states through bytes: 20 workflows, 30 mapped fields, an
// order that is approved and then paid.
func BenchmarkTransitions(b *testing.B) {
	for name, near := range map[string]int{"4 of 20 workflows watch the store": 4, "all 20 do": 20} {
		b.Run(name, func(b *testing.B) { benchmarkTransitions(b, automation.New(twenty(b, near))) })
	}
}

func benchmarkTransitions(b *testing.B, st *automation.Stage) {
	history := []*schemas.Transition{transition(1, schemas.StatusApproved), transition(2, schemas.StatusPaid), transition(3, schemas.StatusRefunded)}
	b.ReportAllocs()
	var image []byte
	n := 0
	before := processorTime(b)
	for b.Loop() {
		if n == len(history) {
			image, n = nil, 0
		}
		var s automation.State
		var err error
		if image != nil {
			if s, err = st.Decode(image); err != nil {
				b.Fatal(err)
			}
		}
		if s, _, err = st.Apply(s, processors.Input{At: noon, Key: ana, Record: history[n]}); err != nil {
			b.Fatal(err)
		}
		if image, err = st.Encode(s); err != nil {
			b.Fatal(err)
		}
		n++
	}
	b.ReportMetric(float64(b.N)/(processorTime(b)-before), "transitions/s-of-a-core")
}

// processorTime is the process's time on processors so far in seconds, its collector's included: what a busy machine
// takes for others is not in it.
func processorTime(b *testing.B) float64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}
