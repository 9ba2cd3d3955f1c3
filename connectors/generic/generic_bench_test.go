package generic

import (
	"encoding/json"
	"testing"
)

// BenchmarkNormalize is one event with strict checks, records and fields; BenchmarkUnmarshal is what encoding/json takes
// to decode it.
func BenchmarkNormalize(b *testing.B) {
	d := readSample(b, "testdata/plain.txtar").delivery
	b.SetBytes(int64(len(d.Body)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Connector.Normalize(d); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkUnmarshal(b *testing.B) {
	body := readSample(b, "testdata/plain.txtar").delivery.Body
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		var v any
		if err := json.Unmarshal(body, &v); err != nil {
			b.Fatal(err)
		}
	}
}
