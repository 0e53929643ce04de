"""A hub that answers as no hub should, and the requests that meet it."""

import asyncio
import sys
import time

from neighbours import connect

PAGE = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
# More than hublatch takes of a head, of a chunk's extension, of interim answers.
ENDLESS = 64 * 1024 * 1024


async def endless(writer, begin, piece):
    writer.write(begin)
    for _ in range(ENDLESS // len(piece)):
        writer.write(piece)
        await writer.drain()
        await asyncio.sleep(0)  # the good answers must not wait for us


async def silence(writer, begin):
    writer.write(begin)
    await writer.drain()
    await asyncio.sleep(300)


REPLIES = {
    "interim": lambda w: endless(w, b"", b"HTTP/1.1 103 Early Hints\r\nLink: </x>; rel=preload\r\n\r\n" * 100),
    "head": lambda w: endless(w, b"HTTP/1.1 200 OK\r\n", b"X-Padding: " + b"y" * 1000 + b"\r\n"),
    "line": lambda w: endless(w, b"HTTP/1.1 200 OK\r\nX-Long: ", b"y" * 65536),
    "garbage": lambda w: endless(w, b"", b"\x00\xff\x16\x03" * 1000),
    "silent": lambda w: silence(w, b""),
    "half": lambda w: silence(w, b"HTTP/1.1 200 OK\r\nContent-Le"),
    "unasked": lambda w: silence(w, b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n"),
    "lengths": lambda w: silence(w, b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!"),
    "short": lambda w: endless(w, b"HTTP/1.1 200 OK\r\nContent-Length: 999999999\r\n\r\n" + b"x" * 1000, b"x" * ENDLESS),
    "chunk": lambda w: silence(w, CHUNKED + b"ffffffffffffffffff\r\nhello"),
    "extension": lambda w: endless(w, CHUNKED + b"5;", b"e" * 65536),
    "trailers": lambda w: endless(w, CHUNKED + b"5\r\nhello\r\n0\r\n", b"X-Trailer: " + b"t" * 1000 + b"\r\n"),
}


async def serve(reader, writer):
    try:
        while head := await reader.readuntil(b"\r\n\r\n"):
            reply = REPLIES.get(head.split()[1].decode(errors="replace").removeprefix("/hostile/"))
            if reply is None:
                writer.write(PAGE)
                await writer.drain()
            else:
                await reply(writer)
                return
    except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        pass  # whoever asked is gone
    finally:
        writer.close()


async def main(port):
    server = await asyncio.start_server(serve, "127.0.0.1", port)
    async with server:
        await server.serve_forever()


def attack(target):
    """Every reply at once, several times over; each request must have an end, and none may end well that did not."""
    faults = []
    for turn in range(3):
        asked = {}
        for name in REPLIES:
            connection = connect(target.port)
            connection.sendall(f"GET /hostile/{name} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
            asked[name] = connection
        deadline = time.monotonic() + 60
        for name, connection in asked.items():
            faults += fault(name, connection, deadline)
            connection.close()
    return "; ".join(sorted(set(faults))) or None


def fault(name, connection, deadline):
    received = 0
    head = b""
    try:
        while time.monotonic() < deadline:
            connection.settimeout(max(0.1, deadline - time.monotonic()))
            piece = connection.recv(1 << 20)
            received, head = received + len(piece), (head + piece)[:4096]
            if not piece:
                return []
            if name == "short" and received > 1 << 20:
                return []  # a body as long as it says: whoever asked goes away instead
            if head.startswith(b"HTTP/1.1 50") and b"\r\n\r\n" in head:
                return []  # refused, and the connection is kept
        return [f"{name}: no end after {received} bytes"]
    except TimeoutError:
        return [f"{name}: no end after {received} bytes, {head[:60]!r}"]
    except OSError:
        return []


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
