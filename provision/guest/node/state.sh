#!/bin/bash
# Prints what a node is: absent, stopped, running, or broken (it runs, but a part outside of it died, a disk of it
# takes no more writes, or its start was cut off).
#
# environment: CAGE_NODE_DIR
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=provision/guest/node/lib.sh
. "$here/lib.sh"

# How the kernel shows a file system that lost a write and takes no more.
read_only=' /var/lib/(etcd|containerd|cage/images) .* - ext4 [^ ]+ (ro|.*,emergency_ro|.*,shutdown)(,|$)'
if init=$(process_in "$CAGE_NODE_DIR/node.pid"); then
	if process_in "$CAGE_NODE_DIR/way-out.pid" >/dev/null &&
		nsenter --target "$init" --mount -- test -e /run/cage/ready &&
		! grep -qE "$read_only" "/proc/$init/mountinfo"; then
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
