package load

import (
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"pgregory.net/rapid"

	"github.com/tillstream/tillstream/pipeline/kafka"
)

// Whatever is fetched, refused and cut: the ranges follow each other without gap or overlap, none holds a refused offset,
// none is larger than a flush, and every row is in exactly one range.
func TestPlansCoverEveryOffsetOnce(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	rapid.Check(t, func(t *rapid.T) {
		o := &Options{FlushRows: rapid.IntRange(1, 8).Draw(t, "flush rows"), FlushBytes: rapid.IntRange(1, 1000).Draw(t, "flush bytes"), FlushInterval: time.Second}
		start := rapid.Int64Range(-1, 5).Draw(t, "committed")
		p := newPartition("t", 0, start, metadata{})
		offset := max(start, 0)
		var rows, stored, refused []int64
		last := max(start, 0) - 1
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			for range rapid.IntRange(0, 10).Draw(t, "fetched") {
				r := &kgo.Record{Offset: offset, Value: make([]byte, rapid.IntRange(0, 300).Draw(t, "size"))}
				if rapid.IntRange(0, 5).Draw(t, "control") == 0 {
					r.Attrs = kgo.NewRecordAttrs(kgo.RecordAttrsOpts{Control: true})
				} else {
					rows = append(rows, offset)
				}
				p.add(r, now)
				p.add(r, now) // fetched again after a pause
				offset += rapid.Int64Range(1, 3).Draw(t, "hole")
			}
			if _, due := p.dueAt(o); !due {
				continue
			}
			p.makePlan(o)
			planned := p.planned()
			if p.plan.from != last+1 {
				t.Fatalf("plan starts at %d after %d", p.plan.from, last)
			}
			if len(planned) > o.FlushRows {
				t.Fatalf("plan of %d rows, limit %d", len(planned), o.FlushRows)
			}
			if len(planned) > 0 && rapid.IntRange(0, 4).Draw(t, "refuse") == 0 {
				bad := rapid.SampledFrom(planned).Draw(t, "bad").Offset
				refused = append(refused, bad)
				p.refuse(bad)
				continue
			}
			for _, r := range planned {
				stored = append(stored, r.Offset)
			}
			for _, bad := range refused {
				if p.plan.from <= bad && bad <= p.plan.to {
					t.Fatalf("plan %d-%d spans the refused offset %d", p.plan.from, p.plan.to, bad)
				}
			}
			last = p.plan.after - 1
			p.finish()
		}
		for { // at rest
			if _, due := p.dueAt(o); !due {
				break
			}
			p.makePlan(o)
			for _, r := range p.planned() {
				stored = append(stored, r.Offset)
			}
			p.finish()
		}
		got := slices.Sorted(slices.Values(slices.Concat(stored, refused)))
		if !slices.Equal(got, rows) {
			t.Fatalf("stored and refused %v, fetched %v", got, rows)
		}
		if p.bytes != 0 || len(p.rows) != 0 || len(p.refused) != 0 {
			t.Fatalf("at rest %d rows, %d bytes, refused %v are held", len(p.rows), p.bytes, p.refused)
		}
	})
}

// A transaction's marker that comes alone does not shorten the time in which rows are gathered.
func TestRowsAreGatheredForAWholeInterval(t *testing.T) {
	o := &Options{FlushRows: 100, FlushBytes: 1 << 20, FlushInterval: time.Second}
	start := time.Unix(1_700_000_000, 0)
	after := func(d time.Duration) time.Time { return start.Add(d) }
	p := newPartition("t", 0, 0, metadata{})
	marker := &kgo.Record{Offset: 0, Attrs: kgo.NewRecordAttrs(kgo.RecordAttrsOpts{Control: true})}
	p.add(marker, start)
	if at, due := p.dueAt(o); !due || !at.Equal(after(time.Second)) {
		t.Errorf("marker: due at %v (%t), want a second after it", at, due)
	}
	p.add(&kgo.Record{Offset: 1}, after(900*time.Millisecond))
	p.add(&kgo.Record{Offset: 2}, after(1200*time.Millisecond))
	if at, due := p.dueAt(o); !due || !at.Equal(after(1900*time.Millisecond)) {
		t.Errorf("rows: due at %v (%t), want a second after the first row", at, due)
	}
}

func TestAPlanBesideTheOffsetIsRepeatedWholeAndFirst(t *testing.T) {
	text := metadata{Plan: "abc", To: 14, Replay: 3}.String()
	p := newPartition("t", 0, 10, parsed(text))
	o := &Options{FlushRows: 2, FlushBytes: 1, FlushInterval: time.Hour} // smaller than the flush of the one who planned
	now := time.Unix(0, 0)
	for _, offset := range []int64{10, 11, 13} {
		p.add(&kgo.Record{Offset: offset}, now)
		if _, due := p.dueAt(o); due {
			t.Fatalf("due at offset %d, before the plan's end", offset)
		}
	}
	p.add(&kgo.Record{Offset: 17}, now) // 14 was compacted away meanwhile
	if _, due := p.dueAt(o); !due || len(p.planned()) != 3 || p.plan.from != 10 || p.plan.to != 14 || !p.plan.committed || p.replay != 3 {
		t.Errorf("plan %+v with %d rows, due %v", p.plan, len(p.planned()), due)
	}
}

func TestForeignMetadataHoldsNoPlan(t *testing.T) {
	for _, text := range []string{"", "tillstream-6a1f", "{}", "null", "[]", `{"plan":"x","to":5}`, `{"v":2,"plan":"x","to":5}`, `{"v":1,"plan":"x","to":-5}`, `{"v":1,"plan":"x","to":3}`} {
		if p := newPartition("t", 0, 4, parsed(text)); p.plan != nil {
			t.Errorf("%q was taken for the plan %+v", text, p.plan)
		}
	}
	if m := parsed(""); m != (metadata{}) {
		t.Errorf("no metadata gives %+v", m)
	}
}

func parsed(text string) metadata {
	m, _ := parseMetadata(text)
	return m
}

func FuzzParseMetadata(f *testing.F) {
	for _, s := range []string{metadata{Plan: "a", To: 1}.String(), metadata{Replay: 9}.String(), "", "{", `{"v":1,"to":1e99}`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		m := parsed(text)
		if m == (metadata{}) {
			return
		}
		if m.To < 0 || m.Replay < 0 {
			t.Errorf("%q gives %+v", text, m)
		}
		again := m.String()
		if parsed(again) != m {
			t.Errorf("%+v does not survive its own text %s", m, again)
		}
	})
}

// Kafka keeps 4,096 bytes of metadata by default.
func TestMetadataIsSmall(t *testing.T) {
	if n := len(metadata{Plan: "0123456789ab", To: 1<<63 - 1, Replay: 1<<63 - 1, Topic: topicID(kafka.TopicInfo{})}.String()); n > 200 {
		t.Errorf("metadata of %d bytes", n)
	}
}
