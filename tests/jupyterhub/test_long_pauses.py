"""Pauses that are real: nothing passes for more than a minute, and what was open goes on. Fronts and proxies cut such
connections after 30 or 60 seconds; a laptop's lid, a kernel that computes and a save dialogue take longer than that."""

import http.server
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from processes import PATIENCE

SILENCE = 65  # seconds, longer than what proxies give
HALF = 256 * 1024
# limits.body_stall_timeout and write_stall_timeout are 60 seconds: as long as leaves a busy machine some for itself.
PAUSE = 50
# More than all buffers on the way hold.
LARGE = 64 * 1024 * 1024


class Behind(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    go_on = threading.Event()

    def do_GET(self):
        self.close_connection = True
        if self.path == "/hub/socket":
            self.wfile.write(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
            while data := self.connection.recv(1024):
                self.connection.sendall(data)
        elif self.path == "/hub/events":
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\ndata: 1\n\n")
            self.go_on.wait()
            self.wfile.write(b"data: 2\n\n")
        else:
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % LARGE)
            for _ in range(LARGE // HALF):
                self.wfile.write(bytes(HALF))

    def do_PUT(self):
        received = len(self.rfile.read(int(self.headers["Content-Length"])))
        body = str(received).encode()
        self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))

    def log_message(self, *_):
        pass


def begin(latch, first_line, *lines):
    """A connection on which a request was sent."""
    host, port = latch.url.removeprefix("http://").split(":")
    connection = socket.create_connection((host, int(port)), timeout=PATIENCE)
    head = [f"{first_line} HTTP/1.1", f"Host: {host}:{port}", *lines, "", ""]
    connection.sendall("\r\n".join(head).encode())
    return connection


def read_until(connection, end):
    data = b""
    while end not in data:
        more = connection.recv(1024)
        assert more, data
        data += more
    return data


class Paused:
    """What was begun and is left alone for as long as other tests take."""

    def __init__(self, latch):
        self.since = time.monotonic()
        upgrade = ["Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==", "Sec-WebSocket-Version: 13"]
        self.socket = begin(latch, "GET /hub/socket", *upgrade)
        read_until(self.socket, b"\r\n\r\n")
        self.socket.sendall(b"before")
        read_until(self.socket, b"before")
        self.events = begin(latch, "GET /hub/events", "Accept: text/event-stream")
        read_until(self.events, b"data: 1\n\n\r\n")  # a whole chunk
        pool = ThreadPoolExecutor(2)
        self.uploaded, self.downloaded = pool.submit(upload, latch), pool.submit(download, latch)

    def wait(self):
        time.sleep(max(0, self.since + SILENCE - time.monotonic()))


def upload(latch):
    with begin(latch, "PUT /hub/upload", f"Content-Length: {2 * HALF}", "Connection: close") as connection:
        connection.sendall(bytes(HALF))
        time.sleep(PAUSE)
        connection.sendall(bytes(HALF))
        return connection.makefile("rb").read().rpartition(b"\r\n\r\n")[2]


def download(latch):
    with begin(latch, "GET /hub/download", "Connection: close") as connection:
        time.sleep(PAUSE)
        return len(connection.makefile("rb").read().partition(b"\r\n\r\n")[2])


# Of the module, it would end with the first test and begin again with the last ones: other modules come in between.
@pytest.fixture(scope="session")
def paused(hub, start_hublatch):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Behind)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    latch = start_hublatch(hub, {"hub": {"url": f"http://127.0.0.1:{server.server_address[1]}"}})
    yield Paused(latch)
    Behind.go_on.set()
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.begins_early
def test_connections_are_open_and_are_left_alone_for_a_minute(paused):
    assert paused.socket.fileno() > 0


@pytest.mark.ends_late
def test_a_websocket_on_which_nothing_was_said_for_a_minute_goes_on(paused):
    paused.wait()
    paused.socket.sendall(b"after")
    read_until(paused.socket, b"after")


@pytest.mark.ends_late
def test_an_event_stream_that_was_silent_for_a_minute_goes_on(paused):
    paused.wait()
    Behind.go_on.set()
    read_until(paused.events, b"data: 2\n\n")


@pytest.mark.ends_late
def test_an_upload_and_a_download_that_paused_most_of_a_minute_are_whole(paused):
    assert paused.uploaded.result(PATIENCE) == str(2 * HALF).encode()
    assert paused.downloaded.result(PATIENCE) == LARGE
