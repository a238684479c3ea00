#!/bin/sh
# Takes the key of a project out of the file that lets it in, and what was made for that out of the user's home.
#
# usage: revoke.sh DIRECTORY      holds key (the public key), file (which it was added to), made (one path a line, innermost first)
set -eu

key=$(cut -d' ' -f2 "$1/key")
file=$(cat "$1/file")
if [ -n "$key" ] && [ -f "$file" ]; then
	rest=$(mktemp)
	grep -vF -- "$key" "$file" >"$rest" || [ $? = 1 ]
	# Into the same file: its owner and mode stay.
	cat "$rest" >"$file"
	rm -f "$rest"
fi
while read -r made; do
	if [ -f "$made" ] && [ ! -s "$made" ]; then rm -f "$made"; fi
	if [ -d "$made" ]; then rmdir "$made" 2>/dev/null || true; fi
done <"$1/made"
