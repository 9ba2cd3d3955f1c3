package kafka

import (
	"cmp"
	"slices"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// CoPartition is a group balancer that gives one member partition n of every topic of the group: a stage that reads
// several topics finds one key's records, whatever their topic, at one owner. It is sticky and cooperative: a
// rebalance takes away only partitions that move, and these have no owner until the old one has let go
// (KIP-429). onSync, if not nil, is told this member's whole assignment at the end of every rebalance, before the
// client's callbacks: the callbacks of a transactional session skip a revocation that follows another one.
func CoPartition(onSync func(assigned map[string][]int32)) kgo.GroupBalancer {
	return &coPartition{onSync}
}

type coPartition struct{ onSync func(map[string][]int32) }

// ProtocolName implements kgo.GroupBalancer.
func (*coPartition) ProtocolName() string { return "tillstream-co-partition" }

// IsCooperative implements kgo.GroupBalancer.
func (*coPartition) IsCooperative() bool { return true }

// JoinGroupMetadata implements kgo.GroupBalancer.
func (*coPartition) JoinGroupMetadata(interests []string, current map[string][]int32, generation int32) []byte {
	meta := kmsg.NewConsumerMemberMetadata()
	meta.Version = 3
	meta.Topics = interests
	meta.Generation = generation
	for topic, partitions := range current {
		owned := kmsg.NewConsumerMemberMetadataOwnedPartition()
		owned.Topic, owned.Partitions = topic, partitions
		meta.OwnedPartitions = append(meta.OwnedPartitions, owned)
	}
	slices.SortFunc(meta.OwnedPartitions, func(a, b kmsg.ConsumerMemberMetadataOwnedPartition) int { return cmp.Compare(a.Topic, b.Topic) })
	return meta.AppendTo(nil)
}

// ParseSyncAssignment implements kgo.GroupBalancer.
func (c *coPartition) ParseSyncAssignment(assignment []byte) (map[string][]int32, error) {
	assigned, err := kgo.ParseConsumerSyncAssignment(assignment)
	if err == nil && c.onSync != nil {
		c.onSync(assigned)
	}
	return assigned, err
}

// MemberBalancer implements kgo.GroupBalancer.
func (c *coPartition) MemberBalancer(members []kmsg.JoinGroupResponseMember) (kgo.GroupMemberBalancer, map[string]struct{}, error) {
	b, err := kgo.NewConsumerBalancer(c, members)
	return b, b.MemberTopics(), err
}

// Balance implements kgo.ConsumerBalancerBalance.
func (*coPartition) Balance(b *kgo.ConsumerBalancer, topics map[string]int32) kgo.IntoSyncAssignment {
	var count int32
	for _, n := range topics {
		count = max(count, n)
	}
	members := make([]*kmsg.JoinGroupResponseMember, 0, len(b.Members()))
	claims := map[int32]claim{}
	b.EachMember(func(m *kmsg.JoinGroupResponseMember, meta *kmsg.ConsumerMemberMetadata) {
		members = append(members, m)
		for _, t := range meta.OwnedPartitions {
			for _, p := range t.Partitions {
				if c, ok := claims[p]; !ok || meta.Generation > c.generation {
					claims[p] = claim{m.MemberID, meta.Generation}
				}
			}
		}
	})
	slices.SortFunc(members, func(a, b *kmsg.JoinGroupResponseMember) int { return cmp.Compare(a.MemberID, b.MemberID) })
	owners := spread(members, claims, count)
	plan := b.NewPlan()
	for p, m := range owners {
		for topic, n := range topics {
			if int32(p) < n {
				plan.AddPartition(m, topic, int32(p))
			}
		}
	}
	plan.AdjustCooperative(b)
	keepWhole(plan.AsMemberIDMap(), topics)
	return plan
}

type claim struct {
	member     string
	generation int32
}

// spread gives each of count partitions a member: its last owner while that one holds no more than its share, else
// the member that holds fewest.
func spread(members []*kmsg.JoinGroupResponseMember, claims map[int32]claim, count int32) []*kmsg.JoinGroupResponseMember {
	owners := make([]*kmsg.JoinGroupResponseMember, count)
	share, larger := int(count)/len(members), int(count)%len(members)
	held := map[string]int{}
	byID := map[string]*kmsg.JoinGroupResponseMember{}
	for _, m := range members {
		byID[m.MemberID] = m
	}
	for p := range count {
		m := byID[claims[p].member]
		if m == nil {
			continue
		}
		switch {
		case held[m.MemberID] < share:
		case held[m.MemberID] == share && larger > 0:
			larger--
		default:
			continue
		}
		owners[p] = m
		held[m.MemberID]++
	}
	for p := range owners {
		if owners[p] == nil {
			owners[p] = slices.MinFunc(members, func(a, b *kmsg.JoinGroupResponseMember) int {
				return cmp.Compare(held[a.MemberID], held[b.MemberID])
			})
			held[owners[p].MemberID]++
		}
	}
	return owners
}

// keepWhole withholds partition n of every topic where the cooperative step withheld it of one.
func keepWhole(plan map[string]map[string][]int32, topics map[string]int32) {
	for _, assigned := range plan {
		missing := map[int32]bool{}
		for topic, n := range topics {
			for p := range n {
				if !slices.Contains(assigned[topic], p) {
					missing[p] = true
				}
			}
		}
		for topic, partitions := range assigned {
			assigned[topic] = slices.DeleteFunc(partitions, func(p int32) bool { return missing[p] })
		}
	}
}
