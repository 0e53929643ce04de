"""hublatch as the hub's own proxy: c.JupyterHub.proxy_class = "hublatch".

It is a ConfigurableHTTPProxy, with all of that class's settings, whose command is `hublatch chp`; works with JupyterHub 4.1
to 6.1. Beyond that it takes over a proxy of ours that still runs instead of ending it, restores extra_routes too after
the proxy has died, tells the hub's authenticator the public key, and writes to several replicas.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from jupyterhub.proxy import ConfigurableHTTPProxy
from traitlets import List, TraitError, Unicode, default, observe

ADOPT_TIMEOUT = 5  # seconds for a running proxy to show its table
REPLICA_GRACE = 3  # seconds that the other replicas get when one has answered
COMMAND_TIMEOUT = 10  # seconds for a command of hublatch that reads its configuration


class HublatchProxy(ConfigurableHTTPProxy):
    """Runs `hublatch chp`, or talks to hublatch that something else runs (should_start = False)."""

    config_file = Unicode(
        "",
        config=True,
        help="""hublatch's configuration, for forced login (`hublatch init --proxy` writes one).

        Without it hublatch is a proxy like configurable-http-proxy and logs nobody in.
        """,
    )
    api_urls = List(
        Unicode(),
        config=True,
        help="""The API of each replica, where several run that share no routing table; instead of api_url.

        A route is there if all that answer have it. What one has missed or kept is mended at the next check. Something
        else starts and stops them: should_start is False.
        """,
    )

    @default("command")
    def _command_default(self):
        return [find_binary(), "chp"]

    @default("should_start")
    def _should_start_default(self):
        return not self.api_urls

    @default("auth_token")
    def _auth_token_default(self):
        token = os.environ.get("CONFIGPROXY_AUTH_TOKEN", "")
        secret = getattr(self.app, "cookie_secret", None)
        if self.should_start and not token and isinstance(secret, bytes) and secret:
            # The same after a restart of the hub, or a running proxy could not be taken over. What the hub keeps secret
            # across restarts is its cookie secret, which an HMAC does not give away.
            return hmac.new(secret, b"hublatch: token of the routing API", hashlib.sha256).hexdigest()
        return super()._auth_token_default()

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        if self.api_urls and self.should_start:
            raise TraitError("c.HublatchProxy.api_urls is for replicas that the hub does not start: set should_start = False")
        if self.config_file and "--config" not in self.command:
            self.command = [*self.command, "--config", self.config_file]

    # --- What the authenticator has to know -------------------------------------------------------------------------

    def assertion_settings(self):
        """What `hublatch assertion` prints of config_file: public_keys (PEM), audience, header names; None without a file.

        The hub and hublatch run as one user here, so there is no key file to copy. Raises TraitError.
        """
        if not self.config_file:
            return None
        own = self.command[0] if Path(self.command[0]).name.startswith("hublatch") else find_binary()
        command = [own, "assertion", "--config", self.config_file]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=COMMAND_TIMEOUT, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise TraitError(f"{' '.join(command)}: {error}") from None
        if done.returncode != 0:
            raise TraitError(f"{' '.join(command)}: exit code {done.returncode}: {done.stderr.strip()}")
        return json.loads(done.stdout)

    # --- Start, and taking over -------------------------------------------------------------------------------------

    async def start(self):
        # check_running starts anew from within its own timer; the base class would leave that one running.
        if self._check_running_callback is not None:
            self._check_running_callback.stop()
        if await self._adopt():
            return
        await super().start()
        self._note_start()

    async def _adopt(self):
        """Goes on with the proxy of an earlier hub (cleanup_proxy = False), so that no connection is cut; or returns False."""
        try:
            noted = json.loads(self._note_file.read_text())
            process = RunningProcess(noted["pid"])
        except (OSError, ValueError, KeyError, TypeError):
            return False
        if noted != self._note(process) or process.poll() is not None:
            return False
        try:
            # The answer proves that it holds our token. A proxy that does not answer is of no use either.
            await asyncio.wait_for(self.api_request(""), ADOPT_TIMEOUT)
        except Exception as error:
            self.log.warning("The proxy with pid %s does not answer and is ended: %s", process.pid, error)
            return False
        self.log.info("Taking over the running proxy with pid %s: its connections go on", process.pid)
        self.proxy_process = process
        self._write_pid_file()
        self._watch()
        return True

    def _watch(self):
        from tornado.ioloop import PeriodicCallback

        self._check_running_callback = PeriodicCallback(self.check_running, 1e3 * self.check_running_interval)
        self._check_running_callback.start()

    @property
    def _note_file(self):
        return Path(f"{self.pid_file}.hublatch")

    def _note_start(self):
        """Writes down which process was started and how, so that a later hub knows whether it is the one it wants."""
        try:
            note = self._note(RunningProcess(self.proxy_process.pid))
        except OSError:  # no /proc: nothing is taken over
            return
        self._note_file.write_text(json.dumps(note))

    def _note(self, process):
        started_with = [
            list(self.command),
            self.public_url,
            self.api_url,
            self.ssl_key,
            self.ssl_cert,
            self.host_routing,
            self.log_level,
            self.app.internal_ssl,
            self.hub.url,
            version_of(self.command[0]),  # an upgrade is no use before the new program runs
        ]
        digest = hashlib.sha256(json.dumps(started_with).encode()).hexdigest()
        # The kernel gives pids again, but never with the same start time.
        return {"pid": process.pid, "start_time": process.start_time, "started_with": digest}

    async def restore_routes(self):
        # The base class restores hub, users and services, and leaves extra_routes (API-only mode has no login without
        # them) to the next check, up to five minutes later.
        self.log.info("Setting up routes on new proxy")
        await self.check_routes(self.app.users, self.app._service_map)
        self.log.info("New proxy back up and good to go")

    # --- Several replicas -------------------------------------------------------------------------------------------

    @observe("api_url")
    def _api_url_changed(self, change):
        if self.api_urls and change.old:
            self.log.warning("The proxy's API has moved to %s: api_urls is not used any more", change.new)
            self.api_urls = []

    def _replicas(self):
        """One plain proxy object for each of api_urls. Made anew each time: the token may be changed by the Hub API."""
        passed_on = {name: getattr(self, name) for name in ("app", "hub", "host_routing", "public_url", "auth_token", "log")}
        return [
            ConfigurableHTTPProxy(parent=self, api_url=url, should_start=False, semaphore=self.semaphore, **passed_on)
            for url in self.api_urls
        ]

    async def _at_replicas(self, method, *args):
        """What each replica answered, by its API's URL, without those that could not be reached. One must answer."""
        calls = {asyncio.ensure_future(getattr(replica, method)(*args)): replica.api_url for replica in self._replicas()}
        answers, failure, waiting = {}, None, set(calls)
        while waiting:
            # The first may take as long as it needs; one that is down must not hold up a user's start after that.
            done, waiting = await asyncio.wait(
                waiting, timeout=REPLICA_GRACE if answers else None, return_when=asyncio.FIRST_COMPLETED
            )
            for call in done:
                if call.exception() is None:
                    answers[calls[call]] = call.result()
                else:
                    failure = call.exception()
                    self.log.error("Replica %s: %s: %s", calls[call], method, failure)
            if not done:
                break
        for call in waiting:
            # Cancelled, not left to be tried again later: a late POST would undo a DELETE that came after it.
            call.cancel()
            self.log.error("Replica %s: %s: no answer; the next check mends its table", calls[call], method)
        if not answers:
            raise failure
        return answers

    async def add_route(self, routespec, target, data, **kwargs):
        if not self.api_urls:
            return await super().add_route(routespec, target, data, **kwargs)
        # Each replica gets a dictionary of its own: add_route adds to it.
        await self._at_replicas("add_route", routespec, target, dict(data or {}))

    async def delete_route(self, routespec, **kwargs):
        if not self.api_urls:
            return await super().delete_route(routespec, **kwargs)
        await self._at_replicas("delete_route", routespec)

    async def get_all_routes(self, **kwargs):
        if not self.api_urls:
            return await super().get_all_routes(**kwargs)
        merged = merge(list((await self._at_replicas("get_all_routes")).values()))
        return {routespec: route for routespec, route in merged.items() if route["target"]}

    async def check_routes(self, user_dict, service_dict, routes=None):
        if self.api_urls:
            # With what only some have, so that it is added at all or deleted at all.
            routes = merge(list((await self._at_replicas("get_all_routes")).values()))
        return await super().check_routes(user_dict, service_dict, routes)


class RunningProcess:
    """A process that this one did not start, as far as the hub uses its Popen. Raises OSError if there is none."""

    def __init__(self, pid):
        self.pid = int(pid)
        self._stat = Path(f"/proc/{self.pid}/stat")
        self.start_time = self._read()[19]

    def _read(self):
        # proc_pid_stat(5): the second field, the name, is in parentheses and may hold anything; state is what follows.
        return self._stat.read_text(errors="replace").rpartition(")")[2].split()

    def poll(self):
        """None while it runs. How it ended is known to its parent alone."""
        try:
            fields = self._read()
        except OSError:
            return "unknown"
        return None if fields[19] == self.start_time and fields[0] not in "ZX" else "unknown"

    def terminate(self):
        if self.poll() is None:
            os.kill(self.pid, 15)


def merge(tables):
    """Every route that one of the tables has; its target is "" unless all have the same. The latest activity of all.

    The hub compares targets: it sets such a route again if it wants it, and deletes it if not.
    """
    merged = {}
    for table in tables:
        for routespec, route in table.items():
            data = dict(route["data"])
            if routespec in merged:
                # ISO 8601 in UTC, written by one program: the text's order is the time's.
                seen = [each.get("last_activity") for each in (merged[routespec]["data"], data)]
                data["last_activity"] = max((time for time in seen if time), default=None)
                if data["last_activity"] is None:
                    del data["last_activity"]
            same = all(routespec in other and other[routespec]["target"] == route["target"] for other in tables)
            merged[routespec] = {"routespec": routespec, "target": route["target"] if same else "", "data": data}
    return merged


def find_binary():
    """The program that came with this package, else the one in PATH."""
    beside = Path(sys.executable).with_name("hublatch")
    return str(beside) if beside.exists() else shutil.which("hublatch") or "hublatch"


def version_of(program):
    """What changes when a program is replaced; nothing if it cannot be found."""
    found = shutil.which(program)
    if found is None:
        return None
    status = os.stat(found)
    return [status.st_ino, status.st_size, status.st_mtime_ns]
