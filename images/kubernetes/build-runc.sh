#!/bin/bash
# Builds runc and `pause` in a root file system that holds a C compiler. Runs in a mount namespace of its own,
# so that what it mounts is gone when it ends.
#
# usage: build-runc.sh COMPILER_ROOT SOURCE_DIR OUT_DIR RUNC_VERSION
set -euo pipefail

root=$1 source=$2 out=$3 version=$4
goroot=$(cd "$source/runc" && go env GOROOT) modules=$(go env GOMODCACHE) compiled=$(go env GOCACHE)

bind() { # directory, name below /build, mount options
	mkdir -p "$root/build/$2"
	mount --bind "$1" "$root/build/$2"
	if [ -n "${3:-}" ]; then mount -o "remount,bind,$3" "$root/build/$2"; fi
}

bind "$goroot" go ro
bind "$modules" modules ro
bind "$compiled" compiled
bind "$source" source ro
bind "$out" out
mount -t proc proc "$root/proc"
mount -t tmpfs tmpfs "$root/tmp"
if [ ! -e "$root/dev/null" ]; then : >"$root/dev/null"; fi
mount --bind /dev/null "$root/dev/null"

in_root() {
	chroot "$root" /usr/bin/env -i -C "$1" PATH=/build/go/bin:/usr/bin:/bin HOME=/tmp GOROOT=/build/go GOTOOLCHAIN=local \
		GOMODCACHE=/build/modules GOCACHE=/build/compiled GOFLAGS='-mod=readonly -buildvcs=false' GOPROXY=off CGO_ENABLED=1 "${@:2}"
}

in_root /build/source/runc go build -v -trimpath -buildmode=pie -tags 'seccomp urfave_cli_no_docs netgo osusergo' \
	-ldflags "-s -w -X main.version=${version#v} -linkmode external -extldflags -static-pie" \
	-o /build/out/runc github.com/opencontainers/runc
in_root /build/source gcc -Os -static -s -Wall -Werror -o /build/out/pause pause.c
