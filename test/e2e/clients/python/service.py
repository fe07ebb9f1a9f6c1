# SPDX-License-Identifier: Apache-2.0
"""A service with the real openai package, instrumented by the module named on the command line; nothing in it knows of an
audit. Asks the provider at OPENAI_BASE_URL once within a request of its own, and prints the trace id."""

import sys
from importlib import import_module

from openai import OpenAI
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

provider = TracerProvider(resource=Resource.create())
provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
trace.set_tracer_provider(provider)
import_module(sys.argv[1]).OpenAIInstrumentor().instrument()

with trace.get_tracer("advice").start_as_current_span("POST /advice") as span:
    OpenAI(api_key="none").chat.completions.create(
        model="gpt-fake",
        messages=[{"role": "user", "content": "Is order 4711 of Erika Mustermann covered?"}],
    )
    print(f"{span.get_span_context().trace_id:032x}", flush=True)
provider.shutdown()
