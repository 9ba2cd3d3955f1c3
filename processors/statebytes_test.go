package processors_test

import (
	"bytes"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/tillstream/tillstream/processors"
)

var testWords = processors.NewWords("PAID", "PENDING", "EUR")

// part is a state of every kind of field.
type part struct {
	Number  int64
	Time    int64
	Text    string
	Flag    bool
	Bytes   []byte
	Texts   []string
	Parts   []part
	Plain   uint64
	Digest  [3]byte
	Moments []int64
}

func (p *part) write(w *processors.StateWriter) {
	w.FieldInt(1, p.Number)
	w.FieldTime(2, p.Time)
	w.FieldText(3, p.Text)
	w.FieldFlag(4, p.Flag)
	w.FieldBytes(5, p.Bytes)
	w.FieldTexts(6, p.Texts)
	w.FieldList(7, len(p.Parts))
	for i := range p.Parts {
		p.Parts[i].write(w)
		w.End()
	}
	if p.Plain != 0 {
		w.Field(8)
		w.Uint(p.Plain)
	}
	if p.Digest != [3]byte{} {
		w.Field(9)
		w.Raw(p.Digest[:])
	}
	w.FieldList(10, len(p.Moments))
	for _, m := range p.Moments {
		w.Time(m)
	}
}

func (p *part) read(r *processors.StateReader) {
	for f := r.Field(); f != 0; f = r.Field() {
		switch f {
		case 1:
			p.Number = r.Int()
		case 2:
			p.Time = r.Time()
		case 3:
			p.Text = r.Text()
		case 4:
			p.Flag = true
		case 5:
			p.Bytes = r.Bytes()
		case 6:
			p.Texts = r.Texts()
		case 7:
			p.Parts = processors.ReadList(r, func(x *part) { x.read(r) })
		case 8:
			p.Plain = r.Uint()
		case 9:
			r.Raw(p.Digest[:])
		case 10:
			p.Moments = processors.ReadList(r, func(m *int64) { *m = r.Time() })
		default:
			r.Unknown(f)
		}
	}
}

func encode(p part) []byte {
	w := processors.NewStateWriter(2, testWords)
	p.write(w)
	return w.Bytes()
}

func decode(b []byte) (p part, err error) {
	r := processors.NewStateReader(b, 2, testWords)
	p.read(r)
	return p, r.Close("a part")
}

func drawPart(t *rapid.T, depth int) part {
	// Few texts, so that they come again; and more than are kept, so that some are forgotten.
	texts := rapid.OneOf(rapid.SampledFrom([]string{"PAID", "PENDING", "EUR", "ab", strings.Repeat("long", 64)}), rapid.Map(rapid.IntRange(0, 30), func(n int) string { return fmt.Sprintf("text %d", n) }), rapid.String())
	p := part{
		Number: rapid.Int64().Draw(t, "number"), Time: rapid.Int64().Draw(t, "time"), Text: texts.Draw(t, "text"), Flag: rapid.Bool().Draw(t, "flag"),
		Plain: rapid.Uint64().Draw(t, "plain"), Digest: [3]byte(rapid.SliceOfN(rapid.Byte(), 3, 3).Draw(t, "digest")),
	}
	if list := rapid.SliceOfN(texts, 0, 40).Draw(t, "texts"); len(list) > 0 {
		p.Texts = list
	}
	if list := rapid.SliceOfN(rapid.Int64(), 0, 3).Draw(t, "moments"); len(list) > 0 {
		p.Moments = list
	}
	if b := rapid.SliceOfN(rapid.Byte(), 0, 9).Draw(t, "bytes"); len(b) > 0 {
		p.Bytes = b
	}
	for range rapid.IntRange(0, depth).Draw(t, "parts") {
		p.Parts = append(p.Parts, drawPart(t, depth-1))
	}
	return p
}

func TestStateComesBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := drawPart(t, 2)
		b := encode(want)
		if !bytes.Equal(b, encode(want)) {
			t.Fatalf("equal states, other bytes: %x", b)
		}
		got, err := decode(b)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(got, want); diff != "" {
			t.Fatalf("(-got +want):\n%s", diff)
		}
		for i := range b {
			b[i] = 'x'
		}
		if diff := cmp.Diff(got, want); diff != "" {
			t.Fatalf("the state changed with its bytes (-got +want):\n%s", diff)
		}
	})
}

// A state cut anywhere is refused; what is read of a damaged one is a state like any other.
func TestDamagedStates(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := encode(drawPart(t, 1))
		n := rapid.IntRange(0, len(b)-1).Draw(t, "cut")
		if p, err := decode(b[:n]); err == nil {
			t.Fatalf("%x is read as %+v", b[:n], p)
		}
		b[rapid.IntRange(0, len(b)-1).Draw(t, "place")] = rapid.Byte().Draw(t, "byte")
		p, err := decode(b)
		if err != nil {
			return
		}
		first := encode(p)
		again, err := decode(first)
		if err != nil {
			t.Fatalf("%x was read, its own bytes %x are refused: %v", b, first, err)
		}
		if second := encode(again); !bytes.Equal(first, second) {
			t.Fatalf("encoded first %x, then %x", first, second)
		}
	})
}

func TestTextsThatComeAgainCostAByte(t *testing.T) {
	once := encode(part{Texts: []string{"5O190127TN364715T"}})
	thrice := encode(part{Texts: []string{"5O190127TN364715T", "5O190127TN364715T", "5O190127TN364715T"}})
	if len(thrice) != len(once)+2 {
		t.Errorf("one text has %d bytes, three times the same %d", len(once), len(thrice))
	}
	if b := encode(part{Text: "PENDING"}); len(b) != 4 {
		t.Errorf("a known word makes %x", b)
	}
}

// What a length claims costs little before the bytes are there.
func TestClaimedLengthsOfAStateAllocateNothing(t *testing.T) {
	huge := []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f}
	endless := append(bytes.Clone(huge), 0xff)
	for name, field := range map[string]byte{"text": 3, "bytes": 5, "texts": 6, "parts": 7, "number": 8, "moments": 10} {
		for _, n := range [][]byte{huge, endless, nil} {
			b := append([]byte{2, field}, n...)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			p, err := decode(b)
			runtime.ReadMemStats(&after)
			if err == nil {
				t.Errorf("%s %x is read as %+v", name, n, p)
			}
			if got := after.TotalAlloc - before.TotalAlloc; got > 64<<10 {
				t.Errorf("%s %x allocates %d bytes", name, n, got)
			}
		}
	}
}
