#!/usr/bin/env bash
# Prints the benchmark's tables.
set -euo pipefail
cd "$(dirname "$0")/.."
cd integration/bench
exec go test -tags bench -count=1 -timeout 15m
