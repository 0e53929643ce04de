"""One client that opens as much as it may and then drips: over HTTP/1.1, HTTP/2 and WebSockets, each bounded."""

import time

import http2
from http1 import PATIENCE, all_end, opened
from neighbours import connect

# Streams in all: CONNECTIONS times STREAMS.
CONNECTIONS, STREAMS = 100, 100
BODY = b"PUT /sink HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000000\r\n\r\nx"
WEBSOCKET = (b"GET /user/alice/api/kernels/x/channels HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\n"
             b"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
SECONDS = 5


def dripping_bodies(target):
    """2,000 bodies of which a byte comes now and then."""
    connections = opened(target.port, 2000)
    for connection in connections:
        connection.sendall(BODY)
    left = all_end(connections, PATIENCE, lambda connection: connection.send(b"x"))
    return None if left == 0 else f"{left} of 2000 bodies that drip were not cut off"


def dripping_streams(target):
    """10,000 bodies over 100 connections of HTTP/2, of which a byte comes now and then."""
    connections, numbers = [], range(1, 2 * STREAMS, 2)
    try:
        for _ in range(CONNECTIONS):
            connection = http2.connect(target.port)
            connections.append(connection)
            head = http2.request(b"/sink", b"PUT")
            connection.sendall(b"".join(
                http2.frame(http2.HEADERS, http2.END_HEADERS, number, head) + http2.frame(http2.DATA, 0, number, b"x")
                for number in numbers))
        ends = time.monotonic() + SECONDS
        while time.monotonic() < ends:
            for connection in connections:
                http2.drain(connection)
                connection.sendall(b"".join(http2.frame(http2.DATA, 0, number, b"x") for number in numbers))
            time.sleep(0.3)
    except OSError:
        pass  # whoever resets streams that drip may end the connection as well
    finally:
        for connection in connections:
            connection.close()
    return None


def websockets(target):
    """1,000 handshakes that nobody reads the answers of."""
    connections = [connect(target.port) for _ in range(1000)]
    for connection in connections:
        connection.sendall(WEBSOCKET)
    time.sleep(1)
    for connection in connections:
        connection.close()
    return None
