package getresponse

import (
	"time"

	"github.com/tillstream/tillstream/outbound"
)

// BucketBatch is the bucket of POST /contacts/batch, which has limits of its own.
const BucketBatch = "contacts batch"

// The documented limits of POST /contacts/batch.
const (
	batchesPerSecond = 1
	batchesPerWindow = 80
)

// Limits is what GetResponse allows one account. The HTTP client's limiter holds them, and reads the numbers on the
// answers; the writer has no guard of its own, so two destinations on one account wait together, in all processes.
func (c *Config) Limits() outbound.Limits {
	return outbound.Limits{
		Windows:  []outbound.Window{{Requests: RatePerSecond, Per: time.Second}, {Requests: WindowMax, Per: Window}},
		Parallel: ParallelMax,
		Buckets: []outbound.Bucket{{Name: BucketBatch, Windows: []outbound.Window{
			{Requests: batchesPerSecond, Per: time.Second}, {Requests: batchesPerWindow, Per: Window},
		}}},
	}
}
