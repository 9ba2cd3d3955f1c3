package load

import (
	"context"

	"github.com/tillstream/tillstream/pipeline/kafka"
)

// An event is what a callback of the group tells Run.
type event struct {
	kind eventKind
	at   kafka.Offset // of arrived
	key  key          // of left
}

type eventKind int

const (
	eventJoined  eventKind = iota // an assignment came, though perhaps an empty one
	eventArrived                  // a partition is ours; its offset was fetched
	eventLeft                     // a partition is no longer ours
)

func (l *Loader) member(life context.Context) kafka.Member {
	return kafka.Member{
		Group: l.o.Group, Topics: l.o.Topics,
		// Control records are read so that the committed offset passes them: the group then stands at the very end at rest.
		ControlRecords: true,
		// No partition is taken away between a poll and the end of the pass that follows it.
		HoldRebalance:  true,
		SessionTimeout: l.o.SessionTimeout, HeartbeatInterval: l.o.SessionTimeout / heartbeats, RebalanceTimeout: rebalanceTimeout,
		// One fetch overshoots the buffer by no more than this.
		FetchBytesMax: fetchBytesMax,
		Assigned:      l.assigned, Revoked: l.revoked, Fetched: l.fetched,
		Held: func() { l.hurry.Store(true) },
		Life: life, Log: l.o.Log,
	}
}

// The callbacks run in the client's goroutine: they leave word, and Run acts on it after its next poll.

// assigned keeps partitions from being fetched until they were compared with their topics.
func (l *Loader) assigned(s kafka.Session, partitions map[string][]int32) {
	s.Pause(partitions)
	l.tell(event{kind: eventJoined})
}

// fetched tells the offset of a partition that came, and the plan beside it.
func (l *Loader) fetched(offsets []kafka.Offset) error {
	events := make([]event, len(offsets))
	for i, o := range offsets {
		events[i] = event{kind: eventArrived, at: o}
	}
	l.tell(events...)
	return nil
}

// revoked tells which partitions go. Their plans are on Kafka for the next owner.
func (l *Loader) revoked(s kafka.Session, partitions map[string][]int32) {
	var events []event
	for topic, numbers := range partitions {
		for _, n := range numbers {
			events = append(events, event{kind: eventLeft, key: key{topic, n}})
		}
	}
	l.tell(events...)
	s.Resume(partitions) // a pause would outlive the assignment
}

func (l *Loader) tell(events ...event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.events = append(l.events, events...)
	if l.wake != nil {
		l.wake()
	}
}

// listen takes what the callbacks told. A partition that left is dropped here; no insert for it can start any more.
func (l *Loader) listen() {
	l.mu.Lock()
	events := l.events
	l.events, l.wake = nil, nil
	l.mu.Unlock()
	for _, e := range events {
		switch e.kind {
		case eventJoined:
			l.joined = true
		case eventLeft:
			delete(l.partitions, e.key)
			l.metrics.forget(e.key.Topic, e.key.Partition)
		case eventArrived:
			l.joined = true
			l.adopt(e.at)
		}
	}
}

// adopt takes a partition in. An offset that another tool set is a wish to store what follows it again, under a new replay
// generation: under the old one, ranges that happen to be cut as before would be taken for repetitions.
func (l *Loader) adopt(o kafka.Offset) {
	m, ours := parseMetadata(o.Metadata)
	if !ours && o.At >= 0 {
		m.Replay = l.o.Clock.Now().UnixMilli()
		l.o.Log.Warn().Str("topic", o.Topic).Int32("partition", o.Partition).Int64("offset", o.At).Int64("replay", m.Replay).
			Msg("the group's offset was not set by a loader: storing from there on, under a new replay generation")
	}
	p := newPartition(o.Topic, o.Partition, o.At, m)
	p.unchecked = true
	l.partitions[p.key()] = p
	if p.plan != nil {
		l.o.Log.Info().Str("topic", p.topic).Int32("partition", p.number).Int64("from", p.plan.from).Int64("to", p.plan.to).
			Msg("repeating the range that was planned before")
	}
}
