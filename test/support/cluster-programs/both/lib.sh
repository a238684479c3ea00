# shellcheck shell=bash
# What the programs of the pretended machine share. `world` outlives a stop of the machine, `running` does not.
world=/var/lib/pretend
running=/run/pretend
mkdir -p $world $running
echo "$(basename "$0") $*" >>$world/calls

# True when the test wants this to go wrong; a number says how often.
goes_wrong() {
	local left
	[ -e "$world/wrong/$1" ] || return 1
	left=$(cat "$world/wrong/$1")
	if [ -z "$left" ]; then return 0; fi
	if [ "$left" -le 1 ]; then rm "$world/wrong/$1"; else echo $((left - 1)) >"$world/wrong/$1"; fi
}
fail() { # exit code, words
	local code=$1
	shift
	printf '%b\n' "$*" >&2
	exit "$code"
}
