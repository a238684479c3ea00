#!/bin/bash
# Installs Kubernetes with kubeadm, once. An installation that was cut off is thrown away and begun again: nothing of
# anybody's work is in it. Runs on the machine.
#
# usage: cluster.sh install      reads /etc/kubernetes/cage/kubeadm.yaml
#        cluster.sh state        prints absent, starting or ready
set -euo pipefail

export KUBECONFIG=/etc/kubernetes/admin.conf
complete=/etc/kubernetes/cage/complete

stop_kubelet() {
	if [ -d /run/sv/kubelet ]; then
		sv -w 10 force-stop /run/sv/kubelet >/dev/null || true
	else
		systemctl stop kubelet
	fi
}
start_kubelet() {
	if [ -d /run/sv/kubelet ]; then sv up /run/sv/kubelet; else systemctl start kubelet; fi
}

throw_away() {
	stop_kubelet
	ctr --namespace k8s.io tasks list --quiet | while read -r task; do
		ctr --namespace k8s.io tasks delete --force "$task" >/dev/null 2>&1 || true
	done
	ctr --namespace k8s.io containers list --quiet | xargs -r ctr --namespace k8s.io containers delete >/dev/null 2>&1 || true
	for mount in $(findmnt -rno TARGET | grep '^/var/lib/kubelet/' | sort -r); do umount "$mount" || true; done
	find /etc/kubernetes /var/lib/etcd -mindepth 1 -maxdepth 1 ! -name cage -exec rm -rf {} +
	find /var/lib/kubelet -mindepth 1 -maxdepth 1 ! -name seccomp -exec rm -rf {} +
	start_kubelet
}

case ${1:-} in
install)
	if [ -e $complete ]; then exit 0; fi
	if [ -e /etc/kubernetes/pki ] || [ -e /var/lib/kubelet/config.yaml ]; then throw_away; fi
	# It wants to read the kernel's configuration, which lies outside of the node, and knows only cgroup v2.
	kubeadm init --config /etc/kubernetes/cage/kubeadm.yaml --skip-phases=addon/coredns --skip-token-print \
		--ignore-preflight-errors=SystemVerification
	# Nothing else ever joins.
	kubeadm token list -o jsonpath='{.token}{"\n"}' | while read -r token; do
		if [ -n "$token" ]; then kubeadm token delete "$token"; fi
	done
	touch $complete
	;;
state)
	if [ ! -e $complete ]; then
		echo absent
	elif [ "$(kubectl get --raw /readyz --request-timeout=3s 2>/dev/null)" != ok ]; then
		echo starting
	elif [ "$(kubectl get nodes --request-timeout=3s -o jsonpath='{range .items[*].status.conditions[?(@.type=="Ready")]}{.status}{end}' 2>/dev/null)" = True ] &&
		[ "$(kubectl -n kube-system get daemonset kube-proxy --request-timeout=3s -o jsonpath='{.status.numberReady}' 2>/dev/null)" = 1 ]; then
		echo ready
	else
		echo starting
	fi
	;;
*)
	echo "usage: cluster.sh install | state" >&2
	exit 2
	;;
esac
