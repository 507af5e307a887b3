#!/usr/bin/env bash
# Runs the tests in a process namespace of their own: whatever way they end,
# the kernel ends every process in it, daemons included. What still ran when
# the tests were done is a failure all the same.
set -euo pipefail
cd "$(dirname "$0")/.."

if [[ ${1:-} != --inside ]]; then
	exec unshare --mount --ipc --pid --fork --kill-child --mount-proc "integration/$(basename "$0")" --inside "$@"
fi
shift

# What is neither this shell nor the one that looks, and not dead already.
left() {
	local here=$BASHPID
	ps -e -o pid=,ppid=,stat=,args= |
		awk -v shell=$$ -v here="$here" '$1 != shell && $1 != here && $2 != here && $3 !~ /^Z/'
}

result=0
# -p 3: most of the time is spent waiting for servers.
# -count=1: go's cache knows neither the servers nor the pgbaton that the tests build.
go test -race -json -count=1 -p 3 -timeout 30m "$@" | go run ./integration/tally || result=1

for _ in {1..50}; do
	still=$(left)
	[[ -z $still ]] && break
	sleep 0.1
done
if [[ -n $still ]]; then
	printf 'FAIL: processes left behind:\n%s\n' "$still"
	result=1
fi

echo "ran against:"
{
	.cache/tools/consul-*/consul version
	/usr/lib/postgresql/*/bin/postgres --version
	patroni --version
	pgbouncer --version
	haproxy -v
	keepalived --version
	docker --version
	prometheus --version
	chromium --version
	systemd-nspawn --version
} 2>&1 | grep -E '^(Consul v|postgres |patroni |PgBouncer |HAProxy version|Keepalived v|Docker version|prometheus, version|Chromium |systemd )' | sed 's/^/  /'
exit "$result"
