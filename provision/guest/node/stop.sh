#!/bin/bash
# Stops a node and removes everything of it from the running system: processes, mounts, link, cgroups. Files stay.
#
# usage: stop.sh [--now]      (--now: without asking the containers to end first)
# environment: as in start.sh
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=provision/guest/node/lib.sh
. "$here/lib.sh"

if init=$(process_in "$CAGE_NODE_DIR/node.pid"); then
	if [ "${1:-}" != --now ]; then
		nsenter -t "$init" -m -n -p -C -- /usr/local/lib/cage/stop-pods.sh </dev/null || true
		kill -HUP "$init" 2>/dev/null || true
		for _ in $(seq 100); do
			if ! node_alive; then break; fi
			sleep 0.05
		done
	fi
	if node_alive; then kill -KILL "$init" 2>/dev/null || true; fi
	for _ in $(seq 200); do
		if ! node_alive; then break; fi
		sleep 0.05
	done
fi
node_cleanup
