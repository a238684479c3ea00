#!/bin/bash
# Imports one image from standard input (docker-archive) into containerd and keeps the kubelet from collecting it:
# there is no registry from which it could come back. Runs on the machine.
#
# usage: import-image.sh REF <IMAGE.tar
set -euo pipefail

ref=$1
ctr --namespace k8s.io images import --no-unpack=false - >/dev/null
ctr --namespace k8s.io images label "$ref" io.cri-containerd.pinned=pinned >/dev/null
