// Package reading answers what the page and the command line ask about what happened: events and their way, figures, whom to
// forget, and what comes in right now. It reads ClickHouse, and the end of Kafka's topics for the live stream.
package reading

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/tillstream/tillstream/api"
	"github.com/tillstream/tillstream/outbound"
	"github.com/tillstream/tillstream/pipeline/connections"
	"github.com/tillstream/tillstream/schemas"
	chsink "github.com/tillstream/tillstream/sinks/clickhouse"
)

// Store is where things are looked up.
type Store interface {
	SearchEvents(ctx context.Context, f chsink.EventFilter) (chsink.EventRows, error)
	Event(ctx context.Context, id string) (chsink.EventWhole, error)
	TraceOf(ctx context.Context, as, id string) (chsink.Trace, error)
	Report(ctx context.Context, r chsink.Report, f chsink.ReportFilter) (chsink.Result, error)
	Query(ctx context.Context, sql string, limits chsink.Limits) (chsink.Result, error)
	Today(ctx context.Context, environment schemas.Environment, day time.Time) (chsink.Day, error)
	Erase(ctx context.Context, e chsink.Erasure) (chsink.Receipt, error)
	Lift(ctx context.Context, email, by string) (chsink.Receipt, error)
	Issues(ctx context.Context, f chsink.PastFilter) ([]chsink.Issue, error)
	Receipts(ctx context.Context, limit int) ([]chsink.Receipt, error)
}

// Desk answers. Its fields stay as they are once it answers.
type Desk struct {
	Store Store
	Now   func() time.Time
	// Progress tells how far the consumer groups are; nil: not known here.
	Progress func(ctx context.Context) (Progress, error)
	// Refused is how many webhooks this process refused since it started; nil: it receives none.
	Refused func() int64
	// Settle is how long an erasure waits for running loaders; 0: chsink.SettleDefault.
	Settle time.Duration
	// Background is the life of erasures that were begun; nil: as long as the program.
	Background context.Context //nolint:containedctx // what is begun outlives its request

	erasures erasures
	overview overviews
}

var _ api.Reading = (*Desk)(nil)

func refuse(kind connections.RefusalKind, format string, args ...any) error {
	return connections.Refuse(kind, format, args...)
}

// refused turns findings about the question into refusals.
func refused(err error) error {
	switch {
	case errors.Is(err, chsink.ErrFilter), errors.Is(err, chsink.ErrNoEmail):
		return refuse(connections.Invalid, "%s", outbound.Redact(err.Error()))
	case errors.Is(err, chsink.ErrRefused):
		return refuse(connections.Invalid, "%v", err)
	case errors.Is(err, chsink.ErrNoEvent):
		return refuse(connections.NotFound, "there is no such event; one that was just received is there after a moment")
	}
	return err
}

// hidden stands for what names a person.
const hidden = "***"

// mask hides what names a person: an address or a contact key keeps its first letter and its domain.
func mask(text string) string {
	if text == "" {
		return ""
	}
	environment, id, ok := strings.Cut(text, "/")
	if ok && (environment == string(schemas.Live) || environment == string(schemas.Sandbox)) {
		return environment + "/" + mask(id)
	}
	if strings.Contains(text, "@") {
		return outbound.MaskEmail(text)
	}
	return hidden
}

// masked is mask where personal data was not asked for.
func masked(personalData bool, text string) string {
	if personalData {
		return text
	}
	return mask(text)
}

// redacted is text without addresses and numbers of persons where personal data was not asked for.
func redacted(personalData bool, text string) string {
	if personalData {
		return text
	}
	return outbound.Redact(text)
}

// kept is an answer that is given again for a while, made by one asker at a time.
type kept[T any] struct {
	mu   sync.Mutex
	at   time.Time
	last T
}

func (k *kept[T]) get(now time.Time, age time.Duration, make func() (T, error)) (T, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.at.IsZero() && now.Sub(k.at) < age && !now.Before(k.at) {
		return k.last, nil
	}
	got, err := make()
	if err == nil {
		k.at, k.last = now, got
	}
	return got, err
}
