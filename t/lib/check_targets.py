#!/usr/bin/python3
"""check_targets.py DIR - what checks are pointed at: servers of TLS, HTTP/2,
gRPC health, HTTPS, UDP and a container engine, each as good or bad as its
name says. Ports are written to DIR/ports.json when all of them listen; the
certificates are DIR/{ca,server}.pem and DIR/server.key. Ends with its stdin.
"""
import http.server, json, os, socket, socketserver, ssl, struct, sys, threading, time

where = sys.argv[1]
ports = {}


def serve(name, handle, context=None, address=('127.0.0.1', 0)):
    s = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    s.bind(address)
    s.listen(64)
    ports[name] = s.getsockname()[1]

    def one(c):
        try:
            c.settimeout(60)
            if context is not None:
                c = context.wrap_socket(c, server_side=True)
            handle(c)
        except (OSError, ssl.SSLError, EOFError):
            pass
        finally:
            c.close()

    def loop():
        while True:
            c, _ = s.accept()
            threading.Thread(target=one, args=(c,), daemon=True).start()
    threading.Thread(target=loop, daemon=True).start()


def exactly(c, n):
    got = b''
    while len(got) < n:
        part = c.recv(n - len(got))
        if not part:
            raise EOFError
        got += part
    return got


def drain(c):
    while c.recv(65536):
        pass


# ---- HTTP/2, by hand: frames of RFC 9113, headers as literals of RFC 7541

PREFACE = b'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'
DATA, HEADERS, RST, SETTINGS, PING, GOAWAY = 0, 1, 3, 4, 6, 7


def frame(kind, flags, stream, body=b''):
    return struct.pack('>I', len(body))[1:] + bytes([kind, flags]) + struct.pack('>I', stream) + body


def headers(stream, pairs, end=False):
    block = b''.join(b'\0' + bytes([len(k)]) + k.encode() + bytes([len(v)]) + v.encode() for k, v in pairs)
    return frame(HEADERS, 4 | (1 if end else 0), stream, block)


def message(body):
    return b'\0' + struct.pack('>I', len(body)) + body


def answer(c, stream, service):
    """What grpc.health.v1.Health/Check says of a service."""
    ok = [(':status', '200'), ('content-type', 'application/grpc')]
    states = {'': b'\x08\x01', 'up': b'\x08\x01', 'a/b': b'\x08\x01', 'down': b'\x08\x02', 'unset': b'', 'strange': b'\x08\x63',
              'lost': b'\x08\x03', 'garbage': b'\x08\xff\xff'}
    if service in states:
        c.sendall(headers(stream, ok) + frame(DATA, 0, stream, message(states[service])) +
                  headers(stream, [('grpc-status', '0')], True))
    elif service == 'hang':
        time.sleep(60)
    elif service == 'huge':
        c.sendall(headers(stream, ok) + b''.join(frame(DATA, 0, stream, b'x' * 8192) for _ in range(4)))
        drain(c)
    elif service == 'refused':
        c.sendall(headers(stream, ok + [('grpc-status', '7'), ('grpc-message', 'not %e2%82%ac you')], True))
    elif service == 'busy':
        c.sendall(headers(stream, [(':status', '503')], True))
    elif service == 'web':
        c.sendall(headers(stream, [(':status', '200'), ('content-type', 'text/html')]) + frame(DATA, 1, stream, b'<html>'))
    elif service == 'cut':
        c.sendall(headers(stream, ok) + frame(RST, 0, stream, struct.pack('>I', 2)))
    elif service == 'bare':
        c.sendall(headers(stream, ok) + frame(DATA, 1, stream, message(b'\x08\x01')))
    else:
        c.sendall(headers(stream, ok + [('grpc-status', '5'), ('grpc-message', 'unknown service')], True))


def service_of(body):
    if len(body) < 5 or len(body) == 5:
        return ''
    return body[7:7 + body[6]].decode()


def h2(c):
    """Every stream is taken for a call of the health service."""
    if exactly(c, len(PREFACE)) != PREFACE:
        return
    c.sendall(frame(SETTINGS, 0, 0))
    bodies = {}
    while True:
        head = exactly(c, 9)
        n = struct.unpack('>I', b'\0' + head[:3])[0]
        kind, flags, stream = head[3], head[4], struct.unpack('>I', head[5:])[0] & 0x7fffffff
        body = exactly(c, n) if n else b''
        if kind == SETTINGS and not flags & 1:
            c.sendall(frame(SETTINGS, 1, 0))
        elif kind == PING and not flags & 1:
            c.sendall(frame(PING, 1, 0, body))
        elif kind == GOAWAY:
            return
        elif kind == HEADERS:
            bodies[stream] = b''
        elif kind == DATA:
            bodies[stream] += body
        if kind in (HEADERS, DATA) and flags & 1:
            answer(c, stream, service_of(bodies.get(stream, b'')))


def h2_first(reply):
    def handle(c):
        exactly(c, len(PREFACE))
        c.sendall(reply)
        drain(c)
    return handle


def h2_flood(c):
    exactly(c, len(PREFACE))
    c.sendall(frame(SETTINGS, 0, 0))
    while True:
        c.sendall(frame(0x77, 0, 0, b'z' * 16000))


def h2_without_end(*pieces, first=b''):
    """Frames without end, once something has been asked."""
    def handle(c):
        exactly(c, len(PREFACE) + 9)
        c.sendall(frame(SETTINGS, 0, 0))
        c.recv(65536)
        c.sendall(first)
        while True:
            c.sendall(b''.join(pieces) * 64)
    return handle


CONTINUATION = 9
LITERAL = b'\0\1x\x7f\x87\x01' + b'v' * 262 # a header of RFC 7541, 6.2.2


# ---- TLS and HTTPS

def context(client=False, alpn=None):
    x = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    x.load_cert_chain(f'{where}/server.pem', f'{where}/server.key')
    if client:
        x.verify_mode = ssl.CERT_REQUIRED
        x.load_verify_locations(f'{where}/ca.pem')
    if alpn:
        x.set_alpn_protocols(alpn)
    return x


def https(c):
    head = b''
    while b'\r\n\r\n' not in head:
        part = c.recv(4096)
        if not part:
            return
        head += part
    cert = c.getpeercert()
    who = dict(x[0] for x in cert['subject'])['commonName'] if cert else 'nobody'
    host = [l[6:] for l in head.decode().split('\r\n') if l.lower().startswith('host: ')][0]
    body = f'{who} asks {host}'.encode()
    code = b'429 Too Many Requests' if b' /warn ' in head else b'500 Broken' if b' /fail ' in head else b'200 OK'
    if b' /hang ' in head:
        time.sleep(60)
    c.sendall(b'HTTP/1.1 ' + code + b'\r\nConnection: close\r\nContent-Length: ' + str(len(body)).encode() + b'\r\n\r\n' + body)
    c.unwrap()


# ---- a container engine

def piece(stream, data):
    return bytes([stream, 0, 0, 0]) + struct.pack('>I', len(data)) + data


class Engine(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    asked = {}

    def log_message(self, *a):
        pass

    def address_string(self):
        return 'local'

    def reply(self, code, text):
        body = text if isinstance(text, bytes) else json.dumps(text).encode()
        self.send_response(code)
        self.send_header('Content-Type', 'application/json')
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def stream(self, data):
        self.send_response(200)
        self.send_header('Content-Type', 'application/vnd.docker.raw-stream')
        self.end_headers()
        self.wfile.write(data)
        self.close_connection = True

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers.get('Content-Length') or 0)) or b'null')
        part = [p for p in self.path.split('/') if p]
        if self.base():
            part = part[len(self.base()):]
        if part[0] == 'containers':
            name = part[1]
            if name in ('ok', 'warn', 'fail', 'hang', 'raw', 'big', 'slow', 'reset', 'odd'):
                with open(f'{where}/docker.log', 'a') as f:
                    f.write(json.dumps([self.path, body, self.headers['Host']]) + '\n')
                self.reply(201, {'Id': name})
            elif name == 'paused':
                self.reply(409, {'message': 'is paused'})
            elif name == 'broken':
                self.reply(500, {'message': 'no space'})
            elif name == 'garbage':
                self.reply(201, b'{"Id": ')
            elif name == 'evil':
                self.reply(201, {'Id': '../../etc'})
            else:
                self.reply(404, {'message': 'No such container'})
            return
        name = part[1]
        if name == 'hang':
            time.sleep(60)
        elif name == 'raw':
            self.stream(b'just text\n')
        elif name == 'big':
            self.stream(b''.join(piece(1, b'y' * 1000) for _ in range(50)) + piece(2, b'THE END'))
        else:
            self.stream(piece(1, b'out of ' + name.encode() + b'\n') + piece(2, b'and a word\n'))

    def do_GET(self):
        part = [p for p in self.path.split('/') if p]
        name = part[-2]
        codes = {'warn': 1, 'fail': 3}
        if name == 'odd':
            self.reply(200, b'[1, 2]')
            return
        n = Engine.asked[name] = Engine.asked.get(name, 0) + 1
        self.reply(200, {'ID': name, 'Running': name == 'slow' and n % 3 != 0, 'ExitCode': None if name == 'slow' and n % 3 != 0 else
                         codes.get(name, 0)})

    def base(self):
        return []


class TcpEngine(Engine):
    def base(self):
        return ['some', 'base']


class UnixServer(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True


class TcpServer(socketserver.ThreadingMixIn, socketserver.TCPServer):
    daemon_threads = True


def udp_echo():
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.bind(('127.0.0.1', 0))
    ports['udp'] = s.getsockname()[1]

    def loop():
        while True:
            _, a = s.recvfrom(2048)
            s.sendto(b'here', a)
    threading.Thread(target=loop, daemon=True).start()


silent = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
silent.bind(('127.0.0.1', 0))
ports['udp-silent'] = silent.getsockname()[1]
udp_echo()
serve('h2', h2)
serve('h2-silent', drain)
serve('h2-goaway', h2_first(frame(SETTINGS, 0, 0) + frame(GOAWAY, 0, 0, struct.pack('>II', 5, 11))))
serve('h2-http1', h2_first(b'HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n'))
serve('h2-close', lambda c: exactly(c, len(PREFACE)))
serve('h2-wrong', h2_first(frame(SETTINGS, 0, 0) + frame(PING, 1, 0, b'not ours')))
serve('h2-large', h2_first(frame(SETTINGS, 0, 0) + b'\xff\xff\xff\x00\x00\x00\x00\x00\x01'))
serve('h2-flood', h2_flood)
serve('h2-settings', h2_without_end(frame(SETTINGS, 0, 0)))
serve('h2-pings', h2_without_end(frame(PING, 0, 0, b'12345678')))
serve('h2-continued', h2_without_end(frame(CONTINUATION, 0, 1, LITERAL), first=frame(HEADERS, 0, 1, b'\0\7:status\x03200')))
serve('h2-again', h2_without_end(headers(1, [(':status', '100')])))
serve('h2-noise', h2_without_end(bytes(range(256)) * 16))
if os.path.exists(f'{where}/server.pem'):
    serve('tls', drain, context())
    serve('tls-client', drain, context(client=True))
    serve('tls-silent', drain)
    serve('tls-plain', lambda c: (c.sendall(b'220 hello\r\n'), drain(c)))
    serve('h2s', h2, context(alpn=['h2']))
    serve('h2s-client', h2, context(client=True, alpn=['h2']))
    serve('https', https, context())
    serve('https-client', https, context(client=True))
unix = UnixServer(f'{where}/docker.sock', Engine)
threading.Thread(target=unix.serve_forever, daemon=True).start()
tcp = TcpServer(('127.0.0.1', 0), TcpEngine)
ports['docker'] = tcp.server_address[1]
threading.Thread(target=tcp.serve_forever, daemon=True).start()
with open(f'{where}/ports.tmp', 'w') as f:
    json.dump(ports, f)
os.rename(f'{where}/ports.tmp', f'{where}/ports.json')
sys.stdin.read()
