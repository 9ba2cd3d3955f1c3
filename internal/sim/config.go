package sim

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"
)

// config is what a seed drew.
type config struct {
	Kind                         string
	Processes, Partitions, Lanes int
	BatchRecords, BatchTimers    int
	CacheImages, FetchMax        int
	CommitInterval               time.Duration
	Events, Keys                 int
	Safety, Rest                 time.Duration
	Skew                         time.Duration // of the processes' clocks, at most
	Stamped                      bool
	// Rates of faults: of calls in a thousand, or of one a virtual second.
	Rate map[string]float64
}

// The kinds of world, and how many of a hundred seeds draw each.
const (
	kindLedger  = "ledger"
	kindOrders  = "orders" // the product's stages, the first of which reads one topic, so that its fold is exact
	kindInputs  = "inputs" // the same with the two inputs of production
	kindDeliver = "deliver"
	kindLoad    = "load"
	kindIngest  = "ingest"
	kindJobs    = "jobs"
	kindFlows   = "flows" // workflows alone, with all that can happen to them
)

// rates are the faults and their middle rates: those that a call meets per 1,000 calls, the others per 100 seconds.
var rates = []struct {
	name string
	mid  float64
}{
	{"call-kill", 0.5},
	{"call-pause", 1.5},
	{"call-slow", 8},
	{"call-lose", 8},
	{"end-lose", 80},
	{"end-strike", 25},
	{"marker-late", 120},
	{"store-fail", 15},
	{"store-strike", 6},
	{"codec-fail", 0.4},
	{"log-full", 3},
	{"kill", 2.5},
	{"stop", 1.5},
	{"pause", 4},
	{"cut", 1.5},
	{"down", 0.7},
	{"leader", 3},
	{"kick", 4},
	{"store-rollback", 7},
	{"store-wipe", 2},
	{"store-down", 3},
	{"store-spoil", 1},
	{"compact", 20},
	{"freeze", 0.8},
	{"freeze-read", 22},
	{"skew", 2},
	{"rewind", 0.7},
	{"rows-full", 15},
	{"rows-garbage", 15},
	{"rows-down", 3},
	{"crm-429", 15},
	{"crm-401", 2},
	{"crm-500", 15},
	{"crm-garbage", 15},
	{"crm-down", 3},
	{"config-away", 100},
	{"outage", 1},
}

func draw(r *rand.Rand, kind string) config {
	c := config{
		Kind: kind, Processes: 1 + r.IntN(3), Partitions: 1 + r.IntN(3), Lanes: 1 + r.IntN(4)/3,
		BatchRecords: 1 + r.IntN(12), BatchTimers: 1 + r.IntN(6), CacheImages: 1 + r.IntN(6), FetchMax: 1 + r.IntN(12),
		CommitInterval: time.Duration(1+r.IntN(50)) * time.Millisecond,
		Events:         30 + r.IntN(60), Keys: 2 + r.IntN(6),
		Safety: time.Duration(40+r.IntN(80)) * time.Second, Rest: time.Duration(5+r.IntN(8)) * time.Second,
		Stamped: r.IntN(5) > 0, Rate: map[string]float64{},
	}
	if r.IntN(2) == 0 {
		c.Skew = time.Duration(r.IntN(90_000)) * time.Millisecond
	}
	if c.Kind == "" {
		switch n := r.IntN(100); {
		case n < 49:
			c.Kind = kindLedger
		case n < 52:
			c.Kind = kindJobs
		case n < 56:
			c.Kind = kindDamage
		case n < 70:
			c.Kind = kindFlows
		case n < 78:
			c.Kind = kindOrders
		case n < 82:
			c.Kind = kindInputs
		case n < 89:
			c.Kind = kindDeliver
		case n < 96:
			c.Kind = kindLoad
		default:
			c.Kind = kindIngest
		}
	}
	for _, f := range rates {
		if r.IntN(10) < 3 {
			continue
		}
		c.Rate[f.name] = f.mid * (0.2 + 2*r.Float64())
	}
	return c
}

// String lists the options, for the report of a failing seed.
func (c config) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "kind=%s processes=%d partitions=%d lanes=%d batch=%d timers=%d cache=%d fetch=%d commit=%v events=%d keys=%d safety=%v skew=%v stamped=%v",
		c.Kind, c.Processes, c.Partitions, c.Lanes, c.BatchRecords, c.BatchTimers, c.CacheImages, c.FetchMax, c.CommitInterval, c.Events, c.Keys, c.Safety, c.Skew, c.Stamped)
	for _, f := range rates {
		if v := c.Rate[f.name]; v > 0 {
			fmt.Fprintf(&b, " %s=%.1f", f.name, v)
		}
	}
	return b.String()
}
