//go:build unix

package app

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/tillstream/tillstream/connectors"
	"github.com/tillstream/tillstream/pipeline/config"
	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/sinks"
)

// flowOfTen is a workflow of ten steps; no two texts are alike.
const flowOfTen = `
destination: crm
once: order
zone: Europe/Berlin
start: [{on: payment-status-changed, status: [FAILED], if: 'order.amount > %[1]d'}]
steps:
  - set_field: {LAST: "{{ order.amount | money }} {{ order.currency }} %[1]d", NAME: "{{ payer.given_name }} %[1]d"}
  - wait_for: {status: [PAID], not_met_after: 1d, if: 'order.amount > %[1]d'}
    met:
      - send_message: thanks
        values: {amount: "{{ order.amount | money }} %[1]d"}
      - stop: true
    not_met:
      - if: order.amount >= %[1]d && order.currency == "EUR" && !("vip" in contact.tags)
        then:
          - send_message: reminder-%[1]d
          - wait_until: {at: "09:00", days: [monday]}
        else:
          - add_tags: [small-%[1]d]
      - add_tags: [unpaid-%[1]d]
  - track_event: {name: recovered, data: "{{ order.id }} %[1]d"}
`

// BenchmarkLoad reads a configuration of 1,000 workflows from its folder, checks it and makes the rules, as a start and
// every change of a file do.
func BenchmarkLoad(b *testing.B) {
	const flows = 1_000
	dir := b.TempDir()
	write := func(path, text string) {
		path = filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			b.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			b.Fatal(err)
		}
	}
	write(config.SettingsFile, "kafka: {brokers: [b]}\nregistry: {url: 'http://r'}\nredis: {address: 'a:1'}\n")
	write("destinations/crm.yaml", "sink: crm\nsettings: {}\n")
	for i := range flows {
		write(fmt.Sprintf("workflows/w%04d.yaml", i), fmt.Sprintf(flowOfTen, i))
	}
	crm := sinks.Sink{Type: "crm", Title: "A CRM", RatePerSecond: 5, Effects: []string{schemas.EffectSendMessage, schemas.EffectTrackEvent}, Config: func() any { return &struct{}{} }}
	o := config.Options{Connectors: connectors.NewRegistry(), Sinks: sinks.NewRegistry(crm), Kinds: Kinds(), Hostname: "one"}
	before := processorTime(b)
	for b.Loop() {
		c, err := config.LoadDir(dir, o)
		if err != nil {
			b.Fatal(err)
		}
		if r, err := Rules(c); err != nil || len(r.Workflows()) != flows {
			b.Fatal(len(r.Workflows()), err)
		}
	}
	b.ReportMetric((processorTime(b)-before)/float64(b.N), "s-of-a-core/op")
}

// processorTime is the process's time on processors so far, in seconds.
func processorTime(b *testing.B) float64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}
