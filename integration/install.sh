#!/usr/bin/env bash
# Installs the Debian packages that the tests need and that are not there. The
# services that come with them are not started: the tests start their own, on
# free ports, and leave alone what runs already.
set -euo pipefail
cd "$(dirname "$0")"

# npm is a package of its own on Debian, and in other people's nodejs packages.
provided=$(dpkg-query -W -f '${db:Status-Status} ${Provides},\n' | sed -n 's/^installed //p' | tr , '\n' | awk 'NF {print $1}')

missing=()
while read -r package _; do
	[[ -z $package || $package == '#' ]] && continue
	status=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
	[[ $status == installed ]] || grep -qx "$package" <<<"$provided" || missing+=("$package")
done <packages.txt

if ((EUID != 0)); then
	{
		echo "make test needs root: it runs servers as the user postgres, and network namespaces."
		((${#missing[@]})) && echo "Install first: apt-get install --no-install-recommends ${missing[*]}"
		echo 'hint: sudo env "PATH=$PATH" make test'
	} >&2
	exit 1
fi
((${#missing[@]})) || exit 0

if ! command -v apt-get >/dev/null; then
	echo "not installed, and this is no Debian: ${missing[*]}" >&2
	exit 1
fi

policy=/usr/sbin/policy-rc.d
if [[ ! -e $policy ]]; then
	trap 'rm -f "$policy"' EXIT
	printf '#!/bin/sh\nexit 101\n' >"$policy"
	chmod 755 "$policy"
fi
export DEBIAN_FRONTEND=noninteractive
echo "installing ${missing[*]}"
apt-get update -qq
apt-get install -qq -y --no-install-recommends "${missing[@]}"
