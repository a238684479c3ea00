# shellcheck shell=bash
# Functions that start.sh, stop.sh and way-out.sh share. Sourced, never run.

# "PID START_TIME BOOT_ID": names one process, also after its number was given to another.
process_identity() {
	local stat
	stat=$(cat "/proc/$1/stat")
	# The command's name may hold blanks and parentheses: field 22 is the 20th after the last one.
	# shellcheck disable=SC2086
	set -- "$1" ${stat##*) }
	# A zombie has ended, only its parent has not noticed.
	[ "$2" != Z ] || return 1
	echo "$1 ${21} $(cat /proc/sys/kernel/random/boot_id)"
}

# Prints the process in the given file if it still runs.
process_in() {
	local pid
	[ -s "$1" ] || return 1
	read -r pid _ <"$1"
	[ "$(process_identity "$pid" 2>/dev/null)" = "$(cat "$1")" ] || return 1
	echo "$pid"
}

node_alive() { process_in "$CAGE_NODE_DIR/node.pid" >/dev/null; }

# Lines "MOUNT_POINT CONTROLLERS" of the computer's cgroup hierarchies; CONTROLLERS is "2" for the unified one.
cgroup_hierarchies() {
	awk '
		{ for (i = 7; $i != "-"; i++); type = $(i + 1); options = $(i + 3) }
		type == "cgroup2" && $5 == "/sys/fs/cgroup" { print $5, "2" }
		type == "cgroup" && $4 == "/" { sub(/^[^,]*,/, "", options); print $5, options }
	' /proc/self/mountinfo
}

node_cgroups() { # create | enter | delegate | join | kill | remove
	local dir kind cgroup processes action=$1
	while read -r dir kind; do
		cgroup=$dir/$CAGE_NODE_NAME
		case $action in
		create)
			if [ "$kind" = 2 ]; then
				# One at a time: a controller that this kernel lacks must not hold back the others.
				for controller in cpu cpuset memory pids io; do echo "+$controller" >"$dir/cgroup.subtree_control" || true; done 2>/dev/null
			fi
			mkdir -p "$cgroup"
			if [ -e "$dir/cpuset.cpus" ] && [ "$kind" != 2 ]; then
				cat "$dir/cpuset.cpus" >"$cgroup/cpuset.cpus"
				cat "$dir/cpuset.mems" >"$cgroup/cpuset.mems"
			fi
			node_limits "$cgroup"
			;;
		enter) echo "$BASHPID" >"$cgroup/cgroup.procs" ;;
		delegate)
			# In the unified hierarchy a group with children must not hold processes itself.
			mkdir -p "$cgroup/system"
			if [ "$kind" != 2 ] && [ -e "$cgroup/cpuset.cpus" ]; then
				cat "$cgroup/cpuset.cpus" >"$cgroup/system/cpuset.cpus"
				cat "$cgroup/cpuset.mems" >"$cgroup/system/cpuset.mems"
			fi
			# Read as a whole before any of them moves: a list that gets shorter meanwhile hides every other one.
			mapfile -t processes <"$cgroup/cgroup.procs"
			for process in "${processes[@]}"; do
				echo "$process" >"$cgroup/system/cgroup.procs" || true
			done 2>/dev/null
			if [ "$kind" = 2 ]; then
				for controller in cpu cpuset memory pids io; do echo "+$controller" >"$cgroup/cgroup.subtree_control" || true; done 2>/dev/null
			fi
			;;
		join) echo "$BASHPID" >"$cgroup/system/cgroup.procs" ;;
		kill)
			if [ -d "$cgroup" ]; then
				find "$cgroup" -name cgroup.procs -exec cat {} + 2>/dev/null | sort -u | xargs -r kill -KILL 2>/dev/null || true
			fi
			;;
		remove)
			if [ -d "$cgroup" ]; then find "$cgroup" -depth -type d -exec rmdir {} + 2>/dev/null || true; fi
			if [ -d "$cgroup" ]; then return 1; fi
			;;
		esac
	done < <(cgroup_hierarchies)
}

node_limits() { # cgroup directory
	if [ "$CAGE_NODE_MEMORY" != 0 ]; then
		if [ -e "$1/memory.max" ]; then echo "$CAGE_NODE_MEMORY" >"$1/memory.max"; fi
		if [ -e "$1/memory.limit_in_bytes" ]; then echo "$CAGE_NODE_MEMORY" >"$1/memory.limit_in_bytes"; fi
	fi
	if [ "$CAGE_NODE_CPUS" != 0 ]; then
		if [ -e "$1/cpu.max" ]; then echo "${CAGE_NODE_CPUS}00000 100000" >"$1/cpu.max"; fi
		if [ -e "$1/cpu.cfs_quota_us" ]; then echo "${CAGE_NODE_CPUS}00000" >"$1/cpu.cfs_quota_us"; fi
	fi
	# Half of the computer's process numbers stay with the computer.
	if [ -e "$1/pids.max" ]; then echo $(($(cat /proc/sys/kernel/pid_max) / 2)) >"$1/pids.max"; fi
}

# Removes what a node that no longer runs may have left on the computer.
node_cleanup() {
	rm -f "$CAGE_NODE_DIR/way-out.pid" "$CAGE_NODE_DIR/node.pid"
	for _ in $(seq 200); do
		# Also what a start that was cut off left behind without a note of it.
		node_cgroups kill
		if node_cgroups remove; then break; fi
		sleep 0.05
	done
	# The loop devices let go of their files once the last mount is gone.
	for image in "$CAGE_NODE_DIR"/*.img; do
		for _ in $(seq 200); do
			if [ -z "$(losetup -j "$image")" ]; then break; fi
			sleep 0.05
		done
	done
	if ip link show "$CAGE_NODE_LINK" >/dev/null 2>&1; then ip link del "$CAGE_NODE_LINK" 2>/dev/null || true; fi
	if node_cgroups remove; then return; fi
	echo "processes remain in the cgroup $CAGE_NODE_NAME" >&2
	return 1
}
