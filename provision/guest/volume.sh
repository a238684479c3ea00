#!/bin/bash
# Volumes of a fixed size: a sparse file with an ext4 file system, mounted at /var/lib/cage/volumes/NAME.
# A full volume fills its own file system and nothing else. Runs on the machine.
#
# usage: volume.sh ensure NAME BYTES    makes it if needed, mounts it if needed; never shrinks, grows when BYTES is larger
#        volume.sh remove NAME
#        volume.sh mount-all            after a start of the machine
#        volume.sh list                 one "NAME BYTES" a line
#        volume.sh read NAME FILE       prints a file at the top of the volume; nothing when there is none
set -euo pipefail

images=/var/lib/cage/images
mounts=/var/lib/cage/volumes

die() {
	echo "volume: $*" >&2
	exit 1
}

# A machine in namespaces has no device manager: the node of a loop device is made when it is needed.
free_loop() {
	local device
	device=$(losetup -f)
	if [ ! -e "$device" ]; then mknod -m 600 "$device" b 7 "${device#/dev/loop}"; fi
	echo "$device"
}

attach() { # image; prints the device
	local device
	for _ in 1 2 3 4 5 6 7 8 9 10; do
		device=$(free_loop)
		if losetup "$device" "$1" 2>/dev/null; then
			echo "$device"
			return
		fi
		# Another machine on this computer took the same device.
		sleep 0.1
	done
	die "no free loop device for $1"
}

mount_device() { # device, directory
	local options=noatime,discard,nosuid,nodev
	if mount -o $options "$1" "$2"; then return; fi
	# Mends what it can without asking; exit code 1 says that it did.
	e2fsck -p "$1" >&2 || [ $? -le 1 ] || return 1
	mount -o $options "$1" "$2"
}

mount_volume() { # name
	local device
	if mountpoint -q "$mounts/$1"; then return; fi
	mkdir -p "$mounts/$1"
	device=$(attach "$images/$1.img")
	if ! mount_device "$device" "$mounts/$1"; then
		losetup -d "$device"
		# Without its volume a task must not start: it would write to the disk that all volumes share.
		rmdir "$mounts/$1"
		die "cannot mount the volume $1"
	fi
	# Released together with the mount.
	losetup -d "$device"
	# What fsck may need one day is nothing to find in a home directory.
	if [ -d "$mounts/$1/lost+found" ]; then rmdir "$mounts/$1/lost+found" || true; fi
}

grow() { # name, bytes
	local image=$images/$1.img device have
	umount "$mounts/$1" 2>/dev/null || true
	device=$(losetup -n -O NAME -j "$image")
	if [ -z "$device" ]; then
		truncate -s "$2" "$image"
		e2fsck -f -p "$image" >&2 || [ $? -le 1 ] || die "the volume $1 is damaged"
		resize2fs "$image" >/dev/null 2>&1 || die "cannot grow the volume $1"
		mount_volume "$1"
	else
		# A pod still holds it: only the kernel may grow it now.
		mountpoint -q "$mounts/$1" || mount_device "$device" "$mounts/$1"
		have=$(stat -c %s "$image")
		truncate -s "$2" "$image"
		losetup -c "$device"
		if resize2fs "$device" >/dev/null 2>&1; then return; fi
		truncate -s "$have" "$image"
		losetup -c "$device"
		die "cannot grow the volume $1 while a task uses it"
	fi
}

ensure() { # name, bytes
	local image=$images/$1.img
	if [ ! -f "$image" ]; then
		truncate -s "$2" "$image.new"
		mkfs.ext4 -q -F -m 0 -L cage -E lazy_itable_init=1,lazy_journal_init=1,nodiscard "$image.new"
		mv "$image.new" "$image"
	fi
	mount_volume "$1"
	if [ "$2" -gt "$(stat -c %s "$image")" ]; then grow "$1" "$2"; fi
}

remove() { # name
	if mountpoint -q "$mounts/$1"; then umount -l "$mounts/$1"; fi
	rm -f "$images/$1.img" "$images/$1.img.new"
	if [ -d "$mounts/$1" ]; then rmdir "$mounts/$1"; fi
}

read_file() { # name, file
	local path=$mounts/$1/$2
	if [ ! -e "$images/$1.img" ]; then return; fi
	mountpoint -q "$mounts/$1" || die "the volume $1 is not mounted"
	# A pod wrote it: never another file of this machine, never a pipe that nobody fills.
	if [ -L "$path" ] || { [ -e "$path" ] && [ ! -f "$path" ]; }; then die "$2 of volume $1 is not a plain file"; fi
	if [ ! -e "$path" ]; then return; fi
	dd if="$path" iflag=nofollow,nonblock bs=256K status=none
}

case ${1:-} in
mount-all | list) ;;
*) [[ ${2:-} =~ ^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$ ]] || die "not a volume name: ${2:-}" ;;
esac
mkdir -p "$images" "$mounts"
chmod 0700 "$images" "$mounts"
exec 9>"$images/.lock"
flock 9

case ${1:-} in
ensure)
	[[ ${3:-} =~ ^[1-9][0-9]{6,14}$ ]] || die "not a size in bytes: ${3:-}"
	ensure "$2" "$3"
	;;
remove) remove "$2" ;;
read)
	[[ ${3:-} =~ ^[a-z]+\.[a-z]+$ ]] || die "not a file name: ${3:-}"
	# It may be long, and whoever takes it slow.
	flock -u 9
	read_file "$2" "$3"
	;;
mount-all)
	rm -f "$images"/*.img.new
	failed=0
	for image in "$images"/*.img; do
		if [ ! -f "$image" ]; then continue; fi
		# One damaged volume must not keep the others from their tasks.
		(mount_volume "$(basename "$image" .img)") || failed=1
	done
	if [ $failed = 1 ]; then echo "volume: some volumes are not mounted" >&2; fi
	;;
list)
	for image in "$images"/*.img; do
		if [ -f "$image" ]; then echo "$(basename "$image" .img) $(stat -c %s "$image")"; fi
	done
	;;
*) die "usage: volume.sh ensure NAME BYTES | remove NAME | mount-all | list | read NAME FILE" ;;
esac
