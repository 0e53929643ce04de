"""A server under measurement as a process: started on one core, its CPU time and memory read from /proc, ended by pid."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

PROXY_CORE, LOAD_CORE = 0, 1
RUNNING = []  # what must be ended, however the measurement ends
_held = []


def free_port():
    """A port that nobody else is given, not for an outgoing connection either, as long as this process lives: a socket is
    bound to it that does not listen. With SO_REUSEADDR, which every server sets, another one may (socket(7))."""
    hold = socket.socket()
    hold.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    hold.bind(("127.0.0.1", 0))
    _held.append(hold)
    return hold.getsockname()[1]


class Process:
    """`command` on core `core`; stdout and stderr go to `log`."""

    def __init__(self, name, command, log, core=PROXY_CORE, cwd=None, env=None):
        self.name, self.log_path = name, Path(log)
        with self.log_path.open("wb") as out:
            self._process = subprocess.Popen(
                ["taskset", "--cpu-list", str(core), *map(str, command)],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                cwd=cwd,
                # The clients' configuration of OpenSSL (clients.py) is not a server's.
                env={**{k: v for k, v in os.environ.items() if k != "OPENSSL_CONF"}, **(env or {})},
                start_new_session=True,
            )
        self._pids = None
        RUNNING.append(self)

    @property
    def pid(self):
        return self._process.pid  # taskset becomes the command

    def wait_for_port(self, port, seconds=120):
        """Until it accepts connections, and then until its children stand."""
        deadline = time.monotonic() + seconds
        while True:
            if self._process.poll() is not None:
                raise RuntimeError(f"{self.name} ended at once: {self.log_path.read_text(errors='replace')[-2000:]}")
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                if time.monotonic() > deadline:
                    raise RuntimeError(f"{self.name} does not listen on port {port} after {seconds} s") from None
                time.sleep(0.05)
        time.sleep(0.2)
        self._pids = family(self.pid)
        return self

    def cpu_seconds(self):
        """User and system time of all its processes and threads."""
        return sum(cpu_seconds(pid) for pid in self._pids or family(self.pid))

    def resident_bytes(self):
        return sum(resident_bytes(pid) for pid in self._pids or family(self.pid))

    def stop(self, seconds=5):
        pids = family(self.pid)
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(seconds)
            except subprocess.TimeoutExpired:
                pass
        for pid in pids:
            try:
                if os.getsid(pid) == self.pid:  # still ours: numbers are used again
                    os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self._process.wait()
        if self in RUNNING:
            RUNNING.remove(self)


def stop_all():
    for process in list(RUNNING):
        process.stop()


def exit_on_sigterm():
    """So that `stop_all` in a `finally` is reached."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))


def family(pid):
    """`pid` and all its descendants."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            text = stat.read_text()
        except OSError:
            continue  # it has ended
        parents.setdefault(int(text.rpartition(")")[2].split()[1]), []).append(int(stat.parent.name))
    pids, todo = [], [pid]
    while todo:
        pids.append(todo.pop())
        todo += parents.get(pids[-1], [])
    return pids


def cpu_seconds(pid):
    """From the scheduler's account, in nanoseconds; where the kernel keeps none, from the ticks in `stat` (10 ms)."""
    tasks = list(Path(f"/proc/{pid}/task").iterdir())
    try:
        return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9
    except OSError:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_bytes(pid):
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"process {pid} has ended")
