#!/bin/sh
# Checks and renders this example. The result lies below $1 (default: rendered),
# for a look or for a diff against that of the main branch. With CHECK=1
# pgbouncer and haproxy check it as well: they must be installed then.
set -eu
here=$(dirname "$0")
out=${1:-rendered}

pgbaton check -config "$here/pgbaton.hcl"
pgbaton render -config "$here/pgbaton.hcl" -state "$here/state.yaml" -out "$out" ${CHECK:+-check}
