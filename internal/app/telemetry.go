package app

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/rs/zerolog"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	"go.opentelemetry.io/otel/sdk/trace"

	"github.com/tillstream/tillstream/pipeline/config"
)

// NewLogger writes what the settings ask for to w: JSON lines, or text for people.
func NewLogger(w io.Writer, t config.Telemetry) zerolog.Logger {
	level, err := zerolog.ParseLevel(t.LogLevel)
	if err != nil || t.LogLevel == "" {
		level = zerolog.InfoLevel
	}
	if t.LogFormat == "text" {
		w = zerolog.ConsoleWriter{Out: w, TimeFormat: "15:04:05.000", NoColor: true}
	}
	zerolog.TimeFieldFormat = time.RFC3339Nano
	return zerolog.New(w).Level(level).With().Timestamp().Logger()
}

// startTracing sends spans to an OTLP collector. Without an endpoint nothing is made, and spans cost nothing.
func startTracing(ctx context.Context, endpoint, version, instance string) (stop func(), err error) {
	otel.SetTextMapPropagator(propagation.TraceContext{})
	if endpoint == "" {
		return func() {}, nil
	}
	exporter, err := otlptracehttp.New(ctx, otlptracehttp.WithEndpointURL(endpoint))
	if err != nil {
		return nil, fmt.Errorf("telemetry.otlp_endpoint %q: %w", endpoint, err)
	}
	provider := trace.NewTracerProvider(trace.WithBatcher(exporter), trace.WithResource(resource.NewSchemaless(
		attribute.String("service.name", "tillstream"), attribute.String("service.version", version), attribute.String("service.instance.id", instance))))
	otel.SetTracerProvider(provider)
	return func() {
		c, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		_ = provider.Shutdown(c)
	}, nil
}
