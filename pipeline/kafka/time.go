package kafka

import (
	"context"
	"time"
)

// OffsetAt returns the offset of the first record of a partition that the broker appended at t or later, and the high
// watermark where there is none.
func (c *Cluster) OffsetAt(ctx context.Context, topic string, partition int32, t time.Time) (int64, error) {
	at, err := listOffset(ctx, c.client, topic, partition, max(t.UnixMilli(), 0))
	if err != nil || at >= 0 {
		return at, err
	}
	return listOffset(ctx, c.client, topic, partition, -1)
}
