// Package sched runs simulated processes in virtual time, one coroutine at a time, in an order that one seed decides.
//
// A coroutine runs until it waits: on the clock, for a group, a signal, or an answer. Then the scheduler picks the next
// one among those that can go on. Time moves only when none can. The same seed and the same code give the same history.
package sched

import (
	"container/heap"
	"context"
	"fmt"
	"iter"
	"math/rand/v2"
	"runtime/debug"
	"slices"
	"time"
)

// Sched is one simulated world's time. It is used by one goroutine at a time.
type Sched struct {
	r     *rand.Rand
	base  time.Time
	now   time.Duration
	seq   int64
	heap  timerHeap
	ready []*co
	// waits are coroutines that wait with a context which somebody may end by hand.
	waits []*co
	after []*afterFunc
	dying []*Proc
	cur   *co
	steps int
	live  int
	fail  error
}

// New starts a world at base. Everything that r decides is repeated by another r of the same seed.
func New(r *rand.Rand, base time.Time) *Sched { return &Sched{r: r, base: base} }

// Now is the true time, which no process sees.
func (s *Sched) Now() time.Time { return s.base.Add(s.now) }

// Elapsed is the virtual time since the world began.
func (s *Sched) Elapsed() time.Duration { return s.now }

// Steps counts the coroutines resumed and the timers fired.
func (s *Sched) Steps() int { return s.steps }

// Live counts the coroutines that have not ended.
func (s *Sched) Live() int { return s.live }

// Failure is the first panic of a coroutine that was not killed.
func (s *Sched) Failure() error { return s.fail }

// DeadlockError says that nothing can run and no timer is set.
type DeadlockError struct{ Waiting []string }

// Error names the processes that wait.
func (e *DeadlockError) Error() string {
	return fmt.Sprintf("deadlock: nothing can run and no timer is set; waiting: %v", e.Waiting)
}

// StepsError says that the world took more steps than it may.
type StepsError struct{ Steps int }

// Error tells how many.
func (e *StepsError) Error() string { return fmt.Sprintf("no end after %d steps", e.Steps) }

// Run lets the world run until done says so, which is asked before each step. It returns what stopped it before that.
func (s *Sched) Run(stepsMax int, done func() bool) error {
	for {
		s.bury()
		if s.fail != nil {
			return s.fail
		}
		if done() {
			return nil
		}
		if s.steps++; s.steps > stepsMax {
			return &StepsError{stepsMax}
		}
		s.pollContexts()
		if c := s.pick(); c != nil {
			s.resume(c)
			continue
		}
		if !s.fire() {
			return &DeadlockError{s.waiting()}
		}
	}
}

func (s *Sched) waiting() (names []string) {
	for _, c := range s.waits {
		names = append(names, c.p.Name)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// pick takes one of the coroutines that can go on.
func (s *Sched) pick() *co {
	n := 0
	for _, c := range s.ready {
		if !c.p.paused {
			n++
		}
	}
	if n == 0 {
		return nil
	}
	k := 0
	if n > 1 {
		k = s.r.IntN(n)
	}
	for i, c := range s.ready {
		if c.p.paused {
			continue
		}
		if k == 0 {
			s.ready = slices.Delete(s.ready, i, i+1)
			return c
		}
		k--
	}
	return nil
}

func (s *Sched) resume(c *co) {
	c.isReady = false
	s.cur = c
	_, more := c.next()
	s.cur = nil
	if !more {
		s.ended(c)
	}
}

func (s *Sched) ended(c *co) {
	if c.over {
		return
	}
	c.over = true
	s.live--
	c.p.cos = slices.DeleteFunc(c.p.cos, func(o *co) bool { return o == c })
}

// pollContexts wakes coroutines whose context ended, and starts what waits for the end of one.
func (s *Sched) pollContexts() {
	for i := 0; i < len(s.waits); {
		c := s.waits[i]
		if c.ctx.Err() != nil {
			s.wake(c)
			continue
		}
		i++
	}
	for i := 0; i < len(s.after); {
		a := s.after[i]
		if a.p.dead {
			s.after = slices.Delete(s.after, i, i+1)
			continue
		}
		if a.ctx.Err() != nil {
			s.after = slices.Delete(s.after, i, i+1)
			a.p.Go(a.f)
			continue
		}
		i++
	}
}

// bury unwinds the coroutines of killed processes.
func (s *Sched) bury() {
	for len(s.dying) > 0 {
		p := s.dying[0]
		s.dying = s.dying[1:]
		s.ready = slices.DeleteFunc(s.ready, func(c *co) bool { return c.p == p })
		s.waits = slices.DeleteFunc(s.waits, func(c *co) bool { return c.p == p })
		s.after = slices.DeleteFunc(s.after, func(a *afterFunc) bool { return a.p == p })
		for len(p.cos) > 0 {
			c := p.cos[len(p.cos)-1]
			s.cur = c
			c.stop()
			s.cur = nil
			s.ended(c)
		}
	}
}

// End unwinds every process: nothing of the world is left in memory.
func (s *Sched) End(procs ...*Proc) {
	for _, p := range procs {
		p.Kill()
	}
	s.bury()
}

// After runs f, on no process, once d has passed. The result takes it back.
func (s *Sched) After(d time.Duration, f func()) (cancel func()) {
	t := s.timer(d, f)
	return func() { t.f = nil }
}

func (s *Sched) timer(d time.Duration, f func()) *timer {
	s.seq++
	t := &timer{at: s.now + max(0, d), seq: s.seq, f: f}
	heap.Push(&s.heap, t)
	return t
}

// fire moves time to the next timer and runs it.
func (s *Sched) fire() bool {
	for len(s.heap) > 0 {
		t := heap.Pop(&s.heap).(*timer)
		if t.f == nil {
			continue
		}
		s.now = max(s.now, t.at)
		f := t.f
		t.f = nil
		f()
		return true
	}
	return false
}

// Skip lets time pass in which nothing runs: whoever was to wake meanwhile wakes late, at its end.
func (s *Sched) Skip(d time.Duration) { s.now += d }

type timer struct {
	at  time.Duration
	seq int64
	f   func()
}

type timerHeap []*timer

func (h timerHeap) Len() int { return len(h) }
func (h timerHeap) Less(i, j int) bool {
	return h[i].at < h[j].at || h[i].at == h[j].at && h[i].seq < h[j].seq
}
func (h timerHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }

// Push implements heap.Interface.
func (h *timerHeap) Push(x any) { *h = append(*h, x.(*timer)) }

// Pop implements heap.Interface.
func (h *timerHeap) Pop() any {
	old := *h
	last := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return last
}

// co is one coroutine of a process.
type co struct {
	p       *Proc
	next    func() (struct{}, bool)
	stop    func()
	yield   func(struct{}) bool
	ctx     context.Context // while it waits
	isReady bool
	over    bool
}

// killed is what a coroutine of a dead process unwinds with.
type killed struct{}

// Proc is a simulated process, and its clock.
type Proc struct {
	Name   string
	s      *Sched
	skew   time.Duration
	paused bool
	dead   bool
	cos    []*co
	thaw   *timer
}

// NewProc makes a process whose clock is skew ahead of the true time.
func (s *Sched) NewProc(name string, skew time.Duration) *Proc {
	return &Proc{Name: name, s: s, skew: skew}
}

// Go runs f as a coroutine of the process.
func (p *Proc) Go(f func()) {
	p.Check()
	c := &co{p: p}
	c.next, c.stop = iter.Pull(func(yield func(struct{}) bool) {
		defer func() {
			v := recover()
			if v == nil {
				return
			}
			if _, ok := v.(killed); !ok && p.s.fail == nil {
				p.s.fail = fmt.Errorf("process %s panicked: %v\n%s", p.Name, v, debug.Stack())
			}
		}()
		c.yield = yield
		f()
	})
	p.cos = append(p.cos, c)
	p.s.live++
	c.isReady = true
	p.s.ready = append(p.s.ready, c)
}

// Check panics, with a value that the scheduler knows, where the process is dead: no call of a dead process has an effect.
func (p *Proc) Check() {
	if p.dead {
		panic(killed{})
	}
}

// Kill ends the process at once: none of its coroutines goes on.
func (p *Proc) Kill() {
	if !p.dead {
		p.dead = true
		p.s.dying = append(p.s.dying, p)
	}
}

// Dead reports whether the process was killed.
func (p *Proc) Dead() bool { return p.dead }

// Pause stops the process for d, as SIGSTOP does: it holds what it holds, and wakes late.
func (p *Proc) Pause(d time.Duration) {
	if p.dead {
		return
	}
	until := p.s.now + d
	if p.thaw != nil && p.thaw.f != nil {
		if p.thaw.at >= until {
			return
		}
		p.thaw.f = nil
	}
	p.paused = true
	p.thaw = p.s.timer(d, func() { p.paused = false })
}

// Paused reports whether the process stands still.
func (p *Proc) Paused() bool { return p.paused }

// Continue ends a pause.
func (p *Proc) Continue() {
	p.paused = false
	if p.thaw != nil {
		p.thaw.f = nil
	}
}

// Skew sets how far the clock of the process is ahead of the true time.
func (p *Proc) Skew(d time.Duration) { p.skew = d }

// wait parks the running coroutine, which must be one of p, until wake, or until ctx ends.
func (p *Proc) wait(ctx context.Context) {
	s := p.s
	c := s.cur
	if c == nil || c.p != p {
		panic("sched: a call from outside the process " + p.Name)
	}
	c.ctx = ctx
	s.waits = append(s.waits, c)
	if !c.yield(struct{}{}) {
		panic(killed{})
	}
	p.Check()
}

func (s *Sched) wake(c *co) {
	i := slices.Index(s.waits, c)
	if i < 0 {
		return
	}
	s.waits = slices.Delete(s.waits, i, i+1)
	c.ctx = nil
	c.isReady = true
	s.ready = append(s.ready, c)
}

// Cond is what coroutines wait for until somebody, on a process or not, says that something changed.
type Cond struct {
	s   *Sched
	cos []*co
}

// NewCond returns a Cond without waiters.
func (s *Sched) NewCond() *Cond { return &Cond{s: s} }

// Wait returns after the next Broadcast, or with the error of ctx.
func (c *Cond) Wait(ctx context.Context, p *Proc) error {
	p.Check()
	if err := ctx.Err(); err != nil {
		return err
	}
	me := c.s.cur
	c.cos = append(c.cos, me)
	p.wait(ctx)
	if i := slices.Index(c.cos, me); i >= 0 {
		c.cos = slices.Delete(c.cos, i, i+1)
	}
	return ctx.Err()
}

// Broadcast wakes all who wait.
func (c *Cond) Broadcast() {
	for _, w := range c.cos {
		c.s.wake(w)
	}
	c.cos = c.cos[:0]
}
