#!/bin/bash
# Makes a Vagrant box for libvirt from Debian packages: no download of a foreign image, no boot loader, a kernel that starts
# directly, few services. Small enough to boot under software emulation in a minute or two.
#
# usage: make-box.sh OUT.box     (appears only when it is complete; kernel and initrd lie beside it, where libvirt's user reads them)
set -euo pipefail

guest=$(cd "$(dirname "$0")/../../provision/guest" && pwd)
out=$1
suite=trixie
packages=(
	systemd-sysv dbus udev kmod linux-image-cloud-amd64 initramfs-tools zstd
	openssh-server sudo systemd-resolved iproute2 nftables ca-certificates procps e2fsprogs mount
	slirp4netns # a node's way out
)

work=$(mktemp -d "$(dirname "$out")/.box.XXXXXX")
trap 'rm -rf --one-file-system "$work"' EXIT
"$guest/apt-settings.sh" "$suite" "$work/apt"
keys=()
for key in "$work"/apt/keys/*; do
	if [ -f "$key" ]; then keys+=("--keyring=$key"); fi
done
sources=()
if [ -s "$work/apt/sources.list" ]; then sources=("$work/apt/sources.list"); fi
mmdebstrap --variant=minbase --mode=root --format=directory \
	--include="$(
		IFS=,
		echo "${packages[*]}"
	)" \
	--aptopt="$work/apt/apt.conf" --aptopt='Acquire::Languages "none"' "${keys[@]}" \
	--dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
	--dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt='force-unsafe-io' \
	"$suite" "$work/root" "${sources[@]}" </dev/null

# What every Vagrant box has: the user, its well-known key, sudo.
in_root() { chroot "$work/root" env DEBIAN_FRONTEND=noninteractive "$@"; }
in_root useradd --create-home --shell /bin/bash vagrant
install -d -m 0700 "$work/root/home/vagrant/.ssh"
cat "$(dirname "$(readlink -f "$(command -v vagrant)")")/../share/vagrant/keys/vagrant.pub" 2>/dev/null >"$work/key" ||
	find /usr/share /opt -path '*keys/vagrant.pub' -exec cat {} + -quit >"$work/key"
install -m 0600 "$work/key" "$work/root/home/vagrant/.ssh/authorized_keys"
in_root chown -R vagrant:vagrant /home/vagrant/.ssh
echo 'vagrant ALL=(ALL) NOPASSWD:ALL' >"$work/root/etc/sudoers.d/vagrant"
printf 'UseDNS no\nPubkeyAuthentication yes\n' >"$work/root/etc/ssh/sshd_config.d/50-box.conf"

printf '[Match]\nName=eth0\n[Network]\nDHCP=ipv4\n' >"$work/root/etc/systemd/network/10-eth0.network"
in_root systemctl enable systemd-networkd systemd-resolved ssh
in_root systemctl mask apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer fstrim.timer \
	systemd-networkd-wait-online.service getty@tty1.service systemd-pstore.service
echo '/dev/vda / ext4 rw,noatime,errors=remount-ro 0 0' >"$work/root/etc/fstab"
echo cage-box >"$work/root/etc/hostname"
: >"$work/root/etc/machine-id"
rm -f "$work/root"/etc/ssh/ssh_host_* "$work/root"/var/lib/apt/lists/*_*
# Its keys are made at the first boot, as in any box.
cat >"$work/root/etc/systemd/system/ssh-keys.service" <<-'EOT'
	[Unit]
	Before=ssh.service
	ConditionPathExists=!/etc/ssh/ssh_host_ed25519_key
	[Service]
	Type=oneshot
	ExecStart=/usr/bin/ssh-keygen -q -t ed25519 -N "" -f /etc/ssh/ssh_host_ed25519_key
	[Install]
	WantedBy=multi-user.target
EOT
in_root systemctl enable ssh-keys

mkdir "$work/box"
install -m 0644 "$work"/root/boot/vmlinuz-* "${out%.box}.vmlinuz"
install -m 0644 "$work"/root/boot/initrd.img-* "${out%.box}.initrd"
rm -rf "$work/root/boot/"*
truncate -s 24G "$work/disk.raw"
mkfs.ext4 -q -F -L rootfs -E lazy_itable_init=1,lazy_journal_init=1 -d "$work/root" "$work/disk.raw"
qemu-img convert -O qcow2 "$work/disk.raw" "$work/box/box.img"
rm -f "$work/disk.raw"
echo '{"provider": "libvirt", "format": "qcow2", "virtual_size": 24}' >"$work/box/metadata.json"
cat >"$work/box/Vagrantfile" <<-EOT
	Vagrant.configure('2') do |config|
	  config.vm.provider :libvirt do |libvirt|
	    libvirt.kernel = '${out%.box}.vmlinuz'
	    libvirt.initrd = '${out%.box}.initrd'
	    libvirt.cmd_line = 'root=/dev/vda rw console=ttyS0,115200 net.ifnames=0 mitigations=off tsc=reliable quiet'
	  end
	end
EOT
tar -C "$work/box" -cf "$work/whole.box" metadata.json Vagrantfile box.img
mv "$work/whole.box" "$out"
