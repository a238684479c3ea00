#!/bin/sh
# Takes a place and a network on this server for one project, or says whose they are. Repeating it changes nothing.
#
# usage: claim.sh ID OWNER KEY FILE MADE...
#   OWNER  which computer and repository the project belongs to
#   KEY    its public key, which FILE lets in; MADE: what was made for that, innermost first
# Prints `network N` (10.N.0.0/16 is the project's) or `taken OWNER`.
set -eu
umask 077

base=/var/lib/cage
id=$1 owner=$2 key=$3 file=$4
shift 4
place=$base/$id
mkdir -p "$base/networks" "$place"
if [ -s "$place/owner" ] && [ "$(cat "$place/owner")" != "$owner" ]; then
	echo "taken $(cat "$place/owner")"
	exit 0
fi

# The key that this computer had before its state was lost opens nothing any more.
claim=$place/claim
if [ -s "$claim/key" ] && [ "$(cat "$claim/key")" != "$key" ] && [ -f "$(cat "$claim/file")" ]; then
	rest=$(mktemp)
	grep -vF -- "$(cut -d' ' -f2 "$claim/key")" "$(cat "$claim/file")" >"$rest" || [ $? = 1 ]
	cat "$rest" >"$(cat "$claim/file")"
	rm -f "$rest"
fi
mkdir -p "$claim"
printf '%s\n' "$file" >"$claim/file"
if [ ! -e "$claim/made" ]; then
	: >"$claim/made"
	for made in "$@"; do printf '%s\n' "$made" >>"$claim/made"; done
fi
printf '%s\n' "$key" >"$claim/key"
printf '%s\n' "$owner" >"$place/owner"

used() { # is 10.N.0.0/16 reached or asked by this server itself?
	if grep -q "^nameserver 10\.$1\." /etc/resolv.conf 2>/dev/null; then return 0; fi
	# Addresses in /proc/net/route are hexadecimal, the last part first.
	while read -r _ to _ _ _ _ _ mask _; do
		case $to$mask in *[!0-9A-F]* | *00000000) continue ;; esac
		both=$((0x$mask & 0xFFFF))
		if [ $((0x$to & both)) -eq $(((10 | $1 << 8) & both)) ]; then return 0; fi
	done </proc/net/route
	return 1
}
for network in "$base"/networks/10.*; do
	if [ "$(cat "$network/id" 2>/dev/null)" = "$id" ]; then
		echo "network ${network##*/10.}"
		exit 0
	fi
done
n=200
while [ $n -le 254 ]; do
	if ! used $n && mkdir "$base/networks/10.$n" 2>/dev/null; then
		echo "$id" >"$base/networks/10.$n/id"
		echo "network $n"
		exit 0
	fi
	n=$((n + 1))
done
echo 'no free network from 10.200.0.0/16 to 10.254.0.0/16 on this server' >&2
exit 1
