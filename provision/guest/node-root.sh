#!/bin/bash
# Makes the root file system of a node: what a container runtime, the kubelet and image builds need.
#
# usage: node-root.sh OUTDIR     (OUTDIR appears only when it is complete)
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
out=$1
packages=(
	runit                       # supervises containerd and kubelet
	containernetworking-plugins # ptp and host-local
	iproute2 nftables conntrack ethtool kmod
	mount e2fsprogs procps                   # volumes
	mmdebstrap ca-certificates xz-utils zstd # image builds
	slirp4netns                              # the way out of a node on a server that has none
)

echo "== the node's root file system" >&2
work=$(mktemp -d "$(dirname "$out")/.node-root.XXXXXX")
trap 'rm -rf --one-file-system "$work"' EXIT
"$here/debian-root.sh" "$work/root" "${packages[@]}"
# Mount points: the node's root is an overlay that is emptied at every start.
mkdir -p "$work/root"/{etc/kubernetes,etc/containerd,etc/cni/net.d,var/lib/{containerd,kubelet,etcd,cage}}
mv "$work/root" "$out"
