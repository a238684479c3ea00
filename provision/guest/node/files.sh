#!/bin/bash
# Lays out the topmost layer of a node: cage's scripts, the configuration that comes as a tar on standard input, and how this
# server reaches its package sources.
#
# usage: files.sh GUEST <CONFIGURATION.tar     (GUEST: the folder of cage's scripts)
# environment: CAGE_NODE_DIR
set -euo pipefail

guest=$1
files=$CAGE_NODE_DIR/files
draft=$files.new
rm -rf "$draft" "$files.apt"
mkdir -p "$draft"/{usr/local/lib,etc/apt/apt.conf.d,etc/ssl/certs,usr/share/keyrings}
cp -r "$guest" "$draft/usr/local/lib/cage"
# Asking apt makes nothing of its own on this server.
printf 'Dir::Cache::%s "";\n' pkgcache srcpkgcache >"$files.apt.conf"
APT_CONFIG=$files.apt.conf "$guest/apt-settings.sh" bookworm "$files.apt"
cp "$files.apt/apt.conf" "$draft/etc/apt/apt.conf.d/50computer"
if [ -s "$files.apt/sources.list" ]; then cp "$files.apt/sources.list" "$draft/etc/apt/sources.list"; fi
find "$files.apt/keys" -type f -exec cp -t "$draft/usr/share/keyrings" {} +
for bundle in /etc/ssl/certs/ca-certificates.crt /etc/pki/tls/certs/ca-bundle.crt /etc/ssl/ca-bundle.pem /etc/ssl/cert.pem; do
	if [ -f "$bundle" ]; then
		cp -L "$bundle" "$draft/etc/ssl/certs/ca-certificates.crt"
		break
	fi
done
tar -C "$draft" --no-same-owner -xf -
rm -rf "$files.apt" "$files.apt.conf" "$files"
mv "$draft" "$files"
