package pipeline

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

var (
	stormSeed  = flag.Uint64("seed", 0, "run the storm with this seed only")
	stormSeeds = flag.Int("seeds", 5, "how many seeds the storm runs")
)

// TestStorm kills, restarts, rebalances, loses answers and damages the store at random under load, then lets things
// calm down and compares every key's whole history, every state and the store with the reference fold. It leaves
// compaction out: kfake compacts above the last stable offset, so that an aborted image can oust a committed one,
// which Kafka never does.
func TestStorm(t *testing.T) {
	if !clientInBubble {
		t.Skip("the storm takes many virtual minutes: run it with -tags synctests")
	}
	first, n := uint64(1), *stormSeeds
	if *stormSeed != 0 {
		first, n = *stormSeed, 1
	}
	for seed := first; seed < first+uint64(n); seed++ {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			virtual(t, 3, func(t *testing.T, w *world) {
				newStorm(w, seed).run()
				if t.Failed() {
					t.Logf("again: go test ./pipeline -tags synctests -run TestStorm -seed=%d", seed)
				}
			})
		})
	}
}

type storm struct {
	w       *world
	r       *rand.Rand
	procs   map[string]*process
	copies  []func()
	mu      sync.Mutex // of the fields below, used in Kafka's goroutine
	calm    bool
	faults  *rand.Rand
	pLost   float64
	pAbort  float64
	lost    int
	aborted int
}

func newStorm(w *world, seed uint64) *storm {
	s := &storm{w: w, r: rand.New(rand.NewPCG(seed, 1)), faults: rand.New(rand.NewPCG(seed, 2)), procs: map[string]*process{}}
	s.pLost, s.pAbort = s.r.Float64()*0.1, s.r.Float64()*0.1
	w.inputs = []string{testIn}
	w.options = func(o *EngineOptions) {
		o.BatchRecordsMax, o.BatchTimersMax, o.CacheImagesMax = 1+s.r.IntN(20), 1+s.r.IntN(10), 1+s.r.IntN(10)
		o.Lanes = 1 + s.r.IntN(2)
	}
	w.lose = s.lose
	w.kafka.ControlKey(int16(kmsg.EndTxn), s.endTxn)
	return s
}

// lose decides whether the answer to an EndTxn is lost on its way.
func (s *storm) lose() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.calm || s.faults.Float64() > s.pLost {
		return false
	}
	s.lost++
	return true
}

// endTxn refuses some EndTxn requests.
func (s *storm) endTxn(raw kmsg.Request) (kmsg.Response, error, bool) {
	s.w.kafka.KeepControl()
	req := raw.(*kmsg.EndTxnRequest)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.calm || !req.Commit || s.faults.Float64() > s.pAbort {
		return nil, nil, false
	}
	s.aborted++
	resp := req.ResponseKind().(*kmsg.EndTxnResponse)
	resp.ErrorCode = []*kerr.Error{kerr.UnknownServerError, kerr.InvalidTxnState, kerr.RequestTimedOut}[s.faults.IntN(3)].Code
	return resp, nil, true
}

func (s *storm) run() {
	names := []string{"a", "b", "c"}
	s.procs["a"] = s.w.start("a")
	for range 60 {
		s.load()
		switch name := names[s.r.IntN(len(names))]; s.r.IntN(12) {
		case 0, 1:
			if p := s.procs[name]; p != nil {
				p.kill()
				delete(s.procs, name)
			}
		case 2:
			if p := s.procs[name]; p != nil {
				p.stop()
				delete(s.procs, name)
			}
		case 3, 4, 5:
			if s.procs[name] == nil {
				s.procs[name] = s.w.start(name)
			}
		case 6:
			s.copies = append(s.copies, s.w.store.Snapshot())
		case 7:
			if len(s.copies) > 0 {
				s.copies[s.r.IntN(len(s.copies))]()
			}
		case 8:
			if s.r.IntN(3) == 0 {
				s.w.store.Wipe()
			}
		case 9:
			s.w.store.SetDown(true)
			time.Sleep(time.Duration(s.r.IntN(3000)) * time.Millisecond)
			s.w.store.SetDown(false)
		}
		time.Sleep(time.Duration(s.r.IntN(700)) * time.Millisecond)
	}
	s.quiet()
}

func (s *storm) load() {
	for range s.r.IntN(12) {
		k := s.r.IntN(8)
		switch x := s.r.IntN(20); {
		case x < 12:
			s.w.send(testIn, fmt.Sprintf("k%d add", k))
		case x < 14:
			s.w.send(testIn, fmt.Sprintf("k%d again e%d", k, 1+s.r.IntN(s.w.n+1)))
		case x < 17:
			s.w.send(testIn, fmt.Sprintf("k%d arm t%d@%dms", k, s.r.IntN(3), s.r.IntN(20_000)))
		case x < 18:
			s.w.send(testIn, fmt.Sprintf("k%d forget", k))
		case x < 19:
			s.w.send(testIn, fmt.Sprintf("k%d panic", k))
		default:
			s.w.append(testIn, fmt.Sprintf("k%d", k), []byte("garbage"))
		}
	}
}

func (s *storm) quiet() {
	s.mu.Lock()
	s.calm = true
	s.mu.Unlock()
	for name, p := range s.procs {
		p.stop()
		delete(s.procs, name)
	}
	// kfake starts its rebalance timer anew at every join, so members that died while joining are outlived by waiting
	// only: live ones that try again would keep them for ever.
	time.Sleep(2 * time.Minute)
	p, q := s.w.start("a"), s.w.start("d")
	time.Sleep(time.Minute) // past every timer
	s.w.settle(p, q)
	p.stop()
	q.stop()
	s.w.t.Logf("%d events, %d answers lost, %d ends refused, %d dead letters", s.w.n, s.lost, s.aborted, len(s.w.letters()))
	s.w.check()
}
