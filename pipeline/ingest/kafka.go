package ingest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// An Appender writes one record. Nil means that every in-sync replica has it. An error means that it may or may not
// be there: the sender has to send again, and what reads the topic recognises the repetition.
type Appender interface {
	Append(ctx context.Context, topic, key string, value []byte) error
}

// appendWaitDefault bounds the wait for the brokers: a provider's own time-out is not much longer.
const appendWaitDefault = 8 * time.Second

// KafkaAppender appends through a client that waits for all replicas and produces idempotently, as clients of package
// pipeline/kafka do.
type KafkaAppender struct {
	Client *kgo.Client
	// Wait bounds one append; zero: 8 s.
	Wait time.Duration
}

// ErrUnknownResult says that the brokers did not answer in time: the record may be on the topic.
var ErrUnknownResult = errors.New("no answer from kafka in time")

// Append implements Appender. Where the client's buffer is full it does not wait.
func (a KafkaAppender) Append(ctx context.Context, topic, key string, value []byte) error {
	limit := a.Wait
	if limit <= 0 {
		limit = appendWaitDefault
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	rec := &kgo.Record{Topic: topic, Key: []byte(key), Value: value, Headers: traceHeaders(ctx)}
	done := make(chan error, 1)
	// The client drops the record at the end of ctx where that is still safe; where it is not, the promise is kept and
	// nobody listens.
	a.Client.TryProduce(ctx, rec, func(_ *kgo.Record, err error) { done <- err })
	select {
	case err := <-done:
		if err != nil {
			return fmt.Errorf("append to %s: %w", topic, err)
		}
		return nil
	case <-ctx.Done():
		return fmt.Errorf("append to %s: %w (%w)", topic, ErrUnknownResult, ctx.Err())
	}
}

// traceHeaders say which trace ctx is in; none where it is in no trace.
func traceHeaders(ctx context.Context) []kgo.RecordHeader {
	if !trace.SpanContextFromContext(ctx).IsValid() {
		return nil
	}
	carrier := propagation.MapCarrier{}
	otel.GetTextMapPropagator().Inject(ctx, carrier)
	headers := make([]kgo.RecordHeader, 0, len(carrier))
	for _, name := range carrier.Keys() {
		headers = append(headers, kgo.RecordHeader{Key: name, Value: []byte(carrier[name])})
	}
	return headers
}
