#!/bin/bash
# Ends every container as a shutdown does: first everybody's work, then the API server, its memory last.
# Takes at most fifteen seconds. Runs on the machine.
set -uo pipefail

# Process numbers of the containers of one name, or of all `others`.
containers() {
	find /sys/fs/cgroup -path '*/kubepods*' -name cgroup.procs -exec cat {} + 2>/dev/null | sort -u | while read -r process; do
		name=$(cat "/proc/$process/comm" 2>/dev/null) || continue
		case $name in
		kube-apiserver | etcd) if [ "$1" = "$name" ]; then echo "$process"; fi ;;
		*) if [ "$1" = others ]; then echo "$process"; fi ;;
		esac
	done
}

end() { # whom, signal, tenths of a second
	local processes
	mapfile -t processes < <(containers "$1")
	if [ ${#processes[@]} -gt 0 ]; then kill "-$2" "${processes[@]}" 2>/dev/null; fi
	for _ in $(seq "$3"); do
		if [ -z "$(containers "$1")" ]; then return; fi
		sleep 0.1
	done
}

if [ -d /run/sv/kubelet ]; then
	sv -w 5 stop /run/sv/kubelet >/dev/null
else
	# Not disabled: the next boot brings it back.
	snap stop microk8s.daemon-kubelite >/dev/null
fi
end others TERM 100
# It would wait for its watchers, which are gone.
end kube-apiserver KILL 20
end etcd TERM 20
sync
