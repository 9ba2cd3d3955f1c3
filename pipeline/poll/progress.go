package poll

import (
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tillstream/tillstream/pipeline/ingest"
	"github.com/tillstream/tillstream/pipeline/kafka"
	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/schemas/codec"
)

// writeProgress appends p under its key.
func writeProgress(ctx context.Context, k ingest.Keeper, p *schemas.SourceProgress) error {
	value, err := k.Encode(p)
	if err != nil {
		return fmt.Errorf("encode progress of %s: %w", p.Connection, err)
	}
	return k.Appender.Append(ctx, schemas.TopicSourceProgress, schemas.SourceKey(p.Environment, p.Connection), value)
}

// readProgress returns the newest progress under key; nil: there is none.
func readProgress(ctx context.Context, l Log, d Decoder, key string) (*schemas.SourceProgress, error) {
	info, err := l.Describe(ctx, schemas.TopicSourceProgress)
	if err != nil {
		return nil, err
	}
	n := kafka.Partition([]byte(key), info.Count)
	start, end, err := l.Bounds(ctx, schemas.TopicSourceProgress, n)
	if err != nil {
		return nil, err
	}
	var newest []byte
	r := kafka.Range{Topic: schemas.TopicSourceProgress, Partition: n, From: start, To: end, Patience: readPatience}
	err = l.Read(ctx, r, func(records []*kgo.Record, _ int64) error {
		for _, rec := range records {
			if string(rec.Key) == key {
				newest = rec.Value
			}
		}
		return nil
	})
	if err != nil || len(newest) == 0 {
		return nil, err
	}
	v, err := d.Decode(newest)
	if errors.Is(err, codec.ErrNotAvro) {
		return nil, nil // as good as none: the connection begins anew
	} else if err != nil {
		return nil, fmt.Errorf("progress of %s: %w", key, err)
	}
	p, _ := v.(*schemas.SourceProgress)
	return p, nil
}
