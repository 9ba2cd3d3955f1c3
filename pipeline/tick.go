package pipeline

import (
	"context"
	"strconv"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tillstream/tillstream/schemas"
)

// tick appends a tick to every idle partition that has a timer due by our clock. Whether it fires, the broker's
// stamp of the tick decides: a tick is an input like others, and comes after every record appended before it.
func (l *lane) tick(ctx context.Context) {
	now := l.e.o.Clock.Now()
	for _, p := range l.running() {
		if p.queued() > 0 || now.Sub(p.lastInput) < l.e.o.TickIdle || now.Sub(p.lastTick) < l.e.o.TickIdle {
			continue
		}
		due, err := l.overdue(ctx, p, now.UnixMilli())
		if err != nil {
			if ctx.Err() == nil && p.ctx.Err() == nil {
				l.stop(p, err)
			}
			continue
		}
		if !due {
			continue
		}
		p.lastTick = now
		value, err := l.e.o.Codec.Encode(&schemas.Tick{Owner: p.fence.Owner, At: now.UTC()})
		if err != nil {
			l.log.Warn().Err(err).Int32("partition", p.number).Msg("could not encode a tick; trying again")
			continue
		}
		r := &kgo.Record{
			Topic: l.e.o.Topology.Inbox, Partition: p.number, Value: value,
			Headers: []kgo.RecordHeader{{Key: HeaderStamp, Value: strconv.AppendInt(nil, now.UnixMilli(), 10)}},
		}
		l.e.log.Append(p.ctx, r, func(r *kgo.Record, err error) {
			if err != nil {
				l.log.Warn().Err(err).Int32("partition", r.Partition).Msg("could not append a tick; trying again")
				return
			}
			l.e.m.ticks.Inc()
		})
	}
}
