package pipeline

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// The cache is compared with a map: what it knows is right, and it knows the record put last.
func TestCacheNeverTellsAnOldImage(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c, truth := newCache(), map[string]string{}
		for range rapid.IntRange(1, 200).Draw(t, "puts") {
			key := rapid.SampledFrom([]string{"", "a", "b", "c", "LIVE/shop/1"}).Draw(t, "key")
			image := rapid.SampledFrom([]string{"absent", "", "x", strings.Repeat("y", 90_000)}).Draw(t, "image")
			if image == "absent" {
				c.put(key, nil)
			} else {
				c.put(key, []byte(image))
			}
			truth[key] = image
			if rapid.Bool().Draw(t, "trim") {
				c.trim(rapid.IntRange(1, 50).Draw(t, "records"), rapid.IntRange(1, 2<<20).Draw(t, "bytes"))
			}
			for k, want := range truth {
				got, known := c.get(k)
				if known && ((got == nil) != (want == "absent") || got != nil && string(got) != want) {
					t.Fatalf("key %q: got %d bytes (absent: %v), want %.10q", k, len(got), got == nil, want)
				}
			}
		}
	})
}

func TestCacheIsBounded(t *testing.T) {
	c := newCache()
	image := make([]byte, 10_000)
	for i := range 1000 {
		c.put(strings.Repeat("k", 1+i%300), image)
		c.trim(1<<30, 1<<20)
		if c.bytes+indexBytes*c.count > 1<<20 {
			t.Fatalf("after %d records: %d bytes", i, c.bytes)
		}
		if _, known := c.get(strings.Repeat("k", 1+i%300)); !known {
			t.Fatalf("record %d was forgotten at once", i)
		}
	}
	if len(c.index) > c.count {
		t.Errorf("%d keys in the index of %d records", len(c.index), c.count)
	}
	c.trim(0, 0)
	want(t, "after everything was forgotten", []int{len(c.index), c.count, c.bytes, len(c.pieces)}, []int{0, 0, 0, 0})
	c.put("again", nil)
	if image, known := c.get("again"); !known || image != nil {
		t.Errorf("an absent key: got %q, %v", image, known)
	}
}
