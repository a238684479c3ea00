#!/bin/bash
# Leaves on the disk of a guest only what is nobody's, so that it may be kept as a base for others: the layers of a node and
# its container images, but no key, name, log or address. Then the guest powers itself off.
#
# usage: seal.sh ID [USER KEY]      (USER gets KEY as its only one: with that Vagrant makes its first contact)
set -euo pipefail
umask 022

base=/var/lib/cage
id=$1
export PATH=$base/$id/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin

# Of a node's disks only what containerd keeps of images is of use to others.
mkdir -p "$base/seed"
if [ -e "$base/$id/machine/disk.img" ]; then mv "$base/$id/machine/disk.img" "$base/seed/disk.img.new"; fi
if [ -e "$base/seed/disk.img.new" ]; then
	mkdir -p "$base/seed/mounted"
	mount -o loop "$base/seed/disk.img.new" "$base/seed/mounted"
	find "$base/seed/mounted" -mindepth 1 -maxdepth 1 ! -name containerd ! -name lost+found -exec rm -rf {} +
	sync -f "$base/seed/mounted"
	fstrim "$base/seed/mounted" 2>/dev/null || true
	umount "$base/seed/mounted"
	rmdir "$base/seed/mounted"
	mv "$base/seed/disk.img.new" "$base/seed/disk.img"
fi

if [ $# = 3 ]; then
	home=$(getent passwd "$2" | cut -d: -f6)
	printf '%s\n' "$3" >"$home/.ssh/authorized_keys"
fi
# The next guest makes a host key of its own before its SSH server starts for the first time.
mkdir -p /etc/systemd/system/ssh.service.d
printf '[Service]\nExecStartPre=\nExecStartPre=/usr/bin/ssh-keygen -A\nExecStartPre=/usr/sbin/sshd -t\n' >/etc/systemd/system/ssh.service.d/50-cage.conf
rm -f /etc/ssh/ssh_host_* /etc/ssh/cage_* /etc/ssh/sshd_config.d/00-cage.conf

if command -v cloud-init >/dev/null; then cloud-init clean --logs; fi
sed -i "/^127\.0\.1\.1 cage-$id\$/d" /etc/hosts
echo cage >/etc/hostname
: >/etc/machine-id
rm -rf /etc/cage/project /var/lib/dbus/machine-id /var/lib/systemd/random-seed /var/lib/dhcp/* /root/.bash_history /root/.ssh
systemctl stop systemd-journald.socket systemd-journald-dev-log.socket systemd-journald.service 2>/dev/null || true
rm -rf /var/log/journal/* "${base:?}/${id:?}" "$base/networks"
PATH=/usr/sbin:/usr/bin:/sbin:/bin
fstrim / 2>/dev/null || true
sync
# Whoever called is told before the power goes.
systemd-run --quiet --on-active=2 systemctl poweroff
