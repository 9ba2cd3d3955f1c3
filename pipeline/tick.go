package pipeline

import (
	"context"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tillstream/tillstream/schemas"
)

// tick appends a tick to every idle partition that has a timer due by our clock, and one to every partition that has
// timers whenever the watermark is to be told. Whether a timer fires, the broker's stamp of the tick decides: a tick is an
// input like others, and comes after every record appended before it.
func (l *lane) tick(ctx context.Context) {
	now, mark := l.e.o.Clock.Now(), l.e.watermark()
	for _, p := range l.running() {
		tells := mark != 0 && p.window.armed > 0 && now.Sub(p.lastMark) >= watermarkEvery
		if !tells {
			due, err := l.wantsTick(ctx, p, now, mark)
			if err != nil && ctx.Err() == nil && p.ctx.Err() == nil {
				l.stop(p, err)
			}
			if err != nil || !due {
				continue
			}
		}
		p.lastTick, p.lastMark = now, now
		l.appendTick(p, now, mark)
	}
}

// wantsTick reports whether p is idle and has a timer that a tick with this watermark would fire.
func (l *lane) wantsTick(ctx context.Context, p *partition, now time.Time, mark int64) (bool, error) {
	if p.queued() > 0 || now.Sub(p.lastInput) < l.e.o.TickIdle || now.Sub(p.lastTick) < l.e.o.TickIdle {
		return false, nil
	}
	then := meta{Watermark: max(p.meta.Watermark, mark)}
	return l.overdue(ctx, p, then.clock(now.UnixMilli()))
}

func (l *lane) appendTick(p *partition, now time.Time, mark int64) {
	tick := &schemas.Tick{Owner: p.fence.Owner, At: now.UTC()}
	if mark != 0 {
		tick.Watermark = time.UnixMilli(mark).UTC()
	}
	value, err := l.e.o.Codec.Encode(tick)
	if err != nil {
		l.log.Warn().Err(err).Int32("partition", p.number).Msg("could not encode a tick; trying again")
		return
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
