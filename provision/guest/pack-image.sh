#!/bin/bash
# Packs a root file system into a docker-archive that `ctr images import` takes.
# The same files give the same bytes: names sorted, owners numeric, times no later than SOURCE_DATE_EPOCH (default 0).
#
# usage: pack-image.sh ROOTDIR REF OUT.tar [ENTRYPOINT [ARG...]]
set -euo pipefail

die() {
	echo "pack-image: $*" >&2
	exit 1
}

[ $# -ge 3 ] || die "usage: pack-image.sh ROOTDIR REF OUT.tar [ENTRYPOINT [ARG...]]"
root=$1 ref=$2 out=$3
shift 3
[ -d "$root" ] || die "not a directory: $root"
[[ $ref =~ ^[A-Za-z0-9._/-]+:[A-Za-z0-9._-]+$ ]] || die "not an image reference with a tag: $ref"
epoch=${SOURCE_DATE_EPOCH:-0}

json_list() {
	local separator='' word
	printf '['
	for word in "$@"; do
		[[ $word != *[\"\\]* ]] || die "cannot quote $word"
		printf '%s"%s"' "$separator" "$word"
		separator=,
	done
	printf ']'
}

case $(uname -m) in
x86_64) architecture=amd64 ;;
aarch64) architecture=arm64 ;;
*) die "unsupported machine $(uname -m)" ;;
esac

work=$(mktemp -d "$(dirname "$out")/.pack.XXXXXX")
trap 'rm -rf "$work"' EXIT
reproducible=(--sort=name --numeric-owner --format=gnu --mtime="@$epoch" --clamp-mtime)

tar -C "$root" "${reproducible[@]}" -cf "$work/layer.tar" .
layer=$(sha256sum "$work/layer.tar" | cut -d' ' -f1)

entrypoint=
if [ $# -gt 0 ]; then entrypoint="\"Entrypoint\":$(json_list "$@"),"; fi
printf '{"architecture":"%s","os":"linux","created":"%s","config":{%s"Env":["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]},"rootfs":{"type":"layers","diff_ids":["sha256:%s"]},"history":[{"created_by":"cage"}]}' \
	"$architecture" "$(date -u -d "@$epoch" +%Y-%m-%dT%H:%M:%SZ)" "$entrypoint" "$layer" >"$work/config.json"
config=$(sha256sum "$work/config.json" | cut -d' ' -f1)
mv "$work/config.json" "$work/$config.json"
mkdir "$work/$layer"
mv "$work/layer.tar" "$work/$layer/layer.tar"
printf '[{"Config":"%s.json","RepoTags":["%s"],"Layers":["%s/layer.tar"]}]' "$config" "$ref" "$layer" >"$work/manifest.json"

tar -C "$work" "${reproducible[@]}" --mode=0644 -cf "$work/image.tar" manifest.json "$config.json" "$layer/layer.tar"
mv "$work/image.tar" "$out"
echo "sha256:$config"
