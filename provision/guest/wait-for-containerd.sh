#!/bin/bash
# Returns when containerd answers. Runs on the machine; the caller sets the deadline.
set -uo pipefail

until ctr --namespace k8s.io version >/dev/null 2>&1; do sleep 0.1; done
