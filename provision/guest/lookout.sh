#!/bin/bash
# Looks out from where pods are: prints each ADDRESS:PORT that answers a network namespace behind the machine's firewall.
# Every pod has a fence of its own, so none of them could tell whether the firewall holds.
#
# usage: lookout.sh ADDRESS:PORT…
set -euo pipefail

name=cage-lookout
inside=100.127.255.2
outside=100.127.255.1

clean() {
	ip link del $name 2>/dev/null || true
	ip netns del $name 2>/dev/null || true
}
clean
trap clean EXIT

ip netns add $name
ip link add $name type veth peer name out netns $name
ip addr add $outside/30 dev $name
ip link set $name up
ip -n $name addr add $inside/30 dev out
ip -n $name link set out up
ip -n $name route add default via $outside

knock() {
	# shellcheck disable=SC2016
	if ip netns exec $name timeout 2 bash -c 'exec 3<>"/dev/tcp/$1/$2"' knock "${1%:*}" "${1##*:}" 2>/dev/null; then echo "$1"; fi
}
for target in "$@"; do knock "$target" & done
wait
# Nothing proves nothing when the wire is cut.
ip -n $name neigh show $outside | grep -q lladdr || {
	echo 'lookout: no way out of the namespace at all' >&2
	exit 1
}
