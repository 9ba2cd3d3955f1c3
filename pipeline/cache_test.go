package pipeline

import (
	"strconv"
	"testing"
)

func TestCacheIsBoundedByCountAndBytes(t *testing.T) {
	c := newCache(3)
	for i := range 5 {
		c.put(&entry{key: strconv.Itoa(i), image: []byte("x")})
	}
	c.put(&entry{key: "4", image: []byte("xyz")})
	want(t, "entries", []int{len(c.entries), c.order.Len(), c.bytes}, []int{3, 3, 5})
	large := make([]byte, cacheBytesMax/2)
	for i := range 5 {
		c.put(&entry{key: strconv.Itoa(i), image: large})
	}
	want(t, "large entries", []int{len(c.entries), c.bytes}, []int{2, 2 * len(large)})
	if c.get("4") == nil || c.get("0") != nil {
		t.Error("the cache did not keep the entries used last")
	}
	c.put(&entry{key: "huge", image: make([]byte, cacheBytesMax+1)})
	want(t, "one entry may exceed the bound", []int{len(c.entries), c.bytes}, []int{1, cacheBytesMax + 1})
}
