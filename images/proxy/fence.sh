#!/bin/sh
# Closes a pod's network namespace: fence.nft plus the exceptions of CAGE_FENCE_ALLOW, `ADDRESS/tcp|udp/PORT`
# separated by spaces, and for the dispatcher the TCP ports at public addresses of CAGE_FENCE_PUBLIC. Any doubt ends with a non-zero exit, and then the pod does not start.
set -euf
LC_ALL=C
export LC_ALL

refuse() {
  echo "fence: $1" >&2
  exit 1
}

# Four decimal numbers from 0 to 255 without leading zeros, outside loopback, link-local, metadata and multicast space.
check_address() {
  case $1 in
    *[!0-9.]* | .* | *. | *..* | *.*.*.*.*) return 1 ;;
    0.* | 127.* | 169.254.* | 168.63.129.16 | 100.100.100.200 | 192.0.0.192) return 1 ;;
    *.*.*.*) ;;
    *) return 1 ;;
  esac
  rest=$1.
  first=${rest%%.*}
  while [ -n "$rest" ]; do
    number=${rest%%.*}
    rest=${rest#*.}
    case $number in 0[0-9]* | ????*) return 1 ;; esac
    [ "$number" -le 255 ] || return 1
  done
  [ "$first" -lt 224 ]
}

check_port() {
  case $1 in '' | *[!0-9]* | 0* | ??????*) return 1 ;; esac
  [ "$1" -le 65535 ]
}

[ "${CAGE_FENCE_ALLOW+set}" ] || refuse 'CAGE_FENCE_ALLOW is not set'

elements=
for entry in $CAGE_FENCE_ALLOW; do
  address=${entry%%/*}
  port=${entry##*/}
  protocol=${entry#*/}
  protocol=${protocol%/*}
  [ "$address/$protocol/$port" = "$entry" ] || refuse "not ADDRESS/PROTOCOL/PORT: $entry"
  case $protocol in tcp | udp) ;; *) refuse "protocol is neither tcp nor udp: $entry" ;; esac
  check_address "$address" || refuse "not an address that can be opened: $entry"
  check_port "$port" || refuse "not a port: $entry"
  elements="$elements${elements:+, }$address . $protocol . $port"
done

ports=
for port in ${CAGE_FENCE_PUBLIC:-}; do
  check_port "$port" || refuse "not a port: $port"
  ports="$ports${ports:+, }$port"
done

rules=$(cat "$(dirname "$0")/fence.nft")
[ -n "$rules" ] || refuse 'fence.nft is empty'
if [ -n "$elements" ]; then
  rules="$rules
add element inet cage allow4 { $elements }"
fi
if [ -n "$ports" ]; then
  rules="$rules
add element inet cage public_ports { $ports }"
fi
printf '%s\n' "$rules" | nft -f -
# Names of hosts become addresses of this range, which the sidecar answers; the dispatcher has none.
case $rules in *cage_names*) ip route replace local 198.18.0.0/15 dev lo ;; esac
echo "fence: closed, exceptions: ${elements:-none}${ports:+, public ports: $ports}"
