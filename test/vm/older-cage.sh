#!/bin/bash
# Makes a copy of this package that brings an older Kubernetes, to try an upgrade from it.
#
# usage: older-cage.sh DIR VERSION     (VERSION: as Go modules name it, e.g. v1.35.4; DIR is made anew)
set -euo pipefail

here=$(cd "$(dirname "$0")/../.." && pwd)
out=$1 version=$2

rm -rf "$out"
mkdir -p "$out"
tar -C "$here" --exclude=./node_modules --exclude=./.git --exclude=./test -c . | tar -C "$out" -x
ln -s "$here/node_modules" "$out/node_modules"
cd "$out/images/kubernetes/kubernetes"
current=$(sed -n 's|^require k8s.io/kubernetes v1||p' go.mod)
older=${version#v1}
sed -i -e "s/v1${current//./\\.}\b/v1$older/" -e "s/v0${current//./\\.}\b/v0$older/" go.mod
# Parts that the older one does not have.
sed -n 's|^\t\(k8s.io/[a-z-]*\) => .*|\1|p' go.mod | while read -r module; do
	if (cd / && go list -m "$module@v0$older") >/dev/null 2>&1; then continue; fi
	sed -i "\\#^\t$module #d" go.mod
done
# Its kubelet was written for other types of these.
sed -i -e '/opencontainers\/cgroups /d' -e '/google\/cadvisor /d' go.mod
GOFLAGS=-mod=mod go mod tidy
