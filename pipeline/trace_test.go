package pipeline

import (
	"context"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace/noop"
)

func TestAStageGoesOnInTheRecordsTrace(t *testing.T) {
	spans := tracetest.NewSpanRecorder()
	otel.SetTracerProvider(trace.NewTracerProvider(trace.WithSpanProcessor(spans)))
	t.Cleanup(func() { otel.SetTracerProvider(noop.NewTracerProvider()) })
	e := &Engine{o: EngineOptions{Topology: Topology{Stage: Bind(tally{})}}}
	const parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	_, span := e.trace(context.Background(), &kgo.Record{Topic: "in", Headers: []kgo.RecordHeader{{Key: HeaderTrace, Value: []byte(parent)}}})
	span.End()
	_, untraced := e.trace(context.Background(), &kgo.Record{Topic: "in"})
	untraced.End()
	ended := spans.Ended()
	if len(ended) != 1 {
		t.Fatalf("got %d spans, want one: a record without a trace begins none", len(ended))
	}
	if got := ended[0].SpanContext().TraceID().String(); got != parent[3:35] || ended[0].Name() != "stage tally" {
		t.Errorf("got span %q of trace %s, want stage tally of %s", ended[0].Name(), got, parent[3:35])
	}
}
