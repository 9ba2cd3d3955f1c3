package shopify

import (
	"encoding/json"
	"testing"
)

// BenchmarkNormalize reads an order of 20 kB; BenchmarkDecode is what encoding/json alone takes for it.
func BenchmarkNormalize(b *testing.B) {
	d := golden(b, "testdata/order-partially-refunded.txtar")
	b.SetBytes(int64(len(d.Body)))
	for b.Loop() {
		if _, err := normalize(d); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkDecode is the yardstick of BenchmarkNormalize.
func BenchmarkDecode(b *testing.B) {
	d := golden(b, "testdata/order-partially-refunded.txtar")
	b.SetBytes(int64(len(d.Body)))
	for b.Loop() {
		var v any
		if err := json.Unmarshal(d.Body, &v); err != nil {
			b.Fatal(err)
		}
	}
}
