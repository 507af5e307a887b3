#!/bin/sh
# Prints the Debian version of what `git describe --tags --always --dirty` says, so
# that dpkg sorts them as they were made: 1.2.0~rc.1, 1.2.0, 1.2.0+4.gabc1234.
# What is no version, as a bare commit, sorts before all that are.
set -eu
version=$(printf %s "$1" | sed -E 's/^v([0-9])/\1/; s/-([0-9]+)-g([0-9a-f]+)/+\1.g\2/; s/-dirty$/+dirty/; s/-/~/g; s/[^A-Za-z0-9.+~]/./g')
case $version in
[0-9]*.[0-9]*) echo "$version" ;;
*) echo "0.0.0~$version" ;;
esac
