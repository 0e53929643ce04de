"""Attacks on HTTP/1.1, each bounded: who sends or reads too slowly, or just stays."""

import select
import socket
import time

from neighbours import connect
from running import settled

# Seconds for hublatch to end what it does not put up with. On an idle machine it takes two (running.LIMITS).
PATIENCE = 60
HEAD = b"GET /user/alice/api/contents/x HTTP/1.1\r\nHost: 127.0.0.1\r\n"


def opened(port, count, tls=False):
    return [connect(port, tls) for _ in range(count)]


def all_end(connections, seconds, each=None):
    """Calls `each` on every connection until the server has ended them all; how many it has not."""
    deadline = time.monotonic() + seconds
    left = {connection.fileno(): connection for connection in connections}
    poller = select.poll()
    for number in left:
        poller.register(number, select.POLLIN | select.POLLHUP | select.POLLERR)
    while left and time.monotonic() < deadline:
        for number, _ in poller.poll(20):
            try:
                ended = not left[number].recv(65536)
            except OSError:
                ended = True
            if ended:
                poller.unregister(number)
                left.pop(number).close()
        for connection in list(left.values()) if each else []:
            try:
                each(connection)
            except OSError:
                pass  # seen as ended by the next poll
    return len(left)


def slow_heads(target):
    """A byte of a head now and then."""
    connections = opened(target.port, 300)
    for connection in connections:
        connection.sendall(HEAD)
    left = all_end(connections, PATIENCE, lambda connection: connection.send(b"x"))
    return None if left == 0 else f"{left} of 300 heads that do not end were not cut off"


def slow_bodies(target):
    """A body that stops after its first byte."""
    connections = opened(target.port, 200)
    for connection in connections:
        connection.sendall(b"PUT /sink HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000000\r\n\r\nx")
    left = all_end(connections, PATIENCE)
    return None if left == 0 else f"{left} of 200 bodies that do not move were not cut off"


def slow_readers(target):
    """Large answers that nobody reads: ten megabytes each, so that holding them whole would be seen."""
    connections = []
    for _ in range(100):
        connection = socket.socket()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(("127.0.0.1", target.port))
        connection.sendall(b"GET /bytes/10000000 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        connections.append(connection)
    # Their own sockets cannot tell: what the kernel holds for them stands before the end.
    ended = settled(lambda: target.metric("connections") < 20, PATIENCE)
    for connection in connections:
        connection.close()
    return None if ended else f"{target.metric('connections')} connections are open: who does not read was not cut off"


def idle_connections(target):
    """Ten thousand that say nothing."""
    connections = opened(target.port, 10_000)
    time.sleep(2)
    connection = connections[5000]
    connection.sendall(HEAD + b"\r\n")
    served = connection.recv(12)
    for connection in connections:
        connection.close()
    return None if served == b"HTTP/1.1 200" else f"one of the idle connections was answered {served!r}"


def slow_handshakes(target):
    """TLS connections without a word, and with half of one."""
    connections = [connect(target.port) for _ in range(500)]
    for connection in connections[::2]:
        connection.sendall(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
    left = all_end(connections, PATIENCE)
    return None if left == 0 else f"{left} of 500 handshakes that do not go on were not cut off"
