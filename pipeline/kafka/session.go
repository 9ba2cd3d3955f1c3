package kafka

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// session is a Session on the real client.
type session struct {
	client *kgo.Client
	txn    *kgo.GroupTransactSession // nil: without transactions
}

// ErrNoGeneration is why offsets were not committed, and will not be: the session is not a member of its group now.
var ErrNoGeneration = errors.New("not a member of the group: offsets would not be checked against its generation")

// callbacks turns the member's callbacks into the client's.
func (m Member) callbacks() []kgo.Opt {
	in := func(cl *kgo.Client) Session { return &session{client: cl} } // Join may not have returned yet
	var opts []kgo.Opt
	swallows := !m.CoPartition && m.TransactionalID != "" && m.Revoked != nil
	switch {
	case swallows:
		o := &ownership{revoked: m.Revoked, owned: map[TopicPartition]bool{}}
		opts = append(opts, o.opts(m, in)...)
	case m.CoPartition:
		opts = append(opts, kgo.Balancers(CoPartition(m.Synced)))
	default:
		opts = append(opts, kgo.Balancers(kgo.CooperativeStickyBalancer()))
	}
	if m.Assigned != nil && !swallows {
		opts = append(opts, kgo.OnPartitionsAssigned(func(_ context.Context, cl *kgo.Client, p map[string][]int32) { m.Assigned(in(cl), p) }))
	}
	if m.Revoked != nil && !swallows {
		gone := func(_ context.Context, cl *kgo.Client, p map[string][]int32) { m.Revoked(in(cl), p) }
		opts = append(opts, kgo.OnPartitionsRevoked(gone), kgo.OnPartitionsLost(gone))
	}
	if m.Fetched != nil {
		opts = append(opts, kgo.OnOffsetsFetched(func(_ context.Context, _ *kgo.Client, resp *kmsg.OffsetFetchResponse) error {
			offsets, err := fetchedOffsets(resp)
			if err != nil {
				return err
			}
			return m.Fetched(offsets)
		}))
	}
	if m.Held != nil {
		opts = append(opts, kgo.OnPartitionsCallbackBlocked(func(context.Context, *kgo.Client) { m.Held() }))
	}
	if m.Heard != nil {
		opts = append(opts, kgo.WithHooks(heardHook(m.Heard)))
	}
	return opts
}

// fetchedOffsets leaves out partitions with an error: the client retries or reports it, and asks again.
func fetchedOffsets(resp *kmsg.OffsetFetchResponse) (offsets []Offset, err error) {
	for _, g := range resp.Groups {
		for _, t := range g.Topics {
			if t.Topic == "" {
				return nil, errors.New("an offset of a topic without name came")
			}
			for _, p := range t.Partitions {
				if p.ErrorCode != 0 {
					continue
				}
				o := Offset{Topic: t.Topic, TopicID: t.TopicID, Partition: p.Partition, At: p.Offset}
				if p.Metadata != nil {
					o.Metadata = *p.Metadata
				}
				offsets = append(offsets, o)
			}
		}
	}
	return offsets, nil
}

// heardHook notes answers that the coordinator gives to members only.
type heardHook func()

var _ kgo.HookBrokerRead = heardHook(nil)

// OnBrokerRead implements kgo.HookBrokerRead.
func (h heardHook) OnBrokerRead(_ kgo.BrokerMetadata, key int16, _ int, _, _ time.Duration, err error) {
	if err != nil {
		return
	}
	switch kmsg.Key(key) {
	case kmsg.JoinGroup, kmsg.SyncGroup, kmsg.Heartbeat:
		h()
	}
}

// InitProducer implements Session.
func (s *session) InitProducer(ctx context.Context) error {
	if _, _, err := s.client.ProducerID(ctx); err != nil {
		return fmt.Errorf("init the producer id: %w", err)
	}
	return nil
}

// Poll implements Session.
func (s *session) Poll(ctx context.Context, max int, wait bool) kgo.Fetches {
	if !wait {
		//lint:ignore SA1012 nil means: take what is there, never wait
		return s.client.PollRecords(nil, max)
	}
	for {
		// A poll that was woken for records which then were of no use returns without any, and holds no rebalance. One whose
		// ctx has ended returns an error, and does.
		if f := s.client.PollRecords(ctx, max); len(f) > 0 {
			return f
		}
	}
}

// Buffered implements Session.
func (s *session) Buffered() int64 { return s.client.BufferedFetchRecords() }

// AllowRebalance implements Session.
func (s *session) AllowRebalance() { s.client.AllowRebalance() }

// Begin implements Session.
func (s *session) Begin() error { return s.txn.Begin() }

// Produce implements Session.
func (s *session) Produce(ctx context.Context, rec *kgo.Record, promise func(*kgo.Record, error)) {
	s.client.Produce(ctx, rec, promise)
}

// Flush implements Session.
func (s *session) Flush(ctx context.Context) error { return s.client.Flush(ctx) }

// Abort implements Session.
func (s *session) Abort(ctx context.Context) error {
	_, err := s.txn.End(ctx, kgo.TryAbort)
	return err
}

// errUnnamed must not be: the client committed a transaction and asked for no offsets.
var errUnnamed = errors.New("a transaction was committed without its offsets")

// Commit implements Session.
func (s *session) Commit(ctx context.Context, offsets []Offset) (bool, error) {
	named := false
	ctx = kgo.PreTxnCommitFnContext(ctx, func(req *kmsg.TxnOffsetCommitRequest) error {
		if req.Generation < 0 || req.MemberID == "" {
			return ErrNoGeneration
		}
		// What the client would commit is its own reading position; the caller's is what counts.
		known := map[string][16]byte{}
		for _, t := range req.Topics {
			known[t.Topic] = t.TopicID
		}
		req.Topics = req.Topics[:0]
		for topic, os := range byTopic(offsets) {
			t := kmsg.NewTxnOffsetCommitRequestTopic()
			t.Topic, t.TopicID = topic, known[topic]
			for _, o := range os {
				if o.TopicID != [16]byte{} {
					t.TopicID = o.TopicID
				}
				p := kmsg.NewTxnOffsetCommitRequestTopicPartition()
				p.Partition, p.Offset, p.LeaderEpoch, p.Metadata = o.Partition, o.At, -1, &req.MemberID
				if o.Metadata != "" {
					p.Metadata = &o.Metadata
				}
				t.Partitions = append(t.Partitions, p)
			}
			req.Topics = append(req.Topics, t)
		}
		named = true
		return nil
	})
	committed, err := s.txn.End(ctx, kgo.TryCommit)
	if committed && err == nil && !named {
		return false, errUnnamed
	}
	return committed && err == nil, err
}

func byTopic(offsets []Offset) map[string][]Offset {
	m := map[string][]Offset{}
	for _, o := range offsets {
		m[o.Topic] = append(m[o.Topic], o)
	}
	return m
}

// CommitOffsets implements Session.
func (s *session) CommitOffsets(ctx context.Context, offsets []Offset) map[TopicPartition]error {
	at := map[string]map[int32]kgo.EpochOffset{}
	text := map[TopicPartition]*string{}
	failed := map[TopicPartition]error{}
	for _, o := range offsets {
		if at[o.Topic] == nil {
			at[o.Topic] = map[int32]kgo.EpochOffset{}
		}
		at[o.Topic][o.Partition] = kgo.EpochOffset{Epoch: -1, Offset: o.At}
		k := TopicPartition{o.Topic, o.Partition}
		text[k] = &o.Metadata
		failed[k] = errors.New("the broker did not answer for this partition")
	}
	ctx = kgo.PreCommitFnContext(ctx, func(req *kmsg.OffsetCommitRequest) error {
		if req.Generation < 0 {
			return ErrNoGeneration
		}
		for i := range req.Topics {
			t := &req.Topics[i]
			for j := range t.Partitions {
				t.Partitions[j].Metadata = text[TopicPartition{t.Topic, t.Partitions[j].Partition}]
			}
		}
		return nil
	})
	s.client.CommitOffsetsSync(ctx, at, func(_ *kgo.Client, req *kmsg.OffsetCommitRequest, resp *kmsg.OffsetCommitResponse, err error) {
		if err != nil {
			for k := range failed {
				failed[k] = err
			}
			return
		}
		for i, t := range resp.Topics {
			name := t.Topic
			if name == "" && i < len(req.Topics) { // newer brokers answer by topic id
				name = topicOf(req, t.TopicID)
			}
			for _, p := range t.Partitions {
				k := TopicPartition{name, p.Partition}
				if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
					failed[k] = err
				} else {
					delete(failed, k)
				}
			}
		}
	})
	return failed
}

func topicOf(req *kmsg.OffsetCommitRequest, id [16]byte) string {
	for _, t := range req.Topics {
		if t.TopicID == id {
			return t.Topic
		}
	}
	return ""
}

// SetOffsets implements Session.
func (s *session) SetOffsets(offsets []Offset) {
	m := map[string]map[int32]kgo.EpochOffset{}
	for _, o := range offsets {
		if m[o.Topic] == nil {
			m[o.Topic] = map[int32]kgo.EpochOffset{}
		}
		m[o.Topic][o.Partition] = kgo.EpochOffset{Epoch: -1, Offset: o.At}
	}
	s.client.SetOffsets(m)
}

// Pause implements Session.
func (s *session) Pause(partitions map[string][]int32) { s.client.PauseFetchPartitions(partitions) }

// Resume implements Session.
func (s *session) Resume(partitions map[string][]int32) { s.client.ResumeFetchPartitions(partitions) }

// Leave implements Session.
func (s *session) Leave(ctx context.Context) error { return s.client.LeaveGroupContext(ctx) }

// Close implements Session.
func (s *session) Close() { s.client.CloseAllowingRebalance() }
