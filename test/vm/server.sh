#!/bin/bash
# A Debian server on this computer: a root file system, processes and a network of its own, an sshd, and a user `me` who may
# use sudo. It has none of the programs that a node needs beyond Debian's smallest installation.
#
# usage: server.sh start DIR NUMBER     until it answers; leaves it running. NUMBER: 0 to 50, of its network 192.168.(200+NUMBER).0/30
#        server.sh stop DIR
# DIR gets: ssh_config (host `server`), ssh (calls ssh with it), pid
set -euo pipefail

here=$(cd "$(dirname "$0")/../.." && pwd)
action=$1
mkdir -p "$2"
directory=$(cd "$2" && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/cage

inside() {
	cd "$directory"
	mount -t overlay -o "lowerdir=$base,upperdir=$directory/upper,workdir=$directory/work" overlay root
	cd root
	mount -t proc proc proc
	mount -t sysfs sysfs sys
	mount --rbind /sys/fs/cgroup sys/fs/cgroup
	mount --rbind /dev dev
	mount -t tmpfs tmpfs run
	mkdir -p run/sshd
	hostname server
	for _ in $(seq 200); do
		if ip link show "$link"n >/dev/null 2>&1; then break; fi
		sleep 0.05
	done
	ip link set lo up
	ip link set "$link"n name eth0
	ip addr add "192.168.$net.2/30" dev eth0
	ip link set eth0 up
	echo '127.0.0.1 localhost server' >etc/hosts
	echo 'nameserver 10.0.2.3' >etc/resolv.conf
	mkdir -p old
	pivot_root . old
	umount -l /old
	exec /usr/sbin/sshd -D -e
}

case $action in
start)
	net=$((200 + $3))
	link=cagetest$3
	base=$cache/test-server-$(cat "$here"/provision/guest/{debian-root,apt-settings}.sh | sha256sum | cut -c1-16)
	if [ ! -d "$base" ]; then
		"$here/provision/guest/debian-root.sh" "$base.new" openssh-server sudo ca-certificates
		chroot "$base.new" useradd --create-home --shell /bin/bash me
		echo 'me ALL=(ALL) NOPASSWD: ALL' >"$base.new/etc/sudoers.d/me"
		rm -f "$base.new"/etc/ssh/ssh_host_*
		mv "$base.new" "$base"
	fi
	mkdir -p "$directory"/{upper/etc/ssh,work,root}
	if [ ! -e "$directory/person" ]; then
		ssh-keygen -q -A -f "$directory/upper"
		ssh-keygen -q -t ed25519 -N '' -C person -f "$directory/person"
		install -d -o 1000 -g 1000 -m 0700 "$directory/upper/home/me" "$directory/upper/home/me/.ssh"
		install -o 1000 -g 1000 -m 0600 "$directory/person.pub" "$directory/upper/home/me/.ssh/authorized_keys"
	fi
	ip link add "$link" type veth peer name "${link}n"
	ip addr add "192.168.$net.1/30" dev "$link"
	ip link set "$link" up
	export directory base link net
	export -f inside
	setsid unshare --mount --propagation private --net --uts --ipc --pid --fork --kill-child bash -euc inside </dev/null >"$directory/log" 2>&1 &
	outer=$!
	for _ in $(seq 600); do
		init=$(pgrep -P "$outer" || true)
		if [ -n "$init" ] && [ "$(readlink "/proc/$init/ns/net")" != "$(readlink /proc/self/ns/net)" ]; then break; fi
		sleep 0.05
	done
	echo "$init $link" >"$directory/pid"
	ip link set "${link}n" netns "$init"
	setsid slirp4netns --configure --mtu=1500 --disable-host-loopback "$init" tap0 </dev/null >"$directory/way-out.log" 2>&1 &
	echo "$init $link $!" >"$directory/pid"
	disown -a
	printf '%s\n' 'Host server' "  HostName 192.168.$net.2" '  User me' "  IdentityFile $directory/person" '  IdentitiesOnly yes' \
		"  UserKnownHostsFile $directory/known_hosts" >"$directory/ssh_config"
	# shellcheck disable=SC2016 # for the script that is written
	printf '#!/bin/sh\nexec /usr/bin/ssh -F %q "$@"\n' "$directory/ssh_config" >"$directory/ssh"
	chmod +x "$directory/ssh"
	for _ in $(seq 200); do
		if ssh-keyscan -t ed25519 "192.168.$net.2" >"$directory/scanned" 2>/dev/null && [ -s "$directory/scanned" ]; then exit 0; fi
		sleep 0.1
	done
	cat "$directory/log" >&2
	exit 1
	;;
stop)
	read -r init link way_out <"$directory/pid"
	kill -KILL "$init" "${way_out:-$init}" 2>/dev/null || true
	ip link del "$link" 2>/dev/null || true
	for _ in $(seq 100); do
		if [ ! -d "/proc/$init" ]; then break; fi
		sleep 0.05
	done
	;;
esac
