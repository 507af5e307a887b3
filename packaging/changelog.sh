#!/bin/sh
# Prints the newest part of CHANGELOG.md, of standard input, as a Debian changelog
# for version $1. Its date is SOURCE_DATE_EPOCH, so that the same source makes the same.
set -eu
echo "pgbaton ($1) unstable; urgency=medium"
echo
awk '
	function wrap(text,   words, n, i, line) {
		n = split(text, words, " ")
		line = "  *"
		for (i = 1; i <= n; i++) {
			if (length(line) + 1 + length(words[i]) > 79) { print line; line = "   " }
			line = line " " words[i]
		}
		if (n) print line
	}
	/^## / && ++parts > 1 { exit }
	/^- / { wrap(entry); entry = substr($0, 3); next }
	/^  / { entry = entry " " $0 }
	END { wrap(entry) }
'
echo
echo " -- ${MAINTAINER:?}  $(LC_ALL=C date -u -R -d "@${SOURCE_DATE_EPOCH:?}")"
