package deliver

import (
	"context"

	"github.com/twmb/franz-go/pkg/kgo"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/tillstream/tillstream/pipeline"
)

func traceOf(r *kgo.Record) string {
	for _, h := range r.Headers {
		if h.Key == pipeline.HeaderTrace {
			return string(h.Value)
		}
	}
	return ""
}

// follow begins the delivery's span in the trace of the webhook that caused the command.
func follow(ctx context.Context, e *entry) (context.Context, trace.Span) {
	if e.trace == "" {
		return ctx, trace.SpanFromContext(context.Background())
	}
	ctx = propagation.TraceContext{}.Extract(ctx, propagation.MapCarrier{pipeline.HeaderTrace: e.trace})
	return otel.Tracer("github.com/tillstream/tillstream/pipeline/deliver").Start(ctx, "deliver",
		trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(attribute.String("tillstream.destination", e.cmd.Destination),
			attribute.String("tillstream.command", e.cmd.CommandID), attribute.String("tillstream.kind", string(e.cmd.Kind))))
}
