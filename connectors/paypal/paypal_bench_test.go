package paypal

import (
	"bytes"
	"encoding/json"
	"slices"
	"testing"
	"time"

	"github.com/tillstream/tillstream/connectors"
	"github.com/tillstream/tillstream/connectors/connectorstest"
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

// BenchmarkNormalize is one order with items and a capture, as PayPal sends it (compact) and as its documents print it.
// ratio is its time to what encoding/json takes to decode the same bytes into any, turn by turn in the same run.
func BenchmarkNormalize(b *testing.B) {
	printed := connectorstest.GoldenBody(b, "testdata/CHECKOUT.ORDER.COMPLETED.txtar")
	var compact bytes.Buffer
	if err := json.Compact(&compact, printed); err != nil {
		b.Fatal(err)
	}
	for name, body := range map[string][]byte{"printed": printed, "sent": compact.Bytes()} {
		b.Run(name, func(b *testing.B) {
			d := delivery(string(body))
			b.SetBytes(int64(len(d.Body)))
			b.ReportAllocs()
			var ours, theirs []time.Duration
			for b.Loop() {
				begin := time.Now()
				if _, err := normalize(d); err != nil {
					b.Fatal(err)
				}
				between := time.Now()
				var v any
				if err := json.Unmarshal(d.Body, &v); err != nil {
					b.Fatal(err)
				}
				ours, theirs = append(ours, between.Sub(begin)), append(theirs, time.Since(between))
			}
			// The middle one: what the machine does besides falls on single turns.
			slices.Sort(ours)
			slices.Sort(theirs)
			mine := ours[len(ours)/2]
			b.ReportMetric(float64(mine)/float64(theirs[len(theirs)/2]), "ratio")
			b.ReportMetric(float64(mine), "ours-ns/op")
		})
	}
}
