package getresponse

import (
	"net/http"
	"time"
)

// arrivalsMax bounds the remembered requests: beyond it the count of ten minutes is a lower bound, far above the limit.
const arrivalsMax = 1 << 20

// Stats counts what came in, strictly: every request counts, whatever became of it, in every window that could be laid
// over the arrivals.
type Stats struct {
	Requests int64 `json:"requests"` // refused ones included
	TooMany  int64 `json:"too_many"` // answered 429 because of a limit
	Faults   int64 `json:"faults"`   // answered by a fault on demand
	// MaxPerSecond is the largest number of requests within any second, MaxPerWindow within any ten minutes, MaxParallel
	// of those at work at one time.
	MaxPerSecond int `json:"max_per_second"`
	MaxPerWindow int `json:"max_per_window"`
	MaxParallel  int `json:"max_parallel"`
	// Batches counts requests to contacts/batch, MaxBatchesPerSecond and MaxBatchesPerWindow as above.
	Batches             int64 `json:"batches"`
	MaxBatchesPerSecond int   `json:"max_batches_per_second"`
	MaxBatchesPerWindow int   `json:"max_batches_per_window"`
	// Writes counts the changes of contacts that were applied.
	Writes int64 `json:"writes"`
}

// Stats returns the counts so far.
func (s *Server) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stats
}

// arrivals are the times of requests within one Window, in order of coming.
type arrivals struct {
	ring         []int64 // nanoseconds; grows to arrivalsMax
	first, count int     // of the window
	second       int     // how many of the newest are within a second
}

// add notes one arrival and returns how many there were within the last second and the last Window, it included. A clock
// that goes back counts as one that stands still.
func (a *arrivals) add(now time.Time) (second, window int) {
	at := now.UnixNano()
	if a.count > 0 {
		at = max(at, a.at(a.count-1))
	}
	for a.count > 0 && at-a.at(0) >= int64(Window) {
		a.drop()
	}
	if a.count == len(a.ring) {
		if len(a.ring) < arrivalsMax {
			a.grow()
		} else {
			a.drop()
		}
	}
	a.ring[(a.first+a.count)%len(a.ring)] = at
	a.count++
	a.second++
	for at-a.at(a.count-a.second) >= int64(time.Second) {
		a.second--
	}
	return a.second, a.count
}

func (a *arrivals) at(i int) int64 { return a.ring[(a.first+i)%len(a.ring)] }

func (a *arrivals) drop() {
	a.first = (a.first + 1) % len(a.ring)
	a.count--
	a.second = min(a.second, a.count)
}

func (a *arrivals) grow() {
	next := make([]int64, min(arrivalsMax, max(1024, 2*len(a.ring))))
	for i := range a.count {
		next[i] = a.at(i)
	}
	a.ring, a.first = next, 0
}

// arrive notes a request that came in, and returns what notes that it is done. Every request passes here once.
func (s *Server) arrive(batch bool) (done func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.o.Now()
	second, window := s.arrived.add(now)
	s.stats.Requests++
	s.atWork++
	s.stats.MaxPerSecond, s.stats.MaxPerWindow = max(s.stats.MaxPerSecond, second), max(s.stats.MaxPerWindow, window)
	s.stats.MaxParallel = max(s.stats.MaxParallel, s.atWork)
	if batch {
		second, window = s.batches.add(now)
		s.stats.Batches++
		s.stats.MaxBatchesPerSecond, s.stats.MaxBatchesPerWindow = max(s.stats.MaxBatchesPerSecond, second), max(s.stats.MaxBatchesPerWindow, window)
	}
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.atWork--
	}
}

// counted puts the strict count in front of everything else.
func (s *Server) counted(batch bool, next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		defer s.arrive(batch)()
		next(w, r)
	}
}
