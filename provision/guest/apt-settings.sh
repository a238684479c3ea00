#!/bin/bash
# Writes what a fresh Debian root needs to use the package sources of this system, and nothing else of its configuration:
#   OUTDIR/sources.list   Debian's own archives only, for the given suite; empty when this system has none
#   OUTDIR/apt.conf       how they are fetched: proxies, certificates, retries, validity checks
#   OUTDIR/keys/          keyrings that the sources name, other than Debian's own
#
# usage: apt-settings.sh SUITE OUTDIR
set -euo pipefail

suite=$1 out=$2
mkdir -p "$out/keys"

# One line per component of each source: "URI|suite|component|keyring".
targets() {
	# shellcheck disable=SC2016 # the dollar signs are for apt
	apt-get indextargets --format '$(REPO_URI)|$(RELEASE)|$(COMPONENT)|$(SIGNED_BY)' 'Created-By: Packages' 2>/dev/null | sort -u
}

debian_only() {
	grep -E '^[a-z+]+:[^|]*/debian(-security)?/?\|[^|]+\|main\|' || true
}

add_source() { # URI suite keyring
	local options='' name
	if [ -n "$3" ] && [ -f "$3" ] && [[ $(basename "$3") != debian-archive-* ]]; then
		name=$(basename "$3")
		cp "$3" "$out/keys/$name"
		options="[signed-by=/usr/share/keyrings/$name] "
	fi
	printf 'deb %s%s %s main\n' "$options" "$1" "$2"
}

: >"$out/sources.list"
while IFS='|' read -r uri _ _ key; do
	case $uri in
	*-security | *-security/) add_source "$uri" "$suite-security" "$key" ;;
	*)
		add_source "$uri" "$suite" "$key"
		add_source "$uri" "$suite-updates" "$key"
		;;
	esac
done < <(targets | debian_only) | sort -u >"$out/sources.list"

apt-config dump | grep -E '^Acquire::(https?|ftp|Retries|Check-Valid-Until|Check-Date|Max-ValidTime|ForceIPv4)(::|[[:space:]])' >"$out/apt.conf" || true
