// Package memstore is the in-memory twin of the Redis store: the same contract without a server, and the faults of a
// server on request.
package memstore

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/tillstream/tillstream/pipeline/store"
)

// Store is a store in memory. Its methods are safe for concurrent use.
type Store struct {
	mu    sync.Mutex
	parts map[store.ID]*part
	down  bool
}

type part struct {
	fence    store.Fence // without Building
	meta     []byte
	at       time.Time
	gens     map[int64]*generation
	building *store.Fence
	newMeta  []byte
	newAt    time.Time
}

type generation struct {
	images    map[string][]byte
	deadlines map[string]int64
	spoiled   bool
}

// New returns an empty store.
func New() *Store { return &Store{parts: map[store.ID]*part{}} }

// SetDown makes every call fail with ErrUnavailable, or answers again.
func (s *Store) SetDown(down bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.down = down
}

// Wipe removes everything.
func (s *Store) Wipe() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.parts = map[store.ID]*part{}
}

// Snapshot copies everything; the returned function rolls the store back to the copy.
func (s *Store) Snapshot() (restore func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	saved := cloneParts(s.parts)
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.parts = cloneParts(saved)
	}
}

// Spoil gives the images of a partition another type.
func (s *Store) Spoil(id store.ID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.part(id)
	p.generation(p.fence.Generation).spoiled = true
}

// Images returns the current images of a partition.
func (s *Store) Images(id store.ID) map[string][]byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.part(id)
	return maps.Clone(p.generation(p.fence.Generation).images)
}

// Partition implements store.Store.
func (s *Store) Partition(id store.ID) store.Partition { return &handle{s, id} }

// Ping implements store.Store.
func (s *Store) Ping(context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.up()
}

func (s *Store) up() error {
	if s.down {
		return fmt.Errorf("%w: switched off", store.ErrUnavailable)
	}
	return nil
}

func (s *Store) part(id store.ID) *part {
	p := s.parts[id]
	if p == nil {
		p = &part{gens: map[int64]*generation{}}
		s.parts[id] = p
	}
	return p
}

func (p *part) generation(n int64) *generation {
	g := p.gens[n]
	if g == nil {
		g = &generation{images: map[string][]byte{}, deadlines: map[string]int64{}}
		p.gens[n] = g
	}
	return g
}

type handle struct {
	s  *Store
	id store.ID
}

// with runs do on the partition where the store answers and stands at f.
func (h *handle) with(f store.Fence, do func(p *part, g *generation) error) error {
	h.s.mu.Lock()
	defer h.s.mu.Unlock()
	if err := h.s.up(); err != nil {
		return err
	}
	p := h.s.part(h.id)
	if p.fence.Owner != f.Owner && p.fence.Owner != "" {
		return fmt.Errorf("%w: %s", store.ErrFenced, h.id)
	}
	want := p.fence
	if f.Building {
		if p.building == nil {
			return fmt.Errorf("%w: %s has no generation in building", store.ErrRolledBack, h.id)
		}
		want = *p.building
		want.Owner = p.fence.Owner
	}
	if want != f {
		return fmt.Errorf("%w: %s stands at %+v, not %+v", store.ErrRolledBack, h.id, want, f)
	}
	g := p.generation(f.Generation)
	if g.spoiled {
		return fmt.Errorf("%w: %s", store.ErrCorrupt, h.id)
	}
	return do(p, g)
}

func (h *handle) Claim(_ context.Context, owner string) (store.Claim, error) {
	h.s.mu.Lock()
	defer h.s.mu.Unlock()
	if err := h.s.up(); err != nil {
		return store.Claim{}, err
	}
	p := h.s.part(h.id)
	p.fence.Owner = owner
	return store.Claim{Fence: p.fence, Meta: slices.Clone(p.meta), At: p.at}, nil
}

func (h *handle) Read(_ context.Context, f store.Fence, keys []string) (values [][]byte, err error) {
	err = h.with(f, func(_ *part, g *generation) error {
		for _, k := range keys {
			values = append(values, slices.Clone(g.images[k]))
		}
		return nil
	})
	return values, err
}

func (h *handle) Deadlines(_ context.Context, f store.Fence, from, before int64, limit int) (due []store.Deadline, armed int64, err error) {
	err = h.with(f, func(_ *part, g *generation) error {
		for k, at := range g.deadlines {
			if at >= from && at < before {
				due = append(due, store.Deadline{Key: k, At: at})
			}
		}
		armed = int64(len(g.deadlines))
		return nil
	})
	slices.SortFunc(due, func(a, b store.Deadline) int {
		return cmp.Or(cmp.Compare(a.At, b.At), cmp.Compare(a.Key, b.Key))
	})
	return due[:min(len(due), limit)], armed, err
}

func (h *handle) Apply(_ context.Context, f store.Fence, b store.Batch) (store.Fence, error) {
	if len(b.Images) > store.MaxImages {
		return f, fmt.Errorf("apply %d images to %s: at most %d", len(b.Images), h.id, store.MaxImages)
	}
	err := h.with(f, func(p *part, g *generation) error {
		for _, im := range b.Images {
			g.write(im)
		}
		if f.Building {
			p.building.Applied = b.To
			p.newAt = time.UnixMilli(b.At.UnixMilli())
			if b.Meta != nil {
				p.newMeta = slices.Clone(b.Meta)
			}
			return nil
		}
		p.fence.Applied, p.at = b.To, time.UnixMilli(b.At.UnixMilli())
		if b.Meta != nil {
			p.meta = slices.Clone(b.Meta)
		}
		return nil
	})
	if err == nil {
		f.Applied = b.To
	}
	return f, err
}

func (g *generation) write(im store.Image) {
	if im.Value == nil {
		delete(g.images, im.Key)
	} else {
		g.images[im.Key] = slices.Clone(im.Value)
	}
	switch {
	case im.Same:
	case im.Value == nil || im.Deadline == 0:
		delete(g.deadlines, im.Key)
	default:
		g.deadlines[im.Key] = im.Deadline
	}
}

func (h *handle) Rebuild(_ context.Context, f store.Fence, changelog string, from int64) (store.Fence, error) {
	h.s.mu.Lock()
	defer h.s.mu.Unlock()
	if err := h.s.up(); err != nil {
		return f, err
	}
	p := h.s.part(h.id)
	switch p.fence.Owner {
	case f.Owner:
	case "":
		return f, fmt.Errorf("%w: %s is empty", store.ErrRolledBack, h.id)
	default:
		return f, fmt.Errorf("%w: %s", store.ErrFenced, h.id)
	}
	next := store.Fence{Changelog: changelog, Owner: f.Owner, Applied: from, Generation: p.fence.Generation + 1, Building: true}
	if p.building != nil && p.building.Generation >= next.Generation {
		next.Generation = p.building.Generation + 1
		delete(p.gens, p.building.Generation)
	}
	delete(p.gens, next.Generation)
	p.building, p.newMeta, p.newAt = &next, nil, time.Time{}
	return next, nil
}

func (h *handle) Switch(_ context.Context, f store.Fence) (store.Fence, error) {
	if !f.Building {
		return f, fmt.Errorf("switch %s: generation %d is not in building", h.id, f.Generation)
	}
	done := f
	done.Building = false
	return done, h.with(f, func(p *part, _ *generation) error {
		delete(p.gens, p.fence.Generation)
		p.fence, p.meta, p.at, p.building = done, p.newMeta, p.newAt, nil
		return nil
	})
}

func cloneParts(parts map[store.ID]*part) map[store.ID]*part {
	out := make(map[store.ID]*part, len(parts))
	for id, p := range parts {
		c := *p
		if p.building != nil {
			b := *p.building
			c.building = &b
		}
		c.gens = make(map[int64]*generation, len(p.gens))
		for n, g := range p.gens {
			c.gens[n] = &generation{maps.Clone(g.images), maps.Clone(g.deadlines), g.spoiled}
		}
		out[id] = &c
	}
	return out
}
