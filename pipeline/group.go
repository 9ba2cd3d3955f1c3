package pipeline

import (
	"context"
	"fmt"
	"slices"

	"github.com/tillstream/tillstream/pipeline/kafka"
)

// The callbacks below run in the client's goroutines. They only mark; the lane's own goroutine acts.

// onAssigned takes partitions into care: nothing is fetched of them until they are recovered. A partition that was
// ours before starts anew, since a revocation in between may not have been told (see kafka.CoPartition).
func (l *lane) onAssigned(s kafka.Session, assigned map[string][]int32) {
	s.Pause(assigned)
	l.mu.Lock()
	defer l.mu.Unlock()
	for topic, numbers := range assigned {
		for _, n := range numbers {
			if l.assigned[n] == nil {
				l.assigned[n] = map[string]bool{}
			}
			l.assigned[n][topic] = true
			l.drop(n)
		}
	}
	for n, topics := range l.assigned {
		if l.parts[n] != nil || len(topics) == 0 {
			continue
		}
		l.parts[n] = l.adopt(n)
		if len(topics) < len(l.e.o.Topology.Inputs) {
			l.refuse(l.parts[n], len(topics))
		}
	}
	l.wake()
}

// refuse stalls a partition that only some of the inputs have. l.mu is held.
func (l *lane) refuse(p *partition, inputs int) {
	p.state, p.stalled = stateStalled, &stall{
		reason: ReasonPartitionsChanged, final: true,
		err:    fmt.Errorf("only %d of the inputs %v have a partition %d", inputs, l.e.o.Topology.Inputs, p.number),
		remedy: "partitions of inputs are fixed: recreate the inputs with their former number",
	}
	l.log.Error().Err(p.stalled.err).Str("reason", string(p.stalled.reason)).Str("remedy", p.stalled.remedy).Int32("partition", p.number).Msg("partition stalled")
}

// onRevoked drops partitions before anyone else can get them.
func (l *lane) onRevoked(_ kafka.Session, revoked map[string][]int32) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for topic, numbers := range revoked {
		for _, n := range numbers {
			delete(l.assigned[n], topic)
			l.drop(n)
		}
	}
	l.wake()
}

// onSync drops what the group no longer gives us, told or not.
func (l *lane) onSync(assigned map[string][]int32) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.joined = true
	for n, topics := range l.assigned {
		for topic := range topics {
			if !slices.Contains(assigned[topic], n) {
				delete(topics, topic)
				l.drop(n)
			}
		}
	}
}

// adopt makes a partition of ours. l.mu is held.
func (l *lane) adopt(n int32) *partition {
	ctx, cancel := context.WithCancel(context.Background())
	p := &partition{number: n, ctx: ctx, cancel: cancel, part: l.e.o.Store.Partition(l.e.storeID(n))}
	p.shown.Partition = n
	l.e.owned.Add(1)
	return p
}

// drop ends a partition. l.mu is held.
func (l *lane) drop(n int32) {
	if p := l.parts[n]; p != nil {
		p.cancel()
		delete(l.parts, n)
		l.e.owned.Add(-1)
	}
}
