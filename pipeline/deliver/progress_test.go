package deliver

import (
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// cmpRuns compares marks by what they say.
var cmpRuns = cmp.Options{
	cmp.AllowUnexported(progress{}, run{}),
	cmp.Transformer("runs", func(m marks) []run { return slices.Collect(m.runs) }),
}

// marksOf are marks from offset 0 on.
func marksOf(runs ...run) marks {
	var m marks
	for _, r := range runs {
		m.add(0, r.n, r.stand)
	}
	return m
}

func drawProgress(t *rapid.T) progress {
	p := progress{owner: rapid.Uint64().Draw(t, "owner"), seq: rapid.Uint64().Draw(t, "seq")}
	if rapid.Bool().Draw(t, "with id") {
		p.topicID = [topicIDBytes]byte(rapid.SliceOfN(rapid.Byte(), topicIDBytes, topicIDBytes).Draw(t, "id"))
	}
	for range rapid.IntRange(0, 200).Draw(t, "runs") {
		p.marks.add(0, rapid.Int64Range(1, 40).Draw(t, "n"), stand(rapid.IntRange(0, 2).Draw(t, "stand")))
	}
	return p
}

func TestProgressSurvivesItsText(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := drawProgress(t)
		text, err := want.encode()
		if err != nil {
			t.Fatal(err)
		}
		got, err := decodeProgress(text)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(got, want, cmpRuns); d != "" {
			t.Fatalf("got - want:\n%s", d)
		}
		if len(text) > metadataBytesMax {
			t.Fatalf("%d bytes", len(text))
		}
	})
}

func TestProgressOfSomethingElseIsRefused(t *testing.T) {
	for _, text := range []string{
		"", "member-1234", "ts1.", "ts1.!!!", "ts1.AA", "ts2.AAAA", "ts1." + strings.Repeat("A", metadataBytesMax),
		"ts1.AQECAA", // unknown kind
		"ts1.AQEAAw", // a run of nothing
	} {
		if _, err := decodeProgress(text); !errors.Is(err, errProgress) {
			t.Errorf("%.20q: got %v, want errProgress", text, err)
		}
	}
}

// What fills the metadata to the last byte without a topic's id is kept, rather than the id.
func TestProgressGoesBeforeTheTopic(t *testing.T) {
	p, runs := progress{owner: 1, seq: 1}, []run{}
	for i := 0; ; i++ {
		runs = append(runs, run{stand(i % 2), 1 << 13})
		next := progress{owner: 1, seq: 1, marks: marksOf(runs...)}
		if _, err := next.encode(); err != nil {
			break
		}
		p = next
	}
	want, err := p.encode()
	if err != nil {
		t.Fatal(err)
	}
	p.topicID[0] = 1
	if got, err := p.encode(); err != nil || got != want {
		t.Errorf("got %d bytes and %v, want the %d bytes without the id", len(got), err, len(want))
	}
}

func TestProgressOfALaterVersion(t *testing.T) {
	for text, want := range map[string]error{
		"ts4.AAAA": errNewer, "ts12.": errNewer, "ts.AAAA": errProgress, "ts3": errProgress, "ts3.AAAA": errProgress, "tsx.": errProgress, "ts2.AAAA": errProgress,
	} {
		if _, err := decodeProgress(text); !errors.Is(err, want) {
			t.Errorf("%q: got %v, want %v", text, err, want)
		}
	}
}

func FuzzDecodeProgress(f *testing.F) {
	for _, p := range []progress{
		{},
		{owner: 1, seq: 2, marks: marksOf(run{open, 1}, run{finished, 1000}, run{intended, 2})},
		{owner: 1 << 63, seq: 3, marks: marksOf(run{open, 1}, run{finished, 1}, run{open, 1}, run{finished, 1}, run{intended, 1})},
		{owner: 7, seq: 4, recorded: true, record: 1 << 40},
	} {
		text, err := p.encode()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Add("ts1.AQEBBQ")
	f.Add("ts2.AAECAwQFBgcICQoLDA0ODwEBAAU")
	f.Fuzz(func(t *testing.T, text string) {
		p, err := decodeProgress(text)
		if err != nil {
			return
		}
		again, err := p.encode()
		if err != nil {
			t.Fatalf("%q was read and cannot be written: %v", text, err)
		}
		q, err := decodeProgress(again)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(q, p, cmpRuns); d != "" {
			t.Fatalf("got - want:\n%s", d)
		}
	})
}

// Whatever a record of progress holds, it is refused, or means the same once it is written again.
func FuzzDecodeRecord(f *testing.F) {
	many := marks{}
	for i := range int64(2000) {
		many.add(0, 1+i%7, stand(i%3))
	}
	for _, p := range []progress{
		{},
		{topicID: [topicIDBytes]byte{1}, owner: 1, seq: 2, marks: marksOf(run{open, 1}, run{finished, 1 << 30}, run{intended, 2})},
		{owner: 1 << 63, seq: 3, marks: marksOf(run{open, 1}, run{finished, 1}, run{open, 1}, run{finished, 1}, run{intended, 1})},
		{owner: 7, seq: 4, marks: many},
	} {
		b, err := p.encodeRecord()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
		f.Add(b[:len(b)-1])
	}
	f.Add([]byte{})
	f.Add(append(make([]byte, topicIDBytes), 1, 1, 0, 3))       // a run of nothing
	f.Add(append(make([]byte, topicIDBytes), 1, 1, 1, 9, 0, 0)) // a bitmap that is too short
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := decodeRecord(b)
		if err != nil {
			if !errors.Is(err, errProgress) {
				t.Fatalf("got %v, want errProgress", err)
			}
			return
		}
		again, err := p.encodeRecord()
		if err != nil {
			t.Fatalf("%x was read and cannot be written: %v", b, err)
		}
		q, err := decodeRecord(again)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(q, p, cmpRuns); d != "" {
			t.Fatalf("got - want:\n%s", d)
		}
	})
}

// A record of progress that is too long, or of which a part is missing, is refused; one of all it may hold is read.
func TestProgressRecordIsBounded(t *testing.T) {
	most := int64(recordPayloadMax * 4)
	var m marks
	for i := range most {
		m.add(0, 1, stand(i%3))
	}
	want := progress{owner: 1 << 63, seq: 1 << 63, marks: m}
	b, err := want.encodeRecord()
	if err != nil {
		t.Fatal(err)
	}
	got, err := decodeRecord(b)
	if err != nil {
		t.Fatal(err)
	}
	if got.marks.end() != most || got.owner != want.owner || got.seq != want.seq {
		t.Errorf("got %d offsets of owner %d, want %d", got.marks.end(), got.owner, most)
	}
	if _, err := decodeRecord(b[:len(b)-1]); !errors.Is(err, errProgress) {
		t.Errorf("the last byte is missing: got %v, want errProgress", err)
	}
	if _, err := decodeRecord(append(b, make([]byte, recordBytesMax)...)); !errors.Is(err, errProgress) {
		t.Errorf("too long: got %v, want errProgress", err)
	}
	m.add(0, 4*headerBytesMax+8*4, open)
	m.add(0, 64, finished)
	for range 200 {
		m.add(0, 1, open)
		m.add(0, 1, finished)
	}
	if b, err := (progress{marks: m}).encodeRecord(); err == nil {
		t.Errorf("%d bytes were made, of %d that may be", len(b), recordBytesMax)
	}
}

// A window that room let grow has metadata that Kafka takes, however its commands finish.
func TestWindowAlwaysFitsItsMetadata(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWindow(t.Context(), "t", 0, 1, rapid.Int64Range(-1, 1000).Draw(t, "from"), progress{})
		offset := max(w.next, 0)
		gapMax := rapid.SampledFrom([]int64{0, 1, 50, 100_000}).Draw(t, "gapMax")
		rnd := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
		every := rapid.IntRange(1, 4).Draw(t, "every")
		for i := range 13_000 {
			if gapMax > 0 && i%3 == 0 {
				offset += rnd.Int64N(gapMax + 1)
			}
			if !w.room(offset, 10) {
				break
			}
			e := w.admit(offset)
			if i%every != 0 {
				w.finish(e)
			} else if i%2 == 0 {
				w.intend(e)
			}
			offset++
		}
		low, p, ok := w.progress()
		if !ok {
			t.Skip("nothing admitted")
		}
		text, err := p.encode()
		if err != nil {
			t.Fatal(err)
		}
		// The next owner sees every unfinished command as such.
		back, err := decodeProgress(text)
		if err != nil {
			t.Fatal(err)
		}
		next := newWindow(t.Context(), "t", 0, 2, low, back)
		for _, e := range w.inOrder() {
			got := next.admit(e.offset)
			if got == nil {
				t.Fatalf("offset %d is lost: it counts as finished", e.offset)
			}
			if got.unsure != (e.intent != noIntent) {
				t.Fatalf("offset %d: got unsure %v, want %v", e.offset, got.unsure, !got.unsure)
			}
		}
	})
}

func TestFinishedCommandsStayFinished(t *testing.T) {
	w := newWindow(t.Context(), "t", 0, 1, 100, progress{})
	var all []*entry
	for o := int64(100); o < 110; o++ {
		all = append(all, w.admit(o))
	}
	for _, i := range []int{0, 1, 3, 4, 7} {
		w.finish(all[i])
	}
	low, p, _ := w.progress()
	if low != 102 {
		t.Fatalf("got low %d, want 102", low)
	}
	next := newWindow(t.Context(), "t", 0, 2, low, p)
	var got []int64
	for o := low; o < 112; o++ {
		if next.admit(o) != nil {
			got = append(got, o)
		}
	}
	if d := cmp.Diff(got, []int64{102, 105, 106, 108, 109, 110, 111}); d != "" {
		t.Errorf("unfinished, got - want:\n%s", d)
	}
	if next.admit(105) != nil {
		t.Error("a record fetched twice is admitted twice")
	}
}
