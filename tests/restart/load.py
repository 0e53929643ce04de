"""Browsers at work on one address: what they did, and what went wrong that must not."""

import asyncio
import collections
import time

PATIENCE = 120
UPLOAD_PIECES, PIECE = 8, b"u" * 16384


class Ended(Exception):
    """The connection has ended where a request might have been sent on it: a browser opens another one."""


class Load:
    """Runs until it is stopped. `may_end` judges the end of a tunnel or stream: of a connection begun and ended when."""

    def __init__(self, port, may_end):
        self.port, self.may_end = port, may_end
        self.done, self.failures = collections.Counter(), []
        self._running, self._tasks = True, []

    def start(self):
        kinds = [(self._keep_asking, 8), (self._ask_anew, 4), (self._upload, 4), (self._socket, 8), (self._events, 6)]
        for kind, count in kinds:
            self._tasks += [asyncio.create_task(self._repeat(kind)) for _ in range(count)]

    async def stop(self):
        self._running = False
        while self._tasks:
            # Again and again: in Python 3.11 a wait that has just succeeded forgets that it was cancelled.
            for task in self._tasks:
                task.cancel()
            _, self._tasks = await asyncio.wait(self._tasks, timeout=1)

    async def _repeat(self, kind):
        while self._running:
            try:
                await kind()
            except asyncio.CancelledError:
                raise
            except Exception as error:  # whatever it is, the user sees a failure
                self.failures.append(f"{kind.__name__.strip('_')}: {type(error).__name__}: {error}")

    async def _keep_asking(self):
        reader, writer = await self._connect()
        try:
            for number in range(1000):
                try:
                    await self._ask(reader, writer, b"GET /x HTTP/1.1\r\nHost: hub.test\r\n\r\n", reused=number > 0)
                except Ended:
                    return
                self.done["request"] += 1
                await asyncio.sleep(0.01)
        finally:
            writer.close()

    async def _ask_anew(self):
        reader, writer = await self._connect()
        try:
            await self._ask(reader, writer, b"GET /x HTTP/1.1\r\nHost: hub.test\r\nConnection: close\r\n\r\n")
            self.done["connection"] += 1
        finally:
            writer.close()

    async def _upload(self):
        reader, writer = await self._connect()
        try:
            total = UPLOAD_PIECES * len(PIECE)
            writer.write(b"POST /upload HTTP/1.1\r\nHost: hub.test\r\nContent-Length: %d\r\n\r\n" % total)
            for _ in range(UPLOAD_PIECES):
                writer.write(PIECE)
                await writer.drain()
                await asyncio.sleep(0.03)
            body = await self._ask(reader, writer, b"")
            if body != b"%d" % total:
                raise ValueError(f"{body} of {total} bytes arrived")
            self.done["upload"] += 1
        finally:
            writer.close()

    async def _socket(self):
        begun = time.monotonic()
        reader, writer = await self._connect()
        try:
            writer.write(
                b"GET /socket HTTP/1.1\r\nHost: hub.test\r\nConnection: upgrade\r\nUpgrade: websocket\r\n"
                b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
            )
            await self._head(reader, b"101")
            self.done["socket"] += 1
            while self._running:
                message = b"%.6f" % time.monotonic()
                try:
                    writer.write(message)
                    echo = await asyncio.wait_for(reader.readexactly(len(message)), PATIENCE)
                except (asyncio.IncompleteReadError, ConnectionError):
                    return self._judge("socket", begun)
                if echo != message:
                    raise ValueError(f"{message} came back as {echo}")
                self.done["message"] += 1
                await asyncio.sleep(0.05)
        finally:
            writer.close()

    async def _events(self):
        begun = time.monotonic()
        reader, writer = await self._connect()
        try:
            writer.write(b"GET /events HTTP/1.1\r\nHost: hub.test\r\n\r\n")
            await self._head(reader, b"200")
            self.done["stream"] += 1
            while self._running:
                try:
                    event = await asyncio.wait_for(reader.readexactly(13), PATIENCE)
                except (asyncio.IncompleteReadError, ConnectionError):
                    return self._judge("stream", begun)
                if event != b"8\r\ndata: x\n\r\n":
                    raise ValueError(f"an event is {event}")
                self.done["event"] += 1
        finally:
            writer.close()

    def _judge(self, what, begun):
        ended = time.monotonic()
        if self.may_end(begun, ended):
            self.done[f"{what} ended by a drain"] += 1
        else:
            self.failures.append(f"a {what} of {ended - begun:.3f} s was dropped before its deadline")

    async def _connect(self):
        return await asyncio.wait_for(asyncio.open_connection("127.0.0.1", self.port), PATIENCE)

    async def _ask(self, reader, writer, request, reused=False):
        try:
            writer.write(request)
            head = await self._head(reader, b"200")
        except (ConnectionError, asyncio.IncompleteReadError) as error:
            # RFC 9112 § 9.5: an idle connection can close at any time, and nothing of an answer has come.
            if reused and not getattr(error, "partial", b""):
                raise Ended from error
            raise
        length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
        return await asyncio.wait_for(reader.readexactly(length), PATIENCE)

    async def _head(self, reader, status):
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), PATIENCE)
        if head.split(b" ")[1] != status:
            raise ValueError(head.decode("latin-1"))
        return head
