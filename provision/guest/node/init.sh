#!/bin/bash
# First process of a node: makes its file system, changes into it and becomes its supervisor.
# Started by start.sh in new namespaces. Every name below is relative, so that no path of the computer
# stands in the node's mount table.
set -euo pipefail

cd "$CAGE_NODE_DIR/stage"
umask 022

# start.sh moves this process to where it belongs; /proc/self/cgroup must hold still while it is read below.
for _ in $(seq 400); do
	if [ -e ../delegated ]; then break; fi
	sleep 0.02
done
[ -e ../delegated ]

mount -t tmpfs -o mode=700,size=1m tmpfs .
cd "$CAGE_NODE_DIR/stage"
mkdir root disk etcd volumes
# What a cut of the power left is mended here; more than that is for a person to judge.
for image in disk etcd volumes; do
	e2fsck -p "../$image.img" || [ $? -le 1 ] || {
		echo "$image.img is damaged: stop the machine, then run e2fsck on it"
		exit 1
	}
done
for image in disk etcd volumes; do mount -o loop,discard,noatime,errors=remount-ro "../$image.img" $image; done
mkdir -p disk/{containerd,kubelet,kubernetes,log,build} etcd/data volumes/{images,mounts}
chmod 0700 disk/{containerd,kubelet,kubernetes,build} etcd/data volumes/{images,mounts}

# The root is read-only layers; what is written above them ends with the node.
rm -rf disk/upper disk/work
mkdir disk/{upper,work}
lower=
number=0
while IFS= read -r -d : layer; do
	mkdir "layer$number"
	mount --bind "$layer" "layer$number"
	lower=$lower${lower:+:}layer$number
	number=$((number + 1))
done <<<"$CAGE_NODE_LAYERS:"
mount -t overlay -o "lowerdir=$lower,upperdir=disk/upper,workdir=disk/work" overlay root

cd root
mount -t tmpfs -o mode=755 tmpfs run
mkdir -p run/netns run/lock run/sv run/cage/{proc,sysctl} old
mount -t proc proc proc
# Containers in user namespaces may mount a proc of their own only while one that nothing covers is visible here.
mount -t proc proc run/cage/proc
mount -t sysfs -o ro sysfs sys
cp -r usr/local/lib/cage/sv/. run/sv/

mount -t tmpfs -o mode=755,size=1m tmpfs dev
mkdir dev/pts dev/shm dev/mqueue
mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts dev/pts
mount -t tmpfs -o size=64m tmpfs dev/shm
mount -t mqueue mqueue dev/mqueue
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
ln -s /proc/self/fd/0 dev/stdin
ln -s /proc/self/fd/1 dev/stdout
ln -s /proc/self/fd/2 dev/stderr
while read -r name major minor; do
	mknod -m 666 "dev/$name" c "$major" "$minor"
done <<-EOT
	null 1 3
	zero 1 5
	full 1 7
	random 1 8
	urandom 1 9
	tty 5 0
EOT
mknod -m 600 dev/kmsg c 1 11
mknod -m 600 dev/loop-control c 10 237

if [ "$(stat -f -c %T /sys/fs/cgroup)" = cgroup2fs ]; then
	mount -t cgroup2 cgroup2 sys/fs/cgroup
else
	mount -t tmpfs -o mode=755,size=64k tmpfs sys/fs/cgroup
	while IFS=: read -r _ controllers _; do
		case $controllers in
		'') continue ;;
		name=*) directory=${controllers#name=} options=none,$controllers ;;
		*) directory=$controllers options=$controllers ;;
		esac
		mkdir "sys/fs/cgroup/$directory"
		mount -t cgroup -o "$options" cgroup "sys/fs/cgroup/$directory"
		if [[ $directory = *,* ]]; then
			for alias in ${directory//,/ }; do ln -s "$directory" "sys/fs/cgroup/$alias"; done
		fi
	done </proc/self/cgroup
	mount -o remount,ro sys/fs/cgroup
fi

# The kubelet wants these values for the whole kernel; it finds them here, and the computer keeps its own.
while read -r path value; do
	if [ ! -e "proc/sys/$path" ] || [ "$(cat "proc/sys/$path")" = "$value" ]; then continue; fi
	echo "$value" >"run/cage/sysctl/${path//\//.}"
	mount --bind "run/cage/sysctl/${path//\//.}" "proc/sys/$path"
done <<-EOT
	vm/overcommit_memory 1
	vm/panic_on_oom 0
	kernel/panic 10
	kernel/panic_on_oops 1
	kernel/keys/root_maxkeys 1000000
	kernel/keys/root_maxbytes 25000000
EOT

mkdir -p etc/kubernetes var/lib/cage/{volumes,images,build} var/log
mount --bind ../disk/containerd var/lib/containerd
mount --bind ../disk/kubelet var/lib/kubelet
mount --bind ../disk/kubernetes etc/kubernetes
mount --bind ../disk/log var/log
mount --bind ../disk/build var/lib/cage/build
mount --bind ../etcd/data var/lib/etcd
mount --bind ../volumes/images var/lib/cage/images
mount --bind ../volumes/mounts var/lib/cage/volumes
for service in containerd kubelet; do
	mkdir -p "var/log/$service"
	# svlogd keeps five files of two megabytes.
	printf 's2000000\nn5\n' >"var/log/$service/config"
done

hostname "$CAGE_NODE_NAME"
echo "$CAGE_NODE_NAME" >etc/hostname
sha256sum <<<"$CAGE_NODE_NAME" | cut -c1-32 >etc/machine-id
printf '127.0.0.1 localhost\n%s %s\n' "${CAGE_NODE_ADDRESS%/*}" "$CAGE_NODE_NAME" >etc/hosts
echo 'nameserver 10.0.2.3' >etc/resolv.conf

pivot_root . old
# On a server programs came from a folder that is not here.
hash -r
umount -l /old
rmdir /old
mount --make-rshared /

ip link set lo up
for _ in $(seq 200); do
	if ip link show "${CAGE_NODE_LINK}n" >/dev/null 2>&1; then break; fi
	sleep 0.05
done
ip link set "${CAGE_NODE_LINK}n" name eth0
ip addr add "$CAGE_NODE_ADDRESS" dev eth0
ip link set eth0 up
echo 1 >/proc/sys/net/ipv4/ip_forward
# Until the firewall is loaded nothing is forwarded.
/usr/local/lib/cage/firewall.sh closed
/usr/local/lib/cage/volume.sh mount-all
touch /run/cage/ready

# Never from inside the node: modules, reboot, the clock, raw hardware.
exec setpriv --bounding-set=-sys_module,-sys_boot,-sys_time,-sys_rawio --inh-caps=-all \
	env -i PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 runsvdir -P /run/sv
