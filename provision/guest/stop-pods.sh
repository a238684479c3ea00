#!/bin/bash
# Asks every container to end, as a shutdown does, and waits for at most ten seconds. Runs on the machine.
set -uo pipefail

pods() { find /sys/fs/cgroup -path '*/kubepods/*' -name cgroup.procs -exec cat {} + 2>/dev/null | sort -u; }

sv -w 5 stop /run/sv/kubelet >/dev/null
mapfile -t processes < <(pods)
if [ ${#processes[@]} -gt 0 ]; then kill -TERM "${processes[@]}" 2>/dev/null; fi
for _ in $(seq 100); do
	if [ -z "$(pods)" ]; then break; fi
	sleep 0.1
done
sync
