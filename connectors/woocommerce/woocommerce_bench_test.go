package woocommerce

import (
	"encoding/json"
	"testing"
)

// BenchmarkNormalize reads one recorded order of 4 kB; BenchmarkDecode is what encoding/json alone takes for it.
func BenchmarkNormalize(b *testing.B) {
	list := goldens(b, "testdata/order.created--211-processing-wcpay.txtar")
	b.SetBytes(int64(len(list[0].Body)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Connector.Normalize(list[0]); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecode(b *testing.B) {
	list := goldens(b, "testdata/order.created--211-processing-wcpay.txtar")
	b.SetBytes(int64(len(list[0].Body)))
	b.ReportAllocs()
	for b.Loop() {
		var v map[string]any
		if err := json.Unmarshal(list[0].Body, &v); err != nil {
			b.Fatal(err)
		}
	}
}
