#!/bin/bash
# Makes a small Debian root file system from the package sources of this system. Nothing is installed on this system itself.
# An ordinary user gets one whose files belong to them: what is packed from it says root again.
#
# usage: debian-root.sh OUTDIR PACKAGE...     (OUTDIR appears only when it is complete)
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
out=$1
shift
suite=bookworm

work=$(mktemp -d "$(dirname "$out")/.debian-root.XXXXXX")
# The other users of a user namespace do not see into the person's own folders.
apt=$(mktemp -d)
trap 'rm -rf --one-file-system "$work" "$apt"' EXIT
chmod 0755 "$work" "$apt"
"$here/apt-settings.sh" "$suite" "$apt"

sources=()
if [ -s "$apt/sources.list" ]; then sources=("$apt/sources.list"); fi
keys=()
for key in "$apt"/keys/*; do
	if [ -f "$key" ]; then keys+=("--keyring=$key"); fi
done
debian() { # mode, format, target
	mmdebstrap --variant=minbase --mode="$1" --format="$2" \
		--include="$(
			IFS=,
			echo "${packages[*]}"
		)" \
		--aptopt="$apt/apt.conf" --aptopt='Acquire::Languages "none"' "${keys[@]}" \
		--dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
		--dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt='path-exclude=/usr/share/info/*' \
		"$suite" "$3" "${sources[@]}" </dev/null
}
packages=("$@")
if [ "$(id -u)" = 0 ]; then
	debian root directory "$work/root"
else
	mkdir "$work/root"
	# Device nodes are the node's own affair.
	(cd / && debian unshare tar -) | tar -C "$work/root" -x --exclude='./dev/*' --no-same-owner --same-permissions
	chmod -R u+rwX "$work/root"
fi

# What is installed later in this root comes from the same sources.
rm -f "$work/root/etc/apt/apt.conf.d/"*mmdebstrap "$work/root"/etc/{hostname,resolv.conf,machine-id}
cp "$apt/apt.conf" "$work/root/etc/apt/apt.conf.d/50computer"
if [ -s "$apt/sources.list" ]; then
	rm -f "$work/root/etc/apt/sources.list.d/"*
	cp "$apt/sources.list" "$work/root/etc/apt/sources.list"
fi
for key in "$apt"/keys/*; do
	if [ -f "$key" ]; then cp "$key" "$work/root/usr/share/keyrings/"; fi
done
rm -rf "$work/root"/var/{cache/apt/archives,lib/apt/lists,log}/*
mv "$work/root" "$out"
