"""A class at once: people who log in by links through hublatch, and the same number by the hub's own form.

    python tests/load/class.py --people 200,600,1200,2000 --busy      (on an idle machine, with the release binary)

On a real hub with its default settings: how many got in, how many failed, the time for all, and how long another user of
the hub waited for a page meanwhile; links and form in turn, so that both see the same machine. With --busy again beside two
loops that take the same cores. Then, before a hub by script that does 100 logins a second: the rate against the number of
those who wait (--waiting), and what each of 10,000 who wait costs in memory (--memory).
"""

import argparse
import asyncio
import multiprocessing
import os
import resource
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path
from urllib.parse import urlencode

ROOT = Path(__file__).resolve().parents[2]
PYTHON = ROOT / "target/venv/bin/python"
if Path(sys.prefix) != ROOT / "target/venv" and PYTHON.exists() and "HUBLATCH_CLASS_PYTHON" not in os.environ:
    os.execve(PYTHON, [PYTHON, *sys.argv], {**os.environ, "HUBLATCH_CLASS_PYTHON": "1"})
sys.path.insert(0, str(ROOT / "tests/jupyterhub"))
os.environ.setdefault("HUBLATCH_BIN", str(ROOT / "target/release/hublatch"))

from hub import Hub  # noqa: E402
from latch import Hublatch  # noqa: E402
from person import Person  # noqa: E402

# Everybody has clicked within this time, and nobody waits longer than that.
CLICKS_WITHIN, PATIENCE = 1.0, 600.0
# Nobody is slower than a login at the hub by script: one after the other, as at a real one.
SCRIPTED_LOGIN = 0.01
FORM = 'c.JupyterHub.authenticator_class = "dummy"\nc.Authenticator.allow_all = True\n'


def busy(until):
    while time.monotonic() < until.value:
        pass


class BusyLoops:
    """Two loops on the cores that hub and hublatch have."""

    def __enter__(self):
        self._until = multiprocessing.Value("d", time.monotonic() + 2 * PATIENCE)
        self._loops = [multiprocessing.Process(target=busy, args=(self._until,), daemon=True) for _ in range(2)]
        for loop in self._loops:
            loop.start()

    def __exit__(self, *_):
        self._until.value = 0
        for loop in self._loops:
            loop.join()


class OtherUser(threading.Thread):
    """Somebody who works at the hub meanwhile: a page four times a second, if the hub is that fast."""

    def __init__(self, person, target):
        super().__init__(daemon=True)
        self._person, self._target, self._over, self.seconds = person, target, threading.Event(), []

    def run(self):
        pause = 0
        while not self._over.wait(pause):
            begun = time.monotonic()
            status, _ = asyncio.run(self._person.get(self._target))
            assert status == 200, status
            self.seconds.append(time.monotonic() - begun)
            pause = max(0, 0.25 - self.seconds[-1])

    def end(self):
        self._over.set()
        self.join()


def p99(seconds):
    return statistics.quantiles(seconds, n=100)[98] if len(seconds) > 1 else float("nan")


async def by_form(person, name):
    """The hub's own form, as a browser sends it."""
    begun = time.monotonic()
    status, _ = await person.get("/hub/login")
    fields = {"_xsrf": person.cookies["_xsrf"], "username": name, "password": "x"}
    status, body = await person.get(
        f"/hub/login?{urlencode({'next': '/hub/home'})}",
        "POST",
        urlencode(fields).encode(),
        **{"Content-Type": "application/x-www-form-urlencoded", "Sec-Fetch-Site": "same-origin",
           "Origin": f"http://{person.address.netloc}"},
    )
    if status != 302:
        raise AssertionError(f"{status}: {body[:300]}")
    return time.monotonic() - begun


async def all_at_once(logins):
    """The seconds of each, or what went wrong; and how long all took."""
    async def one(number, login):
        await asyncio.sleep(CLICKS_WITHIN * number / len(logins))
        return await asyncio.wait_for(login(), PATIENCE)

    begun = time.monotonic()
    outcomes = await asyncio.gather(*(one(*pair) for pair in enumerate(logins)), return_exceptions=True)
    return outcomes, time.monotonic() - begun


def burst(logins, other):
    """One measurement: people in, failures, seconds, p99 of the other user, and the first fault."""
    other.start()
    outcomes, seconds = asyncio.run(all_at_once(logins))
    other.end()
    faults = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
    fault = f"{type(faults[0]).__name__}: {faults[0]}"[:200] if faults else ""
    return len(outcomes) - len(faults), len(faults), seconds, p99(other.seconds), fault


class Measured:
    """Two hubs, one behind hublatch and one with its own form, each with a user who works there."""

    def __init__(self, folder):
        def hub(name, **options):
            place = folder / name
            place.mkdir()
            return Hub(place, **options).start()

        self._by_links, self._by_form = hub("links"), hub("form", authenticator=FORM)
        place = folder / "hublatch"
        place.mkdir()
        self._latch = Hublatch(place, self._by_links).start()
        self._round = 0

    def stop(self):
        self._latch.stop()
        self._by_links.kill()
        self._by_form.kill()

    def links(self, people):
        self._round += 1
        link = self._latch.issue("works-here", next="/hub/home", expires_in=300)
        worker = Person(link["url"])
        asyncio.run(worker.log_in(0))
        # At a large class the first would end before they are clicked, if they were ordered one by one.
        urls = []
        for first in range(0, people, 500):
            orders = [
                {"username": f"l{self._round}x{number}", "next": "/hub/home", "expires_in": 300}
                for number in range(first, min(people, first + 500))
            ]
            status, made = self._latch.manage("POST", "/api/v1/links/batch", {"links": orders})
            assert status == 201, made
            urls += [link["url"] for link in made["links"]]
        persons = [Person(url) for url in urls]
        logins = [lambda person=person: by_events(person) for person in persons]
        return burst(logins, OtherUser(worker, "/hub/home"))

    def form(self, people):
        self._round += 1
        worker = Person(self._by_form.public_url)
        asyncio.run(by_form(worker, "works-here"))
        persons = [(Person(self._by_form.public_url), f"f{self._round}x{number}") for number in range(people)]
        logins = [lambda person=person, name=name: by_form(person, name) for person, name in persons]
        return burst(logins, OtherUser(worker, "/hub/home"))


def real(options):
    print("| machine | people | way | in | failed | seconds | of the form's | p99 of another user |")
    print("| --- | ---: | --- | ---: | ---: | ---: | ---: | ---: |", flush=True)
    failed = 0
    with tempfile.TemporaryDirectory(prefix="hublatch-class-") as folder:
        measured = Measured(Path(folder))
        try:
            for people in options.people:
                for is_busy in (False, True) if options.busy else (False,):
                    for _ in range(options.rounds):
                        failed += pair(measured, people, is_busy)
        finally:
            measured.stop()
    return failed


def pair(measured, people, is_busy):
    def both():
        return [("form", *measured.form(people)), ("links", *measured.links(people))]

    if is_busy:
        with BusyLoops():
            rows = both()
    else:
        rows = both()
    of_form = rows[0][3]
    for way, inside, failed, seconds, waited, fault in rows:
        ratio = "" if way == "form" else f"{seconds / of_form:.2f}"
        machine = "busy" if is_busy else "quiet"
        print(f"| {machine} | {people} | {way} | {inside} | {failed} | {seconds:.1f} | {ratio} | {waited * 1000:.0f} ms |")
        if fault:
            print(f"|  |  |  |  | {fault} |  |  |  |")
    sys.stdout.flush()
    return rows[1][2]


class ScriptedHub(multiprocessing.Process):
    """Does one login after the other, each in its time; or none, once it `hangs`."""

    def __init__(self):
        super().__init__(daemon=True)
        self.port, self.hangs = multiprocessing.Value("i", 0), multiprocessing.Value("b", False)

    def run(self):
        resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
        asyncio.run(self._serve())

    async def _serve(self):
        turn = asyncio.Lock()

        async def answer(reader, writer):
            try:
                while True:
                    head = await reader.readuntil(b"\r\n\r\n")
                    path = head.split(b" ", 2)[1]
                    if path.startswith(b"/hub/login"):
                        while self.hangs.value:
                            await asyncio.sleep(0.1)
                        async with turn:
                            await asyncio.sleep(SCRIPTED_LOGIN)
                        writer.write(b"HTTP/1.1 302 Found\r\nLocation: /hub/home\r\nContent-Length: 0\r\n\r\n")
                    elif path.startswith(b"/hub/api/user"):
                        writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Type: application/json\r\n"
                                     b"Content-Length: 2\r\n\r\n{}")
                    else:
                        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 19\r\n\r\n"
                                     b'{"version":"6.1.0"}')
                    await writer.drain()
            except (asyncio.IncompleteReadError, ConnectionError):
                writer.close()

        server = await asyncio.start_server(answer, "127.0.0.1", 0, backlog=4096)
        self.port.value = server.sockets[0].getsockname()[1]
        await server.serve_forever()

    def begin(self):
        self.start()
        while not self.port.value:
            time.sleep(0.01)
        return self


async def by_events(person):
    """With script: the page listens to its events, and asks again when its turn has come."""
    begun = time.monotonic()
    while True:
        status, body = await person.get()
        if status == 302:
            return time.monotonic() - begun
        if status != 200 or b'id="queue"' not in body:
            raise AssertionError(f"{status}: {body[:300]}")
        reader, writer = await person.begin(**EVENTS)
        async for line in reader:
            if b'"ready":true' in line:
                break
        writer.close()


EVENTS = {"Accept": "text/event-stream", "Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors",
          "Sec-Fetch-Dest": "empty"}


def scripted_latch(folder, hub, **limits):
    import running

    # The hub hangs for as long as it takes until all wait.
    lines = running.LIMITS.replace('upstream_head_timeout = "30s"', 'upstream_head_timeout = "10m"') + "".join(f"{name} = {value}\n" for name, value in limits.items())
    return running, running.Hublatch(folder, hub.port.value, limits=lines)


def urls_of(latch, count):
    tokens = []
    for first in range(0, count, 1000):
        tokens += latch.links(min(1000, count - first))
    return [f"http://127.0.0.1:{latch.port}/hub/login?login_token={token}" for token in tokens]


def waiting(options):
    print("\n| wait | in | failed | seconds | logins a second |\n| ---: | ---: | ---: | ---: | ---: |", flush=True)
    failed = 0
    with tempfile.TemporaryDirectory(prefix="hublatch-class-") as folder:
        hub = ScriptedHub().begin()
        running, latch = scripted_latch(folder, hub)
        try:
            for count in options.waiting:
                persons = [Person(url) for url in urls_of(latch, count)]
                logins = [lambda person=person: by_events(person) for person in persons]
                outcomes, seconds = asyncio.run(all_at_once(logins))
                faults = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
                failed += len(faults)
                inside = len(outcomes) - len(faults)
                print(f"| {count} | {inside} | {len(faults)} | {seconds:.1f} | {inside / seconds:.1f} |", flush=True)
                if faults:
                    print(f"|  |  | {faults[0]!r:.200} |  |  |")
        finally:
            running.stop_all()
            hub.terminate()
    return failed


def memory(options):
    with tempfile.TemporaryDirectory(prefix="hublatch-class-") as folder:
        hub = ScriptedHub().begin()
        # One login is under way and hangs, so that everybody waits.
        running, latch = scripted_latch(folder, hub, logins_at_once='"1"', login_hub_timeout='"10m"')
        try:
            hub.hangs.value = True
            urls = urls_of(latch, options.memory + 1)
            before, after, held = asyncio.run(hold(latch, urls, options.memory))
        finally:
            running.stop_all()
            hub.terminate()
    each = (after - before) / held
    print(f"\n{held} wait: {after / (1 << 20):.0f} MiB, before {before / (1 << 20):.0f} MiB: "
          f"{each / 1024:.1f} KiB each", flush=True)
    return 0 if each <= 20 * 1024 and held == options.memory else 1


async def hold(latch, urls, count):
    """The memory before and while `count` pages listen to their events."""
    first = asyncio.create_task(Person(urls[-1]).get())
    await asyncio.sleep(1)
    before = await asyncio.to_thread(latch.memory)
    slots, held = asyncio.Semaphore(500), []

    async def one(url):
        person = Person(url)
        async with slots:
            status, body = await person.get()
            assert status == 200 and b'id="queue"' in body, (status, body[:300])
            reader, writer = await person.begin(**EVENTS)
            await reader.readuntil(b"\n\n")
            held.append((reader, writer))

    await asyncio.gather(*(one(url) for url in urls[:count]))
    while (waits := await asyncio.to_thread(latch.metric, "login_queue")) < count:
        print(f"{waits} in line", flush=True)
        await asyncio.sleep(1)
    after = await asyncio.to_thread(latch.memory)
    first.cancel()
    return before, after, len(held)


def numbers(text):
    return [int(number) for number in text.split(",") if number]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--people", type=numbers, default=[200], help="at a real hub: 200,600,…; empty: none")
    parser.add_argument("--rounds", type=int, default=1, help="of each")
    parser.add_argument("--busy", action="store_true", help="also beside two busy loops")
    parser.add_argument("--waiting", type=numbers, default=[100, 500, 1000, 2500, 5000], help="at a hub by script")
    parser.add_argument("--memory", type=int, default=10_000, help="how many wait while memory is read; 0: none")
    options = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    failed = real(options) if options.people else 0
    failed += waiting(options) if options.waiting else 0
    failed += memory(options) if options.memory else 0
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
