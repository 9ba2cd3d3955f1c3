// Package storetest is the conformance suite of stores: what the engine relies on, as tests.
package storetest

import (
	"errors"
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tillstream/tillstream/pipeline/store"
)

// Harness is one store's data and the faults it can be given.
type Harness struct {
	// Open returns a further client of the same data.
	Open func() store.Store
	// Wipe removes everything.
	Wipe func()
	// Snapshot copies everything; the returned function rolls back to the copy.
	Snapshot func() (restore func())
	// Spoil gives the current images of a partition another type.
	Spoil func(id store.ID)
	// Down makes the store unreachable, or reachable again; nil where that cannot be done.
	Down func(down bool)
}

var (
	id = store.ID{Stage: "orders", Partition: 3}
	t0 = time.UnixMilli(1_700_000_000_000)
)

// Run checks a store; open gives each test fresh data.
func Run(t *testing.T, open func(t *testing.T) Harness) {
	for name, test := range map[string]func(*testing.T, Harness){
		"empty claim":                        emptyClaim,
		"images, meta and time come back":    roundTrip,
		"deadlines in order":                 deadlines,
		"a wrong offset changes nothing":     wrongOffset,
		"a zombie changes nothing":           zombie,
		"the last claim wins":                lastClaim,
		"wipe":                               wipe,
		"roll back":                          rollBack,
		"roll back into a rebuild":           rollBackIntoRebuild,
		"a prefix of a transaction is valid": prefix,
		"rebuild":                            rebuild,
		"an abandoned rebuild":               abandonedRebuild,
		"a key of another type":              wrongType,
		"partitions are apart":               apart,
		"unavailable":                        unavailable,
		"many images":                        manyImages,
	} {
		t.Run(name, func(t *testing.T) { test(t, open(t)) })
	}
}

func claim(t *testing.T, p store.Partition, owner string) store.Claim {
	t.Helper()
	c, err := p.Claim(t.Context(), owner)
	if err != nil {
		t.Fatalf("Claim(%s): %v", owner, err)
	}
	return c
}

func apply(t *testing.T, p store.Partition, f store.Fence, to int64, images ...store.Image) store.Fence {
	t.Helper()
	f, err := p.Apply(t.Context(), f, store.Batch{To: to, Images: images, Meta: fmt.Appendf(nil, "meta %d", to), At: t0.Add(time.Duration(to))})
	if err != nil {
		t.Fatalf("Apply to %d: %v", to, err)
	}
	return f
}

// built returns a partition whose first generation was filled and switched to, as after a first recovery.
func built(t *testing.T, h Harness, owner string) (store.Partition, store.Fence) {
	t.Helper()
	p := h.Open().Partition(id)
	f, err := p.Rebuild(t.Context(), claim(t, p, owner).Fence, "chg-1", 0)
	if err != nil {
		t.Fatal(err)
	}
	if f, err = p.Switch(t.Context(), f); err != nil {
		t.Fatal(err)
	}
	return p, f
}

func read(t *testing.T, p store.Partition, f store.Fence, keys ...string) []string {
	t.Helper()
	values, err := p.Read(t.Context(), f, keys)
	if err != nil {
		t.Fatalf("Read(%v): %v", keys, err)
	}
	var out []string
	for _, v := range values {
		if v == nil {
			out = append(out, "-")
			continue
		}
		out = append(out, string(v))
	}
	return out
}

func check(t *testing.T, what string, got, want any) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func refused(t *testing.T, p store.Partition, f store.Fence, want error) {
	t.Helper()
	if _, err := p.Apply(t.Context(), f, store.Batch{To: f.Applied + 1, Images: []store.Image{img("zombie", "z", 0)}, At: t0}); !errors.Is(err, want) {
		t.Errorf("Apply at %+v: got %v, want %v", f, err, want)
	}
	if _, err := p.Read(t.Context(), f, []string{"a"}); !errors.Is(err, want) {
		t.Errorf("Read at %+v: got %v, want %v", f, err, want)
	}
	if _, _, err := p.Deadlines(t.Context(), f, 0, math.MaxInt64, 1); !errors.Is(err, want) {
		t.Errorf("Deadlines at %+v: got %v, want %v", f, err, want)
	}
}

func img(key, value string, deadline int64) store.Image {
	return store.Image{Key: key, Value: []byte(value), Deadline: deadline}
}

func emptyClaim(t *testing.T, h Harness) {
	c := claim(t, h.Open().Partition(id), "a")
	check(t, "claim", c, store.Claim{Fence: store.Fence{Owner: "a"}})
}

func roundTrip(t *testing.T, h Harness) {
	p, f := built(t, h, "a")
	f = apply(t, p, f, 5, img("k1", "v1", 0), img("k\x00é", "\x00\xff", 9), img("k1", "v2", 0))
	f = apply(t, p, f, 7, img("k2", "x", 0), store.Image{Key: "k1"})
	check(t, "values", read(t, p, f, "k1", "k2", "k\x00é", "never"), []string{"-", "x", "\x00\xff", "-"})
	want := f
	want.Owner = "b"
	c := claim(t, h.Open().Partition(id), "b")
	check(t, "claim", c, store.Claim{Fence: want, Meta: []byte("meta 7"), At: time.UnixMilli(t0.UnixMilli())})
}

func deadlines(t *testing.T, h Harness) {
	p, f := built(t, h, "a")
	f = apply(t, p, f, 3, img("b", "1", 1_700_000_000_005), img("a", "1", 1_700_000_000_005), img("c", "1", 1_700_000_000_001), img("d", "1", 0))
	f = apply(t, p, f, 4, img("c", "2", 1_700_000_000_009), img("e", "1", 2), store.Image{Key: "e"})
	due, armed, err := p.Deadlines(t.Context(), f, 0, math.MaxInt64, 10)
	if err != nil {
		t.Fatal(err)
	}
	check(t, "all", due, []store.Deadline{{Key: "a", At: 1_700_000_000_005}, {Key: "b", At: 1_700_000_000_005}, {Key: "c", At: 1_700_000_000_009}})
	check(t, "armed", armed, int64(3))
	due, _, _ = p.Deadlines(t.Context(), f, 1_700_000_000_005, 1_700_000_000_009, 1)
	check(t, "from, before, limit", due, []store.Deadline{{Key: "a", At: 1_700_000_000_005}})
	due, _, _ = p.Deadlines(t.Context(), f, 1_700_000_000_006, 1_700_000_000_009, 9)
	check(t, "before is exclusive", len(due), 0)
}

func wrongOffset(t *testing.T, h Harness) {
	p, f := built(t, h, "a")
	f = apply(t, p, f, 5, img("a", "1", 0))
	for _, off := range []int64{4, 6} {
		g := f
		g.Applied = off
		refused(t, p, g, store.ErrRolledBack)
	}
	g := f
	g.Changelog = "chg-2"
	refused(t, p, g, store.ErrRolledBack)
	check(t, "values", read(t, p, f, "a", "zombie"), []string{"1", "-"})
}

func zombie(t *testing.T, h Harness) {
	p, old := built(t, h, "a")
	old = apply(t, p, old, 5, img("a", "1", 0))
	q := h.Open().Partition(id)
	c := claim(t, q, "b")
	refused(t, p, old, store.ErrFenced)
	f := apply(t, q, c.Fence, 9, img("a", "2", 0))
	refused(t, p, old, store.ErrFenced)
	if _, err := p.Rebuild(t.Context(), old, "chg-1", 0); !errors.Is(err, store.ErrFenced) {
		t.Errorf("Rebuild by a zombie: got %v, want ErrFenced", err)
	}
	check(t, "values", read(t, q, f, "a", "zombie"), []string{"2", "-"})
}

func lastClaim(t *testing.T, h Harness) {
	p, _ := built(t, h, "a")
	b := claim(t, p, "b")
	zombie := claim(t, h.Open().Partition(id), "late")
	refused(t, p, b.Fence, store.ErrFenced)
	c := claim(t, p, "c")
	refused(t, p, zombie.Fence, store.ErrFenced)
	apply(t, p, c.Fence, 1, img("a", "1", 0))
}

func wipe(t *testing.T, h Harness) {
	p, f := built(t, h, "a")
	f = apply(t, p, f, 5, img("a", "1", 0))
	h.Wipe()
	refused(t, p, f, store.ErrRolledBack)
	if _, err := p.Rebuild(t.Context(), f, "chg-1", 0); !errors.Is(err, store.ErrRolledBack) {
		t.Errorf("Rebuild after a wipe: got %v, want ErrRolledBack", err)
	}
	check(t, "claim", claim(t, p, "b"), store.Claim{Fence: store.Fence{Owner: "b"}})
}

func rollBack(t *testing.T, h Harness) {
	p, f := built(t, h, "a")
	f = apply(t, p, f, 5, img("a", "1", 7))
	restore := h.Snapshot()
	at5 := f
	f = apply(t, p, f, 8, img("a", "2", 0), img("b", "2", 0))
	restore()
	refused(t, p, f, store.ErrRolledBack)
	check(t, "values at the copy", read(t, p, at5, "a", "b"), []string{"1", "-"})
	c := claim(t, p, "b")
	check(t, "applied", c.Applied, int64(5))
	f = apply(t, p, c.Fence, 8, img("a", "2", 0), img("b", "2", 0))
	check(t, "values", read(t, p, f, "a", "b"), []string{"2", "2"})
}

func rollBackIntoRebuild(t *testing.T, h Harness) {
	p, f := built(t, h, "a")
	f = apply(t, p, f, 5, img("a", "old", 0))
	b, err := p.Rebuild(t.Context(), f, "chg-1", 0)
	if err != nil {
		t.Fatal(err)
	}
	b = apply(t, p, b, 9, img("a", "new", 0))
	restore := h.Snapshot()
	f, err = p.Switch(t.Context(), b)
	if err != nil {
		t.Fatal(err)
	}
	check(t, "after the switch", read(t, p, f, "a"), []string{"new"})
	restore()
	refused(t, p, f, store.ErrRolledBack)
}

func prefix(t *testing.T, h Harness) {
	p, f := built(t, h, "a")
	_, err := p.Apply(t.Context(), f, store.Batch{To: 2, Images: []store.Image{img("a", "1", 0)}, At: t0})
	if err != nil {
		t.Fatal(err)
	}
	c := claim(t, p, "b")
	check(t, "claim after half a transaction", c.Applied, int64(2))
	check(t, "its meta is still the old one", c.Meta, []byte(nil))
	f = apply(t, p, c.Fence, 4, img("b", "1", 0))
	check(t, "values", read(t, p, f, "a", "b"), []string{"1", "1"})
}

func rebuild(t *testing.T, h Harness) {
	p, f := built(t, h, "a")
	f = apply(t, p, f, 5, img("a", "1", 7), img("gone", "1", 8))
	b, err := p.Rebuild(t.Context(), f, "chg-2", 0)
	if err != nil {
		t.Fatal(err)
	}
	b = apply(t, p, b, 40, img("a", "2", 0), img("b", "2", 9))
	check(t, "the old generation stays until the switch", read(t, p, f, "a", "gone"), []string{"1", "1"})
	refused(t, p, func() store.Fence { g := b; g.Building = false; return g }(), store.ErrRolledBack)
	f, err = p.Switch(t.Context(), b)
	if err != nil {
		t.Fatal(err)
	}
	check(t, "values", read(t, p, f, "a", "b", "gone"), []string{"2", "2", "-"})
	due, armed, err := p.Deadlines(t.Context(), f, 0, math.MaxInt64, 9)
	if err != nil {
		t.Fatal(err)
	}
	check(t, "deadlines", due, []store.Deadline{{Key: "b", At: 9}})
	check(t, "armed", armed, int64(1))
	c := claim(t, p, "b")
	check(t, "meta", string(c.Meta), "meta 40")
	check(t, "changelog", c.Changelog, "chg-2")
	refused(t, p, b, store.ErrFenced)
}

func abandonedRebuild(t *testing.T, h Harness) {
	p, f := built(t, h, "a")
	f = apply(t, p, f, 5, img("a", "1", 0))
	b, err := p.Rebuild(t.Context(), f, "chg-1", 0)
	if err != nil {
		t.Fatal(err)
	}
	b = apply(t, p, b, 3, img("stale", "1", 0))
	c := claim(t, p, "b")
	check(t, "applied", c.Applied, int64(5))
	b2, err := p.Rebuild(t.Context(), c.Fence, "chg-1", 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Switch(t.Context(), b); !errors.Is(err, store.ErrFenced) {
		t.Errorf("Switch by the first builder: got %v, want ErrFenced", err)
	}
	b2 = apply(t, p, b2, 6, img("a", "2", 0))
	if f, err = p.Switch(t.Context(), b2); err != nil {
		t.Fatal(err)
	}
	check(t, "values", read(t, p, f, "a", "stale"), []string{"2", "-"})
}

func wrongType(t *testing.T, h Harness) {
	p, f := built(t, h, "a")
	f = apply(t, p, f, 5, img("a", "1", 0))
	h.Spoil(id)
	refused(t, p, f, store.ErrCorrupt)
	c := claim(t, p, "b")
	check(t, "nothing was applied", c.Applied, int64(5))
	b, err := p.Rebuild(t.Context(), c.Fence, "chg-1", 0)
	if err != nil {
		t.Fatal(err)
	}
	b = apply(t, p, b, 6, img("a", "2", 0))
	if f, err = p.Switch(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	check(t, "values", read(t, p, f, "a"), []string{"2"})
}

func apart(t *testing.T, h Harness) {
	p, f := built(t, h, "a")
	f = apply(t, p, f, 5, img("a", "1", 0))
	other := h.Open().Partition(store.ID{Stage: id.Stage, Partition: id.Partition + 1})
	check(t, "the neighbour", claim(t, other, "z"), store.Claim{Fence: store.Fence{Owner: "z"}})
	check(t, "values", read(t, p, f, "a"), []string{"1"})
}

func unavailable(t *testing.T, h Harness) {
	if h.Down == nil {
		t.Skip("this store cannot be switched off")
	}
	s := h.Open()
	p, f := built(t, h, "a")
	f = apply(t, p, f, 5, img("a", "1", 0))
	h.Down(true)
	refused(t, p, f, store.ErrUnavailable)
	if _, err := p.Claim(t.Context(), "b"); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("Claim: got %v, want ErrUnavailable", err)
	}
	if err := s.Ping(t.Context()); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("Ping: got %v, want ErrUnavailable", err)
	}
	h.Down(false)
	check(t, "values", read(t, p, f, "a"), []string{"1"})
}

func manyImages(t *testing.T, h Harness) {
	p, f := built(t, h, "a")
	var images []store.Image
	var keys, want []string
	for i := range store.MaxImages {
		k := fmt.Sprintf("key-%04d", i)
		images, keys, want = append(images, img(k, k, int64(i+1))), append(keys, k), append(want, k)
	}
	f = apply(t, p, f, 1000, images...)
	check(t, "values", read(t, p, f, keys...), want)
	_, armed, err := p.Deadlines(t.Context(), f, 0, math.MaxInt64, 1)
	if err != nil {
		t.Fatal(err)
	}
	check(t, "armed", armed, int64(store.MaxImages))
	if _, err := p.Apply(t.Context(), f, store.Batch{To: 2000, Images: append(images, img("x", "x", 0)), At: t0}); err == nil {
		t.Error("Apply of more than MaxImages: got nil, want an error")
	}
}
