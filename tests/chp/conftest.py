"""What JupyterHub and operators rely on in configurable-http-proxy 5.3, asked of any program that takes its place.

CHP_COMMAND is the command line of the program under test (the default: `hublatch chp`). Against configurable-http-proxy
itself the suite shows that it asks for what is really there; where another answer is better, a test takes both, and
`better(...)` tells them apart.
"""

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/jupyterhub"))
from processes import Process, free_port, wait_until  # noqa: E402

from http1 import Client  # noqa: E402
from origin import Origin  # noqa: E402

BINARY = os.environ.get("HUBLATCH_BIN", str(ROOT / "target/release/hublatch"))
COMMAND = shlex.split(os.environ.get("CHP_COMMAND", f"{BINARY} chp"))
IS_CHP = "configurable-http-proxy" in COMMAND[0]
TOKEN = "the-token-of-these-tests"
PATIENCE = 30
NODE = str(ROOT / "target/node/bin")


class Proxy:
    """One proxy under test: `public` and `api` are clients of its two ports."""

    def __init__(self, folder, args=(), env=None, token=TOKEN, scheme="http", wait=True):
        self.port, self.api_port = free_port(), free_port()
        self.token = token
        command = [*COMMAND, "--ip", "127.0.0.1", "--port", str(self.port)]
        command += ["--api-ip", "127.0.0.1", "--api-port", str(self.api_port), *args]
        env = {"PATH": f"{NODE}:{os.environ['PATH']}", **({"CONFIGPROXY_AUTH_TOKEN": token} if token else {}), **(env or {})}
        self.process = Process("proxy", folder, command, env)
        self.public = Client(self.port, tls=scheme == "https")
        self.api = Client(self.api_port, headers=[("Authorization", f"token {token}")] if token else [])
        if wait:
            wait_until(self._listens, PATIENCE, "the proxy to listen")

    def _listens(self):
        assert self.process.exit_code() is None, f"it ended at once:\n{self.process.log}"
        return self.public.connects() and self.api.connects()

    def add(self, path, target, **data):
        answer = self.api.json("POST", "/api/routes" + path, {"target": target, **data})
        assert answer.status == 201, answer
        return answer

    def delete(self, path):
        return self.api("DELETE", "/api/routes" + path)

    def routes(self, query=""):
        answer = self.api("GET", "/api/routes" + query)
        assert answer.status == 200, answer
        return answer.json

    def route(self, path):
        return self.api("GET", "/api/routes" + path)


@pytest.fixture(scope="session")
def start(tmp_path_factory):
    """Starts a proxy with these arguments; all are ended with the last test."""
    running = []

    def start(*args, **options):
        proxy = Proxy(tmp_path_factory.mktemp("proxy"), args, **options)
        running.append(proxy)
        return proxy

    yield start
    for proxy in running:
        proxy.process.kill()


@pytest.fixture(scope="session")
def shared(start):
    return start()


@pytest.fixture
def proxy(shared):
    """The shared one, with an empty table."""
    for key in shared.routes():
        assert shared.delete(quote(key)).status == 204
    return shared


@pytest.fixture(scope="session")
def new_origin():
    """Starts origins by name; each tells what it got."""
    running = []

    def new(name="origin", **options):
        running.append(Origin(name, **options))
        return running[-1]

    yield new
    for each in running:
        each.stop()


@pytest.fixture(scope="session")
def origin(new_origin):
    return new_origin("origin")


@pytest.fixture(scope="session")
def certificate(tmp_path_factory):
    """A self-signed certificate for localhost and 127.0.0.1: its two files."""
    folder = tmp_path_factory.mktemp("tls")
    key, cert = folder / "key.pem", folder / "cert.pem"
    subprocess.run(
        [shutil.which("openssl"), "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
        # An authority's own certificate is no server's (RFC 5280 § 4.2.1.9): rustls refuses one, which Node takes.
        + ["-addext", "basicConstraints=critical,CA:FALSE"]
        + ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", key, "-out", cert],
        check=True,
        capture_output=True,
    )
    return str(key), str(cert)


def better(chp, ours):
    """What is asked for where configurable-http-proxy has an oddity: its own answer of it, a better one of others."""
    return chp if IS_CHP else ours


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    if report.failed:
        from processes import RUNNING

        for process in RUNNING:
            report.sections.append((f"log of {process.folder.name}", "\n".join(process.log.splitlines()[-15:])))
