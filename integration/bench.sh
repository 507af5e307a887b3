#!/usr/bin/env bash
# Prints the benchmark's tables; RUN selects some of them, as "60 on ext" does.
set -euo pipefail
cd "$(dirname "$0")/.."
cd integration/bench
exec go test -tags bench -count=1 -timeout 45m -run "^TestLeaderKeyToSignal$/${RUN:-}"
