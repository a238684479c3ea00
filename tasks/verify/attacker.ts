/**
 * Runs in the throwaway task as the agent: reads a JSON list of `{id, do: [name, ...arguments]}` from standard input, tries
 * each, as many at once as its argument says, and prints one JSON line `{id, said}` for each. What it says judges only what no canary can hear.
 */
export const ATTACKER = String.raw`
import concurrent.futures, ctypes, glob, json, os, socket, ssl, subprocess, sys, time
libc = ctypes.CDLL(None, use_errno=True)
WAIT = 3

def connect(host, port, family=socket.AF_INET):
    s = socket.socket(family, socket.SOCK_STREAM); s.settimeout(WAIT); s.connect((host, port)); return s

def read(s):
    data = b''
    try:
        while len(data) < 4096:
            more = s.recv(4096)
            if not more: break
            data += more
    except OSError: pass
    return data.decode('latin1')

# The text goes out whatever comes back; what was answered is read for a moment.
def tcp(host, port, text):
    s = connect(host, port); s.sendall(text.encode('latin1')); return 'answered: ' + read(s)

def tcp6(host, port, text):
    s = connect(host, port, socket.AF_INET6); s.sendall(text.encode('latin1')); return 'sent'

def tunnel(target, text):
    s = connect('127.0.0.1', 3128)
    s.sendall(('CONNECT ' + target + ' HTTP/1.1\r\nHost: ' + target.split('\0')[0] + '\r\n\r\n').encode('latin1'))
    answer = s.recv(4096).decode('latin1')
    s.sendall(text.encode('latin1')); return 'answered: ' + answer + read(s)

def https(host, port, name, request, by=None):
    context = ssl.create_default_context(cafile='/run/cage/ca.pem')
    s = connect(*(by or [host, port]))
    if by:
        s.sendall(('CONNECT %s:%d HTTP/1.1\r\nHost: %s:%d\r\n\r\n' % (host, port, host, port)).encode())
        if b' 200 ' not in s.recv(4096): return 'refused'
    with context.wrap_socket(s, server_hostname=name) as t:
        t.sendall(request.encode('latin1')); return 'answered: ' + read(t)

# Every connection ends at the sidecar: what counts is whose certificate it is.
def who(host, port):
    try:
        with ssl.create_default_context(cafile='/run/cage/ca.pem').wrap_socket(connect(host, port), server_hostname='git.cage.internal'): return 'sidecar'
    except ssl.SSLCertVerificationError: return 'another: it shows a certificate that is not the sidecar\'s'
    except (OSError, ssl.SSLError): return 'nobody'

def udp(host, port, text):
    s = socket.socket(socket.AF_INET6 if ':' in host else socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(1); s.connect((host, port))
    for _ in range(3): s.send(text.encode('latin1')); time.sleep(0.2)
    return 'sent'

def dns(name, server='127.0.0.1'):
    labels = b''.join(bytes([len(part)]) + part.encode() for part in name.split('.')) + b'\0'
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(WAIT)
    s.sendto(b'\x13\x37\x01\0\0\x01\0\0\0\0\0\0' + labels + b'\0\x01\0\x01', (server, 53))
    answer = s.recv(512); return ['NOERROR', 'FORMERR', 'SERVFAIL', 'NXDOMAIN', 'NOTIMP', 'REFUSED'][answer[3] & 15] + ' ' + '.'.join(map(str, answer[-4:]))

def opens(family, kind, protocol):
    socket.socket(family, kind, protocol).close(); return 'open'

def call(number, *arguments):
    if libc.syscall(number, *[ctypes.create_string_buffer(240) if a == 'buffer' else a for a in arguments]) >= 0: return 'open'
    raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

def status(field):
    return next(line.split()[1] for line in open('/proc/self/status') if line.startswith(field + ':'))

def shell(script):
    done = subprocess.run(['sh', '-c', script], capture_output=True, timeout=60)
    return '%d %s' % (done.returncode, (done.stdout + done.stderr).decode(errors='replace')[:300].strip())

# Everything that this user can read and that a credential could lie in; the marker proves that the search finds things.
def search(pattern):
    found = []
    places = glob.glob('/proc/[0-9]*/environ') + glob.glob('/proc/[0-9]*/cmdline')
    for top in ('/home', '/tmp', '/run', '/etc', '/var'):
        for folder, _, files in os.walk(top): places += [os.path.join(folder, name) for name in files]
    for place in places:
        try:
            if os.path.isfile(place) and os.path.getsize(place) < 1 << 22 and pattern.encode() in open(place, 'rb').read(): found.append(place)
        except OSError: pass
    return 'found in ' + ' '.join(found) if found else 'not found'

def root(what): open(what, 'w'); return 'open'

def mine(kind):
    server = socket.socket(socket.AF_INET, kind); server.bind(('127.0.0.1', 0)); server.settimeout(WAIT); port = server.getsockname()[1]
    if kind == socket.SOCK_DGRAM:
        udp('127.0.0.1', port, 'own'); return 'answered: ' + server.recv(10).decode()
    server.listen(); s = connect('127.0.0.1', port); s.sendall(b'own'); return 'answered: ' + server.accept()[0].recv(10).decode()

def attempt(one):
    name, *arguments = one['do']
    try: said = globals()[name](*arguments)
    except Exception as error: said = 'error: %s %s' % (type(error).__name__, error)
    return json.dumps({'id': one['id'], 'said': said[:600]})

with concurrent.futures.ThreadPoolExecutor(int(sys.argv[1])) as pool:
    for line in pool.map(attempt, json.load(sys.stdin)): print(line, flush=True)
`
