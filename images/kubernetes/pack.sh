#!/bin/bash
# Packs the control plane into images that containerd imports.
#
# usage: pack.sh BUILD_DIR NODE_ROOT OUT_DIR PREFIX     (OUT_DIR appears only when it is complete)
#   BUILD_DIR   result of build.sh
#   NODE_ROOT   Debian root with nft, which kube-proxy needs
#   PREFIX      of the image names, e.g. cage.local/kubernetes
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
pack=$here/../../provision/guest/pack-image.sh
build=$1 root=$2 out=$3 prefix=$4

work=$(mktemp -d "$(dirname "$out")/.images.XXXXXX")
trap 'rm -rf "$work"' EXIT
version_of() { awk -v name="$1" '$1 == name { print $2 }' "$build/versions"; }

scratch() { # image directory, program, path in the image
	mkdir -p "$work/$1/tmp" "$work/$1$(dirname "$3")"
	chmod 1777 "$work/$1/tmp"
	cp "$build/control-plane/$2" "$work/$1$3"
}

image() { # directory, tag, entrypoint
	find "$work/$1" -type d -exec chmod go+rx {} +
	"$pack" "$work/$1" "$prefix/$1:$2" "$work/$1.tar" "$3" >/dev/null
	rm -rf "${work:?}/$1"
	echo "$prefix/$1:$2" >>"$work/references"
}

kubernetes=$(version_of kubernetes)
for program in kube-apiserver kube-controller-manager kube-scheduler; do
	scratch $program $program /usr/local/bin/$program
	image $program "$kubernetes" /usr/local/bin/$program
done

# kube-proxy calls nft: the program and the libraries it is linked to, with the names under which it looks for them.
scratch kube-proxy kube-proxy /usr/local/bin/kube-proxy
mkdir -p "$work/kube-proxy/usr/sbin"
cp "$root/usr/sbin/nft" "$work/kube-proxy/usr/sbin/nft"
libraries=$(cd "$root" && echo usr/lib/*-linux-gnu)
loader=$(cd "$root" && echo lib*/ld-linux-*.so.*)
mkdir -p "$work/kube-proxy/$libraries" "$work/kube-proxy/$(dirname "$loader")"
cp -L "$root/$loader" "$work/kube-proxy/$loader"
"$root/$loader" --library-path "$root/$libraries" --list "$root/usr/sbin/nft" | grep -o "$root/[^ ]*" | while read -r library; do
	cp -L "$library" "$work/kube-proxy/$libraries/"
done
image kube-proxy "$kubernetes" /usr/local/bin/kube-proxy

scratch etcd etcd /usr/local/bin/etcd
image etcd "$(version_of etcd)" /usr/local/bin/etcd
scratch pause pause /pause
image pause "$kubernetes" /pause

mv "$work" "$out"
chmod 0755 "$out"
