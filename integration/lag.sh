#!/usr/bin/env bash
# Prints the tables of the lag benchmark. It runs in a process namespace of its own, as
# the tests do: whatever way it ends, no server is left behind.
set -euo pipefail
cd "$(dirname "$0")/.."

if [[ ${1:-} != --inside ]]; then
	exec unshare --mount --ipc --pid --fork --kill-child --mount-proc "integration/$(basename "$0")" --inside
fi
cd integration/lag
# Not exec: the shell is the namespace's init, and reaps the servers whose parent is gone.
go test -tags bench -count=1 -timeout 1h -run "${RUN:-.}"
