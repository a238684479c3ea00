#!/bin/bash
# The machine's firewall for pods: what is not listed here does not leave a pod.
#
# usage: firewall.sh closed      nothing is forwarded, nothing from a pod reaches the machine
#        firewall.sh apply       reads the openings from standard input, one a line:
#                                  dispatcher ADDRESS PORT    ClusterIP of the dispatcher's service
#                                  resolver ADDRESS           the one DNS server
#                                  computer ADDRESS           an address of the computer around the machine: never reached
#                                  public tcp|udp PORT        reachable on every public address
#                                  opening ADDRESS[/PREFIX] tcp|udp PORT
#        firewall.sh loaded      prints what was applied last; fails when that is not what is loaded
# All or nothing: nft loads the ruleset in one transaction.
set -euo pipefail

# Not public: private, shared, link-local and metadata, documentation, benchmark, multicast, reserved (IANA special registries),
# and 168.63.129.16, the metadata service of one large cloud.
special='0.0.0.0/8, 10.0.0.0/8, 100.64.0.0/10, 127.0.0.0/8, 168.63.129.16, 169.254.0.0/16, 172.16.0.0/12, 192.0.0.0/24,
	192.0.2.0/24, 192.88.99.0/24, 192.168.0.0/16, 198.18.0.0/15, 198.51.100.0/24, 203.0.113.0/24, 224.0.0.0/3'
address='^[0-9]{1,3}(\.[0-9]{1,3}){3}(/[0-9]{1,2})?$'
# How a node in namespaces is connected: its own interfaces are known, every other one leads to a pod.
from_elsewhere='iifname { "lo", "eth0", "tap0" }'
way_out='oifname "tap0"'
input_rules='iifname { "lo", "eth0", "tap0" } accept
			ct state established,related accept
			drop'
# A machine that is connected in another way says so here, in the same three words.
if [ -e /etc/cage/firewall ]; then
	# shellcheck source=provision/guest/vm/firewall
	. /etc/cage/firewall
fi

die() {
	echo "firewall: $*" >&2
	exit 1
}
valid() { # address, port, protocol
	[[ $1 =~ $address ]] || die "not an address: $1"
	[[ ${2:-1} =~ ^[0-9]{1,5}$ ]] || die "not a port: $2"
	[[ ${3:-tcp} =~ ^(tcp|udp)$ ]] || die "not a protocol: $3"
}

loaded=/run/cage/firewall
# Counts and handles change by themselves; the rules do not.
fingerprint() { nft -s list table inet cage | sha256sum | cut -d' ' -f1; }

rules='' computers='' publics='' input=''
case ${1:-} in
loaded)
	[ "$(fingerprint 2>/dev/null)" = "$(cat $loaded.sum 2>/dev/null)" ] || exit 1
	exec cat $loaded
	;;
closed) ;;
apply)
	input=$(cat)
	while read -r kind a b c; do
		case $kind in
		'' | '#'*) ;;
		dispatcher)
			valid "$a" "$b"
			rules+="		meta l4proto tcp ct status dnat ct original ip daddr $a ct original proto-dst $b accept"$'\n'
			;;
		resolver)
			valid "$a"
			rules+="		$way_out ip daddr $a meta l4proto { tcp, udp } th dport 53 accept"$'\n'
			;;
		computer)
			valid "$a"
			computers+="$a, "
			;;
		public)
			valid 0.0.0.0 "$b" "$a"
			publics+="		$way_out $a dport $b accept"$'\n'
			;;
		opening)
			valid "$a" "$c" "$b"
			rules+="		$way_out ip daddr $a $b dport $c accept"$'\n'
			;;
		*) die "unknown opening: $kind" ;;
		esac
	done <<<"$input"
	;;
*) die "usage: firewall.sh closed|apply|loaded" ;;
esac

rm -f $loaded.sum
if [ -n "$computers" ]; then computers="elements = { ${computers%, } }"; fi
nft -f - <<-EOT
	table inet cage
	delete table inet cage
	table inet cage {
		set special {
			type ipv4_addr; flags interval; auto-merge
			elements = { $special }
		}
		set computer {
			type ipv4_addr; flags interval; auto-merge
			$computers
		}
		chain forward {
			type filter hook forward priority filter - 10; policy drop;
			ct state established,related accept
			meta nfproto ipv6 drop
			$from_elsewhere drop
	$rules  ip daddr @special drop
			ip daddr @computer drop
	$publics }
		chain input {
			type filter hook input priority filter - 10; policy accept;
			$input_rules
		}
		chain postrouting {
			type nat hook postrouting priority srcnat; policy accept;
			$way_out masquerade
		}
	}
EOT
printf '%s\n' "$input" >$loaded
fingerprint >$loaded.sum
