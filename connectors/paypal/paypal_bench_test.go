package paypal

import (
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/tillstream/tillstream/connectors"
)

// BenchmarkVerify is one genuine delivery with its certificate in memory.
func BenchmarkVerify(b *testing.B) {
	g := recorded(b, "2015-sale-completed")
	r := request(g.headers)
	for b.Loop() {
		if _, v := g.src.Verify(b.Context(), r, g.body); v.Kind != connectors.Genuine {
			b.Fatal(v)
		}
	}
}

// BenchmarkNormalize is one order with items and a capture.
func BenchmarkNormalize(b *testing.B) {
	archive, err := txtar.ParseFile("testdata/CHECKOUT.ORDER.COMPLETED.txtar")
	if err != nil {
		b.Fatal(err)
	}
	d := delivery(string(archive.Files[0].Data))
	b.SetBytes(int64(len(d.Body)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := normalize(d); err != nil {
			b.Fatal(err)
		}
	}
}
