#!/usr/bin/env bash
# Records the demo as docs/demo.svg. It takes asciinema and npm.
set -euo pipefail
cd "$(dirname "$0")/.."
for tool in asciinema npm; do
	type "$tool" >/dev/null || { echo "recording: $tool is missing: apt-get install $tool" >&2; exit 1; }
done
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
go build -o "$dir/pgbaton" ./cmd/pgbaton
cat >"$dir/play" <<'PLAY'
#!/bin/sh
printf '\033[1m$ pgbaton demo -moves 2\033[0m\n'
pgbaton demo -moves 2
sleep 5 # for whoever reads the last diff; what is printed then ends it
printf '\033[1m$\033[0m '
PLAY
chmod +x "$dir/play"
env -i PATH="$dir:$PATH" HOME="$dir" TERM=xterm-256color SHELL=/bin/sh LANG=C.UTF-8 \
	asciinema rec -q --cols 100 --rows 34 -c play "$dir/demo.cast"
npm install --silent --no-save --prefix "$dir" svg-term-cli@2.1.1
"$dir/node_modules/.bin/svg-term" --in "$dir/demo.cast" --out docs/demo.svg --window --no-cursor --width 100 --height 34
