"""A mixed load for minutes: memory and descriptors stay flat, every request is answered.

    python3 tests/load/soak.py [--seconds 600]

Requests over HTTP/1.1, plain and TLS, and over HTTP/2; WebSockets, event streams, uploads and downloads, logins by link;
and clients that go away in the middle of all of these.
"""

import argparse
import random
import subprocess
import sys
import threading
import time
from statistics import mean

from running import (CORES, Hublatch, exit_on_sigterm, settled, stop_all, tools)  # makes tests/bench known

import clients
import proxies
from neighbours import REQUEST, answer, connect

# The kernel gives memory in pages, an allocator in arenas: what grows by less than this between the second fifth of the
# time and the last is no leak that ten minutes can show.
MEMORY_GROWTH_MAX = 12 << 20
BODY_BYTES = 4 << 20


def request(target):
    connection = connect(target.port, target.tls)
    for _ in range(20):
        connection.sendall(REQUEST)
        status, _ = answer(connection)
        clients.expect(status == 200, f"status {status}")
    connection.close()


def tunnel(target):
    connection = connect(target.port, target.tls)
    connection.sendall(clients.UPGRADE)
    head, rest = clients.head_of(connection)
    clients.expect(head.startswith(b"HTTP/1.1 101"), f"no tunnel: {head!r}")
    for _ in range(20):
        connection.sendall(clients.MESSAGE)
        while len(rest) < len(clients.ECHO):
            piece = connection.recv(65536)
            clients.expect(piece, "a tunnel ended")
            rest += piece
        clients.expect(rest == clients.ECHO, "another echo")
        rest = b""
        time.sleep(0.01)
    connection.close()


def events(target):
    connection = connect(target.port, target.tls)
    connection.sendall(b"GET /events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
    _, seen = clients.head_of(connection)
    while seen.count(b"data: ") < 50:
        piece = connection.recv(65536)
        clients.expect(piece, "an event stream ended")
        seen += piece
    connection.close()


def upload(target):
    clients.upload(target.port, BODY_BYTES, target.tls)


def download(target):
    clients.download(target.port, BODY_BYTES, target.tls)


def login(target):
    for token in target.links(5):
        connection = connect(target.port, target.tls)
        connection.sendall(f"GET /hub/login?login_token={token} HTTP/1.1\r\nHost: 127.0.0.1:{target.port}\r\n"
                           "Accept: text/html\r\n"
                           "Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document\r\n\r\n".encode())
        status, body = answer(connection)
        clients.expect(status == 302, f"login: status {status}: {body[:300]!r}")
        connection.close()


def leaver(target):
    """Goes away in the middle of whatever it was at."""
    begun = random.choice([
        REQUEST[:40], REQUEST, clients.UPGRADE + clients.MESSAGE[:500],
        b"GET /bytes/100000000 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", b"GET /events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        b"PUT /sink HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000000\r\n\r\n" + bytes(1000),
    ])
    connection = connect(target.port, target.tls)
    connection.sendall(begun)
    time.sleep(random.random() / 20)
    connection.close()


KINDS = {kind.__name__: kind for kind in (request, tunnel, events, upload, download, login, leaver)}


class Load(threading.Thread):
    """Does one kind of thing again and again, by turns plain and over TLS."""

    def __init__(self, kind, targets, over):
        super().__init__(daemon=True)
        self._kind, self._targets, self._over = kind, targets, over
        self.count, self.failures = 0, []

    def run(self):
        while not self._over.wait(0.05):
            try:
                self._kind(self._targets[self.count % len(self._targets)])
            except Exception as error:  # counted, and told at the end
                self.failures.append(f"{type(error).__name__}: {error}")
            self.count += 1


def http2(target, seconds, folder):
    """A steady rate over a few connections; h2load's own report is kept."""
    log = (folder / "h2load.log").open("w")
    return subprocess.Popen(
        [tools.path("h2load"), "--clients=4", "--max-concurrent-streams=8", "--rps=20", f"--duration={seconds}",
         f"https://127.0.0.1:{target.port}/user/alice/api/contents/x"], stdout=log, stderr=log)


def watch(targets, seconds):
    """Memory and descriptors of each, five times a second."""
    samples = {target: [] for target in targets}
    ends = time.monotonic() + seconds
    told = 0.0
    while time.monotonic() < ends:
        for target in targets:
            samples[target].append((target.memory(), target.descriptors()))
        if time.monotonic() - told > 60:
            told = time.monotonic()
            print(f"{ends - told:4.0f} s left: " + ", ".join(
                f"{'TLS' if t.tls else 'plain'} {s[-1][0] / (1 << 20):.1f} MiB, {s[-1][1]} descriptors"
                for t, s in samples.items()), flush=True)
        time.sleep(0.2)
    return samples


def verdict(target, samples, before):
    """The row of the report, and what went wrong."""
    fifth = len(samples) // 5
    early, late = samples[fifth:2 * fifth], samples[-fifth:]
    memory = [mean(memory for memory, _ in part) for part in (early, late)]
    descriptors = [mean(count for _, count in part) for part in (early, late)]
    name = "TLS" if target.tls else "plain"
    print(f"{name}: memory {memory[0] / (1 << 20):.1f} → {memory[1] / (1 << 20):.1f} MiB, highest "
          f"{max(m for m, _ in samples) / (1 << 20):.1f}; descriptors {descriptors[0]:.0f} → {descriptors[1]:.0f}")
    if memory[1] - memory[0] > MEMORY_GROWTH_MAX:
        yield f"{name}: memory grew from {memory[0] / (1 << 20):.1f} to {memory[1] / (1 << 20):.1f} MiB"
    if not settled(lambda: target.descriptors() <= before + 16, 20):
        yield f"{name}: {target.descriptors()} descriptors are open, {before} were"
    if not settled(lambda: target.metric("tunnels") == 0 and target.metric("connections") == 0, 20):
        yield f"{name}: {target.metric('tunnels')} tunnels and {target.metric('connections')} connections are open"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=int, default=600)
    options = parser.parse_args()
    exit_on_sigterm()
    folder = proxies.made(tools.ROOT / "target/load")
    tools.certificate(folder)
    faults = []
    try:
        origin = proxies.origin(folder, core=CORES)
        targets = [Hublatch(folder, origin.port, limits=""), Hublatch(folder, origin.port, tls=True, limits="")]
        before = {target: target.descriptors() for target in targets}
        over = threading.Event()
        loads = {name: [Load(kind, targets[turn:] + targets[:turn], over) for turn in range(2)]
                 for name, kind in KINDS.items()}
        for load in sum(loads.values(), []):
            load.start()
        multiplexed = http2(targets[1], options.seconds, folder)
        samples = watch(targets, options.seconds)
        over.set()
        for load in sum(loads.values(), []):
            load.join(60)
        multiplexed.wait(60)
        for name, threads in loads.items():
            failures = sum((thread.failures for thread in threads), [])
            print(f"{name}: {sum(thread.count for thread in threads)} times, {len(failures)} failures")
            faults += [f"{name}: {failure}" for failure in sorted(set(failures))[:5]]
        report = (folder / "h2load.log").read_text()
        line = next((line for line in report.splitlines() if line.startswith("requests:")), "nothing")
        print(f"HTTP/2: {line}")
        if " 0 failed, 0 errored, 0 timeout" not in line:
            faults.append(f"HTTP/2: {line}")
        for target in targets:
            faults += verdict(target, samples[target], before[target])
    finally:
        stop_all()
    for fault in faults:
        print(f"FAILED {fault}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
