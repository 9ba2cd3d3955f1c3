package pipeline

import (
	"strconv"
	"testing"
)

func TestCacheKeepsWhatWasUsedLast(t *testing.T) {
	c := newCache()
	put := func(key, image string) { c.set(c.slot(key), []byte(image)) }
	for i := range 5 {
		put(strconv.Itoa(i), "x")
	}
	c.slot("0")
	put("4", "xyz")
	c.trim(3, 1<<20)
	want(t, "slots", []int{len(c.slots), c.bytes}, []int{3, 3*(slotBytes+1) + 1 + 1 + 3})
	for key, kept := range map[string]bool{"0": true, "1": false, "2": false, "3": true, "4": true} {
		if (c.slots[key] != nil) != kept {
			t.Errorf("slot %s: kept is %v, want %v", key, !kept, kept)
		}
	}
	c.trim(3, c.bytes-1)
	want(t, "after one byte less, slots", []int{len(c.slots)}, []int{2})
	c.trim(0, 1<<20)
	want(t, "at the end", []int{len(c.slots), c.bytes}, []int{0, 0})
	if c.newest != nil || c.last != nil {
		t.Error("an empty cache still has a newest or a last slot")
	}
	if s := c.slot("4"); s.known {
		t.Error("a forgotten slot is still known")
	}
}
