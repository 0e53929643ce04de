"""A hub for load: small answers, uploads, endless event streams and echoing WebSockets, each by its path."""

import asyncio
import contextlib

EVENT_EVERY = 0.1


class Hub:
    """Listens on a free port of this machine."""

    def __init__(self):
        self.port = 0
        self._tasks = set()

    async def start(self):
        server = await asyncio.start_server(self._converse, "127.0.0.1", 0, backlog=1024)
        self.port = server.sockets[0].getsockname()[1]

    async def _converse(self, reader, writer):
        # Its end is the end of the run, and cancels what is under way.
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while await self._answer(reader, writer):
                pass
        writer.close()

    async def _answer(self, reader, writer):
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        line, *lines = head.split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines) if name}
        path = line.split(" ")[1]
        if path.startswith("/events"):
            return await self._events(writer)
        if path.startswith("/socket"):
            return await self._echo(reader, writer)
        length = int(headers.get("content-length", "0"))
        body = await reader.readexactly(length)
        answer = b"%d" % len(body)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(answer), answer))
        await writer.drain()
        return True

    async def _events(self, writer):
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            writer.write(b"8\r\ndata: x\n\r\n")
            await writer.drain()
            await asyncio.sleep(EVENT_EVERY)

    async def _echo(self, reader, writer):
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        return False
