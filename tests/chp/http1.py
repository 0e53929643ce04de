"""HTTP/1.1 over plain sockets, so that a test sees and says every byte."""

import json
import socket
import ssl

TIMEOUT = 20


class Response:
    def __init__(self, status, reason, headers, body):
        self.status, self.reason, self.headers, self.body = status, reason, headers, body

    def all(self, name):
        return [value for key, value in self.headers if key.lower() == name.lower()]

    def header(self, name):
        return next(iter(self.all(name)), None)

    @property
    def text(self):
        return self.body.decode(errors="replace")

    @property
    def json(self):
        return json.loads(self.body)

    def __repr__(self):
        return f"<{self.status} {self.reason} {self.headers} {self.body[:200]!r}>"


class Client:
    """Calls `client("GET", "/path")` open a connection each."""

    def __init__(self, port, headers=(), tls=False, path=None, certificate=None):
        self.port, self.headers, self.tls, self.unix, self.certificate = port, list(headers), tls, path, certificate

    def connect(self):
        if self.unix:
            connection = socket.socket(socket.AF_UNIX)
            connection.settimeout(TIMEOUT)
            connection.connect(self.unix)
        else:
            connection = socket.create_connection(("127.0.0.1", self.port), TIMEOUT)
        if self.tls:
            context = ssl.create_default_context()
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            if self.certificate:
                context.load_cert_chain(self.certificate[1], self.certificate[0])
            connection = context.wrap_socket(connection, server_hostname="localhost")
        return Connection(connection)

    def connects(self):
        try:
            self.connect().close()
            return True
        except OSError:
            return False

    def __call__(self, method, target, headers=(), body=None, host=None):
        connection = self.connect()
        try:
            given = {name.lower() for name, _ in headers}
            lines = [("Host", host or f"127.0.0.1:{self.port}")] if "host" not in given else []
            lines += [each for each in self.headers if each[0].lower() not in given] + list(headers)
            if body is not None and "transfer-encoding" not in given:
                lines.append(("Content-Length", str(len(body))))
            connection.send_request(method, target, lines, body or b"")
            return connection.read_response(method)
        finally:
            connection.close()

    def json(self, method, target, value):
        return self(method, target, [("Content-Type", "application/json")], json.dumps(value).encode())


class Connection:
    def __init__(self, connection):
        self.socket, self.buffer = connection, b""

    def send(self, data):
        self.socket.sendall(data)

    def send_request(self, method, target, headers, body=b""):
        head = f"{method} {target} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in headers) + "\r\n"
        self.send(head.encode("latin-1") + body)

    def more(self):
        data = self.socket.recv(65536)
        self.buffer += data
        return data

    def read_until(self, mark):
        while mark not in self.buffer:
            if not self.more():
                raise EOFError(f"closed after {self.buffer!r}")
        found, self.buffer = self.buffer.split(mark, 1)
        return found

    def read(self, size):
        while len(self.buffer) < size:
            if not self.more():
                raise EOFError(f"closed after {self.buffer!r}")
        found, self.buffer = self.buffer[:size], self.buffer[size:]
        return found

    def read_head(self):
        first, *lines = self.read_until(b"\r\n\r\n").decode("latin-1").split("\r\n")
        headers = [(name, value.strip()) for name, _, value in (line.partition(":") for line in lines)]
        return first, headers

    def read_response(self, method="GET"):
        while True:
            first, headers = self.read_head()
            _, status, *reason = first.split(" ", 2)
            status = int(status)
            if status >= 200 or status == 101:
                break
        named = {name.lower(): value for name, value in headers}
        if method == "HEAD" or status in (101, 204, 304):
            body = b""
        elif "chunked" in named.get("transfer-encoding", ""):
            body = self.read_chunks()
        elif "content-length" in named:
            body = self.read(int(named["content-length"]))
        else:
            while self.more():
                pass
            body, self.buffer = self.buffer, b""
        return Response(status, "".join(reason), headers, body)

    def read_chunks(self):
        body = b""
        while True:
            size = int(self.read_until(b"\r\n").split(b";")[0], 16)
            if size == 0:
                self.read_until(b"\r\n")
                return body
            body += self.read(size)
            self.read(2)

    def is_closed(self):
        """Whether the peer closes it; waits for that or for more bytes."""
        try:
            return self.more() == b""
        except ConnectionError:
            return True

    def close(self):
        self.socket.close()


def frame(opcode, payload, masked=True):
    """A final WebSocket frame (RFC 6455 § 5.2)."""
    head = bytes([0x80 | opcode])
    mask = 0x80 if masked else 0
    if len(payload) < 126:
        head += bytes([mask | len(payload)])
    else:
        head += bytes([mask | 126]) + len(payload).to_bytes(2, "big")
    # A mask of zeros leaves the payload as it is.
    return head + (b"\0\0\0\0" if masked else b"") + payload


def read_frame(connection):
    first, second = connection.read(2)
    size = second & 0x7F
    if size == 126:
        size = int.from_bytes(connection.read(2), "big")
    key = connection.read(4) if second & 0x80 else b"\0\0\0\0"
    data = connection.read(size)
    return first & 0x0F, bytes(byte ^ key[index % 4] for index, byte in enumerate(data))
