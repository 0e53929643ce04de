"""Starts a server as a process of its own, keeps its log, and ends it with everything that it started."""

import json
import os
import signal
import socket
import subprocess
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
RUNNING = []  # what conftest.py prints when a test fails

# Notebook servers leave the hub's process group, so all that a server starts carries its folder in this variable.
MARK = "HUBLATCH_TEST_DIR"


# Seconds for a process to start, to answer or to end. A wait ends as soon as what it waits for is there; how long that
# takes on a busy machine is not what is tested.
PATIENCE = 180

_held = []


def free_port():
    """A port that nobody else is given, neither by `bind` nor for an outgoing connection, as long as this process lives:
    a socket is bound to it that does not listen. With SO_REUSEADDR, which every server sets, another one may (socket(7))."""
    hold = socket.socket()
    hold.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    hold.bind(("127.0.0.1", 0))
    _held.append(hold)
    return hold.getsockname()[1]


def wait_until(condition, seconds, what, pause=lambda: time.sleep(0.05)):
    """The first true value of `condition()`, or a failure that says what was waited for."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"waited {seconds} s for {what}"
        pause()


class Process:
    def __init__(self, name, folder, command, env):
        self.name, self.folder = name, Path(folder)
        self.log_path = self.folder / f"{name}.log"
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                [str(part) for part in command],
                cwd=self.folder,
                env={**os.environ, **env, MARK: str(self.folder)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        RUNNING.append(self)

    @property
    def pid(self):
        return self._process.pid

    @property
    def log(self):
        return self.log_path.read_text(errors="replace")

    def records(self):
        """The JSON lines of the log; not one that is being written just now."""
        lines = self.log.rpartition("\n")[0].splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]

    def exit_code(self):
        return self._process.poll()

    def wait(self, seconds):
        return self._process.wait(seconds)

    def stop(self, seconds=30):
        """Asks with SIGTERM, then ends what is left of it."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(seconds)
            except subprocess.TimeoutExpired:
                pass
        self.kill()

    def stop_alone(self, seconds=PATIENCE):
        """With SIGTERM; what it started lives on."""
        self._process.terminate()
        self._process.wait(seconds)

    def kill(self):
        """Ends it, and all that it started, without asking."""
        for pid in [self.pid, *self._started_by_it()]:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self._process.wait()
        if self in RUNNING:
            RUNNING.remove(self)

    def _started_by_it(self):
        mark = f"{MARK}={self.folder}\0".encode()
        for environ in Path("/proc").glob("[0-9]*/environ"):
            try:
                if mark in environ.read_bytes() + b"\0":
                    yield int(environ.parent.name)
            except (PermissionError, FileNotFoundError, ProcessLookupError):
                continue
