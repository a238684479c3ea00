#!/bin/bash
# Makes a small Debian root file system from the package sources of this system. Nothing is installed on this system itself.
#
# usage: debian-root.sh OUTDIR PACKAGE...     (OUTDIR appears only when it is complete)
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
out=$1
shift
suite=bookworm

work=$(mktemp -d "$(dirname "$out")/.debian-root.XXXXXX")
trap 'rm -rf --one-file-system "$work"' EXIT
chmod 0755 "$work"
"$here/apt-settings.sh" "$suite" "$work/apt"

sources=()
if [ -s "$work/apt/sources.list" ]; then sources=("$work/apt/sources.list"); fi
keys=()
for key in "$work"/apt/keys/*; do
	if [ -f "$key" ]; then keys+=("--keyring=$key"); fi
done
mmdebstrap --variant=minbase --mode=root --format=directory \
	--include="$(
		IFS=,
		echo "$*"
	)" \
	--aptopt="$work/apt/apt.conf" --aptopt='Acquire::Languages "none"' "${keys[@]}" \
	--dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
	--dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt='path-exclude=/usr/share/info/*' \
	"$suite" "$work/root" "${sources[@]}" </dev/null

# What is installed later in this root comes from the same sources.
rm -f "$work/root/etc/apt/apt.conf.d/"*mmdebstrap "$work/root"/etc/{hostname,resolv.conf,machine-id}
cp "$work/apt/apt.conf" "$work/root/etc/apt/apt.conf.d/50computer"
if [ -s "$work/apt/sources.list" ]; then
	rm -f "$work/root/etc/apt/sources.list.d/"*
	cp "$work/apt/sources.list" "$work/root/etc/apt/sources.list"
fi
for key in "$work"/apt/keys/*; do
	if [ -f "$key" ]; then cp "$key" "$work/root/usr/share/keyrings/"; fi
done
rm -rf "$work/root"/var/{cache/apt/archives,lib/apt/lists,log}/*
mv "$work/root" "$out"
