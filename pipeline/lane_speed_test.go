package pipeline

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tillstream/tillstream/pipeline/kafka"
	"github.com/tillstream/tillstream/pipeline/store"
	"github.com/tillstream/tillstream/processors"
	"github.com/tillstream/tillstream/schemas"
)

// BenchmarkLane is what the engine itself costs for a record: Kafka and the store do nothing but answer. Each order has
// four events, a thousand orders apart; three of them change its status, the second disarms its timer.
func BenchmarkLane(b *testing.B) {
	const partitions = 8
	log := &idleLog{records: b.N, partitions: partitions, done: make(chan struct{})}
	e, err := NewEngine(EngineOptions{
		Cluster: log, Store: idleStore{}, Codec: flatCodec{}, Instance: "a",
		Topology: Topology{Stage: Bind(flatStage{}), Inputs: []string{testIn}, Inbox: testIn, Changelog: testChangelog, Group: "g"},
	})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan struct{})
	b.ResetTimer()
	go func() {
		_ = e.Run(ctx)
		close(ended)
	}()
	<-log.done
	b.StopTimer()
	stop()
	<-ended
}

// flatStage keeps 16 bytes a key: the event last seen, and a deadline.
type flatStage struct{}

type flatState struct{ last, deadline int64 }

type flatRecord struct{ order, event, at int64 }

func (*flatRecord) RecordName() string { return "flat" }

func (flatStage) Name() string                                 { return "flat" }
func (flatStage) Version() processors.StageVersion             { return 1 }
func (flatStage) Key(in processors.Input) (key string, _ bool) { return in.Key, true }
func (flatStage) Encode(s flatState) ([]byte, error) {
	b := binary.BigEndian.AppendUint64(make([]byte, 0, 16), uint64(s.last))
	return binary.BigEndian.AppendUint64(b, uint64(s.deadline)), nil
}

func (flatStage) Decode(b []byte) (flatState, error) {
	if len(b) != 16 {
		return flatState{}, errors.New("not 16 bytes")
	}
	return flatState{int64(binary.BigEndian.Uint64(b)), int64(binary.BigEndian.Uint64(b[8:]))}, nil
}

func (flatStage) Timers(s flatState) []processors.Timer {
	if s.deadline == 0 {
		return nil
	}
	return []processors.Timer{{At: time.UnixMilli(s.deadline), ID: "paid"}}
}

func (flatStage) Apply(s flatState, in processors.Input) (flatState, []processors.Output, error) {
	if in.Timer != nil {
		s.deadline = 0
		return s, nil, nil
	}
	r := in.Record.(*flatRecord)
	if r.event <= s.last {
		return s, nil, nil
	}
	s.last = r.event
	switch r.event {
	case 1:
		s.deadline = r.at + 3_600_000
	case 2:
		s.deadline = 0
	case 3:
		return s, nil, nil
	}
	return s, []processors.Output{{Topic: testOut, Key: in.Key, Record: r}}, nil
}

type flatCodec struct{}

func (flatCodec) Encode(rec schemas.Record) ([]byte, error) {
	return flatCodec{}.AppendEncode(nil, rec)
}

func (flatCodec) AppendEncode(dst []byte, rec schemas.Record) ([]byte, error) {
	r, ok := rec.(*flatRecord)
	if !ok {
		return append(dst, "other"...), nil
	}
	for _, v := range []int64{r.order, r.event, r.at} {
		dst = binary.BigEndian.AppendUint64(dst, uint64(v))
	}
	return append(dst, make([]byte, 76)...), nil
}

func (flatCodec) Decode(b []byte) (schemas.Record, error) {
	word := func(i int) int64 { return int64(binary.BigEndian.Uint64(b[8*i:])) }
	return &flatRecord{word(0), word(1), word(2)}, nil
}

// idleLog is one member's Kafka that has records and takes everything.
type idleLog struct {
	records, partitions int
	done                chan struct{}
}

func (l *idleLog) Describe(context.Context, string) (kafka.TopicInfo, error) {
	return kafka.TopicInfo{Count: int32(l.partitions)}, nil
}

func (l *idleLog) Bounds(_ context.Context, topic string, _ int32) (start, end int64, err error) {
	if topic == testChangelog {
		return 0, 0, nil
	}
	return 0, int64(l.records), nil
}

func (l *idleLog) OffsetAt(context.Context, string, int32, time.Time) (int64, error) { return 0, nil }

func (l *idleLog) Offsets(_ context.Context, _ string, topics []string, partitions []int32) (out []kafka.Offset, err error) {
	for _, t := range topics {
		for _, p := range partitions {
			out = append(out, kafka.Offset{Topic: t, Partition: p, At: -1})
		}
	}
	return out, nil
}

func (l *idleLog) Read(_ context.Context, r kafka.Range, apply func([]*kgo.Record, int64) error) error {
	return apply(nil, r.To)
}
func (l *idleLog) Append(context.Context, *kgo.Record, func(*kgo.Record, error)) {}
func (l *idleLog) Close()                                                        {}

func (l *idleLog) Join(m kafka.Member) (kafka.Session, error) {
	return &idleSession{l: l, m: m, at: make([]int64, l.partitions), logged: make([]int64, l.partitions), committed: make([]int64, l.partitions), paused: map[int32]bool{}}, nil
}

type idleSession struct {
	kafka.Session
	l         *idleLog
	m         kafka.Member
	joined    bool
	mu        sync.Mutex
	paused    map[int32]bool
	next      int // record of all partitions
	at        []int64
	logged    []int64
	committed []int64
}

func (s *idleSession) InitProducer(context.Context) error { return nil }

func (s *idleSession) Poll(ctx context.Context, max int, wait bool) kgo.Fetches {
	if !s.joined {
		s.joined = true
		all := map[string][]int32{testIn: {}}
		for p := range s.l.partitions {
			all[testIn] = append(all[testIn], int32(p))
		}
		s.m.Synced(all)
		s.m.Assigned(s, all)
	}
	s.mu.Lock()
	held := len(s.paused) > 0
	s.mu.Unlock()
	if held || s.next == s.l.records {
		if wait {
			<-ctx.Done()
		}
		return nil
	}
	parts := make([]kgo.FetchPartition, s.l.partitions)
	slab := make([]kgo.Record, min(max, s.l.records-s.next))
	for i := range slab {
		r := &slab[i]
		n := s.next
		s.next++
		// Four events of an order, a thousand orders apart, all in its partition.
		block, in := n/4000, n%4000
		order, event := block*1000+in%1000, 1+in/1000
		p := order % s.l.partitions
		rec := flatRecord{int64(order), int64(event), int64(n)}
		r.Value, _ = flatCodec{}.AppendEncode(make([]byte, 0, 500), &rec)
		r.Key = fmt.Appendf(nil, "LIVE/shop/%013d", order)
		r.Topic, r.Partition, r.Offset, r.Timestamp = testIn, int32(p), s.at[p], time.UnixMilli(int64(1_700_000_000_000+n))
		s.at[p]++
		parts[p].Records = append(parts[p].Records, r)
	}
	for p := range parts {
		parts[p].Partition = int32(p)
	}
	return kgo.Fetches{{Topics: []kgo.FetchTopic{{Topic: testIn, Partitions: parts}}}}
}

func (s *idleSession) Buffered() int64 { return int64(s.l.records - s.next) }
func (s *idleSession) Begin() error    { return nil }
func (s *idleSession) Produce(_ context.Context, r *kgo.Record, promise func(*kgo.Record, error)) {
	if r.Topic == testChangelog {
		r.Offset = s.logged[r.Partition]
		s.logged[r.Partition]++
	}
	promise(r, nil)
}
func (s *idleSession) Flush(context.Context) error { return nil }

func (s *idleSession) Commit(_ context.Context, offsets []kafka.Offset) (bool, error) {
	for _, o := range offsets {
		s.committed[o.Partition] = o.At
	}
	if s.next == s.l.records && slices.Equal(s.committed, s.at) {
		close(s.l.done)
	}
	return true, nil
}
func (s *idleSession) SetOffsets([]kafka.Offset) {}

func (s *idleSession) Pause(parts map[string][]int32)  { s.hold(parts, true) }
func (s *idleSession) Resume(parts map[string][]int32) { s.hold(parts, false) }

func (s *idleSession) hold(parts map[string][]int32, held bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range parts[testIn] {
		if held {
			s.paused[p] = true
		} else {
			delete(s.paused, p)
		}
	}
}
func (s *idleSession) Leave(context.Context) error { return nil }
func (s *idleSession) Close()                      {}

// idleStore keeps nothing: every key is new once it left the cache.
type idleStore struct{}

func (idleStore) Partition(store.ID) store.Partition { return idlePartition{} }
func (idleStore) Ping(context.Context) error         { return nil }

type idlePartition struct{}

func (idlePartition) Claim(_ context.Context, owner string) (store.Claim, error) {
	return store.Claim{Fence: store.Fence{Owner: owner}}, nil
}

func (idlePartition) Read(_ context.Context, _ store.Fence, keys []string) ([][]byte, error) {
	return make([][]byte, len(keys)), nil
}

func (idlePartition) Deadlines(context.Context, store.Fence, int64, int64, int) ([]store.Deadline, int64, error) {
	return nil, 0, nil
}

func (idlePartition) Apply(_ context.Context, f store.Fence, b store.Batch) (store.Fence, error) {
	f.Applied = b.To
	return f, nil
}

func (idlePartition) Rebuild(_ context.Context, f store.Fence, changelog string, from int64) (store.Fence, error) {
	return store.Fence{Changelog: changelog, Owner: f.Owner, Applied: from, Generation: 1, Building: true}, nil
}

func (idlePartition) Switch(_ context.Context, f store.Fence) (store.Fence, error) {
	f.Building = false
	return f, nil
}
