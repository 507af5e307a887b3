#!/usr/bin/env bash
# Injects every fault of the catalogue, and writes docs/reliability.md anew. It runs
# in a process namespace of its own, as the tests do: whatever way it ends, no
# server is left behind.
set -euo pipefail
cd "$(dirname "$0")/.."

if [[ ${1:-} != --inside ]]; then
	exec unshare --mount --ipc --pid --fork --kill-child --mount-proc "integration/$(basename "$0")" --inside "$@"
fi
export PGBATON_CHAOS_ROUNDS=$2
# Not exec: the shell is the namespace's init, and reaps the servers whose parent is gone.
go test -tags chaos -count=1 -timeout 8h -v -run '^TestChaos$' ./integration/chaos
