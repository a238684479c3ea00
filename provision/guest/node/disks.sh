#!/bin/bash
# Makes the disks of a node that are missing; a disk that exists is left as it is.
#
# usage: disks.sh FILE:BYTES[:reserved]...     (reserved: its space is taken at once)
# environment: CAGE_NODE_DIR
# A disk that a base image brought along is taken for the one of its name, and grows to its size.
set -euo pipefail

umask 077
mkdir -p "$CAGE_NODE_DIR/stage"
cd "$CAGE_NODE_DIR"
seed=$(dirname "$(dirname "$CAGE_NODE_DIR")")/seed
for disk in "$@"; do
	IFS=: read -r file size reserved <<<"$disk"
	if [ -e "$file" ]; then continue; fi
	rm -f "$file.new"
	if [ -e "$seed/$file" ]; then
		if [ "$(stat -c %s "$seed/$file")" -lt "$size" ]; then
			truncate --size "$size" "$seed/$file"
			e2fsck -fp "$seed/$file" >/dev/null || [ $? = 1 ]
			resize2fs "$seed/$file" >/dev/null 2>&1
		fi
		chmod 0600 "$seed/$file"
		mv "$seed/$file" "$file"
		continue
	fi
	truncate --size "$size" "$file.new"
	if [ -n "$reserved" ]; then fallocate --posix --length "$size" "$file.new"; fi
	mkfs.ext4 -q -F -m 0 -E lazy_itable_init=1,lazy_journal_init=1,nodiscard "$file.new"
	mv "$file.new" "$file"
done
