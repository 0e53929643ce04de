"""A browser of somebody who clicks and waits: many of them in one process."""

import asyncio
import http.cookies
import time
from urllib.parse import urlsplit

NAVIGATION = {
    "Accept": "text/html,application/xhtml+xml,*/*;q=0.8",
    "Sec-Fetch-Site": "cross-site",
    "Sec-Fetch-Mode": "navigate",
    "Sec-Fetch-Dest": "document",
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64) hublatch-tests",
}


class Person:
    """A browser of somebody who clicks and waits."""

    def __init__(self, url):
        self.address = urlsplit(url)
        self.cookies = {}
        self.pages = 0

    async def get(self, target=None, method="GET", body=b"", **more):
        """Status, headers and body of the answer; by default for the link."""
        reader, writer = await self.begin(target, method, body, **more)
        response = await reader.read()
        writer.close()
        head, _, body = response.partition(b"\r\n\r\n")
        status, *lines = head.decode("latin-1").split("\r\n")
        for line in lines:
            name, _, value = line.partition(": ")
            if name.lower() == "set-cookie":
                for key, morsel in http.cookies.SimpleCookie(value).items():
                    self.cookies[key] = morsel.coded_value
        if not lines:
            raise ConnectionError("no answer")
        return int(status.split()[1]), body

    async def begin(self, target=None, method="GET", body=b"", **more):
        """A request whose answer is to be read."""
        target = target or f"{self.address.path}?{self.address.query}"
        reader, writer = await asyncio.open_connection(self.address.hostname, self.address.port)
        headers = {"Host": self.address.netloc, "Connection": "close", **NAVIGATION, **more}
        if body:
            headers["Content-Length"] = str(len(body))
        if self.cookies:
            headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        writer.write(f"{method} {target} HTTP/1.1\r\n{lines}\r\n".encode() + body)
        return reader, writer

    async def log_in(self, delay):
        """The seconds from the click to the login."""
        await asyncio.sleep(delay)
        begun = time.monotonic()
        while True:
            status, body = await self.get()
            if status == 302:
                return time.monotonic() - begun
            assert status == 200 and b'id="queue"' in body, (status, body[:2000])
            self.pages += 1
            await asyncio.sleep(1)  # the page goes on by itself
