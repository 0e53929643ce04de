"""A target that tells, as JSON, exactly what reached it; and does what the query asks.

?status=N answers with that status; ?location=U adds a Location; ?cookies sets two cookies; ?chunked sends chunks; ?die ends in
mid-answer; ?silent never answers; ?big sends that many bytes of headers. `Upgrade: websocket` is accepted and echoes, unless
?refuse.
"""

import base64
import hashlib
import json
import os
import socket
import ssl
import threading
from urllib.parse import parse_qs, urlsplit

from http1 import Connection, frame, read_frame

GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class Origin:
    def __init__(self, name, unix=None, certificate=None, client_ca=None):
        self.name, self.seen = name, []
        self.unix, self.tls = unix, None
        if unix:
            self._listener = socket.socket(socket.AF_UNIX)
            self._listener.bind(unix)
            self._listener.listen(64)
        else:
            self._listener = socket.create_server(("127.0.0.1", 0))
        if certificate:
            self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.tls.load_cert_chain(certificate[1], certificate[0])
            if client_ca:
                self.tls.load_verify_locations(client_ca)
                self.tls.verify_mode = ssl.CERT_REQUIRED
        self._open = []
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def port(self):
        return self._listener.getsockname()[1]

    @property
    def url(self):
        if self.unix:
            return "http+unix://" + self.unix.replace("/", "%2F")
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"

    def stop(self):
        """Its port refuses, and what is open is cut."""
        try:
            self._listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self._listener.close()
        for each in self._open:
            try:
                each.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def _accept(self):
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=[connection], daemon=True).start()

    def _serve(self, connection):
        try:
            if self.tls:
                connection = self.tls.wrap_socket(connection, server_side=True)
            self._open.append(connection)
            peer = Connection(connection)
            while self._one(peer):
                pass
        except (OSError, EOFError, ValueError):
            pass
        finally:
            connection.close()

    def _one(self, peer):
        line, headers = peer.read_head()
        method, target, _ = line.split(" ", 2)
        named = {name.lower(): value for name, value in headers}
        wish = parse_qs(urlsplit(target).query, keep_blank_values=True)
        seen = {"origin": self.name, "method": method, "target": target, "headers": headers}
        self.seen.append(seen)
        if named.get("upgrade", "").lower() == "websocket" and "refuse" not in wish:
            return self._websocket(peer, named, seen)
        body = b""
        if named.get("expect", "").lower() == "100-continue":
            peer.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        if "chunked" in named.get("transfer-encoding", ""):
            body = peer.read_chunks()
        elif "content-length" in named:
            body = peer.read(int(named["content-length"]))
        seen["body"] = body.decode("latin-1")
        if "silent" in wish:
            peer.is_closed()
            seen["gone"] = True
            return False
        self._answer(peer, method, wish, json.dumps(seen).encode())
        return True

    def _answer(self, peer, method, wish, text):
        status = wish.get("status", ["200"])[0]
        lines = [f"HTTP/1.1 {status} Reason-{status}", "Content-Type: application/json", "X-Origin-Header: Kept"]
        if "location" in wish:
            lines.append("Location: " + wish["location"][0])
        if "cookies" in wish:
            lines += ["Set-Cookie: a=1; Path=/", "Set-Cookie: b=2; Path=/x"]
        if "big" in wish:
            lines.append("X-Big: " + "x" * int(wish["big"][0]))
        if "chunked" in wish or "die" in wish:
            head = "\r\n".join([*lines, "Transfer-Encoding: chunked", "", ""]).encode()
            peer.send(head + f"{len(text):x}\r\n".encode() + text + b"\r\n")
            if "die" in wish:
                raise EOFError
            peer.send(b"0\r\n\r\n")
        else:
            lines.append(f"Content-Length: {len(text)}")
            head = "\r\n".join([*lines, "", ""]).encode()
            peer.send(head + (b"" if method == "HEAD" or status in ("204", "304") else text))

    def _websocket(self, peer, named, seen):
        digest = hashlib.sha1((named["sec-websocket-key"] + GUID).encode()).digest()
        lines = ["HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade"]
        lines.append("Sec-WebSocket-Accept: " + base64.b64encode(digest).decode())
        if "sec-websocket-protocol" in named:
            lines.append("Sec-WebSocket-Protocol: " + named["sec-websocket-protocol"].split(",")[0])
        peer.send("\r\n".join([*lines, "", ""]).encode() + frame(1, json.dumps(seen).encode(), masked=False))
        while True:
            opcode, payload = read_frame(peer)
            if opcode == 1 and payload == b"ping me":
                peer.send(frame(9, b"", masked=False))
            elif opcode in (1, 2):
                peer.send(frame(opcode, payload, masked=False))
            elif opcode == 8:
                peer.send(frame(8, payload, masked=False))
                return False


def websocket(client, target, headers=(), host=None):
    """Opens one through the proxy: the response and, if it is a 101, the connection and what the origin saw."""
    connection = client.connect()
    key = base64.b64encode(os.urandom(16)).decode()
    lines = [("Host", host or f"127.0.0.1:{client.port}"), ("Connection", "Upgrade"), ("Upgrade", "websocket")]
    lines += [("Sec-WebSocket-Version", "13"), ("Sec-WebSocket-Key", key), *headers]
    connection.send_request("GET", target, lines)
    response = connection.read_response()
    if response.status != 101:
        return response, connection, None
    return response, connection, json.loads(read_frame(connection)[1])
