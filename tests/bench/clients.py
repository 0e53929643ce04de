"""The clients that need no speed: large bodies, idle tunnels, TLS handshakes, the issuing of login links."""

import os
from pathlib import Path

# OpenSSL reads it when it is loaded, here as well as in wrk and h2load; so this stands before whatever loads it.
os.environ["OPENSSL_CONF"] = str(Path(__file__).with_name("browser.cnf"))

import json  # noqa: E402
import socket  # noqa: E402
import ssl  # noqa: E402
import time  # noqa: E402
import urllib.request  # noqa: E402

PIECE = bytes(1 << 18)
# The sample key of RFC 6455 § 1.3: the origin knows its answer.
UPGRADE = (
    b"GET /user/alice/api/kernels/k/channels HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\n"
    b"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
MESSAGE = b"\x82\xfe\x04\x00\0\0\0\0" + b"x" * 1024  # masked by zeros
# Shared by all connections, but no session is ever handed over to another: none is resumed.
TLS = ssl.create_default_context()
TLS.check_hostname, TLS.verify_mode = False, ssl.CERT_NONE
ECHO = b"\x82\x7e\x04\x00" + b"x" * 1024


def connect(port, tls=False):
    connection = socket.create_connection(("127.0.0.1", port), 30)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return TLS.wrap_socket(connection) if tls else connection


def head_of(connection):
    """The head of an answer, and what came with it of the body."""
    received = b""
    while b"\r\n\r\n" not in received:
        piece = connection.recv(65536)
        if not piece:
            raise RuntimeError(f"the connection ended within a head: {received!r}")
        received += piece
    head, _, rest = received.partition(b"\r\n\r\n")
    return head, rest


def expect(condition, what):
    if not condition:
        raise RuntimeError(what)


def add_routes(port, routes):
    """As the hub does it: from each path to a port of this machine."""
    for path, target in routes.items():
        body = json.dumps({"target": f"http://127.0.0.1:{target}"}).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{port}/api/routes{path}", body, method="POST")
        with urllib.request.urlopen(request, timeout=30) as response:
            expect(response.status == 201, f"route refused: {response.status}")


def download(port, size, tls=False):
    with connect(port, tls) as connection:
        connection.sendall(f"GET /bytes/{size} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
        head, rest = head_of(connection)
        expect(head.startswith(b"HTTP/1.1 200"), f"download refused: {head!r}")
        received, room = len(rest), memoryview(bytearray(1 << 20))
        while received < size:
            taken = connection.recv_into(room)
            expect(taken, f"download ended after {received} of {size} bytes")
            received += taken


def upload(port, size, tls=False):
    with connect(port, tls) as connection:
        connection.sendall(f"PUT /sink HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {size}\r\n\r\n".encode())
        for _ in range(size // len(PIECE)):
            connection.sendall(PIECE)
        head, body = head_of(connection)
        digits = len(str(size))
        while len(body) < digits:
            body += connection.recv(100)
        expect(head.startswith(b"HTTP/1.1 200") and int(body) == size, f"upload: {head!r} {body!r}")


class IdleTunnels:
    """WebSockets that have each carried one message both ways and carry no more."""

    def __init__(self, port, tls):
        self._port, self._tls, self._open = port, tls, []

    def grow_to(self, count):
        while len(self._open) < count:
            connection = connect(self._port, self._tls)
            self._open.append(connection)
            connection.sendall(UPGRADE)
            head, echoed = head_of(connection)
            expect(head.startswith(b"HTTP/1.1 101"), f"upgrade refused: {head!r}")
            connection.sendall(MESSAGE)
            while len(echoed) < len(ECHO):
                piece = connection.recv(65536)
                expect(piece, "a tunnel ended")
                echoed += piece
            expect(echoed == ECHO, "a message was not echoed byte for byte")
        time.sleep(1.5)

    def close(self):
        for connection in self._open:
            connection.close()


def handshakes(port, seconds):
    """Full TLS handshakes, each with one small request; their number and the p50 and p99 of both together."""
    expect(TLS.get_ciphers()[0]["name"] == "TLS_AES_128_GCM_SHA256", "OpenSSL was loaded before clients.py")
    request = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
    times, end = [], time.monotonic() + seconds
    while time.monotonic() < end:
        begun = time.monotonic()
        with connect(port, tls=True) as connection:
            connection.sendall(request)
            head, _ = head_of(connection)
            expect(head.startswith(b"HTTP/1.1 200") and not connection.session_reused, f"handshake: {head!r}")
            times.append(time.monotonic() - begun)
    times.sort()
    return len(times), times[len(times) // 2] * 1e6, times[int(len(times) * 0.99)] * 1e6


def issue_links(management, count, life=300):
    """`count` login tokens through the management API, in batches."""
    port, key = management
    tokens = []
    while len(tokens) < count:
        size = min(1000, count - len(tokens))
        links = [{"username": f"user{i}", "next": "/hub/home", "expires_in": life} for i in range(size)]
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/api/v1/links/batch",
            json.dumps({"links": links}).encode(),
            {"Authorization": f"token {key}", "Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            tokens += [link["login_token"] for link in json.load(answer)["links"]]
    return tokens
