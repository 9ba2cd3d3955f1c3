package main

import (
	"context"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	watchPause = 200 * time.Millisecond
	ownerEvery = 5 // looks at the offsets for one at the owners
	// inFlight is how long after a kill a commit may still be the dead owner's: its last EndTxn was on its way.
	inFlight = time.Second
	// takeoverPromise is the session timeout, and 2 s.
	takeoverPromise = 17 * time.Second
)

// stageGroups are the consumer groups whose partitions are watched.
var stageGroups = []string{"tillstream-orders", "tillstream-automation"}

// slot is one partition of a stage.
type slot struct {
	group     string
	partition int32
}

func (s slot) String() string { return fmt.Sprintf("%s/%d", s.group, s.partition) }

// takeover is the wait for the next commit of each partition of a killed owner.
type takeover struct {
	who   string
	at    time.Time
	slots map[slot]int64 // offset to be passed; -1: not looked at since the kill
	took  map[slot]time.Duration
	quiet bool
	done  chan struct{}
}

// watcher looks at the groups' offsets and owners all the time.
type watcher struct {
	w      *world
	client *kgo.Client
	admin  *kadm.Client
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu     sync.Mutex
	owners map[slot]string // client id
	open   []*takeover
	all    []*takeover
}

func newWatcher(w *world) (*watcher, error) {
	client, err := kgo.NewClient(kgo.SeedBrokers(w.cluster.direct()...), kgo.RetryTimeout(requestPatience))
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	v := &watcher{w: w, client: client, admin: kadm.NewClient(client), cancel: cancel, owners: map[slot]string{}}
	v.wg.Go(func() {
		for i := 0; pause(ctx, watchPause) == nil; i++ {
			if i%ownerEvery == 0 {
				v.lookAtOwners(ctx)
			}
			v.lookAtOffsets(ctx)
		}
	})
	return v, nil
}

func (v *watcher) close() {
	v.cancel()
	v.wg.Wait()
	v.client.Close()
}

// lookAtOwners asks the groups who has which partition. Without an answer the last one stands.
func (v *watcher) lookAtOwners(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, requestPatience)
	defer cancel()
	groups, err := v.admin.DescribeGroups(ctx, stageGroups...)
	if err != nil {
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, g := range groups {
		for _, m := range g.Members {
			assigned, ok := m.Assigned.AsConsumer()
			if !ok {
				continue
			}
			for _, t := range assigned.Topics {
				for _, p := range t.Partitions {
					v.owners[slot{g.Group, p}] = m.ClientID
				}
			}
		}
	}
}

// lookAtOffsets finds which of the awaited partitions have moved.
func (v *watcher) lookAtOffsets(ctx context.Context) {
	v.mu.Lock()
	idle := len(v.open) == 0
	v.mu.Unlock()
	if idle {
		return
	}
	at := map[slot]int64{}
	for _, group := range stageGroups {
		ctx, cancel := context.WithTimeout(ctx, requestPatience)
		offsets, err := v.admin.FetchOffsets(ctx, group)
		cancel()
		if err != nil {
			return
		}
		offsets.Each(func(o kadm.OffsetResponse) {
			if o.Err == nil {
				at[slot{group, o.Partition}] += max(0, o.At)
			}
		})
	}
	v.settle(at, time.Now())
}

func (v *watcher) settle(at map[slot]int64, now time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, t := range v.open {
		if now.Sub(t.at) < inFlight {
			continue
		}
		for s, from := range t.slots {
			switch got, ok := at[s]; {
			case !ok:
			case from < 0:
				t.slots[s] = got
			case got > from:
				t.took[s] = now.Sub(t.at)
				delete(t.slots, s)
			}
		}
	}
	v.open = slices.DeleteFunc(v.open, func(t *takeover) bool {
		if len(t.slots) == 0 {
			close(t.done)
		}
		return len(t.slots) == 0
	})
}

// expect begins the wait for the partitions of a process that was just killed.
func (v *watcher) expect(who string, quiet bool) *takeover {
	v.mu.Lock()
	defer v.mu.Unlock()
	t := &takeover{who: who, at: time.Now(), slots: map[slot]int64{}, took: map[slot]time.Duration{}, quiet: quiet, done: make(chan struct{})}
	for s, owner := range v.owners {
		if owner == who {
			t.slots[s] = -1
		}
	}
	v.all = append(v.all, t)
	if len(t.slots) == 0 {
		close(t.done)
		return t
	}
	v.open = append(v.open, t)
	return t
}

// missing are the partitions that a takeover still waits for.
func (v *watcher) missing(t *takeover) (list []string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for s := range t.slots {
		list = append(list, s.String())
	}
	slices.Sort(list)
	return list
}

// times are the takeovers in seconds: of the quiet kills, or of all.
func (v *watcher) times(quietOnly bool) (list []float64) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, t := range v.all {
		if quietOnly && !t.quiet {
			continue
		}
		for _, took := range t.took {
			list = append(list, took.Seconds())
		}
	}
	slices.Sort(list)
	return list
}

// quantile of a sorted list; 0 of an empty one.
func quantile(sorted []float64, q float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(len(sorted)-1, int(math.Ceil(q*float64(len(sorted))))-1)]
}
