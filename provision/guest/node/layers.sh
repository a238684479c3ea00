#!/bin/bash
# The layers that nodes on this server start from: each once, named after the SHA-256 of the archive it came in.
#
# usage: layers.sh want SUM...          notes what this project needs; prints for each `SUM complete` or `SUM BYTES_ALREADY_HERE`
#        layers.sh append SUM OFFSET    the rest of an archive, from standard input
#        layers.sh unpack SUM           checks the archive and makes the layer
#        layers.sh tools SUM            makes bin/: the programs of that layer that nodes are started with
#        layers.sh tidy                 removes layers that no project needs
# environment: CAGE_NODE_DIR     /var/lib/cage/ID/machine
set -euo pipefail
umask 022

project=$(dirname "$CAGE_NODE_DIR")
base=$(dirname "$project")
layers=$base/layers
# What a cut-off upload left is this project's own, so that two never write into one file.
partial() { echo "$layers/$1.$(basename "$project").partial"; }

valid() {
	[[ $1 =~ ^[0-9a-f]{64}$ ]] || {
		echo "layers: not a checksum: $1" >&2
		exit 1
	}
}

case ${1:-} in
want)
	shift
	mkdir -p "$layers"
	printf '%s\n' "$@" >"$project/layers.new"
	mv "$project/layers.new" "$project/layers"
	for sum in "$@"; do
		valid "$sum"
		if [ -d "$layers/$sum" ]; then
			echo "$sum complete"
		else
			echo "$sum $(stat -c %s "$(partial "$sum")" 2>/dev/null || echo 0)"
		fi
	done
	;;
append)
	valid "$2"
	file=$(partial "$2")
	touch "$file"
	truncate --size "$3" "$file"
	cat >>"$file"
	;;
unpack)
	valid "$2"
	file=$(partial "$2")
	if [ "$(sha256sum <"$file" | cut -d' ' -f1)" != "$2" ]; then
		rm -f "$file"
		echo "layers: $2 did not arrive whole" >&2
		exit 1
	fi
	draft=$layers/$2.$(basename "$project").new
	rm -rf --one-file-system "$draft"
	mkdir "$draft"
	tar -C "$draft" --numeric-owner -xzf "$file"
	if ! mv -T "$draft" "$layers/$2" 2>/dev/null; then rm -rf --one-file-system "$draft"; fi
	[ -d "$layers/$2" ]
	rm -f "$file"
	;;
tools)
	valid "$2"
	# Called with the layer's own loader and libraries: nothing is installed on this server, and its own versions do not matter.
	root=$layers/$2
	loader=$(find "$root"/usr/lib/*-linux-gnu -maxdepth 1 -name 'ld-linux-*.so.*' -print -quit)
	libraries=$(dirname "$loader")
	rm -rf "$project/bin.new"
	mkdir "$project/bin.new"
	for program in slirp4netns ip pgrep mkfs.ext4 e2fsck resize2fs losetup mount umount unshare nsenter setpriv findmnt; do
		path=$(find "$root"/usr/bin "$root"/usr/sbin "$root"/bin/ "$root"/sbin/ -maxdepth 1 -name "$program" -print -quit)
		[ -n "$path" ]
		# shellcheck disable=SC2016 # for the script that is written
		printf '#!/bin/sh\nexec %q --argv0 %q --library-path %q %q "$@"\n' "$loader" "$program" "$libraries" "$path" >"$project/bin.new/$program"
		chmod 0755 "$project/bin.new/$program"
	done
	rm -rf "${project:?}/bin"
	mv "$project/bin.new" "$project/bin"
	;;
tidy)
	if [ ! -d "$layers" ]; then exit 0; fi
	wanted=$(cat "$base"/*/layers 2>/dev/null || true)
	for layer in "$layers"/*; do
		name=$(basename "$layer")
		if [ -e "$layer" ] && ! grep -qxF "${name%%.*}" <<<"$wanted"; then rm -rf --one-file-system "$layer"; fi
	done
	;;
*)
	echo "usage: layers.sh want|append|unpack|tools|tidy" >&2
	exit 2
	;;
esac
