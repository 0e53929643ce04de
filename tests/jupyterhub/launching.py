"""Hubs that hublatch may start servers at, set up by the README's own blocks."""

import json
import os
import signal
import time
import urllib.request
from pathlib import Path

from latch import merged
from processes import PATIENCE, wait_until
from readme import block

# Beside the README's service there is the test's own, which looks at what came of it.
HARNESS = """
c.JupyterHub.services.append({"name": "test", "api_token": "TEST_TOKEN"})
c.JupyterHub.load_roles.append({"name": "test", "services": ["test"], "scopes": [
    "admin:users", "admin:servers", "tokens", "read:hub"]})
import sys
sys.path.insert(0, "TESTS")
c.JupyterHub.spawner_class = "spawners.Moody"
"""


def role(token_file):
    return block("hub role").replace("/etc/hublatch/hub.token", str(token_file))


def start(start_hub, start_hublatch, folder, api_only=False, extra="", role_text=None, changes=None):
    """A hub with the README's role (and its API-only block), and hublatch before it with the README's keys."""
    token_file = folder / "hub.token"
    token_file.touch(mode=0o600)
    token_file.write_text("0123456789abcdef" * 4)
    text = role_text or role(token_file)
    if role_text:
        text = text.replace("/etc/hublatch/hub.token", str(token_file))
    if api_only:
        # The hub's address is the test's; the braces are those of str.format.
        text += block("api-only hub").replace("http://127.0.0.1:8081", "INTERNAL_URL")
    text += HARNESS.replace("TESTS", str(Path(__file__).parent)) + extra
    text = text.replace("{", "{{").replace("}", "}}")
    text = text.replace("INTERNAL_URL", "{internal_url}").replace("TEST_TOKEN", "{api_token}")
    hub = start_hub(extra=text)
    keys = {"hub": {"api_token_file": str(token_file)}, "login": {"app_url": "http://app.localhost/"}}
    if api_only:
        written = block("api-only hublatch")
        assert "api_only = true" in written and "api_token_file = " in written
        keys["hub"]["api_only"] = True
    latch = start_hublatch(hub, merged(keys, changes or {}))
    latch.hub = hub
    return latch


def wait_until_stopped(hub, user, server):
    wait_until(lambda: server not in hub.api("GET", f"/users/{user}")["servers"], PATIENCE, "the server to stop")


def follow(latch, link):
    """The events of a launch as the app gets them, each with the time at which it came."""
    url = latch.management + link["server"]["progress_url"]
    request = urllib.request.Request(url, headers={"Authorization": f"token {latch.key}"})
    with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
        assert answer.headers["Content-Type"] == "text/event-stream"
        for line in answer:
            if line.startswith(b"data:"):
                yield time.monotonic(), json.loads(line[5:])


def wait_until_ready(hub, user, server):
    def ready():
        return hub.api("GET", f"/users/{user}")["servers"].get(server, {}).get("ready")

    wait_until(ready, PATIENCE, "the server to be ready")


def kill_server(hub, user):
    """Ends the process of the user's server, unseen by the hub."""
    mark = f"JUPYTERHUB_USER={user}\0".encode()
    for environ in Path("/proc").glob("[0-9]*/environ"):
        try:
            text = environ.read_bytes() + b"\0"
        except (PermissionError, FileNotFoundError, ProcessLookupError):
            continue
        if mark in text and f"HUBLATCH_TEST_DIR={hub.folder}\0".encode() in text:
            os.kill(int(environ.parent.name), signal.SIGKILL)
            wait_until(lambda: is_over(environ.parent), PATIENCE, "the server to end")


def is_over(process):
    """Gone, or a zombie, whose sockets are closed: proc(5)."""
    try:
        return (process / "stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return True
