#!/bin/bash
# Which of the named images containerd does not have, one a line. Runs on the machine.
#
# usage: images.sh missing REF...
set -euo pipefail

[ "${1:-}" = missing ] || {
	echo "usage: images.sh missing REF..." >&2
	exit 2
}
shift
have=$(ctr --namespace k8s.io images list --quiet)
for ref in "$@"; do
	if ! grep -qxF "$ref" <<<"$have"; then echo "$ref"; fi
done
