// Package beat tells up to when receivers were there to take events, so that no deadline passes because of our own outage.
//
// Every receiver writes a beat the way it writes events; what reads the beats makes the watermark of them that the stages'
// ticks carry. All times that are compared are the broker's stamps of beats, but for the moment at which a receiver began.
package beat

import (
	"time"

	"github.com/tillstream/tillstream/schemas"
)

const (
	// Every is the time between two beats of a receiver.
	Every = 5 * time.Second
	// Gap without any receiver's beat is an outage.
	Gap = 30 * time.Second
	// GraceDefault is how long after an outage deadlines stay where they were: the providers send again what they could
	// not deliver, and the lists are read.
	GraceDefault = 15 * time.Minute
)

// Board is the last beat of each receiver. The zero Board has none.
type Board struct {
	beats map[string]schemas.ReceiverBeat // At: the broker's stamp
	last  time.Time
}

// Take notes a beat that was appended at that time, the broker's.
func (b *Board) Take(beat schemas.ReceiverBeat, appended time.Time) {
	if b.beats == nil {
		b.beats = map[string]schemas.ReceiverBeat{}
	}
	beat.At = appended
	b.beats[beat.Instance] = beat
	if appended.After(b.last) {
		b.last = appended
	}
}

// Watermark is up to when nothing was missed: the last beat, or, until grace has passed after an outage, its begin. Zero:
// there never was a beat.
func (b *Board) Watermark(grace time.Duration) time.Time {
	mark := b.last
	for _, r := range b.beats {
		if pending(r, b.last, grace) && r.OutageFrom.Before(mark) {
			mark = r.OutageFrom
		}
	}
	return mark
}

// pending reports whether the outage before r's begin still counts at that time.
func pending(r schemas.ReceiverBeat, at time.Time, grace time.Duration) bool {
	return !r.OutageFrom.IsZero() && at.Before(r.UpSince.Add(grace))
}

// Begin is what a receiver that begins now, or took no event for a while, writes: where nobody else was there meanwhile,
// the outage began at the present watermark, so that one outage soon after another counts as one. A receiver that comes
// back at once goes on as if it had not been away.
func (b *Board) Begin(instance string, now time.Time, grace time.Duration) schemas.ReceiverBeat {
	beat := schemas.ReceiverBeat{Instance: instance, UpSince: now}
	switch was, known := b.beats[instance]; {
	case b.last.IsZero():
	case now.Sub(b.last) > Gap:
		beat.OutageFrom = b.Watermark(grace)
	case known && pending(was, b.last, grace):
		beat.UpSince, beat.OutageFrom = was.UpSince, was.OutageFrom
	}
	return beat
}
