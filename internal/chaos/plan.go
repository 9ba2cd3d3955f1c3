package main

import (
	"math/rand/v2"
	"slices"
	"time"
)

// The faults of a plan.
const (
	faultKill       = "kill"
	faultPause      = "pause"
	faultRollback   = "redis rollback"
	faultWipe       = "redis empty"
	faultFlush      = "redis flushall"
	faultBroker     = "broker kill"
	faultCut        = "cut"
	faultHalfOpen   = "half-open"
	faultSlow       = "slow"
	faultRebalance  = "rebalance"
	shareMin        = 1 // of each kind, however short the plan
	pauseMin        = time.Second
	longPauseChance = 0.25
)

// step is one fault of a plan: who is hit, after what gap, for how long.
type step struct {
	Fault string
	Gap   time.Duration // since the step before
	For   time.Duration
	Who   uint64  // chooses among those who can be hit
	How   uint64  // chooses among the forms of the fault
	Much  float64 // from 0 to 1
}

// plan is the seeded list of faults. The same seed gives the same plan; what the machine makes of it varies.
func plan(o options) []step {
	random := rand.New(rand.NewPCG(o.Seed, 0xc4a05))
	kills := o.Kills - o.QuietKills
	var deck []string
	deal := func(fault string, n int) {
		for range n {
			deck = append(deck, fault)
		}
	}
	deal(faultKill, kills)
	for fault, every := range map[string]int{
		faultPause: 4, faultRollback: 8, faultWipe: 16, faultFlush: 16, faultBroker: 10, faultCut: 3, faultHalfOpen: 8, faultSlow: 8, faultRebalance: 8,
	} {
		deal(fault, max(shareMin, kills/every))
	}
	// Maps are dealt in any order; the shuffle must not depend on it.
	slices.Sort(deck)
	random.Shuffle(len(deck), func(i, j int) { deck[i], deck[j] = deck[j], deck[i] })
	steps := make([]step, 0, len(deck))
	for _, fault := range deck {
		s := step{
			Fault: fault, Gap: time.Duration(float64(o.Gap) * (0.3 + 1.4*random.Float64())),
			Who: random.Uint64(), How: random.Uint64(), Much: random.Float64(),
		}
		s.For = duration(fault, o, random)
		steps = append(steps, s)
	}
	return steps
}

// duration is how long a fault lasts, or how long what was killed stays away.
func duration(fault string, o options, random *rand.Rand) time.Duration {
	between := func(lo, hi time.Duration) time.Duration {
		return lo + time.Duration(random.Float64()*float64(hi-lo))
	}
	switch fault {
	case faultKill:
		return between(200*time.Millisecond, min(6*time.Second, o.PauseMax))
	case faultPause:
		if random.Float64() < longPauseChance {
			return between(pauseMin, o.PauseMax)
		}
		return between(pauseMin, min(8*time.Second, o.PauseMax))
	case faultBroker:
		return between(time.Second, 8*time.Second)
	case faultRollback, faultWipe:
		return between(0, 2*time.Second)
	case faultHalfOpen, faultSlow:
		return between(2*time.Second, min(20*time.Second, o.PauseMax))
	case faultRebalance:
		return between(3*time.Second, min(15*time.Second, o.PauseMax))
	}
	return 0
}
