package broker

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tillstream/tillstream/internal/sim/sched"
	"github.com/tillstream/tillstream/pipeline/kafka"
)

var controlAttrs = kgo.NewRecordAttrs(kgo.RecordAttrsOpts{Control: true})

type groupState int

const (
	empty groupState = iota
	preparing
	completing // waits for the leader's assignment
	stable
)

// firstDelay is how long an empty group waits for more members.
const firstDelay = 50 * time.Millisecond

type group struct {
	b       *Broker
	name    string
	gen     int32
	state   groupState
	members []*member
	cond    *sched.Cond
	stop    func() // of the rebalance's timer

	offsets map[kafka.TopicPartition]kafka.Offset
	pending []*Txn // with offsets of the group, and without its marker
}

type member struct {
	id       string
	s        *Session
	joined   bool // waits for the rebalance to end
	owned    map[string][]int32
	ownedGen int32
	plan     map[string][]int32
	raw      []byte
	heard    time.Duration
}

func (b *Broker) group(name string) *group {
	g := b.groups[name]
	if g == nil {
		g = &group{b: b, name: name, cond: b.s.NewCond(), offsets: map[kafka.TopicPartition]kafka.Offset{}, stop: func() {}}
		b.groups[name] = g
	}
	return g
}

func (g *group) member(id string) *member {
	for _, m := range g.members {
		if m.id == id {
			return m
		}
	}
	return nil
}

// join takes a member in, or notes that it joins again, and begins a rebalance.
func (g *group) join(s *Session, id string, owned map[string][]int32, ownedGen int32) (memberID string, err error) {
	m := g.member(id)
	if id != "" && m == nil {
		return "", kerr.UnknownMemberID
	}
	if m == nil {
		g.b.nextMem++
		m = &member{id: fmt.Sprintf("%s-%05d", s.p.Name, g.b.nextMem), s: s}
		g.members = append(g.members, m)
		g.watch(m)
	}
	m.heard = g.b.s.Elapsed()
	m.joined, m.owned, m.ownedGen = true, owned, ownedGen
	if g.state != preparing {
		g.prepare(m)
	}
	g.completeIfAll()
	return m.id, nil
}

// prepare begins a rebalance: all members have to join again, first who began it.
func (g *group) prepare(by *member) {
	first := g.state == empty
	g.state = preparing
	for _, m := range g.members {
		if m != by {
			m.joined = false
		}
	}
	patience := g.patience()
	if first {
		patience = firstDelay
	}
	g.stop()
	g.stop = g.b.s.After(patience, g.complete)
}

func (g *group) patience() (d time.Duration) {
	for _, m := range g.members {
		d = max(d, cmp.Or(m.s.m.RebalanceTimeout, time.Minute))
	}
	return d
}

func (g *group) completeIfAll() {
	if g.state != preparing || g.gen == 0 {
		return // the very first generation waits for company
	}
	for _, m := range g.members {
		if !m.joined {
			return
		}
	}
	g.complete()
}

// complete ends the joining. Members that did not come are out.
func (g *group) complete() {
	if g.state != preparing {
		return
	}
	g.stop()
	g.members = slices.DeleteFunc(g.members, func(m *member) bool { return !m.joined })
	g.gen++
	if len(g.members) == 0 {
		g.state = empty
		return
	}
	g.state = completing
	for _, m := range g.members {
		m.joined, m.plan, m.heard = false, nil, g.b.s.Elapsed()
	}
	g.cond.Broadcast()
}

// sync takes the leader's assignment; to the others it answers once that is there.
func (g *group) sync(id string, generation int32) (ready bool, m *member, err error) {
	if m = g.member(id); m == nil {
		return false, nil, kerr.UnknownMemberID
	}
	m.heard = g.b.s.Elapsed()
	switch {
	case generation != g.gen:
		return false, nil, kerr.IllegalGeneration
	case g.state == preparing:
		return false, nil, kerr.RebalanceInProgress
	case g.state == completing && g.members[0] == m:
		if err := g.assign(); err != nil {
			return false, nil, err
		}
		g.state = stable
		g.cond.Broadcast()
	}
	return g.state == stable, m, nil
}

// assign makes the plan of the generation, as the leader does.
func (g *group) assign() error {
	topics := map[string]int32{}
	for _, m := range g.members {
		for _, name := range m.s.m.Topics {
			if t := g.b.topics[name]; t != nil {
				topics[name] = int32(len(t.Parts))
			}
		}
	}
	if g.members[0].s.m.CoPartition {
		return g.coPartition(topics)
	}
	g.sticky(topics)
	return nil
}

// coPartition runs the product's own balancer.
func (g *group) coPartition(topics map[string]int32) error {
	balancer := kafka.CoPartition(nil)
	var joined []kmsg.JoinGroupResponseMember
	for _, m := range g.members {
		j := kmsg.NewJoinGroupResponseMember()
		j.MemberID, j.ProtocolMetadata = m.id, balancer.JoinGroupMetadata(m.s.m.Topics, m.owned, m.ownedGen)
		joined = append(joined, j)
	}
	b, _, err := balancer.MemberBalancer(joined)
	if err != nil {
		return err
	}
	plan, err := b.(kgo.GroupMemberBalancerOrError).BalanceOrError(topics)
	if err != nil {
		return err
	}
	for _, a := range plan.IntoSyncAssignment() {
		m := g.member(a.MemberID)
		if m == nil {
			return errors.New("the balancer named a member that is none")
		}
		m.raw = a.MemberAssignment
	}
	return nil
}

// sticky spreads single partitions: who has one keeps it within its share, and one that moves has nobody for a
// generation.
func (g *group) sticky(topics map[string]int32) {
	var all []kafka.TopicPartition
	for _, name := range slices.Sorted(maps.Keys(topics)) {
		for n := range topics[name] {
			all = append(all, kafka.TopicPartition{Topic: name, Partition: n})
		}
	}
	owner := map[kafka.TopicPartition]*member{}
	for _, m := range g.members {
		for topic, ns := range m.owned {
			for _, n := range ns {
				k := kafka.TopicPartition{Topic: topic, Partition: n}
				if o := owner[k]; o == nil || m.ownedGen > o.ownedGen {
					owner[k] = m
				}
			}
		}
	}
	share, held := (len(all)+len(g.members)-1)/len(g.members), map[*member]int{}
	wanted := map[kafka.TopicPartition]*member{}
	for _, k := range all {
		if m := owner[k]; m != nil && held[m] < share {
			wanted[k] = m
			held[m]++
		}
	}
	for _, m := range g.members {
		m.plan = map[string][]int32{}
	}
	for _, k := range all {
		m := wanted[k]
		if m == nil {
			m = slices.MinFunc(g.members, func(a, b *member) int { return held[a] - held[b] })
			held[m]++
			if owner[k] != nil && owner[k] != m {
				continue
			}
		}
		m.plan[k.Topic] = append(m.plan[k.Topic], k.Partition)
	}
}

// check is what every commit of offsets goes through.
func (g *group) check(id string, generation int32) error {
	m := g.member(id)
	switch {
	case m == nil:
		return kerr.UnknownMemberID
	case generation != g.gen:
		return kerr.IllegalGeneration
	case g.state == completing:
		return kerr.RebalanceInProgress
	}
	m.heard = g.b.s.Elapsed()
	return nil
}

func (g *group) asker(s *Session, id string, generation int32) Asker {
	return Asker{Process: s.p.Name, Member: id, Generation: generation, GroupGeneration: g.gen, Known: g.member(id) != nil}
}

func (g *group) heartbeat(id string, generation int32) error {
	m := g.member(id)
	switch {
	case m == nil:
		return kerr.UnknownMemberID
	case generation != g.gen:
		return kerr.IllegalGeneration
	}
	m.heard = g.b.s.Elapsed()
	if g.state == preparing {
		return kerr.RebalanceInProgress
	}
	return nil
}

func (g *group) leave(id string) {
	if m := g.member(id); m != nil {
		g.remove(m)
	}
}

func (g *group) remove(m *member) {
	g.members = slices.DeleteFunc(g.members, func(o *member) bool { return o == m })
	g.cond.Broadcast()
	switch {
	case len(g.members) == 0 && g.state != preparing:
		g.state = empty
		g.gen++
	case g.state != preparing:
		g.prepare(nil)
	default:
		g.completeIfAll()
	}
}

// watch lets a member go that is silent for its session timeout.
func (g *group) watch(m *member) {
	patience := cmp.Or(m.s.m.SessionTimeout, 45*time.Second)
	var look func()
	look = func() {
		if g.member(m.id) != m {
			return
		}
		silent := g.b.s.Elapsed() - m.heard
		if g.state == preparing && m.joined || g.b.down {
			m.heard, silent = g.b.s.Elapsed(), 0 // it waits for us
		}
		if silent >= patience {
			g.remove(m)
			return
		}
		g.b.s.After(patience-silent, look)
	}
	g.b.s.After(patience, look)
}

// set makes offsets the group's.
func (g *group) set(offsets []kafka.Offset, by Asker) {
	for _, o := range offsets {
		g.offsets[kafka.TopicPartition{Topic: o.Topic, Partition: o.Partition}] = kafka.Offset{Topic: o.Topic, Partition: o.Partition, At: o.At, Metadata: o.Metadata}
	}
	if g.b.o.Watch.OffsetsSet != nil {
		g.b.o.Watch.OffsetsSet(g.name, offsets, by)
	}
}

// decided is the group's marker.
func (g *group) decided(t *Txn) {
	g.pending = slices.DeleteFunc(g.pending, func(o *Txn) bool { return o == t })
	if t.State != Committed {
		return
	}
	for _, o := range t.Offsets {
		if o.Group == g.name {
			o.By.TransactionState = t.String()
			g.set(o.Offsets, o.By)
		}
	}
}

// fetch returns the group's offsets, or UNSTABLE_OFFSET_COMMIT while a transaction that commits one is undecided.
func (g *group) fetch(keys []kafka.TopicPartition) ([]kafka.Offset, error) {
	var out []kafka.Offset
	for _, k := range keys {
		for _, t := range g.pending {
			for _, to := range t.Offsets {
				if to.Group == g.name && slices.ContainsFunc(to.Offsets, func(o kafka.Offset) bool { return o.Topic == k.Topic && o.Partition == k.Partition }) {
					return nil, kerr.UnstableOffsetCommit
				}
			}
		}
		o, ok := g.offsets[k]
		if !ok {
			o = kafka.Offset{Topic: k.Topic, Partition: k.Partition, At: -1}
		}
		out = append(out, o)
	}
	return out, nil
}

// Offset is what a group committed for a partition; -1: nothing.
func (b *Broker) Offset(group, topic string, partition int32) kafka.Offset {
	if o, ok := b.group(group).offsets[kafka.TopicPartition{Topic: topic, Partition: partition}]; ok {
		return o
	}
	return kafka.Offset{Topic: topic, Partition: partition, At: -1}
}

// Undecided reports whether a transaction that commits offsets of the group is open or waits for its marker.
func (b *Broker) Undecided(group string) bool { return len(b.group(group).pending) > 0 }

// Forget removes a group's offsets, as their expiry does.
func (b *Broker) Forget(group string) { clear(b.group(group).offsets) }

// Rewind sets a group's offset by hand.
func (b *Broker) Rewind(group, topic string, partition int32, at int64) {
	b.group(group).offsets[kafka.TopicPartition{Topic: topic, Partition: partition}] = kafka.Offset{Topic: topic, Partition: partition, At: at}
}

// Rebalance makes every member of a group join again.
func (b *Broker) Rebalance(group string) {
	if g := b.groups[group]; g != nil && g.state == stable {
		g.prepare(nil)
	}
}

// Generation is the group's.
func (b *Broker) Generation(group string) int32 { return b.group(group).gen }
