#!/bin/bash
# Keeps the node's way to the network open as long as the node runs: slirp4netns forwards its traffic as an ordinary
# program of this computer, so that no forwarding and no address translation is set up here.
#
# usage: way-out.sh PID      (of the node's first process)
set -uo pipefail

node=$1
trap 'kill $(jobs -p) 2>/dev/null' EXIT
trap 'exit 0' TERM INT HUP

while kill -0 "$node" 2>/dev/null; do
	slirp4netns --configure --mtu=1500 --disable-host-loopback --enable-seccomp "$node" tap0 &
	slirp=$!
	tail --pid="$node" -s 1 -f /dev/null &
	watch=$!
	wait -n "$slirp" "$watch"
	kill "$slirp" "$watch" 2>/dev/null
	wait "$slirp" "$watch" 2>/dev/null
	sleep 0.2
done
