package connectorstest

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"

	"github.com/tillstream/tillstream/connectors"
	"github.com/tillstream/tillstream/schemas"
)

const (
	hostileBodies      = 10_000
	hostileBodiesShort = 1_000
	hostileSeed        = 1
	errorBytesMax      = 10 << 10
	// A large body is made once in so many: each costs as much as all the others.
	hostileLargeEvery = 250
	// Memory that one body may take: a parsed tree is larger than its text.
	hostileBytesFactorMax = 200
	hostileBytesMax       = 2 << 20
	// hostileMeasuredBytesMin: measuring stops the world, so that only bodies from this size are measured.
	hostileMeasuredBytesMin = 32 << 10
)

// hostile: whatever is done to a body, it is an error or records within bounds, in bounded memory, and no panic.
func hostile(t *testing.T, c connectors.Connector, o Options) {
	if len(o.Samples) == 0 {
		t.Fatal("no sample to mutate")
	}
	n := hostileBodies
	if testing.Short() {
		n = hostileBodiesShort
	}
	r := rand.New(rand.NewPCG(hostileSeed, hostileSeed))
	refused := 0
	for i := range n {
		d := clone(o.Samples[r.IntN(len(o.Samples))])
		what := "mutated"
		if i%hostileLargeEvery == 0 {
			what, d.Body = large(r)
		} else {
			for range 1 + r.IntN(3) {
				d.Body = mutate(r, d.Body)
			}
		}
		events, allocated, err := measured(c, d)
		if err != nil {
			refused++
		}
		if err != nil && len(err.Error()) > errorBytesMax {
			t.Errorf("body %d (%s): an error of %d bytes", i, what, len(err.Error()))
		}
		if most := uint64(hostileBytesFactorMax*len(d.Body) + hostileBytesMax); allocated > most {
			t.Errorf("body %d (%s of %d bytes): allocated %d bytes, want at most %d", i, what, len(d.Body), allocated, most)
		}
		if len(events) > recordsOfABodyMax {
			t.Errorf("body %d (%s): %d records", i, what, len(events))
		}
		for k := range events {
			e := &events[k]
			if e.EventID == "" || e.RootID == "" || e.Fingerprint == "" || e.ProviderTime.IsZero() {
				t.Errorf("body %d (%s): an incomplete record instead of an error: %.300q", i, what, d.Body)
			}
			textsBounded(t, e, len(d.Body))
		}
		if t.Failed() {
			t.Fatalf("body %d (%s): %.2000q", i, what, d.Body)
		}
	}
	if refused == 0 || refused == n {
		t.Errorf("%d of %d mutated bodies were refused: the mutations show nothing", refused, n)
	}
}

// measured normalises d; allocated is 0 for small bodies.
func measured(c connectors.Connector, d connectors.Delivery) (events []schemas.OrderEvent, allocated uint64, err error) {
	if len(d.Body) < hostileMeasuredBytesMin {
		events, err = c.Normalize(d)
		return events, 0, err
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	events, err = c.Normalize(d)
	runtime.ReadMemStats(&after)
	return events, after.TotalAlloc - before.TotalAlloc, err
}

// fragments are put where they do not belong.
var fragments = []string{
	"null", "true", "-1", "0.1e400", "1e999999999", "-0", "123456789012345678901234567890.12345678901234567890", "NaN", "Infinity", "0x10",
	`""`, `"\u0000"`, `"\ud800"`, `"\udc00\ud800"`, `"\x"`, "\x00", "\xff\xfe", "\xed\xa0\x80", "\xef\xbb\xbf", "\u202e", "{}", "[]", "[[]]", `{"":0}`,
	`{"id":1,"id":2}`, `"__proto__"`, `"$ref"`, "/*x*/", ",", ":", "}", "]", `"`, `\`, "9999-99-99T99:99:99Z", "0001-01-01T00:00:00Z", "-9223372036854775809",
	"18446744073709551616", `"<script>"`, `"{{.}}"`, `"' OR 1=1"`, `"../../etc"`, "\r\n\r\n",
}

// mutate damages a body in one of the ways that a broken or hostile sender would.
func mutate(r *rand.Rand, body []byte) []byte {
	if len(body) == 0 {
		return []byte(fragments[r.IntN(len(fragments))])
	}
	at := r.IntN(len(body))
	end := at + r.IntN(min(64, len(body)-at)+1)
	out := bytes.Clone(body[:at])
	switch r.IntN(8) {
	case 0: // a byte of another value
		out = append(append(out, byte(r.Uint32())), body[at+1:]...)
	case 1: // a piece is missing
		out = append(out, body[end:]...)
	case 2: // a piece comes twice
		out = append(append(out, body[at:end]...), body[at:]...)
	case 3: // cut
	case 4, 5: // a foreign piece in place of a value
		start, stop := valueAt(body, at)
		out = append(append(bytes.Clone(body[:start]), fragments[r.IntN(len(fragments))]...), body[stop:]...)
	case 6: // a value of another length
		start, stop := valueAt(body, at)
		long := `"` + strings.Repeat(string(rune('0'+r.IntN(75))), 1<<r.IntN(14)) + `"`
		if strings.Contains(long[1:len(long)-1], `"`) || strings.Contains(long, `\`) {
			long = `"ü"`
		}
		out = append(append(bytes.Clone(body[:start]), long...), body[stop:]...)
	case 7: // nested
		start, stop := valueAt(body, at)
		depth := 1 + r.IntN(80)
		out = append(bytes.Clone(body[:start]), strings.Repeat("[", depth)...)
		out = append(append(append(out, body[start:stop]...), strings.Repeat("]", depth)...), body[stop:]...)
	}
	return out
}

// valueAt finds the JSON value that follows the first colon from at; at itself where there is none.
func valueAt(body []byte, at int) (start, end int) {
	colon := bytes.IndexByte(body[at:], ':')
	if colon < 0 {
		return at, at
	}
	for start = at + colon + 1; start < len(body) && body[start] == ' '; start++ {
	}
	if start < len(body) && body[start] == '"' {
		if stop := bytes.IndexByte(body[start+1:], '"'); stop >= 0 {
			return start, start + 1 + stop + 1
		}
		return start, len(body)
	}
	if stop := bytes.IndexAny(body[start:], ",}]\n"); stop >= 0 {
		return start, start + stop
	}
	return start, len(body)
}

// large is a body near the limit of a webhook, made to cost as much as it can.
func large(r *rand.Rand) (what string, body []byte) {
	const size = 900 << 10
	fill := func(open, unit, end string) []byte {
		return []byte(open + strings.Repeat(unit, (size-len(open)-len(end))/len(unit)) + end)
	}
	switch r.IntN(8) {
	case 0:
		return "deep arrays", fill(`{"id":"X","resource":`, "[", "")
	case 1:
		return "deep objects", fill("", `{"a":`, "")
	case 2:
		return "many values", fill(`{"id":"X","data":[`, "0,", "0]}")
	case 3:
		return "many empty objects", fill(`{"id":"X","data":[`, "{},", "{}]}")
	case 4:
		return "one huge number", fill(`{"id":"X","total":`, "9", `}`)
	case 5:
		return "one huge text", fill(`{"id":"`, "x", `"}`)
	case 6:
		return "escapes", fill(`{"id":"`, `\u00e4`, `"}`)
	}
	var b strings.Builder
	b.WriteString(`{"id":"X"`)
	for i := 0; b.Len() < size; i++ {
		fmt.Fprintf(&b, `,"k%d":%d`, i, i)
	}
	b.WriteString("}")
	return "many keys", []byte(b.String())
}
