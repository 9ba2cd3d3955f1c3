package kafka

import (
	"context"
	"slices"
	"sync"

	"github.com/twmb/franz-go/pkg/kgo"
)

// ownership tells every revocation to a member with transactions. The client's transactional session swallows one that
// follows another with no end of a transaction between them, so what the group says at each sync is compared with what
// the member was told. A revocation that was swallowed is made up for when the client has let go of what it lost, and
// before it rejoins, which is what lets the next owner have it.
type ownership struct {
	revoked func(s Session, partitions map[string][]int32)

	mu     sync.Mutex
	owned  map[TopicPartition]bool
	synced map[TopicPartition]bool
}

func flat(partitions map[string][]int32) map[TopicPartition]bool {
	out := map[TopicPartition]bool{}
	for topic, list := range partitions {
		for _, p := range list {
			out[TopicPartition{topic, p}] = true
		}
	}
	return out
}

// sync notes the whole assignment.
func (o *ownership) sync(assigned map[string][]int32) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.synced = flat(assigned)
}

// assigned makes up for what was swallowed, and notes what is new. What comes anew while it is owned was lost meanwhile.
func (o *ownership) assigned(s Session, added map[string][]int32) {
	o.mu.Lock()
	missed, fresh := map[string][]int32{}, flat(added)
	for k := range o.owned {
		if !o.synced[k] || fresh[k] {
			missed[k.Topic] = append(missed[k.Topic], k.Partition)
		}
	}
	for _, list := range missed {
		slices.Sort(list)
	}
	o.mu.Unlock()
	if len(missed) > 0 {
		o.gone(s, missed)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	for k := range fresh {
		o.owned[k] = true
	}
}

// gone tells the member, and notes that it knows.
func (o *ownership) gone(s Session, partitions map[string][]int32) {
	o.mu.Lock()
	for k := range flat(partitions) {
		delete(o.owned, k)
	}
	o.mu.Unlock()
	o.revoked(s, partitions)
}

// syncing is a balancer that tells the member's whole assignment after each rebalance.
type syncing struct {
	kgo.GroupBalancer
	sync func(assigned map[string][]int32)
}

// ParseSyncAssignment implements kgo.GroupBalancer.
func (b syncing) ParseSyncAssignment(assignment []byte) (map[string][]int32, error) {
	assigned, err := b.GroupBalancer.ParseSyncAssignment(assignment)
	if err == nil {
		b.sync(assigned)
	}
	return assigned, err
}

// opts are the balancer and the callbacks of a member with transactions that is told every revocation.
func (o *ownership) opts(m Member, in func(*kgo.Client) Session) []kgo.Opt {
	gone := func(_ context.Context, cl *kgo.Client, p map[string][]int32) { o.gone(in(cl), p) }
	return []kgo.Opt{
		kgo.Balancers(syncing{kgo.CooperativeStickyBalancer(), o.sync}),
		kgo.OnPartitionsAssigned(func(_ context.Context, cl *kgo.Client, p map[string][]int32) {
			o.assigned(in(cl), p)
			if m.Assigned != nil {
				m.Assigned(in(cl), p)
			}
		}),
		kgo.OnPartitionsRevoked(gone), kgo.OnPartitionsLost(gone),
	}
}
