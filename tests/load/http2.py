"""Attacks on HTTP/2 by frames made by hand (RFC 9113 § 6), each bounded in number and time."""

import socket
import ssl
import struct
import time

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, WINDOW_UPDATE, CONTINUATION = 0, 1, 3, 4, 6, 8, 9
PRIORITY, UNKNOWN = 2, 0x77
END_STREAM, END_HEADERS = 1, 4
TLS = ssl.create_default_context()
TLS.check_hostname, TLS.verify_mode = False, ssl.CERT_NONE
TLS.set_alpn_protocols(["h2"])
# No attack sends more, or for longer.
FRAMES_MAX, SECONDS_MAX = 200_000, 6.0
# Seconds for hublatch to take what is sent, or to end the connection; on an idle machine it does so at once.
PATIENCE = 60.0


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def literal(name, value):
    """A field that is not indexed, without Huffman coding (RFC 7541 § 6.2.2); both shorter than 127 bytes."""
    return b"\0" + bytes([len(name)]) + name + bytes([len(value)]) + value


def request(path=b"/user/alice/api/contents/x", method=b"GET"):
    fields = {b":method": method, b":scheme": b"https", b":path": path, b":authority": b"127.0.0.1"}
    return b"".join(literal(name, value) for name, value in fields.items())


def connect(port, settings=b""):
    plain = socket.create_connection(("127.0.0.1", port), PATIENCE)
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection = TLS.wrap_socket(plain, server_hostname="127.0.0.1")
    connection.sendall(PREFACE + frame(SETTINGS, 0, 0, settings))
    return connection


def flood(connection, pieces):
    """Sends `pieces` until the server ends the connection; whether it did."""
    sent, deadline = 0, time.monotonic() + SECONDS_MAX
    try:
        connection.settimeout(PATIENCE)
        for piece, frames in pieces:
            connection.sendall(piece)
            drain(connection)
            sent += frames
            if sent > FRAMES_MAX or time.monotonic() > deadline:
                break
        # What is on its way may still be judged.
        connection.settimeout(PATIENCE)
        while connection.recv(65536):
            pass
        return True
    except TimeoutError:
        return False
    except OSError:
        return True
    finally:
        connection.close()


def drain(connection):
    """Reads what is there, so that the server is not held up by us."""
    connection.settimeout(0)
    try:
        while connection.recv(65536):
            pass
    except (ssl.SSLWantReadError, BlockingIOError):
        pass
    finally:
        connection.settimeout(PATIENCE)


def floods(pieces, settings=b"", times=3):
    """An attack that sends `pieces` over a few connections, one after another."""

    def attack(target):
        ended = [flood(connect(target.port, settings), pieces()) for _ in range(times)]
        return None if all(ended) else f"{ended.count(False)} of {times} connections were not cut off"

    return attack


def streams():
    return range(1, 2 * FRAMES_MAX, 2)


def resets():
    cancel = struct.pack(">I", 8)
    for number in streams():
        yield frame(HEADERS, END_HEADERS | END_STREAM, number, request()) + frame(RST_STREAM, 0, number, cancel), 2


def continuations():
    yield frame(HEADERS, 0, 1, request()), 1
    piece = literal(b"x-padding", b"y" * 100) * 100
    for _ in range(FRAMES_MAX):
        yield frame(CONTINUATION, 0, 1, piece), 1


def empty_continuations():
    yield frame(HEADERS, 0, 1, request()), 1
    for _ in range(FRAMES_MAX // 100):
        yield frame(CONTINUATION, 0, 1) * 100, 100


def repeated(one, many=100):
    def pieces():
        for _ in range(FRAMES_MAX // many):
            yield one * many, many

    return pieces


def empty_data():
    yield frame(HEADERS, END_HEADERS, 1, request(b"/sink", b"PUT")), 1
    yield from repeated(frame(DATA, 0, 1))()


def padded_data():
    yield frame(HEADERS, END_HEADERS, 1, request(b"/sink", b"PUT")), 1
    yield from repeated(frame(DATA, 8, 1, b"\xff" + bytes(255)), 10)()


def header_bombs(target):
    """A field of 4 KiB is put into the dynamic table once and named 4,000 times: 16 MiB of head in 4 KiB."""
    large = b"x" * 3900
    # Length 3,900 as an integer with a prefix of seven bits: 127 and then 3,773 (RFC 7541 § 5.1).
    field = b"\x40\x01a\x7f" + bytes([3773 & 127 | 128, 3773 >> 7]) + large
    connection, refused = connect(target.port), 0
    try:
        for number in range(1, 201, 2):
            block = request() + (field if number == 1 else b"") + b"\xbe" * 4000
            connection.sendall(frame(HEADERS, END_HEADERS | END_STREAM, number, block))
            refused += 1
            drain(connection)
    except OSError:
        pass  # cut off, which will do
    connection.close()
    return None if refused else "no header bomb was sent"


def unread_answers(target):
    """A hundred large answers on one connection, with a window of nothing: none may be fetched whole."""
    connection = connect(target.port, struct.pack(">HI", 4, 0))
    for number in range(1, 200, 2):
        head = request(b"/bytes/1000000")
        connection.sendall(frame(HEADERS, END_HEADERS | END_STREAM, number, head))
    connection.settimeout(PATIENCE)
    reset, received = set(), b""
    try:
        while len(reset) < 100 and (piece := connection.recv(65536)):
            received += piece
            while len(received) >= 9 and len(received) >= 9 + (size := int.from_bytes(received[:3], "big")):
                if received[3] == RST_STREAM:
                    reset.add(received[5:9])
                received = received[9 + size:]
        ended = True
    except TimeoutError:
        ended = len(reset) == 100
    except OSError:
        ended = True
    connection.close()
    return None if ended else f"{100 - len(reset)} of 100 answers that nobody reads were not given up"


ATTACKS = {
    "rapid reset": floods(resets),
    "CONTINUATION": floods(continuations),
    "empty CONTINUATION": floods(empty_continuations),
    "PING": floods(repeated(frame(PING, 0, 0, bytes(8)))),
    "SETTINGS": floods(repeated(frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 65535)))),
    "empty DATA": floods(empty_data),
    "padded DATA": floods(padded_data),
    "WINDOW_UPDATE": floods(repeated(frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", 1)))),
    "PRIORITY": floods(repeated(frame(PRIORITY, 0, 1, struct.pack(">IB", 3, 1)))),
    "unknown frames": floods(repeated(frame(UNKNOWN, 0, 0, b"x"))),
    "header bomb": header_bombs,
    "answers not read": unread_answers,
}
