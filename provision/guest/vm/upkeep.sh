#!/bin/sh
# Keeps a virtual machine of cage's own in order while nobody looks: security updates, the clock, bounds for its journal.
# Needs nothing but what the image has. Runs on the machine, from standard input: `sh -s apply <upkeep.sh`.
#
# usage: upkeep.sh apply
#        upkeep.sh state     prints one line each: NAME on|off DETAIL
set -eu

put() { # path; content from standard input
	mkdir -p "$(dirname "$1")"
	cat >"$1.new"
	chmod 0644 "$1.new"
	mv "$1.new" "$1"
}

is_on() { # unit
	[ "$(systemctl is-enabled "$1" 2>/dev/null)" = enabled ] && [ "$(systemctl is-active "$1" 2>/dev/null)" = active ]
}

# Only what fixes security comes by itself, and nothing restarts the machine under a task.
settings=/etc/apt/apt.conf.d/90-cage
updates() {
	put $settings <<-'EOT'
		APT::Periodic::Enable "1";
		APT::Periodic::Update-Package-Lists "1";
		APT::Periodic::Unattended-Upgrade "1";
		APT::Periodic::AutocleanInterval "7";
		#clear Unattended-Upgrade::Origins-Pattern;
		#clear Unattended-Upgrade::Allowed-Origins;
		Unattended-Upgrade::Origins-Pattern {
			"origin=Debian,codename=${distro_codename}-security,label=Debian-Security";
			"origin=Ubuntu,archive=${distro_codename}-security,label=Ubuntu";
		};
		Unattended-Upgrade::Automatic-Reboot "false";
		Unattended-Upgrade::Remove-Unused-Kernel-Packages "true";
	EOT
	# An image that masks them has its reason; `state` says so.
	systemctl enable --now apt-daily.timer apt-daily-upgrade.timer >/dev/null 2>&1 || true
}

# Another program that keeps the time stays.
clock() {
	for other in chrony.service chronyd.service ntpsec.service ntp.service; do
		if is_on $other; then return; fi
	done
	systemctl enable --now systemd-timesyncd.service >/dev/null 2>&1 || true
}

case ${1:-} in
apply)
	updates
	clock
	;;
state)
	if [ ! -e $settings ]; then
		echo 'updates off not set up'
	elif ! command -v unattended-upgrade >/dev/null; then
		echo 'updates off unattended-upgrades is not installed'
	elif is_on apt-daily.timer && is_on apt-daily-upgrade.timer; then
		echo 'updates on security updates, daily, without a restart'
	else
		echo 'updates off the timers of apt do not run'
	fi
	time=
	for program in systemd-timesyncd.service chrony.service chronyd.service ntpsec.service ntp.service; do
		if is_on $program; then time=${program%.service}; fi
	done
	if [ -z "$time" ]; then
		echo 'clock off no program keeps the time'
	elif [ "$(timedatectl show -p NTPSynchronized --value 2>/dev/null)" = yes ]; then
		echo "clock on $time, synchronized"
	else
		echo "clock on $time, not synchronized yet"
	fi
	journal=$(sed -n 's/^SystemMaxUse=//p' /etc/systemd/journald.conf.d/50-cage.conf 2>/dev/null || true)
	if [ -n "$journal" ]; then echo "journal on at most $journal"; else echo 'journal off as large as the image allows'; fi
	df -Pk / | awk 'NR == 2 { sub(/%/, "", $5); state = $5 < 95 ? "on" : "off"
		printf "disk %s %d %% used, %d GiB free; pods that fill it are evicted\n", state, $5, $4 / 1048576 }'
	;;
*)
	echo 'usage: upkeep.sh apply | state' >&2
	exit 2
	;;
esac
