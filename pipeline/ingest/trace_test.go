package ingest

import (
	"context"
	"strings"
	"testing"

	"go.opentelemetry.io/otel"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
)

// seeing is an Appender that notes the span it is called under.
type seeing struct{ span trace.SpanContext }

func (s *seeing) Append(ctx context.Context, _, _ string, _ []byte) error {
	s.span = trace.SpanContextFromContext(ctx)
	return nil
}

// TestSpan: one span per request, of a trace of our own, which reaches the append and holds no secret.
func TestSpan(t *testing.T) {
	spans := tracetest.NewSpanRecorder()
	before := otel.GetTracerProvider()
	otel.SetTracerProvider(sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans)))
	defer otel.SetTracerProvider(before)
	s := &seeing{}
	h := handler(t, options(s))
	const theirs = "4bf92f3577b34da6a3ce929d0e0e4736"
	post(h, path, "good", "A", "Traceparent", "00-"+theirs+"-00f067aa0ba902b7-01")
	post(h, path, "forged-canary", "A")
	ended := spans.Ended()
	if len(ended) != 2 {
		t.Fatalf("got %d spans, want 2", len(ended))
	}
	if got := ended[0].SpanContext(); s.span.TraceID() != got.TraceID() || got.TraceID().String() == theirs {
		t.Errorf("got the append under %s and the request under %s, want one trace that the sender did not choose", s.span.TraceID(), got.TraceID())
	}
	for _, span := range ended {
		text := span.Name() + span.Status().Description
		for _, a := range span.Attributes() {
			text += " " + a.Value.String()
		}
		if strings.Contains(text, "canary") || strings.Contains(text, "t0ken") || !strings.Contains(text, "shop") {
			t.Errorf("got a span that says %q, want the connection and no secret", text)
		}
	}
}
