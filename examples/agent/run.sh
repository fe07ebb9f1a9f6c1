#!/usr/bin/env bash
# The agent, with the packages that it alone needs: installed on first use, from the lock beside it. See main.mjs.
set -euo pipefail
cd "$(dirname "$0")"
if [ ! -d mcp/node_modules/@modelcontextprotocol/sdk ]; then
  npm ci --ignore-scripts --no-audit --no-fund --prefix mcp
fi
exec node main.mjs
