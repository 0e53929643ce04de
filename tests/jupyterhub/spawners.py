"""Servers that start slowly or not at all, for the hub of a test: `c.JupyterHub.spawner_class = "spawners.Moody"`."""

import asyncio
import socket
import sys
from pathlib import Path

from jupyterhub.spawner import SimpleLocalProcessSpawner

STEPS = 5


class Moody(SimpleLocalProcessSpawner):
    """Does as the server's name says: "slow…" takes five seconds more than others, "broken…" fails after two. Both wait
    until whoever follows the start has been told all of it: on a busy machine the first to follow may come late."""

    _followers = 0

    async def progress(self):
        self._followers += 1
        try:
            for step in range(1, STEPS + 1 if self.name.startswith("slow") else 1):
                yield {"progress": step * 18, "message": f"Step {step} of {STEPS} <b>&</b>"}
                await asyncio.sleep(1)
            if self.name.startswith("broken"):
                await asyncio.sleep(3)
        finally:
            self._followers -= 1

    async def _take(self, seconds):
        await asyncio.sleep(seconds)
        # Whoever asks again and again is not waited for without end.
        for _ in range(100):
            if not self._followers:
                return
            await asyncio.sleep(0.1)

    async def start(self):
        if self.name.startswith("broken"):
            await self._take(2)
            error = RuntimeError("internal")
            error.jupyterhub_message = "The image <b>does not</b> exist."
            raise error
        if self.name.startswith("slow"):
            await self._take(STEPS)
        self.environment = {**self.environment, "HUBLATCH_TEST_OPTIONS": str(self.user_options)}
        return await super().start()


class Light(SimpleLocalProcessSpawner):
    """Two seconds, and a server that costs next to nothing: `light_server.py`."""

    seconds = 2

    async def start(self):
        self.cmd = [sys.executable, "-S", str(Path(__file__).with_name("light_server.py"))]
        self.args = []
        # A port that nobody else is given: `processes.free_port` says how.
        self._hold = socket.socket()
        self._hold.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._hold.bind(("127.0.0.1", 0))
        self.port = self._hold.getsockname()[1]
        await asyncio.sleep(self.seconds)
        return await super().start()


class Quick(Light):
    """The same at once."""

    seconds = 0
