package pipeline

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/tillstream/tillstream/pipeline/kafka"
)

// timerWindow bounds the deadlines kept in memory for each partition.
const timerWindow = 8192

// resume compares where the state stands (M, the meta record) with where the group stands (N), per input, and with
// what the inputs hold. It decides where the partition goes on, or that it must not.
func (r *recovery) resume(ctx context.Context, group map[string]int64) (ends map[string]int64, ahead map[string]bool, err error) {
	var m *meta
	if r.meta != nil {
		if m, err = decodeMeta(r.meta); err != nil {
			return nil, nil, &stall{reason: ReasonStateUnreadable, err: err, final: true, remedy: "run the version that wrote it, then resume the partition"}
		}
	}
	next := meta{Inputs: map[string]position{}}
	if m != nil {
		next = m.clone()
	}
	ends, ahead = map[string]int64{}, map[string]bool{}
	ids := map[string][16]byte{}
	for _, topic := range r.l.e.o.Topology.Inputs {
		info, err := r.l.e.log.Describe(ctx, topic)
		if err != nil {
			return nil, nil, err
		}
		start, end, err := r.l.e.log.Bounds(ctx, topic, r.p.number)
		if err != nil {
			return nil, nil, err
		}
		var known *position
		if pos, ok := next.Inputs[topic]; ok {
			known = &pos
		}
		in := input{topic: topic, id: hex.EncodeToString(info.ID[:]), start: start, end: end, group: group[topic]}
		at, alarm, err := in.resume(known)
		if err != nil {
			return nil, nil, err
		}
		if alarm != "" {
			r.l.e.m.offsetAlarms.WithLabelValues(topic).Inc()
			r.l.log.Error().Str("topic", topic).Int32("partition", r.p.number).Int64("state", at).Int64("group", in.group).Int64("start", start).Msg(alarm)
		}
		next.Inputs[topic] = position{TopicID: in.id, Next: at}
		ends[topic], ahead[topic], ids[topic] = end, in.group < at, info.ID
	}
	if next.Config == "" {
		inbox := r.l.e.o.Topology.Inbox
		next.follows(r.l.e.o.ConfigVersion, next.Inputs[inbox].Next)
	}
	if err := r.l.e.available(ctx, next.Config); errors.Is(err, ErrConfigRefused) { // there is none to stay with
		return nil, nil, configStall(next.Config, err)
	} else if err != nil {
		return nil, nil, err
	}
	r.p.meta, r.p.inputIDs = next, ids
	return ends, ahead, nil
}

// input is one input partition as Kafka shows it; group is -1 where the group has no offset.
type input struct {
	topic, id         string
	start, end, group int64
}

// resume returns the offset to go on from, and a line for the operator where something is odd.
func (in input) resume(known *position) (at int64, alarm string, err error) {
	if known == nil {
		if in.group > 0 {
			return 0, "", &stall{
				reason: ReasonChangelogLost, final: true, err: fmt.Errorf("the group read %s up to %d, but the changelog knows nothing of it", in.topic, in.group),
				remedy: "the changelog was lost or recreated: restore it, or stop the stage and delete the group's offsets (kafka-consumer-groups.sh --delete-offsets), to replay from nothing",
			}
		}
		return in.start, "", nil
	}
	if known.TopicID != in.id {
		return 0, "", &stall{
			reason: ReasonInputRecreated, final: true, err: fmt.Errorf("topic %s was deleted and created again since its offset %d", in.topic, known.Next),
			remedy: "offsets of the old topic mean nothing in the new one: stop the stage, delete its changelog and its group, and start it again; its state begins anew",
		}
	}
	switch m := known.Next; {
	case m < in.group:
		return 0, "", &stall{
			reason: ReasonChangelogLost, final: true, err: fmt.Errorf("the group read %s up to %d, but the state only up to %d", in.topic, in.group, m),
			remedy: "the changelog lost committed records, or offsets were moved ahead by hand: stop the stage, restore the one or reset the other (kafka-consumer-groups.sh --reset-offsets), and start it again",
		}
	case m > in.end:
		return 0, "", &stall{
			reason: ReasonInputTruncated, final: true, err: errors.Join(fmt.Errorf("topic %s ends at %d, but was read up to %d", in.topic, in.end, m), kafka.ErrTruncated),
			remedy: "the input lost records that were processed (unclean election, lost disks): new ones would reuse their offsets; stop the stage, delete its changelog and its group, and start it again; its state begins anew",
		}
	case m < in.start:
		return m, "records between the state and the start of the input were deleted before they were read", nil
	case in.group < 0:
		return m, "the group's offset is gone, expired or deleted; going on from the state", nil
	case m > in.group:
		return m, "the group's offset went back; going on from the state", nil
	default:
		return m, "", nil
	}
}
