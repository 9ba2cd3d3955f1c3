package load

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// metadata stands beside a committed offset (Kafka allows 4,096 bytes).
type metadata struct {
	Version int    `json:"v"`
	Plan    string `json:"plan,omitempty"` // id of an unfinished plan; empty: none
	To      int64  `json:"to,omitempty"`   // last offset of the plan; the committed offset is its first
	Replay  int64  `json:"replay,omitempty"`
}

const metadataVersion = 1

func (m metadata) String() string {
	m.Version = metadataVersion
	b, _ := json.Marshal(m) // cannot fail: numbers and a string
	return string(b)
}

// parseMetadata reads what a loader wrote. Anything else (nothing, or another tool's commit) holds no plan.
func parseMetadata(text *string) metadata {
	var m metadata
	if text == nil || json.Unmarshal([]byte(*text), &m) != nil || m.Version != metadataVersion || m.To < 0 || m.Replay < 0 {
		return metadata{}
	}
	return m
}

func planID() string {
	var b [6]byte
	_, _ = rand.Read(b[:]) // crypto/rand.Read never fails
	return hex.EncodeToString(b[:])
}

// A mark is one offset to commit, with its metadata.
type mark struct {
	offset int64
	metadata
}

// commit writes marks in one request that the group's generation fences, and returns the error of each partition whose
// mark is not known to be written.
func (l *Loader) commit(ctx context.Context, marks map[key]mark) map[key]error {
	ctx, cancel := context.WithTimeout(ctx, commitTimeout)
	defer cancel()
	offsets := map[string]map[int32]kgo.EpochOffset{}
	failed := map[key]error{}
	for k, m := range marks {
		if offsets[k.topic] == nil {
			offsets[k.topic] = map[int32]kgo.EpochOffset{}
		}
		offsets[k.topic][k.partition] = kgo.EpochOffset{Epoch: -1, Offset: m.offset}
		failed[k] = errors.New("the broker did not answer for this partition")
	}
	ctx = kgo.PreCommitFnContext(ctx, func(req *kmsg.OffsetCommitRequest) error {
		if req.Generation < 0 {
			return errors.New("not a member of the group: a commit without generation would not be fenced")
		}
		for i := range req.Topics {
			t := &req.Topics[i]
			for j := range t.Partitions {
				text := marks[key{t.Topic, t.Partitions[j].Partition}].String()
				t.Partitions[j].Metadata = &text
			}
		}
		return nil
	})
	l.client.CommitOffsetsSync(ctx, offsets, func(_ *kgo.Client, req *kmsg.OffsetCommitRequest, resp *kmsg.OffsetCommitResponse, err error) {
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
				k := key{name, p.Partition}
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

// commitPlans writes down the plans that are not yet. No plan, no insert.
func (l *Loader) commitPlans(ctx context.Context, due []*partition) error {
	marks := map[key]mark{}
	for _, p := range due {
		if !p.plan.committed {
			marks[p.key()] = mark{p.plan.from, metadata{Plan: p.plan.id, To: p.plan.to, Replay: p.replay}}
		}
	}
	if len(marks) == 0 {
		return nil
	}
	if err := l.crash("before plan commit"); err != nil {
		return err
	}
	failed := l.commit(ctx, marks)
	for _, p := range due {
		if _, asked := marks[p.key()]; !asked {
			continue
		}
		if err := failed[p.key()]; err != nil {
			// Whether the plan is on Kafka is not known, so the next try writes the same one.
			l.postpone(p, fmt.Errorf("commit the plan %d-%d of %s/%d: %w", p.plan.from, p.plan.to, p.topic, p.number, err))
			continue
		}
		p.plan.committed = true
	}
	return l.crash("after plan commit")
}

// commitDone passes the plans that were inserted.
func (l *Loader) commitDone(ctx context.Context, due []*partition) error {
	marks := map[key]mark{}
	for _, p := range due {
		if p.plan != nil && p.plan.inserted {
			marks[p.key()] = mark{p.plan.after, metadata{Replay: p.replay}}
		}
	}
	if len(marks) == 0 {
		return nil
	}
	if err := l.crash("before final commit"); err != nil {
		return err
	}
	failed := l.commit(ctx, marks)
	for _, p := range due {
		if _, asked := marks[p.key()]; !asked {
			continue
		}
		if err := failed[p.key()]; err != nil {
			l.postpone(p, fmt.Errorf("commit offset %d of %s/%d: %w", p.plan.after, p.topic, p.number, err))
			continue
		}
		p.finish()
	}
	return l.crash("after final commit")
}

func (p *partition) key() key { return key{p.topic, p.number} }

// fetched is the group's callback for newly assigned partitions: the offset, and the plan beside it.
func (l *Loader) fetched(_ context.Context, _ *kgo.Client, resp *kmsg.OffsetFetchResponse) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.joined = true
	clear(l.topicIDs) // a topic may have been recreated since
	defer l.show()
	for _, g := range resp.Groups {
		for _, t := range g.Topics {
			if t.Topic == "" {
				return errors.New("load: an offset of a topic without name came: cannot tell its plan")
			}
			for _, o := range t.Partitions {
				if err := kerr.ErrorForCode(o.ErrorCode); err != nil {
					continue // the client retries or reports it, and asks again
				}
				p := newPartition(t.Topic, o.Partition, o.Offset, parseMetadata(o.Metadata))
				l.partitions[p.key()] = p
				if p.plan != nil {
					l.o.Log.Info().Str("topic", p.topic).Int32("partition", p.number).Int64("from", p.plan.from).Int64("to", p.plan.to).
						Msg("repeating the range that was planned before")
				}
			}
		}
	}
	return nil
}

// gone is the group's callback for partitions that leave. Their plans are on Kafka for the next owner, so they are
// dropped here; no insert for them can start any more.
func (l *Loader) gone(_ context.Context, cl *kgo.Client, lost map[string][]int32) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for topic, numbers := range lost {
		for _, number := range numbers {
			delete(l.partitions, key{topic, number})
			l.metrics.forget(topic, number)
		}
	}
	l.show()
	cl.ResumeFetchPartitions(lost) // a pause would outlive the assignment
}
