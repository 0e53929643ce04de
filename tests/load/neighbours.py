"""The other users while something bad goes on: what they wait, and whether they are answered at all.

They have another address than the attacker, who has one client's share of what all share, and no more.
"""

import socket
import ssl
import threading
import time

TLS = ssl.create_default_context()
TLS.check_hostname, TLS.verify_mode = False, ssl.CERT_NONE
REQUEST = b"GET /user/alice/api/contents/x HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
HEALTH = b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
# A neighbour who waits longer counts as not answered.
PATIENCE = 60.0
PAUSE = 0.01
ADDRESS = "127.0.0.2"


def connect(port, tls=False, patience=PATIENCE, address="127.0.0.1"):
    connection = socket.create_connection(("127.0.0.1", port), patience, (address, 0))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return TLS.wrap_socket(connection, server_hostname="127.0.0.1") if tls else connection


def answer(connection):
    """The whole of an answer with a length."""
    received = b""
    while b"\r\n\r\n" not in received:
        piece = connection.recv(65536)
        if not piece:
            raise ConnectionError("ended within a head")
        received += piece
    head, _, body = received.partition(b"\r\n\r\n")
    lines = head.lower().split(b"\r\n")
    length = next(int(line.split(b":")[1]) for line in lines if line.startswith(b"content-length:"))
    while len(body) < length:
        piece = connection.recv(65536)
        if not piece:
            raise ConnectionError("ended within a body")
        body += piece
    return int(head.split()[1]), body


class Neighbour(threading.Thread):
    """Asks again and again: over one connection, and every tenth time over a new one."""

    def __init__(self, port, tls=False, request=REQUEST):
        super().__init__(daemon=True)
        self._port, self._tls, self._request = port, tls, request
        self._over = threading.Event()
        self.times, self.failures = [], []

    def run(self):
        connection = None
        while not self._over.wait(PAUSE):
            begun = time.monotonic()
            try:
                if connection is None or len(self.times) % 10 == 0:
                    connection = connect(self._port, self._tls, address=ADDRESS)
                connection.sendall(self._request)
                status, _ = answer(connection)
                if status != 200:
                    raise ConnectionError(f"status {status}")
                self.times.append(time.monotonic() - begun)
            except (OSError, ValueError, StopIteration) as error:
                self.failures.append(f"{type(error).__name__}: {error}")
                connection = None

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        self.join(PATIENCE * 2)

    def percentile(self, of):
        """In milliseconds."""
        times = sorted(self.times)
        return times[int(of * (len(times) - 1))] * 1e3 if times else float("inf")
