package pipeline

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tillstream/tillstream/schemas"
)

const (
	// watermarkLease is how far timers may fire past the watermark: so long the next tick that carries one may take.
	watermarkLease = 30 * time.Second
	// watermarkEvery is the time between two ticks that carry the watermark into a partition with armed timers.
	watermarkEvery = 10 * time.Second
)

// ErrConfigRefused is what EngineOptions.Config answers where a version is there and cannot be followed by this process: it
// does not compile. A partition that it is activated for stays with the version that it follows.
var ErrConfigRefused = errors.New("the configuration cannot be followed")

// clock is up to when timers fire at a record stamped at: no further than receivers were there to take events, as far as
// ticks have told.
func (m *meta) clock(at int64) int64 {
	if m.Watermark == 0 {
		return at
	}
	return min(at, m.Watermark+watermarkLease.Milliseconds())
}

// see takes a tick's watermark, stamped at: it never goes back, and is never ahead of the stream.
func (m *meta) see(t *schemas.Tick, at int64) {
	if !t.Watermark.IsZero() {
		m.Watermark = max(m.Watermark, min(t.Watermark.UnixMilli(), at))
	}
}

// follows makes the partition follow version from offset of the inbox on.
func (m *meta) follows(version string, offset int64) { m.Config, m.ConfigFrom = version, offset }

// activate follows a ConfigActivation, once the version is there.
func (b *batch) activate(ctx context.Context, offset int64, a *schemas.ConfigActivation) error {
	if a.Version == b.meta.Config {
		b.meta.Counts.Activations++
		return nil
	}
	err := b.l.e.available(ctx, a.Version)
	if err != nil && !errors.Is(err, ErrConfigRefused) {
		return err // it is read again
	}
	b.meta.Counts.Activations++
	if err != nil {
		b.l.log.Error().Err(err).Int32("partition", b.p.number).Str("version", a.Version).Str("stays_with", b.meta.Config).
			Msg("a configuration was activated that this process cannot follow; the partition stays with the one before")
		b.refusals++
		return nil
	}
	b.meta.follows(a.Version, offset)
	return nil
}

// available asks whether a version of the configuration can be followed. The error is a stall, or wraps ErrConfigRefused.
func (e *Engine) available(ctx context.Context, version string) error {
	if e.o.Config == nil || version == "" {
		return nil
	}
	err := e.o.Config(ctx, version)
	if err == nil || errors.Is(err, ErrConfigRefused) {
		return err
	}
	return configStall(version, err)
}

func configStall(version string, err error) *stall {
	return &stall{
		reason: ReasonConfigUnavailable, err: fmt.Errorf("configuration version %s: %w", version, err),
		remedy: "put the version on the topic config again (tillstream apply with the folder as it was), or run a release that knows it; the partition goes on by itself then",
	}
}

// watermark is the process's own, in Unix milliseconds; 0: not known.
func (e *Engine) watermark() int64 {
	if e.o.Watermark == nil {
		return 0
	}
	if at := e.o.Watermark(); !at.IsZero() {
		return max(1, at.UnixMilli())
	}
	return 0
}

// reach is p's watermark, and whether it holds a timer that is due.
func (p *partition) reach(now time.Time) (watermark time.Time, held bool) {
	if p.meta.Watermark == 0 {
		return watermark, false
	}
	at := now.UnixMilli()
	d, ok := p.window.first()
	return time.UnixMilli(p.meta.Watermark).UTC(), ok && d.At < at && d.At >= p.meta.clock(at)
}
