#!/bin/bash
# A virtual machine whose Kubernetes runs in the guest itself, not in a node of its own. Runs on the machine.
#
# usage: system.sh prepare BYTES    programs, the disk of the volumes, what happens at each boot; once
#        system.sh start            closed for pods until the firewall is applied, volumes mounted; also at each boot
#        system.sh stop             ends the pods as a shutdown does
#        system.sh state            prints absent, stopped or running
#        system.sh facts            one "NAME VALUE" a line, as node/facts.sh, and: primary, resolver
set -euo pipefail

export PATH=$PATH:/snap/bin
lib=/usr/local/lib/cage
disk=/var/lib/cage/volumes.img
images=/var/lib/cage/images
prepared=/etc/cage/prepared
up=/run/cage/up

# Program and the package that has it.
packages() {
	while read -r program package; do
		if ! command -v "$program" >/dev/null; then echo "$package"; fi
	done <<-EOT
		snap snapd
		nft nftables
		ip iproute2
		mmdebstrap mmdebstrap
		unattended-upgrade unattended-upgrades
		mkfs.ext4 e2fsprogs
		losetup mount
		tar tar
	EOT
}

put() { # path, mode; content from standard input
	install -d "$(dirname "$1")"
	cat >"$1.new"
	chmod "$2" "$1.new"
	mv "$1.new" "$1"
}

prepare() { # bytes
	local missing
	missing=$(packages | sort -u)
	if [ -n "$missing" ]; then
		export DEBIAN_FRONTEND=noninteractive
		# A guest that was made just now is still busy with itself.
		apt-get -o DPkg::Lock::Timeout=600 update
		# shellcheck disable=SC2086 # words
		apt-get -o DPkg::Lock::Timeout=600 install -y --no-install-recommends $missing
	fi
	put /etc/cage/firewall 0644 <$lib/vm/firewall
	# The same names as on every other machine.
	for program in ctr kubectl; do
		# shellcheck disable=SC2016 # for the shell that runs it
		printf '#!/bin/sh\nPATH=$PATH:/snap/bin exec microk8s %s "$@"\n' "$program" | put /usr/local/bin/$program 0755
	done
	if [ ! -e $disk ]; then
		install -d -m 0700 /var/lib/cage
		rm -f $disk.new
		(umask 077 && truncate --size "$1" $disk.new)
		mkfs.ext4 -q -F -m 0 -E lazy_itable_init=1,lazy_journal_init=1,nodiscard $disk.new
		mv $disk.new $disk
	fi
	put /etc/systemd/system/cage.service 0644 <$lib/vm/cage.service
	# No pod starts on a machine that is not closed.
	for service in containerd kubelite; do
		put /etc/systemd/system/snap.microk8s.daemon-$service.service.d/cage.conf 0644 <<-EOT
			[Unit]
			Requires=cage.service
			After=cage.service
		EOT
	done
	systemctl daemon-reload
	systemctl enable cage.service
	touch $prepared
}

start() {
	mkdir -p /run/cage /run/netns
	if ! nft list table inet cage >/dev/null 2>&1; then $lib/firewall.sh closed; fi
	local watches=/proc/sys/fs/inotify/max_user_instances
	if [ "$(cat $watches)" -lt 1024 ]; then echo 1024 >$watches; fi
	install -d -m 0700 $images
	if ! mountpoint -q $images; then mount -o loop,discard,noatime $disk $images; fi
	$lib/volume.sh mount-all
	touch $up
}

case ${1:-} in
prepare) prepare "$2" ;;
start) start ;;
stop) if snap list microk8s >/dev/null 2>&1; then $lib/stop-pods.sh; fi ;;
state)
	if [ ! -e $prepared ]; then
		echo absent
	elif [ -e $up ] && nft list table inet cage >/dev/null 2>&1 && mountpoint -q $images; then
		echo running
	else
		echo stopped
	fi
	;;
facts)
	sh $lib/node/facts.sh
	ip -4 route get 192.0.2.1 | sed -n 's/.* src \([0-9.]*\).*/primary \1/p'
	# What answers on loopback is nothing that a pod could ask.
	cat /run/systemd/resolve/resolv.conf /etc/resolv.conf 2>/dev/null |
		awk '$1 == "nameserver" && $2 ~ /^[0-9.]+$/ && $2 !~ /^127\./ { print "resolver", $2; exit }'
	;;
*)
	echo 'usage: system.sh prepare BYTES | start | stop | state | facts' >&2
	exit 2
	;;
esac
