package sim

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/tillstream/tillstream/internal/sim/sched"
	"github.com/tillstream/tillstream/pipeline/store"
	"github.com/tillstream/tillstream/pipeline/store/memstore"
)

// simStore is the one store of a world: the product's twin of Redis, with its ways to lose data, and what the checks
// know of it.
type simStore struct {
	w      *world
	mem    *memstore.Store
	down   bool
	copies []copied
	// views is what is known of each partition's owners.
	views map[store.ID]*storeView
}

type copied struct {
	restore func()
	at      time.Duration
}

// storeView follows one partition of the store.
type storeView struct {
	claims  []string // in the order in which they were accepted, since data was lost last
	serving map[string]bool
	applied int64 // the highest offset that an owner brought it to
	fold    *changelogFold
}

func newSimStore(w *world) *simStore {
	return &simStore{w: w, mem: memstore.New(), views: map[store.ID]*storeView{}}
}

func (s *simStore) view(id store.ID) *storeView {
	v := s.views[id]
	if v == nil {
		v = &storeView{serving: map[string]bool{}}
		s.views[id] = v
	}
	return v
}

// lost forgets who owned what: an older copy may name an older owner again.
func (s *simStore) lost() {
	for _, v := range s.views {
		v.claims = nil
		clear(v.serving)
	}
}

// snapshot keeps a copy to go back to.
func (s *simStore) snapshot() {
	s.copies = append(s.copies, copied{s.mem.Snapshot(), s.w.s.Elapsed()})
	if len(s.copies) > 8 {
		s.copies = s.copies[1:]
	}
}

func (s *simStore) rollback(r *rand.Rand) {
	if len(s.copies) == 0 {
		return
	}
	c := s.copies[r.IntN(len(s.copies))]
	s.w.hit(Rollback, PartRedis)
	s.w.trace("store goes back to %v", c.at)
	c.restore()
	s.lost()
}

func (s *simStore) wipe() {
	s.w.hit(Wipe, PartRedis)
	s.w.trace("store wiped")
	s.mem.Wipe()
	s.lost()
}

func (s *simStore) spoil(r *rand.Rand) {
	ids := s.w.storeIDs()
	id := ids[r.IntN(len(ids))]
	s.w.hit(Garbage, PartRedis)
	s.w.trace("store spoiled: %v", id)
	s.mem.Spoil(id)
}

// procStore is the store as one process reaches it.
type procStore struct {
	s    *simStore
	p    *sched.Proc
	slot *slot
}

var _ store.Store = procStore{}

func (s procStore) Partition(id store.ID) store.Partition {
	h := &procPart{procStore: s, id: id, inner: s.s.mem.Partition(id), idle: s.s.w.s.NewCond()}
	if m := s.s.w.mutant; m != nil && m.part != nil {
		h.inner = m.part(h, h.inner)
	}
	return h
}

func (s procStore) Ping(ctx context.Context) error {
	return s.call(ctx, "store-ping", func() error { return nil })
}

// call is one command to the store: like a request to a broker, it may be lost on either way, and an error does not say
// whether it was carried out.
func (s procStore) call(ctx context.Context, name string, effect func() error) error {
	s.p.Check()
	w := s.s.w
	s.slot.frozenAt = time.Time{}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%w: %w", store.ErrUnavailable, err)
	}
	f := w.nemesis.Fate(s.p, name)
	if w.nemesis.chance("store-fail") {
		w.hit(Unknown, PartRedis)
		f.LoseAnswer = w.nemesis.r.IntN(2) == 0
		f.LoseRequest = !f.LoseAnswer
		if f.LoseRequest && w.nemesis.r.IntN(2) == 0 {
			w.hit(DiskFull, PartRedis) // MISCONF, OOM: refused, and nothing done
		}
	}
	var err error
	if w.o.Trace != nil {
		w.trace("%s of %s: %+v", name, s.p.Name, f)
		defer func() { w.trace("%s of %s ends: %v", name, s.p.Name, err) }()
	}
	done, back := false, w.s.NewCond()
	w.s.After(f.Request, func() {
		switch {
		case s.s.down || f.LoseRequest:
			err = fmt.Errorf("%w: no answer", store.ErrUnavailable)
		default:
			err = effect()
			if f.LoseAnswer {
				err = fmt.Errorf("%w: the answer was lost", store.ErrUnavailable)
			}
			w.nemesis.Effect(s.p, name)
		}
		w.s.After(f.Answer, func() {
			done = true
			back.Broadcast()
		})
	})
	for !done {
		if e := back.Wait(ctx, s.p); e != nil && !done {
			return fmt.Errorf("%w: %w", store.ErrUnavailable, e)
		}
	}
	return err
}

// procPart serves calls one after the other.
type procPart struct {
	procStore
	id    store.ID
	inner store.Partition
	busy  bool
	idle  *sched.Cond
}

func (h *procPart) do(ctx context.Context, name string, effect func() error) error {
	for h.busy {
		if err := h.idle.Wait(ctx, h.p); err != nil {
			return fmt.Errorf("%w: %w", store.ErrUnavailable, err)
		}
	}
	h.busy = true
	defer func() {
		h.busy = false
		h.idle.Broadcast()
	}()
	return h.call(ctx, name, effect)
}

func (h *procPart) Claim(ctx context.Context, owner string) (c store.Claim, err error) {
	h.slot.recovering = true
	err = h.do(ctx, "store-claim", func() (err error) {
		if c, err = h.inner.Claim(ctx, owner); err == nil {
			v := h.s.view(h.id)
			v.claims = append(v.claims, owner)
		}
		return err
	})
	return c, err
}

func (h *procPart) Read(ctx context.Context, f store.Fence, keys []string) (values [][]byte, err error) {
	err = h.do(ctx, "store-read", func() (err error) {
		if values, err = h.inner.Read(ctx, f, keys); err == nil {
			h.s.w.checkServed(h.id, f)
		}
		return err
	})
	return values, err
}

func (h *procPart) Deadlines(ctx context.Context, f store.Fence, from, before int64, limit int) (due []store.Deadline, armed int64, err error) {
	err = h.do(ctx, "store-deadlines", func() (err error) {
		if due, armed, err = h.inner.Deadlines(ctx, f, from, before, limit); err == nil {
			h.slot.recovering = false
			h.s.view(h.id).serving[f.Owner] = true
			h.s.w.checkServed(h.id, f)
		}
		return err
	})
	return due, armed, err
}

func (h *procPart) Apply(ctx context.Context, f store.Fence, b store.Batch) (next store.Fence, err error) {
	next = f
	err = h.do(ctx, "store-apply", func() error {
		n, err := h.inner.Apply(ctx, f, b)
		if err == nil {
			next = n
			h.s.w.checkApplied(h.id, f, b)
		}
		return err
	})
	return next, err
}

func (h *procPart) Rebuild(ctx context.Context, f store.Fence, changelog string, from int64) (next store.Fence, err error) {
	next = f
	err = h.do(ctx, "store-rebuild", func() error {
		n, err := h.inner.Rebuild(ctx, f, changelog, from)
		if err == nil {
			next = n
			h.s.w.checkOwner(h.id, f.Owner, "rebuild")
		}
		return err
	})
	return next, err
}

func (h *procPart) Switch(ctx context.Context, f store.Fence) (next store.Fence, err error) {
	next = f
	err = h.do(ctx, "store-switch", func() error {
		n, err := h.inner.Switch(ctx, f)
		if err == nil {
			next = n
			h.s.w.checkOwner(h.id, f.Owner, "switch")
		}
		return err
	})
	return next, err
}
