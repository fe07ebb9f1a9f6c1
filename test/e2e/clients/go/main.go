// SPDX-License-Identifier: Apache-2.0

// A service on the Go SDK, with the same manners as ../node.ts: a number of traces a line on stdin, the total of
// acknowledged spans on stdout, the spans themselves in IDS_FILE, and what failed is sent again until it is taken.
package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

const inFlightMax = 1000

var acknowledged atomic.Int64

type untilTaken struct {
	sdktrace.SpanExporter
	ids *os.File
}

func (e untilTaken) ExportSpans(_ context.Context, spans []sdktrace.ReadOnlySpan) error {
	// Not the context given: its deadline would make this give up.
	for e.SpanExporter.ExportSpans(context.Background(), spans) != nil {
		time.Sleep(200 * time.Millisecond)
	}
	var lines strings.Builder
	for _, span := range spans {
		c := span.SpanContext()
		fmt.Fprintf(&lines, "%s %s %d\n", c.TraceID(), c.SpanID(), governed(span.Attributes()))
	}
	if _, err := e.ids.WriteString(lines.String()); err != nil {
		panic(err)
	}
	fmt.Println(acknowledged.Add(int64(len(spans))))
	return nil
}

func governed(attributes []attribute.KeyValue) int {
	for _, a := range attributes {
		for _, prefix := range []string{"gen_ai.", "openinference.", "aigov."} {
			if strings.HasPrefix(string(a.Key), prefix) {
				return 1
			}
		}
	}
	return 0
}

type child struct {
	name       string
	attributes []attribute.KeyValue
}

var children = []child{
	{"SELECT claims", []attribute.KeyValue{
		attribute.String("db.system.name", "postgresql"), attribute.String("db.namespace", "claims")}},
	{"chat gpt-fake", []attribute.KeyValue{
		attribute.String("gen_ai.operation.name", "chat"),
		attribute.String("gen_ai.provider.name", "openai"),
		attribute.String("gen_ai.request.model", "gpt-fake"),
		attribute.Int("gen_ai.usage.input_tokens", 12),
		attribute.StringSlice("gen_ai.response.finish_reasons", []string{"stop"})}},
	{"retrieve", []attribute.KeyValue{attribute.String("openinference.span.kind", "RETRIEVER")}},
	{"decide", []attribute.KeyValue{attribute.String("aigov.decision.outcome", "granted")}},
}

func main() {
	ctx := context.Background()
	ids, err := os.OpenFile(os.Getenv("IDS_FILE"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		panic(err)
	}
	exporter, err := otlptracegrpc.New(ctx)
	if err != nil {
		panic(err)
	}
	provider := sdktrace.NewTracerProvider(sdktrace.WithBatcher(untilTaken{exporter, ids},
		sdktrace.WithBlocking(), sdktrace.WithBatchTimeout(100*time.Millisecond)))
	tracer := provider.Tracer("claims")

	var made int64
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		count, err := strconv.Atoi(lines.Text())
		if err != nil {
			panic(err)
		}
		for range count {
			inRoot, root := tracer.Start(ctx, "POST /answer", trace.WithSpanKind(trace.SpanKindServer),
				trace.WithAttributes(attribute.String("http.request.method", "POST")))
			for _, c := range children {
				_, span := tracer.Start(inRoot, c.name, trace.WithAttributes(c.attributes...))
				span.End()
			}
			root.End()
			made += int64(len(children)) + 1
			for made-acknowledged.Load() > inFlightMax {
				time.Sleep(5 * time.Millisecond)
			}
		}
	}
	for acknowledged.Load() < made {
		time.Sleep(20 * time.Millisecond)
	}
	if err := provider.Shutdown(ctx); err != nil {
		panic(err)
	}
}
