package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// traceFlush is how long the end of the process waits for the last traces to be exported.
const traceFlush = 2 * time.Second

// tracing is where traces of requests go.
type tracing struct {
	// endpoint is a URL that takes OTLP over HTTP; empty: nobody wants traces.
	endpoint string
	// ratio of the traces that are recorded, from 0 to 1, whatever callers want: they are users.
	ratio float64
}

func (t tracing) check() error {
	var errs []error
	if t.endpoint != "" {
		if u, err := url.Parse(t.endpoint); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			errs = append(errs, fmt.Errorf("--trace-endpoint: %q is not a URL such as http://collector:4318/v1/traces", t.endpoint))
		}
	}
	if t.ratio < 0 || t.ratio > 1 {
		errs = append(errs, errors.New("--trace-ratio: must be between 0 and 1"))
	}
	return errors.Join(errs...)
}

// open starts exporting, in the background: a collector that is away costs spans and no request. The whole trace is
// recorded at every gateway that it passes, or at none, since all decide by its ID.
func (t tracing) open(c *config) *sdktrace.TracerProvider {
	sampler := sdktrace.TraceIDRatioBased(t.ratio)
	c.options.TraceSampled = func(id trace.TraceID) bool {
		return sampler.ShouldSample(sdktrace.SamplingParameters{ParentContext: context.Background(), TraceID: id}).Decision == sdktrace.RecordAndSample
	}
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) {
		c.options.Log.Warn("traces could not be exported", slog.Any("error", err))
	}))
	return sdktrace.NewTracerProvider(
		sdktrace.WithBatcher(newOTLPExporter(t.endpoint)), sdktrace.WithSampler(sampler),
		sdktrace.WithResource(resource.NewSchemaless(
			attribute.String("service.name", c.options.Name+"-gateway"), attribute.String("service.namespace", c.options.Namespace),
			attribute.String("service.instance.id", c.options.Gateway), attribute.String("service.version", version),
		)),
	)
}

// endTraces exports what is left, for a moment.
func (c *config) endTraces(p *sdktrace.TracerProvider) {
	ctx, cancel := context.WithTimeout(context.Background(), traceFlush)
	defer cancel()
	if err := p.Shutdown(ctx); err != nil {
		c.options.Log.Warn("the last traces were not exported", slog.Any("error", err))
	}
}
