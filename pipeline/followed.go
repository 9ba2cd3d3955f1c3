package pipeline

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tillstream/tillstream/pipeline/kafka"
)

// Followed is how far a partition of a stage is, as its changelog tells whoever is not its owner.
type Followed struct {
	// Config is the version of the configuration that it follows, since offset From of its inbox. Empty: none yet.
	Config string
	From   int64
	Next   map[string]int64 // next offset of each input; nil: nothing was read of them yet
	Owner  string           // instance, lane and a random part
}

const (
	followedBack     = 256 // records at the end of a changelog that are looked at first
	followedPatience = 10 * time.Second
)

// rangeReader is the part of kafka.Log that reads.
type rangeReader interface {
	Bounds(ctx context.Context, topic string, partition int32) (start, end int64, err error)
	Read(ctx context.Context, r kafka.Range, apply func(records []*kgo.Record, next int64) error) error
}

// ReadFollowed reads the newest committed word of a partition from its changelog.
func ReadFollowed(ctx context.Context, log rangeReader, changelog string, partition int32) (f Followed, err error) {
	start, end, err := log.Bounds(ctx, changelog, partition)
	if err != nil {
		return f, err
	}
	var last []byte
	for back, to := int64(followedBack), end; to > start && last == nil; back *= 4 {
		r := kafka.Range{Topic: changelog, Partition: partition, From: max(start, to-back), To: to, Patience: followedPatience}
		err := log.Read(ctx, r, func(records []*kgo.Record, _ int64) error {
			for _, rec := range records {
				if string(rec.Key) == metaKey {
					last = rec.Value
				}
			}
			return nil
		})
		if err != nil {
			return f, err
		}
		to = r.From
	}
	if last == nil {
		return f, nil
	}
	m, err := decodeMeta(last)
	if err != nil {
		return f, err
	}
	f = Followed{Config: m.Config, From: m.ConfigFrom, Owner: m.Owner, Next: map[string]int64{}}
	for topic, pos := range m.Inputs {
		f.Next[topic] = pos.Next
	}
	return f, nil
}

// StateKeys are the keys of the states that a partition's changelog holds, sorted.
func StateKeys(ctx context.Context, log rangeReader, changelog string, partition int32) ([]string, error) {
	start, end, err := log.Bounds(ctx, changelog, partition)
	if err != nil || start == end {
		return nil, err
	}
	live := map[string]bool{}
	r := kafka.Range{Topic: changelog, Partition: partition, From: start, To: end, Patience: followedPatience}
	err = log.Read(ctx, r, func(records []*kgo.Record, _ int64) error {
		for _, rec := range records {
			if key, ok := strings.CutPrefix(string(rec.Key), stateKeyPrefix); ok && rec.Value != nil {
				live[key] = true
			} else if ok {
				delete(live, key)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	keys := make([]string, 0, len(live))
	for key := range live {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys, nil
}
