#!/bin/sh
# What a node's machine is, one "NAME VALUE" a line: architecture, cgroup, and each IPv4 `address` of this server.

set -eu
echo "architecture $(uname -m)"
if [ -e /sys/fs/cgroup/cgroup.controllers ]; then echo 'cgroup v2'; else echo 'cgroup v1'; fi
awk '$1 == "|--" { address = $2 } /host LOCAL/ { if (address !~ /^127\./) print "address", address }' /proc/net/fib_trie | sort -u
