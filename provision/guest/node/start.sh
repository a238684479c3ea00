#!/bin/bash
# Starts a node in Linux namespaces of its own on this computer and leaves it running; when it already runs, starts what
# died beside it.
# Prints nothing on success; the node's own output is in $CAGE_NODE_DIR/node.log.
#
# environment:
#   CAGE_NODE_DIR      the node's directory: *.img, files/, stage/, node.pid
#   CAGE_NODE_NAME     host name and cgroup name
#   CAGE_NODE_LINK     name of the computer's end of the link, at most 15 characters
#   CAGE_NODE_HOST     the computer's address on the link, with prefix length
#   CAGE_NODE_ADDRESS  the node's address on the link, with prefix length
#   CAGE_NODE_LAYERS   read-only root file systems, topmost first, separated by colons
#   CAGE_NODE_MEMORY   bytes that everything in the node may use together; 0 = no limit
#   CAGE_NODE_CPUS     processors that the node may use; 0 = no limit
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=provision/guest/node/lib.sh
. "$here/lib.sh"
cd "$CAGE_NODE_DIR"

way_out() { # the node's first process
	(
		node_cgroups join
		exec setsid "$here/way-out.sh" "$1" </dev/null >>node.log 2>&1
	) &
	process_identity $! >way-out.pid
}

if init=$(process_in node.pid); then
	if ! process_in way-out.pid >/dev/null; then way_out "$init"; fi
	disown -a
	exit 0
fi
node_cleanup
node_cgroups create

# Watches are counted for root of the whole computer, and each node needs some thirty: the usual limit is four nodes.
watches=/proc/sys/fs/inotify/max_user_instances
if [ "$(cat $watches)" -lt 1024 ] && ! echo 1024 2>/dev/null >$watches; then
	echo "cannot raise $watches: with several projects up, kube-proxy may not start" >&2
fi

: >node.log
rm -f delegated
ip link add "$CAGE_NODE_LINK" type veth peer name "${CAGE_NODE_LINK}n"
ip addr add "$CAGE_NODE_HOST" dev "$CAGE_NODE_LINK"
ip link set "$CAGE_NODE_LINK" up

# The namespaces hang on `unshare`: it dies with the node, and the node with it.
(
	node_cgroups enter
	exec setsid unshare --mount --propagation private --net --uts --ipc --pid --cgroup --fork --kill-child \
		"$here/init.sh" </dev/null >>node.log 2>&1
) &
outer=$!
# The node's first process is the child that is in another process namespace.
first_process() {
	local child namespace
	for child in $(pgrep -P "$outer"); do
		namespace=$(readlink "/proc/$child/ns/pid") || continue
		if [ "$namespace" != "$(readlink /proc/self/ns/pid)" ]; then
			echo "$child"
			return
		fi
	done 2>/dev/null
	return 1
}
init=
for _ in $(seq 200); do
	if init=$(first_process) || ! kill -0 "$outer" 2>/dev/null; then break; fi
	sleep 0.05
done
if [ -z "$init" ]; then
	cat node.log >&2
	node_cleanup
	echo "the node's namespaces could not be made" >&2
	exit 1
fi
process_identity "$init" >node.pid
ip link set "${CAGE_NODE_LINK}n" netns "$init"
node_cgroups delegate
touch delegated

way_out "$init"
disown -a
