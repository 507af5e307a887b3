#!/bin/sh
# Writes bin/share: what belongs below /usr/share beside the program bin/pgbaton, and
# is made rather than kept.
set -eu
umask 022 # what is made has the modes that are packed
share=bin/share
rm -rf "$share"
mkdir -p "$share/man/man1" "$share/bash-completion/completions" "$share/zsh/vendor-completions" "$share/fish/vendor_completions.d" "$share/doc/pgbaton"
bin/pgbaton completion bash >"$share/bash-completion/completions/pgbaton"
bin/pgbaton completion zsh >"$share/zsh/vendor-completions/_pgbaton"
bin/pgbaton completion fish >"$share/fish/vendor_completions.d/pgbaton.fish"
for page in bin/man/*.1; do
	gzip -9n <"$page" >"$share/man/man1/${page##*/}.gz"
done
packaging/changelog.sh "$DEB_VERSION" <CHANGELOG.md | gzip -9n >"$share/doc/pgbaton/changelog.gz"
packaging/notices.sh bin/pgbaton | gzip -9n >"$share/doc/pgbaton/NOTICES.gz"
