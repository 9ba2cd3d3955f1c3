package deliver

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// Marks say what a plain map would, whatever was done to them.
func TestMarksAreAMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		from := rapid.Int64Range(0, 10_000).Draw(t, "from")
		var m marks
		model := map[int64]stand{}
		end := from
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			s := stand(rapid.IntRange(0, 3).Draw(t, "stand"))
			n := rapid.SampledFrom([]int64{1, 1, 1, 2, 31, 32, 33, 100, 4095, 4096, 9000}).Draw(t, "n")
			switch first, ok := m.from(); {
			case !ok || rapid.Bool().Draw(t, "add"):
				if !ok {
					end = max(end, from)
				}
				m.add(end, n, s)
				for range n {
					model[end] = s
					end++
				}
			default:
				at := rapid.Int64Range(first, end-1).Draw(t, "at")
				m.fill(at, at+n, s)
				for o := at; o < min(at+n, end); o++ {
					model[o] = s
				}
			}
			if rapid.IntRange(0, 5).Draw(t, "trim") == 0 {
				low := m.trim()
				for o := range model {
					if o < low {
						if model[o] != finished && model[o] != void {
							t.Fatalf("offset %d is unfinished, and was trimmed away", o)
						}
						delete(model, o)
					}
				}
				if s, ok := model[low]; ok && (s == finished || s == void) {
					t.Fatalf("offset %d is finished, and was left in front", low)
				}
			}
		}
		var want []run
		first, _ := m.from()
		for o := first; o < end && len(m.segs) > 0; o++ {
			s := model[o]
			if got := m.get(o); got != s {
				t.Fatalf("offset %d: got %d, want %d", o, got, s)
			}
			if k := len(want); s == void && k > 0 {
				s = want[k-1].stand
			} else if s == void {
				s = open
			}
			if k := len(want); k > 0 && want[k-1].stand == s {
				want[k-1].n++
			} else {
				want = append(want, run{s, 1})
			}
		}
		if got := slices.Collect(m.runs); !slices.Equal(got, want) {
			t.Fatalf("got runs %v, want %v", got, want)
		}
	})
}

// A million commands of which every second one is finished need two bits each, and a stretch of one stand next to nothing.
func TestMarksAreSmall(t *testing.T) {
	var m marks
	m.add(0, 1<<40, finished)
	for o := int64(1 << 39); o < 1<<39+1_000_000; o += 2 {
		m.set(o, open)
	}
	if n, most := len(m.segs), 1_000_000/chunkOffsets+4; n > most {
		t.Errorf("%d segments, want %d at most", n, most)
	}
	if low := m.trim(); low != 1<<39 {
		t.Errorf("begins at %d, want %d", low, int64(1<<39))
	}
}
