#!/usr/bin/env python3
"""JupyterHub's own tests, with hublatch as the hub's proxy.

    tests/jupyterhub_suite/run.py [--hub 6.1|5.4|4.1] [--mode command|class] [--subdomain] [--all|--browser] [MODULE…]

In `command` mode the first `configurable-http-proxy` in PATH is hublatch, so that tests which start the proxy by that name
use it unchanged; in `class` mode the hub's proxy_class is HublatchProxy as well. Fails if a test fails, if no proxy of ours
was started, or if a node process was seen. Options after `--` are pytest's. --command runs another program for comparison.
"""

import argparse
import os
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
BINARY = os.environ.get("HUBLATCH_BIN", str(ROOT / "target/release/hublatch"))
MARK = "HUBLATCH_SUITE_RUN"

# What touches the proxy most and takes least, for every `make test`; and the rest, by name or by --all.
QUICK = {
    "6.1": ["test_proxy", "test_unix_socket", "test_internal_ssl_connections"],
    "5.4": ["test_proxy"],
    "4.1": ["test_proxy"],
}
ALL = {
    "6.1": [*QUICK["6.1"], "test_internal_ssl_connections_external_authorities", "test_services", "test_named_servers"]
    + ["test_api", "test_pages", "test_singleuser", "test_shares", "test_spawner"],
    "5.4": ["test_proxy", "test_internal_ssl_connections", "test_api"],
    "4.1": ["test_proxy", "test_api"],
}
# With Debian's Chromium in place of Playwright's own Firefox (suite_plugin.py).
BROWSER = ["browser.test_browser", "browser.test_share"]


def main():
    options, for_pytest = read_arguments()
    subprocess.run([ROOT / "tests/install.sh", f"suite{options.hub.replace('.', '')}"], check=True)
    folder = ROOT / f"target/jupyterhub-suite/{options.hub}-{options.mode}{'-subdomain' * options.subdomain}"
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "bin").mkdir(parents=True)
    shutil.copy(ROOT / f"target/suite-{options.hub}/pytest.ini", folder)
    if os.geteuid() == 0:
        let_servers_run_as_root(ROOT / f"target/suite-{options.hub}")
    starts = folder / "starts"
    command = shlex.split(options.command) if options.command else [BINARY, "chp"]
    script(folder / "bin/configurable-http-proxy", starts, command)
    script(folder / "bin/hublatch", starts, command[:1])
    env = environment(options, folder)
    modules = [f"jupyterhub.tests.{name}" for name in options.modules]
    python = ROOT / f"target/suite-{options.hub}/bin/python"
    pytest = [python, "-m", "pytest", "-c", "pytest.ini", "--rootdir", folder, "-p", "suite_plugin", "--color", "no"]
    if options.mode == "class":
        # It asserts that the command is called configurable-http-proxy.
        pytest += ["-k", "not test_unix_socket_proxy"]
    if any(module in BROWSER for module in options.modules):
        pytest += ["-m", "browser"]
    with Watch(folder) as watch:
        code = subprocess.run([*pytest, "--pyargs", *modules, *for_pytest], cwd=folder, env=env, check=False).returncode
    started = len(starts.read_text().splitlines()) if starts.exists() else 0
    print(f"hub {options.hub}, {options.mode}: pytest ended with {code}, {started} starts of the proxy", flush=True)
    if started == 0:
        sys.exit("no proxy of ours was started: the run shows nothing")
    if watch.nodes and not options.command:
        sys.exit(f"node was running: {watch.nodes}")
    sys.exit(code)


def read_arguments():
    arguments = sys.argv[1:]
    for_pytest = arguments[arguments.index("--") + 1 :] if "--" in arguments else []
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hub", choices=list(QUICK), default="6.1")
    parser.add_argument("--mode", choices=["command", "class"], default="command")
    parser.add_argument("--subdomain", action="store_true", help="with host routing")
    parser.add_argument("--all", action="store_true", help="all modules that touch the proxy")
    parser.add_argument("--browser", action="store_true", help="the tests in a browser")
    parser.add_argument("--command", help="another proxy than `hublatch chp`")
    parser.add_argument("modules", nargs="*", metavar="MODULE", help="such as test_proxy")
    options = parser.parse_args(arguments[: arguments.index("--")] if "--" in arguments else arguments)
    options.modules = options.modules or (BROWSER if options.browser else (ALL if options.all else QUICK)[options.hub])
    return options, for_pytest


def let_servers_run_as_root(venv):
    """Jupyter Server refuses to, and the tests that start a real one have no word for it; the venv's own configuration has."""
    config = venv / "etc/jupyter/jupyter_server_config.json"
    config.parent.mkdir(parents=True, exist_ok=True)
    config.write_text('{"ServerApp": {"allow_root": true}}\n')


def script(path, starts, command):
    path.write_text(f'#!/bin/sh\necho "$0 $*" >>{shlex.quote(str(starts))}\nexec {shlex.join(command)} "$@"\n')
    path.chmod(0o755)


def environment(options, folder):
    venv = ROOT / f"target/suite-{options.hub}"
    env = {
        **os.environ,
        MARK: str(folder),
        "PATH": f"{folder}/bin:{venv}/bin:/usr/local/bin:/usr/bin:/bin",
        "PYTHONPATH": f"{ROOT}/python:{HERE}",
        "HUBLATCH_SUITE_MODE": options.mode,
    }
    if options.command:
        env["PATH"] += f":{ROOT}/target/node/bin"
    if options.subdomain:
        env["JUPYTERHUB_TEST_SUBDOMAIN_HOST"] = "http://hub.test:18888"
    return env


class Watch:
    """Looks at the processes of this run while it lasts, and ends those that are left."""

    def __init__(self, folder):
        self._mark, self.nodes = f"{MARK}={folder}\0".encode(), set()
        self._over = threading.Event()

    def __enter__(self):
        threading.Thread(target=self._look, daemon=True).start()
        return self

    def __exit__(self, *_):
        self._over.set()
        for process in self._processes():
            # A failed test leaves its notebook servers behind.
            os.kill(int(process.name), signal.SIGKILL)

    def _look(self):
        while not self._over.wait(0.5):
            for process in self._processes():
                try:
                    command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                    is_node = (process / "comm").read_text().strip() in ("node", "nodejs")
                    # What steers the browser is one, too.
                    if is_node and "/playwright/driver/" not in command:
                        self.nodes.add(command)
                except OSError:
                    continue

    def _processes(self):
        for environ in Path("/proc").glob("[0-9]*/environ"):
            try:
                if self._mark in environ.read_bytes() + b"\0":
                    yield environ.parent
            except OSError:
                continue


if __name__ == "__main__":
    started_at = time.monotonic()
    try:
        main()
    finally:
        print(f"{time.monotonic() - started_at:.0f} s", flush=True)
