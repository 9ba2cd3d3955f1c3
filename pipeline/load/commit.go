package load

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/tillstream/tillstream/pipeline/kafka"
)

// metadata stands beside a committed offset (Kafka allows 4,096 bytes).
type metadata struct {
	Version int    `json:"v"`
	Plan    string `json:"plan,omitempty"` // id of an unfinished plan; empty: none
	To      int64  `json:"to,omitempty"`   // last offset of the plan; the committed offset is its first
	Replay  int64  `json:"replay,omitempty"`
	Topic   string `json:"topic,omitempty"` // id of the topic that the offset is of; empty: written before it was kept
}

const metadataVersion = 1

func (m metadata) String() string {
	m.Version = metadataVersion
	b, _ := json.Marshal(m) // cannot fail: numbers and strings
	return string(b)
}

// parseMetadata reads what a loader wrote. Anything else (nothing, or another tool's commit) is not ours and holds no plan.
func parseMetadata(text string) (m metadata, ours bool) {
	if json.Unmarshal([]byte(text), &m) != nil || m.Version != metadataVersion || m.To < 0 || m.Replay < 0 {
		return metadata{}, false
	}
	return m, true
}

// planID names a plan in logs and metadata.
func (l *Loader) planID() string {
	var b [6]byte
	_, _ = io.ReadFull(l.o.Random, b[:]) // only a name
	return hex.EncodeToString(b[:])
}

// jitter is a random duration below d.
func (l *Loader) jitter(d time.Duration) time.Duration {
	var b [8]byte
	_, _ = io.ReadFull(l.o.Random, b[:]) // without randomness: no jitter
	return time.Duration(binary.BigEndian.Uint64(b[:]) % uint64(d))
}

// A mark is one offset to commit, with its metadata.
type mark struct {
	offset int64
	metadata
}

// commit writes the marks of partitions in one request that the group's generation fences, and returns the error of each
// whose mark is not known to be written. errRenew says that one of them may still come, after what is committed next: only
// another membership keeps it out.
func (l *Loader) commit(ctx context.Context, s kafka.Session, of []*partition, mark func(*partition) mark) (map[kafka.TopicPartition]error, error) {
	ctx, cancel := l.o.Clock.WithTimeout(ctx, commitTimeout)
	defer cancel()
	offsets := make([]kafka.Offset, len(of))
	for i, p := range of {
		m := mark(p)
		m.Topic = p.topicID
		offsets[i] = kafka.Offset{Topic: p.topic, Partition: p.number, At: m.offset, Metadata: m.String()}
	}
	failed := s.CommitOffsets(ctx, offsets)
	if len(failed) == 0 {
		l.renewals = 0
	}
	for _, err := range failed {
		if mayComeLate(err) {
			return failed, errRenew
		}
	}
	return failed, nil
}

// mayComeLate reports whether a commit that failed may still be carried out. One that the broker answered may not.
func mayComeLate(err error) bool {
	var answered *kerr.Error
	return !errors.As(err, &answered) && !errors.Is(err, kafka.ErrNoGeneration)
}

// commitPlans writes down the plans that are not yet. No plan, no insert.
func (l *Loader) commitPlans(ctx context.Context, s kafka.Session, due []*partition) error {
	var asked []*partition
	for _, p := range due {
		if !p.plan.committed {
			asked = append(asked, p)
		}
	}
	if len(asked) == 0 {
		return nil
	}
	if err := l.crash("before plan commit"); err != nil {
		return err
	}
	failed, err := l.commit(ctx, s, asked, func(p *partition) mark {
		return mark{p.plan.from, metadata{Plan: p.plan.id, To: p.plan.to, Replay: p.replay}}
	})
	for _, p := range asked {
		if err := failed[kafka.TopicPartition(p.key())]; err != nil {
			// Whether the plan is on Kafka is not known, so the next try writes the same one.
			l.postpone(p, fmt.Errorf("commit the plan %d-%d of %s/%d: %w", p.plan.from, p.plan.to, p.topic, p.number, err))
			continue
		}
		p.plan.committed = true
	}
	if err != nil {
		return err
	}
	return l.crash("after plan commit")
}

// commitDone passes the plans that were inserted.
func (l *Loader) commitDone(ctx context.Context, s kafka.Session, due []*partition) error {
	var asked []*partition
	for _, p := range due {
		if p.plan != nil && p.plan.inserted {
			asked = append(asked, p)
		}
	}
	if len(asked) == 0 {
		return nil
	}
	if err := l.crash("before final commit"); err != nil {
		return err
	}
	failed, err := l.commit(ctx, s, asked, func(p *partition) mark { return mark{p.plan.after, metadata{Replay: p.replay}} })
	for _, p := range asked {
		if err := failed[kafka.TopicPartition(p.key())]; err != nil {
			l.postpone(p, fmt.Errorf("commit offset %d of %s/%d: %w", p.plan.after, p.topic, p.number, err))
			continue
		}
		p.finish()
	}
	if err != nil {
		return err
	}
	return l.crash("after final commit")
}

func (p *partition) key() key { return key{p.topic, p.number} }
