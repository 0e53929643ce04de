"""Reloads and restarts of a real hublatch under load: no request fails, no tunnel ends before its deadline.

python3 tests/restart/run.py [--reloads 100] [--restarts 100]; the binary is $HUBLATCH_BIN, else target/debug/hublatch.
Half of the reloads have a bad file. A restart starts the next process on the same sockets, as a supervisor passes them,
and then ends the one before; every other time it does so only after that one has stopped accepting.
"""

import argparse
import asyncio
import contextlib
import json
import os
import pathlib
import signal
import socket
import sys
import tempfile
import time

from hub import Hub
from load import Load

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
BINARY = os.environ.get("HUBLATCH_BIN", str(REPOSITORY / "target/debug/hublatch"))
DRAIN = 3.0
FIRST_FD = 100
PATIENCE = 120


class Process:
    """One hublatch."""

    def __init__(self, child):
        self.child, self.started, self.ended_by = child, time.monotonic(), None
        self.lines = asyncio.Queue()
        self._reading = asyncio.create_task(self._read())

    @classmethod
    async def start(cls, file, sockets):
        environment = {name: value for name, value in os.environ.items() if not name.startswith("HUBLATCH_")}
        environment |= {"LISTEN_FDS": str(len(sockets)), "LISTEN_FDS_FIRST_FD": str(FIRST_FD)}
        child = await asyncio.create_subprocess_exec(
            BINARY, "serve", "--config", str(file), env=environment, stderr=asyncio.subprocess.PIPE, pass_fds=sockets
        )
        process = cls(child)
        while (await process.logged("listening"))["listener"] != "management":
            pass
        return process

    async def _read(self):
        async for line in self.child.stderr:
            with contextlib.suppress(ValueError):
                self.lines.put_nowait(json.loads(line))

    async def logged(self, *messages):
        """The next line with one of these messages."""
        async with asyncio.timeout(PATIENCE):
            while True:
                line = await self.lines.get()
                if line.get("message") in messages:
                    return line

    def signal(self, number):
        self.child.send_signal(number)

    def terminate(self):
        self.ended_by = time.monotonic()
        self.signal(signal.SIGTERM)

    async def end(self):
        """Waits for the end of the drain; what is wrong with it, if anything."""
        async with asyncio.timeout(DRAIN + PATIENCE):
            code = await self.child.wait()
        took = time.monotonic() - self.ended_by
        return [] if code == 0 else [f"a process ended with {code} after {took:.1f} s"]


class Scene:
    """A hub, two sockets that outlive every process, and a configuration."""

    async def __aenter__(self):
        self.directory = tempfile.TemporaryDirectory()
        self.hub = Hub()
        await self.hub.start()
        self.sockets, self.ports = [], []
        for number in range(2):
            listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
            os.dup2(listener.fileno(), FIRST_FD + number)
            self.sockets.append(FIRST_FD + number)
            self.ports.append(listener.getsockname()[1])
            listener.close()
        self.file = pathlib.Path(self.directory.name, "hublatch.toml")
        self.write()
        self.processes = [await Process.start(self.file, self.sockets)]
        self.load = Load(self.ports[0], self.may_end)
        self.load.start()
        return self

    async def __aexit__(self, *_):
        await self.load.stop()
        for process in self.processes:
            if process.child.returncode is None:
                process.child.kill()
                await process.child.wait()
        for number in self.sockets:
            os.close(number)
        self.directory.cleanup()

    def write(self, lifetime="30s"):
        public, management = self.ports
        new = self.file.with_suffix(".new")
        new.touch(0o600)
        new.write_text(
            f'[public]\nlisten = "127.0.0.1:{public}"\nurl = "http://hub.test"\nthreads = 2\n'
            f'[management]\nlisten = "127.0.0.1:{management}"\n'
            f'[hub]\nurl = "http://127.0.0.1:{self.hub.port}"\n'
            f'[login]\nlifetime = "{lifetime}"\n'
            f'[limits]\ndrain_timeout = "{DRAIN:.0f}s"\n'
            '[log]\naccess = false\n'
            f'[[apps]]\nname = "portal"\nkeys = ["sha256:{"7" * 63}1"]\n'
        )
        new.rename(self.file)

    def may_end(self, begun, ended):
        """Whether a process that was told to end may have held a connection of this time, and has waited for it."""
        drained = [process for process in self.processes if process.ended_by is not None]
        return any(
            process.started - 30 <= begun <= process.ended_by + DRAIN and ended >= process.ended_by + DRAIN - 0.05
            for process in drained
        )


async def reloads(count):
    failures = []
    async with Scene() as scene:
        await asyncio.sleep(1)
        process, results = scene.processes[0], {"reloaded": 0, "reload refused": 0}
        for number in range(count):
            bad = number % 2 == 1
            scene.write("never" if bad else f"{10 + number}s")
            process.signal(signal.SIGHUP)
            line = await process.logged("reloaded", "reload refused")
            results[line["message"]] += 1
            if (line["message"] == "reload refused") != bad:
                failures.append(f"reload {number}: {line}")
            await asyncio.sleep(0.2)
        await asyncio.sleep(0.5)
        failures += scene.load.failures
    return {"reloads": results} | scene.load.done, failures


async def restarts(count):
    failures, ending = [], []
    async with Scene() as scene:
        await asyncio.sleep(1)
        for number in range(count):
            old = scene.processes[-1]
            if number % 2 == 1:
                # As "systemctl restart" does it, but for the wait: nobody accepts for a while.
                old.terminate()
                await old.logged("draining")
                await asyncio.sleep(0.1)
            scene.processes.append(await Process.start(scene.file, scene.sockets))
            if number % 2 == 0:
                old.terminate()
            ending.append(asyncio.create_task(old.end()))
            await asyncio.sleep(0.5)
        for end in ending:
            failures += await end
        failures += scene.load.failures
    return {"restarts": count} | scene.load.done, failures


async def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--reloads", type=int, default=100)
    parser.add_argument("--restarts", type=int, default=100)
    asked = parser.parse_args()
    wrong = []
    for run, count in [(reloads, asked.reloads), (restarts, asked.restarts)]:
        begun = time.monotonic()
        done, failures = await run(count)
        print(json.dumps(done | {"seconds": round(time.monotonic() - begun), "failures": len(failures)}), flush=True)
        wrong += failures
    for failure in wrong[:20]:
        print(failure)
    return 1 if wrong else 0


sys.exit(asyncio.run(main()))
