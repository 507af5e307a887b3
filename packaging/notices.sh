#!/bin/sh
# Prints the licences of every module that the program $1 is made of, as they ask of
# whoever hands it on.
set -eu
echo "pgbaton is made of these modules, beside its own source and Go's standard library."
go version -m "$1" | awk '$1 == "dep" { print $2, $3 }' | while read -r module version; do
	printf '\n================ %s %s\nSource: https://%s\n\n' "$module" "$version" "$module"
	dir=$(go list -m -f '{{ .Dir }}' "$module")
	found=
	for file in "$dir"/LICEN[CS]E* "$dir"/COPYING* "$dir"/NOTICE*; do
		[ -f "$file" ] || continue
		found=1
		cat "$file"
		echo
	done
	[ -n "$found" ] || { echo "$module has no licence file" >&2; exit 1; }
done
printf '\n================ Go %s\nSource: https://go.dev\n\n' "$(go env GOVERSION)"
cat "$(go env GOROOT)/LICENSE"
