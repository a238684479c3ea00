#!/bin/sh
# Makes a virtual machine cage's own, at each boot before its SSH server answers: its host key, the one key that its root
# accepts, its name, bounds for its journal. Changes only what differs.
#
# environment: PARAM_project       whose machine this is
#              PARAM_name          the host name
#              PARAM_hostKey       the OpenSSH private key with which the guest proves who it is, in base64
#              PARAM_authorizedKey the public key that root accepts
# Lima puts these lines into cloud-init's boot commands: no here-documents.
set -eu

: "${PARAM_project:?}" "${PARAM_name:?}" "${PARAM_hostKey:?}" "${PARAM_authorizedKey:?}"

changed=
put() { # PATH MODE CONTENT
	if [ "$(cat "$1" 2>/dev/null)" = "$3" ]; then return 0; fi
	mkdir -p "$(dirname "$1")"
	(umask 077 && printf '%s\n' "$3" >"$1.new")
	chmod "$2" "$1.new"
	mv "$1.new" "$1"
	changed="$changed $1"
}

put /etc/ssh/cage_host_key 0600 "$(printf '%s' "$PARAM_hostKey" | base64 -d)"
put /etc/ssh/cage_authorized_keys 0644 "$PARAM_authorizedKey"
# The first value of a setting counts, and this file is read first.
put /etc/ssh/sshd_config.d/00-cage.conf 0644 'HostKey /etc/ssh/cage_host_key
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
Match User root
	AuthorizedKeysFile /etc/ssh/cage_authorized_keys
Match all'
mkdir -p /run/sshd
if ! sshd=$(PATH=$PATH:/usr/sbin command -v sshd) || ! "$sshd" -T | grep -qix 'hostkey /etc/ssh/cage_host_key'; then
	echo 'cage: sshd does not take its settings from /etc/ssh/sshd_config.d' >&2
	exit 1
fi
case $changed in *ssh*) systemctl try-reload-or-restart ssh.service ;; esac

changed=
put /etc/systemd/journald.conf.d/50-cage.conf 0644 '[Journal]
SystemMaxUse=200M
RuntimeMaxUse=50M'
case $changed in *journald*) systemctl try-restart systemd-journald.service ;; esac

put /etc/cage/project 0644 "$PARAM_project"
if [ "$(hostname)" != "$PARAM_name" ]; then
	put /etc/hostname 0644 "$PARAM_name"
	hostname "$PARAM_name"
fi
grep -qsw -- "$PARAM_name" /etc/hosts || printf '127.0.1.1 %s\n' "$PARAM_name" >>/etc/hosts

# A root without partitions grows with its disk; cloud-init does it for the others.
root=$(findmnt -no SOURCE /)
case $root in /dev/vd[a-z] | /dev/sd[a-z]) resize2fs "$root" >/dev/null 2>&1 || true ;; esac
