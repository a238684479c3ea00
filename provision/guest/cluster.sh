#!/bin/bash
# Kubernetes by kubeadm: installed once, upgraded, its certificates renewed. An installation that was cut off is thrown away
# and begun again: nothing of anybody's work is in it. An upgrade that was cut off goes on. Runs on the machine.
#
# usage: cluster.sh install          reads /etc/kubernetes/cage/kubeadm.yaml
#        cluster.sh state            prints absent, starting or ready
#        cluster.sh versions         prints the Kubernetes of this machine's programs, and the cluster's when there is one
#        cluster.sh upgrade IMAGE... to the Kubernetes of kubeadm.yaml, which this machine was started from; other images of
#                                    the control plane than these are removed
#        cluster.sh certificates     prints the time in seconds and every certificate
#        cluster.sh renew            makes them anew, all but those that sign
set -euo pipefail

export KUBECONFIG=/etc/kubernetes/admin.conf
complete=/etc/kubernetes/cage/complete
configuration=(--config /etc/kubernetes/cage/kubeadm.yaml)
wanted() { sed -n 's/^kubernetesVersion: //p' /etc/kubernetes/cage/kubeadm.yaml; }

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

version() {
	if [ ! -e $complete ]; then return; fi
	# Earlier cages left it empty.
	if [ -s $complete ]; then cat $complete; else sed -n 's/^ *image: .*\/kube-apiserver://p' /etc/kubernetes/manifests/kube-apiserver.yaml; fi
}
mark() { # version
	echo "$1" >$complete.new
	mv $complete.new $complete
}
wait_until_ready() {
	until [ "$(kubectl get --raw /readyz --request-timeout=3s 2>/dev/null)" = ok ]; do sleep 0.5; done
}

case ${1:-} in
install)
	if [ -e $complete ]; then exit 0; fi
	if [ -e /etc/kubernetes/pki ] || [ -e /var/lib/kubelet/config.yaml ]; then throw_away; fi
	# It wants to read the kernel's configuration, which lies outside of the node, and knows only cgroup v2.
	kubeadm init "${configuration[@]}" --skip-phases=addon/coredns --skip-token-print \
		--ignore-preflight-errors=SystemVerification
	# Nothing else ever joins.
	kubeadm token list -o jsonpath='{.token}{"\n"}' | while read -r token; do
		if [ -n "$token" ]; then kubeadm token delete "$token"; fi
	done
	mark "$(wanted)"
	;;
versions) echo "$(kubelet --version | cut -d' ' -f2) $(version)" ;;
upgrade)
	mark "$(version)"
	stop_kubelet
	kubeadm init phase kubelet-start "${configuration[@]}"
	kubeadm init phase etcd local "${configuration[@]}"
	# The API server last: the kubelet waits for its version.
	for part in controller-manager scheduler apiserver; do kubeadm init phase control-plane $part "${configuration[@]}"; done
	start_kubelet
	wait_until_ready
	kubeadm init phase upload-config all "${configuration[@]}"
	kubeadm init phase addon kube-proxy "${configuration[@]}"
	kubectl --namespace kube-system rollout status daemonset kube-proxy --timeout=180s
	mark "$(wanted)"
	shift
	ctr --namespace k8s.io images list --quiet | { grep "^${1%/*}/" || true; } | while read -r image; do
		if ! printf '%s\n' "$@" | grep -qxF "$image"; then ctr --namespace k8s.io images delete "$image"; fi
	done
	;;
certificates)
	date +%s
	# The kubelet's own serving certificate signs itself, and nobody asks it how long it lasts.
	for file in /etc/kubernetes/pki/*.crt /etc/kubernetes/pki/etcd/*.crt /var/lib/kubelet/pki/kubelet-client-current.pem; do
		if [ -f "$file" ]; then sed -n '/BEGIN CERTIFICATE/,/END CERTIFICATE/p' "$file"; fi
	done
	sed -n 's/^ *client-certificate-data: //p' /etc/kubernetes/*.conf | while read -r data; do base64 -d <<<"$data"; done
	;;
renew)
	stop_kubelet
	kubeadm certs renew all "${configuration[@]}"
	rm -rf /var/lib/kubelet/pki /etc/kubernetes/kubelet.conf
	kubeadm init phase kubeconfig kubelet "${configuration[@]}"
	# They read their certificates once; the kubelet starts them again.
	for part in kube-controller-manager kube-scheduler kube-apiserver etcd; do
		of=labels.'"io.kubernetes.pod.namespace"==kube-system',labels.'"io.kubernetes.container.name"'==$part
		ctr --namespace k8s.io containers list --quiet "$of" | while read -r container; do
			ctr --namespace k8s.io tasks kill --signal KILL "$container" 2>/dev/null || true
		done
	done
	start_kubelet
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
	echo "usage: cluster.sh install | state | versions | upgrade | certificates | renew" >&2
	exit 2
	;;
esac
