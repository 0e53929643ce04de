"""A class opens its notebooks within one second, on a real hub with its default settings: everybody is logged in, and no
link is used up in vain."""

import asyncio
import http.cookies
import multiprocessing
import os
import time
from urllib.parse import urlsplit

import pytest

PEOPLE = int(os.environ.get("HUBLATCH_CLASS", "200"))
PATIENCE = 300  # seconds for all of them
NAVIGATION = {
    "Accept": "text/html,application/xhtml+xml,*/*;q=0.8",
    "Sec-Fetch-Site": "cross-site",
    "Sec-Fetch-Mode": "navigate",
    "Sec-Fetch-Dest": "document",
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64) hublatch-tests",
}


class Person:
    """A browser of somebody who clicks and waits."""

    def __init__(self, link):
        self.address = urlsplit(link["url"])
        self.cookies = {}
        self.pages = 0

    async def get(self):
        reader, writer = await asyncio.open_connection(self.address.hostname, self.address.port)
        headers = {"Host": self.address.netloc, "Connection": "close", **NAVIGATION}
        if self.cookies:
            headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        writer.write(f"GET {self.address.path}?{self.address.query} HTTP/1.1\r\n{lines}\r\n".encode())
        response = await reader.read()
        writer.close()
        head, _, body = response.partition(b"\r\n\r\n")
        status, *lines = head.decode("latin-1").split("\r\n")
        for line in lines:
            name, _, value = line.partition(": ")
            if name.lower() == "set-cookie":
                for key, morsel in http.cookies.SimpleCookie(value).items():
                    self.cookies[key] = morsel.coded_value
        return int(status.split()[1]), body

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


def whole_class(latch, prefix, people):
    # Issued one after the other, so that those of a large class would end before they are clicked.
    links = [latch.issue(f"{prefix}{number}", next="/hub/home", expires_in=300) for number in range(people)]
    persons = [Person(link) for link in links]

    async def click():
        logins = [person.log_in(number / people) for number, person in enumerate(persons)]
        return await asyncio.wait_for(asyncio.gather(*logins), PATIENCE)

    begun = time.monotonic()
    seconds = sorted(asyncio.run(click()))
    waited = sum(1 for person in persons if person.pages)
    print(
        f"class of {people}: {time.monotonic() - begun:.1f} s in all, median {seconds[people // 2]:.1f} s, "
        f"slowest {seconds[-1]:.1f} s, {waited} saw the page of the line"
    )
    for link in links:
        assert latch.status(link) == "used"
    log = latch.process.log
    assert log.count('"event":"redeemed"') >= people
    for link in links:
        assert link["login_token"] not in log
    return seconds


def busy(until):
    while time.monotonic() < until.value:
        pass


@pytest.fixture
def two_busy_loops():
    until = multiprocessing.Value("d", time.monotonic() + PATIENCE)
    loops = [multiprocessing.Process(target=busy, args=(until,), daemon=True) for _ in range(2)]
    for loop in loops:
        loop.start()
    yield
    until.value = 0
    for loop in loops:
        loop.join()


def test_a_class_that_clicks_within_a_second_is_logged_in(start_hub, start_hublatch):
    whole_class(start_hublatch(start_hub()), "quiet", PEOPLE)


def test_a_class_is_logged_in_on_a_machine_that_is_busy_with_other_work(start_hub, start_hublatch, two_busy_loops):
    whole_class(start_hublatch(start_hub()), "busy", PEOPLE)


def test_a_hub_whose_authenticator_takes_its_time_logs_in_before_the_browser_gives_up(start_hub, start_hublatch):
    hook = "async def late(authenticator, handler, auth):\n    import asyncio\n    await asyncio.sleep(12)\n    return auth\n"
    hub = start_hub(extra=hook + "c.Authenticator.post_auth_hook = late\n")
    seconds = whole_class(start_hublatch(hub), "hook", 3)
    assert 12 <= seconds[0] and seconds[-1] < 40
