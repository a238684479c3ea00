#!/bin/bash
# Prints what a node is: absent, stopped, running, or broken (it runs, but a part outside of it died, a disk of it
# takes no more writes, or its start was cut off).
#
# environment: CAGE_NODE_DIR
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=provision/guest/node/lib.sh
. "$here/lib.sh"

if init=$(process_in "$CAGE_NODE_DIR/node.pid"); then
	if process_in "$CAGE_NODE_DIR/way-out.pid" >/dev/null &&
		nsenter --target "$init" --mount -- test -e /run/cage/ready -a -w /var/lib/etcd -a -w /var/lib/containerd -a -w /var/lib/cage/images; then
		echo running
	else
		echo broken
	fi
	exit 0
fi
for image in etcd disk volumes; do
	if [ ! -e "$CAGE_NODE_DIR/$image.img" ]; then
		echo absent
		exit 0
	fi
done
echo stopped
