"""Servers that start slowly or not at all, for the hub of a test: `c.JupyterHub.spawner_class = "spawners.Moody"`."""

import asyncio

from jupyterhub.spawner import SimpleLocalProcessSpawner

STEPS = 5


class Moody(SimpleLocalProcessSpawner):
    """Does as the server's name says: "slow…" takes five seconds more than others, "broken…" fails after two."""

    async def progress(self):
        for step in range(1, STEPS + 1 if self.name.startswith("slow") else 1):
            yield {"progress": step * 18, "message": f"Step {step} of {STEPS} <b>&</b>"}
            await asyncio.sleep(1)

    async def start(self):
        if self.name.startswith("broken"):
            await asyncio.sleep(2)
            error = RuntimeError("internal")
            error.jupyterhub_message = "The image <b>does not</b> exist."
            raise error
        if self.name.startswith("slow"):
            await asyncio.sleep(STEPS)
        self.environment = {**self.environment, "HUBLATCH_TEST_OPTIONS": str(self.user_options)}
        return await super().start()
