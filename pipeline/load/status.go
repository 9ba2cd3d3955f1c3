package load

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/tillstream/tillstream/outbound"
)

// Status is what the loader is doing.
type Status struct {
	Joined     bool              `json:"joined"`
	Partitions []PartitionStatus `json:"partitions"` // of this member, by topic and number
}

// PartitionStatus is the state of one partition of this member.
type PartitionStatus struct {
	Topic      string        `json:"topic"`
	Partition  int32         `json:"partition"`
	Next       int64         `json:"next"`        // first offset that is not stored
	LagRecords int64         `json:"lag_records"` // offsets up to the last stable one that are not stored, as far as known
	Lag        time.Duration `json:"-"`
	LagSeconds float64       `json:"lag_seconds"` // Lag, as shown
	Rows       int           `json:"rows"`        // held in memory
	Bytes      int           `json:"bytes"`
	Tries      int           `json:"tries"`             // failed in a row
	Paused     bool          `json:"paused"`            // not fetched, because too much is held
	Err        error         `json:"-"`                 // why the last try failed
	Trouble    string        `json:"trouble,omitempty"` // Err, as shown
}

// Status describes the partitions that this member has, as they were after its last pass.
func (l *Loader) Status() Status { return l.view.Load().status }

type view struct {
	status   Status
	fetchErr error
}

func (l *Loader) look(now time.Time) *view {
	s := Status{Joined: l.joined}
	for _, p := range l.partitions {
		shown := PartitionStatus{
			Topic: p.topic, Partition: p.number, Next: p.next, LagRecords: p.lagRecords(), Lag: p.lag(now),
			Rows: len(p.rows), Bytes: p.bytes, Tries: p.tries, Paused: p.paused, Err: p.err,
		}
		shown.LagSeconds = shown.Lag.Seconds()
		if p.err != nil {
			shown.Trouble = outbound.Redact(p.err.Error())
		}
		s.Partitions = append(s.Partitions, shown)
	}
	slices.SortFunc(s.Partitions, func(a, b PartitionStatus) int {
		return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
	})
	return &view{s, l.fetchErr}
}

func (p *partition) lagRecords() int64 {
	if p.next < 0 {
		return 0
	}
	return max(0, p.end-p.next, p.seen+1-p.next)
}

// lag is the age, by the broker's clock, of the oldest row that is held.
func (p *partition) lag(now time.Time) time.Duration {
	if len(p.rows) == 0 {
		return 0
	}
	return max(0, now.Sub(p.rows[0].At))
}

// Ready returns nil when the loader has joined its group and neither preparing nor fetching nor storing fails.
func (l *Loader) Ready() error {
	v := l.view.Load()
	if v.fetchErr != nil {
		return v.fetchErr
	}
	if !v.status.Joined {
		return errors.New("load: has not joined its consumer group yet")
	}
	for _, p := range v.status.Partitions {
		if p.Err != nil {
			return p.Err
		}
	}
	return nil
}

// CaughtUp reports whether everything that is stable on the topics now is stored, by whichever members of the group.
func (l *Loader) CaughtUp(ctx context.Context) (bool, error) {
	starts, err := l.admin.ListStartOffsets(ctx, l.o.Topics...)
	if err == nil {
		err = starts.Error()
	}
	if err != nil {
		return false, fmt.Errorf("list start offsets: %w", err)
	}
	ends, err := l.admin.ListCommittedOffsets(ctx, l.o.Topics...)
	if err == nil {
		err = ends.Error()
	}
	if err != nil {
		return false, fmt.Errorf("list stable offsets: %w", err)
	}
	marks, err := l.admin.FetchOffsets(ctx, l.o.Group)
	if err == nil {
		err = marks.Error()
	}
	if errors.Is(err, kerr.GroupIDNotFound) {
		marks, err = nil, nil // nobody has joined yet
	}
	if err != nil {
		return false, fmt.Errorf("fetch the offsets of group %s: %w", l.o.Group, err)
	}
	for topic, partitions := range ends {
		for number, end := range partitions {
			if start, ok := starts.Lookup(topic, number); ok && start.Offset >= end.Offset {
				continue
			}
			m, ok := marks.Lookup(topic, number)
			if !ok || m.At < end.Offset || parseMetadata(&m.Metadata).Plan != "" {
				return false, nil
			}
		}
	}
	return true, nil
}
