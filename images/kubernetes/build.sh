#!/bin/bash
# Builds the programs of a node from the Go modules pinned beside this file: Kubernetes, etcd, containerd, runc, and `pause`.
# All are static, so that they run in the node's own root and in images with nothing else in them.
# The Go toolchain is the computer's; the C compiler that runc needs lives in a Debian root of its own and is gone afterwards.
#
# usage: build.sh OUTDIR     (OUTDIR appears only when it is complete)
#   OUTDIR/node/usr/local/bin/  a layer of the node's root: what runs on the node itself
#   OUTDIR/control-plane/       what runs in images, see pack.sh
#   OUTDIR/versions             one "NAME VERSION" a line
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
guest=$here/../../provision/guest
out=$1

note() { echo "== $*" >&2; }

version_of() { # module folder, module path
	(cd "$here/$1" && go list -mod=readonly -m -f '{{.Version}}' "$2")
}

work=$(mktemp -d "$(dirname "$out")/.kubernetes.XXXXXX")
trap 'rm -rf --one-file-system "$work"' EXIT
bin=$work/control-plane node=$work/node/usr/local/bin
mkdir -p "$bin" "$node"
export GOFLAGS='-mod=readonly -buildvcs=false' GOWORK=off CGO_ENABLED=0

build() { # module folder, ldflags, tags, packages…
	local folder=$1 flags=$2 tags=$3
	shift 3
	(cd "$here/$folder" && go build -v -trimpath -tags "$tags" -ldflags "-s -w $flags" -o "$bin/" "$@")
}

kubernetes=$(version_of kubernetes k8s.io/kubernetes)
IFS=. read -r major minor _ <<<"${kubernetes#v}"
note "Kubernetes $kubernetes"
component=k8s.io/component-base/version
build kubernetes "-X $component.gitVersion=$kubernetes -X $component.gitMajor=$major -X $component.gitMinor=$minor -X $component.gitTreeState=clean" '' \
	k8s.io/kubernetes/cmd/{kubeadm,kubelet,kubectl,kube-apiserver,kube-controller-manager,kube-scheduler,kube-proxy}

etcd=$(version_of etcd go.etcd.io/etcd/server/v3)
note "etcd $etcd"
build etcd '' '' go.etcd.io/etcd/server/v3
mv "$bin/server" "$bin/etcd"

containerd=$(version_of containerd github.com/containerd/containerd/v2)
note "containerd $containerd"
package=github.com/containerd/containerd/v2
build containerd "-X $package/version.Version=$containerd -X $package/version.Package=$package" 'urfave_cli_no_docs no_btrfs no_devmapper no_zfs' \
	$package/cmd/{containerd,containerd-shim-runc-v2,ctr}

# runc enters namespaces from C before Go starts, and filters system calls through libseccomp.
runc=$(version_of runc github.com/opencontainers/runc)
note "a C compiler for runc"
compiler=$work/compiler
"$guest/debian-root.sh" "$compiler" gcc libc6-dev libseccomp-dev pkg-config
note "runc $runc"
(cd "$here/runc" && go mod download)
# What is mounted is gone with the namespace. An ordinary user is root of one of their own.
apart=(unshare --mount --propagation private)
if [ "$(id -u)" != 0 ]; then apart+=(--map-root-user --pid --fork); fi
"${apart[@]}" "$here/build-runc.sh" "$compiler" "$here" "$bin" "$runc"

printf '%s\n' "kubernetes $kubernetes" "etcd $etcd" "containerd $containerd" "runc $runc" >"$work/versions"
rm -rf --one-file-system "$compiler"
mv "$bin"/{kubeadm,kubelet,kubectl,containerd,containerd-shim-runc-v2,ctr,runc} "$node/"
mv "$work" "$out"
chmod 0755 "$out"
note "done"
