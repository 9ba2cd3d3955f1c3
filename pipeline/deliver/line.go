package deliver

import "slices"

// line is who may have something to do, in turn. Whoever left made room before the others, so somebody can be put first
// without moving them.
type line struct {
	list []*queue
	head int // list begins here
}

func (l *line) len() int { return len(l.list) - l.head }

// all is the line in its order; it must not be changed.
func (l *line) all() []*queue { return l.list[l.head:] }

func (l *line) push(q *queue) {
	if len(l.list) == cap(l.list) && l.head > len(l.list)/2 {
		n := copy(l.list, l.all())
		clear(l.list[n:])
		l.list, l.head = l.list[:n], 0
	}
	l.list = append(l.list, q)
}

func (l *line) pushFirst(q *queue) {
	if l.head == 0 {
		l.list = slices.Insert(l.list, 0, q)
		return
	}
	l.head--
	l.list[l.head] = q
}

// pop takes the first out; there must be one.
func (l *line) pop() *queue {
	q := l.list[l.head]
	l.list[l.head] = nil
	l.head++
	return q
}

// leave takes q out, wherever it is.
func (l *line) leave(q *queue) {
	if i := slices.Index(l.all(), q); i >= 0 {
		l.list = slices.Delete(l.list, l.head+i, l.head+i+1)
	}
}
