package pipeline

import (
	"context"

	"github.com/twmb/franz-go/pkg/kgo"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// trace begins the stage's span in the trace that the record carries. A record without one, as all are while tracing
// is off, costs a look at its headers.
func (e *Engine) trace(ctx context.Context, r *kgo.Record) (context.Context, trace.Span) {
	parent := header(r, HeaderTrace)
	if parent == "" {
		return ctx, trace.SpanFromContext(context.Background())
	}
	ctx = propagation.TraceContext{}.Extract(ctx, propagation.MapCarrier{HeaderTrace: parent})
	return otel.Tracer("github.com/tillstream/tillstream/pipeline").Start(ctx, "stage "+e.o.Topology.Stage.Name(),
		trace.WithSpanKind(trace.SpanKindConsumer), trace.WithAttributes(attribute.String("messaging.destination.name", r.Topic),
			attribute.Int("messaging.destination.partition.id", int(r.Partition)), attribute.Int64("messaging.kafka.message.offset", r.Offset)))
}
