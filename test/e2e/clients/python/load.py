# SPDX-License-Identifier: Apache-2.0
"""A service on the Python SDK, with the same manners as ../node.ts: a number of traces a line on stdin, the total of
acknowledged spans on stdout, the spans themselves in IDS_FILE, and what failed is sent again until it is taken."""

import os
import sys
import time

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

IN_FLIGHT_MAX = 1000
GOVERNED = ("gen_ai.", "openinference.", "aigov.")
CHILDREN = [
    ("SELECT customers", {"db.system.name": "postgresql", "db.namespace": "bank"}),
    (
        "chat gpt-fake",
        {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": "openai",
            "gen_ai.request.model": "gpt-fake",
            "gen_ai.usage.input_tokens": 12,
            "gen_ai.response.finish_reasons": ["stop"],
        },
    ),
    ("retrieve", {"openinference.span.kind": "RETRIEVER"}),
    ("decide", {"aigov.decision.outcome": "refused"}),
]

made = 0
acknowledged = 0
ids = open(os.environ["IDS_FILE"], "a", encoding="ascii")


class UntilTaken(SpanExporter):
    def __init__(self):
        self.otlp = OTLPSpanExporter()

    def export(self, spans):
        global acknowledged
        while self.otlp.export(spans) is not SpanExportResult.SUCCESS:
            time.sleep(0.2)
        for span in spans:
            governed = any(key.startswith(GOVERNED) for key in span.attributes)
            ids.write(f"{span.context.trace_id:032x} {span.context.span_id:016x} {int(governed)}\n")
        ids.flush()
        acknowledged += len(spans)
        print(acknowledged, flush=True)
        return SpanExportResult.SUCCESS

    def shutdown(self):
        self.otlp.shutdown()


provider = TracerProvider(resource=Resource.create())
provider.add_span_processor(
    BatchSpanProcessor(
        UntilTaken(), max_queue_size=4096, schedule_delay_millis=100, export_timeout_millis=600_000
    )
)
tracer = provider.get_tracer("bank")

for line in sys.stdin:
    for _ in range(int(line)):
        with tracer.start_as_current_span(
            "POST /answer",
            kind=trace.SpanKind.SERVER,
            attributes={"http.request.method": "POST", "http.route": "/answer"},
        ):
            for name, attributes in CHILDREN:
                tracer.start_span(name, attributes=attributes).end()
        made += len(CHILDREN) + 1
        while made - acknowledged > IN_FLIGHT_MAX:
            time.sleep(0.005)
while acknowledged < made:
    time.sleep(0.02)
provider.shutdown()
