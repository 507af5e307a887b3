#!/usr/bin/env bash
# Breaks by chance, so many STEPS long, and then every planted bug; writes what was
# found into docs/reliability.md. In a process namespace of its own, as the tests.
set -euo pipefail
cd "$(dirname "$0")/.."

if [[ ${1:-} != --inside ]]; then
	exec unshare --mount --ipc --pid --fork --kill-child --mount-proc "integration/$(basename "$0")" --inside "$@"
fi
export PGBATON_STORM_STEPS=$2 PGBATON_STORM_BUGS=all PGBATON_STORM_REPORT=1
# Not exec: the shell is the namespace's init, and reaps the servers whose parent is gone.
go test -count=1 -timeout 8h -parallel 2 -v -run '^(TestStorm|TestPlantedBugs)$' ./integration/storm
