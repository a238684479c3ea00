#!/bin/bash
# Kubernetes from the snap store, on a machine that is all cage's. One step a call, each safe to repeat. Runs on the machine.
#
# usage: microk8s.sh seeded SECONDS      waits until snapd takes orders
#        microk8s.sh install CHANNEL     reads /etc/microk8s.yaml, the launch configuration; once in force it stays
#        microk8s.sh hold                the store does not replace the snap while tasks work
#        microk8s.sh start               brings up what was stopped, renews certificates that end within 30 days
#        microk8s.sh api SECONDS         waits until the API server answers
#        microk8s.sh network             the network engine reaches the API server where it listens, on loopback
#        microk8s.sh ready SECONDS       waits until the node and the network engine are ready
#        microk8s.sh addons              switches off every addon that nothing here needs
#        microk8s.sh complete            from here on the cluster is somebody's work
#        microk8s.sh state               prints absent, starting or ready
#        microk8s.sh kubeconfig          as it is on the machine, server 127.0.0.1
# A step that fails says why in its last lines on standard error.
set -euo pipefail

# Where programs of snaps are; a login would know.
export PATH=$PATH:/snap/bin
data=/var/snap/microk8s/current
complete=/var/snap/microk8s/common/cage-complete
apiserver=$data/args/kube-apiserver
# What the snap switches on by itself, and what asking for authorization counts as.
needed=' ha-cluster helm helm3 rbac '

die() {
	echo "microk8s: $*" >&2
	exit 1
}

until_true() { # seconds, command...
	local end=$((SECONDS + $1))
	shift
	until "$@" >/dev/null 2>&1; do
		if [ $SECONDS -ge $end ]; then return 1; fi
		sleep 1
	done
}

kube() { microk8s kubectl --request-timeout=10s "$@"; }
api_answers() { [ "$(kube get --raw /readyz 2>/dev/null)" = ok ]; }
installed() { snap list microk8s >/dev/null 2>&1; }
in_force() { grep -Eqs -- '^--bind-address[= ]127\.0\.0\.1$' $apiserver && grep -Eqs -- '^--authorization-mode[= ]RBAC,Node$' $apiserver; }

# What microk8s itself finds wrong, without colours.
inspected() {
	timeout 180 microk8s inspect 2>&1 | sed 's/\x1b\[[0-9;]*m//g' | grep -E 'FAIL|WARNING' | sed 's/^ *//' | head -n 8 || true
}

# Why pods of the system do not start, e.g. that an image cannot be fetched.
waiting() {
	kube -n kube-system get pods -o jsonpath='{range .items[*]}{.metadata.name}{range .status.initContainerStatuses[*]}{" "}{.state.waiting.reason}{end}{range .status.containerStatuses[*]}{" "}{.state.waiting.reason}{end}{"\n"}{end}' 2>/dev/null |
		grep -E ' [A-Z]' | head -n 5 || true
}

install() { # channel
	# An installation goes on when whoever asked for it is gone.
	timeout 1800 snap watch --last=install >/dev/null 2>&1 || true
	if installed && [ ! -e $complete ] && ! in_force; then snap remove --purge microk8s; fi
	if ! installed; then snap install microk8s --classic --channel="$1"; fi
	if [ -e $complete ]; then return; fi
	in_force || die "the snap did not take its launch configuration /etc/microk8s.yaml"
	# Inherited by containers, as on every node of cage: an agent that uses up its own processes leaves its pod's others room.
	if ! grep -qs '^ulimit -u 1536$' $data/args/containerd-env; then
		printf '\nulimit -u 1536\n' >>$data/args/containerd-env
		snap restart microk8s.daemon-containerd
	fi
}

hold() {
	if snap refresh --hold microk8s; then return; fi
	# An older snapd only holds everything, and only for a while.
	snap set system refresh.hold="$(date -u -d '+60 days' +%Y-%m-%dT%H:%M:%SZ)" || die 'the snap could not be held at its revision'
}

start() {
	if [ -e $data/var/lock/stopped.lock ]; then microk8s start; fi
	if [ "$(snap services microk8s.daemon-kubelite | awk 'NR == 2 { print $3 }')" != active ]; then snap start microk8s; fi
	microk8s refresh-certs --check | sed -n 's/^The \(.*\) certificate will expire in \(-\?[0-9]*\) days\.$/\2 \1/p' | while read -r days name; do
		if [ "$days" -ge 30 ]; then continue; fi
		case $name in
		server) microk8s refresh-certs -e server.crt </dev/null ;;
		'front proxy client') microk8s refresh-certs -e front-proxy-client.crt </dev/null ;;
		CA) echo "microk8s: the certificate authority of the cluster ends in $days days" >&2 ;;
		esac
	done
}

network() {
	until_true 180 kube -n kube-system get daemonset calico-node || die 'microk8s did not set up its network engine'
	kube apply -f - <<-EOT
		apiVersion: v1
		kind: ConfigMap
		metadata:
		  name: kubernetes-services-endpoint
		  namespace: kube-system
		data:
		  KUBERNETES_SERVICE_HOST: 127.0.0.1
		  KUBERNETES_SERVICE_PORT: "16443"
	EOT
	# It tidies up after nodes that left, would ask from a pod, and pods reach no API server here.
	kube -n kube-system scale deployment calico-kube-controllers --replicas=0
	# Those that began before the map was there.
	kube -n kube-system rollout restart daemonset/calico-node
}

ready() { # seconds
	local said
	# It also ends well when nothing runs: only its words tell.
	said=$(microk8s status --wait-ready --timeout "$1" 2>&1) || true
	if ! grep -qx 'microk8s is running' <<<"$said"; then
		inspected >&2
		waiting >&2
		die "not ready after $1 seconds: $(head -n 1 <<<"$said")"
	fi
	kube -n kube-system rollout status daemonset/calico-node --timeout="$1s" --request-timeout=0 >/dev/null || {
		waiting >&2
		die 'the network engine did not start'
	}
}

addons() {
	local name said
	microk8s status --format short | sed -n 's/: enabled$//p' | while read -r name; do
		case $needed in *" ${name##*/} "*) continue ;; esac
		said=$(microk8s disable "$name" 2>&1 </dev/null) || die "the addon $name could not be switched off: $(tail -n 1 <<<"$said")"
	done
}

state() {
	if [ ! -e $complete ] || ! installed; then
		echo absent
	elif ! api_answers; then
		echo starting
	elif [ "$(kube get nodes -o jsonpath='{range .items[*].status.conditions[?(@.type=="Ready")]}{.status}{end}' 2>/dev/null)" = True ] &&
		[ "$(kube -n kube-system get daemonset calico-node -o jsonpath='{.status.numberReady}' 2>/dev/null)" = 1 ]; then
		echo ready
	else
		echo starting
	fi
}

case ${1:-} in
seeded)
	command -v snap >/dev/null || die 'snapd is not installed'
	until_true "$2" timeout 20 snap wait system seed.loaded || die "snapd was not ready after $2 seconds: $(timeout 20 snap wait system seed.loaded 2>&1 | tail -n 1)"
	;;
install) install "$2" ;;
api)
	until_true "$2" api_answers && exit 0
	inspected >&2
	die "the API server did not answer after $2 seconds"
	;;
ready) ready "$2" ;;
hold | start | network | addons | state) "$1" ;;
complete) touch $complete ;;
kubeconfig) microk8s config --use-loopback ;;
*)
	echo 'usage: microk8s.sh seeded | install | hold | start | api | network | ready | addons | complete | state | kubeconfig' >&2
	exit 2
	;;
esac
