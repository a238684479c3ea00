#!/bin/bash
# Runs a command inside a node, as its root, with an environment of its own. Ends with exit code 125 and one line when the
# node does not run.
#
# usage: enter.sh [--terminal] PROGRAM ARGUMENT...
# environment: CAGE_NODE_DIR
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=provision/guest/node/lib.sh
. "$here/lib.sh"

if ! init=$(process_in "$CAGE_NODE_DIR/node.pid"); then
	echo 'cage: the node does not run' >&2
	exit 125
fi
inside=(nsenter --target "$init" --mount --uts --ipc --net --pid --cgroup --)
environment=(PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 KUBECONFIG=/etc/kubernetes/admin.conf)
if [ "$1" = --terminal ]; then
	shift
	exec "${inside[@]}" env -i "${environment[@]}" TERM=xterm-256color "$@"
fi
# nsenter waits outside; when it is ended, what it entered for must end too: `timeout` hands the signal to its whole group.
exec "${inside[@]}" setpriv --pdeathsig TERM -- env -i "${environment[@]}" timeout --kill-after=5 0 "$@"
