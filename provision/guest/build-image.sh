#!/bin/bash
# Builds the Debian layer of an image as a tar: the packages named, nothing that runs with more rights than its caller,
# no logs, caches or identities. The same package versions give the same bytes.
# The resolved versions lie in the layer as /usr/share/cage/packages.
#
# usage: build-image.sh OUT.tar USER:UID:HOME[,…] PACKAGE...     (OUT.tar appears only when it is complete)
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
out=$1 users=$2
shift 2
suite=bookworm
# What is made during the build, rather than unpacked from a package, carries this time (2025-01-01).
epoch=1735689600

work=$(mktemp -d "$(dirname "$out")/.image.XXXXXX")
trap 'rm -rf --one-file-system "$work"' EXIT
chmod 0755 "$work"
root=$work/root
"$here/apt-settings.sh" "$suite" "$work/apt"
sources=()
if [ -s "$work/apt/sources.list" ]; then sources=("$work/apt/sources.list"); fi
keys=()
for key in "$work"/apt/keys/*; do
	if [ -f "$key" ]; then keys+=("--keyring=$key"); fi
done

touch -d '1 second ago' "$work/begin"
# `essential` is minbase without apt, which nobody in a pod could use.
PYTHONHASHSEED=0 SOURCE_DATE_EPOCH=$epoch mmdebstrap --variant=essential --mode=root --format=directory \
	--include="$(
		IFS=,
		echo "$*"
	)" \
	--aptopt="$work/apt/apt.conf" --aptopt='Acquire::Languages "none"' "${keys[@]}" \
	--dpkgopt=force-unsafe-io \
	--dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-include=/usr/share/doc/*/copyright' \
	--dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
	--dpkgopt='path-exclude=/usr/share/info/*' --dpkgopt='path-exclude=/usr/share/lintian/*' \
	"$suite" "$root" "${sources[@]}" </dev/null

mkdir -p "$root/usr/share/cage"
dpkg-query --admindir="$root/var/lib/dpkg" --show --showformat='${Package} ${Version} ${Architecture}\n' |
	LC_ALL=C sort >"$root/usr/share/cage/packages"

IFS=, read -ra entries <<<"$users"
for entry in "${entries[@]}"; do
	IFS=: read -r name id home <<<"$entry"
	printf '%s:x:%s:%s::%s:/bin/bash\n' "$name" "$id" "$id" "$home" >>"$root/etc/passwd"
	printf '%s:x:%s:\n' "$name" "$id" >>"$root/etc/group"
	printf '%s:*:%s:0:99999:7:::\n' "$name" $((epoch / 86400)) >>"$root/etc/shadow"
	case $home in /home/*) install -d -o "$id" -g "$id" -m 0755 "$root$home" ;; esac
done

find "$root" -xdev -type f -perm /6000 -exec chmod ug-s {} +
find "$root/dev" -mindepth 1 -delete
rm -rf "$root"/etc/{apt,hostname,resolv.conf,hosts,machine-id,dpkg/dpkg.cfg.d,passwd-,group-,shadow-,gshadow-,subuid-,subgid-} \
	"$root"/var/{backups,cache,log,mail,spool,lib/apt,lib/systemd,lib/dpkg/*-old,lib/dpkg/lock*,lib/dbus/machine-id} \
	"$root"/{run,tmp}/*
mkdir -p "$root"/var/{cache,log}

find "$root" -xdev -newer "$work/begin" -exec touch -h -d "@$epoch" {} +
tar -C "$root" --sort=name --numeric-owner --format=gnu -cf "$work/layer.tar" .
mv "$work/layer.tar" "$out"
