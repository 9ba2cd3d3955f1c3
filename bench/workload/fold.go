package workload

import (
	"encoding/binary"
	"fmt"
	"hash/maphash"
	"slices"
)

// Expected is what the output of a right program holds.
type Expected struct {
	Counts Counts
	Orders int
	Events int // of the input
	// Open is the number of orders whose wait goes on at the end of the stream.
	Open int
	// StateBytes is the sum of the keys and states at the end of the stream.
	StateBytes int64
	chains     []chain
}

// chain is the transitions of one order, as a number and a hash over them in their order.
type chain struct {
	n    int32
	hash uint64
}

var seed = maphash.MakeSeed()

func (c *chain) add(t *Transition) {
	buf := binary.BigEndian.AppendUint64(make([]byte, 0, 256), c.hash)
	c.hash = maphash.Bytes(seed, AppendTransition(buf, t))
	c.n++
}

// order is one order of the fold.
type order struct {
	state State
	key   string
}

// Expect folds the plan: one partition after the other, record by record, looking at every open wait each time.
func Expect(p *Plan) *Expected {
	x := &Expected{Counts: Counts{}, Orders: p.Orders, Events: p.Len(), chains: make([]chain, p.Orders)}
	partitions := make([]int32, p.Orders)
	for i := range partitions {
		partitions[i] = partitionOf(p.Key(i))
	}
	for n := range int32(Partitions) {
		x.fold(p, n, partitions)
	}
	return x
}

func (x *Expected) fold(p *Plan, number int32, partitions []int32) {
	orders := map[int32]*order{}
	var open []int32 // in the order of their deadlines, since stream time never goes back; some have ended
	var now int64
	emit := func(n int32, t Transition) {
		x.Counts[t.To]++
		x.chains[n].add(&t)
	}
	for _, s := range p.steps {
		if partitions[s.order] != number {
			continue
		}
		now = max(now, Begin.UnixMilli()+s.time)
		for len(open) > 0 {
			o := orders[open[0]]
			if o.state.Deadline >= now {
				break
			}
			if o.state.Deadline != 0 {
				emit(open[0], o.state.TimeOutOf(o.key))
				o.state = o.state.TimeOut()
			}
			open = open[1:]
		}
		o := orders[s.order]
		if o == nil {
			o = &order{key: p.Key(int(s.order))}
			orders[s.order] = o
		}
		e := Event{ID: EventID(int(s.order), int(s.kind)), Status: kinds[s.kind].status, Time: Begin.UnixMilli() + s.time}
		next, changed := o.state.Apply(&e, now)
		if changed {
			emit(s.order, Transition{Key: o.key, From: o.state.Status, To: next.Status, EventID: e.ID, Time: e.Time})
		}
		if next.Deadline != 0 && o.state.Deadline == 0 {
			open = append(open, s.order)
		}
		o.state = next
	}
	for _, n := range open {
		if orders[n].state.Deadline != 0 {
			x.Open++
		}
	}
	for _, o := range orders {
		x.StateBytes += int64(len(o.key) + len(o.state.Encode()))
	}
}

// Checker compares an output with what is expected.
type Checker struct {
	want   *Expected
	counts Counts
	chains []chain
	odd    []string
}

// NewChecker returns a checker of one output.
func NewChecker(want *Expected) *Checker {
	return &Checker{want: want, counts: Counts{}, chains: make([]chain, want.Orders)}
}

const oddMax = 5

// Add takes the next record of a partition of the output.
func (c *Checker) Add(key, value []byte) {
	t, err := DecodeTransition(value)
	n := -1
	if err == nil {
		n, err = OrderOf(key)
	}
	if err == nil && (t.Key != string(key) || n >= c.want.Orders) {
		err = ErrDamaged
	}
	if err != nil {
		if len(c.odd) < oddMax {
			c.odd = append(c.odd, fmt.Sprintf("a record with key %q: %v", key, err))
		}
		c.counts["damaged"]++
		return
	}
	c.counts[t.To]++
	c.chains[n].add(&t)
}

// Result is nil where the output is right: the same transitions in the same order for each order, and no others.
func (c *Checker) Result() error {
	wrong := 0
	for i := range c.chains {
		if got, want := c.chains[i], c.want.chains[i]; got != want {
			if wrong++; len(c.odd) < oddMax {
				c.odd = append(c.odd, fmt.Sprintf("order %d: got %d transitions, want %d, or others", i, got.n, want.n))
			}
		}
	}
	if diff := c.counts.Diff(c.want.Counts); wrong > 0 || diff != "" || len(c.odd) > 0 {
		slices.Sort(c.odd)
		return fmt.Errorf("the output is wrong for %d of %d orders:%s %v", wrong, c.want.Orders, diff, c.odd)
	}
	return nil
}
