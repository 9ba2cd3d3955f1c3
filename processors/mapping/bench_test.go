package mapping_test

import (
	"fmt"
	"testing"

	"github.com/tillstream/tillstream/processors/expressions"
	"github.com/tillstream/tillstream/processors/mapping"
)

// BenchmarkRun is a mapping of 30 fields, as large as users have them.
func BenchmarkRun(b *testing.B) {
	usual := []mapping.Rule{
		{From: "order.id"},
		{From: "order.status", Table: map[string]string{"PAID": "paid"}},
		{From: "order.amount", As: "money"},
		{From: "event.time", As: "date"},
		{From: "payer.full_name", As: "name first"},
		{From: "payer.phone", As: "phone"},
		{From: "payer.email", As: "trim | lower"},
		{From: "subscription.plan_id"},
		{From: "payer.address.city", Concat: []string{"payer.address.country"}},
		{From: "order.paid", When: map[string][]string{"order.status": {"PAID"}}},
	}
	var m mapping.Mapping
	for i := range 30 {
		r := usual[i%len(usual)]
		r.To = fmt.Sprint("F", i)
		m.Fields = append(m.Fields, r)
	}
	p, problems := mapping.Compile(m, catalogue)
	if len(problems) > 0 {
		b.Fatal(problems)
	}
	t := transition()
	b.ReportAllocs()
	for b.Loop() {
		if values, issues := p.Run(&t); len(values) != 30 || len(issues) > 0 {
			b.Fatal(len(values), issues)
		}
	}
}

// BenchmarkCondition is one expression over a real transition and contact, with fetching their values.
func BenchmarkCondition(b *testing.B) {
	e, err := expressions.Compile(`order.amount >= 10 && order.currency == "EUR" && !("bad" in contact.tags)`, mapping.CatalogueFor(nil))
	if err != nil {
		b.Fatal(err)
	}
	t := transition()
	contact := person{tags: []string{"new", "vip"}}
	b.ReportAllocs()
	for b.Loop() {
		if holds, err := e.Holds(mapping.ValuesOf(&t, contact)); !holds || err != nil {
			b.Fatal(holds, err)
		}
	}
}
