package load

import (
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tillstream/tillstream/pipeline/kafka"
)

// Reason says why a partition is not loaded any further. The words are labels of the metric
// tillstream_load_partitions_stalled, the same as the engine's.
type Reason string

// The reasons.
const (
	ReasonInputRecreated Reason = "INPUT_RECREATED"
	ReasonInputTruncated Reason = "INPUT_TRUNCATED"
)

// stall is why a partition stops for good: until it is assigned anew and found in order.
type stall struct {
	reason Reason
	remedy string
	err    error
}

func (s *stall) Error() string { return fmt.Sprintf("%s: %v: %s", s.reason, s.err, s.remedy) }
func (s *stall) Unwrap() error { return s.err }

// topicID is a topic's id as tokens and metadata hold it; they outlive the program, so its form must not change.
func topicID(info kafka.TopicInfo) string { return base64.StdEncoding.EncodeToString(info.ID[:]) }

// suspect has the partition compared with its topic at once. A client that found data lost by the leader's epochs has
// proved what the offsets alone may no longer show.
func (p *partition) suspect(err error) {
	if p.checkTries == 0 {
		p.checkAt = time.Time{}
	}
	var lost *kgo.ErrDataLoss
	if errors.As(err, &lost) && lost.ResetTo < p.reached() {
		p.lostTo = &lost.ResetTo
	}
}

// reached is the offset up to which the topic is known to have come.
func (p *partition) reached() int64 {
	at := max(p.next, p.seen+1)
	if p.plan != nil {
		at = max(at, p.plan.to+1)
	}
	return at
}

// judge compares what is known of the partition with its topic as it is now.
func (p *partition) judge(id string, end int64) *stall {
	if p.lostTo != nil {
		end = min(end, *p.lostTo)
	}
	switch reached := p.reached(); {
	case p.topicID != "" && p.topicID != id:
		return recreated(p.topic, reached)
	case reached > end:
		return &stall{
			reason: ReasonInputTruncated,
			err:    fmt.Errorf("%s/%d ends at %d, but was read up to %d: %w", p.topic, p.number, end, reached, kafka.ErrTruncated),
			remedy: "the topic lost records that may be stored (unclean election, lost disks), and new ones reuse their offsets: stop the loaders and set the " +
				"group's offset of this partition to where storing shall go on (kafka-consumer-groups.sh --reset-offsets --to-offset); it goes on under a new replay generation",
		}
	}
	return nil
}

func recreated(topic string, reached int64) *stall {
	return &stall{
		reason: ReasonInputRecreated, err: fmt.Errorf("topic %s was deleted and created again since its offset %d", topic, reached),
		remedy: "offsets of the old topic mean nothing in the new one: stop the loaders and delete the group's offsets of this topic (kafka-consumer-groups.sh --delete-offsets); " +
			"the new topic is then stored from its start",
	}
}

// inspectAt is when the partition is to be compared with its topic.
func (p *partition) inspectAt() (time.Time, bool) { return p.checkAt, p.stalled == nil }

// inspect compares partitions with their topics: new ones before anything of them is used, suspicious ones at once, the
// others now and then.
func (l *Loader) inspect(ctx context.Context, s kafka.Session) {
	now := l.o.Clock.Now()
	var due, routine []*partition
	for _, p := range l.sorted() {
		if at, ok := p.inspectAt(); !ok || at.After(now) {
			continue
		}
		if p.unchecked || p.checkAt.IsZero() {
			due = append(due, p)
		} else {
			routine = append(routine, p)
		}
	}
	slices.SortStableFunc(routine, func(a, b *partition) int { return a.checkAt.Compare(b.checkAt) })
	due = append(due, routine[:min(len(routine), inspectMax)]...)
	if len(due) == 0 {
		return
	}
	ctx, cancel := l.o.Clock.WithTimeout(ctx, inspectTimeout)
	defer cancel()
	topics := l.describe(ctx, due)
	var found []*partition
	for _, p := range due {
		if err := l.compare(ctx, s, p, topics[p.topic]); err != nil {
			p.checkTries++
			p.checkErr, p.checkAt = err, l.o.Clock.Now().Add(l.backoff(p.checkTries))
			l.o.Log.Warn().Err(err).Str("topic", p.topic).Int32("partition", p.number).Int("tries", p.checkTries).Msg("cannot compare the partition with its topic yet")
			continue
		}
		p.checkTries, p.checkErr, p.checkAt = 0, nil, l.o.Clock.Now().Add(inspectInterval)
		if p.unchecked && p.stalled == nil {
			found = append(found, p)
		}
	}
	l.begin(s, found)
}

// described is the answer about a topic.
type described struct {
	id  string
	err error
}

// describe asks once for each topic of the partitions.
func (l *Loader) describe(ctx context.Context, of []*partition) map[string]described {
	topics := map[string]described{}
	for _, p := range of {
		if _, asked := topics[p.topic]; asked {
			continue
		}
		if err := ctx.Err(); err != nil { // the client might still wait for an answer
			topics[p.topic] = described{err: err}
			continue
		}
		info, err := l.o.Cluster.Describe(ctx, p.topic)
		topics[p.topic] = described{topicID(info), err}
	}
	return topics
}

// compare stalls the partition where its topic is not what it was. An error says that it could not be compared.
func (l *Loader) compare(ctx context.Context, s kafka.Session, p *partition, topic described) error {
	if err := cmp.Or(topic.err, ctx.Err()); err != nil {
		return err
	}
	start, end, err := l.o.Cluster.Bounds(ctx, p.topic, p.number)
	if err != nil {
		return err
	}
	if found := p.judge(topic.id, end); found != nil {
		l.stall(s, p, found)
		return nil
	}
	if !p.unchecked {
		return nil
	}
	p.topicID = topic.id
	switch {
	case p.next < 0:
		p.next, p.seen = start, start-1
	case p.next < start:
		l.o.Log.Error().Str("topic", p.topic).Int32("partition", p.number).Int64("from", p.next).Int64("to", start-1).
			Msg("records were deleted from the topic before they were stored: lengthen its retention")
		p.seen = start - 1
	}
	return nil
}

// begin lets partitions be fetched that were found in order.
func (l *Loader) begin(s kafka.Session, found []*partition) {
	if len(found) == 0 {
		return
	}
	var offsets []kafka.Offset
	resume := map[string][]int32{}
	for _, p := range found {
		p.unchecked = false
		offsets = append(offsets, kafka.Offset{Topic: p.topic, Partition: p.number, At: p.seen + 1})
		resume[p.topic] = append(resume[p.topic], p.number)
	}
	s.SetOffsets(offsets)
	s.Resume(resume)
}

// stall stops a partition: it is not fetched and nothing of it is inserted any more. What was planned stays on Kafka.
func (l *Loader) stall(s kafka.Session, p *partition, why *stall) {
	s.Pause(map[string][]int32{p.topic: {p.number}})
	p.stalled, p.rows, p.bytes, p.plan = why, nil, 0, nil
	l.o.Log.Error().Err(why.err).Str("reason", string(why.reason)).Str("remedy", why.remedy).Str("topic", p.topic).Int32("partition", p.number).Msg("partition stalled")
}

// sameTopics leaves out partitions whose topic is not, or perhaps not, the one that their rows were fetched from: it was
// the same before the first was fetched, so that the rows are of that topic, and the id in their token is the right one,
// if it still is.
func (l *Loader) sameTopics(ctx context.Context, s kafka.Session, due []*partition) []*partition {
	ctx, cancel := l.o.Clock.WithTimeout(ctx, inspectTimeout)
	defer cancel()
	topics := l.describe(ctx, due)
	return slices.DeleteFunc(due, func(p *partition) bool {
		switch t := topics[p.topic]; {
		case t.err != nil:
			l.postpone(p, t.err)
			return true
		case t.id != p.topicID:
			l.stall(s, p, recreated(p.topic, p.reached()))
			return true
		}
		return false
	})
}
