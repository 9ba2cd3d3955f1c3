package versions

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tillstream/tillstream/schemas"
)

// Writer puts versions in force. Client leaves the choice of partitions to its caller.
type Writer struct {
	Client *kgo.Client
	Encode func(schemas.Record) ([]byte, error)
	Now    func() time.Time
	By     string // who does it, for people
}

// Publish appends a version to the topic: it is in force then, and no partition follows it yet.
func (w Writer) Publish(ctx context.Context, version string, files map[string]string) error {
	value, err := w.Encode(&schemas.ConfigVersion{Version: version, Files: files, At: w.Now().UTC()})
	if err != nil {
		return fmt.Errorf("encode the configuration: %w", err)
	}
	r := &kgo.Record{
		Topic: schemas.TopicConfig, Key: []byte(version), Value: value,
		Headers: []kgo.RecordHeader{{Key: HeaderBy, Value: []byte(w.By)}},
	}
	if err := w.Client.ProduceSync(ctx, r).FirstErr(); err != nil {
		return fmt.Errorf("append the configuration to topic %s: %w", schemas.TopicConfig, err)
	}
	return nil
}

// Activate has these partitions of automation.inbox follow version. It returns the offsets from which on they do, of those
// partitions that took the record; the error says that another one did not. Once more does no harm.
func (w Writer) Activate(ctx context.Context, version string, partitions []int32) (map[int32]int64, error) {
	value, err := w.Encode(&schemas.ConfigActivation{Version: version, By: w.By, At: w.Now().UTC()})
	if err != nil {
		return nil, fmt.Errorf("encode an activation: %w", err)
	}
	records := make([]*kgo.Record, len(partitions))
	for i, n := range partitions {
		records[i] = &kgo.Record{Topic: schemas.TopicAutomationInbox, Partition: n, Value: value}
	}
	results, offsets := w.Client.ProduceSync(ctx, records...), map[int32]int64{}
	for _, r := range results {
		if r.Err == nil {
			offsets[r.Record.Partition] = r.Record.Offset
		}
	}
	if err := results.FirstErr(); err != nil {
		return offsets, fmt.Errorf("activate version %s: %w", version, err)
	}
	return offsets, nil
}

// Touch has the automation stage look at contacts again, those that are kept in that partition.
func (w Writer) Touch(ctx context.Context, partition int32, keys []string, why string) error {
	records := make([]*kgo.Record, len(keys))
	for i, key := range keys {
		value, err := w.Encode(&schemas.ContactTouch{ContactKey: key, Why: why, At: w.Now().UTC()})
		if err != nil {
			return fmt.Errorf("encode a touch: %w", err)
		}
		records[i] = &kgo.Record{Topic: schemas.TopicAutomationInbox, Partition: partition, Key: []byte(key), Value: value}
	}
	if err := w.Client.ProduceSync(ctx, records...).FirstErr(); err != nil {
		return fmt.Errorf("touch contacts: %w", err)
	}
	return nil
}
