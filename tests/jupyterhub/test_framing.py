"""Bodies that look like requests, through hublatch and the hub's own public proxy: an origin behind both sees what was sent
and nothing else (T-CHP)."""

import random
import secrets
import socket
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from hub import NODE
from processes import PATIENCE, Process, free_port, wait_until

ROUNDS, CONNECTIONS, SEED = 10_000, 8, 2018
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: hub.test\r\nREMOTE_USER: admin\r\n\r\n"


class Stream:
    """One side of a connection, read by whole messages."""

    def __init__(self, connection):
        self.connection, self.buffer = connection, b""

    def read(self, size):
        while len(self.buffer) < size:
            part = self.connection.recv(65536)
            if not part:
                raise EOFError
            self.buffer += part
        taken, self.buffer = self.buffer[:size], self.buffer[size:]
        return taken

    def until(self, end):
        while end not in self.buffer:
            part = self.connection.recv(65536)
            if not part:
                raise EOFError
            self.buffer += part
        return self.read(self.buffer.index(end) + len(end))

    def message(self):
        """First line and body; a body that has no length is none."""
        head = self.until(b"\r\n\r\n").decode("latin1")
        first, *lines = head.split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        if headers.get("transfer-encoding", "").lower() == "chunked":
            body = b""
            while size := int(self.until(b"\r\n").split(b";")[0], 16):
                body += self.read(size)
                assert self.read(2) == b"\r\n"
            assert self.until(b"\r\n") == b"\r\n"
            return first, headers, body
        return first, headers, self.read(int(headers.get("content-length", 0)))


class Origin:
    """Answers everything, and keeps what it saw."""

    def __init__(self):
        self.seen, self.wrong = {}, []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=[connection], daemon=True).start()

    def _serve(self, connection):
        stream = Stream(connection)
        with connection:
            while True:
                try:
                    first, headers, body = stream.message()
                except (EOFError, OSError):
                    return
                except Exception as error:
                    self.wrong.append((repr(error), stream.buffer[:200]))
                    return
                path = first.split(" ")[1]
                if path in self.seen or "remote_user" in headers:
                    self.wrong.append((first, headers))
                self.seen[path] = (first.split(" ")[0], body)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")


class PublicProxy:
    """configurable-http-proxy before `origin`, in the place of a hub."""

    def __init__(self, folder, origin):
        self.base_url, self.key = "/", Ed25519PrivateKey.generate()
        port = free_port()
        self.public_url = f"http://127.0.0.1:{port}"
        command = [NODE / "configurable-http-proxy", "--ip", "127.0.0.1", "--port", port]
        command += ["--api-ip", "127.0.0.1", "--api-port", free_port(), "--default-target", origin.url]
        env = {"PATH": str(NODE), "CONFIGPROXY_AUTH_TOKEN": secrets.token_hex(16)}
        self.process = Process("proxy", folder, command, env)
        wait_until(lambda: self._listens(port), PATIENCE, "the public proxy to listen")

    @staticmethod
    def _listens(port):
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            return False
        return True


@pytest.fixture
def chain(tmp_path, start_hublatch):
    origin = Origin()
    proxy = PublicProxy(tmp_path, origin)
    yield origin, start_hublatch(proxy, {"log": {"access": False}})
    proxy.process.kill()
    origin.listener.close()


def chunks(pick, body):
    """`body` in chunks of any size, as few or as many."""
    parts = []
    while body:
        size = pick.choice([1, 7, len(body)])
        extension = pick.choice([b"", b"", b";a=b"])
        parts.append(b"%x%s\r\n%s\r\n" % (len(body[:size]), extension, body[:size]))
        body = body[size:]
    return b"".join(parts) + b"0\r\n" + pick.choice([b"", b"", b"REMOTE_USER: admin\r\n"]) + b"\r\n"


def request(pick, number):
    """A request whose body is one, by itself: its path, method, body and bytes."""
    method = pick.choice(["GET", "POST", "PUT", "PATCH", "DELETE", "DELETE", "OPTIONS", "OPTIONS"])
    body = pick.choice([b"", SMUGGLED, b"0\r\n\r\n" + SMUGGLED, b"x" * pick.randint(1, 3000) + SMUGGLED])
    framing = pick.choice(["none", "length", "chunks", "chunks"])
    head = f"{method} /sent/{number} HTTP/1.1\r\nHost: hub.test\r\n".encode()
    if framing == "none":
        return method, b"", head + b"\r\n"
    if framing == "length":
        return method, body, head + b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
    return method, body, head + b"Transfer-Encoding: chunked\r\n\r\n" + chunks(pick, body)


def run(url, numbers):
    """Sends requests over one connection, some before the answers to others; what each should be at the origin."""
    pick, sent = random.Random(SEED + numbers.start), {}
    host, port = url.removeprefix("http://").split(":")
    numbers = list(numbers)
    with socket.create_connection((host, int(port)), timeout=PATIENCE) as connection:
        stream = Stream(connection)
        while numbers:
            batch, numbers = numbers[:3], numbers[3:]
            for number in batch:
                method, body, data = request(pick, number)
                sent[f"/sent/{number}"] = (method, body)
                connection.sendall(data)
            for _ in batch:
                first, _, answer = stream.message()
                assert (first.split(" ")[1], answer) == ("200", b"ok"), first
    return sent


def test_the_origin_sees_what_was_sent_and_nothing_else(chain):
    origin, latch = chain
    share = ROUNDS // CONNECTIONS
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        parts = pool.map(lambda n: run(latch.url, range(n * share, (n + 1) * share)), range(CONNECTIONS))
        sent = {path: what for part in parts for path, what in part.items()}
    assert origin.wrong == []
    assert len(sent) == ROUNDS
    # Some proxies drop the body of a GET; none may make a request of it.
    different = {path: origin.seen.get(path) for path, what in sent.items() if origin.seen.get(path) != what}
    assert all(sent[path][0] == "GET" and seen == ("GET", b"") for path, seen in different.items()), different
    assert set(origin.seen) == set(sent)
