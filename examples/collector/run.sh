#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Starts the gateway, sends it one trace the way a Collector or any other OTLP client would, and finds the governed span
# of it in the log; ends with status 0 if it was there and the log holds. With a Collector in OTELCOL (a path to
# otelcol-contrib, say) the trace goes through that, by otel-collector-config.yaml as it is.
set -euo pipefail
cd "$(dirname "$0")/../.."

work=$(mktemp -d)
pids=()
cleanup() {
  for pid in ${pids[@]+"${pids[@]}"}; do
    kill "$pid" 2>/dev/null && wait "$pid" || true
  done
  rm -rf "$work"
}
trap cleanup EXIT

# Installed by npm it is just `sealspan`.
sealspan=(node_modules/.bin/node dist/exporter/cli/main.js)

ready() {
  for _ in $(seq 100); do
    if curl -sf -o /dev/null "$1"; then return; fi
    sleep 0.1
  done
  echo "nothing answers at $1" >&2
  exit 1
}

SEALSPAN_DIR="$work/log" "${sealspan[@]}" gateway --config examples/collector/sealspan.yaml &
pids+=($!)
ready "http://localhost:${GATEWAY_ADMIN_PORT:-14320}/readyz"
endpoint="http://localhost:${GATEWAY_HTTP_PORT:-14318}"

if [ -n "${OTELCOL:-}" ]; then
  AUDIT_ENDPOINT="localhost:${GATEWAY_GRPC_PORT:-14317}" AUDIT_QUEUE_DIR="$work/queue" \
    "$OTELCOL" --config otel-collector-config.yaml 2>"$work/otelcol.log" &
  pids+=($!)
  ready http://localhost:13133/
  endpoint=http://localhost:4318
fi

trace=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
now=$(date +%s)000000000
curl -sf "$endpoint/v1/traces" -H 'content-type: application/json' -d '{"resourceSpans": [{
  "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "shop"}}]},
  "scopeSpans": [{"scope": {"name": "example"}, "spans": [
    {"traceId": "'"$trace"'", "spanId": "00f067aa0ba902b7", "flags": 1, "name": "POST /answer", "kind": 2,
     "startTimeUnixNano": "'"$now"'", "endTimeUnixNano": "'"$now"'"},
    {"traceId": "'"$trace"'", "spanId": "00f067aa0ba902b8", "parentSpanId": "00f067aa0ba902b7", "flags": 1,
     "name": "chat gpt-fake", "kind": 3, "startTimeUnixNano": "'"$now"'", "endTimeUnixNano": "'"$now"'",
     "attributes": [
       {"key": "gen_ai.operation.name", "value": {"stringValue": "chat"}},
       {"key": "gen_ai.provider.name", "value": {"stringValue": "openai"}},
       {"key": "gen_ai.request.model", "value": {"stringValue": "gpt-fake"}}]}]}]}]}' >/dev/null

for _ in $(seq 50); do
  if "${sealspan[@]}" show --trace "$trace" "$work/log" >"$work/shown" 2>/dev/null; then break; fi
  sleep 0.2
done
cat "$work/shown"
grep -q 'chat gpt-fake' "$work/shown"
if grep -q 'POST /answer' "$work/shown"; then
  echo 'what is not governed was sealed' >&2
  exit 1
fi
kill "${pids[0]}"
wait "${pids[0]}"
"${sealspan[@]}" verify "$work/log"
