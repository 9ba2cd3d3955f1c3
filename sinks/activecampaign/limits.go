package activecampaign

import (
	"time"

	"github.com/tillstream/tillstream/outbound"
)

// The buckets of bulk imports, whose requests have limits of their own by how many contacts they carry.
const (
	BucketBulkImport   = "bulk import"
	BucketSingleImport = "bulk import of one"
)

// The documented limits of bulk imports.
const (
	bulkImportsPerMinute   = 100
	singleImportsPerMinute = 20
)

// Limits is what ActiveCampaign allows one account, whichever of its keys is used and GraphQL included. There is no
// burst. Event tracking is another service and does not count.
func (c *Config) Limits() outbound.Limits {
	return outbound.Limits{
		Windows: []outbound.Window{{Requests: RatePerSecond, Per: time.Second}},
		Buckets: []outbound.Bucket{
			{Name: BucketBulkImport, Windows: []outbound.Window{{Requests: bulkImportsPerMinute, Per: time.Minute}}},
			{Name: BucketSingleImport, Windows: []outbound.Window{{Requests: singleImportsPerMinute, Per: time.Minute}}},
		},
	}
}
