package load

import (
	"context"
	"errors"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/tillstream/tillstream/outbound"
	"github.com/tillstream/tillstream/pipeline/kafka"
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
	RetryAt    time.Time     `json:"retry_at,omitzero"` // of the next try, after one that failed
	Stalled    Reason        `json:"stalled,omitempty"` // why it does not go on; empty: it does
	Remedy     string        `json:"remedy,omitempty"`  // what a person can do about that
	Err        error         `json:"-"`                 // why it is stalled, or the last try or comparison with its topic failed
	Trouble    string        `json:"trouble,omitempty"` // Err, as shown
}

// Status describes the partitions that this member has, as they were after its last pass.
func (l *Loader) Status() Status { return l.view.Load().status }

type view struct {
	status  Status
	trouble error
}

func (l *Loader) look(now time.Time) *view {
	s := Status{Joined: l.joined}
	for _, p := range l.sorted() {
		s.Partitions = append(s.Partitions, p.status(now))
	}
	return &view{s, l.troubleErr}
}

func (p *partition) status(now time.Time) PartitionStatus {
	s := PartitionStatus{
		Topic: p.topic, Partition: p.number, Next: p.next, LagRecords: p.lagRecords(), Lag: p.lag(now),
		Rows: len(p.rows), Bytes: p.bytes, Tries: p.tries, Paused: p.paused, RetryAt: p.retryAt, Err: p.err,
	}
	s.LagSeconds = s.Lag.Seconds()
	if s.Err == nil {
		s.Err = p.checkErr
	}
	if p.stalled != nil {
		s.Stalled, s.Remedy, s.Err, s.RetryAt = p.stalled.reason, p.stalled.remedy, p.stalled, time.Time{}
	}
	if s.Err != nil {
		s.Trouble = outbound.Redact(s.Err.Error())
	}
	return s
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

// Ready returns nil when the loader has joined its group and neither preparing nor fetching nor storing fails
// and no partition is stalled.
func (l *Loader) Ready() error {
	v := l.view.Load()
	if v.trouble != nil {
		return v.trouble
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

// CaughtUp reports whether everything that is on the topics now is decided and stored, by whichever members of the group.
func (l *Loader) CaughtUp(ctx context.Context) (bool, error) {
	for _, topic := range l.o.Topics {
		info, err := l.o.Cluster.Describe(ctx, topic)
		if err != nil {
			return false, err
		}
		numbers := make([]int32, info.Count)
		for i := range numbers {
			numbers[i] = int32(i)
		}
		marks, err := l.o.Cluster.Offsets(ctx, l.o.Group, []string{topic}, numbers)
		if errors.Is(err, kerr.GroupIDNotFound) {
			marks, err = make([]kafka.Offset, len(numbers)), nil // nobody has joined yet
		}
		if err != nil {
			return false, err
		}
		for i, number := range numbers {
			start, end, err := l.o.Cluster.Bounds(ctx, topic, number)
			if err != nil {
				return false, err
			}
			m, _ := parseMetadata(marks[i].Metadata)
			if start < end && (marks[i].At < end || m.Plan != "") {
				return false, nil
			}
		}
	}
	return true, nil
}
