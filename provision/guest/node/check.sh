#!/bin/bash
# What a node needs of the server it runs on, one check a line: `NAME<tab>yes|no<tab>FOUND<tab>FIX`. Leaves nothing behind.
#
# usage: check.sh ARCHITECTURE GIBIBYTES ID
#   ARCHITECTURE  as `uname -m` says it      GIBIBYTES  that the project ID needs, what it has already taken included
set -uo pipefail

check() { # name, yes or no, found, fix
	printf '%s\t%s\t%s\t%s\n' "$@"
}
tell() { # name, found, fix; the exit code of the command before decides, so that none may stand among the arguments
	if [ $? = 0 ]; then check "$1" yes "$2" "$3"; else check "$1" no "$2" "$3"; fi
}

system="$(uname -s) $(uname -m)"
[ "$system" = "Linux $1" ]
tell 'the same processor as this computer' "$system" 'Use a server of the same architecture: what it runs is built on this computer.'
missing=
for program in tar gzip awk sha256sum truncate fallocate timeout setsid hostname mktemp; do
	if ! command -v $program >/dev/null; then missing+=" $program"; fi
done
[ -z "$missing" ]
tell programs "${missing:-all there}" "Install on the server:$missing"
[ -c /dev/net/tun ]
tell 'tunnel devices' /dev/net/tun 'Run on the server: modprobe tun'
[ -c /dev/loop-control ]
tell 'loop devices' /dev/loop-control 'Run on the server: modprobe loop'
said=$(unshare --mount --net --uts --ipc --pid --cgroup --fork sh -c 'mount -t tmpfs t /mnt && mkdir /mnt/l /mnt/u /mnt/w /mnt/m &&
	mount -t overlay -o lowerdir=/mnt/l,upperdir=/mnt/u,workdir=/mnt/w o /mnt/m' 2>&1)
tell 'namespaces and overlay file systems' "${said:-work}" 'Use a server with a kernel of its own: inside many containers none can be made.'
taken=$(du -s -B 1 "/var/lib/cage/$3" 2>/dev/null | cut -f1)
free=$((($(stat -f -c '%a * %S' /var/lib) + ${taken:-0}) / 1073741824))
[ $free -ge "$2" ]
tell 'free space at /var/lib' "$free GiB" "Free $2 GiB on the server."
memory=$(awk '/^MemTotal/ { print int($2 / 1024) }' /proc/meminfo)
[ "$memory" -ge 3500 ]
tell memory "$memory MiB" 'Use a server with 4 GiB of memory or more.'
