"""A hublatch as a process of its own, with short timeouts, and what it holds: memory, descriptors, its own metrics."""

import base64
import hashlib
import json
import os
import re
import secrets
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/bench"))

import tools  # noqa: E402
from process import Process, exit_on_sigterm, free_port, stop_all  # noqa: E402, F401

BINARY = Path(os.environ.get("HUBLATCH_BIN", ROOT / "target/release/hublatch"))
CORES = ",".join(map(str, sorted(os.sched_getaffinity(0))))
CONFIG = """
[public]
listen = "127.0.0.1:{public}"
url = "{scheme}://127.0.0.1:{public}"
threads = 2
{tls}
[management]
listen = "127.0.0.1:{management}"
[hub]
url = "http://127.0.0.1:{hub}"
[limits]
{limits}
[log]
level = "warn"
access = true
audit = "{folder}/audit.log"
[[apps]]
name = "load"
keys = ["sha256:{digest}"]
rate = "100000/s"
max_live_links = 20000
"""
# Short, so that what is cut off is cut off while we look; but the origin may be late on a busy machine. All attackers
# have one address.
LIMITS = """
connections_per_peer = 20000
handshake_timeout = "2s"
head_timeout = "2s"
body_stall_timeout = "2s"
write_stall_timeout = "2s"
upstream_head_timeout = "30s"
idle_timeout = "60s"
drain_timeout = "1s"
"""


class Hublatch:
    def __init__(self, folder, hub_port, tls=False, limits=LIMITS):
        self.folder = Path(tempfile.mkdtemp(dir=folder))
        self.port, self.management = free_port(), free_port()
        self.tls, self.key = tls, "hk_" + base64.urlsafe_b64encode(secrets.token_bytes(32)).rstrip(b"=").decode()
        certificate = Path(folder) / "tls"
        lines = f'tls = {{ certificate = "{certificate}/certificate.pem", private_key = "{certificate}/key.pem" }}'
        config = self.folder / "hublatch.toml"
        config.write_text(CONFIG.format(
            public=self.port, management=self.management, hub=hub_port, folder=self.folder, limits=limits,
            scheme="https" if tls else "http", tls=lines if tls else "",
            digest=hashlib.sha256(self.key.encode()).hexdigest(),
        ))
        config.chmod(0o600)
        command = [BINARY, "serve", "--config", config]
        self.process = Process("hublatch", command, self.folder / "log", core=CORES).wait_for_port(self.port)

    def memory(self):
        return self.process.resident_bytes()

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def ask(self, path, data=None):
        """The management listener's answer."""
        headers = {"Authorization": f"token {self.key}", "Content-Type": "application/json"}
        body = None if data is None else json.dumps(data).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{self.management}{path}", body, headers)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.read().decode()

    def metric(self, name):
        found = re.search(rf"^hublatch_{name} (\d+)$", self.ask("/metrics"), re.M)
        return int(found[1])

    def links(self, count):
        order = [{"username": f"user{i}", "next": "/hub/home", "expires_in": 300} for i in range(count)]
        links = json.loads(self.ask("/api/v1/links/batch", {"links": order}))["links"]
        return [link["login_token"] for link in links]


class Watch(threading.Thread):
    """The highest memory and number of descriptors while something goes on."""

    def __init__(self, hublatch):
        super().__init__(daemon=True)
        self._hublatch, self._over = hublatch, threading.Event()
        self.memory, self.descriptors = hublatch.memory(), hublatch.descriptors()

    def run(self):
        while not self._over.wait(0.05):
            self.memory = max(self.memory, self._hublatch.memory())
            self.descriptors = max(self.descriptors, self._hublatch.descriptors())

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        self.join()


def settled(condition, seconds):
    """Whether `condition()` comes true in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True
