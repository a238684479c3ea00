#!/bin/bash
# Keeps the node's way to the network open as long as the node runs: slirp4netns forwards its traffic as an ordinary
# program of this computer, so that no forwarding and no address translation is set up here.
#
# usage: way-out.sh PID      (of the node's first process)
set -uo pipefail

# A function is read as a whole: this script runs for weeks, its file may change meanwhile.
keep_open() {
	local node=$1 other slirp watch
	# One that a killed predecessor of this script left behind holds the device.
	for other in $(pgrep -x slirp4netns); do
		if [[ "$(tr '\0' ' ' <"/proc/$other/cmdline")" = *" $node tap0 " ]]; then kill "$other"; fi
	done
	while kill -0 "$node" 2>/dev/null; do
		slirp4netns --configure --mtu=1500 --disable-host-loopback --enable-seccomp "$node" tap0 &
		slirp=$!
		tail --pid="$node" -s 1 -f /dev/null &
		watch=$!
		wait -n "$slirp" "$watch"
		kill "$slirp" "$watch" 2>/dev/null
		wait "$slirp" "$watch" 2>/dev/null
		sleep 1
	done
	exit 0
}

trap 'kill $(jobs -p) 2>/dev/null' EXIT
trap 'exit 0' TERM INT HUP
keep_open "$@"
