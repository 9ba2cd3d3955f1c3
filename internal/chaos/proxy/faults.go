package proxy

import (
	"sync"
	"time"
)

// Shape is what is wrong with one client's network. The zero value is a good one.
type Shape struct {
	Delay          time.Duration // of each frame or chunk, in each direction
	BytesPerSecond int           // 0: no limit
	// Swallow takes bytes of both directions and closes nothing: a half-open connection. What has lost bytes is closed
	// when the shape changes.
	Swallow bool
}

// When says at which moment of a request its connection is cut.
type When int

// The moments. AfterForward closes towards the client at once, while the broker is still at work; AfterAnswer waits
// until the broker is done. In both the client never learns the outcome.
const (
	BeforeForward When = iota
	AfterForward
	AfterAnswer
)

// String names the moment.
func (w When) String() string {
	return [...]string{"before it was forwarded", "after it was forwarded", "after it was answered"}[w]
}

// Cut chooses one request and says when its connection ends.
type Cut struct {
	When  When
	Match func(Request) bool

	request Request
	once    sync.Once
	settled chan struct{}
	result  Result
}

// Result is what a cut came to.
type Result struct {
	Request   Request
	Forwarded bool
	Answered  bool
	Code      int16 // of the answer; 0: no error
}

func (k *Cut) settle(r Result) {
	k.once.Do(func() {
		k.result = r
		close(k.settled)
	})
}

// Settled is closed once the cut has happened; Result then tells what it came to.
func (k *Cut) Settled() <-chan struct{} { return k.settled }

// Result is what the cut came to; read it after Settled.
func (k *Cut) Result() Result { return k.result }

// Faults is what is wrong at the moment, for all proxies that share it.
type Faults struct {
	mu     sync.Mutex
	shapes map[string]Shape
	cuts   []*Cut
	conns  map[*conn]struct{}
}

// NewFaults is a network without faults.
func NewFaults() *Faults { return &Faults{shapes: map[string]Shape{}, conns: map[*conn]struct{}{}} }

// SetShape makes s the network of the client of that name. Connections that lost bytes before are closed.
func (f *Faults) SetShape(client string, s Shape) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.shapes[client] = s
	if s.Swallow {
		return
	}
	for c := range f.conns {
		c.mu.Lock()
		lost := c.lost && c.name == client
		c.mu.Unlock()
		if lost {
			c.cut()
		}
	}
}

// Arm makes the next request that k matches the one that is cut.
func (f *Faults) Arm(k *Cut) {
	f.mu.Lock()
	defer f.mu.Unlock()
	k.settled = make(chan struct{})
	f.cuts = append(f.cuts, k)
}

// Disarm takes back a cut that has chosen no request yet; it reports whether that was so.
func (f *Faults) Disarm(k *Cut) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i, other := range f.cuts {
		if other == k {
			f.cuts = append(f.cuts[:i], f.cuts[i+1:]...)
			return true
		}
	}
	return false
}

// Clear makes every network good and takes back what is armed.
func (f *Faults) Clear() {
	f.mu.Lock()
	f.cuts = nil
	var names []string
	for name := range f.shapes {
		names = append(names, name)
	}
	f.mu.Unlock()
	for _, name := range names {
		f.SetShape(name, Shape{})
	}
}

// judge is the shape of c's client, and marks c where it swallows. The locks are taken in the order of SetShape.
func (f *Faults) judge(c *conn) Shape {
	f.mu.Lock()
	defer f.mu.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	s := f.shapes[c.name]
	c.lost = c.lost || s.Swallow
	return s
}

// take returns the cut that chooses r, if any does.
func (f *Faults) take(r Request) *Cut {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i, k := range f.cuts {
		if k.Match(r) {
			f.cuts = append(f.cuts[:i], f.cuts[i+1:]...)
			k.request = r
			return k
		}
	}
	return nil
}

func (f *Faults) join(c *conn) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.conns[c] = struct{}{}
}

func (f *Faults) leave(c *conn) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.conns, c)
}
