#!/bin/bash
# Removes from this server what one project put there, and what no other project needs: the node, its directory, the layers,
# the key of its computer. Run it by hand when that computer is gone:
#   sudo /var/lib/cage/ID/guest/node/remove.sh
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
place=$(cd "$here/../.." && pwd)
base=$(dirname "$place")
id=$(basename "$place")
export PATH=$place/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export CAGE_NODE_DIR=$place/machine CAGE_NODE_NAME=cage-$id
CAGE_NODE_LINK=cage-$(printf %s "$id" | sha256sum | cut -c1-8)
export CAGE_NODE_LINK

"$here/stop.sh" --now
if [ -s "$place/claim/key" ]; then "$here/revoke.sh" "$place/claim"; fi
for network in "$base"/networks/*; do
	if [ "$(cat "$network/id" 2>/dev/null)" = "$id" ]; then rm -r "$network"; fi
done
rm -f "$place/layers"
"$here/layers.sh" tidy
rm -rf --one-file-system "$place"
for directory in "$base/networks" "$base/layers" "$base"; do rmdir "$directory" 2>/dev/null || true; done
