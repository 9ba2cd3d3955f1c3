package expressions_test

import (
	"testing"

	"github.com/tillstream/tillstream/processors/expressions"
)

const typical = `order.amount >= 100 && order.currency == "EUR" && !("bad" in contact.tags)`

func BenchmarkHolds(b *testing.B) {
	for name, text := range map[string]string{
		"typical":  typical,
		"computed": `round(order.amount * 0.19, 2) > 10`,
		"time":     `event.time - order.time > duration("2d")`,
		"pattern":  `payer.email matches "@example\\.(com|org)$"`,
	} {
		b.Run(name, func(b *testing.B) {
			e, err := expressions.Compile(text, catalogue)
			if err != nil {
				b.Fatal(err)
			}
			v := sample()
			b.ReportAllocs()
			for b.Loop() {
				if _, err := e.Holds(v); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkCompile(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := expressions.Compile(typical, catalogue); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkFill(b *testing.B) {
	t, err := expressions.CompileTemplate(`Hello {{ payer.given_name | default "friend" }}, you paid {{ order.amount | money }} {{ order.currency }}.`, catalogue, expressions.HTML)
	if err != nil {
		b.Fatal(err)
	}
	v := sample()
	b.ReportAllocs()
	for b.Loop() {
		if text, issues := t.Fill(v); text == "" || len(issues) > 0 {
			b.Fatal(text, issues)
		}
	}
}
