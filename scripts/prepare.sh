# shellcheck shell=bash
# What scripts/quickstart and scripts/test share: the tools of this computer, the modules, the build. Sourced.

export PATH="$PATH:/usr/local/go/bin:/usr/sbin:/sbin"
export DEBIAN_FRONTEND=noninteractive

# What a command or file needs : the Debian package that brings it.
# shellcheck disable=SC2034 # the scripts that source this use them
packages_to_run=(git:git mmdebstrap:mmdebstrap slirp4netns:slirp4netns ip:iproute2 unshare:util-linux losetup:mount
	mkfs.ext4:e2fsprogs pgrep:procps)
# shellcheck disable=SC2034
packages_to_test=(nft:nftables tmux:tmux shellcheck:shellcheck shfmt:shfmt ruby:ruby python3:python3 openssl:openssl
	gcc:gcc /usr/include/stdlib.h:libc6-dev ssh:openssh-client /usr/sbin/sshd:openssh-server)

# Virtual machines, for scripts/test --vm only.
# shellcheck disable=SC2034
packages_for_vms=(vagrant:vagrant libvirtd:libvirt-daemon virsh:libvirt-clients qemu-img:qemu-utils
	qemu-system-x86_64:qemu-system-x86 dnsmasq:dnsmasq-base mmdebstrap:mmdebstrap
	/usr/share/doc/libvirt-daemon-driver-qemu/copyright:libvirt-daemon-driver-qemu
	/usr/share/vagrant-plugins/plugins.d/vagrant-libvirt.json:vagrant-libvirt
	/etc/libvirt/libvirtd.conf:libvirt-daemon-system)

# install_packages PAIR...: installs only what is missing; says nothing when all is there
install_packages() {
	local missing=() pair
	for pair in "$@"; do
		case $pair in
		/*) [ -e "${pair%%:*}" ] || missing+=("${pair#*:}") ;;
		*) command -v "${pair%%:*}" >/dev/null || missing+=("${pair#*:}") ;;
		esac
	done
	[ ${#missing[@]} -eq 0 ] && return 0
	if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
		echo "missing, and only root on Debian can install them: ${missing[*]}" >&2
		return 1
	fi
	echo "installing Debian packages: ${missing[*]}" >&2
	apt-get update -qq >&2 && apt-get install -y -qq --no-install-recommends "${missing[@]}" >&2
}

node_new_enough() {
	command -v npm >/dev/null &&
		node -e 'const [a, b] = process.versions.node.split(".").map(Number); process.exit(a > 20 || (a === 20 && b >= 19) ? 0 : 1)'
}

# install_modules: npm ci, unless these very versions are installed
install_modules() {
	local wanted
	wanted=$(cat package-lock.json package.json | sha256sum)
	[ "$(cat node_modules/.cage-installed 2>/dev/null)" = "$wanted" ] && return 0
	npm ci --ignore-scripts --no-audit --no-fund --loglevel=error >&2 && echo "$wanted" >node_modules/.cage-installed
}

# build_if_stale: builds unless dist is newer than every source
build_if_stale() {
	if [ -f dist/cli/main.js ] && [ -f oclif.manifest.json ] &&
		[ -z "$(find bin cli tasks provision kube manifests policy scan core proxy dispatcher package.json scripts/build.mjs -newer oclif.manifest.json -type f -print -quit 2>/dev/null)" ]; then
		return 0
	fi
	npm run --silent build >&2
}
